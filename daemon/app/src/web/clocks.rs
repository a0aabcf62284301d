//! Routes of cameras' clocks: what is known of one, and the measurement of capture biases.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Deserialize;
use synoptic_base::{Span, StreamId};
use synoptic_engine::timebase::flash::{Light, bias_difference, onsets};
use tokio::sync::broadcast::error::RecvError;
use utoipa::ToSchema;

use super::cameras::camera_id;
use super::problem::{Body, NO_STORE, Path};
use super::{CameraBias, Problem, WebState, blocking};
use crate::documents::{BiasDoc, CameraBiasDoc, CameraTime, hundredths_ms};

/// Shortest and longest measurement, in seconds.
const SECONDS: std::ops::RangeInclusive<u32> = 10..=300;
/// Frames kept of a camera: the longest measurement at 60 fps.
const FRAMES: usize = 18_000;

/// What is known of a camera's clocks: source and bound of its capture times, offset, drift, and what is wrong.
#[utoipa::path(get, path = "/api/v1/cameras/{id}/time", tag = "cameras", params(("id" = String, Path, description = "Camera id")),
    responses((status = 200, body = CameraTime), (status = 404, description = "No such camera", body = Problem),
        (status = 503, description = "Still starting", body = Problem)))]
pub(super) async fn time(
    State(state): State<WebState>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = camera_id(&id)?;
    let status = super::status::newest(&state)?;
    let camera = status.cameras.iter().find(|c| c.id == id.as_str());
    let camera = camera.ok_or_else(|| Problem::not_found(format!("there is no camera `{id}`")))?;
    Ok((NO_STORE, Json(camera.time.clone())))
}

/// How biases are to be measured.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Measure {
    /// How long to watch, 10 to 300; 30 when not given.
    #[schema(minimum = 10, maximum = 300)]
    seconds: Option<u32>,
    /// Write what was measured into the configuration. Only if every camera could be measured.
    #[serde(default)]
    apply: bool,
}

/// Watches a group's cameras while somebody switches a light on and off that all of them see, and says how late each
/// camera's stamps are against the one whose bias is known best.
#[utoipa::path(post, path = "/api/v1/groups/{id}/capture-bias", tag = "cameras", request_body = Measure,
    params(("id" = String, Path, description = "Group id")),
    responses((status = 200, body = BiasDoc), (status = 404, description = "No such group", body = Problem),
        (status = 422, description = "A field's value cannot be", body = Problem),
        (status = 429, description = "Another test is running", body = Problem)))]
pub(super) async fn measure(
    State(state): State<WebState>,
    Path(id): Path<String>,
    Body(wanted): Body<Measure>,
) -> Result<impl IntoResponse, Problem> {
    let seconds = wanted.seconds.unwrap_or(30);
    if !SECONDS.contains(&seconds) {
        return Err(Problem::invalid("seconds", "it must be 10 to 300"));
    }
    let group = camera_id(&id)?;
    let _turn = std::sync::Arc::clone(&state.shared.probes)
        .try_acquire_owned()
        .map_err(|_| Problem::too_many("cameras are being tested; try again in a few seconds", 5))?;
    let mut biases = state.cameras.biases(&group)?;
    if biases.len() < 2 {
        let why =
            format!("group `{group}` has fewer than two cameras: a bias is measured against another camera");
        return Err(Problem::conflict(why));
    }
    biases.sort_by_key(|b| b.error);
    let seen = watch(&state, &biases, Duration::from_secs(seconds.into())).await?;
    let (mut doc, measured) = judge(&group, &biases, &seen);
    doc.seconds = seconds.into();
    if wanted.apply && doc.cameras.iter().all(|c| c.problem.is_none()) {
        let admin = state.clone();
        blocking(move || admin.cameras.set_biases(&measured)).await??;
        log::info!("web: capture biases of group {group} were measured and written");
        doc.applied = true;
    }
    Ok((NO_STORE, Json(doc)))
}

type Seen = BTreeMap<StreamId, Vec<Light>>;

