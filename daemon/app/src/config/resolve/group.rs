//! Groups of cameras: `[[group]]`.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use synoptic_base::{Span, StreamId};
use synoptic_engine::align::AlignConfig;
use synoptic_media::Source;

use super::belongs_elsewhere;
use super::camera::Listed;
use crate::config::raw;
use crate::config::reader::{Found, Section};
use crate::config::resolved::Group;
use crate::config::units::parse_span;
use crate::config::words::nearest;

/// A packet is of one instant: a frame seconds away is of another.
const TOLERANCE: std::ops::RangeInclusive<Span> = Span::from_micros(100)..=Span::from_secs(5);
/// Frames that wait are held in memory, decoded.
const MAX_WAIT: std::ops::RangeInclusive<Span> = Span::from_millis(1)..=Span::from_secs(10);

/// Streams that start this far apart were not started together.
const MAX_INITIAL_STREAM_OFFSET: std::ops::RangeInclusive<Span> =
    Span::from_millis(1)..=Span::from_secs(3_600);
const MAX_READ_ERRORS: std::ops::RangeInclusive<i64> = 0..=1_000_000;
/// Packets hold decoded pictures of every camera.
const FRAME_PACKET_BUFFER_MAXSIZE: std::ops::RangeInclusive<i64> = -1..=1_000;

/// The groups whose cameras run; a group is left out when none of its cameras is enabled.
pub(super) fn groups(root: &Section<'_, '_>, cameras: &[Listed<'_>]) -> Vec<Group> {
    if !root.has("group") {
        // Asked for all the same, so that the key counts as known; there is nothing in it.
        let _ = root.sections("group");
        return main_group(cameras).into_iter().collect();
    }
    let mut ids: Vec<String> = Vec::new();
    let mut taken: BTreeMap<&str, String> = BTreeMap::new();
    let mut groups = Vec::new();
    for section in root.sections("group") {
        let reader = section.reader;
        let id = section.id("id");
        let id = section.need("id", id, "\"main\"");
        if let Some(id) = &id {
            if ids.iter().any(|i| i == id.value.as_str()) {
                let message = format!("two groups have the id `{}`", id.value);
                reader.error_at(id, message, "give one of them another id");
            }
            ids.push(id.value.to_string());
        }
        let here = id
            .as_ref()
            .map_or_else(|| "?".to_owned(), |id| id.value.to_string());
        let members = section.texts("cameras");
        let members = section.need("cameras", members, "[\"cam1\", \"cam2\"]");
        if let (Some([]), Some(place)) = (members.as_deref(), section.find("cameras")) {
            reader.error_at(&place, "is empty", "name the cameras, or remove the group");
        }
        let mut slots: Vec<StreamId> = Vec::new();
        let mut live = None;
        for member in members.into_iter().flatten() {
            let Some(listed) = cameras.iter().find(|c| c.id == Some(member.value)) else {
                let known = cameras.iter().filter_map(|c| c.id);
                let hint = match nearest(member.value, known) {
                    Some(better) => format!("did you mean `{better}`?"),
                    None => format!(
                        "add a [[camera]] with id = \"{}\", or remove it here",
                        member.value
                    ),
                };
                reader.error_at(&member, format!("there is no camera `{}`", member.value), hint);
                continue;
            };
            if let Some(other) = taken.get(member.value) {
                let message = format!("camera `{}` is in group `{other}` already", member.value);
                reader.error_at(
                    &member,
                    message,
                    "a camera is in one group at most: remove it from one",
                );
                continue;
            }
            taken.insert(member.value, here.clone());
            if let Some(camera) = listed.camera.as_ref().filter(|c| c.enabled) {
                slots.push(camera.options.id);
                if !matches!(camera.options.source, Source::File { .. }) {
                    live = Some(camera.options.id);
                }
            }
        }
        let tolerance = section.span("tolerance", TOLERANCE);
        let max_wait = section.span("max_wait", MAX_WAIT);
        let offset = section.span("max_initial_stream_offset", MAX_INITIAL_STREAM_OFFSET);
        let read_errors = section.integer("max_read_errors", MAX_READ_ERRORS);
        let buffer = section.integer("frame_packet_buffer_maxsize", FRAME_PACKET_BUFFER_MAXSIZE);
        if let Some(buffer) = &buffer {
            check_buffer(&section, buffer, live);
        }
        section.finish(belongs_elsewhere);
        if let (Some(id), Some(max_wait), false) = (
            id,
            max_wait.or_else(|| parse_span(raw::MAX_WAIT)),
            slots.is_empty(),
        ) {
            let defaults = AlignConfig::new(Vec::new());
            groups.push(Group {
                id: id.value,
                tolerance,
                max_wait,
                max_initial_stream_offset: offset.unwrap_or(defaults.max_initial_stream_offset),
                max_read_errors: read_errors.map_or(defaults.max_read_errors, |n| {
                    u32::try_from(n.value).ok().filter(|n| *n > 0)
                }),
                frame_packet_buffer_maxsize: buffer.map_or(defaults.frame_packet_buffer_maxsize, |n| {
                    usize::try_from(n.value).ok().and_then(NonZeroUsize::new)
                }),
                cameras: slots,
            });
        }
    }
    for listed in cameras {
        if let (Some(id), true) = (listed.id, listed.camera.as_ref().is_some_and(|c| c.enabled))
            && !taken.contains_key(id)
        {
            let message = format!("camera `{id}` is in no group: it is not aligned with the others");
            root.reader
                .warn_at(&listed.place, message, "add it to the `cameras` of a [[group]]");
        }
    }
    groups
}

fn main_group(cameras: &[Listed<'_>]) -> Option<Group> {
    let enabled = cameras
        .iter()
        .filter_map(|c| c.camera.as_ref())
        .filter(|c| c.enabled);
    let cameras: Vec<StreamId> = enabled.map(|c| c.options.id).collect();
    let defaults = AlignConfig::new(Vec::new());
    (!cameras.is_empty()).then_some(Group {
        id: StreamId::new(raw::MAIN_GROUP).ok()?,
        cameras,
        tolerance: None,
        max_wait: parse_span(raw::MAX_WAIT)?,
        max_initial_stream_offset: defaults.max_initial_stream_offset,
        max_read_errors: defaults.max_read_errors,
        frame_packet_buffer_maxsize: defaults.frame_packet_buffer_maxsize,
    })
}

/// A buffer of no packets is no buffer; one without a limit fills the memory unless its sources can be held back.
fn check_buffer(section: &Section<'_, '_>, buffer: &Found<i64>, live: Option<StreamId>) {
    match (buffer.value, live) {
        (0, _) => section
            .reader
            .error_at(buffer, "is 0: no packet would ever leave", "write 1 or more"),
        (-1, Some(camera)) => section.reader.error_at(
            buffer,
            format!("is -1, no limit, and camera `{camera}` is no file: it cannot be held back"),
            "write a number of packets, such as 16",
        ),
        _ => {}
    }
}
