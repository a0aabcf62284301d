//! Virtual cameras: views of a panorama or a camera that pan, tilt and zoom, each a stream of its own.
//!
//! * `task` is the thread of one: pictures of its source in, its own pictures out; it draws only while somebody looks;
//! * `steering` is where it looks: what a person or the action says, and how it gets there;
//! * `boxes` carries what was found in the source's pictures into its own;
//! * `desk` is what the rest of the daemon sees of all of them.

mod boxes;
mod desk;
mod documents;
mod steering;
mod task;

pub use desk::Desk;
pub(crate) use desk::Parts;
pub use documents::{PtzDoc, PtzLimitsDoc, PtzWish, ViewState, VirtualCameraDoc};
