//! Documents of `/api/v1/update`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use synoptic_engine::update::{SlotFacts, State};
use utoipa::{IntoParams, ToSchema};

/// Where a bundle comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Source {
    /// An http or https address.
    Url { url: String, sha256: Option<String> },
    /// A file below /run/media or /media.
    File { path: String, sha256: Option<String> },
    /// A browser, or whoever sends it.
    Upload {
        name: Option<String>,
        sha256: Option<String>,
    },
}

impl Source {
    pub(super) fn sha256(&self) -> Option<&str> {
        match self {
            Source::Url { sha256, .. } | Source::File { sha256, .. } | Source::Upload { sha256, .. } => {
                sha256.as_deref()
            }
        }
    }

    /// For people, without what may be secret in an address.
    fn shown(&self) -> String {
        match self {
            Source::File { path, .. } => path.clone(),
            Source::Upload { name, .. } => name.clone().unwrap_or_else(|| "upload".to_owned()),
            Source::Url { url, .. } => match url::Url::parse(url) {
                Err(_) => "?".to_owned(),
                Ok(mut url) => {
                    url.set_query(None);
                    // Refused for addresses that cannot have them.
                    url.set_username("").ok();
                    url.set_password(None).ok();
                    url.to_string()
                }
            },
        }
    }
}

/// An update to install. Exactly one of `url` and `file`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateRequest {
    /// `https://…` or `http://…` of a bundle. A link that breaks is gone on with where the server knows ranges.
    pub url: Option<String>,
    /// Full path of a bundle on a stick, as `files` lists it.
    pub file: Option<String>,
    /// SHA-256 that the file must have, as 64 hex digits. The signature is checked in any case.
    pub sha256: Option<String>,
    /// Version that the bundle must be of; any when `null`.
    pub version: Option<String>,
    /// Takes an older version.
    pub allow_downgrade: bool,
    /// Takes the same version again, and goes on with a clock that is behind the bundle.
    pub force: bool,
    /// Restarts the box as soon as it is installed.
    pub reboot: bool,
}

/// What goes with an upload, in the query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct UploadOptions {
    /// Name of the file, for people.
    pub name: Option<String>,
    /// SHA-256 that the file must have, as 64 hex digits.
    pub sha256: Option<String>,
    /// Takes an older version.
    pub allow_downgrade: bool,
    /// Takes the same version again, and goes on with a clock that is behind the bundle.
    pub force: bool,
    /// Restarts the box as soon as it is installed.
    pub reboot: bool,
}

/// Where an update is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpdatePhase {
    /// None is under way.
    Idle,
    /// The box is asked whether it could take one.
    Checking,
    /// The bundle comes.
    Downloading,
    /// The bundle is looked at: signature, machine, version.
    Preflight,
    /// The slot that does not run is written.
    Installing,
    /// Installed; the next start of the box takes the new system.
    RebootPending,
    /// The new system runs on trial.
    Verifying,
    /// The new system runs and stays.
    Committed,
    /// The new system was not well; the one of before runs again.
    RolledBack,
    /// It came to nothing; the running system was not touched.
    Failed,
}

impl UpdatePhase {
    /// Of a state of the machine.
    pub(super) fn of(state: &State) -> UpdatePhase {
        match state {
            State::Idle => UpdatePhase::Idle,
            State::Checking => UpdatePhase::Checking,
            State::Downloading { .. } => UpdatePhase::Downloading,
            State::Preflight => UpdatePhase::Preflight,
            State::Installing { .. } => UpdatePhase::Installing,
            State::RebootPending => UpdatePhase::RebootPending,
            State::Verifying => UpdatePhase::Verifying,
            State::Committed => UpdatePhase::Committed,
            State::RolledBack { .. } => UpdatePhase::RolledBack,
            State::Failed { .. } => UpdatePhase::Failed,
        }
    }

    /// Whether an update is being brought or written: the box's state is `updating` meanwhile.
    pub fn is_busy(self) -> bool {
        matches!(
            self,
            UpdatePhase::Checking
                | UpdatePhase::Downloading
                | UpdatePhase::Preflight
                | UpdatePhase::Installing
        )
    }
}

