//! GStreamer and V4L2: cameras in, frames with their capture time out.
//!
//! Each camera runs on its own supervised thread; what it makes leaves through a bounded queue. No decision
//! about time or packets is made here: it is `synoptic_engine` that decides, this crate asks and obeys.

#![forbid(unsafe_code)]

mod camera;
pub mod clocks;
pub mod coded;
pub mod devices;
pub mod encode;
mod error;
mod movie;
pub mod mux;
mod notes;
pub mod output;
mod queue;
pub mod session;
mod source;
mod stats;
mod surface;
mod v4l2;
pub mod webrtc;

pub use camera::{Camera, CameraContext, Epochs, Pixels};
pub use error::MediaError;
pub use movie::MovieWriter;
pub use notes::{CameraNote, CameraState};
pub use queue::FrameQueue;
pub use session::play;
pub use source::{CameraOptions, PullKind, RtspTransport, Secret, Source, V4l2Format};
pub use stats::{StreamStats, TransportStats};
pub use surface::VideoSurface;

/// Starts GStreamer; call once before anything else of this crate.
pub fn init() -> Result<(), String> {
    gst::init().map_err(|e| format!("GStreamer does not start: {e}"))
}
