//! What sender reports say of the media clock: which media time is *now*, told with next to no delay.
//!
//! The shape of the media clock (its drift) comes from all frames; reports add the one thing frames cannot tell, how
//! long light takes to become an arrival. Lateness is one-sided, so the least delayed report stands for all.

use std::collections::VecDeque;

use synoptic_base::{Mono, Span};

use super::WallVerdict;
use super::walled::{self, Walled};

/// Reports kept: about two minutes at the usual 2 to 5 s.
const KEPT: usize = 40;
/// A report older than this no longer stands for the level, one of the newest [`LEAST_KEPT`] excepted.
const WINDOW: Span = Span::from_secs(180);
const LEAST_KEPT: usize = 4;
/// A report this much earlier than three that agree has a wrong RTP time: nothing arrives early.
const TOO_EARLY: Span = Span::from_millis(15);
const AGREE: Span = Span::from_millis(5);
/// The least delayed of 1, 2, 3 and 4 reports may still be this late, on a busy network or box. A single one waits behind
/// an I picture, or is the one packet in a hundred that is late by tens of milliseconds.
const FEW: [Span; 4] = [
    Span::from_millis(50),
    Span::from_millis(8),
    Span::from_millis(4),
    Span::from_millis(3),
];
/// Never better than this: ticks, wander, and the scatter of a report's own clock reading.
const FLOOR: Span = Span::from_micros(100);
/// A drift that changed by less is the same: 9 µs over the window.
const SAME_DRIFT: f64 = 5e-8;
/// With exponential delays of mean `m`, the least of `n` is below `7·m/n` in 99.9 % of cases.
const TAIL: i64 = 7;

#[derive(Clone, Copy, Debug)]
struct Point {
    media: Span,
    /// arrival − media, less what the path has become slower by.
    level: Span,
    /// How long it may have waited for the box.
    waited: Span,
    rtp: u32,
    ntp: Option<i64>,
    /// wall − media, and the run of the wall clock that it belongs to; `None` without, and while a step is only suspected.
    wall: Option<(Span, u32)>,
}

/// A sender report on the box's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReportPoint {
    pub media: Span,
    pub rtp: u32,
    /// NTP time in nanoseconds since 1970.
    pub ntp: Option<i64>,
    pub arrival: Mono,
    /// How long it may have waited for the box to read it at `arrival`.
    pub waited: Span,
    /// What its wall time is worth: `None` while that is not known.
    pub verdict: Option<WallVerdict>,
}

/// The sender reports of the last minutes.
#[derive(Clone, Debug, Default)]
pub(super) struct ReportLevel {
    points: VecDeque<Point>,
    /// Runs of the wall clock so far.
    run: u32,
    found: Option<Found>,
}

/// What the reports say, until another comes or the drift is known better.
#[derive(Clone, Copy, Debug)]
struct Found {
    drift: f64,
    media: Span,
    level: Span,
    error: Span,
}

impl ReportLevel {
    /// Whether the very same report was seen.
    pub(super) fn seen(&self, rtp: u32, ntp: Option<i64>) -> bool {
        self.points.iter().any(|p| p.rtp == rtp && p.ntp == ntp)
    }

    /// Takes a report; `path` is what the path has become slower by, and the drift.
    pub(super) fn take(&mut self, report: ReportPoint, path: (Span, f64)) {
        // A slower path delays reports too, unless only the encoder became slower: taking it out never makes a report
        // earlier than what the ones before it say.
        let (path_extra, drift) = path;
        let media = report.media;
        let raw = Span::from_nanos(report.arrival.as_nanos()) - media;
        let level = match self.level(media, drift) {
            Some((usual, _)) if raw > usual => (raw - path_extra).max(usual),
            _ => raw,
        };
        let wall = match report.verdict {
            Some(WallVerdict::Stepped(_)) => {
                self.run += 1;
                Some(self.run)
            }
            Some(WallVerdict::Agrees | WallVerdict::Late(_) | WallVerdict::Reanchored(_)) => Some(self.run),
            Some(WallVerdict::Suspect(_)) | None => None,
        };
        if self.points.len() == KEPT {
            self.points.pop_front();
        }
        self.points.push_back(Point {
            media,
            level,
            waited: report.waited,
            rtp: report.rtp,
            ntp: report.ntp,
            wall: wall
                .zip(report.ntp)
                .map(|(run, ntp)| (Span::from_nanos(ntp) - media, run)),
        });
        while self.points.len() > LEAST_KEPT
            && self
                .points
                .front()
                .is_some_and(|first| media - first.media > WINDOW)
        {
            self.points.pop_front();
        }
        self.found = None;
    }

    pub(super) fn clear(&mut self) {
        self.points.clear();
        self.found = None;
    }

    /// `now − media` at media time `media`, and how far it may be off; `None` without reports.
    pub(super) fn level(&mut self, media: Span, drift: f64) -> Option<(Span, Span)> {
        let found = match self.found.filter(|f| (f.drift - drift).abs() <= SAME_DRIFT) {
            Some(found) => found,
            None => {
                let (level, error) = self.find(media, drift)?;
                *self.found.insert(Found {
                    drift,
                    media,
                    level,
                    error,
                })
            }
        };
        let along = (media - found.media).as_nanos() as f64 * drift;
        Some((found.level + Span::from_nanos(along as i64), found.error))
    }

