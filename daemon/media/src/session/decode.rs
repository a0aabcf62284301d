//! From a coded elementary stream to pictures in an appsink, the same for every kind of source.

use std::sync::{Arc, LazyLock};

use gst::prelude::*;
use gst_app::AppSink;
use synoptic_base::{FrameKind, Mono, Rotation};

use super::hdrext;
use super::nal::{self, Codec, Framing};
use super::tap::Parsed;
use super::{SessionOptions, Shared, Timing, locked};
use crate::coded::{self, AccessUnit};
use crate::{MediaError, Source};

/// Pictures that wait between decoder and session. The decoder stops when it is full: nothing is lost here.
const SINK_BUFFERS: u32 = 2;

/// Caps of the reference timestamp that carries a frame's RTP time through the decoder. Metas survive depayloader,
/// parser and software decoders on GStreamer 1.20 and 1.22 alike.
static X_RTP: LazyLock<gst::Caps> = LazyLock::new(|| gst::Caps::new_empty_simple("timestamp/x-rtp"));

/// Marks a packet with its RTP timestamp.
pub(super) fn mark_rtp(buffer: &mut gst::BufferRef, rtp: u32) {
    let time = gst::ClockTime::from_nseconds(u64::from(rtp));
    gst::ReferenceTimestampMeta::add(buffer, &X_RTP, time, gst::ClockTime::NONE);
}

/// The RTP timestamp of the first packet of a picture.
pub(super) fn rtp_stamp(buffer: &gst::BufferRef) -> Option<u32> {
    let mut metas = buffer.iter_meta::<gst::ReferenceTimestampMeta>();
    metas
        .find(|m| m.reference().is_strictly_equal(&X_RTP))
        .map(|m| m.timestamp().nseconds() as u32)
}

/// The appsink at the end. Files are played at their own pace, live sources as they come.
pub(super) fn make_sink(options: &SessionOptions) -> AppSink {
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", gst::List::new(["NV12", "I420"]))
        .build();
    let sink = AppSink::builder()
        .caps(&caps)
        .max_buffers(SINK_BUFFERS)
        .drop(false)
        .sync(matches!(options.source, Source::File { .. }))
        .enable_last_sample(false)
        .build();
    if let Some(pad) = sink.static_pad("sink") {
        take_any_stride(&pad);
    }
    sink
}

/// Lets the decoder hand over the very picture it decoded into. Asked for an allocation, appsink says nothing of padded
/// rows and offers no pool; decoders that pad (FFmpeg's) then copy each picture into one without, where the coded size is
/// not the shown one (1080 rows are coded as 1088): 3 MB a picture, 2 % of the CPU time. `VideoSurface` reads the strides.
fn take_any_stride(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        let Some(gst::QueryViewMut::Allocation(query)) = info.query_mut().map(gst::QueryRef::view_mut) else {
            return gst::PadProbeReturn::Ok;
        };
        query.add_allocation_meta::<gst_video::VideoMeta>(None);
        let caps = query.get_owned().0;
        if let Some(info) = caps.and_then(|c| gst_video::VideoInfo::from_caps(&c).ok()) {
            // As many pictures as are held, no more and no less: the queues bound that.
            let pool = gst_video::VideoBufferPool::new();
            query.add_allocation_pool(Some(&pool), info.size() as u32, 0, 0);
        }
        gst::PadProbeReturn::Handled
    });
}

/// Makes an element, or says which package has it.
pub(super) fn make(factory: &str) -> Result<gst::Element, MediaError> {
    gst::ElementFactory::make(factory)
        .build()
        .map_err(|_| MediaError::Missing {
            what: format!("the GStreamer element `{factory}`"),
            package: match factory {
                "h264parse" | "h265parse" | "rtmp2src" => "gstreamer1.0-plugins-bad",
                "decodebin" | "videoconvert" | "parsebin" | "appsrc" | "appsink" => {
                    "gstreamer1.0-plugins-base"
                }
                _ => "gstreamer1.0-plugins-good",
            },
        })
}

/// Decoder and what follows it, waiting to be linked to a coded stream.
#[derive(Clone)]
pub(super) struct Tail {
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    /// Sink pad of the part behind the decoder.
    raw: gst::Pad,
    shared: Arc<Shared>,
}

