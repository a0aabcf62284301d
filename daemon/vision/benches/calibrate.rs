//! Calibration against the truth of the simulated rigs, and how long it takes. `make bench NAME=calibrate`.
//!
//! Writes the list of results to the file that BENCH_OUT names, else to standard output. Rigs and stills come from
//! SYNOPTIC_MIRROR (or ../shared beside the workspace), decoded by the ffmpeg command; what is missing is left out,
//! aloud. The truth scores and never calibrates. With SYNOPTIC_LOOK=DIR plain averages of the panoramas are written
//! there as JPEG, to be looked at.
#![allow(clippy::disallowed_methods)] // A bench reads the clock: that is its work.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use synoptic_base::{Intrinsics, Lens, Mono, PixelFormat, Rig, RigCamera, Size, Span, StreamId};
use synoptic_engine::stitch::skew::SkewWatch;
use synoptic_vision::color::Matrix;
use synoptic_vision::panorama::calibrate::{
    Calibration, Collector, Difference, Gray, Options, Refusal, Still, calibrate, difference,
};
use synoptic_vision::panorama::geometry::camera_from_canvas;
use synoptic_vision::panorama::{ComposeOptions, Compositor, StitchSlot};
use synoptic_vision::{PictureBuf, jpeg};

/// Frames taken of a clip, spread over it.
const FRAMES: usize = 25;
/// Overlap error of SIFT and a homography for each frame, median of the clip, pixels (data/README.md of the mirror).
const BASELINES: [(&str, Option<f64>); 3] = [
    ("rig2_static_far", Some(0.15)),
    ("rig2_desync_40ms", Some(0.59)),
    ("rig2_parallax_exposure", Some(11.0)),
];
/// Over the full view of the far rig the same baseline had this.
const BASELINE_FULL: f64 = 3.98;
/// And it moved by this from frame to frame.
const BASELINE_JITTER: f64 = 0.11;

/// The rig whose second camera is late, and how near the truth its skew is to be found.
const DESYNC: &str = "rig2_desync_40ms";
const SKEW_TARGET_MS: f64 = 2.0;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mirror =
        std::env::var_os("SYNOPTIC_MIRROR").map_or_else(|| workspace.join("../shared"), PathBuf::from);
    let rigs = mirror.join("data/rigs");
    let mut results = Vec::new();
    for (name, baseline) in BASELINES {
        match rig_stills(&rigs, name, 0) {
            Ok(stills) => {
                let rig = truth(&rigs, name, baseline, &stills, &mut results)?;
                if name == DESYNC {
                    skew(&rigs, name, &rig, &mut results)?;
                }
            }
            Err(why) => eprintln!("no rig {name} ({why}): left out"),
        }
    }
    match rig_stills(&rigs, "split_cars", 0) {
        Ok(stills) => {
            let refused = match calibrate(&stills, &Options::default(), |_| ()) {
                Ok(_) => 0.0,
                Err(why) => {
                    eprintln!("split_cars is refused: {why}");
                    1.0
                }
            };
            results.push(row("split_cars refused", refused, "", Some(1.0), None, "higher"));
        }
        Err(why) => eprintln!("no rig split_cars ({why}): left out"),
    }
    stills(&mirror.join("data/stills"), &mut results)?;

    let json = serde_json::to_string_pretty(&results)?;
    match std::env::var_os("BENCH_OUT") {
        Some(path) => std::fs::write(path, json + "\n")?,
        None => println!("{json}"),
    }
    Ok(())
}

