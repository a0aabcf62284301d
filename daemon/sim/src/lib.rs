//! Simulated cameras with known truth, for the demo and for tests.
//!
//! * [`scene`]: one rendered street seen by overlapping virtual cameras;
//! * [`barcode`]: the true capture time in the pixels of every picture;
//! * [`camera`]: RTSP cameras that show the scene, with wrong clocks, delays and failures on request;
//! * [`flash`]: a flash and a beep at one instant, as a file and as a camera;
//! * [`recording`]: what a virtual camera sees, as a file;
//! * [`scenario`]: cameras, networks and clocks in virtual time, for the engine, with tables that read like prose;
//! * [`demo`]: cameras, a broker and the daemon together.
#![forbid(unsafe_code)]

#[cfg(test)]
mod av_tests;
pub mod barcode;
pub mod camera;
#[cfg(test)]
mod coded_tests;
pub mod demo;
pub mod flash;
mod font;
#[cfg(test)]
mod network_tests;
#[cfg(test)]
mod packets_tests;
pub mod recording;
pub mod scenario;
pub mod scene;
