//! A program that the demo starts and ends. Whatever happens, it does not outlive its guard.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use synoptic_base::{Clock, Span};

/// A program that was asked to end and has not after this long is killed.
const PATIENCE: Span = Span::from_secs(7);
/// Between two looks at whether it ended.
const TICK: std::time::Duration = std::time::Duration::from_millis(20);
/// Lines of a log that are shown when its program failed.
const TAIL_LINES: usize = 15;

/// A running program; ended when dropped.
pub(super) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    clock: Arc<dyn Clock>,
    ended: bool,
}

impl Process {
    /// Starts `command` with its output in the file `log`.
    ///
    /// In a process group of its own: Ctrl-C reaches the demo alone, which then ends all in the right order.
    pub(super) fn start(
        name: &str,
        mut command: Command,
        log: &Path,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Process> {
        let out = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let err = out.try_clone().context("cannot share the log file")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        log::debug!("{name} is process {}", child.id());
        Ok(Process {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            clock,
            ended: false,
        })
    }

    /// An error with the end of its log if it has ended by itself.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait().context("cannot ask for a process")? {
            self.ended = true;
            anyhow::bail!(
                "{} ended ({status}). The end of {}:\n{}",
                self.name,
                self.log.display(),
                self.tail()
            );
        }
        Ok(())
    }

    /// Waits until `ready` says so; an error when the program ends first, or after `limit`.
    pub(super) fn wait_until(&mut self, limit: Span, mut ready: impl FnMut() -> bool) -> anyhow::Result<()> {
        let deadline = self.clock.now() + limit;
        while !ready() {
            self.check()?;
            if self.clock.now() > deadline {
                anyhow::bail!(
                    "{} did not get ready in {limit}. Its log:\n{}",
                    self.name,
                    self.tail()
                );
            }
            tick();
        }
        Ok(())
    }

    /// Asks it to end, waits, and in the end forces it.
    pub(super) fn stop(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.ended {
            return Ok(None);
        }
        let pid = Pid::from_raw(self.child.id() as i32);
        // Not waited for yet, so the number is still its own.
        if let Err(e) = kill(pid, Signal::SIGTERM) {
            log::warn!("{}: cannot be asked to end: {e}", self.name);
        }
        let deadline = self.clock.now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.ended = true;
                return Ok(Some(status));
            }
            if self.clock.now() > deadline {
                log::warn!("{} did not end in {PATIENCE}: killed", self.name);
                self.child.kill()?;
                self.ended = true;
                return self.child.wait().map(Some);
            }
            tick();
        }
    }

    fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(e) = self.stop() {
            log::error!(
                "{} (process {}) could not be ended: {e}",
                self.name,
                self.child.id()
            );
        }
    }
}

/// Waits a moment: the system has no other way to wait for a child or a port with a limit in safe code.
pub(super) fn tick() {
    // Nobody sends here: the timeout is the point.
    let _ = crossbeam_channel::never::<()>().recv_timeout(TICK);
}

/// Finds a program on PATH and where Debian keeps servers.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use synoptic_media::clocks::SystemClock;

    fn shell(script: &str, log: &Path) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start("sh", command, log, SystemClock::shared()).unwrap()
    }

    #[test]
    fn a_program_that_ends_by_itself_is_an_error_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("echo so long; exit 3", &folder.path().join("log"));
        let error = process
            .wait_until(Span::from_secs(60), || false)
            .unwrap_err()
            .to_string();
        assert!(error.contains("so long") && error.contains('3'), "{error}");
        assert!(process.stop().unwrap().is_none());
    }

    #[test]
    fn a_program_ends_with_its_guard() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut process = shell("echo up; exec sleep 600", &log);
        process
            .wait_until(Span::from_secs(60), || {
                std::fs::read_to_string(&log).is_ok_and(|t| t.contains("up"))
            })
            .unwrap();
        let pid = process.child.id();
        drop(process);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn programs_are_found_or_not() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-anywhere").is_none());
    }
}