/// A rig with known truth, calibrated from its frames and again from frames one later.
fn truth(
    rigs: &Path,
    name: &str,
    baseline: Option<f64>,
    stills: &[Still],
    results: &mut Vec<serde_json::Value>,
) -> Result<Rig, Error> {
    let began = Instant::now();
    let found = calibrate(stills, &Options::default(), |_| ())?;
    let seconds = began.elapsed().as_secs_f64();
    let truth = read_truth(rigs, name, &found.rig)?;
    let off = difference(&truth, &found.rig).ok_or("the rig is not the truth's")?;
    say(name, &found, off, seconds);
    look(name, &found.rig, stills)?;
    let far = name == "rig2_static_far";
    let bent = name == "rig2_parallax_exposure";
    let mut add = |what: &str, value, unit, target, baseline| {
        results.push(row(
            &format!("{name} {what}"),
            value,
            unit,
            target,
            baseline,
            "lower",
        ));
    };
    add("overlap rmse", off.overlap_px, "px", far.then_some(0.2), baseline);
    add(
        "full view rmse",
        off.full_px,
        "px",
        far.then_some(0.5),
        far.then_some(BASELINE_FULL),
    );
    add(
        "focal length off",
        off.focal_percent,
        "%",
        bent.then_some(0.5),
        None,
    );
    add(
        "rotation off",
        off.turn_degrees,
        "deg",
        bent.then_some(0.05),
        None,
    );
    add("time", seconds, "s", Some(3.0), None);
    if far {
        // The canvas of a calibrated rig stays where it is; what a second calibration from other frames would move is
        // said beside it.
        let again = calibrate(stills, &Options::default(), |_| ())?;
        let jitter = difference(&found.rig, &again.rig)
            .ok_or("not comparable")?
            .full_px;
        add("geometry jitter", jitter, "px", Some(0.0), Some(BASELINE_JITTER));
        let later = calibrate(&rig_stills(rigs, name, 1)?, &Options::default(), |_| ())?;
        let moved = difference(&found.rig, &later.rig).ok_or("not comparable")?;
        add(
            "recalibrated from other frames moves",
            moved.full_px,
            "px",
            None,
            None,
        );
    }
    Ok(found.rig)
}

fn say(name: &str, found: &Calibration, off: Difference, seconds: f64) {
    let report = &found.report;
    let sure = report.cameras.iter().map(|c| c.confidence).fold(1.0, f64::min);
    eprintln!(
        "{name}: {} ties miss by {:.3} px, confidence {sure:.2}, {:?}, {off:?}, {seconds:.1} s",
        report.inliers, report.rms_px, found.rig.cameras[0].intrinsics.lens
    );
}

