//! Panoramas on the CPU: from the pictures of 2 to 8 cameras to one.
//!
//! * [`geometry`] is the arithmetic of lenses, rotations and surfaces.
pub mod geometry;
