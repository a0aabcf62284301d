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

use super::likely::Likely;
use super::tilt::{Mean, Remembered, Tilt};

/// Reports that are looked at, at most.
pub(super) const MOST: usize = 40;
/// Fewer reports than this say nothing of their scatter.
const LEAST: usize = 6;
/// This part of the reports is at least on time: 0.25 withstands three late ones of four.
const ON_TIME: f64 = 0.25;
/// The nearest quarter of a normal distribution lies within 0.32 of its deviation: late reports lie further out than 3
/// deviations ...
const GATE: f64 = 9.0;
/// ... and never nearer than this, in nanoseconds: ticks of a coarse wall clock.
const LEAST_GATE_NS: f64 = 200e3;
/// Where what is only known from the reports themselves is made wider for that, it is so as to hold in all but this part of
/// cases. Of errors that are sums, none must be at its own rarest for the sum to be at its own.
const RARE: f64 = 0.01;
/// With fewer degrees of freedom than this, one of them makes up nearly all of a sum's tail.
const FEW_FREE: f64 = 10.0;
const VERY_RARE: f64 = 0.001;
/// What is within a gate tells the next one: so often, and so many times the median distance from the middle, which is five
/// deviations of a normal distribution.
const WIDENED: usize = 3;
const OUTLIER: f64 = 7.4;
/// This part of the reports on time is cut off at either end before their mean is taken, and one at least. It costs a
/// normal distribution 3 % of what its mean is worth, where the median costs 25 %.
const TRIMMED: usize = 8;
/// This part of the least delays tells their mean: what the network holds up for longer is no part of it.
const SOON: f64 = 2.0 / 3.0;
/// What runs this much faster or slower is no wall clock: the media clock has another rate than is believed so far.
const MAX_TILT: f64 = 1e-3;
/// A tilt this many of its deviations from none is one.
const SURE: f64 = 2.0;

/// The envelope of the frames is known best in the middle of its window of 120 s, and drawn on by its drift from there.
pub(super) const MIDDLE_S: f64 = 60.0;

/// For how many seconds the drift is relied on to carry a report of this age to now.
pub(super) fn extrapolated(age_s: f64) -> f64 {
    age_s.clamp(0.0, MIDDLE_S)
}

/// A scatter that is less than this part of the one remembered, or more than that by this, is another one: 36 reports
/// tell theirs within a third.
const STAYED: f64 = 0.6;
/// What is remembered of a tilt, and differs by more than this many deviations from what the reports say, is no longer so.
const CONTRADICTS: f64 = 3.0;

/// One report, seen from the time that is asked for; the drift of the media clock is taken out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Walled {
    /// How long ago, in seconds.
    pub age_s: f64,
    pub wall_minus_media: Span,
    pub arrival_minus_wall: Span,
}

/// What the reports of a run say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub likely: Likely,
    /// The mean of those on time, no tilt taken out; media time is how long ago, and `wall − media` stands for `wall − box`.
    pub mean: Mean,
}

