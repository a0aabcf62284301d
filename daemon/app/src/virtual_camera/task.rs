//! The thread of a virtual camera: a picture of its source in, its own out, while somebody looks.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use crossbeam_channel::{Receiver, TryRecvError, never, select};
use synoptic_base::{
    Canvas, Clock, Epoch, Frame, FrameKey, FrameKind, FrameMeta, MediaTime, Mono, Projection, Seq, Size, Span,
};
use synoptic_media::{Epochs, Pixels};
use synoptic_vision::PictureBuf;
use synoptic_vision::panorama::ViewWarp;

use super::boxes::Boxes;
use super::desk::Line;
use crate::beat::Pulse;
use crate::config::{ViewSource, VirtualCamera};
use crate::hub::{Hub, LatestPicture};
use crate::panorama::{self, Outlet};
use crate::taps::Tap;

/// The thread looks up at least this often.
const TICK: Span = Span::from_millis(250);
/// Without a watcher a picture is drawn this often, for stills.
const STILL: Span = Span::from_secs(1);
/// A source without pictures for this long is waited for.
const SILENCE: Span = Span::from_secs(3);
/// Detections older than this say nothing of where somebody is now.
const STALE: Span = Span::from_secs(1);
/// Pictures that encoders and pages may hold before new ones are made.
const BUFFERS: usize = 6;
/// What fails with every picture is said again after this long.
const SAY_AGAIN: Span = Span::from_secs(10);
/// What a reader is told of the reason for coding.
const WHY: &str = "virtual_camera";

/// What the thread needs.
pub(super) struct Task {
    pub line: Arc<Line>,
    pub tap: Tap,
    /// Closed when it is to end.
    pub stopped: Receiver<()>,
    pub clock: Arc<dyn Clock>,
    pub hub: Arc<Hub>,
    pub panoramas: Arc<panorama::Desk>,
    pub epochs: Arc<dyn Epochs>,
    pub pulse: Pulse,
}

/// What it remembers.
struct Memory {
    warp: Option<ViewWarp>,
    outlet: Outlet,
    boxes: Boxes,
    buffers: Vec<Arc<PictureBuf>>,
    epoch: Epoch,
    began: Option<Mono>,
    seq: u64,
    media_us: i64,
    /// When a picture of the source came, and when one was drawn.
    seen: Option<Mono>,
    drawn: Option<Mono>,
    said: Option<Mono>,
}

impl Task {
    pub(super) fn run(self) {
        let config = &self.line.config;
        let epoch = match self.epochs.next_epoch(config.id) {
            Ok(epoch) => epoch,
            Err(why) => {
                log::error!("virtual camera {}: no epoch: {why}", config.id);
                self.line.waiting(&format!("no epoch: {why}"));
                return;
            }
        };
        let mut memory = Memory {
            warp: None,
            outlet: Outlet::new(self.hub.relay.stream(config.id), WHY),
            boxes: Boxes::default(),
            buffers: Vec::new(),
            epoch,
            began: None,
            seq: 0,
            media_us: -1,
            seen: None,
            drawn: None,
            said: None,
        };
        let idle = never::<()>();
        loop {
            select! {
                recv(self.tap.bell()) -> _ => {}
                recv(self.stopped) -> _ => return,
                recv(idle) -> _ => {}
                default(TICK.to_std()) => {}
            }
            if self.stopped.try_recv() == Err(TryRecvError::Disconnected) {
                return;
            }
            if let Some(frame) = self.tap.take() {
                self.picture(&mut memory, &frame);
            }
            let now = self.clock.now();
            memory.boxes.tell(&self.hub, now);
            if memory.seen.is_none_or(|at| now - at > SILENCE) {
                let why = format!("no pictures of {} come", config.stream);
                self.line.waiting(&why);
                memory.outlet.silent(&why);
            }
            self.pulse.beat();
        }
    }

