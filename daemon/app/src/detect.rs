//! A group's detect thread: packets in, detections, tracks and events out. The newest packet wins: while the
//! detector is busy, packets are passed over and counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use synoptic_base::{
    BBox, BestFrame, Clock, ClockMap, Detection, Detector, DetectorError, EndReason, EventChange, Frame,
    FrameMeta, FramePacket, Mono, Picture, Slot, Span, StreamId, Surface, TrackId,
};
use synoptic_engine::pair::{Look, SubStream};
use synoptic_engine::rules::{EventMachine, EventOutput};
use synoptic_engine::track::TrackInput;
use synoptic_media::Pixels;
use synoptic_store::{DetectionRow, Store};
use synoptic_vision::{PictureBuf, jpeg};

use crate::beat::Pulse;
use crate::board::Board;
use crate::documents::DetectionDoc;
use crate::found::Looked;
use crate::hub::{Hub, LatestPicture};
use crate::look::{CameraLook, in_whole};
use crate::recorder::Recorder;

/// The thread looks up at least this often, packets or not: tracks end when time passes.
const TICK: Span = Span::from_millis(250);
/// Quality of event pictures: no visible loss at 640 pixels across, about 40 kB.
const JPEG_QUALITY: u8 = 85;
/// A detection is ignored when more than this part of its box lies in ignored regions.
const IGNORED_PART: f32 = 0.5;
/// A camera's frames in which its detector failed, among its drops.
const DETECT_FAILED: &str = "detect_failed";
/// A detector that fails says so again after this long.
const SAY_AGAIN: Span = Span::from_secs(10);

/// A detector and the cameras it looks at.
pub(crate) struct Watch {
    pub detector: Box<dyn Detector>,
    /// Its model; `motion` where it has none.
    pub model: String,
    /// The score from which its detections are believed, 0 to 1. Weaker ones only keep known tracks.
    pub threshold: f32,
    pub cameras: Vec<StreamId>,
}

/// A frame of the main stream, the sub frame that is looked at for it, and the part of either that is, with its place.
type Glance<'a> = (
    &'a Frame<Pixels>,
    Option<Frame<Pixels>>,
    Option<(PictureBuf, BBox)>,
);

/// What a detect thread needs.
pub(crate) struct DetectTask {
    pub packets: Receiver<FramePacket<Pixels>>,
    /// Frames of the sub streams.
    pub sub_frames: Receiver<Frame<Pixels>>,
    /// One for each camera that has a sub stream: its detector looks at that.
    pub subs: BTreeMap<StreamId, SubStream<Pixels>>,
    pub board: Arc<Board>,
    pub watches: Vec<Watch>,
    /// How much of each camera is looked at; one for each with a detector.
    pub attention: BTreeMap<StreamId, CameraLook>,
    /// One for each camera with a detector.
    pub machines: BTreeMap<StreamId, EventMachine>,
    /// Parts of each camera's picture in which nothing is detected.
    pub ignore: BTreeMap<StreamId, Vec<BBox>>,
    pub recorder: Arc<Recorder>,
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub map: Arc<ArcSwap<ClockMap>>,
    pub hub: Arc<Hub>,
    /// Of each camera, frames in which its detector failed, and when that was last logged.
    pub unread: BTreeMap<StreamId, (u64, Option<Mono>)>,
    pub pulse: Pulse,
}

