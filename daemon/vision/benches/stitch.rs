//! Composing alone, NV12 in, NV12 out: gain fields, a moving seam, blending. `make bench NAME=stitch`.
//!
//! `cargo bench -p synoptic-vision --bench stitch -- "2 x 1080p, feather"` runs the cases whose names hold the text, without a
//! baseline: for a profiler.
//!
//! Writes the list of results to the file that BENCH_OUT names, else to standard output. With SYNOPTIC_PYTHON (a
//! Python that has numpy and cv2; `python3` by default) tools/golden/stitch.py composes the same rig with OpenCV and
//! fixed cameras, run after run beside ours.
#![allow(clippy::disallowed_methods)] // A bench reads the clock: that is its work.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use synoptic_base::{
    BBox, Canvas, Intrinsics, Lens, Mono, PixelFormat, Projection, Ptz, Rig, RigCamera, Size, Span, StreamId,
};
use synoptic_engine::stitch::{Director, StitchConfig};
use synoptic_vision::PictureBuf;
use synoptic_vision::panorama::{
    Blend, ComposeOptions, Compositor, Simd, StitchSlot, ViewOptics, ViewShape, ViewWarp, least_bytes,
};

/// Frames timed of each case after those that warm it.
const FRAMES: usize = 240;
const WARM: usize = 30;
/// Rounds of ours and the baseline's in turn; the better of each counts, as others share the machine.
const ROUNDS: usize = 3;
const THREADS: usize = 2;
const CAMERA: Size = Size::new(1920, 1080);

type Error = Box<dyn std::error::Error>;

struct Case {
    cameras: usize,
    blend: Blend,
    simd: Simd,
    fps: f64,
    p50: f64,
    p99: f64,
    bytes: f64,
    /// Of all threads, a frame: what other work on the machine does not change.
    cpu: f64,
}

/// Processor time of this process, all threads, in ms: fields 14 and 15 of /proc/self/stat, in ticks of 10 ms.
fn cpu_ms() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks: f64 = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    Some(ticks * 10.0)
}

fn main() -> Result<(), Error> {
    let only = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let mut results = Vec::new();
    if only.is_none() {
        views(&mut results)?;
    }
    let mut cases = Vec::new();
    let best = Simd::detect();
    for (cameras, blend) in [
        (2, Blend::Feather),
        (2, Blend::MultiBand(3)),
        (4, Blend::Feather),
        (4, Blend::MultiBand(3)),
    ] {
        cases.push(Case::new(cameras, blend, best));
    }
    for simd in Simd::available().into_iter().filter(|s| *s != best) {
        cases.push(Case::new(2, Blend::MultiBand(3), simd));
    }
    if let Some(only) = &only {
        cases.retain(|c| c.name(best).contains(only.as_str()));
    }
    let mut baseline = std::collections::BTreeMap::new();
    for round in 0..ROUNDS {
        for case in &mut cases {
            case.run()?;
        }
        if only.is_some() {
            continue;
        }
        match python() {
            Ok(times) => {
                for (name, ms) in times {
                    let best: &mut f64 = baseline.entry(name).or_insert(f64::INFINITY);
                    *best = best.min(ms);
                }
            }
            Err(why) if round == 0 => eprintln!("no baseline from OpenCV: {why}"),
            Err(_) => {}
        }
    }
    for case in &cases {
        let (name, kind) = (case.name(best), case.kind());
        let opencv = baseline.get(kind).copied().filter(|_| case.cameras == 2);
        let targets = match (case.cameras, case.simd == best) {
            (2, true) => (Some(150.0), Some(8.0), Some(15.0)),
            (4, true) => (Some(60.0), None, None),
            _ => (None, None, None),
        };
        results.push(row(
            &name,
            case.fps,
            "fps",
            "higher",
            targets.0,
            opencv.map(|ms| 1e3 / ms),
        ));
        if case.simd == best {
            results.push(row(
                &format!("{name}, p50"),
                case.p50,
                "ms",
                "lower",
                targets.1,
                opencv,
            ));
            results.push(row(
                &format!("{name}, p99"),
                case.p99,
                "ms",
                "lower",
                targets.2,
                None,
            ));
            if case.cpu.is_finite() {
                let what = format!("{name}, processor time of all threads");
                results.push(row(&what, case.cpu, "ms", "lower", None, None));
            }
            let what = format!("{name}, least bytes moved");
            results.push(row(&what, case.bytes, "B/px", "lower", None, None));
        }
    }
    let json = serde_json::to_string_pretty(&results)?;
    match std::env::var_os("BENCH_OUT") {
        Some(path) => std::fs::write(path, json + "\n")?,
        None => println!("{json}"),
    }
    Ok(())
}

