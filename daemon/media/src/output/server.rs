//! The RTSP server: one address, one path a stream.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use gst::glib;
use gst_rtsp_server::gio;
use gst_rtsp_server::prelude::*;
use gst_rtsp_server::{RTSPAuth, RTSPFilterResult, RTSPMediaFactory, RTSPServer, RTSPToken};

use super::Reading;
use super::clients::{ClientThreads, name};
use super::served::{self, Served};
use crate::Secret;
use crate::session::locked;

/// What a user who gave the password may do, by this name.
const ROLE: &str = "viewer";
/// GST_RTSP_AUTH_BASIC | GST_RTSP_AUTH_DIGEST: a client takes the best that it can.
const BASIC_AND_DIGEST: i32 = 3;
/// How often sessions of clients that went away without a word are looked for, in seconds.
const CLEANUP_S: u32 = 5;
/// Threads that speak with clients. One that waits for the first picture of its stream makes nobody else wait but those on
/// its own thread.
const THREADS: i32 = 4;
/// Clients at once.
const MAX_SESSIONS: u32 = 200;

/// Who may watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// What a path has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Pictures.
    pub pictures: u64,
    /// Their bytes, and those of the sound.
    pub bytes: u64,
    /// Pictures left out since the pipeline took none.
    pub left_out: u64,
    /// Pictures that were sent again, so that the rate is constant.
    pub repeated: u64,
}

/// What the server proves to be itself by, over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// PEM file of the certificate.
    pub certificate: PathBuf,
    /// PEM file of its key.
    pub key: PathBuf,
}

/// Finds what a path shows, anew for each pipeline: a camera that was removed and added again has another stream.
pub type ReadingOf = Arc<dyn Fn() -> Reading + Send + Sync>;

/// Why the server does not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// It cannot listen.
    #[error(
        "RTSP cannot be served on {address}: {why}; is another program there? `rtsp.listen` sets the address"
    )]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        why: String,
    },
    /// GStreamer did not do its part.
    #[error("RTSP cannot be served: {0}")]
    Broken(String),
    /// The path is taken.
    #[error("`/{0}` is served already; give the output another `path`")]
    Taken(String),
}

/// Paths by name, and who watches what.
#[derive(Default)]
pub(super) struct Mounts {
    pub(super) served: BTreeMap<String, Arc<Served>>,
}

/// A running RTSP server. Dropping it ends every connection.
pub struct RtspServer {
    server: RTSPServer,
    context: glib::MainContext,
    main_loop: glib::MainLoop,
    thread: Option<JoinHandle<()>>,
    listening: Option<glib::Source>,
    mounts: Arc<Mutex<Mounts>>,
    threads: ClientThreads,
    /// Paths are open to [`ROLE`] alone.
    guarded: bool,
    tls: bool,
    address: SocketAddr,
}

