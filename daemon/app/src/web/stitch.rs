//! `POST /stitch`: a panorama of two streams on request, sent to where the request says.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use synoptic_base::{Span, StreamId};
use tokio::sync::watch;
use url::Url;
use utoipa::ToSchema;

use super::problem::{Body, NO_STORE, Path};
use super::{Problem, WatchUrls, WebState, blocking};
use crate::config::{Credentials, split_credentials};
use crate::outputs::{OutputDoc, OutputTarget};

/// Seconds within which both streams must be read and calibrated, unless asked otherwise: as long as the workers of the
/// service that this one takes the place of had.
const TIMEOUT_S: f64 = 120.0;
/// Seconds that may be asked for.
const TIMEOUT_RANGE_S: std::ops::RangeInclusive<f64> = 5.0..=600.0;
/// Longest address, in bytes.
const MAX_URL: usize = 2048;
/// What can be read, and what can be sent to.
const READ: [&str; 6] = ["rtsp", "rtsps", "rtmp", "rtmps", "http", "https"];
const PUSHED: [&str; 4] = ["rtsp", "rtsps", "rtmp", "rtmps"];
/// Where the box serves streams.
const SERVED: &str = "/live/";

/// What is asked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StitchRequest {
    /// The first stream: rtsp://, rtsps://, rtmp://, rtmps://, or http(s):// of HTTP-FLV or HLS.
    url1: String,
    /// The second stream.
    url2: String,
    /// Where the panorama goes: rtsp(s):// or rtmp(s):// are pushed to; `http://BOX/live/NAME.flv` is served by this box.
    output_url: String,
    /// Seconds within which both streams must be read and calibrated, 5 to 600; 120 when `null`.
    #[serde(default)]
    timeout: Option<f64>,
    /// Answer only when the panorama runs or will not; else at once. `true` when `null`.
    #[serde(default)]
    wait: Option<bool>,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StitchState {
    /// The streams are being read.
    Reading,
    /// It is found out where they look.
    Calibrating,
    /// The panorama runs.
    Running,
    /// It does not, and nothing of it is left: see `reason`.
    Failed,
}

/// A panorama on request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StitchDoc {
    /// Its id: the same request has the same.
    pub id: String,
    /// How far it is.
    pub status: StitchState,
    /// What it waits for, what is wrong with the panorama, or why it failed; `null` when all is well.
    pub reason: Option<String>,
    /// Part of the calibration that is done, 0 to 1.
    pub progress: f64,
    /// When it was asked for.
    pub begun: String,
    /// The first stream, without user and password.
    pub url1: String,
    /// The second stream, without user and password.
    pub url2: String,
    /// Where the panorama goes, without user, password and an RTMP stream's name.
    pub output_url: String,
    /// Id of its panorama, of `/api/v1/panoramas`.
    pub panorama: String,
    /// Ids of its cameras.
    pub cameras: [String; 2],
    /// Where it can be watched on this box.
    pub urls: WatchUrls,
    /// How the push does, or the serving by RTSP; `null` before it began, and for what is served by HTTP-FLV.
    pub output: Option<OutputDoc>,
}

/// Where a panorama goes.
#[derive(Clone, Debug)]
pub enum OutputPlace {
    /// To this box: it is served under its id.
    Served {
        /// The id.
        name: StreamId,
        /// The address.
        shown: String,
    },
    /// To a server.
    Pushed {
        /// The server.
        target: OutputTarget,
        /// Its address, without user and password.
        address: String,
        /// The same as it may be shown: without what lets others in.
        shown: String,
    },
}

impl OutputPlace {
    /// The address as it may be shown.
    pub fn shown(&self) -> String {
        match self {
            OutputPlace::Served { shown, .. } | OutputPlace::Pushed { shown, .. } => shown.clone(),
        }
    }
}

/// A request that makes sense.
#[derive(Clone, Debug)]
pub struct StitchWish {
    /// The streams.
    pub sources: [Credentials; 2],
    /// Where the panorama goes.
    pub output: OutputPlace,
    /// Within which it must run.
    pub timeout: Span,
}

impl StitchWish {
    /// What makes two requests the same.
    pub fn identity(&self) -> [String; 3] {
        let [one, two] = self.sources.clone().map(|s| s.url);
        let output = match &self.output {
            OutputPlace::Served { shown, .. } => shown.clone(),
            OutputPlace::Pushed { address, .. } => address.clone(),
        };
        [one, two, output]
    }
}

/// Starts and ends panoramas on request. Every method may block; the server calls them off its own threads.
pub trait StitchAdmin: Send + Sync {
    /// Begins one; the receiver tells how far it is. Needs a runtime. 409 when the same runs, 503 when as many run as may.
    fn begin(&self, wish: StitchWish) -> Result<watch::Receiver<StitchDoc>, Problem>;
    /// All, those that failed lately too.
    fn list(&self) -> Vec<StitchDoc>;
    /// Ends one with all that belongs to it. 404 when there is none.
    fn end(&self, id: &str) -> Result<(), Problem>;
}

/// A box that makes no panoramas on request.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStitching;

