//! Logs: the journal under systemd, readable lines on a terminal.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use anyhow::{Context, Result};
use log::{Level, LevelFilter, Log, Metadata, Record};
use synoptic_base::Clock;
use systemd_journal_logger::{JournalLog, connected_to_journal};

/// Crates whose debug lines drown ours.
const NOISY: [&str; 5] = ["rumqttc", "sqlx", "hyper", "rustls", "h2"];

/// Sets the logger up. `level` is the most talkative level shown.
pub fn init(level: LevelFilter, clock: Arc<dyn Clock>) -> Result<()> {
    if connected_to_journal() {
        JournalLog::new()
            .context("connecting to the journal")?
            .install()
            .context("setting the logger")?;
    } else {
        let colour = std::io::stderr().is_terminal();
        log::set_boxed_logger(Box::new(Terminal { clock, colour })).context("setting the logger")?;
    }
    log::set_max_level(level);
    Ok(())
}

struct Terminal {
    clock: Arc<dyn Clock>,
    colour: bool,
}

impl Log for Terminal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let noisy = NOISY
            .iter()
            .any(|crate_name| metadata.target().starts_with(crate_name));
        metadata.level() <= if noisy { Level::Warn } else { Level::Trace }
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
