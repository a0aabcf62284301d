//! Live video over a WebSocket: coded pictures with their keys (docs/reference/live.md).
#![allow(unused_qualifications, reason = "utoipa's macro writes them for `VideoQuery`")]

use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use synoptic_base::StreamId;
use synoptic_media::coded::{CodedEvent, CodedFormat, CodedFrame, Ended, Subscription, Want};
use synoptic_media::mux::fmp4;
use synoptic_media::webrtc::rtp_time;
use utoipa::{IntoParams, ToSchema};

use super::problem::{Params, Path};
use super::socket::{self, Asked, Gone};
use super::{Problem, WebState, wire};

/// How pictures are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// H.264 access units in Annex B form, for WebCodecs.
    #[default]
    H264,
    /// Fragmented MP4, a picture a fragment, for Media Source Extensions.
    Fmp4,
    /// No pictures but their keys, each with the RTP time that it has by WHEP.
    Keys,
}

/// What a viewer wants.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct VideoQuery {
    /// How pictures are packed.
    #[serde(default)]
    #[param(inline)]
    format: Format,
}

/// The first message, and again when any of it changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct StreamDoc {
    r#type: &'static str,
    stream: String,
    epoch: u32,
    format: Format,
    codec: String,
    width: u32,
    height: u32,
    fps: Option<f64>,
    transcoded: Option<&'static str>,
    mime: String,
}

#[derive(Serialize)]
struct Gap {
    r#type: &'static str,
    reason: &'static str,
}

/// Live video of a camera or panorama as a WebSocket: texts and pictures as docs/reference/live.md says.
#[utoipa::path(get, path = "/api/v1/streams/{id}/video", tag = "streams",
    params(("id" = String, Path, description = "Camera or panorama id"), VideoQuery),
    responses((status = 101, description = "WebSocket of docs/reference/live.md"),
        (status = 400, description = "A parameter makes no sense, or this is no WebSocket", body = Problem),
        (status = 503, description = "Too many viewers", body = Problem)))]
pub(super) async fn get(
    State(state): State<WebState>,
    Path(id): Path<String>,
    Params(query): Params<VideoQuery>,
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
            let reader = state.hub.relay.stream(id).subscribe(Want::Playable);
            let mut viewer = Viewer {
                id,
                format: query.format,
                told: None,
                init_of: None,
                fragments: 0,
            };
            // A client that is gone needs no answer.
            viewer.serve(&state, &mut socket, reader).await.ok();
        }))
}

/// One viewer.
struct Viewer {
    id: StreamId,
    format: Format,
    told: Option<StreamDoc>,
    /// What the last initialization segment was of, within the epoch that was told.
    init_of: Option<Arc<CodedFormat>>,
    fragments: u32,
}

impl Viewer {
    async fn serve(
        &mut self,
        state: &WebState,
        socket: &mut WebSocket,
        mut reader: Subscription,
    ) -> Result<(), Gone> {
        let mut shutdown = state.shared.shutdown.clone();
        loop {
            tokio::select! {
                // The sender is dropped at shutdown; nothing is ever sent.
                _ = shutdown.changed() => {
                    socket::close(socket, socket::GOING_AWAY, "the box is stopping").await;
                    return Err(Gone);
                }
                message = socket.recv() => {
                    if let Asked::Text(kind, _) = socket::heard(state, socket, message).await? {
                        let detail = format!("`{kind}` means nothing here; `ping` does");
                        socket::complain(socket, "Bad Request", &detail).await?;
                    }
                }
                event = std::future::poll_fn(|context| reader.poll_next(context)) => match event {
                    Ok(event) => self.event(socket, event).await?,
                    Err(Ended::TooSlow) => {
                        socket::close(socket, socket::TOO_SLOW, "too slow for 10 s").await;
                        return Err(Gone);
                    }
                    Err(Ended::Removed) => {
                        let detail = format!("stream `{}` was removed", self.id);
                        socket::refuse(socket, socket::NO_STREAM, "Not Found", &detail).await;
                        return Err(Gone);
                    }
                },
            }
        }
    }

    async fn event(&mut self, socket: &mut WebSocket, event: CodedEvent) -> Result<(), Gone> {
        match event {
            CodedEvent::Gap(reason) => {
                let gap = Gap {
                    r#type: "gap",
                    reason: reason.name(),
                };
                socket::send_json(socket, &gap).await
            }
            CodedEvent::Waiting(reason) => {
                let doc = serde_json::json!({ "type": "waiting", "reason": reason });
                socket::send_json(socket, &doc).await
            }
            CodedEvent::Frame(frame) => self.picture(socket, &frame).await,
            CodedEvent::Sound(_) => Ok(()), // not asked for
        }
    }

    async fn picture(&mut self, socket: &mut WebSocket, frame: &CodedFrame) -> Result<(), Gone> {
        let doc = self.describe(frame);
        if self.told.as_ref() != Some(&doc) {
            socket::send_json(socket, &doc).await?;
            self.told = Some(doc);
            self.init_of = None;
        }
        let payload = match self.format {
            Format::H264 => frame.annex_b().to_vec(),
            Format::Fmp4 => {
                self.init(socket, frame).await?;
                self.fragments = self.fragments.wrapping_add(1);
                fmp4::fragment(self.fragments, frame)
            }
            Format::Keys => rtp_time(frame.key.media_us).to_le_bytes().to_vec(),
        };
        socket::send_bytes(socket, wire::picture(frame, &payload)).await
    }

    /// Sends an initialization segment where an IDR picture wants another one.
    async fn init(&mut self, socket: &mut WebSocket, frame: &CodedFrame) -> Result<(), Gone> {
        let epoch = frame.key.epoch.0;
        let format = &frame.format;
        let same = |of: &Arc<CodedFormat>| of.sps == format.sps && of.pps == format.pps;
        if self.init_of.as_ref().is_some_and(same) {
            return Ok(());
        }
        let segment = fmp4::init_segment(format);
        self.init_of = Some(Arc::clone(format));
        self.fragments = 0;
        socket::send_bytes(socket, wire::init_segment(epoch, &segment)).await
    }

    fn describe(&self, frame: &CodedFrame) -> StreamDoc {
        let format = &frame.format;
        let codec = format.rfc6381.clone();
        StreamDoc {
            r#type: "stream",
            stream: self.id.to_string(),
            epoch: frame.key.epoch.0,
            format: self.format,
            mime: format!("video/mp4; codecs=\"{codec}\""),
            codec,
            width: format.size.width,
            height: format.size.height,
            fps: format.fps,
            transcoded: format.transcoded,
        }
    }
}