impl RtspServer {
    /// Listens on `address` (port 0: any free one). With `login` every client must give it, by Digest (RFC 7616) or Basic.
    /// With `tls` every connection is encrypted (`rtsps://`), and RTP within it where the client asks for TCP.
    ///
    /// # Errors
    /// When it cannot listen, or the certificate cannot be read.
    pub fn start(
        address: SocketAddr,
        login: Option<&Login>,
        tls: Option<&ServerTls>,
    ) -> Result<RtspServer, ServerError> {
        let server = RTSPServer::new();
        server.set_address(&address.ip().to_string());
        server.set_service(&address.port().to_string());
        if login.is_some() || tls.is_some() {
            server.set_auth(Some(&guard(login, tls)?));
        }
        if let Some(pool) = server.thread_pool() {
            pool.set_max_threads(THREADS);
        }
        let mounts = Arc::new(Mutex::new(Mounts::default()));
        let threads = ClientThreads::default();
        watch_clients(&server, &mounts, &threads);
        let context = glib::MainContext::new();
        let main_loop = glib::MainLoop::new(Some(&context), false);
        if let Some(pool) = server.session_pool() {
            pool.set_max_sessions(MAX_SESSIONS);
            let clean = move || {
                pool.cleanup();
                glib::ControlFlow::Continue
            };
            glib::timeout_source_new_seconds(CLEANUP_S, None, glib::Priority::DEFAULT, clean)
                .attach(Some(&context));
        }
        let listening = server
            .create_source(gio::Cancellable::NONE)
            .map_err(|e| ServerError::Listen {
                address,
                why: e.to_string(),
            })?;
        listening.attach(Some(&context));
        let thread = {
            let (context, main_loop) = (context.clone(), main_loop.clone());
            let run = move || {
                if let Err(e) = context.with_thread_default(|| main_loop.run()) {
                    log::error!("the RTSP server's thread does not run: {e}");
                }
            };
            std::thread::Builder::new()
                .name("rtsp".to_owned())
                .spawn(run)
                .map_err(|e| ServerError::Broken(format!("no thread: {e}")))?
        };
        let bound = u16::try_from(server.bound_port()).unwrap_or(address.port());
        Ok(RtspServer {
            server,
            context,
            main_loop,
            thread: Some(thread),
            listening: Some(listening),
            mounts,
            threads,
            guarded: login.is_some() || tls.is_some(),
            tls: tls.is_some(),
            address: SocketAddr::new(address.ip(), bound),
        })
    }

    /// Whether connections are encrypted.
    pub fn has_tls(&self) -> bool {
        self.tls
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves a stream under `/path`. Nothing runs for it until a client comes.
    pub fn mount(&self, path: &str, reading: ReadingOf) -> Result<(), ServerError> {
        let mut mounts = locked(&self.mounts);
        if mounts.served.contains_key(path) {
            return Err(ServerError::Taken(path.to_owned()));
        }
        let (factory, served) = served::factory(path, reading);
        if self.guarded {
            let rights = gst::Structure::builder(ROLE)
                .field(gst_rtsp_server::RTSP_PERM_MEDIA_FACTORY_ACCESS, true)
                .field(gst_rtsp_server::RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, true)
                .build();
            factory.add_role_from_structure(&rights);
        }
        self.mount_points()?
            .add_factory(&format!("/{path}"), factory.upcast::<RTSPMediaFactory>());
        mounts.served.insert(path.to_owned(), served);
        Ok(())
    }

    /// Ends a path: its clients are told that the stream is over.
    pub fn unmount(&self, path: &str) {
        let served = locked(&self.mounts).served.remove(path);
        if let Ok(points) = self.mount_points() {
            points.remove_factory(&format!("/{path}"));
        }
        if let Some(served) = served {
            served.end();
        }
    }

    /// Clients that watch `path` now.
    pub fn clients(&self, path: &str) -> usize {
        locked(&self.mounts).served.get(path).map_or(0, |s| s.clients())
    }

    /// What `path` has sent into its pipelines.
    pub fn sent(&self, path: &str) -> Sent {
        let served = locked(&self.mounts).served.get(path).cloned();
        served.map(|served| served.sent()).unwrap_or_default()
    }

    fn mount_points(&self) -> Result<gst_rtsp_server::RTSPMountPoints, ServerError> {
        self.server
            .mount_points()
            .ok_or_else(|| ServerError::Broken("no mount points".to_owned()))
    }

    /// Runs `job` on the server's thread and waits for its end.
    fn on_thread(&self, job: impl FnOnce() + Send + 'static) {
        let (done, wait) = crossbeam_channel::bounded::<()>(1);
        self.context.invoke_with_priority(glib::Priority::HIGH, move || {
            job();
            drop(done);
        });
        // Ends when `done` is dropped; nothing is ever sent.
        let ended = wait.recv();
        debug_assert!(ended.is_err());
    }
}

impl Drop for RtspServer {
    fn drop(&mut self) {
        let (server, listening) = (self.server.clone(), self.listening.take());
        let threads = self.threads.clone();
        // On the thread that accepts, so that no connection is between accepted and known.
        self.on_thread(move || {
            if let Some(source) = listening {
                source.destroy();
            }
            threads.close_all(&server);
            if let Some(pool) = server.session_pool() {
                pool.filter(Some(&mut |_, _| RTSPFilterResult::Remove));
            }
        });
        // A source that was ready in that round is held, with its socket, until the round is over.
        self.on_thread(|| {});
        for served in locked(&self.mounts).served.values() {
            served.end();
        }
        self.main_loop.quit();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the RTSP server's thread panicked");
        }
    }
}