impl Tail {
    /// Adds rotation, conversion and `sink` to the pipeline.
    pub(super) fn new(
        pipeline: &gst::Pipeline,
        sink: &AppSink,
        rotation: Rotation,
        shared: &Arc<Shared>,
    ) -> Result<Tail, MediaError> {
        let mut chain = Vec::new();
        if rotation != Rotation::None {
            let flip = make("videoflip")?;
            flip.set_property_from_str(
                "method",
                match rotation {
                    Rotation::None => "none",
                    Rotation::Quarter => "clockwise",
                    Rotation::Half => "rotate-180",
                    Rotation::ThreeQuarter => "counterclockwise",
                },
            );
            chain.push(flip);
        }
        chain.push(make("videoconvert")?);
        chain.push(sink.clone().upcast());
        let failed = |_| internal("could not assemble the part behind the decoder");
        pipeline.add_many(&chain).map_err(failed)?;
        gst::Element::link_many(&chain).map_err(failed)?;
        let raw = chain[0]
            .static_pad("sink")
            .ok_or_else(|| internal("no sink pad behind the decoder"))?;
        Ok(Tail {
            pipeline: pipeline.downgrade(),
            raw,
            shared: shared.clone(),
        })
    }

    /// Takes pictures that need no decoder; `format` is what people call it.
    pub(super) fn attach_raw(&self, pictures: &gst::Pad, format: &str) -> Result<(), MediaError> {
        *locked(&self.shared.codec) = Some(format!("raw {}", format.to_uppercase()));
        pictures
            .link(&self.raw)
            .map_err(|e| internal(&format!("could not link the raw stream: {e}")))?;
        Ok(())
    }

    /// Decodes what comes out of `coded`; called from a streaming thread. `stamp` names a parsed buffer as the
    /// ledger does.
    pub(super) fn attach(
        &self,
        coded: &gst::Pad,
        media_type: &str,
        stamp: fn(&gst::BufferRef) -> Option<i64>,
    ) -> Result<(), MediaError> {
        let pipeline = self
            .pipeline
            .upgrade()
            .ok_or_else(|| internal("the pipeline is gone"))?;
        // Whole pictures, framed as the depayloader likes it: to turn one framing into the other costs a scan of every
        // byte, and decodebin does it where the decoder needs it.
        let (codec, parser, framings) = match media_type {
            "video/x-h264" => (Some(Codec::H264), Some("h264parse"), ["avc", "byte-stream"]),
            "video/x-h265" => (Some(Codec::H265), Some("h265parse"), ["hvc1", "byte-stream"]),
            _ => (None, None, [""; 2]),
        };
        *locked(&self.shared.codec) = Some(codec_name(media_type));
        let failed = |_| internal("could not assemble the decoder");
        let mut chain = Vec::new();
        if let Some(parser) = parser {
            chain.push(make(parser)?);
            let caps = gst::Caps::builder(media_type)
                .field("stream-format", gst::List::new(framings))
                .field("alignment", "au")
                .build();
            chain.push(
                gst::ElementFactory::make("capsfilter")
                    .property("caps", &caps)
                    .build()
                    .map_err(failed)?,
            );
        }
        // decodebin takes whichever decoder ranks best, and the next one where that fails to start.
        let decoder = make("decodebin")?;
        chain.push(decoder.clone());
        let raw = self.raw.clone();
        let shared = self.shared.clone();
        decoder.connect_pad_added(move |_, pad| {
            if raw.is_linked() {
                return;
            }
            if let Err(error) = pad.link(&raw) {
                shared.fail(internal(&format!("could not link the decoder: {error}")));
            }
        });
        pipeline.add_many(&chain).map_err(failed)?;
        gst::Element::link_many(&chain).map_err(failed)?;
        if let (Some(codec), Some(filter)) = (codec, chain.get(1)) {
            let pad = filter
                .static_pad("src")
                .ok_or_else(|| internal("no src pad at the parser"))?;
            let shared = self.shared.clone();
            let clocks = std::sync::Mutex::new(nal::ClockReader::default());
            let kinds = std::sync::Mutex::new(nal::KindReader::new(codec));
            pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
                if let Some(buffer) = info.buffer()
                    && let Some(stamp) = stamp(buffer)
                    && let Some(framing) = framing(pad)
                    && let Ok(map) = buffer.map_readable()
                {
                    let kind = locked(&kinds).kind(framing, &map, || codec_data(pad));
                    let arrival = locked(&shared.ledger).parsed(stamp, kind);
                    if codec == Codec::H264 {
                        tap(&shared, pad, buffer, stamp, kind, framing, arrival);
                    }
                    let utc = nal::sei_utc(codec, framing, &map).or_else(|| {
                        let mut clocks = locked(&clocks);
                        if codec != Codec::H264 {
                            return None;
                        }
                        if !clocks.knows()
                            && let Some(data) = codec_data(pad)
                        {
                            clocks.codec_data(&data);
                        }
                        clocks.utc(framing, &map, || shared.clock.sample().realtime)
                    });
                    if let Some((utc, arrival)) = utc.zip(arrival) {
                        hdrext::sei(&shared, stamp, utc, arrival);
                    }
                }
                gst::PadProbeReturn::Ok
            });
        }
        for element in chain.iter().rev() {
            element.sync_state_with_parent().map_err(failed)?;
        }
        let sink = chain[0]
            .static_pad("sink")
            .ok_or_else(|| internal("no sink pad at the decoder"))?;
        coded
            .link(&sink)
            .map_err(|e| internal(&format!("could not link the coded stream: {e}")))?;
        Ok(())
    }
}