impl StitchAdmin for NoStitching {
    fn begin(&self, _: StitchWish) -> Result<watch::Receiver<StitchDoc>, Problem> {
        Err(Problem::unavailable("this box makes no panoramas on request"))
    }
    fn list(&self) -> Vec<StitchDoc> {
        Vec::new()
    }
    fn end(&self, id: &str) -> Result<(), Problem> {
        Err(Problem::not_found(format!("there is no request `{id}`")))
    }
}

impl StitchRequest {
    fn checked(self, host: Option<&str>) -> Result<(StitchWish, bool), Problem> {
        let timeout = self.timeout.unwrap_or(TIMEOUT_S);
        if !TIMEOUT_RANGE_S.contains(&timeout) {
            return Err(Problem::invalid("timeout", "give 5 to 600 seconds"));
        }
        let sources = [source("url1", &self.url1)?, source("url2", &self.url2)?];
        if sources[0].url == sources[1].url {
            return Err(Problem::invalid(
                "url2",
                "is the first stream again: give another",
            ));
        }
        let wish = StitchWish {
            sources,
            output: output(&self.output_url, host)?,
            timeout: Span::from_secs_f64(timeout),
        };
        Ok((wish, self.wait.unwrap_or(true)))
    }
}

/// The scheme of an address and the address without user and password.
fn address(field: &str, text: &str, schemes: &[&str]) -> Result<(String, Credentials), Problem> {
    let text = text.trim();
    if text.len() > MAX_URL || text.chars().any(|c| c.is_control() || c == ' ') {
        let why = "has a blank or a control character, or is too long";
        return Err(Problem::invalid(field, why));
    }
    let scheme = text
        .split_once("://")
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    let scheme = scheme.filter(|s| schemes.contains(&s.as_str())).ok_or_else(|| {
        let known: Vec<String> = schemes.iter().map(|s| format!("{s}://")).collect();
        Problem::invalid(field, format!("use one of {}", known.join(", ")))
    })?;
    let parts = split_credentials(text).map_err(|e| Problem::invalid(field, e.to_string()))?;
    Ok((scheme, parts))
}

fn source(field: &str, text: &str) -> Result<Credentials, Problem> {
    let (_, parts) = address(field, text, &READ)?;
    crate::config::parse_source(&parts.url, std::path::Path::new("/"))
        .map_err(|e| Problem::invalid(field, e.to_string()))?;
    Ok(parts)
}

/// Where the panorama is to go. `host` is the box as the client calls it.
fn output(text: &str, host: Option<&str>) -> Result<OutputPlace, Problem> {
    let field = "output_url";
    let (scheme, parts) = address(field, text, &READ)?;
    if PUSHED.contains(&scheme.as_str()) {
        let target = OutputTarget::from_url(text).map_err(|why| Problem::invalid(field, why))?;
        let shown = match &target {
            OutputTarget::Push(push) => push.shown(),
            OutputTarget::Serve { path } => path.clone(),
        };
        return Ok(OutputPlace::Pushed {
            target,
            address: parts.url,
            shown,
        });
    }
    let url = Url::parse(&parts.url).map_err(|e| Problem::invalid(field, format!("is no address: {e}")))?;
    let host = host.unwrap_or("BOX");
    let name = url
        .path()
        .strip_prefix(SERVED)
        .and_then(|rest| rest.strip_suffix(".flv"));
    let Some(name) = name.filter(|_| is_own(&url, host)) else {
        return Err(Problem::invalid(
            field,
            format!(
                "{scheme}:// is served by this box only: write {scheme}://{host}{SERVED}NAME.flv, or push to rtsp:// or rtmp://"
            ),
        ));
    };
    let name = StreamId::new(name).map_err(|e| Problem::invalid(field, e.to_string()))?;
    Ok(OutputPlace::Served {
        name,
        shown: parts.url,
    })
}

/// Whether an address is that of the host that the client called; the names of loopback are one.
fn is_own(url: &Url, host: &str) -> bool {
    let Ok(own) = Url::parse(&format!("{}://{host}/", url.scheme())) else {
        return false;
    };
    let loopback = |url: &Url| match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    let same_host = url.host() == own.host() || loopback(url) && loopback(&own);
    same_host && url.port_or_known_default() == own.port_or_known_default()
}

/// Begins a panorama of two streams and sends it to `output_url`. The answer comes when it runs (202) or when it is known that
/// it will not (422, with the reason); with `"wait": false` at once, and the status tells the rest.
#[utoipa::path(post, path = "/stitch", tag = "stitch", request_body = StitchRequest,
    responses((status = 202, description = "It runs (or, with `wait: false`, has begun); Location: its status", body = StitchDoc),
        (status = 400, description = "The body makes no sense", body = Problem),
        (status = 409, description = "The same request is running, or a stream has that name", body = Problem),
        (status = 422, description = "A field's value cannot be, or a stream cannot be read or calibrated in time", body = Problem),
        (status = 503, description = "As many run as may", body = Problem)))]
