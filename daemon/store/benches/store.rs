//! `make bench NAME=store`: durable events a second, beside what the disk itself can do.
//!
//! An event is its begin with a message, a picture of 30 kB (in one of the two runs) and its end with a message,
//! recorded as the daemon does and counted when all of it is committed with `synchronous=FULL`. The events come
//! faster than they can be stored, but the bench keeps them in memory (no spill), so that the writer is measured.
//! `BENCH_OUT` names the file for the results (default `target/bench/store.json`), `BENCH_DIR` the folder on the disk
//! to measure (default: the system's folder for temporary files).

use std::error::Error;
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use synoptic_base::{
    BBox, BestFrame, BootId, Captured, Clock, ClockSample, EndReason, Epoch, Event, EventChange, EventId,
    FrameKey, MediaTime, Mono, Sighting, Span, Stamp, StreamId, TimeSource, TrackId, Utc,
};
use synoptic_store::{Options, OutboxMessage, Store};
use uuid::Uuid;

/// How long each run records.
const RUN: Span = Span::from_secs(8);
/// How long the disk's own rate is measured.
const DISK_RUN: Span = Span::from_secs(3);
/// Bytes of a picture: a 640x360 JPEG of usual quality.
const PICTURE_BYTES: usize = 30_000;
/// Bytes of a message: an event document of docs/reference.
const MESSAGE_BYTES: usize = 700;
/// Target of the issue.
const TARGET_EVENTS_PER_S: f64 = 5_000.0;
/// Changes that wait in memory at most, below the limit at which the spill begins.
const QUEUE: u64 = 240;

struct SystemClock;

fn read(id: ClockId) -> i64 {
    clock_gettime(id).map_or(0, |t| t.tv_sec() * 1_000_000_000 + t.tv_nsec())
}

impl Clock for SystemClock {
    fn now(&self) -> Mono {
        Mono::from_nanos(read(ClockId::CLOCK_MONOTONIC))
    }
    fn sample(&self) -> ClockSample {
        ClockSample {
            mono: self.now(),
            raw: Mono::from_nanos(read(ClockId::CLOCK_MONOTONIC_RAW)),
            realtime: Utc::from_nanos(read(ClockId::CLOCK_REALTIME)),
            width: Span::ZERO,
        }
    }
}

