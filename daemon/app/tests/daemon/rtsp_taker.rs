//! An RTSP server of others that takes what is pushed to it and keeps its H.264 in a file.

use std::path::PathBuf;

use crate::harness::Stage;

pub(crate) struct Taker {
    server: synoptic_sim::taker::Taker,
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
        let launch = format!(
            "( rtph264depay name=depay0 ! h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream \
             ! filesink buffer-mode=unbuffered sync=false location={} )",
            file.display()
        );
        let server = synoptic_sim::taker::Taker::start(&launch, |_, _| ()).unwrap();
        Some(Taker { server, file })
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// Bytes of H.264 so far.
    pub(crate) fn taken(&self) -> u64 {
        std::fs::metadata(&self.file).map_or(0, |m| m.len())
    }
}
