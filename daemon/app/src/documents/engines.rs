//! Documents of detectors' engines and of GPUs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What runs a detector's model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct EngineDoc {
    /// What the configuration asks for: `auto`, `tensorrt`, `onnx-cpu`, `rten`, `onnxruntime`.
    pub wanted: String,
    /// `as_wanted`; `preparing` while a plan is loaded or built; `fallback` when something else runs; `off` when nothing
    /// looks.
    pub state: String,
    /// What runs the model, with its version; `null` when nothing does.
    pub running: Option<String>,
    /// Why that and not something else, and what to do; `null` when there is nothing to say.
    pub reason: Option<String>,
}

/// A detector with a model (`…/detector/{group}/{name}/status`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct DetectorDoc {
    /// Its name.
    pub name: String,
    /// The group, or the camera in none, for which it works.
    pub group: String,
    /// Its model.
    pub model: String,
    /// Cameras that it looks at.
    pub cameras: Vec<String>,
    /// What runs its model.
    pub engine: EngineDoc,
}

impl DetectorDoc {
    /// Whether something else than what was asked for looks, or nothing.
    pub fn is_trouble(&self) -> bool {
        matches!(self.engine.state.as_str(), "fallback" | "off")
    }
}

/// How many frames of a camera its detector looked at, and why not at the others, since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct AttentionDoc {
    /// Frames looked at.
    pub looked: u64,
    /// Passed over by the detector's `every`.
    pub every: u64,
    /// Passed over by the camera's `detect_max_fps`.
    pub rate: u64,
    /// Passed over because nothing moved.
    pub still: u64,
}

/// A GPU (`…/gpu/{index}/status`). What it does not tell is `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct GpuDoc {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Who tells: `nvml` (NVIDIA's library) or `sysfs` (the kernel, on Jetson).
    pub source: String,
    /// Temperature of the chip.
    pub temperature_c: Option<f64>,
    /// Power it takes; on Jetson of the whole module.
    pub power_w: Option<f64>,
    /// Share of the time in which it works, 0 to 1.
    pub load: Option<f64>,
    /// Its clock.
    pub clock_mhz: Option<f64>,
    /// The fastest its clock can be.
    pub clock_max_mhz: Option<f64>,
    /// Its memory in use.
    pub memory_used_bytes: Option<u64>,
    /// Its memory.
    pub memory_bytes: Option<u64>,
    /// Why it slows itself down, and what to do; `null` when it does not.
    pub throttled: Option<String>,
}
