//! Capture times against the truth: the engine's timebase, the last sender report, and WebRTC's line through 20
//! reports, on the same simulated input. `make bench NAME=estimator`.
//!
//! An error is the estimate minus the truth, less the run's median error: what one calibration takes out. Each
//! estimator is judged on the clock that it speaks of: the engine on the box's, the other two on the camera's own wall
//! clock, which spares them the network and the camera's offset. Bounds are held against the truth itself, the bias of the
//! camera declared exactly (`scenario::Tightness`). Frames of the first minute are not counted, except
//! where the first minute is the question.
#![allow(clippy::disallowed_methods)] // A bench reads the clock: that is its work.

use std::time::Instant;

use serde_json::{Value, json};
use synoptic_base::Span;
use synoptic_sim::scenario::baselines::{LastReport, LeastSquares};
use synoptic_sim::scenario::{
    BoxClock, Camera, Engine, Estimator, Event, Feed, Score, Tightness, camera, percentile, run,
};

/// Runs of each scenario, and their length.
const SEEDS: u64 = 20;
const LENGTH: Span = Span::from_secs(600);
const SETTLED: Span = Span::from_secs(60);
/// A frame that is off by more is wrong: it may fall into another packet.
const WRONG: Span = Span::from_millis(25);
/// Cameras in memory together, to weigh one.
const WEIGHED: usize = 2_000;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let mut rows = Vec::new();
    let clean = camera();
    for (name, camera, target) in [
        ("clean reports", clean.clone(), Some(0.3)),
        (
            "5 % late, mean 50 ms",
            clean.clone().late_reports(0.05, 50, 1_700),
            None,
        ),
        (
            "30 % late, mean 300 ms",
            clean.clone().late_reports(0.3, 300, 1_700),
            Some(0.5),
        ),
        (
            "NTP step of 250 ms",
            clean.clone().wall_steps(300.0, 0.25),
            Some(0.3),
        ),
        ("wandering quartz", clean.clone().wandering(5.0, 300.0), None),
    ] {
        compare(&mut rows, name, &camera, target);
    }
    without_reports(&mut rows);
    convergence(&mut rows, &clean);
    cost(&mut rows, &clean)?;
    let text = serde_json::to_string_pretty(&rows)?;
    match std::env::var_os("BENCH_OUT") {
        Some(path) => std::fs::write(path, text)?,
        None => println!("{text}"),
    }
    Ok(())
}

fn row(metric: &str, value: f64, unit: &str, target: Option<f64>, baseline: Option<(f64, &str)>) -> Value {
    json!({
        "metric": metric, "value": value, "unit": unit, "better": "lower", "target": target,
        "baseline": baseline.map(|b| b.0), "baseline_name": baseline.map(|b| b.1),
    })
}

fn scores<E: Estimator>(camera: &Camera, mut make: impl FnMut() -> E) -> Vec<Score> {
    (0..SEEDS)
        .map(|seed| run(&mut make(), camera, &BoxClock::default(), LENGTH, seed))
        .collect()
}

/// This percentile of the error about each run's bias, over the runs together, in ms.
fn error_ms(scores: &[Score], share: f64) -> f64 {
    let mut errors: Vec<Span> = Vec::new();
    for score in scores {
        let settled = score.since(SETTLED);
        let bias = settled.bias();
        errors.extend(settled.judged.iter().map(|j| (j.error - bias).abs()));
    }
    percentile(&mut errors, share).as_millis_f64()
}

fn compare(rows: &mut Vec<Value>, name: &str, camera: &Camera, target_p99: Option<f64>) {
    let ours = scores(camera, || Engine::new(camera));
    let last = scores(camera, || LastReport::new(camera.rate_hz));
    let line = scores(camera, LeastSquares::default);
    for (percent, target) in [(50, None), (95, None), (99, target_p99)] {
        let share = f64::from(percent) / 100.0;
        for (baseline, who) in [(&last, "last report"), (&line, "WebRTC, 20 reports")] {
            rows.push(row(
                &format!("{name}: error p{percent}"),
                error_ms(&ours, share),
                "ms",
                target,
                Some((error_ms(baseline, share), who)),
            ));
        }
    }
    let wrong = |scores: &[Score]| {
        scores
            .iter()
            .map(|s| s.since(SETTLED).beyond(WRONG))
            .sum::<usize>() as f64
    };
    for (baseline, who) in [(&last, "last report"), (&line, "WebRTC, 20 reports")] {
        let metric = format!("{name}: frames off by more than {WRONG}");
        rows.push(row(
            &metric,
            wrong(&ours),
            "frames",
            Some(0.0),
            Some((wrong(baseline), who)),
        ));
    }
    let worst = ours.iter().map(|s| 1.0 - s.coverage()).fold(0.0, f64::max);
    rows.push(row(
        &format!("{name}: frames outside their bound, worst run"),
        worst * 100.0,
        "%",
        Some(0.1),
        None,
    ));
    let exact = Tightness::of(camera, 0..SEEDS);
    for (metric, value, unit, target) in [
        (
            "frames outside their bound",
            exact.outside * 100.0,
            "%",
            Some(0.1),
        ),
        ("median error", exact.error.as_millis_f64(), "ms", None),
        ("median bound", exact.bound.as_millis_f64(), "ms", None),
        ("median bound / median error", exact.ratio(), "x", Some(4.0)),
    ] {
        let metric = format!("{name}, bias declared exactly: {metric}");
        rows.push(row(&metric, value, unit, target, None));
    }
}

