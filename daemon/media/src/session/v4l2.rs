//! Local V4L2 devices: a thread takes buffers from the driver, stamps them and feeds them to GStreamer.
//!
//! The thread lives as long as its session and ends with it; what it cannot go on with becomes the session's error.
//! A buffer carries its arrival as PTS through the decoder and is recognised by it; its capture time waits in
//! [`DriverTiming`] meanwhile.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use gst::prelude::*;
use gst_app::AppSrc;
use synoptic_base::{Captured, FrameKind, Mono, Span, TimeSource};
use synoptic_engine::timebase::{DriverStamp, DriverTimebase, DriverTimebaseConfig, Timed};

use super::decode::{Tail, internal};
use super::nal::{self, Codec};
use super::{SessionOptions, Shared, Timing, locked};
use crate::v4l2::modes::Interval;
use crate::v4l2::negotiate::Wanted;
use crate::v4l2::open::{self, Negotiated, Running};
use crate::{MediaError, Source, V4l2Format};

/// How long the thread waits for the driver before it looks whether it is to stop.
const POLL: Span = Span::from_millis(100);
/// Pictures that wait for the decoder. What comes while it is full is dropped and counted.
const FEED_BUFFERS: u64 = 4;
/// Capture times remembered: as many as the ledger.
const CAPACITY: usize = 512;

/// A picture between driver and decoder's output.
#[derive(Clone, Copy)]
struct Due {
    pts: i64,
    timed: Timed,
}

/// The capture times of a device's frames.
pub(super) struct DriverTiming {
    pub(super) timebase: DriverTimebase,
    due: VecDeque<Due>,
    /// Frames that found the decoder busy.
    pub(super) refused: u64,
}

impl DriverTiming {
    fn new(config: DriverTimebaseConfig) -> DriverTiming {
        DriverTiming {
            timebase: DriverTimebase::new(config),
            due: VecDeque::new(),
            refused: 0,
        }
    }

    fn arrived(&mut self, pts: i64, stamp: DriverStamp) -> Captured {
        let timed = self.timebase.frame(stamp, Mono::from_nanos(pts));
        if self.due.len() == CAPACITY {
            self.due.pop_front();
        }
        self.due.push_back(Due { pts, timed });
        timed.captured
    }

    /// The time of a decoded picture, and whether an epoch began since the one before.
    pub(super) fn decoded(&mut self, pts: i64) -> Option<Timed> {
        let mut new_epoch = false;
        while let Some(due) = self.due.front().copied().filter(|d| d.pts <= pts) {
            self.due.pop_front();
            new_epoch |= due.timed.new_epoch;
            if due.pts == pts {
                return Some(Timed {
                    new_epoch,
                    ..due.timed
                });
            }
        }
        None
    }

    /// The time of a picture that still waits; `None` where an epoch begins before it.
    pub(super) fn foretold(&self, pts: i64) -> Option<Timed> {
        let upto = self.due.iter().position(|d| d.pts == pts)?;
        let same_epoch = self.due.iter().take(upto + 1).all(|d| !d.timed.new_epoch);
        self.due.get(upto).filter(|_| same_epoch).map(|d| d.timed)
    }

    /// The capture time of a picture that still waits.
    pub(super) fn captured(&self, pts: i64) -> Option<Captured> {
        self.due.iter().find(|d| d.pts == pts).map(|d| d.timed.captured)
    }
}

/// A device that is open and waits for its pipeline.
pub(super) struct Prepared {
    running: Running,
    feed: Feed,
    path: PathBuf,
}

/// The thread that takes frames from the driver. Dropping it ends and joins it.
pub(super) struct Capture {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("a capture thread panicked");
        }
    }
}

/// Opens the device and links a feed to the tail.
pub(super) fn build(
    pipeline: &gst::Pipeline,
    options: &SessionOptions,
    tail: &Tail,
    shared: &Arc<Shared>,
) -> Result<Prepared, MediaError> {
    let Source::V4l2 {
        device: path,
        format,
        size,
        fps,
    } = &options.source
    else {
        return Err(internal("not a V4L2 device"));
    };
    let wanted = Wanted {
        format: *format,
        size: *size,
        fps: *fps,
    };
    let (device, negotiated) = open::open(path, &wanted)?;
    let feed = Feed::new(pipeline, &negotiated, options, tail, shared)?;
    Ok(Prepared {
        running: Running::start(device, path)?,
        feed,
        path: path.clone(),
    })
}

