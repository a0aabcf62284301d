//! One connection to one camera: from the first packet to the first error.
//!
//! A session owns a GStreamer pipeline (or a V4L2 stream feeding one) and yields decoded frames with their capture
//! time, one at a time, to the thread that asks. It never retries: that is `camera`'s job.

mod decode;
mod errors;
mod file;
mod flv;
#[doc(hidden)]
pub mod fuzz;
mod h265;
mod hdrext;
mod hls;
mod known;
mod ledger;
mod nal;
pub mod play;
mod pull;
mod rtcp;
mod rtmp;
mod rtsp;
mod sound;
mod sound_tap;
mod tap;
#[cfg(test)]
mod tests;
mod tls;
mod v4l2;
mod waits;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use gst::prelude::*;
use gst_app::AppSink;
use gst_video::prelude::*;
use synoptic_base::{
    Captured, Clock, FrameKey, FrameKind, MediaTime, Mono, Rotation, Size, Span, Surface, TimeSource,
};
use synoptic_engine::timebase::{FileClock, FilePicture, RtpTimebase};

use crate::coded::CodedStream;
use crate::{MediaError, PullKind, Source, TransportStats, VideoSurface};
use ledger::{Ledger, rtp_before};
use tap::{Asked, Foretold, Tap};

/// How often a waiting session looks at its bus.
const BUS_INTERVAL: Span = Span::from_millis(100);

/// What a stream says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamInfo {
    /// `H.264`, `H.265`, `MJPEG`, `raw`, `raw YUYV`, or GStreamer's name of it.
    pub codec: String,
    /// Size of the pictures, after rotation.
    pub size: Size,
    /// Frames a second as the stream declares them.
    pub fps_declared: Option<f64>,
}

/// A decoded frame of a session.
pub struct SessionFrame {
    /// Media time since the epoch began.
    pub media: MediaTime,
    /// Capture time.
    pub captured: Captured,
    /// When its first byte reached the box.
    pub arrival: Mono,
    /// Kind of its coded picture.
    pub kind: FrameKind,
    /// Size in pixels.
    pub size: Size,
    /// Its pixels.
    pub surface: Arc<dyn Surface>,
    /// What its coded picture is known by in this session.
    stamp: i64,
    generation: u32,
    /// The same, for GStreamer.
    sample: gst::Sample,
}

/// What a session yields.
pub enum SessionEvent {
    /// The stream's format, before its first frame and whenever it changes: an epoch begins.
    Format(StreamInfo),
    /// The camera's media clock started anew: an epoch begins.
    Restarted,
    /// A frame.
    Frame(SessionFrame),
    /// A frame that arrived and could not be decoded.
    Unreadable(Captured),
    /// The end of a file.
    End,
}

/// How the frames of a session get their time.
enum Timing {
    /// By RTP timestamps and sender reports.
    Rtp {
        timebase: Box<RtpTimebase>,
        /// RTP session and payload type of the video: whatever else comes is not its.
        stream: (u32, u8),
        ssrc: Option<u32>,
        /// Whose pictures the timebase is at, by the ledger's count; another sender's may be under way.
        run: u32,
        signalled: hdrext::Signalled,
        wall_steps: Vec<Span>,
    },
    /// By the moment at which the pipeline's clock plays them.
    Played {
        bias: Span,
        bias_error: Span,
        clock: FileClock,
    },
    /// By the stamps of their driver.
    Driver(Box<v4l2::DriverTiming>),
}

