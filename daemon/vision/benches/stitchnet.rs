//! The learned warp: ms a frame of the stitching networks on rten, beside onnxruntime, and of what the daemon does around
//! them. `make bench NAME=stitchnet`.
//!
//! The networks of the published size are no part of the repository. SYNOPTIC_STITCH_MODELS names a folder with them, as
//! `python -m stitchnet export --random 1 --out DIR` of tools/stitchnet writes (time does not depend on the weights);
//! without it the tiny networks of the goldens are timed, and the names of the results say so. The baseline is
//! onnxruntime from Python (SYNOPTIC_PYTHON, else `python3`), with as many threads; without it there is none, aloud.
#![allow(clippy::disallowed_methods)] // A bench reads the clock: that is its work.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use synoptic_base::{Canvas, Intrinsics, Lens, Projection, Rig, RigCamera, Size, StreamId, Surface};
use synoptic_engine::stitch::{Director, StitchConfig};
use synoptic_vision::PictureBuf;
use synoptic_vision::color::Matrix;
use synoptic_vision::learned::model::{self, StitchOptions};
use synoptic_vision::learned::nets::OnlineStitch;
use synoptic_vision::learned::rigid;
use synoptic_vision::learned::warp::{LearnedWarp, Placement};
use synoptic_vision::onnx::EngineChoice;
use synoptic_vision::panorama::{ComposeOptions, Compositor};

/// Frames timed after those that fill the window.
const FRAMES: usize = 12;
const WARM: usize = 7;
/// The daemon's default: two looks a second, of which half may go to the networks.
const TARGET_MS: f64 = 250.0;

/// Features a pixel of the published networks.
const PUBLISHED_CHANNELS: usize = 128;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let models = match std::env::var_os("SYNOPTIC_STITCH_MODELS") {
        Some(dir) => PathBuf::from(dir),
        None => {
            eprintln!("no SYNOPTIC_STITCH_MODELS: the tiny networks of the goldens are timed");
            here.join("golden/stitchnet")
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(2));
    let folder = tempfile::tempdir()?;
    let options = StitchOptions {
        engine: EngineChoice::Rten,
        threads,
    };
    let taken = model::import(&models, folder.path(), options)?;
    let name = format!("{}x{}, {} features", taken.width, taken.height, taken.channels);
    let mut stitch = OnlineStitch::load(&[folder.path().to_owned()], options)?;
    let size = Size::new(1280, 720);
    let pictures = [textured(size, 0)?, textured(size, 1)?];
    let mut times = Vec::new();
    for frame in 0..WARM + FRAMES {
        let began = Instant::now();
        let shown = stitch.push([&pictures[0] as &dyn Surface, &pictures[1]])?;
        let ms = began.elapsed().as_secs_f64() * 1e3;
        if shown.is_some() != (frame + 1 >= WARM) {
            return Err("the window is not filled by seven frames".into());
        }
        if frame >= WARM {
            times.push(ms);
        }
    }
    let baseline = onnxruntime(
        &here.join("../../tools/stitchnet/stitchnet/bench.py"),
        &models,
        threads,
    );
    if let Err(why) = &baseline {
        eprintln!("no onnxruntime beside rten: {why}");
    }
    let [warp_ms, rewarp_ms, relayout_ms] = around(stitch.input())?;
    let own = (taken.channels == PUBLISHED_CHANNELS).then_some(TARGET_MS);
    let rows = serde_json::json!([
        row(
            &format!("networks, rten, {threads} threads ({name})"),
            median(&mut times),
            own,
            baseline.ok()
        ),
        row("splines to a 3264x1080 canvas, two cameras", warp_ms, None, None),
        row("compositor takes another warp, 3264x1080", rewarp_ms, None, None),
        row(
            "director takes another layout, 3264x1080",
            relayout_ms,
            None,
            None
        ),
    ]);
    let text = serde_json::to_string_pretty(&rows)?;
    match std::env::var_os("BENCH_OUT") {
        Some(path) => std::fs::write(path, text + "\n")?,
        None => println!("{text}"),
    }
    Ok(())
}

