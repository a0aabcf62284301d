//! How an output does, as the API tells it.

use std::sync::{Mutex, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use synoptic_base::{ClockMap, Mono};
use utoipa::ToSchema;

/// How a stream leaves the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// Pushed by RTMP.
    RtmpPush,
    /// Pushed by RTSP.
    RtspPush,
    /// Served by RTSP.
    RtspServer,
}

/// What an output does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputState {
    /// There is nothing to send: no picture, or no client.
    #[default]
    Waiting,
    /// The server has not taken pictures yet.
    Connecting,
    /// Pictures are taken.
    Running,
    /// It failed, and is tried again.
    Retrying,
    /// It is not to run.
    Stopped,
}

/// An output and how it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct OutputDoc {
    /// Its id.
    pub id: String,
    /// The camera or panorama that is shown.
    pub stream: String,
    /// How it leaves.
    pub kind: OutputKind,
    /// Where to, or where it is served; never with a password, an RTMP stream's name or a query.
    pub url: String,
    /// Whether it is in the configuration; else it lasts until the daemon ends or who started it stops it.
    pub configured: bool,
    /// What it does.
    pub state: OutputState,
    /// Why, where there is a reason.
    pub reason: Option<String>,
    /// Since when it is in this state, RFC 3339.
    pub since: Option<String>,
    /// Why the box codes its pictures anew; `null`: they are the camera's own, or none came yet.
    pub transcoded: Option<String>,
    /// The sound that goes with them: `aac`, `opus`, `pcma` or `pcmu`; `null`: none, or none came yet.
    pub sound: Option<String>,
    /// What the camera's sound is, where the box codes it anew for this output; `null`: it is the camera's own.
    pub sound_transcoded: Option<String>,
    /// Pixels across; `null` before the first picture.
    pub width: Option<u32>,
    /// Pixels down.
    pub height: Option<u32>,
    /// Who watches now; `null` for what is pushed.
    pub clients: Option<usize>,
    /// Pictures sent since it was started: to the server, or to the clients' common pipeline.
    pub pictures: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Pictures left out since nobody took them in time.
    pub left_out: u64,
    /// Pictures of these that were sent again, so that the rate is constant.
    pub repeated: u64,
    /// Connections that failed.
    pub failures: u64,
}

/// What changes while an output runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Now {
    pub(super) state: OutputState,
    pub(super) reason: Option<String>,
    pub(super) since: Option<Mono>,
    pub(super) transcoded: Option<&'static str>,
    pub(super) size: Option<(u32, u32)>,
    pub(super) clients: Option<usize>,
    pub(super) pictures: u64,
    pub(super) bytes: u64,
    pub(super) left_out: u64,
    pub(super) repeated: u64,
    pub(super) failures: u64,
}

impl Now {
    /// Goes into another state; the same again only renews the reason.
    pub(super) fn enter(&mut self, state: OutputState, reason: Option<String>, at: Mono) {
        if self.state != state || self.since.is_none() {
            self.since = Some(at);
        }
        self.state = state;
        self.reason = reason;
    }

    pub(super) fn doc(self, mut about: OutputDoc, map: &ClockMap) -> OutputDoc {
        about.state = self.state;
        about.reason = self.reason;
        about.since = self.since.map(|at| map.utc(at).to_rfc3339());
        about.transcoded = self.transcoded.map(str::to_owned);
        (about.width, about.height) = (self.size.map(|s| s.0), self.size.map(|s| s.1));
        about.clients = self.clients;
        about.pictures = self.pictures;
        about.bytes = self.bytes;
        about.left_out = self.left_out;
        about.repeated = self.repeated;
        about.failures = self.failures;
        about
    }
}

/// The same, shared with the thread that changes it.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<Now>);

impl Board {
    pub(super) fn change(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn now(&self) -> Now {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
