//! Restarting the box.

use std::io;
use std::path::Path;

use super::rauc::Bus;

#[zbus::proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1",
    gen_blocking = false
)]
trait Login {
    fn reboot(&self, interactive: bool) -> zbus::Result<()>;
}

/// Restarts the box: by logind, which asks polkit; where that refuses, by a file in `requests`, which a box's own unit watches
/// (systemd/box/system/synoptic-reboot.path): an image of ours has no polkit.
///
/// # Errors
/// Why neither way works, and what to do.
pub(super) async fn reboot(bus: &Bus, requests: &Path) -> Result<(), String> {
    let refused = match by_logind(bus).await {
        Ok(()) => return Ok(()),
        Err(refused) => refused,
    };
    match std::fs::write(requests.join("reboot"), b"") {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!(
            "logind: {refused}. Allow the daemon's user org.freedesktop.login1.reboot in polkit, or restart the box by hand"
        )),
        Err(error) => Err(format!(
            "logind: {refused}; and {} cannot be written: {error}. Restart the box by hand",
            requests.display()
        )),
    }
}

async fn by_logind(bus: &Bus) -> Result<(), String> {
    let connection = bus.connect().await.map_err(|e| e.to_string())?;
    let login = LoginProxy::new(&connection).await.map_err(|e| e.to_string())?;
    login.reboot(false).await.map_err(|e| e.to_string())
}
