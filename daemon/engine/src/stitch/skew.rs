//! How far apart in time two cameras really are, from what moves where both see.
//!
//! A mover passes a cell of the overlap at one instant of the world. Each camera's luma of that cell over its own capture
//! times is one curve; by how much the second curve lags behind the first is the skew that the stamps do not know of.
//! The
//! curves of all cells with motion are laid over each other by the correlation of their changes.
//!
//! What it cannot tell: a mover much nearer than the canvas's surface stands at two places, which looks like a skew of
//! its own sign for each direction of walking. Movers of both directions cancel, and the spread between groups of cells
//! is in the standard deviation.

use std::collections::VecDeque;

use synoptic_base::{CellSeen, Mono, Span, StitchLayout};

/// Cells of a pair that are watched at most.
const MOST_CELLS: usize = 1200;
/// Pictures remembered: 3 s at 25 a second.
const MEMORY: usize = 75;
/// Pictures without which nothing is said.
const FEWEST: usize = 25;
/// Skews that are looked for, to either side, and the steps of the search. Beyond it cameras are in the wrong packet.
const REACH: Span = Span::from_millis(200);
const STEP: Span = Span::from_millis(4);
/// A cell in which luma varies by less (standard deviation) in either camera has no motion.
const MIN_MOTION: f32 = 3.0;
/// Cells with motion without which nothing is said.
const FEWEST_MOVING: usize = 12;
/// Correlation at the best skew below which curves do not belong together.
const MIN_CORRELATION: f64 = 0.6;
/// Groups of cells whose skews are compared for the standard deviation.
const GROUPS: usize = 4;
/// How often an estimate is made.
const EVERY: Span = Span::from_secs(1);

/// A skew.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Skew {
    /// By how much the second camera's frames were captured later than their stamps say, against the first's.
    pub skew: Span,
    /// Its standard deviation.
    pub sd: Span,
}

struct Sample {
    at: [Mono; 2],
    luma: [Vec<f32>; 2],
}

/// Watches two cameras.
pub struct SkewWatch {
    cameras: [usize; 2],
    cells: Vec<usize>,
    samples: VecDeque<Sample>,
    due: Option<Mono>,
    newest: Option<Skew>,
}

impl SkewWatch {
    /// For cameras `cameras` of `layout`; `None` where they share no cell.
    pub fn new(layout: &StitchLayout, cameras: [usize; 2]) -> Option<SkewWatch> {
        let whole = |i: &usize| {
            cameras
                .iter()
                .all(|k| layout.cover[*k][*i] >= synoptic_base::Cover::Whole)
        };
        let all: Vec<usize> = (0..layout.columns * layout.rows).filter(whole).collect();
        let n = all.len();
        let cells = if n <= MOST_CELLS {
            all
        } else {
            (0..MOST_CELLS).map(|i| all[i * n / MOST_CELLS]).collect()
        };
        (!cells.is_empty()).then(|| SkewWatch {
            cameras,
            cells,
            samples: VecDeque::with_capacity(MEMORY),
            due: None,
            newest: None,
        })
    }

    /// The two cameras.
    pub fn cameras(&self) -> [usize; 2] {
        self.cameras
    }

    /// Takes in a picture: the cells of all cameras, and when each camera's frame was captured; `None` for a camera
    /// without a live frame.
    pub fn see(&mut self, cells: &[Vec<CellSeen>], captured: &[Option<Mono>]) {
        let [a, b] = self.cameras;
        let (Some(Some(at_a)), Some(Some(at_b))) = (captured.get(a), captured.get(b)) else {
            return;
        };
        let at = [*at_a, *at_b];
        // Times of either camera only grow; a camera that begins anew begins a new memory.
        if self
            .samples
            .back()
            .is_some_and(|s| s.at[0] >= at[0] || s.at[1] >= at[1])
        {
            self.samples.clear();
        }
        let luma = |k: usize| -> Option<Vec<f32>> {
            let seen = cells.get(k)?;
            self.cells.iter().map(|i| Some(seen.get(*i)?.luma)).collect()
        };
        let (Some(one), Some(two)) = (luma(a), luma(b)) else {
            return;
        };
        if self.samples.len() == MEMORY {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { at, luma: [one, two] });
        let now = at[0];
        if self.due.is_none_or(|due| now >= due) {
            self.due = Some(now + EVERY);
            if let Some(found) = self.estimate() {
                self.newest = Some(found);
            }
        }
    }

    /// The newest estimate; `None` before enough has moved.
    pub fn skew(&self) -> Option<Skew> {
        self.newest
    }

    fn estimate(&self) -> Option<Skew> {
        if self.samples.len() < FEWEST {
            return None;
        }
        let curves: Vec<[Vec<f32>; 2]> = (0..self.cells.len()).filter_map(|c| self.curves(c)).collect();
        if curves.len() < FEWEST_MOVING {
            return None;
        }
        let whole = self.best(&curves.iter())?;
        let parts: Vec<f64> = (0..GROUPS)
            .filter_map(|g| self.best(&curves.iter().skip(g).step_by(GROUPS)))
            .collect();
        if parts.len() < GROUPS {
            return None;
        }
        let mean = parts.iter().sum::<f64>() / parts.len() as f64;
        let variance = parts.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / (parts.len() - 1) as f64;
        Some(Skew {
            skew: Span::from_secs_f64(whole),
            sd: Span::from_secs_f64((variance / parts.len() as f64).sqrt()),
        })
    }

