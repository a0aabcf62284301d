//! Pixels on the CPU, without weights and with: the reference that other backends are held to.
//!
//! * [`motion::MotionDetector`] finds what moves before a fixed camera;
//! * [`onnx::OnnxDetector`] runs the models that [`manifest::ModelManifest`] describes;
//! * [`panorama`] turns the pictures of several cameras into one; [`learned`] bends two that move, by networks;
//! * [`jpeg`] writes and reads stills; [`color`] turns planes into RGB; [`PictureBuf`] is a picture one owns;
//! * [`bgr`] writes pictures for other programs.
//!
//! Video is limited range (luma 16 to 235, chroma 16 to 240), BT.601 below 720 lines and BT.709 from there on
//! ([`color::Matrix::guess`]), as ITU-R BT.601 and BT.709 have it. JPEG is full range BT.601 (JFIF 1.02).
#![deny(unsafe_code)] // Allowed in the pixel loops of `panorama` that use SIMD instructions.

pub mod bgr;
pub mod color;
mod copying;
pub mod fetch;
pub mod jpeg;
pub mod learned;
pub mod manifest;
pub mod motion;
pub mod onnx;
pub mod panorama;
mod picture;
#[cfg(test)]
mod testing;

pub use picture::{PictureBuf, PictureError};
