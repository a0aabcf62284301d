//! From a coded elementary stream to pictures in an appsink, the same for every kind of source.

use std::sync::{Arc, LazyLock};

use gst::prelude::*;
use gst_app::AppSink;
use synoptic_base::Rotation;

use super::nal::{self, Codec};
use super::{SessionOptions, Shared, locked};
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

/// Lets the decoder hand over the very picture it decoded into. Asked for an allocation, appsink does not say that rows
/// may be padded, and a decoder that pads (all of FFmpeg's) copies each picture into one without: 3 MB and 8 % of the
/// CPU time at 1080p. `VideoSurface` reads the strides.
fn take_any_stride(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        match info.query_mut().map(gst::QueryRef::view_mut) {
            Some(gst::QueryViewMut::Allocation(query)) => {
                query.add_allocation_meta::<gst_video::VideoMeta>(None);
                gst::PadProbeReturn::Handled
            }
            _ => gst::PadProbeReturn::Ok,
        }
    });
}

/// Makes an element, or says which package has it.
pub(super) fn make(factory: &str) -> Result<gst::Element, MediaError> {
    gst::ElementFactory::make(factory)
        .build()
        .map_err(|_| MediaError::Missing {
            what: format!("the GStreamer element `{factory}`"),
            package: match factory {
                "h264parse" | "h265parse" => "gstreamer1.0-plugins-bad",
                "decodebin" | "videoconvert" | "parsebin" => "gstreamer1.0-plugins-base",
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
        let (codec, parser) = match media_type {
            "video/x-h264" => (Some(Codec::H264), Some("h264parse")),
            "video/x-h265" => (Some(Codec::H265), Some("h265parse")),
            _ => (None, None),
        };
        *locked(&self.shared.codec) = Some(codec_name(media_type));
        let failed = |_| internal("could not assemble the decoder");
        let mut chain = Vec::new();
        if let Some(parser) = parser {
            chain.push(make(parser)?);
            let caps = gst::Caps::builder(media_type)
                .field("stream-format", "byte-stream")
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
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                if let Some(buffer) = info.buffer()
                    && let Some(stamp) = stamp(buffer)
                    && let Ok(map) = buffer.map_readable()
                {
                    let kind = nal::kind(codec, &map);
                    locked(&shared.ledger).parsed(stamp, kind);
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
