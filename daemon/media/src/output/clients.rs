//! Which thread serves which client of an RTSP server, so that a client is closed there and nowhere else.
//!
//! GStreamer's connection is not made to be closed while another thread reads from it: the read finds its stream gone, takes
//! that for no error and begins anew, for ever, on a core of its own (gstrtspconnection.c, `build_next`, up to 1.26).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gst::glib;
use gst_rtsp_server::prelude::*;
use gst_rtsp_server::{RTSPClient, RTSPServer};
use synoptic_base::Span;

/// A thread that makes a media for somebody else is not waited for longer.
const PATIENCE: Span = Span::from_secs(2);

/// The main contexts of the clients of an RTSP server.
#[derive(Clone, Debug, Default)]
pub struct ClientThreads(Arc<Mutex<BTreeMap<usize, glib::MainContext>>>);

impl ClientThreads {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, glib::MainContext>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Knows the clients of `server` from now on. To be called before it accepts any.
    pub fn follow(&self, server: &RTSPServer) {
        let threads = self.clone();
        server.connect_client_connected(move |_, client| {
            let here = threads.clone();
            client.connect_pre_options_request(move |client, _| {
                here.here(client);
                gst_rtsp::RTSPStatusCode::Ok
            });
            let here = threads.clone();
            client.connect_pre_describe_request(move |client, _| {
                here.here(client);
                gst_rtsp::RTSPStatusCode::Ok
            });
            let threads = threads.clone();
            client.connect_closed(move |client| threads.gone(client));
        });
    }

    /// Closes every client of `server` and waits for that.
    pub fn close_all(&self, server: &RTSPServer) {
        for client in server.client_filter(None) {
            self.close(&client);
        }
    }

    /// To be called by handlers of what a client asks for: they run where it is served.
    fn here(&self, client: &RTSPClient) {
        if let Some(context) = glib::main_current_source().and_then(|source| source.context()) {
            self.lock().insert(name(client), context);
        }
    }

    /// A client is gone.
    fn gone(&self, client: &RTSPClient) {
        self.lock().remove(&name(client));
    }

    /// Closes a client on its own thread, and waits for that.
    fn close(&self, client: &RTSPClient) {
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
