//! Detections by key: a WebSocket that follows streams, and what was found before (docs/reference/live.md).
#![allow(
    unused_qualifications,
    reason = "utoipa's macro writes them for `HistoryQuery`"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use synoptic_base::{FrameKey, StreamId, Utc};
use synoptic_store::DetectionQuery;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;
use utoipa::{IntoParams, ToSchema};

use super::problem::{NO_STORE, Params, Path};
use super::socket::{self, Asked, Gone};
use super::{Problem, WebState, cameras::camera_id};
use crate::documents::{Capture, DetectionDoc, StatusDoc, round_ms};
use crate::found::{FoundNews, Looked};

/// Frames that were passed over are told of this often at most.
const SKIPPED_EVERY: Duration = Duration::from_millis(50);
/// How long results take is told this often.
const LATENCY_EVERY: Duration = Duration::from_secs(1);
/// Streams that one socket may follow.
const MAX_STREAMS: usize = 64;
/// Keys of one `skipped` message at most; more are told in further ones.
const MAX_KEYS: usize = 256;
/// Results on a page of the history.
const DEFAULT_LIMIT: u32 = 200;
const MAX_LIMIT: u32 = 1_000;

/// An object in a frame, in pixels of the frame.
#[derive(Debug, Serialize)]
struct BoxDoc<'a> {
    id: Option<u64>,
    x: f32,
    y: f32,
    width: f32,
    height: f32,
    confidence: f32,
    class: &'a str,
}

/// What was found in a frame.
#[derive(Debug, Serialize)]
struct DetectionsDoc<'a> {
    r#type: &'static str,
    stream: String,
    timestamp: i64,
    frame_id: u64,
    key: String,
    epoch: u32,
    media_us: i64,
    capture: Capture,
    width: u32,
    height: u32,
    detections: Vec<BoxDoc<'a>>,
}

fn describe<'a>(state: &WebState, looked: &'a Looked) -> DetectionsDoc<'a> {
    let meta = &looked.meta;
    let (width, height) = (meta.size.width as f32, meta.size.height as f32);
    let media_us = meta.key.media_us.as_micros();
    let of = |d: &'a DetectionDoc| BoxDoc {
        id: d.track,
        x: d.bbox[0] * width,
        y: d.bbox[1] * height,
        width: d.bbox[2] * width,
        height: d.bbox[3] * height,
        confidence: d.score,
        class: &d.label,
    };
    DetectionsDoc {
        r#type: "detections",
        stream: meta.key.stream.to_string(),
        timestamp: media_us.div_euclid(1_000),
        frame_id: meta.seq.0,
        key: meta.key.to_string(),
        epoch: meta.key.epoch.0,
        media_us,
        capture: Capture::new(meta.captured, &(state.clock_map)()),
        width: meta.size.width,
        height: meta.size.height,
        detections: looked.detections.iter().map(of).collect(),
    }
}

/// What detectors find in a camera or panorama, frame by frame, as a WebSocket of docs/reference/live.md.
#[utoipa::path(get, path = "/api/v1/streams/{id}/detections", tag = "streams",
    params(("id" = String, Path, description = "Camera or panorama id")),
    responses((status = 101, description = "WebSocket of docs/reference/live.md"),
        (status = 400, description = "This is no WebSocket", body = Problem),
        (status = 503, description = "Too many viewers", body = Problem)))]
pub(super) async fn follow(
    State(state): State<WebState>,
    Path(id): Path<String>,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|e| Problem::bad_request(e.body_text()))?;
    let seat = Arc::clone(&state.shared.viewers)
        .try_acquire_owned()
        .map_err(|_| Problem::unavailable("too many pages are open; close one"))?;
    Ok(upgrade
        .max_message_size(socket::MAX_TEXT)
        .on_upgrade(move |mut socket| async move {
            let _seat = seat;
            let Some(id) = socket::known(&state, &id) else {
                let detail = format!("there is no stream `{id}`");
                return socket::refuse(&mut socket, socket::NO_STREAM, "Not Found", &detail).await;
            };
            let mut follower = Follower {
                state,
                streams: BTreeSet::new(),
                skipped: BTreeMap::new(),
            };
            // A client that is gone needs no answer.
            follower.serve(&mut socket, id).await.ok();
        }))
}

