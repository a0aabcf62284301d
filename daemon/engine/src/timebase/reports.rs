//! What sender reports say of the media clock: which media time is *now*, told with next to no delay.
//!
//! The shape of the media clock (its drift) comes from all frames; reports add the one thing frames cannot tell, how
//! long light takes to become an arrival. Lateness is one-sided, so the least delayed report stands for all.

use std::collections::VecDeque;

use synoptic_base::{Mono, Span};

use super::WallVerdict;
use super::hull::Shape;
use super::likely::Likely;
use super::tilt::TiltMemory;
use super::walled::{self, Walled};

/// Reports kept: about two minutes at the usual 2 to 5 s.
const KEPT: usize = walled::MOST;
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
/// A normal error lies within so many deviations in 99.9 % of cases.
const SIGMAS: f64 = 3.29;
/// An exponential delay is shorter than so many of its means in 99.9 % of cases.
const TAIL: f64 = 6.9;
/// The least of forty normal values lies so many deviations below their mean, and seldom further: what is least by arrivals is
/// early by what its camera read sloppily.
const LEAST_OF_MANY: f64 = 2.5;
/// A camera that reads its two clocks one after the other does it within this. What scatters by more is late.
const SLOPPIEST: Span = Span::from_millis(1);

#[derive(Clone, Copy, Debug)]
struct Point {
    media: Span,
    /// arrival − media, less what the path has become slower by.
    level: Span,
    /// The envelope of the frames there, as it was last known while the report was in its newer half.
    shape: Option<Span>,
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
    /// What is remembered of the newest run.
    tilts: TiltMemory,
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
    pub(super) fn take(&mut self, report: ReportPoint, path: (Span, Shape)) {
        // A slower path delays reports too, unless only the encoder became slower: taking it out never makes a report
        // earlier than what the ones before it say.
        let (path_extra, shape) = path;
        let media = report.media;
        let raw = Span::from_nanos(report.arrival.as_nanos()) - media;
        let usual = if path_extra == Span::ZERO {
            None
        } else {
            self.level(media, shape)
        };
        let level = match usual {
            Some((usual, _)) if raw > usual => (raw - path_extra).max(usual),
            _ => raw,
        };
        let wall = match report.verdict {
            Some(WallVerdict::Stepped(_)) => {
                self.run += 1;
                self.tilts.clear();
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
            shape: None,
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
        self.tilts.clear();
        self.found = None;
    }

    /// `now − media` at media time `media`, and how far it may be off; `None` without reports.
    pub(super) fn level(&mut self, media: Span, shape: Shape) -> Option<(Span, Span)> {
        let same = |f: &Found| (f.drift - shape.drift).abs() <= SAME_DRIFT;
        let found = match self.found.filter(same) {
            Some(found) => found,
            None => {
                self.note_shape(media, shape);
                let (level, error) = self.find(media, shape)?;
                *self.found.insert(Found {
                    drift: shape.drift,
                    media,
                    level,
                    error,
                })
            }
        };
        let along = (media - found.media).as_nanos() as f64 * shape.drift;
        Some((found.level + Span::from_nanos(along as i64), found.error))
    }

    /// Notes where the envelope of the frames lies at each report that is still in the newer half of its window.
    fn note_shape(&mut self, media: Span, shape: Shape) {
        let newer = Span::from_secs_f64(walled::MIDDLE_S);
        for p in self.points.iter_mut().rev() {
            if p.shape.is_some() && media - p.media > newer {
                return;
            }
            p.shape = shape.at(p.media);
        }
    }

    fn find(&mut self, media: Span, shape: Shape) -> Option<(Span, Span)> {
        let (least, error, waited) = self.by_arrivals(media, shape)?;
        let newest = self.by_wall(self.run, media, shape);
        if let (Some(newest), Some(now)) = (newest, shape.at(media)) {
            let mut mean = newest.mean;
            mean.media += media;
            mean.wall_minus_box += -now;
            self.tilts.take(mean);
        }
        // Soon after a step the reports before it still know more.
        let before = self
            .run
            .checked_sub(1)
            .and_then(|run| self.by_wall(run, media, shape));
        let sloppy = newest.or(before).map_or(0.0, |l| l.mean.sloppy * LEAST_OF_MANY);
        let sloppy = Span::from_nanos(sloppy as i64).min(SLOPPIEST);
        let better = match (newest.map(|l| l.likely), before.map(|l| l.likely)) {
            (Some(a), Some(b)) => Some(a.together(b)),
            (one, other) => one.or(other),
        }
        .map(Likely::within);
        // The wall clock may wander; it is not let further than the arrivals allow.
        Some(match better {
            Some((level, narrow)) if (level - least).abs() <= error + narrow + sloppy => {
                // What the frames' envelope does not follow has only one side.
                let bend = shape.bend / 2;
                (level + bend, narrow.max(FLOOR) + bend + waited)
            }
            _ => (least, error + sloppy + waited),
        })
    }

    /// By the least delayed report; also how long that one may have waited for the box.
    fn by_arrivals(&self, media: Span, shape: Shape) -> Option<(Span, Span, Span)> {
        let grown = grown(media, shape);
        let flat = |p: &Point| p.level + grown(p);
        let mut all = [Span::ZERO; KEPT];
        let all = &mut all[..self.points.len()];
        for (to, p) in all.iter_mut().zip(&self.points) {
            *to = flat(p);
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
        let stands = self.points.iter().find(|p| flat(p) == least)?;
        let mut later = [0.0; KEPT];
        let later = &mut later[..n];
        for (to, level) in later.iter_mut().zip(all) {
            *to = (*level - least).as_nanos() as f64;
        }
        // Of so few that their mean says next to nothing, the middle one does.
        let late = match later.get(n / 2) {
            Some(middle) if n <= FEW.len() => *middle / n as f64,
            _ => walled::least_of(later).1,
        };
        let error = FLOOR + Span::from_nanos((late * TAIL) as i64);
        let error = FEW.get(n - 1).map_or(error, |few| error.max(*few));
        let drifted = walled::extrapolated((media - stands.media).as_secs_f64()) * 1e9;
        let drifted = drifted * shape.drift_error * SIGMAS;
        let error = Span::from_nanos((error.as_nanos() as f64).hypot(drifted) as i64);
        Some((least, error, stands.waited))
    }

    /// By delays and wall times taken apart, of one run of the wall clock.
    fn by_wall(&self, run: u32, media: Span, shape: Shape) -> Option<walled::Level> {
        let grown = grown(media, shape);
        let newest = self.points.back()?.media;
        let mut kept = [Walled::default(); KEPT];
        let mut n = 0;
        for p in &self.points {
            let Some((wall_minus_media, of)) = p.wall else {
                continue;
            };
            // What was before a long silence says nothing: drift is not known that well.
            if of == run && newest - p.media <= WINDOW {
                kept[n] = Walled {
                    age_s: (media - p.media).as_secs_f64(),
                    wall_minus_media: wall_minus_media + grown(p),
                    arrival_minus_wall: p.level - wall_minus_media,
                };
                n += 1;
            }
        }
        let known = (run == self.run).then(|| self.tilts.get()).flatten();
        walled::level(&kept[..n], shape.drift_error, known)
    }
}

/// What the envelope of the frames has grown by since a report.
///
/// The difference of what the envelope is now and what it was known to be there then, not the drift of now times the time
/// between: a media clock that wanders took another way, and where a report was in the middle of the envelope's window,
/// the envelope knew best.
fn grown(media: Span, shape: Shape) -> impl Fn(&Point) -> Span {
    let now = shape.at(media);
    move |p| match now.zip(p.shape) {
        Some((now, then)) => now - then,
        None => Span::from_nanos(((media - p.media).as_nanos() as f64 * shape.drift) as i64),
    }
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
            reports.take(report, (Span::ZERO, Shape::default()));
        }
        reports
    }

    #[test]
    fn the_least_late_report_stands_for_all_and_early_ones_for_nothing() {
        let (level, error) = filled(&[900.0, 0.4, 300.0, 0.2, 0.3, 1_700.0, 0.5])
            .level(Span::from_secs(30), Shape::default())
            .unwrap();
        assert!((level - Span::from_secs(1)).abs() <= error, "{level} ± {error}");
        let (level, error) = filled(&[0.4, 0.2, -400.0, 0.3, 0.3, 0.5])
            .level(Span::from_secs(30), Shape::default())
            .unwrap();
        assert!((level - Span::from_secs(1)).abs() <= error, "{level} ± {error}");
    }

    #[test]
    fn one_report_is_enough_and_many_are_better() {
        assert!(
            ReportLevel::default()
                .level(Span::ZERO, Shape::default())
                .is_none()
        );
        let few = filled(&[1.0]).level(Span::ZERO, Shape::default()).unwrap().1;
        let many = filled(&[0.2; 20]).level(Span::ZERO, Shape::default()).unwrap().1;
        assert!(few >= Span::from_millis(50) && many <= Span::from_micros(150));
        assert!(filled(&[0.2; 20]).seen(3, Some(3)) && !filled(&[0.2]).seen(3, None));
    }
}
