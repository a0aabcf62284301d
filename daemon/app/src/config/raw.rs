//! The configuration as it is written: one struct a table, one field a key.
//!
//! The JSON Schema and the reference for users are made from these types; their doc comments are what users
//! read. `resolve` reads the same keys with places and all problems at once; tests hold the two together. Every
//! default is a constant or function here and is used by both.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use synoptic_media::{PullKind, Source};

use super::raw_mqtt::RawMqtt;
use super::raw_output::{RawOutput, RawRtsp};
use super::raw_panorama::{RawPanorama, RawStitch};
use super::raw_virtual_camera::RawVirtualCamera;
use super::raw_webrtc::RawWebRtc;
use super::units::{BYTES_PATTERN, TIME_PATTERN};

/// Version of the file's format that this program reads.
pub(super) const SCHEMA_VERSION: i64 = 1;
/// Folder of the installed service (FHS 3.0 section 5.8).
pub(super) const DATA_DIR: &str = "/var/lib/synoptic";
/// Models that come with the image.
pub(super) const SHARED_MODELS: &str = "/usr/share/synoptic/models";
pub(super) const LISTEN: &str = "127.0.0.1:8080";
pub(super) const KEEP_EVENTS: &str = "30d";
pub(super) const KEEP_DETECTIONS: &str = "12h";
pub(super) const MAX_SIZE: &str = "20GB";
pub(super) const MIN_FREE: &str = "1GB";
pub(super) const STALL_AFTER: &str = "4s";
pub(super) const MAX_WAIT: &str = "250ms";
pub(super) const MAX_INITIAL_STREAM_OFFSET: &str = "30s";
pub(super) const MAX_READ_ERRORS: u32 = 3;
pub(super) const FRAME_PACKET_BUFFER_MAXSIZE: i64 = 16;
/// Folder of the sockets, in `data_dir`.
pub(super) const PACKETS_DIR: &str = "packets";
/// 13 packets of three 1080p cameras in BGR.
pub(super) const PACKETS_MEMORY: &str = "256MB";
/// Name of the detector that always exists.
pub(super) const MOTION: &str = "motion";
/// Name that says: no detector.
pub(super) const NO_DETECTOR: &str = "none";
/// The group of all cameras when none is written.
pub(super) const MAIN_GROUP: &str = "main";
/// Half a frame at 12.5 fps. A sender report may mean capture or send time: 54 ms apart were measured between
/// two settings of one server, and no recipe tells which; a calibrated camera gets a smaller value.
pub const RTSP_BIAS_ERROR_MS: i64 = 40;
/// A V4L2 stamp marks the start of the exposure or the end of the frame; where in the interval before or behind it the
/// light fell, and what the camera did before its driver knew, nobody says: one frame at 30 fps.
pub const V4L2_BIAS_ERROR_MS: i64 = 33;
/// UTC in RTMP or FLV is written by an encoder, about as far from the capture as a sender report is.
pub const PULL_BIAS_ERROR_MS: i64 = 50;
/// The dates of an HLS playlist are written by a packager, behind encoder and network.
pub const HLS_BIAS_ERROR_MS: i64 = 1_000;

/// How far the stamps of a camera that nobody measured may be off, in milliseconds.
pub(crate) fn bias_error_ms(source: &Source) -> i64 {
    match source {
        Source::Rtsp { .. } => RTSP_BIAS_ERROR_MS,
        Source::Pull {
            kind: PullKind::Hls, ..
        } => HLS_BIAS_ERROR_MS,
        Source::Pull { .. } => PULL_BIAS_ERROR_MS,
        Source::File { .. } => 0,
        Source::V4l2 { .. } => V4L2_BIAS_ERROR_MS,
    }
}

/// Configuration of Synoptic. Relative paths begin at the folder of this file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Synoptic configuration")]
pub struct RawConfig {
    /// Version of this file's format: 1.
    #[schemars(extend("const" = 1))]
    pub schema_version: u32,
    /// Who this box is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<RawDevice>,
    /// The page and the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web: Option<RawWeb>,
    /// The MQTT broker. Without this table nothing is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt: Option<RawMqtt>,
    /// The database and how long things are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<RawStore>,
    /// Frame packets for other programs of the box, through shared memory. Without this table there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets: Option<RawPackets>,
    /// Panoramas on request: `POST /stitch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stitch: Option<RawStitch>,
    /// Cameras, one table each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub camera: Option<Vec<RawCamera>>,
    /// Cameras whose frames form packets of one instant. Without any, all enabled cameras form the group `main`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Vec<RawGroup>>,
    /// Panoramas: cameras of one group that become one picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub panorama: Option<Vec<RawPanorama>>,
    /// Virtual cameras: views of a panorama or a camera that pan, tilt and zoom, each a stream of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_camera: Option<Vec<RawVirtualCamera>>,
    /// The RTSP server. It runs while an output is served by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtsp: Option<RawRtsp>,
    /// Streams that leave the box: pushed to a server, or served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Vec<RawOutput>>,
    /// Detectors. One named `motion` always exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detector: Option<Vec<RawDetector>>,
}

