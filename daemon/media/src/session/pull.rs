//! What the streams that servers relay have in common: coded pictures go into the pipeline by an appsrc, each marked
//! with its own time stamp, and are timed by it as those of RTP are.

use std::sync::Arc;

use gst::prelude::*;
use gst_app::AppSrc;
use synoptic_base::Mono;
use synoptic_engine::timebase::wire::{FlvCodec, TsCodec};
use synoptic_engine::timebase::{RtpTimebase, RtpTimebaseConfig, StampKind};

use super::decode::{self, Tail, internal};
use super::hdrext::Signalled;
use super::{SessionOptions, Shared, Timing, locked};
use crate::{MediaError, PullKind};

/// Bytes that wait for the decoder. When it is full, no more is read and the server holds or drops: nothing is lost
/// between pictures that need each other.
const FEED_BYTES: u64 = 8 << 20;
/// Pipeline time of the first picture: pictures shown before it, by their composition time, still have one.
const LEAD_NS: i64 = 10_000_000_000;

/// Codec of a relayed stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    H264,
    H265,
}

impl Coding {
    fn media_type(self) -> &'static str {
        match self {
            Coding::H264 => "video/x-h264",
            Coding::H265 => "video/x-h265",
        }
    }
}
impl From<FlvCodec> for Coding {
    fn from(codec: FlvCodec) -> Coding {
        match codec {
            FlvCodec::H264 => Coding::H264,
            FlvCodec::H265 => Coding::H265,
        }
    }
}
impl From<TsCodec> for Coding {
    fn from(codec: TsCodec) -> Coding {
        match codec {
            TsCodec::H264 => Coding::H264,
            TsCodec::H265 => Coding::H265,
        }
    }
}

/// A coded picture on its way into the pipeline. Times are ticks of the stream's own clock, modulo 2^32.
pub(super) struct Unit<'a> {
    pub pts: u32,
    /// PTS − DTS in ticks.
    pub composition: i64,
    pub keyframe: bool,
    pub arrival: Mono,
    pub data: &'a [u8],
}

/// The way into the pipeline.
pub(super) struct Feed {
    pub(super) shared: Arc<Shared>,
    pub(super) name: String,
    tail: Tail,
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    clock_rate_hz: u32,
    source: Option<(AppSrc, Coding)>,
    /// The first DTS, and the last, in ticks.
    dts: Option<(i64, i64)>,
}

impl Feed {
    pub(super) fn new(
        pipeline: &gst::Pipeline,
        options: &SessionOptions,
        tail: Tail,
        shared: &Arc<Shared>,
        kind: PullKind,
        clock_rate_hz: u32,
    ) -> Feed {
        let config = RtpTimebaseConfig {
            clock_rate_hz,
            capture_bias: options.capture_bias,
            capture_bias_error: options.capture_bias_error,
        };
        let known = *locked(&shared.known);
        let mut timebase = RtpTimebase::new(config)
            .with_longest_way(kind.longest_way())
            .with_learned_delay(known.learned);
        // Before the first frame: where the two clocks are apart, what was timed without would lie elsewhere.
        timebase.box_sample(shared.clock.sample());
        if let Some(map) = known.map {
            timebase.clock_map(map);
        }
        *locked(&shared.timing) = Some(Timing::Rtp {
            timebase: Box::new(timebase),
            stream: (0, 0),
            ssrc: None,
            run: 0,
            signalled: Signalled::default(),
            wall_steps: Vec::new(),
        });
        Feed {
            shared: shared.clone(),
            name: options.source.shown(),
            tail,
            pipeline: pipeline.downgrade(),
            clock_rate_hz,
            source: None,
            dts: None,
        }
    }

    /// Whether the stream's codec is known and pictures can be pushed.
    pub(super) fn is_set(&self) -> bool {
        self.source.is_some()
    }

