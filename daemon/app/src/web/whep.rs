//! Live video by WebRTC: WHEP (draft-ietf-wish-whep). Offers and answers go by here; the sessions themselves are in
//! [`synoptic_media::webrtc`], and the keys of their pictures in docs/reference/keys.md.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use synoptic_base::{Span, StreamId};
use synoptic_engine::pacing::ViewerGets;
use synoptic_media::webrtc::{IceServers, Session, SessionEnd, ViewerStatus, WebRtcError};
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use uuid::Uuid;

use super::problem::{NO_STORE, Path};
use super::{Problem, WebState, blocking, socket};

/// Sessions at once: each has a connection, its keys and some threads of its own.
const MAX_SESSIONS: usize = 32;
/// What offers and answers are (RFC 8866 section 8.1).
const SDP: &str = "application/sdp";
/// The epoch of the pictures, as docs/reference/live.md says.
const EPOCH: HeaderName = HeaderName::from_static("synoptic-epoch");

/// A viewer by WebRTC, and how he does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WebRtcViewerDoc {
    /// Name of his session, as in the address that ends it.
    pub session: String,
    /// Whether he is connected.
    pub connected: bool,
    /// Whether he gets sound.
    pub sound: bool,
    /// `all`: all pictures; `keys`: IDR pictures alone, until his line is well again.
    pub pictures: String,
    /// What is wrong with his line: `estimate`, `delay` or `loss`; `null`: nothing.
    pub trouble: Option<String>,
    /// What he thinks he can take, kbit/s (REMB); `null`: he does not say.
    pub estimate_kbps: Option<f64>,
    /// What the stream needs, kbit/s; `null` before it is known.
    pub stream_kbps: Option<f64>,
    /// From the box to him and back, milliseconds, by receiver reports.
    pub round_trip_ms: Option<f64>,
    /// Share of packets lost, 0 to 1, by the newest receiver report.
    pub lost: Option<f64>,
    /// Pictures that he did not get.
    pub left_out: u64,
}

impl WebRtcViewerDoc {
    fn new(name: &Uuid, status: &ViewerStatus) -> WebRtcViewerDoc {
        let (pictures, trouble) = match status.gets {
            ViewerGets::All => ("all", None),
            ViewerGets::Keys(trouble) => ("keys", Some(trouble.name().to_owned())),
        };
        WebRtcViewerDoc {
            session: name.to_string(),
            connected: status.connected,
            sound: status.sound,
            pictures: pictures.to_owned(),
            trouble,
            estimate_kbps: status.heard.estimate_bps.map(|bps| bps / 1e3),
            stream_kbps: status.stream_bps.map(|bps| bps / 1e3),
            round_trip_ms: status.heard.round_trip.map(Span::as_millis_f64),
            lost: status.heard.lost,
            left_out: status.left_out,
        }
    }
}

/// The sessions that run.
pub(super) struct Sessions {
    ice: IceServers,
    seats: Arc<Semaphore>,
    running: Arc<Running>,
}

type Running = Mutex<BTreeMap<Uuid, (StreamId, Session)>>;

fn locked(running: &Running) -> MutexGuard<'_, BTreeMap<Uuid, (StreamId, Session)>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sessions {
    pub(super) fn new(ice: IceServers) -> Sessions {
        Sessions {
            ice,
            seats: Arc::new(Semaphore::new(MAX_SESSIONS)),
            running: Arc::default(),
        }
    }

    /// Those who watch a stream, and how they do.
    pub(super) fn viewers(&self, stream: &StreamId) -> Vec<WebRtcViewerDoc> {
        let running = locked(&self.running);
        let of = running.iter().filter(|(_, (id, _))| id == stream);
        of.map(|(name, (_, session))| WebRtcViewerDoc::new(name, &session.status()))
            .collect()
    }

    /// Ends all.
    pub(super) fn end(&self) {
        locked(&self.running).clear();
    }
}

/// Watches a stream by WebRTC: the offer in, the answer out. The answer has all candidates; there is no trickle.
#[utoipa::path(post, path = "/api/v1/streams/{id}/whep", tag = "streams",
    params(("id" = String, Path, description = "Camera or panorama id")),
    request_body(content = String, content_type = "application/sdp", description = "The offer: video to receive, H.264"),
    responses((status = 201, description = "The answer. `Location`: what to DELETE at the end; `Link`: STUN and TURN servers; \
            `Synoptic-Epoch`: the epoch of all pictures", content_type = "application/sdp", body = String),
        (status = 400, description = "The offer makes no sense", body = Problem),
        (status = 404, description = "No such stream", body = Problem),
        (status = 415, description = "No application/sdp", body = Problem),
        (status = 422, description = "The offer takes nothing that can be sent", body = Problem),
        (status = 501, description = "This box has no WebRTC", body = Problem),
        (status = 503, description = "No picture comes, or too many viewers", body = Problem)))]
