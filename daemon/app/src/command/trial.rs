//! A configuration on trial: in effect, and taken back unless somebody confirms in time that the box can still be reached.
//!
//! What to go back to lies on the disk before the new configuration is written, beside the configuration file and not in the
//! data folder: the new configuration may name another one, or be one that cannot even be read at the next start. At each
//! start [`at_start`] looks first: within the same boot the trial goes on, three starts of the daemon at most; after a reboot,
//! and when the time is over, the configuration of before comes back. A configuration that the page or a person changed
//! meanwhile is left as it is: then somebody reaches the box.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use synoptic_base::{Clock, Mono, Span};
use tokio::sync::watch;
use uuid::Uuid;

use crate::config::{self, Config, SaveError, Severity, write_atomically};
use crate::hub::{Command, Hub};

/// Starts of the daemon within a trial: more are the new configuration's fault.
const STARTS: u32 = 3;
/// Mode of the file: the configuration may hold stream keys.
const MODE: u32 = 0o600;

/// What lies on the disk during a trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TrialFile {
    /// Id of the command that began it.
    command: String,
    /// Revision on trial.
    revision: String,
    /// The text of before.
    before: String,
    boot: Uuid,
    /// End of the trial, CLOCK_MONOTONIC of that boot in ns.
    end_ns: i64,
    /// Starts of the daemon since it began.
    starts: u32,
}

/// What became of a trial that an earlier run of the daemon had begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AtStart {
    /// It goes on.
    GoesOn,
    /// It is over: the command's id, and why.
    Over {
        /// Id of the command that had begun it.
        command: String,
        /// What became of it.
        why: String,
    },
}

/// A short name of a configuration's text: 16 digits of its SHA-256.
pub(super) fn revision(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest[..8].iter().map(|b| format!("{b:02x}")).collect()
}

fn trial_path(config: &Path) -> PathBuf {
    let mut path = config.as_os_str().to_owned();
    path.push(".trial");
    PathBuf::from(path)
}

/// Looks for a trial of before, and ends it where it may not go on. To be called before the configuration is read.
/// `None`: there is none. What cannot be read or written is logged: the box starts anyway.
pub fn at_start(config: &Path, now: Mono, boot: Uuid) -> Option<AtStart> {
    let path = trial_path(config);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                log::error!("the trial {} cannot be read: {error}", path.display());
            }
            return None;
        }
    };
    let mut trial: TrialFile = match serde_json::from_slice(&bytes) {
        Ok(trial) => trial,
        Err(error) => {
            // It is written whole or not at all, so somebody else wrote it.
            log::error!("{} is no trial of a configuration: {error}", path.display());
            return None;
        }
    };
    trial.starts += 1;
    let left = Mono::from_nanos(trial.end_ns) - now;
    let over = if trial.boot != boot {
        Some("the box was rebooted before it was confirmed".to_owned())
    } else if left <= Span::ZERO {
        Some("it was not confirmed in time".to_owned())
    } else if trial.starts > STARTS {
        Some(format!("the daemon ended {STARTS} times on it"))
    } else {
        None
    };
    let Some(why) = over else {
        match on_trial(config, &trial) {
            Ok(true) => {
                if let Err(error) = write(&path, &trial) {
                    log::error!("{error}");
                }
                return Some(AtStart::GoesOn);
            }
            Ok(false) => {
                remove(&path);
                let why = "the configuration was not written, or changed by somebody else since".to_owned();
                return Some(AtStart::Over {
                    command: trial.command,
                    why,
                });
            }
            Err(error) => {
                let why = take_back(config, &trial, &format!("it cannot be read: {error}"));
                return Some(AtStart::Over {
                    command: trial.command,
                    why,
                });
            }
        }
    };
    let why = take_back(config, &trial, &why);
    log::warn!("configuration: {why}");
    Some(AtStart::Over {
        command: trial.command,
        why,
    })
}

/// Whether the file is the one on trial.
fn on_trial(config: &Path, trial: &TrialFile) -> io::Result<bool> {
    Ok(revision(&std::fs::read_to_string(config)?) == trial.revision)
}

/// Writes the text of before, unless somebody else has changed the file; says what was done.
fn take_back(config: &Path, trial: &TrialFile, why: &str) -> String {
    if let Ok(false) = on_trial(config, trial) {
        remove(&trial_path(config));
        return format!("{why}; but the file was changed by somebody else since, so it is left as it is");
    }
    // Not checked: it was in effect, and what it refers to may have changed for a moment.
    let target = std::fs::canonicalize(config).unwrap_or_else(|_| config.to_owned());
    if let Err(error) = write_atomically(&target, trial.before.as_bytes(), mode(&target)) {
        // The trial stays on the disk: the next start tries again.
        return format!("{why}; but the configuration of before cannot be written: {error}");
    }
    remove(&trial_path(config));
    format!("{why}: the configuration of before is back")
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).map_or(MODE, |m| m.permissions().mode() & 0o7777)
}

