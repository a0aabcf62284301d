//! Many frames of one camera become one still picture without what moves.
//!
//! A fixed camera sees the same background in every frame: the middle of a pixel's values over time is the background
//! where anything passes, and the mean of the values near that middle has less noise than any frame. Where the values
//! do not agree, the pixel is no witness.

use synoptic_base::{Size, StreamId};

use super::image::Gray;

/// Bytes of samples held for a camera: 30 frames of 1080p, 7 of 4K.
const MAX_BYTES: usize = 64 << 20;
/// Frames at most; the noise of independent frames falls by the root of their number only.
const MAX_FRAMES: usize = 31;
/// A sample further than this from the middle is something passing, in levels of 255.
const PASSING: f32 = 10.0;
/// Of the samples of a pixel, so many must agree with the middle.
const AGREEING: f32 = 0.6;
/// Frames from which on movers can be told from the background.
const MIN_FRAMES: usize = 3;

/// A rectangle of pixels, edges included at the left and top only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// Left edge, pixels.
    pub left: f32,
    /// Upper edge, pixels.
    pub top: f32,
    /// Right edge, pixels.
    pub right: f32,
    /// Lower edge, pixels.
    pub bottom: f32,
}

/// What a camera shows when nobody is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Still {
    /// Whose picture this is.
    pub stream: StreamId,
    /// The background.
    pub luma: Gray,
    /// Per pixel: is it background, and steady?
    pub steady: Vec<bool>,
    /// Frames that it was made of.
    pub frames: usize,
}

impl Still {
    /// A single picture, taken for background everywhere.
    pub fn single(stream: StreamId, luma: Gray) -> Still {
        Still {
            stream,
            steady: vec![true; luma.data.len()],
            luma,
            frames: 1,
        }
    }

    /// Is everything within `radius` pixels of (x, y) inside of the picture and steady? Looks at nine places.
    pub fn is_steady(&self, x: f64, y: f64, radius: f64) -> bool {
        [-radius, 0.0, radius].iter().all(|dy| {
            [-radius, 0.0, radius].iter().all(|dx| {
                let (px, py) = ((x + dx).round(), (y + dy).round());
                px >= 0.0
                    && py >= 0.0
                    && px < self.luma.width as f64
                    && py < self.luma.height as f64
                    && self.steady[py as usize * self.luma.width + px as usize]
            })
        })
    }
}

/// Collects frames of one camera. Frames some seconds apart are worth most.
#[derive(Debug)]
pub struct Collector {
    stream: StreamId,
    size: Size,
    /// Luma of each frame; a value of [`HIDDEN`] was covered by something that the caller detected.
    frames: Vec<Vec<u8>>,
    /// Median luma of each frame: its exposure.
    levels: Vec<f32>,
    capacity: usize,
    seen: u64,
}

/// Luma 0 does not occur in limited range and stands for "covered".
const HIDDEN: u8 = 0;

impl Collector {
    /// For a camera with pictures of `size`.
    pub fn new(stream: StreamId, size: Size) -> Collector {
        let bytes = (size.width as usize * size.height as usize).max(1);
        Collector {
            stream,
            size,
            frames: Vec::new(),
            levels: Vec::new(),
            capacity: (MAX_BYTES / bytes).clamp(1, MAX_FRAMES),
            seen: 0,
        }
    }

    /// Frames held now.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Holds none yet.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// As many as it will hold: more only replace held ones.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Takes a frame; `movers` are boxes of what was detected in it. `false` when the picture has another size: it is
    /// left out.
    pub fn add(&mut self, luma: &Gray, movers: &[Region]) -> bool {
        if luma.size() != self.size {
            return false;
        }
        let (w, h) = (luma.width, luma.height);
        let mut frame: Vec<u8> = luma
            .data
            .iter()
            .map(|v| v.round().clamp(1.0, 255.0) as u8)
            .collect();
        let mut counts = [0_usize; 256];
        for v in frame.iter().step_by(7) {
            counts[usize::from(*v)] += 1;
        }
        let level = middle(&counts);
        for mover in movers {
            let clamp = |v: f32, most: usize| (v.max(0.0) as usize).min(most);
            let (left, right) = (clamp(mover.left, w), clamp(mover.right.ceil(), w));
            for y in clamp(mover.top, h)..clamp(mover.bottom.ceil(), h) {
                frame[y * w + left..y * w + right.max(left)].fill(HIDDEN);
            }
        }
        self.seen += 1;
        if self.frames.len() < self.capacity {
            self.frames.push(frame);
            self.levels.push(level);
        } else {
            // The held frames stay spread over all that was seen: a new one comes in with probability capacity / seen
            // (reservoir sampling, Vitter 1985); the place is drawn from the count, so that a run can be repeated.
            let place = (splitmix(self.seen) % self.seen) as usize;
            if place < self.capacity {
                self.frames[place] = frame;
                self.levels[place] = level;
            }
        }
        true
    }

