//! NVML, NVIDIA's management library: names and types as in its API reference (`nvml.h`).

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::path::Path;

use super::GpuHealth;
use crate::GpuError;
use crate::library::{Library, Wanted};

/// NVML_TEMPERATURE_GPU and NVML_CLOCK_SM.
const TEMPERATURE_GPU: c_int = 0;
const CLOCK_SM: c_int = 1;
/// nvmlClocksEventReason*: what of them is trouble, and what to do.
const REASONS: [(c_ulonglong, &str); 4] = [
    (
        0x04,
        "it takes all the power it may: that is its limit (nvidia-smi -pl), not a fault",
    ),
    (
        0x08 | 0x40,
        "it is too hot, or its supply is (hardware slowdown): check its cooling",
    ),
    (0x20, "it is too hot: check its cooling"),
    (0x80, "its power supply tells it to brake: check the supply"),
];
/// Bytes of a name with its zero (NVML_DEVICE_NAME_V2_BUFFER_SIZE).
const NAME: usize = 96;
/// More GPUs than any machine has.
const MAX_GPUS: c_uint = 64;

type Device = *mut c_void;

#[repr(C)]
#[derive(Default)]
struct Memory {
    total: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

#[repr(C)]
#[derive(Default)]
struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

/// The library, initialised.
pub struct Nvml {
    count: unsafe extern "C" fn(*mut c_uint) -> c_int,
    device: unsafe extern "C" fn(c_uint, *mut Device) -> c_int,
    name: unsafe extern "C" fn(Device, *mut c_char, c_uint) -> c_int,
    temperature: unsafe extern "C" fn(Device, c_int, *mut c_uint) -> c_int,
    power: unsafe extern "C" fn(Device, *mut c_uint) -> c_int,
    clock: unsafe extern "C" fn(Device, c_int, *mut c_uint) -> c_int,
    clock_max: unsafe extern "C" fn(Device, c_int, *mut c_uint) -> c_int,
    memory: unsafe extern "C" fn(Device, *mut Memory) -> c_int,
    utilization: unsafe extern "C" fn(Device, *mut Utilization) -> c_int,
    reasons: unsafe extern "C" fn(Device, *mut c_ulonglong) -> c_int,
    shutdown: unsafe extern "C" fn() -> c_int,
    /// Kept open for the functions.
    _library: Library,
}

// SAFETY: "NVML is thread-safe" (API reference, introduction); the pointers are functions.
unsafe impl Send for Nvml {}

impl Nvml {
    /// Loads and initialises it.
    ///
    /// # Errors
    /// When it is not on this machine, or the driver is not.
    pub fn load() -> Result<Nvml, GpuError> {
        Nvml::of(Library::find(&Wanted {
            what: "NVIDIA's management library (libnvidia-ml)",
            variable: "SYNOPTIC_LIBNVML",
            names: &["libnvidia-ml.so.1", "libnvidia-ml.so"],
            mend: "it comes with the driver; SYNOPTIC_LIBNVML names another file",
        })?)
    }

    /// As [`Nvml::load`], with the library in the file `path`.
    ///
    /// # Errors
    /// As [`Nvml::load`].
    pub fn load_file(path: &Path) -> Result<Nvml, GpuError> {
        let library = Library::open(path).map_err(|tried| GpuError::Missing {
            what: "NVIDIA's management library (libnvidia-ml)",
            tried,
            mend: "name a file that is one",
        })?;
        Nvml::of(library)
    }

