//! Scenarios: what cameras, networks and clocks do, in virtual time, with known truth.
//!
//! Terms: **true time** is what nobody in the scenario can read; the **box** reads its own monotonic clock, a
//! **camera** its media clock and its wall clock, and each of them runs as its row says. A **feed** is what of a
//! camera reaches the box, in the order of arrival. An **estimator** turns a feed into capture times: the engine's,
//! or one of the [`baselines`].
//!
//! Job: run the engine's time code, and nothing but it, through everything that cameras are known to do. No
//! sockets, no threads, no real clock: minutes of a scenario take milliseconds.
//!
//! Contract: the same camera and seed give the same feed, on every machine. Rows are written with [`Camera`]'s
//! methods and read like prose; `rows` holds all of them, one or more for each of the 36 cases of the project's notes
//! on time, and prints seed and replay line where one fails.

mod adapter;
pub mod av;
pub mod baselines;
mod camera;
mod clocks;
mod feed;
#[cfg(test)]
mod fuzz;
mod group;
#[cfg(test)]
mod rows;
mod score;
mod soak;
mod tightness;

pub use adapter::Engine;
pub use camera::{Anchor, Camera, Network, Reports, camera};
pub use clocks::{BoxClock, Oscillator, Wall};
pub use feed::{Event, Feed, FrameSeen, ReportSeen};
pub use group::{GroupScore, Member, run_group};
pub use score::{Estimate, Estimator, Judged, Score, percentile, run};
pub use soak::{Soak, Soaked};
pub use tightness::Tightness;
