//! A panorama or a virtual camera as a live stream, beside those of the cameras: its pictures to the encoder, while somebody
//! watches.

use std::sync::Arc;

use synoptic_base::{Frame, FrameMeta, Size};
use synoptic_media::Pixels;
use synoptic_media::coded::CodedStream;
use synoptic_media::encode::{EncodeOptions, PixelFeed};

/// Before the first picture.
const NOTHING_YET: &str = "no picture has come yet";
/// Kilobits a second for a million pixels: what the box gives to cameras (2.5 Mbit/s for 720p).
const KBIT_FOR_MEGAPIXEL: f64 = 2_700.0;
/// Below, text and faces blur; above, no browser's link keeps up.
const KBIT: std::ops::RangeInclusive<u32> = 1_000..=20_000;

/// Where the pictures that the box makes leave.
pub(crate) struct Outlet {
    stream: Arc<CodedStream>,
    feed: Option<(Size, PixelFeed)>,
    /// Why nothing comes, as readers were told; `None` while pictures come.
    silent: Option<String>,
}

impl Outlet {
    /// Into `stream`, of which nothing comes yet; `why`: what a reader is told of the reason for coding.
    pub(crate) fn new(stream: Arc<CodedStream>, why: &'static str) -> Outlet {
        stream.declare(Some(why));
        let mut outlet = Outlet {
            stream,
            feed: None,
            silent: None,
        };
        outlet.silent(NOTHING_YET);
        outlet
    }

    /// Whether somebody wants pictures now.
    pub(crate) fn is_wanted(&self) -> bool {
        match &self.feed {
            Some((_, feed)) => feed.is_wanted(),
            None => self.stream.wants_pixels(),
        }
    }

    /// A picture was made. Without a reader it costs one look. As long as the canvas is the same, so is the encoder:
    /// whatever cameras are missing.
    pub(crate) fn picture(&mut self, meta: FrameMeta, pixels: Pixels) {
        if self.silent.take().is_some() {
            self.stream.ready();
        }
        let size = meta.size;
        if self.feed.as_ref().is_none_or(|(of, _)| *of != size) {
            let options = EncodeOptions {
                bitrate_kbit: bitrate_kbit(size),
                ..EncodeOptions::default()
            };
            self.feed = Some((size, PixelFeed::new(self.stream.clone(), options)));
        }
        if let Some((_, feed)) = &mut self.feed {
            feed.frame(&Frame { meta, pixels });
        }
    }

    /// No pictures come now, and why. An encoder that runs is kept: it goes on where it stopped.
    pub(crate) fn silent(&mut self, why: &str) {
        if self.silent.as_deref() != Some(why) {
            self.silent = Some(why.to_owned());
            self.stream.waiting(why);
        }
    }
}

/// Bit rate for pictures of this size, kbit/s.
fn bitrate_kbit(size: Size) -> u32 {
    let megapixels = f64::from(size.width) * f64::from(size.height) / 1e6;
    ((megapixels * KBIT_FOR_MEGAPIXEL) as u32).clamp(*KBIT.start(), *KBIT.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bit_rate_grows_with_the_canvas_within_limits() {
        assert_eq!(bitrate_kbit(Size::new(320, 180)), 1_000);
        assert_eq!(bitrate_kbit(Size::new(1280, 720)), 2_488);
        assert_eq!(bitrate_kbit(Size::new(3264, 1080)), 9_517);
        assert_eq!(bitrate_kbit(Size::new(15_000, 4_000)), 20_000);
    }
}
