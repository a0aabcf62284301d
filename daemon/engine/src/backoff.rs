//! The one place that decides how long to wait before trying again.

use synoptic_base::Span;

/// First wait.
const FIRST: Span = Span::from_secs(1);
/// Longest wait.
const LONGEST: Span = Span::from_secs(30);

/// Waits of 1 to 30 s, doubling, each shortened by up to half at random, so that many cameras (or boxes) behind
/// one switch do not come back in one burst.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Span,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { next: FIRST }
    }
}

impl Backoff {
    /// The next wait; `random` is uniform in 0..1.
    pub fn wait(&mut self, random: f64) -> Span {
        let full = self.next;
        self.next = (full * 2).min(LONGEST);
        Span::from_secs_f64(full.as_secs_f64() * (1.0 - random.clamp(0.0, 1.0) / 2.0))
    }

    /// It worked: the next failure begins anew.
    pub fn reset(&mut self) {
        *self = Backoff::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_the_longest_and_begins_anew() {
        let mut backoff = Backoff::default();
        let waits: Vec<i64> = (0..7)
            .map(|_| backoff.wait(0.0).as_nanos() / 1_000_000_000)
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(backoff.wait(1.0), Span::from_secs(15));
        backoff.reset();
        assert_eq!(backoff.wait(0.0), FIRST);
    }
}
