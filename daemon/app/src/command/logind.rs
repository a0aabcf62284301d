//! systemd-logind over D-Bus: the one who may reboot the box for a daemon without rights.
//!
//! Interface: org.freedesktop.login1(5). `Reboot` asks polkit; the box's image lets the daemon's user do it.

use std::time::Duration;

/// logind answers at once or not at all; polkit may ask first.
const ANSWER: Duration = Duration::from_secs(10);

const DESTINATION: &str = "org.freedesktop.login1";
const PATH: &str = "/org/freedesktop/login1";
const INTERFACE: &str = "org.freedesktop.login1.Manager";

/// Where logind is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bus {
    /// The system's bus.
    System,
    /// A bus of a test.
    #[cfg(test)]
    At(String),
}

impl Bus {
    async fn connect(&self) -> zbus::Result<zbus::Connection> {
        match self {
            Bus::System => zbus::Connection::system().await,
            #[cfg(test)]
            Bus::At(address) => {
                zbus::connection::Builder::address(address.as_str())?
                    .build()
                    .await
            }
        }
    }

    /// Whether the box may be rebooted by us.
    ///
    /// # Errors
    /// The text says what is in the way.
    pub(super) async fn can_reboot(&self) -> Result<(), String> {
        let answer: String = self.call("CanReboot", &()).await?;
        match answer.as_str() {
            "yes" => Ok(()),
            "challenge" => Err(
                "logind would ask a person for a password: this system lacks the rule that lets the daemon's user reboot"
                    .to_owned(),
            ),
            other => Err(format!(
                "logind does not let the daemon reboot this system ({other})"
            )),
        }
    }

    /// Asks for a reboot. It has begun when this returns.
    ///
    /// # Errors
    /// The text says what is in the way.
    pub(super) async fn reboot(&self) -> Result<(), String> {
        // Nobody is here to be asked.
        let interactive = false;
        self.call("Reboot", &(interactive,)).await
    }

    async fn call<A, T>(&self, method: &str, args: &A) -> Result<T, String>
    where
        A: serde::Serialize + zbus::zvariant::DynamicType + Sync,
        T: for<'d> zbus::zvariant::DynamicDeserialize<'d>,
    {
        let asked = async {
            let connection = self
                .connect()
                .await
                .map_err(|e| format!("this system cannot be rebooted by the daemon: no system bus: {e}"))?;
            let answer = connection
                .call_method(Some(DESTINATION), PATH, Some(INTERFACE), method, args)
                .await
                .map_err(|e| format!("logind does not reboot this system: {e}"))?;
            let body = answer.body();
            body.deserialize()
                .map_err(|e| format!("logind's answer to {method} cannot be read: {e}"))
        };
        match tokio::time::timeout(ANSWER, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("logind does not answer within {} s", ANSWER.as_secs())),
        }
    }
}
