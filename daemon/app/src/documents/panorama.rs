//! Documents of panoramas: their state, their quality, their calibrations.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// State of a panorama.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PanoramaState {
    /// No packets come.
    #[default]
    Waiting,
    /// It is configured not to run.
    Stopped,
    /// Nothing is composed until it is resumed; whoever watches keeps the last picture.
    Paused,
    /// There is no calibration.
    Uncalibrated,
    /// Pictures come, from all cameras.
    Running,
    /// Pictures come, and something is wrong with them: see `reason`.
    Degraded,
}

/// What stands in the slot of a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StitchSlotDoc {
    /// A picture of now.
    Live,
    /// Its last picture.
    Held,
    /// Nothing.
    Empty,
}

/// A camera within a panorama.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct StitchMemberDoc {
    /// Camera id.
    pub cam: String,
    /// What stands in its slot in the newest picture.
    pub slot: StitchSlotDoc,
}

/// How well two cameras fit where both see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct SeamDoc {
    /// The two cameras.
    pub cameras: [String; 2],
    /// Peak signal to noise of their luma on the canvas, brightness apart, in dB.
    pub psnr_db: Option<f64>,
    /// Structural similarity of the same, -1 to 1.
    pub ssim: Option<f64>,
    /// Correlation of their gradients, -1 to 1.
    pub gradient_correlation: Option<f64>,
    /// Part of the strong edges of one that have no edge of the other within 3 canvas pixels, 0 to 1.
    pub ghost_edge_fraction: Option<f64>,
    /// Median colour difference after matching, CIEDE2000.
    pub delta_e00: Option<f64>,
    /// By how much the second camera's frames were captured later than their stamps say, against the first; `null`
    /// until people or things went opposite ways where both see, and a minute after.
    pub skew_ms: Option<f64>,
    /// The true skew is within so much of `skew_ms`, whatever parallax adds to the lags of those who go one way and the other.
    pub skew_error_ms: Option<f64>,
    /// By how much the pictures miss each other on the canvas: median over patches, pixels.
    pub residual_px: Option<f64>,
    /// By how much that changes from look to look: median over patches, pixels.
    pub jitter_px: Option<f64>,
}

/// Quantiles of a duration.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct LatencyDoc {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
}

/// `…/stitch/{panorama}/status`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct StitchStatus {
    /// Panorama id.
    pub panorama: String,
    /// State.
    pub state: PanoramaState,
    /// What is wrong and what to do, in a sentence; `null` when all is well.
    pub reason: Option<String>,
    /// Since when it is in this state.
    pub since: String,
    /// Width of the canvas in pixels; `null` without a calibration.
    pub width: Option<u32>,
    /// Height of the canvas in pixels.
    pub height: Option<u32>,
    /// Pictures a second, over the window.
    pub fps: f64,
    /// From the instant of capture to the picture, in ms, over the window; `null` without pictures.
    pub latency_ms: Option<LatencyDoc>,
    /// What composing a picture takes of that, in ms.
    pub compose_ms: Option<LatencyDoc>,
    /// Length of the window.
    pub window_s: f64,
    /// Version of the calibration in use; `null` without one, and for a file of the configuration.
    pub calibration: Option<u32>,
    /// Cameras, in the order of the configuration.
    pub cameras: Vec<StitchMemberDoc>,
    /// Pairs of cameras that overlap.
    pub seams: Vec<SeamDoc>,
}

/// A seam on the canvas, to be drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct SeamLineDoc {
    /// Places `[x, y]` that it goes through, in fractions of the canvas.
    pub points: Vec<[f32; 2]>,
    /// Places of it that lie in a box which must not be cut.
    pub cut_cells: u32,
}

/// What a calibration does or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Frames are being collected.
    Collecting,
    /// The cameras' positions are being computed.
    Solving,
    /// Done; the result waits to be accepted or discarded.
    Ready,
    /// Done, and in use.
    Accepted,
    /// Refused: see `reason`.
    Refused,
}

/// A calibration that runs or ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct CalibrationJobDoc {
    /// What it does.
    pub state: JobState,
    /// 0 to 1.
    pub progress: f64,
    /// When it began.
    pub begun: String,
    /// Begun by the box itself.
    pub automatic: bool,
    /// Why it was refused and what to do; else `null`.
    pub reason: Option<String>,
    /// The result, when there is one.
    pub result: Option<CalibrationDoc>,
}

/// A camera's part of a calibration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct CalibratedCameraDoc {
    /// Camera id.
    pub cam: String,
    /// Focal length in pixels.
    pub focal_px: f64,
    /// Its standard deviation in percent; `null` for an import.
    pub focal_sd_percent: Option<f64>,
    /// Standard deviation of its least sure corner against the others, pixels.
    pub corner_sd_px: Option<f64>,
    /// 0 to 1.
    pub confidence: Option<f64>,
}

/// Two cameras' part of a calibration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct CalibratedSeamDoc {
    /// The cameras.
    pub cameras: [String; 2],
    /// Places that both see.
    pub ties: u64,
    /// Root mean square by which they miss each other, pixels.
    pub rms_px: f64,
}

/// A stored calibration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct CalibrationDoc {
    /// Its version; `null` for a candidate.
    pub version: Option<u32>,
    /// When it was made.
    pub created: String,
    /// SHA-256 of the file's text after its first line, as that line has it.
    pub sha256: String,
    /// How it was found.
    pub method: String,
    /// `rectilinear`, `plane`, `cylindrical`, `spherical`.
    pub projection: String,
    /// Width of the canvas in pixels.
    pub width: u32,
    /// Height of the canvas in pixels.
    pub height: u32,
    /// Root mean square by which places miss each other, pixels.
    pub rms_px: f64,
    /// Cameras.
    pub cameras: Vec<CalibratedCameraDoc>,
    /// Pairs.
    pub seams: Vec<CalibratedSeamDoc>,
    /// Path of a small picture; `null` when none was kept.
    pub picture: Option<String>,
}

/// A place that a person found in the pictures of two cameras.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlPointDoc {
    /// Ids of the cameras.
    pub cameras: [String; 2],
    /// `[x, y]` in each one's picture, in fractions of it.
    pub at: [[f64; 2]; 2],
}

/// A panorama, as the API lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct PanoramaDoc {
    /// Id.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Group of its cameras.
    pub group: String,
    /// `calibrated`.
    pub method: String,
    /// State and quality.
    pub status: StitchStatus,
    /// Seams of the newest picture.
    pub lines: Vec<SeamLineDoc>,
    /// The calibration that runs, or the last that ran; `null` when none did since the daemon started.
    pub job: Option<CalibrationJobDoc>,
}
