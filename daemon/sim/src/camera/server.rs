//! The RTSP side of one camera: a server of its own on a port of its own, as every real camera has.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;

use gst::glib;
use gst::prelude::*;
use gst_rtsp_server::gio;
use gst_rtsp_server::prelude::*;
use gst_rtsp_server::{RTSPAuth, RTSPFilterResult, RTSPMedia, RTSPMediaFactory, RTSPServer, RTSPToken};

use nix::sys::socket::sockopt::ReuseAddr;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn};

use super::feed::{Feed, Shared};
use super::options::{CameraError, CameraOptions, Codec, Content};
use crate::rtsp_thread;

const LOOPBACK: &str = "127.0.0.1";
/// What the user of a camera with a password may do, by this name.
const ROLE: &str = "viewer";
/// How often sessions of clients that went away without a word are looked for.
const CLEANUP_S: u32 = 2;

/// The server, its thread and its port.
pub(super) struct Server {
    server: RTSPServer,
    context: glib::MainContext,
    main_loop: glib::MainLoop,
    thread: Option<JoinHandle<()>>,
    /// Listens; `None` while the cable is pulled.
    listening: Option<glib::Source>,
    /// Bound but deaf: keeps the port ours while the cable is pulled. Connections are refused meanwhile.
    _reserved: OwnedFd,
    port: u16,
    camera: String,
}

impl Server {
    pub(super) fn start(options: &CameraOptions, shared: &Arc<Shared>) -> Result<Server, CameraError> {
        let fail = |why: String| CameraError::Server {
            camera: options.name.clone(),
            why,
        };
        let (reserved, port) = reserve(options.port).map_err(|e| CameraError::Port {
            camera: options.name.clone(),
            port: options.port,
            why: e.to_string(),
        })?;
        let server = RTSPServer::new();
        server.set_address(LOOPBACK);
        server.set_service(&port.to_string());
        rtsp_thread::serve_on_one(&server);
        let factory = factory(options, shared)?;
        guard(&server, &factory, options).map_err(fail)?;
        let mounts = server
            .mount_points()
            .ok_or_else(|| fail("no mount points".to_owned()))?;
        mounts.add_factory(&format!("/{}", options.path), factory);

        let context = glib::MainContext::new();
        let main_loop = glib::MainLoop::new(Some(&context), false);
        if let Some(pool) = server.session_pool() {
            let cleanup =
                glib::timeout_source_new_seconds(CLEANUP_S, None, glib::Priority::DEFAULT, move || {
                    pool.cleanup();
                    glib::ControlFlow::Continue
                });
            cleanup.attach(Some(&context));
        }
        let thread = {
            let (context, main_loop) = (context.clone(), main_loop.clone());
            std::thread::Builder::new()
                .name(format!("{}-rtsp", options.name))
                .spawn(move || {
                    if let Err(e) = context.with_thread_default(|| main_loop.run()) {
                        log::error!("the RTSP thread does not run: {e}");
                    }
                })
                .map_err(|e| fail(format!("no thread: {e}")))?
        };
        let mut server = Server {
            server,
            context,
            main_loop,
            thread: Some(thread),
            listening: None,
            _reserved: reserved,
            port,
            camera: options.name.clone(),
        };
        server.listen()?;
        Ok(server)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn listens(&self) -> bool {
        self.listening.is_some()
    }

    /// Connections that are open.
    pub(super) fn clients(&self) -> usize {
        self.server.client_filter(None).len()
    }

    /// Takes connections.
    pub(super) fn listen(&mut self) -> Result<(), CameraError> {
        if self.listening.is_none() {
            let source =
                self.server
                    .create_source(gio::Cancellable::NONE)
                    .map_err(|e| CameraError::Port {
                        camera: self.camera.clone(),
                        port: self.port,
                        why: e.to_string(),
                    })?;
            source.attach(Some(&self.context));
            self.listening = Some(source);
        }
        Ok(())
    }

    /// Closes every connection and refuses new ones, before it returns.
    pub(super) fn cut(&mut self) {
        let (server, listening) = (self.server.clone(), self.listening.take());
        // On the thread that accepts: so no connection is between accepted and known, and no poll of that
        // thread keeps the listening socket alive.
        rtsp_thread::run_on(&self.context, move || {
            if let Some(source) = listening {
                source.destroy();
            }
            for client in server.client_filter(None) {
                client.close();
            }
            if let Some(pool) = server.session_pool() {
                pool.filter(Some(&mut |_, _| RTSPFilterResult::Remove));
            }
        });
        // A source that was ready in that round is held, with its socket, until the round is over.
        rtsp_thread::run_on(&self.context, || {});
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.cut();
        self.main_loop.quit();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("{}: the RTSP thread panicked", self.camera);
        }
    }
}

/// Binds a port without listening on it. GStreamer's server binds it a second time, which Linux allows as long
/// as only one of the two listens (SO_REUSEADDR, socket(7)).
fn reserve(port: u16) -> nix::Result<(OwnedFd, u16)> {
    let socket = socket::socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Tcp,
    )?;
    socket::setsockopt(&socket, ReuseAddr, &true)?;
    socket::bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port))?;
    let bound: SockaddrIn = socket::getsockname(socket.as_raw_fd())?;
    Ok((socket, bound.port()))
}

