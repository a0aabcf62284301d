//! The newest picture of a camera, with what was found in that very picture.
//!
//! However many look, a frame is encoded once: the JPEG of a camera's newest frame is kept, and those who come
//! while it is being made wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use synoptic_base::{FrameKey, StreamId};

use super::problem::{NO_STORE, Path};
use super::{Problem, WebState, blocking, cameras::camera_id};
use crate::documents::{Capture, FrameDoc};
use crate::hub::LatestPicture;

/// Header that carries a [`FrameDoc`] as JSON in ASCII.
const FRAME_HEADER: HeaderName = HeaderName::from_static("synoptic-frame");

type Newest = Arc<tokio::sync::Mutex<Option<(FrameKey, Bytes)>>>;

/// The JPEG of each camera's newest frame.
#[derive(Default)]
pub(super) struct Pictures {
    newest: Mutex<HashMap<StreamId, Newest>>,
}

impl Pictures {
    fn of(&self, camera: StreamId) -> Newest {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(newest.entry(camera).or_default())
    }

    /// Drops the picture of a camera that was removed.
    pub(super) fn forget(&self, camera: &StreamId) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.remove(camera);
    }

    async fn jpeg(&self, state: &WebState, picture: &LatestPicture) -> Result<Bytes, Problem> {
        let key = picture.meta.key;
        let newest = self.of(key.stream);
        let mut newest = newest.lock().await;
        if let Some((_, jpeg)) = newest.as_ref().filter(|(known, _)| *known == key) {
            return Ok(jpeg.clone());
        }
        let (encode, pixels) = (state.encode_jpeg, Arc::clone(&picture.pixels));
        let jpeg = blocking(move || encode(pixels.as_ref()))
            .await?
            .map_err(|e| Problem::internal(&format!("encoding frame {key}"), e))?;
        let jpeg = Bytes::from(jpeg);
        *newest = Some((key, jpeg.clone()));
        Ok(jpeg)
    }
}

/// The newest picture of a camera. `synoptic-frame` says which frame it is and what was found in it. With the
/// `ETag` of the last one in `If-None-Match` the answer is 304 until there is a newer one.
#[utoipa::path(get, path = "/api/v1/cameras/{id}/picture", tag = "cameras",
    params(("id" = String, Path, description = "Camera id")),
    responses(
        (status = 200, description = "The picture", content_type = "image/jpeg", body = Vec<u8>,
            headers(("synoptic-frame" = String, description = "FrameDoc as JSON"), ("etag" = String, description = "The frame's key"))),
        (status = 204, description = "No picture yet"),
        (status = 304, description = "No newer picture"),
        (status = 404, description = "No such camera", body = Problem)))]
pub(super) async fn get(
    State(state): State<WebState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = camera_id(&id)?;
    let status = state.hub.status.borrow().clone();
    let known = status.is_some_and(|doc| doc.cameras.iter().any(|camera| camera.id == id.as_str()));
    newest(&state, &id, known, "camera", &headers).await
}

/// The newest picture of a stream; `known`: it is in the status document.
pub(super) async fn newest(
    state: &WebState,
    id: &StreamId,
    known: bool,
    kind: &str,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let Some(picture) = state.hub.picture(id) else {
        if known {
            return Ok((StatusCode::NO_CONTENT, NO_STORE).into_response());
        }
        return Err(Problem::not_found(format!("there is no {kind} `{id}`")));
    };
    let tag = HeaderValue::from_str(&format!("\"{}\"", picture.meta.key))
        .map_err(|e| Problem::internal("naming the frame", e))?;
    if headers.get(header::IF_NONE_MATCH) == Some(&tag) {
        return Ok((StatusCode::NOT_MODIFIED, NO_STORE, [(header::ETAG, tag)]).into_response());
    }
    let frame = HeaderValue::from_str(&ascii_json(&frame_doc(state, &picture))?)
        .map_err(|e| Problem::internal("describing the frame", e))?;
    let jpeg = state.shared.pictures.jpeg(state, &picture).await?;
    let kind = HeaderValue::from_static("image/jpeg");
    let headers = [
        (header::CONTENT_TYPE, kind),
        (FRAME_HEADER, frame),
        (header::ETAG, tag),
    ];
    Ok((NO_STORE, headers, jpeg).into_response())
}

fn frame_doc(state: &WebState, picture: &LatestPicture) -> FrameDoc {
    let meta = &picture.meta;
    FrameDoc {
        key: meta.key.to_string(),
        seq: meta.seq.0,
        width: meta.size.width,
        height: meta.size.height,
        capture: Capture::new(meta.captured, &(state.clock_map)()),
        detections: picture.detections.clone(),
    }
}

/// JSON for a header: what is not ASCII is escaped (RFC 8259 section 7).
fn ascii_json(doc: &FrameDoc) -> Result<String, Problem> {
    let text = serde_json::to_string(doc).map_err(|e| Problem::internal("describing the frame", e))?;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, ' '..='~') {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Ok(out)
}
