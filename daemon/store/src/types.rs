//! What goes into the store and what comes out.

use std::path::PathBuf;

use synoptic_base::{
    BootId, Captured, Detection, EndReason, Event, EventId, FrameKey, KnownMap, Restamp, Sighting, Stamp,
    StreamId, SystemEvent, Utc, moved_stamp,
};
use uuid::Uuid;

/// A message for the outbox, composed by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxMessage {
    /// Receivers drop repeats by it; the store takes each id once.
    pub id: Uuid,
    /// MQTT topic.
    pub topic: String,
    /// The document.
    pub payload: Vec<u8>,
    /// MQTT 5 user properties, in order.
    pub properties: Vec<(String, String)>,
}

/// A message that waits in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its place in the order of sending, from 1, never used twice.
    pub seq: i64,
    /// The event it tells of.
    pub event: EventId,
    /// The message.
    pub message: OutboxMessage,
}

/// What is known of a stored picture without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureInfo {
    /// SHA-256 of the JPEG.
    pub sha256: [u8; 32],
    /// Its size in bytes.
    pub bytes: u64,
}

/// A stored event.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRow {
    /// The event as it began.
    pub event: Event,
    /// The boot that all its monotonic times belong to.
    pub boot_id: BootId,
    /// The newest sighting known; the end once it has ended.
    pub last: Sighting,
    /// The sighting in the best picture; the first until a picture came.
    pub best: Sighting,
    /// Why it ended; `None` while it lasts.
    pub ended_by: Option<EndReason>,
    /// Frames it was seen in; a lower limit while it lasts.
    pub sightings: u64,
    /// Changes stored: the number of the next message about it, counting from 0.
    pub changes: u32,
    /// Its picture, if one was kept.
    pub picture: Option<PictureInfo>,
    /// The best clock map of its boot that is known now, if any was kept.
    pub known_map: Option<KnownMap>,
    /// What was learned since of the frames it was seen in, oldest first.
    pub restamps: Vec<Restamp>,
}

impl EventRow {
    /// A better stamp of one of its sightings than the one it was recorded with; `None` where there is none.
    ///
    /// Two things may have been learned since: when the frame was captured on the box's clock, and the box's UTC.
    pub fn restamped(&self, seen: &Sighting) -> Option<(Stamp, Captured)> {
        let (mut captured, mut own, mut better) = (seen.captured, seen.stamp, false);
        for restamp in &self.restamps {
            if let Some(now) = restamp.recaptured(seen.frame, captured) {
                own = moved_stamp(&own, captured, now);
                (captured, better) = (now, true);
            }
        }
        let mapped = self
            .known_map
            .and_then(|map| map.restamp(captured, &own, seen.map_version));
        match mapped {
            Some(stamp) => Some((stamp, captured)),
            None => better.then_some((own, captured)),
        }
    }

    /// The last sighting, once the event has ended.
    pub fn end(&self) -> Option<&Sighting> {
        self.ended_by.map(|_| &self.last)
    }
}

/// A stored system event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemEventRow {
    /// The event.
    pub event: SystemEvent,
    /// The boot that its monotonic time belongs to.
    pub boot_id: BootId,
}

/// A stored event of either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyEventRow {
    /// It follows a track.
    Track(Box<EventRow>),
    /// It is about a camera or the box.
    System(SystemEventRow),
}

impl AnyEventRow {
    /// Its id.
    pub fn id(&self) -> EventId {
        match self {
            AnyEventRow::Track(row) => row.event.id,
            AnyEventRow::System(row) => row.event.id,
        }
    }
}

/// Events of every kind, newest first by id.
#[derive(Clone, Debug, PartialEq)]
pub struct AnyEventPage {
    /// The events.
    pub events: Vec<AnyEventRow>,
    /// Cursor of the next page; `None` on the last.
    pub next: Option<String>,
}

/// Type of the events that follow a track.
pub const TRACK: &str = "track";

/// Which events are wanted. The default is the newest of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Only of this type: [`TRACK`] or one of [`SystemChange::NAMES`](synoptic_base::SystemChange::NAMES).
    pub kind: Option<String>,
    /// Only of this camera.
    pub stream: Option<StreamId>,
    /// Only of this class, which only events of type [`TRACK`] have.
    pub label: Option<String>,
    /// Only those that began at this time or later, so that adjoining ranges share no event.
    pub from: Option<Utc>,
    /// Only those that began before this time.
    pub to: Option<Utc>,
    /// Only those that have not ended.
    pub open_only: bool,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// Events a page, 1 to 500; 0 takes the usual 50.
    pub limit: u32,
}

/// Events, newest first by id.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPage {
    /// The events.
    pub events: Vec<EventRow>,
    /// Cursor of the next page; `None` on the last.
    pub next: Option<String>,
}

/// What a detector found in one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectionRow {
    /// The frame.
    pub frame: FrameKey,
    /// When it was captured, on the box's clock.
    pub captured: Captured,
    /// The same in UTC.
    pub stamp: Stamp,
    /// Version of the clock map behind `stamp`.
    pub map_version: u32,
    /// Which detector looked.
    pub detector: String,
    /// What it found; empty when it found nothing.
    pub detections: Vec<Detection>,
}

/// Which detection results are wanted: of one stream, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetectionQuery {
    /// The stream.
    pub stream: StreamId,
    /// Only frames after this one: the last row of the page before.
    pub after: Option<FrameKey>,
    /// Only frames captured at this time or later.
    pub from: Option<Utc>,
    /// Only frames captured before this time.
    pub to: Option<Utc>,
    /// Rows a page, 1 to 10,000; 0 takes the usual 1,000.
    pub limit: u32,
}

/// A file that was found damaged and set aside when the store opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// What it was.
    pub path: PathBuf,
    /// Where it lies now.
    pub moved_to: PathBuf,
    /// What was wrong with it.
    pub why: String,
}
