//! How a GPU is: temperature, power, clocks, memory, and why it slows itself down. By NVML, NVIDIA's management library,
//! where it is; on a Jetson, which has none (or one that tells little), from the kernel's files.

pub mod jetson;
#[allow(unsafe_code)] // Calls NVML.
pub mod nvml;

use std::path::Path;

/// What a GPU tells of itself. What it does not tell is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GpuHealth {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `nvml` or `sysfs`.
    pub source: &'static str,
    /// Temperature of the chip, degrees Celsius.
    pub temperature_c: Option<f64>,
    /// Power it takes, watts; on a Jetson of the whole module.
    pub power_w: Option<f64>,
    /// Share of the time in which it works, 0 to 1.
    pub load: Option<f64>,
    /// Its clock, MHz.
    pub clock_mhz: Option<f64>,
    /// The fastest its clock can be, MHz.
    pub clock_max_mhz: Option<f64>,
    /// Bytes of its memory in use.
    pub memory_used: Option<u64>,
    /// Bytes of its memory.
    pub memory: Option<u64>,
    /// Why it slows itself down, and what to do; `None` when it does not.
    pub throttled: Option<String>,
}

/// Where health is read from.
pub enum HealthSource {
    /// NVIDIA's library.
    Nvml(nvml::Nvml),
    /// The kernel's files on a Jetson.
    Jetson(jetson::Jetson),
}

impl HealthSource {
    /// What this machine has; `None` without a GPU of NVIDIA's. `root` is `/`, but in tests.
    pub fn find(root: &Path) -> Option<HealthSource> {
        // A Jetson's NVML, where there is one, tells neither power nor temperature.
        if let Some(jetson) = jetson::Jetson::find(root) {
            return Some(HealthSource::Jetson(jetson));
        }
        match nvml::Nvml::load() {
            Ok(nvml) => Some(HealthSource::Nvml(nvml)),
            Err(error) => {
                log::debug!("no GPU to look after: {error}");
                None
            }
        }
    }

    /// How all GPUs are now. May hang where the driver does.
    pub fn read(&self) -> Vec<GpuHealth> {
        match self {
            HealthSource::Nvml(nvml) => nvml.read(),
            HealthSource::Jetson(jetson) => vec![jetson.read()],
        }
    }
}
