//! Pictures of the box, coded: what browsers cannot play as the camera sends it, and panoramas.
//!
//! One encoder serves all readers of a stream, and runs only while there is one. Its output is H.264 without B pictures and
//! without delay, and each coded picture has the key of the frame that went in.

mod choice;
mod constant;
mod encoder;
mod feed;
mod inlet;
mod sound;

pub use choice::{EncoderKind, available};
pub use encoder::Encoder;
pub use feed::PixelFeed;
pub(crate) use sound::SoundCoder;
use synoptic_base::Size;

/// How many pictures a second are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameRate {
    /// So many at most, evenly.
    AtMost(u32),
    /// Exactly so many, each at its slot: what is missing is a repeat of the picture before, what is too much is left out
    /// (`synoptic_engine::pacing::ConstantRate`). An encoder that is too slow leaves slots out all the same, counted.
    Constant(u32),
}

impl FrameRate {
    /// Pictures a second of a stream that has `stream` of them.
    pub fn of(self, stream: f64) -> f64 {
        match self {
            FrameRate::AtMost(most) => stream.min(f64::from(most)),
            FrameRate::Constant(fps) => f64::from(fps),
        }
    }
}

/// How pictures are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Bit rate in kbit/s.
    pub bitrate_kbit: u32,
    /// Pictures from one IDR picture to the next.
    pub gop: u32,
    /// Size of the coded picture; that of the frames when `None`.
    pub size: Option<Size>,
    /// Pictures a second; as they come when `None`.
    pub fps: Option<FrameRate>,
    /// Which encoder; the best that this box has when `None`.
    pub encoder: Option<EncoderKind>,
}

impl Default for EncodeOptions {
    /// 2.5 Mbit/s: no visible loss in 720p of a fixed camera; a beginning every 30 pictures.
    fn default() -> EncodeOptions {
        EncodeOptions {
            bitrate_kbit: 2_500,
            gop: 30,
            size: None,
            fps: None,
            encoder: None,
        }
    }
}
