//! The daemon's parts: configuration, wiring, web API, MQTT, systemd. The binary is `main.rs`.
#![deny(unsafe_code)]

mod adapters;
pub mod beat;
pub mod board;
pub mod box_clock;
mod chrony;
pub mod cli;
pub mod config;
pub mod daemon;
mod detect;
pub mod detectors;
pub mod documents;
pub mod found;
mod group;
mod groups;
pub mod hub;
pub mod logging;
pub mod models;
pub mod mqtt;
pub mod outputs;
pub mod panorama;
pub mod probe;
pub mod recorder;
pub mod service;
pub mod stages;
pub mod starts;
mod storage;
mod time_memory;
mod watchman;
pub mod web;
