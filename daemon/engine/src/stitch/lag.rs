//! By how much one camera's luma lags behind the other's, in cells that both see.
//!
//! [`Memory`] holds the curves of some cells over the last seconds. [`Memory::lag`] lays the curves of chosen cells and
//! stretches of time over each other by the correlation of their changes; [`Memory::heading`] says which way what passes a
//! cell goes, from the first camera alone.

use std::collections::VecDeque;
use std::ops::Range;

use synoptic_base::{Mono, Span};

/// Lags that are looked for, to either side: skews of cameras that share a packet, and what parallax adds.
const REACH: Span = Span::from_millis(320);
/// Steps of the search, first and then about the best.
const COARSE: Span = Span::from_millis(20);
const FINE: Span = Span::from_millis(4);
/// Correlation at the best lag below which curves do not belong together.
const MIN_CORRELATION: f64 = 0.6;
/// Pictures by which the curves of two neighbours may be apart: what walks across 16 canvas pixels in half a second.
const MAX_APART: usize = 12;
/// Pictures by which they must be apart to say which way something goes: less is too fast to tell.
const MIN_APART: f64 = 0.2;
/// A neighbour's correlation that tells a direction.
const MIN_NEIGHBOUR: f64 = 0.7;
/// How much better one axis must be explained than the other.
const CLEARER: f64 = 0.05;

/// Which way something goes over the canvas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heading {
    Right,
    Left,
    Down,
    Up,
}

impl Heading {
    pub(super) const ALL: [Heading; 4] = [Heading::Right, Heading::Left, Heading::Down, Heading::Up];
}

/// What a place is in a picture: luma of the cell in both cameras, and of its neighbours left, right, above and below in
/// the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Look {
    pub both: [f32; 2],
    pub around: [f32; 4],
}

/// One picture of each camera.
pub(super) struct Sample {
    pub at: [Mono; 2],
    pub looks: Vec<Look>,
}

/// A place, and the samples during which something passes it.
#[derive(Clone, Debug)]
pub(super) struct Passage {
    pub place: usize,
    pub samples: Range<usize>,
}

/// The newest samples, oldest first.
#[derive(Default)]
pub(super) struct Memory {
    samples: VecDeque<Sample>,
}

impl Memory {
    pub(super) fn len(&self) -> usize {
        self.samples.len()
    }

