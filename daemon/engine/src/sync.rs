//! How well a group of cameras is in step: the last seconds of its packets, summed up.

use std::collections::VecDeque;

use synoptic_base::{FramePacket, Mono, SlotStatus, Span, StreamId};

/// What the figures are taken over.
pub const WINDOW: Span = Span::from_secs(10);
/// Share of complete packets from which a group is locked.
const LOCKED_RATIO: f64 = 0.95;
/// Packets remembered at most: 10 s at 120 fps.
const CAPACITY: usize = 1_200;

/// State of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncGrade {
    /// Nearly every packet is complete.
    Locked,
    /// Some packets lack a camera.
    Degraded,
    /// Fewer than two cameras deliver (none, in a group of one).
    Lost,
}

/// A camera in the newest packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemberReport {
    /// The camera.
    pub camera: StreamId,
    /// Its slot.
    pub status: SlotStatus,
    /// Capture time minus the packet's instant; `None` unless okay.
    pub phase: Option<Span>,
}

/// The figures.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncReport {
    /// The verdict.
    pub grade: SyncGrade,
    /// Median, 95th percentile and maximum of the spread; `None` without packets of two frames or more.
    pub spread: Option<[Span; 3]>,
    /// Complete packets / packets; `None` without packets.
    pub complete_ratio: Option<f64>,
    /// Packets a second.
    pub packets_per_s: f64,
    /// Cameras, in the order of the slots.
    pub members: Vec<MemberReport>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Mono,
    spread: Option<Span>,
    okay: usize,
}

/// Sums up packets. One for each group.
#[derive(Clone, Debug)]
pub struct SyncMonitor {
    seen: VecDeque<Seen>,
    members: Vec<MemberReport>,
}

impl SyncMonitor {
    /// A monitor that has seen nothing.
    pub fn new(cameras: &[StreamId]) -> SyncMonitor {
        let member = |camera: &StreamId| MemberReport {
            camera: *camera,
            status: SlotStatus::Broken,
            phase: None,
        };
        SyncMonitor {
            seen: VecDeque::new(),
            members: cameras.iter().map(member).collect(),
        }
    }

    /// Takes a packet as it leaves the aligner.
    pub fn handle<P>(&mut self, now: Mono, packet: &FramePacket<P>) {
        let okay = packet.frames().count();
        let spread = (okay > 1).then_some(packet.spread);
        if self.seen.len() == CAPACITY {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen {
            at: now,
            spread,
            okay,
        });
        self.members = packet
            .slots
            .iter()
            .map(|(camera, slot)| MemberReport {
                camera: *camera,
                status: slot.status(),
                phase: slot.frame().map(|f| f.meta.captured.mono - packet.instant),
            })
            .collect();
    }

    /// A camera delivers no more; packets may not come to say so.
    pub fn down(&mut self, camera: StreamId) {
        for member in self.members.iter_mut().filter(|m| m.camera == camera) {
            *member = MemberReport {
                camera,
                status: SlotStatus::Broken,
                phase: None,
            };
        }
    }

