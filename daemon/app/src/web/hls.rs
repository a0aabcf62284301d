//! Low-latency HLS: a channel for each stream that somebody watches this way. What is in a playlist and when is decided in
//! [`synoptic_media::mux::hls`]; here is who waits for it.
//!
//! A channel begins with the first request and reads the stream like any viewer, so a stream that the box must code is coded
//! from then on. It ends when nobody has asked for anything for 15 s and the length of a segment.
#![allow(unused_qualifications, reason = "utoipa's macro writes them for `Directives`")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use synoptic_base::{Mono, Span, StreamId};
use synoptic_media::coded::{CodedEvent, Ended, SoundWant, Subscription, Want};
use synoptic_media::mux::hls::{Asked, File, Found, Hls};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use utoipa::IntoParams;

use super::problem::{Params, Path};
use super::{Problem, WebState, socket};

/// Nobody has asked for this long, and a segment's length more: nobody watches.
const IDLE: Span = Span::from_secs(15);
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A stream without a whole segment is told of after this: the longest one is over by then.
const FIRST_SEGMENT: Span = Span::from_secs(15);
/// A request that waits is answered within so many target durations (8216bis section 6.2.5.2).
const TARGETS: i64 = 3;
/// A player that was told that there is nothing may ask again after so many seconds.
const RETRY_S: u64 = 1;

/// The channels that run.
#[derive(Default)]
pub(super) struct Channels(Mutex<BTreeMap<StreamId, Arc<Channel>>>);

/// What a channel has.
struct Line {
    hls: Hls,
    /// Why nothing comes now: who waits hears it at once.
    down: Option<String>,
}

/// A stream on its way to those who watch it by HLS.
struct Channel {
    line: Mutex<Line>,
    /// + 1 with every part; `None` when the channel has ended.
    version: watch::Sender<Option<u64>>,
    asked: Mutex<Mono>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Delivery directives (8216bis section 6.2.5); others are passed over.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Directives {
    /// The playlist is answered with once it has this segment, or `_HLS_part` of it.
    #[serde(rename = "_HLS_msn")]
    msn: Option<u64>,
    /// A part of that segment, from 0.
    #[serde(rename = "_HLS_part")]
    part: Option<u64>,
}

/// Live video as low-latency HLS: the playlist `index.m3u8`, and the files that it names. The playlist and the next part are
/// answered with when they are there.
#[utoipa::path(get, path = "/live/{id}/{file}", tag = "streams",
    params(("id" = String, Path, description = "Camera or panorama id"),
        ("file" = String, Path, description = "`index.m3u8`, or a file named there"), Directives),
    responses((status = 200, description = "The playlist, or fragmented MP4", content_type = "application/vnd.apple.mpegurl",
            body = String),
        (status = 400, description = "What is waited for is too far ahead", body = Problem),
        (status = 404, description = "No such stream, or no such file any more", body = Problem),
        (status = 503, description = "No picture comes, or too many viewers", body = Problem)))]
pub(super) async fn get(
    State(state): State<WebState>,
    Path((id, file)): Path<(String, String)>,
    Params(directives): Params<Directives>,
) -> Result<Response, Problem> {
    let stream =
        socket::known(&state, &id).ok_or_else(|| Problem::not_found(format!("there is no stream `{id}`")))?;
    let file = File::named(&file).ok_or_else(|| {
        Problem::not_found(format!(
            "there is no file `{file}`; `index.m3u8` names those that there are"
        ))
    })?;
    if directives.part.is_some() && directives.msn.is_none() {
        return Err(Problem::bad_request("`_HLS_part` needs `_HLS_msn`"));
    }
    // Held while the request is answered: one that waits is a viewer.
    let _seat = Arc::clone(&state.shared.viewers)
        .try_acquire_owned()
        .map_err(|_| Problem::unavailable("too many pages are open; close one"))?;
    let channel = channel(&state, stream, file)?;
    let answer = match file {
        File::Playlist => channel.playlist(&state, stream, &directives).await,
        file => channel.file(&state, stream, file).await,
    };
    // It was waited for: it is wanted still.
    *locked(&channel.asked) = state.clock.now();
    answer
}

/// The channel of a stream; a playlist begins one.
fn channel(state: &WebState, id: StreamId, file: File) -> Result<Arc<Channel>, Problem> {
    let mut channels = locked(&state.shared.hls.0);
    let now = state.clock.now();
    if let Some(channel) = channels.get(&id) {
        *locked(&channel.asked) = now;
        return Ok(Arc::clone(channel));
    }
    if file != File::Playlist {
        return Err(gone());
    }
    let stream = state.hub.relay.stream(id);
    let reader = stream.subscribe_with(Want::Playable, Some(SoundWant::Mp4));
    let (gop, sound) = (stream.gop(Want::Playable), stream.sound_format(SoundWant::Mp4));
    let channel = Arc::new(Channel {
        line: Mutex::new(Line {
            hls: Hls::new(gop, sound),
            down: None,
        }),
        version: watch::Sender::new(Some(0)),
        asked: Mutex::new(now),
    });
    channels.insert(id, Arc::clone(&channel));
    drop(channels);
    tokio::spawn(run(state.clone(), Arc::clone(&channel), reader));
    Ok(channel)
}

