//! The sound beside the pictures: the same connection, the same kind of capture time.
//!
//! A decoded piece of an RTP stream keeps no mark of its packet. But depayloaders and decoders keep PTS, and each
//! packet's PTS and RTP time are known where it leaves rtspsrc: a piece lies so much after the packet before it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use gst::prelude::*;
use gst_app::AppSink;
use synoptic_base::{Captured, Mono, Span, Utc};
use synoptic_engine::timebase::{RtpTimebase, RtpTimebaseConfig, SenderReport};

use super::decode::{internal, make};
use super::{locked, rtcp, sound_tap};
use crate::MediaError;
use crate::coded::CodedStream;

/// Packets remembered between wire and decoder.
const PACKETS: usize = 1_024;
/// Decoders round PTS.
const ROUNDING: gst::ClockTime = gst::ClockTime::from_mseconds(1);
/// A piece further behind its packet than this belongs to one that was lost.
const MAX_BEHIND: gst::ClockTime = gst::ClockTime::from_mseconds(500);
/// Reports of picture and sound that mean times further apart do not mean the same clock.
const MAX_APART: Span = Span::from_secs(3);
/// No stream has this number.
const NONE: u32 = u32::MAX;
/// Pieces that wait; the decoder stops when it is full.
const SINK_BUFFERS: u32 = 8;
/// What one stream of a file may be ahead of the other, in bytes and time.
const QUEUE_BYTES: u32 = 16 << 20;
const QUEUE_TIME: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// Whether the stream has sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Unknown,
    There,
    Absent,
}

/// A decoded piece of sound.
pub(super) struct Piece {
    /// Capture time for RTP, running time for files.
    pub pts: Span,
    pub samples: Vec<f32>,
    pub channels: u32,
    pub rate_hz: u32,
}

/// What comes out of a sound branch.
pub(super) enum SoundEvent {
    Piece(Piece),
    End,
}

#[derive(Default)]
struct Line {
    timebase: Option<(RtpTimebase, u32)>,
    ssrc: Option<u32>,
    /// RTP time and arrival.
    arrived: VecDeque<(u32, Mono)>,
    /// PTS, RTP time, arrival; behind the jitter buffer.
    packets: VecDeque<(gst::ClockTime, u32, Mono)>,
    /// PTS of the packet timed last, and its capture.
    timed: Option<(gst::ClockTime, Captured)>,
    /// A picture by the camera's own clock, and when it was captured.
    picture: Option<(Utc, Mono)>,
}

/// Decoder and sink of the sound, and its time.
pub(super) struct SoundBranch {
    sink: AppSink,
    presence: Mutex<Presence>,
    known: Condvar,
    /// Number of its stream in rtspsrc.
    stream: AtomicU32,
    line: Mutex<Line>,
    /// Where it goes as it is; `None`: it is decoded for a player.
    coded: Option<Arc<CodedStream>>,
}

impl SoundBranch {
    /// For a player.
    pub(super) fn new() -> SoundBranch {
        SoundBranch::to(None)
    }

    /// Coded, beside the pictures of `stream`.
    pub(super) fn relayed(stream: Arc<CodedStream>) -> SoundBranch {
        SoundBranch::to(Some(stream))
    }

    fn to(coded: Option<Arc<CodedStream>>) -> SoundBranch {
        let caps = gst::Caps::builder("audio/x-raw")
            .field("format", "F32LE")
            .field("layout", "interleaved")
            .build();
        let sink = AppSink::builder()
            .caps(&caps)
            .max_buffers(SINK_BUFFERS)
            .sync(false)
            .async_(false)
            .enable_last_sample(false)
            .build();
        SoundBranch {
            sink,
            presence: Mutex::new(Presence::Unknown),
            known: Condvar::new(),
            stream: AtomicU32::new(NONE),
            line: Mutex::default(),
            coded,
        }
    }

    /// Whether a player paces it.
    pub(super) fn is_played(&self) -> bool {
        self.coded.is_none()
    }

    /// A picture was captured at `captured`, which was `wall` by the camera's own clock. Its sound is told by the same clock,
    /// so where both have reports it lies beside the pictures as the camera means it, whatever the two streams' ways through
    /// the network are.
    pub(super) fn picture(&self, wall: Utc, captured: Mono) {
        locked(&self.line).picture = Some((wall, captured));
    }

