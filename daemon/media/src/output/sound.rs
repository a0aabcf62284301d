//! Sound beside the pictures of an output: as the camera sends it.

use gst_app::AppSrc;
use std::sync::Arc;

use super::times::RtpTimes;
use crate::coded::{CodedSound, SoundCodec, SoundFormat};

/// Where the sound goes in, in a pipeline of ours.
pub(super) const SOURCE: &str = "sound";
/// Number of its stream: after the pictures.
pub(super) const SESSION: u32 = 1;

/// A way out for sound of one format.
pub(super) struct SoundOut {
    pub(super) source: AppSrc,
    pub(super) times: Arc<RtpTimes>,
    format: Arc<SoundFormat>,
}

impl SoundOut {
    pub(super) fn new(source: AppSrc, times: Arc<RtpTimes>, format: Arc<SoundFormat>) -> SoundOut {
        source.set_caps(Some(&caps(&format)));
        SoundOut {
            source,
            times,
            format,
        }
    }

    /// A frame of sound; its time stamp is its capture time. One of another format is left out: the media has no place for it.
    pub(super) fn push(&self, sound: &CodedSound) -> Option<u64> {
        if sound.format != self.format {
            return None;
        }
        let mut buffer = gst::Buffer::from_slice(sound.data.clone());
        if let Some(data) = buffer.get_mut() {
            let pts = self.times.running_time(sound.captured.mono, sound.captured.mono);
            data.set_pts(pts);
            data.set_dts(pts);
            data.set_duration(gst::ClockTime::from_nseconds(
                sound.duration.as_nanos().max(0) as u64
            ));
        }
        let bytes = buffer.size() as u64;
        // An error here is the pipeline's own, and is seen where its pictures go.
        self.source.push_buffer(buffer).ok().map(|_| bytes)
    }
}

/// Caps of sound as it leaves the relay.
pub(crate) fn caps(format: &SoundFormat) -> gst::Caps {
    let builder = match format.codec {
        SoundCodec::Aac => gst::Caps::builder("audio/mpeg")
            .field("mpegversion", 4)
            .field("stream-format", "raw")
            .field("framed", true)
            .field("codec_data", gst::Buffer::from_slice(format.config.clone())),
        SoundCodec::Opus => gst::Caps::builder("audio/x-opus").field("channel-mapping-family", 0),
        SoundCodec::Alaw => gst::Caps::builder("audio/x-alaw"),
        SoundCodec::Mulaw => gst::Caps::builder("audio/x-mulaw"),
    };
    builder
        .field("rate", format.rate_hz as i32)
        .field("channels", i32::from(format.channels))
        .build()
}

/// Ticks of RTP time a second: the clock rate that its payload format has.
pub(super) fn rtp_rate_hz(format: &SoundFormat) -> u32 {
    match format.codec {
        SoundCodec::Opus => 48_000, // whatever went in (RFC 7587 section 4.1)
        _ => format.rate_hz,
    }
}

/// The part of a served pipeline that sends it, as a second stream (RFC 3640, RFC 7587, RFC 3551).
pub(super) fn launch(format: &SoundFormat) -> String {
    let payloader = match format.codec {
        SoundCodec::Aac => "rtpmp4gpay name=pay1 pt=97",
        SoundCodec::Opus => "rtpopuspay name=pay1 pt=98",
        SoundCodec::Alaw => "rtppcmapay name=pay1 pt=8",
        SoundCodec::Mulaw => "rtppcmupay name=pay1 pt=0",
    };
    format!("appsrc name={SOURCE} is-live=true format=time max-bytes=0 ! {payloader}")
}
