//! Picture against sound: `engine::pacing` beside ffplay's rules, and its relative delays beside WebRTC's, on the same
//! seeded boxes and networks in virtual time. `make bench NAME=avsync`.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use synoptic_base::{Mono, Span};
use synoptic_engine::pacing::{DelayConfig, DelayInput, Master, RelativeDelays};
use synoptic_sim::scenario::av::{Stage, Watched, WebRtcDelays, watch, watch_ffplay};
use synoptic_sim::scenario::percentile;

const SEEDS: u64 = 20;
const LENGTH: Span = Span::from_secs(120);
/// Where convergence is not the question.
const SETTLED: Span = Span::from_secs(10);
/// In step: what issue 4 asks for.
const IN_STEP: Span = Span::from_millis(10);

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let mut rows = Vec::new();
    pacing(&mut rows);
    delays(&mut rows);
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

/// Magnitudes of the offsets, settled.
fn settled(watched: &[Watched]) -> Vec<Span> {
    let all = watched.iter().flat_map(|w| w.offsets.iter());
    all.filter(|(at, _)| *at > SETTLED)
        .map(|(_, o)| o.abs())
        .collect()
}

fn pacing(rows: &mut Vec<Value>) {
    let plain = Stage {
        frame: Span::from_nanos(33_333_333),
        device_ppm: 100.0,
        period: Span::from_millis(10),
        wakes_late: Span::from_millis(2),
        stalls_every: None,
    };
    let stalls = Stage {
        stalls_every: Some(Span::from_secs(7)),
        ..plain
    };
    for (name, stage) in [
        ("30 fps, device +100 ppm", plain),
        ("the same, stalls of 200 ms", stalls),
    ] {
        let theirs: Vec<Watched> = (0..SEEDS).map(|s| watch_ffplay(stage, LENGTH, s)).collect();
        for (master, what) in [
            (Master::Audio, "audio"),
            (Master::Video, "video"),
            (Master::External, "UTC"),
        ] {
            let ours: Vec<Watched> = (0..SEEDS).map(|s| watch(stage, master, LENGTH, s)).collect();
            let beside = |value: f64| (master == Master::Audio).then_some((value, "ffplay, audio master"));
            for percent in [50, 95, 99] {
                let share = f64::from(percent) / 100.0;
                rows.push(row(
                    &format!("{name}, {what} master: A-V p{percent}"),
                    percentile(&mut settled(&ours), share).as_millis_f64(),
                    "ms",
                    (percent == 95).then_some(10.0),
                    beside(percentile(&mut settled(&theirs), share).as_millis_f64()),
                ));
            }
            let per_minute = |w: &[Watched], count: fn(&Watched) -> u64| {
                w.iter().map(count).sum::<u64>() as f64 / (SEEDS as f64 * LENGTH.as_secs_f64() / 60.0)
            };
            for (count, of) in [
                ("dropped", (|w| w.dropped) as fn(&Watched) -> u64),
                ("repeated", |w| w.repeated),
            ] {
                let metric = format!("{name}, {what} master: {count} a minute");
                let value = per_minute(&ours, of);
                rows.push(row(
                    &metric,
                    value,
                    "frames",
                    None,
                    beside(per_minute(&theirs, of)),
                ));
            }
        }
    }
}

/// Sound comes 40 ms after capture, pictures 240; after a minute the pictures' path becomes 150 ms longer.
fn delays(rows: &mut Vec<Value>) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (mut to_begin, mut to_change) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for seed in 0..SEEDS {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut engine: RelativeDelays<u8> = RelativeDelays::new(DelayConfig::default());
        let mut webrtc = WebRtcDelays::default();
        let mut minimum = BTreeMap::from([(0_u8, Span::ZERO), (1, Span::ZERO)]);
        let mut extra = (Span::ZERO, Span::ZERO);
        let mut last = [(Span::ZERO, Mono::default()); 2];
        // Time since which each was in step, in each half.
        let mut since: [[Option<f64>; 2]; 2] = [[None; 2]; 2];
        let begin = Mono::from_nanos(1_000_000_000_000);
        for tick in 0..6_000_i64 {
            let at = Span::from_millis(20) * tick;
            let half = usize::from(at >= Span::from_secs(60));
            let path = [
                Span::from_millis(40),
                Span::from_millis(if half == 0 { 240 } else { 390 }),
            ];
            for stream in [0, 1] {
                if stream == 1 && tick % 2 == 1 {
                    continue;
                }
                // Jitter: exponential, 5 ms for sound, 12 for pictures.
                let mean = [5e6, 12e6][stream];
                let jitter = Span::from_nanos((-mean * (1.0 - rng.random::<f64>()).ln()) as i64);
                let captured = begin + at;
                let arrival = captured + path[stream] + jitter;
                engine.handle(
                    arrival,
                    DelayInput::Arrived {
                        stream: stream as u8,
                        captured,
                        arrival,
                    },
                );
                last[stream] = (at, arrival);
            }
            while let Some(told) = engine.poll(begin + at) {
                minimum.insert(told.stream, told.minimum);
            }
            if tick % 50 == 49 {
                let relative = (last[1].1 - last[0].1) - (last[1].0 - last[0].0);
                extra = webrtc.second(relative, extra.0, extra.1);
            }
            // Presented: path and what it is held; the jitter is in the hold.
            let our = (path[0] + minimum[&0]) - (path[1] + minimum[&1]);
            let their = (path[0] + extra.0) - (path[1] + extra.1);
            let into = (at - Span::from_secs(60) * half as i64).as_secs_f64();
            for (who, offset) in [our, their].into_iter().enumerate() {
                // 30 ms is what WebRTC aims for at best.
                let limit = Span::from_millis(30);
                let state = &mut since[half][who];
                *state = if offset.abs() <= limit {
                    state.or(Some(into))
                } else {
                    None
                };
            }
            if into > 30.0 {
                ours.push(our.abs());
                theirs.push(their.abs());
            }
        }
        for who in [0, 1] {
            to_begin[who].push(Span::from_secs_f64(since[0][who].unwrap_or(60.0)));
            to_change[who].push(Span::from_secs_f64(since[1][who].unwrap_or(60.0)));
        }
    }
    for percent in [50, 95, 99] {
        let share = f64::from(percent) / 100.0;
        let value = percentile(&mut ours, share).as_millis_f64();
        let baseline = Some((percentile(&mut theirs, share).as_millis_f64(), "WebRTC"));
        let target = (percent == 95).then_some(IN_STEP.as_millis_f64());
        rows.push(row(
            &format!("relative delay, settled: offset p{percent}"),
            value,
            "ms",
            target,
            baseline,
        ));
    }
    for (what, times) in [
        ("at the begin", &mut to_begin),
        ("after a change of 150 ms", &mut to_change),
    ] {
        let [ours, theirs] = times;
        rows.push(row(
            &format!("relative delay: within 30 ms for good {what}, median"),
            percentile(ours, 0.5).as_secs_f64(),
            "s",
            None,
            Some((percentile(theirs, 0.5).as_secs_f64(), "WebRTC")),
        ));
    }
}
