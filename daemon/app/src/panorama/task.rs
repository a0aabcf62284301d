//! A panorama's thread: packets in, pictures out. The newest packet wins: while it composes, packets are passed over.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, select};
use synoptic_base::{
    BBox, Captured, Clock, ClockMap, Frame, FramePacket, InPanorama, Mono, SlotView, Span, StreamId,
    TimeSource,
};
use synoptic_engine::stitch::skew::SkewWatch;
use synoptic_engine::system::SystemInput;
use synoptic_media::{Epochs, Pixels};

use super::calibrating::{Calibrating, Request};
use super::desk::{Desk, Line, NO_PACKETS, SILENCE};
use super::figures::{Figures, WINDOW};
use super::finding::{Find, Finding};
use super::library::{self, Stored};
use super::outlet::Outlet;
use super::pause::Still;
use super::stage::{Composed, Stage};
use crate::beat::Pulse;
use crate::documents::{
    JobState, PanoramaState, SeamDoc, SeamLineDoc, StitchMemberDoc, StitchSlotDoc, StitchStatus, round_ms,
};
use crate::hub::{Hub, LatestPicture};
use crate::watchman::Watchman;

/// The thread looks up at least this often, packets or not.
const TICK: Span = Span::from_millis(250);
/// While pictures wait for their detections it looks for them this often.
const LOOK: Span = Span::from_millis(15);
/// How often its state is written down, and the overlaps are looked at closely.
const REPORT_INTERVAL: Span = Span::from_millis(500);
const LOOK_INTERVAL: Span = Span::from_secs(1);
/// A picture waits so long for what was found in its frames; then the newest is shown without.
const DETECTION_WAIT: Span = Span::from_millis(400);
/// Pictures that wait.
const WAITING: usize = 12;
/// Detections older than this say nothing of where somebody is now.
const STALE: Span = Span::from_secs(1);
/// Over how long the box collects frames when it calibrates by itself.
const AUTOMATIC: Span = Span::from_secs(8);
/// When a calibration of its own was refused, it tries again after this, and each time twice as late, up to the most.
const RETRY: Span = Span::from_secs(60);
const RETRY_MOST: Span = Span::from_secs(1_800);
/// What fails with every picture is said again after this long.
const SAY_AGAIN: Span = Span::from_secs(10);
/// What a reader is told of the reason for coding.
const WHY: &str = "panorama";
/// Points of a seam that are shown.
const LINE_POINTS: usize = 40;

/// What the thread is told.
pub(crate) enum Order {
    /// Calibrate; the answer is whether it began, or why not.
    Calibrate(Request, Sender<Result<(), String>>),
    /// A calibration ended, with a version that is in use.
    Calibrated(Option<u32>),
    /// The newest calibration on disk is another one.
    Adopt,
}

/// What the thread needs.
pub(crate) struct PanoramaTask {
    pub line: Arc<Line>,
    pub packets: Receiver<FramePacket<Pixels>>,
    pub orders: Receiver<Order>,
    /// Cameras that a detector looks at.
    pub detected: Vec<StreamId>,
    /// Parts of each camera's picture that are no scenery.
    pub ignore: BTreeMap<StreamId, Vec<BBox>>,
    pub clock: Arc<dyn Clock>,
    pub map: Arc<ArcSwap<ClockMap>>,
    pub hub: Arc<Hub>,
    pub epochs: Arc<dyn Epochs>,
    pub watchman: Arc<Watchman>,
    pub desk: Arc<Desk>,
    pub pulse: Pulse,
}

/// What the thread remembers.
struct Memory {
    stage: Option<Stage>,
    /// Why there is no stage.
    lacking: Option<String>,
    /// Where packets go while frames are collected.
    collecting: Option<Sender<FramePacket<Pixels>>>,
    calibrating: bool,
    next_try: Mono,
    retry: Span,
    waiting: VecDeque<Composed>,
    finding: Finding,
    outlet: Outlet,
    /// What is shown while it is paused.
    still: Option<Still>,
    shown: Option<Mono>,
    figures: Figures,
    next_report: Mono,
    next_look: Mono,
    seen: Option<Mono>,
    /// When each camera was last live.
    live: Vec<Option<Mono>>,
    said: Option<Mono>,
    /// Why the last picture could not be made.
    failing: Option<String>,
}

