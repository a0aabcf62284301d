//! The camera's sound as it comes, on its way to the relay; and coded as AAC or Opus for those who can take nothing else, while
//! there are any.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gst::prelude::*;
use gst_app::{AppSink, AppSinkCallbacks};
use synoptic_base::{Captured, Span, TimeSource};

use super::decode::{internal, make};
use super::locked;
use super::sound::{SoundBranch, make_queue};
use crate::MediaError;
use crate::coded::{CodedStream, SoundCodec, SoundForm, SoundFormat, SoundUnit};
use crate::encode::SoundCoder;

/// Samples of a frame of AAC-LC (ISO/IEC 14496-3 section 4.5.2.1.1), where nothing else is said.
const AAC_SAMPLES: i64 = 1_024;
/// Samples a second of Opus, whatever went into it (RFC 7587 section 4.1).
const OPUS_HZ: u32 = 48_000;
/// What libopus's encoder is ahead by, in samples at 48 kHz; RTP does not tell it.
const OPUS_PRE_SKIP: u16 = 312;
/// When a coder failed, the next one is tried after so many frames: ten seconds of AAC.
const RETRY_FRAMES: u32 = 470;

/// What the tap's thread works with.
struct Tap {
    branch: Arc<SoundBranch>,
    stream: Arc<CodedStream>,
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    format: Option<(gst::Caps, Arc<SoundFormat>)>,
    coders: [Slot; SoundForm::CODED.len()],
}

/// A form of the sound that the box makes while somebody wants it.
struct Slot {
    form: SoundForm,
    coder: Option<SoundCoder>,
    /// Frames until a coder is tried again.
    not_before: u32,
}

/// Takes what comes out of a pad of coded sound, or of RTP packets of it, into `stream`.
pub(super) fn attach(
    branch: &Arc<SoundBranch>,
    stream: &Arc<CodedStream>,
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
) -> Result<(), MediaError> {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let Some(elements) = caps.structure(0).and_then(elements) else {
        let what = caps.structure(0).map(describe).unwrap_or_default();
        log::warn!(
            "{}: its sound ({what}) is left out: AAC, Opus and G.711 are taken; set the camera to one of them",
            stream.id()
        );
        let sink = make("fakesink")?;
        sink.set_property("sync", false);
        sink.set_property("async", false);
        return link(pipeline, pad, &[sink]);
    };
    let sink = AppSink::builder()
        .sync(false)
        .async_(false)
        .enable_last_sample(false)
        .build();
    if elements.contains(&"aacparse") {
        // Frames without ADTS headers, and what they say in the caps.
        let raw = gst::Caps::builder("audio/mpeg")
            .field("stream-format", "raw")
            .build();
        sink.set_caps(Some(&raw));
    }
    let tap = Mutex::new(Tap {
        branch: branch.clone(),
        stream: stream.clone(),
        pipeline: pipeline.downgrade(),
        format: None,
        coders: SoundForm::CODED.map(|form| Slot {
            form,
            coder: None,
            not_before: 0,
        }),
    });
    sink.set_callbacks(
        AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                locked(&tap).take(&sample);
                Ok(gst::FlowSuccess::Ok)
            })
            .build(),
    );
    let mut chain = vec![make_queue()?];
    for element in elements {
        chain.push(make(element)?);
    }
    chain.push(sink.upcast());
    link(pipeline, pad, &chain)
}

fn link(pipeline: &gst::Pipeline, pad: &gst::Pad, chain: &[gst::Element]) -> Result<(), MediaError> {
    let failed = |_| internal("could not assemble what takes the sound");
    pipeline.add_many(chain).map_err(failed)?;
    gst::Element::link_many(chain).map_err(failed)?;
    for element in chain.iter().rev() {
        element.sync_state_with_parent().map_err(failed)?;
    }
    let first = chain.first().and_then(|e| e.static_pad("sink"));
    let first = first.ok_or_else(|| internal("an element of the sound lacks a pad"))?;
    pad.link(&first)
        .map(drop)
        .map_err(|e| internal(&format!("could not link the sound: {e}")))
}

