//! A camera's own wall clock, as its sender reports tell it: measured and reported, never used to place a frame.
//!
//! A report pairs three clocks: the camera's wall, its media clock, and the box's at arrival. Which of the three pairs
//! disagrees with the past tells what moved: the wall clock (both its differences move alike), the media anchor
//! (late-anchored reports: the wall agrees with the box, the media time is old), or only the network.

use std::collections::VecDeque;
use std::sync::OnceLock;

use synoptic_base::{Mono, Span, Utc};

use super::fit::RobustLine;

/// Reports kept: about five minutes at the usual 5 s.
const REPORTS: usize = 60;
/// A change of (wall − media) beyond this is a step, not jitter of the report: sender reports of real cameras
/// scatter by 1 to 3 ms, the clean ones by 0.02 ms.
const STEP: Span = Span::from_millis(50);
/// A report this near to a line drawn some reports ago agrees with what a new line would say as well: so nearly always none is
/// drawn, which is most of what a report costs.
const NEAR_ENOUGH: Span = Span::from_millis(25);
/// A second report must agree with the first this well before a step is believed.
const STEP_AGREES: Span = Span::from_millis(20);
/// So many reports in a row that agree on a new media anchor are one.
const ANCHOR_AGREES: usize = 3;
/// Steps remembered.
const STEP_LOG: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Report {
    media: Span,
    /// Camera's wall clock − box's monotonic clock at arrival: too small by the delay of the report.
    wall_minus_mono: Span,
    /// Camera's wall clock − its media clock.
    wall_minus_media: Span,
}

/// What a report says, compared with those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WallVerdict {
    /// It agrees.
    Agrees,
    /// The wall clock seems to have stepped by this: found at its first report, believed at its second.
    Suspect(Span),
    /// The wall clock stepped by this.
    Stepped(Span),
    /// Its media time is old by this: anchored when the camera got to send.
    Late(Span),
    /// The media clock moved against the wall clock by this, and stays so.
    Reanchored(Span),
}

/// What is known of a camera's wall clock.
#[derive(Clone, Debug, Default)]
pub struct WallClock {
    reports: VecDeque<Report>,
    /// The line through them, once somebody asked for it.
    line: OnceLock<Option<RobustLine>>,
    /// The last line that was drawn, through these reports or some of those before; and what its values are relative to.
    drawn: Option<(RobustLine, Span)>,
    /// A report that disagrees with the others, until the next one decides.
    suspect: Option<Report>,
    /// Reports in a row with another media anchor.
    late: Vec<Report>,
    late_count: u32,
    steps: u32,
    step_log: VecDeque<(Mono, Span)>,
}

impl WallClock {
    /// Takes a report: at media time `media` the camera's wall clock read `wall`, and the box learned it at
    /// `arrival`. Returns the size of a step that this report confirms.
    pub fn observe(&mut self, media: Span, wall: Utc, arrival: Mono) -> Option<Span> {
        match self.take(media, wall, arrival) {
            WallVerdict::Stepped(by) => Some(by),
            _ => None,
        }
    }

    /// As [`WallClock::observe`], with the whole verdict.
    pub fn take(&mut self, media: Span, wall: Utc, arrival: Mono) -> WallVerdict {
        let wall = Span::from_nanos(wall.as_nanos());
        let new = Report {
            media,
            wall_minus_mono: wall - Span::from_nanos(arrival.as_nanos()),
            wall_minus_media: wall - media,
        };
        let verdict = self.judge(new, arrival);
        if matches!(verdict, WallVerdict::Suspect(_)) {
            return verdict;
        }
        self.suspect = None;
        if !matches!(verdict, WallVerdict::Late(_)) {
            self.late.clear();
            self.outdate();
            if !matches!(verdict, WallVerdict::Agrees) {
                self.drawn = None;
            }
            if self.reports.len() == REPORTS {
                self.reports.pop_front();
            }
            self.reports.push_back(new);
        }
        verdict
    }

