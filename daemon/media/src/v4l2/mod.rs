//! Local V4L2 devices: what they offer, what is chosen of it, and how one is opened.
//!
//! Everything goes through the safe side of the `v4l` crate. Its stream panics when it is dropped while the driver
//! refuses to stop; [`open::Running`] keeps that from ending the daemon.

pub(crate) mod modes;
pub(crate) mod negotiate;
pub(crate) mod open;
