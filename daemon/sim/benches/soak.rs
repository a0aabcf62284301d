//! A month of a hundred cameras in virtual time. `make bench NAME=soak`.
#![allow(clippy::disallowed_methods)] // A bench reads the clock: that is its work.

use std::time::Instant;

use serde_json::{Value, json};
use synoptic_sim::scenario::Soak;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let soak = Soak {
        days: 30.0,
        cameras: 100,
        threads: u32::try_from(std::thread::available_parallelism()?.get())?,
        seed: 1,
    };
    let start = Instant::now();
    let soaked = soak.run();
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("{soaked:?}");
    let row = |metric: &str, value: f64, unit: &str, better: &str, target: Option<f64>| -> Value {
        json!({
            "metric": format!("30 days, 100 cameras: {metric}"), "value": value, "unit": unit, "better": better,
            "target": target, "baseline": null, "baseline_name": null,
        })
    };
    let share = 100.0 * soaked.wrong as f64 / soaked.frames.max(1) as f64;
    let rows = [
        row("time", seconds, "s", "lower", Some(60.0)),
        row("frames", soaked.frames as f64, "frames", "higher", None),
        row("sender reports", soaked.reports as f64, "reports", "higher", None),
        row(
            "wraps of RTP clocks",
            soaked.wraps as f64,
            "wraps",
            "higher",
            Some(5_000.0),
        ),
        row("frames outside their bound", share, "%", "lower", Some(0.1)),
        row(
            "frames before the one before",
            soaked.backwards as f64,
            "frames",
            "lower",
            Some(0.0),
        ),
        row(
            "cameras whose clock steps were not told right",
            soaked.steps_missed as f64,
            "cameras",
            "lower",
            Some(0.0),
        ),
    ];
    let text = serde_json::to_string_pretty(&rows)?;
    match std::env::var_os("BENCH_OUT") {
        Some(path) => std::fs::write(path, text)?,
        None => println!("{text}"),
    }
    Ok(())
}
