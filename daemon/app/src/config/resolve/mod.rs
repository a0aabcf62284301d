//! From the text's tree to a [`Config`] that cannot be wrong. Everything is read and checked, whatever else is
//! wrong; only at the end does an error mean that there is no configuration.

mod camera;
mod detector;
mod group;
mod mqtt;
mod output;
mod packets;
mod panorama;
mod place;
mod virtual_camera;
mod webrtc;

use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::raw;
use super::reader::{Reader, Section};
use super::resolved::Config;
use super::surroundings::Surroundings;

/// What the parts need to know besides their table.
pub(super) struct Context<'c> {
    /// Folder that relative paths begin at.
    pub(super) folder: &'c Path,
    /// The machine.
    pub(super) machine: &'c dyn Surroundings,
}

impl Context<'_> {
    /// A program by its path, or by its name alone, which is searched on the PATH.
    fn program(&self, text: &str) -> PathBuf {
        match Path::new(text).parent() {
            Some(folder) if folder.as_os_str().is_empty() => PathBuf::from(text),
            _ => self.folder.join(text),
        }
    }
}

/// Reads the whole file. `None` when something is missing or wrong, which `reader` then knows.
pub(super) fn config<'t>(reader: &Reader<'t>, root: &DeTable<'t>, context: &Context<'_>) -> Option<Config> {
    let root = Section::root(reader, root);
    if !version(&root) {
        return None;
    }
    let device = place::device(&root, context);
    let web = place::web(&root, context);
    let store = place::store(&root);
    let mqtt = mqtt::mqtt(&root, context);
    let detectors = detector::detectors(&root);
    let cameras = camera::cameras(&root, context, &detectors.names);
    let groups = group::groups(&root, &cameras);
    let packets = packets::packets(&root, context, device.as_ref(), &groups);
    if let Some(packets) = &packets {
        packets::motion_is_read(&root, &cameras, packets.as_ref(), &groups);
    }
    let panoramas = panorama::panoramas(&root, context, device.as_ref(), &cameras, &groups);
    let stitch_workers = panorama::workers(&root);
    let virtual_cameras = virtual_camera::virtual_cameras(&root, &cameras, &panoramas);
    let rtsp = output::rtsp(&root, context, device.as_ref(), web.as_ref());
    let outputs = output::outputs(&root, context, &cameras);
    root.finish(belongs_elsewhere);
    if reader.failed() {
        return None;
    }
    Some(Config {
        device: device?,
        cameras: cameras.into_iter().filter_map(|c| c.camera).collect(),
        groups,
        panoramas,
        virtual_cameras,
        stitch_workers,
        outputs,
        rtsp: rtsp?,
        detectors: detectors.list,
        store: store?,
        mqtt: mqtt?,
        packets: packets?,
        web: web?,
    })
}

/// Whether the file is of our version. A file of another version is not read further: its keys mean other things.
fn version(root: &Section<'_, '_>) -> bool {
    let hint = format!("add schema_version = {} at the top", raw::SCHEMA_VERSION);
    if !root.has("schema_version") {
        root.missing("schema_version", hint);
        // Probably only forgotten: read on.
        root.find("schema_version");
        return true;
    }
    let Some(version) = root.integer("schema_version", 1..=i64::from(u32::MAX)) else {
        return true;
    };
    if version.value != raw::SCHEMA_VERSION {
        let message = format!(
            "this file is of version {}, this program reads version {}",
            version.value,
            raw::SCHEMA_VERSION
        );
        root.reader.error_at(
            &version,
            message,
            "update Synoptic, or write the file for this version",
        );
        return false;
    }
    true
}

/// Where a key belongs that is often written at the wrong place.
fn belongs_elsewhere(key: &str) -> Option<&'static str> {
    Some(match key {
        "listen" | "tls_cert" | "tls_key" | "metrics_token" => "[web]",
        "data_dir" | "model_dirs" => "[device]",
        "root" | "tenant" | "ca" | "client_cert" | "client_key" | "home_assistant" | "url" => "[mqtt]",
        "allow" => "[mqtt.commands]",
        "stun" | "turn" => "[web.webrtc]",
        "keep_events" | "keep_detections" | "max_size" | "min_free" => "[store]",
        "source"
        | "sub_source"
        | "transport"
        | "tls_insecure"
        | "tls_ca"
        | "repeat"
        | "format"
        | "size"
        | "fps"
        | "rotate"
        | "stall_after"
        | "ignore"
        | "detect_max_fps"
        | "detect_region"
        | "motion_vectors"
        | "audio"
        | "capture_bias_ms"
        | "capture_bias_error_ms"
        | "enabled" => "[[camera]]",
        "cameras"
        | "tolerance"
        | "max_wait"
        | "max_initial_stream_offset"
        | "max_read_errors"
        | "frame_packet_buffer_maxsize" => "[[group]]",
        "workers" => "[stitch]",
        "pixels" | "dir" | "max_memory" | "groups" | "motion_helper" => "[packets]",
        "method" | "learned_rate" | "calibration" | "auto_calibrate" | "projection" | "crop" | "hfov"
        | "blend" | "missing" | "patience" => "[[panorama]]",
        "camera_hfov" | "pan" | "tilt" | "zoom" | "max_zoom" | "speed" | "acceleration" | "follow" => {
            "[[virtual_camera]]"
        }
        "stream" | "serve" | "path" | "transcode" | "bitrate_kbps" | "gop_s" | "width" | "height"
        | "encoder" => "[[output]]",
        "model" | "threshold" | "labels" | "threads" | "engine" | "library" | "kind" | "precision"
        | "device" | "fallback" | "every" | "gate" => "[[detector]]",
        _ => return None,
    })
}
