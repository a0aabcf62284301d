//! Pictures end to end: real models on real pictures, and panoramas composed and decided together.
#![allow(clippy::unwrap_used, reason = "tests say what went wrong by panicking")]

mod onnx;
mod stitch;
#[path = "../src/testing.rs"]
mod testing;

// Where `testing` has it from.
use synoptic_vision::PictureBuf;