/// State that the streaming threads of GStreamer and the session share.
struct Shared {
    clock: Arc<dyn Clock>,
    ledger: Mutex<Ledger>,
    waits: Mutex<waits::Waits>,
    timing: Mutex<Option<Timing>>,
    known: Mutex<known::Known>,
    codec: Mutex<Option<String>>,
    /// RTP packets and bytes so far.
    packets: AtomicU64,
    bytes: AtomicU64,
    /// The depayloader of the video.
    depay: gst::glib::WeakRef<gst::Element>,
    /// The jitter buffer of the video.
    jitter_buffer: gst::glib::WeakRef<gst::Element>,
    /// The first error found in a callback, where GStreamer has no way to carry it.
    failure: Mutex<Option<MediaError>>,
    /// Where coded pictures go; `None`: nowhere.
    tap: Option<Tap>,
    /// + 1 whenever an epoch begins, under the lock of `timing`.
    generation: AtomicU32,
    /// How a file's parser stamps.
    segment: Mutex<Option<gst::FormattedSegment<gst::ClockTime>>>,
    /// Where sound goes; thrown away where nobody asked for it.
    sound: OnceLock<Arc<sound::SoundBranch>>,
}

impl Shared {
    fn new(clock: Arc<dyn Clock>, coded: Option<Arc<CodedStream>>) -> Arc<Shared> {
        Arc::new(Shared {
            clock,
            ledger: Mutex::default(),
            waits: Mutex::default(),
            timing: Mutex::default(),
            known: Mutex::default(),
            codec: Mutex::default(),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            depay: gst::glib::WeakRef::new(),
            jitter_buffer: gst::glib::WeakRef::new(),
            failure: Mutex::default(),
            tap: coded.map(Tap::new),
            generation: AtomicU32::new(0),
            segment: Mutex::default(),
            sound: OnceLock::new(),
        })
    }

    /// The time that a coded picture's frame will get, as far as it is known.
    fn foretell(&self, asked: &Asked) -> Option<Foretold> {
        let timing = locked(&self.timing);
        let generation = self.generation.load(Ordering::Relaxed);
        let (media, captured, due) = match timing.as_ref()? {
            Timing::Rtp { timebase, .. } => {
                let (media, captured) = timebase.preview(asked.stamp as u32, asked.arrival)?;
                (media, captured, None)
            }
            Timing::Played { .. } => {
                let pts = gst::ClockTime::from_nseconds(u64::try_from(asked.stamp).ok()?);
                let running = locked(&self.segment).as_ref()?.to_running_time(pts)?;
                let media = MediaTime::from_micros(running.useconds() as i64);
                let (shown, captured) = asked.shown?;
                let mono = captured.mono + (media.since_zero() - shown.since_zero());
                (media, Captured { mono, ..captured }, Some(media))
            }
            Timing::Driver(timing) => {
                let timed = timing.foretold(asked.stamp)?;
                (timed.media, timed.captured, None)
            }
        };
        Some(Foretold {
            generation,
            media,
            captured,
            due,
        })
    }

    fn fail(&self, error: MediaError) {
        locked(&self.failure).get_or_insert(error);
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running connection.
pub struct Session {
    /// Takes frames from a local device; ends before the pipeline does.
    capture: Option<v4l2::Capture>,
    /// Fetches the segments of HLS; ends before the pipeline does.
    segments: Option<hls::Puller>,
    pipeline: gst::Pipeline,
    sink: AppSink,
    shared: Arc<Shared>,
    source_name: String,
    live: bool,
    format: Option<(gst::Caps, gst_video::VideoInfo)>,
    pending: std::collections::VecDeque<SessionEvent>,
    last_captured: Option<Captured>,
}

/// How a session is opened.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Where the pictures come from.
    pub source: Source,
    /// How they are turned.
    pub rotation: Rotation,
    /// How late the camera's stamps are known to be.
    pub capture_bias: Span,
    /// How far the bias may be off, to either side.
    pub capture_bias_error: Span,
}

impl Session {
    /// Begins to connect. Errors of the connection itself come from [`Session::next`].
    pub fn open(options: &SessionOptions, clock: Arc<dyn Clock>) -> Result<Session, MediaError> {
        Session::open_tapped(options, clock, None)
    }

