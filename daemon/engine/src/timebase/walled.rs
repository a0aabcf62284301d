//! What the wall times in sender reports add to the level of the media clock.
//!
//! A report says `wall ↔ media` and arrives after a delay. Taken alone, `arrival − media` of each carries both the
//! delay and the sloppiness with which the camera read its two clocks one after the other. The wall time takes the two
//! apart: `wall − media` has the sloppiness and no delay, and is two-sided, so the middle of many is right;
//! `arrival − wall` has the delay and no sloppiness, and is one-sided, so the least of many is right. Their sum is the
//! level.
//!
//! Only reports of one **run** of the wall clock are put together: a step begins another. What it says between steps
//! needs to be steady, not true: its offset falls out of the sum. A camera whose wall clock wanders within a run shows it
//! as scatter, and the caller holds the result to what the arrivals alone allow.

use synoptic_base::Span;

use super::hull::median;

/// Fewer reports than this say nothing of their scatter.
const LEAST: usize = 6;
/// This part of the reports is at least on time: 0.25 withstands three late ones of four.
const ON_TIME: f64 = 0.25;
/// The nearest quarter of a normal distribution lies within 0.32 of its deviation: late reports lie further out than 3
/// deviations ...
const GATE: i64 = 9;
/// ... and never nearer than this: ticks of a coarse wall clock.
const LEAST_GATE: Span = Span::from_micros(200);
/// The median of n reports is 1.25 times as wide as their mean, and the mean of what deviates 0.8 of its deviation.
const MEDIAN: f64 = 1.25 / 0.8;
/// The mean of exponential delays by their median.
const MEAN: f64 = 1.0 / 0.69;
/// Bound of the middle in deviations, and of the least delay in its own mean; both wider by this for few reports, whose
/// scatter is known badly: (1 + 6/n). Together they hold 99.9 % for 8 to 36 reports (simulated: normal noise,
/// exponential delays). No fewer than that: a normal distribution has its 99.9 % at 4.9 times its median.
const SIGMAS: f64 = 3.1;
const DELAYS: f64 = 5.5;
const FEW: f64 = 6.0;
/// A tilt this many of its deviations from none is one.
const SURE: f64 = 3.0;

/// One report, seen from the time that is asked for; the drift of the media clock is taken out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walled {
    /// How long ago, in seconds.
    pub age_s: f64,
    pub wall_minus_media: Span,
    pub arrival_minus_wall: Span,
}

/// The level by these reports and how far it may be off; `None` of too few.
pub(super) fn level(reports: &[Walled]) -> Option<(Span, Span)> {
    let n = reports.len();
    if n < LEAST {
        return None;
    }
    let mut sorted: Vec<Span> = reports.iter().map(|r| r.wall_minus_media).collect();
    sorted.sort_unstable();
    let mode = half_sample_mode(&sorted)?;
    let near = |about: Span| move |r: &Walled| (r.wall_minus_media - about).abs();
    // Of those on time only: late reports must not widen the gate that keeps them out.
    let mut all: Vec<Span> = reports.iter().map(near(mode)).collect();
    let at = ((n as f64 * ON_TIME).ceil() as usize).clamp(2, n - 1);
    let gate = (*all.select_nth_unstable(at).1 * GATE).max(LEAST_GATE);
    let within = |about: Span| {
        let off = near(about);
        reports.iter().filter(move |r| off(r) <= gate)
    };
    let mut first: Vec<Span> = within(mode).map(|r| r.wall_minus_media).collect();
    let about = median(&mut first)?;
    let good: Vec<Walled> = within(about).copied().collect();
    let count = good.len() as f64;
    let (tilt, tilt_error, mean_age) = tilt(&good, about);
    // A wall clock that NTP holds has no tilt; one that is told from none is taken out, else it widens the bound.
    let (tilt, unsure) = if tilt.abs() > SURE * tilt_error {
        (tilt, SURE * tilt_error)
    } else {
        (0.0, tilt.abs())
    };
    let flat = |span: Span, r: &Walled| span + Span::from_nanos((tilt * r.age_s * 1e9) as i64);
    let mut middle: Vec<Span> = good.iter().map(|r| flat(r.wall_minus_media, r)).collect();
    let centre = median(&mut middle)?;
    let deviation = |m: &Span| (*m - centre).abs().as_nanos() as f64;
    let scatter = middle.iter().map(deviation).sum::<f64>() / count;
    let delay = |r: &Walled| r.arrival_minus_wall * 2 - flat(r.arrival_minus_wall, r);
    let first = reports.iter().min_by_key(|r| delay(r))?;
    let least = delay(first);
    let mut delays: Vec<Span> = reports.iter().map(|r| delay(r) - least).collect();
    // The least of n delays has the n-th part of their mean: that is taken off.
    let late = MEAN * median(&mut delays)?.as_nanos() as f64 / n as f64;
    let noise = MEDIAN * scatter / count.sqrt();
    let tilted = unsure * (first.age_s - mean_age).abs() * 1e9;
    let error = (DELAYS * late).hypot(SIGMAS * noise).hypot(tilted) * (1.0 + FEW / count);
    Some((
        centre + least - Span::from_nanos(late as i64),
        Span::from_nanos(error as i64),
    ))
}

