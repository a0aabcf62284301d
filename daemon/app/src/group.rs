//! A group's thread: cameras in, packets out. The aligner decides; this thread waits for it and passes on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, TrySendError, after, select};
use synoptic_base::{
    BrokenReason, Clock, ClockMap, FrameKey, FramePacket, Outage, Slot, Span, StreamId, StreamStart,
};
use synoptic_engine::align::{AlignConfig, AlignInput, Aligner};
use synoptic_engine::sync::SyncMonitor;
use synoptic_engine::system::SystemInput;
use synoptic_media::{CameraNote, CameraState as Connection, FrameQueue, Pixels};
use synoptic_packets::{CameraLine, Share};

use crate::beat::Pulse;
use crate::board::Board;
use crate::documents::{CameraState, Capture, PacketLine, PacketSlot, round_ms};
use crate::hub::Hub;
use crate::panorama::Mailboxes;
use crate::watchman::Watchman;

/// How often figures go to the board.
const REPORT_INTERVAL: Span = Span::from_millis(500);

/// Frames whose time of coming is remembered until their packet is made: two seconds of eight cameras at 30 frames a
/// second. Of those that wait longer the stage is not measured.
const TAKEN: usize = 480;

/// Both ends of a mailbox for one packet, of which the newest wins: the second takes the old one out.
pub(crate) type Mailbox = (Sender<FramePacket<Pixels>>, Receiver<FramePacket<Pixels>>);

/// What a group's thread needs.
pub(crate) struct GroupTask {
    pub id: StreamId,
    pub config: AlignConfig,
    /// Cameras that deliver already: they were kept from the group that this one replaces.
    pub online: Vec<StreamId>,
    pub frames: FrameQueue<Pixels>,
    pub notes: Receiver<CameraNote>,
    /// What the sub streams tell.
    pub sub_notes: Receiver<CameraNote>,
    /// Where the sub streams' frames go, for its drop counter; `None` without any.
    pub sub_frames: Option<FrameQueue<Pixels>>,
    /// Closed when the group is to end.
    pub stopped: Receiver<()>,
    /// The detect thread's mailbox: one packet, the newest wins.
    pub detect: Sender<FramePacket<Pixels>>,
    /// The same mailbox's other end, to take the old packet out.
    pub detect_behind: Receiver<FramePacket<Pixels>>,
    /// Packets for other programs.
    pub share: Option<Arc<Share>>,
    /// The same for each panorama of the group.
    pub stitch: Mailboxes,
    pub clock: Arc<dyn Clock>,
    pub map: Arc<ArcSwap<ClockMap>>,
    pub hub: Arc<Hub>,
    pub board: Arc<Board>,
    pub watchman: Arc<Watchman>,
    pub pulse: Pulse,
}