/// Who this box is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawDevice {
    /// Id in MQTT topics: 1 to 31 of `a-z 0-9 _ -`. Default: the host name, or `synoptic` when that is no id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "id_schema")]
    pub id: Option<String>,
    /// Name for people. Default: the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Folder for the database, pictures, certificates and state.
    #[serde(default = "data_dir")]
    pub data_dir: String,
    /// Folders searched for models, the first also written by `synoptic models fetch`. Default: `models` in
    /// `data_dir`, then `/usr/share/synoptic/models`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub model_dirs: Option<Vec<String>>,
}

/// The page and the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawWeb {
    /// Addresses and ports to listen on: plain HTTP on loopback, HTTPS on any other. Port 0: any free port.
    #[serde(default = "listen")]
    #[schemars(length(min = 1))]
    pub listen: Vec<String>,
    /// PEM file of an own certificate. Default: one is made at the first start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<String>,
    /// PEM file of the certificate's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<String>,
    /// Token of at least 16 characters, by reference, that opens `/metrics` and nothing else to who sends
    /// `Authorization: Bearer TOKEN`. Default: none, a session is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_token: Option<RawSecret>,
    /// Live video by WebRTC (WHEP). Without servers it works where viewers and box see each other's addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webrtc: Option<RawWebRtc>,
}

/// The database and how long things are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawStore {
    /// Events and their pictures older than this are removed.
    #[serde(default = "keep_events")]
    #[schemars(regex(pattern = TIME_PATTERN))]
    pub keep_events: String,
    /// Detection results, kept for every frame, older than this are removed.
    #[serde(default = "keep_detections")]
    #[schemars(regex(pattern = TIME_PATTERN))]
    pub keep_detections: String,
    /// Database and pictures together stay below this; the oldest goes first.
    #[serde(default = "max_size")]
    #[schemars(regex(pattern = BYTES_PATTERN))]
    pub max_size: String,
    /// Free space on the disk that is never used up.
    #[serde(default = "min_free")]
    #[schemars(regex(pattern = BYTES_PATTERN))]
    pub min_free: String,
}

/// Frame packets for other programs of the box, through shared memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPackets {
    /// Pixels: `bgr` as OpenCV has them, or `nv12`: half the memory, and no conversion.
    #[serde(default = "pixels")]
    pub pixels: RawPixels,
    /// Folder of the sockets, one for each group. Programs of its owner's group may read. Default: `packets` in
    /// `data_dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// Shared memory of each group at most; it is taken only while a program reads. At the limit the slowest program
    /// loses its oldest packet.
    #[serde(default = "packets_memory")]
    #[schemars(regex(pattern = BYTES_PATTERN))]
    pub max_memory: String,
    /// Ids of the groups whose packets may be read. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// The program that finds motion vectors. Default: `synoptic-mv` beside `synoptic`, else on the PATH.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub motion_helper: Option<String>,
}

/// Pixels for other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RawPixels {
    /// Blue, green, red bytes.
    Bgr,
    /// Luma, and half-sized interleaved chroma.
    Nv12,
}