    /// The stream's codec, with its configuration record where its NAL units stand behind their lengths.
    pub(super) fn configure(&mut self, coding: Coding, record: Option<&[u8]>) -> Result<(), MediaError> {
        let format = match (record, coding) {
            (None, _) => "byte-stream",
            (Some(_), Coding::H264) => "avc",
            (Some(_), Coding::H265) => "hvc1",
        };
        let mut caps = gst::Caps::builder(coding.media_type())
            .field("stream-format", format)
            .field("alignment", "au");
        if let Some(record) = record {
            caps = caps.field("codec_data", gst::Buffer::from_slice(record.to_owned()));
        }
        let caps = caps.build();
        if let Some((source, known)) = &self.source {
            if *known != coding {
                return Err(self.broken("it changed its codec"));
            }
            source.set_caps(Some(&caps));
            return Ok(());
        }
        let source = AppSrc::builder()
            .caps(&caps)
            .format(gst::Format::Time)
            // rtmp2src is no live source to GStreamer: the pipeline does not run before its first picture is decoded,
            // and a live appsrc would hold that back until it runs.
            .is_live(false)
            .max_bytes(FEED_BYTES)
            .block(true)
            .build();
        let pipeline = self
            .pipeline
            .upgrade()
            .ok_or_else(|| internal("the pipeline is gone"))?;
        pipeline
            .add(&source)
            .map_err(|_| internal("could not add the way into the decoder"))?;
        let pad = source
            .static_pad("src")
            .ok_or_else(|| internal("no src pad at appsrc"))?;
        self.tail.attach(&pad, coding.media_type(), |buffer| {
            decode::rtp_stamp(buffer).map(i64::from)
        })?;
        source
            .sync_state_with_parent()
            .map_err(|_| internal("the way into the decoder did not start"))?;
        self.source = Some((source, coding));
        Ok(())
    }

    /// Gives a picture to the decoder.
    pub(super) fn push(&mut self, unit: &Unit<'_>) -> Result<(), MediaError> {
        let Some((source, _)) = &self.source else {
            return Ok(());
        };
        // Times of the pipeline only order pictures; the mark is what times them.
        let dts32 = unit.pts.wrapping_sub(unit.composition as u32);
        let (first, last) = self.dts.unwrap_or((i64::from(dts32), i64::from(dts32)));
        let dts = last + i64::from(dts32.wrapping_sub(last as u32) as i32);
        self.dts = Some((first, dts));
        let in_pipeline = |ticks: i64| {
            let ns = i128::from(ticks - first) * 1_000_000_000 / i128::from(self.clock_rate_hz);
            gst::ClockTime::from_nseconds((LEAD_NS + ns as i64).max(0) as u64)
        };
        let mut buffer = gst::Buffer::from_slice(unit.data.to_owned());
        {
            let buffer = buffer.make_mut();
            buffer.set_dts(in_pipeline(dts));
            buffer.set_pts(in_pipeline(dts + unit.composition));
            if !unit.keyframe {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
            decode::mark_rtp(buffer, unit.pts);
        }
        locked(&self.shared.ledger).arrived(i64::from(unit.pts), unit.arrival);
        match source.push_buffer(buffer) {
            Ok(_) | Err(gst::FlowError::Flushing) => Ok(()),
            Err(error) => Err(self.broken(&format!("the decoder takes no more: {error}"))),
        }
    }

    /// UTC of the picture with time stamp `pts`, by the stream itself.
    pub(super) fn stamp(&self, kind: StampKind, pts: u32, utc: synoptic_base::Utc, arrival: Mono) {
        if let Some(Timing::Rtp { timebase, .. }) = &mut *locked(&self.shared.timing) {
            timebase.stamp(kind, pts, utc, arrival);
        }
    }

    /// How much faster than the box's clock the stream's runs, once that is measured.
    pub(super) fn drift_ppm(&self) -> Option<f64> {
        match &*locked(&self.shared.timing) {
            Some(Timing::Rtp { timebase, .. }) => timebase.health().drift_ppm,
            _ => None,
        }
    }

    /// The stream's time stamps begin anew with the next picture.
    pub(super) fn restart(&mut self) {
        self.dts = None;
        if let Some(Timing::Rtp { timebase, .. }) = &mut *locked(&self.shared.timing) {
            timebase.restart();
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        let ended = match &self.source {
            Some((source, _)) => source.end_of_stream().is_ok(),
            None => false,
        };
        if !ended {
            self.shared.fail(MediaError::NoVideo {
                source_name: self.name.clone(),
                why: "the server ended the stream before any picture came".to_owned(),
            });
        }
    }

    pub(super) fn broken(&self, why: &str) -> MediaError {
        MediaError::Broken {
            source_name: self.name.clone(),
            why: why.to_owned(),
        }
    }
}
