//! The one place that decides how long to wait before trying again.

use synoptic_base::Span;

/// First wait.
const FIRST: Span = Span::from_secs(1);
/// Longest wait.
const LONGEST: Span = Span::from_secs(30);
/// Waits after the first and after every further refusal of user or password. Cameras lock an account, or the address
/// that tries, after a handful of failed logins: these waits make seven in the first half hour and twelve in every
/// further hour, and a person who mends the camera's password waits five minutes at most.
const AFTER_REFUSAL: [Span; 2] = [Span::from_secs(60), Span::from_secs(300)];
/// Part of a wait after a refusal that is added at random: no more, for these waits are there to be waited.
const REFUSAL_JITTER: f64 = 0.1;

/// Waits of 1 to 30 s, doubling, each shortened by up to half at random, so that many cameras (or boxes) behind
/// one switch do not come back in one burst. After a refused login: a minute, then five.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Span,
    refusals: usize,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            next: FIRST,
            refusals: 0,
        }
    }
}

impl Backoff {
    /// The next wait; `random` is uniform in 0..1.
    pub fn wait(&mut self, random: f64) -> Span {
        let full = self.next;
        self.next = (full * 2).min(LONGEST);
        Span::from_secs_f64(full.as_secs_f64() * (1.0 - random.clamp(0.0, 1.0) / 2.0))
    }

    /// The wait after a refused user or password; `random` is uniform in 0..1.
    pub fn wait_after_refusal(&mut self, random: f64) -> Span {
        let full = AFTER_REFUSAL[self.refusals.min(AFTER_REFUSAL.len() - 1)];
        self.refusals += 1;
        Span::from_secs_f64(full.as_secs_f64() * (1.0 + random.clamp(0.0, 1.0) * REFUSAL_JITTER))
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

    /// A day with a camera that refuses the password, and is away (its own reboot) now and then.
    #[test]
    fn a_refused_login_is_tried_seldom_enough_not_to_lock_the_account() {
        let mut backoff = Backoff::default();
        let mut tries = Vec::new();
        let mut now = Span::ZERO;
        while now < Span::from_secs(86_400) {
            tries.push(now);
            let random = (tries.len() % 10) as f64 / 10.0;
            now += backoff.wait_after_refusal(random);
            if tries.len() % 20 == 0 {
                // Not reachable in between: no login, and no reason to try the password sooner.
                now += backoff.wait(random);
            }
        }
        assert!(tries[1] >= Span::from_secs(60) && tries[1] <= Span::from_secs(66));
        assert!(tries[2] - tries[1] >= Span::from_secs(300));
        let within = |from: Span, length: Span| {
            let inside = tries.iter().filter(|t| **t >= from && **t < from + length);
            inside.count()
        };
        assert!(within(Span::ZERO, Span::from_secs(1_800)) <= 7);
        for from in &tries[1..] {
            assert!(within(*from, Span::from_secs(1_800)) <= 6);
            assert!(within(*from, Span::from_secs(3_600)) <= 12);
        }
        backoff.reset();
        assert_eq!(backoff.wait_after_refusal(0.0), Span::from_secs(60));
    }
}
