//! The daemon's parts: configuration, wiring, web API, MQTT, systemd. The binary is `main.rs`.

pub mod beat;
pub mod board;
pub mod box_clock;
pub mod config;
pub mod documents;
mod group;
pub mod hub;
