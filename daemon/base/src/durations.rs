//! How long something takes, counted: what a Prometheus histogram is made of.

use crate::Span;

/// Upper edges of the buckets, seconds: a commit on a fast disk takes a millisecond, a picture on a slow CPU a second.
pub const DURATION_EDGES_S: [f64; 12] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
];

/// Durations seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Durations {
    /// `buckets[i]`: those at or below edge `i` and above the edge before. Longer ones are in `count` only.
    pub buckets: [u64; DURATION_EDGES_S.len()],
    /// How many there were.
    pub count: u64,
    /// Their sum, seconds.
    pub sum_s: f64,
}

impl Durations {
    /// Counts one. Less than nothing (two clocks, a moment apart) is nothing.
    pub fn add(&mut self, took: Span) {
        let seconds = took.as_secs_f64().max(0.0);
        if let Some(bucket) = DURATION_EDGES_S.iter().position(|edge| seconds <= *edge) {
            self.buckets[bucket] += 1;
        }
        self.count += 1;
        self.sum_s += seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_one_bucket_and_the_longest_in_none() {
        let mut durations = Durations::default();
        for ms in [-1, 1, 2, 3, 5_000, 6_000] {
            durations.add(Span::from_millis(ms));
        }
        assert_eq!(durations.buckets[..3], [2, 1, 1]);
        assert_eq!(durations.buckets.iter().sum::<u64>(), 5);
        assert_eq!(durations.count, 6);
        assert!((durations.sum_s - 11.006).abs() < 1e-9);
    }
}
