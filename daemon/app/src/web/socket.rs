//! What both WebSockets have in common: texts, ends, clocks, and a limit to how long a client may not read.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use serde::Serialize;
use serde_json::Value;
use synoptic_base::{Mono, StreamId};

use super::WebState;
use crate::documents::{PanoramaDoc, PanoramaState, round_ms};

/// A message that was not taken within this: the client is gone or hangs.
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// For the last words.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// Longest text of a client.
pub(super) const MAX_TEXT: usize = 4 * 1024;

/// Close codes (RFC 6455 section 7.4.1; 4000 and above are our own).
pub(super) const GOING_AWAY: u16 = 1001;
pub(super) const NO_STREAM: u16 = 4404;
pub(super) const TOO_SLOW: u16 = 4008;

/// The client is gone.
pub(super) struct Gone;

/// Sends a message.
pub(super) async fn send(socket: &mut WebSocket, message: Message) -> Result<(), Gone> {
    match tokio::time::timeout(SEND_LIMIT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Gone),
        Err(_) => {
            close(socket, TOO_SLOW, "too slow for 10 s").await;
            Err(Gone)
        }
    }
}

pub(super) async fn send_bytes(socket: &mut WebSocket, bytes: Vec<u8>) -> Result<(), Gone> {
    send(socket, Message::Binary(Bytes::from(bytes))).await
}

pub(super) async fn send_json(socket: &mut WebSocket, doc: &impl Serialize) -> Result<(), Gone> {
    match serde_json::to_string(doc) {
        Ok(text) => send(socket, Message::Text(text.into())).await,
        Err(error) => {
            log::error!("web: a message of a WebSocket cannot be written: {error}");
            Ok(())
        }
    }
}

#[derive(Serialize)]
struct ErrorDoc<'a> {
    r#type: &'static str,
    title: &'a str,
    detail: &'a str,
}

/// Says what is wrong, without an end.
pub(super) async fn complain(socket: &mut WebSocket, title: &str, detail: &str) -> Result<(), Gone> {
    let doc = ErrorDoc {
        r#type: "error",
        title,
        detail,
    };
    send_json(socket, &doc).await
}

/// Says what is wrong and closes.
pub(super) async fn refuse(socket: &mut WebSocket, code: u16, title: &str, detail: &str) {
    if complain(socket, title, detail).await.is_ok() {
        close(socket, code, title).await;
    }
}

/// Closes; a client that does not listen any more is left alone.
pub(super) async fn close(socket: &mut WebSocket, code: u16, why: &str) {
    let frame = CloseFrame {
        code,
        reason: why.into(),
    };
    tokio::time::timeout(CLOSE_LIMIT, socket.send(Message::Close(Some(frame))))
        .await
        .ok();
}

#[derive(Serialize)]
struct Pong {
    r#type: &'static str,
    t0: Value,
    t1: f64,
    t2: f64,
    error_ms: Option<f64>,
}

/// What came from a client.
pub(super) enum Asked {
    /// A JSON object with its `type`.
    Text(String, Value),
    /// Nothing that wants an answer.
    Nothing,
}

/// Takes a message; answers pings itself: the browser measures its clock by the four stamps of NTP (RFC 5905 section 8).
pub(super) async fn heard(
    state: &WebState,
    socket: &mut WebSocket,
    message: Option<Result<Message, axum::Error>>,
) -> Result<Asked, Gone> {
    let arrived = state.clock.now();
    let Some(Ok(message)) = message else {
        return Err(Gone);
    };
    let text = match message {
        Message::Text(text) => text,
        Message::Close(_) => return Err(Gone),
        Message::Binary(_) | Message::Ping(_) | Message::Pong(_) => return Ok(Asked::Nothing),
    };
    let doc: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    match doc.get("type").and_then(Value::as_str) {
        Some("ping") => {
            let map = (state.clock_map)();
            let ms = |at: Mono| map.utc(at).as_nanos() as f64 / 1e6;
            let pong = Pong {
                r#type: "pong",
                t0: doc.get("t0").cloned().unwrap_or(Value::Null),
                t1: ms(arrived),
                t2: ms(state.clock.now()),
                error_ms: map.error.map(round_ms),
            };
            send_json(socket, &pong).await?;
            Ok(Asked::Nothing)
        }
        Some(kind) => Ok(Asked::Text(kind.to_owned(), doc)),
        None => {
            complain(socket, "Bad Request", "send JSON objects with a `type`").await?;
            Ok(Asked::Nothing)
        }
    }
}

/// The stream of an id, where the box has one: a camera or a panorama that is to run, or what is relayed already.
pub(super) fn known(state: &WebState, text: &str) -> Option<StreamId> {
    let id = StreamId::new(text).ok()?;
    let configured = state.hub.status.borrow().clone();
    let configured = configured.is_some_and(|doc| {
        let camera = doc.cameras.iter().any(|c| c.id == id.as_str());
        let runs = |p: &PanoramaDoc| p.id == id.as_str() && p.status.state != PanoramaState::Stopped;
        camera || doc.panoramas.iter().any(runs)
    });
    (configured || state.hub.relay.find(&id).is_some()).then_some(id)
}
