//! Commands to the box, over MQTT and the API alike: `engine::command` decides, the [`Desk`] does.
//!
//! Terms: a [`Command`] is one thing that the box can do when it is told to; a **request** asks for it by an id. What a
//! request may be and when it runs is in `synoptic_engine::command`; what the outside sees is in docs/reference/mqtt.md.
//!
//! To add a command: implement [`Command`], add its name to [`NAMES`] and its arguments to [`schemas`], and give it to
//! [`Desk::start`] in the daemon's wiring.

mod bundle;
mod desk;
mod factory_reset;
mod link;
mod memory;
mod power;
mod probe;
mod scrub;
mod secrets;
mod set_config;
mod setup;
#[cfg(test)]
mod tests;
mod transfer;
mod trial;
mod update;

use std::future::Future;
use std::pin::Pin;

use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use synoptic_engine::command::CommandId;

pub use bundle::SupportBundle;
pub use desk::{Desk, Parts, Progress};
pub use factory_reset::FactoryReset;
pub use link::WebCommands;
pub use power::{Reboot, Restart};
pub use probe::RunProbe;
pub use set_config::{ConfirmConfig, SetConfig};
pub(crate) use setup::Setup;
pub use transfer::{ExportConfig, ImportConfig, Transfer};
pub use trial::{AtStart, Trials, at_start};
pub use update::Update;

/// Names of all commands: what `mqtt.commands.allow` may hold.
pub const NAMES: [&str; 10] = [
    "confirm-config",
    "export-config",
    "factory-reset",
    "import-config",
    "reboot",
    "restart",
    "run-probe",
    "set-config",
    "support-bundle",
    "update",
];

/// Arguments of a command.
pub type Args = Map<String, Value>;
/// What came of a command, or why nothing did.
pub type Outcome = Result<Value, String>;
/// A command that runs.
pub type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A request that begins.
pub struct Call {
    /// Its id.
    pub id: CommandId,
    /// Its arguments.
    pub args: Args,
    /// Where it says how far it is.
    pub progress: Progress,
}

/// A request that ran when the daemon ended.
pub struct Interrupted {
    /// Its id.
    pub id: CommandId,
    /// Whether the box itself was started anew, and not the daemon only.
    pub other_boot: bool,
}

/// One thing that the box can do when it is told to.
pub trait Command: Send + Sync {
    /// Its name: one of [`NAMES`].
    fn name(&self) -> &'static str;

    /// Does it. The future is not dropped before its end, but for the daemon's.
    fn run(&self, call: Call) -> Running;

    /// What becomes of it when the daemon ended while it ran. It is not begun again.
    fn resume(&self, _: Interrupted) -> Running {
        failed("the daemon ended while it ran; what it had done by then stays")
    }
}

/// Reads a command's arguments.
fn read<T: DeserializeOwned>(args: Args) -> Result<T, String> {
    serde_json::from_value(Value::Object(args)).map_err(|e| format!("args: {e}"))
}

/// A command without arguments.
#[derive(Clone, Copy, Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn failed(reason: &str) -> Running {
    let reason = reason.to_owned();
    Box::pin(async move { Err(reason) })
}

/// JSON Schemas of the commands' arguments, by name: docs/reference/schemas/command-args.json.
pub fn schemas() -> Vec<(&'static str, Schema)> {
    fn of<T: JsonSchema>() -> Schema {
        schemars::generate::SchemaSettings::draft2020_12()
            .into_generator()
            .into_root_schema_for::<T>()
    }
    vec![
        ("confirm-config", of::<set_config::ConfirmArgs>()),
        ("export-config", of::<Nothing>()),
        ("factory-reset", of::<factory_reset::Args>()),
        ("import-config", of::<transfer::Args>()),
        ("reboot", of::<Nothing>()),
        ("restart", of::<Nothing>()),
        ("run-probe", of::<probe::Args>()),
        ("set-config", of::<set_config::Args>()),
        ("support-bundle", of::<Nothing>()),
        ("update", of::<update::Args>()),
    ]
}
