//! The configuration once it cannot be wrong: what the rest of the daemon sees.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use synoptic_base::{BBox, Ptz, Size, Span, StreamId};
use synoptic_engine::align::AlignConfig;
use synoptic_engine::stitch::MissingPolicy;
use synoptic_gpu::trt::Precision;
use synoptic_media::output::Login;
use synoptic_media::webrtc::IceServers;
use synoptic_media::{CameraOptions, Secret};
use synoptic_packets::PixelLayout;
use synoptic_vision::onnx::EngineChoice;
use synoptic_vision::panorama::{Blend, ViewShape, calibrate};

use crate::outputs::OutputWish;

/// Everything the configuration file says, checked, with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Who this box is.
    pub device: Device,
    /// Cameras, in the order of the file; those with `enabled = false` are here too.
    pub cameras: Vec<Camera>,
    /// Groups of cameras that are aligned into packets.
    pub groups: Vec<Group>,
    /// Panoramas; those with `enabled = false` are here too.
    pub panoramas: Vec<Panorama>,
    /// Virtual cameras, in the order of the file; those with `enabled = false` are here too.
    pub virtual_cameras: Vec<VirtualCamera>,
    /// How many panoramas on request (`POST /stitch`) may run at once.
    pub stitch_workers: usize,
    /// What leaves the box, in the order of the file; outputs with `enabled = false` are here too.
    pub outputs: Vec<Output>,
    /// The RTSP server, which runs while an output is served by it.
    pub rtsp: RtspConfig,
    /// Detectors by name.
    pub detectors: Vec<DetectorConfig>,
    /// The database.
    pub store: StoreConfig,
    /// The broker, if there is one.
    pub mqtt: Option<MqttConfig>,
    /// Packets for other programs of the box, if any.
    pub packets: Option<PacketsConfig>,
    /// The page and the API.
    pub web: WebConfig,
}

/// Identity of the box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Id in MQTT topics and on the network.
    pub id: StreamId,
    /// Name for people.
    pub name: String,
    /// Folder for the database, pictures, certificates and state.
    pub data_dir: PathBuf,
    /// Folders searched for model files, the first also written by `models fetch`.
    pub model_dirs: Vec<PathBuf>,
}

/// A camera.
#[derive(Clone, Debug, PartialEq)]
pub struct Camera {
    /// What `media` runs.
    pub options: CameraOptions,
    /// Name for people.
    pub name: String,
    /// Whether it runs.
    pub enabled: bool,
    /// Name of the detector that looks at it; `None`: no detection.
    pub detector: Option<String>,
    /// Parts of the picture in which nothing is detected.
    pub ignore: Vec<BBox>,
    /// What its detector looks at of it.
    pub attention: CameraAttention,
    /// Whether its sound is read.
    pub audio: bool,
    /// Whether its motion vectors go into the packets for other programs.
    pub motion_vectors: bool,
}

/// Limits of what a detector looks at of a camera.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CameraAttention {
    /// Frames a second at most; `None`: all.
    pub max_fps: Option<f64>,
    /// The part of the picture; `None`: all of it.
    pub region: Option<BBox>,
}

/// Cameras whose frames form packets. A camera is in one group at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: StreamId,
    /// Its cameras, in the order of a packet's slots.
    pub cameras: Vec<StreamId>,
    /// Largest distance of a frame from its packet's instant; `None`: half the frame interval of the slowest camera.
    pub tolerance: Option<Span>,
    /// Longest wait for a late camera, from the capture of the packet's first frame.
    pub max_wait: Span,
    /// Largest distance of a camera's capture times from the others' at which it is taken in.
    pub max_initial_stream_offset: Span,
    /// Unreadable frames in a row that make a camera broken; `None`: any number is borne.
    pub max_read_errors: Option<u32>,
    /// Packets that may wait to be taken; `None`: no limit, and every camera is a file.
    pub frame_packet_buffer_maxsize: Option<NonZeroUsize>,
}

impl Group {
    /// How its packets are formed.
    pub fn align(&self) -> AlignConfig {
        AlignConfig {
            cameras: self.cameras.clone(),
            tolerance: self.tolerance,
            max_wait: self.max_wait,
            max_initial_stream_offset: self.max_initial_stream_offset,
            max_read_errors: self.max_read_errors,
            frame_packet_buffer_maxsize: self.frame_packet_buffer_maxsize,
        }
    }
}

/// Cameras of one group that become one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Panorama {
    /// Its id; no camera has the same.
    pub id: StreamId,
    /// Name for people.
    pub name: String,
    /// The group that its cameras are in.
    pub group: StreamId,
    /// Whether it runs.
    pub enabled: bool,
    /// Its cameras: 2 to 8, all enabled, if it runs.
    pub cameras: Vec<StreamId>,
    /// The learned warp, where it is asked for; of two cameras only.
    pub learned: Option<LearnedConfig>,
    /// A calibration that is used instead of the box's own.
    pub calibration: Option<PathBuf>,
    /// Whether the box calibrates by itself when there is no calibration.
    pub auto_calibrate: bool,
    /// How it is calibrated; without control points.
    pub options: calibrate::Options,
    /// How pictures meet.
    pub blend: Blend,
    /// What becomes of a camera that fails.
    pub missing: MissingPolicy,
    /// How long a last picture stands in before that.
    pub patience: Span,
    /// Threads that compose.
    pub threads: usize,
    /// The camera whose sound it has.
    pub audio: Option<StreamId>,
}

