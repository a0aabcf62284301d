//! `restart` and `reboot`: the command that ends its own daemon is done when the next one runs.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{Call, Command, Interrupted, Nothing, Running, failed, read};
use crate::hub::{self, Hub};
use crate::power::Power;

/// What systemd sets for every service (systemd.exec(5)): somebody starts the daemon again.
const SUPERVISED: &str = "INVOCATION_ID";
/// A box that was told to reboot is down by then: systemd's limit for services that do not stop is 90 s.
const DOWN: Duration = Duration::from_secs(180);

/// Ends the daemon in good order; systemd starts it again.
pub struct Restart {
    hub: Arc<Hub>,
    supervised: bool,
}

impl Restart {
    /// Of the daemon with this hub.
    pub fn new(hub: Arc<Hub>) -> Restart {
        Restart {
            hub,
            supervised: std::env::var_os(SUPERVISED).is_some(),
        }
    }
}

impl Command for Restart {
    fn name(&self) -> &'static str {
        "restart"
    }

    fn run(&self, call: Call) -> Running {
        if let Err(error) = read::<Nothing>(call.args) {
            return failed(&error);
        }
        if !self.supervised {
            return failed("nobody would start the daemon again: it does not run as a service of systemd");
        }
        call.progress.tell("the daemon stops", None);
        let hub = self.hub.clone();
        Box::pin(async move {
            hub.commands
                .send(hub::Command::Stop)
                .map_err(|_| "the daemon is going down already".to_owned())?;
            // Its end is told by the next daemon.
            std::future::pending().await
        })
    }

    fn resume(&self, _: Interrupted) -> Running {
        Box::pin(async { Ok(json!({ "version": env!("CARGO_PKG_VERSION") })) })
    }
}

/// Reboots the box.
pub struct Reboot {
    power: Power,
}

impl Default for Reboot {
    fn default() -> Reboot {
        Reboot {
            power: Power::of_this_machine(),
        }
    }
}

impl Reboot {
    #[cfg(test)]
    pub(super) fn by(power: Power) -> Reboot {
        Reboot { power }
    }
}

impl Command for Reboot {
    fn name(&self) -> &'static str {
        "reboot"
    }

    fn run(&self, call: Call) -> Running {
        if let Err(error) = read::<Nothing>(call.args) {
            return failed(&error);
        }
        let power = self.power.clone();
        Box::pin(async move {
            power.can_reboot().await?;
            call.progress.tell("the box goes down", None);
            power.reboot().await?;
            tokio::time::sleep(DOWN).await;
            Err(format!(
                "the reboot was begun, but the box was still up {} s later",
                DOWN.as_secs()
            ))
        })
    }

    fn resume(&self, interrupted: Interrupted) -> Running {
        if !interrupted.other_boot {
            return failed("the daemon was started anew, but the box did not reboot");
        }
        Box::pin(async { Ok(json!({ "version": env!("CARGO_PKG_VERSION") })) })
    }
}