/// The level by these reports (the newest [`MOST`] of them) and where around it the truth lies; `None` of too few. The drift
/// that was taken out of them is known to within `drift_error` (one deviation, s/s), and `known` is what is remembered of
/// the wall clock.
pub(super) fn level(reports: &[Walled], drift_error: f64, known: Option<Remembered>) -> Option<Level> {
    let reports = &reports[reports.len().saturating_sub(MOST)..];
    let n = reports.len();
    if n < LEAST {
        return None;
    }
    // Relative to one of them, so that f64 resolves nanoseconds.
    let base = reports[n - 1];
    let mut kept = [0.0; MOST];
    let sorted = &mut kept[..n];
    for (to, r) in sorted.iter_mut().zip(reports) {
        *to = ns(r.wall_minus_media - base.wall_minus_media);
    }
    sorted.sort_unstable_by(f64::total_cmp);
    let mode = half_sample_mode(sorted)?;
    // Of those on time only: late reports must not widen the gate that keeps them out.
    let on_time = ((n as f64 * ON_TIME).ceil() as usize).clamp(2, n - 1);
    let (mut about, mut gate) = (mode, nearest(sorted, mode, on_time) * GATE);
    // The densest few are so by chance: a gate about them is narrow, and the deviation of what it lets in as well.
    for _ in 0..WIDENED {
        gate = gate.max(LEAST_GATE_NS);
        let from = sorted.partition_point(|w| *w < about - gate);
        let inside = &sorted[from..sorted.partition_point(|w| *w <= about + gate)];
        about = *inside.get(inside.len() / 2)?;
        gate = nearest(inside, about, inside.len() / 2) * OUTLIER;
    }
    gate = gate.max(LEAST_GATE_NS);
    let mut good = Good::NONE;
    for r in reports {
        let w = ns(r.wall_minus_media - base.wall_minus_media);
        if (w - about).abs() <= gate {
            good.take(r.age_s, w);
        }
    }
    // Few that lie together do so by chance.
    if good.n < LEAST {
        return None;
    }
    let (own, mean_w, mean_age) = good.tilt();
    if own.tilt.abs() > MAX_TILT {
        return None;
    }
    let Tilt {
        tilt,
        error: tilt_error,
    } = known
        .map(|k| k.tilt)
        .filter(|k| {
            k.error < own.error && (k.tilt - own.tilt).abs() <= CONTRADICTS * k.error.hypot(own.error)
        })
        .unwrap_or(own);
    // A wall clock that NTP holds has no tilt; one that is told from none is taken out, else it widens the bound.
    let is_sure = tilt.abs() > SURE * tilt_error;
    let (tilt, unsure) = if is_sure {
        (tilt, tilt_error)
    } else {
        (0.0, tilt.abs())
    };
    let (centre, noise, sloppy) = good.centre(tilt, known)?;

    let mut kept = [0.0; MOST];
    let delays = &mut kept[..n];
    let (mut least, mut least_age) = (f64::INFINITY, 0.0);
    for (to, r) in delays.iter_mut().zip(reports) {
        *to = ns(r.arrival_minus_wall - base.arrival_minus_wall) - tilt * r.age_s * 1e9;
        if *to < least {
            (least, least_age) = (*to, r.age_s);
        }
    }
    delays.sort_unstable_by(f64::total_cmp);
    let (expected, late) = least_of(delays);
    // The drift is in what reports say of the media clock, unless their own tilt takes its place.
    let drifted = if is_sure {
        extrapolated(least_age)
    } else {
        let all: f64 = good.each().map(|(age, _)| extrapolated(age)).sum();
        all / good.n as f64
    };
    let drifted = drifted * drift_error * 1e9;
    let tilted = unsure * (least_age - mean_age) * 1e9;
    let said = base.wall_minus_media + base.arrival_minus_wall;
    Some(Level {
        likely: Likely {
            level: said + Span::from_nanos((centre + least) as i64),
            deviation: noise.hypot(drifted).hypot(tilted),
            late,
            expected,
        },
        mean: Mean {
            media: -Span::from_secs_f64(mean_age),
            wall_minus_box: base.wall_minus_media + Span::from_nanos(mean_w as i64),
            noise,
            sloppy,
            count: good.n,
        },
    })
}

fn ns(span: Span) -> f64 {
    span.as_nanos() as f64
}

/// The distance from `about` within which so many more of the values lie; they are in order, and `about` is one of them.
fn nearest(sorted: &[f64], about: f64, wanted: usize) -> f64 {
    let n = sorted.len();
    let mut from = sorted.partition_point(|w| *w < about).min(n - 1);
    let mut to = from;
    for _ in 0..wanted.min(n - 1) {
        let below = from.checked_sub(1).map_or(f64::INFINITY, |i| about - sorted[i]);
        let above = sorted.get(to + 1).map_or(f64::INFINITY, |w| w - about);
        if below < above {
            from -= 1;
        } else {
            to += 1;
        }
    }
    (about - sorted[from]).max(sorted[to.min(n - 1)] - about)
}

/// By how much the least of these delays, in order, is expected to lie above the least possible one: the mean of an
/// exponential distribution; and a wider one, which holds although the mean delay is only known from themselves.
///
/// Delays of mean m have their least at m/n in the mean. From the r shortest of n, m is their sum and as much again for the
/// others as the longest of them, by r − 1 (Epstein and Sobel 1953); n · least / m then has the F distribution of 2 and
/// 2(r − 1) degrees of freedom, whose upper tail is (1 + f/(r − 1))^−(r − 1).
pub(super) fn least_of(delays: &[f64]) -> (f64, f64) {
    let n = delays.len();
    let r = ((n as f64 * SOON).ceil() as usize).clamp(2, n);
    let (soon, least) = (&delays[..r], delays[0]);
    let sum: f64 = soon.iter().map(|d| d - least).sum();
    let free = (r - 1) as f64;
    let mean = (sum + (n - r) as f64 * (soon[r - 1] - least)) / free;
    let rare = 1.0 / if free < FEW_FREE { VERY_RARE } else { RARE };
    let wider = free * (rare.powf(1.0 / free) - 1.0) / rare.ln();
    (mean / n as f64, mean / n as f64 * wider)
}