async fn watch(state: &WebState, cameras: &[CameraBias], how_long: Duration) -> Result<Seen, Problem> {
    let mut lights = state.hub.lights.subscribe();
    let mut seen: Seen = cameras.iter().map(|c| (c.camera, Vec::new())).collect();
    let mut shutdown = state.shared.shutdown.clone();
    let end = tokio::time::sleep(how_long);
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => return Ok(seen),
            _ = shutdown.changed() => return Err(Problem::unavailable("the daemon is stopping")),
            light = lights.recv() => match light {
                Ok((camera, light)) => {
                    if let Some(frames) = seen.get_mut(&camera).filter(|f| f.len() < FRAMES) {
                        frames.push(light);
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Err(Problem::unavailable("the daemon is stopping")),
            },
        }
    }
}

/// The best known camera first: the others against it.
fn judge(group: &StreamId, cameras: &[CameraBias], seen: &Seen) -> (BiasDoc, Vec<CameraBias>) {
    let flashes: Vec<_> = cameras
        .iter()
        .map(|c| onsets(seen.get(&c.camera).map_or(&[][..], Vec::as_slice)))
        .collect();
    let mut doc = BiasDoc {
        group: group.to_string(),
        reference: String::new(),
        seconds: 0.0,
        applied: false,
        cameras: Vec::new(),
    };
    let mut measured = Vec::new();
    let Some((reference, lit)) = cameras.first().zip(flashes.first()) else {
        return (doc, measured);
    };
    doc.reference = reference.camera.to_string();
    for (i, (camera, own)) in cameras.iter().zip(&flashes).enumerate() {
        let mut line = CameraBiasDoc {
            cam: camera.camera.to_string(),
            flashes: own.len(),
            agreeing: None,
            configured_ms: hundredths_ms(camera.bias),
            configured_error_ms: hundredths_ms(camera.error),
            bias_ms: None,
            bias_error_ms: None,
            problem: None,
        };
        let found = if i == 0 {
            Ok((camera.bias, camera.error))
        } else {
            bias_difference(lit, own).map(|d| {
                line.agreeing = Some(d.agreeing);
                (camera.bias + d.later, reference.error + d.error)
            })
        };
        match found {
            Ok((bias, error)) => {
                line.bias_ms = Some(hundredths_ms(bias));
                line.bias_error_ms = Some(hundredths_ms(error) + 0.01);
                if i > 0 {
                    measured.push(CameraBias {
                        camera: camera.camera,
                        bias,
                        error: error + Span::from_micros(10),
                    });
                } else {
                    line.bias_error_ms = Some(hundredths_ms(error));
                }
            }
            Err(error) => line.problem = Some(error.to_string()),
        }
        doc.cameras.push(line);
    }
    (doc, measured)
}

#[cfg(test)]
mod tests {
    use synoptic_base::Mono;

    use super::*;

    /// Stamps `late_ms` late, at 20 fps, before a lamp that goes on every two seconds and a bit.
    fn film(late_ms: i64, phase_ms: i64) -> Vec<Light> {
        (0..600)
            .map(|i| {
                let t = phase_ms + i * 50;
                let lit = t > 1_000 && (t % 2_013) < 600;
                Light {
                    captured: Mono::from_nanos((t + late_ms) * 1_000_000),
                    luma: if lit { 140.0 } else { 30.0 },
                }
            })
            .collect()
    }

    #[test]
    fn cameras_are_measured_against_the_best_known_one() {
        let id = |name| StreamId::new(name).unwrap();
        let bias = |camera, ms, error| CameraBias {
            camera,
            bias: Span::from_millis(ms),
            error: Span::from_millis(error),
        };
        let cameras = [bias(id("a"), 5, 4), bias(id("b"), 0, 40), bias(id("c"), 0, 40)];
        let seen: Seen = [(id("a"), film(0, 3)), (id("b"), film(37, 21))].into();
        let (doc, measured) = judge(&id("all"), &cameras, &seen);
        assert_eq!((doc.reference.as_str(), measured.len()), ("a", 1));
        let b = &doc.cameras[1];
        assert!(
            (b.bias_ms.unwrap() - 37.0).abs() <= b.bias_error_ms.unwrap() - 4.0,
            "{b:?}"
        );
        assert!(b.bias_error_ms.unwrap() < 40.0, "{b:?}");
        assert_eq!(doc.cameras[0].bias_ms, Some(5.0));
        assert!(
            doc.cameras[2].problem.as_ref().unwrap().contains("flashes"),
            "{doc:?}"
        );
    }
}
