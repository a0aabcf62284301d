//! `synoptic-sim demo`: a broker, simulated cameras and the daemon, started together, watched and ended.
//!
//! Everything listens on loopback, and everything that is started here ends with [`run`], whatever happens.

mod broker;
mod config;
mod keys;
mod look;
mod panorama;
mod process;
mod report;
mod stage;

use std::io::{IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::Context;
use crossbeam_channel::{Receiver, select};
use synoptic_base::{Clock, Span};

use config::{Config, Detector, Device, Group, Mqtt, Panorama, Web};
use keys::Keys;
use look::Api;
use process::Process;
use report::{Report, Seen};
use stage::Stage;

/// Where the page is unless asked otherwise.
const DEFAULT_PORT: u16 = 8080;
/// Longest wait for the daemon's API.
const START: Span = Span::from_secs(60);
/// Between two lines on a terminal, and in a log.
const LINE_EVERY: Span = Span::from_secs(1);
const LOG_EVERY: Span = Span::from_secs(5);
/// What the key `c` does to the clock of camera 2.
const STEP: Span = Span::from_secs(5);

/// Options of the demo.
#[derive(Clone, Debug, Default)]
pub struct DemoOptions {
    /// The daemon; `synoptic` beside this program when `None`.
    pub synoptic: Option<PathBuf>,
    /// Address of the page; loopback, port 8080 or a free one, when `None`.
    pub listen: Option<SocketAddr>,
    /// Own sources with blanks between them, instead of the simulated cameras.
    pub cameras: Option<String>,
    /// A clip of people as a fourth camera.
    pub clip: Option<PathBuf>,
    /// Detector for the clip: `motion`, or the name of a model's manifest.
    pub detector: Option<String>,
    /// Folder with model files.
    pub models: Option<PathBuf>,
    /// End by itself after this time, with a verdict.
    pub run_for: Option<Span>,
    /// Folder for configuration, data and logs; one that is removed at the end when `None`.
    pub work_dir: Option<PathBuf>,
}

/// How the demo ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was asked to end.
    Stopped,
    /// Its time was up and all was well.
    Passed,
    /// Its time was up and something was not as it has to be; the summary said what.
    Failed,
    /// Its time was up, and the machine was too slow for the simulator to be a judge.
    Invalid,
}

/// Runs the demo until its time is up, a key or a message in `stop` ends it, or something it needs ends.
pub fn run(options: &DemoOptions, clock: &Arc<dyn Clock>, stop: &Receiver<()>) -> anyhow::Result<Outcome> {
    let synoptic = find_daemon(options.synoptic.as_deref())?;
    let work = WorkDir::new(options.work_dir.as_deref())?;
    let outcome = run_in(options, &synoptic, work.path(), clock, stop);
    if outcome.is_err() {
        work.keep();
    }
    outcome
}

/// Declared in the order of ending: the daemon first, that it can say goodbye to the broker.
struct Running {
    daemon: Process,
    stage: Stage,
    broker: broker::Broker,
}

fn run_in(
    options: &DemoOptions,
    synoptic: &Path,
    work: &Path,
    clock: &Arc<dyn Clock>,
    stop: &Receiver<()>,
) -> anyhow::Result<Outcome> {
    let broker = broker::start(work, clock)?;
    let stage = Stage::set(options, work, clock)?;
    let web = WebPorts::choose(options.listen)?;
    let config = configuration(options, &stage, &web, broker.port, work);
    let file = work.join("synoptic.toml");
    config.write(&file)?;

    let mut command = Command::new(synoptic);
    command.args(["run", "--config"]).arg(&file);
    let daemon = Process::start("synoptic", command, &work.join("synoptic.log"), clock.clone())?;
    let mut running = Running {
        daemon,
        stage,
        broker,
    };
    let api = Api::new(web.api_port);
    let mut stopped = false;
    running.daemon.wait_until(START, || {
        stopped = stop.try_recv().is_ok();
        stopped || api.status().is_ok()
    })?;
    if stopped {
        return Ok(Outcome::Stopped);
    }
    print!("{}", welcome(&running, &web, work));
    watch(options, &mut running, &api, clock, stop)
}

