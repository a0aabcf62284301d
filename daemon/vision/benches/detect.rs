//! All-in time a frame of every detector: planes in, boxes out, one thread. `make bench NAME=detect`.
//!
//! Writes the list of results to the file that BENCH_OUT names, else to standard output. Models, the clip and
//! pictures come from SYNOPTIC_MIRROR (or ../shared beside the workspace); what is missing is left out, aloud. Each
//! model runs on every engine: rten and, with the feature `ort` and its library, onnxruntime. With SYNOPTIC_PYTHON
//! (a Python that has onnxruntime, numpy and cv2; `python3` by default) the same work is timed by
//! tools/golden/detect.py as the baseline. Engines and baseline take turns, round after round.
#![allow(clippy::disallowed_methods)] // A bench reads the clock: that is its work.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use synoptic_base::{
    Captured, Detector, Epoch, FrameKey, FrameKind, FrameMeta, MediaTime, Mono, Picture, PixelFormat, Seq,
    Size, Span, StreamId, TimeSource,
};
use synoptic_vision::motion::MotionDetector;
use synoptic_vision::onnx::{EngineChoice, OnnxDetector, OnnxError, OnnxOptions};
use synoptic_vision::{PictureBuf, fetch, manifest};

/// Frames timed of each detector after those that warm it. The 10th percentile is reported, of ours and of the
/// baseline: others share the machine, and what they do to the slower frames says nothing of a detector.
const FRAMES: usize = 60;
const WARM: usize = 20;
/// Rounds of ours and the baseline's in turn; the best of each counts.
const ROUNDS: usize = 5;
const MODELS: [&str; 3] = ["fastestdet", "yolox-nano", "nanodet-m"];
const CLIP: &str = "data/clips/one-by-one-person-detection.mp4";
/// The engines, and their time against Python onnxruntime's at most: all-in, one thread each.
const ENGINES: [(EngineChoice, &str, f64); 2] = [
    (EngineChoice::Rten, "rten", 3.3),
    (EngineChoice::OnnxRuntime, "onnxruntime", 1.0),
];
/// Of motion, ms a frame of 640x360.
const TARGET_MOTION_MS: f64 = 1.0;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mirror =
        std::env::var_os("SYNOPTIC_MIRROR").map_or_else(|| workspace.join("../shared"), PathBuf::from);
    let mut results = Vec::new();

    for size in [Size::new(640, 360), Size::new(1920, 1080)] {
        let frames: Vec<_> = (0..8).map(|i| synthetic(size, i)).collect::<Result<_, _>>()?;
        let ms = time(&mut MotionDetector::new(None), &frames)?;
        let target = (size.height == 360).then_some(TARGET_MOTION_MS);
        results.push(row(
            &format!("motion {}x{}", size.width, size.height),
            ms,
            "ms",
            target,
            None,
        ));
    }

    let frames = clip_frames(&mirror.join(CLIP)).unwrap_or_else(|why| {
        eprintln!("no clip ({why}): a synthetic picture takes its place, which changes no model's time");
        Vec::new()
    });
    let frames = if frames.is_empty() {
        vec![synthetic(Size::new(768, 432), 0)?]
    } else {
        let mut motion = MotionDetector::new(None);
        results.push(row(
            "motion 768x432 clip",
            time(&mut motion, &frames)?,
            "ms",
            None,
            None,
        ));
        frames
    };
    onnx(&workspace, &mirror, &frames, &mut results)?;

    let json = serde_json::to_string_pretty(&results)?;
    match std::env::var_os("BENCH_OUT") {
        Some(path) => std::fs::write(path, json + "\n")?,
        None => println!("{json}"),
    }
    Ok(())
}

/// One model in one engine, and its best time so far, ms.
struct Candidate {
    model: &'static str,
    engine: &'static str,
    most: f64,
    detector: OnnxDetector,
    best_ms: f64,
}

fn onnx(
    workspace: &Path,
    mirror: &Path,
    frames: &[PictureBuf],
    results: &mut Vec<serde_json::Value>,
) -> Result<(), Error> {
    let mut candidates = candidates(workspace, mirror)?;
    let mut baselines = std::collections::BTreeMap::new();
    for round in 0..ROUNDS {
        for candidate in &mut candidates {
            candidate.best_ms = candidate.best_ms.min(time(&mut candidate.detector, frames)?);
        }
        match python(workspace, mirror) {
            Ok(times) => {
                for (name, ms) in times {
                    let best: &mut f64 = baselines.entry(name).or_insert(f64::INFINITY);
                    *best = best.min(ms);
                }
            }
            Err(why) if round == 0 => eprintln!("no baseline from Python onnxruntime: {why}"),
            Err(_) => {}
        }
    }
    for Candidate {
        model,
        engine,
        most,
        best_ms,
        ..
    } in candidates
    {
        let baseline = baselines.get(model).copied();
        let name = format!("{model} by {engine}");
        results.push(row(&name, best_ms, "ms", baseline.map(|b| b * most), baseline));
        if let Some(baseline) = baseline {
            let name = format!("{name} / Python onnxruntime");
            results.push(row(&name, best_ms / baseline, "x", Some(most), None));
        }
    }
    Ok(())
}

