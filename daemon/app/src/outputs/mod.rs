//! Streams that leave the box: pushed to servers, or served by RTSP.
//!
//! The [`Desk`] holds all of them. Each push is a thread of its own (`push`) that connects, sends, and tries again with
//! waits that grow; the served ones share one RTSP server (`serving`). What fails stops nothing else. Passwords, stream
//! keys and tokens of addresses are in no log and in no document.
//!
//! | state | meaning |
//! |---|---|
//! | `waiting` | nothing to send yet (no picture, or no client), and why |
//! | `connecting` | the server has not taken pictures yet |
//! | `running` | pictures are taken |
//! | `retrying` | it failed, and why; the next try comes by itself |
//! | `stopped` | the configuration says so |

mod admin;
mod desk;
mod push;
mod serving;
mod status;
mod wish;

pub(crate) use admin::ConfiguredOutputs;
pub use desk::{Desk, OutputError};
pub use status::{OutputDoc, OutputKind, OutputState};
pub use wish::{OutputOptions, OutputTarget, OutputWish, Transcode};
