//! GStreamer and V4L2: cameras in, frames with their capture time out.
//!
//! Each camera runs on its own supervised thread; what it makes leaves through a bounded queue. No decision
//! about time or packets is made here: it is `synoptic_engine` that decides, this crate asks and obeys.

pub mod clocks;
mod source;

pub use source::{CameraOptions, RtspTransport, Secret, Source, V4l2Format};
