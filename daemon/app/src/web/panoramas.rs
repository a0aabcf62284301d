//! Routes of the panoramas: state, settings, picture, calibration.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use synoptic_base::StreamId;
use utoipa::ToSchema;

use super::cameras::camera_id;
use super::problem::{Body, NO_STORE, Path};
use super::{CreatedDoc, MappedBox, Problem, WebState, blocking, picture};
use crate::config::{PanoramaSettings, SettingsMap};
use crate::documents::{CalibrationDoc, CalibrationJobDoc, ControlPointDoc, PanoramaDoc};

/// Seconds over which frames are collected, unless asked otherwise.
const SECONDS: u32 = 8;
/// Seconds that may be asked for.
const RANGE: std::ops::RangeInclusive<u32> = 1..=600;
/// Name of a candidate in the place of a version.
const CANDIDATE: &str = "candidate";

/// How to calibrate.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CalibrateRequest {
    /// Seconds over which frames are collected, 1 to 600; 8 when `null`.
    #[serde(default)]
    seconds: Option<u32>,
    /// Take the result into use at once; else it waits to be accepted.
    #[serde(default)]
    accept: bool,
}

/// A box to be found in another picture.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MapRequest {
    /// The camera in whose picture the box is; `null`: it is in the panorama.
    #[serde(default)]
    camera: Option<String>,
    /// `[x, y, w, h]` in fractions of that picture.
    bbox: [f32; 4],
}

/// Where boxes are.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct MapDoc {
    /// In each picture that shows it.
    boxes: Vec<MappedBox>,
}

fn find(state: &WebState, id: &str) -> Result<PanoramaDoc, Problem> {
    let status = super::status::newest(state)?;
    let found = status.panoramas.iter().find(|p| p.id == id).cloned();
    found.ok_or_else(|| Problem::not_found(format!("there is no panorama `{id}`")))
}

fn panorama_id(id: &str) -> Result<StreamId, Problem> {
    camera_id(id)
}

/// Every panorama with its state and quality.
#[utoipa::path(get, path = "/api/v1/panoramas", tag = "panoramas",
    responses((status = 200, body = Vec<PanoramaDoc>), (status = 503, description = "Still starting", body = Problem)))]
pub(super) async fn list(State(state): State<WebState>) -> Result<impl IntoResponse, Problem> {
    Ok((NO_STORE, Json(super::status::newest(&state)?.panoramas.clone())))
}

/// One panorama with its state and quality.
#[utoipa::path(get, path = "/api/v1/panoramas/{id}", tag = "panoramas", params(("id" = String, Path, description = "Panorama id")),
    responses((status = 200, body = PanoramaDoc), (status = 404, description = "No such panorama", body = Problem)))]
pub(super) async fn get(
    State(state): State<WebState>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    Ok((NO_STORE, Json(find(&state, &id)?)))
}

/// Adds a panorama: writes it into the configuration file and starts it. No camera is disturbed.
#[utoipa::path(post, path = "/api/v1/panoramas", tag = "panoramas", request_body = PanoramaSettings,
    responses((status = 201, description = "Added", body = CreatedDoc),
        (status = 409, description = "The id is taken", body = Problem),
        (status = 422, description = "A setting cannot be", body = Problem)))]
pub(super) async fn add(
    State(state): State<WebState>,
    Body(settings): Body<SettingsMap>,
) -> Result<impl IntoResponse, Problem> {
    let id = blocking(move || state.cameras.add_panorama(&settings)).await??;
    log::info!("web: panorama {id} was added");
    let place = format!("/api/v1/panoramas/{id}");
    let doc = CreatedDoc { id: id.to_string() };
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], Json(doc)))
}

/// Changes a panorama of the configuration file, after RFC 7396: what is absent stays, `null` is the default. Only this
/// panorama is begun anew.
#[utoipa::path(patch, path = "/api/v1/panoramas/{id}", tag = "panoramas", request_body = PanoramaSettings,
    params(("id" = String, Path, description = "Panorama id")),
    responses((status = 204, description = "Changed"), (status = 404, description = "No such panorama", body = Problem),
        (status = 422, description = "A setting cannot be", body = Problem)))]
pub(super) async fn change(
    State(state): State<WebState>,
    Path(id): Path<String>,
    Body(settings): Body<SettingsMap>,
) -> Result<StatusCode, Problem> {
    let panorama = panorama_id(&id)?;
    blocking(move || state.cameras.change_panorama(&panorama, &settings)).await??;
    log::info!("web: panorama {id} was changed");
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a panorama from the configuration and stops it. Its calibrations stay, for one of the same id.
#[utoipa::path(delete, path = "/api/v1/panoramas/{id}", tag = "panoramas",
    params(("id" = String, Path, description = "Panorama id")),
    responses((status = 204, description = "Removed"), (status = 404, description = "No such panorama", body = Problem)))]
