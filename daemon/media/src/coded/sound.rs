//! Coded sound beside the pictures of a stream.

use std::sync::Arc;

use bytes::Bytes;
use synoptic_base::{Captured, Epoch, Span};

/// A codec of sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoundCodec {
    /// AAC, a raw frame without ADTS header (ISO/IEC 14496-3).
    Aac,
    /// Opus (RFC 6716).
    Opus,
    /// G.711 A-law (ITU-T G.711).
    Alaw,
    /// G.711 µ-law.
    Mulaw,
}

impl SoundCodec {
    /// Name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            SoundCodec::Aac => "aac",
            SoundCodec::Opus => "opus",
            SoundCodec::Alaw => "pcma",
            SoundCodec::Mulaw => "pcmu",
        }
    }
}

/// The format of coded sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoundFormat {
    /// The codec.
    pub codec: SoundCodec,
    /// Samples a second and channel.
    pub rate_hz: u32,
    /// Channels.
    pub channels: u16,
    /// AAC: its AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2.1); empty for the others.
    pub config: Vec<u8>,
    /// Opus: samples at 48 kHz that a decoder leaves out at the beginning (RFC 7845 section 4.2).
    pub pre_skip: u16,
    /// What the camera sends, where the box coded it anew; `None`: this is the camera's own.
    pub transcoded: Option<&'static str>,
}

impl SoundFormat {
    /// RFC 6381 string, as in `mp4a.40.2`.
    pub fn rfc6381(&self) -> String {
        match self.codec {
            // The object type is in the first five bits.
            SoundCodec::Aac => format!("mp4a.40.{}", self.config.first().map_or(2, |b| b >> 3)),
            SoundCodec::Opus => "opus".to_owned(),
            SoundCodec::Alaw => "alaw".to_owned(),
            SoundCodec::Mulaw => "ulaw".to_owned(),
        }
    }
}

/// A frame of sound, on the time line of the pictures beside it.
#[derive(Clone, Debug)]
pub struct CodedSound {
    /// The epoch of the pictures.
    pub epoch: Epoch,
    /// Media time of its first sample: that which a picture captured then would have. Microseconds.
    pub media_us: i64,
    /// When its first sample was captured.
    pub captured: Captured,
    /// How long it sounds.
    pub duration: Span,
    /// Its format.
    pub format: Arc<SoundFormat>,
    /// Its bytes.
    pub data: Bytes,
}

/// Which sound a reader wants beside the pictures. What the camera sends where that fits, else what the box makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoundWant {
    /// Whatever the camera sends: for RTP.
    Native,
    /// AAC or Opus: for fragmented MP4.
    Mp4,
    /// AAC: for FLV.
    Flv,
    /// Opus: for browsers by WebRTC (RFC 7874 section 3).
    WebRtc,
}

impl SoundWant {
    /// Whether sound of this codec does.
    pub const fn takes(self, codec: SoundCodec) -> bool {
        match self {
            SoundWant::Native => true,
            SoundWant::Mp4 => matches!(codec, SoundCodec::Aac | SoundCodec::Opus),
            SoundWant::Flv => matches!(codec, SoundCodec::Aac),
            SoundWant::WebRtc => matches!(codec, SoundCodec::Opus),
        }
    }

    /// In which form who wants this gets sound that the camera sends in `codec`.
    pub(super) const fn form(self, codec: SoundCodec) -> SoundForm {
        match (self.takes(codec), self) {
            (true, _) => SoundForm::Native,
            (false, SoundWant::WebRtc) => SoundForm::Opus,
            (false, _) => SoundForm::Aac,
        }
    }
}

/// Forms in which a camera's sound leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SoundForm {
    /// As the camera sends it.
    Native,
    /// AAC that the box makes of it.
    Aac,
    /// Opus that the box makes of it.
    Opus,
}

impl SoundForm {
    pub(crate) const ALL: [SoundForm; 3] = [SoundForm::Native, SoundForm::Aac, SoundForm::Opus];
    /// Those that the box makes.
    pub(crate) const CODED: [SoundForm; 2] = [SoundForm::Aac, SoundForm::Opus];
}

/// A frame of sound before it is known which pictures it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct SoundUnit {
    pub(crate) captured: Captured,
    pub(crate) duration: Span,
    pub(crate) format: Arc<SoundFormat>,
    pub(crate) data: Bytes,
}
