//! From a camera's own time to the box's.
//!
//! Terms: a **media clock** is what stamps frames (RTP ticks, container ticks); a **wall clock** is what a camera
//! believes to be UTC (the NTP time of its sender reports). They are kept apart: frames are placed on the box's
//! monotonic clock by the media clock alone, the wall clock is only measured and reported. So a camera whose NTP
//! steps, or is hours off, never moves a frame.

mod claims;
mod doctor;
mod driver;
mod file;
mod fit;
pub mod flash;
mod hull;
mod invariants;
mod jump;
mod ladder;
mod likely;
mod preview;
mod rate;
mod raw;
mod reports;
mod rtp;
mod stamps;
mod start;
mod tilt;
mod types;
mod unwrap;
mod waited;
mod wall;
mod walled;
pub mod wire;

pub use doctor::{Diagnosis, Finding, Grade, diagnose};
pub use driver::{DriverStamp, DriverTimebase, DriverTimebaseConfig, StampClock, StampPoint};
pub use file::{FileClock, FilePicture};
pub use hull::MinDelayHull;
pub use ladder::{Ladder, RungChange, RungReason};
pub use rtp::RtpTimebase;
pub use stamps::StampKind;
pub use start::StartClock;
pub use types::{LearnedDelay, RtpTimebaseConfig, SenderReport, TimeEvent, TimeHealth, Timed};
pub use unwrap::RtpUnwrapper;
pub use wall::{WallClock, WallVerdict};
