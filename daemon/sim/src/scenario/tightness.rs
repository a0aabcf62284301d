//! How near bounds lie to the errors that they must hold, with the bias of the camera declared exactly.
//!
//! Bounds that hold are easily had: by wide ones. What makes one good is that it holds and is near. Both are asked of the
//! same runs here, and nothing is taken out of the errors afterwards: the box is told what the camera's stamps are late
//! by (the least that the network takes) and that this is exact, so a bound is all scatter and an error is against the truth.

use synoptic_base::Span;

use super::adapter::Engine;
use super::camera::Camera;
use super::clocks::BoxClock;
use super::score::{Score, percentile, run};

/// Length of a run, and what of it is not counted.
const LENGTH: Span = Span::from_secs(600);
const SETTLED: Span = Span::from_secs(60);

/// Bounds and errors of many runs of one camera, from the second minute on.
#[derive(Clone, Copy, Debug)]
pub struct Tightness {
    /// Median over the runs of a run's median bound.
    pub bound: Span,
    /// Median error over all frames.
    pub error: Span,
    /// 99th percentile of the same.
    pub error_p99: Span,
    /// Share of all frames whose truth lies outside their bound.
    pub outside: f64,
    /// The same of the worst run.
    pub worst: f64,
    /// What the bounds would have to be multiplied by to leave one frame of a thousand outside.
    pub needed: f64,
}

impl Tightness {
    /// Runs `camera`, its bias declared exactly, with each of the seeds.
    pub fn of(camera: &Camera, seeds: impl Iterator<Item = u64>) -> Tightness {
        let mut exact = camera.clone();
        (exact.declared_bias, exact.declared_error) = (exact.network.least, Span::ZERO);
        let one = |seed| {
            let mut engine = Engine::new(&exact);
            run(&mut engine, &exact, &BoxClock::default(), LENGTH, seed).since(SETTLED)
        };
        Tightness::by(&seeds.map(one).collect::<Vec<_>>())
    }

    fn by(runs: &[Score]) -> Tightness {
        let all = || runs.iter().flat_map(|r| &r.judged);
        let mut errors: Vec<Span> = all().map(|j| j.error.abs()).collect();
        let mut needed: Vec<Span> = all()
            .filter_map(|j| {
                let bound = j.bound?.as_nanos().max(1) as f64;
                Some(Span::from_secs_f64(j.error.abs().as_nanos() as f64 / bound))
            })
            .collect();
        let wrong: usize = runs.iter().map(Score::wrong).sum();
        Tightness {
            bound: percentile(&mut runs.iter().map(|r| r.bound(0.5)).collect::<Vec<_>>(), 0.5),
            error: percentile(&mut errors, 0.5),
            error_p99: percentile(&mut errors, 0.99),
            outside: wrong as f64 / errors.len().max(1) as f64,
            worst: runs.iter().map(|r| 1.0 - r.coverage()).fold(0.0, f64::max),
            needed: percentile(&mut needed, 0.999).as_secs_f64(),
        }
    }

    /// Median bound by median error.
    pub fn ratio(&self) -> f64 {
        self.bound.as_nanos() as f64 / self.error.as_nanos().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::super::camera::camera;
    use super::*;

    /// With other seeds than the bench: `SEEDS=100` for more of them, which is how the constants were chosen.
    #[test]
    fn bounds_hold_and_are_near() {
        let seeds = std::env::var("SEEDS").ok().and_then(|v| v.parse().ok());
        let seeds = seeds.unwrap_or(12_u64);
        let clean = camera();
        // Errors of a run hang together for minutes, so one unlucky run of twelve has 2 % outside: of a hundred runs it is
        // one in a thousand or fewer.
        for (name, camera, ratio) in [
            ("clean", clean.clone(), 6.0),
            ("5 % late", clean.clone().late_reports(0.05, 50, 1_700), 6.0),
            ("30 % late", clean.clone().late_reports(0.3, 300, 1_700), 6.5),
            ("NTP step", clean.clone().wall_steps(300.0, 0.25), 7.0),
            ("wandering", clean.clone().wandering(5.0, 300.0), 5.0),
            ("every 2 s", clean.clone().reports_every(2.0), 6.0),
            ("every 15 s", clean.clone().reports_every(15.0), 12.0),
            ("smeared", clean.clone().wall_drifts(-11.6), 6.0),
        ] {
            let t = Tightness::of(&camera, 1_000..1_000 + seeds);
            let says = format!(
                "{name}: bound {:.3} ms, error p50 {:.4} p99 {:.3} ms, ratio {:.2}, outside {:.3} % worst {:.2} %, needed {:.3}",
                t.bound.as_millis_f64(),
                t.error.as_millis_f64(),
                t.error_p99.as_millis_f64(),
                t.ratio(),
                t.outside * 100.0,
                t.worst * 100.0,
                t.needed
            );
            eprintln!("{says}");
            assert!(t.outside <= 0.002 && t.ratio() <= ratio, "{says}");
        }
    }
}