pub(super) async fn begin(
    State(state): State<WebState>,
    headers: HeaderMap,
    Body(request): Body<StitchRequest>,
) -> Result<impl IntoResponse, Problem> {
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
    let (wish, wait) = request.checked(host)?;
    let stitch = Arc::clone(&state.stitch);
    let mut news = blocking(move || stitch.begin(wish)).await??;
    let mut shutdown = state.shared.shutdown.clone();
    let doc = loop {
        let doc = news.borrow_and_update().clone();
        match doc.status {
            StitchState::Failed => {
                let why = doc.reason.unwrap_or_default();
                return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why));
            }
            StitchState::Reading | StitchState::Calibrating if wait => {}
            _ => break doc,
        }
        tokio::select! {
            changed = news.changed() => if changed.is_err() {
                return Err(Problem::conflict("it was ended meanwhile, by DELETE"));
            },
            // The sender is dropped at shutdown; nothing is ever sent.
            _ = shutdown.changed() => return Err(Problem::unavailable("the box is stopping")),
        }
    };
    let place = format!("/stitch/{}", doc.id);
    Ok((
        StatusCode::ACCEPTED,
        [(header::LOCATION, place)],
        NO_STORE,
        Json(doc),
    ))
}

/// All panoramas on request, those that failed lately too.
#[utoipa::path(get, path = "/stitch", tag = "stitch", responses((status = 200, body = Vec<StitchDoc>)))]
pub(super) async fn list(State(state): State<WebState>) -> Result<impl IntoResponse, Problem> {
    let found = blocking(move || state.stitch.list()).await?;
    Ok((NO_STORE, Json(found)))
}

/// How far a panorama on request is.
#[utoipa::path(get, path = "/stitch/{id}", tag = "stitch", params(("id" = String, Path, description = "Id of the request")),
    responses((status = 200, body = StitchDoc), (status = 404, description = "No such request", body = Problem)))]
pub(super) async fn get(
    State(state): State<WebState>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let all = blocking(move || state.stitch.list()).await?;
    let found = all.into_iter().find(|doc| doc.id == id);
    let doc = found.ok_or_else(|| Problem::not_found(format!("there is no request `{id}`")))?;
    Ok((NO_STORE, Json(doc)))
}

/// Ends a panorama on request: its output, its panorama, its cameras, its calibrations.
#[utoipa::path(delete, path = "/stitch/{id}", tag = "stitch", params(("id" = String, Path, description = "Id of the request")),
    responses((status = 204, description = "Ended"), (status = 404, description = "No such request", body = Problem)))]
pub(super) async fn end(
    State(state): State<WebState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let stitch = Arc::clone(&state.stitch);
    blocking(move || stitch.end(&id)).await??;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url1: &str, url2: &str, output_url: &str) -> StitchRequest {
        StitchRequest {
            url1: url1.to_owned(),
            url2: url2.to_owned(),
            output_url: output_url.to_owned(),
            timeout: None,
            wait: None,
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_field() {
        let (one, two, out) = ("rtsp://a/1", "rtmp://b/live/2", "rtsp://c:8554/live");
        for (request, field) in [
            (request("/etc/passwd", two, out), "url1"),
            (request("file:///dev/video0", two, out), "url1"),
            (request(one, "http://b/page.html", out), "url2"),
            (request(one, one, out), "url2"),
            (request(one, two, "srt://c/x"), "output_url"),
            (request(one, two, "http://elsewhere/live/x.flv"), "output_url"),
            (request(one, two, "http://localhost:8080/x.flv"), "output_url"),
            (
                request(one, two, "http://localhost:8080/live/No Id.flv"),
                "output_url",
            ),
            (
                StitchRequest {
                    timeout: Some(1.0),
                    ..request(one, two, out)
                },
                "timeout",
            ),
        ] {
            let problem = request.checked(Some("127.0.0.1:8080")).unwrap_err();
            assert_eq!(
                (problem.status, problem.field.as_deref()),
                (422, Some(field)),
                "{problem:?}"
            );
        }
    }

    #[test]
    fn the_box_serves_its_own_address_and_pushes_to_others_without_telling_passwords() {
        let host = Some("127.0.0.1:8080");
        let served = request(
            "rtsp://u:p@a/1",
            "rtsp://a/2",
            "http://localhost:8080/live/yard.flv",
        );
        let (wish, wait) = served.checked(host).unwrap();
        assert!(wait && matches!(&wish.output, OutputPlace::Served { name, .. } if name.as_str() == "yard"));
        assert_eq!(wish.sources[0].url, "rtsp://a/1");
        assert_eq!(wish.timeout, Span::from_secs(120));
        let pushed = request("rtsp://a/1", "rtsp://a/2", "rtmp://u:secret@c/live/x");
        let (wish, _) = pushed.checked(host).unwrap();
        assert_eq!(wish.identity()[2], "rtmp://c/live/x");
        assert!(!format!("{wish:?}").contains("secret"));
        let own = |url: &str, host| is_own(&Url::parse(url).unwrap(), host);
        assert!(own("http://box.local/live/a.flv", "box.local:80"));
        assert!(!own("http://box.local:81/live/a.flv", "box.local"));
        assert!(!own("http://localhost/live/a.flv", "box.local"));
    }
}