pub(super) async fn remove(
    State(state): State<WebState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let panorama = panorama_id(&id)?;
    let shared = state.clone();
    blocking(move || shared.cameras.remove_panorama(&panorama)).await??;
    state.shared.pictures.forget(&panorama);
    log::info!("web: panorama {id} was removed");
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a panorama run, from now on and after a restart too.
#[utoipa::path(post, path = "/api/v1/panoramas/{id}/start", tag = "panoramas",
    params(("id" = String, Path, description = "Panorama id")),
    responses((status = 204, description = "It runs"), (status = 404, description = "No such panorama", body = Problem)))]
pub(super) async fn start(
    State(state): State<WebState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    enable(state, &id, true).await
}

/// Stops a panorama, until it is started again. Its cameras and its calibrations stay.
#[utoipa::path(post, path = "/api/v1/panoramas/{id}/stop", tag = "panoramas",
    params(("id" = String, Path, description = "Panorama id")),
    responses((status = 204, description = "It is stopped"), (status = 404, description = "No such panorama", body = Problem)))]
pub(super) async fn stop(
    State(state): State<WebState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    enable(state, &id, false).await
}

/// Pauses a panorama until it is resumed or the daemon is started again: nothing is composed, no detector loses its work, and
/// whoever watches, an output too, keeps the last picture.
#[utoipa::path(post, path = "/api/v1/panoramas/{id}/pause", tag = "panoramas",
    params(("id" = String, Path, description = "Panorama id")),
    responses((status = 204, description = "It is paused"), (status = 404, description = "No such panorama", body = Problem),
        (status = 409, description = "It is stopped", body = Problem)))]
pub(super) async fn pause(
    State(state): State<WebState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    set_paused(state, &id, true).await
}

/// Resumes a paused panorama.
#[utoipa::path(post, path = "/api/v1/panoramas/{id}/resume", tag = "panoramas",
    params(("id" = String, Path, description = "Panorama id")),
    responses((status = 204, description = "It is not paused"), (status = 404, description = "No such panorama", body = Problem),
        (status = 409, description = "It is stopped", body = Problem)))]
pub(super) async fn resume(
    State(state): State<WebState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    set_paused(state, &id, false).await
}

async fn set_paused(state: WebState, id: &str, paused: bool) -> Result<StatusCode, Problem> {
    let panorama = panorama_id(id)?;
    blocking(move || state.panoramas.pause(&panorama, paused)).await??;
    let what = if paused { "paused" } else { "resumed" };
    log::info!("web: panorama {id} is {what}");
    Ok(StatusCode::NO_CONTENT)
}

async fn enable(state: WebState, id: &str, yes: bool) -> Result<StatusCode, Problem> {
    let panorama = panorama_id(id)?;
    let settings = SettingsMap::from_iter([("enabled".to_owned(), yes.into())]);
    blocking(move || state.cameras.change_panorama(&panorama, &settings)).await??;
    let what = if yes { "started" } else { "stopped" };
    log::info!("web: panorama {id} is {what}");
    Ok(StatusCode::NO_CONTENT)
}

/// The newest picture of a panorama; headers as of a camera's picture.
#[utoipa::path(get, path = "/api/v1/panoramas/{id}/picture", tag = "panoramas",
    params(("id" = String, Path, description = "Panorama id")),
    responses(
        (status = 200, description = "The picture", content_type = "image/jpeg", body = Vec<u8>,
            headers(("synoptic-frame" = String, description = "FrameDoc as JSON"), ("etag" = String, description = "The frame's key"))),
        (status = 204, description = "No picture yet"),
        (status = 304, description = "No newer picture"),
        (status = 404, description = "No such panorama", body = Problem)))]
pub(super) async fn picture(
    State(state): State<WebState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    find(&state, &id)?;
    picture::newest(&state, &panorama_id(&id)?, true, "panorama", &headers).await
}

/// The calibration that runs, or the last that ran.
#[utoipa::path(get, path = "/api/v1/panoramas/{id}/calibrate", tag = "panoramas",
    params(("id" = String, Path, description = "Panorama id")),
    responses((status = 200, body = CalibrationJobDoc), (status = 204, description = "None ran since the daemon started"),
        (status = 404, description = "No such panorama", body = Problem)))]
