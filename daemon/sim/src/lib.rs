//! Simulated cameras with known truth, for the demo and for tests.
//!
//! * [`scene`]: one rendered street seen by overlapping virtual cameras;
//! * [`barcode`]: the true capture time in the pixels of every picture;
//! * [`camera`]: RTSP cameras that show the scene, with wrong clocks, delays and failures on request;
//! * [`flash`]: a flash and a beep at one instant, as a file and as a camera;
//! * [`flash_box`]: what of it leaves a box that takes it in;
//! * [`recording`]: what a virtual camera sees, as a file;
//! * [`scenario`]: cameras, networks and clocks in virtual time, for the engine, with tables that read like prose;
//! * [`taker`]: an RTSP server that takes what a box pushes;
//! * [`fuzz`]: any bytes for every parser and estimator;
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
pub mod flash_box;
mod font;
pub mod fuzz;
#[cfg(test)]
mod network_tests;
#[cfg(test)]
mod packets_tests;
pub mod recording;
mod rtsp_thread;
pub mod scenario;
pub mod scene;
pub mod taker;
#[cfg(test)]
mod ways_in_tests;
#[cfg(test)]
mod ways_out_tests;
