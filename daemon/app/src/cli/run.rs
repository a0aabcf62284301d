//! `synoptic run` on behalf of another program.

use std::io::Read;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[derive(clap::Args)]
pub(super) struct Args {
    /// End, as by SIGTERM, when standard input is closed: so the daemon does not outlive the program that started it.
    #[arg(long)]
    until_stdin_closes: bool,
}

/// Starts what the arguments ask for besides the daemon.
pub(super) fn watch(args: &Args) -> Result<()> {
    if args.until_stdin_closes {
        std::thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(wait)
            .context("starting the thread that watches standard input")?;
    }
    Ok(())
}

fn wait() {
    let mut input = std::io::stdin().lock();
    let mut bytes = [0; 256];
    loop {
        match input.read(&mut bytes) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                log::warn!("standard input: {error}");
                break;
            }
        }
    }
    log::info!("standard input is closed: stopping");
    if let Err(error) = kill(Pid::this(), Signal::SIGTERM) {
        log::error!("could not stop: {error}");
    }
}
