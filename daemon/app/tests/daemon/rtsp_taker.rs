//! An RTSP server of others (GStreamer's) that takes what is pushed to `/take/it` (ANNOUNCE, RECORD) and keeps its H.264 in a file.
//!
//! FFmpeg's own (`-rtsp_flags listen`) takes no push of GStreamer's: it wants `mode=record` where that writes
//! `mode="RECORD"`, which RFC 2326 section 12.39 allows both.

use std::path::PathBuf;
use std::thread::JoinHandle;

use gst::glib;
use gst_rtsp_server::prelude::*;
use gst_rtsp_server::{RTSPMediaFactory, RTSPServer, RTSPTransportMode};

use crate::harness::Stage;

pub(crate) struct Taker {
    server: RTSPServer,
    main_loop: glib::MainLoop,
    thread: Option<JoinHandle<()>>,
    source: Option<glib::Source>,
    pub file: PathBuf,
}

impl Taker {
    /// `None`, aloud, where the daemon could not push: it lacks the plugin.
    pub(crate) fn start(stage: &Stage) -> Option<Taker> {
        if gst::init().is_err() || gst::ElementFactory::find("rtspclientsink").is_none() {
            eprintln!("SKIPPED: rtspclientsink is not here; scripts/setup.sh installs gstreamer1.0-rtsp");
            return None;
        }
        let file = stage.path("taken.h264");
        let server = RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service("0");
        let factory = RTSPMediaFactory::new();
        factory.set_transport_mode(RTSPTransportMode::RECORD);
        factory.set_launch(&format!(
            "( rtph264depay name=depay0 ! h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream \
             ! filesink buffer-mode=unbuffered sync=false location={} )",
            file.display()
        ));
        server.mount_points().unwrap().add_factory("/take/it", factory);
        let context = glib::MainContext::new();
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let source = server
            .create_source(gst_rtsp_server::gio::Cancellable::NONE)
            .unwrap();
        source.attach(Some(&context));
        let run = main_loop.clone();
        let thread = std::thread::spawn(move || context.with_thread_default(|| run.run()).unwrap());
        Some(Taker {
            server,
            main_loop,
            thread: Some(thread),
            source: Some(source),
            file,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/take/it", self.server.bound_port())
    }

    /// Bytes of H.264 so far.
    pub(crate) fn taken(&self) -> u64 {
        std::fs::metadata(&self.file).map_or(0, |m| m.len())
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
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}
