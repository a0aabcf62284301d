//! When streams began: how a relative time stamp becomes UTC.
#![allow(unused_qualifications, reason = "utoipa's macro writes them for `StartQuery`")]

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use synoptic_base::StreamStart;
use utoipa::{IntoParams, ToSchema};

use super::problem::{NO_STORE, Params, Path};
use super::{Problem, WebState, cameras};
use crate::documents::round_ms;

/// What is asked besides.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct StartQuery {
    /// A time stamp of the sender (RTMP and FLV: milliseconds), to be turned into UTC.
    timestamp: Option<u32>,
}

/// How a sender numbers its pictures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NumberingDoc {
    /// Its time stamp of the epoch's media time zero, modulo 2^32.
    pub first: u32,
    /// Ticks a second: 1000 in RTMP and FLV, 90000 in RTP and HLS.
    pub clock_rate_hz: u32,
}

/// When an epoch of a stream began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EpochStartDoc {
    /// The epoch, as in a frame's key.
    pub epoch: u32,
    /// UTC of media time zero: UTC of a key is this plus its media time.
    pub utc: String,
    /// The truth lies within ± this; `null` while the box's clock is not synchronised.
    pub error_ms: Option<f64>,
    /// How it is known: one of the values of a camera's `time.source`.
    pub source: String,
    /// How much faster than the box's the stream's clock runs; `null` until measured.
    pub drift_ppm: Option<f64>,
    /// `null` for files and devices.
    pub numbering: Option<NumberingDoc>,
}

/// When a stream began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StartDoc {
    /// The stream.
    pub stream: String,
    /// The newest epoch.
    pub newest: EpochStartDoc,
    /// UTC of the time stamp that was asked for; `null` when none was, or the stream has no numbering.
    pub asked_utc: Option<String>,
    /// Earlier epochs, the newest first, also of earlier runs of the daemon.
    pub earlier: Vec<EpochStartDoc>,
}

fn doc(start: &StreamStart) -> EpochStartDoc {
    EpochStartDoc {
        epoch: start.epoch.0,
        utc: start.utc.to_rfc3339(),
        error_ms: start.error.map(round_ms),
        source: start.source.name().to_owned(),
        drift_ppm: start.drift_ppm,
        numbering: start.numbering.map(|n| NumberingDoc {
            first: n.first,
            clock_rate_hz: n.clock_rate_hz,
        }),
    }
}

/// When a stream began, and the UTC of a time stamp of it.
#[utoipa::path(get, path = "/api/v1/streams/{id}/start", tag = "cameras",
    params(("id" = String, Path, description = "Stream id"), StartQuery),
    responses((status = 200, body = StartDoc),
        (status = 404, description = "No such stream, or no picture of it yet", body = Problem)))]
pub(super) async fn get(
    State(state): State<WebState>,
    Path(id): Path<String>,
    Params(query): Params<StartQuery>,
) -> Result<impl IntoResponse, Problem> {
    let id = cameras::camera_id(&id)?;
    let starts = state.hub.starts.of(&id);
    let Some((newest, earlier)) = starts.split_first() else {
        return Err(Problem::not_found(format!(
            "nothing is known of when stream {id} began: no picture of it came yet"
        )));
    };
    let now = (state.clock_map)().utc(state.clock.now());
    let asked = query.timestamp.and_then(|t| newest.utc_of_timestamp(t, now));
    let doc = StartDoc {
        stream: id.to_string(),
        newest: doc(newest),
        asked_utc: asked.map(synoptic_base::Utc::to_rfc3339),
        earlier: earlier.iter().map(doc).collect(),
    };
    Ok((NO_STORE, Json(doc)))
}
