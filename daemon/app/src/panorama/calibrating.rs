//! A calibration of live cameras: a thread of low priority that collects frames and then computes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow, bail};
use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use synoptic_base::{BBox, Clock, ClockMap, Frame, FramePacket, Mono, Rig, Span, StreamId};
use synoptic_engine::stitch::{Director, StitchConfig};
use synoptic_media::Pixels;
use synoptic_vision::panorama::calibrate::{
    CalibrationFile, Collector, Gray, Options, Region, Still, calibrate,
};
use synoptic_vision::panorama::resize::canvas_within;
use synoptic_vision::panorama::{ComposeOptions, Compositor, StitchSlot};
use synoptic_vision::{PictureBuf, jpeg};

use super::library::{Library, Stored};
use super::points;
use super::task::Order;
use crate::documents::{CalibrationJobDoc, JobState};
use crate::hub::Hub;

/// After the frames should be there, so long is waited for a camera that gave none.
const PATIENCE: Span = Span::from_secs(10);
/// How often the thread looks up without packets.
const TICK: Span = Span::from_millis(500);
/// Part of the whole that collecting is; for people only.
const COLLECTING: f64 = 0.5;
/// Pixels across of the small picture of a calibration.
const PICTURE_WIDTH: u32 = 960;
const PICTURE_QUALITY: u8 = 80;
/// Cameras are calibrated by niceness: pictures go first (setpriority(2)).
const NICENESS: libc::c_int = 10;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Over how long frames are collected.
    pub duration: Span,
    /// Take the result into use at once.
    pub accept: bool,
    /// The box asks by itself.
    pub automatic: bool,
}

/// What the thread needs.
pub(crate) struct Calibrating {
    pub panorama: StreamId,
    pub cameras: Vec<StreamId>,
    /// Parts of each camera's picture that are no scenery.
    pub ignore: BTreeMap<StreamId, Vec<BBox>>,
    pub options: Options,
    pub request: Request,
    pub library: Library,
    pub clock: Arc<dyn Clock>,
    pub map: Arc<ArcSwap<ClockMap>>,
    pub hub: Arc<Hub>,
    /// Where everybody sees how far it is.
    pub doc: Arc<Mutex<Option<CalibrationJobDoc>>>,
    /// The panorama's thread.
    pub orders: Sender<Order>,
}

/// The newest frame of each camera.
type Newest = BTreeMap<StreamId, Frame<Pixels>>;

impl Calibrating {
    /// Starts the thread; packets go into what is returned, the newest is lost where the thread is busy. Dropping that
    /// stops collecting; computing goes on to its end.
    pub(crate) fn start(self) -> std::io::Result<Sender<FramePacket<Pixels>>> {
        let (sender, packets) = bounded(1);
        let begun = self.map.load().utc(self.clock.now()).to_rfc3339();
        *self.doc.lock().unwrap_or_else(PoisonError::into_inner) = Some(CalibrationJobDoc {
            state: JobState::Collecting,
            progress: 0.0,
            begun,
            automatic: self.request.automatic,
            reason: None,
            result: None,
        });
        std::thread::Builder::new()
            .name(format!("calibrate {}", self.panorama))
            .spawn(move || self.run(&packets))?;
        Ok(sender)
    }

    fn run(self, packets: &Receiver<FramePacket<Pixels>>) {
        step_back();
        let outcome = self.run_once(packets);
        match &outcome {
            Ok(Some(version)) => log::info!("panorama {}: calibration {version} is in use", self.panorama),
            Ok(None) => log::info!("panorama {}: a calibration waits to be accepted", self.panorama),
            Err(error) => log::warn!("panorama {}: not calibrated: {error:#}", self.panorama),
        }
        if let Err(error) = &outcome {
            self.change(|doc| {
                doc.state = JobState::Refused;
                doc.reason = Some(format!("{error:#}"));
            });
        }
        // A panorama that is gone needs no word.
        self.orders.send(Order::Calibrated(outcome.ok().flatten())).ok();
    }

    fn change(&self, change: impl FnOnce(&mut CalibrationJobDoc)) {
        let mut doc = self.doc.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(doc) = doc.as_mut() {
            change(doc);
        }
    }

    fn run_once(&self, packets: &Receiver<FramePacket<Pixels>>) -> Result<Option<u32>> {
        let (stills, last) = self.collect(packets)?;
        self.change(|doc| {
            doc.state = JobState::Solving;
            doc.progress = COLLECTING;
        });
        let began = self.clock.now();
        let mut options = self.options.clone();
        options.control_points = points::in_pixels(&self.library.points()?, &stills);
        let found = calibrate(&stills, &options, |part| {
            self.change(|doc| doc.progress = COLLECTING + (1.0 - COLLECTING) * part);
        })?;
        log::info!(
            "panorama {}: calibrated in {}, ties miss by {:.2} px",
            self.panorama,
            self.clock.now() - began,
            found.report.rms_px
        );
        let picture = picture(&found.rig, &last, self.clock.now());
        let picture = match picture {
            Ok(picture) => Some(picture),
            Err(error) => {
                log::warn!(
                    "panorama {}: no small picture of its calibration: {error:#}",
                    self.panorama
                );
                None
            }
        };
        let file = CalibrationFile {
            created: self.map.load().utc(self.clock.now()).to_rfc3339(),
            calibration: found,
            control_points: options.control_points,
        };
        let stored = if self.request.accept {
            let version = self.library.add(&file, picture.as_deref())?;
            self.library.read(version)?
        } else {
            self.library.put_candidate(&file, picture.as_deref())?;
            self.library
                .candidate()?
                .ok_or_else(|| anyhow!("the candidate that was just written is gone"))?
        };
        self.tell(&stored);
        Ok(stored.version)
    }