/// Sets who may watch, and how the line is encrypted.
fn guard(server: &RTSPServer, factory: &RTSPMediaFactory, options: &CameraOptions) -> Result<(), String> {
    if options.login.is_none() && options.tls.is_none() {
        return Ok(());
    }
    let auth = RTSPAuth::new();
    let mut token = RTSPToken::builder()
        .field(gst_rtsp_server::RTSP_TOKEN_MEDIA_FACTORY_ROLE, ROLE)
        .build();
    match &options.login {
        Some((user, password)) => {
            auth.set_supported_methods(gst_rtsp::RTSPAuthMethod::Digest);
            auth.add_digest(user, password, &token);
        }
        None => auth.set_default_token(Some(&mut token)),
    }
    if let Some(identity) = &options.tls {
        let pem = format!("{}\n{}", identity.certificate, identity.key);
        let certificate = gio::TlsCertificate::from_pem(&pem)
            .map_err(|e| format!("its certificate cannot be used: {e}"))?;
        auth.set_tls_certificate(Some(&certificate));
    }
    server.set_auth(Some(&auth));
    let rights = gst::Structure::builder(ROLE)
        .field(gst_rtsp_server::RTSP_PERM_MEDIA_FACTORY_ACCESS, true)
        .field(gst_rtsp_server::RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, true)
        .build();
    factory.add_role_from_structure(&rights);
    Ok(())
}

/// What makes the pipeline when the first client comes; all clients share it.
fn factory(options: &CameraOptions, shared: &Arc<Shared>) -> Result<RTSPMediaFactory, CameraError> {
    let factory = RTSPMediaFactory::new();
    factory.set_launch(&launch_line(options)?);
    factory.set_shared(true);
    // The monotonic system clock, whatever the pipeline would have chosen: `Feed` counts on it.
    factory.set_clock(Some(&gst::SystemClock::obtain()));
    if !matches!(options.content, Content::Audio) {
        let shared = shared.clone();
        factory.connect_media_configure(move |_, media| {
            if let Err(why) = configure(&shared, media) {
                log::error!("{}: cannot serve: {why}", shared.name);
            }
        });
    }
    Ok(factory)
}

fn launch_line(options: &CameraOptions) -> Result<String, CameraError> {
    let need = |element: &'static str, package| {
        let found = gst::ElementFactory::find(element);
        found.map(|_| ()).ok_or(CameraError::Missing { element, package })
    };
    need("rtph264pay", "gstreamer1.0-plugins-good")?;
    let source = "appsrc name=source is-live=true format=time do-timestamp=false";
    let (gop, bitrate) = (options.gop, options.bitrate_kbit);
    Ok(match (&options.content, options.codec) {
        (Content::Audio, _) => {
            need("alawenc", "gstreamer1.0-plugins-good")?;
            "( audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 pt=8 )".to_owned()
        }
        (Content::Clip(_), _) => {
            format!("( {source} ! rtph264pay name=pay0 pt=96 config-interval=-1 )")
        }
        (Content::Scene { .. }, Codec::H264) => {
            need("x264enc", "gstreamer1.0-plugins-ugly")?;
            // One thread: slices made in parallel cost more than they save at this size.
            format!(
                "( {source} ! x264enc speed-preset=ultrafast tune=zerolatency threads=1 key-int-max={gop} \
                 bitrate={bitrate} ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
            )
        }
        (Content::Scene { .. }, Codec::H265) => {
            need("x265enc", "gstreamer1.0-plugins-bad")?;
            format!(
                "( {source} ! x265enc speed-preset=ultrafast tune=zerolatency key-int-max={gop} \
                 bitrate={bitrate} option-string=pools=1:frame-threads=1:log-level=none \
                 ! rtph265pay name=pay0 pt=96 config-interval=-1 )"
            )
        }
    })
}

/// Connects a media that is being made with the camera's pictures and clocks.
fn configure(shared: &Arc<Shared>, media: &RTSPMedia) -> Result<(), String> {
    let bin = media
        .element()
        .downcast::<gst::Bin>()
        .map_err(|_| "the media is no bin")?;
    let source = bin
        .by_name("source")
        .and_then(|e| e.downcast::<gst_app::AppSrc>().ok());
    let feed = Feed::new(source.ok_or("no appsrc")?);
    let payloader = bin
        .by_name("pay0")
        .and_then(|e| e.static_pad("src"))
        .ok_or("no payloader")?;
    feed.stamp_packets(shared, &payloader);
    shared.counters.medias.fetch_add(1, Relaxed);
    shared.set_feed(Some(feed.clone()));
    {
        let (shared, feed) = (shared.clone(), feed.clone());
        media.connect_prepared(move |media| {
            if let Err(why) = take_over_reports(&shared, &feed, media) {
                log::error!("{}: sender reports tell the box's clock: {why}", shared.name);
            }
        });
    }
    let shared = shared.clone();
    media.connect_unprepared(move |_| shared.drop_feed(&feed));
    Ok(())
}

/// Sets the pace and the content of the sender reports of a media whose RTP session now exists.
fn take_over_reports(shared: &Arc<Shared>, feed: &Arc<Feed>, media: &RTSPMedia) -> Result<(), String> {
    let stream = media.stream(0).ok_or("no stream")?;
    let session = stream.rtpsession().ok_or("no RTP session")?;
    session.set_property(
        "rtcp-min-interval",
        shared.report_interval.as_nanos().max(1) as u64,
    );
    let pipeline = media
        .element()
        .parent()
        .and_then(|p| p.downcast::<gst::Bin>().ok());
    let rtpbin = pipeline
        .ok_or("no pipeline")?
        .children()
        .into_iter()
        .find(|e| e.factory().is_some_and(|f| f.name() == "rtpbin"))
        .ok_or("no rtpbin")?;
    let pad = rtpbin
        .pads()
        .into_iter()
        .find(|p| p.name().starts_with("send_rtcp_src"));
    feed.set_reports(shared, &pad.ok_or("no RTCP pad")?);
    Ok(())
}
