//! What a detector costs beside its bare model, and what looking less saves at what loss. `make bench NAME=engine`.
//!
//! On the CPU: rten, one thread. Models and clips come from SYNOPTIC_MIRROR (or ../shared beside the workspace); what is
//! missing is left out, aloud. Writes its rows to the file that BENCH_OUT names, else to standard output.
//!
//! Loss: a detector looks at every frame of a clip; what it finds with its own threshold is what there is. Behind the gate
//! a frame is looked at, and finds the same, or is passed over, and shows its tracks carried on. A thing is found again
//! when a box of its class covers it with an IoU of 0.5.
#![allow(clippy::disallowed_methods)] // A bench reads the clock: that is its work.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use synoptic_base::{
    BootId, Captured, ClockMap, Detection, Detector, Epoch, EventId, FrameKey, FrameKind, FrameMeta,
    MediaTime, Mono, Picture, PixelFormat, Seq, Size, Span, StreamId, TimeSource,
};
use synoptic_engine::attention::{Attention, AttentionConfig, AttentionCounts};
use synoptic_engine::rules::{EventConfig, EventMachine, EventOutput};
use synoptic_engine::track::{TrackConfig, TrackIds, TrackInput, Tracker};
use synoptic_vision::motion::Gate;
use synoptic_vision::onnx::reference::{self, Bare};
use synoptic_vision::onnx::{EngineChoice, OnnxDetector, OnnxOptions};
use synoptic_vision::{PictureBuf, fetch, manifest};

const MODELS: [&str; 3] = ["fastestdet", "yolox-nano", "nanodet-m"];
/// The model that looks at the clips.
const GATED: &str = "fastestdet";
/// Clips, and frames a second that are taken of them.
const CLIPS: [&str; 2] = ["one-by-one-person-detection", "bottle-detection"];
const FPS: u32 = 10;
const SIZE: Size = Size {
    width: 640,
    height: 360,
};
/// Pictures timed after those that warm up; detector and bare model take turns. The 10th percentile counts: others share
/// the machine.
const TIMED: usize = 80;
const WARM: usize = 10;
/// Targets: all-in over the bare model; share of things lost behind the gate.
const MOST_OVERHEAD_PERCENT: f64 = 3.0;
const MOST_LOSS_PERCENT: f64 = 1.0;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mirror =
        std::env::var_os("SYNOPTIC_MIRROR").map_or_else(|| workspace.join("../shared"), PathBuf::from);
    let mut rows = Vec::new();
    for name in MODELS {
        match model(&workspace, &mirror, name)? {
            Some((file, manifest)) => overhead(&file, &manifest, &mut rows)?,
            None => eprintln!("no file of model {name} in {}: left out", mirror.display()),
        }
    }
    if let Some((file, manifest)) = model(&workspace, &mirror, GATED)? {
        for clip in CLIPS {
            let path = mirror.join(format!("data/clips/{clip}.mp4"));
            match gate(&path, clip, &file, &manifest) {
                Ok(found) => rows.extend(found),
                Err(why) => eprintln!("clip {clip} is left out: {why}"),
            }
        }
    }
    let json = serde_json::to_string_pretty(&rows)?;
    match std::env::var_os("BENCH_OUT") {
        Some(path) => std::fs::write(path, json + "\n")?,
        None => println!("{json}"),
    }
    Ok(())
}

fn model(
    workspace: &Path,
    mirror: &Path,
    name: &str,
) -> Result<Option<(PathBuf, manifest::ModelManifest)>, Error> {
    let manifest = manifest::find(&[workspace.join("configs/models")], name)?;
    Ok(fetch::locate_in_mirror(mirror, &manifest)?.map(|file| (file, manifest)))
}

fn detector(file: &Path, manifest: &manifest::ModelManifest) -> Result<OnnxDetector, Error> {
    let options = OnnxOptions {
        threads: Some(1),
        engine: EngineChoice::Rten,
        ..OnnxOptions::default()
    };
    Ok(OnnxDetector::load(file, manifest.clone(), &options)?)
}

