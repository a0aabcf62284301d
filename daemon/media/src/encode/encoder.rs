//! One running encoder: frames in, coded pictures with the frames' keys out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use gst::prelude::*;
use gst_app::{AppSink, AppSinkCallbacks, AppSrc};
use synoptic_base::{Frame, FrameKind, Mono, PixelFormat, Planes, Size, Span, Surface};

use super::constant::ConstantFeed;
use super::inlet::{Inlet, Inside};
use super::{EncodeOptions, EncoderKind, FrameRate, choice};
use crate::coded::{AccessUnit, CodedFormat, CodedFrame, CodedStream, Framing, Slot, nals};
use crate::{MediaError, Pixels};

/// Pictures a second that the rate control begins with.
const NOMINAL_FPS: i32 = 30;
/// Pictures further apart are gaps, not durations.
const MAX_DURATION_US: i64 = 2_000_000;

/// How pictures go in.
enum Way {
    /// As they come.
    Direct(Inlet),
    /// In the slots of a constant rate.
    Constant(ConstantFeed),
}

/// What the streaming thread works with.
struct Output {
    stream: Arc<CodedStream>,
    why: &'static str,
    inside: Inside,
    format: Option<Arc<CodedFormat>>,
    began: bool,
    last_us: Option<i64>,
}

/// An encoder for pictures of one size and epoch. What it makes goes to its stream; dropping it stops it.
pub struct Encoder {
    way: Way,
    pipeline: gst::Pipeline,
    info: gst_video::VideoInfo,
    kind: EncoderKind,
    options: EncodeOptions,
    due: Mono,
    left_out: Arc<AtomicU64>,
    stream: Arc<CodedStream>,
}

