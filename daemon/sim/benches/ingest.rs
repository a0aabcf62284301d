//! Decode + stamp + align of four 1080p streams against bare GStreamer decoding of the same streams.
//! `make bench NAME=ingest`.
//!
//! The cameras run in a process of their own. Each measurement is a child process that receives all four streams for
//! a fixed number of frames and tells its CPU time (user + system) and its peak RSS; ours and the bare one take turns.
//! Bare is `rtspsrc ! depay ! parse ! decodebin ! appsink`, the same elements without a line of ours. A second bare one
//! tells the decoder, as ours does, that rows may be padded: what is left between it and ours is what ours spends on time.
#![allow(clippy::disallowed_methods)] // A bench reads the clock: that is its work.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crossbeam_channel::unbounded;
use gst::prelude::*;
use nix::sys::resource::{UsageWho, getrusage};
use synoptic_base::{Epoch, Rotation, Size, Span, StreamId};
use synoptic_engine::align::{AlignConfig, AlignInput, Aligner};
use synoptic_media::clocks::SystemClock;
use synoptic_media::{
    Camera, CameraContext, CameraNote, CameraOptions, CameraState, Epochs, FrameQueue, RtspTransport, Source,
};
use synoptic_sim::camera::{self, Content};
use synoptic_sim::scene::Scene;

const CAMERAS: usize = 4;
const SIZE: Size = Size::new(1920, 1080);
/// Frames of all cameras together before counting begins, and while it lasts (20 s at 15 fps).
const WARM: u64 = 240;
const FRAMES: u64 = 1_200;
/// Pairs of ours and bare; medians are reported.
const PAIRS: usize = 5;
const TARGET_RATIO: f64 = 1.05;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match args.split_first() {
        Some((mode, _)) if mode == "cameras" => cameras(),
        Some((mode, urls)) if mode == "ours" => ours(urls),
        Some((mode, urls)) if mode == "bare" => bare(urls, false),
        Some((mode, urls)) if mode == "bare-uncopied" => bare(urls, true),
        _ => compare(),
    }
}

/// CPU seconds a frame, and peak RSS in MiB.
#[derive(Clone, Copy, Debug)]
struct Cost {
    cpu_ms: f64,
    rss_mib: f64,
}

fn compare() -> Result<(), Error> {
    let me = std::env::current_exe()?;
    let mut cameras = Command::new(&me)
        .arg("cameras")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let result = pairs(&me, &mut cameras);
    // The cameras end when their standard input does.
    drop(cameras.stdin.take());
    cameras.wait()?;
    let [ours, bare, uncopied] = result?;
    let median = |costs: &[Cost], of: fn(&Cost) -> f64| {
        let mut all: Vec<f64> = costs.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let cpu = |c: &[Cost]| median(c, |c| c.cpu_ms);
    let rss = |c: &[Cost]| median(c, |c| c.rss_mib);
    let rows = serde_json::json!([
        {"metric": "ingest: CPU a frame, 4 x 1080p, decode + stamp + align", "value": cpu(&ours), "unit": "ms",
         "better": "lower", "target": cpu(&bare) * TARGET_RATIO, "baseline": cpu(&bare),
         "baseline_name": "bare GStreamer"},
        {"metric": "ingest: CPU against bare GStreamer", "value": cpu(&ours) / cpu(&bare), "unit": "x",
         "better": "lower", "target": TARGET_RATIO, "baseline": 1.0, "baseline_name": "bare GStreamer"},
        {"metric": "ingest: CPU against bare GStreamer that copies no picture", "value": cpu(&ours) / cpu(&uncopied),
         "unit": "x", "better": "lower", "target": null, "baseline": 1.0,
         "baseline_name": "bare GStreamer, rows may be padded"},
        {"metric": "ingest: peak RSS, 4 x 1080p", "value": rss(&ours), "unit": "MiB", "better": "lower",
         "target": null, "baseline": rss(&bare), "baseline_name": "bare GStreamer"},
    ]);
    let text = serde_json::to_string_pretty(&rows)?;
    match std::env::var_os("BENCH_OUT") {
        Some(path) => std::fs::write(path, text)?,
        None => println!("{text}"),
    }
    Ok(())
}

/// Costs of ours, of bare GStreamer, and of bare GStreamer that copies no picture.
fn pairs(me: &std::path::Path, cameras: &mut Child) -> Result<[Vec<Cost>; 3], Error> {
    let out = cameras.stdout.take().ok_or("no output of the cameras")?;
    let urls: Vec<String> = BufReader::new(out)
        .lines()
        .take(CAMERAS)
        .collect::<Result<_, _>>()?;
    let measure = |mode: &str| -> Result<Cost, Error> {
        let output = Command::new(me)
            .arg(mode)
            .args(&urls)
            .stderr(Stdio::inherit())
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let [cpu_ms, rss_mib] = numbers[..] else {
            return Err(format!("{mode} failed: {text}").into());
        };
        eprintln!("{mode}: {cpu_ms:.3} ms CPU a frame, {rss_mib:.0} MiB");
        Ok(Cost { cpu_ms, rss_mib })
    };
    let [mut ours, mut bare, mut uncopied] = [const { Vec::new() }; 3];
    for _ in 0..PAIRS {
        bare.push(measure("bare")?);
        ours.push(measure("ours")?);
        uncopied.push(measure("bare-uncopied")?);
    }
    Ok([ours, bare, uncopied])
}

/// Serves the streams until standard input ends.
fn cameras() -> Result<(), Error> {
    gst::init()?;
    let scene = Arc::new(Scene::new(1, SIZE, CAMERAS)?);
    let mut running = Vec::new();
    for view in 0..CAMERAS {
        let options = camera::CameraOptions {
            bitrate_kbit: 4_000,
            ..camera::CameraOptions::new(
                "bench",
                Content::Scene {
                    scene: scene.clone(),
                    view,
                },
            )
        };
        let camera = camera::Camera::start(&options, SystemClock::shared())?;
        println!("{}", camera.url());
        running.push(camera);
    }
    std::io::stdin().lines().for_each(drop);
    Ok(())
}

/// Counts frames and prices those after the warm-up.
#[derive(Default)]
struct Meter {
    frames: u64,
    cpu_at_start: Option<f64>,
}

impl Meter {
    /// Takes a frame; whether that was the last one.
    fn frame(&mut self) -> Result<bool, Error> {
        self.frames += 1;
        if self.frames == WARM {
            self.cpu_at_start = Some(cpu_s()?);
        }
        Ok(self.frames >= WARM + FRAMES)
    }

    fn tell(&self) -> Result<(), Error> {
        let start = self.cpu_at_start.ok_or("too few frames")?;
        let rss_mib = getrusage(UsageWho::RUSAGE_SELF)?.max_rss() as f64 / 1024.0;
        println!("{} {rss_mib}", (cpu_s()? - start) * 1e3 / FRAMES as f64);
        Ok(())
    }
}

fn cpu_s() -> Result<f64, Error> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let s = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    Ok(s(usage.user_time()) + s(usage.system_time()))
}