/// What stands between a pad of these caps and coded frames; `None`: a codec that is not taken.
fn elements(caps: &gst::StructureRef) -> Option<Vec<&'static str>> {
    if caps.name() == "application/x-rtp" {
        let encoding = caps.get::<&str>("encoding-name").ok()?.to_ascii_uppercase();
        return Some(match encoding.as_str() {
            "MPEG4-GENERIC" => vec!["rtpmp4gdepay", "aacparse"],
            "MP4A-LATM" => vec!["rtpmp4adepay", "aacparse"],
            "OPUS" => vec!["rtpopusdepay"],
            "PCMA" => vec!["rtppcmadepay"],
            "PCMU" => vec!["rtppcmudepay"],
            _ => return None,
        });
    }
    match caps.name().as_str() {
        "audio/mpeg" if caps.get::<i32>("mpegversion").is_ok_and(|v| v >= 2) => Some(vec!["aacparse"]),
        "audio/x-opus" | "audio/x-alaw" | "audio/x-mulaw" => Some(Vec::new()),
        _ => None,
    }
}

fn describe(caps: &gst::StructureRef) -> String {
    let encoding = caps.get::<String>("encoding-name");
    encoding.unwrap_or_else(|_| caps.name().to_string())
}

impl Slot {
    fn take(&mut self, stream: &Arc<CodedStream>, unit: &SoundUnit) {
        if !stream.wants_sound(self.form) {
            if self.coder.take().is_some() {
                stream.sound_coder_stopped(self.form);
            }
            return;
        }
        self.not_before = self.not_before.saturating_sub(1);
        if self.coder.as_ref().is_some_and(|coder| !coder.fits(&unit.format)) {
            self.coder = None;
        }
        if self.coder.is_none() && self.not_before == 0 {
            match SoundCoder::start(stream, &unit.format, self.form) {
                Ok(coder) => self.coder = Some(coder),
                Err(error) => self.failed(stream, &error),
            }
        }
        if let Some(Err(error)) = self.coder.as_mut().map(|coder| coder.push(unit)) {
            self.coder = None;
            self.failed(stream, &error);
        }
    }

    fn failed(&mut self, stream: &CodedStream, error: &MediaError) {
        log::error!("{error}; the pictures go without sound, next try in 10 s");
        self.not_before = RETRY_FRAMES;
        stream.sound_coder_stopped(self.form);
    }
}

impl Tap {
    fn take(&mut self, sample: &gst::Sample) {
        let Some(unit) = self.unit(sample) else { return };
        self.stream.sound(&unit, SoundForm::Native);
        for slot in &mut self.coders {
            slot.take(&self.stream, &unit);
        }
    }

    fn unit(&mut self, sample: &gst::Sample) -> Option<SoundUnit> {
        let caps = sample.caps()?;
        if self
            .format
            .as_ref()
            .is_none_or(|(known, _)| !known.is_strictly_equal(caps))
        {
            let format = format_of(caps.structure(0)?)?;
            log::info!(
                "{}: sound is {}, {} Hz, {} channels",
                self.stream.id(),
                format.codec.name(),
                format.rate_hz,
                format.channels
            );
            self.format = Some((caps.to_owned(), Arc::new(format)));
        }
        let (_, format) = self.format.as_ref()?;
        let buffer = sample.buffer()?;
        let pts = buffer.pts()?;
        let captured = if self.branch.is_rtp() {
            self.branch.captured(pts)?
        } else {
            let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
            let running = segment.to_running_time(pts)?;
            let base = self.pipeline.upgrade()?.base_time()?;
            Captured {
                mono: synoptic_base::Mono::from_nanos((base + running).nseconds() as i64),
                rel_error: Span::from_millis(1),
                source: TimeSource::Host,
            }
        };
        let map = buffer.map_readable().ok()?;
        let said = buffer.duration().map(|d| Span::from_nanos(d.nseconds() as i64));
        let length = |samples: i64| Span::from_nanos(samples * 1_000_000_000 / i64::from(format.rate_hz));
        let duration = match format.codec {
            SoundCodec::Opus => opus_duration(&map)?,
            SoundCodec::Alaw | SoundCodec::Mulaw => {
                length((map.len() / usize::from(format.channels.max(1))) as i64)
            }
            SoundCodec::Aac => said
                .filter(|d| *d > Span::ZERO)
                .unwrap_or_else(|| length(AAC_SAMPLES)),
        };
        Some(SoundUnit {
            captured,
            duration,
            format: format.clone(),
            data: Bytes::copy_from_slice(&map),
        })
    }
}

