//! Binds the addresses and serves them until shutdown.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Access, Parts, WebState, router, tally, tls};
use crate::config::WebConfig;

/// Requests in progress have this long to finish at shutdown.
const GRACE: Duration = Duration::from_secs(2);

/// An address that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The address, with the port that was really bound.
    pub address: SocketAddr,
    /// How it is served.
    pub access: Access,
}

impl Listening {
    /// The address as a browser takes it.
    pub fn url(&self) -> String {
        let scheme = if self.access.https { "https" } else { "http" };
        format!("{scheme}://{}/", self.address)
    }
}

/// A server that runs.
pub struct Bound {
    /// What it listens on, in the order of the configuration.
    pub listening: Vec<Listening>,
    tasks: JoinSet<()>,
}

impl Bound {
    /// Waits until every request is answered and every socket closed. Ends about 2 s after shutdown at the latest.
    pub async fn stopped(mut self) {
        while let Some(done) = self.tasks.join_next().await {
            if let Err(e) = done {
                log::error!("web: a task of the server failed: {e}");
            }
        }
    }
}

/// Binds every address of the configuration and serves it until the sender of `shutdown` is dropped.
///
/// Port 0 takes a free port. Must be called within a tokio runtime. Fails when an address cannot be bound, or
/// the certificate cannot be read or made; then nothing is left running.
pub async fn serve(
    config: &WebConfig,
    data_dir: &Path,
    parts: Parts,
    shutdown: watch::Receiver<()>,
) -> anyhow::Result<Bound> {
    let wanted = config
        .listen
        .iter()
        .map(|a| (*a, Access::of(*a)))
        .collect::<Vec<_>>();
    serve_as(&wanted, config, data_dir, parts, shutdown).await
}

/// [`serve`], with the way each address is served given: for tests, which have loopback only.
pub(super) async fn serve_as(
    wanted: &[(SocketAddr, Access)],
    config: &WebConfig,
    data_dir: &Path,
    parts: Parts,
    shutdown: watch::Receiver<()>,
) -> anyhow::Result<Bound> {
    let state = WebState::new(parts, config.ice.clone(), shutdown.clone());
    let tls = if wanted.iter().any(|(_, access)| access.https) {
        let (own, data_dir) = (config.tls.clone(), data_dir.to_owned());
        let made = tokio::task::spawn_blocking(move || tls::config(&tls::pair(own.as_ref(), &data_dir)?));
        Some(RustlsConfig::from_config(
            made.await.context("making the TLS key")??,
        ))
    } else {
        None
    };
    // All are bound before any is served: a failure leaves nothing behind.
    let mut sockets = Vec::new();
    for (address, access) in wanted {
        let socket = TcpListener::bind(address).with_context(|| {
            format!("cannot listen on {address}: is it in use, or not an address of this box?")
        })?;
        socket.set_nonblocking(true).context("preparing a socket")?;
        let address = socket.local_addr().context("asking a socket for its address")?;
        sockets.push((
            socket,
            Listening {
                address,
                access: *access,
            },
        ));
    }
    let mut tasks = JoinSet::new();
    let mut listening = Vec::new();
    for (socket, at) in sockets {
        let handle = Handle::new();
        let service = router(state.clone(), at.access).into_make_service_with_connect_info::<SocketAddr>();
        let server = axum_server::from_tcp(socket)?.handle(handle.clone());
        let tls = tls.clone().filter(|_| at.access.https);
        tasks.spawn(async move {
            let ended = match tls {
                Some(tls) => {
                    let acceptor = axum_server::tls_rustls::RustlsAcceptor::new(tls);
                    server.acceptor(acceptor).serve(service).await
                }
                None => server.serve(service).await,
            };
            if let Err(e) = ended {
                log::error!("web: {} is served no more: {e}", at.url());
            }
        });
        let mut stop = shutdown.clone();
        tasks.spawn(async move {
            // Nothing is ever sent: the error of the dropped sender is the signal.
            while stop.changed().await.is_ok() {}
            handle.graceful_shutdown(Some(GRACE));
        });
        listening.push(at);
    }
    let (mut stop, sessions) = (shutdown.clone(), state.clone());
    tasks.spawn(async move {
        while stop.changed().await.is_ok() {}
        sessions.shared.whep.end();
    });
    let tally = state.shared.tally.clone();
    tasks.spawn(tally::follow(&state.hub, tally, shutdown));
    Ok(Bound { listening, tasks })
}
