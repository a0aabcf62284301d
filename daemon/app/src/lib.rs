//! The daemon's parts: configuration, wiring, web API, MQTT, systemd. The binary is `main.rs`.
#![deny(unsafe_code)]

mod adapters;
mod beat;
mod board;
pub mod box_clock;
pub mod cli;
pub mod config;
mod daemon;
mod detect;
mod detectors;
pub mod documents;
mod group;
mod groups;
pub mod hub;
mod logging;
pub mod models;
pub mod mqtt;
pub mod probe;
mod recorder;
mod service;
pub mod web;
