//! Every decision of Synoptic, sans-IO.
//!
//! One shape for all: `new(config)`, `handle(now, input)`, `poll() -> Option<Output>`, `deadline()`. The clock is
//! an argument, randomness and ids are injected, pictures are a generic payload: a month of operation runs in a
//! test in seconds, and a failing run is replayed from its seed. No tokio, no GStreamer, no SQLite, no files.
#![forbid(unsafe_code)]

pub mod align;
pub mod attention;
pub mod backoff;
pub mod command;
pub mod health;
pub mod pacing;
pub mod pair;
pub mod ptz;
pub mod rules;
pub mod starts;
pub mod stitch;
pub mod sync;
pub mod system;
pub mod timebase;
pub mod track;
pub mod update;
