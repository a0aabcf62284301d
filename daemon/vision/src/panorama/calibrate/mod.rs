//! Where the cameras of a panorama look, from their pictures alone.
//!
//! 1. [`Collector`]: many frames of each camera become one [`Still`] without what moves.
//! 2. Features (SIFT) and their matches; per pair of cameras the rotation and focal length that most agree on.
//! 3. Cameras that do not connect are a [`Refusal`] that says which.
//! 4. Patches all over each overlap, laid over each other at a fraction of a pixel, and the adjustment of all
//!    rotations and optics on them; each lens parameter is freed only when the pictures determine it.
//! 5. What is not determined is a [`Refusal`]; the rest is levelled, given a canvas, and becomes a [`Calibration`].
//!
//! docs/design/stitching-calibration.md has the reasons and the figures.

mod bundle;
mod canvas;
mod collect;
mod compare;
mod features;
mod file;
mod image;
mod level;
mod model;
mod pair;
mod pto;
mod refine;
mod refusal;
mod report;
#[cfg(test)]
mod rig_tests;
mod run;
mod solve;
#[cfg(test)]
mod synthetic;

pub use collect::{Collector, Region, Still};
pub use compare::{Difference, difference};
pub use file::{CalibrationFile, FileError, VERSION, version_in_name, version_name};
pub use image::Gray;
pub use pto::{Pto, PtoError, from_pto};
pub use refusal::{Evidence, Refusal};
pub use report::{CameraReport, Report, SeamReport};
pub use run::{MAX_CAMERAS, calibrate};

use synoptic_base::{Projection, Rig, StreamId};

/// What bends the rays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LensKind {
    /// An ordinary lens: k1 to k3 by powers of the tangent.
    #[default]
    Radial,
    /// A fisheye: k1 to k3 by powers of the angle (KB4).
    Fisheye,
}

/// Which cameras have the same optics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Optics {
    /// Cameras with equal picture sizes, unless the pictures say otherwise.
    #[default]
    Auto,
    /// Cameras with equal picture sizes.
    Shared,
    /// None.
    PerCamera,
}

/// What of the panorama is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Crop {
    /// Everything that any camera sees; the rest is black.
    #[default]
    All,
    /// The largest rectangle without black.
    Inside,
}

/// A place that a person found in two pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ControlPoint {
    /// The cameras.
    pub cameras: [StreamId; 2],
    /// The place in each, pixels.
    pub at: [[f64; 2]; 2],
}

/// What the caller knows or wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The kind of lens.
    pub lens: LensKind,
    /// Who shares optics.
    pub optics: Optics,
    /// Angle of view across the longer side if it is known, degrees; it is a start and not held.
    pub hfov: Option<f64>,
    /// The surface; by default the one that suits the view.
    pub projection: Option<Projection>,
    /// What is kept.
    pub crop: Crop,
    /// Pixels of the canvas a pixel of the cameras, in the middle of a camera; 1 keeps all detail.
    pub scale: f64,
    /// Places set by hand. Four between two cameras connect them even where nothing else does.
    pub control_points: Vec<ControlPoint>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            lens: LensKind::default(),
            optics: Optics::default(),
            hfov: None,
            projection: None,
            crop: Crop::default(),
            scale: 1.0,
            control_points: Vec::new(),
        }
    }
}

/// Where the cameras look, and how well that is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// What composing needs.
    pub rig: Rig,
    /// How good it is.
    pub report: Report,
}
