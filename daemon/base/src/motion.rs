//! Motion of blocks of a picture, as its coder saw it.

use serde::{Deserialize, Serialize};

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
