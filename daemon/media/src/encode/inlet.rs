//! Where pictures go into a running encoder, and what comes out of it is known by again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use gst_app::AppSrc;
use synoptic_base::{FrameMeta, Mono};

use crate::coded::Slot;
use crate::output::waiting_pictures;
use crate::session::locked;

/// Raw pictures that wait for the encoder; what comes while it is full is left out (docs/design/overview.md).
const MAX_RAW: u64 = 2;
/// Frames within the encoder: more than any without B pictures holds.
const MAX_INSIDE: usize = 64;

/// A frame within the encoder, known by its time stamp.
struct Entry {
    pts: gst::ClockTime,
    meta: FrameMeta,
    slot: Slot,
}

/// The frames within an encoder, in the order in which they went in.
#[derive(Clone, Default)]
pub(super) struct Inside(Arc<Mutex<VecDeque<Entry>>>);

impl Inside {
    /// The frame of a time stamp; those before it never come.
    pub(super) fn take(&self, pts: gst::ClockTime) -> Option<(FrameMeta, Slot)> {
        let mut inside = locked(&self.0);
        let at = inside.iter().position(|entry| entry.pts == pts)?;
        inside.drain(..=at).next_back().map(|e| (e.meta, e.slot))
    }
}

/// The way into an encoder.
pub(super) struct Inlet {
    source: AppSrc,
    inside: Inside,
    first: Mono,
    last_pts: Option<gst::ClockTime>,
    left_out: Arc<AtomicU64>,
}

impl Inlet {
    /// `first`: when the first picture is shown.
    pub(super) fn new(source: AppSrc, inside: Inside, first: Mono, left_out: Arc<AtomicU64>) -> Inlet {
        Inlet {
            source,
            inside,
            first,
            last_pts: None,
            left_out,
        }
    }

    /// Whether the encoder is busy.
    pub(super) fn is_full(&self) -> bool {
        waiting_pictures(&self.source) >= MAX_RAW
    }

    /// Gives the encoder a picture; its time stamp is its capture time, or its slot's. One that finds the encoder busy is
    /// left out.
    pub(super) fn push(&mut self, mut buffer: gst::Buffer, meta: FrameMeta, slot: Slot) {
        if self.is_full() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // Whole microseconds: V4L2 encoders carry no finer ones.
        let shown = meta.captured.mono + slot.later;
        let us = (shown - self.first).as_micros_floor().max(0) as u64;
        let next = self.last_pts.map_or(gst::ClockTime::ZERO, |last| {
            last + gst::ClockTime::from_useconds(1)
        });
        let pts = gst::ClockTime::from_useconds(us).max(next);
        self.last_pts = Some(pts);
        // A picture that is shown again shares its memory.
        buffer.make_mut().set_pts(pts);
        {
            let mut inside = locked(&self.inside.0);
            if inside.len() == MAX_INSIDE {
                inside.pop_front();
            }
            inside.push_back(Entry { pts, meta, slot });
        }
        // An error here is the pipeline's own, which is on the bus and comes with the next frame.
        self.source.push_buffer(buffer).ok();
    }
}
