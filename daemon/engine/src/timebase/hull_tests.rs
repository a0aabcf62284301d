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
    assert!(hull.minima.len() * size_of::<Point>() < 16 << 10);
}

/// Shifts told (second, ms); errors and bounds (ms); error of the drift (ppm).
type Run = (Vec<(i64, f64)>, Vec<(f64, f64)>, f64);

/// Runs 15 fps for `secs` with `delay_ms(second, u)`; returns the shifts told and, from `from_s` on, the errors about
/// the least delay and the bounds, in milliseconds.
fn run(seed: u64, secs: i64, from_s: i64, delay_ms: impl Fn(i64, f64) -> f64) -> Run {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let ppm = rng.random_range(-50.0..50.0);
    let mut hull = MinDelayHull::default();
    let (mut shifts, mut errors, mut path) = (Vec::new(), Vec::new(), 0.0);
    for i in 0..secs * 15 {
        let remote = Span::from_nanos(i * 66_666_667);
        let truth = Mono::from_nanos((remote.as_nanos() as f64 * (1.0 + ppm * 1e-6)) as i64);
        let u: f64 = rng.random_range(1e-9..1.0);
        let arrival = truth + Span::from_secs_f64(delay_ms(i / 15, u) / 1e3);
        if let Some(shift) = hull.observe(remote, arrival) {
            shifts.push((i / 15, shift.as_millis_f64()));
            path += shift.as_millis_f64();
        }
        if i / 15 >= from_s {
            let at = hull.arrival_of(remote).unwrap();
            errors.push((
                (at - truth).as_millis_f64() - path,
                hull.error(remote).as_millis_f64(),
            ));
        }
    }
    let ppm_error = (hull.remote_ppm().unwrap_or(0.0) + ppm).abs();
    (shifts, errors, ppm_error)
}

#[test]
fn jitter_about_the_bias_and_its_bound() {
    // Exponential jitter with 1 % spikes; the same with the I pictures of each second late by 12 ms.
    let noise = |_: i64, u: f64| -1.5 * u.ln() + if u < 0.01 { 80.0 } else { 0.0 };
    let bursty = |_: i64, u: f64| {
        if u < 0.07 {
            12.0 + 40.0 * u
        } else {
            -0.8 * ((u - 0.07) / 0.93).ln()
        }
    };
    let mut all = Vec::new();
    let mut ppm = Vec::new();
    for seed in 0..8 {
        let (shifts, errors, ppm_error) = if seed % 2 == 0 {
            run(seed, 200, 120, noise)
        } else {
            run(seed, 200, 120, bursty)
        };
        assert!(shifts.is_empty(), "{seed}: {shifts:?}");
        all.extend(errors);
        ppm.push(ppm_error);
    }
    let inside = all.iter().filter(|(e, bound)| e.abs() <= *bound).count();
    let mut errors: Vec<f64> = all.iter().map(|(e, _)| e.abs()).collect();
    let mut bounds: Vec<f64> = all.iter().map(|(_, b)| *b).collect();
    errors.sort_by(f64::total_cmp);
    bounds.sort_by(f64::total_cmp);
    ppm.sort_by(f64::total_cmp);
    let at = |of: &[f64], q: f64| of[(of.len() as f64 * q) as usize];
    eprintln!(
        "jitter p50 {:.3} p99 {:.3} ms, bound p50 {:.3} ms, ppm p95 {:.2}, coverage {:.5}",
        at(&errors, 0.5),
        at(&errors, 0.99),
        at(&bounds, 0.5),
        at(&ppm, 0.95),
        inside as f64 / all.len() as f64
    );
    assert!(at(&errors, 0.99) <= 0.2);
    assert!(at(&ppm, 0.95) <= 2.0);
    assert!(inside as f64 >= all.len() as f64 * 0.999);
}

#[test]
fn the_bound_holds_from_the_first_frame_and_shrinks() {
    let mut inside = 0;
    let mut total = 0;
    for seed in 0..12 {
        let (_, errors, _) = run(100 + seed, 70, 0, |_, u| 0.2 - 1.5 * u.ln());
        // The least delay is 0.2 ms.
        total += errors.len();
        inside += errors.iter().filter(|(e, b)| (e - 0.2).abs() <= *b).count();
        let at = |s: usize| errors[s * 15].1;
        assert!(
            at(1) < 50.0 && at(10) <= 6.0 && at(60) <= 1.0,
            "{} {} {}",
            at(1),
            at(10),
            at(60)
        );
    }
    assert!(inside as f64 >= total as f64 * 0.999, "{inside} of {total}");
}

#[test]
fn a_slower_path_is_told_once_and_the_drift_survives() {
    let (shifts, errors, ppm) = run(3, 300, 285, |s, u| {
        -1.5 * u.ln() + if s >= 150 { 30.0 } else { 0.0 }
    });
    assert_eq!(shifts.len(), 1, "{shifts:?}");
    assert!(
        (shifts[0].1 - 30.0).abs() < 1.0 && shifts[0].0 <= 175,
        "{shifts:?}"
    );
    assert!(errors.iter().all(|(e, _)| e.abs() < 1.0));
    assert!(ppm < 8.0, "{ppm}");
}

#[test]
fn a_faster_path_is_told_within_a_second() {
    let (shifts, errors, _) = run(4, 200, 190, |s, u| {
        40.0 - 1.5 * u.ln() - if s >= 100 { 30.0 } else { 0.0 }
    });
    assert!(!shifts.is_empty() && shifts[0].0 <= 102, "{shifts:?}");
    let total: f64 = shifts.iter().map(|s| s.1).sum();
    assert!((-31.0..-25.0).contains(&total), "{shifts:?}");
    assert!(errors.iter().all(|(e, _)| (e - 40.0).abs() < 5.0));
}

#[test]
fn one_early_stamp_and_a_stall_leave_no_trace() {
    let (shifts, errors, _) = run(5, 200, 150, |s, u| {
        let stall = if (160..163).contains(&s) { 2_500.0 } else { 0.0 };
        -1.5 * u.ln() + stall
    });
    assert!(shifts.is_empty() && errors.iter().all(|(e, _)| e.abs() < 0.5));
    let (mut hull, truth) = observed(0.0, 100);
    let at = Span::from_secs(101);
    hull.observe(at, truth(at) - Span::from_secs(2));
    assert!((hull.arrival_of(at).unwrap() - truth(at)).abs() < Span::from_micros(300));
}
