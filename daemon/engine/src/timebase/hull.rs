//! The least delayed arrivals say how a remote clock runs against the box's.
//!
//! Every observation is `arrival = remote + offset + drift·remote + delay` with `delay ≥ 0`: the lower envelope of
//! `arrival − remote` over `remote` is the clock relation, everything above it is delay. The estimate is the edge of
//! the lower convex hull that lies under the middle of the window (Moon, Skelly, Towsley 1999, "Estimation and
//! removal of clock skew from network delay measurements"; the hull form is Zhang, Liu, Xia 2002).

use std::collections::VecDeque;

use synoptic_base::{Mono, Span};

/// Observations are thinned to the least delayed one in each of these.
const BUCKET: Span = Span::from_millis(250);
/// How far back the envelope looks. 120 s holds the jitter about the envelope to 0.12 ms p99 at 15 fps in
/// simulation, and follows a lasting change of the path within two minutes.
const WINDOW: Span = Span::from_secs(120);
/// Below this much history the drift cannot be told from jitter, and is taken as zero.
const MIN_DRIFT_SPAN: Span = Span::from_secs(20);
/// Oscillators are within this (Moonfire design/time.md assumes 500 ppm; 20 ppm is typical).
const MAX_DRIFT: f64 = 500e-6;

#[derive(Clone, Copy, Debug)]
struct Point {
    /// Remote time.
    x: Span,
    /// Arrival minus remote time.
    y: Span,
}

/// Lower envelope of `arrival − remote` over the last two minutes.
#[derive(Clone, Debug, Default)]
pub struct MinDelayHull {
    /// The least delayed observation of each bucket, oldest first.
    minima: VecDeque<Point>,
    line: Option<Line>,
}

/// `y = at_zero + drift · (x − origin)`
#[derive(Clone, Copy, Debug)]
struct Line {
    origin: Span,
    at_origin: Span,
    drift: f64,
}

impl MinDelayHull {
    /// Takes one observation: something stamped `remote` on the remote clock arrived at `arrival`.
    pub fn observe(&mut self, remote: Span, arrival: Mono) {
        let point = Point {
            x: remote,
            y: Span::from_nanos(arrival.as_nanos()) - remote,
        };
        match self.minima.back_mut() {
            Some(last) if (point.x - last.x).abs() < BUCKET => {
                if point.y >= last.y {
                    return;
                }
                // The bucket keeps its place, so that buckets never crawl.
                last.y = point.y;
            }
            Some(last) if point.x < last.x => return, // reordered: its bucket is closed
            _ => {
                self.minima.push_back(point);
                while self
                    .minima
                    .front()
                    .is_some_and(|first| point.x - first.x > WINDOW)
                {
                    self.minima.pop_front();
                }
            }
        }
        self.line = self.fit();
    }

    /// Forgets everything: the remote clock or the path is a new one.
    pub fn reset(&mut self) {
        *self = MinDelayHull::default();
    }

    /// When something stamped `remote` would arrive if nothing delayed it; `None` before the first observation.
    pub fn arrival_of(&self, remote: Span) -> Option<Mono> {
        let line = self.line?;
        let along = (remote - line.origin).as_nanos() as f64 * line.drift;
        let y = line.at_origin + Span::from_nanos(along as i64);
        Some(Mono::from_nanos((remote + y).as_nanos()))
    }

    /// How much faster the remote clock runs than the box's, in parts per million; `None` while not known.
    pub fn remote_ppm(&self) -> Option<f64> {
        // y falls while the remote clock runs ahead.
        let line = self.line?;
        (self.span() >= MIN_DRIFT_SPAN).then_some(-line.drift * 1e6)
    }

    /// Observations behind the estimate, after thinning.
    pub fn len(&self) -> usize {
        self.minima.len()
    }

    /// Whether nothing was observed yet.
    pub fn is_empty(&self) -> bool {
        self.minima.is_empty()
    }

