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
mod gpu_watch;
mod group;
mod groups;
pub mod hub;
pub mod inference;
pub mod logging;
mod look;
pub mod models;
mod motion;
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
pub mod update;
mod watches;
mod watchman;
pub mod web;