impl Encoder {
    /// Starts an encoder for frames like `frame`; `why` is what readers are told of the reason.
    pub fn start(
        stream: &Arc<CodedStream>,
        options: &EncodeOptions,
        frame: &Frame<Pixels>,
        why: &'static str,
    ) -> Result<Encoder, MediaError> {
        let kind = choice::choose(options, &[])?;
        let broken = |what: String| MediaError::Broken {
            source_name: format!("the encoder of {}", stream.id()),
            why: what,
        };
        let format = match frame.pixels.format() {
            PixelFormat::Nv12 => gst_video::VideoFormat::Nv12,
            PixelFormat::I420 => gst_video::VideoFormat::I420,
        };
        let Size { width, height } = frame.pixels.size();
        // Only the rate control looks at it: without a rate x264 takes the first pictures for far too close together, and
        // starves them until they show the picture before.
        let fps = match options.fps {
            Some(FrameRate::Constant(fps)) => i32::try_from(fps.max(1)).unwrap_or(NOMINAL_FPS),
            _ => NOMINAL_FPS,
        };
        let nominal = gst::Fraction::new(fps, 1);
        let info = gst_video::VideoInfo::builder(format, width, height)
            .fps(nominal)
            .build();
        let info = info.map_err(|e| broken(e.to_string()))?;
        // 4:2:0 wants even sizes; profile high is what every browser decodes.
        let (scaler, size_caps) = options.size.map_or(("", String::new()), |s| {
            let (width, height) = (s.width & !1, s.height & !1);
            let caps = format!(",width={width},height={height},pixel-aspect-ratio=1/1");
            ("videoscale ! ", caps)
        });
        let pipeline = gst::parse::launch(&format!(
            "appsrc name=in format=time ! videoconvert ! {scaler}video/x-raw,format={{NV12,I420}}{size_caps} ! {}{} name=encoder ! \
             h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au ! \
             appsink name=out sync=false",
            kind.before(),
            kind.element()
        ));
        let pipeline = pipeline.map_err(|e| broken(e.to_string()))?;
        let pipeline = pipeline
            .downcast::<gst::Pipeline>()
            .map_err(|_| broken("no pipeline".to_owned()))?;
        let part = |name: &str| pipeline.by_name(name).ok_or_else(|| broken(format!("no {name}")));
        kind.set(&part("encoder")?, options);
        let source = part("in")?
            .downcast::<AppSrc>()
            .map_err(|_| broken("no appsrc".to_owned()))?;
        let sink = part("out")?
            .downcast::<AppSink>()
            .map_err(|_| broken("no appsink".to_owned()))?;
        source.set_caps(Some(&info.to_caps().map_err(|e| broken(e.to_string()))?));
        let inside = Inside::default();
        let mut output = Output {
            stream: stream.clone(),
            why,
            inside: inside.clone(),
            format: None,
            began: false,
            last_us: None,
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
        let first = frame.meta.captured.mono;
        let left_out = Arc::new(AtomicU64::new(0));
        let inlet = Inlet::new(source, inside, first, left_out.clone());
        let way = match options.fps {
            Some(FrameRate::Constant(fps)) => Way::Constant(
                ConstantFeed::start(stream, fps, inlet).map_err(|e| broken(format!("no thread: {e}")))?,
            ),
            _ => Way::Direct(inlet),
        };
        let encoder = Encoder {
            way,
            info,
            kind,
            options: *options,
            due: first,
            left_out,
            stream: stream.clone(),
            pipeline,
        };
        encoder.pipeline.set_state(gst::State::Playing).map_err(|_| {
            encoder
                .error()
                .unwrap_or_else(|| broken("it did not start".to_owned()))
        })?;
        log::info!("{}: coded by {} ({why})", stream.id(), kind.element());
        Ok(encoder)
    }

    /// Which encoder it is.
    pub fn kind(&self) -> EncoderKind {
        self.kind
    }

    /// An error as an encoder that breaks down posts it.
    #[cfg(test)]
    pub(super) fn break_down(&self) {
        let element = self.pipeline.by_name("encoder").unwrap();
        gst::element_error!(element, gst::StreamError::Encode, ["it broke down"]);
    }

    /// Makes the next picture an IDR picture, where the encoder can.
    pub(super) fn force_key(&self) {
        let pad = self.pipeline.by_name("encoder").and_then(|e| e.static_pad("src"));
        let event = gst_video::UpstreamForceKeyUnitEvent::builder()
            .all_headers(true)
            .build();
        if !pad.is_some_and(|pad| pad.send_event(event)) {
            log::debug!(
                "{}: {} makes no IDR picture when asked",
                self.stream.id(),
                self.kind.element()
            );
        }
    }

    /// Frames left out because the encoder was busy.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// Whether this encoder takes frames like `frame`.
    pub(super) fn fits(&self, frame: &Frame<Pixels>) -> bool {
        let Size { width, height } = frame.pixels.size();
        let format = match frame.pixels.format() {
            PixelFormat::Nv12 => gst_video::VideoFormat::Nv12,
            PixelFormat::I420 => gst_video::VideoFormat::I420,
        };
        (self.info.width(), self.info.height(), self.info.format()) == (width, height, format)
    }

    /// Codes a frame; its time stamp is its capture time. A frame that finds the encoder busy is left out.
    pub fn push(&mut self, frame: &Frame<Pixels>) -> Result<(), MediaError> {
        if let Some(error) = self.error() {
            return Err(error);
        }
        let captured = frame.meta.captured.mono;
        if let Some(FrameRate::AtMost(fps)) = self.options.fps
            && fps > 0
        {
            let interval = Span::from_nanos(1_000_000_000 / i64::from(fps));
            // A tenth early is on time: cameras' intervals are not even.
            if captured < self.due - interval / 10 {
                return Ok(());
            }
            self.due = (self.due + interval).max(captured - interval);
        }
        if let Way::Direct(inlet) = &self.way
            && inlet.is_full()
        {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let buffer = self.copy(&*frame.pixels)?;
        match &mut self.way {
            Way::Direct(inlet) => inlet.push(buffer, frame.meta, Slot::default()),
            Way::Constant(feed) => {
                if !feed.push(buffer, frame.meta) {
                    self.left_out.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }

    /// A buffer with the picture, rows as GStreamer likes them.
    fn copy(&self, surface: &dyn Surface) -> Result<gst::Buffer, MediaError> {
        let broken = |why: String| MediaError::Broken {
            source_name: format!("the encoder of {}", self.stream.id()),
            why,
        };
        let buffer = gst::Buffer::with_size(self.info.size()).map_err(|e| broken(e.to_string()))?;
        let mut out = gst_video::VideoFrame::from_buffer_writable(buffer, &self.info)
            .map_err(|_| broken("a buffer could not be mapped".to_owned()))?;
        let mut copied = Ok(());
        let read = surface.with_planes(&mut |planes| {
            let planes = match planes {
                Planes::Nv12 { y, uv } => vec![y, uv],
                Planes::I420 { y, u, v } => vec![y, u, v],
            };
            for (i, from) in planes.iter().enumerate() {
                let i = i as u32;
                let stride = self.info.stride()[i as usize].unsigned_abs() as usize;
                let bytes = stride.min(from.stride);
                match out.plane_data_mut(i) {
                    Ok(to) => {
                        let rows = to.chunks_mut(stride).zip(from.data.chunks(from.stride));
                        rows.for_each(|(to, from)| {
                            let n = bytes.min(to.len()).min(from.len());
                            to[..n].copy_from_slice(&from[..n]);
                        });
                    }
                    Err(e) => copied = Err(broken(e.to_string())),
                }
            }
        });
        read.map_err(|e| broken(e.to_string()))?;
        copied?;
        Ok(out.into_buffer())
    }

    /// The first error on the bus.
    fn error(&self) -> Option<MediaError> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(error) = message.view() else {
            return None;
        };
        Some(MediaError::Broken {
            source_name: format!("the encoder of {} ({})", self.stream.id(), self.kind.element()),
            why: error.error().to_string(),
        })
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        if self.pipeline.set_state(gst::State::Null).is_err() {
            log::warn!("{}: the encoder did not stop cleanly", self.stream.id());
        }
        self.stream.encoder_stopped();
    }
}

impl Output {
    fn take(&mut self, sample: &gst::Sample) {
        let segment = sample.segment().and_then(|s| s.downcast_ref::<gst::ClockTime>());
        let Some(buffer) = sample.buffer_owned() else {
            return;
        };
        // x264enc shifts its stamps by 1000 h, and the segment with them.
        let Some(pts) = segment
            .zip(buffer.pts())
            .and_then(|(s, pts)| s.to_running_time(pts))
        else {
            return;
        };
        let Some((meta, slot)) = self.inside.take(pts) else {
            log::warn!(
                "{}: a coded picture of {pts} is of no frame; left out",
                self.stream.id()
            );
            return;
        };
        let keyframe = self.look(&buffer);
        let Some(format) = self.format.clone().filter(|_| keyframe || self.began) else {
            return;
        };
        let shown_us = meta.key.media_us.as_micros() + slot.later.as_micros_floor();
        let step = self.last_us.map_or(0, |last| shown_us - last);
        self.last_us = Some(shown_us);
        self.stream.encoded(CodedFrame {
            key: meta.key,
            captured: meta.captured,
            stamp: self.stream.stamp(meta.captured),
            arrival: meta.arrival,
            kind: if keyframe { FrameKind::I } else { FrameKind::P },
            keyframe,
            discontinuity: !std::mem::replace(&mut self.began, true),
            format,
            decode_us: shown_us,
            slot,
            duration_us: if (1..=MAX_DURATION_US).contains(&step) {
                step as u32
            } else {
                0
            },
            unit: AccessUnit {
                buffer,
                framing: Framing::StartCodes,
            },
            written: OnceLock::new(),
        });
    }

    /// Whether a picture is an IDR picture; its parameter sets make the format.
    fn look(&mut self, buffer: &gst::Buffer) -> bool {
        let Ok(map) = buffer.map_readable() else {
            return false;
        };
        let (mut sps, mut pps, mut idr) = (Vec::new(), Vec::new(), false);
        for nal in nals(Framing::StartCodes, &map) {
            match nal.first().map(|h| h & 0x1f) {
                Some(7) => sps.push(nal.to_vec()),
                Some(8) => pps.push(nal.to_vec()),
                Some(5) => idr = true,
                _ => {}
            }
        }
        if idr
            && let Some(format) = CodedFormat::h264(&sps, &pps, false, Some(self.why))
            && self.format.as_ref().is_none_or(|f| **f != format)
        {
            self.format = Some(Arc::new(format));
        }
        idr
    }
}
