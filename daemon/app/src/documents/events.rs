//! Documents of events: as messages and as the API lists them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Capture, RestampDoc};

/// Phase of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventPhase {
    /// It began.
    Start,
    /// A better picture.
    Update,
    /// It ended.
    End,
}

/// Where a picture or a clip of an event is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct MediaRef {
    /// Path on the box's web server.
    pub url: String,
    /// Media type.
    pub kind: String,
    /// SHA-256 of the file, hex.
    pub sha256: String,
}

/// `…/event/{type}`; CloudEvents attributes travel as MQTT 5 user properties.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct EventMessage {
    /// Version of this document's schema.
    pub schema: u32,
    /// UUIDv7 of the event; the same in all its phases.
    pub id: String,
    /// Phase.
    pub phase: EventPhase,
    /// 0 for `start`, then counting.
    pub seq: u32,
    /// Camera id.
    pub cam: String,
    /// Track id.
    pub track: u64,
    /// Class.
    pub label: String,
    /// 0 to 1, of the sighting.
    pub score: f32,
    /// `[x, y, w, h]` in fractions of the picture, of the sighting.
    pub bbox: [f32; 4],
    /// Detector.
    pub detector: String,
    /// The frame of the sighting.
    pub frame: String,
    /// When that frame was captured.
    pub capture: Capture,
    /// Boot of the box.
    pub boot_id: String,
    /// `lost`, `camera_lost`, `shutdown`, `restart`; `null` unless `end`.
    pub ended_by: Option<String>,
    /// Pictures.
    pub media: Vec<MediaRef>,
}

/// The type of events that follow a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrackType {
    /// An object was seen.
    #[default]
    Track,
}

/// An event of any type, as the API lists it; `type` tells them apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(untagged)]
pub enum AnyEventDoc {
    /// An object was seen.
    Track(EventDoc),
    /// Something happened to a camera or to the box.
    System(SystemEventDoc),
}

impl AnyEventDoc {
    /// UUIDv7.
    pub fn id(&self) -> &str {
        match self {
            AnyEventDoc::Track(event) => &event.id,
            AnyEventDoc::System(event) => &event.id,
        }
    }

    /// The event that follows a track, if it is one.
    pub fn track(&self) -> Option<&EventDoc> {
        match self {
            AnyEventDoc::Track(event) => Some(event),
            AnyEventDoc::System(_) => None,
        }
    }

    /// The system event, if it is one.
    pub fn system(&self) -> Option<&SystemEventDoc> {
        match self {
            AnyEventDoc::Track(_) => None,
            AnyEventDoc::System(event) => Some(event),
        }
    }
}

/// Type of a system event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SystemEventType {
    /// A camera delivers (again).
    CameraOnline,
    /// A camera gives no frames.
    CameraOffline,
    /// Capture times of a camera are known in another way.
    TimeSource,
    /// A camera's own clock stepped.
    CameraClockStep,
    /// The box's UTC stepped.
    BoxClockStep,
    /// A panorama is as it should be (again).
    StitchOkay,
    /// A panorama is not as it should be.
    StitchDegraded,
    /// Something is wrong with a camera's clocks.
    CameraTime,
    /// Frames of a camera would be timed better today.
    Restamp,
    /// Another engine runs a detector's model, or none does.
    DetectorEngine,
    /// A GPU is as it should be again.
    GpuOkay,
    /// A GPU slows itself down.
    GpuThrottled,
}

/// `…/event/{type}` of all types but `track`, and the same in the API: what happened to a camera or to the box.
/// Begins and ends at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct SystemEventDoc {
    /// Version of this document's schema.
    pub schema: u32,
    /// UUIDv7.
    pub id: String,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: SystemEventType,
    /// Camera id, or panorama id for `stitch_…`; `null` when it is about the box.
    pub cam: Option<String>,
    /// When it happened.
    pub utc: String,
    /// Bound of `utc`; `null` while the box's clock is not synchronised.
    pub error_ms: Option<f64>,
    /// Boot of the box.
    pub boot_id: String,
    /// `time_source`: the source before; `detector_engine`: what ran the model before; else `null`.
    pub from: Option<String>,
    /// `time_source`: the source now; `camera_offline`: `offline`, `stalled` or `auth_failed`;
    /// `camera_time`: what is wrong, in a word; `detector_engine`: what runs the model now; `gpu_…`: the GPU; else `null`.
    pub to: Option<String>,
    /// `camera_clock_step`, `box_clock_step`: by how much, positive: forward; else `null`.
    pub step_ms: Option<f64>,
    /// `camera_offline`, `camera_time`, `stitch_degraded`, `gpu_throttled`: what is wrong and what to do, in a sentence;
    /// `detector_engine`: the detector and why; else `null`.
    pub reason: Option<String>,
    /// `restamp`: the frames and their better capture times; else `null`.
    #[serde(default)]
    pub restamp: Option<RestampDoc>,
    /// Changes of this kind since the last event that were too short or too many to be told one by one.
    pub untold: u32,
}

/// An event that follows a track, as the API lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct EventDoc {
    /// `track`.
    #[serde(rename = "type")]
    pub kind: TrackType,
    /// UUIDv7.
    pub id: String,
    /// Camera id.
    pub cam: String,
    /// Track id.
    pub track: u64,
    /// Class.
    pub label: String,
    /// Best score so far.
    pub score: f32,
    /// `[x, y, w, h]` in the best picture.
    pub bbox: [f32; 4],
    /// Detector.
    pub detector: String,
    /// First sighting.
    pub begin: Capture,
    /// First sighting by what the box has learned of UTC since; `null` where `begin` is the best known.
    pub restamped: Option<Capture>,
    /// Last sighting; `null` while it lasts.
    pub end: Option<Capture>,
    /// Why it ended; `null` while it lasts.
    pub ended_by: Option<String>,
    /// Frame of the best picture.
    pub frame: String,
    /// Path of the best picture; `null` when none was kept.
    pub picture: Option<String>,
}
