//! The configuration as a whole: shipped files, the schema and the reference, what is read, what is refused.

mod editing;
mod output;
mod panorama;
mod reading;
mod refusing;
mod shipped;
mod virtual_camera;
mod whole_file;

use std::path::Path;

use super::problem::Severity;
use super::surroundings::fake::FakeMachine;
use super::{Config, ConfigErrors, Loaded, Problem, parse};

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

/// The errors and warnings of a text that must be wrong.
fn problems(text: &str) -> Vec<Problem> {
    match parse_on(text, &machine()) {
        Ok(_) => panic!("taken for right: {text}"),
        Err(errors) => errors.problems,
    }
}

/// The only error of `text`, which must be at the key `path`.
fn only(text: &str, path: &str) -> Problem {
    let mut problems = problems(text);
    assert_eq!(problems.len(), 1, "{text}\n{problems:#?}");
    let problem = problems.remove(0);
    assert_eq!(problem.severity, Severity::Error);
    assert_eq!(problem.path, path, "{problem:?}");
    problem
}

const CAMERA: &str = "schema_version = 1\n[[camera]]\nid = \"a\"\nsource = \"rtsp://cam/1\"\n";
const FILE: &str = "schema_version = 1\n[[camera]]\nid = \"a\"\nsource = \"a.mp4\"\n";
const MQTT: &str = "schema_version = 1\n[mqtt]\nurl = \"mqtt://broker\"\n";
