//! `[[panorama]]` as it is written; as `raw`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::raw::{id_schema, yes};
use super::units::TIME_PATTERN;

/// Twice a second: what two cores of a small box can bear (docs/design/stitching.md).
pub(super) const LEARNED_RATE: f64 = 2.0;
pub(super) const PANORAMA_SCALE: f64 = 1.0;
/// Twice the frame interval of a camera at 10 frames a second, and more than the longest gap that nobody sees.
pub(super) const PATIENCE: &str = "300ms";
pub(super) const PANORAMA_THREADS: u32 = 1;
pub(super) const STITCH_WORKERS: u32 = 2;

/// Panoramas on request: `POST /stitch`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawStitch {
    /// How many may run at once; a request for more is refused. 0: none at all.
    #[serde(default = "stitch_workers")]
    #[schemars(range(min = 0, max = 16))]
    pub workers: u32,
}

/// Cameras of one group that become one picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPanorama {
    /// Id in topics and addresses: 1 to 31 of `a-z 0-9 _ -`; no camera has the same.
    #[schemars(schema_with = "id_schema")]
    pub id: String,
    /// Name for people. Default: the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Id of the group whose cameras it is made of. Default: the group of `cameras`, or the only group there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "id_schema")]
    pub group: Option<String>,
    /// Ids of its cameras, 2 to 8 of one group. Default: all cameras of the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 8))]
    pub cameras: Option<Vec<String>>,
    /// Whether it runs.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// How the pictures are put together: `calibrated` by a calibration of fixed cameras; `learned` by neural networks, for
    /// two cameras that move against each other. The calibration gives the canvas, and stands in where the networks fail.
    #[serde(default)]
    pub method: RawMethod,
    /// How often the networks of `learned` look, in Hz; between, the picture glides.
    #[serde(default = "learned_rate")]
    #[schemars(range(min = 0.2, max = 5))]
    pub learned_rate: f64,
    /// A calibration file to use. Default: the newest that the box made itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<String>,
    /// Whether the box calibrates by itself when there is no calibration.
    #[serde(default = "yes")]
    pub auto_calibrate: bool,
    /// The surface that is unrolled, of the next calibration. `auto`: the one that suits the view.
    #[serde(default)]
    pub projection: RawProjection,
    /// What is kept: everything, with black where nobody sees, or the largest rectangle without black.
    #[serde(default)]
    pub crop: RawCrop,
    /// The kind of lens.
    #[serde(default)]
    pub lens: RawLens,
    /// Degrees that a camera sees across its longer side, as a start for calibration. Default: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 5, max = 220))]
    pub hfov: Option<f64>,
    /// Pixels of the panorama for a pixel of the cameras.
    #[serde(default = "panorama_scale")]
    #[schemars(range(min = 0.05, max = 4))]
    pub scale: f64,
    /// How two pictures meet: `multi_band` hides more, `feather` costs less.
    #[serde(default)]
    pub blend: RawBlend,
    /// What is shown where a camera is lost: `fade` to its neighbours, black where none sees; `hold`: its last picture
    /// where none sees.
    #[serde(default)]
    pub missing: RawMissing,
    /// How long the last picture of a camera stands in before that.
    #[serde(default = "patience")]
    #[schemars(regex(pattern = TIME_PATTERN))]
    pub patience: String,
    /// Id of the camera of it whose sound it has; that one needs `audio = true`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "id_schema")]
    pub audio: Option<String>,
    /// Threads that compose.
    #[serde(default = "panorama_threads")]
    #[schemars(range(min = 1, max = 64))]
    pub threads: u32,
}

/// How pictures are put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RawMethod {
    /// By a calibration.
    #[default]
    Calibrated,
    /// By networks.
    Learned,
}

/// The surface that a panorama unrolls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RawProjection {
    /// The one that suits the view.
    #[default]
    Auto,
    /// A plane: lines stay straight; below 180 degrees.
    Rectilinear,
    /// A cylinder: uprights stay straight.
    Cylindrical,
    /// A sphere.
    Spherical,
}

/// What of a panorama is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RawCrop {
    /// Everything that any camera sees.
    #[default]
    All,
    /// The largest rectangle without black.
    Inside,
}

/// The kind of lens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RawLens {
    /// An ordinary one.
    #[default]
    Radial,
    /// A fisheye.
    Fisheye,
}

/// How two pictures meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RawBlend {
    /// By weights alone.
    #[default]
    Feather,
    /// Coarse structure over a wide zone, fine structure over a narrow one.
    MultiBand,
}

/// What is shown where a camera is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RawMissing {
    /// Its neighbours, else black.
    #[default]
    Fade,
    /// Its neighbours, else its last picture.
    Hold,
}

const fn learned_rate() -> f64 {
    LEARNED_RATE
}
const fn panorama_scale() -> f64 {
    PANORAMA_SCALE
}
fn patience() -> String {
    PATIENCE.to_owned()
}
const fn stitch_workers() -> u32 {
    STITCH_WORKERS
}
const fn panorama_threads() -> u32 {
    PANORAMA_THREADS
}
