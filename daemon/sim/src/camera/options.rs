//! What a simulated camera is like.

use std::path::PathBuf;
use std::sync::Arc;

use synoptic_base::Span;

use crate::scene::Scene;

/// What it shows.
#[derive(Clone, Debug)]
pub enum Content {
    /// One view of a rendered scene.
    Scene {
        /// The scene, shared by its cameras.
        scene: Arc<Scene>,
        /// Which view.
        view: usize,
    },
    /// An MP4 file with H.264 video, over and over, as it was coded.
    Clip(PathBuf),
    /// A tone and no picture: what a wrong URL may lead to.
    Audio,
}

/// How a scene is coded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// H.264 by x264.
    #[default]
    H264,
    /// H.265 by x265; some ten times the work.
    H265,
}

/// What the time in a sender report stands for. Real cameras do either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportMode {
    /// RTP time t is a picture captured at the report's time: no bias.
    #[default]
    Capture,
    /// RTP time t is a picture sent at the report's time: stamps are late by the way from capture to sending
    /// (GStreamer's `rtcp-sync-send-time`).
    Send,
}

/// What a camera proves itself with over TLS, both in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its certificate.
    pub certificate: String,
    /// The certificate's key.
    pub key: String,
}

/// A simulated camera.
#[derive(Clone, Debug)]
pub struct CameraOptions {
    /// Name in the picture and in the log.
    pub name: String,
    /// Last part of its URL.
    pub path: String,
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// What it shows.
    pub content: Content,
    /// Pictures a second; a clip has its own.
    pub fps: u32,
    /// Coding of a scene.
    pub codec: Codec,
    /// Pictures from one I picture to the next.
    pub gop: u32,
    /// Bit rate at most, in kbit/s.
    pub bitrate_kbit: u32,
    /// User and password, asked for by digest authentication (RFC 7616).
    pub login: Option<(String, String)>,
    /// Served as `rtsps://` with this.
    pub tls: Option<Identity>,
    /// Its wall clock minus the box's, at the start.
    pub clock_offset: Span,
    /// How much faster its wall clock runs.
    pub clock_drift_ppm: f64,
    /// How much faster its media clock runs: the RTP time, and the pictures that it paces.
    pub media_drift_ppm: f64,
    /// When it takes its first picture after the start; cameras do not open their shutters together.
    pub phase: Span,
    /// What its sender reports mean.
    pub report_mode: ReportMode,
    /// Least time from one sender report to the next; RTCP varies it by a factor of 0.5 to 1.5 (RFC 3550,
    /// section 6.3.5).
    pub report_interval: Span,
    /// From capture until the picture goes to the encoder: exposure, sensor, image processing.
    pub delay: Span,
    /// Added to `delay` at random, at most this much.
    pub jitter: Span,
    /// Sets everything random.
    pub seed: u64,
}

impl CameraOptions {
    /// An ordinary camera: 15 pictures a second in H.264, right clock, 20 ms delay, reports every 2 s.
    pub fn new(name: &str, content: Content) -> CameraOptions {
        CameraOptions {
            name: name.to_owned(),
            path: "cam0".to_owned(),
            port: 0,
            content,
            fps: 15,
            codec: Codec::H264,
            gop: 15,
            bitrate_kbit: 2_000,
            login: None,
            tls: None,
            clock_offset: Span::ZERO,
            clock_drift_ppm: 0.0,
            media_drift_ppm: 0.0,
            phase: Span::ZERO,
            report_mode: ReportMode::Capture,
            report_interval: Span::from_secs(2),
            delay: Span::from_millis(20),
            jitter: Span::ZERO,
            seed: 1,
        }
    }
}

/// Why a camera could not be started or changed.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    /// GStreamer is not there.
    #[error("GStreamer does not start: {0}")]
    Init(#[from] gst::glib::Error),
    /// An element is missing.
    #[error("GStreamer lacks `{element}`: install {package}")]
    Missing {
        /// The element.
        element: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The port is taken.
    #[error(
        "camera {camera}: cannot use port {port} of 127.0.0.1: {why}; take another port, or 0 for a free one"
    )]
    Port {
        /// The camera.
        camera: String,
        /// The port asked for.
        port: u16,
        /// What the system says.
        why: String,
    },
    /// The server could not be set up.
    #[error("camera {camera}: {why}")]
    Server {
        /// The camera.
        camera: String,
        /// What failed.
        why: String,
    },
    /// The clip cannot be used.
    #[error("{path}: {why}")]
    Clip {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The picture cannot have that size.
    #[error(transparent)]
    Scene(#[from] crate::scene::SceneError),
    /// A number out of its limits.
    #[error("camera {camera}: {what}")]
    Option {
        /// The camera.
        camera: String,
        /// Which, and what it may be.
        what: &'static str,
    },
}
