//! Cameras: `[[camera]]`.

use synoptic_base::{Rotation, Size, Span};
use synoptic_media::{CameraOptions, PullKind, RtspTransport, Source, V4l2Format};

use super::{Context, belongs_elsewhere};
use crate::config::raw;
use crate::config::reader::{Found, Section};
use crate::config::resolved::{Camera, CameraAttention};
use crate::config::units::parse_span;
use crate::config::words::nearest;
use crate::config::{secret, source};

/// Below half a second every keyframe of a slow camera is a stall; above ten minutes nothing is.
const STALL_AFTER: std::ops::RangeInclusive<Span> = Span::from_millis(500)..=Span::from_secs(600);
/// A camera whose stamps are more than ten seconds late has another fault.
const MAX_BIAS_MS: f64 = 10_000.0;
/// Frames a second: slow-motion cameras of this class end here.
const FPS: std::ops::RangeInclusive<i64> = 1..=240;
/// Width and height in pixels: from a thumbnail to 8K.
const PIXELS: std::ops::RangeInclusive<u32> = 16..=8192;

const RTSP_KEYS: [&str; 2] = ["sub_source", "transport"];
const NETWORK_KEYS: [&str; 4] = ["user", "password", "tls_insecure", "tls_ca"];
const FILE_KEYS: [&str; 1] = ["repeat"];
const DEVICE_KEYS: [&str; 3] = ["format", "size", "fps"];

/// A camera as other tables refer to it.
pub(super) struct Listed<'r> {
    /// Its id as it is written, also when it is wrong.
    pub(super) id: Option<&'r str>,
    /// Where it is written.
    pub(super) place: Found<()>,
    /// The camera, unless something is wrong with it.
    pub(super) camera: Option<Camera>,
}

pub(super) fn cameras<'r>(
    root: &Section<'r, '_>,
    context: &Context<'_>,
    detectors: &[String],
) -> Vec<Listed<'r>> {
    let mut all: Vec<Listed<'r>> = Vec::new();
    for section in root.sections("camera") {
        let id = section.find("id").and_then(|f| f.value.as_str());
        let camera = camera(&section, context, detectors);
        section.finish(belongs_elsewhere);
        if let Some(place) = section
            .find("id")
            .filter(|_| all.iter().any(|c| c.id.is_some() && c.id == id))
        {
            let message = format!("two cameras have the id `{}`", id.unwrap_or("?"));
            section
                .reader
                .error_at(&place, message, "give one of them another id");
        }
        all.push(Listed {
            id,
            place: section.place(),
            camera,
        });
    }
    all
}

fn camera(section: &Section<'_, '_>, context: &Context<'_>, detectors: &[String]) -> Option<Camera> {
    let id = section.id("id");
    let id = section.need("id", id, "\"cam1\"");
    let name = section.filled("name");
    let enabled = section.flag("enabled");
    let source = source(section, context);
    let rotation = rotation(section);
    let detector = detector(section, detectors);
    let ignore = section.regions("ignore");
    let attention = CameraAttention {
        max_fps: section.number("detect_max_fps", 0.1..=240.0).map(|f| f.value),
        region: section.region("detect_region"),
    };
    let stall_after = section.span("stall_after", STALL_AFTER);
    let audio = section.flag("audio");
    let motion_vectors = section.flag("motion_vectors");
    let bias = section.number("capture_bias_ms", -MAX_BIAS_MS..=MAX_BIAS_MS);
    let bias_error = section.number("capture_bias_error_ms", 0.0..=MAX_BIAS_MS);

    let (id, source) = (id?.value, source?);
    if audio == Some(true) && !matches!(source, Source::Rtsp { .. } | Source::File { .. }) {
        section.out_of_place(
            "audio",
            "is for RTSP cameras and files: no sound is taken from this source",
        );
    }
    let default_bias_error = raw::bias_error_ms(&source);
    let span = |ms: Found<f64>| Span::from_secs_f64(ms.value / 1e3);
    Some(Camera {
        options: CameraOptions {
            id,
            source,
            rotation,
            stall_after: stall_after.or_else(|| parse_span(raw::STALL_AFTER))?,
            capture_bias: bias.map_or(Span::ZERO, span),
            capture_bias_error: bias_error.map_or(Span::from_millis(default_bias_error), span),
        },
        name: name.map_or_else(|| id.to_string(), |n| n.value.to_owned()),
        enabled: enabled.unwrap_or(true),
        detector,
        ignore: ignore.unwrap_or_default(), // without the key nothing is ignored
        attention,
        audio: audio.unwrap_or(false),
        motion_vectors: motion_vectors.unwrap_or(false),
    })
}

