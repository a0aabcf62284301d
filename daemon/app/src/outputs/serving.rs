//! The RTSP server while an output is served, and the tries to listen where another program is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use rand::Rng as _;
use synoptic_base::{Clock, Mono, StreamId};
use synoptic_engine::backoff::Backoff;
use synoptic_media::coded::Relay;
use synoptic_media::output::{RtspServer, ServerError, ServerTls};

use super::status::{Now, OutputState};
use super::wish::OutputWish;
use crate::config::RtspConfig;

/// A path and what it shows.
struct Mounted {
    path: String,
    wish: OutputWish,
    board: Now,
}

/// What is served.
pub(super) struct Serving {
    config: RtspConfig,
    relay: Arc<Relay>,
    clock: Arc<dyn Clock>,
    mounted: BTreeMap<StreamId, Mounted>,
    server: Option<RtspServer>,
    backoff: Backoff,
    /// Why there is no server, and when the next try is.
    failed: Option<(String, Mono)>,
}

impl Serving {
    pub(super) fn new(config: RtspConfig, relay: Arc<Relay>, clock: Arc<dyn Clock>) -> Serving {
        Serving {
            config,
            relay,
            clock,
            mounted: BTreeMap::new(),
            server: None,
            backoff: Backoff::default(),
            failed: None,
        }
    }

    /// Where the server listens, or would.
    pub(super) fn address(&self) -> SocketAddr {
        let bound = self.server.as_ref().map(RtspServer::address);
        bound.unwrap_or(self.config.listen)
    }

    /// `rtsp`, or `rtsps` where connections are encrypted.
    pub(super) fn scheme(&self) -> &'static str {
        match self.config.tls {
            Some(_) => "rtsps",
            None => "rtsp",
        }
    }

    fn start(&self) -> Result<RtspServer, ServerError> {
        let tls = match &self.config.tls {
            None => None,
            // A self-signed one is made here where the page has made none yet.
            Some(tls) => match crate::web::certificate(tls.own.as_ref(), &tls.data_dir) {
                Ok((certificate, key)) => Some(ServerTls { certificate, key }),
                Err(why) => return Err(ServerError::Broken(format!("{why:#}"))),
            },
        };
        RtspServer::start(self.config.listen, self.config.login.as_ref(), tls.as_ref())
    }

    /// Another address or login ends the server of before; its clients connect anew.
    pub(super) fn configure(&mut self, config: &RtspConfig) {
        if self.config != *config {
            self.config = config.clone();
            self.server = None;
            self.failed = None;
            self.backoff.reset();
        }
    }

    /// Who has a path.
    pub(super) fn owner(&self, path: &str) -> Option<StreamId> {
        let found = self.mounted.iter().find(|(_, m)| m.path == path);
        found.map(|(id, _)| *id)
    }

    /// Serves; call [`Serving::look`] then.
    pub(super) fn add(&mut self, wish: OutputWish, path: String) {
        self.remove(&wish.id);
        let mounted = Mounted {
            path,
            board: Now::default(),
            wish,
        };
        if let Some(server) = &self.server {
            mount(server, &mounted, &self.relay);
        }
        self.mounted.insert(mounted.wish.id, mounted);
    }

    pub(super) fn remove(&mut self, id: &StreamId) {
        let Some(mounted) = self.mounted.remove(id) else {
            return;
        };
        if let Some(server) = &self.server {
            server.unmount(&mounted.path);
        }
        if self.mounted.is_empty() {
            self.server = None;
        }
    }

    /// Starts the server where it is wanted and due.
    pub(super) fn look(&mut self) {
        let now = self.clock.now();
        let due = self.failed.as_ref().is_none_or(|(_, due)| now >= *due);
        if self.server.is_some() || self.mounted.is_empty() || !due {
            return;
        }
        match self.start() {
            Ok(server) => {
                log::info!("RTSP is served at {}://{}/", self.scheme(), server.address());
                for mounted in self.mounted.values() {
                    mount(&server, mounted, &self.relay);
                }
                self.server = Some(server);
                self.failed = None;
                self.backoff.reset();
            }
            Err(error) => {
                let wait = self.backoff.wait(rand::rng().random());
                let why = error.to_string();
                if self.failed.as_ref().is_none_or(|(before, _)| *before != why) {
                    log::error!("{why}");
                }
                self.failed = Some((why, now + wait));
            }
        }
    }

    /// How an output does.
    pub(super) fn now(&mut self, id: &StreamId) -> Option<Now> {
        let mounted = self.mounted.get_mut(id)?;
        let now = self.clock.now();
        let stream = self.relay.stream(mounted.wish.stream);
        let format = stream.format(synoptic_media::coded::Want::Playable);
        let own = mounted.wish.codes(&self.relay);
        let board = &mut mounted.board;
        board.transcoded = match own {
            true => Some("options"),
            false => stream.transcoded(),
        };
        let coded = mounted.wish.options.size.filter(|_| own);
        let size = coded.or(format.map(|f| f.size));
        board.size = size.map(|s| (s.width, s.height));
        let (state, reason) = match (&self.server, &self.failed) {
            (Some(server), _) => {
                let clients = server.clients(&mounted.path);
                board.clients = Some(clients);
                let sent = server.sent(&mounted.path);
                (board.pictures, board.bytes) = (sent.pictures, sent.bytes);
                (board.left_out, board.repeated) = (sent.left_out, sent.repeated);
                match (stream.why_waiting(), clients) {
                    (Some(why), _) => (OutputState::Waiting, Some(why)),
                    (None, 0) => (OutputState::Waiting, Some("nobody watches".to_owned())),
                    (None, _) => (OutputState::Running, None),
                }
            }
            (None, Some((why, _))) => (OutputState::Retrying, Some(why.clone())),
            (None, None) => (OutputState::Connecting, None),
        };
        board.enter(state, reason, now);
        Some(board.clone())
    }
}

fn mount(server: &RtspServer, mounted: &Mounted, relay: &Arc<Relay>) {
    let (wish, relay) = (mounted.wish.clone(), relay.clone());
    let reading = Arc::new(move || wish.reading(&relay));
    if let Err(error) = server.mount(&mounted.path, reading) {
        // The desk looked: no two have one path.
        log::error!("output {}: {error}", mounted.wish.id);
    }
}
