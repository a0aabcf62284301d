//! All coded streams of the box.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use synoptic_base::{Captured, Clock, ClockMap, Stamp, StreamId};

use super::CodedStream;

/// What the streams share.
pub(super) struct Times {
    pub(super) clock: Arc<dyn Clock>,
    map: Mutex<Option<ClockMap>>,
}

impl Times {
    /// A capture time in UTC. Before the first map the box's real-time clock is shown, with no bound.
    pub(super) fn stamp(&self, captured: Captured) -> Stamp {
        let map = *self.map.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(map) = map {
            return map.stamp(captured);
        }
        let sample = self.clock.sample();
        Stamp {
            utc: sample.realtime + (captured.mono - sample.mono),
            error: None,
            source: captured.source,
        }
    }
}

/// The coded streams by id. Cameras put pictures in, readers take them out.
pub struct Relay {
    times: Arc<Times>,
    streams: Mutex<BTreeMap<StreamId, Arc<CodedStream>>>,
}

impl Relay {
    /// A relay without streams.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Relay> {
        Arc::new(Relay {
            times: Arc::new(Times {
                clock,
                map: Mutex::default(),
            }),
            streams: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamId, Arc<CodedStream>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The box knows UTC better.
    pub fn set_clock_map(&self, map: ClockMap) {
        *self.times.map.lock().unwrap_or_else(PoisonError::into_inner) = Some(map);
    }

    /// The stream of this id; made where there is none yet.
    pub fn stream(&self, id: StreamId) -> Arc<CodedStream> {
        let make = || CodedStream::new(id, self.times.clone());
        self.lock().entry(id).or_insert_with(make).clone()
    }

    /// The stream of this id, if there is one.
    pub fn find(&self, id: &StreamId) -> Option<Arc<CodedStream>> {
        self.lock().get(id).cloned()
    }

    /// All streams, by id.
    pub fn streams(&self) -> Vec<Arc<CodedStream>> {
        self.lock().values().cloned().collect()
    }

    /// Removes a stream: its readers are told.
    pub fn remove(&self, id: &StreamId) {
        let removed = self.lock().remove(id);
        if let Some(stream) = removed {
            stream.end();
        }
    }
}