fn write(path: &Path, trial: &TrialFile) -> Result<(), String> {
    let text = serde_json::to_vec(trial).map_err(|e| e.to_string())?;
    write_atomically(path, &text, MODE).map_err(|e| e.to_string())
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        log::error!("the trial {} cannot be removed: {error}", path.display());
    }
}

/// A configuration that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// Id of the command.
    pub(super) command: String,
    /// The whole text.
    pub(super) text: String,
    /// The revision that the file must have now, if the requester says one.
    pub(super) expected: Option<String>,
    /// How long until it must be confirmed; `None`: it needs not be.
    pub(super) window: Option<Span>,
}

/// What came of a wish at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) revision: String,
    pub(super) before: String,
    /// What changes, one action each.
    pub(super) plan: Vec<String>,
    /// Whether it waits to be confirmed.
    pub(super) on_trial: bool,
}

struct Active {
    trial: TrialFile,
    /// `true` once it is confirmed.
    confirmed: watch::Sender<bool>,
}

/// Changes the configuration file as a whole.
pub struct Trials {
    path: PathBuf,
    hub: Arc<Hub>,
    clock: Arc<dyn Clock>,
    boot: Uuid,
    /// One change of the file at a time, the page's among them.
    editing: Arc<Mutex<()>>,
    active: Mutex<Option<Active>>,
    /// What became of the trial of an earlier run.
    over: Option<(String, String)>,
}

impl Trials {
    /// Of the configuration file at `path`. `before`: what [`at_start`] said.
    pub fn new(
        path: PathBuf,
        hub: Arc<Hub>,
        clock: Arc<dyn Clock>,
        boot: Uuid,
        editing: Arc<Mutex<()>>,
        before: Option<AtStart>,
    ) -> Trials {
        let going = || {
            let bytes = std::fs::read(trial_path(&path)).ok()?;
            let trial = serde_json::from_slice(&bytes).ok()?;
            Some(Active {
                trial,
                confirmed: watch::Sender::new(false),
            })
        };
        let (active, over) = match before {
            Some(AtStart::GoesOn) => (going(), None),
            Some(AtStart::Over { command, why }) => (None, Some((command, why))),
            None => (None, None),
        };
        Trials {
            active: Mutex::new(active),
            path,
            hub,
            clock,
            boot,
            editing,
            over,
        }
    }

    /// The file as it is.
    pub(super) fn text(&self) -> Result<String, String> {
        std::fs::read_to_string(&self.path)
            .map_err(|e| format!("the configuration {} cannot be read: {e}", self.path.display()))
    }

    /// The configuration file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn active(&self) -> MutexGuard<'_, Option<Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks and applies a configuration. Blocks.
    pub(super) fn apply(&self, wish: &Wish) -> Result<Applied, String> {
        let _turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.text()?;
        let before_revision = revision(&before);
        if let Some(expected) = &wish.expected
            && *expected != before_revision
        {
            return Err(format!(
                "the configuration is of revision {before_revision}, not {expected}: fetch it and change that one"
            ));
        }
        if let Some(active) = &*self.active() {
            return Err(format!(
                "the configuration {} waits to be confirmed: confirm it first, or wait",
                active.trial.revision
            ));
        }
        let machine = config::ThisMachine;
        let new = config::parse(&wish.text, &self.path, &machine).map_err(|e| told(&e))?;
        let plan = match config::parse(&before, &self.path, &machine) {
            Ok(old) => lines(&old.config, &new.config),
            Err(_) => vec!["the configuration of before is not right: all is new".to_owned()],
        };
        let mut applied = Applied {
            revision: revision(&wish.text),
            before: before_revision,
            plan,
            on_trial: false,
        };
        if applied.revision == applied.before {
            return Ok(applied);
        }
        let trial = wish.window.map(|window| TrialFile {
            command: wish.command.clone(),
            revision: applied.revision.clone(),
            before,
            boot: self.boot,
            end_ns: (self.clock.now() + window).as_nanos(),
            starts: 0,
        });
        if let Some(trial) = &trial {
            write(&trial_path(&self.path), trial)?;
        }
        if let Err(error) = config::save(&self.path, &wish.text) {
            remove(&trial_path(&self.path));
            return Err(match error {
                SaveError::Invalid(errors) => told(&errors),
                other => other.to_string(),
            });
        }
        applied.on_trial = trial.is_some();
        *self.active() = trial.map(|trial| Active {
            trial,
            confirmed: watch::Sender::new(false),
        });
        self.reload();
        Ok(applied)
    }

    /// Waits until the trial that `command` began is confirmed. The error says that it was taken back, and why.
    pub(super) async fn ended(&self, command: &str) -> Result<String, String> {
        if let Some((_, why)) = self.over.as_ref().filter(|(id, _)| id == command) {
            return Err(why.clone());
        }
        let waiting = {
            let active = self.active();
            let mine = active.as_ref().filter(|a| a.trial.command == command);
            mine.map(|a| (a.confirmed.subscribe(), a.trial.clone()))
        };
        let Some((mut confirmed, trial)) = waiting else {
            return Err("the daemon ended before the configuration was written".to_owned());
        };
        let left = Mono::from_nanos(trial.end_ns) - self.clock.now();
        let done = tokio::time::timeout(left.to_std(), confirmed.wait_for(|yes| *yes)).await;
        if matches!(done, Ok(Ok(_))) {
            return Ok(trial.revision);
        }
        self.give_up(&trial)
    }

