//! Metrics of live video.

use std::sync::Arc;

use synoptic_media::coded::CodedStream;
use synoptic_media::webrtc;

use super::metrics::Page;

pub(super) fn render(streams: &[Arc<CodedStream>]) -> String {
    let mut page = Page(String::new());
    type Of = (&'static str, &'static str, &'static str, fn(&CodedStream) -> u64);
    let families: [Of; 2] = [
        (
            "stream_viewers",
            "gauge",
            "Readers of the stream's coded pictures.",
            |s| s.readers() as u64,
        ),
        (
            "stream_encoder_failures_total",
            "counter",
            "Times an encoder of the stream failed and was started anew, or the next best one took over.",
            CodedStream::encoder_failures,
        ),
    ];
    for (name, kind, help, value) in families {
        page.family(name, kind, help);
        for stream in streams {
            let id = stream.id();
            page.sample(name, &[("stream", id.as_str())], value(stream) as f64);
        }
    }
    page.family("webrtc_sessions", "gauge", "Sessions of live video by WebRTC.");
    page.sample("webrtc_sessions", &[], webrtc::Session::running() as f64);
    page.0
}
