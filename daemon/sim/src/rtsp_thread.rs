//! One thread for all of an RTSP server.
//!
//! A client may only be closed by the thread that reads from it: GStreamer's connection, closed by another one under a read,
//! goes round for ever (gstrtspconnection.c, `build_next`, up to 1.26).

use gst::glib;
use gst_rtsp_server::RTSPServer;
use gst_rtsp_server::prelude::*;

/// Has the clients served by the thread that accepts them. To be called before it accepts any.
pub(crate) fn serve_on_one(server: &RTSPServer) {
    if let Some(pool) = server.thread_pool() {
        pool.set_max_threads(0);
    }
}

/// Runs `job` on the thread of `context` and waits for its end.
pub(crate) fn run_on(context: &glib::MainContext, job: impl FnOnce() + Send + 'static) {
    let (done, wait) = crossbeam_channel::bounded::<()>(1);
    context.invoke_with_priority(glib::Priority::HIGH, move || {
        job();
        drop(done);
    });
    // Ends when `done` is dropped; nothing is ever sent.
    let _ = wait.recv();
}

/// Closes every client of a server whose thread runs `context`, before it returns.
pub(crate) fn close_clients(server: &RTSPServer, context: &glib::MainContext) {
    let server = server.clone();
    run_on(context, move || {
        for client in server.client_filter(None) {
            client.close();
        }
    });
}