/// Who looks at a stream: at a camera its detector, at a panorama those of its cameras.
fn detector_of(doc: &StatusDoc, stream: &StreamId) -> Option<String> {
    let of_camera = |id: &str| doc.cameras.iter().find(|c| c.id == id)?.detector.clone();
    let Some(panorama) = doc.panoramas.iter().find(|p| p.id == stream.as_str()) else {
        return of_camera(stream.as_str());
    };
    let members = panorama.status.cameras.iter();
    let names: BTreeSet<String> = members.filter_map(|m| of_camera(&m.cam)).collect();
    (!names.is_empty()).then(|| names.into_iter().collect::<Vec<_>>().join(", "))
}

/// One follower.
struct Follower {
    state: WebState,
    streams: BTreeSet<StreamId>,
    /// Passed over, and not told yet.
    skipped: BTreeMap<StreamId, Vec<FrameKey>>,
}

impl Follower {
    async fn serve(&mut self, socket: &mut WebSocket, first: StreamId) -> Result<(), Gone> {
        let state = self.state.clone();
        let mut news = state.hub.found.follow();
        let mut shutdown = state.shared.shutdown.clone();
        self.join(socket, first).await?;
        let mut flush = tokio::time::interval(SKIPPED_EVERY);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut latency = tokio::time::interval(LATENCY_EVERY);
        latency.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // The sender is dropped at shutdown; nothing is ever sent.
                _ = shutdown.changed() => {
                    socket::close(socket, socket::GOING_AWAY, "the box is stopping").await;
                    return Err(Gone);
                }
                message = socket.recv() => {
                    if let Asked::Text(kind, doc) = socket::heard(&state, socket, message).await? {
                        let stream = doc.get("stream").and_then(|s| s.as_str()).unwrap_or_default();
                        self.asked(socket, &kind, stream).await?;
                    }
                }
                news = news.recv() => match news {
                    Ok(news) => self.news(socket, &news).await?,
                    Err(RecvError::Lagged(count)) => {
                        socket::send_json(socket, &json!({ "type": "lost", "count": count })).await?;
                    }
                    Err(RecvError::Closed) => return Err(Gone),
                },
                _ = flush.tick() => self.tell_skipped(socket).await?,
                _ = latency.tick() => self.tell_latency(socket).await?,
            }
        }
    }

    async fn asked(&mut self, socket: &mut WebSocket, kind: &str, stream: &str) -> Result<(), Gone> {
        let known = socket::known(&self.state, stream);
        match (kind, known) {
            ("join", Some(id)) if self.streams.contains(&id) || self.streams.len() < MAX_STREAMS => {
                self.join(socket, id).await
            }
            ("join", Some(_)) => {
                let detail = format!("one socket follows {MAX_STREAMS} streams at most; open another");
                socket::complain(socket, "Too Many Requests", &detail).await
            }
            ("leave", Some(id)) => {
                self.streams.remove(&id);
                self.skipped.remove(&id);
                let doc = json!({ "type": "left", "stream": id.as_str() });
                socket::send_json(socket, &doc).await
            }
            ("join" | "leave", None) => {
                let detail = format!("there is no stream `{stream}`");
                socket::complain(socket, "Not Found", &detail).await
            }
            _ => {
                let detail = format!("`{kind}` means nothing here; `join`, `leave` and `ping` do");
                socket::complain(socket, "Bad Request", &detail).await
            }
        }
    }

    async fn join(&mut self, socket: &mut WebSocket, id: StreamId) -> Result<(), Gone> {
        let state = self.state.clone();
        let now = state.clock.now();
        let delay = state.hub.found.delay(&id, now);
        let latency = delay.map(|d| json!({ "p50": round_ms(d.p50), "p99": round_ms(d.p99) }));
        let status = state.hub.status.borrow().clone();
        let detector = status.and_then(|doc| detector_of(&doc, &id));
        let doc =
            json!({ "type": "joined", "stream": id.as_str(), "latency_ms": latency, "detector": detector });
        socket::send_json(socket, &doc).await?;
        let recent = state.hub.found.recent(&id, now);
        for looked in recent {
            socket::send_json(socket, &describe(&state, &looked)).await?;
        }
        self.streams.insert(id);
        Ok(())
    }

    async fn news(&mut self, socket: &mut WebSocket, news: &FoundNews) -> Result<(), Gone> {
        match news {
            FoundNews::Looked(looked) if self.streams.contains(&looked.meta.key.stream) => {
                let doc = describe(&self.state, looked);
                socket::send_json(socket, &doc).await
            }
            FoundNews::Looked(_) => Ok(()),
            FoundNews::Skipped(keys) => {
                for key in keys.iter().filter(|k| self.streams.contains(&k.stream)) {
                    let waiting = self.skipped.entry(key.stream).or_default();
                    waiting.push(*key);
                }
                Ok(())
            }
        }
    }

    async fn tell_skipped(&mut self, socket: &mut WebSocket) -> Result<(), Gone> {
        for (stream, keys) in std::mem::take(&mut self.skipped) {
            for keys in keys.chunks(MAX_KEYS) {
                let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
                let doc = json!({ "type": "skipped", "stream": stream.as_str(), "keys": keys });
                socket::send_json(socket, &doc).await?;
            }
        }
        Ok(())
    }

    async fn tell_latency(&mut self, socket: &mut WebSocket) -> Result<(), Gone> {
        let now = self.state.clock.now();
        for stream in self.streams.clone() {
            if let Some(delay) = self.state.hub.found.delay(&stream, now) {
                let doc = json!({ "type": "latency", "stream": stream.as_str(), "p50_ms": round_ms(delay.p50),
                    "p99_ms": round_ms(delay.p99) });
                socket::send_json(socket, &doc).await?;
            }
        }
        Ok(())
    }
}

