//! Tests of the crate on real files.

mod crash;
mod damage;
mod full;
mod keep;
mod rounds;
mod schema;
mod system;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use synoptic_base::{
    BBox, BestFrame, BootId, Captured, Clock, ClockMap, ClockSample, EndReason, Epoch, Event, EventChange,
    EventId, FrameKey, MediaTime, Mono, Sighting, Span, StreamId, TimeSource, TrackId, Utc,
};
use uuid::Uuid;

use crate::{Opened, Options, OutboxMessage, Store};

/// The system's clock, with UTC shifted at will.
#[derive(Default)]
pub(super) struct TestClock {
    ahead_ns: AtomicI64,
}

impl TestClock {
    pub(super) fn shared() -> Arc<TestClock> {
        Arc::new(TestClock::default())
    }
    pub(super) fn advance_utc(&self, by: Span) {
        self.ahead_ns.fetch_add(by.as_nanos(), Ordering::Relaxed);
    }
}

fn read(id: ClockId) -> i64 {
    let t = clock_gettime(id).unwrap();
    t.tv_sec() * 1_000_000_000 + t.tv_nsec()
}

impl Clock for TestClock {
    fn now(&self) -> Mono {
        Mono::from_nanos(read(ClockId::CLOCK_MONOTONIC))
    }
    fn sample(&self) -> ClockSample {
        ClockSample {
            mono: self.now(),
            raw: Mono::from_nanos(read(ClockId::CLOCK_MONOTONIC_RAW)),
            realtime: Utc::from_nanos(read(ClockId::CLOCK_REALTIME) + self.ahead_ns.load(Ordering::Relaxed)),
            width: Span::ZERO,
        }
    }
}

pub(super) const BOOT: BootId = BootId(Uuid::from_u128(0xb007));

pub(super) fn options(dir: &Path) -> Options {
    Options {
        dir: dir.to_owned(),
        boot_id: BOOT,
        keep_events: Span::from_secs(30 * 86_400),
        keep_detections: Span::from_secs(7 * 86_400),
        max_bytes: 4 << 30,
        min_free_bytes: 0,
    }
}

pub(super) async fn open(dir: &Path) -> Opened {
    Store::open(options(dir), TestClock::shared()).await.unwrap()
}

pub(super) fn cam(name: &str) -> StreamId {
    StreamId::new(name).unwrap()
}

pub(super) fn map() -> ClockMap {
    ClockMap {
        boot_id: BOOT,
        version: 3,
        utc_minus_mono: Utc::from_nanos(read(ClockId::CLOCK_REALTIME))
            - Utc::from_nanos(read(ClockId::CLOCK_MONOTONIC)),
        error: Some(Span::from_millis(2)),
    }
}

/// A sighting `at_ms` after the boot's present.
pub(super) fn sighting(stream: StreamId, at_ms: i64) -> Sighting {
    let captured = Captured {
        mono: Mono::from_nanos(read(ClockId::CLOCK_MONOTONIC)) + Span::from_millis(at_ms),
        rel_error: Span::from_micros(700),
        source: TimeSource::SenderReport,
    };
    Sighting {
        frame: FrameKey {
            stream,
            epoch: Epoch(5),
            media_us: MediaTime::from_micros(at_ms * 1000),
        },
        captured,
        stamp: map().stamp(captured),
        map_version: 3,
        bbox: BBox::new(0.1, 0.2, 0.3, 0.4),
        score: 0.75,
    }
}

pub(super) fn begin(stream: StreamId, label: &str) -> Event {
    Event {
        id: EventId(Uuid::now_v7()),
        stream,
        track: TrackId(9),
        label: label.to_owned(),
        detector: "motion".to_owned(),
        first: sighting(stream, 0),
    }
}

pub(super) fn best(event: &Event, at_ms: i64, jpeg: Vec<u8>) -> EventChange {
    let sighting = sighting(event.stream, at_ms);
    EventChange::Best {
        id: event.id,
        picture: BestFrame {
            frame: sighting.frame,
            jpeg,
        },
        sighting,
    }
}

pub(super) fn end(event: &Event, at_ms: i64) -> EventChange {
    EventChange::End {
        id: event.id,
        last: sighting(event.stream, at_ms),
        reason: EndReason::Lost,
        sightings: 12,
    }
}

pub(super) fn message(text: &str) -> OutboxMessage {
    OutboxMessage {
        id: Uuid::now_v7(),
        topic: "synoptic/v1/site/box/event/person".to_owned(),
        payload: text.as_bytes().to_vec(),
        properties: vec![("type".to_owned(), text.to_owned())],
    }
}

/// Waits until the store's figures are as wanted.
pub(super) async fn until(store: &Store, what: &str, wanted: impl Fn(&crate::StoreStats) -> bool) {
    let deadline = TestClock::default().now() + Span::from_secs(60);
    while !wanted(&store.stats()) {
        assert!(
            TestClock::default().now() < deadline,
            "waited for {what}: {:?}",
            store.stats()
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(super) fn queue_empty(s: &crate::StoreStats) -> bool {
    s.queue == 0 && s.spill_waiting == 0
}

/// Waits until `changes` are in the database.
pub(super) async fn stored(store: &Store, changes: u64) {
    until(store, "the changes to be stored", |s| s.changes >= changes).await;
}

/// Copies a store's folder as a killed process leaves it: whatever the files hold at this moment.
pub(super) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        // A segment may be deleted meanwhile.
        match std::fs::copy(item.path(), to.join(item.file_name())) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => panic!("{e}"),
            _ => {}
        }
    }
}
