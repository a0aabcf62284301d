//! Every document that leaves the box as JSON: over MQTT, the web API and server-sent events.
//!
//! One definition a document. JSON Schemas in docs/reference/schemas are generated from these types. Times are
//! RFC 3339 UTC; spans are in the unit their name ends with; what is not known is `null`, never absent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use synoptic_base::{Captured, ClockMap, Span, Stamp};
use utoipa::ToSchema;

use crate::outputs::OutputDoc;

mod engines;
mod events;
mod panorama;
mod time;

pub use engines::*;
pub use events::*;
pub use panorama::*;
pub use time::*;

/// State of the box (`…/status`, retained, last will).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// Everything runs.
    Online,
    /// Runs, but something needs attention; see the other topics.
    Degraded,
    /// An update is being installed.
    Updating,
    /// Not reachable (sent by the broker as last will, or at shutdown).
    Offline,
}

/// `…/status`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct DeviceStatus {
    /// State.
    pub state: DeviceState,
    /// Since when; `null` in the last will, which is written before it is needed.
    pub since: Option<String>,
}

/// `…/info`, retained: birth certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct DeviceInfo {
    /// Version of this document's schema.
    pub schema: u32,
    /// Device id.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Version of the daemon.
    pub version: String,
    /// Boot id: monotonic times compare only within it.
    pub boot_id: String,
    /// Hardware model, if the box says one.
    pub model: Option<String>,
    /// Ids of the cameras.
    pub cameras: Vec<String>,
    /// Ids of the sync groups.
    pub groups: Vec<String>,
}

/// State of a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CameraState {
    /// Being connected for the first time.
    Connecting,
    /// Frames come.
    Online,
    /// Connected, but no frames.
    Stalled,
    /// Not reachable; retried.
    Offline,
    /// Switched off in the configuration.
    Disabled,
    /// The camera refuses user or password.
    AuthFailed,
}

/// `…/cam/{id}/status`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct CameraStatus {
    /// State.
    pub state: CameraState,
    /// What is wrong and what to do, in a sentence; `null` when all is well.
    pub reason: Option<String>,
    /// Since when.
    pub since: String,
}

/// Grade of a camera's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeQuality {
    /// The bound is below half a frame.
    Good,
    /// The bound is below two frames.
    Fair,
    /// Worse.
    Poor,
    /// No frames, or no time.
    None,
}

/// `…/cam/{id}/time`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct CameraTime {
    /// How capture times are known: `ptp`, `packet_ntp`, `hardware`, `sender_report`, `in_band`, `arrival`,
    /// `frame_counter`, `host`; `null` before the first frame.
    pub source: Option<String>,
    /// The camera's own wall clock minus the box's; `null` when the camera tells no time.
    pub offset_ms: Option<f64>,
    /// Bound of a capture time relative to the box's clock: the truth lies within ± this.
    pub uncertainty_ms: Option<f64>,
    /// How much faster the camera's media clock runs than the box's.
    pub drift_ppm: Option<f64>,
    /// Age of the last sender report.
    pub sr_age_s: Option<f64>,
    /// Grade.
    pub quality: TimeQuality,
    /// What the clock doctor says; `null` while the camera is not online.
    #[serde(default)]
    pub doctor: Option<DoctorDoc>,
}

/// State of a sync group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncState {
    /// Packets are complete and within tolerance.
    Locked,
    /// Some packets lack a camera.
    Degraded,
    /// Fewer than two cameras deliver (or none, in a group of one).
    Lost,
}

/// Quantiles over the last window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Quantiles {
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// Largest.
    pub max: f64,
}

/// A camera within a sync group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct SyncMember {
    /// Camera id.
    pub cam: String,
    /// Slot status in the newest packet: `okay`, `dropped`, `read_error`, `broken`.
    pub status: String,
    /// Time source.
    pub source: Option<String>,
    /// Camera's wall clock minus the box's.
    pub offset_ms: Option<f64>,
    /// Bound of its capture times.
    pub error_ms: Option<f64>,
    /// Its frame's capture time minus the packet's instant, in the newest packet.
    pub phase_ms: Option<f64>,
}

/// `…/sync/{group}/status`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct SyncStatus {
    /// Group id.
    pub group: String,
    /// State.
    pub state: SyncState,
    /// Newest minus oldest capture time in a packet, over the window; `null` before the first packet.
    pub spread_ms: Option<Quantiles>,
    /// Largest distance of a frame from its packet's instant.
    pub tolerance_ms: f64,
    /// Packets with every slot okay / all packets, over the window; `null` before the first packet.
    pub complete_ratio: Option<f64>,
    /// Packets a second.
    pub packets_per_s: f64,
    /// Length of the window.
    pub window_s: f64,
    /// Cameras, in the order of a packet's slots.
    pub members: Vec<SyncMember>,
}