fn source(section: &Section<'_, '_>, context: &Context<'_>) -> Option<Source> {
    let reader = section.reader;
    let text = section.text("source");
    let text = section.need("source", text, "\"rtsp://host/path\"");
    // Every key is read, whatever the source is, so that all that is wrong is found at once.
    let sub = section.text("sub_source");
    let sub_url = sub.and_then(|sub| match source::rtsp_url(sub.value) {
        Ok(url) => Some(url),
        Err(error) => {
            reader.error_at(&sub, error.message, error.hint);
            None
        }
    });
    let user = section.filled("user").map(|u| u.value.to_owned());
    let password = secret::read(section, "password", context.folder, context.machine);
    let transports = [("tcp", RtspTransport::Tcp), ("udp", RtspTransport::Udp)];
    let transport = section.choice("transport", &transports);
    let tls_insecure = section.flag("tls_insecure");
    let tls_ca = section.filled("tls_ca");
    let repeat = section.flag("repeat");
    let formats = [
        V4l2Format::Mjpeg,
        V4l2Format::Yuyv,
        V4l2Format::Uyvy,
        V4l2Format::Nv12,
        V4l2Format::I420,
        V4l2Format::Grey,
        V4l2Format::H264,
        V4l2Format::H265,
    ]
    .map(|format| (format.key(), format));
    let format = section.choice("format", &formats);
    let size = size(section);
    let fps = section.integer("fps", FPS);

    let text = text?;
    let parsed = match source::parse_source(text.value, context.folder) {
        Ok(parsed) => parsed,
        Err(error) => {
            reader.error_at(&text, error.message, error.hint);
            return None;
        }
    };
    let foreign = |keys: &[&str], why: &str| keys.iter().for_each(|key| section.out_of_place(key, why));
    match parsed {
        Source::Rtsp { url, .. } => {
            foreign(&FILE_KEYS, "is for files, and this source is RTSP");
            foreign(&DEVICE_KEYS, "is for /dev/videoN, and this source is RTSP");
            login_is_whole(section);
            let tls = tls_keys(section, &url, tls_insecure, tls_ca.as_ref());
            if let (
                true,
                Some(Found {
                    value: RtspTransport::Udp,
                    ..
                }),
            ) = (tls, &transport)
                && let Some(place) = section.find("transport")
            {
                let message = "RTP over UDP is not encrypted, although the address says rtsps://";
                reader.warn_at(&place, message, "use transport = \"tcp\"");
            }
            Some(Source::Rtsp {
                url,
                sub_url,
                transport: transport.map(|t| t.value).unwrap_or_default(), // TCP
                user,
                password,
                tls_insecure: tls_insecure.unwrap_or(false),
                tls_ca: tls_ca.map(|ca| context.folder.join(ca.value)),
            })
        }
        Source::Pull { kind, url, .. } => {
            let why = format!("is for RTSP, and this source is {}", kind.name());
            foreign(&RTSP_KEYS, &why);
            let why = format!("is for files, and this source is {}", kind.name());
            foreign(&FILE_KEYS, &why);
            let why = format!("is for /dev/videoN, and this source is {}", kind.name());
            foreign(&DEVICE_KEYS, &why);
            login_is_whole(section);
            let tls = tls_keys(section, &url, tls_insecure, tls_ca.as_ref());
            if tls && kind == PullKind::Rtmp {
                section.out_of_place(
                    "tls_ca",
                    "is for rtsps:// and https://; for rtmps:// add the certificate to the system's",
                );
            }
            Some(Source::Pull {
                kind,
                url,
                user,
                password,
                tls_insecure: tls_insecure.unwrap_or(false),
                tls_ca: tls_ca.map(|ca| context.folder.join(ca.value)),
            })
        }
        Source::File { path, .. } => {
            foreign(&RTSP_KEYS, "is for RTSP, and this source is a file");
            foreign(&NETWORK_KEYS, "is for network cameras, and this source is a file");
            foreign(&DEVICE_KEYS, "is for /dev/videoN, and this source is a file");
            Some(Source::File {
                path,
                repeat: repeat.unwrap_or(true),
            })
        }
        Source::V4l2 { device, .. } => {
            foreign(&RTSP_KEYS, "is for RTSP, and this source is a device");
            foreign(
                &NETWORK_KEYS,
                "is for network cameras, and this source is a device",
            );
            foreign(&FILE_KEYS, "is for files, and this source is a device");
            Some(Source::V4l2 {
                device,
                format: format.map(|f| f.value),
                size,
                fps: fps.and_then(|f| u32::try_from(f.value).ok()),
            })
        }
    }
}