impl PanoramaTask {
    /// Runs until the group's thread is gone.
    pub(crate) fn run(self) {
        self.work();
        self.desk.remove(&self.line);
    }

    fn work(&self) {
        let relay = &self.hub.relay;
        let own = relay.stream(self.line.config.id);
        let sound = self.line.config.audio.map(|camera| relay.stream(camera));
        if let Some(camera) = &sound {
            camera.send_sound_to(&own);
        }
        self.compose();
        if let Some(camera) = &sound {
            camera.keep_sound_from(&own);
        }
    }

    fn compose(&self) {
        let now = self.clock.now();
        let mut memory = Memory {
            stage: None,
            lacking: None,
            collecting: None,
            calibrating: false,
            next_try: now,
            retry: RETRY,
            waiting: VecDeque::new(),
            finding: Finding::new(self.detected.clone()),
            outlet: Outlet::new(self.hub.relay.stream(self.line.config.id), WHY),
            still: None,
            shown: None,
            figures: Figures::default(),
            next_report: now,
            next_look: now,
            seen: None,
            live: vec![None; self.line.config.cameras.len()],
            said: None,
            failing: None,
        };
        self.adopt(&mut memory);
        loop {
            let wait = if memory.waiting.is_empty() { TICK } else { LOOK };
            select! {
                recv(self.packets) -> packet => match packet {
                    Ok(packet) => self.packet(&mut memory, &packet),
                    Err(_) => return,
                },
                // The line holds a sender: this never ends.
                recv(self.orders) -> order => if let Ok(order) = order {
                    self.order(&mut memory, order);
                },
                default(wait.to_std()) => {}
            }
            self.publish(&mut memory);
            self.stand_in(&mut memory);
            let now = self.clock.now();
            if now >= memory.next_report {
                memory.next_report = now + REPORT_INTERVAL;
                self.report(&mut memory);
                self.pulse.beat();
            }
        }
    }

    fn order(&self, memory: &mut Memory, order: Order) {
        match order {
            Order::Adopt => self.adopt(memory),
            Order::Calibrate(request, answer) => {
                // Who asked may have given up waiting.
                answer.send(self.calibrate(memory, request)).ok();
            }
            Order::Calibrated(version) => {
                memory.calibrating = false;
                memory.collecting = None;
                if version.is_some() {
                    memory.retry = RETRY;
                    self.adopt(memory);
                } else {
                    memory.next_try = self.clock.now() + memory.retry;
                    memory.retry = (memory.retry * 2).min(RETRY_MOST);
                }
            }
        }
    }

    /// Builds the stage of the calibration that is to be used.
    fn adopt(&self, memory: &mut Memory) {
        let config = &self.line.config;
        let stored: anyhow::Result<Option<Stored>> = match &config.calibration {
            Some(path) => library::read(path, None).map(Some),
            None => self.line.library.newest(),
        };
        let built = stored.and_then(|stored| {
            let Some(stored) = stored else { return Ok(None) };
            let epoch = self
                .epochs
                .next_epoch(config.id)
                .map_err(|e| anyhow::anyhow!("no epoch: {e}"))?;
            let rig = &stored.file.calibration.rig;
            Stage::new(config, rig, stored.version, epoch).map(Some)
        });
        match built {
            Ok(Some(stage)) => {
                let size = stage.size();
                let which = stage
                    .version
                    .map_or("the configured calibration".to_owned(), |v| {
                        format!("calibration {v}")
                    });
                log::info!("panorama {}: {which}, {}x{}", config.id, size.width, size.height);
                memory.stage = Some(stage);
                memory.lacking = None;
            }
            Ok(None) => {
                memory.stage = None;
                memory.lacking = Some(if config.auto_calibrate {
                    "not calibrated yet: the box does it once all cameras give pictures".to_owned()
                } else {
                    "not calibrated yet: calibrate it on the page".to_owned()
                });
            }
            // A calibration that runs goes on.
            Err(error) => {
                log::error!("panorama {}: {error:#}", config.id);
                if memory.stage.is_none() {
                    memory.lacking = Some(format!("{error:#}"));
                }
            }
        }
        memory.waiting.clear();
        memory.still = None;
        memory.finding.clear(&self.hub);
        memory.failing = None;
    }

