//! What a panorama's thread measures of itself: pictures a second, latency, what composing takes.

use std::collections::VecDeque;

use synoptic_base::{Mono, Span};

use crate::documents::{LatencyDoc, round_ms};

/// Figures are of this long.
pub(super) const WINDOW: Span = Span::from_secs(5);

struct Sample {
    at: Mono,
    latency: Span,
    composing: Span,
}

/// The pictures of the window.
#[derive(Default)]
pub(super) struct Figures {
    samples: VecDeque<Sample>,
}

impl Figures {
    /// A picture was made at `at`, `latency` after its instant; composing took `composing` of that.
    pub(super) fn add(&mut self, at: Mono, latency: Span, composing: Span) {
        self.samples.push_back(Sample {
            at,
            latency,
            composing,
        });
        self.forget(at);
    }

    fn forget(&mut self, now: Mono) {
        while self.samples.front().is_some_and(|s| now - s.at > WINDOW) {
            self.samples.pop_front();
        }
    }

    /// Pictures a second.
    pub(super) fn fps(&mut self, now: Mono) -> f64 {
        self.forget(now);
        match (self.samples.front(), self.samples.back()) {
            (Some(first), Some(last)) if last.at > first.at => {
                (self.samples.len() - 1) as f64 / (last.at - first.at).as_secs_f64()
            }
            _ => 0.0,
        }
    }

    pub(super) fn latency(&self) -> Option<LatencyDoc> {
        quantiles(self.samples.iter().map(|s| s.latency))
    }

    pub(super) fn composing(&self) -> Option<LatencyDoc> {
        quantiles(self.samples.iter().map(|s| s.composing))
    }
}

fn quantiles(spans: impl Iterator<Item = Span>) -> Option<LatencyDoc> {
    let mut spans: Vec<Span> = spans.collect();
    spans.sort_unstable();
    let last = spans.len().checked_sub(1)?;
    let at = |part: f64| round_ms(spans[(part * last as f64).round() as usize]);
    Some(LatencyDoc {
        p50: at(0.5),
        p99: at(0.99),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_the_last_seconds() {
        let mut figures = Figures::default();
        let at = |ms: i64| Mono::from_nanos(0) + Span::from_millis(ms);
        assert_eq!(figures.latency(), None);
        for i in 0..200 {
            figures.add(at(40 * i), Span::from_millis(i), Span::from_millis(5));
        }
        assert!((figures.fps(at(7_960)) - 25.0).abs() < 1e-9);
        let latency = figures.latency().unwrap();
        assert!(
            (136.0..=138.0).contains(&latency.p50) && latency.p99 >= 197.0,
            "{latency:?}"
        );
        assert_eq!(figures.composing().unwrap().p50, 5.0);
        assert_eq!(figures.fps(at(30_000)), 0.0);
    }
}