fn format_of(caps: &gst::StructureRef) -> Option<SoundFormat> {
    let number = |field: &str| caps.get::<i32>(field).ok().and_then(|n| u32::try_from(n).ok());
    let codec = match caps.name().as_str() {
        "audio/mpeg" => SoundCodec::Aac,
        "audio/x-opus" => SoundCodec::Opus,
        "audio/x-alaw" => SoundCodec::Alaw,
        "audio/x-mulaw" => SoundCodec::Mulaw,
        _ => return None,
    };
    let config = match codec {
        SoundCodec::Aac => {
            let data = caps.get::<gst::Buffer>("codec_data").ok()?;
            data.map_readable().ok()?.to_vec()
        }
        _ => Vec::new(),
    };
    let (rate_hz, channels) = match codec {
        // Mono or stereo as each packet says; decoders give what they are asked for (RFC 7587 section 7).
        SoundCodec::Opus => (OPUS_HZ, number("channels").unwrap_or(2)),
        SoundCodec::Aac => (number("rate")?, number("channels")?),
        SoundCodec::Alaw | SoundCodec::Mulaw => {
            (number("rate").unwrap_or(8_000), number("channels").unwrap_or(1))
        }
    };
    Some(SoundFormat {
        codec,
        rate_hz,
        channels: channels.clamp(1, 8) as u16,
        config,
        pre_skip: if codec == SoundCodec::Opus {
            OPUS_PRE_SKIP
        } else {
            0
        },
        transcoded: None,
    })
}

/// How long an Opus packet sounds (RFC 6716 sections 3.1 and 3.2).
fn opus_duration(packet: &[u8]) -> Option<Span> {
    let toc = *packet.first()?;
    let frame_us = match toc >> 3 {
        config @ 0..=11 => [10_000, 20_000, 40_000, 60_000][usize::from(config & 3)],
        config @ 12..=15 => [10_000, 20_000][usize::from(config & 1)],
        config => [2_500, 5_000, 10_000, 20_000][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => i64::from(packet.get(1)? & 0x3f),
    };
    Some(Span::from_micros(frame_us * frames))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opus_packets_say_how_long_they_sound() {
        let ms = |packet: &[u8]| opus_duration(packet).map(Span::as_millis_f64);
        assert_eq!(ms(&[0b0000_1000]), Some(20.0)); // SILK, narrow band, one frame
        assert_eq!(ms(&[0b1111_1001]), Some(40.0)); // CELT, 20 ms, two frames
        assert_eq!(ms(&[0b1110_0011, 0x06]), Some(15.0)); // 2.5 ms, six frames
        assert_eq!(ms(&[0b0110_1000]), Some(20.0)); // hybrid
        assert_eq!(ms(&[3]), None);
        assert_eq!(ms(&[]), None);
    }

    #[test]
    fn what_is_taken_is_known_by_its_caps() {
        gst::init().unwrap();
        let rtp = |encoding: &str| {
            let caps = gst::Structure::builder("application/x-rtp")
                .field("media", "audio")
                .field("encoding-name", encoding)
                .build();
            elements(&caps)
        };
        assert_eq!(rtp("PCMA"), Some(vec!["rtppcmadepay"]));
        assert_eq!(rtp("mpeg4-generic"), Some(vec!["rtpmp4gdepay", "aacparse"]));
        assert_eq!(rtp("G726-32"), None);
        let mp3 = gst::Structure::builder("audio/mpeg")
            .field("mpegversion", 1)
            .build();
        assert_eq!(elements(&mp3), None);
    }
}
