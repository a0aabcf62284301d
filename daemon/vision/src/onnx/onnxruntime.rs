//! onnxruntime by its shared library, loaded at run time (cargo feature `ort`): faster than rten where it is there.
//!
//! A process holds one library and one environment: the first that loads stays until the process ends.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::value::{TensorRef, ValueType};

use super::decode::Output;
use super::engine::{Engine, Feed, Read};
use super::library::{Search, search};

/// Oldest onnxruntime served: the oldest C API that the `ort` crate binds. Its library keeps every older API.
pub(super) const OLDEST: &str = "1.17";

/// A loaded library.
#[derive(Clone)]
pub(super) struct OnnxRuntime {
    environment: Environment,
    /// What the library says, as `1.31.1`.
    pub(super) version: String,
    /// The file, as it was found.
    pub(super) path: PathBuf,
}

static LOADED: Mutex<Option<OnnxRuntime>> = Mutex::new(None);

impl OnnxRuntime {
    /// The process's library; loads it when it is the first. `wanted` is the file to take; `None`: searched.
    pub(super) fn get(wanted: Option<&Path>) -> Result<OnnxRuntime, String> {
        // What a panic left half done is loaded again.
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*loaded {
            return match wanted {
                Some(path) if !same(path, &runtime.path) => Err(format!(
                    "{} is not loaded: this process already runs onnxruntime from {}, and holds one only; \
                     give every detector the same `library` and restart",
                    path.display(),
                    runtime.path.display()
                )),
                _ => Ok(runtime.clone()),
            };
        }
        let runtime = load(&search(wanted))?;
        Ok(loaded.insert(runtime).clone())
    }
}

fn same(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// Loads the first library found that is new enough; else says of each why not.
fn load(search: &Search) -> Result<OnnxRuntime, String> {
    let mut reasons = Vec::new();
    for path in &search.files {
        match environment(path) {
            Ok(runtime) => return Ok(runtime),
            Err(why) => reasons.push(why),
        }
    }
    if reasons.is_empty() {
        reasons.push(format!("no libonnxruntime.so in {}", search.places()));
    }
    Err(format!(
        "{}; install onnxruntime {OLDEST} or newer, or name its library by `library` or ORT_DYLIB_PATH",
        reasons.join("; ")
    ))
}

fn environment(path: &Path) -> Result<OnnxRuntime, String> {
    let builder = ort::init_from(path).map_err(|error| match error {
        ort::LoadDynamicError::BadVersion { version_str, .. } => format!(
            "{} is onnxruntime {version_str}, which is too old: {OLDEST} is the oldest served",
            path.display()
        ),
        ort::LoadDynamicError::MissingApi { .. } => {
            format!("{} is no onnxruntime: it has no OrtGetApiBase", path.display())
        }
        other => format!("{}: {other}", path.display()),
    })?;
    let environment = builder
        .with_name("synoptic")
        .with_telemetry(false)
        .with_logger(Arc::new(forward))
        .build()
        .map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(OnnxRuntime {
        environment,
        version: version(path),
        path: path.to_owned(),
    })
}

/// The version, by the file's name, else by the branch it was built from: the string that `ort` checks is not
/// handed out by it.
fn version(path: &Path) -> String {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = real.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let by_name = name
        .strip_prefix("libonnxruntime.so.")
        .filter(|v| v.contains('.'));
    let info = ort::info();
    let by_branch = || info.split("git-branch=rel-").nth(1)?.split([',', ' ']).next();
    by_name.or_else(by_branch).unwrap_or(info).to_owned()
}

/// What the library logs, in ours.
fn forward(level: LogLevel, category: &str, _id: &str, _location: &str, message: &str) {
    let level = match level {
        LogLevel::Verbose => log::Level::Trace,
        LogLevel::Info => log::Level::Debug,
        LogLevel::Warning => log::Level::Info,
        LogLevel::Error => log::Level::Warn,
        LogLevel::Fatal => log::Level::Error,
    };
    log::log!(target: "onnxruntime", level, "{category}: {message}");
}

/// A model in onnxruntime.
pub(super) struct OrtEngine {
    session: Session,
    names: Vec<String>,
}

impl OrtEngine {
    /// Loads a model from the bytes of its file.
    pub(super) fn load(runtime: &OnnxRuntime, data: &[u8], threads: usize) -> Result<OrtEngine, String> {
        let session = session(runtime, data, threads).map_err(|e| e.to_string())?;
        let names = session.inputs().iter().map(|i| i.name().to_owned()).collect();
        Ok(OrtEngine { session, names })
    }
}

fn session(runtime: &OnnxRuntime, data: &[u8], threads: usize) -> ort::Result<Session> {
    let recover = |e: ort::Error<ort::session::builder::SessionBuilder>| ort::Error::new(e.message());
    Session::builder(&runtime.environment)?
        .with_log_level(LogLevel::Error)
        .map_err(recover)?
        .with_intra_threads(threads)
        .map_err(recover)?
        .with_inter_threads(1)
        .map_err(recover)?
        // A thread that spins between frames takes a core from the decoders.
        .with_intra_op_spinning(false)
        .map_err(recover)?
        .commit_from_memory(data)
}

impl Engine for OrtEngine {
    fn inputs(&self) -> Vec<Vec<Option<usize>>> {
        let shape = |value: &ValueType| {
            let sides = value.tensor_shape().map(|s| s.iter().copied());
            sides
                .into_iter()
                .flatten()
                .map(|n| usize::try_from(n).ok())
                .collect()
        };
        self.session.inputs().iter().map(|i| shape(i.dtype())).collect()
    }

    fn input_names(&self) -> Vec<String> {
        self.names.clone()
    }

    fn output_names(&self) -> Vec<String> {
        let outputs = self.session.outputs().iter();
        outputs.map(|o| o.name().to_owned()).collect()
    }

    fn run_all(&mut self, feeds: &[Feed<'_>], read: &mut Read<'_>) -> Result<(), String> {
        let mut inputs: Vec<(&str, ort::session::SessionInputValue<'_>)> = Vec::new();
        for feed in feeds {
            let tensor = TensorRef::from_array_view((feed.shape, feed.data)).map_err(|e| e.to_string())?;
            inputs.push((self.names[feed.input].as_str(), tensor.into()));
        }
        let values = self.session.run(inputs).map_err(|e| e.to_string())?;
        let tensors: Vec<_> = values.values().collect();
        let parts = tensors
            .iter()
            .map(|t| {
                let (shape, data) = t
                    .try_extract_tensor::<f32>()
                    .map_err(|e| format!("an output is not of 32-bit floats: {e}"))?;
                let shape = shape.iter().map(|&n| usize::try_from(n).unwrap_or(0)).collect();
                Ok((shape, data))
            })
            .collect::<Result<Vec<(Vec<usize>, &[f32])>, String>>()?;
        let outputs: Vec<_> = parts.iter().map(|(shape, data)| Output { shape, data }).collect();
        read(&outputs)
    }
}
