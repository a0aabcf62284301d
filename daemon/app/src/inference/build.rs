//! Building a plan in a child process: `synoptic engine build`, run by the daemon as a child of its own.
//!
//! The child tells its steps on standard output, one JSON object a line ([`Step`]); what else it says goes to standard
//! error, of which the end is kept for a message. A child that crashes, or is killed for its memory, is a failed build;
//! one that takes too long is killed. It ends with the daemon.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, bounded};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use synoptic_gpu::GpuError;

use super::model::{self, GpuModel};
use super::{EngineRoom, Fault, ModelSpec, precision_name};

/// Lines of standard error that are kept, and bytes of each.
const KEPT_LINES: usize = 8;
const KEPT_BYTES: usize = 400;
/// Steps that may wait to be read; a builder has five.
const STEPS: usize = 64;
/// Children are this much nicer than the daemon: cameras come first.
const NICE: i32 = 10;
/// To the kernel's out-of-memory killer the child is the first choice (proc(5), oom_score_adj).
const OOM_SCORE: &str = "1000";

/// A line of a building child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// It opened GPU and TensorRT.
    Opened {
        /// With which TensorRT.
        tensorrt: String,
        /// For which GPU.
        gpu: String,
    },
    /// It builds.
    Building {
        /// The plan's name.
        plan: String,
    },
    /// It built a plan and kept it.
    Built {
        /// The plan's name.
        plan: String,
        /// Its bytes.
        bytes: u64,
        /// Layers of the model.
        layers: usize,
    },
    /// The plan runs and computes what the CPU does.
    Tested {
        /// What ran it.
        by: String,
    },
    /// It could not.
    Failed {
        /// Why, and what to do.
        why: String,
        /// Whether it may go well another time.
        may_pass: bool,
    },
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Step::Opened { tensorrt, gpu } => write!(f, "{tensorrt} on {gpu}"),
            Step::Building { plan } => write!(f, "building plan {plan}"),
            Step::Built { plan, bytes, layers } => {
                write!(f, "built {plan}: {layers} layers, {:.1} MB", *bytes as f64 / 1e6)
            }
            Step::Tested { by } => write!(f, "tested by {by}"),
            Step::Failed { why, .. } => write!(f, "failed: {why}"),
        }
    }
}

/// Builds a plan in this process, keeps and tests it. `tell` hears each step but [`Step::Failed`].
///
/// # Errors
/// Why there is no good plan.
pub fn here(room: &EngineRoom, spec: &ModelSpec, tell: &mut dyn FnMut(Step)) -> Result<(), Fault> {
    let opened = model::open(room, spec)?;
    tell(Step::Opened {
        tensorrt: opened.trt.version().to_string(),
        gpu: opened.gpu.info().name.clone(),
    });
    let plan = opened.key.to_string();
    tell(Step::Building { plan: plan.clone() });
    let built = opened.trt.build(Some(&opened.gpu), &opened.onnx, &opened.options);
    let built = built.map_err(|e| Fault::Build {
        may_pass: matches!(e, GpuError::Cuda { .. }),
        why: e.to_string(),
    })?;
    opened
        .store
        .write(&opened.key, &built.bytes)
        .map_err(|e| Fault::Build {
            why: e.to_string(),
            may_pass: true,
        })?;
    tell(Step::Built {
        plan,
        bytes: built.bytes.len() as u64,
        layers: built.layers,
    });
    drop(opened);
    let model = GpuModel::load(room, spec, true)?;
    tell(Step::Tested {
        by: model.description().to_owned(),
    });
    Ok(())
}

/// Makes this process a child that may be lost: nice, the first to go when memory is short, gone with its parent.
pub fn humble() {
    if let Err(error) = rustix::process::nice(NICE) {
        log::debug!("cannot be nice: {error}"); // systemd may forbid it; the build only takes more of the box
    }
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE) {
        log::debug!("cannot raise oom_score_adj: {error}");
    }
    if let Err(error) = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL) {
        log::debug!("cannot follow its parent: {error}");
    }
}

