//! How long a picture's way takes, stage by stage, and how full the queues between are. For `/metrics`.
//!
//! | stage | from | to |
//! |---|---|---|
//! | `decode` | the frame's first byte reaches the box | its pixels reach the aligner |
//! | `align` | its pixels reach the aligner | its packet is made |
//! | `detect` | a packet reaches the detectors | its tracks, events and pictures are handed to the store |
//! | `stitch` | a packet reaches a panorama | its picture is made |
//! | `store` | a commit begins | the disk has it |

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use synoptic_base::{Durations, Span};

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Durations by stage.
    pub stages: BTreeMap<&'static str, Durations>,
    /// Durations of one batch of pictures, by detector and model.
    pub inference: BTreeMap<(String, String), Durations>,
    /// What lies in a queue at the moment, by group and queue.
    pub depths: BTreeMap<(String, &'static str), usize>,
}

/// Shared by all threads; every method is short.
#[derive(Debug, Default)]
pub struct Stages {
    measured: Mutex<Measured>,
}

impl Stages {
    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stage took this long.
    pub fn took(&self, stage: &'static str, span: Span) {
        self.measured().stages.entry(stage).or_default().add(span);
    }

    /// All durations of a stage that counts for itself.
    pub fn set(&self, stage: &'static str, durations: Durations) {
        self.measured().stages.insert(stage, durations);
    }

    /// A detector took this long for a batch.
    pub fn inferred(&self, detector: &str, model: &str, span: Span) {
        let key = (detector.to_owned(), model.to_owned());
        self.measured().inference.entry(key).or_default().add(span);
    }

    /// So many lie in a queue.
    pub fn depth(&self, group: &str, queue: &'static str, depth: usize) {
        self.measured().depths.insert((group.to_owned(), queue), depth);
    }

    /// A group is gone, and its queues with it.
    pub fn forget(&self, group: &str) {
        self.measured().depths.retain(|(of, _), _| of != group);
    }

    /// Everything so far.
    pub fn snapshot(&self) -> Measured {
        self.measured().clone()
    }
}
