//! Restarting the box, for a daemon without rights: by systemd-logind, or by the box's own unit.
//!
//! Interface: org.freedesktop.login1(5). logind asks polkit; an image of ours has none, and its unit `synoptic-reboot.path`
//! watches for a file in `/run/synoptic/request` instead.

#[cfg(test)]
pub(crate) mod private_bus;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zbus::connection::{Builder, Connection};

/// Where requests to the box's own units are left (systemd/box/system/synoptic-reboot.path).
pub(crate) const REQUESTS: &str = "run/synoptic/request";
/// logind answers at once or not at all; polkit may ask first.
const ANSWER: Duration = Duration::from_secs(10);

/// A D-Bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bus {
    /// The system's.
    System,
    /// One at this D-Bus address, for tests.
    At(String),
}

impl Bus {
    pub(crate) async fn connect(&self) -> zbus::Result<Connection> {
        match self {
            Bus::System => Connection::system().await,
            Bus::At(address) => Builder::address(address.as_str())?.build().await,
        }
    }
}

#[zbus::proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1",
    gen_blocking = false
)]
trait Login {
    fn can_reboot(&self) -> zbus::Result<String>;
    fn reboot(&self, interactive: bool) -> zbus::Result<()>;
}

/// The two ways to restart the box.
#[derive(Clone, Debug)]
pub(crate) struct Power {
    bus: Bus,
    /// Folder of requests to the box's own units; elsewhere there is none.
    requests: PathBuf,
}

impl Power {
    pub(crate) fn new(bus: Bus, requests: PathBuf) -> Power {
        Power { bus, requests }
    }

    /// Of this machine.
    pub(crate) fn of_this_machine() -> Power {
        Power::new(Bus::System, Path::new("/").join(REQUESTS))
    }

    /// Whether the box may be restarted by us.
    ///
    /// # Errors
    /// What is in the way, and what to do.
    pub(crate) async fn can_reboot(&self) -> Result<(), String> {
        let asked = self.ask(async |login| login.can_reboot().await).await;
        let refused = match asked.as_deref() {
            Ok("yes") => return Ok(()),
            Ok("challenge") => "it would ask a person for a password".to_owned(),
            Ok(other) => format!("its answer is `{other}`"),
            Err(why) => why.clone(),
        };
        if self.requests.is_dir() {
            return Ok(());
        }
        Err(no_way(&refused))
    }

    /// Restarts the box. It has begun when this returns.
    ///
    /// # Errors
    /// Why neither way works, and what to do.
    pub(crate) async fn reboot(&self) -> Result<(), String> {
        // Nobody is here to be asked.
        let interactive = false;
        let Err(refused) = self.ask(async |login| login.reboot(interactive).await).await else {
            return Ok(());
        };
        match std::fs::write(self.requests.join("reboot"), b"") {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(no_way(&refused)),
            Err(error) => Err(format!(
                "logind does not restart this box: {refused}; and {} cannot be written: {error}. Restart it by hand",
                self.requests.display()
            )),
        }
    }

    async fn ask<T>(&self, what: impl AsyncFnOnce(LoginProxy<'_>) -> zbus::Result<T>) -> Result<T, String> {
        let asked = async {
            let connection = self
                .bus
                .connect()
                .await
                .map_err(|e| format!("there is no system bus: {e}"))?;
            let login = LoginProxy::new(&connection).await.map_err(|e| e.to_string())?;
            what(login).await.map_err(|e| e.to_string())
        };
        match tokio::time::timeout(ANSWER, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", ANSWER.as_secs())),
        }
    }
}

fn no_way(refused: &str) -> String {
    format!(
        "logind does not restart this box: {refused}. Allow the daemon's user org.freedesktop.login1.reboot in polkit, or \
         restart the box by hand"
    )
}
