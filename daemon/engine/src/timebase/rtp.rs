//! Capture times for an RTP stream.
//!
//! Two lower envelopes over the stream's media clock place it on the box's clock:
//!
//! * of **sender reports**: a report says which media time it is *now*, and travels with next to no delay, so the
//!   envelope gives the box's time of a media time without the camera's encoder in it;
//! * of **frames**: what arrives least late. Its bias is the camera's least delay from light to wire, unknown
//!   without reports, so a one-sided prior covers it.
//!
//! The NTP time in the reports is not used for this: only for [`TimeHealth::wall_minus_mono`].

use synoptic_base::{Captured, MediaTime, Mono, Span, TimeSource, Utc};

use super::{MinDelayHull, RtpUnwrapper, WallClock};

/// Least delay from light to wire of a network camera with encoder: between nothing and this. Published
/// glass-to-wire figures of IP cameras lie at 30 to 120 ms.
const MAX_LIGHT_TO_WIRE: Span = Span::from_millis(150);
/// What is left of arrival jitter after the envelope, before it has a long history.
const YOUNG_ENVELOPE: Span = Span::from_millis(10);
/// The same once the envelope is older than [`MATURE_AFTER`].
const MATURE_ENVELOPE: Span = Span::from_millis(1);
const MATURE_AFTER: Span = Span::from_secs(10);
/// Sender reports scatter by 1 to 3 ms on real servers: what is left of it in the least delayed of several.
const REPORT_SCATTER: Span = Span::from_millis(3);
/// The least delayed of few reports may still be this late, on a busy network or box.
const FEW_REPORTS_SCATTER: Span = Span::from_millis(25);
/// Reports that are no longer few.
const ENOUGH_REPORTS: usize = 5;
/// A report is believed while the frames it explains reached the box between these after their capture.
const SANE_DELAY: std::ops::RangeInclusive<Span> = Span::from_millis(-50)..=Span::from_secs(3);
/// A report older than this no longer stands for the present.
const REPORT_LIFE: Span = Span::from_secs(60);
/// A media clock that jumps further than this between two frames has started anew.
const MEDIA_JUMP: Span = Span::from_secs(10);

/// How an RTP stream's times are to be read.
#[derive(Clone, Copy, Debug)]
pub struct RtpTimebaseConfig {
    /// Ticks of the RTP clock a second, from the SDP.
    pub clock_rate_hz: u32,
    /// How late the camera's reports are known to make its frames (positive: the scene was that much earlier).
    pub capture_bias: Span,
    /// How far the bias may be off, to either side.
    pub capture_bias_error: Span,
}

/// An RTCP sender report (RFC 3550 section 6.4.1) as it reached the box.
#[derive(Clone, Copy, Debug)]
pub struct SenderReport {
    /// Its NTP time; `None` when the sender has none (all zero).
    pub wall: Option<Utc>,
    /// Its RTP time.
    pub rtp: u32,
    /// When it arrived.
    pub arrival: Mono,
}

/// What the timebase makes of a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timed {
    /// Media time since the epoch began.
    pub media: MediaTime,
    /// Capture time.
    pub captured: Captured,
    /// The media clock jumped: this frame begins a new epoch, and media time restarts.
    pub new_epoch: bool,
}

/// The state of a camera's time, for people.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeHealth {
    /// How the last frame was timed.
    pub source: Option<TimeSource>,
    /// Bound of the last frame's capture time.
    pub rel_error: Option<Span>,
    /// Camera's wall clock − box's monotonic clock.
    pub wall_minus_mono: Option<Span>,
    /// How much faster the camera's media clock runs than the box's.
    pub drift_ppm: Option<f64>,
    /// When the last usable report arrived.
    pub last_report: Option<Mono>,
    /// Reports seen.
    pub reports: u32,
    /// Reports that made no sense.
    pub bad_reports: u32,
    /// Steps of the camera's wall clock.
    pub wall_steps: u32,
}

/// Times the frames of one RTP stream.
#[derive(Clone, Debug)]
pub struct RtpTimebase {
    config: RtpTimebaseConfig,
    unwrapper: RtpUnwrapper,
    first_ticks: Option<i64>,
    last_media: Option<Span>,
    frames: MinDelayHull,
    reports: MinDelayHull,
    wall: WallClock,
    last_report: Option<Mono>,
    reports_seen: u32,
    bad_reports: u32,
    last: Option<Captured>,
}

