//! Panoramas of the daemon: a thread for each composes the packets of its group, another calibrates now and then.
//!
//! * `task` is the thread, `stage` what it composes with, `figures` what it measures of itself;
//! * `lineup` are the panoramas of one group, started and stopped one by one;
//! * `learned` bends two cameras that move, by networks on a thread of their own;
//! * `calibrating` collects frames and computes where cameras look, `points` are a person's help with that, `library` keeps the results;
//! * `pause` is what stands in while one is paused;
//! * `outlet` makes it a live stream, `finding` tells what was found in it;
//! * `service` runs panoramas on request, `extras` is what they add to the configuration, `judge` how far they are;
//! * `desk` is what the rest of the daemon sees of all of them.

mod calibrating;
mod desk;
mod extras;
mod figures;
mod finding;
mod judge;
mod learned;
mod library;
mod lineup;
mod outlet;
mod pause;
mod points;
mod service;
mod stage;
mod task;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use calibrating::Request;
pub use desk::Desk;
pub(crate) use extras::Extras;
pub(crate) use library::Library;
pub(crate) use lineup::{Lineup, Mailboxes, Member};
pub(crate) use outlet::Outlet;
pub(crate) use service::{Parts as ServiceParts, Service};
pub(crate) use task::Order;
