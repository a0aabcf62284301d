//! Commands: what is asked of the box, and what is told of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Seconds that a request is good for when it does not say.
const TTL_S: u32 = 300;

fn ttl_s() -> u32 {
    TTL_S
}

/// `…/cmd/{name}/{id}`: a request to the box, retained; only the requester writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandRequest {
    /// When it was issued, RFC 3339, by the requester's clock.
    #[schemars(extend("format" = "date-time"))]
    pub issued_at: String,
    /// Seconds after that in which it may begin; later it is refused.
    #[serde(default = "ttl_s")]
    #[schemars(range(min = 1, max = 604_800))]
    pub ttl_s: u32,
    /// Arguments; command-args.json has those of each command.
    #[serde(default)]
    pub args: Map<String, Value>,
}

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandPhase {
    /// Taken, not begun; `reason` says what it waits for, if that is not another command.
    Init,
    /// It runs.
    Executing,
    /// Done. Final.
    Successful,
    /// Refused, or could not be done; `reason` says why. Final.
    Failed,
}

impl CommandPhase {
    /// Whether nothing comes after it.
    pub fn is_final(self) -> bool {
        matches!(self, CommandPhase::Successful | CommandPhase::Failed)
    }
}

/// How far a running command is, in its own words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct CommandProgress {
    /// What it does.
    pub text: String,
    /// 0 to 100, where it knows.
    pub percent: Option<f64>,
}

/// `…/cmd/{name}/{id}/state`, retained; only the box writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct CommandDoc {
    /// Name of the command.
    pub name: String,
    /// Its id.
    pub id: String,
    /// How far it is.
    pub state: CommandPhase,
    /// Since when it is in this state.
    pub since: String,
    /// How far it is while it runs.
    pub progress: Option<CommandProgress>,
    /// Why it failed, or why it waits.
    pub reason: Option<String>,
    /// What came of it; docs/reference/mqtt.md says what each command gives.
    pub result: Option<Value>,
}

/// A command to give by the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCommand {
    /// Id of 1 to 64 of `A-Z a-z 0-9 _ -`; the same one again does not run again. Drawn when absent.
    #[serde(default)]
    pub id: Option<String>,
    /// Arguments.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub args: Map<String, Value>,
}

/// The commands of a box.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommandsDoc {
    /// Names of those that there are.
    pub names: Vec<String>,
    /// Those that are remembered, oldest first.
    pub commands: Vec<CommandDoc>,
}