/// A child that builds.
pub struct Building {
    child: Child,
    /// What it tells; ends with the child.
    pub steps: Receiver<Step>,
    last_words: Arc<Mutex<VecDeque<String>>>,
    /// The reader of its standard error, which ends with it.
    listener: Option<std::thread::JoinHandle<()>>,
}

impl Building {
    /// Starts the child.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(room: &EngineRoom, spec: &ModelSpec) -> Result<Building, Fault> {
        let mut command = Command::new(&room.program);
        command
            .args(["engine", "build", &spec.manifest.name, "--steps", "--precision"])
            .arg(precision_name(spec.precision))
            .args(["--device", &spec.device.to_string(), "--plans"])
            .arg(&room.folder)
            .args(
                spec.dirs
                    .iter()
                    .flat_map(|dir| [OsStr::new("--models"), dir.as_os_str()]),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env_remove("JOURNAL_STREAM");
        for (variable, path) in [
            ("SYNOPTIC_LIBCUDA", &room.libraries.cuda),
            ("SYNOPTIC_TENSORRT", &room.libraries.tensorrt),
            ("SYNOPTIC_LIBNVRTC", &room.libraries.nvrtc),
        ] {
            if let Some(path) = path {
                command.env(variable, path);
            }
        }
        let failed = |what: &str, e: &dyn std::fmt::Display| Fault::Build {
            why: format!("cannot {what} {}: {e}", room.program.display()),
            may_pass: true,
        };
        let mut child = command.spawn().map_err(|e| failed("start", &e))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(failed("read from", &"it has no output"));
        };
        let (tell, steps) = bounded(STEPS);
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let last_words = Arc::new(Mutex::new(VecDeque::new()));
        let words = last_words.clone();
        let reader = thread("build steps").spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                match serde_json::from_str(&line) {
                    Ok(step) => {
                        if tell.send(step).is_err() {
                            break;
                        }
                    }
                    // A library that writes where it should not.
                    Err(_) => log::debug!("while a plan is built: {line}"),
                }
            }
        });
        let listener = thread("build words").spawn(move || listen(stderr, &words));
        let listener = match (reader, listener) {
            (Ok(_), Ok(listener)) => Some(listener),
            (Err(e), _) | (_, Err(e)) => {
                child.kill().ok(); // it may have ended
                child.wait().ok();
                return Err(failed("listen to", &e));
            }
        };
        Ok(Building {
            child,
            steps,
            last_words,
            listener,
        })
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it: it took too long, or nobody wants the plan any more.
    pub fn kill(&mut self) {
        if let Err(error) = self.child.kill() {
            log::debug!("a building child was gone already: {error}");
        }
    }

    /// Waits for its end, once its steps have ended. What it died of, if it told no [`Step::Failed`].
    ///
    /// # Errors
    /// The failed build.
    pub fn end(mut self) -> Result<(), Fault> {
        let status = self.child.wait().map_err(|e| Fault::Build {
            why: format!("the building process cannot be waited for: {e}"),
            may_pass: true,
        })?;
        if status.success() {
            return Ok(());
        }
        if let Some(listener) = self.listener.take() {
            listener.join().ok(); // a panic there loses words only
        }
        let words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        let said = words.iter().cloned().collect::<Vec<_>>().join("; ");
        let said = if said.is_empty() {
            "it said nothing".to_owned()
        } else {
            format!("its last words: {said}")
        };
        let how = match status.signal().map(Signal::try_from) {
            Some(Ok(Signal::SIGKILL)) => {
                "was killed, probably because memory ran short: use a smaller model, or stop other programs"
                    .to_owned()
            }
            Some(Ok(signal)) => format!("crashed with {signal}"),
            _ => format!("ended with {status}"),
        };
        Err(Fault::Build {
            why: format!("the building process {how}; {said}"),
            may_pass: true,
        })
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Keeps the last lines.
fn listen(from: impl Read, words: &Mutex<VecDeque<String>>) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        log::debug!("while a plan is built: {line}");
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.len() == KEPT_LINES {
            words.pop_front();
        }
        words.push_back(line.chars().take(KEPT_BYTES).collect());
    }
}
