//! What the machine is told, what it answers, and what of it is kept over a restart.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::preflight::{BoxFacts, BundleFacts};

/// A step on the way to a new system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Whether the box could take an update at all.
    Checking,
    /// The bundle comes to the box.
    Downloading,
    /// The bundle is there: whether it may be installed.
    Preflight,
    /// The other slot is written.
    Installing,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Checking => "checking",
            Stage::Downloading => "downloading",
            Stage::Preflight => "preflight",
            Stage::Installing => "installing",
        })
    }
}

/// Where an update is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// None is under way.
    Idle,
    /// The box is asked whether it could take one.
    Checking,
    /// The bundle comes.
    Downloading {
        /// Bytes that are here.
        bytes: u64,
        /// Bytes in all, once the source has said so.
        total: Option<u64>,
    },
    /// The bundle is looked at.
    Preflight,
    /// RAUC writes the other slot.
    Installing {
        /// As RAUC counts, 0 to 100.
        percent: u8,
    },
    /// Installed; the next start takes the new system.
    RebootPending,
    /// The box has started since; the health gate has not spoken yet.
    Verifying,
    /// The new system runs and stays.
    Committed,
    /// The new system was not well, and the one of before runs again.
    RolledBack {
        /// What the health gate found.
        reason: String,
    },
    /// It came to nothing; the running system was not touched.
    Failed {
        /// Where.
        stage: Stage,
        /// Why, and how to mend it.
        reason: String,
    },
}

impl State {
    /// The stage, where there is one that can fail.
    pub fn stage(&self) -> Option<Stage> {
        match self {
            State::Checking => Some(Stage::Checking),
            State::Downloading { .. } => Some(Stage::Downloading),
            State::Preflight => Some(Stage::Preflight),
            State::Installing { .. } => Some(Stage::Installing),
            _ => None,
        }
    }

    /// Whether another update may begin: nothing is under way.
    pub fn is_at_rest(&self) -> bool {
        matches!(
            self,
            State::Idle | State::Committed | State::RolledBack { .. } | State::Failed { .. }
        )
    }
}

/// What somebody wants installed. `S` says where the bundle comes from; the machine never looks into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish<S> {
    /// Where the bundle comes from.
    pub source: S,
    /// Whether the source can be asked again after a fault: an address can, an upload by a browser cannot.
    pub repeatable: bool,
    /// Version that the bundle must be of; `None`: any that may be installed.
    #[serde(default)]
    pub version: Option<String>,
    /// An older version is wanted on purpose.
    pub allow_downgrade: bool,
    /// The same version is wanted again, or the box's clock is known to be wrong.
    pub force: bool,
    /// Start the new system as soon as it is installed.
    pub reboot: bool,
}

/// What is in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its version, as of SemVer.
    pub version: String,
    /// The kind of machine it is for.
    pub compatible: String,
}

/// An update under way, or the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job<S> {
    /// What was asked for.
    pub wish: Wish<S>,
    /// What the bundle turned out to be.
    pub release: Option<Release>,
    /// Boot name of the slot that is written.
    pub target: Option<String>,
    /// What a person should know besides: why the box did not restart, when the next try is.
    pub note: Option<String>,
}

/// What survives a restart of the daemon, or of the box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept<S> {
    /// Where it was.
    #[serde(flatten)]
    pub state: State,
    /// The update.
    pub job: Option<Job<S>>,
}

/// Why bytes do not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Asking again would give the same: 4xx, too large, a wrong sum, no space.
    Final(String),
    /// It may work the next time: 5xx, a connection that broke.
    Passing(String),
}

/// What the slots, the boot loader's word and the health gate's files say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Boot name of the slot that runs.
    pub running: Option<String>,
    /// Boot name of the slot that waits for the health gate.
    pub pending: Option<String>,
    /// Why the box went back.
    pub rollback_reason: Option<String>,
}

/// What the machine is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Facts of the box, or why they cannot be had.
    Checked(Result<BoxFacts, String>),
    /// Bytes came.
    Fetching {
        /// Bytes that are here.
        bytes: u64,
        /// Bytes in all, if known.
        total: Option<u64>,
    },
    /// The whole bundle is here.
    Fetched {
        /// Its bytes.
        bytes: u64,
    },
    /// The source failed.
    FetchFailed {
        /// Why.
        fault: Fault,
        /// Bytes that are here all the same.
        bytes: u64,
        /// Uniform in 0..1, for the wait before the next try.
        random: f64,
    },
    /// Facts of the box and of the bundle, or why the bundle cannot be read.
    Inspected(Result<(BoxFacts, BundleFacts), String>),
    /// RAUC is this far.
    Installing {
        /// 0 to 100.
        percent: u8,
    },
    /// RAUC ended: well, or with its words.
    Installed(Result<(), String>),
    /// The box was restarted meanwhile, and runs the slot that was written.
    Overtaken,
    /// The box could not be restarted.
    RebootFailed(String),
    /// What is seen of slots and gate.
    Seen(Look),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write the state down, and tell it.
    Keep,
    /// Measure the box: [`Input::Checked`].
    Check,
    /// Bring the bundle, going on behind the bytes that are here: [`Input::Fetching`], [`Input::Fetched`], [`Input::FetchFailed`].
    Fetch,
    /// Bring no more of it.
    StopFetching,
    /// Read the bundle and measure the box: [`Input::Inspected`].
    Inspect,
    /// Have the bundle installed: [`Input::Installing`], [`Input::Installed`].
    Install,
    /// The daemon was restarted during an installation: follow it, or find out how it ended. Same inputs, or
    /// [`Input::Overtaken`].
    Follow,
    /// Restart the box: [`Input::RebootFailed`] if that cannot be.
    Reboot,
    /// Look at slots and gate: [`Input::Seen`].
    Look,
    /// Remove the bundle.
    Discard,
    /// The version that runs is committed: nothing below it without a word from now on.
    NoteFloor,
}

/// Why something cannot be had now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// Another update is under way.
    #[error("an update is under way ({0}): wait for its end, or cancel it")]
    Busy(&'static str),
    /// It is installed and waits.
    #[error("an update is installed and waits for the box's restart: restart it first")]
    WaitsForReboot,
    /// The new system is on trial.
    #[error("the system that runs is on trial: in a few minutes it is committed, or the box goes back")]
    OnTrial,
    /// Too late to cancel.
    #[error("the slot is being written: that cannot be stopped half way")]
    Writing,
    /// Nothing to restart for.
    #[error("no update waits for a restart")]
    NothingInstalled,
    /// Nothing to cancel.
    #[error("no update is under way")]
    Nothing,
}