/// Who may watch, and the certificate.
fn guard(login: Option<&Login>, tls: Option<&ServerTls>) -> Result<RTSPAuth, ServerError> {
    let auth = RTSPAuth::new();
    let mut token = RTSPToken::builder()
        .field(gst_rtsp_server::RTSP_TOKEN_MEDIA_FACTORY_ROLE, ROLE)
        .build();
    match login {
        Some(login) => {
            let (user, password) = (&login.user, login.password.expose());
            // Flags in C, an enumeration in the crate.
            auth.set_supported_methods(gst_rtsp::RTSPAuthMethod::__Unknown(BASIC_AND_DIGEST));
            auth.add_digest(user, password, &token);
            auth.add_basic(&RTSPAuth::make_basic(user, password), &token);
        }
        // Who gives nothing may watch.
        None => auth.set_default_token(Some(&mut token)),
    }
    if let Some(tls) = tls {
        let certificate = gio::TlsCertificate::from_files(&tls.certificate, &tls.key);
        let certificate = certificate.map_err(|why| {
            ServerError::Broken(format!(
                "the certificate {} with the key {} cannot be used: {why}; is glib-networking installed?",
                tls.certificate.display(),
                tls.key.display()
            ))
        })?;
        auth.set_tls_certificate(Some(&certificate));
    }
    Ok(auth)
}

/// Counts who watches what, and answers at once where there is nothing to watch.
fn watch_clients(server: &RTSPServer, mounts: &Arc<Mutex<Mounts>>, threads: &ClientThreads) {
    threads.follow(server);
    let mounts = mounts.clone();
    server.connect_client_connected(move |_, client| {
        let of = {
            let mounts = mounts.clone();
            move |path: Option<String>| {
                let path = path?;
                locked(&mounts)
                    .served
                    .iter()
                    // The path of a stream within it (`/id/stream=0`) is its own too; of `a` and `a/b` the longer one is meant.
                    .filter(|(p, _)| {
                        path.strip_prefix(p.as_str())
                            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                    })
                    .max_by_key(|(p, _)| p.len())
                    .map(|(_, s)| s.clone())
            }
        };
        let path_of = |context: &gst_rtsp_server::RTSPContext| {
            let parts = context.uri()?.decode_path_components();
            Some(parts.join("/").trim_matches('/').to_owned())
        };
        let find = of.clone();
        client.connect_pre_describe_request(move |_, context| {
            match find(path_of(context)).and_then(|served| served.why_not()) {
                // Not until a first picture comes: 20 s of silence would be the answer.
                Some(why) => {
                    log::debug!("RTSP: {why}");
                    gst_rtsp::RTSPStatusCode::ServiceUnavailable
                }
                None => {
                    if let Some(served) = find(path_of(context)) {
                        served.prepare();
                    }
                    gst_rtsp::RTSPStatusCode::Ok
                }
            }
        });
        let find = of.clone();
        client.connect_play_request(move |client, context| {
            if let Some(served) = find(path_of(context)) {
                served.joined(name(client));
            }
        });
        let find = of.clone();
        client.connect_teardown_request(move |client, context| {
            if let Some(served) = find(path_of(context)) {
                served.left(&name(client));
            }
        });
        let mounts = mounts.clone();
        client.connect_closed(move |client| {
            let name = name(client);
            let all: Vec<Arc<Served>> = locked(&mounts).served.values().cloned().collect();
            all.iter().for_each(|served| served.left(&name));
        });
    });
}
