//! Video files, played at their own pace: the moment at which a frame is due is the moment it "was captured".

use std::sync::Arc;

use gst::prelude::*;
use synoptic_base::Span;

use super::decode::{self, Tail, internal};
use super::sound::make_queue;
use super::{SessionOptions, Shared, Timing, locked};
use crate::{MediaError, Source};

/// A frame is stamped with the time at which it is due, which is exact by definition; the clock it is due on is read
/// to this.
const PLAY_ERROR: Span = Span::from_millis(1);

pub(super) fn build(
    pipeline: &gst::Pipeline,
    options: &SessionOptions,
    tail: Tail,
    shared: &Arc<Shared>,
) -> Result<(), MediaError> {
    let Source::File { path, .. } = &options.source else {
        return Err(internal("not a file"));
    };
    let name = options.source.shown();
    if let Err(error) = std::fs::File::open(path) {
        return Err(MediaError::Unreachable {
            source_name: name,
            why: error.to_string(),
        });
    }
    *locked(&shared.timing) = Some(Timing::Played {
        bias: options.capture_bias,
        bias_error: options.capture_bias_error + PLAY_ERROR,
    });
    let source = decode::make("filesrc")?;
    source.set_property("location", path);
    let parse = decode::make("parsebin")?;
    let failed = |_| internal("could not assemble the file reader");
    pipeline.add_many([&source, &parse]).map_err(failed)?;
    source.link(&parse).map_err(failed)?;
    let on_pad = shared.clone();
    parse.connect_pad_added(move |_, pad| {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let Some(media_type) = caps.structure(0).map(|s| s.name().to_string()) else {
            return;
        };
        let video = media_type.starts_with("video/") || media_type == "image/jpeg";
        let pipeline = pad
            .parent_element()
            .and_then(|e| e.parent())
            .and_downcast::<gst::Pipeline>();
        if media_type.starts_with("audio/")
            && let (Some(sound), Some(pipeline)) = (on_pad.sound.get(), &pipeline)
            && sound.claim(0)
        {
            if let Err(error) = sound.attach(pipeline, pad) {
                on_pad.fail(error);
            }
            return;
        }
        if !video || locked(&on_pad.codec).is_some() {
            // Sound and other streams are read and thrown away: unlinked, they would stop the reader.
            if let Err(error) = discard(pad) {
                on_pad.fail(error);
            }
            return;
        }
        let by_pts = |buffer: &gst::BufferRef| buffer.pts().map(|t| t.nseconds() as i64);
        let queued = match (on_pad.sound.get(), &pipeline) {
            (Some(_), Some(pipeline)) => queue(pipeline, pad),
            _ => Ok(pad.clone()),
        };
        if let Err(error) = queued.and_then(|pad| tail.attach(&pad, &media_type, by_pts)) {
            on_pad.fail(error);
            return;
        }
        // The ledger hears of a file's pictures when they are parsed: they arrive when they are read.
        let heard = on_pad.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(stamp) = info.buffer().and_then(|b| b.pts()) {
                let now = heard.clock.now();
                locked(&heard.ledger).arrived(stamp.nseconds() as i64, now);
            }
            gst::PadProbeReturn::Ok
        });
    });
    let ended = shared.clone();
    let no_video = move || {
        if let Some(sound) = ended.sound.get() {
            sound.no_more();
        }
        if locked(&ended.codec).is_none() {
            let why = "there is no video stream in it".to_owned();
            ended.fail(MediaError::NoVideo {
                source_name: name.clone(),
                why,
            });
        }
    };
    let at_end = no_video.clone();
    parse.connect_no_more_pads(move |_| no_video());
    // A file of one stream that is not parsed any further (raw sound) has no such signal.
    parse.connect("drained", false, move |_| {
        at_end();
        None
    });
    Ok(())
}

/// Puts a queue behind a pad, so that pictures that wait do not stop the sound.
fn queue(pipeline: &gst::Pipeline, pad: &gst::Pad) -> Result<gst::Pad, MediaError> {
    let failed = || internal("could not put a queue before the decoder");
    let queue = make_queue()?;
    pipeline.add(&queue).map_err(|_| failed())?;
    queue.sync_state_with_parent().map_err(|_| failed())?;
    let sink = queue.static_pad("sink").ok_or_else(failed)?;
    pad.link(&sink).map_err(|_| failed())?;
    queue.static_pad("src").ok_or_else(failed)
}

/// Links a pad to a sink that ignores what it gets.
fn discard(pad: &gst::Pad) -> Result<(), MediaError> {
    let sink = decode::make("fakesink")?;
    sink.set_property("sync", false);
    sink.set_property("async", false);
    let parent = pad
        .parent_element()
        .and_then(|e| e.parent())
        .and_downcast::<gst::Pipeline>();
    let failed = || internal("could not set a stream aside");
    parent.ok_or_else(failed)?.add(&sink).map_err(|_| failed())?;
    sink.sync_state_with_parent().map_err(|_| failed())?;
    pad.link(&sink.static_pad("sink").ok_or_else(failed)?)
        .map_err(|_| failed())?;
    Ok(())
}