/// A virtual camera of 1280x720 that moves with every picture: another warp, and the picture; and what another warp of the whole
/// panorama costs, compositor and director, which the learned method pays ten times a look.
fn views(results: &mut Vec<serde_json::Value>) -> Result<(), Error> {
    let rig = rig(2)?;
    let mut data = vec![128; PictureBuf::bytes(rig.canvas.size)];
    let mut noise = 7_u32;
    for value in &mut data {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *value = 60 + (noise >> 26) as u8;
    }
    let whole = PictureBuf::new(rig.canvas.size, PixelFormat::Nv12, data)?;
    let optics = ViewOptics {
        size: Size::new(1280, 720),
        shape: ViewShape::Rectilinear,
        hfov_deg: 50.0,
    };
    let mut warp = ViewWarp::new(rig.canvas, optics, None)?;
    let mut out = PictureBuf::black(optics.size)?;
    let (mut aims, mut draws) = (Vec::new(), Vec::new());
    for i in 0..FRAMES {
        let part = i as f64 / FRAMES as f64;
        let start = Instant::now();
        warp.aim(Ptz {
            pan_deg: 60.0 * (part - 0.5),
            tilt_deg: 8.0 * (6.0 * part).sin(),
            zoom: 1.0 + part,
        });
        aims.push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        warp.render(&whole, &mut out)?;
        draws.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let mut compositor = Compositor::new(&rig, ComposeOptions::default())?;
    let mut director = Director::new(compositor.layout().clone(), StitchConfig::default())?;
    let grids = compositor.grids();
    let mut steps = Vec::new();
    for _ in 0..FRAMES / 4 {
        let start = Instant::now();
        compositor.rewarp(&grids)?;
        director.relayout(compositor.layout().clone())?;
        steps.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    for (what, times, target) in [
        ("virtual camera 1280x720, another warp", aims, Some(10.0)),
        ("virtual camera 1280x720, a picture, 1 thread", draws, None),
        ("another warp of 3264x1080, compositor and director", steps, None),
    ] {
        let ms = median(times);
        eprintln!("{what}: {ms:.2} ms");
        results.push(row(what, ms, "ms", "lower", target, None));
    }
    Ok(())
}

fn row(
    metric: &str,
    value: f64,
    unit: &str,
    better: &str,
    target: Option<f64>,
    baseline: Option<f64>,
) -> serde_json::Value {
    let round = |v: f64| (v * 100.0).round() / 100.0;
    serde_json::json!({
        "metric": metric,
        "value": round(value),
        "unit": unit,
        "better": better,
        "target": target,
        "baseline": baseline.map(round),
        "baseline_name": baseline.map(|_| "OpenCV: remap, gain blocks, its blender, 2 threads, NV12 to I420"),
    })
}

impl Case {
    fn new(cameras: usize, blend: Blend, simd: Simd) -> Case {
        Case {
            cameras,
            blend,
            simd,
            fps: 0.0,
            p50: f64::INFINITY,
            p99: f64::INFINITY,
            bytes: 0.0,
            cpu: f64::INFINITY,
        }
    }

    fn kind(&self) -> &'static str {
        match self.blend {
            Blend::Feather => "feather",
            Blend::MultiBand(_) => "multi-band",
        }
    }

    /// As in the table; loops other than the `best` are named.
    fn name(&self, best: Simd) -> String {
        let mut name = format!("{} x 1080p, {}", self.cameras, self.kind());
        if self.simd != best {
            name += &format!(", {}", self.simd.name());
        }
        name
    }

    fn run(&mut self) -> Result<(), Error> {
        let rig = rig(self.cameras)?;
        let options = ComposeOptions {
            threads: THREADS,
            blend: self.blend,
            simd: Some(self.simd),
        };
        let mut compositor = Compositor::new(&rig, options)?;
        let mut director = Director::new(compositor.layout().clone(), StitchConfig::default())?;
        let mut out = PictureBuf::black(rig.canvas.size)?;
        let pictures: Vec<Vec<PictureBuf>> = (0..self.cameras)
            .map(|k| (0..4).map(|i| picture(k, i)).collect::<Result<_, _>>())
            .collect::<Result<_, _>>()?;
        let mut took = Vec::new();
        let mut from = None;
        for i in 0..WARM + FRAMES {
            let slots: Vec<_> = pictures.iter().map(|p| StitchSlot::Live(&p[i % 4])).collect();
            // Somebody walks through the first overlap and back, so that the seam has to move.
            let part = (i % 120) as f32 / 120.0;
            let walk = if i / 120 % 2 == 0 { part } else { 1.0 - part };
            let bbox = BBox::new(
                (0.8 * walk + 0.1) / self.cameras as f32 * 2.0 - 0.05,
                0.3,
                0.05,
                0.5,
            );
            let now = Mono::from_nanos(0) + Span::from_millis(33 * i as i64);
            if i == WARM {
                from = cpu_ms();
            }
            let start = Instant::now();
            let report = compositor.compose(&slots, &[bbox], &mut director, &mut out, now)?;
            if i >= WARM {
                took.push(start.elapsed().as_secs_f64() * 1e3);
            }
            let canvas = f64::from(rig.canvas.size.width) * f64::from(rig.canvas.size.height);
            self.bytes = least_bytes(compositor.layout(), report.plan) as f64 / canvas;
        }
        if let (Some(from), Some(to)) = (from, cpu_ms()) {
            self.cpu = self.cpu.min((to - from) / FRAMES as f64);
        }
        if director.seam_moves() == 0 {
            return Err("the seam never moved: the bench does not measure what it says".into());
        }
        took.sort_by(f64::total_cmp);
        self.fps = self.fps.max(1e3 * took.len() as f64 / took.iter().sum::<f64>());
        self.p50 = self.p50.min(took[took.len() / 2]);
        self.p99 = self.p99.min(took[took.len() * 99 / 100]);
        Ok(())
    }
}

/// `n` cameras of 60 degrees in a row that overlap by 30 %, on a cylinder where each is 1920 pixels wide: 3264 x 1080
/// for two.
fn rig(n: usize) -> Result<Rig, Error> {
    let angle = 60.0_f64.to_radians();
    let focal = f64::from(CAMERA.width) / 2.0 / (angle / 2.0).tan();
    let mut cameras = Vec::new();
    for k in 0..n {
        let (s, c) = ((k as f64 - (n as f64 - 1.0) / 2.0) * 0.7 * angle).sin_cos();
        cameras.push(RigCamera {
            stream: StreamId::new(&format!("cam{k}"))?,
            intrinsics: Intrinsics {
                size: CAMERA,
                fx: focal,
                fy: focal,
                cx: 959.5,
                cy: 539.5,
                lens: Lens::Radial([-0.03, 0.0, 0.0, 0.0]),
            },
            rotation: [[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]],
            centre: [0.0; 3],
        });
    }
    let width = (1920.0 * (1.0 + 0.7 * (n as f64 - 1.0))).round() as u32 & !1;
    Ok(Rig {
        cameras,
        canvas: Canvas {
            size: Size::new(width, 1080),
            projection: Projection::Cylindrical,
            focal: 1920.0 / angle,
            cx: f64::from(width) / 2.0 - 0.5,
            cy: 539.5,
        },
    })
}

/// Texture with noise, another gain for each camera, NV12.
fn picture(camera: usize, i: usize) -> Result<PictureBuf, Error> {
    let (w, h) = (CAMERA.width as usize, CAMERA.height as usize);
    let mut data = vec![128; PictureBuf::bytes(CAMERA)];
    let mut noise = 12345 + (camera * 4 + i) as u32;
    for y in 0..h {
        for x in 0..w {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let wall = if (x / 40 + y / 40) % 2 == 0 { 90 } else { 130 };
            data[y * w + x] = (wall - 10 * (camera % 2) + (noise >> 29) as usize) as u8;
        }
    }
    for (j, c) in data[w * h..].iter_mut().enumerate() {
        *c = (118 + j / 64 % 20) as u8;
    }
    Ok(PictureBuf::new(CAMERA, PixelFormat::Nv12, data)?)
}

/// What tools/golden/stitch.py measures: kind of blending to ms a frame.
fn python() -> Result<std::collections::BTreeMap<String, f64>, Error> {
    let python = std::env::var_os("SYNOPTIC_PYTHON").unwrap_or_else(|| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/golden/stitch.py");
    let out = Command::new(python).arg(script).output()?;
    if !out.status.success() {
        let text = String::from_utf8_lossy(&out.stderr);
        return Err(text.lines().last().unwrap_or("it failed").to_owned().into());
    }
    Ok(serde_json::from_slice(&out.stdout)?)
}
