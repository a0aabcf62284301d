//! A video file as coded pictures in memory, to be sent over and over without coding it again.

use std::path::Path;

use gst::prelude::*;
use synoptic_base::Span;

use super::CameraError;

/// Largest clip, in bytes of coded video: it is held in memory.
const MAX_BYTES: usize = 256 << 20;
/// Longest wait for the next picture of a local file.
const READ_TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(10);
/// A clip whose last picture has no duration gets that of 25 pictures a second.
const LAST_PICTURE: Span = Span::from_millis(40);

/// One coded picture.
pub(super) struct Coded {
    pub buffer: gst::Buffer,
    /// When it is to be sent, since the begin of the clip.
    pub sent: Span,
    /// When it is to be shown, since the same.
    pub shown: Span,
}

/// A whole clip, in coding order; the first picture is an I picture.
pub(super) struct Clip {
    pub caps: gst::Caps,
    pub pictures: Vec<Coded>,
    pub length: Span,
}

/// Reads an MP4 file with H.264 video.
pub(super) fn load(path: &Path) -> Result<Clip, CameraError> {
    let fail = |why: String| CameraError::Clip {
        path: path.to_owned(),
        why,
    };
    std::fs::File::open(path).map_err(|e| fail(format!("cannot be read: {e}")))?;
    let pipeline = gst::parse::launch(
        "filesrc name=file ! qtdemux ! h264parse ! \
         video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=out sync=false",
    )?
    .downcast::<gst::Pipeline>()
    .map_err(|_| fail("no pipeline".to_owned()))?;
    let part = |name| pipeline.by_name(name).ok_or_else(|| fail(format!("no {name}")));
    part("file")?.set_property("location", path);
    let sink = part("out")?
        .downcast::<gst_app::AppSink>()
        .map_err(|_| fail("no appsink".to_owned()))?;
    let started = pipeline.set_state(gst::State::Playing);
    let read = started
        .map_err(|e| e.to_string())
        .and_then(|_| read_all(&sink, &pipeline));
    // Stopping a pipeline that failed may fail too; what matters was said before.
    let _ = pipeline.set_state(gst::State::Null);
    read.map_err(|why| {
        fail(format!(
            "{why}; an MP4 file with H.264 video is needed (`ffmpeg -i IN -c:v libx264 -an OUT.mp4` makes one)"
        ))
    })
}

fn read_all(sink: &gst_app::AppSink, pipeline: &gst::Pipeline) -> Result<Clip, String> {
    let mut pictures: Vec<Coded> = Vec::new();
    let mut caps = None;
    let mut bytes = 0;
    let mut first = None;
    while let Some(sample) = sink.try_pull_sample(READ_TIMEOUT) {
        let Some(buffer) = sample.buffer() else { continue };
        caps = caps.or_else(|| sample.caps_owned());
        bytes += buffer.size();
        if bytes > MAX_BYTES {
            return Err(format!("has more than {} MiB of video", MAX_BYTES >> 20));
        }
        if pictures.is_empty() && buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) {
            continue;
        }
        let Some(sent) = buffer.dts_or_pts() else { continue };
        let shown = buffer.pts().unwrap_or(sent);
        let start = *first.get_or_insert(sent);
        let since = |t: gst::ClockTime| Span::from_nanos(t.nseconds() as i64 - start.nseconds() as i64);
        pictures.push(Coded {
            buffer: sample.buffer_owned().ok_or("a sample without a picture")?,
            sent: since(sent),
            shown: since(shown),
        });
    }
    if !sink.is_eos() {
        let bus = pipeline.bus().ok_or("no bus")?;
        let why = bus.pop_filtered(&[gst::MessageType::Error]);
        return Err(match why.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Error(e)) => e.error().to_string(),
            _ => "no picture for 10 s".to_owned(),
        });
    }
    let last = pictures.last().ok_or("holds no H.264 picture")?;
    let duration = last
        .buffer
        .duration()
        .map_or(LAST_PICTURE, |d| Span::from_nanos(d.nseconds() as i64));
    Ok(Clip {
        caps: caps.ok_or("no caps")?,
        length: last.sent + duration.max(Span::from_millis(1)),
        pictures,
    })
}