impl GroupTask {
    /// Runs until stopped.
    pub(crate) fn run(self) {
        let mut aligner = Aligner::new(self.config.clone());
        let mut monitor = SyncMonitor::new(&self.config.cameras);
        for camera in &self.online {
            aligner.handle(self.clock.now(), AlignInput::Up(*camera));
        }
        let mut next_report = self.clock.now();
        let mut undetected = 0_u64;
        let mut taken = VecDeque::with_capacity(TAKEN);
        let mut unpacked = Unpacked::default();
        loop {
            let now = self.clock.now();
            let wake = aligner.deadline().map_or(next_report, |d| d.min(next_report));
            let timer = after((wake - now).to_std());
            select! {
                recv(self.frames.receiver()) -> frame => if let Ok(frame) = frame {
                    let now = self.clock.now();
                    self.board.camera_frame(frame.meta.key.stream, now);
                    self.hub.stages.took("decode", now - frame.meta.arrival);
                    self.hub.lit(&frame);
                    self.hub.taps.offer(&frame);
                    if taken.len() == TAKEN {
                        taken.pop_front();
                    }
                    taken.push_back((frame.meta.key, now));
                    self.hub.found.skipped(unpacked.frame(frame.meta.key));
                    aligner.handle(now, AlignInput::Frame(frame));
                },
                recv(self.notes) -> note => match note {
                    Ok(note) => self.note(&mut aligner, &mut monitor, note),
                    Err(_) => return,
                },
                recv(self.sub_notes) -> note => match note {
                    Ok(note) => self.sub_note(note),
                    Err(_) => return,
                },
                recv(self.stopped) -> _ => return,
                recv(timer) -> _ => aligner.handle_time(self.clock.now()),
            }
            while let Some(packet) = aligner.poll() {
                let now = self.clock.now();
                for frame in packet.frames() {
                    let found = taken.iter().find(|(key, _)| *key == frame.meta.key);
                    if let Some((_, at)) = found {
                        self.hub.stages.took("align", now - *at);
                    }
                }
                let keys = packet.frames().map(|f| f.meta.key);
                self.hub
                    .found
                    .skipped(keys.flat_map(|key| unpacked.packed(key)).collect());
                monitor.handle(now, &packet);
                self.publish(&packet);
                if let Some(share) = &self.share {
                    share.offer(&packet);
                }
                for (panorama, behind) in self.stitch.load().iter() {
                    // What a panorama passes over shows in its frame rate.
                    hand_over(panorama, behind, packet.clone());
                }
                undetected += self.detect(packet);
            }
            let now = self.clock.now();
            if now >= next_report {
                next_report = now + REPORT_INTERVAL;
                self.report(&aligner, &mut monitor, undetected);
                self.pulse.beat();
            }
        }
    }

    fn note(&self, aligner: &mut Aligner<Pixels>, monitor: &mut SyncMonitor, note: CameraNote) {
        let now = self.clock.now();
        match note {
            CameraNote::State {
                camera,
                state,
                reason,
            } => {
                let shown = shown(state);
                if let Some(share) = &self.share {
                    let reason = reason.clone();
                    share.camera(
                        camera,
                        CameraLine {
                            state: word(state),
                            reason,
                        },
                    );
                }
                let input = match state {
                    Connection::Connecting => None,
                    Connection::Online => Some(AlignInput::Up(camera)),
                    Connection::Stalled => Some(AlignInput::Down(camera, BrokenReason::Stalled)),
                    Connection::Offline | Connection::AuthFailed => {
                        Some(AlignInput::Down(camera, BrokenReason::Disconnected))
                    }
                };
                if matches!(input, Some(AlignInput::Down(..))) {
                    monitor.down(camera);
                }
                if let Some(input) = input {
                    aligner.handle(now, input);
                }
                match state {
                    Connection::Connecting => {}
                    Connection::Online => self.watchman.see(SystemInput::Online(camera)),
                    Connection::Stalled => self.away(camera, Outage::Stalled, &reason),
                    Connection::Offline => self.away(camera, Outage::Offline, &reason),
                    Connection::AuthFailed => self.away(camera, Outage::AuthFailed, &reason),
                }
                let utc = self.map.load().utc(now);
                if self.board.camera_state(camera, shown, reason, utc) && shown == CameraState::Online {
                    log::info!("camera {camera}: online");
                }
            }
            CameraNote::Format { camera, epoch, info } => self.board.camera_stream(camera, info, epoch.0),
            CameraNote::Health { camera, health } => {
                if let Some(source) = health.source {
                    self.watchman.see(SystemInput::Source(camera, source));
                }
                self.board.camera_health(camera, health);
                if let Some(findings) = self.board.camera_findings(&camera, &self.map.load()) {
                    // Steps are told one by one.
                    let told = findings.into_iter().filter(|(word, _)| *word != "steps");
                    self.watchman.see(SystemInput::Findings(camera, told.collect()));
                }
            }
            CameraNote::Restamp(better) => {
                self.watchman
                    .see(SystemInput::Restamp(better.stream, better.restamp));
            }
            CameraNote::Start {
                camera,
                epoch,
                zero,
                numbering,
                drift_ppm,
            } => {
                let stamp = self.map.load().stamp(zero);
                let start = self.hub.starts.see(StreamStart {
                    stream: camera,
                    epoch,
                    utc: stamp.utc,
                    error: stamp.error,
                    source: stamp.source,
                    numbering,
                    drift_ppm,
                });
                self.board.camera_start(&start);
            }
            CameraNote::Stats { camera, stats } => self.board.camera_stats(camera, stats),
            CameraNote::Unreadable { camera, captured } => {
                aligner.handle(now, AlignInput::Unreadable(camera, captured));
            }
            CameraNote::Drops {
                camera,
                reason,
                total,
            } => self.board.camera_drops(camera, reason, total),
            CameraNote::WallStep { camera, step } => {
                self.watchman.see(SystemInput::CameraStep(camera, step));
            }
        }
    }