pub(super) async fn job(State(state): State<WebState>, Path(id): Path<String>) -> Result<Response, Problem> {
    Ok(match find(&state, &id)?.job {
        Some(job) => (NO_STORE, Json(job)).into_response(),
        None => (StatusCode::NO_CONTENT, NO_STORE).into_response(),
    })
}

/// Begins a calibration from live frames. `GET` of the same says how far it is.
#[utoipa::path(post, path = "/api/v1/panoramas/{id}/calibrate", tag = "panoramas", request_body = CalibrateRequest,
    params(("id" = String, Path, description = "Panorama id")),
    responses((status = 202, description = "Begun"), (status = 404, description = "No such panorama", body = Problem),
        (status = 409, description = "One is running, or the configuration names a file", body = Problem),
        (status = 422, description = "A field's value cannot be", body = Problem)))]
pub(super) async fn calibrate(
    State(state): State<WebState>,
    Path(id): Path<String>,
    Body(request): Body<CalibrateRequest>,
) -> Result<impl IntoResponse, Problem> {
    let seconds = request.seconds.unwrap_or(SECONDS);
    if !RANGE.contains(&seconds) {
        return Err(Problem::invalid("seconds", "give 1 to 600 seconds"));
    }
    let panorama = panorama_id(&id)?;
    blocking(move || state.panoramas.calibrate(&panorama, seconds, request.accept)).await??;
    log::info!("web: panorama {id}: calibration asked for");
    let place = format!("/api/v1/panoramas/{id}/calibrate");
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, place)]))
}

/// Places that a person found in the pictures of two cameras.
#[utoipa::path(get, path = "/api/v1/panoramas/{id}/control-points", tag = "panoramas",
    params(("id" = String, Path, description = "Panorama id")),
    responses((status = 200, body = Vec<ControlPointDoc>), (status = 404, description = "No such panorama", body = Problem)))]
pub(super) async fn control_points(
    State(state): State<WebState>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = panorama_id(&id)?;
    let points = blocking(move || state.panoramas.control_points(&id)).await??;
    Ok((NO_STORE, Json(points)))
}

/// Sets all control points anew; an empty list removes them. The next calibration holds on to them.
#[utoipa::path(put, path = "/api/v1/panoramas/{id}/control-points", tag = "panoramas", request_body = Vec<ControlPointDoc>,
    params(("id" = String, Path, description = "Panorama id")),
    responses((status = 204, description = "Kept"), (status = 404, description = "No such panorama", body = Problem),
        (status = 422, description = "A point cannot be", body = Problem)))]
pub(super) async fn set_control_points(
    State(state): State<WebState>,
    Path(id): Path<String>,
    Body(points): Body<Vec<ControlPointDoc>>,
) -> Result<StatusCode, Problem> {
    let id = panorama_id(&id)?;
    blocking(move || state.panoramas.set_control_points(&id, &points)).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// Adds control points to those there are.
#[utoipa::path(post, path = "/api/v1/panoramas/{id}/control-points", tag = "panoramas", request_body = Vec<ControlPointDoc>,
    params(("id" = String, Path, description = "Panorama id")),
    responses((status = 204, description = "Kept"), (status = 404, description = "No such panorama", body = Problem),
        (status = 422, description = "A point cannot be", body = Problem)))]
pub(super) async fn add_control_points(
    State(state): State<WebState>,
    Path(id): Path<String>,
    Body(more): Body<Vec<ControlPointDoc>>,
) -> Result<StatusCode, Problem> {
    let id = panorama_id(&id)?;
    let add = move || {
        let mut points = state.panoramas.control_points(&id)?;
        points.extend(more);
        state.panoramas.set_control_points(&id, &points)
    };
    blocking(add).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// All stored calibrations: a candidate first, then the newest first. The first with a version is in use.
#[utoipa::path(get, path = "/api/v1/panoramas/{id}/calibrations", tag = "panoramas",
    params(("id" = String, Path, description = "Panorama id")),
    responses((status = 200, body = Vec<CalibrationDoc>), (status = 404, description = "No such panorama", body = Problem)))]
pub(super) async fn calibrations(
    State(state): State<WebState>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = panorama_id(&id)?;
    let found = blocking(move || state.panoramas.calibrations(&id)).await??;
    Ok((NO_STORE, Json(found)))
}

/// Takes the calibration that waits into use.
#[utoipa::path(post, path = "/api/v1/panoramas/{id}/calibrations/candidate", tag = "panoramas",
    params(("id" = String, Path, description = "Panorama id")),
    responses((status = 200, body = CalibrationDoc), (status = 404, description = "None waits", body = Problem)))]
