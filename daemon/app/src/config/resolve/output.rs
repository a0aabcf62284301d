//! What leaves the box: `[rtsp]`, `[[output]]`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use synoptic_base::{Size, Span, StreamId};
use synoptic_media::RtspTransport;
use synoptic_media::encode::{EncoderKind, FrameRate};
use synoptic_media::output::{HeaderTimes, Login, PushKind, PushOptions};
use toml::de::DeValue;

use super::camera::Listed;
use super::{Context, belongs_elsewhere};
use crate::config::raw_output::RTSP_LISTEN;
use crate::config::reader::{Found, Section};
use crate::config::resolved::{Device, Output, RtspConfig, RtspTls, WebConfig};
use crate::config::secret;
use crate::config::source::split_credentials;
use crate::config::words::nearest;
use crate::outputs::{OutputOptions, OutputTarget, OutputWish, Transcode};

const BITRATE: std::ops::RangeInclusive<i64> = 50..=200_000;
const GOP_S: std::ops::RangeInclusive<f64> = 0.1..=60.0;
const PIXELS: std::ops::RangeInclusive<i64> = 16..=16_384;
const FPS: std::ops::RangeInclusive<i64> = 1..=240;
/// Keys of what is pushed only, and of what is served only.
const PUSHED: [&str; 5] = ["user", "password", "transport", "tls_insecure", "tls_ca"];
const SERVED: [&str; 2] = ["path", "rtp_times"];
const EXAMPLE: &str = "rtmp://host/application/stream or rtsp://host:8554/path";

/// The RTSP server's address, login and certificate.
pub(super) fn rtsp(
    root: &Section<'_, '_>,
    context: &Context<'_>,
    device: Option<&Device>,
    web: Option<&WebConfig>,
) -> Option<RtspConfig> {
    let default: SocketAddr = RTSP_LISTEN.parse().ok()?;
    let Some(section) = root.section("rtsp") else {
        return Some(RtspConfig {
            listen: default,
            login: None,
            tls: None,
        });
    };
    let text = section.filled("listen");
    let user = section.filled("user");
    let password = secret::read(&section, "password", context.folder, context.machine);
    let encrypted = section.flag("tls").unwrap_or(false);
    section.finish(belongs_elsewhere);
    let listen = match &text {
        None => (!section.has("listen")).then_some(default),
        Some(text) => {
            let listen = text.value.parse::<SocketAddr>().ok();
            if listen.is_none() {
                let message = format!("`{}` is no address and port", text.value);
                let hint =
                    "write an IP address and a port: \"127.0.0.1:8554\", \"0.0.0.0:8554\", \"[::]:8554\"";
                section.reader.error_at(text, message, hint);
            }
            listen
        }
    };
    match (section.has("user"), section.has("password")) {
        (true, false) => section.missing(
            "password",
            "a user needs a password: add password = { file = \"…\" }",
        ),
        (false, true) => section.missing("user", "a password needs a user: add user = \"…\""),
        (false, false) => {
            if let (Some(text), Some(listen)) = (&text, listen)
                && !listen.ip().is_loopback()
            {
                // The page's password is kept as a hash that RTSP's Digest cannot be checked with.
                let message = "everyone in the network could watch: RTSP needs a user and a password here";
                let hint =
                    "add user = \"…\" and password = { file = \"…\" } to [rtsp], or listen on 127.0.0.1";
                section.reader.error_at(text, message, hint);
            }
        }
        (true, true) => {}
    }
    let login = user.zip(password).map(|(user, password)| Login {
        user: user.value.to_owned(),
        password,
    });
    // Where one of these is wrong it is told there, and nothing of this file is taken.
    let tls = device.zip(web).map(|(device, web)| RtspTls {
        own: web.tls.clone(),
        data_dir: device.data_dir.clone(),
    });
    Some(RtspConfig {
        listen: listen?,
        login,
        tls: tls.filter(|_| encrypted),
    })
}

/// The outputs, in the order of the file; those with `enabled = false` are here too.
pub(super) fn outputs(root: &Section<'_, '_>, context: &Context<'_>, cameras: &[Listed<'_>]) -> Vec<Output> {
    let streams = streams(root, cameras);
    let mut taken = Taken::default();
    let mut found = Vec::new();
    for section in root.sections("output") {
        let output = output(&section, context, &streams, &mut taken);
        section.finish(belongs_elsewhere);
        found.extend(output);
    }
    found
}

/// Ids and paths, and the output that has each.
#[derive(Default)]
struct Taken {
    ids: Vec<StreamId>,
    paths: BTreeMap<String, StreamId>,
}