/// One packet, for plots and `synoptic packets --follow`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct PacketLine {
    /// Group id.
    pub group: String,
    /// Packet number.
    pub id: u64,
    /// Its instant in UTC.
    pub utc: String,
    /// Newest minus oldest capture time.
    pub spread_ms: f64,
    /// Slots, in order.
    pub slots: Vec<PacketSlot>,
}

/// One slot of a [`PacketLine`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct PacketSlot {
    /// Camera id.
    pub cam: String,
    /// `okay`, `dropped`, `read_error`, `broken`.
    pub status: String,
    /// Frame key `cam/epoch/media_us`; `null` unless okay.
    pub frame: Option<String>,
    /// Kind of picture: `I`, `P`, `B`, `?`; `null` unless okay.
    pub kind: Option<String>,
    /// Capture time; `null` unless okay.
    pub capture: Option<Capture>,
    /// Capture time minus the packet's instant.
    pub phase_ms: Option<f64>,
}

/// A capture time with all that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Capture {
    /// RFC 3339 UTC, microseconds.
    pub utc: String,
    /// The truth lies within ± this; `null` when the box's clock is not synchronised.
    pub error_ms: Option<f64>,
    /// The same without the box's own error: what counts between cameras of one box.
    pub rel_error_ms: f64,
    /// How it is known.
    pub source: String,
}

impl Capture {
    /// Describes a capture time by a clock map.
    pub fn new(captured: Captured, map: &ClockMap) -> Capture {
        Capture::of_stamp(map.stamp(captured), captured.rel_error)
    }

    /// Describes a stored stamp.
    pub fn of_stamp(stamp: Stamp, rel_error: Span) -> Capture {
        Capture {
            utc: stamp.utc.to_rfc3339(),
            error_ms: stamp.error.map(round_ms),
            rel_error_ms: round_ms(rel_error),
            source: stamp.source.name().to_owned(),
        }
    }
}

/// Milliseconds rounded to a microsecond: what a document shows.
pub fn round_ms(span: Span) -> f64 {
    (span.as_millis_f64() * 1e3).round() / 1e3
}

/// An object in a picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct DetectionDoc {
    /// Track id; `null` for a detection that belongs to no track yet.
    pub track: Option<u64>,
    /// Class.
    pub label: String,
    /// 0 to 1.
    pub score: f32,
    /// `[x, y, w, h]` in fractions of the picture.
    pub bbox: [f32; 4],
    /// Whether nobody looked at this frame, and the box is a known track's, carried on by its movement.
    #[serde(default)]
    pub carried: bool,
}

/// A frame and what was found in it: the `synoptic-frame` header of `GET /api/v1/cameras/{id}/picture`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct FrameDoc {
    /// `cam/epoch/media_us`
    pub key: String,
    /// Number of the frame within its epoch.
    pub seq: u64,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// When it was captured.
    pub capture: Capture,
    /// What was found in this very frame; `null` when no detector looked at it.
    pub detections: Option<Vec<DetectionDoc>>,
}

/// What the camera sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct StreamDoc {
    /// `H.264`, `H.265`, `MJPEG`, `raw`.
    pub codec: String,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Frames a second as the stream says.
    pub fps_declared: Option<f64>,
    /// Frames a second as they come.
    pub fps_delivered: f64,
    /// Epoch.
    pub epoch: u32,
    /// When the epoch began; `null` before that is known. More in `/api/v1/streams/{id}/start`.
    #[serde(default)]
    pub start: Option<StreamStartDoc>,
}

/// When an epoch began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct StreamStartDoc {
    /// UTC of media time zero.
    pub utc: String,
    /// The truth lies within ± this; `null` while the box's clock is not synchronised.
    pub error_ms: Option<f64>,
}

/// What came from one stream of a camera, since the daemon started it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct TrafficDoc {
    /// Connections that gave a picture.
    pub connections: u64,
    /// Frames decoded.
    pub frames_decoded: u64,
    /// Frames that came and could not be decoded.
    pub frames_unreadable: u64,
    /// RTP packets that came.
    pub rtp_packets: u64,
    /// Their bytes.
    pub rtp_bytes: u64,
    /// RTP packets that did not come in time.
    pub rtp_lost: u64,
    /// RTP packets that came too late.
    pub rtp_late: u64,
    /// Mean deviation of the packets' spacing; `null` without RTP.
    pub rtp_jitter_ms: Option<f64>,
}

/// A camera's sub stream, which detectors look at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct SubDoc {
    /// State of its connection.
    pub status: CameraStatus,
    /// What came from it.
    pub traffic: TrafficDoc,
    /// Frames of the main stream for which it was looked at.
    pub looked_sub: u64,
    /// Frames of the main stream that were looked at themselves, because it gave nothing for 2 s.
    pub looked_main: u64,
    /// Frames of the main stream that were not looked at, because it lacked one frame.
    pub looked_nothing: u64,
}