impl RtpTimebase {
    /// A timebase for a new connection.
    pub fn new(config: RtpTimebaseConfig) -> RtpTimebase {
        RtpTimebase {
            config,
            unwrapper: RtpUnwrapper::default(),
            first_ticks: None,
            last_media: None,
            frames: MinDelayHull::default(),
            reports: MinDelayHull::default(),
            wall: WallClock::default(),
            last_report: None,
            reports_seen: 0,
            bad_reports: 0,
            last: None,
        }
    }

    /// Takes a sender report. Returns the size of a step of the camera's wall clock that it confirms.
    pub fn report(&mut self, report: SenderReport) -> Option<Span> {
        self.reports_seen += 1;
        // Before the first frame a report has nothing to be compared with; its RTP time anchors the numbering.
        let ticks = if self.last_media.is_some() {
            self.unwrapper.peek(report.rtp)
        } else {
            self.unwrapper.unwrap(report.rtp)
        };
        let media = self.span(ticks);
        if self
            .last_media
            .is_some_and(|last| (media - last).abs() > MEDIA_JUMP)
        {
            self.bad_reports += 1;
            return None;
        }
        self.reports.observe(media, report.arrival);
        self.last_report = Some(report.arrival);
        let wall = report.wall?;
        self.wall.observe(media, wall, report.arrival)
    }

    /// Times a frame: its RTP time, and when its first packet arrived.
    pub fn frame(&mut self, rtp: u32, arrival: Mono) -> Timed {
        let mut ticks = self.unwrapper.unwrap(rtp);
        let mut media = self.span(ticks);
        let new_epoch = self
            .last_media
            .is_some_and(|last| (media - last).abs() > MEDIA_JUMP);
        if new_epoch {
            *self = RtpTimebase {
                reports_seen: self.reports_seen,
                ..RtpTimebase::new(self.config)
            };
            ticks = self.unwrapper.unwrap(rtp);
            media = self.span(ticks);
        }
        let first = *self.first_ticks.get_or_insert(ticks);
        self.last_media = Some(media);
        self.frames.observe(media, arrival);
        let captured = self
            .by_reports(media, arrival)
            .unwrap_or_else(|| self.by_arrivals(media, arrival));
        self.last = Some(captured);
        Timed {
            media: MediaTime::from_ticks(ticks - first, self.config.clock_rate_hz),
            captured,
            new_epoch,
        }
    }

    /// What there is to say about the camera's time.
    pub fn health(&self) -> TimeHealth {
        TimeHealth {
            source: self.last.map(|c| c.source),
            rel_error: self.last.map(|c| c.rel_error),
            wall_minus_mono: self.wall.wall_minus_mono(),
            drift_ppm: self.frames.remote_ppm(),
            last_report: self.last_report,
            reports: self.reports_seen,
            bad_reports: self.bad_reports,
            wall_steps: self.wall.steps(),
        }
    }

    fn span(&self, ticks: i64) -> Span {
        let ns = i128::from(ticks) * 1_000_000_000 / i128::from(self.config.clock_rate_hz.max(1));
        Span::from_nanos(ns as i64)
    }

    fn by_reports(&self, media: Span, arrival: Mono) -> Option<Captured> {
        if arrival - self.last_report? > REPORT_LIFE {
            return None;
        }
        let at = self.reports.arrival_of(media)?;
        let least_delayed = self.frames.arrival_of(media)?;
        if !SANE_DELAY.contains(&(least_delayed - at)) {
            return None;
        }
        let few = self.reports.len() < ENOUGH_REPORTS;
        let scatter = if few { FEW_REPORTS_SCATTER } else { REPORT_SCATTER };
        Some(Captured {
            mono: at - self.config.capture_bias,
            rel_error: self.config.capture_bias_error + scatter,
            source: TimeSource::SenderReport,
        })
    }