/// Every camera, panorama and virtual camera of the file, whether it runs or not.
fn streams(root: &Section<'_, '_>, cameras: &[Listed<'_>]) -> Vec<String> {
    let mut ids: Vec<String> = cameras.iter().filter_map(|c| c.id.map(str::to_owned)).collect();
    ids.extend(tables(root, "panorama"));
    ids.extend(tables(root, "virtual_camera"));
    ids
}

/// The ids of the tables `[[key]]`, right or wrong: what is wrong with them is told where they are read.
pub(super) fn tables(root: &Section<'_, '_>, key: &'static str) -> Vec<String> {
    let mut ids = Vec::new();
    if let Some(DeValue::Array(tables)) = root.find(key).map(|p| p.value) {
        for table in tables {
            if let DeValue::Table(table) = table.get_ref()
                && let Some(id) = table.get("id")
                && let DeValue::String(id) = id.get_ref()
            {
                ids.push(id.to_string());
            }
        }
    }
    ids
}

fn output(
    section: &Section<'_, '_>,
    context: &Context<'_>,
    streams: &[String],
    taken: &mut Taken,
) -> Option<Output> {
    let reader = section.reader;
    let id = section.id("id");
    let id = section.need("id", id, "\"youtube\"");
    if let Some(id) = &id {
        if taken.ids.contains(&id.value) {
            let message = format!("two outputs have the id `{}`", id.value);
            reader.error_at(id, message, "give one of them another id");
        }
        taken.ids.push(id.value);
    }
    let stream = section.id("stream");
    let stream = section.need("stream", stream, "\"front\"");
    if let Some(stream) = &stream
        && !streams.iter().any(|s| s == stream.value.as_str())
    {
        let hint = match nearest(stream.value.as_str(), streams.iter().map(String::as_str)) {
            Some(better) => format!("did you mean `{better}`?"),
            None => "write the id of a [[camera]] or a [[panorama]]".to_owned(),
        };
        reader.error_at(
            stream,
            format!("there is no camera or panorama `{}`", stream.value),
            hint,
        );
    }
    let enabled = section.flag("enabled").unwrap_or(true);
    let audio = section.flag("audio").unwrap_or(true);
    let forms = [("standard", HeaderTimes::Standard), ("onvif", HeaderTimes::Onvif)];
    let header_times = section.choice("rtp_times", &forms);
    let options = options(section);
    let target = target(section, context, id.as_ref().map(|id| id.value), taken);
    let options = options?;
    Some(Output {
        enabled,
        wish: OutputWish {
            id: id?.value,
            stream: stream?.value,
            target: target?,
            options,
            audio,
            header_times: header_times.map(|h| h.value).unwrap_or_default(), // without the key `standard`
        },
    })
}

fn target(
    section: &Section<'_, '_>,
    context: &Context<'_>,
    id: Option<StreamId>,
    taken: &mut Taken,
) -> Option<OutputTarget> {
    let url = section.filled("url");
    let serve = section.choice("serve", &[("rtsp", ())]);
    let path = section.filled("path");
    let user = section.filled("user");
    let password = secret::read(section, "password", context.folder, context.machine);
    let transports = [("tcp", RtspTransport::Tcp), ("udp", RtspTransport::Udp)];
    let transport = section.choice("transport", &transports);
    let tls_insecure = section.flag("tls_insecure");
    let tls_ca = section.filled("tls_ca");
    match (section.has("url"), section.has("serve")) {
        (true, true) => {
            section.out_of_place(
                "serve",
                "`url` is here too: an output is pushed or served, write two for both",
            );
            return None;
        }
        (false, false) => {
            section.missing(
                "url",
                format!("say where to: url = \"{EXAMPLE}\", or serve = \"rtsp\""),
            );
            return None;
        }
        (false, true) => {
            for key in PUSHED {
                section.out_of_place(
                    key,
                    "is for what is pushed to a `url`; who may watch is in [rtsp]",
                );
            }
            serve?;
            let path = match path {
                Some(path) => checked_path(section, &path)?,
                None => id?.to_string(),
            };
            if let (Some(id), Some(other)) = (id, taken.paths.get(&path)) {
                let message = format!("`/{path}` is the path of output `{other}` already");
                section
                    .reader
                    .error_at(&section.place(), message, format!("give `{id}` another path"));
                return None;
            }
            taken.paths.insert(path.clone(), id?);
            return Some(OutputTarget::Serve { path });
        }
        (true, false) => {}
    }
    for key in SERVED {
        let hint = match key {
            "path" => "is for what is served: write it into `url`",
            _ => "is for what is served",
        };
        section.out_of_place(key, hint);
    }
    let url = url?;
    let mut push = push(section, &url)?;
    if section.has("password") && !section.has("user") {
        section.missing("user", "a password needs a user: add user = \"…\"");
    }
    if push.kind() == PushKind::Rtmp {
        section.out_of_place("transport", "is for rtsp:// and rtsps://");
    }
    if !push.tls() {
        section.out_of_place("tls_insecure", "is for TLS: write rtmps:// or rtsps:// in `url`");
    }
    if !(push.tls() && push.kind() == PushKind::Rtsp) {
        section.out_of_place("tls_ca", "is for rtsps://");
    }
    push.user = user.map(|u| u.value.to_owned());
    push.password = password;
    push.transport = transport.map_or_else(RtspTransport::default, |t| t.value);
    push.tls_insecure = tls_insecure.unwrap_or(false);
    push.tls_ca = tls_ca.map(|ca| context.folder.join(ca.value));
    Some(OutputTarget::Push(push))
}

fn push(section: &Section<'_, '_>, url: &Found<&str>) -> Option<PushOptions> {
    let reader = section.reader;
    let has_login = split_credentials(url.value).is_ok_and(|c| c.user.is_some() || c.password.is_some());
    if has_login {
        let message = "user and password do not belong into the address, where everyone sees them";
        let hint = "write user = \"…\" and password = { file = \"…\" } on lines of their own";
        reader.error_at(url, message, hint);
        return None;
    }
    if url.value.chars().any(char::is_whitespace) {
        reader.error_at(url, "there is a blank in the address", "write %20 for a blank");
        return None;
    }
    match PushOptions::new(url.value) {
        Ok(push) => Some(push),
        Err(message) => {
            reader.error_at(url, message, format!("write {EXAMPLE}"));
            None
        }
    }
}

fn checked_path(section: &Section<'_, '_>, path: &Found<&str>) -> Option<String> {
    let text = path.value.trim_start_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let good = |part: &str| !part.is_empty() && part.chars().all(plain) && part.chars().any(|c| c != '.');
    if text.split('/').all(good) {
        return Some(text.to_owned());
    }
    let message = format!("`{}` cannot be a path", path.value.escape_debug());
    section.reader.error_at(
        path,
        message,
        "use letters, digits, `_`, `-`, `.`, and `/` between them",
    );
    None
}

fn options(section: &Section<'_, '_>) -> Option<OutputOptions> {
    let words = [("auto", Transcode::Auto), ("always", Transcode::Always)];
    let transcode = section.choice("transcode", &words);
    let bitrate = section.integer("bitrate_kbps", BITRATE);
    let gop = section.number("gop_s", GOP_S);
    let (width, height) = (
        section.integer("width", PIXELS),
        section.integer("height", PIXELS),
    );
    let fps = section.integer("fps", FPS);
    let constant = section.flag("constant_fps").unwrap_or(false);
    if constant && !section.has("fps") {
        section.missing("fps", "a constant rate needs one: add fps = …");
    }
    let fps = fps.and_then(|f| u32::try_from(f.value).ok());
    let encoders = [
        ("nvidia", EncoderKind::Nvidia),
        ("va", EncoderKind::Va),
        ("x264", EncoderKind::X264),
        ("openh264", EncoderKind::OpenH264),
    ];
    let encoder = section.choice("encoder", &encoders);
    match (section.has("width"), section.has("height")) {
        (true, false) => section.missing("height", "`width` alone is no size: add height = …"),
        (false, true) => section.missing("width", "`height` alone is no size: add width = …"),
        _ => {}
    }
    for side in [&width, &height].into_iter().flatten() {
        if side.value % 2 != 0 {
            section.reader.error_at(
                side,
                format!("{} is odd", side.value),
                "a coded picture has even sides",
            );
        }
    }
    Some(OutputOptions {
        transcode: transcode.map_or(Transcode::Auto, |t| t.value),
        bitrate_kbit: bitrate.and_then(|b| u32::try_from(b.value).ok()),
        gop: gop.map(|g| Span::from_secs_f64(g.value)),
        size: width.zip(height).and_then(|(w, h)| {
            Some(Size::new(
                u32::try_from(w.value).ok()?,
                u32::try_from(h.value).ok()?,
            ))
        }),
        fps: fps.map(|fps| match constant {
            true => FrameRate::Constant(fps),
            false => FrameRate::AtMost(fps),
        }),
        encoder: encoder.map(|e| e.value),
    })
}
