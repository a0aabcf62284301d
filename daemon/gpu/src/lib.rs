//! CUDA and TensorRT, found and loaded at run time: nothing of either is needed to build or to start.
//!
//! * [`cuda`] is the driver (libcuda): devices, memory, streams, modules;
//! * [`nvrtc`] compiles the kernels of `kernels/` for the GPU at hand; [`Kernels`] holds them loaded;
//! * [`preprocess`], [`detect`] and [`panorama`] are what they compute, held to `synoptic-vision` by `hw-tests/gpu`
//!   on a GPU and by tests of this crate's emulation (`emulate/`) without one;
//! * [`trt`] is TensorRT 8.5 to 11 and TensorRT-RTX by their virtual tables (docs/decisions/0011-tensorrt-vtables.md).
//! * [`plans`] keeps what TensorRT built;
//! * [`health`] is temperature, power, clocks and memory.
//!
//! This is the one crate of foreign functions. Every other crate uses it without `unsafe`.
#![deny(unsafe_code)] // Allowed file by file below, where libraries are called.

pub mod cuda;
pub mod detect;
mod error;
pub mod health;
mod kernels;
#[allow(unsafe_code)] // Opens libraries, which runs their constructors.
mod library;
#[allow(unsafe_code)] // Calls NVRTC.
pub mod nvrtc;
pub mod panorama;
pub mod picture;
pub mod plans;
pub mod preprocess;
pub mod trt;

pub use error::GpuError;
pub use kernels::{Kernels, SOURCES};