/// A view of a panorama or a camera that pans, tilts and zooms.
#[derive(Clone, Debug, PartialEq)]
pub struct VirtualCamera {
    /// Its id; no camera and no panorama has the same.
    pub id: StreamId,
    /// Name for people.
    pub name: String,
    /// What it looks at.
    pub stream: StreamId,
    /// What that is.
    pub source: ViewSource,
    /// Whether it runs.
    pub enabled: bool,
    /// Its pictures, in pixels.
    pub size: Size,
    /// What it is drawn on.
    pub shape: ViewShape,
    /// Degrees across at zoom 1; `None`: what fits.
    pub hfov_deg: Option<f64>,
    /// Where it looks at first, and where there is nothing to follow.
    pub home: Ptz,
    /// Largest zoom.
    pub max_zoom: f64,
    /// Degrees a second at zoom 1 at the most.
    pub speed_deg_s: f64,
    /// By how many degrees a second the speed changes in a second at the most.
    pub acceleration_deg_s2: f64,
    /// Whether it goes after what was detected.
    pub follow: bool,
    /// Labels of what is followed; empty: everything.
    pub labels: Vec<String>,
}

/// What a virtual camera looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ViewSource {
    /// A panorama.
    Panorama,
    /// A camera that sees so much across.
    Camera {
        /// Degrees.
        hfov_deg: f64,
    },
}

/// `method = "learned"`.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnedConfig {
    /// How often the networks look, in Hz.
    pub rate_hz: f64,
    /// Folders that are searched for the stitching model.
    pub model_dirs: Vec<PathBuf>,
}

/// A stream that leaves the box.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// What is wanted.
    pub wish: OutputWish,
    /// Whether it runs.
    pub enabled: bool,
}

/// The RTSP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtspConfig {
    /// Where it listens. On any but a loopback address there is a login.
    pub listen: SocketAddr,
    /// What clients must give; `None`: nothing.
    pub login: Option<Login>,
    /// The certificate, where connections are encrypted (`rtsps://`).
    pub tls: Option<RtspTls>,
}

/// Which certificate the RTSP server shows: that of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtspTls {
    /// PEM files of an own certificate and key; made when `None`.
    pub own: Option<(PathBuf, PathBuf)>,
    /// Where one that is made is kept.
    pub data_dir: PathBuf,
}

/// A detector.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectorConfig {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: DetectorKind,
    /// Detections below are dropped; `None`: the model's own default.
    pub threshold: Option<f32>,
    /// Labels kept; empty: all.
    pub labels: Vec<String>,
    /// Every so manieth frame of a camera is looked at.
    pub every: u32,
    /// Whether it looks only where something moves or is followed.
    pub gated: bool,
}

/// How TensorRT is to run a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorRtWish {
    /// Whether it was asked for by name: then it is trouble when it cannot.
    pub must: bool,
    /// Precision of the plan.
    pub precision: Precision,
    /// Number of the GPU.
    pub device: usize,
    /// Whether the CPU looks while TensorRT cannot.
    pub on_cpu_meanwhile: bool,
}

/// What a detector is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DetectorKind {
    /// Built in, for fixed cameras, no weights.
    Motion,
    /// An ONNX model by its manifest's name (configs/models/NAME.toml).
    Onnx {
        /// Name of the manifest.
        model: String,
        /// Threads; `None`: half the cores.
        threads: Option<usize>,
        /// What runs the model on the CPU.
        engine: EngineChoice,
        /// How TensorRT is to run it; `None`: it is not to.
        tensorrt: Option<TensorRtWish>,
        /// The shared library of onnxruntime; `None`: searched.
        library: Option<PathBuf>,
    },
}

/// The database and how long things are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Events older than this are removed.
    pub keep_events: Span,
    /// Detection results older than this are removed.
    pub keep_detections: Span,
    /// Database and pictures together stay below this many bytes.
    pub max_bytes: u64,
    /// Free space on the disk that is never used up, in bytes.
    pub min_free_bytes: u64,
}

/// The MQTT broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttConfig {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// First level of every topic.
    pub root: String,
    /// Tenant level of every topic.
    pub tenant: String,
    /// User.
    pub user: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// TLS, if any.
    pub tls: Option<MqttTls>,
    /// Home Assistant discovery prefix, if wanted (`homeassistant`).
    pub home_assistant: Option<String>,
    /// Commands that the broker may give; `None`: it is not listened to.
    pub commands: Option<BTreeSet<String>>,
}

/// Packets for other programs of the box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketsConfig {
    /// How pixels are handed over.
    pub pixels: PixelLayout,
    /// Folder of the sockets, one a group.
    pub dir: PathBuf,
    /// Memory for each group, in bytes.
    pub max_bytes: u64,
    /// The groups whose packets are shared; `None`: all.
    pub groups: Option<Vec<StreamId>>,
    /// The program that finds motion vectors; `None`: searched.
    pub motion_helper: Option<PathBuf>,
}

/// TLS towards the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttTls {
    /// PEM file with the authorities that may sign the broker's certificate; the system's when `None`.
    pub ca: Option<PathBuf>,
    /// PEM files of the box's own certificate and key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// The page and the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebConfig {
    /// Addresses to listen on: plain HTTP on loopback, HTTPS on any other.
    pub listen: Vec<SocketAddr>,
    /// PEM files of an own certificate and key; made at first start when `None`.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Bearer token that opens `/metrics`, for Prometheus.
    pub metrics_token: Option<Secret>,
    /// What helps WebRTC through the network.
    pub ice: IceServers,
}