/// Shows one line a second and obeys keys until the end.
fn watch(
    options: &DemoOptions,
    running: &mut Running,
    api: &Api,
    clock: &Arc<dyn Clock>,
    stop: &Receiver<()>,
) -> anyhow::Result<Outcome> {
    let (key_sender, pressed) = crossbeam_channel::bounded(16);
    let keys = Keys::listen(key_sender.clone());
    let live = std::io::stdout().is_terminal();
    if keys.is_some() {
        println!("{}", running.stage.keys_help());
    }
    let stage = &mut running.stage;
    let mut panorama = panorama::Watch::new(stage.truth().unwrap_or_default());
    let mut report = Report::new(stage.ids(), stage.with_truth());
    let start = clock.now();
    let end = options.run_for.map(|s| start + s);
    let every = if live { LINE_EVERY } else { LOG_EVERY };
    let (mut next_look, mut next_line) = (start, start);
    loop {
        let now = clock.now();
        if now >= next_look {
            running.daemon.check()?;
            running.broker.process.check()?;
            match look(api, stage, &mut report, &mut panorama) {
                Ok(line) if live => show(&line),
                Ok(line) if now >= next_line => {
                    println!("{line}");
                    next_line = now + every;
                }
                Ok(_) => {}
                Err(e) => log::warn!("{e:#}"),
            }
            next_look = clock.now().max(next_look) + LINE_EVERY;
        }
        if end.is_some_and(|end| clock.now() >= end) {
            break;
        }
        let wake = end.map_or(next_look, |end| end.min(next_look));
        let key = select! {
            recv(stop) -> _ => None,
            recv(pressed) -> key => key.ok(),
            default((wake - clock.now()).to_std()) => continue,
        };
        match key {
            None | Some(b'q') => {
                end_line(live);
                return Ok(Outcome::Stopped);
            }
            Some(key) => {
                if let Some(done) = stage.press(key, STEP)? {
                    end_line(live);
                    println!("{done}");
                }
            }
        }
    }
    end_line(live);
    let (text, outcome) = report.verdict();
    print!("{text}");
    if !panorama.newest().is_empty() {
        println!("     {}", panorama.newest());
    }
    Ok(outcome)
}

fn look(
    api: &Api,
    stage: &mut Stage,
    report: &mut Report,
    panorama: &mut panorama::Watch,
) -> anyhow::Result<String> {
    let status = api.status()?;
    let ids: Vec<_> = stage.ids().collect();
    let mut seen = Vec::with_capacity(ids.len());
    for id in ids {
        let look = api.look(&id)?;
        seen.push(Seen {
            late: stage.was_late(&id),
            id,
            look,
        });
    }
    let mut line = report.line(&status, &seen);
    let whole = panorama.look(api, &status)?;
    if !whole.is_empty() {
        line += " | ";
        line += whole;
    }
    Ok(line)
}

/// Overwrites the line on the terminal, which cuts what is too long for it (DECAWM off).
fn show(line: &str) {
    let mut out = std::io::stdout();
    // A terminal that went away is noticed by the signal it sends.
    let _ = write!(out, "\r\x1b[2K\x1b[?7l{line}\x1b[?7h").and_then(|()| out.flush());
}

fn end_line(live: bool) {
    if live {
        println!();
    }
}

fn configuration(options: &DemoOptions, stage: &Stage, web: &WebPorts, mqtt: u16, work: &Path) -> Config {
    let detectors = options
        .detector
        .iter()
        .filter(|d| *d != "motion")
        .map(|name| Detector {
            name: name.clone(),
            kind: "onnx".to_owned(),
            model: name.clone(),
        });
    Config {
        schema_version: 1,
        device: Device {
            id: "demo".to_owned(),
            name: "Synoptic demo".to_owned(),
            data_dir: work.join("data"),
            model_dirs: options.models.iter().cloned().collect(),
        },
        web: Web {
            listen: web.listen.iter().map(ToString::to_string).collect(),
        },
        mqtt: Mqtt {
            url: format!("mqtt://127.0.0.1:{mqtt}"),
        },
        cameras: stage.cameras().to_vec(),
        groups: vec![Group {
            id: "main".to_owned(),
            cameras: stage.group(),
        }],
        // The visitor's own cameras need not see the same.
        panoramas: stage
            .truth()
            .map(|_| Panorama {
                id: panorama::ID.to_owned(),
                name: "The street as one".to_owned(),
                group: "main".to_owned(),
            })
            .into_iter()
            .collect(),
        detectors: detectors.collect(),
    }
}