/// Appends and syncs blocks of one size; returns syncs a second.
fn disk_rate(dir: &Path, block: usize) -> Result<f64, Box<dyn Error>> {
    let mut file = File::create(dir.join("disk"))?;
    let bytes = vec![0x55; block];
    // As SQLite's log: the file is there already, so a sync writes data, not the file's size.
    let size = 64 << 20;
    file.write_all(&vec![0; size])?;
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let begin = SystemClock.now();
    let (mut count, mut at) = (0_u32, 0);
    while SystemClock.now() - begin < DISK_RUN {
        if at + block > size {
            file.seek(SeekFrom::Start(0))?;
            at = 0;
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        at += block;
        count += 1;
    }
    let rate = f64::from(count) / (SystemClock.now() - begin).as_secs_f64();
    std::fs::remove_file(dir.join("disk"))?;
    Ok(rate)
}

fn sighting(stream: StreamId, n: i64) -> Sighting {
    let captured = Captured {
        mono: SystemClock.now(),
        rel_error: Span::from_millis(1),
        source: TimeSource::SenderReport,
    };
    Sighting {
        frame: FrameKey {
            stream,
            epoch: Epoch(1),
            media_us: MediaTime::from_micros(n * 66_667),
        },
        captured,
        stamp: Stamp {
            utc: SystemClock.sample().realtime,
            error: Some(Span::from_millis(3)),
            source: captured.source,
        },
        map_version: 1,
        bbox: BBox::new(0.1, 0.2, 0.3, 0.4),
        score: 0.8,
    }
}

fn message() -> OutboxMessage {
    OutboxMessage {
        id: Uuid::now_v7(),
        topic: "synoptic/v1/site/box/event/track".to_owned(),
        payload: vec![b'x'; MESSAGE_BYTES],
        properties: vec![("specversion".to_owned(), "1.0".to_owned())],
    }
}

/// Durable events a second, and how many of them one commit carried.
async fn events_rate(dir: &Path, picture: bool) -> Result<(f64, f64), Box<dyn Error>> {
    let options = Options {
        dir: dir.to_owned(),
        boot_id: BootId(Uuid::now_v7()),
        keep_events: Span::from_secs(86_400),
        keep_detections: Span::from_secs(86_400),
        max_bytes: 64 << 30,
        min_free_bytes: 0,
    };
    let store = Store::open(options, Arc::new(SystemClock)).await?.store;
    let stream = StreamId::new("bench")?;
    let jpeg = vec![0x77; PICTURE_BYTES];
    let begin = SystemClock.now();
    let mut events = 0_i64;
    while SystemClock.now() - begin < RUN {
        while store.stats().queue > QUEUE {
            std::thread::yield_now();
        }
        let id = EventId(Uuid::now_v7());
        let first = sighting(stream, events);
        store.record(
            EventChange::Begin(Event {
                id,
                stream,
                track: TrackId(events.unsigned_abs() + 1),
                label: "person".to_owned(),
                detector: "motion".to_owned(),
                first: first.clone(),
            }),
            vec![message()],
        );
        if picture {
            let picture = BestFrame {
                frame: first.frame,
                jpeg: jpeg.clone(),
            };
            store.record(
                EventChange::Best {
                    id,
                    sighting: first.clone(),
                    picture,
                },
                vec![],
            );
        }
        let ended = EventChange::End {
            id,
            last: sighting(stream, events + 20),
            reason: EndReason::Lost,
            sightings: 20,
        };
        store.record(ended, vec![message()]);
        events += 1;
    }
    let handle = store.clone();
    store.close().await?;
    let seconds = (SystemClock.now() - begin).as_secs_f64();
    let stats = handle.stats();
    let wanted = events.unsigned_abs() * if picture { 3 } else { 2 };
    if stats.changes != wanted {
        return Err(format!("{} of {wanted} changes were stored: {stats:?}", stats.changes).into());
    }
    Ok((events as f64 / seconds, events as f64 / stats.commits as f64))
}

fn row(metric: &str, value: f64, unit: &str, target: Option<f64>, baseline: Option<(f64, &str)>) -> Value {
    json!({
        "metric": metric,
        "value": (value * 10.0).round() / 10.0,
        "unit": unit,
        "better": "higher",
        "target": target,
        "baseline": baseline.map(|b| (b.0 * 10.0).round() / 10.0),
        "baseline_name": baseline.map(|b| b.1),
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let out =
        std::env::var_os("BENCH_OUT").map_or_else(|| PathBuf::from("target/bench/store.json"), PathBuf::from);
    let dir = match std::env::var_os("BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let small = disk_rate(dir.path(), 4096)?;
    let large = disk_rate(dir.path(), 1 << 20)?;
    let (plain, plain_batch) = events_rate(&dir.path().join("plain"), false).await?;
    let (pictures, pictures_batch) = events_rate(&dir.path().join("pictures"), true).await?;
    let fsync = Some((small, "the disk's own syncs a second (4 KiB written and synced)"));
    let throughput = Some((
        large * f64::from(1 << 20) / PICTURE_BYTES as f64,
        "pictures a second the disk itself writes (1 MiB written and synced at a time)",
    ));
    let results = json!([
        row(
            "durable_events",
            plain,
            "events/s",
            Some(TARGET_EVENTS_PER_S),
            fsync
        ),
        row(
            "durable_events_with_30_kB_picture",
            pictures,
            "events/s",
            Some(TARGET_EVENTS_PER_S),
            throughput
        ),
        row("events_a_commit", plain_batch, "events", None, None),
        row(
            "events_a_commit_with_30_kB_picture",
            pictures_batch,
            "events",
            None,
            None
        ),
        row("disk_sync_4_KiB", small, "syncs/s", None, None),
        row("disk_sync_1_MiB", large, "syncs/s", None, None),
    ]);
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&out, serde_json::to_vec_pretty(&results)?)?;
    println!("{results:#}");
    Ok(())
}