/// A camera.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCamera {
    /// Id in topics, addresses and the database: 1 to 31 of `a-z 0-9 _ -`.
    #[schemars(schema_with = "id_schema")]
    pub id: String,
    /// Name for people. Default: the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where pictures come from: `rtsp://…`, `rtsps://…`, `rtmp://…`, `rtmps://…`, `http(s)://….flv` (HTTP-FLV),
    /// `http(s)://….m3u8` (HLS), a video file (`file:///…` or a path) or `/dev/videoN`. No user and no password in it.
    pub source: String,
    /// RTSP: a smaller stream of the same camera for detection. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_source: Option<String>,
    /// Whether it runs.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Network cameras: user. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Network cameras: password, by reference. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<RawSecret>,
    /// RTSP: how RTP travels. Default: `tcp`, within the RTSP connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<RawTransport>,
    /// Over TLS: accept any certificate, unproven, with a warning in the log. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_insecure: Option<bool>,
    /// `rtsps://`, `https://`: PEM file of the authorities that may have signed the server's certificate, or of that one
    /// itself. Default: the system's authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<String>,
    /// Files: begin again at the end. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<bool>,
    /// Devices: pixel format. Default: the best the device has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<RawFormat>,
    /// Devices: size in pixels, such as `1280x720`. Default: the device's largest up to 1080p that
    /// runs at 25 frames a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]+x[0-9]+$"))]
    pub size: Option<String>,
    /// Devices: frames a second, the nearest that the device has. Default: about 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 240))]
    pub fps: Option<u32>,
    /// How the picture is turned, in degrees clockwise.
    #[serde(default)]
    #[schemars(extend("enum" = [0, 90, 180, 270]))]
    pub rotate: u32,
    /// Name of the detector that looks at it, or `none`.
    #[serde(default = "motion")]
    pub detector: String,
    /// Parts of the picture in which nothing is detected, each `[x, y, width, height]` in fractions of it: a clock
    /// that the camera writes into the picture, a road behind the fence.
    #[serde(default)]
    #[schemars(inner(length(equal = 4)))]
    pub ignore: Vec<[f64; 4]>,
    /// Frames a second that its detector looks at, at most; tracks are carried between. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.1, max = 240))]
    pub detect_max_fps: Option<f64>,
    /// The part of the picture that its detector looks at, `[x, y, width, height]` in fractions of it: small things are
    /// larger in it. Default: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detect_region: Option<[f64; 4]>,
    /// No frame for this long is a stall: the connection is closed and made anew.
    #[serde(default = "stall_after")]
    #[schemars(regex(pattern = TIME_PATTERN))]
    pub stall_after: String,
    /// Its sound is read too and goes with its pictures: AAC, G.711 or Opus over RTSP, or a file's. Off, the camera is not even
    /// asked for it.
    #[serde(default)]
    pub audio: bool,
    /// Motion vectors of its pictures go into the packets for other programs (`[packets]`). H.264 only; a helper process
    /// decodes the camera once more while a program reads.
    #[serde(default)]
    pub motion_vectors: bool,
    /// How much too late the camera's own time stamps are, in ms. Positive: the scene was that much earlier.
    #[serde(default)]
    #[schemars(range(min = -10_000, max = 10_000))]
    pub capture_bias_ms: f64,
    /// How far that may be off to either side, in ms; part of every error bound. Default: RTSP 40, RTMP and
    /// HTTP-FLV 50, HLS 1000, files 0, devices 33.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub capture_bias_error_ms: Option<f64>,
}

/// Cameras whose frames form packets of one instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawGroup {
    /// Id in topics: 1 to 31 of `a-z 0-9 _ -`.
    #[schemars(schema_with = "id_schema")]
    pub id: String,
    /// Ids of its cameras, in the order of a packet's slots. A camera is in one group at most; one that is not
    /// enabled has no slot.
    #[schemars(length(min = 1))]
    pub cameras: Vec<String>,
    /// Largest distance of a frame from its packet's instant. Default: half the frame interval of the slowest
    /// camera.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = TIME_PATTERN))]
    pub tolerance: Option<String>,
    /// Longest wait for a late camera, from the capture of the packet's first frame.
    #[serde(default = "max_wait")]
    #[schemars(regex(pattern = TIME_PATTERN))]
    pub max_wait: String,
    /// A camera that comes up is left out of packets while its frames are captured further than this from the
    /// others'.
    #[serde(default = "max_initial_stream_offset")]
    #[schemars(regex(pattern = TIME_PATTERN))]
    pub max_initial_stream_offset: String,
    /// After so many unreadable frames in a row a camera counts as broken, until the next good one; 0: never.
    #[serde(default = "max_read_errors")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_read_errors: u32,
    /// Packets that may wait to be taken; at the limit the oldest goes. -1: no limit, for groups of files only.
    #[serde(default = "frame_packet_buffer_maxsize")]
    #[schemars(range(min = -1, max = 1_000))]
    pub frame_packet_buffer_maxsize: i64,
}

