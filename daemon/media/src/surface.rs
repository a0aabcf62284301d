//! Decoded pictures in host memory.

use gst_video::prelude::*;
use synoptic_base::{PixelFormat, Plane, Planes, Size, Surface, SurfaceError};

/// A decoded picture, mapped for reading for as long as it lives.
pub struct VideoSurface {
    frame: gst_video::VideoFrame<gst_video::video_frame::Readable>,
    format: PixelFormat,
}

impl VideoSurface {
    /// Takes a buffer of NV12 or I420 video.
    pub fn new(buffer: gst::Buffer, info: &gst_video::VideoInfo) -> Result<VideoSurface, SurfaceError> {
        let format = match info.format() {
            gst_video::VideoFormat::Nv12 => PixelFormat::Nv12,
            gst_video::VideoFormat::I420 => PixelFormat::I420,
            other => return Err(SurfaceError(format!("format {other} is neither NV12 nor I420"))),
        };
        let frame = gst_video::VideoFrame::from_buffer_readable(buffer, info)
            .map_err(|_| SurfaceError("GStreamer could not map the buffer".to_owned()))?;
        for plane in 0..frame.n_planes() {
            frame.plane_data(plane).map_err(|e| SurfaceError(e.to_string()))?;
        }
        Ok(VideoSurface { frame, format })
    }

    fn plane(&self, index: u32) -> Plane<'_> {
        // `new` has read every plane once, so this never falls back.
        let data = self.frame.plane_data(index).unwrap_or(&[]);
        Plane {
            data,
            stride: self.frame.plane_stride()[index as usize].unsigned_abs() as usize,
        }
    }
}

impl Surface for VideoSurface {
    fn size(&self) -> Size {
        Size::new(self.frame.width(), self.frame.height())
    }

    fn format(&self) -> PixelFormat {
        self.format
    }

    fn with_planes(&self, read: &mut dyn FnMut(Planes<'_>)) -> Result<(), SurfaceError> {
        read(match self.format {
            PixelFormat::Nv12 => Planes::Nv12 {
                y: self.plane(0),
                uv: self.plane(1),
            },
            PixelFormat::I420 => Planes::I420 {
                y: self.plane(0),
                u: self.plane(1),
                v: self.plane(2),
            },
        });
        Ok(())
    }
}
