//! What a GPU and TensorRT are needed for, without either: stand-ins for their libraries, and, where they are here, the
//! real NVRTC and the real TensorRT-RTX.
#![allow(clippy::unwrap_used)]

#[path = "../../emulate/mod.rs"]
mod emulate;

mod cuda;
mod health;
mod real;
mod tensorrt;
