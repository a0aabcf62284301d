//! How often a download is tried again.

use synoptic_base::Span;

use crate::backoff::Backoff;

/// Tries in a row that bring not one new byte: with waits of 1 to 30 s some three minutes, the restart of a server or router.
pub const TRIES: u32 = 8;
/// Tries of one download in all, new bytes or not: a link that breaks every megabyte is not followed for ever.
pub const TRIES_IN_ALL: u32 = 200;

/// What is left of the tries of one download.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    backoff: Backoff,
    furthest: u64,
    in_vain: u32,
    in_all: u32,
}

impl Budget {
    /// A try ended with `bytes` here; how long to wait before the next one, `None` when none is left. `random` is uniform in
    /// 0..1.
    pub fn failed(&mut self, bytes: u64, random: f64) -> Option<Span> {
        self.in_all += 1;
        if bytes > self.furthest {
            self.furthest = bytes;
            self.in_vain = 0;
            self.backoff.reset();
        } else {
            self.in_vain += 1;
        }
        (self.in_vain < TRIES && self.in_all < TRIES_IN_ALL).then(|| self.backoff.wait(random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_gives_nothing_is_given_up() {
        let mut budget = Budget::default();
        let waits: Vec<_> = std::iter::from_fn(|| budget.failed(0, 0.0)).collect();
        assert_eq!(waits.len(), TRIES as usize - 1);
        assert!(
            waits
                .iter()
                .all(|w| *w >= Span::from_secs(1) && *w <= Span::from_secs(30))
        );
    }

    #[test]
    fn progress_fills_it_again_but_not_for_ever() {
        let mut budget = Budget::default();
        for _ in 0..TRIES - 1 {
            assert!(budget.failed(0, 0.0).is_some());
        }
        assert_eq!(
            budget.failed(1, 0.0),
            Some(Span::from_secs(1)),
            "waits begin anew"
        );
        // A server that begins anew each time and never gets further than before brings nothing.
        for _ in 0..TRIES - 1 {
            assert!(budget.failed(1, 0.0).is_some());
        }
        assert_eq!(budget.failed(1, 0.0), None);
        let mut slow = Budget::default();
        let tries = (1..).take_while(|n| slow.failed(*n, 0.0).is_some()).count();
        assert_eq!(tries, TRIES_IN_ALL as usize - 1);
    }
}
