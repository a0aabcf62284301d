//! Which encoder this box has.

use gst::prelude::*;

use super::EncodeOptions;
use crate::MediaError;

/// An H.264 encoder, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncoderKind {
    /// The Jetson's own (nvv4l2h264enc). Orin Nano has none.
    Nvidia,
    /// The graphics processor's, by VA-API (vah264enc).
    Va,
    /// x264, on the CPU.
    X264,
    /// OpenH264, on the CPU; less quality for its bits.
    OpenH264,
}

impl EncoderKind {
    /// All of them, best first.
    pub const ALL: [EncoderKind; 4] = [
        EncoderKind::Nvidia,
        EncoderKind::Va,
        EncoderKind::X264,
        EncoderKind::OpenH264,
    ];

    /// The GStreamer element.
    pub const fn element(self) -> &'static str {
        match self {
            EncoderKind::Nvidia => "nvv4l2h264enc",
            EncoderKind::Va => "vah264enc",
            EncoderKind::X264 => "x264enc",
            EncoderKind::OpenH264 => "openh264enc",
        }
    }

    /// What must stand before it, as a part of a pipeline's description: it takes pictures from its own memory.
    pub(super) const fn before(self) -> &'static str {
        match self {
            EncoderKind::Nvidia => "nvvidconv ! video/x-raw(memory:NVMM),format=NV12 ! ",
            _ => "",
        }
    }

    /// Sets the element: no B pictures, no delay. What an older plugin lacks is left at its default.
    pub(super) fn set(self, element: &gst::Element, options: &EncodeOptions) {
        let (kbit, gop) = (options.bitrate_kbit.to_string(), options.gop.to_string());
        let bit = (u64::from(options.bitrate_kbit) * 1_000).to_string();
        let settings: &[(&str, &str)] = match self {
            EncoderKind::Nvidia => &[
                ("bitrate", &bit),
                ("iframeinterval", &gop),
                ("idrinterval", &gop),
                ("insert-sps-pps", "true"),
                ("num-B-Frames", "0"),
                ("maxperf-enable", "true"),
            ],
            EncoderKind::Va => &[("bitrate", &kbit), ("key-int-max", &gop), ("b-frames", "0")],
            EncoderKind::X264 => &[
                ("bitrate", &kbit),
                ("key-int-max", &gop),
                ("tune", "zerolatency"),
                ("speed-preset", "superfast"),
                ("bframes", "0"),
                // Even quality, with the bit rate as its limit over 1.5 s: a picture is never starved for the one before.
                ("pass", "qual"),
                ("quantizer", "23"),
                ("vbv-buf-capacity", "1500"),
            ],
            EncoderKind::OpenH264 => &[
                ("bitrate", &bit),
                ("gop-size", &gop),
                ("rate-control", "bitrate"),
                ("complexity", "low"),
            ],
        };
        for (name, value) in settings {
            if element.has_property(name) {
                element.set_property_from_str(name, value);
            }
        }
    }

    /// Whether the element is there and starts: a plugin may be there without the hardware.
    fn works(self) -> bool {
        let Ok(element) = gst::ElementFactory::make(self.element()).build() else {
            return false;
        };
        let ready = element.set_state(gst::State::Ready).is_ok();
        ready && element.set_state(gst::State::Null).is_ok()
    }
}

/// The encoders that work on this box, best first.
pub fn available() -> Vec<EncoderKind> {
    EncoderKind::ALL.into_iter().filter(|kind| kind.works()).collect()
}

/// The one to use; not one of those that have `failed`.
pub(super) fn choose(options: &EncodeOptions, failed: &[EncoderKind]) -> Result<EncoderKind, MediaError> {
    let wanted =
        |kind: &EncoderKind| options.encoder.is_none_or(|wanted| wanted == *kind) && !failed.contains(kind);
    let found = EncoderKind::ALL
        .into_iter()
        .find(|kind| wanted(kind) && kind.works());
    found.ok_or_else(|| MediaError::Missing {
        what: "an H.264 encoder".to_owned(),
        package: "gstreamer1.0-plugins-ugly (x264) or gstreamer1.0-plugins-bad (OpenH264)",
    })
}
