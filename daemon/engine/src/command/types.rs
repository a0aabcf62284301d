//! What a command is, what is asked, and what is told of it.

use std::fmt;

use synoptic_base::{Span, Utc};

/// What the requester chose to name one command: 1 to 64 characters of `A-Z a-z 0-9 _ -`, so that it is one level of an MQTT
/// topic and the name of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(String);

/// Why a text is no [`CommandId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no id of a command: use 1 to 64 of A-Z, a-z, 0-9, _ and -")]
pub struct CommandIdError(String);

impl CommandId {
    /// The longest id, in bytes: a UUID has 36.
    pub const MAX_LEN: usize = 64;

    /// Checks and takes a text as an id.
    ///
    /// # Errors
    /// When it is empty, longer than [`CommandId::MAX_LEN`] or has other characters.
    pub fn new(text: &str) -> Result<CommandId, CommandIdError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if text.is_empty() || text.len() > CommandId::MAX_LEN || !text.bytes().all(plain) {
            let shown: String = text.chars().take(CommandId::MAX_LEN).collect();
            return Err(CommandIdError(shown.escape_debug().to_string()));
        }
        Ok(CommandId(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommandState {
    /// Taken, and not begun.
    Init,
    /// It runs.
    Executing,
    /// It is done. Final.
    Successful,
    /// It was refused, or could not be done; the reason says which. Final.
    Failed,
}

impl CommandState {
    /// As it is written in documents.
    pub const fn name(self) -> &'static str {
        match self {
            CommandState::Init => "init",
            CommandState::Executing => "executing",
            CommandState::Successful => "successful",
            CommandState::Failed => "failed",
        }
    }

    /// The opposite of [`CommandState::name`].
    pub fn from_name(name: &str) -> Option<CommandState> {
        use CommandState::{Executing, Failed, Init, Successful};
        [Init, Executing, Successful, Failed]
            .into_iter()
            .find(|state| state.name() == name)
    }

    /// Whether nothing comes after it.
    pub const fn is_final(self) -> bool {
        matches!(self, CommandState::Successful | CommandState::Failed)
    }
}

/// How a command came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By the page's API, now.
    Page,
    /// From the broker, published while the box listened: not older than the way here, whatever the clocks say.
    Live,
    /// From the broker, which had kept it: of any age.
    Retained,
}

/// A request, as far as it could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked<A> {
    /// Name of the command.
    pub name: String,
    /// Its id.
    pub id: CommandId,
    /// How it came.
    pub origin: Origin,
    /// What was asked, or why that cannot be read.
    pub body: Result<Body<A>, String>,
}

/// What was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Body<A> {
    /// When it was issued, by the requester's clock; `None`: now.
    pub issued_at: Option<Utc>,
    /// How long after that it may still begin.
    pub ttl: Span,
    /// Its arguments, which only the command itself understands.
    pub args: A,
}

/// How far a running command is, in its own words.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// What it does.
    pub text: String,
    /// 0 to 100, where it knows.
    pub percent: Option<f64>,
}

/// All that is told of a command, and all that is kept of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Report<R> {
    /// Name of the command.
    pub name: String,
    /// Its id.
    pub id: CommandId,
    /// How far it is.
    pub state: CommandState,
    /// UTC of the box at which it came into this state.
    pub since: Utc,
    /// Until when the same request could still be valid: it is not forgotten before.
    pub expires: Utc,
    /// How far it is while it runs.
    pub progress: Option<Progress>,
    /// Why it failed, or why it waits.
    pub reason: Option<String>,
    /// What came of it.
    pub result: Option<R>,
}

/// What the box knows of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoxTime {
    /// UTC, as far as it is known.
    pub utc: Utc,
    /// Whether that is more than a guess.
    pub synchronised: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input<A, R> {
    /// A request came, for the first time or again.
    Asked(Asked<A>),
    /// The requester took it back; what runs goes on.
    Withdrawn(CommandId),
    /// A running command says how far it is.
    Progressed(CommandId, Progress),
    /// A running command is done, or failed with a reason.
    Finished(CommandId, Result<R, String>),
    /// Time passed.
    Tick,
}

/// What to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output<A, R> {
    /// Write it to the disk, before what comes next: what is not remembered could run twice.
    Keep(Report<R>),
    /// Tell it to whoever listens.
    Tell(Report<R>),
    /// Run it.
    Start {
        /// Name of the command.
        name: String,
        /// Its id.
        id: CommandId,
        /// Its arguments.
        args: A,
    },
    /// It is not remembered any more: its record and what was told of it may go.
    Forget {
        /// Name of the command.
        name: String,
        /// Its id.
        id: CommandId,
    },
}
