//! One camera's waiting frames.

use std::collections::VecDeque;

use synoptic_base::{BrokenReason, Captured, Frame, Mono, Span, StreamId};

use super::{AlignDrops, DEFAULT_INTERVAL};

/// Intervals whose median is the camera's: one lost frame does not change it.
const INTERVALS: usize = 15;
/// Queue entries beyond what `max_wait` needs.
const SLACK: i64 = 2;
/// How far back a camera's delay is looked at: a stall of the network is remembered so long.
const DELAY_WINDOW: Span = Span::from_secs(10);
/// The delay is kept as the largest of each of these.
const DELAY_BUCKET: Span = Span::from_secs(1);
/// What is added to the largest delay seen, in percent of it and as a constant: the next may be a little larger.
const DELAY_MARGIN_PERCENT: i64 = 25;
const DELAY_MARGIN: Span = Span::from_millis(10);
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
    /// Why the camera gives nothing, as it is said; `None`: it delivers.
    broken: Option<BrokenReason>,
    pub(super) drops: AlignDrops,
    /// Items given, and items that have left in a packet.
    pub(super) given: u64,
    pub(super) packed: u64,
    last: Option<Mono>,
    intervals: VecDeque<Span>,
    /// When a bucket began, and the largest (now − capture) in it; oldest first.
    delays: VecDeque<(Mono, Span)>,
    /// Unreadable frames since the last good one.
    read_errors: u32,
    /// So many of them and the camera counts as broken.
    max_read_errors: Option<u32>,
    /// No frame since it came up has been in step with the others.
    starting: bool,
    /// The last one was not.
    out_of_step: bool,
}

/// What a lane must know of the group to take a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings {
    pub(super) now: Mono,
    /// Newest capture time in the last packet.
    pub(super) last_end: Option<Mono>,
    /// How much of the camera's time the queue must hold.
    pub(super) hold: Span,
    /// Newest capture time of the other cameras that deliver.
    pub(super) others: Option<Mono>,
    pub(super) max_initial_stream_offset: Span,
}

impl<P> Lane<P> {
    pub(super) fn new(id: StreamId, max_read_errors: Option<u32>) -> Lane<P> {
        Lane {
            id,
            queue: VecDeque::new(),
            broken: Some(BrokenReason::NeverSeen),
            drops: AlignDrops::default(),
            given: 0,
            packed: 0,
            last: None,
            intervals: VecDeque::new(),
            delays: VecDeque::new(),
            read_errors: 0,
            max_read_errors,
            starting: true,
            out_of_step: false,
        }
    }

    /// The camera delivers from now on.
    pub(super) fn up(&mut self) {
        self.broken = None;
        self.starting = true;
        self.out_of_step = false;
        self.read_errors = 0;
    }

    /// The camera gives nothing from now on.
    pub(super) fn down(&mut self, reason: BrokenReason) {
        self.broken = Some(reason);
        self.delays.clear();
    }

    /// Why nothing is to be expected of the camera; `None`: its next frame is.
    pub(super) fn broken(&self) -> Option<BrokenReason> {
        self.broken
            .or(self.out_of_step.then_some(BrokenReason::OutOfStep))
            .or(self.unreadable().then_some(BrokenReason::Unreadable))
    }

    /// Capture time of its newest frame, if it delivers in step.
    pub(super) fn newest(&self) -> Option<Mono> {
        self.last.filter(|_| self.broken().is_none() && !self.starting)
    }

    /// How long after the capture of a packet's first frame this camera's may still come: its own is captured up to
    /// an interval later, and takes as long as the slowest of late. `None`: not known yet.
    pub(super) fn wait(&self) -> Option<Span> {
        let delay = self.delays.iter().map(|d| d.1).max()?;
        let interval = self.interval().unwrap_or(DEFAULT_INTERVAL);
        Some(interval + delay * (100 + DELAY_MARGIN_PERCENT) / 100 + DELAY_MARGIN)
    }

    fn unreadable(&self) -> bool {
        self.max_read_errors
            .is_some_and(|limit| self.read_errors >= limit)
    }

    fn note_delay(&mut self, now: Mono, at: Mono) {
        let delay = (now - at).max(Span::ZERO);
        match self.delays.back_mut() {
            Some((began, largest)) if now - *began < DELAY_BUCKET => *largest = delay.max(*largest),
            _ => self.delays.push_back((now, delay)),
        }
        while self
            .delays
            .front()
            .is_some_and(|(began, _)| now - *began > DELAY_WINDOW)
        {
            self.delays.pop_front();
        }
    }

    /// Takes a frame, unless its packet has left or it cannot go with the others.
    pub(super) fn push(&mut self, item: Item<P>, around: Surroundings) {
        let at = item.at();
        self.given += 1;
        if matches!(item, Item::Unreadable(_)) {
            self.read_errors = self.read_errors.saturating_add(1);
            if self.unreadable() {
                self.drops.unreadable += 1;
                return;
            }
        } else {
            self.read_errors = 0;
        }
        if self.starting && self.broken.is_none() {
            let offset = around.others.map_or(Span::ZERO, |others| (at - others).abs());
            self.out_of_step = offset > around.max_initial_stream_offset;
            if self.out_of_step {
                self.drops.out_of_step += 1;
                return;
            }
            self.starting = false;
        }
        self.note_delay(around.now, at);
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
        if around.last_end.is_some_and(|last| at <= last) {
            self.drops.late += 1;
            return;
        }
        let interval = self.interval().unwrap_or(DEFAULT_INTERVAL).max(SHORTEST_INTERVAL);
        let capacity = around.hold.as_nanos() / interval.as_nanos() + 1 + SLACK;
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
