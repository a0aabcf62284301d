//! Updates of the box's system: what [`synoptic_engine::update`] decides is done here.
//!
//! * [`Updater`] is the one door: the web API uses it, and anything else that takes wishes (MQTT commands) uses the same.
//! * `rauc` speaks to RAUC over D-Bus, which checks signatures and writes the slot that does not run.
//! * `fetch` brings a bundle by HTTP or from a USB stick; an upload is written as it comes. Nothing is ever whole in memory.
//! * `kept` is one small file, so that a restart or a power cut goes on or says honestly what happened.
//! * The health gate commits (systemd/box/lib/synoptic-health-gate); its files are read, never written: RAUC's handlers, which
//!   are root's, write `pending` (systemd/box/lib/synoptic-update-note).
//!
//! A machine without RAUC or without a system bus runs all the same: [`UpdateDoc::unavailable`] says why it takes no updates.

mod actor;
mod documents;
mod facts;
mod fetch;
mod kept;
mod media;
mod rauc;
mod receive;
#[cfg(test)]
mod tests;
mod updater;

pub use documents::{MediaFile, SlotDoc, UpdateDoc, UpdatePhase, UpdateRequest, UploadOptions};
pub use facts::Places;
pub use updater::{MAX_BUNDLE, UpdateError, Updater, UpdaterParts};
