//! What a detect thread looks at of one camera: how often, when something moves, which part of the picture.

use synoptic_base::{BBox, Detection, FrameMeta, Picture, Surface};
use synoptic_engine::attention::{Attention, AttentionConfig, AttentionCounts, Pass};
use synoptic_vision::PictureBuf;
use synoptic_vision::motion::Gate;

/// The attention to one camera.
pub(crate) struct CameraLook {
    config: AttentionConfig,
    region: Option<BBox>,
    attention: Attention,
    gate: Gate,
    /// Frames whose motion could not be judged.
    unjudged: u64,
}

impl CameraLook {
    pub(crate) fn new(config: AttentionConfig, region: Option<BBox>) -> CameraLook {
        CameraLook {
            config,
            region,
            attention: Attention::new(config),
            gate: Gate::default(),
            unjudged: 0,
        }
    }

    /// Whether a frame is to be looked at. What moves inside `ignore` opens no gate.
    pub(crate) fn judge(
        &mut self,
        meta: &FrameMeta,
        surface: &dyn Surface,
        followed: bool,
        ignored: impl Fn(&BBox) -> bool,
    ) -> Result<(), Pass> {
        let (gate, region, unjudged) = (&mut self.gate, self.region, &mut self.unjudged);
        self.attention
            .judge(meta, followed, || match gate.moving(&Picture { meta, surface }) {
                Ok(moving) => moving
                    .iter()
                    .any(|m| !ignored(m) && region.is_none_or(|r| r.intersection(m) > 0.0)),
                Err(error) => {
                    // The detector will say what is wrong with it; here it is only no reason not to look.
                    *unjudged += 1;
                    if *unjudged == 1 {
                        log::warn!("motion cannot be judged, so the detector looks: {error}");
                    }
                    true
                }
            })
    }

    /// The part of a picture that is looked at, and where it lies; `None`: all of it.
    pub(crate) fn part(&self, surface: &dyn Surface) -> Option<Result<(PictureBuf, BBox), String>> {
        self.region.map(|region| PictureBuf::part(surface, &region))
    }

    /// What was looked at so far.
    pub(crate) fn counts(&self) -> AttentionCounts {
        self.attention.counts()
    }

    /// Whether this is the attention that is asked for.
    pub(crate) fn is(&self, config: AttentionConfig, region: Option<BBox>) -> bool {
        self.config == config && self.region == region
    }
}

/// A detection in the part `place` of a picture, in the whole of it.
pub(crate) fn in_whole(detection: Detection, place: &BBox) -> Detection {
    let b = detection.bbox;
    Detection {
        bbox: BBox::new(
            place.x + b.x * place.w,
            place.y + b.y * place.h,
            b.w * place.w,
            b.h * place.h,
        ),
        ..detection
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_in_the_lower_right_quarter_lies_there_in_the_whole() {
        let detection = Detection {
            bbox: BBox::new(0.5, 0.0, 0.5, 1.0),
            label: "person".to_owned(),
            score: 0.5,
        };
        let whole = in_whole(detection, &BBox::new(0.5, 0.5, 0.5, 0.5));
        assert_eq!(whole.bbox, BBox::new(0.75, 0.5, 0.25, 0.5));
    }
}