    /// Camera's wall clock − box's monotonic clock, by the least delayed report; `None` before the first.
    pub fn wall_minus_mono(&self) -> Option<Span> {
        self.reports.iter().map(|r| r.wall_minus_mono).max()
    }

    /// The camera's wall clock when its media clock read `media`: what WebRTC's RtpToNtpEstimator gives, robustly.
    pub fn utc_of(&self, media: Span) -> Option<Utc> {
        let base = self.base()?;
        Some(by_line(self.line()?, base, media))
    }

    /// How much faster the wall clock runs than the media clock, in parts per million; `None` before two reports.
    pub fn ppm(&self) -> Option<f64> {
        let line = self.line()?;
        (line.inliers >= 2).then_some(line.drift * 1e6)
    }

    /// Forgets the reports, as another media clock begins; the steps stay.
    pub(super) fn begin_anew(&mut self) {
        self.reports.clear();
        self.late.clear();
        (self.line, self.drawn, self.suspect) = (OnceLock::new(), None, None);
    }

    /// Steps seen.
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// The latest steps: when found, and by how much.
    pub fn step_log(&self) -> impl Iterator<Item = (Mono, Span)> + '_ {
        self.step_log.iter().copied()
    }

    /// Reports that were anchored late.
    pub fn late_count(&self) -> u32 {
        self.late_count
    }

    /// Spread of (NTP − rtp/rate): nine of ten reports lie within this of the line; `None` below three reports.
    pub fn spread(&self) -> Option<Span> {
        let (line, base) = (self.line()?, self.base()?);
        let all = self.reports.iter().chain(&self.late);
        let mut off: Vec<f64> = all
            .map(|r| {
                let y = (r.wall_minus_media - base).as_nanos() as f64;
                (y - line.at(r.media.as_nanos() as f64)).abs()
            })
            .collect();
        if off.len() < 3 {
            return None;
        }
        let at = (off.len() * 9 / 10).min(off.len() - 1);
        Some(Span::from_nanos(
            *off.select_nth_unstable_by(at, f64::total_cmp).1 as i64,
        ))
    }

    /// Values are kept relative to the oldest report, so that f64 resolves nanoseconds.
    fn base(&self) -> Option<Span> {
        self.reports.front().map(|r| r.wall_minus_media)
    }

    /// The reports are about to change: their line is only the last one that was drawn.
    fn outdate(&mut self) {
        if let (Some(Some(line)), Some(base)) = (self.line.take(), self.base()) {
            self.drawn = Some((line, base));
        }
    }

    fn line(&self) -> Option<RobustLine> {
        *self.line.get_or_init(|| self.fit())
    }

    fn fit(&self) -> Option<RobustLine> {
        let base = self.base()?;
        let points: Vec<(f64, f64)> = self
            .reports
            .iter()
            .map(|r| {
                let y = r.wall_minus_media - base;
                (r.media.as_nanos() as f64, y.as_nanos() as f64)
            })
            .collect();
        let guess = self.drawn.map_or(0.0, |(line, _)| line.drift);
        RobustLine::fit(&points, guess)
    }

    fn judge(&mut self, new: Report, arrival: Mono) -> WallVerdict {
        let wall = Utc::from_nanos((new.wall_minus_media + new.media).as_nanos());
        let near = |(line, base)| (wall - by_line(line, base, new.media)).abs() <= NEAR_ENOUGH;
        if self.drawn.is_some_and(near) {
            return WallVerdict::Agrees;
        }
        let (Some(usual), Some(usual_mono)) = (self.utc_of(new.media), self.wall_minus_mono()) else {
            return WallVerdict::Agrees;
        };
        let by_media = wall - usual;
        if by_media.abs() <= STEP {
            return WallVerdict::Agrees;
        }
        let by_mono = new.wall_minus_mono - usual_mono;
        if (by_mono - by_media).abs() >= by_mono.abs() {
            return self.anchored_otherwise(new, by_media);
        }
        let agrees = |s: &Report| (s.wall_minus_media - new.wall_minus_media).abs() <= STEP_AGREES;
        let Some(first) = self.suspect.filter(agrees) else {
            self.suspect = Some(new);
            return WallVerdict::Suspect(by_media);
        };
        self.steps += 1;
        if self.step_log.len() == STEP_LOG {
            self.step_log.pop_front();
        }
        self.step_log.push_back((arrival, by_media));
        self.reports = VecDeque::from([first]);
        WallVerdict::Stepped(by_media)
    }

    fn anchored_otherwise(&mut self, new: Report, by: Span) -> WallVerdict {
        self.late_count += 1;
        let agrees = |l: &Report| (l.wall_minus_media - new.wall_minus_media).abs() <= STEP_AGREES;
        self.late.retain(agrees);
        self.late.push(new);
        if self.late.len() < ANCHOR_AGREES {
            return WallVerdict::Late(by);
        }
        self.late.pop();
        self.reports = std::mem::take(&mut self.late).into();
        WallVerdict::Reanchored(by)
    }
}

