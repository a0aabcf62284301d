//! What a compositor is asked, what it answers, and why it cannot.

use synoptic_base::{PixelFormat, Size, SlotView, StitchPlan, Surface, SurfaceError};

use super::warp::Simd;
use crate::PictureError;

/// Cameras of a panorama at most.
pub const MAX_CAMERAS: usize = 8;
/// How two pictures meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blend {
    /// By the plan's weights alone.
    Feather,
    /// Laplacian pyramids of so many levels (2 to 5) about the seams (Burt and Adelson 1983): coarse structure
    /// mixes over a wide zone, fine structure over a narrow one.
    MultiBand(u32),
}

/// How to compose.
#[derive(Clone, Copy, Debug)]
pub struct ComposeOptions {
    /// Threads, 1 or more.
    pub threads: usize,
    /// How pictures meet.
    pub blend: Blend,
    /// Version of the pixel loops; the best of this machine when `None`.
    pub simd: Option<Simd>,
}

impl Default for ComposeOptions {
    fn default() -> ComposeOptions {
        ComposeOptions {
            threads: 2,
            blend: Blend::MultiBand(3),
            simd: None,
        }
    }
}

/// Why a panorama cannot be composed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// Too few or too many cameras.
    #[error("a panorama takes 2 to {MAX_CAMERAS} cameras, not {0}: choose some of them")]
    Cameras(usize),
    /// The canvas is empty, too large, or odd.
    #[error("a canvas of {width}x{height} is not possible: give even sides of 16 to 16384 pixels")]
    Canvas {
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// A camera's picture is too small or too large to sample.
    #[error(
        "camera {camera}: a picture of {width}x{height} cannot be sampled: give sides of 4 to 16384 pixels"
    )]
    Picture {
        /// Which camera, by its stream.
        camera: String,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// An option makes no sense.
    #[error("{0}")]
    Option(String),
    /// Not as many slots, weights or fields as cameras.
    #[error(
        "{what} for {have} cameras where the rig has {want}: compose with the plan and slots of this rig"
    )]
    Count {
        /// Slots, weights, ...
        what: &'static str,
        /// So many.
        have: usize,
        /// So many are wanted.
        want: usize,
    },
    /// A camera gives pictures of another size than the rig was calibrated for.
    #[error(
        "camera {camera} gives {have:?} where the rig was calibrated for {want:?}: scale it or calibrate again"
    )]
    Resized {
        /// Which camera, by its stream.
        camera: String,
        /// Its size now.
        have: Size,
        /// Its size in the rig.
        want: Size,
    },
    /// The output is no NV12 picture of the canvas's size.
    #[error("the output is {have:?} {format:?} where the canvas wants {want:?} NV12")]
    Output {
        /// Its size.
        have: Size,
        /// Its format.
        format: PixelFormat,
        /// The canvas.
        want: Size,
    },
    /// The pixels of a camera cannot be mapped.
    #[error("camera {camera}: {source}")]
    Surface {
        /// Which camera, by its stream.
        camera: String,
        /// What failed.
        source: SurfaceError,
    },
    /// The planes of a camera are not what its size says.
    #[error("camera {camera}: {source}")]
    Planes {
        /// Which camera, by its stream.
        camera: String,
        /// What is wrong.
        source: PictureError,
    },
}

/// What stands in the slot of a camera.
#[derive(Clone, Copy)]
pub enum StitchSlot<'a> {
    /// Its picture of now.
    Live(&'a dyn Surface),
    /// Its last picture; the camera gives none now.
    Held(&'a dyn Surface),
    /// Nothing.
    Empty,
}

impl<'a> StitchSlot<'a> {
    /// The picture, if any.
    pub fn surface(&self) -> Option<&'a dyn Surface> {
        match *self {
            StitchSlot::Live(s) | StitchSlot::Held(s) => Some(s),
            StitchSlot::Empty => None,
        }
    }
}

/// What was composed.
#[derive(Clone, Debug, PartialEq)]
pub struct ComposeReport<'d> {
    /// Of each camera, what stood in its slot.
    pub slots: Vec<SlotView>,
    /// The plan that was followed, the director's own.
    pub plan: &'d StitchPlan,
}
