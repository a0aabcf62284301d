//! What the tests share: frames with metadata, the mirror folder, clips through ffmpeg.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use synoptic_base::{
    Captured, Epoch, FrameKey, FrameKind, FrameMeta, MediaTime, Mono, PixelFormat, Planes, Seq, Size, Span,
    StreamId, Surface, SurfaceError, TimeSource,
};

use crate::PictureBuf;

/// Metadata of frame `seq` of a stream of `fps` frames a second.
pub(crate) fn meta(stream: &str, epoch: u32, seq: u64, fps: f64, size: Size) -> FrameMeta {
    let at = Span::from_secs_f64(seq as f64 / fps);
    FrameMeta {
        key: FrameKey {
            stream: StreamId::new(stream).unwrap(),
            epoch: Epoch(epoch),
            media_us: MediaTime::from_micros(at.as_micros_floor()),
        },
        seq: Seq(seq),
        arrival: Mono::from_nanos(0) + at,
        captured: Captured {
            mono: Mono::from_nanos(0) + at,
            rel_error: Span::ZERO,
            source: TimeSource::Host,
        },
        size,
        kind: FrameKind::Unknown,
    }
}

/// A picture whose pixels cannot be read any more.
pub(crate) struct Gone(pub(crate) Size);

impl Surface for Gone {
    fn size(&self) -> Size {
        self.0
    }
    fn format(&self) -> PixelFormat {
        PixelFormat::Nv12
    }
    fn with_planes(&self, _: &mut dyn FnMut(Planes<'_>)) -> Result<(), SurfaceError> {
        Err(SurfaceError("the device is gone".to_owned()))
    }
}

/// `path` in the folder SYNOPTIC_MIRROR names, else in `../shared` beside the workspace. `None`, said aloud, when
/// it is not there.
pub(crate) fn mirror(path: &str) -> Option<PathBuf> {
    let workspace = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let roots = [
        std::env::var_os("SYNOPTIC_MIRROR").map(PathBuf::from),
        Some(workspace.join("../shared")),
        Some(workspace.join("../../shared")),
    ];
    let found = roots
        .into_iter()
        .flatten()
        .map(|root| root.join(path))
        .find(|p| p.exists());
    if found.is_none() {
        eprintln!("SKIPPED: no {path}: set SYNOPTIC_MIRROR to a folder that has it");
    }
    found
}

/// Frames of a video file, decoded by the ffmpeg command to I420. Ends a test's clip early when dropped.
pub(crate) struct Clip {
    child: std::process::Child,
    size: Size,
}

impl Clip {
    /// `None`, said aloud, when there is no ffmpeg.
    pub(crate) fn open(path: &std::path::Path, size: Size) -> Option<Clip> {
        let child = Command::new("ffmpeg")
            .args(["-v", "error", "-threads", "1", "-i"])
            .arg(path)
            .args(["-f", "rawvideo", "-pix_fmt", "yuv420p", "-vsync", "0", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        match child {
            Ok(child) => Some(Clip { child, size }),
            Err(e) => {
                eprintln!("SKIPPED: cannot run ffmpeg ({e}): install it to test on real clips");
                None
            }
        }
    }
}

impl Iterator for Clip {
    type Item = PictureBuf;
    fn next(&mut self) -> Option<PictureBuf> {
        let mut data = vec![0; PictureBuf::bytes(self.size)];
        self.child.stdout.as_mut()?.read_exact(&mut data).ok()?;
        PictureBuf::new(self.size, PixelFormat::I420, data).ok()
    }
}

impl Drop for Clip {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