    /// Length of the history behind the estimate.
    pub fn span(&self) -> Span {
        match (self.minima.front(), self.minima.back()) {
            (Some(first), Some(last)) => last.x - first.x,
            _ => Span::ZERO,
        }
    }

    fn fit(&self) -> Option<Line> {
        let lowest = self.minima.iter().min_by_key(|p| p.y)?;
        let flat = Line {
            origin: lowest.x,
            at_origin: lowest.y,
            drift: 0.0,
        };
        if self.span() < MIN_DRIFT_SPAN {
            return Some(flat);
        }
        let hull = lower_hull(&self.minima);
        let middle =
            self.minima.iter().map(|p| p.x.as_nanos() as f64).sum::<f64>() / self.minima.len() as f64;
        let edge = hull.windows(2).find(|e| e[1].x.as_nanos() as f64 >= middle);
        let Some([a, b]) = edge else { return Some(flat) };
        let drift = (b.y - a.y).as_nanos() as f64 / (b.x - a.x).as_nanos() as f64;
        if drift.abs() > MAX_DRIFT {
            return Some(flat);
        }
        Some(Line {
            origin: a.x,
            at_origin: a.y,
            drift,
        })
    }
}

/// Andrew's monotone chain, lower half; `points` are sorted by `x`.
fn lower_hull(points: &VecDeque<Point>) -> Vec<Point> {
    let mut hull: Vec<Point> = Vec::with_capacity(points.len());
    for p in points {
        while let [.., a, b] = hull[..] {
            let left = i128::from((b.y - a.y).as_nanos()) * i128::from((p.x - a.x).as_nanos());
            let right = i128::from((p.y - a.y).as_nanos()) * i128::from((b.x - a.x).as_nanos());
            if left < right {
                break;
            }
            hull.pop();
        }
        hull.push(*p);
    }
    hull
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// A remote clock with `ppm` of drift, observed through one-sided jitter, `secs` long at 15 Hz.
    fn observed(ppm: f64, secs: i64) -> (MinDelayHull, impl Fn(Span) -> Mono) {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let truth = move |remote: Span| {
            Mono::from_nanos(5_000_000_000_000 + (remote.as_nanos() as f64 / (1.0 + ppm * 1e-6)) as i64)
        };
        let mut hull = MinDelayHull::default();
        for i in 0..secs * 15 {
            let remote = Span::from_nanos(i * 66_666_667);
            let u: f64 = rng.random_range(1e-9..1.0);
            let spike = if i % 97 == 0 { 80.0 } else { 0.0 };
            hull.observe(
                remote,
                truth(remote) + Span::from_secs_f64((-1.5 * u.ln() + spike) / 1e3),
            );
        }
        (hull, truth)
    }

    #[test]
    fn finds_the_envelope_under_jitter_and_drift() {
        for ppm in [-40.0, 0.0, 25.0] {
            let (hull, truth) = observed(ppm, 300);
            let newest = Span::from_secs(300);
            let error = hull.arrival_of(newest).unwrap() - truth(newest);
            assert!(error.abs() < Span::from_micros(300), "{ppm} ppm: {error}");
            assert!(
                (hull.remote_ppm().unwrap() - ppm).abs() < 5.0,
                "{ppm}: {:?}",
                hull.remote_ppm()
            );
        }
    }

    #[test]
    fn one_observation_is_enough_for_a_first_estimate() {
        let mut hull = MinDelayHull::default();
        assert_eq!(hull.arrival_of(Span::ZERO), None);
        hull.observe(Span::from_secs(10), Mono::from_nanos(1_000));
        assert_eq!(
            hull.arrival_of(Span::from_secs(11)),
            Some(Mono::from_nanos(1_000_001_000))
        );
        assert_eq!(hull.remote_ppm(), None);
    }

    #[test]
    fn memory_is_bounded() {
        let (hull, _) = observed(0.0, 4_000);
        assert!(hull.minima.len() <= (WINDOW.as_nanos() / BUCKET.as_nanos()) as usize + 2);
    }
}
