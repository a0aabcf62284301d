//! Panoramas on the CPU: from the pictures of 2 to 8 cameras to one.
//!
//! * [`calibrate`] finds where the cameras look, from their pictures;
//! * [`geometry`] is the arithmetic of lenses, rotations and surfaces.
//! * [`Compositor`] composes: it looks at what the cameras share, asks a [`synoptic_base::StitchDirector`], and
//!   renders what that plans, NV12 or I420 in, NV12 out.
//! * [`NodeGrid`] can stand in for the rig's geometry, camera by camera: the learned warp does.
//! * [`ViewWarp`] draws a virtual camera of the panorama's or a camera's picture, [`View`] is its geometry.
//! * [`probe`] looks closely at what two cameras share, now and then; [`drift`] finds by which turn a
//!   camera has drifted; [`resize`] makes the same rig for another size;
//! * [`boxes`] carries boxes between cameras and the canvas; [`delta_e`] says how far two colours are apart.
mod band;
pub mod boxes;
pub mod calibrate;
mod compositor;
pub mod delta_e;
pub mod drift;
mod field;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod field_x86;
pub mod geometry;
mod grid;
mod mesh;
mod multiband;
mod observe;
mod options;
pub mod probe;
mod pyramid;
mod reach;
pub mod resize;
mod rows;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod rows_x86;
mod shares;
mod sources;
mod view;
mod view_warp;
mod warp;

pub use compositor::{Compositor, least_bytes};
pub use grid::{NodeGrid, WARP_PITCH, node_place};
pub use options::{Blend, ComposeError, ComposeOptions, ComposeReport, MAX_CAMERAS, StitchSlot};
pub use view::{View, ViewOptics, ViewShape, coverage_deg, direction_deg};
pub use view_warp::{ViewError, ViewWarp};
pub use warp::Simd;
