//! Opening a device, setting its mode, and streaming from it.

use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::libc::POLLIN;
use synoptic_base::{Size, Span};
use synoptic_engine::timebase::{DriverStamp, StampClock, StampPoint};
use v4l::buffer::{Flags, Metadata, Type};
use v4l::format::{FieldOrder, Format};
use v4l::io::mmap::Stream as MmapStream;
use v4l::io::traits::{CaptureStream, Stream as _};
use v4l::video::Capture;
use v4l::video::capture::Parameters;
use v4l::{FourCC, Fraction};

use super::modes::{self, Interval};
use super::negotiate::{self, Wanted};
use crate::{MediaError, V4l2Format};

/// Buffers between driver and box: at 30 fps they bridge 100 ms in which this thread does not run.
const BUFFERS: u32 = 4;
/// Drivers ask for no more buffers than this (VIDEO_MAX_FRAME of videodev2.h).
const MAX_BUFFERS: usize = 32;

/// A mode as the driver confirmed it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Negotiated {
    pub format: V4l2Format,
    pub size: Size,
    /// Bytes from row to row of an uncompressed picture; 0 when the driver does not say.
    pub stride: u32,
    /// The driver's own word on the rate, if it has one.
    pub interval: Option<Interval>,
}

/// Opens a device and sets the mode that fits what is wanted.
pub(crate) fn open(path: &Path, wanted: &Wanted) -> Result<(v4l::Device, Negotiated), MediaError> {
    let fail = |doing: &str| {
        let doing = doing.to_owned();
        move |error: io::Error| explain(path, &doing, &error)
    };
    let device = v4l::Device::with_path(path).map_err(fail("opening it"))?;
    let modes = modes::read(&device, wanted.size).map_err(|error| match error.raw_os_error() {
        Some(code) if matches!(Errno::from_raw(code), Errno::EINVAL | Errno::ENOTTY) => no_video(
            path,
            "it is no camera that gives whole pictures (a codec, a metadata node, or a sensor that needs its own \
             pipeline); `synoptic devices` lists those that do",
        ),
        _ => explain(path, "reading its formats", &error),
    })?;
    let choice = negotiate::choose(&modes, wanted).map_err(|why| no_video(path, &why))?;
    let mut format = Format::new(choice.size.width, choice.size.height, FourCC::new(&choice.fourcc));
    format.field_order = FieldOrder::Any;
    let set = device.set_format(&format).map_err(fail("setting its format"))?;
    let got = Size::new(set.width, set.height);
    if set.fourcc.repr != choice.fourcc || got != choice.size {
        let why = format!(
            "asked for {} {}x{} its driver gives {} {}x{}; set `format` and `size` to what it gives",
            choice.format.key(),
            choice.size.width,
            choice.size.height,
            set.fourcc,
            got.width,
            got.height
        );
        return Err(no_video(path, &why));
    }
    if let Some(interval) = choice.interval {
        let fraction = Fraction::new(interval.numerator, interval.denominator);
        match device.set_params(&Parameters::new(fraction)) {
            Ok(_) => {}
            // Not every driver lets its rate be set; then it runs at its own.
            Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) => {
                return Err(explain(path, "setting its rate", &error));
            }
            Err(error) => log::info!("{}: its rate cannot be set: {error}", path.display()),
        }
    }
    let interval = device
        .params()
        .ok()
        .and_then(|p| Interval::new(p.interval.numerator, p.interval.denominator));
    let (asked, runs) = (wanted.fps, interval.map(Interval::fps));
    if let (Some(asked), Some(runs)) = (asked, runs)
        && (runs - f64::from(asked)).abs() > 0.5
    {
        log::warn!(
            "{}: asked for {asked} frames a second, in this format and size it runs at {runs:.1}",
            path.display()
        );
    }
    let negotiated = Negotiated {
        format: choice.format,
        size: got,
        stride: set.stride,
        interval,
    };
    Ok((device, negotiated))
}

/// A frame as the driver hands it out; its bytes are the driver's until the next one is asked for.
pub(crate) struct Taken<'s> {
    pub bytes: &'s [u8],
    pub stamp: DriverStamp,
    /// The driver says that data are missing.
    pub damaged: bool,
}

/// A device that streams.
pub(crate) struct Running {
    device: v4l::Device,
    /// Only `None` while being dropped.
    stream: Option<MmapStream<'static>>,
}

impl Running {
    /// Maps buffers and starts the stream.
    pub(crate) fn start(device: v4l::Device, path: &Path) -> Result<Running, MediaError> {
        let fail = |error: io::Error| explain(path, "starting it", &error);
        let stream = MmapStream::with_buffers(&device, Type::VideoCapture, BUFFERS).map_err(fail)?;
        let mut running = Running {
            device,
            stream: Some(stream),
        };
        if let Some(stream) = &mut running.stream {
            // `MmapStream::next` queues the buffer that was read before, at first number 0, and waits without end
            // or breaks when it waited in vain. So all others are queued here, and `next` is only called once `poll`
            // says that a frame is there. How many there are the crate does not tell: the driver refuses the rest.
            let mut queued = 0;
            for index in 1..MAX_BUFFERS {
                match CaptureStream::queue(stream, index) {
                    Ok(()) => queued = index,
                    Err(_) if queued > 0 => break,
                    Err(error) => return Err(fail(error)),
                }
            }
            stream.start().map_err(fail)?;
        }
        Ok(running)
    }

