//! Relative time stamps become UTC by the time at which their stream began.

use synoptic_base::{Span, Utc};

/// How wrong counting on may go before it is given up: the part of [`StampKind::StreamStart`](super::StampKind)'s prior
/// that is not the sender's own.
const MAX_AGEING: Span = Span::from_millis(50);
/// A media clock that nobody measured: five times what quartz is off by.
const UNMEASURED_PPM: f64 = 100.0;
/// What is left after its drift was measured (the hull's target is 2 ppm, p95).
const MEASURED_PPM: f64 = 5.0;

/// UTC of a stream's time zero, counted on by its media clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartClock {
    zero: Utc,
}

impl StartClock {
    /// A stream whose time zero was `zero`.
    pub fn new(zero: Utc) -> StartClock {
        StartClock { zero }
    }

    /// UTC of time zero.
    pub fn zero(&self) -> Utc {
        self.zero
    }

    /// UTC of stream time `at`, on a media clock that runs `drift_ppm` fast. `None` once drift may have made more of it
    /// than 50 ms: after 500 s, or after 2.8 h where the drift is measured.
    pub fn utc_of(&self, at: Span, drift_ppm: Option<f64>) -> Option<Utc> {
        let (drift, doubt) = drift_ppm.map_or((0.0, UNMEASURED_PPM), |d| (d, MEASURED_PPM));
        let ns = at.as_nanos() as f64;
        if ns.abs() * doubt * 1e-6 > MAX_AGEING.as_nanos() as f64 {
            return None;
        }
        Some(self.zero + Span::from_nanos((ns / (1.0 + drift * 1e-6)) as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_on_while_it_can_be_trusted() {
        let zero = Utc::from_nanos(1_790_000_000_000_000_000);
        let start = StartClock::new(zero);
        assert_eq!(
            start.utc_of(Span::from_secs(3), None),
            Some(zero + Span::from_secs(3))
        );
        assert_eq!(start.utc_of(Span::from_secs(501), None), None);
        let fast = start.utc_of(Span::from_secs(1_000), Some(50.0)).unwrap() - zero;
        assert!(
            (fast - Span::from_millis(999_950)).abs() < Span::from_micros(10),
            "{fast}"
        );
        assert_eq!(start.utc_of(Span::from_secs(10_001), Some(0.0)), None);
    }
}