    fn tell(&self, stored: &Stored) {
        self.change(|doc| {
            doc.state = match stored.version {
                Some(_) => JobState::Accepted,
                None => JobState::Ready,
            };
            doc.progress = 1.0;
            doc.result = Some(self.library.doc(stored));
        });
    }

    /// The stills of all cameras, and the newest frame of each.
    fn collect(&self, packets: &Receiver<FramePacket<Pixels>>) -> Result<(Vec<Still>, Newest)> {
        let mut held: BTreeMap<StreamId, (Collector, Mono)> = BTreeMap::new();
        let mut last = BTreeMap::new();
        let began = self.clock.now();
        let mut end = began + self.request.duration;
        loop {
            let now = self.clock.now();
            let missing = self.cameras.iter().find(|c| !held.contains_key(*c));
            match missing {
                None if now >= end => break,
                Some(camera) if now >= end + PATIENCE => {
                    bail!(
                        "camera {camera} gave no picture within {}: see what its status says",
                        now - began
                    );
                }
                _ => {}
            }
            match packets.recv_timeout(TICK.to_std()) {
                Ok(packet) => {
                    if held.is_empty() {
                        // The time begins with the first packet.
                        end = self.clock.now() + self.request.duration;
                    }
                    for frame in packet.frames() {
                        let camera = frame.meta.key.stream;
                        if self.cameras.contains(&camera) {
                            self.take(frame, &mut held)?;
                            last.insert(camera, frame.clone());
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("it was stopped"),
            }
            let part = 1.0 - (end - self.clock.now()).as_secs_f64() / self.request.duration.as_secs_f64();
            self.change(|doc| doc.progress = COLLECTING * part.clamp(0.0, 1.0));
        }
        let stills = self.cameras.iter().map(|camera| {
            held.get(camera)
                .and_then(|(collector, _)| collector.finish())
                .ok_or_else(|| anyhow!("camera {camera} gave no picture"))
        });
        Ok((stills.collect::<Result<_>>()?, last))
    }

    fn take(&self, frame: &Frame<Pixels>, held: &mut BTreeMap<StreamId, (Collector, Mono)>) -> Result<()> {
        let (camera, size) = (frame.meta.key.stream, frame.meta.size);
        let now = self.clock.now();
        let (collector, due) = held
            .entry(camera)
            .or_insert_with(|| (Collector::new(camera, size), now));
        if now < *due {
            return Ok(());
        }
        *due = now + self.request.duration / collector.capacity().max(1) as i64;
        let mut luma = None;
        frame
            .pixels
            .with_planes(&mut |planes| luma = Gray::from_luma(planes.luma(), size))
            .map_err(|e| anyhow!("camera {camera}: {e}"))?;
        let luma = luma.ok_or_else(|| anyhow!("camera {camera}: a picture is incomplete"))?;
        let found = self.hub.boxes(&frame.meta.key);
        let found = found
            .iter()
            .flat_map(|docs| docs.iter())
            .map(|d| BBox::new(d.bbox[0], d.bbox[1], d.bbox[2], d.bbox[3]));
        let ignored = self.ignore.get(&camera).into_iter().flatten().copied();
        let (w, h) = (size.width as f32, size.height as f32);
        let movers: Vec<Region> = found
            .chain(ignored)
            .map(|b: BBox| Region {
                left: b.x * w,
                top: b.y * h,
                right: b.right() * w,
                bottom: b.bottom() * h,
            })
            .collect();
        if !collector.add(&luma, &movers) {
            bail!(
                "camera {camera} changed the size of its pictures to {}x{} meanwhile: calibrate again",
                size.width,
                size.height
            );
        }
        Ok(())
    }
}

/// The panorama that a rig makes of these frames, small, as JPEG.
fn picture(rig: &Rig, frames: &BTreeMap<StreamId, Frame<Pixels>>, now: Mono) -> Result<Vec<u8>> {
    let small = Rig {
        canvas: canvas_within(&rig.canvas, PICTURE_WIDTH),
        ..rig.clone()
    };
    let options = ComposeOptions {
        threads: 1,
        ..ComposeOptions::default()
    };
    let mut compositor = Compositor::new(&small, options)?;
    let mut director = Director::new(compositor.layout().clone(), StitchConfig::default())?;
    let mut out = PictureBuf::black(small.canvas.size)?;
    let slots: Vec<StitchSlot<'_>> = rig
        .cameras
        .iter()
        .map(|c| match frames.get(&c.stream) {
            Some(frame) => StitchSlot::Live(&*frame.pixels),
            None => StitchSlot::Empty,
        })
        .collect();
    compositor.compose(&slots, &[], &mut director, &mut out, now)?;
    Ok(jpeg::encode(&out, PICTURE_QUALITY)?)
}

/// Gives way to the threads that carry pictures.
pub(super) fn step_back() {
    // SAFETY: a plain system call on the calling thread (on Linux `who = 0` is the thread); it touches no memory.
    #[allow(unsafe_code)]
    let failed = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) } != 0;
    if failed {
        log::debug!("no lower priority: {}", std::io::Error::last_os_error());
    }
}
