//! Frames of N cameras to packets of one instant.
//!
//! Terms: a **head** is a camera's oldest waiting frame; the **arc** of a set of frames is its newest minus its
//! oldest capture time; the **pacemaker** interval is that of the slowest live camera.
//!
//! Job: of all ways to take one frame from each camera, form the packet of the smallest arc (the grouping that
//! free-running shutters allow at best; the floor rule of rtsp-streamsync is a third wider). The search is that of
//! ROS `message_filters` ApproximateTime (docs.ros.org), with a tolerance, a deadline and a status for every camera
//! added, so that no camera stalls the others and no frame disappears uncounted.
//!
//! Contract: packets leave in the order of their instants; every `Okay` slot lies within the tolerance of its
//! packet's instant; a live camera delays a packet by no more than its own delays of the last ten seconds make
//! likely, and never by more than `max_wait` after the capture of the packet's first frame, a broken one not at all;
//! every frame given is in one packet or in one drop counter.

mod lane;
#[cfg(test)]
mod properties;
mod search;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::num::NonZeroUsize;

use synoptic_base::{BrokenReason, Captured, Frame, FramePacket, Mono, PacketId, Slot, Span, StreamId};

use lane::{Item, Lane, Surroundings};
use search::Choice;

/// Interval assumed of a camera before two of its frames are known: 15 fps.
const DEFAULT_INTERVAL: Span = Span::from_micros(66_667);
/// Added to half the pacemaker's interval where no tolerance is configured: frames of equal cameras in opposite
/// phase are exactly half an interval from the middle, and jitter must not push them out.
const TOLERANCE_SLACK: Span = Span::from_millis(2);

/// How packets are formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlignConfig {
    /// The cameras, in the order of a packet's slots.
    pub cameras: Vec<StreamId>,
    /// Largest distance of a frame from its packet's instant; `None`: half the interval of the slowest camera.
    pub tolerance: Option<Span>,
    /// Longest wait for a late camera, from the capture of the packet's first frame. Less is waited where the
    /// camera's delays of the last ten seconds allow it.
    pub max_wait: Span,
    /// A camera that comes up is not taken in while its frames are captured further than this from the others'.
    pub max_initial_stream_offset: Span,
    /// After so many unreadable frames in a row a camera counts as broken, until the next good one; `None`: never.
    pub max_read_errors: Option<u32>,
    /// Packets that wait to be polled; at the limit the oldest goes and its frames are counted as `unread`. `None`:
    /// no limit, for files that are read no faster than packets are taken.
    pub frame_packet_buffer_maxsize: Option<NonZeroUsize>,
}

impl AlignConfig {
    /// The defaults: 250 ms, 30 s, 3 read errors (the last two are rtsp-streamsync's), 16 packets.
    pub fn new(cameras: Vec<StreamId>) -> AlignConfig {
        AlignConfig {
            cameras,
            tolerance: None,
            max_wait: Span::from_millis(250),
            max_initial_stream_offset: Span::from_secs(30),
            max_read_errors: Some(3),
            frame_packet_buffer_maxsize: NonZeroUsize::new(16),
        }
    }
}

/// What the aligner is told.
#[derive(Debug)]
pub enum AlignInput<P> {
    /// A decoded frame.
    Frame(Frame<P>),
    /// A frame that arrived and could not be decoded.
    Unreadable(StreamId, Captured),
    /// The camera delivers.
    Up(StreamId),
    /// The camera delivers no more.
    Down(StreamId, BrokenReason),
}

/// Why frames were dropped, and how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlignDrops {
    /// Came after the packet of their instant had left.
    pub late: u64,
    /// The camera's queue was full.
    pub overflow: u64,
    /// The camera is faster than the slowest one.
    pub surplus: u64,
    /// Captured before a frame of the same camera that came earlier.
    pub disorder: u64,
    /// Before the first packet: nothing to go with.
    pub starting: u64,
    /// Unreadable, and one too many in a row.
    pub unreadable: u64,
    /// The camera came up too far from the others' capture times.
    pub out_of_step: u64,
    /// Its packet was not taken in time.
    pub unread: u64,
}

impl AlignDrops {
    /// Every counter by its name.
    pub fn by_reason(&self) -> [(&'static str, u64); 8] {
        [
            ("late", self.late),
            ("overflow", self.overflow),
            ("surplus", self.surplus),
            ("disorder", self.disorder),
            ("starting", self.starting),
            ("unreadable", self.unreadable),
            ("out_of_step", self.out_of_step),
            ("unread", self.unread),
        ]
    }
}

/// Forms packets. One for each group of cameras.
#[derive(Debug)]
pub struct Aligner<P> {
    config: AlignConfig,
    lanes: Vec<Lane<P>>,
    out: VecDeque<FramePacket<P>>,
    next_id: u64,
    /// Newest capture time in the last packet: what comes later and is no newer has missed its packet.
    last_end: Option<Mono>,
    last_instant: Option<Mono>,
    deadline: Option<Mono>,
}

impl<P> Aligner<P> {
    /// An aligner whose cameras are all down.
    pub fn new(config: AlignConfig) -> Aligner<P> {
        let lane = |id: &StreamId| Lane::new(*id, config.max_read_errors);
        let lanes = config.cameras.iter().map(lane).collect();
        Aligner {
            config,
            lanes,
            out: VecDeque::new(),
            next_id: 0,
            last_end: None,
            last_instant: None,
            deadline: None,
        }
    }

