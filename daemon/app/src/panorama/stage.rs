//! What a panorama is composed with, from one calibration to the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use synoptic_base::{
    BBox, Captured, Epoch, FrameKey, FrameKind, FrameMeta, FramePacket, InCamera, InPanorama, MediaTime,
    Mono, Rig, Seq, Size, SlotView, Span, StitchPlan, StreamId, TimeSource,
};
use synoptic_engine::stitch::gate::{DriftGate, Evidence};
use synoptic_engine::stitch::quality::QualityWatch;
use synoptic_engine::stitch::skew::SkewWatch;
use synoptic_engine::stitch::unite::Sighting;
use synoptic_engine::stitch::{Director, MissingPolicy, StitchConfig};
use synoptic_media::Pixels;
use synoptic_vision::PictureBuf;
use synoptic_vision::panorama::drift;
use synoptic_vision::panorama::probe::Probe;
use synoptic_vision::panorama::resize::optics_for;
use synoptic_vision::panorama::{ComposeOptions, Compositor, StitchSlot, boxes};

use super::learned::Learned;
use crate::config::{LearnedConfig, Panorama};
use crate::documents::DetectionDoc;

/// A last picture is kept this much longer than it is shown, for the fade.
const FADE: Span = Span::from_millis(500);
/// Pictures of the panorama that may be held elsewhere before new ones are made: pages, encoders, those that wait for
/// their detections.
const BUFFERS: usize = 8;

/// The newest picture of a camera.
struct Last {
    pixels: Pixels,
    captured: Mono,
    key: FrameKey,
}

/// A picture of the panorama.
pub(super) struct Composed {
    pub meta: FrameMeta,
    pub pixels: Arc<PictureBuf>,
    /// The frames it shows that are of now, by camera.
    pub frames: Vec<Option<FrameKey>>,
}

/// What composes.
pub(super) struct Stage {
    /// The calibration's version; `None` for a file of the configuration.
    pub version: Option<u32>,
    /// The rig as it was calibrated, with the configured cameras in the configured order.
    calibrated: Rig,
    /// The same for the sizes in which pictures come now.
    rig: Rig,
    compositor: Compositor,
    director: Director,
    probe: Probe,
    pub quality: QualityWatch,
    pub skews: Vec<SkewWatch>,
    /// Of each pair that is looked at.
    gates: BTreeMap<[usize; 2], DriftGate>,
    options: ComposeOptions,
    missing: MissingPolicy,
    patience: Span,
    /// The learned warp, where it is asked for.
    learned: Option<Learned>,
    learned_config: Option<LearnedConfig>,
    last: Vec<Option<Last>>,
    /// What is wrong with a camera's pictures, so that they are not shown.
    pub unfit: BTreeMap<StreamId, String>,
    buffers: Vec<Arc<PictureBuf>>,
    stream: StreamId,
    epoch: Epoch,
    began: Option<Mono>,
    seq: u64,
    media_us: i64,
    slots: Vec<SlotView>,
}

impl Stage {
    /// For the calibration of `rig`.
    ///
    /// # Errors
    /// When the rig is not one of the configured cameras, or cannot be composed.
    pub(super) fn new(config: &Panorama, rig: &Rig, version: Option<u32>, epoch: Epoch) -> Result<Stage> {
        let rig = in_order(rig, &config.cameras)?;
        let options = ComposeOptions {
            threads: config.threads,
            blend: config.blend,
            simd: None,
        };
        let compositor = Compositor::new(&rig, options)?;
        let layout = compositor.layout().clone();
        let settings = StitchConfig {
            missing: config.missing,
            patience: config.patience,
            ..StitchConfig::default()
        };
        let probe = Probe::new(&rig, &layout);
        let skews = probe
            .pairs()
            .filter_map(|pair| SkewWatch::new(&layout, pair))
            .collect();
        let n = rig.cameras.len();
        let learned = learn(config.learned.as_ref(), config.id, &rig, &compositor)?;
        Ok(Stage {
            version,
            calibrated: rig.clone(),
            director: Director::new(layout, settings)?,
            compositor,
            probe,
            quality: QualityWatch::new(),
            skews,
            gates: BTreeMap::new(),
            options,
            missing: config.missing,
            patience: config.patience,
            learned,
            learned_config: config.learned.clone(),
            last: (0..n).map(|_| None).collect(),
            unfit: BTreeMap::new(),
            buffers: Vec::new(),
            stream: config.id,
            epoch,
            began: None,
            seq: 0,
            media_us: -1,
            slots: vec![SlotView::Empty; n],
            rig,
        })
    }