    /// From one picture to the next of the first camera, in seconds: the mean.
    pub(super) fn interval_s(&self) -> Option<f64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let steps = self.samples.len().checked_sub(1).filter(|n| *n > 0)?;
        Some((last.at[0] - first.at[0]).as_secs_f64() / steps as f64)
    }

    /// Takes one in, and forgets the oldest beyond `most`.
    pub(super) fn push(&mut self, sample: Sample, most: usize) {
        // Times of either camera only grow; a camera that begins anew begins a new memory.
        let again = |last: &Sample| last.at[0] >= sample.at[0] || last.at[1] >= sample.at[1];
        if self.samples.back().is_some_and(again) {
            self.samples.clear();
        }
        if self.samples.len() == most {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// The smaller of both cameras' standard deviations of luma at a place.
    pub(super) fn motion(&self, place: usize, samples: &Range<usize>) -> f32 {
        let of = |camera: usize| {
            let values = || {
                self.samples
                    .range(samples.clone())
                    .map(|s| s.looks[place].both[camera])
            };
            let n = samples.len().max(1) as f32;
            let mean = values().sum::<f32>() / n;
            (values().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt()
        };
        of(0).min(of(1))
    }

    /// Which way what passes goes, and how many pictures it takes from one neighbour to the other; `None` where that is not
    /// clear, or nothing passes from one to the other.
    pub(super) fn heading(&self, passage: &Passage) -> Option<(Heading, f64)> {
        let across = self.apart(passage, [0, 1]);
        let down = self.apart(passage, [2, 3]);
        let best = |side: Option<(f64, f64)>| side.map_or(-1.0, |(_, score)| score);
        let (sideways, upright) = (best(across), best(down));
        // Of a long upright edge that goes sideways the neighbours above and below change together.
        let goes = |side: Option<(f64, f64)>| side.filter(|(apart, _)| apart.abs() >= MIN_APART);
        let told = match (goes(across), goes(down)) {
            (Some((apart, score)), None) if score >= MIN_NEIGHBOUR => (true, apart),
            (None, Some((apart, score))) if score >= MIN_NEIGHBOUR => (false, apart),
            (Some((apart, score)), Some(_)) if score >= MIN_NEIGHBOUR && sideways > upright + CLEARER => {
                (true, apart)
            }
            (Some(_), Some((apart, score))) if score >= MIN_NEIGHBOUR && upright > sideways + CLEARER => {
                (false, apart)
            }
            _ => return None,
        };
        let heading = match told {
            (true, apart) if apart > 0.0 => Heading::Right,
            (true, _) => Heading::Left,
            (false, apart) if apart > 0.0 => Heading::Down,
            (false, _) => Heading::Up,
        };
        Some((heading, told.1.abs()))
    }

    /// By how many pictures the changes of the second of two neighbours come after those of the first, and how well they
    /// then correlate.
    fn apart(&self, passage: &Passage, [one, two]: [usize; 2]) -> Option<(f64, f64)> {
        // Changes, from a little before to a little after, so that both neighbours have them.
        let from = passage.samples.start.saturating_sub(MAX_APART / 2);
        let to = (passage.samples.end + MAX_APART / 2).min(self.samples.len());
        let changes = |side: usize| -> Vec<f64> {
            let values: Vec<f64> = self
                .samples
                .range(from..to)
                .map(|s| f64::from(s.looks[passage.place].around[side]))
                .collect();
            values.windows(2).map(|w| w[1] - w[0]).collect()
        };
        let (first, second) = (changes(one), changes(two));
        let score = |lag: isize| {
            let (mut both, mut a, mut b) = (0.0, 0.0, 0.0);
            for (i, x) in first.iter().enumerate() {
                let Some(y) = i.checked_add_signed(lag).and_then(|j| second.get(j)) else {
                    continue;
                };
                both += x * y;
                a += x * x;
                b += y * y;
            }
            if a > 0.0 && b > 0.0 {
                both / (a * b).sqrt()
            } else {
                -1.0
            }
        };
        let most = MAX_APART as isize;
        let scores: Vec<f64> = (-most..=most).map(score).collect();
        let (top, part, best) = summit(&scores)?;
        Some((top as f64 - most as f64 + part, best))
    }

    /// The lag of the second camera's curves, in seconds, at which they correlate best.
    ///
    /// The second camera stamps too early by the skew: what the first shows at t, the second shows at t - skew of its
    /// stamps. So the curve of the second is read at `t - lag`.
    pub(super) fn lag<'p>(&self, passages: &(impl Iterator<Item = &'p Passage> + Clone)) -> Option<f64> {
        let search = |middle: Span, reach: Span, step: Span| {
            let steps = reach.as_nanos() / step.as_nanos();
            let scores: Vec<f64> = (-steps..=steps)
                .map(|i| self.correlation(middle + step * i, passages.clone()))
                .collect();
            let (top, part, score) = summit(&scores)?;
            let at = (top as f64 - steps as f64 + part) * step.as_secs_f64() + middle.as_secs_f64();
            Some((at, score))
        };
        let (about, _) = search(Span::ZERO, REACH, COARSE)?;
        let (at, score) = search(Span::from_secs_f64(about), COARSE, FINE)?;
        (score >= MIN_CORRELATION).then_some(at)
    }

    /// Correlation of the first curves with the second ones taken `lag` later.
    fn correlation<'p>(&self, lag: Span, passages: impl Iterator<Item = &'p Passage>) -> f64 {
        let taps: Vec<Option<(usize, [f32; 4])>> =
            self.samples.iter().map(|s| self.tap(s.at[0] - lag)).collect();
        let (mut both, mut one, mut two) = (0.0_f64, 0.0_f64, 0.0_f64);
        for passage in passages {
            // Changes, not values: what stands in the cell before and after is of no matter, nor what each camera makes
            // of its brightness.
            let mut before: Option<(f32, f32)> = None;
            for i in passage.samples.clone() {
                let now = taps[i].map(|(first, weights)| {
                    let other =
                        (0..4).map(|k| weights[k] * self.samples[first + k].looks[passage.place].both[1]);
                    (self.samples[i].looks[passage.place].both[0], other.sum::<f32>())
                });
                if let (Some(now), Some(before)) = (now, before) {
                    let (f, s) = (now.0 - before.0, now.1 - before.1);
                    both += f64::from(f * s);
                    one += f64::from(f * f);
                    two += f64::from(s * s);
                }
                before = now;
            }
        }
        if one > 0.0 && two > 0.0 {
            both / (one * two).sqrt()
        } else {
            -1.0
        }
    }

    /// The samples of the second camera around an instant and their weights (Catmull and Rom 1974, for even spacing);
    /// `None` outside of what is remembered.
    fn tap(&self, at: Mono) -> Option<(usize, [f32; 4])> {
        let n = self.samples.len();
        let after = self.samples.partition_point(|s| s.at[1] <= at);
        if after < 2 || after + 1 >= n {
            return None;
        }
        let (before, next) = (self.samples[after - 1].at[1], self.samples[after].at[1]);
        let t = ((at - before).as_secs_f64() / (next - before).as_secs_f64()) as f32;
        let (t2, t3) = (t * t, t * t * t);
        let weights = [
            -0.5 * t3 + t2 - 0.5 * t,
            1.5 * t3 - 2.5 * t2 + 1.0,
            -1.5 * t3 + 2.0 * t2 + 0.5 * t,
            0.5 * t3 - 0.5 * t2,
        ];
        Some((after - 2, weights))
    }
}

/// The best of some scores, how far from it the top of the parabola through it and its neighbours lies, and its score; `None`
/// where the best is the first or the last.
fn summit(scores: &[f64]) -> Option<(usize, f64, f64)> {
    let (top, best) = scores
        .iter()
        .copied()
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(&b.1))?;
    if top == 0 || top + 1 == scores.len() {
        return None;
    }
    let (l, r) = (scores[top - 1], scores[top + 1]);
    let bend = l - 2.0 * best + r;
    let part = if bend < 0.0 { 0.5 * (l - r) / bend } else { 0.0 };
    Some((top, part, best))
}