/// A detector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawDetector {
    /// Name that cameras refer to: 1 to 31 of `a-z 0-9 _ -`.
    #[schemars(schema_with = "id_schema")]
    pub name: String,
    /// `motion` (built in, for fixed cameras) or `onnx` (a neural network).
    pub kind: RawDetectorKind,
    /// `onnx`: name of the model's manifest; `synoptic models list` shows them. Needed for this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Detections with a lower score begin nothing; they may keep a track that is known. Default: the model's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub threshold: Option<f64>,
    /// Labels that are kept, such as `["person", "car"]`. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// `onnx`: threads. Default: half the cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub threads: Option<u32>,
    /// `onnx`: what runs the model. `auto` takes TensorRT where GPU, driver and library are there, else the CPU;
    /// `tensorrt` says so when it cannot; `onnx-cpu` takes onnxruntime where it is built in and its library is found,
    /// else rten. Default: `auto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<RawEngine>,
    /// `auto`, `tensorrt`: precision of the plan. `int8` wants a model with Q/DQ nodes; TensorRT 11 and RTX know only
    /// `fp32`, which is what the model says. Default: `fp32`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<RawPrecision>,
    /// `auto`, `tensorrt`: number of the GPU. Default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 63))]
    pub device: Option<u32>,
    /// `tensorrt`: what looks while TensorRT cannot, or while its plan is built: `cpu`, or `off` for nothing. Default:
    /// `cpu`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<RawFallback>,
    /// Only every so manieth frame of a camera is looked at; tracks are carried between. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub every: Option<u32>,
    /// `onnx`: `motion` looks only where something moves or is followed, and once in a while; for fixed cameras.
    /// Default: `off`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<RawGate>,
    /// `onnx`: the shared library of onnxruntime, the same for all detectors. Default: the one that the environment
    /// variable ORT_DYLIB_PATH names, else the newest in the usual folders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
}

/// What runs a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum RawEngine {
    /// The fastest there is.
    Auto,
    /// The GPU, by NVIDIA's library.
    Tensorrt,
    /// The fastest on the CPU.
    OnnxCpu,
    /// Built in, on the CPU.
    Rten,
    /// On the CPU by its shared library, or no detection.
    Onnxruntime,
}

/// Precision of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RawPrecision {
    /// As the model says.
    Fp32,
    /// 16-bit floats.
    Fp16,
    /// 8-bit integers.
    Int8,
}

/// What looks while TensorRT cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RawFallback {
    /// The CPU.
    Cpu,
    /// Nothing.
    Off,
}

/// When a detector looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RawGate {
    /// Always.
    Off,
    /// When something moves.
    Motion,
}

/// Where a password is. The password itself is never written in this file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RawSecret {
    /// A file with the password as its only line.
    File(String),
    /// A systemd credential: a file in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// An environment variable.
    Env(String),
}

/// How RTP travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RawTransport {
    /// Within the RTSP connection.
    Tcp,
    /// Over UDP.
    Udp,
}

/// Pixel format of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RawFormat {
    /// Motion JPEG.
    Mjpeg,
    /// Packed 4:2:2, luma first.
    Yuyv,
    /// Packed 4:2:2, chroma first.
    Uyvy,
    /// Planar 4:2:0 with interleaved chroma.
    Nv12,
    /// Planar 4:2:0.
    I420,
    /// 8 bits of grey.
    Grey,
    /// H.264 made by the camera.
    H264,
    /// H.265 made by the camera.
    H265,
}

/// Kind of detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RawDetectorKind {
    /// Built in.
    Motion,
    /// A neural network.
    Onnx,
}

pub(super) fn id_schema(_: &mut schemars::SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,30}$" })
}
fn data_dir() -> String {
    DATA_DIR.to_owned()
}
fn listen() -> Vec<String> {
    vec![LISTEN.to_owned()]
}
fn keep_events() -> String {
    KEEP_EVENTS.to_owned()
}
fn keep_detections() -> String {
    KEEP_DETECTIONS.to_owned()
}
fn max_size() -> String {
    MAX_SIZE.to_owned()
}
fn min_free() -> String {
    MIN_FREE.to_owned()
}
const fn pixels() -> RawPixels {
    RawPixels::Bgr
}
fn packets_memory() -> String {
    PACKETS_MEMORY.to_owned()
}
fn stall_after() -> String {
    STALL_AFTER.to_owned()
}
fn max_wait() -> String {
    MAX_WAIT.to_owned()
}
fn max_initial_stream_offset() -> String {
    MAX_INITIAL_STREAM_OFFSET.to_owned()
}
const fn max_read_errors() -> u32 {
    MAX_READ_ERRORS
}
const fn frame_packet_buffer_maxsize() -> i64 {
    FRAME_PACKET_BUFFER_MAXSIZE
}
fn motion() -> String {
    MOTION.to_owned()
}
pub(super) const fn yes() -> bool {
    true
}