/// Offers a picture to those who want it coded.
fn tap(
    shared: &Shared,
    pad: &gst::Pad,
    buffer: &gst::Buffer,
    stamp: i64,
    kind: FrameKind,
    framing: Framing,
    arrival: Option<Mono>,
) {
    let Some(tap) = &shared.tap else { return };
    if matches!(&*locked(&shared.timing), Some(Timing::Played { .. })) {
        let segment = pad.sticky_event::<gst::event::Segment>(0);
        let segment = segment.and_then(|e| e.segment().downcast_ref::<gst::ClockTime>().cloned());
        *locked(&shared.segment) = segment;
    }
    // Parameter sets count with an I picture only.
    let caps = pad.current_caps().filter(|_| kind == FrameKind::I);
    let codec_data = caps.and_then(|c| c.structure(0)?.get::<gst::Buffer>("codec_data").ok());
    let parsed = Parsed {
        stamp,
        arrival: arrival.unwrap_or_else(|| shared.clock.now()),
        kind,
        unit: AccessUnit {
            buffer: buffer.clone(),
            framing: match framing {
                Framing::StartCodes => coded::Framing::StartCodes,
                Framing::Lengths => coded::Framing::Lengths,
            },
        },
        codec_data,
    };
    tap.parsed(parsed, |asked| shared.foretell(asked));
}

/// How the NAL units that leave a parser are framed.
fn framing(pad: &gst::Pad) -> Option<Framing> {
    let caps = pad.current_caps()?;
    let format = caps.structure(0)?.get::<&str>("stream-format").ok()?;
    Some(match format {
        "byte-stream" => Framing::StartCodes,
        _ => Framing::Lengths,
    })
}

/// The parameter sets of a stream that has them in its caps.
fn codec_data(pad: &gst::Pad) -> Option<Vec<u8>> {
    let caps = pad.current_caps()?;
    let data = caps.structure(0)?.get::<gst::Buffer>("codec_data").ok()?;
    Some(data.map_readable().ok()?.to_vec())
}

/// Something that only a bug or a broken installation of GStreamer explains.
pub(super) fn internal(what: &str) -> MediaError {
    MediaError::Broken {
        source_name: "GStreamer".to_owned(),
        why: what.to_owned(),
    }
}

fn codec_name(media_type: &str) -> String {
    match media_type {
        "video/x-h264" => "H.264",
        "video/x-h265" => "H.265",
        "image/jpeg" => "MJPEG",
        "video/x-raw" => "raw",
        other => other.trim_start_matches("video/x-"),
    }
    .to_owned()
}
