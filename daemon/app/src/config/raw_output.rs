//! `[rtsp]` and `[[output]]` as they are written; as `raw`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::raw::{RawSecret, RawTransport, id_schema, yes};

/// The port that everyone uses who may not use 554.
pub(super) const RTSP_LISTEN: &str = "127.0.0.1:8554";

/// The RTSP server. It runs while an output is served by it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRtsp {
    /// Address and port to listen on. On any but loopback a user and a password are needed.
    #[serde(default = "rtsp_listen")]
    pub listen: String,
    /// User that clients must give. Default: none, everyone on this machine may watch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Password that clients must give, by reference. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<RawSecret>,
    /// Whether every connection is encrypted, as `rtsps://`, with the certificate of the page (`[web]`). Clients that check
    /// certificates must trust it. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
}

/// A stream that leaves the box: pushed to a server, or served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawOutput {
    /// Id of the output: 1 to 31 of `a-z 0-9 _ -`; it may be that of its stream.
    #[schemars(schema_with = "id_schema")]
    pub id: String,
    /// Id of the camera or panorama that is shown.
    #[schemars(schema_with = "id_schema")]
    pub stream: String,
    /// Whether it runs.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Server to push to: `rtmp://…`, `rtmps://…`, `rtsp://…` or `rtsps://…`, without user and password. This or `serve`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `rtsp`: by the RTSP server of the box. This or `url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serve: Option<RawServe>,
    /// Served: the path of its address. Default: the output's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$"))]
    pub path: Option<String>,
    /// Served: how the headers of RTP packets tell when a picture was captured. Default: `standard`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtp_times: Option<RawRtpTimes>,
    /// Pushed: user. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Pushed: password, by reference. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<RawSecret>,
    /// Pushed over RTSP: how RTP travels. Default: `tcp`, within the RTSP connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<RawTransport>,
    /// Pushed over TLS: accept any certificate, unproven, with a warning in the log. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_insecure: Option<bool>,
    /// `rtsps://`: PEM file of the authorities that may have signed the server's certificate, or of that one itself.
    /// Default: the system's authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<String>,
    /// Whether the sound goes with the pictures, where the stream has one: `audio` of its camera or panorama.
    #[serde(default = "yes")]
    pub audio: bool,
    /// `auto`: the camera's own pictures where they can be played as they are, coded anew where not; `always`: coded anew.
    #[serde(default)]
    pub transcode: RawTranscode,
    /// Coded anew: bit rate in kbit/s. Default: 2500.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 50, max = 200_000))]
    pub bitrate_kbps: Option<u32>,
    /// Coded anew: seconds from one picture that decoding can begin at to the next. Default: 30 pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.1, max = 60))]
    pub gop_s: Option<f64>,
    /// Coded anew: pixels across, with `height`. Default: as the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 16, max = 16_384))]
    pub width: Option<u32>,
    /// Coded anew: pixels down, with `width`. Default: as the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 16, max = 16_384))]
    pub height: Option<u32>,
    /// Coded anew: pictures a second at most, evenly. Default: as they come.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 240))]
    pub fps: Option<u32>,
    /// With `fps`: exactly so many pictures a second, evenly, always coded anew. Where the stream has none for a slot the
    /// picture before is sent again, with its key, and says so in its SEI. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constant_fps: Option<bool>,
    /// Coded anew: what codes. Default: the best that the box has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder: Option<RawEncoder>,
}

/// How an output is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RawServe {
    /// By RTSP.
    Rtsp,
}

/// How RTP headers tell capture times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RawRtpTimes {
    /// RFC 6051 and abs-capture-time.
    Standard,
    /// The ONVIF replay extension, for video management systems that read nothing else.
    Onvif,
}

/// Whether pictures are coded anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RawTranscode {
    /// Where they must be.
    #[default]
    Auto,
    /// Always.
    Always,
}

/// What codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RawEncoder {
    /// The Jetson's own.
    Nvidia,
    /// The graphics processor's.
    Va,
    /// x264, on the CPU.
    X264,
    /// OpenH264, on the CPU.
    Openh264,
}

fn rtsp_listen() -> String {
    RTSP_LISTEN.to_owned()
}