    /// The figures of the last ten seconds.
    pub fn report(&mut self, now: Mono) -> SyncReport {
        while self.seen.front().is_some_and(|s| now - s.at > WINDOW) {
            self.seen.pop_front();
        }
        let cameras = self.members.len();
        let mut spreads: Vec<Span> = self.seen.iter().filter_map(|s| s.spread).collect();
        spreads.sort_unstable();
        let quantile = |q: usize| spreads[(spreads.len() - 1) * q / 100];
        let complete = self.seen.iter().filter(|s| s.okay == cameras).count();
        let ratio = (!self.seen.is_empty()).then(|| complete as f64 / self.seen.len() as f64);
        let covered = self
            .seen
            .front()
            .map_or(Span::ZERO, |s| now - s.at)
            .max(Span::from_secs(1));
        let delivering = self
            .members
            .iter()
            .filter(|m| m.status != SlotStatus::Broken)
            .count();
        let grade = match ratio {
            Some(ratio) if delivering == cameras && ratio >= LOCKED_RATIO => SyncGrade::Locked,
            Some(_) if delivering >= cameras.min(2) && delivering > 0 => SyncGrade::Degraded,
            _ => SyncGrade::Lost,
        };
        SyncReport {
            grade,
            spread: (!spreads.is_empty()).then(|| [quantile(50), quantile(95), quantile(100)]),
            complete_ratio: ratio,
            packets_per_s: self.seen.len() as f64 / covered.as_secs_f64(),
            members: self.members.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use synoptic_base::{
        BrokenReason, Captured, Epoch, Frame, FrameKey, FrameKind, FrameMeta, MediaTime, PacketId, Seq, Size,
        Slot, TimeSource,
    };

    use super::*;

    fn id(i: usize) -> StreamId {
        StreamId::new(&format!("cam{i}")).unwrap()
    }

    /// A packet at `ms` in which the cameras in `okay` have a frame, 10 ms apart, and the others nothing.
    fn packet(ms: i64, okay: &[bool], otherwise: fn() -> Slot<()>) -> FramePacket<()> {
        let at = Mono::from_nanos(ms * 1_000_000);
        let slot = |i: usize| {
            let captured = Captured {
                mono: at + Span::from_millis(10 * i as i64),
                rel_error: Span::ZERO,
                source: TimeSource::Host,
            };
            let key = FrameKey {
                stream: id(i),
                epoch: Epoch(0),
                media_us: MediaTime::default(),
            };
            let meta = FrameMeta {
                key,
                seq: Seq(0),
                arrival: at,
                captured,
                size: Size::new(2, 2),
                kind: FrameKind::I,
            };
            Slot::Okay(Frame { meta, pixels: () })
        };
        let slots = okay
            .iter()
            .enumerate()
            .map(|(i, o)| (id(i), if *o { slot(i) } else { otherwise() }));
        let spread = Span::from_millis(10 * (okay.len() as i64 - 1));
        FramePacket {
            id: PacketId(0),
            instant: at,
            slots: slots.collect(),
            spread,
        }
    }

    #[test]
    fn locked_degraded_lost() {
        let mut monitor = SyncMonitor::new(&[id(0), id(1)]);
        let now = |ms: i64| Mono::from_nanos(ms * 1_000_000);
        assert_eq!(monitor.report(now(0)).grade, SyncGrade::Lost);
        for i in 0..100 {
            monitor.handle(now(i * 100), &packet(i * 100, &[true, true], || Slot::Dropped));
        }
        let report = monitor.report(now(9_900));
        assert_eq!(
            (report.grade, report.complete_ratio),
            (SyncGrade::Locked, Some(1.0))
        );
        assert_eq!(report.spread, Some([Span::from_millis(10); 3]));
        assert!(
            (report.packets_per_s - 10.0).abs() < 0.3,
            "{}",
            report.packets_per_s
        );
        for i in 100..120 {
            monitor.handle(now(i * 100), &packet(i * 100, &[true, false], || Slot::Dropped));
        }
        assert_eq!(monitor.report(now(12_000)).grade, SyncGrade::Degraded);
        monitor.handle(
            now(12_100),
            &packet(12_100, &[true, false], || Slot::Broken(BrokenReason::Stalled)),
        );
        assert_eq!(monitor.report(now(12_100)).grade, SyncGrade::Lost);
        let silent = monitor.report(now(60_000));
        assert_eq!((silent.grade, silent.complete_ratio), (SyncGrade::Lost, None));
    }

    #[test]
    fn a_group_of_one_is_locked_by_itself() {
        let mut monitor = SyncMonitor::new(&[id(0)]);
        for i in 0..20 {
            let at = Mono::from_nanos(i * 100_000_000);
            monitor.handle(at, &packet(i * 100, &[true], || Slot::Dropped));
        }
        let report = monitor.report(Mono::from_nanos(2_000_000_000));
        assert_eq!((report.grade, report.spread), (SyncGrade::Locked, None));
        monitor.down(id(0));
        assert_eq!(
            monitor.report(Mono::from_nanos(2_000_000_000)).grade,
            SyncGrade::Lost
        );
    }
}
