//! The web server: the API under `/api/v1`, `/metrics`, and the page.
//!
//! It reads the [`Hub`] and asks the rest of the daemon through [`EventSource`] and [`CameraAdmin`]; it decides
//! nothing about cameras itself. Who may come in is in [`Access`]. Errors are problem details (RFC 9457).

mod api;
mod auth;
mod cameras;
mod clocks;
mod commands;
mod detections;
mod engine_metrics;
mod events;
mod guard;
mod health;
mod hls;
mod limit;
mod live;
mod live_metrics;
mod metrics;
mod output_metrics;
mod outputs;
mod page;
mod panoramas;
mod picture;
mod problem;
mod server;
mod session;
mod socket;
mod starts;
mod status;
mod stitch;
mod stitch_metrics;
mod streams;
mod tally;
#[cfg(test)]
pub(crate) mod tests;
mod tls;
mod update;
mod video;
mod virtual_cameras;
mod whep;
mod wire;
mod workings;

use std::sync::{Arc, Mutex};

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::{Json, Router, middleware};
use synoptic_base::{Clock, ClockMap, Surface};
use tokio::sync::{Semaphore, watch};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use api::{
    BoxFuture, CameraAdmin, CameraBias, Choices, DeviceChoice, EventFilter, EventSource, MappedBox,
    NewCamera, PanoramaAdmin, Transport,
};
pub use auth::{Auth, MAX_PASSWORD, MIN_PASSWORD};
pub use cameras::CreatedDoc;
pub use commands::{CommandAdmin, NoCommands};
pub use detections::{FoundDoc, FoundPage};
pub use events::EventPage;
pub use guard::Access;
pub use outputs::{NoOutputs, OutputAdmin};
pub use problem::Problem;
pub use server::{Bound, Listening, serve};
pub use session::{PasswordChange, PasswordDoc, SessionDoc};
pub use starts::{EpochStartDoc, NumberingDoc, StartDoc};
pub use stitch::{NoStitching, OutputPlace, StitchAdmin, StitchDoc, StitchState, StitchWish};
pub use streams::{WatchDoc, WatchUrls};
pub use virtual_cameras::VirtualCameraAdmin;

use crate::health::HealthDesk;
use crate::hub::Hub;
use crate::update::Updater;
use synoptic_media::Secret;
use synoptic_media::webrtc::IceServers;

/// Largest body of a request, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// Pages that may follow `/api/v1/live` at once.
const MAX_READERS: usize = 64;
/// Sockets and streams of live video and detections that may be open at once: a wall of nine in ten browsers.
const MAX_VIEWERS: usize = 192;
/// Camera tests that may run at once: each decodes a stream.
const MAX_PROBES: usize = 2;

/// Encodes a picture as JPEG.
pub type EncodeJpeg = fn(&dyn Surface) -> Result<Vec<u8>, String>;

/// What the server works with: what the daemon brings, and what only it knows. Cheap to clone.
#[derive(Clone)]
pub struct WebState {
    parts: Arc<Parts>,
    shared: Arc<Shared>,
}

impl std::ops::Deref for WebState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

/// What only the server itself knows.
struct Shared {
    pictures: picture::Pictures,
    tally: Arc<Mutex<tally::Tally>>,
    readers: Arc<Semaphore>,
    viewers: Arc<Semaphore>,
    hls: hls::Channels,
    whep: whep::Sessions,
    probes: Arc<Semaphore>,
    shutdown: watch::Receiver<()>,
}

/// What the daemon brings.
pub struct Parts {
    /// The live view.
    pub hub: Arc<Hub>,
    /// The box's clocks.
    pub clock: Arc<dyn Clock>,
    /// What the box knows of UTC now.
    pub clock_map: Arc<dyn Fn() -> ClockMap + Send + Sync>,
    /// Stored events.
    pub events: Arc<dyn EventSource>,
    /// Changes of the configuration.
    pub cameras: Arc<dyn CameraAdmin>,
    /// Calibrations of panoramas.
    pub panoramas: Arc<dyn PanoramaAdmin>,
    /// Virtual cameras.
    pub virtual_cameras: Arc<dyn VirtualCameraAdmin>,
    /// Panoramas on request.
    pub stitch: Arc<dyn StitchAdmin>,
    /// What leaves the box.
    pub outputs: Arc<dyn OutputAdmin>,
    /// Commands to the box.
    pub commands: Arc<dyn CommandAdmin>,
    /// Updates of the box's system.
    pub updates: Arc<Updater>,
    /// Whether the box does what it is configured to do.
    pub health: Arc<HealthDesk>,
    /// The password and the sessions.
    pub auth: Arc<Auth>,
    /// Encodes live pictures.
    pub encode_jpeg: EncodeJpeg,
    /// Opens `/metrics` and nothing else, beside a session.
    pub metrics_token: Option<Secret>,
}

