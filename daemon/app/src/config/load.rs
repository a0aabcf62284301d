//! From a file, or a text, to a checked configuration.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::problem::{ConfigErrors, Problem, Severity};
use super::reader::Reader;
use super::resolve::{self, Context};
use super::resolved::Config;
use super::surroundings::{Surroundings, ThisMachine};

/// A configuration that may be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What deserves a look, in the order of the file; show it with [`super::render`].
    pub warnings: Vec<Problem>,
    /// The text it was read from.
    pub text: String,
}

/// Reads and checks a configuration file. Fails with everything that is wrong with it.
pub fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    load_with(path, &ThisMachine)
}

/// As [`load`], with passwords and host name from `machine`.
pub fn load_with(path: &Path, machine: &dyn Surroundings) -> Result<Loaded, ConfigErrors> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigErrors {
        file: path.to_owned(),
        problems: vec![Problem::of_file(
            format!("cannot be read: {error}"),
            "`synoptic check --example` prints a file to begin with",
        )],
    })?;
    parse(&text, path, machine)
}

/// Checks the text of a configuration. `file` names it in messages and is where relative paths begin; it need
/// not exist.
pub fn parse(text: &str, file: &Path, machine: &dyn Surroundings) -> Result<Loaded, ConfigErrors> {
    let (config, problems, _) = read(text, &folder_of(file), machine);
    match config {
        Some(config) => Ok(Loaded {
            config,
            warnings: problems,
            text: text.to_owned(),
        }),
        None => Err(ConfigErrors {
            file: file.to_owned(),
            problems,
        }),
    }
}

/// The configuration unless there is an error, all problems, and the keys that were asked for.
pub(super) fn read(
    text: &str,
    folder: &Path,
    machine: &dyn Surroundings,
) -> (Option<Config>, Vec<Problem>, BTreeSet<String>) {
    let (root, syntax) = DeTable::parse_recoverable(text);
    let reader = Reader::new(text, root.get_ref());
    if !syntax.is_empty() {
        // What the parser made of a broken text would only give errors that nobody understands.
        for error in syntax {
            let span = error.span().unwrap_or(text.len()..text.len());
            reader.error("", span, format!("this is no TOML: {}", error.message()), "");
        }
        let (problems, asked) = reader.finish();
        return (None, problems, asked);
    }
    let context = Context { folder, machine };
    let config = resolve::config(&reader, root.get_ref(), &context);
    let (mut problems, asked) = reader.finish();
    let failed = problems.iter().any(|p| p.severity == Severity::Error);
    if config.is_none() && !failed {
        // Not reachable as far as we know; but a file is never refused without a word.
        problems.push(Problem::of_file(
            "cannot be used, for a reason that Synoptic failed to notice".to_owned(),
            "please report it with the file",
        ));
    }
    (config, problems, asked)
}

/// The folder that relative paths in `file` begin at, absolute.
pub(super) fn folder_of(file: &Path) -> PathBuf {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    file.parent().unwrap_or(Path::new("/")).to_owned()
}
