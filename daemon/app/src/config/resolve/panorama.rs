//! Panoramas: `[[panorama]]`.

use synoptic_base::{Projection, Span, StreamId};
use synoptic_engine::stitch::MissingPolicy;
use synoptic_vision::panorama::calibrate::{Crop, LensKind, Options};
use synoptic_vision::panorama::{Blend, MAX_CAMERAS};

use super::camera::Listed;
use super::{Context, belongs_elsewhere};
use crate::config::reader::{Found, Section};
use crate::config::resolved::{Device, Group, LearnedConfig, Panorama};
use crate::config::units::parse_span;
use crate::config::words::nearest;
use crate::config::{raw, raw_panorama};

/// A frame at 60 a second, and longer than any slow camera pauses.
const PATIENCE: std::ops::RangeInclusive<Span> = Span::from_millis(17)..=Span::from_secs(10);
const HFOV: std::ops::RangeInclusive<f64> = 5.0..=220.0;
const SCALE: std::ops::RangeInclusive<f64> = 0.05..=4.0;
/// A window of seven frames in 1.4 to 35 seconds.
const LEARNED_RATE: std::ops::RangeInclusive<f64> = 0.2..=5.0;
/// The networks were made for pairs.
const LEARNED_CAMERAS: usize = 2;
/// As many as the compositor takes.
const THREADS: std::ops::RangeInclusive<i64> = 1..=64;
/// More panoramas at once than any box of this class composes.
const WORKERS: std::ops::RangeInclusive<i64> = 0..=16;
/// Levels of multi-band that hide most on 360 to 1080 lines (docs/design/stitching.md).
const LEVELS: u32 = 3;

