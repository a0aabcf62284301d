//! The sound device's clock: how much it has played, against the box's monotonic clock.
//!
//! Positions come in steps of the device's period (5 to 20 ms) and late by what the scheduler takes. Two g-h filters take
//! both out: a slow one with the gains of the expanding least squares line, 2(2n+1)/((n+1)(n+2)) and 6/((n+1)(n+2))
//! (Brookner, Tracking and Kalman Filtering Made Easy, 1998, section 1.2.10), which finds the rate, and a quick one that
//! takes the rate from it and follows the position.

use synoptic_base::{Mono, Span};

/// Smallest gain of the position: a memory of about 50 positions.
const MIN_GAIN: f64 = 0.04;
/// The slow filter forgets beyond so many positions: 20 s, after which the rate of a device with periods of 10 ms is known
/// to some 15 ppm. Quartz keeps its rate longer.
const MEMORY: f64 = 1_000.0;
/// Sound devices are within this of their rate; what looks like more is noise of the first positions.
const MAX_PPM: f64 = 2_000.0;
/// A position this far off is another run: the device was paused, or lost its data.
const JUMP: Span = Span::from_millis(100);
/// Positions closer together than this say nothing new.
const MIN_INTERVAL: Span = Span::from_millis(5);

/// Device time against monotonic time.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeviceClock {
    state: Option<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    at: Mono,
    /// Device time at `at`.
    position: Span,
    /// The same by the slow filter.
    slow: Span,
    /// Device seconds a monotonic second, less one.
    rate: f64,
    count: u32,
}

impl State {
    fn position(&self, at: Mono) -> Span {
        self.position + self.passed(at)
    }

    fn passed(&self, at: Mono) -> Span {
        let passed = at - self.at;
        passed + Span::from_nanos((passed.as_nanos() as f64 * self.rate) as i64)
    }
}

impl DeviceClock {
    /// Takes a position that the device reports at `now`.
    pub fn report(&mut self, now: Mono, position: Span) {
        let Some(state) = &mut self.state else {
            self.begin(now, position);
            return;
        };
        let passed = now - state.at;
        let predicted = state.position(now);
        let off = position - predicted;
        if off.abs() > JUMP {
            self.begin(now, position);
            return;
        }
        if passed < MIN_INTERVAL {
            return;
        }
        state.count = state.count.saturating_add(1);
        let n = f64::from(state.count).min(MEMORY);
        let falling = (n + 1.0) * (n + 2.0);
        let gain = 2.0 * (2.0 * n + 1.0) / falling;
        let slow = state.slow + state.passed(now);
        let off_slow = (position - slow).as_nanos() as f64;
        state.slow = slow + Span::from_nanos((off_slow * gain) as i64);
        let quick = gain.clamp(MIN_GAIN, 1.0);
        state.position = predicted + Span::from_nanos((off.as_nanos() as f64 * quick) as i64);
        state.rate += 6.0 / falling * off_slow / passed.as_nanos() as f64;
        state.rate = state.rate.clamp(-MAX_PPM * 1e-6, MAX_PPM * 1e-6);
        state.at = now;
    }

    /// Device time that is heard at `at`; `None` before the first report.
    pub fn position(&self, at: Mono) -> Option<Span> {
        self.state.map(|s| s.position(at))
    }

    /// When a device time is heard.
    pub fn when(&self, position: Span) -> Option<Mono> {
        let state = self.state?;
        let ahead = (position - state.position).as_nanos() as f64 / (1.0 + state.rate);
        Some(state.at + Span::from_nanos(ahead as i64))
    }

    /// How much faster the device runs than the box, in ppm; `None` before it is known to some ten ppm.
    pub fn ppm(&self) -> Option<f64> {
        self.state.filter(|s| s.count >= 1_000).map(|s| s.rate * 1e6)
    }

    fn begin(&mut self, at: Mono, position: Span) {
        self.state = Some(State {
            at,
            position,
            slow: position,
            rate: self.state.map_or(0.0, |s| s.rate),
            count: 0,
        });
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn steps_of_the_period_and_late_reads_are_taken_out() {
        // 80 ppm fast, periods of 10 ms, read about every 20 ms.
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut clock = DeviceClock::default();
        let (mut worst, mut squares, mut count) = (Span::ZERO, 0.0, 0.0);
        for i in 0..3_000_i64 {
            let now = Mono::from_nanos(i * 20_000_000 + rng.random_range(0..10_000_000));
            let true_ns = (now.as_nanos() as f64 * (1.0 + 80e-6)) as i64;
            clock.report(now, Span::from_nanos(true_ns / 10_000_000 * 10_000_000));
            if i > 200 {
                // A period of 10 ms is on average 5 ms behind: the constant part that no filter sees.
                let off = clock.position(now).unwrap() - Span::from_nanos(true_ns) + Span::from_millis(5);
                worst = worst.max(off.abs());
                squares += off.as_millis_f64().powi(2);
                count += 1.0;
            }
        }
        // Steps of 10 ms are noise of 2.9 ms rms; a memory of 50 leaves a seventh, and five times that once in a while.
        let rms: f64 = f64::sqrt(squares / count);
        assert!(
            rms < 0.7 && worst < Span::from_micros(2_500),
            "{rms} ms rms, {worst}"
        );
        let ppm = clock.ppm().unwrap();
        assert!((ppm - 80.0).abs() < 60.0, "{ppm}");
        let at = Mono::from_nanos(60_123_000_000);
        let back = clock.when(clock.position(at).unwrap()).unwrap();
        assert!((back - at).abs() < Span::from_micros(1));
    }

    #[test]
    fn a_device_that_stood_still_begins_anew() {
        let mut clock = DeviceClock::default();
        let at = |ms: i64| Mono::from_nanos(ms * 1_000_000);
        for i in 0..50 {
            clock.report(at(i * 20), Span::from_millis(i * 20));
        }
        clock.report(at(3_000), Span::from_secs(1));
        let heard = clock.position(at(3_100)).unwrap();
        assert!(
            (heard - Span::from_millis(1_100)).abs() < Span::from_millis(1),
            "{heard}"
        );
    }
}
