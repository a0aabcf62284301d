//! CLOCK_MONOTONIC is slewed by NTP, by up to 500 ppm; CLOCK_MONOTONIC_RAW is the oscillator as it is. Estimates of a
//! camera's drift run on the latter, so that correcting the box's clock is not mistaken for it.

use std::collections::VecDeque;

use synoptic_base::{ClockSample, Mono, Span};

/// Samples kept: the estimators look back two minutes, at one sample in two seconds.
const SAMPLES: usize = 64;
/// Samples nearer than this are not needed.
const EVERY: Span = Span::from_millis(1900);

/// Converts between the two clocks; the identity until the first sample.
#[derive(Clone, Debug, Default)]
pub(super) struct RawClock {
    /// (mono, raw − mono), oldest first.
    samples: VecDeque<(Mono, Span)>,
}

impl RawClock {
    pub(super) fn sample(&mut self, sample: ClockSample) {
        if self
            .samples
            .back()
            .is_some_and(|(at, _)| sample.mono - *at < EVERY)
        {
            return;
        }
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((sample.mono, sample.raw - sample.mono));
    }

    pub(super) fn to_raw(&self, mono: Mono) -> Mono {
        mono + self.difference(mono)
    }

    pub(super) fn to_mono(&self, raw: Mono) -> Mono {
        // The difference changes by 0.5 ms a second at most: two rounds end far below a nanosecond.
        let about = raw - self.difference(raw - self.newest());
        raw - self.difference(about)
    }

    fn newest(&self) -> Span {
        self.samples.back().map_or(Span::ZERO, |s| s.1)
    }

    /// raw − mono at a time, along the chord between its neighbours.
    fn difference(&self, mono: Mono) -> Span {
        let n = self.samples.len();
        if n < 2 {
            return self.newest();
        }
        // Nearly always the newest pair.
        let mut i = n - 1;
        while i > 1 && self.samples[i - 1].0 > mono {
            i -= 1;
        }
        let ((t0, d0), (t1, d1)) = (self.samples[i - 1], self.samples[i]);
        let along = (mono - t0).as_nanos() as f64 / (t1 - t0).as_nanos() as f64;
        d0 + Span::from_nanos(((d1 - d0).as_nanos() as f64 * along.max(0.0)) as i64)
    }
}

#[cfg(test)]
mod tests {
    use synoptic_base::Utc;

    use super::*;

    #[test]
    fn converts_there_and_back_through_a_slew() {
        let mut clock = RawClock::default();
        assert_eq!(clock.to_raw(Mono::from_nanos(5)), Mono::from_nanos(5));
        let raw_at = |ns: i64| Mono::from_nanos(ns * 3 + (ns as f64 * 500e-6).max(0.0) as i64 - ns * 2 + 77);
        for s in 0..200 {
            let mono = Mono::from_nanos(s * 1_000_000_000);
            clock.sample(ClockSample {
                mono,
                raw: raw_at(mono.as_nanos()),
                realtime: Utc::from_nanos(0),
                width: Span::ZERO,
            });
        }
        assert!(clock.samples.len() <= SAMPLES);
        for ns in [150_250_000_000, 199_900_000_000] {
            let mono = Mono::from_nanos(ns);
            assert!((clock.to_raw(mono) - raw_at(ns)).abs() < Span::from_nanos(10));
            assert!((clock.to_mono(clock.to_raw(mono)) - mono).abs() < Span::from_nanos(10));
        }
    }
}