    /// Takes one input. Cameras that are not of this group are ignored.
    pub fn handle(&mut self, now: Mono, input: AlignInput<P>) {
        match input {
            AlignInput::Frame(frame) => self.push(now, frame.meta.key.stream, Item::Frame(frame)),
            AlignInput::Unreadable(stream, captured) => self.push(now, stream, Item::Unreadable(captured)),
            AlignInput::Up(stream) => {
                if let Some(lane) = self.lane(stream) {
                    lane.up();
                }
            }
            AlignInput::Down(stream, reason) => {
                if let Some(lane) = self.lane(stream) {
                    lane.down(reason);
                }
            }
        }
        self.form(now);
    }

    /// Time has passed: call at the deadline.
    pub fn handle_time(&mut self, now: Mono) {
        self.form(now);
    }

    /// The next packet, oldest first.
    pub fn poll(&mut self) -> Option<FramePacket<P>> {
        self.out.pop_front()
    }

    /// When to call [`Aligner::handle_time`] if nothing else happens.
    pub fn deadline(&self) -> Option<Mono> {
        self.deadline
    }

    /// Largest distance of a frame from its packet's instant, at present.
    pub fn tolerance(&self) -> Span {
        self.config
            .tolerance
            .unwrap_or(self.pacemaker() / 2 + TOLERANCE_SLACK)
    }

    /// Drop counters of a camera.
    pub fn drops(&self, stream: StreamId) -> Option<AlignDrops> {
        self.lanes.iter().find(|l| l.id == stream).map(|l| l.drops)
    }

    /// Whether the bookkeeping agrees with itself; what does not, in words. For tests and fuzzing.
    pub fn check_invariants(&self) -> Result<(), String> {
        for lane in &self.lanes {
            let times: Vec<Mono> = lane.queue.iter().map(Item::at).collect();
            if times.windows(2).any(|w| w[0] >= w[1]) {
                return Err(format!("{}: waiting frames are not in order", lane.id));
            }
            if let (Some(first), Some(last)) = (times.first(), self.last_instant)
                && *first <= last
            {
                return Err(format!(
                    "{}: a waiting frame is older than the last packet",
                    lane.id
                ));
            }
            let dropped: u64 = lane.drops.by_reason().iter().map(|d| d.1).sum();
            let known = lane.queue.len() as u64 + lane.packed + dropped;
            if known != lane.given {
                return Err(format!(
                    "{}: {} frames given, {known} accounted for",
                    lane.id, lane.given
                ));
            }
        }
        if self
            .out
            .iter()
            .zip(self.out.iter().skip(1))
            .any(|(a, b)| a.instant >= b.instant)
        {
            return Err("packets that wait are not in order".to_owned());
        }
        let full = self.config.frame_packet_buffer_maxsize;
        if full.is_some_and(|n| self.out.len() > n.get()) {
            return Err(format!("{} packets wait", self.out.len()));
        }
        Ok(())
    }

    fn push(&mut self, now: Mono, stream: StreamId, item: Item<P>) {
        let others = self.lanes.iter().filter(|l| l.id != stream);
        let around = Surroundings {
            now,
            last_end: self.last_end,
            hold: self.config.max_wait + self.pacemaker(),
            others: others.filter_map(Lane::newest).max(),
            max_initial_stream_offset: self.config.max_initial_stream_offset,
        };
        if let Some(lane) = self.lane(stream) {
            lane.push(item, around);
        }
    }

    fn lane(&mut self, stream: StreamId) -> Option<&mut Lane<P>> {
        self.lanes.iter_mut().find(|l| l.id == stream)
    }

    /// Interval of the slowest live camera.
    fn pacemaker(&self) -> Span {
        let live = self.lanes.iter().filter(|l| l.broken().is_none());
        live.filter_map(Lane::interval).max().unwrap_or(DEFAULT_INTERVAL)
    }

    /// How long the packet at hand may wait: as long as the cameras need that have nothing here; where all have, a
    /// better frame may still come from any.
    fn wait(&self) -> Span {
        let live = || self.lanes.iter().filter(|l| l.broken().is_none());
        let absent = || live().filter(|l| l.queue.is_empty());
        let need = |lane: &Lane<P>| lane.wait().unwrap_or(self.config.max_wait);
        let longest = absent().map(need).max().or_else(|| live().map(need).max());
        longest.unwrap_or(Span::ZERO).min(self.config.max_wait)
    }

