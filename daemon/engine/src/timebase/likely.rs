//! Where the truth lies, given errors of two kinds: normal ones, which go either way, and a delay, which only adds.
//!
//! A bound is an interval that holds the truth. The shortest one that holds 99.9 % of a normal distribution is 3.29 of its
//! deviations to either side. That of an exponential distribution goes from nothing to 6.9 of its means, so its middle
//! is the best place for an estimate, although the truth is rarely there: about the distribution's own mean, the bound would
//! have to be 5.9 wide to either side instead of 3.45. What has both kinds lies between.

use synoptic_base::Span;

/// The middle of the shortest interval that holds 99.9 % of the sum of a normal distribution of deviation `1 - q` about zero
/// and an exponential one of mean `q`, and half its width, for q = 0, 1/8 ... 1. By its closed form (Grushka 1972),
/// minimised numerically; the test checks them by drawing.
const SHORTEST: [(f64, f64); 9] = [
    (0.0, 3.291),
    (0.064, 2.962),
    (0.306, 2.649),
    (0.654, 2.594),
    (1.132, 2.687),
    (1.669, 2.843),
    (2.253, 3.031),
    (2.842, 3.237),
    (3.454, 3.455),
];

/// A value that is late by an exponential delay and off by a normal error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Likely {
    pub level: Span,
    /// Standard deviation of the normal error, in nanoseconds.
    pub deviation: f64,
    /// Mean of the delay, in nanoseconds, so wide as to hold: it is known badly where there are few.
    pub late: f64,
    /// Mean of the delay as it is expected.
    pub expected: f64,
}

/// The estimate is not moved further than this from what is expected, in nanoseconds: with few reports the interval is wide,
/// and its middle far from where the truth most often is.
const MOVED_NS: f64 = 60e3;

impl Likely {
    /// An estimate near the middle of the shortest interval that holds the truth, and how far from it the truth may be.
    pub(super) fn within(self) -> (Span, Span) {
        let scale = self.deviation + self.late;
        let at = if scale > 0.0 {
            self.late / scale * (SHORTEST.len() - 1) as f64
        } else {
            0.0
        };
        let i = (at as usize).min(SHORTEST.len() - 2);
        let part = at - i as f64;
        let ((c0, h0), (c1, h1)) = (SHORTEST[i], SHORTEST[i + 1]);
        let (centre, half) = (c0 + (c1 - c0) * part, h0 + (h1 - h0) * part);
        let (centre, half) = (centre * scale, half * scale);
        let moved = centre.min(self.expected + MOVED_NS);
        (
            self.level - Span::from_nanos(moved as i64),
            Span::from_nanos((half + centre - moved) as i64),
        )
    }

    /// Of two that know nothing of each other's errors, each counts by how sure it is.
    pub(super) fn together(self, other: Likely) -> Likely {
        let weight = |l: Likely| 1.0 / (l.deviation.powi(2) + l.late.powi(2)).max(1.0);
        let (a, b) = (weight(self), weight(other));
        let (a, b) = (a / (a + b), b / (a + b));
        let apart = (other.level - self.level).as_nanos() as f64;
        // Two delays together have a shorter tail than one of their mean, and their mean all the same.
        let late = (self.late * a).hypot(other.late * b);
        let more = self.late * a + other.late * b - late;
        Likely {
            level: self.level + Span::from_nanos((apart * b - more) as i64),
            deviation: (self.deviation * a).hypot(other.deviation * b),
            late,
            expected: self.expected * a + other.expected * b - more,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Normal (the sum of twelve) and exponential draws.
    fn drawn(rng: &mut ChaCha8Rng, deviation: f64, late: f64) -> f64 {
        let normal = (0..12).map(|_| rng.random_range(-0.5..0.5)).sum::<f64>();
        normal * deviation - late * rng.random_range(1e-12_f64..1.0).ln()
    }

    #[test]
    fn the_interval_holds_all_but_one_in_a_thousand_and_no_more() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for q in 0..=16 {
            let late = f64::from(q) / 16.0 * 1e6;
            let deviation = 1e6 - late;
            let draws = 100_000;
            let outside = (0..draws)
                .filter(|_| {
                    let level = Span::from_nanos(drawn(&mut rng, deviation, late) as i64);
                    let it = Likely {
                        level,
                        deviation,
                        late,
                        expected: 1e9,
                    };
                    let (middle, half) = it.within();
                    middle.abs() > half
                })
                .count();
            // The sum of twelve has a slightly shorter tail than the normal distribution.
            assert!((40..160).contains(&outside), "{q}/16: {outside} of {draws}");
        }
    }

    #[test]
    fn two_are_better_than_one_and_still_true() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let draws = 50_000;
        let mut outside = 0;
        let mut half = Span::ZERO;
        for _ in 0..draws {
            let mut one = |deviation: f64, late: f64| Likely {
                level: Span::from_nanos(drawn(&mut rng, deviation, late) as i64),
                deviation,
                late,
                expected: late,
            };
            let (a, b) = (one(3e5, 2e5), one(4e5, 4e5));
            let (middle, both) = a.together(b).within();
            (half, outside) = (both, outside + usize::from(middle.abs() > both));
            assert!(both < a.within().1 && both < b.within().1);
        }
        assert!(outside <= draws / 500, "{outside} of {draws}, within {half}");
    }

    #[test]
    fn what_is_exact_is_exact() {
        let exact = Likely {
            level: Span::from_millis(7),
            deviation: 0.0,
            late: 0.0,
            expected: 0.0,
        };
        assert_eq!(exact.within(), (exact.level, Span::ZERO));
        assert_eq!(exact.together(exact).level, exact.level);
    }
}
