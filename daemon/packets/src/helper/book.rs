//! What the helper processes found, until the packets ask for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use synoptic_base::{FrameKey, MotionVector, StreamId};

use crate::motion::{MotionAnswer, MotionSource};

/// Frames remembered of a camera: 4 s at 30 a second, more than a packet ever waits.
const REMEMBERED: usize = 120;
/// A packet waits this long for vectors. A software decoder takes 6 ms for 1080p (docs/reference/benchmarks.md); it is
/// given the picture before the daemon's own decoder has it.
const PATIENCE: Duration = Duration::from_millis(250);

#[derive(Debug)]
enum Entry {
    /// Given to the helper.
    Asked,
    Found(Arc<[MotionVector]>),
}

/// The vectors of all cameras that have a helper.
#[derive(Debug, Default)]
pub struct MotionBook {
    cameras: Mutex<BTreeMap<StreamId, VecDeque<(FrameKey, Entry)>>>,
    changed: Condvar,
}

impl MotionBook {
    fn cameras(&self) -> MutexGuard<'_, BTreeMap<StreamId, VecDeque<(FrameKey, Entry)>>> {
        self.cameras.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A camera has a helper from now on.
    pub(super) fn open(&self, camera: StreamId) {
        self.cameras().entry(camera).or_default();
    }

    /// A camera has none any more.
    pub(super) fn close(&self, camera: &StreamId) {
        self.cameras().remove(camera);
        self.changed.notify_all();
    }

    /// A frame's coded picture is on its way to the helper.
    pub(super) fn asked(&self, key: FrameKey) {
        let mut cameras = self.cameras();
        let Some(frames) = cameras.get_mut(&key.stream) else {
            return;
        };
        if frames.len() == REMEMBERED {
            frames.pop_front();
        }
        frames.push_back((key, Entry::Asked));
    }

    /// A frame came out of the helper.
    pub(super) fn found(&self, key: &FrameKey, vectors: Arc<[MotionVector]>) {
        let mut cameras = self.cameras();
        let frames = cameras.get_mut(&key.stream);
        if let Some((_, entry)) = frames.into_iter().flatten().find(|(k, _)| k == key) {
            *entry = Entry::Found(vectors);
        }
        drop(cameras);
        self.changed.notify_all();
    }

    /// What the helper has been asked will not come: it is gone.
    pub(super) fn forget(&self, camera: &StreamId) {
        if let Some(frames) = self.cameras().get_mut(camera) {
            frames.retain(|(_, entry)| matches!(entry, Entry::Found(_)));
        }
        self.changed.notify_all();
    }
}

impl MotionSource for MotionBook {
    fn vectors(&self, key: &FrameKey) -> MotionAnswer {
        let waits = |cameras: &mut BTreeMap<StreamId, VecDeque<(FrameKey, Entry)>>| {
            let mut frames = cameras.get(&key.stream).into_iter().flatten();
            frames.any(|(k, entry)| k == key && matches!(entry, Entry::Asked))
        };
        let (cameras, _) = self
            .changed
            .wait_timeout_while(self.cameras(), PATIENCE, waits)
            .unwrap_or_else(PoisonError::into_inner);
        let Some(frames) = cameras.get(&key.stream) else {
            return MotionAnswer::Off;
        };
        match frames.iter().find(|(k, _)| k == key) {
            Some((_, Entry::Found(vectors))) => MotionAnswer::Known(vectors.clone()),
            _ => MotionAnswer::Late,
        }
    }
}

#[cfg(test)]
mod tests {
    use synoptic_base::{Epoch, MediaTime};

    use super::*;

    fn key(media_us: i64) -> FrameKey {
        FrameKey {
            stream: StreamId::new("cam").unwrap(),
            epoch: Epoch(2),
            media_us: MediaTime::from_micros(media_us),
        }
    }

    #[test]
    fn vectors_come_late_or_in_time_or_were_not_asked_for() {
        let book = MotionBook::default();
        assert_eq!(book.vectors(&key(1)), MotionAnswer::Off);
        book.open(key(1).stream);
        assert_eq!(book.vectors(&key(1)), MotionAnswer::Late);
        let vectors: Arc<[MotionVector]> = Arc::new([MotionVector::default()]);
        std::thread::scope(|scope| {
            book.asked(key(1));
            book.asked(key(2));
            let waiting = scope.spawn(|| book.vectors(&key(1)));
            book.found(&key(1), vectors.clone());
            assert_eq!(waiting.join().unwrap(), MotionAnswer::Known(vectors.clone()));
        });
        book.forget(&key(1).stream);
        assert_eq!(book.vectors(&key(2)), MotionAnswer::Late);
        assert_eq!(book.vectors(&key(1)), MotionAnswer::Known(vectors));
        book.close(&key(1).stream);
        assert_eq!(book.vectors(&key(1)), MotionAnswer::Off);
    }

    #[test]
    fn the_book_has_an_end() {
        let book = MotionBook::default();
        book.open(key(0).stream);
        for n in 0..1_000 {
            book.asked(key(n));
            book.found(&key(n), Arc::new([]));
        }
        assert_eq!(book.cameras()[&key(0).stream].len(), REMEMBERED);
        assert_eq!(book.vectors(&key(0)), MotionAnswer::Late);
        assert_eq!(book.vectors(&key(999)), MotionAnswer::Known(Arc::new([])));
    }
}