/// Which results are wanted: those of one frame, or of a time.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    /// Of this frame: `stream/epoch/media_us`.
    key: Option<String>,
    /// Of frames captured at this time or later, RFC 3339.
    from: Option<String>,
    /// Of frames captured before this time, RFC 3339.
    to: Option<String>,
    /// Of frames after this one: `next` of the page before.
    after: Option<String>,
    /// At most this many, 1 to 1000; 200 when not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// What a detector found in one frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FoundDoc {
    /// The frame, `stream/epoch/media_us`.
    pub key: String,
    /// Its media time in whole milliseconds.
    pub timestamp: i64,
    /// Which detector looked.
    pub detector: String,
    /// When it was captured.
    pub capture: Capture,
    /// What it found; boxes in fractions of the picture. Tracks are not stored here: `track` is `null`.
    pub detections: Vec<DetectionDoc>,
}

/// A page of results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FoundPage {
    /// Oldest first.
    pub frames: Vec<FoundDoc>,
    /// `after` of the next page; `null` on the last.
    pub next: Option<String>,
}

/// What detectors found before, by frame key or by time.
#[utoipa::path(get, path = "/api/v1/streams/{id}/detections/history", tag = "streams",
    params(("id" = String, Path, description = "Camera or panorama id"), HistoryQuery),
    responses((status = 200, body = FoundPage),
        (status = 400, description = "A parameter makes no sense", body = Problem),
        (status = 404, description = "No such stream", body = Problem)))]
pub(super) async fn history(
    State(state): State<WebState>,
    Path(id): Path<String>,
    Params(query): Params<HistoryQuery>,
) -> Result<impl IntoResponse, Problem> {
    let stream = camera_id(&id)?;
    let key = |text: &Option<String>| -> Result<Option<FrameKey>, Problem> {
        let Some(text) = text else { return Ok(None) };
        let key: Option<FrameKey> = text.parse().ok();
        key.filter(|k| k.stream == stream).map(Some).ok_or_else(|| {
            Problem::bad_request(format!(
                "`{text}` is no frame key of `{stream}`: write {stream}/epoch/media_us"
            ))
        })
    };
    let time = |text: &Option<String>| -> Result<Option<Utc>, Problem> {
        let Some(text) = text else { return Ok(None) };
        let bad = || Problem::bad_request(format!("`{text}` is no time: write it as 2026-11-21T10:00:00Z"));
        Utc::from_rfc3339(text).map(Some).ok_or_else(bad)
    };
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::bad_request(format!("limit must be 1 to {MAX_LIMIT}")));
    }
    if let Some(frame) = key(&query.key)? {
        let frames = state.events.found_in(frame).await?;
        return Ok((NO_STORE, Json(FoundPage { frames, next: None })));
    }
    let wanted = DetectionQuery {
        stream,
        after: key(&query.after)?,
        from: time(&query.from)?,
        to: time(&query.to)?,
        limit: limit + 1,
    };
    let mut frames = state.events.found(wanted).await?;
    let more = frames.len() > limit as usize;
    frames.truncate(limit as usize);
    let next = frames.last().filter(|_| more).map(|f| f.key.clone());
    Ok((NO_STORE, Json(FoundPage { frames, next })))
}
