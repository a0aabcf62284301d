//! Panoramas of the daemon: a thread for each composes the packets of its group, another calibrates now and then.
//!
//! * `task` is the thread, `stage` what it composes with, `figures` what it measures of itself;
//! * `learned` bends two cameras that move, by networks on a thread of their own;
//! * `calibrating` collects frames and computes where cameras look, `library` keeps the results;
//! * `desk` is what the rest of the daemon sees of all of them.

mod calibrating;
mod desk;
mod figures;
mod learned;
mod library;
mod stage;
mod task;
#[cfg(test)]
mod testing;

pub(crate) use calibrating::Request;
pub use desk::Desk;
pub(crate) use desk::Line;
pub(crate) use library::Library;
pub(crate) use task::{Order, PanoramaTask};