    /// Takes stream `number` of rtspsrc, unless there is one already.
    pub(super) fn claim(&self, number: u32) -> bool {
        let taken = self
            .stream
            .compare_exchange(NONE, number, Ordering::Relaxed, Ordering::Relaxed);
        taken.is_ok()
    }

    /// Whether `number` is its stream in rtspsrc.
    pub(super) fn is_stream(&self, number: u32) -> bool {
        self.stream.load(Ordering::Relaxed) == number
    }

    /// All streams are known now: whoever waits for sound need not any more.
    pub(super) fn no_more(&self) {
        let mut presence = locked(&self.presence);
        if *presence == Presence::Unknown {
            *presence = Presence::Absent;
            self.known.notify_all();
        }
    }

    /// Takes what comes out of a pad of coded sound, or of RTP packets of it.
    pub(super) fn attach(
        self: &Arc<Self>,
        pipeline: &gst::Pipeline,
        pad: &gst::Pad,
    ) -> Result<(), MediaError> {
        match &self.coded {
            Some(stream) => sound_tap::attach(self, stream, pipeline, pad),
            None => self.decode(pipeline, pad),
        }
    }

    fn decode(&self, pipeline: &gst::Pipeline, pad: &gst::Pad) -> Result<(), MediaError> {
        let failed = |_| internal("could not assemble the decoder of the sound");
        let queue = make_queue()?;
        let decoder = make("decodebin")?;
        let convert = make("audioconvert")?;
        let sink = self.sink.upcast_ref::<gst::Element>();
        pipeline
            .add_many([&queue, &decoder, &convert, sink])
            .map_err(failed)?;
        queue.link(&decoder).map_err(failed)?;
        convert.link(sink).map_err(failed)?;
        let missing = || internal("an element of the sound lacks a pad");
        let raw = convert.static_pad("sink").ok_or_else(missing)?;
        decoder.connect_pad_added(move |_, pad| {
            if !raw.is_linked()
                && let Err(error) = pad.link(&raw)
            {
                log::warn!("the sound cannot be decoded: {error}");
            }
        });
        for element in [sink, &convert, &decoder, &queue] {
            element.sync_state_with_parent().map_err(failed)?;
        }
        pad.link(&queue.static_pad("sink").ok_or_else(missing)?)
            .map_err(|e| internal(&format!("could not link the sound: {e}")))?;
        *locked(&self.presence) = Presence::There;
        self.known.notify_all();
        Ok(())
    }

    /// Attaches RTP packets of this clock rate.
    pub(super) fn attach_rtp(
        self: &Arc<SoundBranch>,
        pipeline: &gst::Pipeline,
        pad: &gst::Pad,
        config: RtpTimebaseConfig,
    ) -> Result<(), MediaError> {
        locked(&self.line).timebase = Some((RtpTimebase::new(config), config.clock_rate_hz));
        let branch = self.clone();
        pad.add_probe(
            gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
            move |_, info| {
                match &info.data {
                    Some(gst::PadProbeData::Buffer(buffer)) => branch.leaves(buffer),
                    Some(gst::PadProbeData::BufferList(list)) => list.iter().for_each(|b| branch.leaves(b)),
                    _ => {}
                }
                gst::PadProbeReturn::Ok
            },
        );
        self.attach(pipeline, pad)
    }

    /// A packet reached the box.
    pub(super) fn packet(&self, bytes: &[u8], arrival: Mono) {
        let Some((ssrc, rtp)) = rtcp::rtp_header(bytes) else {
            return;
        };
        let mut line = locked(&self.line);
        line.ssrc = Some(ssrc);
        if line.arrived.len() == PACKETS {
            line.arrived.pop_front();
        }
        line.arrived.push_back((rtp, arrival));
    }

    /// A sender report reached the box.
    pub(super) fn report(&self, bytes: &[u8], arrival: Mono) {
        let Some(raw) = rtcp::sender_report(bytes) else {
            return;
        };
        let mut line = locked(&self.line);
        if line
            .ssrc
            .is_some_and(|known| known != raw.ssrc && known != raw.ssrc.swap_bytes())
        {
            return;
        }
        if let Some((timebase, _)) = &mut line.timebase {
            let wall = (raw.ntp != 0).then(|| Utc::from_ntp(raw.ntp));
            let rtp = raw.rtp;
            // A step of the camera's wall clock is told by its pictures.
            timebase.report(SenderReport { wall, rtp, arrival });
        }
    }