impl Prepared {
    /// Starts the thread; the pipeline must play already.
    pub(super) fn start(self) -> Result<Capture, MediaError> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let name = self
            .path
            .file_name()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let thread = std::thread::Builder::new()
            .name(format!("v4l2 {name}"))
            .spawn(move || self.run(&stopped))
            .map_err(|e| internal(&format!("no thread for the device: {e}")))?;
        Ok(Capture {
            stop,
            thread: Some(thread),
        })
    }

    fn run(mut self, stopped: &AtomicBool) {
        while !stopped.load(Ordering::Relaxed) {
            match self.running.next(POLL) {
                Ok(Some(taken)) => {
                    let arrival = self.feed.shared.clock.now();
                    if !self.feed.push(taken.bytes, taken.stamp, taken.damaged, arrival) {
                        return;
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    self.feed
                        .shared
                        .fail(open::explain(&self.path, "taking a frame", &error));
                    return;
                }
            }
        }
    }
}

/// The way from a driver's buffers into the pipeline.
pub(super) struct Feed {
    source: AppSrc,
    shared: Arc<Shared>,
    layout: Option<Layout>,
    /// Of streams whose pictures build on one another.
    codec: Option<Codec>,
    /// A picture was dropped: what follows cannot be decoded up to the next I picture.
    await_key: bool,
    last_pts: i64,
    /// Device, for the log.
    name: String,
    /// Whether the log has heard that the stamps are no times.
    told: bool,
}

impl Feed {
    pub(super) fn new(
        pipeline: &gst::Pipeline,
        negotiated: &Negotiated,
        options: &SessionOptions,
        tail: &Tail,
        shared: &Arc<Shared>,
    ) -> Result<Feed, MediaError> {
        let format = negotiated.format;
        let (width, height) = (negotiated.size.width, negotiated.size.height);
        let mut caps = gst::Caps::builder(format.media_type())
            .field("width", width as i32)
            .field("height", height as i32);
        if let Some(interval) = negotiated.interval {
            let rate = gst::Fraction::new(interval.denominator as i32, interval.numerator as i32);
            caps = caps.field("framerate", rate);
        }
        let layout = match format.raw() {
            Some(raw) => {
                caps = caps.field("format", raw.to_str().as_str());
                Some(Layout::new(raw, negotiated)?)
            }
            None => None,
        };
        let codec = match format {
            V4l2Format::H264 => Some(Codec::H264),
            V4l2Format::H265 => Some(Codec::H265),
            _ => None,
        };
        if codec.is_some() {
            caps = caps
                .field("stream-format", "byte-stream")
                .field("alignment", "au");
        }
        let source = AppSrc::builder()
            .caps(&caps.build())
            .format(gst::Format::Time)
            .is_live(true)
            .build();
        pipeline
            .add(&source)
            .map_err(|_| internal("could not add the device's appsrc"))?;
        let pad = source
            .static_pad("src")
            .ok_or_else(|| internal("no src pad at the device's appsrc"))?;
        if layout.is_some() {
            tail.attach_raw(&pad, format.key())?;
        } else {
            let by_pts = |buffer: &gst::BufferRef| buffer.pts().map(|t| t.nseconds() as i64);
            tail.attach(&pad, format.media_type(), by_pts)?;
        }
        let config = DriverTimebaseConfig {
            interval: negotiated.interval.map(Interval::span),
            capture_bias: options.capture_bias,
            capture_bias_error: options.capture_bias_error,
        };
        *locked(&shared.timing) = Some(Timing::Driver(Box::new(DriverTiming::new(config))));
        Ok(Feed {
            source,
            shared: shared.clone(),
            layout,
            codec,
            await_key: false,
            last_pts: i64::MIN,
            name: options.source.shown(),
            told: false,
        })
    }

