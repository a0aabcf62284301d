//! `update`: a new system for the box, from an address, told to its very end: the new version's daemon says that it was
//! committed, or the old one's why the box went back.
//!
//! The updater remembers on disk which command asked for its update: whoever runs after the restart finds it there.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{Call, Command, Interrupted, Outcome, Progress, Running, failed, read};
use crate::update::{UpdateDoc, UpdatePhase, UpdateRequest, Updater};

/// Percent between two words of progress: each is a message to the broker.
const STEP: f64 = 10.0;
/// The same for a download whose size nobody tells, in bytes.
const STEP_BYTES: u64 = 32 << 20;

/// Arguments of `update`: exactly one of `url` and `file`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    /// `https://…` or `http://…` of a bundle.
    url: Option<String>,
    /// Full path of a bundle on a stick in the box, below /run/media or /media.
    file: Option<String>,
    /// SHA-256 that the file must have, as 64 hex digits. The signature is checked in any case.
    sha256: Option<String>,
    /// Version that the bundle must be of. A box that runs it already does nothing, successfully.
    version: Option<String>,
    /// Takes an older version.
    #[serde(default)]
    allow_downgrade: bool,
    /// Takes the version that runs again, and goes on with a clock that is behind the bundle.
    #[serde(default)]
    force: bool,
    /// Restarts the box as soon as it is installed; otherwise its next restart takes the new system, and the command runs
    /// until then.
    #[serde(default = "yes")]
    reboot: bool,
}

fn yes() -> bool {
    true
}

/// Updates the box's system.
pub struct Update {
    updates: Arc<Updater>,
}

impl Update {
    /// By this updater.
    pub fn new(updates: Arc<Updater>) -> Update {
        Update { updates }
    }
}

impl Command for Update {
    fn name(&self) -> &'static str {
        "update"
    }

    fn run(&self, call: Call) -> Running {
        let args = match read::<Args>(call.args) {
            Ok(args) => args,
            Err(error) => return failed(&error),
        };
        let updates = self.updates.clone();
        Box::pin(async move {
            if let Some(outcome) = runs_already(&updates.watch().borrow(), &args) {
                return outcome;
            }
            let request = UpdateRequest {
                url: args.url,
                file: args.file,
                sha256: args.sha256,
                version: args.version,
                allow_downgrade: args.allow_downgrade,
                force: args.force,
                reboot: args.reboot,
            };
            let id = call.id.to_string();
            let job = updates.request_by(request, Some(id)).await;
            follow(&updates, job.map_err(|e| e.to_string())?, Some(call.progress)).await
        })
    }

    fn resume(&self, interrupted: Interrupted) -> Running {
        let updates = self.updates.clone();
        Box::pin(async move {
            let (job, command) = {
                let doc = updates.watch();
                let doc = doc.borrow();
                (doc.job, doc.command.clone())
            };
            if command.as_deref() != Some(interrupted.id.as_str()) {
                let why = "nothing is known of it: the daemon ended before the update began, or another one was begun since";
                return Err(why.to_owned());
            }
            follow(&updates, job, None).await
        })
    }
}

/// The end of a command that asks for what runs and is committed already.
fn runs_already(doc: &UpdateDoc, args: &Args) -> Option<Outcome> {
    let wanted = args.version.as_ref()?;
    let on_trial = matches!(doc.state, UpdatePhase::Verifying | UpdatePhase::RebootPending);
    let same = *wanted == doc.version && !args.force && !on_trial;
    same.then(|| Ok(json!({ "version": doc.version, "slot": doc.slot, "updated": false })))
}

/// Waits for the end of update number `job`, telling what happens on the way.
async fn follow(updates: &Updater, job: u64, progress: Option<Progress>) -> Outcome {
    let mut seen = updates.watch();
    let mut told = None;
    loop {
        let doc = seen.borrow_and_update().clone();
        if doc.job != job {
            return Err("another update was begun meanwhile".to_owned());
        }
        if let Some(outcome) = outcome(&doc) {
            return outcome;
        }
        if let Some(progress) = &progress {
            let word = word(&doc);
            if told.as_ref().is_none_or(|last: &Word| last.is_old(&word)) {
                progress.tell(word.text.clone(), word.percent);
                told = Some(word);
            }
        }
        seen.changed()
            .await
            .map_err(|_| "the daemon is going down".to_owned())?;
    }
}

