//! Packets of three 1080p cameras to one Python program: through shared memory, and as a pickle through a socket.
//!
//! Twice each: at 30 packets a second, for the latency from written to seen and for the CPU time; and as fast as they are
//! taken. Ours converts from NV12 to BGR, as the daemon does; the baseline sends arrays that are BGR already.
#![allow(clippy::unwrap_used, reason = "a benchmark says what went wrong by panicking")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};
use synoptic_base::{
    BootId, Captured, Clock, ClockMap, ClockSample, Epoch, Frame, FrameKey, FrameKind, FrameMeta,
    FramePacket, MediaTime, Mono, PacketId, Seq, Size, Slot, Span, StreamId, TimeSource, Utc,
};
use synoptic_packets::{NoMotion, PixelLayout, Pixels, Share, ShareOptions};
use synoptic_vision::PictureBuf;

const SIZE: Size = Size::new(1920, 1080);
const CAMERAS: usize = 3;
const PERIOD: Duration = Duration::from_micros(33_333);
const PACKETS: usize = 200;

struct MonoClock;

impl Clock for MonoClock {
    fn now(&self) -> Mono {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
        Mono::from_nanos(now.tv_sec() * 1_000_000_000 + now.tv_nsec())
    }
    fn sample(&self) -> ClockSample {
        let mono = self.now();
        ClockSample {
            mono,
            raw: mono,
            realtime: Utc::from_nanos(mono.as_nanos()),
            width: Span::ZERO,
        }
    }
}

fn packet(number: u64, pixels: &Pixels) -> FramePacket<Pixels> {
    let now = MonoClock.now();
    let slot = |camera: usize| {
        let stream = StreamId::new(&format!("cam{camera}")).unwrap();
        let meta = FrameMeta {
            key: FrameKey {
                stream,
                epoch: Epoch(1),
                media_us: MediaTime::from_micros(number as i64),
            },
            seq: Seq(number),
            arrival: now,
            captured: Captured {
                mono: now,
                rel_error: Span::ZERO,
                source: TimeSource::Host,
            },
            size: SIZE,
            kind: FrameKind::P,
        };
        let pixels = pixels.clone();
        (stream, Slot::Okay(Frame { meta, pixels }))
    };
    FramePacket {
        id: PacketId(number),
        instant: now,
        slots: (0..CAMERAS).map(slot).collect(),
        spread: Span::ZERO,
    }
}

struct Measured {
    rate: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// CPU seconds a second of the sending and of the reading process.
    sender: f64,
    reader: f64,
}

fn reader(arguments: &[&str]) -> Child {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = std::env::var("SYNOPTIC_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    Command::new(python)
        .arg(root.join("python/bench/reader.py"))
        .args(arguments)
        .env("PYTHONPATH", root.join("python/src"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn line(child: &mut Child) -> Option<String> {
    let mut text = String::new();
    BufReader::new(child.stdout.as_mut()?).read_line(&mut text).ok()?;
    Some(text)
}

fn cpu_s() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|t| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6)
        .sum()
}

fn numbers(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("the reader said {text:?}: {e}"))
}

fn ours(dir: &Path, period: Duration) -> Measured {
    let options = ShareOptions {
        dir: dir.to_owned(),
        pixels: PixelLayout::Bgr,
        max_bytes: 400_000_000,
        max_ring: Some(4),
    };
    let map = || ClockMap {
        boot_id: BootId(uuid::Uuid::nil()),
        version: 1,
        utc_minus_mono: Span::ZERO,
        error: None,
    };
    let group = StreamId::new("bench").unwrap();
    let share = Share::open(
        group,
        options,
        Arc::new(MonoClock),
        Box::new(map),
        Arc::new(NoMotion),
    )
    .unwrap();
    let path = dir.join("bench.sock");
    let mut child = reader(&["ours", path.to_str().unwrap(), &PACKETS.to_string()]);
    let pixels: Pixels = Arc::new(PictureBuf::black(SIZE).unwrap().to_nv12());
    let never = crossbeam_channel::never::<()>();
    let (mut number, mut begin) = (0, None);
    while child.try_wait().unwrap().is_none() {
        if share.readers() > 0 {
            begin.get_or_insert((MonoClock.now(), cpu_s()));
            share.offer(&packet(number, &pixels));
            number += 1;
        }
        assert!(never.recv_timeout(period).is_err());
    }
    let (began, cpu) = begin.unwrap();
    let sender = (cpu_s() - cpu) / (MonoClock.now() - began).as_secs_f64();
    let said = numbers(&line(&mut child).unwrap());
    let of = |key: &str| said[key].as_f64().unwrap();
    Measured {
        rate: of("rate"),
        p50_ms: of("p50_ms"),
        p99_ms: of("p99_ms"),
        sender,
        reader: of("cpu"),
    }
}

fn pickled(path: &Path, period: Duration) -> Measured {
    let shape = format!("{}x{}", SIZE.height, SIZE.width);
    let path = path.to_str().unwrap();
    let seconds = period.as_secs_f64().to_string();
    let mut server = reader(&["serve", path, &shape, &CAMERAS.to_string(), &seconds]);
    assert_eq!(line(&mut server).unwrap().trim(), "ready");
    let mut child = reader(&["pickle", path, &PACKETS.to_string()]);
    let said = numbers(&line(&mut child).unwrap());
    child.wait().unwrap();
    let cpu = numbers(&line(&mut server).unwrap())["cpu_s"].as_f64().unwrap();
    server.wait().unwrap();
    let of = |key: &str| said[key].as_f64().unwrap();
    Measured {
        rate: of("rate"),
        p50_ms: of("p50_ms"),
        p99_ms: of("p99_ms"),
        sender: cpu / (PACKETS as f64 / of("rate")),
        reader: of("cpu"),
    }
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    // As fast as packets are taken: the writer drops what it does not come to.
    let fast = Duration::from_millis(1);
    let ours_paced = ours(dir.path(), PERIOD);
    let ours_fast = ours(dir.path(), fast);
    let pickle_paced = pickled(&dir.path().join("paced.sock"), PERIOD);
    let pickle_fast = pickled(&dir.path().join("fast.sock"), Duration::ZERO);
    let baseline = "pickle through a socket";
    let row = |metric: &str, value: f64, base: f64, unit: &str, better: &str| {
        println!("{metric}: {value:.3} {unit} ({baseline}: {base:.3})");
        serde_json::json!({
            "metric": metric, "value": value, "unit": unit, "better": better,
            "target": null, "baseline": base, "baseline_name": baseline,
        })
    };
    let rows = [
        row(
            "3x1080p, packets taken",
            ours_fast.rate,
            pickle_fast.rate,
            "1/s",
            "higher",
        ),
        row(
            "3x1080p at 30/s, written to seen, p50",
            ours_paced.p50_ms,
            pickle_paced.p50_ms,
            "ms",
            "lower",
        ),
        row(
            "3x1080p at 30/s, written to seen, p99",
            ours_paced.p99_ms,
            pickle_paced.p99_ms,
            "ms",
            "lower",
        ),
        row(
            "3x1080p at 30/s, CPU of the sender (ours converts)",
            ours_paced.sender,
            pickle_paced.sender,
            "cores",
            "lower",
        ),
        row(
            "3x1080p at 30/s, CPU of the reader",
            ours_paced.reader,
            pickle_paced.reader,
            "cores",
            "lower",
        ),
    ];
    if let Ok(out) = std::env::var("BENCH_OUT") {
        std::fs::write(out, serde_json::to_string_pretty(&rows).unwrap()).unwrap();
    }
}
