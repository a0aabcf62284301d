//! Routes of the virtual cameras: where they look, steering, and their settings.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use synoptic_base::StreamId;

use super::cameras::camera_id;
use super::problem::{Body, NO_STORE, Path};
use super::{CreatedDoc, Problem, WebState, blocking, picture};
use crate::config::{SettingsMap, VirtualCameraSettings};
use crate::virtual_camera::{PtzWish, VirtualCameraDoc};

/// What the server asks of the virtual cameras. No method blocks for long.
pub trait VirtualCameraAdmin: Send + Sync {
    /// All, by id.
    fn list(&self) -> Vec<VirtualCameraDoc>;
    /// One.
    fn get(&self, id: &StreamId) -> Option<VirtualCameraDoc>;
    /// Says where one is to look. 404 when there is none, 409 when it is stopped.
    fn steer(&self, id: &StreamId, wish: &PtzWish) -> Result<VirtualCameraDoc, Problem>;
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!("there is no virtual camera `{id}`"))
}

/// Every virtual camera: where it looks, and where it can be watched.
#[utoipa::path(get, path = "/api/v1/virtual-cameras", tag = "virtual cameras",
    responses((status = 200, body = Vec<VirtualCameraDoc>)))]
pub(super) async fn list(State(state): State<WebState>) -> impl IntoResponse {
    (NO_STORE, Json(state.virtual_cameras.list()))
}

/// One virtual camera.
#[utoipa::path(get, path = "/api/v1/virtual-cameras/{id}", tag = "virtual cameras",
    params(("id" = String, Path, description = "Virtual camera id")),
    responses((status = 200, body = VirtualCameraDoc), (status = 404, description = "No such virtual camera", body = Problem)))]
pub(super) async fn get(
    State(state): State<WebState>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let found = state.virtual_cameras.get(&camera_id(&id)?);
    Ok((NO_STORE, Json(found.ok_or_else(|| missing(&id))?)))
}

/// Adds a virtual camera: writes it into the configuration file and starts it. Nothing else is disturbed.
#[utoipa::path(post, path = "/api/v1/virtual-cameras", tag = "virtual cameras", request_body = VirtualCameraSettings,
    responses((status = 201, description = "Added", body = CreatedDoc),
        (status = 409, description = "The id is taken", body = Problem),
        (status = 422, description = "A setting cannot be", body = Problem)))]
pub(super) async fn add(
    State(state): State<WebState>,
    Body(settings): Body<SettingsMap>,
) -> Result<impl IntoResponse, Problem> {
    let id = blocking(move || state.cameras.add_virtual_camera(&settings)).await??;
    log::info!("web: virtual camera {id} was added");
    let place = format!("/api/v1/virtual-cameras/{id}");
    let doc = CreatedDoc { id: id.to_string() };
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], Json(doc)))
}

/// Removes a virtual camera from the configuration and stops it. 422 while an output shows it.
#[utoipa::path(delete, path = "/api/v1/virtual-cameras/{id}", tag = "virtual cameras",
    params(("id" = String, Path, description = "Virtual camera id")),
    responses((status = 204, description = "Removed"),
        (status = 404, description = "No such virtual camera", body = Problem),
        (status = 422, description = "An output shows it", body = Problem)))]
pub(super) async fn remove(
    State(state): State<WebState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let view = camera_id(&id)?;
    let shared = state.clone();
    blocking(move || shared.cameras.remove_virtual_camera(&view)).await??;
    state.shared.pictures.forget(&view);
    log::info!("web: virtual camera {id} was removed");
    Ok(StatusCode::NO_CONTENT)
}

/// What a virtual camera is configured to be, defaults among it; `null` is what the box chooses.
#[utoipa::path(get, path = "/api/v1/virtual-cameras/{id}/settings", tag = "virtual cameras",
    params(("id" = String, Path, description = "Virtual camera id")),
    responses((status = 200, body = VirtualCameraSettings),
        (status = 404, description = "No such virtual camera", body = Problem)))]
pub(super) async fn settings(
    State(state): State<WebState>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let view = camera_id(&id)?;
    let found = blocking(move || state.cameras.virtual_camera_settings(&view)).await??;
    Ok((NO_STORE, Json(found)))
}

/// Changes a virtual camera of the configuration file, after RFC 7396: what is absent stays, `null` is the default. It begins
/// anew and looks home. `PATCH /api/v1/virtual-cameras/{id}` steers it, which is kept nowhere.
#[utoipa::path(patch, path = "/api/v1/virtual-cameras/{id}/settings", tag = "virtual cameras",
    request_body = VirtualCameraSettings, params(("id" = String, Path, description = "Virtual camera id")),
    responses((status = 204, description = "Changed"),
        (status = 404, description = "No such virtual camera", body = Problem),
        (status = 422, description = "A setting cannot be", body = Problem)))]
pub(super) async fn change(
    State(state): State<WebState>,
    Path(id): Path<String>,
    Body(settings): Body<SettingsMap>,
) -> Result<StatusCode, Problem> {
    let view = camera_id(&id)?;
    blocking(move || state.cameras.change_virtual_camera(&view, &settings)).await??;
    log::info!("web: virtual camera {id} was changed");
    Ok(StatusCode::NO_CONTENT)
}

/// Steers: it glides there, no faster than configured. What is absent stays; what the source does not show is brought back to
/// its edge. The answer has the target as it was taken. Steering ends following, `follow: true` begins it again.
#[utoipa::path(patch, path = "/api/v1/virtual-cameras/{id}", tag = "virtual cameras", request_body = PtzWish,
    params(("id" = String, Path, description = "Virtual camera id")),
    responses((status = 200, body = VirtualCameraDoc), (status = 404, description = "No such virtual camera", body = Problem),
        (status = 409, description = "It is stopped", body = Problem),
        (status = 422, description = "A field's value cannot be", body = Problem)))]
pub(super) async fn steer(
    State(state): State<WebState>,
    Path(id): Path<String>,
    Body(wish): Body<PtzWish>,
) -> Result<impl IntoResponse, Problem> {
    let view = camera_id(&id)?;
    for (field, value, range) in [
        ("pan", wish.pan, -360.0..=360.0),
        ("tilt", wish.tilt, -180.0..=180.0),
        ("zoom", wish.zoom, 0.01..=1_000.0),
    ] {
        if value.is_some_and(|v| !range.contains(&v)) {
            let (low, high) = (range.start(), range.end());
            return Err(Problem::invalid(field, format!("give {low} to {high}")));
        }
    }
    Ok((NO_STORE, Json(state.virtual_cameras.steer(&view, &wish)?)))
}

/// The newest picture of a virtual camera, a second old at the most; headers as of a camera's picture.
#[utoipa::path(get, path = "/api/v1/virtual-cameras/{id}/picture", tag = "virtual cameras",
    params(("id" = String, Path, description = "Virtual camera id")),
    responses(
        (status = 200, description = "The picture", content_type = "image/jpeg", body = Vec<u8>,
            headers(("synoptic-frame" = String, description = "FrameDoc as JSON"), ("etag" = String, description = "The frame's key"))),
        (status = 204, description = "No picture yet"),
        (status = 304, description = "No newer picture"),
        (status = 404, description = "No such virtual camera", body = Problem)))]
pub(super) async fn newest(
    State(state): State<WebState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let view = camera_id(&id)?;
    let known = state.virtual_cameras.get(&view).is_some();
    picture::newest(&state, &view, known, "virtual camera", &headers).await
}