fn row(metric: &str, value: f64, unit: &str, better: &str, target: Option<f64>) -> serde_json::Value {
    let round = |v: f64| (v * 1000.0).round() / 1000.0;
    serde_json::json!({
        "metric": metric, "value": round(value), "unit": unit, "better": better, "target": target,
        "baseline": null, "baseline_name": null,
    })
}

/// Picture in to boxes out beside the model alone, in turns.
fn overhead(
    file: &Path,
    manifest: &manifest::ModelManifest,
    rows: &mut Vec<serde_json::Value>,
) -> Result<(), Error> {
    let picture = synoptic_app::inference::golden::picture();
    let mut whole = detector(file, manifest)?;
    let mut bare = Bare::load(file, manifest, 1)?;
    let tensor = reference::tensor(&picture, &manifest.input)?;
    let meta = meta(0)?;
    let look = Picture {
        meta: &meta,
        surface: &picture,
    };
    let (mut of_whole, mut of_bare) = (Vec::new(), Vec::new());
    for n in 0..WARM + TIMED {
        let start = Instant::now();
        whole.detect(&[look]).remove(0)?;
        let middle = Instant::now();
        bare.run(&tensor)?;
        if n >= WARM {
            of_whole.push((middle - start).as_secs_f64() * 1e3);
            of_bare.push(middle.elapsed().as_secs_f64() * 1e3);
        }
    }
    let tenth = |all: &mut Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 10]
    };
    let (whole, bare) = (tenth(&mut of_whole), tenth(&mut of_bare));
    let name = &manifest.name;
    rows.push(row(&format!("{name} all-in"), whole, "ms", "lower", None));
    rows.push(row(&format!("{name} bare rten"), bare, "ms", "lower", None));
    let over = 100.0 * (whole / bare - 1.0);
    rows.push(row(
        &format!("{name} over bare rten"),
        over,
        "%",
        "lower",
        Some(MOST_OVERHEAD_PERCENT),
    ));
    Ok(())
}

/// What follows a camera's things, in the run that looks at all and in the one behind the gate.
struct Follower {
    machine: EventMachine,
    events: u32,
}

impl Follower {
    fn new(threshold: f32) -> Result<Follower, Error> {
        let tracker = Tracker::new(
            StreamId::new("clip")?,
            TrackIds::default(),
            TrackConfig::for_threshold(threshold),
        );
        let mut last = 0_u128;
        let new_id = Box::new(move |_| {
            last += 1;
            EventId(uuid::Uuid::from_u128(last))
        });
        Ok(Follower {
            machine: EventMachine::new(GATED.to_owned(), tracker, EventConfig::default(), new_id),
            events: 0,
        })
    }

    fn tell(&mut self, now: Mono, input: TrackInput<'_>, map: &ClockMap) {
        self.machine.handle(now, input, map);
        while let Some(output) = self.machine.poll() {
            self.events += u32::from(matches!(output, EventOutput::Begin(_)));
        }
    }
}

