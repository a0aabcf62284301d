//! Logs: the journal under systemd, readable lines on a terminal.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use anyhow::{Context, Result};
use log::{Level, LevelFilter, Log, Metadata, Record};
use synoptic_base::Clock;
use systemd_journal_logger::{JournalLog, connected_to_journal};

/// Crates whose lines drown ours, and what they trace by: zbus tells each byte at `info`.
const NOISY: [&str; 7] = ["rumqttc", "sqlx", "hyper", "rustls", "h2", "zbus", "tracing"];

/// Sets the logger up. `level` is the most talkative level shown.
pub fn init(level: LevelFilter, clock: Arc<dyn Clock>) -> Result<()> {
    if connected_to_journal() {
        let journal = JournalLog::new().context("connecting to the journal")?;
        log::set_boxed_logger(Box::new(Journal(journal))).context("setting the logger")?;
    } else {
        let colour = std::io::stderr().is_terminal();
        log::set_boxed_logger(Box::new(Terminal { clock, colour })).context("setting the logger")?;
    }
    log::set_max_level(level);
    Ok(())
}

/// Whether a line is one of those that drown ours.
fn is_noise(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    metadata.level() > Level::Warn && NOISY.iter().any(|name| target.starts_with(name))
}

struct Journal(JournalLog);

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !is_noise(metadata) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

struct Terminal {
    clock: Arc<dyn Clock>,
    colour: bool,
}

impl Log for Terminal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !is_noise(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let time = self.clock.sample().realtime.to_rfc3339();
        let (level, colour) = match record.level() {
            Level::Error => ("ERROR", "\x1b[31m"),
            Level::Warn => ("warn ", "\x1b[33m"),
            Level::Info => ("info ", ""),
            Level::Debug => ("debug", "\x1b[2m"),
            Level::Trace => ("trace", "\x1b[2m"),
        };
        let (on, off) = if self.colour && !colour.is_empty() {
            (colour, "\x1b[0m")
        } else {
            ("", "")
        };
        // A closed stderr is nothing a logger could report.
        writeln!(
            std::io::stderr().lock(),
            "{} {on}{level}{off} {}",
            &time[11..23],
            record.args()
        )
        .ok();
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_heard_only_when_something_is_wrong() {
        let noise =
            |target: &str, level: Level| is_noise(&Metadata::builder().target(target).level(level).build());
        assert!(noise("zbus::connection::handshake", Level::Info));
        assert!(noise("tracing::span::active", Level::Info));
        assert!(!noise("zbus", Level::Warn));
        assert!(!noise("synoptic_app::update::actor", Level::Info));
    }
}
