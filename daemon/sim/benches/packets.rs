//! Frame packets against the best grouping there is, and against the floor rule of rtsp-streamsync.
//! `make bench NAME=packets`.
#![allow(clippy::disallowed_methods)] // A bench reads the clock: that is its work.

use std::time::Instant;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use synoptic_base::{Mono, Span, StreamId};
use synoptic_engine::align::AlignConfig;
use synoptic_sim::scenario::baselines::{floor_rule, minimum_arc};
use synoptic_sim::scenario::{
    BoxClock, Camera, Event, Feed, GroupScore, Member, camera, percentile, run_group,
};

const CAMERAS: usize = 7;
/// Draws of the shutters' phases, and the length of each run.
const DRAWS: u64 = 60;
const LENGTH: Span = Span::from_secs(40);
/// Packets of the beginning that are not counted.
const SETTLED_PACKETS: usize = 30;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let mut rows = Vec::new();
    spread(&mut rows);
    mixed(&mut rows);
    dead(&mut rows);
    cost(&mut rows)?;
    let text = serde_json::to_string_pretty(&rows)?;
    match std::env::var_os("BENCH_OUT") {
        Some(path) => std::fs::write(path, text)?,
        None => println!("{text}"),
    }
    Ok(())
}

fn row(
    metric: &str,
    value: f64,
    unit: &str,
    better: &str,
    target: Option<f64>,
    baseline: Option<(f64, &str)>,
) -> Value {
    json!({
        "metric": metric, "value": value, "unit": unit, "better": better, "target": target,
        "baseline": baseline.map(|b| b.0), "baseline_name": baseline.map(|b| b.1),
    })
}

fn config(cameras: Vec<StreamId>) -> AlignConfig {
    AlignConfig {
        max_wait: Span::from_millis(250),
        ..AlignConfig::new(cameras)
    }
}

/// A camera whose every frame is timed without error: what is measured is the grouping.
fn ideal(phase_ms: f64) -> Camera {
    camera()
        .phased(phase_ms)
        .drifting(0.0)
        .declared(0, 1)
        .reports(|r| r.noise_ms = 0.0)
        .network(|n| {
            n.jitter_ms = 0.0;
            n.spikes = 0.0;
        })
}

fn captures(camera: &Camera) -> Vec<Mono> {
    let feed = Feed::new(camera, &BoxClock::default(), LENGTH, 0);
    let mut times: Vec<Mono> = feed
        .filter_map(|event| match event {
            Event::Frame(frame) => Some(frame.captured),
            _ => None,
        })
        .collect();
    times.sort_unstable();
    times
}

fn mean_ms(spreads: &[Span]) -> f64 {
    let settled = spreads.get(SETTLED_PACKETS..).unwrap_or_default();
    settled.iter().map(|s| s.as_millis_f64()).sum::<f64>() / settled.len().max(1) as f64
}

/// Mean and standard deviation.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    (
        mean,
        (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt(),
    )
}

fn spread(rows: &mut Vec<Value>) {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let (mut ours, mut best, mut floor, mut real) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut incomplete = 0;
    let mut packets = 0;
    for draw in 0..DRAWS {
        let phases: Vec<f64> = (0..CAMERAS)
            .map(|_| rng.random_range(0.0..1_000.0 / 15.0))
            .collect();
        let cameras: Vec<Camera> = phases.iter().map(|p| ideal(*p)).collect();
        let times: Vec<Vec<Mono>> = cameras.iter().map(captures).collect();
        best.push(mean_ms(&minimum_arc(&times)));
        // Streams do not begin together: the one that comes last sets the pace of the floor rule for good.
        let begun = times
            .iter()
            .map(|t| t[rng.random_range(0..SETTLED_PACKETS)..].to_vec());
        floor.push(mean_ms(&floor_rule(&begun.collect::<Vec<_>>())));
        let members: Vec<Member> = cameras.into_iter().map(Member::of).collect();
        let score = run_group(&members, config, &BoxClock::default(), LENGTH, draw);
        ours.push(mean_ms(&score.spreads));
        incomplete += score.packets - score.complete;
        packets += score.packets;
        let members: Vec<Member> = phases
            .iter()
            .map(|p| Member::of(camera().phased(*p).drifting(0.0)))
            .collect();
        real.push(mean_ms(
            &run_group(&members, config, &BoxClock::default(), LENGTH, draw).spreads,
        ));
    }
    let ((ours, ours_std), (best, best_std), (floor, floor_std)) =
        (moments(&ours), moments(&best), moments(&floor));
    let what = "7 x 15 fps";
    rows.push(row(
        &format!("{what}: mean spread"),
        ours,
        "ms",
        "lower",
        Some(best * 1.01),
        Some((floor, "floor rule")),
    ));
    rows.push(row(
        &format!("{what}: standard deviation of the spread between draws"),
        ours_std,
        "ms",
        "lower",
        None,
        Some((floor_std, "floor rule")),
    ));
    rows.push(row(
        &format!("{what}: mean spread, as the best grouping has it"),
        best,
        "ms",
        "lower",
        None,
        None,
    ));
    rows.push(row(
        &format!("{what}: standard deviation of the best grouping"),
        best_std,
        "ms",
        "lower",
        None,
        None,
    ));
    rows.push(row(
        &format!("{what}: spread against the best grouping"),
        ours / best,
        "x",
        "lower",
        Some(1.01),
        Some((floor / best, "floor rule")),
    ));
    rows.push(row(
        &format!("{what}: the same with times as estimated from reports"),
        moments(&real).0 / best,
        "x",
        "lower",
        None,
        Some((floor / best, "floor rule, perfect times")),
    ));
    let share = 100.0 * incomplete as f64 / packets.max(1) as f64;
    rows.push(row(
        &format!("{what}: incomplete packets, the first ones included"),
        share,
        "%",
        "lower",
        Some(1.0),
        None,
    ));
}