    /// The end of a trial that nobody confirmed.
    fn give_up(&self, trial: &TrialFile) -> Result<String, String> {
        let _turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut active = self.active();
        if active.as_ref().is_none_or(|a| a.trial.revision != trial.revision) {
            // Confirmed at the last moment.
            return Ok(trial.revision.clone());
        }
        *active = None;
        drop(active);
        let why = take_back(&self.path, trial, "it was not confirmed in time");
        log::warn!("configuration: {why}");
        self.reload();
        Err(why)
    }

    /// Keeps the configuration on trial. `revision` must be its own.
    pub(super) fn confirm(&self, revision: &str) -> Result<(), String> {
        let mut active = self.active();
        match &*active {
            Some(on_trial) if on_trial.trial.revision == revision => {
                remove(&trial_path(&self.path));
                on_trial.confirmed.send_replace(true);
                *active = None;
                Ok(())
            }
            Some(other) => Err(format!(
                "the configuration that waits to be confirmed is {}, not {revision}",
                other.trial.revision
            )),
            None => Err("no configuration waits to be confirmed".to_owned()),
        }
    }

    fn reload(&self) {
        // The daemon's end only is in the way; its next start reads the file.
        self.hub.commands.send(Command::Reload).ok();
    }
}

fn lines(old: &Config, new: &Config) -> Vec<String> {
    let plan = config::plan(old, new).to_string();
    plan.lines().map(str::to_owned).collect()
}

/// What is wrong, without the lines of the file.
fn told(errors: &config::ConfigErrors) -> String {
    let wrong = errors.problems.iter().filter(|p| p.severity == Severity::Error);
    let one = |p: &config::Problem| {
        let at = if p.path.is_empty() { "the file" } else { &p.path };
        let hint = p.hint.as_ref().map_or(String::new(), |h| format!(": {h}"));
        format!("{at}: {}{hint}", p.message)
    };
    wrong.map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: Uuid = Uuid::from_u128(1);
    const OLD: &str = "schema_version = 1\n# old\n";
    const NEW: &str = "schema_version = 1\n# new\n";

    fn stage(starts: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("synoptic.toml");
        std::fs::write(&path, NEW).unwrap();
        let trial = TrialFile {
            command: "c1".into(),
            revision: revision(NEW),
            before: OLD.into(),
            boot: BOOT,
            end_ns: 1_000,
            starts,
        };
        write(&trial_path(&path), &trial).unwrap();
        (dir, path)
    }

    fn over(at: Option<AtStart>) -> String {
        match at {
            Some(AtStart::Over { command, why }) if command == "c1" => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_trial_outlives_starts_of_the_daemon_but_not_too_many() {
        let (_dir, path) = stage(0);
        let start = || at_start(&path, Mono::from_nanos(10), BOOT);
        for _ in 0..STARTS {
            assert_eq!(start(), Some(AtStart::GoesOn));
        }
        assert!(over(start()).contains("ended 3 times on it: the configuration of before is back"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), OLD);
        assert_eq!(start(), None, "it is over");
    }

    #[test]
    fn a_reboot_and_the_end_of_its_time_end_it() {
        for (now, boot, part) in [
            (10, Uuid::from_u128(2), "rebooted"),
            (1_001, BOOT, "not confirmed in time"),
        ] {
            let (_dir, path) = stage(0);
            let why = over(at_start(&path, Mono::from_nanos(now), boot));
            assert!(why.contains(part) && why.contains("is back"), "{why}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), OLD);
        }
    }

    #[test]
    fn what_somebody_else_wrote_is_left_as_it_is() {
        let (_dir, path) = stage(0);
        std::fs::write(&path, "schema_version = 1\n# by hand\n").unwrap();
        let why = over(at_start(&path, Mono::from_nanos(1_001), BOOT));
        assert!(why.contains("left as it is"), "{why}");
        assert!(std::fs::read_to_string(&path).unwrap().contains("by hand"));
        assert_eq!(at_start(&path, Mono::from_nanos(1_001), BOOT), None);
    }

    #[test]
    fn a_power_cut_before_the_new_file_leaves_the_old_one() {
        let (_dir, path) = stage(0);
        std::fs::write(&path, OLD).unwrap();
        over(at_start(&path, Mono::from_nanos(10), BOOT));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), OLD);
        std::fs::write(trial_path(&path), "{").unwrap();
        assert_eq!(at_start(&path, Mono::from_nanos(10), BOOT), None);
    }

    #[test]
    fn a_file_that_is_gone_comes_back() {
        let (_dir, path) = stage(0);
        std::fs::remove_file(&path).unwrap();
        over(at_start(&path, Mono::from_nanos(10), BOOT));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), OLD);
    }
}
