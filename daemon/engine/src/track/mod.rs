//! Multi-object tracking: which detections of successive frames are the same object.
//!
//! Terms:
//! * a **detection** is one box in one frame; a **track** is one object over time;
//! * a track is **tentative** until it was seen often enough, then **confirmed**, **lost** while it is not seen,
//!   and ends when it stays unseen;
//! * a **look** is a detection that belongs to a track.
//!
//! Job: ByteTrack's association (Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection
//! Box", ECCV 2022, arXiv 2110.06864), with times instead of frame counts and BoT-SORT's filter.
//! docs/design/tracking.md says where and why it differs, and what it measures.
//!
//! Contract: one [`Tracker`] a stream. [`Tracker::handle`] one input, then [`Tracker::poll`] to `None`; call with
//! [`TrackInput::Time`] when [`Tracker::deadline`] passes. Everything is decided on `meta.captured.mono`; `now` only
//! ends tracks when no frames come any more, and unmasks time stamps of the future. The same inputs give the same
//! outputs. Nothing grows with time: `max_tracks`, `max_detections` and a fixed number of labels a track bound what
//! is held.

mod assign;
mod kalman;
mod one;
mod tracker;
mod types;

#[cfg(test)]
mod measure;
#[cfg(test)]
pub(crate) mod scene;
#[cfg(test)]
mod tests;

pub use tracker::Tracker;
pub use types::{
    Ignored, Look, Track, TrackConfig, TrackCounts, TrackIds, TrackInput, TrackOutput, TrackState,
    TrackedFrame,
};