    /// The next frame, waiting for up to `timeout`; `None` when there is none in that time.
    pub(crate) fn next(&mut self, timeout: Span) -> io::Result<Option<Taken<'_>>> {
        let wait = i32::try_from(timeout.to_std().as_millis()).unwrap_or(i32::MAX);
        match self.device.handle().poll(POLLIN, wait) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
            Err(error) => return Err(error),
        }
        let Some(stream) = &mut self.stream else {
            return Ok(None);
        };
        let (bytes, meta) = stream.next()?;
        let used = bytes.get(..meta.bytesused as usize).unwrap_or(bytes);
        Ok(Some(Taken {
            bytes: used,
            stamp: stamp(meta),
            damaged: meta.flags.contains(Flags::ERROR) || used.is_empty(),
        }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut stream) = self.stream.take() else {
            return;
        };
        match stream.stop() {
            Ok(()) => drop(stream),
            Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => drop(stream),
            Err(error) => {
                // Dropped, it would try again and panic. A leaked descriptor costs less than the daemon.
                log::error!(
                    "a video device does not stop: {error}; it stays open until Synoptic is started anew"
                );
                std::mem::forget(stream);
            }
        }
    }
}

/// A buffer's stamp as `V4L2_BUF_FLAG_TIMESTAMP_MASK` and `V4L2_BUF_FLAG_TSTAMP_SRC_MASK` say it is to be read.
fn stamp(meta: &Metadata) -> DriverStamp {
    let clock = match meta.flags & Flags::TIMESTAMP_MASK {
        Flags::TIMESTAMP_MONOTONIC => StampClock::Monotonic,
        _ => StampClock::Other,
    };
    let point = match meta.flags & Flags::TSTAMP_SRC_MASK {
        Flags::TSTAMP_SRC_SOE => StampPoint::StartOfExposure,
        _ => StampPoint::EndOfFrame,
    };
    DriverStamp {
        at: Span::from_secs(meta.timestamp.sec) + Span::from_micros(meta.timestamp.usec),
        clock,
        point,
        sequence: meta.sequence,
    }
}

/// An error of the driver in words for the person who has to mend it.
pub(crate) fn explain(path: &Path, doing: &str, error: &io::Error) -> MediaError {
    let source_name = path.display().to_string();
    let unreachable = |why: String| MediaError::Unreachable {
        source_name: source_name.clone(),
        why,
    };
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => unreachable(
            "there is no such device; plug the camera in (`synoptic devices` lists what is there)".to_owned(),
        ),
        Some(Errno::EACCES | Errno::EPERM) => unreachable(
            "this user may not open it; add the user to the group `video` and start Synoptic anew".to_owned(),
        ),
        Some(Errno::EBUSY) => unreachable(format!(
            "another program uses it; close that one (`fuser -v {}` names it)",
            path.display()
        )),
        Some(Errno::ENOSPC) => unreachable(
            "its USB bus has no bandwidth left; use another port, `format = \"mjpeg\"`, or a smaller size"
                .to_owned(),
        ),
        Some(Errno::ENODEV | Errno::ENXIO) => MediaError::Broken {
            source_name,
            why: "it was unplugged, or its driver was stopped".to_owned(),
        },
        _ => MediaError::Broken {
            source_name,
            why: format!("{doing}: {error}"),
        },
    }
}

fn no_video(path: &Path, why: &str) -> MediaError {
    MediaError::NoVideo {
        source_name: path.display().to_string(),
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_say_how_a_stamp_is_to_be_read() {
        let read = |flags: u32| {
            let meta = Metadata {
                flags: Flags::from(flags),
                timestamp: v4l::timestamp::Timestamp::new(12, 345_678),
                sequence: 9,
                ..Metadata::default()
            };
            let s = stamp(&meta);
            assert_eq!((s.at, s.sequence), (Span::from_micros(12_345_678), 9));
            (s.clock, s.point)
        };
        // Values of videodev2.h; the low bits are MAPPED and DONE.
        assert_eq!(read(0x2005), (StampClock::Monotonic, StampPoint::EndOfFrame));
        assert_eq!(
            read(0x1_2005),
            (StampClock::Monotonic, StampPoint::StartOfExposure)
        );
        assert_eq!(read(0x4005), (StampClock::Other, StampPoint::EndOfFrame));
        assert_eq!(read(0x1_0005), (StampClock::Other, StampPoint::StartOfExposure));
    }

    #[test]
    fn errors_name_the_device_and_what_to_do() {
        let path = Path::new("/dev/video7");
        for (code, hint) in [
            (Errno::ENOENT, "plug the camera in"),
            (Errno::EACCES, "group `video`"),
            (Errno::EBUSY, "fuser -v /dev/video7"),
            (Errno::ENOSPC, "bandwidth"),
            (Errno::ENODEV, "unplugged"),
            (Errno::EPROTO, "starting it: Protocol error"),
        ] {
            let text = explain(path, "starting it", &io::Error::from_raw_os_error(code as i32)).to_string();
            assert!(text.contains("/dev/video7") && text.contains(hint), "{text}");
        }
        let missing = open(Path::new("/dev/video-none"), &Wanted::default())
            .err()
            .map(|e| e.to_string());
        assert!(missing.is_some_and(|e| e.contains("no such device")));
        // A file is no device.
        let null = open(Path::new("/dev/null"), &Wanted::default())
            .err()
            .map(|e| e.to_string());
        assert!(
            null.as_ref()
                .is_some_and(|e| e.contains("/dev/null gives no usable video")),
            "{null:?}"
        );
    }
}