    /// Both cameras' curves of a cell, if it has motion.
    fn curves(&self, cell: usize) -> Option<[Vec<f32>; 2]> {
        let of = |k: usize| {
            let values: Vec<f32> = self.samples.iter().map(|s| s.luma[k][cell]).collect();
            let n = values.len() as f32;
            let mean = values.iter().sum::<f32>() / n;
            let sd = (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt();
            (sd >= MIN_MOTION).then_some(values)
        };
        Some([of(0)?, of(1)?])
    }

    /// The lag of the second curves, in seconds, at which they correlate best.
    fn best<'c>(&self, curves: &(impl Iterator<Item = &'c [Vec<f32>; 2]> + Clone)) -> Option<f64> {
        let steps = REACH.as_nanos() / STEP.as_nanos();
        let scores: Vec<f64> = (-steps..=steps)
            .map(|i| self.correlation(STEP * i, curves.clone()))
            .collect();
        let (peak, score) = scores
            .iter()
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(b.1))
            .map(|(i, s)| (i, *s))?;
        if score < MIN_CORRELATION || peak == 0 || peak + 1 == scores.len() {
            return None;
        }
        // The top of the parabola through the best three.
        let (l, m, r) = (scores[peak - 1], scores[peak], scores[peak + 1]);
        let bend = l - 2.0 * m + r;
        let part = if bend < 0.0 { 0.5 * (l - r) / bend } else { 0.0 };
        Some((peak as f64 - steps as f64 + part) * STEP.as_secs_f64())
    }

    /// Correlation of the first curves with the second ones taken `lag` later.
    ///
    /// The second camera stamps too early by the skew: what the first shows at t, the second shows at t - skew of its
    /// stamps. So the curve of the second is read at `t - lag`.
    fn correlation<'c>(&self, lag: Span, curves: impl Iterator<Item = &'c [Vec<f32>; 2]>) -> f64 {
        let taps: Vec<Option<(usize, [f32; 4])>> =
            self.samples.iter().map(|s| self.tap(s.at[0] - lag)).collect();
        let (mut both, mut one, mut two) = (0.0_f64, 0.0_f64, 0.0_f64);
        for [first, second] in curves {
            // Changes, not values: what stands in the cell before and after is of no matter, nor what each camera makes
            // of its brightness.
            let mut before: Option<(f32, f32)> = None;
            for (value, tap) in first.iter().zip(&taps) {
                let now = tap.map(|(i, weights)| {
                    let other: f32 = weights.iter().enumerate().map(|(k, w)| w * second[i + k]).sum();
                    (*value, other)
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

#[cfg(test)]
mod tests {
    use synoptic_base::{Cover, Size};

    use super::*;

    const COLUMNS: usize = 40;

    fn layout() -> StitchLayout {
        StitchLayout {
            size: Size::new(320, 80),
            columns: COLUMNS,
            rows: 10,
            cover: vec![vec![Cover::Inner; COLUMNS * 10]; 2],
            kr_kb: (0.299, 0.114),
        }
    }

    /// Cells when somebody 40 pixels wide stands at `left` pixels.
    fn cells(left: f64) -> Vec<CellSeen> {
        (0..COLUMNS * 10)
            .map(|i| {
                let x = (i % COLUMNS) as f64 * 8.0;
                let covered = ((left + 40.0).min(x + 8.0) - left.max(x)).clamp(0.0, 8.0) / 8.0;
                CellSeen {
                    luma: (90.0 + 5.0 * (i % 7) as f64 + 80.0 * covered) as f32,
                    ..CellSeen::UNSEEN
                }
            })
            .collect()
    }

    /// What is found when the second camera is late by `skew_ms`, `fps` pictures a second.
    fn found(skew_ms: f64, fps: f64, phase_ms: f64) -> Option<Skew> {
        let mut watch = SkewWatch::new(&layout(), [0, 1]).unwrap();
        for i in 0..70 {
            let t = f64::from(i) / fps;
            // Walks to and fro at 90 pixels a second.
            let at = |t: f64| 140.0 + 90.0 * (t * 1.1).sin();
            let stamp = |t: f64| Mono::from_nanos(5_000_000_000) + Span::from_secs_f64(t);
            let captured = [Some(stamp(t)), Some(stamp(t + phase_ms / 1e3))];
            let second = cells(at(t + (phase_ms + skew_ms) / 1e3));
            watch.see(&[cells(at(t)), second], &captured);
        }
        watch.skew()
    }

    #[test]
    fn a_skew_is_found_within_two_milliseconds_also_between_frames() {
        for (skew, fps, phase) in [
            (40.0, 25.0, 0.0),
            (-33.0, 25.0, 11.0),
            (7.0, 15.0, 20.0),
            (0.0, 30.0, 0.0),
        ] {
            let found = found(skew, fps, phase).unwrap();
            let off = found.skew.as_millis_f64() - skew;
            assert!(
                off.abs() < 2.0,
                "{skew} ms at {fps} fps: off by {off:.2} ms, {found:?}"
            );
            assert!(found.sd < Span::from_millis(5), "{found:?}");
        }
    }

    #[test]
    fn nothing_is_said_where_nothing_moves() {
        let mut watch = SkewWatch::new(&layout(), [0, 1]).unwrap();
        for i in 0..70 {
            let at = Mono::from_nanos(0) + Span::from_millis(40 * i);
            watch.see(&[cells(100.0), cells(100.0)], &[Some(at), Some(at)]);
        }
        assert_eq!(watch.skew(), None);
    }
}