/// A camera as the page shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct CameraDoc {
    /// Id.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Source without password.
    pub source: String,
    /// Detector, if any.
    pub detector: Option<String>,
    /// What runs the detector's model, and why not something faster; `null` when it has no model.
    pub engine: Option<String>,
    /// Status.
    pub status: CameraStatus,
    /// Time.
    pub time: CameraTime,
    /// What it sends; `null` before the first frame.
    pub stream: Option<StreamDoc>,
    /// Frames dropped, by reason, since the daemon started.
    pub drops: std::collections::BTreeMap<String, u64>,
    /// What came from its main stream.
    #[serde(default)]
    pub traffic: TrafficDoc,
    /// Its sub stream; `null` where none is used.
    #[serde(default)]
    pub sub: Option<SubDoc>,
    /// What its detector looked at; `null` without a detector.
    #[serde(default)]
    pub attention: Option<AttentionDoc>,
}

/// State of the connection to the broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct MqttDoc {
    /// `off`, `connecting`, `connected`.
    pub state: String,
    /// Broker as `host:port`.
    pub broker: Option<String>,
    /// Why it is not connected.
    pub error: Option<String>,
    /// Messages waiting in the outbox.
    pub outbox: u64,
}

/// State of the database and its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StorageState {
    /// What is old goes by its age.
    Okay,
    /// The databases are at their limit: the oldest goes to make room, before its age.
    Full,
    /// The disk has less free space than `store.min_free`: the oldest goes, and that may not help.
    DiskShort,
    /// Writing fails: changes wait in memory and in the spill.
    Failing,
}

/// The database and its disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct StorageDoc {
    /// State.
    pub state: StorageState,
    /// Bytes of both databases with their logs, at the last look (every 30 s).
    pub bytes: u64,
    /// What they may have: `store.max_size`.
    pub max_bytes: u64,
    /// Free bytes on their disk, at the last look.
    pub free_bytes: u64,
    /// What is never used up of it: `store.min_free`.
    pub min_free_bytes: u64,
    /// Changes of events that are not in the database yet, spilled ones included.
    pub waiting: u64,
    /// Those of them that wait in the spill on disk, because the database is behind.
    pub spilled: u64,
    /// Messages in the outbox.
    pub outbox: u64,
    /// Events removed by age or for space since the daemon started.
    pub events_removed: u64,
    /// Changes of events lost since the daemon started, because neither database nor spill took them.
    pub lost: u64,
    /// Why writing fails; `null` when it does not.
    pub error: Option<String>,
}

/// The box's own clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct ClockDoc {
    /// Whether UTC is known.
    pub synchronised: bool,
    /// Bound of UTC.
    pub error_ms: Option<f64>,
}

/// `GET /api/v1/status`, and the `status` event of `GET /api/v1/live`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct StatusDoc {
    /// The box.
    pub device: DeviceInfo,
    /// Its state.
    pub status: DeviceStatus,
    /// Now, in UTC.
    pub utc: String,
    /// Seconds since the daemon started.
    pub uptime_s: f64,
    /// The box's clock.
    pub clock: ClockDoc,
    /// Cameras, in the order of the configuration.
    pub cameras: Vec<CameraDoc>,
    /// Sync groups.
    pub groups: Vec<SyncStatus>,
    /// Panoramas.
    #[serde(default)]
    pub panoramas: Vec<PanoramaDoc>,
    /// Detectors with a model, and what runs it.
    #[serde(default)]
    pub detectors: Vec<DetectorDoc>,
    /// GPUs.
    #[serde(default)]
    pub gpus: Vec<GpuDoc>,
    /// Streams that leave the box.
    #[serde(default)]
    pub outputs: Vec<OutputDoc>,
    /// The broker.
    pub mqtt: MqttDoc,
    /// The database.
    pub storage: StorageDoc,
    /// Keys of the configuration that were changed and take effect only when the daemon is started again.
    pub restart_needed: Vec<String>,
}

/// What `synoptic probe` and the page's camera test find.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct ProbeDoc {
    /// What was probed, without password.
    pub source: String,
    /// Whether Synoptic can use it.
    pub usable: bool,
    /// The verdict in a sentence.
    pub verdict: String,
    /// What is worth knowing: one finding a line, each with what to do.
    pub findings: Vec<String>,
    /// Codec, `null` when no picture came.
    pub codec: Option<String>,
    /// Pixels across.
    pub width: Option<u32>,
    /// Pixels down.
    pub height: Option<u32>,
    /// Frames a second as the stream says.
    pub fps_declared: Option<f64>,
    /// Frames a second as they came.
    pub fps_delivered: Option<f64>,
    /// Frames from one I picture to the next.
    pub gop: Option<u32>,
    /// Whether B pictures were seen.
    pub b_frames: Option<bool>,
    /// Sender reports seen.
    pub sender_reports: u32,
    /// Camera's wall clock minus the box's.
    pub clock_offset_ms: Option<f64>,
    /// What the clock doctor says; `null` when no picture came.
    #[serde(default)]
    pub doctor: Option<DoctorDoc>,
    /// Best time source seen.
    pub time_source: Option<String>,
    /// The last picture, JPEG, base64; `null` when none came.
    pub picture_base64: Option<String>,
}