    /// The same, and what comes coded goes to `coded`, once each frame is told with [`Session::named`].
    pub fn open_tapped(
        options: &SessionOptions,
        clock: Arc<dyn Clock>,
        coded: Option<Arc<CodedStream>>,
    ) -> Result<Session, MediaError> {
        let sound = coded.clone().filter(|stream| stream.takes_sound());
        let shared = Shared::new(clock, coded);
        if let Some(stream) = sound {
            shared
                .sound
                .get_or_init(|| Arc::new(sound::SoundBranch::relayed(stream)));
        }
        Session::open_shared(options, shared)
    }

    fn open_shared(options: &SessionOptions, shared: Arc<Shared>) -> Result<Session, MediaError> {
        let pipeline = gst::Pipeline::new();
        let sink = decode::make_sink(options);
        if shared.sound.get().is_some_and(|sound| sound.is_played()) {
            // A player paces by itself.
            sink.set_sync(false);
        }
        let tail = decode::Tail::new(&pipeline, &sink, options.rotation, &shared)?;
        let mut prepared = None;
        let mut segments = None;
        match &options.source {
            Source::Rtsp { .. } => rtsp::build(&pipeline, options, tail, &shared)?,
            Source::Pull { kind, .. } => match kind {
                PullKind::Rtmp | PullKind::HttpFlv => rtmp::build(&pipeline, options, tail, &shared)?,
                PullKind::Hls => segments = Some(hls::build(&pipeline, options, tail, &shared)?),
            },
            Source::File { .. } => file::build(&pipeline, options, tail, &shared)?,
            Source::V4l2 { .. } => prepared = Some(v4l2::build(&pipeline, options, &tail, &shared)?),
        }
        let mut session = Session::play(pipeline, sink, shared, &options.source)?;
        session.capture = prepared.map(v4l2::Prepared::start).transpose()?;
        session.segments = segments.map(hls::Prepared::start).transpose()?;
        Ok(session)
    }

    /// Starts an assembled pipeline.
    fn play(
        pipeline: gst::Pipeline,
        sink: AppSink,
        shared: Arc<Shared>,
        source: &Source,
    ) -> Result<Session, MediaError> {
        let session = Session {
            capture: None,
            segments: None,
            pipeline,
            sink,
            shared,
            source_name: source.shown(),
            live: !matches!(source, Source::File { .. }),
            format: None,
            pending: std::collections::VecDeque::new(),
            last_captured: None,
        };
        // The monotonic clock, whatever else a plugin offers: capture times are on it.
        session.pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        if session.pipeline.set_state(gst::State::Playing).is_err() {
            return Err(session
                .bus_error()
                .unwrap_or_else(|| session.broken("the pipeline did not start")));
        }
        Ok(session)
    }

