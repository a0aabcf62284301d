//! A camera's own wall clock, as its sender reports tell it: measured and reported, never used to place a frame.

use std::collections::VecDeque;

use synoptic_base::{Mono, Span, Utc};

/// Reports kept: about five minutes at the usual 5 s.
const REPORTS: usize = 60;
/// A change of (wall − media) beyond this is a step, not jitter of the report: sender reports of real cameras
/// scatter by 1 to 3 ms, the clean ones by 0.02 ms.
const STEP: Span = Span::from_millis(50);
/// A second report must agree with the first this well before a step is believed.
const STEP_AGREES: Span = Span::from_millis(20);

#[derive(Clone, Copy, Debug)]
struct Report {
    /// Camera's wall clock − box's monotonic clock at arrival: too small by the delay of the report.
    wall_minus_mono: Span,
    /// Camera's wall clock − its media clock.
    wall_minus_media: Span,
}

/// What is known of a camera's wall clock.
#[derive(Clone, Debug, Default)]
pub struct WallClock {
    reports: VecDeque<Report>,
    /// A report that disagrees with the others, until the next one decides.
    suspect: Option<Report>,
    steps: u32,
}

impl WallClock {
    /// Takes a report: at media time `media` the camera's wall clock read `wall`, and the box learned it at
    /// `arrival`. Returns the size of a step that this report confirms.
    pub fn observe(&mut self, media: Span, wall: Utc, arrival: Mono) -> Option<Span> {
        let wall = Span::from_nanos(wall.as_nanos());
        let new = Report {
            wall_minus_mono: wall - Span::from_nanos(arrival.as_nanos()),
            wall_minus_media: wall - media,
        };
        if let Some(usual) = self.usual_wall_minus_media()
            && (new.wall_minus_media - usual).abs() > STEP
        {
            let agrees = |s: &Report| (s.wall_minus_media - new.wall_minus_media).abs() <= STEP_AGREES;
            let Some(first) = self.suspect.filter(agrees) else {
                self.suspect = Some(new);
                return None;
            };
            self.suspect = None;
            self.steps += 1;
            self.reports = VecDeque::from([first, new]);
            return Some(new.wall_minus_media - usual);
        }
        self.suspect = None;
        if self.reports.len() == REPORTS {
            self.reports.pop_front();
        }
        self.reports.push_back(new);
        None
    }

    /// Camera's wall clock − box's monotonic clock, by the least delayed report; `None` before the first.
    pub fn wall_minus_mono(&self) -> Option<Span> {
        self.reports.iter().map(|r| r.wall_minus_mono).max()
    }

    /// Steps seen.
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// The median: one late-anchored report does not move it.
    fn usual_wall_minus_media(&self) -> Option<Span> {
        let mut all: Vec<Span> = self.reports.iter().map(|r| r.wall_minus_media).collect();
        let middle = all.len() / 2;
        (!all.is_empty()).then(|| *all.select_nth_unstable(middle).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> (Span, Mono) {
        (Span::from_secs(secs), Mono::from_nanos(secs * 1_000_000_000))
    }

    #[test]
    fn a_step_is_believed_at_its_second_report_and_an_outlier_never() {
        let mut clock = WallClock::default();
        let wall =
            |secs: i64, off_ms: i64| Utc::from_nanos(0) + Span::from_secs(secs) + Span::from_millis(off_ms);
        for s in 0..5 {
            let (media, arrival) = at(s * 5);
            assert_eq!(clock.observe(media, wall(s * 5, 100), arrival), None);
        }
        let (media, arrival) = at(25);
        assert_eq!(clock.observe(media, wall(25, 9_000), arrival), None, "an outlier");
        let (media, arrival) = at(30);
        assert_eq!(clock.observe(media, wall(30, 100), arrival), None);
        assert_eq!(clock.wall_minus_mono(), Some(Span::from_millis(100)));
        for (s, step) in [(35, None), (40, Some(Span::from_millis(-600)))] {
            let (media, arrival) = at(s);
            assert_eq!(clock.observe(media, wall(s, -500), arrival), step);
        }
        assert_eq!(
            (clock.steps(), clock.wall_minus_mono()),
            (1, Some(Span::from_millis(-500)))
        );
    }
}
