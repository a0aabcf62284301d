//! Routes of the cameras: list, add, test, remove.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use synoptic_base::StreamId;
use utoipa::ToSchema;

use super::problem::{Body, NO_STORE, Path};
use super::{Choices, NewCamera, Problem, WebState, blocking};
use crate::documents::{CameraDoc, ProbeDoc};

/// A camera that was added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedDoc {
    /// Its id.
    pub id: String,
}

/// Every camera with its status, time and stream.
#[utoipa::path(get, path = "/api/v1/cameras", tag = "cameras",
    responses((status = 200, body = Vec<CameraDoc>), (status = 503, description = "Still starting", body = Problem)))]
pub(super) async fn list(State(state): State<WebState>) -> Result<impl IntoResponse, Problem> {
    let status = super::status::newest(&state)?;
    Ok((NO_STORE, Json(status.cameras.clone())))
}

/// Adds a camera: writes it into the configuration file and starts it.
#[utoipa::path(post, path = "/api/v1/cameras", tag = "cameras", request_body = NewCamera,
    responses((status = 201, description = "Added", body = CreatedDoc),
        (status = 409, description = "The id is taken", body = Problem),
        (status = 422, description = "A field's value cannot be", body = Problem)))]
pub(super) async fn add(
    State(state): State<WebState>,
    Body(camera): Body<NewCamera>,
) -> Result<impl IntoResponse, Problem> {
    let camera = camera.checked()?;
    let id = camera.id;
    blocking(move || state.cameras.add(camera)).await??;
    log::info!("web: camera {id} was added");
    let place = HeaderValue::from_str(&format!("/api/v1/cameras/{id}"))
        .map_err(|e| Problem::internal("naming the camera", e))?;
    let doc = CreatedDoc { id: id.to_string() };
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], Json(doc)))
}

/// Tests a camera without adding it: what it really sends, a picture, a verdict. Takes some seconds.
#[utoipa::path(post, path = "/api/v1/cameras/test", tag = "cameras", request_body = NewCamera,
    responses((status = 200, body = ProbeDoc), (status = 422, description = "A field's value cannot be", body = Problem),
        (status = 429, description = "Another test is running", body = Problem)))]
pub(super) async fn test(
    State(state): State<WebState>,
    Body(camera): Body<NewCamera>,
) -> Result<impl IntoResponse, Problem> {
    let camera = camera.checked()?;
    // Held by the thread, not by this future: a client that goes away does not end the probe.
    let turn = std::sync::Arc::clone(&state.shared.probes)
        .try_acquire_owned()
        .map_err(|_| Problem::too_many("other cameras are being tested; try again in a few seconds", 5))?;
    let found = blocking(move || {
        let _turn = turn;
        state.cameras.probe(camera)
    });
    Ok((NO_STORE, Json(found.await?)))
}

/// Removes a camera from the configuration and stops it. Its events stay.
#[utoipa::path(delete, path = "/api/v1/cameras/{id}", tag = "cameras", params(("id" = String, Path, description = "Camera id")),
    responses((status = 204, description = "Removed"), (status = 404, description = "No such camera", body = Problem)))]
pub(super) async fn remove(
    State(state): State<WebState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = camera_id(&id)?;
    let shared = state.clone();
    blocking(move || shared.cameras.remove(&id)).await??;
    state.shared.pictures.forget(&id);
    log::info!("web: camera {id} was removed");
    Ok(StatusCode::NO_CONTENT)
}

/// What a new camera can choose from: detectors, groups, local devices.
#[utoipa::path(get, path = "/api/v1/choices", tag = "cameras", responses((status = 200, body = Choices)))]
pub(super) async fn choices(State(state): State<WebState>) -> Result<impl IntoResponse, Problem> {
    Ok((NO_STORE, Json(blocking(move || state.cameras.choices()).await?)))
}

/// The id in a path. What is no id names no camera.
pub(super) fn camera_id(text: &str) -> Result<StreamId, Problem> {
    StreamId::new(text).map_err(|e| Problem::not_found(e.to_string()))
}