fn gate(
    path: &Path,
    clip: &str,
    file: &Path,
    manifest: &manifest::ModelManifest,
) -> Result<Vec<serde_json::Value>, Error> {
    let options = OnnxOptions {
        threads: Some(1),
        threshold: Some(TrackConfig::for_threshold(manifest.threshold).low_score),
        engine: EngineChoice::Rten,
        ..OnnxOptions::default()
    };
    let mut detector = OnnxDetector::load(file, manifest.clone(), &options)?;
    let map = ClockMap {
        boot_id: BootId(uuid::Uuid::nil()),
        version: 1,
        utc_minus_mono: Span::ZERO,
        error: None,
    };
    let (mut all, mut behind) = (
        Follower::new(manifest.threshold)?,
        Follower::new(manifest.threshold)?,
    );
    let mut gate = Gate::default();
    let mut attention = Attention::new(AttentionConfig {
        gated: true,
        ..AttentionConfig::default()
    });
    let (mut things, mut lost) = (0_u64, 0_u64);
    let (mut looking_s, mut gating_s) = (0.0, 0.0);
    let mut frames = Clip::open(path)?;
    let mut n = 0;
    while let Some(picture) = frames.next()? {
        let meta = meta(n)?;
        n += 1;
        let look = Picture {
            meta: &meta,
            surface: &picture,
        };
        let start = Instant::now();
        let found: Vec<Detection> = detector.detect(&[look]).remove(0)?;
        looking_s += start.elapsed().as_secs_f64();
        let now = meta.captured.mono;
        let frame = TrackInput::Frame {
            meta: &meta,
            detections: &found,
        };
        all.tell(now, frame, &map);
        let start = Instant::now();
        let follows = behind.machine.follows();
        let looks = attention.judge(&meta, follows, || gate.moving(&look).is_ok_and(|m| !m.is_empty()));
        gating_s += start.elapsed().as_secs_f64();
        let sure = found.iter().filter(|d| d.score >= manifest.threshold);
        things += sure.clone().count() as u64;
        if looks.is_ok() {
            behind.tell(now, frame, &map);
        } else {
            behind.tell(now, TrackInput::Time, &map);
            let carried = behind.machine.carried(now);
            let again = |d: &&Detection| {
                !carried
                    .iter()
                    .any(|(_, label, _, b)| *label == d.label && b.iou(&d.bbox) >= 0.5)
            };
            lost += sure.filter(again).count() as u64;
        }
    }
    if n == 0 {
        return Err("it gave no pictures: is ffmpeg here?".into());
    }
    let AttentionCounts { looked, .. } = attention.counts();
    let share = |part: f64, of: f64| 100.0 * part / of.max(1e-9);
    let name = format!("gate, {clip}");
    Ok(vec![
        row(
            &format!("{name}: frames not looked at"),
            share((n - looked) as f64, n as f64),
            "%",
            "higher",
            None,
        ),
        row(
            &format!("{name}: things lost"),
            share(lost as f64, things as f64),
            "%",
            "lower",
            Some(MOST_LOSS_PERCENT),
        ),
        row(&format!("{name}: things"), things as f64, "boxes", "higher", None),
        row(
            &format!("{name}: events, of those without"),
            share(f64::from(behind.events), f64::from(all.events)),
            "%",
            "higher",
            Some(100.0 - MOST_LOSS_PERCENT),
        ),
        row(
            &format!("{name}: gate a frame"),
            1e3 * gating_s / n as f64,
            "ms",
            "lower",
            None,
        ),
        row(
            &format!("{name}: time saved"),
            share(
                looking_s - looking_s * looked as f64 / n as f64 - gating_s,
                looking_s,
            ),
            "%",
            "higher",
            None,
        ),
    ])
}

/// Frame number `n`.
fn meta(n: u64) -> Result<FrameMeta, Error> {
    let at = Mono::from_nanos(0) + Span::from_millis(i64::try_from(n)? * 1000 / i64::from(FPS));
    Ok(FrameMeta {
        key: FrameKey {
            stream: StreamId::new("clip")?,
            epoch: Epoch(0),
            media_us: MediaTime::from_micros((at - Mono::from_nanos(0)).as_micros_floor()),
        },
        seq: Seq(n),
        arrival: at,
        captured: Captured {
            mono: at,
            rel_error: Span::ZERO,
            source: TimeSource::Host,
        },
        size: SIZE,
        kind: FrameKind::Unknown,
    })
}

/// A clip by the ffmpeg command.
struct Clip {
    child: std::process::Child,
}

impl Clip {
    fn open(path: &Path) -> Result<Clip, Error> {
        if !path.exists() {
            return Err(format!("there is no {}", path.display()).into());
        }
        let filter = format!("fps={FPS},scale={}:{}", SIZE.width, SIZE.height);
        let child = Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(path)
            .args(["-vf", &filter, "-f", "rawvideo", "-pix_fmt", "nv12", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Clip { child })
    }

    fn next(&mut self) -> Result<Option<PictureBuf>, Error> {
        let mut data = vec![0; PictureBuf::bytes(SIZE)];
        let out = self.child.stdout.as_mut().ok_or("ffmpeg has no output")?;
        match out.read_exact(&mut data) {
            Ok(()) => Ok(Some(PictureBuf::new(SIZE, PixelFormat::Nv12, data)?)),
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

impl Drop for Clip {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
