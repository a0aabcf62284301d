//! The configuration as a whole: shipped files, the schema and the reference, what is read, what is refused.

mod editing;
mod reading;
mod refusing;
mod shipped;

use std::path::Path;

use super::surroundings::fake::FakeMachine;
use super::{Config, ConfigErrors, Loaded, parse};

/// A machine with a name, and nothing else.
fn machine() -> FakeMachine {
    FakeMachine {
        host_name: Some("Box-7.local".to_owned()),
        ..FakeMachine::default()
    }
}

fn parse_on(text: &str, machine: &FakeMachine) -> Result<Loaded, ConfigErrors> {
    parse(text, Path::new("/etc/synoptic/synoptic.toml"), machine)
}

/// The configuration of a text that must be right.
pub(crate) fn good(text: &str) -> Config {
    match parse_on(text, &machine()) {
        Ok(loaded) => loaded.config,
        Err(errors) => panic!("{errors}"),
    }
}
