//! Detections, and the one trait behind which every detector stands.

use serde::{Deserialize, Serialize};

use crate::{BBox, FrameMeta, StreamId, Surface};

/// One object found in one picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Where, in fractions of the picture.
    pub bbox: BBox,
    /// What, by its label in the model's manifest (`person`), or `motion`.
    pub label: String,
    /// How sure, 0 to 1.
    pub score: f32,
}

/// A picture to look at.
#[derive(Clone, Copy)]
pub struct Picture<'a> {
    /// What is known of it; detectors with memory (motion) keep it per stream and start anew with an epoch.
    pub meta: &'a FrameMeta,
    /// Its pixels.
    pub surface: &'a dyn Surface,
}

/// Why a detector gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DetectorError {
    /// The picture's pixels could not be read.
    #[error("frame {frame}: {why}")]
    Picture {
        /// Key of the frame.
        frame: String,
        /// What failed.
        why: String,
    },
    /// Its engine is not ready yet, or off; who chose that has said why.
    #[error("detector {detector} does not look at present")]
    NotReady {
        /// Name of the detector.
        detector: String,
    },
    /// The engine failed.
    #[error("detector {detector}: {why}")]
    Engine {
        /// Name of the detector.
        detector: String,
        /// What failed.
        why: String,
    },
}

/// What a detector says of one picture.
pub type Detected = Result<Vec<Detection>, DetectorError>;

/// Finds objects. One call takes one packet's pictures as one batch.
pub trait Detector: Send {
    /// Name for logs, metrics and documents: `motion`, `fastestdet`.
    fn name(&self) -> &str;
    /// What was found in each picture, in the order of `batch` and as many. A picture that fails leaves the others
    /// as they are: one camera's trouble is not its neighbours'.
    fn detect(&mut self, batch: &[Picture<'_>]) -> Vec<Detected>;
    /// A stream will not come again: what is remembered of it may go.
    fn forget(&mut self, stream: &StreamId) {
        // Most detectors remember nothing.
        let _ = stream;
    }
}