    /// The background of the frames collected so far; `None` without any.
    pub fn finish(&self) -> Option<Still> {
        let n = self.frames.len();
        let reference = *self.levels.first()?;
        let gains: Vec<f32> = self
            .levels
            .iter()
            .map(|l| {
                if *l > 1.0 {
                    (reference / l).clamp(0.25, 4.0)
                } else {
                    1.0
                }
            })
            .collect();
        let pixels = self.size.width as usize * self.size.height as usize;
        let mut luma = Vec::with_capacity(pixels);
        let mut steady = Vec::with_capacity(pixels);
        let mut values = Vec::with_capacity(n);
        for i in 0..pixels {
            values.clear();
            for (frame, gain) in self.frames.iter().zip(&gains) {
                if frame[i] != HIDDEN {
                    values.push(f32::from(frame[i]) * gain);
                }
            }
            if values.is_empty() {
                luma.push(reference);
                steady.push(false);
                continue;
            }
            let half = values.len() / 2;
            let median = *values.select_nth_unstable_by(half, f32::total_cmp).1;
            let near = values.iter().filter(|v| (**v - median).abs() <= PASSING);
            let (sum, count) = near.fold((0.0, 0), |(s, c), v| (s + v, c + 1));
            luma.push(sum / count as f32);
            steady.push(n < MIN_FRAMES || count as f32 >= AGREEING * n as f32);
        }
        let luma = Gray {
            width: self.size.width as usize,
            height: self.size.height as usize,
            data: luma,
        };
        Some(Still {
            stream: self.stream,
            luma,
            steady,
            frames: n,
        })
    }
}

/// The median of a histogram.
fn middle(counts: &[usize; 256]) -> f32 {
    let total: usize = counts.iter().sum();
    let mut below = 0;
    for (value, count) in counts.iter().enumerate() {
        below += count;
        if 2 * below >= total {
            return value as f32;
        }
    }
    255.0
}

/// A well mixed number from a counter (SplitMix64, Steele et al. 2014).
pub(super) fn splitmix(state: u64) -> u64 {
    let mut z = state.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(i: usize, gain: f32) -> Gray {
        let mut gray = Gray::flat(80, 40, 0.0);
        for y in 0..40 {
            for x in 0..80 {
                gray.data[y * 80 + x] = gain * (60.0 + x as f32 + (y % 7) as f32);
            }
        }
        // Somebody walks from left to right.
        for y in 10..40 {
            for x in 8 * i..(8 * i + 8).min(80) {
                gray.data[y * 80 + x] = 230.0;
            }
        }
        gray
    }

    fn collector() -> Collector {
        Collector::new(StreamId::new("east").unwrap(), Size::new(80, 40))
    }

    #[test]
    fn a_walker_and_a_step_of_exposure_leave_no_trace() {
        let mut collector = collector();
        for i in 0..10 {
            let gain = if i < 6 { 1.0 } else { 1.3 };
            assert!(collector.add(&scene(i, gain), &[]));
        }
        let still = collector.finish().unwrap();
        let clean = scene(99, 1.0);
        let worst = still
            .luma
            .data
            .iter()
            .zip(&clean.data)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        // The step is known to one level of the median.
        assert!(worst < 5.0, "off by {worst} levels");
        assert!(still.steady.iter().all(|s| *s));
    }

    #[test]
    fn what_never_rests_is_no_witness_and_boxes_are_left_out() {
        let mut collector = collector();
        for i in 0..9 {
            let mut frame = scene(99, 1.0);
            for y in 0..10 {
                for x in 0..10 {
                    frame.data[y * 80 + x] = (splitmix((i * 1000 + y * 10 + x) as u64) % 200) as f32;
                }
            }
            let person = Region {
                left: 40.0,
                top: 20.0,
                right: 50.0,
                bottom: 30.0,
            };
            collector.add(&frame, &[person]);
        }
        let still = collector.finish().unwrap();
        let restless = (0..100).filter(|i| !still.steady[i / 10 * 80 + i % 10]).count();
        assert!(restless > 90, "only {restless} of 100 restless pixels were seen");
        assert!(!still.is_steady(45.0, 25.0, 1.0), "under the box");
        assert!(still.is_steady(60.0, 25.0, 5.0));
        assert!(!still.is_steady(78.0, 25.0, 5.0), "over the edge");
    }

    #[test]
    fn holds_no_more_than_its_capacity_and_refuses_other_sizes() {
        let mut collector = collector();
        for _ in 0..100 {
            collector.add(&scene(99, 1.0), &[]);
        }
        assert_eq!(collector.len(), collector.capacity());
        assert!(!collector.add(&Gray::flat(8, 8, 1.0), &[]));
    }
}