fn welcome(running: &Running, web: &WebPorts, work: &Path) -> String {
    let database = work.join("data").join("events.sqlite");
    format!(
        "\nSynoptic is running.\n\n  page      {}\n  events    mosquitto_sub -h 127.0.0.1 -p {} -v -t 'synoptic/#'\n  \
         database  sqlite3 -readonly -header {} \"SELECT datetime(begin_utc_ns/1000000000, 'unixepoch') AS begin, stream, \
         label, round(best_score, 2) AS score, state FROM events ORDER BY id DESC LIMIT 10\"\n  log       {}\n  \
         cameras   {}\n\nEach camera: ± the error that the daemon claims for its stamps (ms), the true error, and\nhow far \
         the camera's own clock is off.\n",
        web.page(),
        running.broker.port,
        database.display(),
        work.join("synoptic.log").display(),
        running.stage.sources().join(" "),
    )
}

fn find_daemon(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()
            .context("where am I?")?
            .with_file_name("synoptic"),
    };
    anyhow::ensure!(
        path.is_file(),
        "the daemon is not at {}: build it (`cargo build --release`) or say where it is with --synoptic",
        path.display()
    );
    Ok(path)
}

/// Addresses of the daemon's web server.
struct WebPorts {
    listen: Vec<SocketAddr>,
    /// Loopback, plain HTTP: where the demo asks.
    api_port: u16,
}

impl WebPorts {
    fn choose(asked: Option<SocketAddr>) -> anyhow::Result<WebPorts> {
        let free = || broker::free_port().context("no free port on 127.0.0.1");
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let taken = |address: SocketAddr| TcpListener::bind(address).is_err();
        Ok(match asked {
            None => {
                let wanted = local(DEFAULT_PORT);
                let api_port = if taken(wanted) { free()? } else { DEFAULT_PORT };
                WebPorts {
                    listen: vec![local(api_port)],
                    api_port,
                }
            }
            Some(mut address) => {
                if address.port() == 0 {
                    address.set_port(free()?);
                }
                anyhow::ensure!(
                    !taken(address),
                    "cannot listen on {address}: taken, or not an address of this machine"
                );
                let plain = address.ip().is_loopback() && address.is_ipv4();
                let api_port = if plain { address.port() } else { free()? };
                let mut listen = vec![address];
                if !plain {
                    listen.push(local(api_port));
                }
                WebPorts { listen, api_port }
            }
        })
    }

    /// What to type into the browser.
    fn page(&self) -> String {
        let first = self.listen[0];
        if first.ip().is_loopback() {
            return format!("http://{first}/");
        }
        let host = if first.ip().is_unspecified() {
            nix::unistd::gethostname()
                .map_or_else(|_| "this-machine".into(), |h| h.to_string_lossy().into_owned())
        } else {
            first.ip().to_string()
        };
        format!(
            "https://{host}:{}/  (the log says how to set the password; here: http://127.0.0.1:{}/)",
            first.port(),
            self.api_port
        )
    }
}

/// Folder of one run.
enum WorkDir {
    Given(PathBuf),
    Temporary(tempfile::TempDir),
}

impl WorkDir {
    fn new(given: Option<&Path>) -> anyhow::Result<WorkDir> {
        match given {
            Some(path) => {
                std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
                Ok(WorkDir::Given(std::path::absolute(path)?))
            }
            None => {
                let folder = tempfile::Builder::new().prefix("synoptic-demo-").tempdir();
                Ok(WorkDir::Temporary(
                    folder.context("cannot make a temporary folder")?,
                ))
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            WorkDir::Given(path) => path,
            WorkDir::Temporary(folder) => folder.path(),
        }
    }

    /// Leaves a temporary folder for a look at the logs.
    fn keep(self) {
        if let WorkDir::Temporary(folder) = self {
            log::info!("logs and configuration are kept in {}", folder.keep().display());
        }
    }
}

#[cfg(test)]
mod tests;