    pub(super) fn rig(&self) -> &Rig {
        &self.rig
    }

    pub(super) fn size(&self) -> Size {
        self.rig.canvas.size
    }

    /// What stood in the slots of the newest picture.
    pub(super) fn slots(&self) -> &[SlotView] {
        &self.slots
    }

    pub(super) fn plan(&self) -> &StitchPlan {
        self.director.plan()
    }

    /// Composes the panorama of a packet; `boxes` are not cut. Also looks closely at the overlaps if `look` says so.
    ///
    /// # Errors
    /// When a picture cannot be read; the next may be.
    pub(super) fn compose(
        &mut self,
        packet: &FramePacket<Pixels>,
        no_cross: &[BBox<InPanorama>],
        now: Mono,
        look: bool,
    ) -> Result<Composed> {
        let mut frames = vec![None; self.last.len()];
        for frame in packet.frames() {
            let stream = frame.meta.key.stream;
            let Some(k) = self.rig.cameras.iter().position(|c| c.stream == stream) else {
                continue;
            };
            if !self.fits(k, frame.pixels.size())? {
                continue;
            }
            frames[k] = Some(frame.meta.key);
            self.last[k] = Some(Last {
                pixels: frame.pixels.clone(),
                captured: frame.meta.captured.mono,
                key: frame.meta.key,
            });
        }
        self.let_go(packet.instant);
        self.bend(&frames, now)?;
        let mut out = self.buffer()?;
        let Some(picture) = Arc::get_mut(&mut out) else {
            return Err(anyhow!("a free picture is in use"));
        };
        let slots: Vec<StitchSlot<'_>> = self
            .last
            .iter()
            .zip(&frames)
            .map(|(last, live)| match (last, live) {
                (Some(last), Some(key)) if last.key == *key => StitchSlot::Live(&*last.pixels),
                (Some(last), _) => StitchSlot::Held(&*last.pixels),
                (None, _) => StitchSlot::Empty,
            })
            .collect();
        let report = self
            .compositor
            .compose(&slots, no_cross, &mut self.director, picture, now)?;
        self.slots.clone_from(&report.slots);
        if look {
            let looks = self.probe.look(&slots, report.plan);
            self.quality.look(now, &looks);
        }
        let captured: Vec<Option<Mono>> = self
            .last
            .iter()
            .zip(&frames)
            .map(|(last, live)| last.as_ref().filter(|_| live.is_some()).map(|l| l.captured))
            .collect();
        let cells = &self.compositor.seen().cells;
        for skew in &mut self.skews {
            skew.see(cells, &captured);
        }
        let meta = self.meta(packet, now);
        self.keep(&out);
        // Where cameras are expected to move there is no drift to be corrected.
        if look && self.learned.is_none() {
            self.correct()?;
        }
        Ok(Composed {
            meta,
            pixels: out,
            frames,
        })
    }

    /// Whether pictures of this size can be shown as camera `k`'s. In another size of the same shape they are.
    fn fits(&mut self, k: usize, size: Size) -> Result<bool> {
        let camera = &self.rig.cameras[k];
        if camera.intrinsics.size == size {
            self.unfit.remove(&camera.stream);
            return Ok(true);
        }
        let stream = camera.stream;
        let calibrated = self.calibrated.cameras[k].intrinsics;
        let Some(optics) = optics_for(&calibrated, size) else {
            self.unfit.insert(
                stream,
                format!(
                    "camera {stream} gives {}x{} where it was calibrated with {}x{}, of another shape: calibrate again",
                    size.width, size.height, calibrated.size.width, calibrated.size.height
                ),
            );
            return Ok(false);
        };
        log::info!(
            "panorama {}: camera {stream} gives {}x{} now",
            self.stream,
            size.width,
            size.height
        );
        let mut rig = self.rig.clone();
        rig.cameras[k].intrinsics = optics;
        self.compositor = Compositor::new(&rig, self.options).context("for another size of pictures")?;
        self.probe = Probe::new(&rig, self.compositor.layout());
        self.quality = QualityWatch::new();
        self.last[k] = None;
        if self.learned.is_some() {
            // It knows the size of the pictures.
            self.learned = learn(self.learned_config.as_ref(), self.stream, &rig, &self.compositor)?;
            self.director.relayout(self.compositor.layout().clone())?;
        }
        self.rig = rig;
        self.unfit.remove(&stream);
        Ok(true)
    }