fn login_is_whole(section: &Section<'_, '_>) {
    if section.has("password") && !section.has("user") {
        section.missing("user", "a password needs a user: add user = \"…\"");
    }
}

/// Checks the keys of TLS against an address. Whether that is over TLS.
fn tls_keys(section: &Section<'_, '_>, url: &str, insecure: Option<bool>, ca: Option<&Found<&str>>) -> bool {
    let scheme = source::scheme(url);
    let tls = matches!(scheme.as_deref(), Some("rtsps" | "rtmps" | "https"));
    if !tls {
        section.out_of_place("tls_insecure", "is for rtsps://, rtmps:// and https://");
        section.out_of_place("tls_ca", "is for rtsps:// and https://");
    }
    if let (Some(true), Some(ca)) = (insecure, ca) {
        let message = "with `tls_insecure` no certificate is checked, so this file is never used";
        section
            .reader
            .error_at(ca, message, "remove one of the two lines");
    }
    tls
}

fn size(section: &Section<'_, '_>) -> Option<Size> {
    let text = section.text("size")?;
    let hint = format!(
        "write width x height in pixels, {} to {} each, such as \"1280x720\"",
        PIXELS.start(),
        PIXELS.end()
    );
    let Some((width, height)) = text
        .value
        .split_once('x')
        .and_then(|(w, h)| Some((w.parse::<u32>().ok()?, h.parse::<u32>().ok()?)))
    else {
        let message = format!("`{}` is no size", text.value);
        section.reader.error_at(&text, message, hint);
        return None;
    };
    if !PIXELS.contains(&width) || !PIXELS.contains(&height) {
        let message = format!("`{}` is out of range", text.value);
        section.reader.error_at(&text, message, hint);
        return None;
    }
    Some(Size::new(width, height))
}

fn rotation(section: &Section<'_, '_>) -> Rotation {
    let Some(degrees) = section.integer("rotate", i64::MIN..=i64::MAX) else {
        return Rotation::None;
    };
    match degrees.value {
        0 => Rotation::None,
        90 => Rotation::Quarter,
        180 => Rotation::Half,
        270 => Rotation::ThreeQuarter,
        other => {
            let message = format!("a picture cannot be turned by {other} degrees");
            section
                .reader
                .error_at(&degrees, message, "use 0, 90, 180 or 270");
            Rotation::None
        }
    }
}

fn detector(section: &Section<'_, '_>, detectors: &[String]) -> Option<String> {
    let Some(name) = section.text("detector") else {
        return Some(raw::MOTION.to_owned());
    };
    if name.value == raw::NO_DETECTOR {
        return None;
    }
    if !detectors.iter().any(|d| d == name.value) {
        let known = detectors.iter().map(String::as_str).chain([raw::NO_DETECTOR]);
        let hint = match nearest(name.value, known.clone()) {
            Some(better) => format!("did you mean `{better}`?"),
            None => format!(
                "add a [[detector]] of that name, or use one of: {}",
                known.collect::<Vec<_>>().join(", ")
            ),
        };
        let message = format!("there is no detector `{}`", name.value);
        section.reader.error_at(&name, message, hint);
    }
    Some(name.value.to_owned())
}