/// Reports that are on time: how long ago, and wall minus media in nanoseconds.
struct Good {
    n: usize,
    age_s: [f64; MOST],
    w: [f64; MOST],
}

impl Good {
    const NONE: Good = Good {
        n: 0,
        age_s: [0.0; MOST],
        w: [0.0; MOST],
    };

    fn take(&mut self, age_s: f64, w: f64) {
        (self.age_s[self.n], self.w[self.n]) = (age_s, w);
        self.n += 1;
    }

    fn each(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.age_s.iter().copied().zip(self.w).take(self.n)
    }

    /// How much faster the wall clock runs than the box's, the mean and the mean age: a line of least squares, since what is
    /// far off is no longer among these.
    fn tilt(&self) -> (Tilt, f64, f64) {
        let n = self.n as f64;
        let (mut mean_age, mut mean) = (0.0, 0.0);
        for (age, w) in self.each() {
            mean_age += age / n;
            mean += w / n;
        }
        let (mut spread, mut along, mut across) = (0.0, 0.0, 0.0);
        for (age, w) in self.each() {
            let (age, w) = (age - mean_age, w - mean);
            spread += age * age;
            along += age * w;
            across += w * w;
        }
        if spread <= 0.0 || self.n < 3 {
            return (Tilt::default(), mean, mean_age);
        }
        let slope = along / spread;
        let left = (across - slope * along).max(0.0);
        // An older report of a clock that runs fast shows less.
        let tilt = Tilt {
            tilt: -slope / 1e9,
            error: (left / (n - 2.0) / spread).sqrt() / 1e9,
        };
        (tilt, mean, mean_age)
    }

    /// The trimmed mean with the tilt taken out, and its standard deviation by the winsorised one (Tukey and McLaughlin
    /// 1963), as wide as Student's t has it: of few reports the deviation is known badly. Last, that of a single report.
    fn centre(&mut self, tilt: f64, known: Option<Remembered>) -> Option<(f64, f64, f64)> {
        let n = self.n;
        for (w, age) in self.w.iter_mut().zip(self.age_s) {
            *w += tilt * age * 1e9;
        }
        let all = &mut self.w[..n];
        all.sort_unstable_by(f64::total_cmp);
        let cut = (n / TRIMMED).max(1);
        let left = n.checked_sub(2 * cut).filter(|left| *left >= 2)?;
        let inner = &all[cut..n - cut];
        let centre = inner.iter().sum::<f64>() / left as f64;
        let (low, high) = (*inner.first()?, *inner.last()?);
        // Those cut off count as the outermost of those that are not.
        let mean = (inner.iter().sum::<f64>() + (low + high) * cut as f64) / n as f64;
        let square = |w: f64| (w - mean) * (w - mean);
        let inside: f64 = inner.iter().map(|w| square(*w)).sum();
        let squares = inside + (square(low) + square(high)) * cut as f64;
        let one = (squares / (n - 1) as f64).sqrt() * n as f64 / left as f64;
        let free = (left - 1) as f64;
        // Of a scatter that stayed what it was, all that is remembered counts.
        let known = known.filter(|k| (STAYED..=1.0 / STAYED).contains(&(one / k.sloppy.max(1.0))));
        let (pooled, free) = match known {
            Some(k) => {
                let squares = one * one * free + k.sloppy * k.sloppy * k.free;
                ((squares / (free + k.free)).sqrt(), free + k.free)
            }
            None => (one, free),
        };
        // Student's t by the normal distribution, both at 99 % or both at 99.9 %: within 3 % from four degrees of freedom on.
        let wider = if free < FEW_FREE {
            1.0 + 3.0 / free + 12.0 / (free * free)
        } else {
            1.0 + 1.9 / free + 5.0 / (free * free)
        };
        Some((centre, pooled / (n as f64).sqrt() * wider, one))
    }
}

/// The half-sample mode of sorted values (Robertson and Cryer 1974): the densest half, of that the densest half, and so
/// on. The lower of two as dense, since late reports pair an old media time with a wall time of now.
fn half_sample_mode(mut sorted: &[f64]) -> Option<f64> {
    while sorted.len() > 3 {
        let half = sorted.len().div_ceil(2);
        let width = |w: &[f64]| w[half - 1] - w[0];
        sorted = sorted
            .windows(half)
            .min_by(|a, b| width(a).total_cmp(&width(b)))?;
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
                let (level, error) = level(&reports(36, late, tilt, seed), 0.0, None)
                    .unwrap()
                    .likely
                    .within();
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
        assert!(level(&reports(4, 0.0, 0.0, 1), 0.0, None).is_none());
        assert!(level(&[], 0.0, None).is_none());
    }
}
