//! The clock as an argument. The one implementation that reads the system's is `synoptic_media::clocks`.

use crate::{Mono, Span, Utc};

/// The box's clocks, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSample {
    /// CLOCK_MONOTONIC: slewed by NTP.
    pub mono: Mono,
    /// CLOCK_MONOTONIC_RAW: the oscillator as it is; estimators of camera drift run on it.
    pub raw: Mono,
    /// CLOCK_REALTIME.
    pub realtime: Utc,
    /// Upper limit of the time that passed while the three were read.
    pub width: Span,
}

/// Reads the box's clocks.
pub trait Clock: Send + Sync {
    /// CLOCK_MONOTONIC now.
    fn now(&self) -> Mono;
    /// All clocks at one instant.
    fn sample(&self) -> ClockSample;
}