    fn away(&self, camera: StreamId, outage: Outage, reason: &Option<String>) {
        self.watchman
            .see(SystemInput::Away(camera, outage, reason.clone()));
    }

    /// A sub stream makes no packets: all that it tells goes to the board.
    fn sub_note(&self, note: CameraNote) {
        match note {
            CameraNote::State {
                camera,
                state,
                reason,
            } => {
                let utc = self.map.load().utc(self.clock.now());
                self.board.sub_state(camera, shown(state), reason, utc);
            }
            CameraNote::Stats { camera, stats } => self.board.sub_stats(camera, stats),
            // Its time is the main stream's, from the same camera; a frame that is lost shows in the pairing.
            CameraNote::Format { .. }
            | CameraNote::Drops { .. }
            | CameraNote::Health { .. }
            | CameraNote::Start { .. }
            | CameraNote::Restamp(_)
            | CameraNote::Unreadable { .. }
            | CameraNote::WallStep { .. } => {}
        }
    }

    /// Gives a packet to the detector. Returns the number of packets that nobody will look at.
    fn detect(&self, packet: FramePacket<Pixels>) -> u64 {
        let lost = hand_over(&self.detect, &self.detect_behind, packet);
        for packet in &lost {
            let keys = packet.frames().map(|f| f.meta.key).collect();
            self.hub.found.skipped(keys);
        }
        lost.len() as u64
    }

    fn publish(&self, packet: &FramePacket<Pixels>) {
        if self.hub.packets.receiver_count() == 0 {
            return;
        }
        let map = self.map.load();
        let slot = |(camera, slot): &(StreamId, Slot<Pixels>)| {
            let meta = slot.frame().map(|f| f.meta);
            PacketSlot {
                cam: camera.to_string(),
                status: slot.status().name().to_owned(),
                frame: meta.map(|m| m.key.to_string()),
                kind: meta.map(|m| m.kind.name().to_owned()),
                capture: meta.map(|m| Capture::new(m.captured, &map)),
                phase_ms: meta.map(|m| round_ms(m.captured.mono - packet.instant)),
            }
        };
        let line = PacketLine {
            group: self.id.to_string(),
            id: packet.id.0,
            utc: map.utc(packet.instant).to_rfc3339(),
            spread_ms: round_ms(packet.spread),
            slots: packet.slots.iter().map(slot).collect(),
        };
        // Without readers there is nobody to tell.
        self.hub.packets.send(Arc::new(line)).ok();
    }