    fn calibrate(&self, memory: &mut Memory, request: Request) -> Result<(), String> {
        if memory.calibrating {
            return Err("a calibration is running; wait for its end".to_owned());
        }
        let config = &self.line.config;
        let task = Calibrating {
            panorama: config.id,
            cameras: config.cameras.clone(),
            ignore: self.ignore.clone(),
            options: config.options.clone(),
            request,
            library: self.line.library.clone(),
            clock: self.clock.clone(),
            map: self.map.clone(),
            hub: self.hub.clone(),
            doc: self.line.job.clone(),
            orders: self.line.orders.clone(),
        };
        let sender = task.start().map_err(|e| format!("no thread to calibrate: {e}"))?;
        memory.collecting = Some(sender);
        memory.calibrating = true;
        Ok(())
    }

    fn packet(&self, memory: &mut Memory, packet: &FramePacket<Pixels>) {
        let now = self.clock.now();
        memory.seen = Some(now);
        let config = &self.line.config;
        for (camera, live) in config.cameras.iter().zip(&mut memory.live) {
            if packet.frames().any(|f| f.meta.key.stream == *camera) {
                *live = Some(now);
            }
        }
        let paused = self.line.is_paused();
        let all_live = memory.live.iter().all(|at| *at == Some(now));
        let by_itself = config.auto_calibrate && config.calibration.is_none() && memory.stage.is_none();
        if by_itself && !paused && all_live && !memory.calibrating && now >= memory.next_try {
            let request = Request {
                duration: AUTOMATIC,
                accept: true,
                automatic: true,
            };
            if let Err(why) = self.calibrate(memory, request) {
                log::error!("panorama {}: {why}", config.id);
                memory.next_try = now + memory.retry;
            }
        }
        if let Some(collecting) = &memory.collecting {
            // Where it is busy a packet is left out; once it computes, its end is gone.
            let gone = matches!(
                collecting.try_send(packet.clone()),
                Err(crossbeam_channel::TrySendError::Disconnected(_))
            );
            if gone {
                memory.collecting = None;
            }
        }
        if paused {
            return;
        }
        let look = now >= memory.next_look;
        let Some(stage) = memory.stage.as_mut() else {
            return;
        };
        let no_cross = self.no_cross(stage, packet);
        match stage.compose(packet, &no_cross, now, look) {
            Ok(composed) => {
                let done = self.clock.now();
                self.hub.stages.took("stitch", done - now);
                memory.figures.add(done, done - packet.instant, done - now);
                memory.failing = None;
                let pixels: Pixels = composed.pixels.clone();
                let frame = Frame {
                    meta: composed.meta,
                    pixels,
                };
                self.hub.taps.offer(&frame);
                memory.still = Some(Still::new(&frame, done));
                memory.outlet.picture(frame.meta, frame.pixels);
                memory
                    .finding
                    .composed(&self.hub, composed.meta, &composed.frames);
                if memory.waiting.len() == WAITING {
                    memory.waiting.pop_front();
                }
                memory.waiting.push_back(composed);
                if look {
                    memory.next_look = now + LOOK_INTERVAL;
                }
            }
            Err(error) => {
                if memory.said.is_none_or(|at| now - at >= SAY_AGAIN) {
                    memory.said = Some(now);
                    log::error!("panorama {}: no picture: {error:#}", config.id);
                }
                memory.failing = Some(format!("{error:#}"));
            }
        }
    }

    /// While it is paused, whoever watches keeps the last picture.
    fn stand_in(&self, memory: &mut Memory) {
        let (Some(stage), Some(still)) = (&mut memory.stage, &mut memory.still) else {
            return;
        };
        if !self.line.is_paused() {
            return;
        }
        let now = self.clock.now();
        let next = |mono| {
            let captured = Captured {
                mono,
                rel_error: Span::ZERO,
                source: TimeSource::Host,
            };
            stage.next(captured, now)
        };
        if let Some(frame) = still.again(now, next) {
            self.hub.taps.offer(&frame);
            memory.outlet.picture(frame.meta, frame.pixels);
        }
    }

