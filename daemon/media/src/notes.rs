//! What a camera tells besides its frames.

use synoptic_base::{Captured, Epoch, Numbering, Span, StreamId, StreamRestamp};
use synoptic_engine::timebase::TimeHealth;

use crate::StreamStats;
use crate::session::StreamInfo;

/// State of a camera's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CameraState {
    /// Being connected.
    Connecting,
    /// Frames come.
    Online,
    /// Connected, but frames stopped.
    Stalled,
    /// Not reachable.
    Offline,
    /// The camera refuses user or password.
    AuthFailed,
}

/// What a camera tells besides its frames.
#[derive(Clone, Debug)]
pub enum CameraNote {
    /// Its state changed.
    State {
        /// The camera.
        camera: StreamId,
        /// The new state.
        state: CameraState,
        /// What is wrong and what to do.
        reason: Option<String>,
    },
    /// An epoch began.
    Format {
        /// The camera.
        camera: StreamId,
        /// The epoch.
        epoch: Epoch,
        /// What the stream says of itself.
        info: StreamInfo,
    },
    /// How its time stands, about twice a second.
    Health {
        /// The camera.
        camera: StreamId,
        /// Its time.
        health: TimeHealth,
    },
    /// The camera's own wall clock stepped.
    WallStep {
        /// The camera.
        camera: StreamId,
        /// By how much; positive: forward.
        step: Span,
    },
    /// Frames of the camera would be timed better today.
    Restamp(StreamRestamp),
    /// Frames were lost before they could be decoded.
    Drops {
        /// The camera.
        camera: StreamId,
        /// Why: `driver` (numbered and never handed out), `decoder_busy`.
        reason: &'static str,
        /// How many, since the camera was started.
        total: u64,
    },
    /// When the running epoch began, about twice a second.
    Start {
        /// The camera.
        camera: StreamId,
        /// The epoch.
        epoch: Epoch,
        /// When its media time zero was captured.
        zero: Captured,
        /// How its sender numbers pictures.
        numbering: Option<Numbering>,
        /// How much faster than the box's its clock runs.
        drift_ppm: Option<f64>,
    },
    /// What has come so far, about twice a second.
    Stats {
        /// The camera.
        camera: StreamId,
        /// The counters, since the camera was started.
        stats: StreamStats,
    },
    /// A frame came and could not be decoded.
    Unreadable {
        /// The camera.
        camera: StreamId,
        /// When it was captured.
        captured: Captured,
    },
}