    fn picture(&self, memory: &mut Memory, frame: &Frame<Pixels>) {
        let now = self.clock.now();
        memory.seen = Some(now);
        match self.run_once(memory, frame, now) {
            Ok(()) => self.line.running(),
            Err(error) => {
                let why = format!("{error:#}");
                if memory.said.is_none_or(|at| now - at >= SAY_AGAIN) {
                    memory.said = Some(now);
                    log::warn!("virtual camera {}: {why}", self.line.config.id);
                }
                self.line.waiting(&why);
                memory.outlet.silent(&why);
            }
        }
    }

    fn run_once(&self, memory: &mut Memory, frame: &Frame<Pixels>, now: Mono) -> Result<()> {
        let config = &self.line.config;
        let source = self.source(config, frame.pixels.size())?;
        let mut steering = self.line.steering();
        let optics = steering.place(&source, now);
        if steering.follows()
            && let Some((key, found)) = self.hub.last_boxes(&config.stream)
        {
            let age = frame.meta.key.media_us.since_zero() - key.media_us.since_zero();
            let fresh = key.epoch == frame.meta.key.epoch && age.abs() < STALE;
            steering.see(if fresh { &found } else { &[] }, now);
        }
        // It also moves while nobody looks: who comes finds it where it is to be.
        let look = steering.look(now).context("it was placed")?;
        drop(steering);
        let wanted = memory.outlet.is_wanted();
        if !wanted && memory.drawn.is_some_and(|at| now - at < STILL) {
            return Ok(());
        }
        let warp = match &mut memory.warp {
            Some(warp) if *warp.source() == source && *warp.optics() == optics => warp,
            other => other.insert(ViewWarp::new(source, optics, None)?),
        };
        warp.aim(look);
        let free = memory.buffers.iter().position(|b| Arc::strong_count(b) == 1);
        let mut out = match free {
            Some(i) => memory.buffers.swap_remove(i),
            None => Arc::new(PictureBuf::black(config.size)?),
        };
        let picture = Arc::get_mut(&mut out).ok_or_else(|| anyhow!("a free picture is in use"))?;
        warp.render(&*frame.pixels, picture)?;
        let view = warp.view().context("it was aimed")?;
        memory.drawn = Some(now);
        self.line.drew(self.clock.now() - now);
        if memory.buffers.len() < BUFFERS {
            memory.buffers.push(out.clone());
        }
        let meta = meta(memory, config, &frame.meta);
        memory.boxes.drawn(&self.hub, meta, frame.meta.key, view);
        memory.outlet.picture(meta, out.clone());
        self.hub.show(LatestPicture {
            meta,
            detections: None,
            pixels: out,
        });
        Ok(())
    }

    /// What the source's pictures of this size show.
    fn source(&self, config: &VirtualCamera, size: Size) -> Result<Canvas> {
        match config.source {
            ViewSource::Camera { hfov_deg } => {
                let middle = |n: u32| (f64::from(n) - 1.0) / 2.0;
                Ok(Canvas {
                    size,
                    projection: Projection::Rectilinear,
                    focal: f64::from(size.width) / 2.0 / (hfov_deg.to_radians() / 2.0).tan(),
                    cx: middle(size.width),
                    cy: middle(size.height),
                })
            }
            ViewSource::Panorama => {
                let canvas = self.panoramas.canvas(&config.stream);
                // Its thread writes the canvas down twice a second.
                canvas
                    .filter(|c| c.size == size)
                    .ok_or_else(|| anyhow!("{} has another canvas now", config.stream))
            }
        }
    }
}

/// Of a picture drawn of the source's frame `source`: its time, and a key of the view's own.
fn meta(memory: &mut Memory, config: &VirtualCamera, source: &FrameMeta) -> FrameMeta {
    let began = *memory.began.get_or_insert(source.captured.mono);
    // Two pictures never have one key.
    let since = (source.captured.mono - began).as_micros_floor();
    memory.media_us = since.max(memory.media_us + 1);
    let seq = Seq(memory.seq);
    memory.seq += 1;
    FrameMeta {
        key: FrameKey {
            stream: config.id,
            epoch: memory.epoch,
            media_us: MediaTime::from_micros(memory.media_us),
        },
        seq,
        size: config.size,
        kind: FrameKind::Unknown,
        ..*source
    }
}
