//! The box, its page and its database: `[device]`, `[web]`, `[store]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use synoptic_base::{Span, StreamId};
use synoptic_media::webrtc::IceServers;

use super::{Context, belongs_elsewhere, webrtc};
use crate::config::raw;
use crate::config::reader::Section;
use crate::config::resolved::{Device, StoreConfig, WebConfig};
use crate::config::secret;
use crate::config::units::{parse_bytes, parse_span};
use crate::config::words::slug;

/// The id of a box whose host name is no id.
const FALLBACK_ID: &str = "synoptic";
/// Shortest and longest time that things may be kept.
const KEEP: std::ops::RangeInclusive<Span> = Span::from_secs(60)..=Span::from_secs(10 * 365 * 86_400);
/// Shortest token of `/metrics`: 128 bits in hex are 32 characters, and half of that cannot be guessed over a network.
const MIN_TOKEN: usize = 16;
/// The smallest database that still holds a day of events and the indices.
const MIN_STORE_BYTES: u64 = 10_000_000;
/// A petabyte: above it is a slip of the pen.
const MAX_STORE_BYTES: u64 = 1_000_000_000_000_000;

pub(super) fn device(root: &Section<'_, '_>, context: &Context<'_>) -> Option<Device> {
    let section = root.section("device");
    let section = section.as_ref();
    let id = section.and_then(|s| s.id("id")).map(|id| id.value);
    let name = section.and_then(|s| s.filled("name"));
    let data_dir = section.and_then(|s| s.filled("data_dir"));
    let model_dirs = section.and_then(|s| s.texts("model_dirs"));
    if let (Some(section), Some([])) = (section, model_dirs.as_deref()) {
        let place = section.find("model_dirs")?;
        section
            .reader
            .error_at(&place, "is empty", "name a folder or remove the line");
    }
    if let Some(section) = section {
        section.finish(belongs_elsewhere);
    }
    let id = id
        .or_else(|| slug(&context.machine.host_name()?))
        .or_else(|| StreamId::new(FALLBACK_ID).ok())?;
    let data_dir = context.folder.join(data_dir.map_or(raw::DATA_DIR, |d| d.value));
    let model_dirs = model_dirs.map_or_else(
        || vec![data_dir.join("models"), PathBuf::from(raw::SHARED_MODELS)],
        |dirs| dirs.iter().map(|d| context.folder.join(d.value)).collect(),
    );
    Some(Device {
        name: name.map_or_else(|| id.to_string(), |n| n.value.to_owned()),
        id,
        data_dir,
        model_dirs,
    })
}

pub(super) fn web(root: &Section<'_, '_>, context: &Context<'_>) -> Option<WebConfig> {
    let default: SocketAddr = raw::LISTEN.parse().ok()?;
    let Some(section) = root.section("web") else {
        return Some(WebConfig {
            listen: vec![default],
            tls: None,
            metrics_token: None,
            ice: IceServers::default(),
        });
    };
    let mut listen: Vec<SocketAddr> = Vec::new();
    if let Some(texts) = section.texts("listen") {
        if texts.is_empty()
            && let Some(place) = section.find("listen")
        {
            let hint = format!("name an address, such as \"{}\", or remove the line", raw::LISTEN);
            section.reader.error_at(&place, "is empty", hint);
        }
        for text in texts {
            match text.value.parse::<SocketAddr>() {
                Ok(address) if address.port() != 0 && listen.contains(&address) => {
                    section
                        .reader
                        .error_at(&text, format!("{address} is here twice"), "remove one");
                }
                Ok(address) => listen.push(address),
                Err(_) => {
                    let message = format!("`{}` is no address and port", text.value);
                    let hint =
                        "write an IP address and a port: \"127.0.0.1:8080\", \"0.0.0.0:8443\", \"[::]:8443\"";
                    section.reader.error_at(&text, message, hint);
                }
            }
        }
    } else {
        listen.push(default);
    }
    let tls = pair(&section, "tls_cert", "tls_key", context);
    let token = secret::read(&section, "metrics_token", context.folder, context.machine);
    if let (Some(token), Some(place)) = (&token, section.find("metrics_token"))
        && token.expose().len() < MIN_TOKEN
    {
        let message = format!("the token is shorter than {MIN_TOKEN} characters, and tries are not limited");
        let hint = "draw one: openssl rand -hex 32";
        section.reader.error_at(&place, message, hint);
    }
    let ice = webrtc::servers(&section, context);
    section.finish(belongs_elsewhere);
    Some(WebConfig {
        listen,
        tls,
        metrics_token: token,
        ice,
    })
}

/// Two files of which none is of use without the other.
pub(super) fn pair(
    section: &Section<'_, '_>,
    cert: &'static str,
    key: &'static str,
    context: &Context<'_>,
) -> Option<(PathBuf, PathBuf)> {
    let (cert_found, key_found) = (section.filled(cert), section.filled(key));
    match (section.has(cert), section.has(key)) {
        (true, false) => section.missing(
            key,
            format!("`{cert}` needs the file of its key: add {key} = \"…\""),
        ),
        (false, true) => section.missing(cert, format!("`{key}` needs its certificate: add {cert} = \"…\"")),
        _ => {}
    }
    Some((
        context.folder.join(cert_found?.value),
        context.folder.join(key_found?.value),
    ))
}

pub(super) fn store(root: &Section<'_, '_>) -> Option<StoreConfig> {
    let section = root.section("store");
    let section = section.as_ref();
    let span = |key, default| {
        let written = section.and_then(|s| s.span(key, KEEP));
        written.or_else(|| parse_span(default))
    };
    let keep_events = span("keep_events", raw::KEEP_EVENTS);
    let keep_detections = span("keep_detections", raw::KEEP_DETECTIONS);
    let max = section.and_then(|s| s.bytes("max_size", MIN_STORE_BYTES..=MAX_STORE_BYTES));
    let min_free = section.and_then(|s| s.bytes("min_free", 0..=MAX_STORE_BYTES));
    if let Some(section) = section {
        section.finish(belongs_elsewhere);
    }
    Some(StoreConfig {
        keep_events: keep_events?,
        keep_detections: keep_detections?,
        max_bytes: max.map(|m| m.value).or_else(|| parse_bytes(raw::MAX_SIZE))?,
        min_free_bytes: min_free.map(|m| m.value).or_else(|| parse_bytes(raw::MIN_FREE))?,
    })
}