/// `uncopied`: with the one thing told to the decoder that keeps it from copying each picture, as ours is.
fn bare(urls: &[String], uncopied: bool) -> Result<(), Error> {
    gst::init()?;
    let (sender, frames) = unbounded();
    let mut pipelines = Vec::new();
    for url in urls {
        let pipeline = gst::parse::launch(&format!(
            "rtspsrc location={url} protocols=tcp latency=200 ! rtph264depay ! h264parse ! decodebin ! \
             videoconvert ! appsink name=sink sync=false max-buffers=2 caps=video/x-raw,format=(string){{NV12,I420}}"
        ))?;
        let pipeline = pipeline.downcast::<gst::Pipeline>().map_err(|_| "no pipeline")?;
        let sink = pipeline
            .by_name("sink")
            .and_downcast::<gst_app::AppSink>()
            .ok_or("no sink")?;
        if uncopied {
            let pad = sink.static_pad("sink").ok_or("no pad")?;
            pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
                let Some(gst::QueryViewMut::Allocation(query)) =
                    info.query_mut().map(gst::QueryRef::view_mut)
                else {
                    return gst::PadProbeReturn::Ok;
                };
                query.add_allocation_meta::<gst_video::VideoMeta>(None);
                let caps = query.get_owned().0;
                if let Some(info) = caps.and_then(|c| gst_video::VideoInfo::from_caps(&c).ok()) {
                    let pool = gst_video::VideoBufferPool::new();
                    query.add_allocation_pool(Some(&pool), info.size() as u32, 0, 0);
                }
                gst::PadProbeReturn::Handled
            });
        }
        pipeline.set_state(gst::State::Playing)?;
        pipelines.push(pipeline);
        let sender = sender.clone();
        std::thread::spawn(move || {
            while let Ok(sample) = sink.pull_sample() {
                if sender.send(sample).is_err() {
                    return;
                }
            }
        });
    }
    let mut meter = Meter::default();
    while !meter.frame()? {
        drop(frames.recv()?);
    }
    meter.tell()?;
    for pipeline in pipelines {
        pipeline.set_state(gst::State::Null)?;
    }
    Ok(())
}

#[derive(Default)]
struct Counter(Mutex<BTreeMap<StreamId, u32>>);

impl Epochs for Counter {
    fn next_epoch(&self, stream: StreamId) -> Result<Epoch, String> {
        let mut epochs = self.0.lock().map_err(|e| e.to_string())?;
        let epoch = epochs.entry(stream).or_default();
        *epoch += 1;
        Ok(Epoch(*epoch))
    }
}

fn ours(urls: &[String]) -> Result<(), Error> {
    synoptic_media::init()?;
    let clock = SystemClock::shared();
    let ids = (0..urls.len())
        .map(|i| StreamId::new(&format!("cam{i}")))
        .collect::<Result<Vec<_>, _>>()?;
    let (notes, heard) = unbounded();
    let frames = FrameQueue::new(8 * CAMERAS);
    let context = CameraContext {
        clock: clock.clone(),
        epochs: Arc::new(Counter::default()),
        frames: frames.clone(),
        notes,
    };
    let mut cameras = Vec::new();
    for (id, url) in ids.iter().zip(urls) {
        let source = Source::Rtsp {
            url: url.clone(),
            sub_url: None,
            transport: RtspTransport::Tcp,
            user: None,
            password: None,
            tls_insecure: false,
            tls_ca: None,
        };
        let options = CameraOptions {
            id: *id,
            source,
            rotation: Rotation::None,
            stall_after: Span::from_secs(10),
            capture_bias: Span::ZERO,
            capture_bias_error: Span::ZERO,
        };
        cameras.push(Camera::start(options, context.clone())?);
    }
    let config = AlignConfig {
        max_wait: Span::from_millis(250),
        ..AlignConfig::new(ids)
    };
    let mut aligner = Aligner::new(config);
    let mut meter = Meter::default();
    loop {
        let frame = frames.receiver().recv()?;
        for note in heard.try_iter() {
            if let CameraNote::State {
                camera,
                state: CameraState::Online,
                ..
            } = note
            {
                aligner.handle(clock.now(), AlignInput::Up(camera));
            }
        }
        aligner.handle(clock.now(), AlignInput::Frame(frame));
        while let Some(packet) = aligner.poll() {
            drop(packet);
        }
        if meter.frame()? {
            break;
        }
    }
    meter.tell()
}