/// The skew that is measured from what moves in the overlap, by the calibration found, as the daemon measures it live: newest of
/// every second, and the median of all seconds.
fn skew(rigs: &Path, name: &str, rig: &Rig, results: &mut Vec<serde_json::Value>) -> Result<(), Error> {
    let text = std::fs::read(rigs.join(format!("{name}_gt.json")))?;
    let gt: serde_json::Value = serde_json::from_slice(&text)?;
    let offset = |k: usize| {
        gt["cams"][k]["t_offset_s"]
            .as_f64()
            .ok_or("no t_offset_s in the truth")
    };
    let late_ms = (offset(1)? - offset(0)?) * 1e3;
    let fps = gt["fps"].as_f64().ok_or("no fps in the truth")?;
    let mut compositor = Compositor::new(rig, ComposeOptions::default())?;
    let mut watch = SkewWatch::new(compositor.layout(), [0, 1]).ok_or("the cameras share nothing")?;
    let size = rig.cameras[0].intrinsics.size;
    let bytes = PictureBuf::bytes(size);
    let mut clips = Vec::new();
    for camera in 0..2 {
        let path = rigs.join(format!("{name}_cam{camera}.mp4"));
        let mut child = Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(&path)
            .args(["-f", "rawvideo", "-pix_fmt", "nv12", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        clips.push((child.stdout.take().ok_or("no pipe")?, child));
    }
    let mut found: Vec<f64> = Vec::new();
    let mut errors: Vec<f64> = Vec::new();
    let (mut frames, mut outside) = (0, 0);
    'clip: loop {
        let mut pictures = Vec::new();
        for (pipe, _) in &mut clips {
            let mut data = vec![0; bytes];
            if pipe.read_exact(&mut data).is_err() {
                break 'clip;
            }
            pictures.push(PictureBuf::new(size, PixelFormat::Nv12, data)?);
        }
        let slots: Vec<_> = pictures.iter().map(|p| StitchSlot::Live(p)).collect();
        let seen = compositor.observe(&slots)?;
        let at = Mono::from_nanos(0) + Span::from_secs_f64(f64::from(frames) / fps);
        watch.see(&seen.cells, &[Some(at), Some(at)]);
        frames += 1;
        if let Some(skew) = watch.skew() {
            let ms = skew.skew.as_millis_f64();
            if found.last() != Some(&ms) {
                eprintln!(
                    "{name}: frame {frames}: skew {ms:.2} ms, give or take {:.2}",
                    skew.error.as_millis_f64()
                );
                found.push(ms);
                let off_ms = (ms - late_ms).abs();
                outside += usize::from(off_ms > skew.error.as_millis_f64());
                errors.push(skew.error.as_millis_f64());
            }
        }
    }
    for (_, mut child) in clips {
        child.wait()?;
    }
    let worst = found.iter().map(|ms| (ms - late_ms).abs()).fold(0.0, f64::max);
    found.sort_by(f64::total_cmp);
    let median = *found.get(found.len() / 2).ok_or("no skew was found")?;
    let mut add = |what: &str, value, target| {
        results.push(row(
            &format!("{name} skew {what} off {late_ms} ms"),
            value,
            "ms",
            target,
            None,
            "lower",
        ));
    };
    add("median", (median - late_ms).abs(), Some(SKEW_TARGET_MS));
    add("worst of all seconds", worst, None);
    let widest = errors.iter().copied().fold(0.0, f64::max);
    let name_of = |what: &str| format!("{name} skew {what}");
    results.push(row(
        &name_of("bound, the widest"),
        widest,
        "ms",
        None,
        None,
        "lower",
    ));
    results.push(row(
        &name_of("told outside of its bound"),
        outside as f64,
        "",
        Some(0.0),
        None,
        "lower",
    ));
    Ok(())
}

/// Stills of well-known panoramas: no truth, so what is reported is whether they connect and how well.
fn stills(folder: &Path, results: &mut Vec<serde_json::Value>) -> Result<(), Error> {
    let many = |prefix: &str, suffix: &str, n: usize| -> Vec<PathBuf> {
        (1..=n)
            .map(|i| folder.join(format!("{prefix}{i}{suffix}")))
            .collect()
    };
    let mut sets = vec![
        ("weir", many("hm-cupano/weir_", ".jpg", 3)),
        ("s", many("hm-cupano/s", ".jpg", 2)),
        ("budapest", many("hm-cupano/budapest", ".jpg", 6)),
    ];
    for name in ["flower", "myself"] {
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder.join("openpano").join(name))
            .map(|d| d.filter_map(|e| Some(e.ok()?.path())).collect())
            .unwrap_or_default();
        files.sort();
        files.truncate(8);
        sets.push((name, files));
    }
    for (name, files) in sets {
        let loaded: Result<Vec<Still>, Error> =
            files.iter().enumerate().map(|(i, f)| picture(f, i)).collect();
        let stills = match loaded {
            Ok(stills) if stills.len() > 1 => stills,
            Ok(_) => {
                eprintln!("no stills {name}: left out");
                continue;
            }
            Err(why) => {
                eprintln!("no stills {name} ({why}): left out");
                continue;
            }
        };
        let began = Instant::now();
        match calibrate(&stills, &Options::default(), |_| ()) {
            Ok(found) => {
                let seconds = began.elapsed().as_secs_f64();
                eprintln!(
                    "{name}: {} pictures, {:?}, {} ties miss by {:.2} px, f {:.0}, {:?} {}x{}, {seconds:.1} s",
                    stills.len(),
                    found.rig.cameras[0].intrinsics.lens,
                    found.report.inliers,
                    found.report.rms_px,
                    found.rig.cameras[0].intrinsics.fx,
                    found.rig.canvas.projection,
                    found.rig.canvas.size.width,
                    found.rig.canvas.size.height,
                );
                results.push(row(
                    &format!("{name} rms of ties"),
                    found.report.rms_px,
                    "px",
                    None,
                    None,
                    "lower",
                ));
                look(name, &found.rig, &stills)?;
            }
            Err(why @ Refusal::Apart { .. }) => eprintln!("{name} is refused: {why}"),
            Err(why) => eprintln!(
                "{name} is refused after {:.1} s: {why}",
                began.elapsed().as_secs_f64()
            ),
        }
    }
    Ok(())
}

fn picture(path: &Path, index: usize) -> Result<Still, Error> {
    let picture = jpeg::decode(&std::fs::read(path)?)?;
    let size = synoptic_base::Surface::size(&picture);
    let luma = Gray::from_luma(picture.planes().luma(), size).ok_or("a short plane")?;
    Ok(Still::single(StreamId::new(&format!("cam{index}"))?, luma))
}

fn row(
    metric: &str,
    value: f64,
    unit: &str,
    target: Option<f64>,
    baseline: Option<f64>,
    better: &str,
) -> serde_json::Value {
    serde_json::json!({
        "metric": metric,
        "value": (value * 1e4).round() / 1e4,
        "unit": unit,
        "better": better,
        "target": target,
        "baseline": baseline,
        "baseline_name": baseline.map(|_| "SIFT and a homography for each frame, median"),
    })
}