    /// Lets the learned warp look at the live pictures, and samples by what it says.
    fn bend(&mut self, frames: &[Option<FrameKey>], now: Mono) -> Result<()> {
        let Some(learned) = &mut self.learned else {
            return Ok(());
        };
        if let ([Some(a), Some(b)], [Some(_), Some(_)]) = (&self.last[..], frames) {
            learned.offer(now, [&a.pixels, &b.pixels]);
        }
        if let Some(grids) = learned.step(now) {
            self.compositor.rewarp(grids)?;
            let layout = self.compositor.layout();
            self.director.relayout(layout.clone())?;
            // What is measured is what is shown.
            let sizes: Vec<Size> = self.rig.cameras.iter().map(|c| c.intrinsics.size).collect();
            self.probe = Probe::through(&sizes, layout, |k, p| self.compositor.camera_from_canvas(k, p));
        }
        Ok(())
    }

    /// Whether the learned warp is asked for: then cameras are expected to move.
    pub(super) fn is_learned(&self) -> bool {
        self.learned.is_some()
    }

    /// Why the learned warp is asked for and not shown.
    pub(super) fn learned_trouble(&self) -> Option<String> {
        self.learned.as_ref()?.trouble()
    }

    /// Turns a camera back that has surely drifted against its neighbour: the second of the first pair that says so.
    fn correct(&mut self) -> Result<()> {
        let pairs: Vec<[usize; 2]> = self.probe.pairs().collect();
        for pair in pairs {
            let residuals = self.quality.residuals(pair);
            let residuals: Vec<_> = residuals.iter().map(|r| (r.at, r.shift)).collect();
            let evidence = drift::fit(&self.rig, pair[1], &residuals).map(|d| Evidence {
                turn: d.turn,
                before_px: d.before_px,
                after_px: d.after_px,
                agree: d.agree,
                patches: d.patches,
            });
            let Some(turn) = self.gates.entry(pair).or_default().look(evidence) else {
                continue;
            };
            let k = pair[1];
            log::warn!(
                "panorama {}: camera {} drifted by {:.2} px against camera {} and is turned back by {:.3} degrees",
                self.stream,
                self.rig.cameras[k].stream,
                evidence.map_or(f64::NAN, |e| e.before_px),
                self.rig.cameras[pair[0]].stream,
                turn.iter().map(|t| t * t).sum::<f64>().sqrt().to_degrees()
            );
            let mut rig = self.rig.clone();
            rig.cameras[k] = drift::turned(&rig.cameras[k], turn);
            self.calibrated.cameras[k].rotation = rig.cameras[k].rotation;
            self.compositor = Compositor::new(&rig, self.options).context("after a correction")?;
            self.probe = Probe::new(&rig, self.compositor.layout());
            self.rig = rig;
            // What was normal before the drift is normal again, and has to be found anew.
            self.quality = QualityWatch::new();
            return Ok(());
        }
        Ok(())
    }

    /// Lets go of pictures that nobody will see again.
    fn let_go(&mut self, now: Mono) {
        if self.missing == MissingPolicy::Fade {
            let limit = self.patience + FADE;
            for last in &mut self.last {
                if last.as_ref().is_some_and(|l| now - l.captured > limit) {
                    *last = None;
                }
            }
        }
    }

