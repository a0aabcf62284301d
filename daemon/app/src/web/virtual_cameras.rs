//! Routes of the virtual cameras: where they look, and steering.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use synoptic_base::StreamId;

use super::cameras::camera_id;
use super::problem::{Body, NO_STORE, Path};
use super::{Problem, WebState, picture};
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