    /// The next event, waiting for up to `timeout`; `None` when nothing came in that time.
    pub fn next(&mut self, timeout: Span) -> Result<Option<SessionEvent>, MediaError> {
        let deadline = self.shared.clock.now() + timeout;
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(Some(event));
            }
            if let Some(error) = locked(&self.shared.failure).take() {
                return Err(error);
            }
            if let Some(error) = self.bus_error() {
                return Err(error);
            }
            let left = deadline - self.shared.clock.now();
            let wait = gst::ClockTime::from_nseconds(left.min(BUS_INTERVAL).to_std().as_nanos() as u64);
            match self.sink.try_pull_sample(wait) {
                Some(sample) => self.take(&sample)?,
                None if self.sink.is_eos() => {
                    if self.live {
                        return Err(self.broken("the camera ended the stream"));
                    }
                    return Ok(Some(SessionEvent::End));
                }
                None if left <= Span::ZERO => return Ok(None),
                None => {}
            }
        }
    }

    /// A frame got its key: call it for each, before the next event is taken.
    pub fn named(&self, frame: &SessionFrame, key: FrameKey) {
        if let Some(tap) = &self.shared.tap {
            let foretell = |asked: &Asked| self.shared.foretell(asked);
            tap.resolved(frame.stamp, frame.generation, key, frame.captured, foretell);
        }
    }

    /// Frames of this connection that were lost before they could be decoded, by reason.
    pub fn drops(&self) -> [(&'static str, u64); 2] {
        let (driver, decoder) = match &*locked(&self.shared.timing) {
            Some(Timing::Driver(timing)) => (timing.timebase.missed(), timing.refused),
            _ => (0, 0),
        };
        [("driver", driver), ("decoder_busy", decoder)]
    }

    /// What the network did since the session was opened.
    pub fn transport(&self) -> TransportStats {
        rtsp::transport(&self.shared)
    }

    fn take(&mut self, sample: &gst::Sample) -> Result<(), MediaError> {
        let (Some(caps), Some(buffer)) = (sample.caps(), sample.buffer_owned()) else {
            return Ok(());
        };
        if self
            .format
            .as_ref()
            .is_none_or(|(known, _)| !known.is_strictly_equal(caps))
        {
            let info = gst_video::VideoInfo::from_caps(caps).map_err(|e| self.broken(&e.to_string()))?;
            let fps = info.fps();
            let info_event = StreamInfo {
                codec: locked(&self.shared.codec)
                    .clone()
                    .unwrap_or_else(|| "raw".to_owned()),
                size: Size::new(info.width(), info.height()),
                fps_declared: (fps.numer() > 0).then(|| f64::from(fps.numer()) / f64::from(fps.denom())),
            };
            let same_size = self
                .format
                .as_ref()
                .is_some_and(|(_, known)| (known.width(), known.height()) == (info.width(), info.height()));
            self.format = Some((caps.to_owned(), info));
            if !same_size {
                let _timing = locked(&self.shared.timing);
                self.shared.generation.fetch_add(1, Ordering::Relaxed);
                self.pending.push_back(SessionEvent::Format(info_event));
            }
        }
        let Some((_, info)) = &self.format else {
            return Ok(());
        };
        let surface = VideoSurface::new(buffer.clone(), info).map_err(|e| self.broken(&e.to_string()))?;
        self.time(sample, &buffer, Arc::new(surface));
        Ok(())
    }

    /// Gives a decoded picture its time, and reports those that were lost before it.
    fn time(&mut self, sample: &gst::Sample, buffer: &gst::Buffer, surface: Arc<VideoSurface>) {
        let mut timing = locked(&self.shared.timing);
        let size = surface.size();
        let generation = || self.shared.generation.load(Ordering::Relaxed);
        match &mut *timing {
            Some(Timing::Rtp { timebase, run, .. }) => {
                let Some(stamp) = decode::rtp_stamp(buffer) else {
                    self.shared.fail(MediaError::Broken {
                        source_name: self.source_name.clone(),
                        why: "the decoder lost the frames' RTP time".to_owned(),
                    });
                    return;
                };
                let (coded, lost) = locked(&self.shared.ledger).decoded(i64::from(stamp), rtp_before);
                let arrival = coded.map_or_else(|| self.shared.clock.now(), |c| c.arrival);
                if let Some(coded) = coded.filter(|c| c.run != *run) {
                    // The first picture of another sender: nothing of its time continues.
                    *run = coded.run;
                    timebase.restart();
                }
                if let Some(by) = locked(&self.shared.waits).of(arrival) {
                    timebase.waited(arrival, by);
                }
                let timed = timebase.frame(stamp, arrival);
                if let Some((sound, wall)) = self.shared.sound.get().zip(timebase.camera_utc(stamp)) {
                    sound.picture(wall, timed.captured.mono);
                }
                if timed.new_epoch {
                    self.shared.generation.fetch_add(1, Ordering::Relaxed);
                    self.pending.push_back(SessionEvent::Restarted);
                } else {
                    for coded in lost.into_iter().filter(|c| c.run == *run) {
                        let captured = timebase.frame(coded.stamp as u32, coded.arrival).captured;
                        self.pending.push_back(SessionEvent::Unreadable(captured));
                    }
                }
                self.last_captured = Some(timed.captured);
                self.pending.push_back(SessionEvent::Frame(SessionFrame {
                    media: timed.media,
                    captured: timed.captured,
                    arrival,
                    kind: coded.map_or(FrameKind::Unknown, |c| c.kind),
                    size,
                    surface,
                    stamp: i64::from(stamp),
                    generation: generation(),
                    sample: sample.clone(),
                }));
            }
            Some(Timing::Played {
                bias,
                bias_error,
                clock,
            }) => {
                let segment = sample.segment().and_then(|s| s.downcast_ref::<gst::ClockTime>());
                if let Some((_, info)) = self.format.as_ref().filter(|(_, i)| i.fps().numer() > 0) {
                    let fps = info.fps();
                    clock.set_interval(Span::from_nanos(
                        1_000_000_000 * i64::from(fps.denom()) / i64::from(fps.numer()),
                    ));
                }
                // The parser has put decoding times in order by now: a picture has its own time or none.
                let shown = clock.show(FilePicture {
                    pts: buffer.pts().map(|t| Span::from_nanos(t.nseconds() as i64)),
                    dts: None,
                    repeats: u8::from(buffer.video_flags().contains(gst_video::VideoBufferFlags::RFF)),
                });
                let pts = Some(gst::ClockTime::from_nseconds(shown.as_nanos().max(0) as u64));
                let running = segment.zip(pts).and_then(|(s, pts)| s.to_running_time(pts));
                let (Some(running), Some(base)) = (running, self.pipeline.base_time()) else {
                    return;
                };
                let at = Mono::from_nanos((base + running).nseconds() as i64);
                let stamp = pts.map_or(0, |t| t.nseconds() as i64);
                let (coded, _) = locked(&self.shared.ledger).decoded(stamp, |a, b| a < b);
                let captured = Captured {
                    mono: at - *bias,
                    rel_error: *bias_error,
                    source: TimeSource::Host,
                };
                self.last_captured = Some(captured);
                self.pending.push_back(SessionEvent::Frame(SessionFrame {
                    media: MediaTime::from_micros(running.useconds() as i64),
                    captured,
                    arrival: at,
                    kind: coded.map_or(FrameKind::Unknown, |c| c.kind),
                    size,
                    surface,
                    stamp,
                    generation: generation(),
                    sample: sample.clone(),
                }));
            }
            Some(Timing::Driver(timing)) => {
                let Some(pts) = buffer.pts().map(|t| t.nseconds() as i64) else {
                    return;
                };
                let (coded, lost) = locked(&self.shared.ledger).decoded(pts, |a, b| a < b);
                let lost: Vec<Captured> = lost.iter().filter_map(|c| timing.captured(c.stamp)).collect();
                let Some(timed) = timing.decoded(pts) else {
                    return;
                };
                if timed.new_epoch {
                    self.shared.generation.fetch_add(1, Ordering::Relaxed);
                    self.pending.push_back(SessionEvent::Restarted);
                } else {
                    self.pending
                        .extend(lost.into_iter().map(SessionEvent::Unreadable));
                }
                self.last_captured = Some(timed.captured);
                self.pending.push_back(SessionEvent::Frame(SessionFrame {
                    media: timed.media,
                    captured: timed.captured,
                    arrival: Mono::from_nanos(pts),
                    kind: coded.map_or(FrameKind::Unknown, |c| c.kind),
                    size,
                    surface,
                    stamp: pts,
                    generation: generation(),
                    sample: sample.clone(),
                }));
            }
            None => {}
        }
    }

    fn broken(&self, why: &str) -> MediaError {
        MediaError::Broken {
            source_name: self.source_name.clone(),
            why: why.to_owned(),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.capture = None;
        self.segments = None;
        if self.pipeline.set_state(gst::State::Null).is_err() {
            log::warn!("{}: the pipeline did not stop cleanly", self.source_name);
        }
    }
}
