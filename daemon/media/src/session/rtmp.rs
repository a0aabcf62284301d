//! RTMP and HTTP-FLV: GStreamer speaks the protocol, and what it gives, FLV tags, is read here. flvdemux is left aside: it
//! mends jumps of the time stamps, and with them hides when a sender began anew.

use std::sync::{Arc, Mutex};

use gst::prelude::*;

use super::decode::{self, Tail, internal};
use super::flv::FlvFeed;
use super::pull::Feed;
use super::{SessionOptions, Shared, locked};
use crate::{MediaError, PullKind, Secret, Source};

/// Connecting and single reads take no longer, in seconds.
const TIMEOUT_S: u32 = 5;
/// Ticks of FLV time a second.
const FLV_RATE_HZ: u32 = 1_000;

pub(super) fn build(
    pipeline: &gst::Pipeline,
    options: &SessionOptions,
    tail: Tail,
    shared: &Arc<Shared>,
) -> Result<(), MediaError> {
    let Source::Pull {
        kind,
        url,
        user,
        password,
        tls_insecure,
        tls_ca,
    } = &options.source
    else {
        return Err(internal("not a relayed source"));
    };
    let password = password.as_ref().map(Secret::expose);
    let source = match kind {
        PullKind::Rtmp => {
            let source = decode::make("rtmp2src")?;
            source.set_property("location", url);
            source.set_property("timeout", TIMEOUT_S);
            if let (Some(user), Some(password)) = (user, password) {
                source.set_property("username", user);
                source.set_property("password", password);
            }
            if *tls_insecure {
                log::warn!("{url}: its certificate is not checked, as `tls_insecure` wants");
                source.set_property("tls-validation-flags", gio::TlsCertificateFlags::empty());
            }
            source
        }
        _ => {
            let source = decode::make("souphttpsrc")?;
            source.set_property("location", url);
            source.set_property("is-live", true);
            source.set_property("timeout", TIMEOUT_S);
            source.set_property("retries", 0);
            source.set_property("user-agent", concat!("Synoptic/", env!("CARGO_PKG_VERSION")));
            if let (Some(user), Some(password)) = (user, password) {
                source.set_property("user-id", user);
                source.set_property("user-pw", password);
            }
            if *tls_insecure {
                log::warn!("{url}: its certificate is not checked, as `tls_insecure` wants");
                source.set_property("ssl-strict", false);
            }
            if let Some(ca) = tls_ca {
                source.set_property("ssl-ca-file", ca);
            }
            source
        }
    };
    let feed = Feed::new(pipeline, options, tail, shared, *kind, FLV_RATE_HZ);
    let feed = Arc::new(Mutex::new(FlvFeed::new(feed)));
    let pad = source
        .static_pad("src")
        .ok_or_else(|| internal("no src pad at the reader of the stream"))?;
    let (ended, taken, failing) = (feed.clone(), feed, shared.clone());
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(map) = info.buffer().and_then(|b| b.map_readable().ok())
            && let Err(error) = locked(&taken).take(&map, failing.clock.now())
        {
            failing.fail(error);
        }
        gst::PadProbeReturn::Drop
    });
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if info.event().is_some_and(|e| e.type_() == gst::EventType::Eos) {
            locked(&ended).end();
        }
        gst::PadProbeReturn::Ok
    });
    // Never gets a byte: it only is where the source can be linked to.
    let sink = decode::make("fakesink")?;
    sink.set_property("sync", false);
    sink.set_property("async", false);
    let failed = |_| internal("could not assemble the reader of the stream");
    pipeline.add_many([&source, &sink]).map_err(failed)?;
    source.link(&sink).map_err(failed)?;
    Ok(())
}
