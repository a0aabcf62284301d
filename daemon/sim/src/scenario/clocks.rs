//! The three clocks of a scenario, each as a function of true time. True time is in nanoseconds from 0.

use synoptic_base::{ClockSample, Mono, Span, Utc};

/// 2026-11-21T10:00:00Z: true UTC when a scenario begins.
const EPOCH_NS: i64 = 1_795_255_200_000_000_000;
/// What the box's monotonic clock reads when a scenario begins: it has been up for a while.
const BOX_UP: Span = Span::from_secs(5_000);

/// True UTC at true time `at`.
pub(super) fn utc_at(at: Span) -> Utc {
    Utc::from_nanos(EPOCH_NS) + at
}

/// A quartz: a constant deviation, and a slow wander of temperature.
#[derive(Clone, Copy, Debug, Default)]
pub struct Oscillator {
    /// How much too fast it runs, in parts per million.
    pub ppm: f64,
    /// Largest further deviation, in ppm, swinging as a sine.
    pub wander_ppm: f64,
    /// Period of that sine, in seconds.
    pub wander_period_s: f64,
}

impl Oscillator {
    /// What it has counted after `true_ns` nanoseconds.
    pub fn elapsed_ns(&self, true_ns: f64) -> f64 {
        let steady = true_ns * (1.0 + self.ppm * 1e-6);
        if self.wander_ppm == 0.0 || self.wander_period_s <= 0.0 {
            return steady;
        }
        let turn = std::f64::consts::TAU / (self.wander_period_s * 1e9);
        steady + self.wander_ppm * 1e-6 / turn * (1.0 - (turn * true_ns).cos())
    }
}

/// A camera's belief of UTC.
#[derive(Clone, Debug, Default)]
pub struct Wall {
    /// Its error when the scenario begins.
    pub offset: Span,
    /// How much too fast it runs, in ppm.
    pub ppm: f64,
    /// Steps: when, and by how much.
    pub steps: Vec<(Span, Span)>,
}

impl Wall {
    /// What it reads.
    pub fn at(&self, at: Span) -> Utc {
        let drift = Span::from_nanos((at.as_nanos() as f64 * self.ppm * 1e-6) as i64);
        let stepped: Span = self
            .steps
            .iter()
            .filter(|(when, _)| *when <= at)
            .map(|s| s.1)
            .sum();
        utc_at(at) + self.offset + drift + stepped
    }
}

/// The box's clocks. Both are disciplined by NTP: the monotonic clock is slewed, UTC may step as well.
#[derive(Clone, Debug, Default)]
pub struct BoxClock {
    /// Slews of the monotonic clock: from when, for how long, by how many ppm.
    pub slews: Vec<(Span, Span, f64)>,
    /// Error of the box's UTC when the scenario begins (a box without a battery-backed clock).
    pub utc_offset: Span,
    /// Steps of UTC: when, and by how much.
    pub utc_steps: Vec<(Span, Span)>,
}

impl BoxClock {
    /// CLOCK_MONOTONIC at true time `at`.
    pub fn mono(&self, at: Span) -> Mono {
        let mut mono = Mono::from_nanos((BOX_UP + at).as_nanos());
        for (from, length, ppm) in &self.slews {
            let slewed = (at - *from).clamp(Span::ZERO, *length);
            mono += slew(slewed, *ppm);
        }
        mono
    }

    /// [`BoxClock::mono`], for who asks it often.
    pub(super) fn slewed(&self) -> Slewed {
        let mut slews = self.slews.clone();
        slews.sort_by_key(|s| s.0);
        let apart = slews.windows(2).all(|w| w[0].0 + w[0].1 <= w[1].0);
        let mut before = vec![Span::ZERO];
        for (_, length, ppm) in &slews {
            let last = before.last().copied().unwrap_or_default();
            before.push(last + slew(*length, *ppm));
        }
        Slewed {
            slews,
            before,
            overlapping: (!apart).then(|| self.clone()),
        }
    }

    /// All three clocks at true time `at`.
    pub fn sample(&self, at: Span) -> ClockSample {
        ClockSample {
            mono: self.mono(at),
            raw: Mono::from_nanos((BOX_UP + at).as_nanos()),
            realtime: self.utc(at),
            width: Span::ZERO,
        }
    }

    /// CLOCK_REALTIME at true time `at`.
    pub fn utc(&self, at: Span) -> Utc {
        let stepped: Span = self
            .utc_steps
            .iter()
            .filter(|(when, _)| *when <= at)
            .map(|s| s.1)
            .sum();
        utc_at(at) + self.utc_offset + stepped
    }
}

/// What a slew of `ppm` makes of so long.
fn slew(length: Span, ppm: f64) -> Span {
    Span::from_nanos((length.as_nanos() as f64 * ppm * 1e-6) as i64)
}

/// A box's monotonic clock, with its slews in order and summed up: a month of them takes no longer than one.
pub(super) struct Slewed {
    slews: Vec<(Span, Span, f64)>,
    /// What all slews before each make.
    before: Vec<Span>,
    /// Slews at the same time are asked one by one.
    overlapping: Option<BoxClock>,
}

impl Slewed {
    pub(super) fn mono(&self, at: Span) -> Mono {
        if let Some(clock) = &self.overlapping {
            return clock.mono(at);
        }
        let begun = self.slews.partition_point(|s| s.0 <= at);
        let mono = Mono::from_nanos((BOX_UP + at).as_nanos());
        match begun
            .checked_sub(1)
            .and_then(|i| self.slews.get(i).zip(self.before.get(i)))
        {
            Some(((from, length, ppm), before)) => mono + *before + slew((at - *from).min(*length), *ppm),
            None => mono,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summed_slews_are_the_same_clock() {
        let s = Span::from_secs;
        let apart = vec![(s(10), s(5), 3.0), (s(2), s(4), -500.0), (s(15), s(20), 0.5)];
        let overlapping = vec![(s(10), s(50), 3.0), (s(2), s(40), -500.0)];
        for slews in [Vec::new(), apart, overlapping] {
            let clock = BoxClock {
                slews,
                ..BoxClock::default()
            };
            let fast = clock.slewed();
            for tenth in 0..700 {
                let at = Span::from_millis(tenth * 100 + 7);
                assert_eq!(fast.mono(at), clock.mono(at), "{at}");
            }
        }
    }
}
