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
    /// It will not come.
    Lost,
}

/// A camera that wants vectors.
#[derive(Debug, Default)]
struct Camera {
    frames: VecDeque<(FrameKey, Entry)>,
    /// Coded pictures come: one that is not here yet is on its way.
    flows: bool,
    /// A packet waited in vain since the helper last found something: none waits again before it does.
    in_vain: bool,
}

impl Camera {
    fn entry(&mut self, key: &FrameKey) -> Option<&mut Entry> {
        let found = self.frames.iter_mut().rev().find(|(k, _)| k == key);
        found.map(|(_, entry)| entry)
    }

    fn waits_for(&mut self, key: &FrameKey) -> bool {
        let flows = self.flows;
        !self.in_vain
            && self
                .entry(key)
                .map_or(flows, |entry| matches!(entry, Entry::Asked))
    }
}

/// The vectors of all cameras that have a helper.
#[derive(Debug, Default)]
pub struct MotionBook {
    cameras: Mutex<BTreeMap<StreamId, Camera>>,
    changed: Condvar,
}

impl MotionBook {
    fn cameras(&self) -> MutexGuard<'_, BTreeMap<StreamId, Camera>> {
        self.cameras.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Vectors of a camera are wanted from now on.
    pub fn open(&self, camera: StreamId) {
        self.cameras().entry(camera).or_default();
    }

    /// They are not wanted any more.
    pub fn close(&self, camera: &StreamId) {
        self.cameras().remove(camera);
        self.changed.notify_all();
    }

    /// Coded pictures of a camera are missing before the next one that is pushed.
    pub fn gap(&self, camera: &StreamId) {
        if let Some(camera) = self.cameras().get_mut(camera) {
            camera.flows = false;
        }
        self.changed.notify_all();
    }

    /// A frame's coded picture is on its way to the helper.
    pub(super) fn asked(&self, key: FrameKey) {
        let mut cameras = self.cameras();
        let Some(camera) = cameras.get_mut(&key.stream) else {
            return;
        };
        if camera.frames.len() == REMEMBERED {
            camera.frames.pop_front();
        }
        camera.frames.push_back((key, Entry::Asked));
        camera.flows = true;
    }

    /// A frame's coded picture never reached the helper.
    pub(super) fn lost(&self, key: &FrameKey) {
        let mut cameras = self.cameras();
        if let Some(entry) = cameras.get_mut(&key.stream).and_then(|c| c.entry(key)) {
            *entry = Entry::Lost;
        }
        drop(cameras);
        self.changed.notify_all();
    }

    /// A frame came out of the helper. Frames come out in the order in which they are shown: those before it that have not
    /// will not.
    pub(super) fn found(&self, key: &FrameKey, vectors: Arc<[MotionVector]>) {
        let mut cameras = self.cameras();
        if let Some(camera) = cameras.get_mut(&key.stream) {
            camera.in_vain = false;
            for (k, entry) in &mut camera.frames {
                if *k < *key && matches!(entry, Entry::Asked) {
                    *entry = Entry::Lost;
                }
            }
            if let Some(entry) = camera.entry(key) {
                *entry = Entry::Found(vectors);
            }
        }
        drop(cameras);
        self.changed.notify_all();
    }

    /// What the helper has been asked will not come: it is gone.
    pub(super) fn forget(&self, camera: &StreamId) {
        if let Some(camera) = self.cameras().get_mut(camera) {
            camera.flows = false;
            for (_, entry) in &mut camera.frames {
                if matches!(entry, Entry::Asked) {
                    *entry = Entry::Lost;
                }
            }
        }
        self.changed.notify_all();
    }
}

impl MotionSource for MotionBook {
    fn vectors(&self, key: &FrameKey) -> MotionAnswer {
        let waits = |cameras: &mut BTreeMap<StreamId, Camera>| {
            cameras.get_mut(&key.stream).is_some_and(|c| c.waits_for(key))
        };
        let (mut cameras, waited) = self
            .changed
            .wait_timeout_while(self.cameras(), PATIENCE, waits)
            .unwrap_or_else(PoisonError::into_inner);
        let Some(camera) = cameras.get_mut(&key.stream) else {
            return MotionAnswer::Off;
        };
        camera.in_vain |= waited.timed_out();
        match camera.entry(key) {
            Some(Entry::Found(vectors)) => MotionAnswer::Known(vectors.clone()),
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
    fn what_is_on_its_way_is_waited_for_and_what_is_lost_is_not() {
        let book = MotionBook::default();
        book.open(key(1).stream);
        book.asked(key(1));
        book.found(&key(1), Arc::new([]));
        // The packet is there before its coded picture.
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| book.vectors(&key(2)));
            book.asked(key(2));
            book.found(&key(2), Arc::new([]));
            assert_eq!(waiting.join().unwrap(), MotionAnswer::Known(Arc::new([])));
        });
        for media_us in [3, 6, 4, 5] {
            book.asked(key(media_us));
        }
        book.lost(&key(3));
        let waits = |media_us| {
            book.cameras()
                .get_mut(&key(0).stream)
                .unwrap()
                .waits_for(&key(media_us))
        };
        assert!(!waits(3) && waits(4) && waits(5) && waits(6) && waits(7));
        book.found(&key(5), Arc::new([]));
        assert!(!waits(4), "the one after it came out");
        assert!(waits(6));
        book.gap(&key(0).stream);
        assert!(waits(6) && !waits(7), "nothing comes any more");
        book.asked(key(8));
        assert!(waits(9));
        // A helper that hangs costs one wait, not one a packet.
        assert_eq!(book.vectors(&key(6)), MotionAnswer::Late);
        assert!(!waits(6) && !waits(8) && !waits(9));
        book.found(&key(6), Arc::new([]));
        assert!(waits(8) && waits(9));
    }

    #[test]
    fn the_book_has_an_end() {
        let book = MotionBook::default();
        book.open(key(0).stream);
        for n in 0..1_000 {
            book.asked(key(n));
            book.found(&key(n), Arc::new([]));
        }
        assert_eq!(book.cameras()[&key(0).stream].frames.len(), REMEMBERED);
        assert_eq!(book.vectors(&key(0)), MotionAnswer::Late);
        assert_eq!(book.vectors(&key(999)), MotionAnswer::Known(Arc::new([])));
    }
}
