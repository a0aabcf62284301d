//! Routes of the streams: what there is to watch, and HTTP-FLV; HLS is next door ([`super::hls`]).

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use synoptic_base::{Span, StreamId};
use synoptic_media::coded::{CodedEvent, CodedFrame, SoundWant, Subscription, Want};
use synoptic_media::mux::flv::FlvWriter;
use synoptic_media::mux::hls;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use utoipa::ToSchema;

use super::problem::{NO_STORE, Path};
use super::whep::WebRtcViewerDoc;
use super::{Problem, WebState, socket};

/// A first picture is waited for so long: an encoder starts, a camera's next IDR picture comes.
const FIRST_PICTURE: Span = Span::from_secs(15);
/// A client that was told that there is nothing may ask again after so many seconds.
const RETRY_S: u64 = 1;

/// A stream that can be watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WatchDoc {
    /// Id of the camera, the panorama or the virtual camera.
    pub id: String,
    /// `camera`, `panorama` or `virtual_camera`.
    pub kind: String,
    /// Why no pictures come now; `null` while they do.
    pub waiting: Option<String>,
    /// What a player gets, RFC 6381; `null` before the first picture (where the box codes it: before somebody watches).
    pub codec: Option<String>,
    /// Pixels across.
    pub width: Option<u32>,
    /// Pixels down.
    pub height: Option<u32>,
    /// Pictures a second as the stream says.
    pub fps: Option<f64>,
    /// Its sound: `aac`, `opus`, `pcma`, `pcmu` as the camera sends it; `null`: none, or none is taken. By HLS and HTTP-FLV
    /// G.711 comes as AAC, by HTTP-FLV Opus too.
    pub sound: Option<String>,
    /// Why the box codes it anew: `h265`, `mjpeg`, `raw`, `b_frames`, `rotation`, `no_idr`, `panorama`,
    /// `virtual_camera`; `null`: the camera's own.
    pub transcoded: Option<String>,
    /// How often the encoder failed, those of outputs that run among them; each time it was started anew, or the next best
    /// one took over.
    pub encoder_failures: u64,
    /// Who watches now.
    pub viewers: usize,
    /// Those of them by WebRTC, and how they do.
    pub webrtc: Vec<WebRtcViewerDoc>,
    /// Where, by kind.
    pub urls: WatchUrls,
}

/// Where a stream can be watched, relative to the box's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WatchUrls {
    /// WebSocket of H.264 access units or fragmented MP4.
    pub video: String,
    /// WebSocket of detections.
    pub detections: String,
    /// HTTP-FLV.
    pub http_flv: String,
    /// Low-latency HLS.
    pub hls: String,
    /// WebRTC by WHEP.
    pub whep: String,
}

impl WatchUrls {
    /// Those of a stream.
    pub(crate) fn of(id: &str) -> WatchUrls {
        WatchUrls {
            video: format!("/api/v1/streams/{id}/video"),
            detections: format!("/api/v1/streams/{id}/detections"),
            http_flv: format!("/live/{id}.flv"),
            hls: format!("/live/{id}/{}", hls::PLAYLIST),
            whep: format!("/api/v1/streams/{id}/whep"),
        }
    }
}

/// What there is to watch.
#[utoipa::path(get, path = "/api/v1/streams", tag = "streams",
    responses((status = 200, body = Vec<WatchDoc>), (status = 503, description = "Still starting", body = Problem)))]
pub(super) async fn list(State(state): State<WebState>) -> Result<impl IntoResponse, Problem> {
    let status = super::status::newest(&state)?;
    let cameras: Vec<&str> = status.cameras.iter().map(|c| c.id.as_str()).collect();
    let views = state.virtual_cameras.list();
    let views: Vec<StreamId> = views.iter().filter_map(|v| StreamId::new(&v.id).ok()).collect();
    let of = |stream: Arc<synoptic_media::coded::CodedStream>| {
        let id = stream.id().to_string();
        let format = stream.format(Want::Playable);
        let kind = if cameras.contains(&id.as_str()) {
            "camera"
        } else if views.contains(&stream.id()) {
            "virtual_camera"
        } else {
            "panorama"
        };
        WatchDoc {
            kind: kind.to_owned(),
            waiting: stream.why_waiting(),
            codec: format.as_ref().map(|f| f.rfc6381.clone()),
            width: format.as_ref().map(|f| f.size.width),
            height: format.as_ref().map(|f| f.size.height),
            fps: format.as_ref().and_then(|f| f.fps),
            sound: stream
                .sound_format(SoundWant::Native)
                .map(|sound| sound.codec.name().to_owned()),
            transcoded: stream.transcoded().map(str::to_owned),
            encoder_failures: stream.encoder_failures(),
            viewers: stream.readers(),
            webrtc: state.shared.whep.viewers(&stream.id()),
            urls: WatchUrls::of(&id),
            id,
        }
    };
    let streams: Vec<WatchDoc> = state.hub.relay.streams().into_iter().map(of).collect();
    Ok((NO_STORE, Json(streams)))
}