    /// Forms every packet that can be formed now.
    fn form(&mut self, now: Mono) {
        self.deadline = None;
        loop {
            let first = self
                .lanes
                .iter()
                .filter_map(|l| l.queue.front())
                .map(Item::at)
                .min();
            let Some(first) = first else { return };
            let expires = first + self.wait();
            let expired = now >= expires;
            let tolerance = self.tolerance();
            let Some(choice) = search::choose(&self.lanes, tolerance, expired) else {
                self.deadline = Some(expires);
                return;
            };
            self.emit(&choice, tolerance);
        }
    }

    /// Sends what lies before the choice on its own, then the choice.
    fn emit(&mut self, choice: &Choice, tolerance: Span) {
        let pacemaker = self.pacemaker();
        loop {
            let mut passed: Vec<usize> = Vec::new();
            for (i, lane) in self.lanes.iter_mut().enumerate() {
                let until = choice.heads[i].unwrap_or(choice.start);
                while lane.queue.front().is_some_and(|item| item.at() < until) {
                    // Surplus of a faster camera, or the odd frames before the first packet: no packet of their own.
                    let surplus = lane.interval().is_some_and(|own| own * 4 < pacemaker * 3);
                    if surplus || self.last_end.is_none() {
                        lane.queue.pop_front();
                        *(if surplus {
                            &mut lane.drops.surplus
                        } else {
                            &mut lane.drops.starting
                        }) += 1;
                        continue;
                    }
                    passed.push(i);
                    break;
                }
            }
            let oldest = passed
                .iter()
                .filter_map(|i| self.lanes[*i].queue.front())
                .map(Item::at)
                .min();
            let Some(oldest) = oldest else { break };
            let near = |lane: &Lane<P>| {
                lane.queue
                    .front()
                    .is_some_and(|item| item.at() - oldest <= tolerance * 2)
            };
            passed.retain(|i| near(&self.lanes[*i]));
            self.packet(&passed);
        }
        let chosen: Vec<usize> = (0..self.lanes.len())
            .filter(|i| choice.heads[*i].is_some())
            .collect();
        self.packet(&chosen);
    }

    /// Takes the heads of `from` and sends them as one packet.
    fn packet(&mut self, from: &[usize]) {
        let mut taken: Vec<Option<Item<P>>> = self.lanes.iter().map(|_| None).collect();
        for i in from {
            taken[*i] = self.lanes[*i].queue.pop_front();
        }
        let times = || taken.iter().flatten().map(Item::at);
        let (Some(start), Some(end)) = (times().min(), times().max()) else {
            return;
        };
        let instant = start + (end - start) / 2;
        let okay = || {
            taken
                .iter()
                .flatten()
                .filter(|i| matches!(i, Item::Frame(_)))
                .map(Item::at)
        };
        let spread = match (okay().min(), okay().max()) {
            (Some(first), Some(last)) => last - first,
            _ => Span::ZERO,
        };
        let slots = self.lanes.iter_mut().zip(taken).map(|(lane, item)| {
            lane.packed += u64::from(item.is_some());
            let slot = match (item, lane.broken()) {
                (Some(Item::Frame(frame)), _) => Slot::Okay(frame),
                (Some(Item::Unreadable(_)), _) => Slot::ReadError,
                (None, Some(reason)) => Slot::Broken(reason),
                (None, None) => Slot::Dropped,
            };
            (lane.id, slot)
        });
        let packet = FramePacket {
            id: PacketId(self.next_id),
            instant,
            slots: slots.collect(),
            spread,
        };
        self.next_id += 1;
        self.last_end = Some(end);
        self.last_instant = Some(instant);
        // A fast camera may have more frames before this instant: on their own they would step back in time.
        for lane in &mut self.lanes {
            while lane.queue.front().is_some_and(|item| item.at() <= instant) {
                lane.queue.pop_front();
                lane.drops.surplus += 1;
            }
        }
        let full = self.config.frame_packet_buffer_maxsize;
        while full.is_some_and(|n| self.out.len() >= n.get()) {
            if let Some(unread) = self.out.pop_front() {
                self.give_up(&unread);
            }
        }
        self.out.push_back(packet);
    }

    /// Nobody took this packet.
    fn give_up(&mut self, packet: &FramePacket<P>) {
        for (lane, (_, slot)) in self.lanes.iter_mut().zip(&packet.slots) {
            if matches!(slot, Slot::Okay(_) | Slot::ReadError) {
                lane.packed -= 1;
                lane.drops.unread += 1;
            }
        }
    }
}
