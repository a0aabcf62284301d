//! Whether something moves: the cheap question before the dear one. A motion detector on a thinned picture.

use synoptic_base::{
    BBox, Detector, DetectorError, Picture, PixelFormat, Planes, Size, StreamId, Surface, SurfaceError,
};

use super::MotionDetector;
use crate::PictureBuf;
use crate::color::{ColorError, read};
use crate::picture::{Chroma, check, chroma_size};

/// Pixels across to which wider pictures are thinned: every so manieth of each row and column. What a person is at 20 m
/// from a usual lens, eight pixels, is still two cells then.
const WIDTH: usize = 640;
/// Score from which something moves: all that a motion detector finds.
const THRESHOLD: f32 = 0.0;

/// Watches any number of streams.
pub struct Gate {
    motion: MotionDetector,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate {
            motion: MotionDetector::new(Some(THRESHOLD)),
        }
    }
}

impl Gate {
    /// Where something moves, in fractions of the picture. Nothing in the first second of a stream.
    ///
    /// # Errors
    /// When the picture cannot be read.
    pub fn moving(&mut self, picture: &Picture<'_>) -> Result<Vec<BBox>, DetectorError> {
        let step = (picture.surface.size().width as usize).div_ceil(WIDTH).max(1);
        let mut found = if step == 1 {
            self.motion.detect(std::slice::from_ref(picture))
        } else {
            let thinned = thin(picture.surface, step).map_err(|why| DetectorError::Picture {
                frame: picture.meta.key.to_string(),
                why,
            })?;
            let picture = Picture {
                meta: picture.meta,
                surface: &thinned,
            };
            self.motion.detect(&[picture])
        };
        let found = found.pop().unwrap_or(Ok(Vec::new()))?;
        Ok(found.into_iter().map(|d| d.bbox).collect())
    }

    /// A stream will not come again.
    pub fn forget(&mut self, stream: &StreamId) {
        self.motion.forget(stream);
    }
}

/// Every `step`th pixel of every `step`th row. Averages would be smoother; motion is found by cells of many pixels.
fn thin(from: &dyn Surface, step: usize) -> Result<PictureBuf, String> {
    let size = from.size();
    let small = Size::new(
        (size.width as usize / step).max(1) as u32,
        (size.height as usize / step).max(1) as u32,
    );
    let mut data = Vec::with_capacity(PictureBuf::bytes(small));
    read(from, |planes: Planes<'_>| {
        check(&planes, size)?;
        let (w, h) = (small.width as usize, small.height as usize);
        let luma = planes.luma();
        for y in 0..h {
            let row = &luma.data[y * step * luma.stride..];
            data.extend(row.iter().step_by(step).take(w));
        }
        let ((cw, ch), (all_w, all_h)) = (chroma_size(small), chroma_size(size));
        let chroma = Chroma::of(&planes);
        for y in 0..ch {
            let (cb, cr) = chroma.row((y * step).min(all_h - 1));
            for x in 0..cw {
                let at = (x * step).min(all_w - 1) * chroma.step;
                data.extend([cb[at], cr[at]]);
            }
        }
        Ok::<(), ColorError>(())
    })
    .map_err(|e: SurfaceError| ColorError::from(e))
    .flatten()
    .map_err(|e| e.to_string())?;
    PictureBuf::new(small, PixelFormat::Nv12, data).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::meta;

    #[test]
    fn a_thing_that_moves_in_a_large_picture_opens_it_and_a_still_scene_does_not() {
        let size = Size::new(1920, 1080);
        let scene = |left: Option<usize>| {
            let mut picture = PictureBuf::black(size).unwrap();
            for (i, luma) in picture.luma_mut().iter_mut().enumerate() {
                let (x, y) = (i % 1920, i / 1920);
                let thing = left.is_some_and(|l| (l..l + 90).contains(&x) && (400..700).contains(&y));
                *luma = if thing {
                    200
                } else {
                    60 + ((x / 160 + y / 160) % 2 * 30) as u8
                };
            }
            picture.to_nv12()
        };
        let mut gate = Gate::default();
        let mut first = None;
        for seq in 0..40_u64 {
            let left = (seq >= 25).then(|| 300 + 20 * seq as usize);
            let picture = scene(left);
            let meta = meta("gate", 1, seq, 10.0, size);
            let moving = gate
                .moving(&Picture {
                    meta: &meta,
                    surface: &picture,
                })
                .unwrap();
            if let (Some(found), None) = (moving.first(), first) {
                first = Some(seq);
                let left = left.expect("nothing moves yet") as f32 / 1920.0;
                assert!((found.x - left).abs() < 0.03, "{found:?} {left}");
            }
        }
        assert!(first.is_some_and(|seq| seq <= 28), "{first:?}");
    }
}