/// Reads the stream until nobody asks any more, or it is removed.
async fn run(state: WebState, channel: Arc<Channel>, mut reader: Subscription) {
    let id = reader.stream().id();
    let mut shutdown = state.shared.shutdown.clone();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            // The sender is dropped at shutdown; nothing is ever sent.
            _ = shutdown.changed() => break,
            _ = look.tick() => {
                if is_over(&state, id, &channel) {
                    log::debug!("{id}: nobody watches by HLS any more");
                    break;
                }
                continue;
            }
            event = std::future::poll_fn(|context| reader.poll_next(context)) => event,
        };
        let new = match event {
            Ok(CodedEvent::Frame(frame)) => {
                let mut line = locked(&channel.line);
                line.down = None;
                line.hls.picture(frame)
            }
            Ok(CodedEvent::Sound(sound)) => locked(&channel.line).hls.sound(sound),
            Ok(CodedEvent::Gap(_)) => {
                locked(&channel.line).hls.gap();
                false
            }
            Ok(CodedEvent::Waiting(why)) => {
                let mut line = locked(&channel.line);
                line.hls.gap();
                line.down = Some(why);
                true
            }
            Err(Ended::Removed) => {
                locked(&channel.line).down = Some("it was removed".to_owned());
                break;
            }
            // This task never got the processor.
            Err(Ended::TooSlow) => {
                locked(&channel.line).down = Some("this box is too busy".to_owned());
                break;
            }
        };
        if new {
            channel
                .version
                .send_modify(|version| *version = version.map(|n| n + 1));
        }
    }
    let mut channels = locked(&state.shared.hls.0);
    if channels.get(&id).is_some_and(|now| Arc::ptr_eq(now, &channel)) {
        channels.remove(&id);
    }
    channel.version.send_replace(None);
}

/// Whether nobody has asked for long enough; then nobody finds the channel from now on.
fn is_over(state: &WebState, id: StreamId, channel: &Arc<Channel>) -> bool {
    let mut channels = locked(&state.shared.hls.0);
    let idle = IDLE + locked(&channel.line).hls.target();
    let over = state.clock.now() - *locked(&channel.asked) > idle;
    if over {
        channels.remove(&id);
    }
    over
}

impl Channel {
    /// Waits until `look` finds something; `None` when it did not within `limit`.
    async fn when<T>(&self, state: &WebState, limit: Span, look: impl Fn(&Line) -> Option<T>) -> Option<T> {
        let mut version = self.version.subscribe();
        let mut shutdown = state.shared.shutdown.clone();
        let found = async {
            loop {
                // Before the look: what comes while it looks is seen in the next round.
                let over = version.borrow_and_update().is_none();
                let found = look(&locked(&self.line));
                if found.is_some() || over {
                    return found;
                }
                tokio::select! {
                    // The sender is dropped at shutdown; nothing is ever sent.
                    _ = shutdown.changed() => return None,
                    changed = version.changed() => if changed.is_err() { return None },
                }
            }
        };
        tokio::time::timeout(limit.to_std(), found).await.ok().flatten()
    }

    async fn playlist(
        &self,
        state: &WebState,
        id: StreamId,
        wanted: &Directives,
    ) -> Result<Response, Problem> {
        // At once where none is to be expected.
        let why = || state.hub.relay.find(&id).and_then(|stream| stream.why_waiting());
        let begun = |line: &Line| match (&line.down, line.hls.playlist()) {
            (None, Some(_)) => Some(Ok(())),
            (Some(why), _) => Some(Err(why.clone())),
            (None, None) => why().map(Err),
        };
        let begun = self.when(state, FIRST_SEGMENT, begun).await;
        if let Err(why) = begun.unwrap_or_else(|| Err(format!("no picture came within {FIRST_SEGMENT}"))) {
            return Err(not_now(id, &why));
        }
        let limit = locked(&self.line).hls.target() * TARGETS;
        let asked = |line: &Line| match wanted.msn.map(|msn| line.hls.asked(msn, wanted.part)) {
            Some(Asked::TooFar) => Some(Err(Problem::bad_request(
                "`_HLS_msn` is too far ahead of the playlist",
            ))),
            Some(Asked::NotYet) => line.down.as_ref().map(|why| Err(not_now(id, why))),
            Some(Asked::There) | None => line.hls.playlist().map(Ok),
        };
        let text = self.when(state, limit, asked).await;
        let text = text.unwrap_or_else(|| Err(not_now(id, &format!("no picture came within {limit}"))))?;
        Ok(answer("application/vnd.apple.mpegurl", Body::from(text)))
    }

    async fn file(&self, state: &WebState, id: StreamId, file: File) -> Result<Response, Problem> {
        let limit = locked(&self.line).hls.target() * TARGETS;
        let find = |line: &Line| match line.hls.file(file) {
            Found::NotYet => line.down.as_ref().map(|why| Err(not_now(id, why))),
            Found::There(bytes) => Some(Ok(bytes)),
            Found::Never => Some(Err(gone())),
        };
        let found = self.when(state, limit, find).await;
        let bytes = found.unwrap_or_else(|| Err(not_now(id, &format!("no picture came within {limit}"))))?;
        let length = bytes.iter().map(Bytes::len).sum::<usize>();
        let pieces = tokio_stream::iter(bytes.into_iter().map(Ok::<_, Infallible>));
        let mut answer = answer("video/mp4", Body::from_stream(pieces));
        answer.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        Ok(answer)
    }
}

fn not_now(id: StreamId, why: &str) -> Problem {
    Problem {
        retry_after_s: Some(RETRY_S),
        ..Problem::unavailable(format!("`{id}` cannot be watched now: {why}"))
    }
}

fn gone() -> Problem {
    Problem::not_found("this part of the stream is gone, or never was; load the playlist again")
}

fn answer(kind: &'static str, body: Body) -> Response {
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}
