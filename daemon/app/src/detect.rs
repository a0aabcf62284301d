//! A group's detect thread: packets in, detections, tracks and events out. The newest packet wins: while the
//! detector is busy, packets are passed over and counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use synoptic_base::{
    BBox, BestFrame, Clock, ClockMap, Detection, Detector, EventChange, Frame, FrameMeta, FramePacket, Mono,
    Picture, Slot, Span, StreamId, TrackId,
};
use synoptic_engine::pair::{Look, SubStream};
use synoptic_engine::rules::{EventMachine, EventOutput};
use synoptic_engine::track::TrackInput;
use synoptic_media::Pixels;
use synoptic_store::{DetectionRow, Store};
use synoptic_vision::jpeg;

use crate::beat::Pulse;
use crate::board::Board;
use crate::documents::DetectionDoc;
use crate::hub::{Hub, LatestPicture};
use crate::recorder::Recorder;

/// The thread looks up at least this often, packets or not: tracks end when time passes.
const TICK: Span = Span::from_millis(250);
/// Quality of event pictures: no visible loss at 640 pixels across, about 40 kB.
const JPEG_QUALITY: u8 = 85;
/// A detection is ignored when more than this part of its box lies in ignored regions.
const IGNORED_PART: f32 = 0.5;

/// A detector and the cameras it looks at.
pub(crate) struct Watch {
    pub detector: Box<dyn Detector>,
    /// The score from which its detections are believed, 0 to 1.
    pub threshold: f32,
    pub cameras: Vec<StreamId>,
}

/// What a detect thread needs.
pub(crate) struct DetectTask {
    pub packets: Receiver<FramePacket<Pixels>>,
    /// Frames of the sub streams.
    pub sub_frames: Receiver<Frame<Pixels>>,
    /// One for each camera that has a sub stream: its detector looks at that.
    pub subs: BTreeMap<StreamId, SubStream<Pixels>>,
    pub board: Arc<Board>,
    pub watches: Vec<Watch>,
    /// One for each camera with a detector.
    pub machines: BTreeMap<StreamId, EventMachine>,
    /// Parts of each camera's picture in which nothing is detected.
    pub ignore: BTreeMap<StreamId, Vec<BBox>>,
    pub recorder: Arc<Recorder>,
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub map: Arc<ArcSwap<ClockMap>>,
    pub hub: Arc<Hub>,
    pub pulse: Pulse,
}

