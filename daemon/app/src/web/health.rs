//! Route of the box's health.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem::NO_STORE;
use super::{Problem, WebState};
use crate::health::HealthDoc;

/// Whether the box does what it is configured to do: cameras that answer give frames, groups give packets, models run, the
/// database is written. Cameras and brokers that are away do not count. With `Accept: text/plain` two lines: the state, and
/// the reason.
#[utoipa::path(get, path = "/api/v1/health", tag = "status",
    responses((status = 200, body = HealthDoc, description = "Any state; `well` is the one that commits an update"),
        (status = 503, description = "Still starting", body = Problem)))]
pub(super) async fn get(State(state): State<WebState>, headers: HeaderMap) -> Result<Response, Problem> {
    let doc = state.health.look().await;
    let doc = doc.ok_or_else(|| Problem::unavailable("the daemon is still starting"))?;
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    if accept.is_some_and(|a| a.starts_with("text/plain")) {
        // One line each, whatever a camera says of itself.
        let text = format!(
            "{}\n{}\n",
            doc.state.name(),
            doc.reason.replace(['\n', '\r'], " ")
        );
        return Ok((StatusCode::OK, NO_STORE, text).into_response());
    }
    Ok((NO_STORE, Json(doc)).into_response())
}
