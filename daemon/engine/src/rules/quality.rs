//! How well a sighting shows its object.

use synoptic_base::BBox;

use crate::track::Track;

/// A box that comes this near to the picture's edge is taken to be cut off by it, in fractions of the picture.
const EDGE: f32 = 0.005;
/// What a box that is cut off is worth: half of the object may be missing.
const CUT_OFF: f32 = 0.5;

/// Worth of the newest sighting as a picture: score x visible area x completeness. 0 when the detector called the
/// object by another name than its track's.
pub(super) fn quality(track: &Track) -> f32 {
    if !track.agrees {
        return 0.0;
    }
    let seen = track.last.bbox;
    let visible = seen.clamped();
    track.last.score * visible.area() * completeness(&seen, &visible)
}

/// Share of the box inside the picture, halved when it touches the edge.
fn completeness(bbox: &BBox, visible: &BBox) -> f32 {
    let area = bbox.area();
    if area <= 0.0 {
        return 0.0;
    }
    let inside = (visible.area() / area).min(1.0);
    let cut = bbox.x <= EDGE || bbox.y <= EDGE || bbox.right() >= 1.0 - EDGE || bbox.bottom() >= 1.0 - EDGE;
    if cut { inside * CUT_OFF } else { inside }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_boxes_beat_cut_ones() {
        let of = |x: f32| {
            let bbox = BBox::new(x, 0.3, 0.2, 0.4);
            completeness(&bbox, &bbox.clamped())
        };
        assert_eq!(of(0.4), 1.0);
        assert_eq!(of(0.0), 0.5);
        assert!((of(-0.1) - 0.25).abs() < 1e-6);
        assert_eq!(of(2.0), 0.0);
    }
}
