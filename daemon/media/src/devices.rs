//! Local V4L2 devices and what they offer.

use std::fs;
use std::path::{Path, PathBuf};

use crate::v4l2::modes::{self, Mode};

/// A local camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoDevice {
    /// `/dev/videoN`
    pub path: PathBuf,
    /// What the driver calls it.
    pub name: String,
    /// The driver.
    pub driver: String,
    /// Where it is plugged in: stays the same over restarts, unlike N.
    pub bus: String,
    /// One line a pixel format: its name, and its sizes with the frames a second that they run at.
    pub formats: Vec<String>,
}

/// Every device that gives video that can be read here, by number. Devices that cannot be opened are logged and
/// left out, and so are those that give something else (metadata, codecs).
pub fn list() -> Vec<VideoDevice> {
    let Ok(entries) = fs::read_dir("/dev") else {
        return Vec::new(); // no /dev, no devices
    };
    let mut numbers: Vec<u32> = entries
        .filter_map(|entry| {
            entry
                .ok()?
                .file_name()
                .to_str()?
                .strip_prefix("video")?
                .parse()
                .ok()
        })
        .collect();
    numbers.sort_unstable();
    numbers.into_iter().filter_map(describe).collect()
}

/// Whether a device is there and says what it can capture; also while somebody else reads it.
pub fn answers(path: &Path) -> bool {
    // Not VIDIOC_QUERYCAP, see below.
    v4l::Device::with_path(path).is_ok_and(|device| modes::read(&device, None).is_ok_and(|m| !m.is_empty()))
}

fn describe(number: u32) -> Option<VideoDevice> {
    let path = PathBuf::from(format!("/dev/video{number}"));
    let modes = match v4l::Device::with_path(&path) {
        // A node that captures nothing has no formats to capture in.
        Ok(device) => modes::read(&device, None).unwrap_or_default(),
        Err(error) => {
            log::warn!("{}: {error}", path.display());
            return None;
        }
    };
    if modes.is_empty() {
        return None;
    }
    // From sysfs and not by VIDIOC_QUERYCAP: the crate panics where a name of 32 bytes ends within a letter.
    let about = PathBuf::from(format!("/sys/class/video4linux/video{number}"));
    let name = fs::read(about.join("name")).unwrap_or_default();
    Some(VideoDevice {
        formats: lines(&modes),
        name: String::from_utf8_lossy(&name).trim().to_owned(),
        driver: target(&about.join("device/driver")),
        bus: target(&about.join("device")),
        path,
    })
}

/// The last part of where a link points to; empty where there is none.
fn target(link: &Path) -> String {
    let target = fs::read_link(link).unwrap_or_default();
    target
        .file_name()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}

fn lines(modes: &[Mode]) -> Vec<String> {
    let mut lines: Vec<(&str, String)> = Vec::new();
    for mode in modes {
        match lines.last_mut() {
            Some((key, line)) if *key == mode.format.key() => *line += &format!(" {mode}"),
            _ => lines.push((mode.format.key(), format!("{}: {mode}", mode.format.key()))),
        }
    }
    lines.into_iter().map(|(_, line)| line).collect()
}

#[cfg(test)]
mod tests {
    use synoptic_base::Size;

    use super::*;
    use crate::V4l2Format;
    use crate::v4l2::modes::{Interval, Rates};

    #[test]
    fn one_line_a_format_with_sizes_and_rates() {
        let mode = |format, width, rates: &[(u32, u32)]| Mode {
            format,
            fourcc: *b"test",
            size: Size::new(width, 480),
            rates: Rates::Listed(rates.iter().filter_map(|(n, d)| Interval::new(*n, *d)).collect()),
        };
        let modes = [
            mode(V4l2Format::Yuyv, 640, &[(1, 30), (1001, 30_000)]),
            mode(V4l2Format::Yuyv, 800, &[(2, 15)]),
            mode(V4l2Format::Mjpeg, 640, &[(1, 60)]),
        ];
        assert_eq!(
            lines(&modes),
            ["yuyv: 640x480@30/29.97 800x480@7.5", "mjpeg: 640x480@60"]
        );
    }
}
