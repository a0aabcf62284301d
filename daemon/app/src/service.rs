//! systemd's manners, and what the box says of itself.

use sd_notify::NotifyState;

fn notify(state: NotifyState<'_>) {
    // Without systemd there is no socket to notify: not an error.
    if let Err(error) = sd_notify::notify(&[state]) {
        log::debug!("systemd: {error}");
    }
}

/// Everything runs.
pub(crate) fn ready() {
    notify(NotifyState::Ready);
}

/// Where the page is: `systemctl status` shows it, and the health gate of a box asks there.
pub(crate) fn page_at(urls: &[String]) {
    notify(NotifyState::Status(&format!("the page is at {}", urls.join(" "))));
}

/// Every thread lives.
pub(crate) fn feed_watchdog() {
    notify(NotifyState::Watchdog);
}

/// The daemon is going down in good order.
pub(crate) fn stopping() {
    notify(NotifyState::Stopping);
}

/// Model of the hardware: the device tree's on ARM boards, the firmware's on PCs.
pub(crate) fn hardware_model() -> Option<String> {
    ["/proc/device-tree/model", "/sys/class/dmi/id/product_name"]
        .into_iter()
        .find_map(|path| {
            let text = std::fs::read_to_string(path).ok()?;
            let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
            (!text.is_empty()).then(|| text.to_owned())
        })
}
