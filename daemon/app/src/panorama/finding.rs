//! What cameras found, told of the panorama's pictures by their own keys: each object once.

use std::collections::VecDeque;

use synoptic_base::{FrameKey, FrameMeta, Mono, Span, StreamId};
use synoptic_engine::stitch::unite::unite;

use super::stage::Stage;
use crate::documents::DetectionDoc;
use crate::found::Looked;
use crate::hub::Hub;

/// A picture whose frames nobody has looked at within this was passed over. Detection of a packet on a slow CPU takes a
/// second.
const PATIENCE: Span = Span::from_secs(3);
/// Pictures that wait for their detections: as long at 40 a second.
const PENDING: usize = 120;

/// What was found in the frames of one picture.
#[derive(Debug)]
pub(super) enum Find {
    /// A detector has looked at all of them, where any does.
    Known(Vec<DetectionDoc>),
    /// A detector has not said (yet).
    Open,
    /// No detector looks at any of its cameras.
    Nobody,
}

/// A picture that waits for its detections.
struct Pending {
    meta: FrameMeta,
    frames: Vec<Option<FrameKey>>,
}

/// Tells those who follow a panorama what was found in its pictures.
pub(super) struct Finding {
    /// Cameras that a detector looks at.
    detected: Vec<StreamId>,
    pending: VecDeque<Pending>,
}

impl Finding {
    pub(super) fn new(detected: Vec<StreamId>) -> Finding {
        Finding {
            detected,
            pending: VecDeque::new(),
        }
    }

    /// What was found in these frames, on the canvas.
    pub(super) fn find(&self, hub: &Hub, stage: &Stage, frames: &[Option<FrameKey>]) -> Find {
        let mut sightings = Vec::new();
        let mut looked = false;
        for (k, key) in frames.iter().enumerate() {
            let Some(key) = key.filter(|key| self.detected.contains(&key.stream)) else {
                continue;
            };
            looked = true;
            let Some(found) = hub.boxes(&key) else {
                return Find::Open;
            };
            sightings.extend(stage.sightings(k, &found));
        }
        if !looked {
            return Find::Nobody;
        }
        let docs = unite(&sightings).into_iter().map(|u| DetectionDoc {
            track: u.track,
            label: u.label,
            score: u.score,
            bbox: [u.bbox.x, u.bbox.y, u.bbox.w, u.bbox.h],
        });
        Find::Known(docs.collect())
    }

    /// A picture was composed of these frames.
    pub(super) fn composed(&mut self, hub: &Hub, meta: FrameMeta, frames: &[Option<FrameKey>]) {
        if self.detected.is_empty() {
            return;
        }
        if self.pending.len() == PENDING
            && let Some(oldest) = self.pending.pop_front()
        {
            hub.found.skipped(vec![oldest.meta.key]);
        }
        let frames = frames.to_vec();
        self.pending.push_back(Pending { meta, frames });
    }

    /// Tells what is known by now. Detectors look at frames in order: once they have looked at a later picture's, those
    /// before are passed over.
    pub(super) fn tell(&mut self, hub: &Hub, stage: &Stage, now: Mono) {
        let finds: Vec<Find> = self
            .pending
            .iter()
            .map(|p| self.find(hub, stage, &p.frames))
            .collect();
        let closed = finds.iter().rposition(|f| !matches!(f, Find::Open));
        let old = |p: &Pending| now - p.meta.captured.mono > PATIENCE;
        let aged = self.pending.iter().rposition(old);
        let Some(last) = closed.max(aged) else { return };
        let mut skipped = Vec::new();
        for (pending, find) in self.pending.drain(..=last).zip(finds) {
            match find {
                Find::Known(detections) => {
                    let meta = pending.meta;
                    hub.found.looked(Looked { meta, detections }, now);
                }
                // Without a frame of a camera with a detector nobody looks at it either.
                Find::Open | Find::Nobody => skipped.push(pending.meta.key),
            }
        }
        hub.found.skipped(skipped);
    }

    /// The pictures that wait are of a canvas that is gone.
    pub(super) fn clear(&mut self, hub: &Hub) {
        let keys = self.pending.drain(..).map(|p| p.meta.key);
        hub.found.skipped(keys.collect());
    }
}
