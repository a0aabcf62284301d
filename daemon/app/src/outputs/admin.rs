//! Outputs by way of the configuration file, for the web server.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use synoptic_base::StreamId;

use super::{Desk, OutputDoc};
use crate::config::{self, EditError, NewOutput, SaveError, Severity};
use crate::hub::{Command, Hub};
use crate::web::{OutputAdmin, Problem};

/// What the API changes, and what it tells.
pub(crate) struct ConfiguredOutputs {
    path: PathBuf,
    hub: Arc<Hub>,
    desk: Arc<Desk>,
    /// One change of the file at a time, cameras' changes among them.
    editing: Arc<Mutex<()>>,
}

impl ConfiguredOutputs {
    /// Those of the file at `path`.
    pub(crate) fn shared(path: &Path, hub: &Arc<Hub>, desk: &Arc<Desk>) -> Arc<ConfiguredOutputs> {
        Arc::new(ConfiguredOutputs {
            path: path.to_owned(),
            hub: hub.clone(),
            desk: desk.clone(),
            editing: desk.editing(),
        })
    }

    fn edit(&self, edit: impl FnOnce(&str) -> Result<config::Edit, EditError>) -> Result<(), Problem> {
        let _turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let text = std::fs::read_to_string(&self.path)
            .map_err(|e| Problem::internal("reading the configuration", e))?;
        edit(&text)
            .and_then(|edit| edit.save(&self.path))
            .map_err(problem)?;
        // The daemon ends only after the web server: somebody listens.
        self.hub
            .commands
            .send(Command::Reload)
            .map_err(|e| Problem::internal("applying the change", e))
    }
}

fn problem(error: EditError) -> Problem {
    let text = error.to_string();
    match error {
        EditError::OutputTaken(_) | EditError::Changed(_) | EditError::Unreadable(_) => {
            Problem::conflict(text)
        }
        EditError::NoOutput(_) => Problem::not_found(text),
        EditError::Source(_) => Problem::invalid("url", text),
        EditError::Save(SaveError::Invalid(errors)) => invalid(&errors),
        error => Problem::internal("saving the configuration", error),
    }
}

/// The first thing that is wrong with what was asked for. Of the rest of the file it is not the client's fault.
fn invalid(errors: &config::ConfigErrors) -> Problem {
    let wrong = errors.problems.iter().filter(|p| p.severity == Severity::Error);
    let mut of_outputs = wrong.clone().filter(|p| p.path.starts_with("output["));
    match of_outputs.next() {
        Some(first) => {
            let field = first.path.split_once('.').map_or("id", |(_, field)| field);
            let hint = first.hint.as_ref().map_or(String::new(), |h| format!(": {h}"));
            Problem::invalid(field, format!("{}{hint}", first.message))
        }
        None => Problem::conflict(format!(
            "the configuration has {} other errors: `synoptic check` says where; mend them first",
            wrong.count()
        )),
    }
}

impl OutputAdmin for ConfiguredOutputs {
    fn list(&self) -> Vec<OutputDoc> {
        self.desk.docs()
    }

    fn get(&self, id: &StreamId) -> Option<OutputDoc> {
        self.desk.status(id)
    }

    fn add(&self, output: &NewOutput) -> Result<(), Problem> {
        self.edit(|text| config::add_output(text, output))
    }

    fn replace(&self, output: &NewOutput) -> Result<(), Problem> {
        self.edit(|text| config::replace_output(text, output))
    }

    fn remove(&self, id: &StreamId) -> Result<(), Problem> {
        match self.desk.status(id) {
            // Started by another part of the daemon, and in no file.
            Some(doc) if !doc.configured => self.desk.stop(id).map_err(|e| Problem::conflict(e.to_string())),
            _ => self.edit(|text| config::remove_output(text, id.as_str())),
        }
    }
}
