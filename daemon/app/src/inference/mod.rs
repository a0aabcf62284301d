//! Which engine runs a detector's model, and what happens when it cannot.
//!
//! Terms: a **plan** is a model made ready by TensorRT for one GPU; the **worker** is a thread of its own that alone
//! calls CUDA and TensorRT; the **supervisor** is a thread that brings a detector from the CPU to the GPU and back.
//!
//! Contract:
//! * nothing that CUDA or TensorRT does holds up more than a worker: who asks it waits for so long and no longer, and a
//!   worker that hangs is left behind;
//! * plans are built in a child process ([`build`]): a crash, a hang or gigabytes of memory end there;
//! * before a picture is looked at, a plan's answer to a generated picture is held to the CPU's ([`golden`]);
//! * a daemon that died twice while it loaded a plan does not load it a third time ([`trial`]);
//! * every change of engine is told with its reason: log, status, MQTT, an event ([`EngineState`]).

pub mod build;
pub mod golden;
pub mod model;
pub mod registry;
mod supervisor;
pub mod switch;
#[cfg(test)]
mod tests;
pub mod trial;
pub mod worker;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use synoptic_gpu::GpuError;
use synoptic_gpu::trt::Precision;
use synoptic_vision::manifest::ModelManifest;

pub use registry::{EnginePhase, EngineState};

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Loading libraries, kernels and a plan, and its self-test.
    pub load: Duration,
    /// Looking at one packet: a hundred times what it should take, well below a thread's limit of 20 s.
    pub look: Duration,
    /// Building a plan: large models on small boxes take ten minutes.
    pub build: Duration,
    /// After a failure that may pass, TensorRT is tried again; twice as long each time, up to 32 times.
    pub retry: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            load: Duration::from_secs(60),
            look: Duration::from_secs(5),
            build: Duration::from_secs(30 * 60),
            retry: Duration::from_secs(60),
        }
    }
}

/// Files of NVIDIA's libraries; `None`: by their environment variables, else the system's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Libraries {
    /// libcuda.
    pub cuda: Option<PathBuf>,
    /// libnvinfer or libtensorrt_rtx.
    pub tensorrt: Option<PathBuf>,
    /// libnvrtc.
    pub nvrtc: Option<PathBuf>,
}

/// What all detectors of a daemon share.
#[derive(Debug)]
pub struct EngineRoom {
    /// Folder of the plans and of compiled kernels.
    pub folder: PathBuf,
    /// The program whose `engine build` builds plans.
    pub program: PathBuf,
    /// NVIDIA's libraries.
    pub libraries: Libraries,
    /// How long things may take.
    pub limits: Limits,
    /// Held while a plan is built or loaded: one at a time, for a build takes all the memory there is.
    pub(crate) busy: Mutex<()>,
}

/// Name of the folder of plans in a box's data folder.
pub const FOLDER: &str = "engines";

impl EngineRoom {
    /// With its plans in `folder`, built by `program`.
    pub fn new(folder: PathBuf, program: PathBuf) -> EngineRoom {
        EngineRoom {
            folder,
            program,
            libraries: Libraries::default(),
            limits: Limits::default(),
            busy: Mutex::new(()),
        }
    }
}

/// A model as TensorRT is to run it.
#[derive(Clone, Debug)]
pub struct ModelSpec {
    /// The model.
    pub manifest: ModelManifest,
    /// Its ONNX file.
    pub onnx: PathBuf,
    /// Where manifests and models are searched.
    pub dirs: Vec<PathBuf>,
    /// Precision of the plan.
    pub precision: Precision,
    /// Number of the GPU.
    pub device: usize,
    /// Detections below this score are dropped.
    pub threshold: f32,
    /// By class: whether it is kept.
    pub keep: Vec<bool>,
}

/// The configuration's word for a precision.
pub fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::Model => "fp32",
        Precision::Half => "fp16",
        Precision::Int8 => "int8",
    }
}

/// Why TensorRT does not run a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Driver, GPU or library are not there, or not ones that are known.
    #[error("{0}")]
    Absent(GpuError),
    /// There is no plan yet, or it was refused: one is to be built.
    #[error("no plan: {0}")]
    NoPlan(String),
    /// No plan could be built.
    #[error("no plan could be built: {why}")]
    Build {
        /// What happened and what to do.
        why: String,
        /// Whether it may go well another time.
        may_pass: bool,
    },
    /// The plan computes something else than the CPU.
    #[error("self-test failed: {0}")]
    Wrong(String),
    /// The GPU or TensorRT failed.
    #[error("{0}")]
    Failed(GpuError),
    /// The model is not one that TensorRT can be given.
    #[error("{0}")]
    Model(String),
    /// No answer in time. What hangs is left behind; a new try would hang as well.
    #[error(
        "the GPU gave no answer within {} s while {doing}: see the kernel's log (dmesg), and start the daemon anew once it is mended",
        limit.as_secs_f64()
    )]
    Hung {
        /// What was to be done.
        doing: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// The daemon died while it loaded this plan.
    #[error("{0}")]
    Suspect(String),
}

impl Fault {
    /// Whether another try later may go well, without a person.
    pub fn may_pass(&self) -> bool {
        match self {
            Fault::Failed(_) => true,
            Fault::Build { may_pass, .. } => *may_pass,
            Fault::NoPlan(_)
            | Fault::Absent(_)
            | Fault::Wrong(_)
            | Fault::Model(_)
            | Fault::Hung { .. }
            | Fault::Suspect(_) => false,
        }
    }
}

/// What hears of every change of a detector's engine.
pub type Tell = Arc<dyn Fn(&EngineState) + Send + Sync>;

/// A model that is to run on the GPU, if it can.
pub struct Wish {
    /// What all detectors share.
    pub room: Arc<EngineRoom>,
    /// The model.
    pub spec: ModelSpec,
    /// Whether anything but TensorRT is trouble.
    pub must: bool,
    /// Hears of every change.
    pub tell: Tell,
}
