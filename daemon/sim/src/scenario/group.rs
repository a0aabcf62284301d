//! N cameras, each with its own timebase, in front of one aligner.

use synoptic_base::{
    Epoch, Frame, FrameKey, FrameKind, FrameMeta, FramePacket, MediaTime, Mono, Seq, Size, SlotStatus, Span,
    StreamId,
};
use synoptic_engine::align::{AlignConfig, AlignInput, Aligner};

use super::adapter::Engine;
use super::camera::Camera;
use super::clocks::BoxClock;
use super::feed::{Event, Feed};
use super::score::{Estimate, Estimator};

/// A camera of a group.
#[derive(Clone, Debug)]
pub struct Member {
    /// The camera.
    pub camera: Camera,
    /// From a frame's first packet to its decoded picture.
    pub decode: Span,
    /// The daemon says so when it has no frame for this long.
    pub stall_after: Span,
}

impl Member {
    /// With a decoder of 20 ms and the daemon's limit for a stall, 4 s.
    pub fn of(camera: Camera) -> Member {
        Member {
            camera,
            decode: Span::from_millis(20),
            stall_after: Span::from_secs(4),
        }
    }
}

/// What came of a group.
#[derive(Clone, Debug, Default)]
pub struct GroupScore {
    /// Packets.
    pub packets: usize,
    /// Packets with a frame of every camera.
    pub complete: usize,
    /// True spread of each packet of two frames or more: of captures, not of estimates.
    pub spreads: Vec<Span>,
    /// For each packet, from the capture of its first frame until it left.
    pub latencies: Vec<Span>,
    /// Longest time between two packets.
    pub longest_gap: Span,
    /// Slots of each status, by camera: okay, dropped, read error, broken.
    pub slots: Vec<[usize; 4]>,
    /// What broke the aligner's contract; empty: nothing.
    pub violations: Vec<String>,
}

enum What {
    Frame(Frame<Mono>),
    Up,
    Down,
}

/// Runs a group for `length` of true time.
pub fn run_group(
    members: &[Member],
    config: impl FnOnce(Vec<StreamId>) -> AlignConfig,
    clock: &BoxClock,
    length: Span,
    seed: u64,
) -> GroupScore {
    let ids: Vec<StreamId> = (0..members.len())
        .filter_map(|i| StreamId::new(&format!("cam{i}")).ok())
        .collect();
    let mut inputs: Vec<(Mono, usize, What)> = Vec::new();
    for (c, member) in members.iter().enumerate() {
        inputs.extend(decoded(member, c, ids[c], clock, length, seed));
    }
    inputs.sort_by_key(|i| (i.0, i.1));
    let mut aligner = Aligner::new(config(ids.clone()));
    let mut score = GroupScore {
        slots: vec![[0; 4]; ids.len()],
        ..GroupScore::default()
    };
    let mut last: Option<(Mono, Mono)> = None;
    let mut given = 0_u64;
    for (now, camera, what) in inputs {
        while let Some(deadline) = aligner.deadline().filter(|d| *d < now) {
            aligner.handle_time(deadline);
            score.take(&mut aligner, deadline, &mut last);
        }
        aligner.handle(
            now,
            match what {
                What::Frame(frame) => {
                    given += 1;
                    AlignInput::Frame(frame)
                }
                What::Up => AlignInput::Up(ids[camera]),
                What::Down => AlignInput::Down(ids[camera], synoptic_base::BrokenReason::Stalled),
            },
        );
        score.take(&mut aligner, now, &mut last);
    }
    while let Some(deadline) = aligner.deadline() {
        aligner.handle_time(deadline);
        score.take(&mut aligner, deadline, &mut last);
    }
    let packed: u64 = score.slots.iter().map(|s| s[0] as u64).sum();
    let dropped: u64 = ids
        .iter()
        .filter_map(|id| aligner.drops(*id))
        .flat_map(|d| d.by_reason())
        .map(|d| d.1)
        .sum();
    if packed + dropped != given {
        score.violations.push(format!(
            "{given} frames given, {packed} in packets, {dropped} dropped"
        ));
    }
    score
}

/// A camera's frames as they leave its decoder, in order, and what the daemon says of it.
fn decoded(
    member: &Member,
    index: usize,
    id: StreamId,
    clock: &BoxClock,
    length: Span,
    seed: u64,
) -> Vec<(Mono, usize, What)> {
    let mut engine = Engine::new(&member.camera);
    let mut out = Vec::new();
    let mut last: Option<Mono> = None;
    let mut seq = 0;
    for event in Feed::new(
        &member.camera,
        clock,
        length,
        seed.wrapping_mul(1_000_003) + index as u64,
    ) {
        match event {
            Event::Reconnect(now) => engine.reconnect(now),
            Event::Report(report) => engine.report(&report),
            Event::Frame(seen) => {
                let Some(Estimate::Box(captured)) = engine.frame(&seen) else {
                    continue;
                };
                let now = last.map_or(seen.arrival + member.decode, |l| {
                    (seen.arrival + member.decode).max(l + Span::from_micros(1))
                });
                let stalled = last.filter(|l| now - *l > member.stall_after);
                if let Some(last) = stalled {
                    out.push((last + member.stall_after, index, What::Down));
                }
                if last.is_none() || stalled.is_some() {
                    out.push((now, index, What::Up));
                }
                last = Some(now);
                let meta = FrameMeta {
                    key: FrameKey {
                        stream: id,
                        epoch: Epoch(engine.epochs()),
                        media_us: MediaTime::from_micros(seq as i64),
                    },
                    seq: Seq(seq),
                    arrival: seen.arrival,
                    captured,
                    size: Size::new(640, 360),
                    kind: FrameKind::P,
                };
                seq += 1;
                out.push((
                    now,
                    index,
                    What::Frame(Frame {
                        meta,
                        pixels: seen.captured,
                    }),
                ));
            }
        }
    }
    if let Some(last) = last {
        out.push((last + member.stall_after, index, What::Down));
    }
    out
}

impl GroupScore {
    fn take(&mut self, aligner: &mut Aligner<Mono>, now: Mono, last: &mut Option<(Mono, Mono)>) {
        while let Some(packet) = aligner.poll() {
            self.judge(&packet, aligner.tolerance(), now, last);
        }
    }

    fn judge(
        &mut self,
        packet: &FramePacket<Mono>,
        tolerance: Span,
        now: Mono,
        last: &mut Option<(Mono, Mono)>,
    ) {
        self.packets += 1;
        self.complete += usize::from(packet.is_complete());
        let truths = || packet.frames().map(|f| f.pixels);
        if let (Some(first), Some(newest)) = (truths().min(), truths().max()) {
            if packet.frames().count() > 1 {
                self.spreads.push(newest - first);
            }
            self.latencies.push(now - first);
        }
        for (slots, (_, slot)) in self.slots.iter_mut().zip(&packet.slots) {
            slots[match slot.status() {
                SlotStatus::Okay => 0,
                SlotStatus::Dropped => 1,
                SlotStatus::ReadError => 2,
                SlotStatus::Broken => 3,
            }] += 1;
        }
        for frame in packet.frames() {
            let off = (frame.meta.captured.mono - packet.instant).abs();
            if off > tolerance {
                self.violations.push(format!(
                    "packet {}: {} is {off} off its instant",
                    packet.id.0, frame.meta.key.stream
                ));
            }
        }
        if let Some((instant, left)) = *last {
            if packet.instant <= instant {
                self.violations
                    .push(format!("packet {} is not after the one before", packet.id.0));
            }
            self.longest_gap = self.longest_gap.max(now - left);
        }
        *last = Some((packet.instant, now));
    }
}
