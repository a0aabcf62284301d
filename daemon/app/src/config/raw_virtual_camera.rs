//! `[[virtual_camera]]` as it is written; as `raw`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::raw::{id_schema, yes};

pub(super) const WIDTH: u32 = 1_280;
pub(super) const HEIGHT: u32 = 720;
/// Most surveillance cameras with a 4 mm lens see about this much.
pub(super) const CAMERA_HFOV: f64 = 80.0;
/// A picture of 1280 pixels from a panorama of 3264 has nothing more to show beyond this.
pub(super) const MAX_ZOOM: f64 = 6.0;
/// As a calm operator pans: from edge to edge of a view of 60 degrees in 3 s.
pub(super) const SPEED: f64 = 25.0;
pub(super) const ACCELERATION: f64 = 30.0;

/// A camera that is none: a part of a panorama or of a camera's picture, seen as by a camera that pans, tilts and zooms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawVirtualCamera {
    /// Id in addresses: 1 to 31 of `a-z 0-9 _ -`; no camera and no panorama has the same.
    #[schemars(schema_with = "id_schema")]
    pub id: String,
    /// Name for people. Default: the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Id of the panorama or the camera that it looks at.
    #[schemars(schema_with = "id_schema")]
    pub stream: String,
    /// Whether it runs.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Pixels across; even.
    #[serde(default = "width")]
    #[schemars(range(min = 16, max = 7680))]
    pub width: u32,
    /// Pixels down; even.
    #[serde(default = "height")]
    #[schemars(range(min = 16, max = 4320))]
    pub height: u32,
    /// What it is drawn on: `rectilinear`, as by a lens, lines stay straight; `cylindrical` for wide views; `crop`, cut out as
    /// it is.
    #[serde(default)]
    pub projection: RawViewProjection,
    /// Degrees across at zoom 1. Default: as much as fits without black.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 360))]
    pub hfov: Option<f64>,
    /// Degrees across that the real camera sees, where it looks at a camera. Of a panorama the calibration knows.
    #[serde(default = "camera_hfov")]
    #[schemars(range(min = 5, max = 170))]
    pub camera_hfov: f64,
    /// Where it looks at first: degrees to the right.
    #[serde(default)]
    #[schemars(range(min = -180, max = 180))]
    pub pan: f64,
    /// Degrees up.
    #[serde(default)]
    #[schemars(range(min = -90, max = 90))]
    pub tilt: f64,
    /// How much larger than at zoom 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 32))]
    pub zoom: f64,
    /// Largest zoom.
    #[serde(default = "max_zoom")]
    #[schemars(range(min = 1, max = 32))]
    pub max_zoom: f64,
    /// Degrees a second at zoom 1 at the most, when it moves.
    #[serde(default = "speed")]
    #[schemars(range(min = 0.1, max = 360))]
    pub speed: f64,
    /// By how many degrees a second its speed changes in a second at the most.
    #[serde(default = "acceleration")]
    #[schemars(range(min = 0.1, max = 1000))]
    pub acceleration: f64,
    /// `action`: it goes after what was detected, until somebody steers it. `none`: it stays.
    #[serde(default)]
    pub follow: RawFollow,
    /// Labels of what is followed. Default: everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
}

/// What a virtual camera is drawn on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RawViewProjection {
    /// A plane.
    #[default]
    Rectilinear,
    /// A cylinder.
    Cylindrical,
    /// None.
    Crop,
}

/// What a virtual camera follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RawFollow {
    /// Nothing.
    #[default]
    None,
    /// What was detected.
    Action,
}

const fn width() -> u32 {
    WIDTH
}
const fn height() -> u32 {
    HEIGHT
}
const fn camera_hfov() -> f64 {
    CAMERA_HFOV
}
const fn one() -> f64 {
    1.0
}
const fn max_zoom() -> f64 {
    MAX_ZOOM
}
const fn speed() -> f64 {
    SPEED
}
const fn acceleration() -> f64 {
    ACCELERATION
}
