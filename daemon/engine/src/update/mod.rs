//! An update of the box's system, from the wish to the commit. Sans-IO.
//!
//! Terms: a *bundle* is a signed file with a new system; a *slot* holds a system, one runs and another is written; the box
//! *commits* to a new system once the health gate found it well, and *rolls back* otherwise.
//!
//! * [`Machine`] says what happens next: it is told what was seen and hands out [`Action`]s.
//! * [`version_refusal`] says which versions may be installed, [`box_refusals`] and [`bundle_refusals`] whether the box and the
//!   bundle can: pure functions of facts that were measured elsewhere.
//! * [`Budget`] says how often a download is tried again.
//!
//! RAUC checks signatures and writes slots, and the health gate (systemd/box) commits: the machine only watches them.

mod budget;
mod machine;
mod preflight;
#[cfg(test)]
mod tests;
mod types;
mod version;

pub use budget::{Budget, TRIES, TRIES_IN_ALL};
pub use machine::{LOOK_EVERY, Machine};
pub use preflight::{
    BoxFacts, BundleFacts, Redundancy, Refusal, SlotFacts, box_refusals, bundle_refusals, spoken, target,
};
pub use types::{Action, Fault, Input, Job, Kept, Look, NotNow, Release, Stage, State, Wish};
pub use version::{newest, version_refusal};
