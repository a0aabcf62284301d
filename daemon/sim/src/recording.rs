//! What a virtual camera sees, without barcode and clock, as a video file: for tests of cameras that are files.

use std::path::Path;

use gst::prelude::*;
use synoptic_base::{Span, Utc};

use crate::camera::CameraError;
use crate::scene::{OVERLAY_REGION, Scene};

/// Longest wait for the file to be finished.
const FINISH: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// Writes an MP4 file with H.264 video: view `view` of `scene` from `from` on, for `length`.
///
/// # Errors
/// GStreamer or the encoder is not there, or the file cannot be written.
pub fn record(
    path: &Path,
    scene: &Scene,
    view: usize,
    from: Utc,
    length: Span,
    fps: u32,
) -> Result<(), CameraError> {
    gst::init()?;
    let fail = |why: String| CameraError::Clip {
        path: path.to_owned(),
        why,
    };
    let size = scene.size();
    let strip = (OVERLAY_REGION.h * size.height as f32).ceil() as usize * size.width as usize;
    let pipeline = gst::parse::launch(&format!(
        "appsrc name=in format=time caps=video/x-raw,format=I420,width={},height={},framerate={fps}/1 ! \
         x264enc speed-preset=ultrafast tune=zerolatency key-int-max={fps} ! h264parse ! mp4mux ! \
         filesink name=out",
        size.width, size.height
    ))?
    .downcast::<gst::Pipeline>()
    .map_err(|_| fail("no pipeline".to_owned()))?;
    let part = |name| pipeline.by_name(name).ok_or_else(|| fail(format!("no {name}")));
    part("out")?.set_property("location", path);
    let source = part("in")?
        .downcast::<gst_app::AppSrc>()
        .map_err(|_| fail("no appsrc".to_owned()))?;
    let started = pipeline.set_state(gst::State::Playing);
    let written = started.map_err(|e| e.to_string()).and_then(|_| {
        let frame = Span::from_nanos(1_000_000_000 / i64::from(fps.max(1)));
        for i in 0..length.as_nanos() / frame.as_nanos().max(1) {
            let at = Span::from_nanos(frame.as_nanos() * i);
            let mut picture = scene.render(view, from + at, "");
            // A file has no capture time to show, and a strip that changes with every frame is motion.
            picture.luma_mut()[..strip].fill(16);
            let mut buffer = gst::Buffer::from_mut_slice(picture.into_bytes());
            let data = buffer.make_mut();
            data.set_pts(gst::ClockTime::from_nseconds(at.as_nanos() as u64));
            data.set_duration(gst::ClockTime::from_nseconds(frame.as_nanos() as u64));
            source.push_buffer(buffer).map_err(|e| e.to_string())?;
        }
        source.end_of_stream().map_err(|e| e.to_string())?;
        finished(&pipeline)
    });
    // Stopping a pipeline that failed may fail too; what matters was said before.
    let _ = pipeline.set_state(gst::State::Null);
    written.map_err(fail)
}

fn finished(pipeline: &gst::Pipeline) -> Result<(), String> {
    let bus = pipeline.bus().ok_or("no bus")?;
    let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus.timed_pop_filtered(FINISH, &wanted);
    match message.as_ref().map(|m| m.view()) {
        Some(gst::MessageView::Eos(_)) => Ok(()),
        Some(gst::MessageView::Error(e)) => Err(e.error().to_string()),
        _ => Err(format!("was not finished within {FINISH}")),
    }
}