pub(super) async fn begin(
    State(state): State<WebState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let id = known(&state, &id)?;
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case(SDP) {
        let detail = format!("an offer is sent as {SDP}");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let offer = String::from_utf8(body.to_vec())
        .map_err(|_| Problem::bad_request("the offer makes no sense: it is no UTF-8"))?;
    let sessions = &state.shared.whep;
    let seat = Arc::clone(&sessions.seats)
        .try_acquire_owned()
        .map_err(|_| Problem::unavailable("too many viewers by WebRTC; close one"))?;
    let (stream, ice) = (state.hub.relay.stream(id), sessions.ice.clone());
    let name = Uuid::now_v7();
    let running = Arc::downgrade(&sessions.running);
    let ended = move |_: &SessionEnd| {
        // Its place is free when it holds nothing any more.
        drop(seat);
        if let Some(running) = running.upgrade() {
            locked(&running).remove(&name);
        }
    };
    let session = blocking(move || Session::begin(&stream, &offer, &ice, ended)).await?;
    let session = session.map_err(|error| problem(&error))?;
    let answer = session.answer().to_owned();
    let epoch = session.epoch();
    {
        let mut running = locked(&sessions.running);
        running.insert(name, (id, session));
        // One that has ended by now was not there to be removed.
        if running.get(&name).is_some_and(|(_, session)| session.is_over()) {
            running.remove(&name);
        }
    }
    let mut response = (StatusCode::CREATED, NO_STORE, answer).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    let place = HeaderValue::from_str(&format!("/api/v1/streams/{id}/whep/{name}"));
    headers.insert(
        header::LOCATION,
        place.map_err(|e| Problem::internal("the address of a session", e))?,
    );
    headers.insert(EPOCH, HeaderValue::from(epoch.0));
    add_links(headers, &sessions.ice);
    Ok(response)
}

/// The STUN and TURN servers, as `Link` headers (RFC 9725 section 4.6), to be known before the offer is made.
#[utoipa::path(options, path = "/api/v1/streams/{id}/whep", tag = "streams",
    params(("id" = String, Path, description = "Camera or panorama id")),
    responses((status = 204, description = "`Link`: a server each, with `rel=\"ice-server\"`"),
        (status = 404, description = "No such stream", body = Problem)))]
pub(super) async fn servers(
    State(state): State<WebState>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    known(&state, &id)?;
    let mut response = (StatusCode::NO_CONTENT, NO_STORE).into_response();
    let headers = response.headers_mut();
    headers.insert("accept-post", HeaderValue::from_static(SDP));
    add_links(headers, &state.shared.whep.ice);
    Ok(response)
}

/// Ends a session.
#[utoipa::path(delete, path = "/api/v1/streams/{id}/whep/{session}", tag = "streams",
    params(("id" = String, Path, description = "Camera or panorama id"),
        ("session" = String, Path, description = "The last part of `Location`")),
    responses((status = 200, description = "It ends"),
        (status = 404, description = "No such session, or none any more", body = Problem)))]
pub(super) async fn end(
    State(state): State<WebState>,
    Path((id, session)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let name = Uuid::parse_str(&session).ok();
    let mut running = locked(&state.shared.whep.running);
    let found = name.filter(|name| running.get(name).is_some_and(|(of, _)| of.as_str() == id));
    match found.and_then(|name| running.remove(&name)) {
        Some(_) => Ok(StatusCode::OK),
        None => Err(Problem::not_found(
            "there is no such session; it may have ended by itself",
        )),
    }
}

fn known(state: &WebState, id: &str) -> Result<StreamId, Problem> {
    socket::known(state, id).ok_or_else(|| Problem::not_found(format!("there is no stream `{id}`")))
}

fn problem(error: &WebRtcError) -> Problem {
    let status = match error {
        WebRtcError::Offer(_) => StatusCode::BAD_REQUEST,
        WebRtcError::Unable(_) => StatusCode::UNPROCESSABLE_ENTITY,
        WebRtcError::NoPicture { .. } => StatusCode::SERVICE_UNAVAILABLE,
        WebRtcError::Missing { .. } => StatusCode::NOT_IMPLEMENTED,
        WebRtcError::Broken { .. } => return Problem::internal("WebRTC", error),
    };
    Problem::new(status, error.to_string())
}

fn add_links(headers: &mut HeaderMap, ice: &IceServers) {
    let stun = ice.stun.iter().map(|url| format!("<{url}>; rel=\"ice-server\""));
    let turn = ice.turn.iter().map(|turn| {
        format!(
            "<{}>; rel=\"ice-server\"; username=\"{}\"; credential=\"{}\"; credential-type=\"password\"",
            turn.url,
            turn.user,
            turn.password.expose()
        )
    });
    for link in stun.chain(turn) {
        match HeaderValue::from_str(&link) {
            Ok(mut link) => {
                link.set_sensitive(true);
                headers.append(header::LINK, link);
            }
            // The configuration lets nothing else pass.
            Err(_) => log::error!("web: a server of `web.webrtc` cannot be told to viewers"),
        }
    }
}
