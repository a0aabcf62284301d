//! Pictures into a video file: MP4 with H.264.

use std::path::{Path, PathBuf};

use gst::prelude::*;
use synoptic_base::{PixelFormat, Planes, Size, Span, Surface};

use crate::MediaError;

/// Longest wait for the file to be finished.
const FINISH: gst::ClockTime = gst::ClockTime::from_seconds(60);
/// Pictures that wait for the encoder before the writer waits: about 20 MB of 1080p.
const QUEUED_BYTES: u64 = 20_000_000;
/// Constant quality of x264: no visible loss.
const QUALITY: u32 = 20;

/// Writes a file. What is not [`finished`](MovieWriter::finish) cannot be played.
pub struct MovieWriter {
    path: PathBuf,
    size: Size,
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
}

impl MovieWriter {
    /// Begins a file of pictures of `size`, both sides even; one that is there is replaced.
    ///
    /// # Errors
    /// [`MediaError`] when an element is not installed or the file cannot be written.
    pub fn create(path: &Path, size: Size) -> Result<MovieWriter, MediaError> {
        let broken = |why: String| MediaError::Broken {
            source_name: path.display().to_string(),
            why,
        };
        if gst::ElementFactory::find("x264enc").is_none() {
            return Err(MediaError::Missing {
                what: "x264enc".to_owned(),
                package: "gstreamer1.0-plugins-ugly",
            });
        }
        let text = format!(
            "appsrc name=in format=time block=true max-bytes={QUEUED_BYTES} \
             caps=video/x-raw,format=NV12,width={},height={},framerate=0/1 ! x264enc pass=quant quantizer={QUALITY} \
             speed-preset=veryfast ! h264parse ! mp4mux faststart=true ! filesink name=out",
            size.width, size.height
        );
        let pipeline = gst::parse::launch(&text)
            .map_err(|e| broken(e.to_string()))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| broken("no pipeline".to_owned()))?;
        let part = |name: &str| pipeline.by_name(name).ok_or_else(|| broken(format!("no {name}")));
        part("out")?.set_property("location", path);
        let source = part("in")?
            .downcast::<gst_app::AppSrc>()
            .map_err(|_| broken("no appsrc".to_owned()))?;
        let writer = MovieWriter {
            path: path.to_owned(),
            size,
            pipeline,
            source,
        };
        match writer.pipeline.set_state(gst::State::Playing) {
            Ok(_) => Ok(writer),
            Err(e) => Err(writer.failed(e.to_string())),
        }
    }

    /// Adds a picture of NV12 that is shown from `at` on, counted from the beginning; times only grow.
    ///
    /// # Errors
    /// [`MediaError`] when the picture is another kind or size, or the file cannot be written.
    pub fn write(&mut self, picture: &dyn Surface, at: Span) -> Result<(), MediaError> {
        if picture.size() != self.size || picture.format() != PixelFormat::Nv12 {
            return Err(self.failed(format!(
                "a picture of {:?} {:?}",
                picture.size(),
                picture.format()
            )));
        }
        let (w, h) = (self.size.width as usize, self.size.height as usize);
        let mut bytes = Vec::with_capacity(w * h * 3 / 2);
        picture
            .with_planes(&mut |planes| {
                if let Planes::Nv12 { y, uv } = planes {
                    for (plane, rows) in [(y, h), (uv, h / 2)] {
                        for row in 0..rows {
                            bytes.extend_from_slice(&plane.data[row * plane.stride..][..w]);
                        }
                    }
                }
            })
            .map_err(|e| self.failed(e.to_string()))?;
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        let time = u64::try_from(at.as_nanos()).map_err(|_| self.failed("a time before 0".to_owned()))?;
        buffer.make_mut().set_pts(gst::ClockTime::from_nseconds(time));
        self.source
            .push_buffer(buffer)
            .map(|_| ())
            .map_err(|e| self.failed(e.to_string()))
    }

    /// Finishes the file.
    ///
    /// # Errors
    /// [`MediaError`] when it cannot be written to its end.
    pub fn finish(self) -> Result<(), MediaError> {
        self.source
            .end_of_stream()
            .map_err(|e| self.failed(e.to_string()))?;
        let bus = self
            .pipeline
            .bus()
            .ok_or_else(|| self.failed("no bus".to_owned()))?;
        let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = bus.timed_pop_filtered(FINISH, &wanted);
        match message.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Eos(_)) => Ok(()),
            Some(gst::MessageView::Error(e)) => Err(self.failed(e.error().to_string())),
            _ => Err(self.failed(format!("it was not finished within {FINISH}"))),
        }
    }

    /// What the pipeline says of a failure is nearer to its cause than what the caller saw.
    fn failed(&self, why: String) -> MediaError {
        let said = self.pipeline.bus().and_then(|bus| {
            let message = bus.pop_filtered(&[gst::MessageType::Error])?;
            match message.view() {
                gst::MessageView::Error(e) => Some(e.error().to_string()),
                _ => None,
            }
        });
        MediaError::Broken {
            source_name: self.path.display().to_string(),
            why: said.unwrap_or(why),
        }
    }
}

impl Drop for MovieWriter {
    fn drop(&mut self) {
        // Stopping a pipeline that failed may fail too; what matters was said before.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