impl DetectTask {
    /// Runs until the group's thread is gone. What it leaves goes to the task that follows, or ends.
    pub(crate) fn run(mut self) -> Leftovers {
        loop {
            self.pulse.beat();
            let now = self.clock.now();
            let deadline = self.machines.values().filter_map(EventMachine::deadline).min();
            let wait = deadline.map_or(TICK, |d| (d - now).min(TICK));
            match self.packets.recv_timeout(wait.to_std()) {
                Ok(packet) => {
                    let began = self.clock.now();
                    self.packet(&packet);
                    self.hub.stages.took("detect", self.clock.now() - began);
                }
                Err(RecvTimeoutError::Timeout) => self.tell_all(TrackInput::Time),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Leftovers {
            watches: self.watches,
            machines: self.machines,
            attention: self.attention,
            reason: EndReason::Shutdown,
            recorder: self.recorder,
            clock: self.clock,
            map: self.map,
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
            let mut looks: Vec<Glance<'_>> = Vec::new();
            for frame in packet.frames().filter(|f| cameras.contains(&f.meta.key.stream)) {
                let sub = match self.look(now, &frame.meta) {
                    Look::Sub(sub) => Some(sub),
                    Look::Main => None,
                    Look::Nothing | Look::Wait(_) => {
                        self.hub.found.skipped(vec![frame.meta.key]);
                        self.show(frame, None);
                        continue;
                    }
                };
                if self.passes_over(now, frame, sub.as_ref()) {
                    continue;
                }
                let surface = &*sub.as_ref().unwrap_or(frame).pixels;
                let attention = self.attention.get(&frame.meta.key.stream);
                let part = match attention.and_then(|a| a.part(surface)).transpose() {
                    Ok(part) => part,
                    Err(why) => {
                        let frame_key = frame.meta.key.to_string();
                        self.failed(
                            now,
                            frame,
                            &DetectorError::Picture {
                                frame: frame_key,
                                why,
                            },
                        );
                        continue;
                    }
                };
                looks.push((frame, sub, part));
            }
            if looks.is_empty() {
                continue;
            }
            let batch: Vec<Picture<'_>> = looks
                .iter()
                .map(|(main, sub, part)| {
                    let looked = sub.as_ref().unwrap_or(main);
                    Picture {
                        meta: &looked.meta,
                        surface: part
                            .as_ref()
                            .map_or(&*looked.pixels, |(part, _)| part as &dyn Surface),
                    }
                })
                .collect();
            let watch = &mut self.watches[index];
            let began = self.clock.now();
            let found = watch.detector.detect(&batch);
            let took = self.clock.now() - began;
            self.hub
                .stages
                .inferred(watch.detector.name(), &watch.model, took);
            let by = (watch.detector.name().to_owned(), watch.threshold);
            drop(batch);
            for ((frame, _, part), found) in looks.iter().zip(found) {
                match found {
                    Ok(mut detections) => {
                        if let Some((_, place)) = part {
                            detections = detections.into_iter().map(|d| in_whole(d, place)).collect();
                        }
                        self.found(now, frame, detections, &by);
                    }
                    // Said where it was chosen: the detector's state.
                    Err(DetectorError::NotReady { .. }) => {
                        self.hub.found.skipped(vec![frame.meta.key]);
                        self.show(frame, None);
                    }
                    Err(error) => self.failed(now, frame, &error),
                }
            }
        }
    }

    /// Whether a frame is not looked at, to save work. Its tracks are carried on.
    fn passes_over(&mut self, now: Mono, main: &Frame<Pixels>, sub: Option<&Frame<Pixels>>) -> bool {
        let camera = main.meta.key.stream;
        let Some(attention) = self.attention.get_mut(&camera) else {
            return false;
        };
        let machine = self.machines.get_mut(&camera);
        let follows = machine.as_ref().is_some_and(|m| m.follows());
        let looked = sub.unwrap_or(main);
        let regions = self.ignore.get(&camera);
        let ignored = |b: &BBox| regions.is_some_and(|regions| is_ignored(b, regions));
        let passed = attention
            .judge(&looked.meta, &*looked.pixels, follows, ignored)
            .is_err();
        self.board.camera_attention(&camera, attention.counts());
        if !passed {
            return false;
        }
        let mut docs = Vec::new();
        if let Some(machine) = machine {
            machine.handle(now, TrackInput::Time, &self.map.load());
            drain(machine, &camera, None, &self.recorder);
            let carried = machine.carried(main.meta.captured.mono).into_iter();
            docs.extend(carried.map(|(track, label, score, b)| DetectionDoc {
                track: Some(track.0),
                label,
                score,
                bbox: [b.x, b.y, b.w, b.h],
                carried: true,
            }));
        }
        if docs.is_empty() {
            self.hub.found.skipped(vec![main.meta.key]);
            self.show(main, None);
        } else {
            let looked = Looked {
                meta: main.meta,
                detections: docs.clone(),
            };
            self.hub.found.looked(looked, self.clock.now());
            self.show(main, Some(docs));
        }
        true
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

    /// A frame that its detector could not look at: shown without boxes, counted, and said once a while.
    fn failed(&mut self, now: Mono, frame: &Frame<Pixels>, error: &DetectorError) {
        let camera = frame.meta.key.stream;
        let (count, said) = self.unread.entry(camera).or_default();
        *count += 1;
        self.board.camera_drops(camera, DETECT_FAILED, *count);
        if said.is_none_or(|at| now - at >= SAY_AGAIN) {
            *said = Some(now);
            log::error!("camera {camera}: no detection, {count} frames so far: {error}");
        }
        self.hub.found.skipped(vec![frame.meta.key]);
        self.show(frame, None);
    }

    /// One frame's detections: to the tracker, the page, the store. `by` is the detector and its threshold.
    fn found(
        &mut self,
        now: Mono,
        frame: &Frame<Pixels>,
        mut detections: Vec<Detection>,
        (detector, threshold): &(String, f32),
    ) {
        let camera = frame.meta.key.stream;
        if let Some(regions) = self.ignore.get(&camera) {
            detections.retain(|d| !is_ignored(&d.bbox, regions));
        }
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
        let (detections, ids) = believed(detections, ids, *threshold);
        let docs = detections.iter().zip(ids).map(|(d, track)| DetectionDoc {
            track: track.map(|t| t.0),
            label: d.label.clone(),
            score: d.score,
            bbox: [d.bbox.x, d.bbox.y, d.bbox.w, d.bbox.h],
            carried: false,
        });
        let docs: Vec<DetectionDoc> = docs.collect();
        let looked = Looked {
            meta: frame.meta,
            detections: docs.clone(),
        };
        self.hub.found.looked(looked, self.clock.now());
        self.show(frame, Some(docs));
        self.store.record_detections(DetectionRow {
            frame: frame.meta.key,
            captured: frame.meta.captured,
            stamp: map.stamp(frame.meta.captured),
            map_version: map.version,
            detector: detector.clone(),
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

/// What people are shown and the store keeps: detections of at least `threshold`, and weaker ones that belong to a
/// track; with the track of each.
fn believed(
    detections: Vec<Detection>,
    ids: Vec<Option<TrackId>>,
    threshold: f32,
) -> (Vec<Detection>, Vec<Option<TrackId>>) {
    let all = detections.into_iter().zip(ids);
    all.filter(|(d, id)| d.score >= threshold || id.is_some()).unzip()
}

/// What a detect task leaves: detectors that know their backgrounds, and machines whose events last. Machines that
/// nobody takes over end their events when this is dropped.
pub(crate) struct Leftovers {
    watches: Vec<Watch>,
    machines: BTreeMap<StreamId, EventMachine>,
    attention: BTreeMap<StreamId, CameraLook>,
    /// Why events end that nobody takes over.
    reason: EndReason,
    recorder: Arc<Recorder>,
    clock: Arc<dyn Clock>,
    map: Arc<ArcSwap<ClockMap>>,
}

impl Leftovers {
    /// The daemon goes on, so what nobody takes over is of cameras that are gone, or are looked at in another way.
    pub(crate) fn daemon_goes_on(&mut self) {
        self.reason = EndReason::CameraLost;
    }

    /// Takes a detector over, by its name.
    pub(crate) fn detector(&mut self, name: &str) -> Option<Watch> {
        let index = self.watches.iter().position(|w| w.detector.name() == name)?;
        Some(self.watches.swap_remove(index))
    }

    /// Takes a camera's attention over.
    pub(crate) fn attention(&mut self, camera: &StreamId) -> Option<CameraLook> {
        self.attention.remove(camera)
    }

    /// Takes a camera's machine over, with the events that last.
    pub(crate) fn machine(&mut self, camera: &StreamId) -> Option<EventMachine> {
        self.machines.remove(camera)
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        let map = **self.map.load();
        for (camera, machine) in &mut self.machines {
            if self.reason == EndReason::CameraLost {
                machine.handle(self.clock.now(), TrackInput::CameraLost, &map);
            }
            machine.shutdown(&map);
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
                // One line an event is enough for a person; the rest is in the database.
                log::debug!("camera {camera}: event {} ended: {}", id.0, reason.name());
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
    fn a_weak_detection_is_believed_only_on_a_track() {
        let detection = |score| Detection {
            bbox: BBox::new(0.1, 0.1, 0.2, 0.2),
            label: "person".to_owned(),
            score,
        };
        let (kept, ids) = believed(
            vec![detection(0.7), detection(0.3), detection(0.2), detection(0.5)],
            vec![None, Some(TrackId(4)), None, None],
            0.5,
        );
        let scores: Vec<_> = kept.iter().map(|d| d.score).collect();
        assert_eq!(scores, [0.7, 0.3, 0.5]);
        assert_eq!(ids, [None, Some(TrackId(4)), None]);
    }

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
