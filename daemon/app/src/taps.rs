//! Pictures of streams as they come, for those who make others of them. Whoever is slow gets the newest and misses the rest;
//! nobody waits for anybody.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crossbeam_channel::{Receiver, Sender, bounded};
use synoptic_base::{Frame, StreamId};
use synoptic_media::Pixels;

/// Room for one picture.
struct Place {
    stream: StreamId,
    newest: Mutex<Option<Frame<Pixels>>>,
    bell: Sender<()>,
}

impl Place {
    fn newest(&self) -> MutexGuard<'_, Option<Frame<Pixels>>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All taps of the box.
#[derive(Default)]
pub struct Taps {
    places: Mutex<Vec<Weak<Place>>>,
    /// How many there are: without any, offering costs one look at this.
    count: AtomicUsize,
}

impl Taps {
    fn places(&self) -> MutexGuard<'_, Vec<Weak<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pictures of a stream from now on, until the tap is dropped.
    pub(crate) fn open(&self, stream: StreamId) -> Tap {
        let (bell, heard) = bounded(1);
        let place = Arc::new(Place {
            stream,
            newest: Mutex::default(),
            bell,
        });
        let mut places = self.places();
        places.retain(|p| p.strong_count() > 0);
        places.push(Arc::downgrade(&place));
        self.count.store(places.len(), Ordering::Relaxed);
        Tap { place, heard }
    }

    /// A picture came.
    pub(crate) fn offer(&self, frame: &Frame<Pixels>) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut gone = false;
        let mut places = self.places();
        for place in places.iter() {
            let Some(place) = place.upgrade() else {
                gone = true;
                continue;
            };
            if place.stream == frame.meta.key.stream {
                *place.newest() = Some(frame.clone());
                // Full: it was rung already.
                place.bell.try_send(()).ok();
            }
        }
        if gone {
            places.retain(|p| p.strong_count() > 0);
            self.count.store(places.len(), Ordering::Relaxed);
        }
    }
}

/// The pictures of one stream.
pub(crate) struct Tap {
    place: Arc<Place>,
    heard: Receiver<()>,
}

impl Tap {
    /// Rings when there may be a picture.
    pub(crate) fn bell(&self) -> &Receiver<()> {
        &self.heard
    }

    /// The newest picture, if it was not taken yet.
    pub(crate) fn take(&self) -> Option<Frame<Pixels>> {
        self.place.newest().take()
    }
}

#[cfg(test)]
mod tests {
    use synoptic_base::{
        Captured, Epoch, FrameKey, FrameKind, FrameMeta, MediaTime, Mono, Seq, Size, Span, TimeSource,
    };
    use synoptic_vision::PictureBuf;

    use super::*;

    fn frame(stream: &str, n: i64) -> Frame<Pixels> {
        let size = Size::new(16, 16);
        let mono = Mono::from_nanos(n);
        Frame {
            meta: FrameMeta {
                key: FrameKey {
                    stream: StreamId::new(stream).unwrap(),
                    epoch: Epoch(1),
                    media_us: MediaTime::from_micros(n),
                },
                seq: Seq(n as u64),
                arrival: mono,
                captured: Captured {
                    mono,
                    rel_error: Span::ZERO,
                    source: TimeSource::Host,
                },
                size,
                kind: FrameKind::Unknown,
            },
            pixels: Arc::new(PictureBuf::black(size).unwrap()),
        }
    }

    #[test]
    fn the_newest_is_had_once_and_a_dropped_tap_costs_nothing() {
        let taps = Taps::default();
        taps.offer(&frame("gate", 0));
        let tap = taps.open(StreamId::new("gate").unwrap());
        assert!(tap.take().is_none() && tap.bell().is_empty());
        for n in 1..4 {
            taps.offer(&frame("gate", n));
        }
        taps.offer(&frame("yard", 9));
        assert_eq!(tap.bell().try_recv(), Ok(()));
        assert_eq!(tap.take().unwrap().meta.seq, Seq(3));
        assert!(tap.take().is_none() && tap.bell().is_empty());
        drop(tap);
        taps.offer(&frame("gate", 5));
        assert_eq!(taps.count.load(Ordering::Relaxed), 0);
    }
}
