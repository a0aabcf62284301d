//! Route of the status of everything.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;

use super::problem::NO_STORE;
use super::{Problem, WebState};
use crate::documents::StatusDoc;

/// The newest status; a problem while the daemon has none yet.
pub(super) fn newest(state: &WebState) -> Result<Arc<StatusDoc>, Problem> {
    let status = state.hub.status.borrow().clone();
    status.ok_or_else(|| Problem::unavailable("the daemon is still starting"))
}

/// The state of the box, its cameras, its sync groups and its broker.
#[utoipa::path(get, path = "/api/v1/status", tag = "status",
    responses((status = 200, body = StatusDoc), (status = 503, description = "Still starting", body = Problem)))]
pub(super) async fn get(State(state): State<WebState>) -> Result<impl IntoResponse, Problem> {
    Ok((NO_STORE, Json(newest(&state)?.as_ref().clone())))
}