    /// A picture that nobody holds.
    fn buffer(&mut self) -> Result<Arc<PictureBuf>> {
        let free = self.buffers.iter().position(|b| Arc::strong_count(b) == 1);
        Ok(match free {
            Some(i) => self.buffers.swap_remove(i),
            None => Arc::new(PictureBuf::black(self.rig.canvas.size)?),
        })
    }

    fn keep(&mut self, picture: &Arc<PictureBuf>) {
        if self.buffers.len() < BUFFERS {
            self.buffers.push(picture.clone());
        }
    }

    fn meta(&mut self, packet: &FramePacket<Pixels>, now: Mono) -> FrameMeta {
        // The instant is as sure as the least sure of its frames, and as far from it.
        let worst = packet
            .frames()
            .map(|f| {
                let c = f.meta.captured;
                (c.rel_error + (c.mono - packet.instant).abs(), c.source)
            })
            .max_by_key(|(error, _)| *error);
        let (rel_error, source) = worst.unwrap_or((Span::ZERO, TimeSource::Host));
        let arrival = packet.frames().map(|f| f.meta.arrival).max().unwrap_or(now);
        let captured = Captured {
            mono: packet.instant,
            rel_error,
            source,
        };
        self.next(captured, arrival)
    }

    /// What is known of the next picture, captured then. Its key is none that was given before.
    pub(super) fn next(&mut self, captured: Captured, arrival: Mono) -> FrameMeta {
        let began = *self.began.get_or_insert(captured.mono);
        // Two pictures never have one key, also should two packets have one instant.
        self.media_us = (captured.mono - began).as_micros_floor().max(self.media_us + 1);
        let seq = Seq(self.seq);
        self.seq += 1;
        FrameMeta {
            key: FrameKey {
                stream: self.stream,
                epoch: self.epoch,
                media_us: MediaTime::from_micros(self.media_us),
            },
            seq,
            arrival,
            captured,
            size: self.size(),
            kind: FrameKind::Unknown,
        }
    }

    /// What a camera detected, on the canvas.
    pub(super) fn sightings<'s>(
        &'s self,
        camera: usize,
        found: &'s [DetectionDoc],
    ) -> impl Iterator<Item = Sighting> + 's {
        found.iter().filter_map(move |d| {
            let bbox: BBox<InCamera> = BBox::new(d.bbox[0], d.bbox[1], d.bbox[2], d.bbox[3]);
            let warps = self.learned.as_ref().and_then(Learned::warps);
            let on_canvas = match warps {
                Some(warps) => {
                    let size = self.rig.cameras[camera].intrinsics.size;
                    boxes::through(&bbox, size, self.rig.canvas.size, |p| {
                        warps[camera].canvas_from_camera(p)
                    })
                }
                None => boxes::on_canvas(&self.rig, camera, &bbox),
            };
            Some(Sighting {
                camera,
                bbox: on_canvas?,
                label: d.label.clone(),
                score: d.score,
                track: d.track,
            })
        })
    }
}

/// Starts the learned warp where it is asked for.
fn learn(
    config: Option<&LearnedConfig>,
    panorama: StreamId,
    rig: &Rig,
    compositor: &Compositor,
) -> Result<Option<Learned>> {
    let start = |config| Learned::start(config, panorama, rig, compositor.grids());
    config
        .filter(|_| rig.cameras.len() == 2)
        .map(start)
        .transpose()
        .context("no thread for the learned warp")
}

/// The rig with the cameras of the configuration, in its order.
fn in_order(rig: &Rig, cameras: &[StreamId]) -> Result<Rig> {
    let ids =
        |list: &mut dyn Iterator<Item = StreamId>| list.map(|c| c.to_string()).collect::<Vec<_>>().join(", ");
    let found = cameras
        .iter()
        .map(|id| rig.cameras.iter().find(|c| c.stream == *id).cloned())
        .collect::<Option<Vec<_>>>();
    match found {
        Some(found) if found.len() == rig.cameras.len() => Ok(Rig {
            cameras: found,
            canvas: rig.canvas,
        }),
        _ => Err(anyhow!(
            "the calibration is of cameras {}, and the panorama is made of {}: calibrate again",
            ids(&mut rig.cameras.iter().map(|c| c.stream)),
            ids(&mut cameras.iter().copied())
        )),
    }
}

#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
