//! Virtual cameras: `[[virtual_camera]]`.

use synoptic_base::{Ptz, Size};
use synoptic_vision::panorama::ViewShape;

use super::belongs_elsewhere;
use super::camera::Listed;
use super::output::tables;
use crate::config::raw_virtual_camera as raw;
use crate::config::reader::{Found, Section};
use crate::config::resolved::{Panorama, ViewSource, VirtualCamera};
use crate::config::words::nearest;

const WIDTH: std::ops::RangeInclusive<i64> = 16..=7_680;
const HEIGHT: std::ops::RangeInclusive<i64> = 16..=4_320;
const HFOV: std::ops::RangeInclusive<f64> = 1.0..=360.0;
const CAMERA_HFOV: std::ops::RangeInclusive<f64> = 5.0..=170.0;
const PAN: std::ops::RangeInclusive<f64> = -180.0..=180.0;
const TILT: std::ops::RangeInclusive<f64> = -90.0..=90.0;
const ZOOM: std::ops::RangeInclusive<f64> = 1.0..=32.0;
const SPEED: std::ops::RangeInclusive<f64> = 0.1..=360.0;
const ACCELERATION: std::ops::RangeInclusive<f64> = 0.1..=1_000.0;
/// A plane cannot show more.
const FLAT_HFOV: f64 = 170.0;

/// The virtual cameras, in the order of the file; those with `enabled = false` are here too.
pub(super) fn virtual_cameras(
    root: &Section<'_, '_>,
    cameras: &[Listed<'_>],
    panoramas: &[Panorama],
) -> Vec<VirtualCamera> {
    let named = tables(root, "panorama");
    let mut ids: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for section in root.sections("virtual_camera") {
        let one = virtual_camera(&section, cameras, &named, panoramas, &mut ids);
        section.finish(belongs_elsewhere);
        found.extend(one);
    }
    found
}

fn virtual_camera(
    section: &Section<'_, '_>,
    cameras: &[Listed<'_>],
    named: &[String],
    panoramas: &[Panorama],
    ids: &mut Vec<String>,
) -> Option<VirtualCamera> {
    let reader = section.reader;
    let id = section.id("id");
    let id = section.need("id", id, "\"stage\"");
    if let Some(id) = &id {
        let text = id.value.as_str();
        if ids.iter().any(|i| i == text) {
            let message = format!("two virtual cameras have the id `{text}`");
            reader.error_at(id, message, "give one of them another id");
        }
        if named.iter().any(|n| n == text) || cameras.iter().any(|c| c.id == Some(text)) {
            let message = format!("`{text}` is the id of a camera or a panorama");
            reader.error_at(id, message, "give it another id: all name streams");
        }
        ids.push(text.to_owned());
    }
    let name = section.filled("name").map(|n| n.value.to_owned());
    let stream = section.id("stream");
    let stream = section.need("stream", stream, "\"whole-yard\"");
    let enabled = section.flag("enabled").unwrap_or(true);
    let size = size(section);
    let shapes = [
        ("rectilinear", ViewShape::Rectilinear),
        ("cylindrical", ViewShape::Cylindrical),
        ("crop", ViewShape::Crop),
    ];
    let shape = section
        .choice("projection", &shapes)
        .map_or(ViewShape::Rectilinear, |s| s.value);
    let hfov = section.number("hfov", HFOV);
    if let Some(hfov) = hfov
        .as_ref()
        .filter(|h| h.value > FLAT_HFOV && shape == ViewShape::Rectilinear)
    {
        let message = format!("a plane cannot show {} degrees", hfov.value);
        reader.error_at(
            hfov,
            message,
            "write 170 or less, or projection = \"cylindrical\"",
        );
    }
    let number = |key, range, default| section.number(key, range).map_or(default, |n| n.value);
    let camera_hfov = number("camera_hfov", CAMERA_HFOV, raw::CAMERA_HFOV);
    let home = Ptz {
        pan_deg: number("pan", PAN, 0.0),
        tilt_deg: number("tilt", TILT, 0.0),
        zoom: number("zoom", ZOOM, 1.0),
    };
    let max_zoom = number("max_zoom", ZOOM, raw::MAX_ZOOM);
    let speed_deg_s = number("speed", SPEED, raw::SPEED);
    let acceleration_deg_s2 = number("acceleration", ACCELERATION, raw::ACCELERATION);
    let follow = section
        .choice("follow", &[("none", false), ("action", true)])
        .is_some_and(|f| f.value);
    let labels = section.texts("labels");
    let stream = stream?;
    let text = stream.value.as_str();
    let camera = cameras.iter().find(|c| c.id == Some(text));
    let source = match (camera, named.iter().any(|n| n == text)) {
        (Some(_), _) => ViewSource::Camera {
            hfov_deg: camera_hfov,
        },
        (None, true) => ViewSource::Panorama,
        (None, false) => {
            unknown(section, &stream, cameras, named);
            return None;
        }
    };
    if source == ViewSource::Panorama {
        section.out_of_place(
            "camera_hfov",
            "is for a camera; of a panorama the calibration knows",
        );
    }
    let id = id?.value;
    let runs = match source {
        ViewSource::Camera { .. } => camera.is_some_and(|c| c.camera.as_ref().is_none_or(|c| c.enabled)),
        ViewSource::Panorama => panoramas.iter().any(|p| p.id == stream.value && p.enabled),
    };
    if enabled && !runs && !reader.failed() {
        let message = format!("virtual camera `{id}` has nothing to look at: `{text}` does not run");
        reader.warn_at(&stream, message, "enable that, or write enabled = false here");
    }
    Some(VirtualCamera {
        id,
        name: name.unwrap_or_else(|| id.to_string()),
        stream: stream.value,
        source,
        enabled,
        size: size?,
        shape,
        hfov_deg: hfov.map(|h| h.value),
        home,
        max_zoom: max_zoom.max(home.zoom),
        speed_deg_s,
        acceleration_deg_s2,
        follow,
        labels: labels
            .unwrap_or_default() // without the key all are followed
            .iter()
            .map(|l| l.value.to_owned())
            .collect(),
    })
}

fn size(section: &Section<'_, '_>) -> Option<Size> {
    let side = |key, range, default: u32| {
        let found = section.integer(key, range);
        let Some(found) = found else {
            return (!section.has(key)).then_some(default);
        };
        if found.value % 2 != 0 {
            let message = format!("{} is odd", found.value);
            section
                .reader
                .error_at(&found, message, "a coded picture has even sides");
        }
        u32::try_from(found.value).ok()
    };
    let (width, height) = (
        side("width", WIDTH, raw::WIDTH),
        side("height", HEIGHT, raw::HEIGHT),
    );
    Some(Size::new(width?, height?))
}

fn unknown(
    section: &Section<'_, '_>,
    stream: &Found<synoptic_base::StreamId>,
    cameras: &[Listed<'_>],
    named: &[String],
) {
    let known = named
        .iter()
        .map(String::as_str)
        .chain(cameras.iter().filter_map(|c| c.id));
    let hint = match nearest(stream.value.as_str(), known) {
        Some(better) => format!("did you mean `{better}`?"),
        None => "write the id of a [[panorama]] or a [[camera]]".to_owned(),
    };
    let message = format!("there is no camera or panorama `{}`", stream.value);
    section.reader.error_at(stream, message, hint);
}