fn outcome(doc: &UpdateDoc) -> Option<Outcome> {
    let reason = || doc.reason.as_deref().unwrap_or("no reason was told");
    match doc.state {
        UpdatePhase::Committed => Some(Ok(
            json!({ "version": doc.version, "slot": doc.slot, "updated": true }),
        )),
        UpdatePhase::RolledBack => Some(Err(format!(
            "version {} was installed and not well, the box went back to {}: {}",
            doc.new_version.as_deref().unwrap_or("?"),
            doc.version,
            reason()
        ))),
        UpdatePhase::Failed => {
            let stage = doc.stage.as_deref().unwrap_or("?");
            Some(Err(format!("{stage}: {}", reason())))
        }
        UpdatePhase::Idle => Some(Err("it was cancelled, or its outcome dismissed".to_owned())),
        UpdatePhase::Checking
        | UpdatePhase::Downloading
        | UpdatePhase::Preflight
        | UpdatePhase::Installing
        | UpdatePhase::RebootPending
        | UpdatePhase::Verifying => None,
    }
}

/// How far it is.
#[derive(Clone, Debug, PartialEq)]
struct Word {
    text: String,
    percent: Option<f64>,
    bytes: u64,
}

impl Word {
    /// Whether `new` is worth a message.
    fn is_old(&self, new: &Word) -> bool {
        let further = match (self.percent, new.percent) {
            (Some(last), Some(now)) => now < last || now >= last + STEP,
            (None, None) => new.bytes >= self.bytes + STEP_BYTES,
            _ => true,
        };
        self.text != new.text || further
    }
}

fn word(doc: &UpdateDoc) -> Word {
    let of_version = doc
        .new_version
        .as_ref()
        .map_or_else(String::new, |v| format!(" {v}"));
    let text = match doc.state {
        UpdatePhase::Downloading => "downloading".to_owned(),
        UpdatePhase::Preflight => "checking the bundle".to_owned(),
        UpdatePhase::Installing => format!("writing{of_version}"),
        UpdatePhase::RebootPending => format!("installed{of_version}; the next start of the box takes it"),
        UpdatePhase::Verifying => format!("on trial{of_version}"),
        _ => "checking the box".to_owned(),
    };
    let note = doc.note.as_ref().map_or_else(String::new, |n| format!(" ({n})"));
    let percent = match (doc.bytes, doc.total_bytes) {
        (Some(bytes), Some(total)) if total > 0 => Some((bytes * 100 / total) as f64),
        _ => doc.percent.map(f64::from),
    };
    Word {
        text: text + &note,
        percent,
        bytes: doc.bytes.unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gigabyte_is_few_messages() {
        let word = |text: &str, percent: Option<f64>, bytes: u64| Word {
            text: text.to_owned(),
            percent,
            bytes,
        };
        let mut last = word("downloading", None, 0);
        let mut told = 0;
        for mb in 0..1024_u64 {
            let now = word("downloading", None, mb << 20);
            if last.is_old(&now) {
                (last, told) = (now, told + 1);
            }
        }
        assert_eq!(told, 31);
        let mut last = word("downloading", Some(0.0), 0);
        told = 0;
        for percent in 0..=100_u32 {
            let now = word("downloading", Some(f64::from(percent)), 0);
            if last.is_old(&now) {
                (last, told) = (now, told + 1);
            }
        }
        assert_eq!(told, 10);
        assert!(last.is_old(&word("writing", Some(100.0), 0)), "another word");
        assert!(
            last.is_old(&word("downloading", Some(3.0), 0)),
            "it began anew, from another file"
        );
        assert!(
            last.is_old(&word("downloading", None, 0)),
            "the size is not known any more"
        );
    }
}
