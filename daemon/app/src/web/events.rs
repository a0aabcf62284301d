//! Routes of the stored events.
#![allow(unused_qualifications, reason = "utoipa's macro writes them for `EventQuery`")]

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use synoptic_base::{StreamId, SystemChange};
use synoptic_store::TRACK;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::problem::{NO_STORE, Params, Path};
use super::{EventFilter, Problem, WebState};
use crate::documents::AnyEventDoc;

/// Events on a page when the request does not say.
const DEFAULT_LIMIT: usize = 50;
/// Events on a page at most.
const MAX_LIMIT: usize = 200;

/// Which events are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct EventQuery {
    /// Of this type only: `track`, `camera_online`, `camera_offline`, `time_source`, `camera_clock_step`,
    /// `box_clock_step`.
    #[serde(rename = "type")]
    #[param(rename = "type")]
    kind: Option<String>,
    /// Of this camera only.
    cam: Option<String>,
    /// Of this class only; only events of type `track` have one.
    label: Option<String>,
    /// Older than this event: `next` of the page before.
    before: Option<Uuid>,
    /// At most this many, 1 to 200; 50 when not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
}

/// A page of events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// Events, newest first.
    pub events: Vec<AnyEventDoc>,
    /// `before` of the next page; `null` on the last.
    pub next: Option<String>,
}

/// Stored events, newest first, in pages.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(EventQuery),
    responses((status = 200, body = EventPage), (status = 400, description = "A parameter makes no sense", body = Problem)))]
pub(super) async fn list(
    State(state): State<WebState>,
    Params(query): Params<EventQuery>,
) -> Result<impl IntoResponse, Problem> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::bad_request(format!("limit must be 1 to {MAX_LIMIT}")));
    }
    let text = |t: Option<String>| t.filter(|t| !t.is_empty());
    let kind = text(query.kind);
    if let Some(kind) = &kind
        && kind != TRACK
        && !SystemChange::NAMES.contains(&kind.as_str())
    {
        return Err(Problem::bad_request(format!(
            "there is no type `{kind}`; use {TRACK}, {}",
            SystemChange::NAMES.join(", ")
        )));
    }
    let cam = text(query.cam)
        .map(|cam| StreamId::new(&cam))
        .transpose()
        .map_err(|e| Problem::bad_request(e.to_string()))?;
    // One more than asked tells whether there is a next page.
    let filter = EventFilter {
        kind,
        cam,
        label: text(query.label),
        before: query.before,
        limit: limit + 1,
    };
    let mut events = state.events.list(filter).await?;
    let more = events.len() > limit;
    events.truncate(limit);
    let next = events.last().filter(|_| more).map(|e| e.id().to_owned());
    Ok((NO_STORE, Json(EventPage { events, next })))
}

/// One event.
#[utoipa::path(get, path = "/api/v1/events/{id}", tag = "events", params(("id" = Uuid, Path, description = "Event id")),
    responses((status = 200, body = AnyEventDoc), (status = 404, description = "No such event", body = Problem)))]
pub(super) async fn get(
    State(state): State<WebState>,
    Path(id): Path<Uuid>,
) -> Result<impl IntoResponse, Problem> {
    let event = state.events.get(id).await?;
    let event = event.ok_or_else(|| Problem::not_found(format!("there is no event {id}")))?;
    Ok((NO_STORE, Json(event)))
}

/// The event's best picture. It changes while the event lasts: the browser keeps it but asks every time.
#[utoipa::path(get, path = "/api/v1/events/{id}/picture", tag = "events",
    params(("id" = Uuid, Path, description = "Event id")),
    responses((status = 200, description = "The picture", content_type = "image/jpeg", body = Vec<u8>),
        (status = 304, description = "Not changed"),
        (status = 404, description = "No such event, or no picture was kept", body = Problem)))]
pub(super) async fn picture(
    State(state): State<WebState>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let jpeg = state.events.picture(id).await?;
    let jpeg = jpeg.ok_or_else(|| Problem::not_found(format!("there is no picture of event {id}")))?;
    let digest = super::auth::hex(&Sha256::digest(&jpeg)[..16]);
    let tag = HeaderValue::from_str(&format!("\"{digest}\""))
        .map_err(|e| Problem::internal("naming the picture", e))?;
    let keep = HeaderValue::from_static("private, no-cache");
    let same = headers.get(header::IF_NONE_MATCH) == Some(&tag);
    let headers = [(header::CACHE_CONTROL, keep), (header::ETAG, tag)];
    if same {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("image/jpeg"))];
    Ok((headers, kind, jpeg).into_response())
}