    /// Boxes that no seam should cut: of the newest frames that detectors have looked at.
    fn no_cross(&self, stage: &Stage, packet: &FramePacket<Pixels>) -> Vec<BBox<InPanorama>> {
        let mut boxes = Vec::new();
        for (k, camera) in self.line.config.cameras.iter().enumerate() {
            let Some((key, found)) = self.hub.last_boxes(camera) else {
                continue;
            };
            let newest = packet.frames().find(|f| f.meta.key.stream == *camera);
            let fresh = newest.is_some_and(|f| {
                let age = f.meta.key.media_us.since_zero() - key.media_us.since_zero();
                f.meta.key.epoch == key.epoch && age.abs() < STALE
            });
            if fresh {
                boxes.extend(stage.sightings(k, &found).map(|s| s.bbox));
            }
        }
        boxes
    }

    /// Shows the newest picture whose detections are known, and tells of those that are.
    fn publish(&self, memory: &mut Memory) {
        let Some(stage) = &memory.stage else {
            memory.waiting.clear();
            return;
        };
        let now = self.clock.now();
        memory.finding.tell(&self.hub, stage, now);
        let known = memory.waiting.iter().enumerate().rev().find_map(|(i, composed)| {
            match memory.finding.find(&self.hub, stage, &composed.frames) {
                Find::Known(detections) => Some((i, Some(detections))),
                Find::Nobody => Some((i, None)),
                Find::Open => None,
            }
        });
        let (index, detections) = match known {
            Some((index, detections)) => (index, detections),
            None if memory.waiting.is_empty() => return,
            None if memory.shown.is_some_and(|at| now - at < DETECTION_WAIT) => return,
            None => (memory.waiting.len() - 1, None),
        };
        let Some(composed) = memory.waiting.drain(..=index).next_back() else {
            return;
        };
        memory.shown = Some(now);
        self.hub.show(LatestPicture {
            meta: composed.meta,
            detections,
            pixels: composed.pixels,
        });
    }

    fn report(&self, memory: &mut Memory) {
        let now = self.clock.now();
        let config = &self.line.config;
        let trouble = self.trouble(memory, now);
        let state = match (&memory.stage, &trouble) {
            (Some(_), _) if self.line.is_paused() => PanoramaState::Paused,
            (None, _) => PanoramaState::Uncalibrated,
            (Some(_), None) => PanoramaState::Running,
            (Some(_), Some(_)) => PanoramaState::Degraded,
        };
        if memory.stage.is_some() && memory.seen.is_some() {
            self.watchman.see(SystemInput::Stitch(config.id, trouble.clone()));
        }
        let slots = memory.stage.as_ref().map(Stage::slots);
        let cameras = config
            .cameras
            .iter()
            .enumerate()
            .map(|(k, camera)| StitchMemberDoc {
                cam: camera.to_string(),
                slot: match slots.map(|s| s[k]) {
                    Some(SlotView::Live) => StitchSlotDoc::Live,
                    Some(SlotView::Held) => StitchSlotDoc::Held,
                    Some(SlotView::Empty) | None => StitchSlotDoc::Empty,
                },
            });
        let status = StitchStatus {
            panorama: config.id.to_string(),
            state,
            reason: trouble,
            since: String::new(),
            width: memory.stage.as_ref().map(|s| s.size().width),
            height: memory.stage.as_ref().map(|s| s.size().height),
            fps: (memory.figures.fps(now) * 100.0).round() / 100.0,
            latency_ms: memory.figures.latency(),
            compose_ms: memory.figures.composing(),
            window_s: WINDOW.as_secs_f64(),
            calibration: memory.stage.as_ref().and_then(|s| s.version),
            cameras: cameras.collect(),
            seams: memory.stage.as_ref().map_or_else(Vec::new, |s| self.seams(s)),
        };
        let silent = memory.seen.is_none_or(|at| now - at > SILENCE);
        match (&memory.stage, &status.reason) {
            (None, Some(why)) => memory.outlet.silent(why),
            (Some(_), _) if silent => memory.outlet.silent(NO_PACKETS),
            _ => {}
        }
        let lines = memory.stage.as_ref().map_or_else(Vec::new, lines);
        let rig = memory.stage.as_ref().map(Stage::rig);
        let utc = self.map.load().utc(now);
        self.line.tell(status, lines, memory.seen, rig, utc);
    }

