//! From a camera's own time to the box's.
//!
//! Terms: a **media clock** is what stamps frames (RTP ticks, container ticks); a **wall clock** is what a camera
//! believes to be UTC (the NTP time of its sender reports). They are kept apart: frames are placed on the box's
//! monotonic clock by the media clock alone, the wall clock is only measured and reported. So a camera whose NTP
//! steps, or is hours off, never moves a frame.

mod driver;
mod hull;
mod rtp;
mod unwrap;
mod wall;

pub use driver::{DriverStamp, DriverTimebase, DriverTimebaseConfig, StampClock, StampPoint};
pub use hull::MinDelayHull;
pub use rtp::{RtpTimebase, RtpTimebaseConfig, SenderReport, TimeHealth, Timed};
pub use unwrap::RtpUnwrapper;
pub use wall::WallClock;
