//! Coded pictures to other programs: pushed to a server by RTMP or RTSP, or served by an RTSP server of our own.
//!
//! What leaves are the relay's access units as they are, each with its SEI: nothing is coded here. A push
//! ([`Push`]) is one connection: who uses it makes a new one after an error. The server ([`RtspServer`]) has one pipeline a
//! stream that all of its clients share, and it is there only while there are clients.
//!
//! RTP times and capture times: the pipelines' running time is the capture time on the box's clock, so the RTP time is linear
//! in it; sender reports (and the RFC 6051 extension) are written with the UTC of that very instant.

mod clients;
mod options;
mod push;
mod rtmp;
pub(crate) mod rtp;
mod served;
mod server;
mod sound;
mod times;

pub use clients::ClientThreads;
pub use options::{PushError, PushKind, PushOptions};
pub use push::Push;
pub use server::{Login, ReadingOf, RtspServer, ServerError};

use std::sync::Arc;

use gst::prelude::*;
use gst_app::AppSrc;
use synoptic_base::Mono;

use crate::coded::{CodedFrame, CodedStream, Variant};
use crate::encode::EncodeOptions;
pub(crate) use push::h264_caps;
use times::RtpTimes;

/// Running time begins this long before the pipeline, so that a picture of before (the last GOP) has one.
const BEFORE: synoptic_base::Span = synoptic_base::Span::from_secs(60);

/// What an output reads: a stream as the relay has it, or coded with options of the output's own.
pub struct Reading {
    stream: Arc<CodedStream>,
    sound: bool,
    /// Kept while it is read.
    _variant: Option<Variant>,
}

impl Reading {
    /// The stream as the relay has it.
    pub fn plain(stream: Arc<CodedStream>) -> Reading {
        Reading {
            stream,
            sound: false,
            _variant: None,
        }
    }

    /// The same pictures, coded anew with `options`.
    pub fn coded(stream: &Arc<CodedStream>, options: EncodeOptions) -> Reading {
        let variant = stream.variant(options);
        Reading {
            stream: variant.stream().clone(),
            sound: false,
            _variant: Some(variant),
        }
    }

    /// The same with the sound beside the pictures, where there is one.
    pub fn with_sound(self, sound: bool) -> Reading {
        Reading { sound, ..self }
    }

    /// Whether the sound is wanted.
    pub fn sound(&self) -> bool {
        self.sound
    }

    /// What is read.
    pub fn stream(&self) -> &Arc<CodedStream> {
        &self.stream
    }
}

/// Makes the running time of `pipeline` the time since `now` less a minute on the box's clock: which GStreamer's system clock
/// is, CLOCK_MONOTONIC.
fn run_on_the_boxs_clock(pipeline: &gst::Pipeline, now: Mono) -> Mono {
    let base = now - BEFORE;
    pipeline.use_clock(Some(&gst::SystemClock::obtain()));
    // None: the pipeline leaves the base time as it is set here.
    pipeline.set_start_time(gst::ClockTime::NONE);
    pipeline.set_base_time(gst::ClockTime::from_nseconds(base.as_nanos().max(0) as u64));
    base
}

/// A buffer with a picture in Annex B form; its time stamp is the capture time.
fn access_unit(frame: &CodedFrame, times: &RtpTimes) -> gst::Buffer {
    coded_buffer(frame, times.running_time(frame.captured.mono))
}

/// A buffer with a picture in Annex B form, with this time stamp.
pub(crate) fn coded_buffer(frame: &CodedFrame, pts: gst::ClockTime) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_slice(frame.annex_b());
    if let Some(data) = buffer.get_mut() {
        data.set_pts(pts);
        data.set_dts(pts);
        if !frame.keyframe {
            data.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        if frame.discontinuity {
            data.set_flags(gst::BufferFlags::DISCONT);
        }
    }
    buffer
}

/// Bytes that wait in a source.
pub(crate) fn waiting_bytes(source: &AppSrc) -> u64 {
    source.property::<u64>("current-level-bytes")
}
