//! The command line. Each command is a file; this one says what there is.

mod calibrate_bias;
mod check;
mod db;
mod devices;
mod engine;
mod events;
mod keys;
mod models;
mod packets;
mod play;
mod probe;
mod run;
mod source;
mod stitch;
mod stitch_render;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::{Parser, Subcommand};
use log::LevelFilter;
use synoptic_media::clocks::SystemClock;

use crate::config::{self, Config};
use crate::{daemon, logging};

/// Many cameras, one instant: capture times, frame packets, detection and events on one box.
#[derive(Parser)]
#[command(name = "synoptic", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 all is well, 1 it is not (the message says what and how to mend it), 2 wrong usage."
)]
struct Cli {
    /// The configuration file.
    #[arg(
        short,
        long,
        global = true,
        env = "SYNOPTIC_CONFIG",
        default_value = "/etc/synoptic/synoptic.toml"
    )]
    config: PathBuf,
    /// Say more; twice: say everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon.
    Run(run::Args),
    /// Check the configuration file: all mistakes at once.
    Check(check::Args),
    /// Look at what a camera really sends, and say what to make of it.
    Probe(probe::Args),
    /// Show a camera or a file on this box's screen, with its sound.
    Play(play::Args),
    /// List local cameras.
    Devices,
    /// Show frame packets of the running daemon, one line each.
    Packets(packets::Args),
    /// Measure how late each camera's stamps are, by a light that all cameras of a group see.
    CalibrateBias(calibrate_bias::Args),
    /// List, fetch and verify detection models.
    #[command(subcommand)]
    Models(models::Command),
    /// List, build, time and verify what runs models on a GPU.
    #[command(subcommand)]
    Engine(engine::Command),
    /// Calibrate panoramas.
    #[command(subcommand)]
    Stitch(stitch::Command),
    /// List and export stored events.
    #[command(subcommand)]
    Events(events::Command),
    /// Check and back up the database.
    #[command(subcommand)]
    Db(db::Command),
}

/// Runs the command that the arguments say.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("synoptic: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Cli {
    fn run(self) -> Result<ExitCode> {
        let serves = matches!(self.command, Command::Run(_));
        let level = match (serves, self.verbose) {
            (true, 0) => LevelFilter::Info,
            (false, 0) => LevelFilter::Error,
            (_, 1) => LevelFilter::Debug,
            _ => LevelFilter::Trace,
        };
        logging::init(level, SystemClock::shared())?;
        rustls::crypto::ring::default_provider()
            .install_default()
            .map_err(|_| anyhow!("a second TLS provider was installed"))?;
        match self.command {
            Command::Run(args) => {
                run::watch(&args)?;
                let runtime = runtime(2)?;
                runtime.block_on(daemon::run(self.config))?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Check(args) => check::run(&args, &self.config),
            Command::Probe(args) => probe::run(&args),
            Command::Play(args) => play::run(&args),
            Command::Devices => devices::run(),
            Command::Packets(args) => packets::run(&args, &self.config),
            Command::CalibrateBias(args) => calibrate_bias::run(&args, &self.config),
            Command::Models(command) => models::run(&command, &self.config),
            Command::Engine(command) => engine::run(&command, &self.config),
            Command::Stitch(command) => stitch::run(&command),
            Command::Events(command) => events::run(&command, &load(&self.config)?),
            Command::Db(command) => db::run(&command, &load(&self.config)?),
        }
    }
}

/// Reads the configuration for a tool: its errors are shown as `check` shows them.
fn load(path: &std::path::Path) -> Result<Config> {
    Ok(config::load(path).map_err(|e| anyhow!("{e}"))?.config)
}

/// A runtime of `threads` threads: the web server and MQTT need little, pixels have threads of their own.
fn runtime(threads: usize) -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("async")
        .enable_all()
        .build()
        .context("starting the async runtime")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
