//! Events: what a track becomes once it matters.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{BBox, Captured, FrameKey, Mono, Restamp, Span, Stamp, StreamId, TimeSource, TrackId, Utc};

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
    /// Something happened to a camera or to the box itself. Begins and ends at once.
    System(SystemEvent),
}

impl EventChange {
    /// The event it is about.
    pub fn event(&self) -> EventId {
        match self {
            EventChange::Begin(event) => event.id,
            EventChange::Best { id, .. } | EventChange::End { id, .. } => *id,
            EventChange::System(event) => event.id,
        }
    }
}

/// Why a camera gives no frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outage {
    /// Not reachable.
    Offline,
    /// Connected, but without frames.
    Stalled,
    /// The camera refuses user or password.
    AuthFailed,
}

impl Outage {
    /// Name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Outage::Offline => "offline",
            Outage::Stalled => "stalled",
            Outage::AuthFailed => "auth_failed",
        }
    }
}

/// What happened to a camera or to the box. In JSON the variant is the field `type`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SystemChange {
    /// The camera delivers (again).
    CameraOnline,
    /// The camera gives no frames.
    CameraOffline {
        /// How.
        outage: Outage,
        /// What is wrong and what to do.
        reason: Option<String>,
    },
    /// Capture times are known in another way: a change of rung on the ladder of time sources.
    TimeSource {
        /// The way before.
        from: TimeSource,
        /// The way now.
        to: TimeSource,
    },
    /// The camera's own wall clock stepped; positive: forward.
    CameraClockStep {
        /// By how much.
        step: Span,
    },
    /// The box's UTC stepped against its monotonic clock; positive: forward.
    BoxClockStep {
        /// By how much.
        step: Span,
    },
    /// A panorama is as it should be (again).
    StitchOkay,
    /// A panorama is not as it should be: a camera is missing, or its cameras do not fit any more.
    StitchDegraded {
        /// What is wrong and what to do.
        reason: String,
    },
    /// Something is wrong with the camera's clocks.
    CameraTime {
        /// What, in a word: `zone`, `offset`, `never_set`, `rate`, `fps`, `reports`, `stamps`, `refused`.
        finding: String,
        /// What, and what to do, in a sentence.
        text: String,
    },
    /// Frames of the camera would be timed better today.
    Restamp(Restamp),
    /// Another engine runs a detector's model, or none does.
    DetectorEngine {
        /// The detector.
        detector: String,
        /// What ran it before; `None`: nothing.
        from: Option<String>,
        /// What runs it now; `None`: nothing.
        to: Option<String>,
        /// Why, and what to do; `None` when it is as wanted.
        reason: Option<String>,
    },
    /// A GPU is as it should be again.
    GpuOkay {
        /// The GPU.
        gpu: String,
    },
    /// A GPU slows itself down.
    GpuThrottled {
        /// The GPU.
        gpu: String,
        /// Why, and what to do.
        reason: String,
    },
}

impl SystemChange {
    /// Every name of [`SystemChange::name`].
    pub const NAMES: [&'static str; 12] = [
        "camera_online",
        "camera_offline",
        "time_source",
        "camera_clock_step",
        "box_clock_step",
        "stitch_okay",
        "stitch_degraded",
        "camera_time",
        "restamp",
        "detector_engine",
        "gpu_okay",
        "gpu_throttled",
    ];

    /// The event's type, as in topics, in documents and in the database.
    pub const fn name(&self) -> &'static str {
        match self {
            SystemChange::CameraOnline => "camera_online",
            SystemChange::CameraOffline { .. } => "camera_offline",
            SystemChange::TimeSource { .. } => "time_source",
            SystemChange::CameraClockStep { .. } => "camera_clock_step",
            SystemChange::BoxClockStep { .. } => "box_clock_step",
            SystemChange::StitchOkay => "stitch_okay",
            SystemChange::StitchDegraded { .. } => "stitch_degraded",
            SystemChange::CameraTime { .. } => "camera_time",
            SystemChange::Restamp(_) => "restamp",
            SystemChange::DetectorEngine { .. } => "detector_engine",
            SystemChange::GpuOkay { .. } => "gpu_okay",
            SystemChange::GpuThrottled { .. } => "gpu_throttled",
        }
    }
}

/// An event of the system itself: no object in a picture, but what one must know to judge what is seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemEvent {
    /// Its id.
    pub id: EventId,
    /// The camera; `None` when it is about the box.
    pub stream: Option<StreamId>,
    /// When it happened, on the box's clock.
    pub at: Mono,
    /// The same in UTC, by clock map `map_version`.
    pub utc: Utc,
    /// Half the width of the interval of `utc`; `None` while the box's clock is not synchronised.
    pub error: Option<Span>,
    /// Version of the clock map behind `utc`.
    pub map_version: u32,
    /// What happened.
    pub change: SystemChange,
    /// Changes of the same kind since the last event that were too short or too many to be told one by one.
    pub untold: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_system_change_is_its_type_in_json() {
        let step = Span::from_secs(1);
        let all = [
            SystemChange::CameraOnline,
            SystemChange::CameraOffline {
                outage: Outage::Stalled,
                reason: None,
            },
            SystemChange::TimeSource {
                from: TimeSource::SenderReport,
                to: TimeSource::Arrival,
            },
            SystemChange::CameraClockStep { step },
            SystemChange::BoxClockStep { step },
            SystemChange::StitchOkay,
            SystemChange::StitchDegraded {
                reason: "no pictures of east".to_owned(),
            },
            SystemChange::CameraTime {
                finding: "zone".to_owned(),
                text: "Its clock is off by +1.00 h.".to_owned(),
            },
            SystemChange::Restamp(Restamp {
                epoch: crate::Epoch(1),
                since_us: crate::MediaTime::from_micros(0),
                until_us: crate::MediaTime::from_micros(1),
                from: Mono::from_nanos(0),
                to: Mono::from_nanos(1_000),
                moved: step,
                rel_error: step,
                source: TimeSource::SenderReport,
            }),
            SystemChange::DetectorEngine {
                detector: "people".to_owned(),
                from: Some("TensorRT 10.3.0".to_owned()),
                to: None,
                reason: Some("the GPU's memory is full".to_owned()),
            },
            SystemChange::GpuOkay { gpu: "0".to_owned() },
            SystemChange::GpuThrottled {
                gpu: "0".to_owned(),
                reason: "too hot".to_owned(),
            },
        ];
        assert_eq!(all.len(), SystemChange::NAMES.len());
        for (change, name) in all.iter().zip(SystemChange::NAMES) {
            let json = serde_json::to_value(change).unwrap();
            assert_eq!((json["type"].as_str(), change.name()), (Some(name), name));
        }
    }
}