/// Share of complete packets.
fn complete(score: &GroupScore) -> f64 {
    100.0 * score.complete as f64 / score.packets.max(1) as f64
}

fn mixed(rows: &mut Vec<Value>) {
    for (name, rates) in [
        ("15 + 25 + 29.97 fps", vec![15.0, 25.0, 29.97]),
        ("30 + 29.97 fps", vec![30.0, 29.97]),
    ] {
        let members: Vec<Member> = rates
            .iter()
            .map(|fps| Member::of(camera().at_fps(*fps)))
            .collect();
        let score = run_group(&members, config, &BoxClock::default(), Span::from_secs(300), 3);
        rows.push(row(
            &format!("{name}: complete packets"),
            complete(&score),
            "%",
            "higher",
            Some(97.0),
            None,
        ));
        rows.push(row(
            &format!("{name}: spread p95"),
            percentile(&mut score.spreads.clone(), 0.95).as_millis_f64(),
            "ms",
            "lower",
            None,
            None,
        ));
    }
}

fn dead(rows: &mut Vec<Value>) {
    let mut members: Vec<Member> = (0..4)
        .map(|i| Member::of(camera().phased(f64::from(i) * 11.0)))
        .collect();
    let quiet = run_group(&members, config, &BoxClock::default(), Span::from_secs(120), 5);
    let latency = |s: &GroupScore, share| percentile(&mut s.latencies.clone(), share).as_millis_f64();
    rows.push(row(
        "4 x 15 fps: from first capture to packet, p50",
        latency(&quiet, 0.5),
        "ms",
        "lower",
        None,
        None,
    ));
    rows.push(row(
        "4 x 15 fps: from first capture to packet, p99",
        latency(&quiet, 0.99),
        "ms",
        "lower",
        Some(250.0),
        None,
    ));
    members[2].camera = members[2].camera.clone().dark(60.0, 30.0);
    let score = run_group(&members, config, &BoxClock::default(), Span::from_secs(120), 5);
    let limit = 250.0 + 1_000.0 / 15.0;
    rows.push(row(
        "one of 4 cameras dies: longest pause of the others",
        score.longest_gap.as_millis_f64(),
        "ms",
        "lower",
        Some(limit),
        None,
    ));
}

fn cost(rows: &mut Vec<Value>) -> Result<(), Error> {
    let members: Vec<Member> = (0..CAMERAS)
        .map(|i| Member::of(camera().phased(i as f64 * 9.0)))
        .collect();
    let length = Span::from_secs(600);
    let mut times = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        let score = run_group(&members, config, &BoxClock::default(), length, 1);
        times.push(Span::from_nanos(
            start.elapsed().as_nanos() as i64 / score.packets.max(1) as i64,
        ));
    }
    let ns = percentile(&mut times, 0.5).as_nanos();
    rows.push(row(
        "7 x 15 fps: simulate, time and group one packet",
        f64::from(i32::try_from(ns)?) / 1e3,
        "us",
        "lower",
        None,
        None,
    ));
    Ok(())
}