/// A slot of the system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct SlotDoc {
    /// RAUC's name.
    pub name: String,
    /// The boot loader's name.
    pub bootname: Option<String>,
    /// It runs.
    pub booted: bool,
    /// The boot loader may start it: false once it was marked bad. `null` when it cannot be asked.
    pub good: Option<bool>,
    /// Version that was installed into it; `null` for what the box was flashed with.
    pub version: Option<String>,
}

impl From<&SlotFacts> for SlotDoc {
    fn from(facts: &SlotFacts) -> SlotDoc {
        SlotDoc {
            name: facts.name.clone(),
            bootname: facts.bootname.clone(),
            booted: facts.booted,
            good: facts.good,
            version: facts.version.clone(),
        }
    }
}

/// A bundle on a stick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct MediaFile {
    /// Full path.
    pub path: String,
    /// Size.
    pub bytes: u64,
}

/// `GET /api/v1/update`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct UpdateDoc {
    /// Why this machine takes no updates; `null` when it does.
    pub unavailable: Option<String>,
    /// Version of the system that runs.
    pub version: String,
    /// The kind of machine, as bundles name it.
    pub compatible: Option<String>,
    /// Boot name of the slot that runs.
    pub slot: Option<String>,
    /// Every slot.
    pub slots: Vec<SlotDoc>,
    /// Newest version that this box ever committed: older ones are refused unless a downgrade is allowed.
    pub floor: Option<String>,
    /// Number of the update under way, or of the last one; counts up. 0 before the first.
    pub job: u64,
    /// Id of the command that asked for it; only the command looks at it.
    #[serde(skip)]
    pub(crate) command: Option<String>,
    /// Where it is.
    pub state: UpdatePhase,
    /// Since when, RFC 3339.
    pub since: Option<String>,
    /// Where it failed: `checking`, `downloading`, `preflight`, `installing`.
    pub stage: Option<String>,
    /// Why it failed, or why the box went back.
    pub reason: Option<String>,
    /// What else there is to know: why a download is tried again, why the box did not restart.
    pub note: Option<String>,
    /// Where the bundle comes from, without passwords and queries.
    pub source: Option<String>,
    /// Version of the bundle, once it was read.
    pub new_version: Option<String>,
    /// Bytes of the bundle that are here, while it comes.
    pub bytes: Option<u64>,
    /// Bytes of it in all, if known.
    pub total_bytes: Option<u64>,
    /// How much of the slot is written, while it is.
    pub percent: Option<u8>,
    /// What the health gate wrote when the box went back the last time; gone with the next installation.
    pub rollback_reason: Option<String>,
    /// Bundles on what is plugged in and mounted.
    pub files: Vec<MediaFile>,
}

impl UpdateDoc {
    /// What the machine and its job say; the rest is as in `base`.
    pub(super) fn with(mut self, kept: &synoptic_engine::update::Kept<Source>) -> UpdateDoc {
        self.state = UpdatePhase::of(&kept.state);
        (self.stage, self.reason) = match &kept.state {
            State::Failed { stage, reason } => (Some(stage.to_string()), Some(reason.clone())),
            State::RolledBack { reason } => (None, Some(reason.clone())),
            _ => (None, None),
        };
        (self.bytes, self.total_bytes) = match &kept.state {
            State::Downloading { bytes, total } => (Some(*bytes), *total),
            _ => (None, None),
        };
        self.percent = match &kept.state {
            State::Installing { percent } => Some(*percent),
            _ => None,
        };
        let job = kept.job.as_ref();
        self.note = job.and_then(|job| job.note.clone());
        self.source = job.map(|job| job.wish.source.shown());
        self.new_version = job.and_then(|job| Some(job.release.as_ref()?.version.clone()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_may_be_secret() {
        let shown = |url: &str| {
            let (url, sha256) = (url.to_owned(), None);
            Source::Url { url, sha256 }.shown()
        };
        assert_eq!(
            shown("https://u:p@h.example:1/a/b.raucb?token=x"),
            "https://h.example:1/a/b.raucb"
        );
        assert_eq!(shown("nonsense"), "?");
    }
}
