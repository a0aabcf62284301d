//! The daemon as a process: the real binary, simulated cameras, a real Mosquitto, the HTTP API.
//!
//! Tests wait for conditions with a generous deadline and run two at a time: each is several processes that code
//! and decode video. Where Mosquitto is not installed they say so and pass.
#![allow(clippy::unwrap_used, reason = "tests say what went wrong by panicking")]

mod broker;
mod clocks;
mod commands;
mod config;
mod crash;
mod daemon;
mod disk;
mod engines;
mod faults;
mod fleet;
mod handover;
mod harness;
mod main_job;
mod motion;
mod mqtt;
mod outputs;
mod panorama;
mod players;
mod rtsp_taker;
mod stitch;
mod stitch_out;
mod sub_stream;
mod system;
mod virtual_camera;