    /// A packet leaves the jitter buffer.
    fn leaves(&self, buffer: &gst::BufferRef) {
        let Some(pts) = buffer.pts() else { return };
        let Ok(map) = buffer.map_readable() else { return };
        let Some((_, rtp)) = rtcp::rtp_header(&map) else {
            return;
        };
        let mut line = locked(&self.line);
        let Some(at) = line.arrived.iter().position(|(r, _)| *r == rtp) else {
            return;
        };
        let arrival = line.arrived[at].1;
        // What was before it came earlier, or never leaves.
        line.arrived.drain(..=at);
        if line.packets.len() == PACKETS {
            line.packets.pop_front();
        }
        line.packets.push_back((pts, rtp, arrival));
    }

    /// The next piece; `None` when none came within `timeout`.
    pub(super) fn next(&self, timeout: Span) -> Option<SoundEvent> {
        // Before there is a stream the sink is stopped, and says that it is at its end.
        let unknown = |presence: &mut Presence| *presence == Presence::Unknown;
        let presence = self
            .known
            .wait_timeout_while(locked(&self.presence), timeout.to_std(), unknown)
            .map_or_else(|e| *PoisonError::into_inner(e).0, |(presence, _)| *presence);
        match presence {
            Presence::Unknown => return None,
            Presence::Absent => return Some(SoundEvent::End),
            Presence::There => {}
        }
        let wait = gst::ClockTime::from_nseconds(timeout.to_std().as_nanos() as u64);
        loop {
            let Some(sample) = self.sink.try_pull_sample(wait) else {
                return self.sink.is_eos().then_some(SoundEvent::End);
            };
            if let Some(piece) = self.piece(&sample) {
                return Some(SoundEvent::Piece(piece));
            }
        }
    }

    fn piece(&self, sample: &gst::Sample) -> Option<Piece> {
        let caps = sample.caps()?.structure(0)?;
        let rate_hz = u32::try_from(caps.get::<i32>("rate").ok()?).ok()?;
        let channels = u32::try_from(caps.get::<i32>("channels").ok()?).ok()?;
        let buffer = sample.buffer()?;
        let pts = buffer.pts()?;
        let pts = if locked(&self.line).timebase.is_some() {
            Span::from_nanos(self.captured(pts)?.mono.as_nanos())
        } else {
            let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
            Span::from_nanos(segment.to_running_time(pts)?.nseconds() as i64)
        };
        let map = buffer.map_readable().ok()?;
        let samples = map
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        Some(Piece {
            pts,
            samples,
            channels,
            rate_hz,
        })
    }

    /// Whether it is timed by RTP.
    pub(super) fn is_rtp(&self) -> bool {
        locked(&self.line).timebase.is_some()
    }

    /// When the sound at a PTS was captured. `None` for what lies before every known packet.
    pub(super) fn captured(&self, pts: gst::ClockTime) -> Option<Captured> {
        let mut line = locked(&self.line);
        let line = &mut *line;
        let at = line.packets.iter().rposition(|(p, ..)| *p <= pts + ROUNDING);
        if let Some(at) = at {
            let (packet_pts, rtp, arrival) = line.packets[at];
            line.packets.drain(..at);
            if line.timed.is_none_or(|(p, _)| p != packet_pts) {
                let (timebase, _) = line.timebase.as_mut()?;
                let mut captured = timebase.frame(rtp, arrival).captured;
                if let Some(((wall, picture), sound)) = line.picture.zip(timebase.camera_utc(rtp)) {
                    let beside = picture + (sound - wall);
                    if (beside - captured.mono).abs() < MAX_APART {
                        captured.mono = beside;
                    }
                }
                line.timed = Some((packet_pts, captured));
            }
        }
        let (packet_pts, captured) = line.timed?;
        let behind = Span::from_nanos(pts.nseconds() as i64 - packet_pts.nseconds() as i64);
        let mono = captured.mono + behind;
        (behind.abs() < Span::from_nanos(MAX_BEHIND.nseconds() as i64))
            .then_some(Captured { mono, ..captured })
    }
}

/// A queue between the streams of a file, so that one does not stop the other.
pub(super) fn make_queue() -> Result<gst::Element, MediaError> {
    let queue = make("queue")?;
    queue.set_property("max-size-buffers", 0_u32);
    queue.set_property("max-size-bytes", QUEUE_BYTES);
    queue.set_property("max-size-time", QUEUE_TIME);
    Ok(queue)
}
