//! One running encoder: frames in, coded pictures with the frames' keys out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock};

use gst::prelude::*;
use gst_app::{AppSink, AppSinkCallbacks, AppSrc};
use synoptic_base::{Frame, FrameKind, FrameMeta, Mono, PixelFormat, Planes, Size, Span, Surface};

use super::{EncodeOptions, EncoderKind, choice};
use crate::coded::{AccessUnit, CodedFormat, CodedFrame, CodedStream, Framing, nals};
use crate::session::locked;
use crate::{MediaError, Pixels};

/// Raw pictures that wait for the encoder; what comes while it is full is left out (docs/design/overview.md).
const MAX_RAW: u64 = 2;
/// Frames within the encoder: more than any without B pictures holds.
const MAX_INSIDE: usize = 64;
/// Pictures a second that the rate control begins with.
const NOMINAL_FPS: i32 = 30;
/// Pictures further apart are gaps, not durations.
const MAX_DURATION_US: i64 = 2_000_000;

/// A frame within the encoder, known by its time stamp.
struct Inside {
    pts: gst::ClockTime,
    meta: FrameMeta,
}

/// What the streaming thread works with.
struct Output {
    stream: Arc<CodedStream>,
    why: &'static str,
    inside: Arc<Mutex<VecDeque<Inside>>>,
    format: Option<Arc<CodedFormat>>,
    began: bool,
    last_us: Option<i64>,
}

/// An encoder for pictures of one size and epoch. What it makes goes to its stream; dropping it stops it.
pub struct Encoder {
    pipeline: gst::Pipeline,
    source: AppSrc,
    inside: Arc<Mutex<VecDeque<Inside>>>,
    info: gst_video::VideoInfo,
    kind: EncoderKind,
    options: EncodeOptions,
    first: Mono,
    last_pts: Option<gst::ClockTime>,
    due: Mono,
    left_out: u64,
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
        let nominal = gst::Fraction::new(NOMINAL_FPS, 1);
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
        let inside = Arc::new(Mutex::new(VecDeque::new()));
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
        let encoder = Encoder {
            source,
            inside,
            info,
            kind,
            options: *options,
            first: frame.meta.captured.mono,
            last_pts: None,
            due: frame.meta.captured.mono,
            left_out: 0,
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

    /// Frames left out because the encoder was busy.
    pub fn left_out(&self) -> u64 {
        self.left_out
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
        if let Some(fps) = self.options.max_fps.filter(|fps| *fps > 0) {
            let interval = Span::from_nanos(1_000_000_000 / i64::from(fps));
            // A tenth early is on time: cameras' intervals are not even.
            if captured < self.due - interval / 10 {
                return Ok(());
            }
            self.due = (self.due + interval).max(captured - interval);
        }
        if self.source.property::<u64>("current-level-buffers") >= MAX_RAW {
            self.left_out += 1;
            return Ok(());
        }
        // Whole microseconds: V4L2 encoders carry no finer ones.
        let us = (captured - self.first).as_micros_floor().max(0) as u64;
        let next = self.last_pts.map_or(gst::ClockTime::ZERO, |last| {
            last + gst::ClockTime::from_useconds(1)
        });
        let pts = gst::ClockTime::from_useconds(us).max(next);
        self.last_pts = Some(pts);
        let mut buffer = self.copy(&*frame.pixels)?;
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(pts);
        }
        {
            let mut inside = locked(&self.inside);
            if inside.len() == MAX_INSIDE {
                inside.pop_front();
            }
            inside.push_back(Inside {
                pts,
                meta: frame.meta,
            });
        }
        // An error here is the pipeline's own, which is on the bus and comes with the next frame.
        self.source.push_buffer(buffer).ok();
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
        let Some(meta) = self.meta(pts) else {
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
        let media_us = meta.key.media_us.as_micros();
        let step = self.last_us.map_or(0, |last| media_us - last);
        self.last_us = Some(media_us);
        self.stream.encoded(CodedFrame {
            key: meta.key,
            captured: meta.captured,
            stamp: self.stream.stamp(meta.captured),
            arrival: meta.arrival,
            kind: if keyframe { FrameKind::I } else { FrameKind::P },
            keyframe,
            discontinuity: !std::mem::replace(&mut self.began, true),
            format,
            decode_us: media_us,
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

    /// The frame of a time stamp; those before it never come.
    fn meta(&self, pts: gst::ClockTime) -> Option<FrameMeta> {
        let mut inside = locked(&self.inside);
        let at = inside.iter().position(|i| i.pts == pts)?;
        inside.drain(..=at).next_back().map(|i| i.meta)
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
