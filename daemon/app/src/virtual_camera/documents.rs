//! Documents of virtual cameras.

use serde::{Deserialize, Serialize};
use synoptic_base::Ptz;
use utoipa::ToSchema;

use crate::web::WatchUrls;

/// State of a virtual camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ViewState {
    /// No pictures of its source come: see `reason`.
    #[default]
    Waiting,
    /// It is configured not to run.
    Stopped,
    /// Pictures of its source come. They are drawn while somebody looks, and once a second for a still.
    Running,
}

/// Where it looks, against the middle of its source.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PtzDoc {
    /// Degrees to the right.
    pub pan: f64,
    /// Degrees up.
    pub tilt: f64,
    /// How much larger than at zoom 1.
    pub zoom: f64,
}

impl From<Ptz> for PtzDoc {
    fn from(ptz: Ptz) -> PtzDoc {
        let round = |v: f64| (v * 1e3).round() / 1e3;
        PtzDoc {
            pan: round(ptz.pan_deg),
            tilt: round(ptz.tilt_deg),
            zoom: round(ptz.zoom),
        }
    }
}

/// How far it can look.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PtzLimitsDoc {
    /// Left and right edge of the source, degrees.
    pub pan: [f64; 2],
    /// Lower and upper edge of the source, degrees.
    pub tilt: [f64; 2],
    /// Largest zoom.
    pub zoom: f64,
    /// Degrees across and down that are shown at zoom 1.
    pub fov: [f64; 2],
}

/// A virtual camera.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VirtualCameraDoc {
    /// Id.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Id of the panorama or the camera that it looks at.
    pub stream: String,
    /// State.
    pub state: ViewState,
    /// Why no pictures come; `null` while they do.
    pub reason: Option<String>,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Whether it goes after what was detected now.
    pub follow: bool,
    /// Where it looks now.
    pub now: PtzDoc,
    /// Where it is going.
    pub target: PtzDoc,
    /// How far it can look; `null` before the first picture.
    pub limits: Option<PtzLimitsDoc>,
    /// What drawing its newest picture took, in ms; `null` before the first.
    pub draw_ms: Option<f64>,
    /// Where it can be watched on this box.
    pub urls: WatchUrls,
}

/// Where a virtual camera is to look; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PtzWish {
    /// Degrees to the right.
    #[serde(default)]
    pub pan: Option<f64>,
    /// Degrees up.
    #[serde(default)]
    pub tilt: Option<f64>,
    /// How much larger than at zoom 1.
    #[serde(default)]
    pub zoom: Option<f64>,
    /// Go after what was detected. Pan, tilt or zoom without this end it.
    #[serde(default)]
    pub follow: Option<bool>,
}
