//! Configuration: one versioned TOML file, raw to resolved.
//!
//! * [`load`] reads a file into a [`Config`] that cannot be wrong, or into all that is wrong with it.
//! * [`plan`] says what a changed configuration means for a running daemon.
//! * [`add_camera`], [`add_panorama`], [`add_virtual_camera`], [`add_output`] and their kin, and [`save`] change the file and keep its comments.
//! * [`schema`] is its JSON Schema.

mod diff;
mod document;
mod edit;
mod edit_output;
mod edit_panorama;
mod edit_settings;
mod edit_virtual_camera;
mod load;
mod mask;
mod merge;
mod problem;
mod raw;
mod raw_mqtt;
mod raw_output;
mod raw_panorama;
mod raw_virtual_camera;
mod reader;
mod resolve;
mod resolved;
mod save;
mod schema;
mod secret;
mod source;
mod surroundings;
#[cfg(test)]
pub(crate) mod tests;
mod units;
mod words;

pub use diff::*;
pub use edit::*;
pub use edit_output::*;
pub use edit_panorama::*;
pub use edit_settings::SettingsMap;
pub use edit_virtual_camera::*;
pub use load::{Loaded, load, load_with, parse};
pub(crate) use mask::masked;
pub use merge::merge;
pub use problem::*;
pub use raw::*;
pub use raw_mqtt::*;
pub use raw_output::*;
pub use raw_panorama::*;
pub use raw_virtual_camera::*;
pub use resolved::*;
pub(crate) use save::write_atomically;
pub use save::*;
pub use schema::schema;
pub use source::{Credentials, SourceError, parse_source, split_credentials};
pub use surroundings::{SmallFile, Surroundings, ThisMachine};

/// The shipped configuration file: all keys with their defaults, commented.
pub fn example() -> &'static str {
    include_str!("../../../../configs/synoptic.toml")
}