/// The stills of both cameras of a rig, from the frame `first` on.
fn rig_stills(rigs: &Path, name: &str, first: usize) -> Result<Vec<Still>, Error> {
    (0..2)
        .map(|camera| {
            let path = rigs.join(format!("{name}_cam{camera}.mp4"));
            let probe = Command::new("ffprobe")
                .args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"])
                .args(["-show_entries", "stream=width,height,nb_frames"])
                .arg(&path)
                .output()?;
            let text = String::from_utf8(probe.stdout)?;
            let numbers: Vec<usize> = text.trim().split(',').filter_map(|v| v.parse().ok()).collect();
            let [width, height, frames] = numbers[..] else {
                return Err(format!("{}: {}", path.display(), String::from_utf8_lossy(&probe.stderr)).into());
            };
            let every = (frames / FRAMES).max(1);
            let out = Command::new("ffmpeg")
                .args(["-v", "error", "-i"])
                .arg(&path)
                .args([
                    "-vf",
                    &format!("select=eq(mod(n\\,{every})\\,{})", first % every),
                    "-vsync",
                    "0",
                ])
                .args(["-f", "rawvideo", "-pix_fmt", "gray", "-"])
                .stdin(Stdio::null())
                .output()?;
            let size = Size::new(width as u32, height as u32);
            let mut collector = Collector::new(StreamId::new(&format!("cam{camera}"))?, size);
            for frame in out.stdout.chunks_exact(width * height) {
                let data = frame.iter().map(|v| f32::from(*v)).collect();
                collector.add(&Gray { width, height, data }, &[]);
            }
            collector
                .finish()
                .ok_or_else(|| String::from_utf8_lossy(&out.stderr).trim().to_owned().into())
        })
        .collect()
}

/// The simulator's cameras; its R takes the camera's directions into the world.
fn read_truth(rigs: &Path, name: &str, found: &Rig) -> Result<Rig, Error> {
    let text = std::fs::read(rigs.join(format!("{name}_gt.json")))?;
    let truth: serde_json::Value = serde_json::from_slice(&text)?;
    let number = |v: &serde_json::Value| v.as_f64().ok_or("no number in the truth");
    let mut cameras = Vec::new();
    for (cam, ours) in truth["cams"]
        .as_array()
        .ok_or("no cams in the truth")?
        .iter()
        .zip(&found.cameras)
    {
        let mut rotation = [[0.0; 3]; 3];
        for (r, row) in rotation.iter_mut().enumerate() {
            for (c, value) in row.iter_mut().enumerate() {
                *value = number(&cam["R"][c][r])?;
            }
        }
        cameras.push(RigCamera {
            stream: ours.stream,
            intrinsics: Intrinsics {
                size: ours.intrinsics.size,
                fx: number(&cam["fx"])?,
                fy: number(&cam["fx"])?,
                cx: number(&cam["cx"])?,
                cy: number(&cam["cy"])?,
                lens: Lens::Radial([number(&cam["k1"])?, 0.0, 0.0, 0.0]),
            },
            rotation,
            centre: [0.0; 3],
        });
    }
    Ok(Rig {
        cameras,
        canvas: found.canvas,
    })
}

/// A plain average of the pictures on the canvas, at most 1600 pixels wide, where SYNOPTIC_LOOK says.
fn look(name: &str, rig: &Rig, stills: &[Still]) -> Result<(), Error> {
    let Some(folder) = std::env::var_os("SYNOPTIC_LOOK") else {
        return Ok(());
    };
    let canvas = &rig.canvas;
    let step = (f64::from(canvas.size.width) / 1600.0).max(1.0);
    let even = |v: u32| 2 * (f64::from(v) / step / 2.0).floor() as u32;
    let size = Size::new(even(canvas.size.width), even(canvas.size.height));
    let mut rgb = Vec::new();
    for y in 0..size.height {
        for x in 0..size.width {
            let pixel = [f64::from(x) * step, f64::from(y) * step];
            let (mut sum, mut count) = (0.0, 0.0);
            for (camera, still) in rig.cameras.iter().zip(stills) {
                let inside = camera_from_canvas(canvas, camera, pixel).filter(|p| {
                    p[0] >= 0.0
                        && p[1] >= 0.0
                        && p[0] < f64::from(camera.intrinsics.size.width - 1)
                        && p[1] < f64::from(camera.intrinsics.size.height - 1)
                });
                if let Some(p) = inside {
                    sum += still.luma.cubic(p[0], p[1]);
                    count += 1.0;
                }
            }
            rgb.extend([if count > 0.0 { (sum / count) as u8 } else { 0 }; 3]);
        }
    }
    let picture = PictureBuf::from_rgb8(size, &rgb, Matrix::guess(size))?;
    std::fs::write(
        Path::new(&folder).join(format!("{name}.jpg")),
        jpeg::encode(&picture, 85)?,
    )?;
    Ok(())
}