    /// What is wrong, in a sentence.
    fn trouble(&self, memory: &Memory, now: Mono) -> Option<String> {
        // Of the calibration that runs or is missing a paused one tells as any other.
        if memory.stage.is_some() && self.line.is_paused() {
            return None;
        }
        let Some(stage) = &memory.stage else {
            let job = self.line.job();
            let told = job.and_then(|job| match job.state {
                JobState::Collecting | JobState::Solving => Some("it is being calibrated".to_owned()),
                JobState::Refused => job.reason.map(|why| format!("not calibrated: {why}")),
                JobState::Ready => Some("a calibration waits to be accepted".to_owned()),
                JobState::Accepted => None,
            });
            return told.or_else(|| memory.lacking.clone());
        };
        if let Some(why) = &memory.failing {
            return Some(why.clone());
        }
        if let Some(why) = stage.unfit.values().next() {
            return Some(why.clone());
        }
        let patience = self.line.config.patience + REPORT_INTERVAL;
        let missing = self.line.config.cameras.iter().zip(&memory.live);
        let missing: Vec<String> = missing
            .filter(|(_, at)| at.is_none_or(|at| now - at > patience))
            .map(|(camera, _)| camera.to_string())
            .collect();
        if !missing.is_empty() {
            return Some(format!("no pictures of {}", missing.join(", ")));
        }
        if stage.is_learned() {
            return stage.learned_trouble();
        }
        let seam = stage.quality.troubled().next()?;
        let [a, b] = seam.cameras.map(|k| stage.rig().cameras[k].stream);
        let by = seam
            .residual_px
            .map_or(String::new(), |px| format!(" by {px:.1} px"));
        Some(format!(
            "cameras {a} and {b} do not fit any more{by}: has one been moved? Calibrate again"
        ))
    }

    fn seams(&self, stage: &Stage) -> Vec<SeamDoc> {
        let round = |v: Option<f64>, digits: f64| v.map(|v| (v * digits).round() / digits);
        stage
            .quality
            .seams()
            .map(|seam| {
                let skew = stage
                    .skews
                    .iter()
                    .find(|s| s.cameras() == seam.cameras)
                    .and_then(SkewWatch::skew);
                SeamDoc {
                    cameras: seam.cameras.map(|k| stage.rig().cameras[k].stream.to_string()),
                    psnr_db: round(seam.psnr_db, 100.0),
                    ssim: round(seam.ssim, 1e4),
                    gradient_correlation: round(seam.gradient_correlation, 1e4),
                    ghost_edge_fraction: round(seam.ghost_edge_fraction, 1e4),
                    delta_e00: round(seam.delta_e00, 100.0),
                    skew_ms: skew.map(|s| round_ms(s.skew)),
                    skew_error_ms: skew.map(|s| round_ms(s.error)),
                    residual_px: round(seam.residual_px, 1e3),
                    jitter_px: round(seam.jitter_px, 1e3),
                }
            })
            .collect()
    }
}

/// The seams of the newest picture, thinned out.
fn lines(stage: &Stage) -> Vec<SeamLineDoc> {
    let size = stage.size();
    let (w, h) = (size.width as f32, size.height as f32);
    let cell = synoptic_base::STITCH_CELL as f32;
    let doc = |seam: &synoptic_base::SeamLine| {
        let step = seam.at.len().div_ceil(LINE_POINTS).max(1);
        let points = seam.at.iter().enumerate().step_by(step).filter_map(|(i, at)| {
            let (along, at) = ((i as f32 + 0.5) * cell, (*at)?);
            Some(if seam.runs_down {
                [at / w, (along / h).min(1.0)]
            } else {
                [(along / w).min(1.0), at / h]
            })
        });
        SeamLineDoc {
            points: points.collect(),
            cut_cells: seam.cut_cells as u32,
        }
    };
    stage.plan().seams.iter().map(doc).collect()
}