fn row(metric: &str, value: f64, target: Option<f64>, baseline: Option<f64>) -> serde_json::Value {
    serde_json::json!({
        "metric": format!("stitchnet: {metric}"),
        "value": (value * 100.0).round() / 100.0,
        "unit": "ms",
        "better": "lower",
        "target": target,
        "baseline": baseline.map(|v| (v * 100.0).round() / 100.0),
        "baseline_name": baseline.map(|_| "onnxruntime, networks alone"),
    })
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// A picture with texture, so that no engine meets only zeros.
fn textured(size: Size, k: usize) -> Result<PictureBuf, Error> {
    let (w, h) = (size.width as usize, size.height as usize);
    let rgb: Vec<u8> = (0..w * h * 3)
        .map(|i| ((i / 3 % w + 200 * k) / 7 * 31 + (i / 3 / w) / 5 * 17 + i % 3 * 40) as u8)
        .collect();
    Ok(PictureBuf::from_rgb8(size, &rgb, Matrix::guess(size))?)
}

/// ms for both cameras' splines on a large canvas, and for the compositor and the director to take them.
fn around(net: [usize; 2]) -> Result<[f64; 3], Error> {
    let size = Size::new(1920, 1080);
    let camera = |name: &str, shift: f64| -> Result<RigCamera, Error> {
        Ok(RigCamera {
            stream: StreamId::new(name)?,
            intrinsics: Intrinsics {
                size,
                fx: 1600.0,
                fy: 1600.0,
                cx: 959.5 - shift,
                cy: 539.5,
                lens: Lens::PINHOLE,
            },
            rotation: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            centre: [0.0; 3],
        })
    };
    let rig = Rig {
        cameras: vec![camera("left", 0.0)?, camera("right", 1344.0)?],
        canvas: Canvas {
            size: Size::new(3264, 1080),
            projection: Projection::Rectilinear,
            focal: 1600.0,
            cx: 959.5,
            cy: 539.5,
        },
    };
    let still = rigid(net[0], net[1]);
    let away = net[0] as f64 * 0.35;
    let meshes = [-away, away].map(|dx| still.map(|p| [p[0] + dx, p[1] + (p[0] * 0.05).sin()]));
    let placement = Placement::fit(&rig, net, &meshes).ok_or("no placement")?;
    let mut compositor = Compositor::new(&rig, ComposeOptions::default())?;
    let mut director = Director::new(compositor.layout().clone(), StitchConfig::default())?;
    let [mut splines, mut rewarps, mut relayouts] = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..FRAMES {
        let began = Instant::now();
        let mut grids = Vec::new();
        for mesh in &meshes {
            let warp = LearnedWarp::new(mesh, net, (size, size), &placement).ok_or("no spline")?;
            grids.push(warp.grid(rig.canvas.size));
        }
        splines.push(began.elapsed().as_secs_f64() * 1e3);
        let began = Instant::now();
        compositor.rewarp(&grids)?;
        rewarps.push(began.elapsed().as_secs_f64() * 1e3);
        let began = Instant::now();
        director.relayout(compositor.layout().clone())?;
        relayouts.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok([&mut splines, &mut rewarps, &mut relayouts].map(|times| median(times)))
}

/// ms a frame of the same networks in onnxruntime, by Python.
fn onnxruntime(script: &Path, models: &Path, threads: usize) -> Result<f64, Error> {
    let python = std::env::var_os("SYNOPTIC_PYTHON").unwrap_or_else(|| "python3".into());
    let answer = Command::new(&python)
        .arg(script)
        .arg(models)
        .args([threads.to_string(), FRAMES.to_string()])
        .output()?;
    if !answer.status.success() {
        return Err(String::from_utf8_lossy(&answer.stderr).into_owned().into());
    }
    let found: serde_json::Value = serde_json::from_slice(&answer.stdout)?;
    Ok(found["ms"]["frame"].as_f64().ok_or("no figure")?)
}
