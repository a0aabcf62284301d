//! Events: what a track becomes once it matters.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{BBox, Captured, FrameKey, Stamp, StreamId, TrackId};

/// UUIDv7 of an event: sorts by time, the same for ever, also after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub Uuid);

/// One look at the object of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sighting {
    /// The frame it was seen in.
    pub frame: FrameKey,
    /// When that frame was captured, on the box's clock.
    pub captured: Captured,
    /// The same in UTC, by clock map `map_version`.
    pub stamp: Stamp,
    /// Version of the clock map behind `stamp`.
    pub map_version: u32,
    /// Where.
    pub bbox: BBox,
    /// How sure, 0 to 1.
    pub score: f32,
}

/// How an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The track was lost.
    Lost,
    /// The camera went away, or its format changed.
    CameraLost,
    /// The daemon stopped in good order.
    Shutdown,
    /// The daemon was killed; closed at the next start.
    Restart,
}

impl EndReason {
    /// Name in documents and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            EndReason::Lost => "lost",
            EndReason::CameraLost => "camera_lost",
            EndReason::Shutdown => "shutdown",
            EndReason::Restart => "restart",
        }
    }
}

/// The picture that shows the object best, as JPEG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BestFrame {
    /// Which frame it is.
    pub frame: FrameKey,
    /// The JPEG file.
    pub jpeg: Vec<u8>,
}

/// An event as it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// The camera.
    pub stream: StreamId,
    /// The track it follows.
    pub track: TrackId,
    /// Class of the object.
    pub label: String,
    /// Which detector saw it.
    pub detector: String,
    /// The first sighting of the track.
    pub first: Sighting,
}

/// What happens to events, in order. Store and outbox take these as they are.
#[derive(Clone, Debug, PartialEq)]
pub enum EventChange {
    /// A track was confirmed.
    Begin(Event),
    /// A better picture of it.
    Best {
        /// The event.
        id: EventId,
        /// The sighting in that picture.
        sighting: Sighting,
        /// The picture, full frame.
        picture: BestFrame,
    },
    /// The track is gone.
    End {
        /// The event.
        id: EventId,
        /// The last sighting.
        last: Sighting,
        /// Why it ended.
        reason: EndReason,
        /// Number of frames it was seen in.
        sightings: u64,
    },
}
