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
            mono += Span::from_nanos((slewed.as_nanos() as f64 * ppm * 1e-6) as i64);
        }
        mono
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