pub(super) async fn accept(
    State(state): State<WebState>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = panorama_id(&id)?;
    let doc = blocking(move || state.panoramas.accept(&id)).await??;
    Ok((NO_STORE, Json(doc)))
}

/// Throws the calibration that waits away.
#[utoipa::path(delete, path = "/api/v1/panoramas/{id}/calibrations/candidate", tag = "panoramas",
    params(("id" = String, Path, description = "Panorama id")),
    responses((status = 204, description = "Gone"), (status = 404, description = "None waits", body = Problem)))]
pub(super) async fn discard(
    State(state): State<WebState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = panorama_id(&id)?;
    blocking(move || state.panoramas.discard(&id)).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// The file of a calibration, as `synoptic stitch calibrate` writes it.
#[utoipa::path(get, path = "/api/v1/panoramas/{id}/calibrations/{version}", tag = "panoramas",
    params(("id" = String, Path, description = "Panorama id"), ("version" = u32, Path, description = "Version")),
    responses((status = 200, content_type = "application/toml", body = String),
        (status = 404, description = "No such calibration", body = Problem)))]
pub(super) async fn calibration(
    State(state): State<WebState>,
    Path((id, version)): Path<(String, u32)>,
) -> Result<impl IntoResponse, Problem> {
    let id = panorama_id(&id)?;
    let text = blocking(move || state.panoramas.calibration_text(&id, version)).await??;
    Ok(([(header::CONTENT_TYPE, "application/toml")], text))
}

/// The small picture of a calibration: what the panorama looked like by it.
#[utoipa::path(get, path = "/api/v1/panoramas/{id}/calibrations/{version}/picture", tag = "panoramas",
    params(("id" = String, Path, description = "Panorama id"), ("version" = String, Path, description = "Version, or `candidate`")),
    responses((status = 200, content_type = "image/jpeg", body = Vec<u8>),
        (status = 404, description = "None was kept", body = Problem)))]
pub(super) async fn calibration_picture(
    State(state): State<WebState>,
    Path((id, version)): Path<(String, String)>,
) -> Result<impl IntoResponse, Problem> {
    let id = panorama_id(&id)?;
    let missing = || Problem::not_found(format!("there is no picture of calibration {version}"));
    let number = match version.as_str() {
        CANDIDATE => None,
        digits => Some(digits.parse().map_err(|_| missing())?),
    };
    let jpeg = blocking(move || state.panoramas.calibration_picture(&id, number)).await??;
    let jpeg = jpeg.ok_or_else(missing)?;
    Ok((NO_STORE, [(header::CONTENT_TYPE, "image/jpeg")], jpeg))
}

/// Takes an old version into use again: it is written under a new number.
#[utoipa::path(post, path = "/api/v1/panoramas/{id}/calibrations/{version}/restore", tag = "panoramas",
    params(("id" = String, Path, description = "Panorama id"), ("version" = u32, Path, description = "Version")),
    responses((status = 200, body = CalibrationDoc), (status = 404, description = "No such calibration", body = Problem)))]
pub(super) async fn restore(
    State(state): State<WebState>,
    Path((id, version)): Path<(String, u32)>,
) -> Result<impl IntoResponse, Problem> {
    let id = panorama_id(&id)?;
    let doc = blocking(move || state.panoramas.restore(&id, version)).await??;
    Ok((NO_STORE, Json(doc)))
}

/// Where a box of a camera is in the panorama; without a camera, where a box of the panorama is in each camera.
#[utoipa::path(post, path = "/api/v1/panoramas/{id}/map", tag = "panoramas", request_body = MapRequest,
    params(("id" = String, Path, description = "Panorama id")),
    responses((status = 200, body = MapDoc), (status = 404, description = "No such panorama", body = Problem),
        (status = 409, description = "Not calibrated", body = Problem),
        (status = 422, description = "A field's value cannot be", body = Problem)))]
pub(super) async fn map(
    State(state): State<WebState>,
    Path(id): Path<String>,
    Body(request): Body<MapRequest>,
) -> Result<impl IntoResponse, Problem> {
    let id = panorama_id(&id)?;
    let camera = request
        .camera
        .map(|c| StreamId::new(&c).map_err(|e| Problem::invalid("camera", e.to_string())))
        .transpose()?;
    if !request.bbox.iter().all(|v| v.is_finite()) {
        return Err(Problem::invalid("bbox", "give four numbers"));
    }
    let boxes = blocking(move || state.panoramas.map(&id, camera.as_ref(), request.bbox)).await??;
    Ok((NO_STORE, Json(MapDoc { boxes })))
}
