//! A camera's sound, coded as AAC or Opus for containers and players that take nothing else.
//!
//! The coder gets one sample after the other on a time line of its own; which capture time each has is remembered beside it. So
//! a clock that drifts, or a packet that is lost, moves times and never makes the coder begin anew.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gst::prelude::*;
use gst_app::{AppSink, AppSinkCallbacks, AppSrc};
use synoptic_base::{Captured, Span};

use crate::MediaError;
use crate::coded::{CodedStream, SoundCodec, SoundForm, SoundFormat, SoundUnit};
use crate::session::locked;

/// The coders, best first: the GStreamer element, and the samples of silence that it puts before the first one. FFmpeg's says
/// so (`initial_padding`); VisualOn's was measured (`make bench NAME=av`).
const AAC_CODERS: [(&str, i64); 2] = [("avenc_aac", 1_024), ("voaacenc", 1_600)];
/// For Opus; libopus is ahead by 6.5 ms (`OPUS_GET_LOOKAHEAD` at 48 kHz, for general sound).
const OPUS_CODERS: [(&str, i64); 1] = [("opusenc", 312)];
/// Of the coded sound: a frame of AAC is 21 ms, where that of 8 kHz would be 128.
const RATE_HZ: i64 = 48_000;
/// Samples of a frame of AAC-LC, and of Opus (20 ms, RFC 7587 section 4.2).
const AAC_FRAME: i64 = 1_024;
const OPUS_FRAME: i64 = 960;
/// 64 kbit/s: no loss in speech and street noise that is heard.
const BIT_RATE: i32 = 64_000;
/// Frames whose capture times are remembered: more than any coder holds.
const MAX_INSIDE: usize = 256;

/// What went in at a time of the coder's own line.
struct Inside {
    at: Span,
    captured: Captured,
}

/// A running coder. What it makes goes to its stream; dropping it stops it.
pub(crate) struct SoundCoder {
    pipeline: gst::Pipeline,
    source: AppSrc,
    of: Arc<SoundFormat>,
    inside: Arc<Mutex<VecDeque<Inside>>>,
    at: Span,
    name: String,
}

impl SoundCoder {
    /// Starts one for sound of `format` that makes `form` of it.
    pub(crate) fn start(
        stream: &Arc<CodedStream>,
        format: &Arc<SoundFormat>,
        form: SoundForm,
    ) -> Result<SoundCoder, MediaError> {
        let name = format!("the sound of {}", stream.id());
        let broken = |why: String| MediaError::Broken {
            source_name: name.clone(),
            why,
        };
        let opus = form == SoundForm::Opus;
        let coders: &[(&str, i64)] = if opus { &OPUS_CODERS } else { &AAC_CODERS };
        let found = coders
            .iter()
            .find(|(element, _)| gst::ElementFactory::find(element).is_some());
        let (element, priming) = *found.ok_or_else(|| match opus {
            true => MediaError::Missing {
                what: "an Opus encoder".to_owned(),
                package: "gstreamer1.0-plugins-base (opusenc)",
            },
            false => MediaError::Missing {
                what: "an AAC encoder".to_owned(),
                package: "gstreamer1.0-libav (avenc_aac) or gstreamer1.0-plugins-bad (voaacenc)",
            },
        })?;
        // Opus in RTP has two channels at most without another payload format (RFC 7587 section 4.4).
        let (channels, after) = match opus {
            true => (",channels=[1,2]", ""),
            false => ("", "! aacparse ! audio/mpeg,mpegversion=4,stream-format=raw "),
        };
        let (caps, decoder) = input(format);
        let pipeline = gst::parse::launch(&format!(
            "appsrc name=in format=time max-bytes=0 ! {decoder} ! audioconvert ! audioresample ! audio/x-raw,rate={RATE_HZ}{channels} ! \
             {element} name=coder bitrate={BIT_RATE} {after}! \
             appsink name=out sync=false async=false"
        ));
        let pipeline = pipeline.map_err(|e| broken(e.to_string()))?;
        let pipeline = pipeline
            .downcast::<gst::Pipeline>()
            .map_err(|_| broken("no pipeline".to_owned()))?;
        let part = |part: &str| pipeline.by_name(part).ok_or_else(|| broken(format!("no {part}")));
        let source = part("in")?
            .downcast::<AppSrc>()
            .map_err(|_| broken("no appsrc".to_owned()))?;
        let sink = part("out")?
            .downcast::<AppSink>()
            .map_err(|_| broken("no appsink".to_owned()))?;
        source.set_caps(Some(&caps));
        let inside = Arc::new(Mutex::new(VecDeque::new()));
        let mut output = Output {
            stream: stream.clone(),
            inside: inside.clone(),
            format: None,
            was: format.codec.name(),
            form,
            priming: Span::from_nanos(priming * 1_000_000_000 / RATE_HZ),
        };
        sink.set_callbacks(
            AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    output.take(&sample);
                    Ok(gst::FlowSuccess::Ok)
                })
                .build(),
        );
        let coder = SoundCoder {
            source,
            of: format.clone(),
            inside,
            at: Span::ZERO,
            name: name.clone(),
            pipeline,
        };
        if coder.pipeline.set_state(gst::State::Playing).is_err() {
            return Err(coder
                .error()
                .unwrap_or_else(|| broken("it did not start".to_owned())));
        }
        log::info!(
            "{name}: {} coded as {} by {element}",
            format.codec.name(),
            if opus { "Opus" } else { "AAC" }
        );
        Ok(coder)
    }

    /// Whether it takes sound of this format.
    pub(crate) fn fits(&self, format: &Arc<SoundFormat>) -> bool {
        Arc::ptr_eq(&self.of, format) || self.of == *format
    }

    /// Codes a frame.
    pub(crate) fn push(&mut self, unit: &SoundUnit) -> Result<(), MediaError> {
        if let Some(error) = self.error() {
            return Err(error);
        }
        {
            let mut inside = locked(&self.inside);
            if inside.len() == MAX_INSIDE {
                inside.pop_front();
            }
            inside.push_back(Inside {
                at: self.at,
                captured: unit.captured,
            });
        }
        let mut buffer = gst::Buffer::from_slice(unit.data.clone());
        if let Some(buffer) = buffer.get_mut() {
            let time = |span: Span| gst::ClockTime::from_nseconds(span.as_nanos().max(0) as u64);
            buffer.set_pts(time(self.at));
            buffer.set_duration(time(unit.duration));
        }
        self.at += unit.duration;
        // An error here is the pipeline's own, which is on the bus and comes with the next frame.
        self.source.push_buffer(buffer).ok();
        Ok(())
    }

    /// The first error on the bus.
    fn error(&self) -> Option<MediaError> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(error) = message.view() else {
            return None;
        };
        Some(MediaError::Broken {
            source_name: self.name.clone(),
            why: error.error().to_string(),
        })
    }
}

