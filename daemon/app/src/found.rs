//! What detectors found, frame by frame, for those who follow it live: the last moments of each stream, how long results
//! take, and which frames nobody will look at.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use synoptic_base::{FrameKey, FrameMeta, Mono, Span, StreamId};
use tokio::sync::broadcast;

use crate::documents::DetectionDoc;

/// Results a slow reader may fall behind before it loses the oldest.
const BACKLOG: usize = 512;
/// What who joins late gets: results of the last 2 s, and no more than this many.
const RECENT: Span = Span::from_secs(2);
const RECENT_MOST: usize = 100;
/// Results whose delay is remembered: 10 s at 30 a second.
const DELAYS: usize = 300;
/// Delays older than this say nothing of now.
const DELAYS_AGE: Span = Span::from_secs(10);

/// A frame that a detector looked at.
#[derive(Clone, Debug)]
pub struct Looked {
    /// The frame.
    pub meta: FrameMeta,
    /// What was found in it; may be empty.
    pub detections: Vec<DetectionDoc>,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum FoundNews {
    /// A detector looked at a frame.
    Looked(Arc<Looked>),
    /// No detector will ever look at these.
    Skipped(Arc<Vec<FrameKey>>),
}

/// From capture to result, over the last 10 s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delay {
    /// Median.
    pub p50: Span,
    /// 99th percentile.
    pub p99: Span,
}

#[derive(Default)]
struct Lane {
    recent: VecDeque<(Mono, Arc<Looked>)>,
    delays: VecDeque<(Mono, Span)>,
}

/// Shared by the detect threads and the web server.
pub struct Found {
    lanes: Mutex<BTreeMap<StreamId, Lane>>,
    news: broadcast::Sender<FoundNews>,
}

impl Default for Found {
    fn default() -> Found {
        Found {
            lanes: Mutex::default(),
            news: broadcast::Sender::new(BACKLOG),
        }
    }
}

impl Found {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamId, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A detector looked at a frame; the result is there at `now`.
    pub fn looked(&self, looked: Looked, now: Mono) {
        let looked = Arc::new(looked);
        let mut lanes = self.lock();
        let lane = lanes.entry(looked.meta.key.stream).or_default();
        lane.recent.push_back((now, looked.clone()));
        while lane.recent.len() > RECENT_MOST || lane.recent.front().is_some_and(|(at, _)| now - *at > RECENT)
        {
            lane.recent.pop_front();
        }
        if lane.delays.len() == DELAYS {
            lane.delays.pop_front();
        }
        lane.delays.push_back((now, now - looked.meta.captured.mono));
        // Still under the lock: who joins gets each result once, from the buffer or as news.
        self.news.send(FoundNews::Looked(looked)).ok();
    }

    /// Nobody will look at these frames.
    pub fn skipped(&self, keys: Vec<FrameKey>) {
        if !keys.is_empty() && self.news.receiver_count() > 0 {
            self.news.send(FoundNews::Skipped(Arc::new(keys))).ok();
        }
    }

    /// The news from now on.
    pub fn follow(&self) -> broadcast::Receiver<FoundNews> {
        self.news.subscribe()
    }

    /// The results of the last 2 s, oldest first.
    pub fn recent(&self, stream: &StreamId, now: Mono) -> Vec<Arc<Looked>> {
        let lanes = self.lock();
        let recent = lanes.get(stream).into_iter().flat_map(|lane| &lane.recent);
        recent
            .filter(|(at, _)| now - *at <= RECENT)
            .map(|(_, looked)| looked.clone())
            .collect()
    }

    /// How long results take; `None` without any in the last 10 s.
    pub fn delay(&self, stream: &StreamId, now: Mono) -> Option<Delay> {
        let lanes = self.lock();
        let delays = lanes.get(stream)?.delays.iter();
        let mut delays: Vec<Span> = delays
            .filter(|(at, _)| now - *at <= DELAYS_AGE)
            .map(|(_, delay)| *delay)
            .collect();
        delays.sort_unstable();
        let at = |percent: usize| delays.get((delays.len().max(1) - 1) * percent / 100).copied();
        Some(Delay {
            p50: at(50)?,
            p99: at(99)?,
        })
    }

    /// Forgets a stream that was removed.
    pub fn forget(&self, stream: &StreamId) {
        self.lock().remove(stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use synoptic_base::{Captured, Epoch, FrameKind, MediaTime, Seq, Size, TimeSource};

    fn looked(n: i64) -> Looked {
        let mono = Mono::from_nanos(0) + Span::from_millis(n * 100);
        Looked {
            meta: FrameMeta {
                key: FrameKey {
                    stream: StreamId::new("gate").unwrap(),
                    epoch: Epoch(1),
                    media_us: MediaTime::from_micros(n),
                },
                seq: Seq(n as u64),
                arrival: mono,
                captured: Captured {
                    mono,
                    rel_error: Span::ZERO,
                    source: TimeSource::Arrival,
                },
                size: Size::new(640, 360),
                kind: FrameKind::P,
            },
            detections: Vec::new(),
        }
    }

    #[test]
    fn the_buffer_holds_the_last_two_seconds_and_delays_are_of_the_last_ten() {
        let (found, gate) = (Found::default(), StreamId::new("gate").unwrap());
        let at = |n: i64| Mono::from_nanos(0) + Span::from_millis(n * 100 + n % 10);
        for n in 0..200 {
            found.looked(looked(n), at(n));
        }
        let recent = found.recent(&gate, at(199));
        assert_eq!(recent.first().unwrap().meta.seq, Seq(179));
        assert_eq!(recent.len(), 21);
        let delay = found.delay(&gate, at(199)).unwrap();
        assert_eq!(
            (delay.p50, delay.p99),
            (Span::from_millis(5), Span::from_millis(9))
        );
        let later = at(199) + Span::from_secs(11);
        assert_eq!(found.delay(&gate, later), None);
        assert!(found.recent(&gate, later).is_empty());
        found.forget(&gate);
        assert_eq!(found.delay(&gate, at(199)), None);
    }
}
