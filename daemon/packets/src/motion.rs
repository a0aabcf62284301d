//! Where the motion vectors of a packet's frames come from.

use std::sync::Arc;

use synoptic_base::{FrameKey, MotionVector};

/// What is known of a frame's motion.
#[derive(Clone, Debug, PartialEq)]
pub enum MotionAnswer {
    /// Nobody asked for vectors of this camera.
    Off,
    /// The frame's vectors; none for a frame that was coded without.
    Known(Arc<[MotionVector]>),
    /// They did not come in time, or were lost.
    Late,
}

/// Knows the motion vectors of frames.
pub trait MotionSource: Send + Sync {
    /// The vectors of a frame; waits for them for a bounded time.
    fn vectors(&self, key: &FrameKey) -> MotionAnswer;
}

/// No camera is asked for vectors.
pub struct NoMotion;

impl MotionSource for NoMotion {
    fn vectors(&self, _: &FrameKey) -> MotionAnswer {
        MotionAnswer::Off
    }
}
