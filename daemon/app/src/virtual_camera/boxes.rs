//! What was found in the source's pictures, told of the view's own by their own keys.

use std::collections::VecDeque;

use synoptic_base::{BBox, FrameKey, FrameMeta, InCamera, InPanorama, Mono, Span};
use synoptic_vision::panorama::View;

use crate::documents::DetectionDoc;
use crate::found::Looked;
use crate::hub::Hub;

/// A picture in whose source nothing was found within this was passed over.
const PATIENCE: Span = Span::from_secs(3);
/// Pictures that wait.
const PENDING: usize = 120;

struct Pending {
    meta: FrameMeta,
    source: FrameKey,
    view: View,
}

/// Pictures of a view that wait for what is found in their source.
#[derive(Default)]
pub(super) struct Boxes {
    pending: VecDeque<Pending>,
}

impl Boxes {
    /// A picture of the view was drawn of the source's frame `source`.
    pub(super) fn drawn(&mut self, hub: &Hub, meta: FrameMeta, source: FrameKey, view: View) {
        if self.pending.len() == PENDING
            && let Some(oldest) = self.pending.pop_front()
        {
            hub.found.skipped(vec![oldest.meta.key]);
        }
        self.pending.push_back(Pending { meta, source, view });
    }

    /// Tells what is known by now. Detectors look at frames in order: what lies before one that is known is passed over.
    pub(super) fn tell(&mut self, hub: &Hub, now: Mono) {
        let known: Vec<_> = self.pending.iter().map(|p| hub.boxes(&p.source)).collect();
        let newest = known.iter().rposition(Option::is_some);
        let aged = |p: &Pending| now - p.meta.captured.mono > PATIENCE;
        let Some(last) = newest.max(self.pending.iter().rposition(aged)) else {
            return;
        };
        let mut skipped = Vec::new();
        for (pending, found) in self.pending.drain(..=last).zip(known) {
            let Some(found) = found else {
                skipped.push(pending.meta.key);
                continue;
            };
            let detections = found.iter().filter_map(|d| seen(&pending.view, d)).collect();
            let meta = pending.meta;
            hub.found.looked(Looked { meta, detections }, now);
        }
        hub.found.skipped(skipped);
    }
}

/// A detection as the view shows it.
fn seen(view: &View, detection: &DetectionDoc) -> Option<DetectionDoc> {
    let [x, y, w, h] = detection.bbox;
    let bbox: BBox<InCamera> = view.bbox(&BBox::<InPanorama>::new(x, y, w, h))?;
    Some(DetectionDoc {
        bbox: [bbox.x, bbox.y, bbox.w, bbox.h],
        ..detection.clone()
    })
}