fn without_reports(rows: &mut Vec<Value>) {
    let camera = camera().without_reports();
    let mut skews = Vec::new();
    let mut scores = Vec::new();
    for seed in 0..SEEDS {
        let mut engine = Engine::new(&camera);
        scores.push(run(&mut engine, &camera, &BoxClock::default(), LENGTH, seed));
        if let Some(ppm) = engine.health().drift_ppm {
            skews.push(Span::from_secs_f64((ppm - camera.oscillator.ppm).abs()));
        }
    }
    for (percent, target) in [(50, None), (95, None), (99, Some(0.2))] {
        let value = error_ms(&scores, f64::from(percent) / 100.0);
        rows.push(row(
            &format!("no reports: jitter about the bias p{percent}"),
            value,
            "ms",
            target,
            None,
        ));
    }
    let skew = percentile(&mut skews, 0.95).as_secs_f64();
    rows.push(row(
        "no reports: error of the drift p95",
        skew,
        "ppm",
        Some(2.0),
        None,
    ));
}

/// The error about the bias that the run has in the end, of the frames around an age.
fn convergence(rows: &mut Vec<Value>, with_reports: &Camera) {
    let without = with_reports.clone().without_reports();
    for (name, camera) in [("with reports", with_reports), ("no reports", &without)] {
        let scores = scores(camera, || Engine::new(camera));
        for (age, target) in [(1, 50.0), (10, 5.0), (60, 1.0)] {
            let mut errors: Vec<Span> = Vec::new();
            for score in &scores {
                let bias = score.since(Span::from_secs(120)).bias();
                let from = Span::from_secs(age);
                let here = score.between(from, from + Span::from_secs(1));
                errors.extend(here.judged.iter().map(|j| (j.error - bias).abs()));
            }
            let error = percentile(&mut errors, 0.95).as_millis_f64();
            rows.push(row(
                &format!("{name}: error p95 after {age} s"),
                error,
                "ms",
                Some(target),
                None,
            ));
        }
    }
}

fn resident_bytes() -> Result<f64, Error> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = statm
        .split_whitespace()
        .nth(1)
        .ok_or("no field in statm")?
        .parse()?;
    Ok(pages * 4096.0)
}

fn feed(engine: &mut Engine, events: &[Event]) -> u32 {
    let mut frames = 0;
    for event in events {
        match event {
            Event::Frame(frame) => {
                frames += u32::from(engine.frame(frame).is_some());
            }
            Event::Report(report) => engine.report(report),
            Event::Reconnect(now) => engine.reconnect(*now),
        }
    }
    frames
}

fn cost(rows: &mut Vec<Value>, camera: &Camera) -> Result<(), Error> {
    let events: Vec<Event> = Feed::new(camera, &BoxClock::default(), LENGTH, 1).collect();
    let mut times = Vec::new();
    for _ in 0..5 {
        let mut engine = Engine::new(camera);
        let start = Instant::now();
        let frames = std::hint::black_box(feed(&mut engine, &events));
        times.push(Span::from_nanos(
            start.elapsed().as_nanos() as i64 / i64::from(frames.max(1)),
        ));
    }
    let ns = percentile(&mut times, 0.5).as_nanos() as f64;
    rows.push(row("time of one frame", ns, "ns", Some(2_000.0), None));
    let before = resident_bytes()?;
    let short: Vec<Event> = Feed::new(camera, &BoxClock::default(), Span::from_secs(150), 1).collect();
    let engines: Vec<Engine> = (0..WEIGHED)
        .map(|_| {
            let mut engine = Engine::new(camera);
            feed(&mut engine, &short);
            engine
        })
        .collect();
    let bytes = (resident_bytes()? - before) / std::hint::black_box(&engines).len() as f64;
    rows.push(row(
        "memory of one camera",
        bytes / 1024.0,
        "KiB",
        Some(19.5),
        None,
    ));
    Ok(())
}
