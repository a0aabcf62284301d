//! The daemon's parts: configuration, wiring, web API, MQTT, systemd. The binary is `main.rs`.

pub mod config;
pub mod documents;
pub mod hub;
pub mod mqtt;
