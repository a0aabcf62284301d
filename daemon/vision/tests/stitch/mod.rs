//! Panoramas composed and decided together, against scenes whose every pixel is known.
//!
//! These tests want `vision` and `engine` at once, which know each other nowhere else below `app`.

mod clips;
mod live;
mod skew;
mod still;
mod world;