impl DetectTask {
    /// Runs until the group's thread is gone, then ends the events that last.
    pub(crate) fn run(mut self) {
        loop {
            self.pulse.beat();
            let now = self.clock.now();
            let deadline = self.machines.values().filter_map(EventMachine::deadline).min();
            let wait = deadline.map_or(TICK, |d| (d - now).min(TICK));
            match self.packets.recv_timeout(wait.to_std()) {
                Ok(packet) => self.packet(&packet),
                Err(RecvTimeoutError::Timeout) => self.tell_all(TrackInput::Time),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let map = **self.map.load();
        for (camera, machine) in &mut self.machines {
            machine.shutdown(&map);
            drain(machine, camera, None, &self.recorder);
        }
    }

    fn packet(&mut self, packet: &FramePacket<Pixels>) {
        let now = self.clock.now();
        for (camera, slot) in &packet.slots {
            if let (Slot::Broken(_), Some(machine)) = (slot, self.machines.get_mut(camera)) {
                machine.handle(now, TrackInput::CameraLost, &self.map.load());
                drain(machine, camera, None, &self.recorder);
            }
        }
        let watched: Vec<StreamId> = self
            .watches
            .iter()
            .flat_map(|w| w.cameras.iter().copied())
            .collect();
        for frame in packet.frames().filter(|f| !watched.contains(&f.meta.key.stream)) {
            self.show(frame, None);
        }
        for index in 0..self.watches.len() {
            let cameras = self.watches[index].cameras.clone();
            let mut looks: Vec<(&Frame<Pixels>, Option<Frame<Pixels>>)> = Vec::new();
            for frame in packet.frames().filter(|f| cameras.contains(&f.meta.key.stream)) {
                match self.look(now, &frame.meta) {
                    Look::Sub(sub) => looks.push((frame, Some(sub))),
                    Look::Main => looks.push((frame, None)),
                    Look::Nothing | Look::Wait(_) => self.show(frame, None),
                }
            }
            if looks.is_empty() {
                continue;
            }
            let batch: Vec<Picture<'_>> = looks
                .iter()
                .map(|(main, sub)| sub.as_ref().unwrap_or(main))
                .map(|f| Picture {
                    meta: &f.meta,
                    surface: &*f.pixels,
                })
                .collect();
            let watch = &mut self.watches[index];
            let found = match watch.detector.detect(&batch) {
                Ok(found) => found,
                Err(error) => {
                    log::error!("{error}");
                    looks.iter().for_each(|(frame, _)| self.show(frame, None));
                    continue;
                }
            };
            drop(batch);
            let frames = looks.iter().map(|(main, _)| *main);
            let name = watch.detector.name().to_owned();
            for (frame, mut detections) in frames.zip(found) {
                if let Some(regions) = self.ignore.get(&frame.meta.key.stream) {
                    detections.retain(|d| !is_ignored(&d.bbox, regions));
                }
                self.found(now, frame, detections, &name);
            }
        }
    }

    /// What to look at for a frame of a packet taken at `taken`. Boxes are fractions of the picture, and both streams of
    /// a camera show the same scene: what is found in the sub frame needs no scaling to be the main frame's.
    fn look(&mut self, taken: Mono, main: &FrameMeta) -> Look<Pixels> {
        let camera = main.key.stream;
        loop {
            for frame in self.sub_frames.try_iter() {
                if let Some(sub) = self.subs.get_mut(&frame.meta.key.stream) {
                    sub.push(frame);
                }
            }
            let now = self.clock.now();
            let Some(sub) = self.subs.get_mut(&camera) else {
                return Look::Main;
            };
            match sub.look(now, taken, main) {
                Look::Wait(until) => {
                    if let Ok(frame) = self.sub_frames.recv_timeout((until - now).to_std())
                        && let Some(sub) = self.subs.get_mut(&frame.meta.key.stream)
                    {
                        sub.push(frame);
                    }
                }
                look => {
                    self.board.sub_looked(camera, sub.counts());
                    return look;
                }
            }
        }
    }

    /// One frame's detections: to the tracker, the page, the store.
    fn found(&mut self, now: Mono, frame: &Frame<Pixels>, detections: Vec<Detection>, detector: &str) {
        let camera = frame.meta.key.stream;
        let map = **self.map.load();
        let mut ids = vec![None; detections.len()];
        if let Some(machine) = self.machines.get_mut(&camera) {
            machine.handle(
                now,
                TrackInput::Frame {
                    meta: &frame.meta,
                    detections: &detections,
                },
                &map,
            );
            if let Some(tracked) = drain(machine, &camera, Some(frame), &self.recorder) {
                ids = tracked;
            }
        }
        let docs = detections.iter().zip(ids).map(|(d, track)| DetectionDoc {
            track: track.map(|t| t.0),
            label: d.label.clone(),
            score: d.score,
            bbox: [d.bbox.x, d.bbox.y, d.bbox.w, d.bbox.h],
        });
        self.show(frame, Some(docs.collect()));
        self.store.record_detections(DetectionRow {
            frame: frame.meta.key,
            captured: frame.meta.captured,
            stamp: map.stamp(frame.meta.captured),
            map_version: map.version,
            detector: detector.to_owned(),
            detections,
        });
    }

    fn show(&self, frame: &Frame<Pixels>, detections: Option<Vec<DetectionDoc>>) {
        self.hub.show(LatestPicture {
            meta: frame.meta,
            detections,
            pixels: frame.pixels.clone(),
        });
    }

    fn tell_all(&mut self, input: TrackInput<'_>) {
        let now = self.clock.now();
        for (camera, machine) in &mut self.machines {
            machine.handle(now, input, &self.map.load());
            drain(machine, camera, None, &self.recorder);
        }
    }
}

/// Whether most of a box lies in the regions. Regions that overlap count twice where they do.
fn is_ignored(bbox: &BBox, regions: &[BBox]) -> bool {
    let covered: f32 = regions.iter().map(|r| bbox.intersection(r)).sum();
    covered > bbox.area() * IGNORED_PART
}

/// Carries out what an event machine says. `frame` is the frame just handled, whose picture it may want. Returns
/// the track of each of its detections.
fn drain(
    machine: &mut EventMachine,
    camera: &StreamId,
    frame: Option<&Frame<Pixels>>,
    recorder: &Recorder,
) -> Option<Vec<Option<TrackId>>> {
    let mut ids = None;
    while let Some(output) = machine.poll() {
        match output {
            EventOutput::Begin(event) => {
                log::info!("camera {camera}: {} appeared: event {}", event.label, event.id.0);
                recorder.record(EventChange::Begin(event));
            }
            EventOutput::WantPicture { id, sighting } => {
                let Some(frame) = frame.filter(|f| f.meta.key == sighting.frame) else {
                    continue;
                };
                match jpeg::encode(&*frame.pixels, JPEG_QUALITY) {
                    Ok(jpeg) => {
                        let picture = BestFrame {
                            frame: sighting.frame,
                            jpeg,
                        };
                        recorder.record(EventChange::Best {
                            id,
                            sighting,
                            picture,
                        });
                    }
                    Err(error) => log::error!("event {}: no picture of {}: {error}", id.0, sighting.frame),
                }
            }
            EventOutput::End {
                id,
                last,
                reason,
                sightings,
            } => {
                log::info!("camera {camera}: event {} ended: {}", id.0, reason.name());
                recorder.record(EventChange::End {
                    id,
                    last,
                    reason,
                    sightings,
                });
            }
            EventOutput::Tracked(tracked) => ids = Some(tracked.ids),
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_ignored_when_most_of_it_lies_in_the_regions() {
        let top = [BBox::new(0.0, 0.0, 1.0, 0.1)];
        assert!(is_ignored(&BBox::new(0.2, 0.0, 0.1, 0.15), &top));
        assert!(!is_ignored(&BBox::new(0.2, 0.05, 0.1, 0.15), &top));
        assert!(!is_ignored(&BBox::new(0.2, 0.0, 0.1, 0.1), &[]));
        let halves = [BBox::new(0.0, 0.0, 0.5, 1.0), BBox::new(0.5, 0.0, 0.5, 1.0)];
        assert!(is_ignored(&BBox::new(0.4, 0.4, 0.2, 0.2), &halves));
    }
}
