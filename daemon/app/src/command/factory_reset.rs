//! `factory-reset`: leaves a word for the box's next start, which clears the data partition before anything uses it.
//!
//! The daemon cannot clear what it works on, and has no right to. `synoptic-factory-reset` of systemd/box acts on the file
//! at the next start. The command is done once the file is there: what comes after has no memory of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{Call, Command, Running, failed, read};
use crate::config::{Config, write_atomically};
use crate::power::Power;

/// What acts on the file, in a box's image.
const ACTOR: &str = "/usr/lib/synoptic/synoptic-factory-reset";
/// The file, in the data folder.
const ORDER: &str = "factory-reset";
/// For the answer to reach the broker, and the request to leave it: a request that stays would meet the box again.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Arguments of `factory-reset`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    /// The id of the box, so that a slip of the pen resets no other one.
    device: String,
    /// Whether the box keeps its id, its machine id and its SSH host key.
    #[serde(default = "yes")]
    keep_identity: bool,
    /// Whether it reboots at once; otherwise it is reset at its next start.
    #[serde(default = "yes")]
    reboot: bool,
}

fn yes() -> bool {
    true
}

/// Resets the box.
pub struct FactoryReset {
    config: Arc<ArcSwap<Config>>,
    actor: PathBuf,
    power: Power,
}

impl FactoryReset {
    /// Of the box with this configuration.
    pub fn new(config: Arc<ArcSwap<Config>>) -> FactoryReset {
        FactoryReset {
            config,
            actor: PathBuf::from(ACTOR),
            power: Power::of_this_machine(),
        }
    }

    #[cfg(test)]
    pub(super) fn with(config: Arc<ArcSwap<Config>>, actor: PathBuf, power: Power) -> FactoryReset {
        FactoryReset { config, actor, power }
    }
}

impl Command for FactoryReset {
    fn name(&self) -> &'static str {
        "factory-reset"
    }

    fn run(&self, call: Call) -> Running {
        let args = match read::<Args>(call.args) {
            Ok(args) => args,
            Err(error) => return failed(&error),
        };
        let device = self.config.load().device.clone();
        if args.device != device.id.as_str() {
            return failed(&format!(
                "args: device: this box is `{}`, not `{}`",
                device.id, args.device
            ));
        }
        if !self.actor.exists() {
            return failed(&format!(
                "nothing here would act on it: {} comes with a box's image. Elsewhere stop the daemon and remove {}",
                self.actor.display(),
                device.data_dir.display()
            ));
        }
        let (power, order) = (self.power.clone(), device.data_dir.join(ORDER));
        Box::pin(async move {
            if args.reboot {
                power.can_reboot().await?;
            }
            let keep = if args.keep_identity { "yes" } else { "no" };
            let text = format!("keep-identity={keep}\n");
            let writing = move || write_atomically(&order, text.as_bytes(), 0o600);
            let written = tokio::task::spawn_blocking(writing).await;
            written
                .map_err(|e| format!("leaving word for the next start ended badly: {e}"))?
                .map_err(|e| e.to_string())?;
            if args.reboot {
                tokio::spawn(async move {
                    tokio::time::sleep(LAST_WORDS).await;
                    if let Err(error) = power.reboot().await {
                        log::error!("factory reset: the box is reset at its next start, for {error}");
                    }
                });
            }
            Ok(
                json!({ "reset": "at the next start", "reboots": args.reboot, "keep_identity": args.keep_identity }),
            )
        })
    }
}
