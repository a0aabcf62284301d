//! When each picture is shown and each sound is played, and by how much each stream is held back.
//!
//! Terms: **media time** is a stream's own time line (the PTS of a file, the capture time of a camera); the
//! **master** is what leads: sound, picture, or an external clock; the **device** plays sound at its own rate, and
//! its **position** is how much of what it was given has been heard; the **latency** is from capture to presentation.
//!
//! * [`RelativeDelays`]: by how much each of any number of streams is held back, so that all are seen and heard at
//!   one latency (what WebRTC's StreamSynchronization does for two);
//! * [`ConstantRate`]: which picture each slot of a constant rate has;
//! * [`ViewerRate`]: whether a viewer's network takes all pictures, or IDR pictures alone;
//! * [`Pacer`]: which picture is shown when, what is dropped or repeated, and how sound is fitted to its device (what
//!   ffplay does), with corrections far below one frame.
//!
//! The reasons, the constants and what was measured: docs/design/av-sync.md.

mod constant;
mod delays;
mod device;
mod frames;
mod pacer;
#[cfg(test)]
mod properties;
mod sound;
#[cfg(test)]
mod tests;
mod types;
mod viewer;

pub use constant::{ConstantRate, RateCounts, Slotted};
pub use delays::{DelayConfig, DelayInput, PlayoutDelay, RelativeDelays};
pub use device::DeviceClock;
pub use pacer::Pacer;
pub use sound::{SOUND_AHEAD, SOUND_LEAD};
pub use types::{DropReason, Master, PaceInput, PaceOutput, PaceStats, PacingConfig, Picture, Sound};
pub use viewer::{ViewerGets, ViewerRate, ViewerReport, ViewerTrouble};
