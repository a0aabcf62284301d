//! The daemon as a child process: its log, its API, its end.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use synoptic_app::documents::{AnyEventDoc, CameraDoc, CameraState, EventDoc, StatusDoc, SystemEventDoc};
use synoptic_app::web::EventPage;
use synoptic_base::{Clock, Span};
use synoptic_media::clocks::SystemClock;

use crate::harness::{Patience, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synoptic");
/// What the daemon says when its API can be asked.
const PAGE: &str = "the page is at ";

/// The command line, without what a journal or systemd around the tests would change.
pub(crate) fn synoptic() -> Command {
    let mut command = Command::new(PROGRAM);
    for name in [
        "JOURNAL_STREAM",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "SYNOPTIC_CONFIG",
    ] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a command of the program to its end.
pub(crate) fn cli(args: &[&str]) -> Output {
    synoptic().args(args).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Log {
    /// A test that failed while it looked must still be able to show the log.
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running daemon; killed when dropped, and its log shown when the test fails.
pub(crate) struct Daemon {
    child: Child,
    log: Arc<Log>,
    pub url: String,
    pub config: PathBuf,
}

impl Daemon {
    /// Starts it and waits until its API answers.
    pub(crate) fn start(config: &Path) -> Daemon {
        Daemon::start_with(config, &[])
    }

    /// The same with more in its environment.
    pub(crate) fn start_with(config: &Path, environment: &[(&str, &Path)]) -> Daemon {
        let mut child = synoptic()
            .envs(environment.iter().copied())
            .arg("--config")
            .arg(config)
            .arg("run")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Log::default());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let kept = log.clone();
        // Ends with the child, which closes its end of the pipe.
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                kept.lines().push(line);
                kept.more.notify_all();
            }
        });
        let mut daemon = Daemon {
            child,
            log,
            url: String::new(),
            config: config.to_owned(),
        };
        let line = daemon.logged(PAGE);
        daemon.url = line
            .split(PAGE)
            .nth(1)
            .unwrap()
            .trim()
            .trim_end_matches('/')
            .to_owned();
        until("the first status", || daemon.get("/api/v1/status").ok());
        daemon
    }

    /// All log lines so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lines().clone()
    }

    /// Waits for a log line that holds `part`, and gives the first.
    pub(crate) fn logged(&mut self, part: &str) -> String {
        self.logged_after(0, part)
    }

    /// The same, past the first `skip` lines.
    pub(crate) fn logged_after(&mut self, skip: usize, part: &str) -> String {
        let what = format!("a log line with `{part}`");
        let patience = Patience::new();
        let log = self.log.clone();
        let mut lines = log.lines();
        loop {
            if let Some(line) = lines.iter().skip(skip).find(|l| l.contains(part)) {
                return line.clone();
            }
            let ended = self.child.try_wait().unwrap();
            let wait = patience.left(&what).min(Duration::from_millis(500));
            let (again, timeout) = log.more.wait_timeout(lines, wait).unwrap();
            lines = again;
            assert!(
                ended.is_none() || !timeout.timed_out(),
                "{what}: the daemon ended with {ended:?}"
            );
        }
    }

    /// `GET`; the body, or the status code and the body.
    pub(crate) fn get(&self, path: &str) -> Result<Vec<u8>, (u16, String)> {
        request("GET", &format!("{}{path}", self.url), None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Vec<u8>, (u16, String)> {
        request("POST", &format!("{}{path}", self.url), Some(body))
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Result<Vec<u8>, (u16, String)> {
        request("PATCH", &format!("{}{path}", self.url), Some(body))
    }

    pub(crate) fn delete(&self, path: &str) -> Result<Vec<u8>, (u16, String)> {
        request("DELETE", &format!("{}{path}", self.url), None)
    }

    /// Follows the server-sent events from now on.
    pub(crate) fn live(&self) -> Live {
        let (tell, told) = mpsc::channel();
        let answer = ureq::get(format!("{}/api/v1/live", self.url)).call().unwrap();
        // Ends with the daemon, which closes the stream, or with the reader.
        std::thread::spawn(move || {
            let mut name = String::new();
            for line in BufReader::new(answer.into_body().into_reader()).lines() {
                let Ok(line) = line else { return };
                if let Some(event) = line.strip_prefix("event: ") {
                    name = event.to_owned();
                } else if let Some(data) = line.strip_prefix("data: ") {
                    let message = (name.clone(), serde_json::from_str(data).unwrap());
                    if tell.send(message).is_err() {
                        return;
                    }
                }
            }
        });
        Live(told)
    }

    pub(crate) fn status(&self) -> StatusDoc {
        let body = self.get("/api/v1/status").unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    /// Until the status is as wished.
    pub(crate) fn until(&self, what: &str, mut wish: impl FnMut(&StatusDoc) -> bool) -> StatusDoc {
        let mut last = None;
        let patience = Patience::new();
        loop {
            let status = self.status();
            if wish(&status) {
                return status;
            }
            let short: Vec<_> = status
                .cameras
                .iter()
                .map(|c| (c.id.clone(), c.status.clone()))
                .collect();
            let now = format!("{short:?}, {:?}, {:?}", status.groups, status.mqtt);
            if last.as_ref() != Some(&now) {
                last = Some(now);
            }
            patience.look(&format!("{what} (last: {})", last.as_deref().unwrap_or_default()));
        }
    }

    /// Until every camera is online.
    pub(crate) fn online(&self) -> StatusDoc {
        self.until("all cameras online", |s| {
            !s.cameras.is_empty() && s.cameras.iter().all(|c| c.status.state == CameraState::Online)
        })
    }

    pub(crate) fn events(&self) -> Vec<EventDoc> {
        let body = self.get("/api/v1/events?limit=200").unwrap();
        let page = serde_json::from_slice::<EventPage>(&body).unwrap();
        page.events.iter().filter_map(|e| e.track().cloned()).collect()
    }

    /// System events, newest first.
    pub(crate) fn system_events(&self) -> Vec<SystemEventDoc> {
        let body = self.get("/api/v1/events?limit=200").unwrap();
        let page = serde_json::from_slice::<EventPage>(&body).unwrap();
        page.events.iter().filter_map(|e| e.system().cloned()).collect()
    }

    /// All events in the database, read by the command line: the daemon need not run.
    pub(crate) fn exported(&self) -> Vec<EventDoc> {
        let config = self.config.display().to_string();
        let output = cli(&["--config", &config, "events", "export"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let lines = text(&output.stdout);
        let any = lines
            .lines()
            .map(|l| serde_json::from_str::<AnyEventDoc>(l).unwrap());
        any.filter_map(|e| e.track().cloned()).collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Ends it as a power cut would end the box.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop; how it ended and how long that took.
    pub(crate) fn stop(&mut self) -> (ExitStatus, Span) {
        let asked = SystemClock.now();
        self.signal(Signal::SIGTERM);
        let status = until("the daemon's end", || self.child.try_wait().unwrap());
        (status, SystemClock.now() - asked)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log().join("\n"));
        }
    }
}

fn request(method: &str, url: &str, body: Option<&Value>) -> Result<Vec<u8>, (u16, String)> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .into();
    let request = ureq::http::Request::builder().method(method).uri(url);
    let answer = match body {
        Some(body) => agent.run(
            request
                .header("content-type", "application/json")
                .body(body.to_string())
                .unwrap(),
        ),
        None => agent.run(request.body(()).unwrap()),
    };
    let mut answer = answer.map_err(|e| (0, e.to_string()))?;
    let mut bytes = Vec::new();
    answer
        .body_mut()
        .as_reader()
        .read_to_end(&mut bytes)
        .map_err(|e| (0, e.to_string()))?;
    match answer.status().as_u16() {
        200..=299 => Ok(bytes),
        code => Err((code, text(&bytes))),
    }
}

/// Server-sent events of a daemon: name and data.
pub(crate) struct Live(mpsc::Receiver<(String, Value)>);

impl Live {
    /// The next event of this name that is as wished.
    pub(crate) fn until(&self, what: &str, name: &str, wish: impl Fn(&Value) -> bool) -> Value {
        let patience = Patience::new();
        loop {
            let message = self.0.recv_timeout(patience.left(what));
            let (told, data) = message.unwrap_or_else(|e| panic!("{what}: {e}"));
            if told == name && wish(&data) {
                return data;
            }
        }
    }
}

/// A camera of the status.
pub(crate) fn cam<'a>(status: &'a StatusDoc, id: &str) -> &'a CameraDoc {
    status.cameras.iter().find(|c| c.id == id).unwrap()
}
