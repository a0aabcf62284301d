//! Which thread serves which client of an RTSP server, so that a client is closed there and nowhere else.
//!
//! GStreamer's connection is not made to be closed while another thread reads from it: the read finds its stream gone, takes
//! that for no error and begins anew, for ever, on a core of its own (gstrtspconnection.c, `build_next`, up to 1.26).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gst::glib;
use gst_rtsp_server::RTSPClient;
use gst_rtsp_server::prelude::*;
use synoptic_base::Span;

/// A thread that makes a media for somebody else is not waited for longer.
const PATIENCE: Span = Span::from_secs(2);

/// The main contexts of clients.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientThreads(Arc<Mutex<BTreeMap<usize, glib::MainContext>>>);

impl ClientThreads {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, glib::MainContext>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called by handlers of what a client asks for: they run where it is served.
    pub(super) fn here(&self, client: &RTSPClient) {
        if let Some(context) = glib::main_current_source().and_then(|source| source.context()) {
            self.lock().insert(name(client), context);
        }
    }

    /// A client is gone.
    pub(super) fn gone(&self, client: &RTSPClient) {
        self.lock().remove(&name(client));
    }

    /// Closes a client on its own thread, and waits for that.
    pub(super) fn close(&self, client: &RTSPClient) {
        // Who never asked for anything sends nothing that is read.
        let Some(context) = self.lock().get(&name(client)).cloned() else {
            return client.close();
        };
        let (done, wait) = crossbeam_channel::bounded::<()>(1);
        let closed = client.clone();
        context.invoke_with_priority(glib::Priority::HIGH, move || {
            closed.close();
            drop(done);
        });
        // Ends when `done` is dropped; nothing is ever sent.
        if wait.recv_timeout(PATIENCE.to_std()) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
            log::warn!("RTSP: a client's thread is busy; the client is closed when it is free");
        }
    }
}

/// What tells clients apart while they live.
pub(super) fn name(client: &RTSPClient) -> usize {
    client.as_ptr() as usize
}
