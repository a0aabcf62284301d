//! Groups of cameras: `[[group]]`.

use std::collections::BTreeMap;

use synoptic_base::{Span, StreamId};

use super::belongs_elsewhere;
use super::camera::Listed;
use crate::config::raw;
use crate::config::reader::Section;
use crate::config::resolved::Group;
use crate::config::units::parse_span;
use crate::config::words::nearest;

/// A packet is of one instant: a frame seconds away is of another.
const TOLERANCE: std::ops::RangeInclusive<Span> = Span::from_micros(100)..=Span::from_secs(5);
/// Frames that wait are held in memory, decoded.
const MAX_WAIT: std::ops::RangeInclusive<Span> = Span::from_millis(1)..=Span::from_secs(10);

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
            }
        }
        let tolerance = section.span("tolerance", TOLERANCE);
        let max_wait = section.span("max_wait", MAX_WAIT);
        section.finish(belongs_elsewhere);
        if let (Some(id), Some(max_wait), false) = (
            id,
            max_wait.or_else(|| parse_span(raw::MAX_WAIT)),
            slots.is_empty(),
        ) {
            groups.push(Group {
                id: id.value,
                cameras: slots,
                tolerance,
                max_wait,
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
    (!cameras.is_empty()).then_some(Group {
        id: StreamId::new(raw::MAIN_GROUP).ok()?,
        cameras,
        tolerance: None,
        max_wait: parse_span(raw::MAX_WAIT)?,
    })
}
