//! Epochs of streams and what was learned of their delays, by the store.

use std::sync::Arc;

use arc_swap::ArcSwap;
use synoptic_base::{ClockMap, Epoch, StreamId};
use synoptic_engine::timebase::LearnedDelay;
use synoptic_media::{CameraOptions, Epochs};
use synoptic_store::Store;

use crate::time_memory::TimeMemory;

/// Epochs by the store.
pub(crate) struct StoredEpochs {
    pub store: Store,
    pub map: Arc<ArcSwap<ClockMap>>,
    pub memory: Arc<TimeMemory>,
}

impl Epochs for StoredEpochs {
    fn next_epoch(&self, stream: StreamId) -> Result<Epoch, String> {
        Ok(self.store.next_epoch(stream))
    }
    fn clock_map(&self) -> Option<ClockMap> {
        Some(**self.map.load())
    }
    fn learned_delay(&self, camera: &CameraOptions) -> Option<LearnedDelay> {
        self.memory.get(camera)
    }
    fn keep_learned_delay(&self, camera: &CameraOptions, learned: LearnedDelay) {
        self.memory.put(camera, learned);
    }
}
