//! Panoramas on the CPU: from the pictures of 2 to 8 cameras to one.
//!
//! * [`calibrate`] finds where the cameras look, from their pictures;
//! * [`geometry`] is the arithmetic of lenses, rotations and surfaces.
pub mod calibrate;
pub mod geometry;
