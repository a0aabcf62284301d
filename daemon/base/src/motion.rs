//! Motion of blocks of a picture, as its coder saw it.

use serde::{Deserialize, Serialize};

use crate::{Rotation, Size};

/// A block's motion vector, in the terms of FFmpeg's `AVMotionVector` (libavutil/motion_vector.h): all in pixels, places
/// are centres of blocks, and `src = dst + motion / scale`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MotionVector {
    /// Which reference: negative lies in the past, positive in the future.
    pub source: i32,
    /// Width of the block.
    pub w: u8,
    /// Height of the block.
    pub h: u8,
    /// Where the block was, across.
    pub src_x: i16,
    /// Where the block was, down.
    pub src_y: i16,
    /// Where the block is, across.
    pub dst_x: i16,
    /// Where the block is, down.
    pub dst_y: i16,
    /// Motion across, in fractions of a pixel.
    pub motion_x: i32,
    /// Motion down, in fractions of a pixel.
    pub motion_y: i32,
    /// The fractions that make a pixel; 4 in H.264.
    pub motion_scale: u16,
}

impl MotionVector {
    /// Names of [`MotionVector::columns`].
    pub const COLUMNS: [&'static str; 10] = [
        "source",
        "w",
        "h",
        "src_x",
        "src_y",
        "dst_x",
        "dst_y",
        "motion_x",
        "motion_y",
        "motion_scale",
    ];

    /// All fields in their order.
    pub fn columns(&self) -> [i32; 10] {
        [
            self.source,
            self.w.into(),
            self.h.into(),
            self.src_x.into(),
            self.src_y.into(),
            self.dst_x.into(),
            self.dst_y.into(),
            self.motion_x,
            self.motion_y,
            self.motion_scale.into(),
        ]
    }

    /// The same in the picture turned clockwise; `size` is that of the picture before. `None` when a number does not fit
    /// its field then.
    pub fn turned(self, rotation: Rotation, size: Size) -> Option<MotionVector> {
        let (width, height) = (i64::from(size.width), i64::from(size.height));
        let place = |x: i16, y: i16| {
            let (x, y) = (i64::from(x), i64::from(y));
            let (x, y) = match rotation {
                Rotation::None => (x, y),
                Rotation::Quarter => (height - y, x),
                Rotation::Half => (width - x, height - y),
                Rotation::ThreeQuarter => (y, width - x),
            };
            Some((i16::try_from(x).ok()?, i16::try_from(y).ok()?))
        };
        let (src_x, src_y) = place(self.src_x, self.src_y)?;
        let (dst_x, dst_y) = place(self.dst_x, self.dst_y)?;
        let (x, y) = (self.motion_x, self.motion_y);
        let (motion_x, motion_y) = match rotation {
            Rotation::None => (x, y),
            Rotation::Quarter => (y.checked_neg()?, x),
            Rotation::Half => (x.checked_neg()?, y.checked_neg()?),
            Rotation::ThreeQuarter => (y, x.checked_neg()?),
        };
        let (w, h) = match rotation {
            Rotation::None | Rotation::Half => (self.w, self.h),
            Rotation::Quarter | Rotation::ThreeQuarter => (self.h, self.w),
        };
        Some(MotionVector {
            source: self.source,
            w,
            h,
            src_x,
            src_y,
            dst_x,
            dst_y,
            motion_x,
            motion_y,
            motion_scale: self.motion_scale,
        })
    }

    /// The inverse of [`MotionVector::columns`]; `None` when a number does not fit its field.
    pub fn from_columns(c: [i32; 10]) -> Option<MotionVector> {
        Some(MotionVector {
            source: c[0],
            w: c[1].try_into().ok()?,
            h: c[2].try_into().ok()?,
            src_x: c[3].try_into().ok()?,
            src_y: c[4].try_into().ok()?,
            dst_x: c[5].try_into().ok()?,
            dst_y: c[6].try_into().ok()?,
            motion_x: c[7],
            motion_y: c[8],
            motion_scale: c[9].try_into().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_keeps_what_a_vector_says() {
        // A block of 16x8 about (24, 12) of a picture of 64x48 came from 4 to the left and 2 above.
        let vector = MotionVector {
            source: -1,
            w: 16,
            h: 8,
            src_x: 20,
            src_y: 10,
            dst_x: 24,
            dst_y: 12,
            motion_x: -16,
            motion_y: -8,
            motion_scale: 4,
        };
        let mut size = Size::new(64, 48);
        let mut turned = vector;
        for _ in 0..4 {
            turned = turned.turned(Rotation::Quarter, size).unwrap();
            size = Size::new(size.height, size.width);
            let scale = i32::from(turned.motion_scale);
            let src = (i32::from(turned.src_x), i32::from(turned.src_y));
            let dst = (i32::from(turned.dst_x), i32::from(turned.dst_y));
            assert_eq!(src.0, dst.0 + turned.motion_x / scale);
            assert_eq!(src.1, dst.1 + turned.motion_y / scale);
        }
        assert_eq!(turned, vector);
        let size = Size::new(64, 48);
        let once = vector.turned(Rotation::Quarter, size).unwrap();
        assert_eq!((once.dst_x, once.dst_y, once.w, once.h), (36, 24, 8, 16));
        let half = vector.turned(Rotation::Half, size).unwrap();
        let thrice = vector.turned(Rotation::ThreeQuarter, size).unwrap();
        assert_eq!(once.turned(Rotation::Quarter, Size::new(48, 64)), Some(half));
        assert_eq!(half.turned(Rotation::Quarter, size), Some(thrice));
        assert_eq!(vector.turned(Rotation::None, size), Some(vector));
        assert_eq!(vector.turned(Rotation::Half, Size::new(1 << 20, 48)), None);
    }

    #[test]
    fn columns_round_trip() {
        let vector = MotionVector {
            source: -1,
            w: 16,
            h: 8,
            src_x: -3,
            src_y: 700,
            dst_x: 8,
            dst_y: 696,
            motion_x: -44,
            motion_y: 16,
            motion_scale: 4,
        };
        assert_eq!(MotionVector::from_columns(vector.columns()), Some(vector));
        assert_eq!(MotionVector::from_columns([0, 256, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