/// The panoramas; one that is to run is left out when fewer than two of its cameras are enabled.
pub(super) fn panoramas(
    root: &Section<'_, '_>,
    context: &Context<'_>,
    device: Option<&Device>,
    cameras: &[Listed<'_>],
    groups: &[Group],
) -> Vec<Panorama> {
    let mut ids: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for section in root.sections("panorama") {
        let panorama = panorama(&section, context, device, cameras, groups, &mut ids);
        section.finish(belongs_elsewhere);
        found.extend(panorama);
    }
    found
}

fn panorama(
    section: &Section<'_, '_>,
    context: &Context<'_>,
    device: Option<&Device>,
    cameras: &[Listed<'_>],
    groups: &[Group],
    ids: &mut Vec<String>,
) -> Option<Panorama> {
    let reader = section.reader;
    let id = section.id("id");
    let id = section.need("id", id, "\"yard\"");
    if let Some(id) = &id {
        if ids.iter().any(|i| i == id.value.as_str()) {
            let message = format!("two panoramas have the id `{}`", id.value);
            reader.error_at(id, message, "give one of them another id");
        }
        if cameras.iter().any(|c| c.id == Some(id.value.as_str())) {
            let message = format!("`{}` is the id of a camera", id.value);
            reader.error_at(id, message, "give the panorama another id: both name streams");
        }
        ids.push(id.value.to_string());
    }
    let name = section.filled("name").map(|n| n.value.to_owned());
    let enabled = section.flag("enabled").unwrap_or(true);
    let method = section.choice("method", &[("calibrated", false), ("learned", true)]);
    let rate = section.number("learned_rate", LEARNED_RATE);
    let calibration = section
        .filled("calibration")
        .map(|c| context.folder.join(c.value));
    let auto_calibrate = section.flag("auto_calibrate").unwrap_or(true);
    let options = options(section);
    let blends = [
        ("feather", Blend::Feather),
        ("multi_band", Blend::MultiBand(LEVELS)),
    ];
    let blend = section
        .choice("blend", &blends)
        .map_or(Blend::Feather, |b| b.value);
    let policies = [("fade", MissingPolicy::Fade), ("hold", MissingPolicy::Hold)];
    let missing = section
        .choice("missing", &policies)
        .map_or(MissingPolicy::Fade, |m| m.value);
    let patience = section
        .span("patience", PATIENCE)
        .or_else(|| parse_span(raw_panorama::PATIENCE));
    let threads = section
        .integer("threads", THREADS)
        .map_or(raw_panorama::PANORAMA_THREADS as usize, |t| t.value as usize);
    let known = cameras;
    let (group, cameras) = members(section, known, groups)?;
    let audio = sound_of(section, known, &cameras);
    let id = id?.value;
    if enabled && cameras.len() < 2 {
        let message = format!("panorama `{id}` has fewer than two enabled cameras: it does not run");
        reader.warn_at(
            &section.place(),
            message,
            "enable its cameras, or write enabled = false here",
        );
        return None;
    }
    let learned = match method {
        Some(method) if method.value => {
            if enabled && cameras.len() != LEARNED_CAMERAS {
                let message = format!("the learned method takes two cameras, not {}", cameras.len());
                reader.error_at(&method, message, "name two, or write method = \"calibrated\"");
                return None;
            }
            Some(LearnedConfig {
                rate_hz: rate.map_or(raw_panorama::LEARNED_RATE, |r| r.value),
                model_dirs: device?.model_dirs.clone(),
            })
        }
        _ => None,
    };
    Some(Panorama {
        id,
        learned,
        name: name.unwrap_or_else(|| id.to_string()),
        group,
        enabled,
        cameras,
        calibration,
        auto_calibrate,
        options,
        blend,
        missing,
        patience: patience?,
        threads,
        audio,
    })
}

/// The camera whose sound it has: one of its own, of which the sound is read.
fn sound_of(section: &Section<'_, '_>, known: &[Listed<'_>], cameras: &[StreamId]) -> Option<StreamId> {
    let named = section.id("audio")?;
    if !cameras.contains(&named.value) {
        let message = format!("`{}` is none of its enabled cameras", named.value);
        let hint = match nearest(named.value.as_str(), cameras.iter().map(StreamId::as_str)) {
            Some(better) => format!("did you mean `{better}`?"),
            None => "write the id of the camera whose sound it has".to_owned(),
        };
        section.reader.error_at(&named, message, hint);
        return None;
    }
    let silent = |c: &&Listed<'_>| {
        c.camera
            .as_ref()
            .is_some_and(|c| c.options.id == named.value && !c.audio)
    };
    if known.iter().any(|c| silent(&c)) {
        let message = format!("the sound of camera `{}` is not read", named.value);
        section
            .reader
            .error_at(&named, message, "add audio = true to that [[camera]]");
    }
    Some(named.value)
}

/// How many panoramas on request may run at once: `[stitch]`.
pub(super) fn workers(root: &Section<'_, '_>) -> usize {
    let default = raw_panorama::STITCH_WORKERS as usize;
    let Some(section) = root.section("stitch") else {
        return default;
    };
    let workers = section.integer("workers", WORKERS);
    section.finish(belongs_elsewhere);
    workers.map_or(default, |w| w.value as usize)
}

fn options(section: &Section<'_, '_>) -> Options {
    let projections = [
        ("auto", None),
        ("rectilinear", Some(Projection::Rectilinear)),
        ("cylindrical", Some(Projection::Cylindrical)),
        ("spherical", Some(Projection::Spherical)),
    ];
    let lenses = [("radial", LensKind::Radial), ("fisheye", LensKind::Fisheye)];
    let crops = [("all", Crop::All), ("inside", Crop::Inside)];
    Options {
        projection: section.choice("projection", &projections).and_then(|p| p.value),
        lens: section
            .choice("lens", &lenses)
            .map_or(LensKind::Radial, |l| l.value),
        crop: section.choice("crop", &crops).map_or(Crop::All, |c| c.value),
        hfov: section.number("hfov", HFOV).map(|h| h.value),
        scale: section
            .number("scale", SCALE)
            .map_or(raw_panorama::PANORAMA_SCALE, |s| s.value),
        ..Options::default()
    }
}

/// The group and the enabled cameras, unless something is wrong with them.
fn members(
    section: &Section<'_, '_>,
    known: &[Listed<'_>],
    groups: &[Group],
) -> Option<(StreamId, Vec<StreamId>)> {
    let reader = section.reader;
    let group = section.id("group");
    let named = section.texts("cameras");
    let place = section.find("cameras");
    if let (Some(named), Some(place)) = (&named, &place)
        && !(2..=MAX_CAMERAS).contains(&named.len())
    {
        let message = format!("names {} cameras", named.len());
        reader.error_at(place, message, format!("name 2 to {MAX_CAMERAS}"));
        return None;
    }
    let mut members = Vec::new();
    for camera in named.iter().flatten() {
        members.extend(member(section, camera, known)?);
        if named.iter().flatten().filter(|c| c.value == camera.value).count() > 1 {
            reader.error_at(
                camera,
                format!("`{}` is there twice", camera.value),
                "name it once",
            );
            return None;
        }
    }
    let chosen = match &group {
        Some(group) => {
            let found = groups.iter().find(|g| g.id == group.value);
            if found.is_none() && !reader.failed() {
                let hint = match nearest(group.value.as_str(), groups.iter().map(|g| g.id.as_str())) {
                    Some(better) => format!("did you mean `{better}`?"),
                    None => "write the id of a [[group]] with enabled cameras".to_owned(),
                };
                reader.error_at(group, format!("there is no group `{}`", group.value), hint);
            }
            found?
        }
        None if named.is_some() => {
            // Without an enabled camera there is nothing to run, and that is said elsewhere.
            let Some(first) = members.first() else {
                return Some((StreamId::new(raw::MAIN_GROUP).ok()?, members));
            };
            groups.iter().find(|g| g.cameras.contains(first))?
        }
        None => match groups {
            [only] => only,
            [] => return Some((StreamId::new(raw::MAIN_GROUP).ok()?, members)),
            _ => {
                section.missing(
                    "group",
                    "there are several groups: add group = \"…\" or cameras = [\"…\", \"…\"]",
                );
                return None;
            }
        },
    };
    if named.is_none() {
        if chosen.cameras.len() > MAX_CAMERAS {
            let message = format!(
                "group `{}` has {} cameras, a panorama takes {MAX_CAMERAS}",
                chosen.id,
                chosen.cameras.len()
            );
            reader.error_at(
                &section.place(),
                message,
                "name some of them: cameras = [\"…\", \"…\"]",
            );
            return None;
        }
        members.clone_from(&chosen.cameras);
    }
    for member in &members {
        if !chosen.cameras.contains(member) {
            let message = format!("camera `{member}` is not in group `{}`", chosen.id);
            let hint = "the cameras of a panorama are of one instant: put them into one [[group]]";
            match &place {
                Some(place) => reader.error_at(place, message, hint),
                None => reader.error_at(&section.place(), message, hint),
            }
            return None;
        }
    }
    Some((chosen.id, members))
}

/// A camera that is named here, if it is enabled; `None` with an error told when there is none.
fn member(section: &Section<'_, '_>, named: &Found<&str>, known: &[Listed<'_>]) -> Option<Option<StreamId>> {
    let Some(listed) = known.iter().find(|c| c.id == Some(named.value)) else {
        let hint = match nearest(named.value, known.iter().filter_map(|c| c.id)) {
            Some(better) => format!("did you mean `{better}`?"),
            None => format!(
                "add a [[camera]] with id = \"{}\", or remove it here",
                named.value
            ),
        };
        let message = format!("there is no camera `{}`", named.value);
        section.reader.error_at(named, message, hint);
        return None;
    };
    let camera = listed.camera.as_ref()?;
    Some(camera.enabled.then_some(camera.options.id))
}