    fn of(library: Library) -> Result<Nvml, GpuError> {
        // SAFETY: types are those of nvml.h; the library lives beside them.
        let (nvml, init) = unsafe {
            let init: unsafe extern "C" fn() -> c_int = library.function("nvmlInit_v2")?;
            let nvml = Nvml {
                count: library.function("nvmlDeviceGetCount_v2")?,
                device: library.function("nvmlDeviceGetHandleByIndex_v2")?,
                name: library.function("nvmlDeviceGetName")?,
                temperature: library.function("nvmlDeviceGetTemperature")?,
                power: library.function("nvmlDeviceGetPowerUsage")?,
                clock: library.function("nvmlDeviceGetClockInfo")?,
                clock_max: library.function("nvmlDeviceGetMaxClockInfo")?,
                memory: library.function("nvmlDeviceGetMemoryInfo")?,
                utilization: library.function("nvmlDeviceGetUtilizationRates")?,
                reasons: library.function("nvmlDeviceGetCurrentClocksThrottleReasons")?,
                shutdown: library.function("nvmlShutdown")?,
                _library: library,
            };
            (nvml, init)
        };
        // SAFETY: may be called at any time; each success is paired with a shutdown in `drop`.
        match unsafe { init() } {
            0 => Ok(nvml),
            code => {
                // Not initialised: there is nothing to shut down.
                std::mem::forget(nvml);
                Err(GpuError::Argument(format!(
                    "nvmlInit says {code}: the driver is not loaded, or another version than the library (9 and 18)"
                )))
            }
        }
    }

    /// How all GPUs are now. What one does not tell is `None`.
    pub fn read(&self) -> Vec<GpuHealth> {
        let mut count = 0;
        // SAFETY: writes one number.
        if unsafe { (self.count)(&mut count) } != 0 {
            return Vec::new();
        }
        (0..count.min(MAX_GPUS))
            .filter_map(|index| self.one(index))
            .collect()
    }

    fn one(&self, index: c_uint) -> Option<GpuHealth> {
        let mut device = std::ptr::null_mut();
        // SAFETY: writes one handle, which NVML owns.
        if unsafe { (self.device)(index, &mut device) } != 0 {
            return None;
        }
        let mut name = [0; NAME];
        // SAFETY: writes at most as many bytes as it is told; the last stays zero.
        let named = unsafe { (self.name)(device, name.as_mut_ptr(), NAME as c_uint - 1) } == 0;
        let number = |get: &dyn Fn(*mut c_uint) -> c_int| {
            let mut value = 0;
            (get(&mut value) == 0).then_some(f64::from(value))
        };
        let (mut memory, mut used, mut reasons) = (Memory::default(), Utilization::default(), 0);
        // SAFETY: each writes one value of the type given.
        unsafe {
            let memory = ((self.memory)(device, &mut memory) == 0).then_some(memory);
            let used = ((self.utilization)(device, &mut used) == 0).then_some(used);
            let reasons = ((self.reasons)(device, &mut reasons) == 0).then_some(reasons);
            Some(GpuHealth {
                index,
                name: if named {
                    CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned()
                } else {
                    format!("GPU {index}")
                },
                source: "nvml",
                temperature_c: number(&|v| (self.temperature)(device, TEMPERATURE_GPU, v)),
                power_w: number(&|v| (self.power)(device, v)).map(|mw| mw / 1e3),
                load: used.map(|u| f64::from(u.gpu) / 100.0),
                clock_mhz: number(&|v| (self.clock)(device, CLOCK_SM, v)),
                clock_max_mhz: number(&|v| (self.clock_max)(device, CLOCK_SM, v)),
                memory_used: memory.as_ref().map(|m| m.used),
                memory: memory.as_ref().map(|m| m.total),
                throttled: reasons.and_then(why),
            })
        }
    }
}

/// What of the reasons is trouble.
fn why(reasons: c_ulonglong) -> Option<String> {
    let all: Vec<&str> = REASONS
        .iter()
        .filter(|(bits, _)| reasons & bits != 0)
        .map(|(_, text)| *text)
        .collect();
    (!all.is_empty()).then(|| all.join("; "))
}

impl Drop for Nvml {
    fn drop(&mut self) {
        // SAFETY: initialised once in `of`, shut down here only.
        let code = unsafe { (self.shutdown)() };
        if code != 0 {
            log::debug!("nvmlShutdown says {code}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_gpu_is_not_throttled_and_a_hot_one_is() {
        // Idle, and clocks that an application set.
        assert_eq!(why(0x01 | 0x02), None);
        let hot = why(0x01 | 0x20).unwrap();
        assert!(hot.contains("cooling"), "{hot}");
        assert_eq!(why(0x04 | 0x80).unwrap().split("; ").count(), 2);
    }
}
