//! What a camera is, as the configuration says it.

use std::fmt;
use std::path::PathBuf;

use synoptic_base::{Rotation, Size, Span, StreamId};

/// A password. Never printed: `Debug` shows `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text as a secret.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }
    /// The text itself, for the peer that asks for it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How RTP travels from an RTSP camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RtspTransport {
    /// Interleaved in the RTSP connection.
    #[default]
    Tcp,
    /// RTP over UDP.
    Udp,
}

/// What a V4L2 device is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum V4l2Format {
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
    /// 8 bits of grey: infrared and machine vision cameras.
    Grey,
    /// H.264 made by the camera.
    H264,
    /// H.265 made by the camera.
    H265,
}

impl V4l2Format {
    /// From a code of videodev2.h; `None` for what is not read here.
    pub(crate) fn from_fourcc(code: &[u8; 4]) -> Option<V4l2Format> {
        Some(match code {
            b"MJPG" | b"JPEG" => V4l2Format::Mjpeg,
            b"YUYV" => V4l2Format::Yuyv,
            b"UYVY" => V4l2Format::Uyvy,
            b"NV12" => V4l2Format::Nv12,
            b"YU12" => V4l2Format::I420,
            b"GREY" => V4l2Format::Grey,
            b"H264" => V4l2Format::H264,
            b"HEVC" => V4l2Format::H265,
            _ => return None,
        })
    }

    /// As it is written in the configuration.
    pub const fn key(self) -> &'static str {
        match self {
            V4l2Format::Mjpeg => "mjpeg",
            V4l2Format::Yuyv => "yuyv",
            V4l2Format::Uyvy => "uyvy",
            V4l2Format::Nv12 => "nv12",
            V4l2Format::I420 => "i420",
            V4l2Format::Grey => "grey",
            V4l2Format::H264 => "h264",
            V4l2Format::H265 => "h265",
        }
    }

    /// GStreamer's media type.
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            V4l2Format::Mjpeg => "image/jpeg",
            V4l2Format::H264 => "video/x-h264",
            V4l2Format::H265 => "video/x-h265",
            _ => "video/x-raw",
        }
    }

    /// GStreamer's name of an uncompressed format; `None` for a compressed one.
    pub(crate) const fn raw(self) -> Option<gst_video::VideoFormat> {
        Some(match self {
            V4l2Format::Yuyv => gst_video::VideoFormat::Yuy2,
            V4l2Format::Uyvy => gst_video::VideoFormat::Uyvy,
            V4l2Format::Nv12 => gst_video::VideoFormat::Nv12,
            V4l2Format::I420 => gst_video::VideoFormat::I420,
            V4l2Format::Grey => gst_video::VideoFormat::Gray8,
            V4l2Format::Mjpeg | V4l2Format::H264 | V4l2Format::H265 => return None,
        })
    }
}

/// A way to pull a stream from a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullKind {
    /// RTMP or RTMPS.
    Rtmp,
    /// FLV over HTTP or HTTPS.
    HttpFlv,
    /// HLS with MPEG-TS segments.
    Hls,
}

impl PullKind {
    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            PullKind::Rtmp => "RTMP",
            PullKind::HttpFlv => "HTTP-FLV",
            PullKind::Hls => "HLS",
        }
    }

    /// The longest way from light to the box that is reckoned with. RTMP and HTTP-FLV: an encoder that looks ahead, and a
    /// server that relays, 1 to 3 s by their vendors; HLS: three segments of 6 s and what a CDN adds.
    pub(crate) const fn longest_way(self) -> Span {
        match self {
            PullKind::Rtmp | PullKind::HttpFlv => Span::from_secs(3),
            PullKind::Hls => Span::from_secs(30),
        }
    }
}

/// Where pictures come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An RTSP camera (`rtsp://` or `rtsps://`), H.264 or H.265.
    Rtsp {
        /// The main stream, without user and password.
        url: String,
        /// A smaller stream of the same camera for detection.
        sub_url: Option<String>,
        /// TCP or UDP.
        transport: RtspTransport,
        /// User, if the camera wants one.
        user: Option<String>,
        /// Password.
        password: Option<Secret>,
        /// For `rtsps://`: accept whatever certificate the camera shows. The line is encrypted, but who is at its end is
        /// not proven.
        tls_insecure: bool,
        /// For `rtsps://`: PEM file of the certificates that may have signed the camera's, or of the camera's own.
        /// `None`: the system's authorities.
        tls_ca: Option<PathBuf>,
    },
    /// A stream that a server relays: RTMP, HTTP-FLV or HLS.
    Pull {
        /// Which.
        kind: PullKind,
        /// Its address, without user and password.
        url: String,
        /// User, if the server wants one.
        user: Option<String>,
        /// Password.
        password: Option<Secret>,
        /// Over TLS: accept whatever certificate the server shows.
        tls_insecure: bool,
        /// `https://`: PEM file of the certificates that may have signed the server's. `None`: the system's.
        tls_ca: Option<PathBuf>,
    },
    /// A video file, played at its own pace.
    File {
        /// The file.
        path: PathBuf,
        /// Begin again at its end.
        repeat: bool,
    },
    /// A local V4L2 device.
    V4l2 {
        /// `/dev/videoN`.
        device: PathBuf,
        /// The format; the best the device has when `None` (see docs/reference/configuration.md).
        format: Option<V4l2Format>,
        /// The size; the device's largest up to 1080p that runs fluently when `None`.
        size: Option<Size>,
        /// Frames a second, the nearest that the device has; about 30 when `None`.
        fps: Option<u32>,
    },
}

impl Source {
    /// The smaller stream of the same camera, as a source of its own.
    pub fn sub(&self) -> Option<Source> {
        let mut sub = self.clone();
        match &mut sub {
            Source::Rtsp { url, sub_url, .. } => *url = sub_url.take()?,
            _ => return None,
        }
        Some(sub)
    }

    /// Sets user and password of a network source; the others have none.
    pub fn log_in(&mut self, with_user: Option<String>, with_password: Option<Secret>) {
        if let Source::Rtsp { user, password, .. } | Source::Pull { user, password, .. } = self {
            *user = with_user;
            *password = with_password;
        }
    }

    /// The source as it may be shown and logged: never with a password.
    pub fn shown(&self) -> String {
        match self {
            Source::Rtsp { url, .. } | Source::Pull { url, .. } => url.clone(),
            Source::File { path, .. } => path.display().to_string(),
            Source::V4l2 { device, .. } => device.display().to_string(),
        }
    }
}

/// A camera and how it is treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraOptions {
    /// Its id.
    pub id: StreamId,
    /// Where pictures come from.
    pub source: Source,
    /// How pictures are turned.
    pub rotation: Rotation,
    /// No frame for this long is a stall: the connection is closed and made anew.
    pub stall_after: Span,
    /// What the camera's time stamps are known to be late by (positive: the scene was that much earlier).
    pub capture_bias: Span,
    /// How far the bias may be off, to either side.
    pub capture_bias_error: Span,
}