/// Live video as HTTP-FLV, for players of that kind. It ends where the epoch does, and when the stream goes down: connect
/// anew then.
#[utoipa::path(get, path = "/live/{file}", tag = "streams",
    params(("file" = String, Path, description = "Camera or panorama id, and `.flv`")),
    responses((status = 200, description = "FLV without an end", content_type = "video/x-flv", body = Vec<u8>),
        (status = 404, description = "No such stream", body = Problem),
        (status = 503, description = "No picture comes, and why; or too many viewers", body = Problem)))]
pub(super) async fn http_flv(
    State(state): State<WebState>,
    Path(file): Path<String>,
) -> Result<Response, Problem> {
    let id = file.strip_suffix(".flv").and_then(|id| socket::known(&state, id));
    let id = id
        .ok_or_else(|| Problem::not_found(format!("there is no stream `{file}`; write its id and `.flv`")))?;
    let seat = Arc::clone(&state.shared.viewers)
        .try_acquire_owned()
        .map_err(|_| Problem::unavailable("too many pages are open; close one"))?;
    let stream = state.hub.relay.stream(id);
    let mut reader = stream.subscribe_with(Want::Playable, Some(SoundWant::Flv));
    let first = first_picture(&mut reader).await.map_err(|why| Problem {
        retry_after_s: Some(RETRY_S),
        ..Problem::unavailable(format!("`{id}` cannot be watched now: {why}"))
    })?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(feed(state, reader, first, sender, seat));
    let headers = [
        (header::CONTENT_TYPE, "video/x-flv"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(ReceiverStream::new(receiver))).into_response())
}

type Chunk = Result<Bytes, Infallible>;

/// The first picture, or why none comes.
async fn first_picture(reader: &mut Subscription) -> Result<Arc<CodedFrame>, String> {
    let first = async {
        loop {
            match std::future::poll_fn(|context| reader.poll_next(context)).await {
                Ok(CodedEvent::Frame(frame)) => return Ok(frame),
                Ok(CodedEvent::Waiting(why)) => return Err(why),
                Ok(CodedEvent::Gap(_) | CodedEvent::Sound(_)) => {}
                Err(_) => return Err("it was removed".to_owned()),
            }
        }
    };
    let none = || Err(format!("no picture came within {FIRST_PICTURE}"));
    tokio::time::timeout(FIRST_PICTURE.to_std(), first)
        .await
        .unwrap_or_else(|_| none())
}

/// Writes until the client is gone, the epoch ends, the stream goes down, or the client never catches up.
async fn feed(
    state: WebState,
    mut reader: Subscription,
    first: Arc<CodedFrame>,
    out: mpsc::Sender<Chunk>,
    _seat: OwnedSemaphorePermit,
) {
    let mut shutdown = state.shared.shutdown.clone();
    let epoch = first.key.epoch;
    let mut writer = FlvWriter::new(reader.stream().has_sound());
    let mut bytes = writer.picture(&first);
    drop(first);
    loop {
        // One that does not read waits here, and its reader falls behind until it is ended.
        if !bytes.is_empty() {
            tokio::select! {
                sent = out.send(Ok(bytes.into())) => if sent.is_err() { return },
                _ = shutdown.changed() => return,
            }
        }
        let event = tokio::select! {
            () = out.closed() => return,
            // The sender is dropped at shutdown; nothing is ever sent.
            _ = shutdown.changed() => return,
            event = std::future::poll_fn(|context| reader.poll_next(context)) => event,
        };
        bytes = match event {
            Ok(CodedEvent::Frame(frame)) if frame.key.epoch == epoch => writer.picture(&frame),
            Ok(CodedEvent::Sound(sound)) => writer.sound(&sound),
            Ok(CodedEvent::Gap(_)) => Vec::new(),
            // Nothing comes for now, or something else: a client that heard of it connects anew, one that waits hangs.
            Ok(CodedEvent::Frame(_) | CodedEvent::Waiting(_)) | Err(_) => return,
        };
    }
}
