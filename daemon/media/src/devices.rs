//! Local V4L2 devices and what they offer.

use std::path::PathBuf;

use v4l::capability::Flags;
use v4l::context;
use v4l::framesize::FrameSizeEnum;
use v4l::video::Capture;

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
    /// One line a pixel format: its name and sizes.
    pub formats: Vec<String>,
}

/// Every device that captures video, by number. Devices that cannot be opened are logged and left out.
pub fn list() -> Vec<VideoDevice> {
    let mut nodes = context::enum_devices();
    nodes.sort_by_key(context::Node::index);
    nodes
        .iter()
        .filter_map(|node| describe(node.path().to_owned()))
        .collect()
}

fn describe(path: PathBuf) -> Option<VideoDevice> {
    let opened = v4l::Device::with_path(&path).and_then(|device| Ok((device.query_caps()?, device)));
    let (caps, device) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            log::warn!("{}: {error}", path.display());
            return None;
        }
    };
    // UVC cameras have a second node for metadata, codecs have nodes that capture nothing by themselves.
    if !caps.capabilities.contains(Flags::VIDEO_CAPTURE) {
        return None;
    }
    let formats = device.enum_formats().unwrap_or_else(|error| {
        log::warn!("{}: its formats cannot be listed: {error}", path.display());
        Vec::new()
    });
    let line = |format: &v4l::format::Description| {
        let sizes: Vec<String> = device
            .enum_framesizes(format.fourcc)
            .unwrap_or_else(|_| Vec::new()) // a driver may offer a format without a list of sizes
            .iter()
            .map(|s| match &s.size {
                FrameSizeEnum::Discrete(d) => format!("{}x{}", d.width, d.height),
                FrameSizeEnum::Stepwise(s) => {
                    format!(
                        "{}x{} to {}x{}",
                        s.min_width, s.min_height, s.max_width, s.max_height
                    )
                }
            })
            .collect();
        format!("{}: {}", format.fourcc, sizes.join(" "))
    };
    Some(VideoDevice {
        formats: formats.iter().map(line).collect(),
        name: caps.card,
        driver: caps.driver,
        bus: caps.bus,
        path,
    })
}