impl WebState {
    fn new(parts: Parts, ice: IceServers, shutdown: watch::Receiver<()>) -> WebState {
        let shared = Shared {
            pictures: picture::Pictures::default(),
            tally: Arc::default(),
            readers: Arc::new(Semaphore::new(MAX_READERS)),
            viewers: Arc::new(Semaphore::new(MAX_VIEWERS)),
            hls: hls::Channels::default(),
            whep: whep::Sessions::new(ice),
            probes: Arc::new(Semaphore::new(MAX_PROBES)),
            shutdown,
        };
        WebState {
            parts: Arc::new(parts),
            shared: Arc::new(shared),
        }
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Synoptic",
        description = "The API of a Synoptic box. Times are RFC 3339 UTC; what is not known is `null`, never absent. \
            Errors are problem details (RFC 9457)."
    ),
    modifiers(&CookieSecurity),
    security(("session" = [])),
    components(schemas(Problem, crate::documents::FrameDoc, crate::documents::PacketLine))
)]
struct Api;

/// Declares the session cookie and the token of `/metrics`.
struct CookieSecurity;
impl utoipa::Modify for CookieSecurity {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
        let scheme = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
            "__Host-synoptic",
            "From POST /api/v1/session. Not needed on loopback addresses.",
        )));
        api.components
            .get_or_insert_default()
            .add_security_scheme("session", scheme);
        let mut token = Http::new(HttpAuthScheme::Bearer);
        token.description =
            Some("`web.metrics_token` of the configuration. Not needed on loopback addresses.".to_owned());
        api.components
            .get_or_insert_default()
            .add_security_scheme("metrics_token", SecurityScheme::Http(token));
    }
}

/// Every route with its description: one cannot be had without the other.
fn described_routes(state: Option<&WebState>) -> OpenApiRouter<WebState> {
    let mut closed = OpenApiRouter::new()
        .routes(routes!(status::get))
        .routes(routes!(health::get))
        .routes(routes!(live::get))
        .routes(routes!(cameras::list, cameras::add))
        .routes(routes!(cameras::test))
        .routes(routes!(cameras::remove))
        .routes(routes!(cameras::choices))
        .routes(routes!(clocks::time))
        .routes(routes!(clocks::measure))
        .routes(routes!(picture::get))
        .routes(routes!(panoramas::list, panoramas::add))
        .routes(routes!(panoramas::get, panoramas::change, panoramas::remove))
        .routes(routes!(panoramas::start))
        .routes(routes!(panoramas::stop))
        .routes(routes!(panoramas::pause))
        .routes(routes!(panoramas::resume))
        .routes(routes!(panoramas::picture))
        .routes(routes!(panoramas::job, panoramas::calibrate))
        .routes(routes!(
            panoramas::control_points,
            panoramas::set_control_points,
            panoramas::add_control_points
        ))
        .routes(routes!(panoramas::calibrations))
        .routes(routes!(panoramas::accept, panoramas::discard))
        .routes(routes!(panoramas::calibration))
        .routes(routes!(panoramas::calibration_picture))
        .routes(routes!(panoramas::restore))
        .routes(routes!(panoramas::map))
        .routes(routes!(virtual_cameras::list, virtual_cameras::add))
        .routes(routes!(
            virtual_cameras::get,
            virtual_cameras::steer,
            virtual_cameras::remove
        ))
        .routes(routes!(virtual_cameras::settings, virtual_cameras::change))
        .routes(routes!(virtual_cameras::newest))
        .routes(routes!(stitch::list, stitch::begin))
        .routes(routes!(stitch::get, stitch::end))
        .routes(routes!(outputs::list, outputs::add))
        .routes(routes!(outputs::get, outputs::replace, outputs::remove))
        .routes(routes!(commands::list))
        .routes(routes!(commands::get, commands::ask))
        .routes(routes!(commands::support_bundle))
        .routes(routes!(commands::export))
        .merge(
            OpenApiRouter::new()
                .routes(routes!(commands::import))
                .layer(DefaultBodyLimit::max(commands::MAX_IMPORT)),
        )
        .routes(routes!(starts::get))
        .routes(routes!(update::get, update::begin, update::cancel))
        .routes(routes!(update::reboot))
        .routes(routes!(events::list))
        .routes(routes!(events::get))
        .routes(routes!(events::picture))
        .routes(routes!(streams::list))
        .routes(routes!(streams::http_flv))
        .routes(routes!(hls::get))
        .routes(routes!(video::get))
        .routes(routes!(whep::begin, whep::servers))
        .routes(routes!(whep::end))
        .routes(routes!(detections::follow))
        .routes(routes!(detections::history))
        .routes(routes!(metrics::get))
        .routes(routes!(session::change))
        .routes(routes!(openapi));
    if let Some(state) = state {
        closed = closed.route_layer(middleware::from_fn_with_state(state.clone(), guard::signed_in));
    }
    OpenApiRouter::with_openapi(Api::openapi())
        .merge(closed)
        .routes(routes!(session::get, session::sign_in, session::sign_out))
        .routes(routes!(session::set_up))
}

/// The server's routes for an address that is served as `access` says.
fn router(state: WebState, access: Access) -> Router {
    let (routes, _) = described_routes(Some(&state)).split_for_parts();
    routes
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "the Allow header says what is possible here",
            )
        })
        .fallback(page::get)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(guard::at_the_door))
        .layer(axum::Extension(access))
        .with_state(state)
}

/// The description of the API, as committed in docs/reference/openapi.json.
pub fn openapi_document() -> utoipa::openapi::OpenApi {
    described_routes(None).into_openapi()
}

/// This description: OpenAPI 3.1.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "status",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = String)))]
async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(openapi_document())
}

/// Runs what blocks off the server's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Problem::internal("a task of the web server", e))
}
