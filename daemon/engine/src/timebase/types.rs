//! What goes into and comes out of a timebase.

use synoptic_base::{Captured, MediaTime, Mono, Span, TimeSource, Utc};

use super::ladder::{RungChange, RungReason};

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
    /// The part of `captured.rel_error` that is not the constant bias of the camera: what is left after calibration.
    pub scatter: Span,
    /// The frame's own stamp made no sense; it is timed by its arrival.
    pub outlier: bool,
}

/// What happened to a camera's time, besides frames.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TimeEvent {
    /// Frames are timed by another rung now.
    Rung(RungChange),
    /// The camera's wall clock seems to have stepped; the next report decides. No frame moves.
    WallSuspect(Span),
    /// The camera's wall clock stepped. No frame moves.
    WallStep(Span),
    /// Single frames carried wrong stamps; said once a second at most.
    WrongStamp,
    /// The media clock jumped for good: a new epoch.
    NewLine,
    /// The media clock runs at another rate than declared: the true one, ticks a second.
    Rate(f64),
    /// The path from the camera became slower (positive) or faster for good. No frame moves.
    Path(Span),
    /// Frames since `since` would be timed better today: `moved` later, within ± `error`. A `Restamp` for those who
    /// stored them; [`RtpTimebase::recaptured`](super::RtpTimebase::recaptured) gives each anew.
    Better {
        /// Media time of the first frame concerned.
        since: MediaTime,
        /// New minus old capture time, at that frame.
        moved: Span,
        /// The bound it has now.
        error: Span,
    },
}

impl std::fmt::Display for TimeEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TimeEvent::Rung(change) => {
                write!(f, "now by {}, since {}", change.to.name(), change.reason.text())
            }
            TimeEvent::WallSuspect(by) => write!(f, "its clock seems to have stepped by {by}"),
            TimeEvent::WallStep(by) => write!(f, "its clock stepped by {by}"),
            TimeEvent::WrongStamp => f.write_str("a frame carried an impossible time stamp"),
            TimeEvent::NewLine => f.write_str("its time stamps started anew"),
            TimeEvent::Rate(hz) => write!(f, "its media clock runs at {hz:.0} ticks a second"),
            TimeEvent::Path(by) => write!(f, "frames take {by} longer to arrive, for good"),
            TimeEvent::Better { since, moved, error } => write!(
                f,
                "frames since {} us are now known to be {moved} later, within {error}",
                since.as_micros()
            ),
        }
    }
}

/// The delay from capture to least delayed arrival, learned while reports came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnedDelay {
    /// Arrival − capture, of the least delayed frames.
    pub delay: Span,
    /// Its bound.
    pub error: Span,
}

/// The state of a camera's time, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
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
    /// Why a better rung is not used.
    pub refused: Option<(TimeSource, RungReason)>,
    /// Nine of ten reports pair NTP and RTP time within this.
    pub report_spread: Option<Span>,
    /// Reports that were anchored late.
    pub late_reports: u32,
    /// Frames with wrong stamps.
    pub wrong_stamps: u32,
    /// Ticks a second of the media clock, as declared; `None` for what has no RTP clock.
    pub declared_rate_hz: Option<u32>,
    /// Ticks a second of the media clock, where it is not what was declared.
    pub true_rate_hz: Option<f64>,
    /// Frames a second, as delivered.
    pub fps: Option<f64>,
    /// The last step of the camera's wall clock.
    pub last_step: Option<(Mono, Span)>,
    /// The learned delay from capture to arrival.
    pub learned: Option<LearnedDelay>,
}
