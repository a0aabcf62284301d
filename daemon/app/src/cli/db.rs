//! `synoptic db`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use synoptic_store::check::Severity;
use synoptic_store::{backup, check};

use crate::config::Config;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Say whether the database is sound. Reads every page; the daemon may run meanwhile.
    Check,
    /// Copy the database into a folder while the daemon runs.
    Backup {
        /// The folder; it must not hold a backup yet.
        to: PathBuf,
    },
}

pub(super) fn run(command: &Command, config: &Config) -> Result<ExitCode> {
    let dir = &config.device.data_dir;
    match command {
        Command::Check => {
            let report = check::run(dir).with_context(|| format!("checking {}", dir.display()))?;
            for found in &report.found {
                println!("{}: {}", found.file, found.finding);
            }
            let sound = report.worst().is_none_or(|worst| worst < Severity::Error);
            println!(
                "{}: {}",
                dir.display(),
                if sound { "sound" } else { "NOT sound, see above" }
            );
            Ok(if sound {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Command::Backup { to } => {
            let report = backup::run(dir, to)?;
            for (path, bytes) in report.files {
                println!("{} ({bytes} bytes)", path.display());
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}
