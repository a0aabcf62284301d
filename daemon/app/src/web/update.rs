//! Routes of the box's updates: how it stands, begin, cancel, restart.

use axum::Json;
use axum::extract::{FromRequest as _, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;

use super::problem::NO_STORE;
use super::{Problem, WebState};
use crate::update::{UpdateDoc, UpdateError, UpdateRequest, UploadOptions};

impl From<UpdateError> for Problem {
    fn from(error: UpdateError) -> Problem {
        match error {
            UpdateError::NotNow(why) => Problem::conflict(why.to_string()),
            UpdateError::Invalid(field, why) => Problem::invalid(field, why),
            UpdateError::Failed(why) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why),
            UpdateError::Ended => Problem::unavailable(error.to_string()),
        }
    }
}

/// How updates stand: what runs, slots, the update under way or the last one, bundles on what is plugged in. Times are in
/// RFC 3339. On a machine that takes none `unavailable` says why.
#[utoipa::path(get, path = "/api/v1/update", tag = "update", responses((status = 200, body = UpdateDoc)))]
pub(super) async fn get(State(state): State<WebState>) -> Result<impl IntoResponse, Problem> {
    Ok((NO_STORE, Json(state.updates.doc().await?)))
}

/// Begins an update: of an address or a file on a stick (JSON), or of the bundle itself (octets, at most 1 GiB, never whole in
/// memory), whose options go into the query. The answer comes when it has begun, or all of it is here; `GET` tells the rest.
#[utoipa::path(post, path = "/api/v1/update", tag = "update", params(UploadOptions),
    request_body(content((UpdateRequest = "application/json"), (Vec<u8> = "application/octet-stream"))),
    responses((status = 202, description = "Begun", body = UpdateDoc),
        (status = 409, description = "An update is under way, waits for a restart, or is on trial", body = Problem),
        (status = 415, description = "Neither JSON nor octets", body = Problem),
        (status = 422, description = "A field cannot be, or what was sent cannot be taken", body = Problem)))]
pub(super) async fn begin(
    State(state): State<WebState>,
    request: Request,
) -> Result<impl IntoResponse, Problem> {
    match content_type(request.headers()) {
        "application/json" => {
            let Json(wish) = Json::<UpdateRequest>::from_request(request, &state).await?;
            let job = state.updates.request(wish).await?;
            log::info!("web: update {job} was asked for");
        }
        "application/octet-stream" => {
            let Query(options) = Query::<UploadOptions>::try_from_uri(request.uri())?;
            let length = request.headers().get(header::CONTENT_LENGTH);
            let length = length.and_then(|l| l.to_str().ok()?.parse().ok());
            log::info!("web: a bundle is sent");
            let body = request.into_body().into_data_stream();
            state.updates.upload(options, length, body).await?;
        }
        _ => {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send application/json, or the bundle as application/octet-stream",
            ));
        }
    }
    Ok((StatusCode::ACCEPTED, NO_STORE, Json(state.updates.doc().await?)))
}

/// Gives up an update before its slot is written, or forgets how the last one ended.
#[utoipa::path(delete, path = "/api/v1/update", tag = "update",
    responses((status = 204, description = "Given up"),
        (status = 409, description = "There is none, or it is too late", body = Problem)))]
pub(super) async fn cancel(State(state): State<WebState>) -> Result<StatusCode, Problem> {
    state.updates.cancel().await?;
    log::info!("web: the update was cancelled");
    Ok(StatusCode::NO_CONTENT)
}

/// Restarts the box into the system that was installed. Where that fails, `note` says why.
#[utoipa::path(post, path = "/api/v1/update/reboot", tag = "update",
    responses((status = 202, description = "It restarts"),
        (status = 409, description = "Nothing was installed", body = Problem)))]
pub(super) async fn reboot(State(state): State<WebState>) -> Result<StatusCode, Problem> {
    state.updates.reboot().await?;
    log::info!("web: a restart of the box was asked for");
    Ok(StatusCode::ACCEPTED)
}

/// The media type without its parameters.
fn content_type(headers: &HeaderMap) -> &str {
    let text = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    text.unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
}
