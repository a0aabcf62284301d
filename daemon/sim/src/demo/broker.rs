//! A private Mosquitto on a free loopback port.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use synoptic_base::{Clock, Span};

use super::process::{Process, find_program};

/// Longest wait for it to take connections.
const START: Span = Span::from_secs(15);
/// Attempts, should somebody else take the free port first.
const TRIES: usize = 3;

/// The broker; ends when dropped.
pub(super) struct Broker {
    pub process: Process,
    pub port: u16,
}

/// Starts it with its files in `folder`.
pub(super) fn start(folder: &Path, clock: &Arc<dyn Clock>) -> anyhow::Result<Broker> {
    let program = find_program("mosquitto").context(
        "Mosquitto, the MQTT broker, is not installed: `sudo apt install mosquitto mosquitto-clients`",
    )?;
    let mut failed = None;
    for _ in 0..TRIES {
        let port = free_port().context("no free port on 127.0.0.1")?;
        match try_port(&program, folder, port, clock) {
            Ok(process) => return Ok(Broker { process, port }),
            Err(e) => failed = Some(e),
        }
    }
    Err(failed.context("the broker was never tried")?)
}

fn try_port(program: &Path, folder: &Path, port: u16, clock: &Arc<dyn Clock>) -> anyhow::Result<Process> {
    let conf = folder.join("mosquitto.conf");
    let text =
        format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_dest stderr\n");
    std::fs::write(&conf, text).with_context(|| format!("cannot write {}", conf.display()))?;
    let mut command = Command::new(program);
    command.arg("-c").arg(&conf);
    let mut process = Process::start("mosquitto", command, &folder.join("mosquitto.log"), clock.clone())?;
    process.wait_until(START, || answers(port))?;
    Ok(process)
}

/// Whether somebody takes connections on a port of 127.0.0.1.
pub(super) fn answers(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// A port of 127.0.0.1 that was free a moment ago.
pub(super) fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use synoptic_media::clocks::SystemClock;

    #[test]
    fn the_broker_answers_and_ends() {
        if find_program("mosquitto").is_none() {
            eprintln!("SKIPPED: mosquitto is not installed");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let broker = start(folder.path(), &SystemClock::shared()).unwrap();
        let port = broker.port;
        assert!(answers(port));
        drop(broker);
        assert!(!answers(port));
    }
}