impl Drop for SoundCoder {
    fn drop(&mut self) {
        if self.pipeline.set_state(gst::State::Null).is_err() {
            log::warn!("{}: its coder did not stop cleanly", self.name);
        }
    }
}

/// Caps of the sound that goes in, and what decodes it.
fn input(format: &SoundFormat) -> (gst::Caps, &'static str) {
    let (media_type, decoder) = match format.codec {
        SoundCodec::Aac => ("audio/mpeg", "avdec_aac"),
        SoundCodec::Opus => ("audio/x-opus", "opusdec"),
        SoundCodec::Alaw => ("audio/x-alaw", "alawdec"),
        SoundCodec::Mulaw => ("audio/x-mulaw", "mulawdec"),
    };
    let mut caps = gst::Caps::builder(media_type)
        .field("rate", format.rate_hz as i32)
        .field("channels", i32::from(format.channels));
    if format.codec == SoundCodec::Opus {
        caps = caps.field("channel-mapping-family", 0);
    }
    (caps.build(), decoder)
}

/// What the streaming thread works with.
struct Output {
    stream: Arc<CodedStream>,
    inside: Arc<Mutex<VecDeque<Inside>>>,
    format: Option<Arc<SoundFormat>>,
    was: &'static str,
    form: SoundForm,
    priming: Span,
}

impl Output {
    fn take(&mut self, sample: &gst::Sample) {
        if let Some(unit) = self.unit(sample) {
            self.stream.sound(&unit, self.form);
        }
    }

    fn unit(&mut self, sample: &gst::Sample) -> Option<SoundUnit> {
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        let buffer = sample.buffer()?;
        let at = Span::from_nanos(segment.to_running_time(buffer.pts()?)?.nseconds() as i64);
        let captured = self.captured(at)?;
        if self.format.is_none() {
            let caps = sample.caps()?.structure(0)?;
            let (codec, config, pre_skip) = match self.form {
                SoundForm::Opus => (SoundCodec::Opus, Vec::new(), OPUS_CODERS[0].1 as u16),
                SoundForm::Aac | SoundForm::Native => {
                    let config = caps.get::<gst::Buffer>("codec_data").ok()?;
                    (SoundCodec::Aac, config.map_readable().ok()?.to_vec(), 0)
                }
            };
            self.format = Some(Arc::new(SoundFormat {
                codec,
                rate_hz: RATE_HZ as u32,
                channels: caps.get::<i32>("channels").map_or(1, |n| n.clamp(1, 8) as u16),
                config,
                pre_skip,
                transcoded: Some(self.was),
            }));
        }
        Some(SoundUnit {
            captured,
            duration: Span::from_nanos(self.frame() * 1_000_000_000 / RATE_HZ),
            format: self.format.clone()?,
            data: Bytes::copy_from_slice(&buffer.map_readable().ok()?),
        })
    }

    /// Samples of a coded frame.
    fn frame(&self) -> i64 {
        match self.form {
            SoundForm::Opus => OPUS_FRAME,
            SoundForm::Aac | SoundForm::Native => AAC_FRAME,
        }
    }

    /// When the first sample of a coded frame was captured: so much after the frame that went in before it, and what the
    /// coder puts before everything earlier.
    fn captured(&self, at: Span) -> Option<Captured> {
        let mut inside = locked(&self.inside);
        let before = inside.iter().rposition(|i| i.at <= at)?;
        // The coder is behind by less than this: the ones before are of no use.
        inside.drain(..before);
        let from = inside.front()?;
        Some(Captured {
            mono: from.captured.mono + (at - from.at) - self.priming,
            ..from.captured
        })
    }
}