    /// Takes a frame of the driver; `false` once the pipeline takes no more.
    pub(super) fn push(&mut self, bytes: &[u8], stamp: DriverStamp, damaged: bool, arrival: Mono) -> bool {
        let pts = arrival.as_nanos().max(self.last_pts.saturating_add(1));
        self.last_pts = pts;
        let full = self.source.property::<u64>("current-level-buffers") >= FEED_BUFFERS;
        let kind = self
            .codec
            .map(|codec| nal::kind(codec, nal::Framing::StartCodes, bytes));
        let useless = self.await_key && kind != Some(FrameKind::I);
        if let Some(Timing::Driver(timing)) = &mut *locked(&self.shared.timing) {
            let captured = timing.arrived(pts, stamp);
            if captured.source != TimeSource::Hardware && !std::mem::replace(&mut self.told, true) {
                log::warn!(
                    "{}: its driver does not stamp with CLOCK_MONOTONIC; frames are timed by their arrival, ± {}",
                    self.name,
                    captured.rel_error
                );
            }
            if full || useless {
                timing.refused += 1;
            }
        }
        if full || useless {
            self.await_key = self.codec.is_some();
            return true;
        }
        self.await_key = false;
        // What is in the ledger and never comes out of the decoder is told as unreadable.
        locked(&self.shared.ledger).arrived(pts, Mono::from_nanos(pts));
        let damaged = damaged || self.layout.as_ref().is_some_and(|l| bytes.len() < l.bytes);
        if damaged {
            return true;
        }
        let mut buffer = gst::Buffer::from_slice(bytes.to_vec());
        {
            let buffer = buffer.make_mut();
            buffer.set_pts(gst::ClockTime::from_nseconds(pts as u64));
            if let Some(layout) = &self.layout
                && let Err(error) = layout.describe(buffer)
            {
                self.shared
                    .fail(internal(&format!("a picture's layout: {error}")));
                return false;
            }
        }
        // An error here is the pipeline being stopped, or its own error, which is on the bus.
        self.source.push_buffer(buffer).is_ok()
    }
}

/// Where the rows of an uncompressed picture lie: drivers pad them as their hardware likes.
struct Layout {
    format: gst_video::VideoFormat,
    width: u32,
    height: u32,
    offsets: Vec<usize>,
    strides: Vec<i32>,
    /// Bytes of a whole picture.
    bytes: usize,
}

impl Layout {
    fn new(format: gst_video::VideoFormat, negotiated: &Negotiated) -> Result<Layout, MediaError> {
        let (width, height) = (negotiated.size.width, negotiated.size.height);
        let info = gst_video::VideoInfo::builder(format, width, height)
            .build()
            .map_err(|e| internal(&format!("a picture of {width}x{height}: {e}")))?;
        let tight = info.stride()[0].unsigned_abs();
        // Videodev2.h: the stride of the first plane; further planes of a planar format are narrower in proportion.
        let stride = negotiated.stride.max(tight);
        let mut strides = Vec::new();
        let mut offsets = Vec::new();
        let mut bytes = 0_usize;
        for plane in 0..info.n_planes() {
            let own = info.stride()[plane as usize].unsigned_abs();
            // Without padding GStreamer rounds rows of I420 up to 4 bytes, V4L2 does not.
            let narrower = plane > 0 && matches!(format, gst_video::VideoFormat::I420);
            let own = match plane {
                0 => stride,
                _ if narrower => stride / 2,
                _ => own.max(stride),
            };
            let rows = if plane == 0 { height } else { height.div_ceil(2) };
            strides.push(own as i32);
            offsets.push(bytes);
            bytes += own as usize * rows as usize;
        }
        Ok(Layout {
            format,
            width,
            height,
            offsets,
            strides,
            bytes,
        })
    }

    fn describe(&self, buffer: &mut gst::BufferRef) -> Result<(), gst::glib::BoolError> {
        gst_video::VideoMeta::add_full(
            buffer,
            gst_video::VideoFrameFlags::empty(),
            self.format,
            self.width,
            self.height,
            &self.offsets,
            &self.strides,
        )?;
        Ok(())
    }
}

#[cfg(test)]
#[path = "v4l2_tests.rs"]
mod tests;