/// The wall clock at a media time, by a line whose values are relative to `base`.
fn by_line(line: RobustLine, base: Span, media: Span) -> Utc {
    let above = line.at(media.as_nanos() as f64);
    Utc::from_nanos((media + base).as_nanos()) + Span::from_nanos(above as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> (Span, Mono) {
        (Span::from_secs(secs), Mono::from_nanos(secs * 1_000_000_000))
    }

    fn wall(secs: i64, off_ms: i64) -> Utc {
        Utc::from_nanos(0) + Span::from_secs(secs) + Span::from_millis(off_ms)
    }

    #[test]
    fn a_step_is_believed_at_its_second_report_and_an_outlier_never() {
        let mut clock = WallClock::default();
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
        assert_eq!(clock.step_log().count(), 1);
    }

    #[test]
    fn a_step_is_suspected_at_its_first_report_and_told_from_late_anchors() {
        let mut clock = WallClock::default();
        for s in 0..6 {
            let (media, arrival) = at(s * 5);
            assert_eq!(clock.take(media, wall(s * 5, 0), arrival), WallVerdict::Agrees);
        }
        // Anchored 700 ms late: the media time is old, wall and arrival are of now.
        let (media, arrival) = at(30);
        let late = Span::from_millis(700);
        assert_eq!(
            clock.take(media - late, wall(30, 0), arrival),
            WallVerdict::Late(late)
        );
        let (media, arrival) = at(35);
        let step = Span::from_millis(250);
        assert_eq!(
            clock.take(media, wall(35, 250), arrival),
            WallVerdict::Suspect(step)
        );
        // Nothing moved yet: frames read the old clock.
        assert_eq!(clock.utc_of(media), Some(wall(35, 0)));
        let (media, arrival) = at(40);
        assert_eq!(
            clock.take(media, wall(40, 250), arrival),
            WallVerdict::Stepped(step)
        );
        assert_eq!(clock.utc_of(media), Some(wall(40, 250)));
    }

    #[test]
    fn a_media_clock_that_moved_for_good_is_followed_at_the_third_report() {
        let mut clock = WallClock::default();
        for s in 0..6 {
            let (media, arrival) = at(s * 5);
            clock.take(media, wall(s * 5, 0), arrival);
        }
        let paused = Span::from_millis(400);
        for (s, expected) in [
            (30, WallVerdict::Late(paused)),
            (35, WallVerdict::Late(paused)),
            (40, WallVerdict::Reanchored(paused)),
            (45, WallVerdict::Agrees),
        ] {
            let (media, arrival) = at(s);
            assert_eq!(clock.take(media - paused, wall(s, 0), arrival), expected, "{s} s");
        }
        assert_eq!(clock.steps(), 0);
    }
}