/// How much faster the wall clock runs than the box's, its standard deviation, both in s/s, and the mean age: a line of
/// least squares, since what is far off is no longer among these.
fn tilt(good: &[Walled], about: Span) -> (f64, f64, f64) {
    let n = good.len() as f64;
    let y = |r: &Walled| (r.wall_minus_media - about).as_secs_f64();
    let mean_age = good.iter().map(|r| r.age_s).sum::<f64>() / n;
    let mean = good.iter().map(y).sum::<f64>() / n;
    let spread: f64 = good.iter().map(|r| (r.age_s - mean_age).powi(2)).sum();
    if spread <= 0.0 || n < 3.0 {
        return (0.0, 0.0, mean_age);
    }
    let along: f64 = good.iter().map(|r| (r.age_s - mean_age) * (y(r) - mean)).sum();
    let slope = along / spread;
    let left: f64 = good
        .iter()
        .map(|r| (y(r) - mean - slope * (r.age_s - mean_age)).powi(2))
        .sum();
    // An older report of a clock that runs fast shows less.
    (-slope, (left / (n - 2.0) / spread).sqrt(), mean_age)
}

/// The half-sample mode of sorted values (Robertson and Cryer 1974): the densest half, of that the densest half, and so
/// on. The lower of two as dense, since late reports pair an old media time with a wall time of now.
fn half_sample_mode(mut sorted: &[Span]) -> Option<Span> {
    while sorted.len() > 3 {
        let half = sorted.len().div_ceil(2);
        sorted = sorted.windows(half).min_by_key(|w| w[half - 1] - w[0])?;
    }
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// The level 7 s, reports every 5 s read within some 0.3 ms, on a network of 1.5 ms of exponential jitter; `late` of
    /// them are anchored late by 300 ms on average, and the wall clock runs `tilt` too fast.
    fn reports(n: usize, late: f64, tilt: f64, seed: u64) -> Vec<Walled> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut exponential = |mean_ms: f64| -mean_ms / 1e3 * rng.random_range(1e-9_f64..1.0).ln();
        let each = |i: usize| {
            let delay = exponential(1.5);
            let noise = exponential(0.2) - exponential(0.2);
            let lateness = exponential(300.0);
            let is_late = ((i + 1) as f64 * late).floor() > (i as f64 * late).floor();
            let age_s = (n - i) as f64 * 5.0;
            let wall = noise - tilt * age_s;
            Walled {
                age_s,
                wall_minus_media: Span::from_secs_f64(wall + if is_late { lateness } else { 0.0 }),
                arrival_minus_wall: Span::from_secs_f64(7.0 + delay - wall + noise),
            }
        };
        (0..n).map(each).collect()
    }

    #[test]
    fn delay_and_sloppiness_are_taken_apart() {
        for (late, tilt) in [(0.0, 0.0), (0.3, 0.0), (0.6, 0.0), (0.3, 11.6e-6), (0.0, 500e-6)] {
            let (mut wrong, mut worst) = (0, Span::ZERO);
            for seed in 0..1_000 {
                let (level, error) = level(&reports(36, late, tilt, seed)).unwrap();
                let off = (level - Span::from_secs(7)).abs();
                wrong += usize::from(off > error);
                worst = worst.max(off);
            }
            assert!(wrong <= 3, "{late}, {tilt}: {wrong} of 1000 outside their bound");
            assert!(worst < Span::from_millis(2), "{late}, {tilt}: {worst}");
        }
    }

    #[test]
    fn few_reports_say_nothing() {
        assert!(level(&reports(4, 0.0, 0.0, 1)).is_none());
        assert!(level(&[]).is_none());
    }
}
