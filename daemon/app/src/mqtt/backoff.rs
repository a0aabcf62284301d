//! The wait before the next attempt: jittered and growing, so that a fleet does not return as one wave.

use synoptic_base::Span;

/// Shortest wait.
const SHORTEST: Span = Span::from_secs(1);
/// Longest wait.
const LONGEST: Span = Span::from_secs(30);

/// The wait after `failures` failures in a row (0: the first), with `jitter` drawn from 0 to 1.
///
/// Uniform between 1 s and a limit that doubles from 2 s to 30 s ("full jitter" with a floor: Brooker,
/// "Exponential Backoff And Jitter", AWS 2015).
pub(crate) fn wait(failures: u32, jitter: f64) -> Span {
    let limit = LONGEST.min(SHORTEST * (2_i64 << failures.min(10)));
    SHORTEST + Span::from_secs_f64((limit - SHORTEST).as_secs_f64() * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_within_one_and_thirty_seconds() {
        assert_eq!(wait(0, 0.0), Span::from_secs(1));
        assert_eq!(wait(0, 1.0), Span::from_secs(2));
        assert_eq!(wait(2, 1.0), Span::from_secs(8));
        for failures in [4, 5, 100, u32::MAX] {
            assert_eq!(wait(failures, 1.0), Span::from_secs(30));
            assert_eq!(wait(failures, 0.0), Span::from_secs(1));
        }
    }
}
