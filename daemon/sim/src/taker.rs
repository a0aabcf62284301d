//! An RTSP server that takes what is pushed to `/take/it` (ANNOUNCE and RECORD, RFC 2326), on a free port of loopback.
//!
//! It is GStreamer's. FFmpeg's own (`-rtsp_flags listen`) takes no push of GStreamer's: it wants `mode=record` where that
//! writes `mode="RECORD"`, which RFC 2326 section 12.39 allows both.

use std::thread::JoinHandle;

use gst::glib;
use gst_rtsp_server::gio;
use gst_rtsp_server::prelude::*;
use gst_rtsp_server::{RTSPMediaFactory, RTSPServer, RTSPTransportMode};

/// It cannot be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an RTSP server that takes pushes cannot be started: {0}; is gstreamer1.0-rtsp installed?")]
pub struct TakerError(String);

/// The server. Dropping it ends it.
pub struct Taker {
    server: RTSPServer,
    main_loop: glib::MainLoop,
    thread: Option<JoinHandle<()>>,
    source: Option<glib::Source>,
}

impl Taker {
    /// What is pushed goes through `launch`, a pipeline in the words of gst-launch whose depayloader is called `depay0`.
    /// `prepare` is called before it listens.
    ///
    /// # Errors
    /// When GStreamer, its RTSP server or a thread is not to be had.
    pub fn start(
        launch: &str,
        prepare: impl FnOnce(&RTSPServer, &RTSPMediaFactory),
    ) -> Result<Taker, TakerError> {
        let failed = |why: &dyn std::fmt::Display| TakerError(why.to_string());
        gst::init().map_err(|e| failed(&e))?;
        let server = RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service("0");
        let factory = RTSPMediaFactory::new();
        factory.set_transport_mode(RTSPTransportMode::RECORD);
        factory.set_launch(launch);
        prepare(&server, &factory);
        let mounts = server.mount_points().ok_or_else(|| failed(&"no mount points"))?;
        mounts.add_factory("/take/it", factory);
        let context = glib::MainContext::new();
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let source = server
            .create_source(gio::Cancellable::NONE)
            .map_err(|e| failed(&e))?;
        source.attach(Some(&context));
        let run = main_loop.clone();
        let thread = std::thread::Builder::new()
            .name("taker-rtsp".to_owned())
            .spawn(move || {
                if let Err(error) = context.with_thread_default(|| run.run()) {
                    log::error!("the RTSP thread does not run: {error}");
                }
            })
            .map_err(|e| failed(&e))?;
        Ok(Taker {
            server,
            main_loop,
            thread: Some(thread),
            source: Some(source),
        })
    }

    /// Where to push to.
    pub fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/take/it", self.port())
    }

    /// Its port.
    pub fn port(&self) -> i32 {
        self.server.bound_port()
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        if let Some(source) = self.source.take() {
            source.destroy();
        }
        for client in self.server.client_filter(None) {
            client.close();
        }
        self.main_loop.quit();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the thread of an RTSP server panicked");
        }
    }
}