    fn by_arrivals(&self, media: Span, arrival: Mono) -> Captured {
        let young = self.frames.span() < MATURE_AFTER;
        let envelope = if young { YOUNG_ENVELOPE } else { MATURE_ENVELOPE };
        let least_delayed = self.frames.arrival_of(media).unwrap_or(arrival);
        // The truth lies between (least_delayed − MAX_LIGHT_TO_WIRE − envelope) and least_delayed.
        let half = (MAX_LIGHT_TO_WIRE + envelope) / 2;
        Captured {
            mono: least_delayed - half,
            rel_error: half,
            source: TimeSource::Arrival,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 90_000;
    const LIGHT_TO_WIRE: Span = Span::from_millis(45);

    fn timebase() -> RtpTimebase {
        RtpTimebase::new(RtpTimebaseConfig {
            clock_rate_hz: RATE,
            capture_bias: Span::ZERO,
            capture_bias_error: Span::from_millis(5),
        })
    }

    /// A camera whose media clock starts near the wrap and whose wall clock is `wall_off` away.
    struct Camera {
        start: u32,
        wall_off: Span,
    }
    impl Camera {
        fn rtp(&self, at: Mono) -> u32 {
            self.start
                .wrapping_add((at.as_nanos() as i128 * i128::from(RATE) / 1_000_000_000) as u32)
        }
        fn report(&self, at: Mono) -> SenderReport {
            SenderReport {
                wall: Some(Utc::from_nanos(1_700_000_000_000_000_000 + at.as_nanos()) + self.wall_off),
                rtp: self.rtp(at),
                arrival: at + Span::from_micros(200),
            }
        }
    }
    fn frame_at(i: i64) -> Mono {
        Mono::from_nanos(1_000_000_000 + i * 66_666_667)
    }
    fn arrival(i: i64) -> Mono {
        frame_at(i) + LIGHT_TO_WIRE + Span::from_millis(i % 7)
    }

    #[test]
    fn the_first_frame_has_a_true_bound_and_reports_narrow_it() {
        let camera = Camera {
            start: u32::MAX - 50_000,
            wall_off: Span::from_secs(2),
        };
        let mut t = timebase();
        let first = t.frame(camera.rtp(frame_at(0)), arrival(0));
        assert_eq!(first.captured.source, TimeSource::Arrival);
        assert!((first.captured.mono - frame_at(0)).abs() <= first.captured.rel_error);
        for i in 1..600 {
            if i % 75 == 20 {
                t.report(camera.report(frame_at(i) + Span::from_millis(31)));
            }
            let timed = t.frame(camera.rtp(frame_at(i)), arrival(i));
            assert!(
                (timed.captured.mono - frame_at(i)).abs() <= timed.captured.rel_error,
                "frame {i}"
            );
            assert_eq!(
                timed.media.as_micros() / 1000,
                (i * 66_666_667) / 1_000_000,
                "frame {i}"
            );
        }
        let health = t.health();
        assert_eq!(health.source, Some(TimeSource::SenderReport));
        assert!(health.rel_error.unwrap() <= Span::from_millis(8));
        assert_eq!(health.reports, 8);
    }

    #[test]
    fn a_wrong_or_stepping_wall_clock_never_moves_a_frame() {
        let mut camera = Camera {
            start: 5,
            wall_off: Span::from_secs(2),
        };
        let mut t = timebase();
        let mut steps = Vec::new();
        for i in 0..1500 {
            if i == 700 {
                camera.wall_off = Span::from_secs(-3600);
            }
            if i % 75 == 20 {
                steps.extend(t.report(camera.report(frame_at(i))));
            }
            let timed = t.frame(camera.rtp(frame_at(i)), arrival(i));
            assert!(
                (timed.captured.mono - frame_at(i)).abs() <= timed.captured.rel_error,
                "frame {i}"
            );
        }
        assert_eq!(steps.len(), 1);
        assert!(
            (steps[0] - Span::from_secs(-3602)).abs() < Span::from_millis(1),
            "{}",
            steps[0]
        );
        assert_eq!(t.health().wall_steps, 1);
    }

    #[test]
    fn nonsense_reports_are_counted_and_change_nothing() {
        let camera = Camera {
            start: 5,
            wall_off: Span::ZERO,
        };
        let mut t = timebase();
        for i in 0..100 {
            let foreign = SenderReport {
                rtp: camera.rtp(frame_at(i)) ^ 0x4000_0000,
                ..camera.report(frame_at(i))
            };
            if i % 10 == 5 {
                t.report(foreign);
            }
            let timed = t.frame(camera.rtp(frame_at(i)), arrival(i));
            assert_eq!(timed.captured.source, TimeSource::Arrival);
        }
        assert_eq!(t.health().bad_reports, 10);
    }

    #[test]
    fn a_media_clock_that_starts_anew_is_a_new_epoch() {
        let camera = Camera {
            start: 900_000_000,
            wall_off: Span::ZERO,
        };
        let mut t = timebase();
        assert!(!t.frame(camera.rtp(frame_at(0)), arrival(0)).new_epoch);
        assert!(!t.frame(camera.rtp(frame_at(1)), arrival(1)).new_epoch);
        let timed = t.frame(0, arrival(2));
        assert!(timed.new_epoch);
        assert_eq!(timed.media.as_micros(), 0);
        assert!((timed.captured.mono - frame_at(2)).abs() <= timed.captured.rel_error);
    }
}
