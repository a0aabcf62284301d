//! How fast a camera's wall clock runs against the box's, from more than the reports of the last minutes.
//!
//! Reports of three minutes tell a tilt of the wall clock to a millionth. That is not enough: the reports that know the delay
//! and those that know the clock are a minute apart. A wall clock that runs wrong does so for hours, so means of some
//! minutes ago are kept, and tell it five times as well. One that NTP slews just now is another matter: then
//! the newest reports contradict the memory, and it is not asked.

use std::collections::VecDeque;

use synoptic_base::Span;

/// Means kept; with one every [`EVERY`] they reach back 12 minutes.
const KEPT: usize = 8;
/// Half of what a mean is taken over: each report counts in two of them.
const EVERY: Span = Span::from_secs(90);
/// Fewer reports than this are no mean.
const LEAST: usize = 12;
/// Neighbours share half of their reports, and the envelope that they are seen from has errors of its own.
const SHARED: f64 = 1.5;

/// A mean of reports: wall minus box in the middle of their time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mean {
    pub media: Span,
    pub wall_minus_box: Span,
    /// Deviation, in nanoseconds.
    pub noise: f64,
    /// Deviation of one report, in nanoseconds.
    pub sloppy: f64,
    /// Reports it is of.
    pub count: usize,
}

/// What is remembered of a run of a wall clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Remembered {
    pub tilt: Tilt,
    /// Deviation of one report, in nanoseconds, and how many degrees of freedom it is known with.
    pub sloppy: f64,
    pub free: f64,
}

/// The tilt of a wall clock: how much faster it runs than the box's, and its deviation, in s/s.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tilt {
    pub tilt: f64,
    pub error: f64,
}

/// Means of one run of a wall clock, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct TiltMemory {
    means: VecDeque<Mean>,
}

impl TiltMemory {
    pub(super) fn clear(&mut self) {
        self.means.clear();
    }

    /// Keeps a mean if it is news.
    pub(super) fn take(&mut self, mean: Mean) {
        if mean.count < LEAST || self.means.back().is_some_and(|m| mean.media - m.media < EVERY) {
            return;
        }
        if self.means.len() == KEPT {
            self.means.pop_front();
        }
        self.means.push_back(mean);
    }

    /// The line of least squares through the means, and the scatter of the reports; `None` of fewer than two means.
    pub(super) fn get(&self) -> Option<Remembered> {
        let tilt = self.tilt()?;
        let n = self.means.len() as f64;
        let squares: f64 = self.means.iter().map(|m| m.sloppy * m.sloppy).sum();
        // Neighbours share half of their reports.
        let free: usize = self.means.iter().map(|m| m.count / 2).sum();
        Some(Remembered {
            tilt,
            sloppy: (squares / n).sqrt(),
            free: free as f64,
        })
    }

    fn tilt(&self) -> Option<Tilt> {
        let first = self.means.front()?;
        let n = self.means.len() as f64;
        let points = || {
            self.means.iter().map(|m| {
                let wall = (m.wall_minus_box - first.wall_minus_box).as_nanos() as f64;
                ((m.media - first.media).as_secs_f64(), wall)
            })
        };
        let (mut middle, mut mean) = (0.0, 0.0);
        for (at, wall) in points() {
            middle += at / n;
            mean += wall / n;
        }
        let (mut spread, mut along) = (0.0, 0.0);
        for (at, wall) in points() {
            spread += (at - middle) * (at - middle);
            along += (at - middle) * (wall - mean);
        }
        let noise = self.means.iter().map(|m| m.noise).fold(0.0, f64::max);
        (spread > 0.0).then(|| Tilt {
            tilt: along / spread / 1e9,
            error: SHARED * noise / spread.sqrt() / 1e9,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(s: i64, wall_us: i64) -> Mean {
        Mean {
            media: Span::from_secs(s),
            wall_minus_box: Span::from_secs(1_790_000_000) + Span::from_micros(wall_us),
            noise: 50e3,
            sloppy: 300e3,
            count: 36,
        }
    }

    #[test]
    fn twelve_minutes_tell_what_three_cannot() {
        let mut memory = TiltMemory::default();
        assert_eq!(memory.tilt(), None);
        for i in 0..20 {
            memory.take(mean(i * 30, i * 30 * 11));
        }
        let Tilt { tilt, error } = memory.tilt().unwrap();
        assert!((tilt - 11e-6).abs() < 1e-9, "{tilt}");
        assert!(error < 0.4e-6, "{error}");
        assert_eq!(memory.means.len(), 7);
        memory.take(Mean {
            count: 3,
            ..mean(9_000, 0)
        });
        assert_eq!(memory.means.len(), 7, "too few reports to be a mean");
        memory.clear();
        assert_eq!(memory.tilt(), None);
    }
}