    fn find(&self, media: Span, drift: f64) -> Option<(Span, Span)> {
        let (least, error, waited) = self.by_arrivals(media, drift)?;
        let newest = self.by_wall(self.run, media, drift);
        // Soon after a step the reports before it still know more.
        let before = self
            .run
            .checked_sub(1)
            .and_then(|run| self.by_wall(run, media, drift));
        let better = match (newest, before) {
            (Some(a), Some(b)) => Some(together(a, b)),
            (one, other) => one.or(other),
        };
        // The wall clock may wander; it is not let further than the arrivals allow.
        Some(match better {
            Some((level, narrow)) if (level - least).abs() <= error + narrow => {
                (level, narrow.max(FLOOR) + waited)
            }
            _ => (least, error + waited),
        })
    }

    /// By the least delayed report; also how long that one may have waited for the box.
    fn by_arrivals(&self, media: Span, drift: f64) -> Option<(Span, Span, Span)> {
        let mut all = [Span::ZERO; KEPT];
        let all = &mut all[..self.points.len()];
        for (to, p) in all.iter_mut().zip(&self.points) {
            *to = p.level + along(media - p.media, drift);
        }
        all.sort_unstable();
        let mut all = &*all;
        if let [first, second, _, fourth, ..] = *all
            && second - first > TOO_EARLY
            && fourth - second <= AGREE
        {
            all = &all[1..];
        }
        let least = *all.first()?;
        let n = all.len();
        let usual = all[n / 2] - least;
        let stands = |p: &&Point| p.level + along(media - p.media, drift) == least;
        let waited = self.points.iter().find(stands).map_or(Span::ZERO, |p| p.waited);
        let error = FLOOR + usual * TAIL / n as i64;
        let error = FEW.get(n - 1).map_or(error, |few| error.max(*few));
        Some((least, error, waited))
    }

    /// By delays and wall times taken apart, of one run of the wall clock.
    fn by_wall(&self, run: u32, media: Span, drift: f64) -> Option<(Span, Span)> {
        let newest = self.points.back()?.media;
        let of_run = self.points.iter().filter_map(|p| {
            let (wall_minus_media, of) = p.wall?;
            // What was before a long silence says nothing: drift is not known that well.
            (of == run && newest - p.media <= WINDOW).then_some(Walled {
                age_s: (media - p.media).as_secs_f64(),
                wall_minus_media: wall_minus_media + along(media - p.media, drift),
                arrival_minus_wall: p.level - wall_minus_media,
            })
        });
        walled::level(&of_run.collect::<Vec<_>>())
    }
}

/// Two levels of which neither knows anything of the other's errors: each counts by the square of how sure it is. The bound
/// stays that of the surer one: theirs together would hold for normal errors only, and delays have a longer tail.
fn together(a: (Span, Span), b: (Span, Span)) -> (Span, Span) {
    let weight = |error: Span| (error.as_nanos().max(1) as f64).powi(-2);
    let (wa, wb) = (weight(a.1), weight(b.1));
    let apart = (b.0 - a.0).as_nanos() as f64;
    let level = a.0 + Span::from_nanos((apart * wb / (wa + wb)) as i64);
    (level, a.1.min(b.1))
}

fn along(apart: Span, drift: f64) -> Span {
    Span::from_nanos((apart.as_nanos() as f64 * drift) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(delays_ms: &[f64]) -> ReportLevel {
        let mut reports = ReportLevel::default();
        for (i, delay) in delays_ms.iter().enumerate() {
            let media = Span::from_secs(i as i64 * 5);
            let arrival = Mono::from_nanos(1_000_000_000) + media + Span::from_secs_f64(delay / 1e3);
            let report = ReportPoint {
                media,
                rtp: i as u32,
                ntp: Some(i as i64),
                arrival,
                waited: Span::ZERO,
                verdict: None,
            };
            reports.take(report, (Span::ZERO, 0.0));
        }
        reports
    }

    #[test]
    fn the_least_late_report_stands_for_all_and_early_ones_for_nothing() {
        let (level, error) = filled(&[900.0, 0.4, 300.0, 0.2, 0.3, 1_700.0, 0.5])
            .level(Span::from_secs(30), 0.0)
            .unwrap();
        assert!((level - Span::from_secs(1)).abs() <= error, "{level} ± {error}");
        let (level, error) = filled(&[0.4, 0.2, -400.0, 0.3, 0.3, 0.5])
            .level(Span::from_secs(30), 0.0)
            .unwrap();
        assert!((level - Span::from_secs(1)).abs() <= error, "{level} ± {error}");
    }

    #[test]
    fn one_report_is_enough_and_many_are_better() {
        assert!(ReportLevel::default().level(Span::ZERO, 0.0).is_none());
        let few = filled(&[1.0]).level(Span::ZERO, 0.0).unwrap().1;
        let many = filled(&[0.2; 20]).level(Span::ZERO, 0.0).unwrap().1;
        assert!(few >= Span::from_millis(50) && many <= Span::from_micros(150));
        assert!(filled(&[0.2; 20]).seen(3, Some(3)) && !filled(&[0.2]).seen(3, None));
    }
}
