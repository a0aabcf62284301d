//! One camera's waiting frames.

use std::collections::VecDeque;

use synoptic_base::{BrokenReason, Captured, Frame, Mono, Span, StreamId};

use super::{AlignDrops, DEFAULT_INTERVAL};

/// Intervals whose median is the camera's: one lost frame does not change it.
const INTERVALS: usize = 15;
/// Queue entries beyond what `max_wait` needs.
const SLACK: i64 = 2;
/// No camera is faster than this; bounds the queue.
const SHORTEST_INTERVAL: Span = Span::from_millis(4);

/// What waits in a lane.
#[derive(Debug)]
pub(super) enum Item<P> {
    Frame(Frame<P>),
    Unreadable(Captured),
}

impl<P> Item<P> {
    /// When it was captured.
    pub(super) fn at(&self) -> Mono {
        match self {
            Item::Frame(frame) => frame.meta.captured.mono,
            Item::Unreadable(captured) => captured.mono,
        }
    }
}

#[derive(Debug)]
pub(super) struct Lane<P> {
    pub(super) id: StreamId,
    /// Oldest first, strictly rising.
    pub(super) queue: VecDeque<Item<P>>,
    /// Why the camera gives nothing; `None`: it delivers.
    pub(super) broken: Option<BrokenReason>,
    pub(super) drops: AlignDrops,
    last: Option<Mono>,
    intervals: VecDeque<Span>,
}

impl<P> Lane<P> {
    pub(super) fn new(id: StreamId) -> Lane<P> {
        Lane {
            id,
            queue: VecDeque::new(),
            broken: Some(BrokenReason::NeverSeen),
            drops: AlignDrops::default(),
            last: None,
            intervals: VecDeque::new(),
        }
    }

    /// Takes a frame, unless its packet has left. `hold` is how much of the camera's time the queue must hold.
    pub(super) fn push(&mut self, item: Item<P>, last_end: Option<Mono>, hold: Span) {
        let at = item.at();
        let previous = self.last.replace(at);
        if let Some(previous) = previous {
            // A new estimate of the camera's time may set it back: the frame in between is given up.
            if self.queue.back().is_some_and(|back| at <= back.at()) {
                self.drops.disorder += 1;
                return;
            }
            if at > previous {
                if self.intervals.len() == INTERVALS {
                    self.intervals.pop_front();
                }
                self.intervals.push_back(at - previous);
            }
        }
        if last_end.is_some_and(|last| at <= last) {
            self.drops.late += 1;
            return;
        }
        let interval = self.interval().unwrap_or(DEFAULT_INTERVAL).max(SHORTEST_INTERVAL);
        let capacity = hold.as_nanos() / interval.as_nanos() + 1 + SLACK;
        while self.queue.len() as i64 >= capacity {
            self.queue.pop_front();
            self.drops.overflow += 1;
        }
        self.queue.push_back(item);
    }

    /// The median interval between frames; `None` before the second frame.
    pub(super) fn interval(&self) -> Option<Span> {
        let mut all: Vec<Span> = self.intervals.iter().copied().collect();
        let middle = all.len() / 2;
        (!all.is_empty()).then(|| *all.select_nth_unstable(middle).1)
    }
}