    fn report(&self, aligner: &Aligner<Pixels>, monitor: &mut SyncMonitor, undetected: u64) {
        let id = self.id.as_str();
        self.hub.stages.depth(id, "frames", self.frames.receiver().len());
        self.hub.stages.depth(id, "packets", self.detect.len());
        self.board
            .group(self.id, aligner.tolerance(), monitor.report(self.clock.now()));
        for camera in &self.config.cameras {
            for (reason, count) in aligner.drops(*camera).into_iter().flat_map(|d| d.by_reason()) {
                self.board.camera_drops(*camera, reason, count);
            }
            self.board.camera_drops(*camera, "not_detected", undetected);
            if let Some(share) = &self.share {
                self.board.camera_drops(*camera, "not_shared", share.lost());
            }
            self.board
                .camera_drops(*camera, "queue_full", self.frames.dropped());
            if let Some(sub) = &self.sub_frames {
                self.board
                    .camera_drops(*camera, "sub_not_detected", sub.dropped());
            }
        }
    }
}

/// A connection's state as other programs read it: the words of the documents.
const fn word(state: Connection) -> &'static str {
    match state {
        Connection::Connecting => "connecting",
        Connection::Online => "online",
        Connection::Stalled => "stalled",
        Connection::Offline => "offline",
        Connection::AuthFailed => "auth_failed",
    }
}

/// Frames that are in no packet yet. Once a packet has a later one of the same camera, they never will be.
#[derive(Default)]
struct Unpacked(BTreeMap<StreamId, VecDeque<FrameKey>>);

impl Unpacked {
    /// A frame came. Returns one that waited too long to be remembered.
    fn frame(&mut self, key: FrameKey) -> Vec<FrameKey> {
        let waiting = self.0.entry(key.stream).or_default();
        waiting.push_back(key);
        if waiting.len() > TAKEN {
            return waiting.pop_front().into_iter().collect();
        }
        Vec::new()
    }

    /// A frame is in a packet. Returns those before it, which are in none.
    fn packed(&mut self, key: FrameKey) -> Vec<FrameKey> {
        let Some(waiting) = self.0.get_mut(&key.stream) else {
            return Vec::new();
        };
        let mut never = Vec::new();
        while let Some(first) = waiting.front().copied().filter(|first| *first <= key) {
            waiting.pop_front();
            if first != key {
                never.push(first);
            }
        }
        never
    }
}

/// Gives a packet to who works on packets; where that still has one, the new one takes its place. Returns the packets that
/// nobody will look at.
fn hand_over(
    to: &Sender<FramePacket<Pixels>>,
    behind: &Receiver<FramePacket<Pixels>>,
    packet: FramePacket<Pixels>,
) -> Vec<FramePacket<Pixels>> {
    match to.try_send(packet) {
        Ok(()) => Vec::new(),
        Err(TrySendError::Full(packet)) => {
            let displaced = behind.try_recv().ok();
            let refused = to.try_send(packet).err().map(TrySendError::into_inner);
            displaced.into_iter().chain(refused).collect()
        }
        Err(TrySendError::Disconnected(packet)) => vec![packet],
    }
}

/// A connection's state as documents have it.
fn shown(state: Connection) -> CameraState {
    match state {
        Connection::Connecting => CameraState::Connecting,
        Connection::Online => CameraState::Online,
        Connection::Stalled => CameraState::Stalled,
        Connection::Offline => CameraState::Offline,
        Connection::AuthFailed => CameraState::AuthFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use synoptic_base::{Epoch, MediaTime};

    #[test]
    fn frames_before_one_in_a_packet_are_told_as_passed_over_once() {
        let key = |epoch, us| FrameKey {
            stream: StreamId::new("gate").unwrap(),
            epoch: Epoch(epoch),
            media_us: MediaTime::from_micros(us),
        };
        let mut unpacked = Unpacked::default();
        for us in [1, 2, 3, 4] {
            assert!(unpacked.frame(key(1, us)).is_empty());
        }
        assert_eq!(unpacked.packed(key(1, 3)), [key(1, 1), key(1, 2)]);
        assert!(unpacked.packed(key(1, 3)).is_empty());
        unpacked.frame(key(2, 0));
        assert_eq!(unpacked.packed(key(2, 0)), [key(1, 4)], "of the epoch before");
    }
}