/// Every model in every engine there is here; what is left out is said.
fn candidates(workspace: &Path, mirror: &Path) -> Result<Vec<Candidate>, Error> {
    let mut candidates = Vec::new();
    for model in MODELS {
        let manifest = manifest::find(&[workspace.join("configs/models")], model)?;
        let Some(path) = fetch::locate_in_mirror(mirror, &manifest)? else {
            eprintln!("no file of model {model} in {}: left out", mirror.display());
            continue;
        };
        for (choice, engine, most) in ENGINES {
            let options = OnnxOptions {
                threads: Some(1),
                engine: choice,
                ..OnnxOptions::default()
            };
            match OnnxDetector::load(&path, manifest.clone(), &options) {
                Ok(detector) => candidates.push(Candidate {
                    model,
                    engine,
                    most,
                    detector,
                    best_ms: f64::INFINITY,
                }),
                Err(why @ OnnxError::Engine { .. }) => eprintln!("{model} by {engine} is left out: {why}"),
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(candidates)
}

fn row(
    metric: &str,
    value: f64,
    unit: &str,
    target: Option<f64>,
    baseline: Option<f64>,
) -> serde_json::Value {
    let round = |v: f64| (v * 1000.0).round() / 1000.0;
    serde_json::json!({
        "metric": metric,
        "value": round(value),
        "unit": unit,
        "better": "lower",
        "target": target.map(round),
        "baseline": baseline.map(round),
        "baseline_name": baseline.map(|_| "Python onnxruntime, 1 thread, all-in"),
    })
}

/// Ms a frame, 10th percentile.
fn time(detector: &mut dyn Detector, frames: &[PictureBuf]) -> Result<f64, Error> {
    let mut took = Vec::new();
    for i in 0..WARM + FRAMES {
        let surface = &frames[i % frames.len()];
        let at = Span::from_millis(100 * i as i64);
        let meta = FrameMeta {
            key: FrameKey {
                stream: StreamId::new("bench")?,
                epoch: Epoch(0),
                media_us: MediaTime::from_micros(at.as_micros_floor()),
            },
            seq: Seq(i as u64),
            arrival: Mono::from_nanos(0) + at,
            captured: Captured {
                mono: Mono::from_nanos(0) + at,
                rel_error: Span::ZERO,
                source: TimeSource::Host,
            },
            size: synoptic_base::Surface::size(surface),
            kind: FrameKind::Unknown,
        };
        let start = Instant::now();
        detector.detect(&[Picture { meta: &meta, surface }]).remove(0)?;
        if i >= WARM {
            took.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    took.sort_by(f64::total_cmp);
    Ok(took[took.len() / 10])
}

/// A room with noise and a thing at place `i`, NV12.
fn synthetic(size: Size, i: usize) -> Result<PictureBuf, Error> {
    let (w, h) = (size.width as usize, size.height as usize);
    let mut data = vec![128; PictureBuf::bytes(size)];
    let mut noise = 12345_u32;
    for y in 0..h {
        for x in 0..w {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let wall = if (x / 40 + y / 40) % 2 == 0 { 90 } else { 130 };
            let left = w / 4 + i * w / 100;
            let thing = (left..left + w / 8).contains(&x) && (h / 4..h * 3 / 4).contains(&y);
            data[y * w + x] = if thing { 30 } else { wall } + (noise >> 29) as u8;
        }
    }
    Ok(PictureBuf::new(size, PixelFormat::Nv12, data)?)
}

/// 40 frames with a person, by the ffmpeg command.
fn clip_frames(path: &Path) -> Result<Vec<PictureBuf>, Error> {
    let size = Size::new(768, 432);
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-ss", "30", "-i"])
        .arg(path)
        .args(["-frames:v", "40", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"])
        .stdin(Stdio::null())
        .output()?;
    let chunks = out.stdout.chunks_exact(PictureBuf::bytes(size));
    let frames = chunks
        .map(|c| PictureBuf::new(size, PixelFormat::I420, c.to_vec()).map(|p| p.to_nv12()))
        .collect::<Result<Vec<_>, _>>()?;
    if frames.is_empty() {
        return Err(String::from_utf8_lossy(&out.stderr).trim().to_owned().into());
    }
    Ok(frames)
}

/// What tools/golden/detect.py measures: model to ms a frame.
fn python(workspace: &Path, mirror: &Path) -> Result<std::collections::BTreeMap<String, f64>, Error> {
    let python = std::env::var_os("SYNOPTIC_PYTHON").unwrap_or_else(|| "python3".into());
    let out = Command::new(python)
        .arg(workspace.join("tools/golden/detect.py"))
        .arg("bench")
        .arg(mirror)
        .output()?;
    if !out.status.success() {
        let text = String::from_utf8_lossy(&out.stderr);
        return Err(text.lines().last().unwrap_or("it failed").to_owned().into());
    }
    Ok(serde_json::from_slice(&out.stdout)?)
}
