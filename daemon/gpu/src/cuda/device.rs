//! From no driver to a GPU that takes work.

use std::ffi::{CStr, c_int};
use std::path::Path;
use std::sync::Arc;

use super::sys::{Driver, Handle};
use crate::GpuError;
use crate::library::Library;

/// CU_DEVICE_ATTRIBUTE_* of the driver API.
const MULTIPROCESSORS: c_int = 16;
const INTEGRATED: c_int = 18;
const L2_BYTES: c_int = 38;
const MAJOR: c_int = 75;
const MINOR: c_int = 76;

/// The driver, initialised: proof that other CUDA libraries may be called.
#[derive(Clone)]
pub struct Cuda {
    driver: Arc<Driver>,
}

/// What a GPU says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// `Orin`, `NVIDIA H200`.
    pub name: String,
    /// Compute capability, major and minor: (8, 7) for Orin.
    pub capability: (u32, u32),
    /// Bytes of memory.
    pub memory: u64,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of its second-level cache.
    pub l2: u32,
    /// Whether it shares the host's memory, as on a Jetson.
    pub integrated: bool,
}

impl DeviceInfo {
    /// `sm_87`.
    pub fn target(&self) -> String {
        format!("sm_{}{}", self.capability.0, self.capability.1)
    }
}

impl Cuda {
    /// Loads libcuda and initialises it.
    ///
    /// # Errors
    /// [`GpuError`] when there is no driver or no GPU.
    pub fn load() -> Result<Cuda, GpuError> {
        Cuda::init(Driver::of(Driver::find()?)?)
    }

    /// As [`Cuda::load`], with the library in the file `path`.
    ///
    /// # Errors
    /// As [`Cuda::load`].
    pub fn load_file(path: &Path) -> Result<Cuda, GpuError> {
        let library = Library::open(path).map_err(|tried| GpuError::Missing {
            what: "the NVIDIA driver (libcuda)",
            tried,
            mend: "name a file that is one",
        })?;
        Cuda::init(Driver::of(library)?)
    }

    fn init(driver: Driver) -> Result<Cuda, GpuError> {
        // SAFETY: may be called at any time; 0 is the one flag there is.
        driver.check("cuInit", unsafe { (driver.init)(0) })?;
        let cuda = Cuda {
            driver: Arc::new(driver),
        };
        if cuda.count()? == 0 {
            return Err(GpuError::Cuda {
                call: "cuDeviceGetCount",
                code: 100,
                name: "CUDA_ERROR_NO_DEVICE".to_owned(),
            });
        }
        Ok(cuda)
    }

    /// The library in use.
    pub fn library(&self) -> &Path {
        &self.driver.library.path
    }

    /// The newest CUDA that the driver serves, major and minor.
    ///
    /// # Errors
    /// When the driver does not say.
    pub fn version(&self) -> Result<(u32, u32), GpuError> {
        let mut version = 0;
        // SAFETY: writes one number.
        let code = unsafe { (self.driver.driver_version)(&mut version) };
        self.driver.check("cuDriverGetVersion", code)?;
        let version = version.unsigned_abs();
        Ok((version / 1000, version % 1000 / 10))
    }

    /// GPUs on this machine.
    ///
    /// # Errors
    /// When the driver does not say.
    pub fn count(&self) -> Result<usize, GpuError> {
        let mut count = 0;
        // SAFETY: writes one number.
        let code = unsafe { (self.driver.device_count)(&mut count) };
        self.driver.check("cuDeviceGetCount", code)?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// The GPU number `ordinal`, in its primary context.
    ///
    /// # Errors
    /// When there is no such GPU, or it takes no context.
    pub fn open(&self, ordinal: usize) -> Result<Gpu, GpuError> {
        let d = &*self.driver;
        let wanted = c_int::try_from(ordinal).unwrap_or(c_int::MAX);
        let mut device = 0;
        // SAFETY: writes one number.
        d.check("cuDeviceGet", unsafe { (d.device)(&mut device, wanted) })?;
        let info = describe(d, device)?;
        let mut context: Handle = std::ptr::null_mut();
        // SAFETY: `device` is the driver's own; the context is released once, when the last user is gone.
        let code = unsafe { (d.retain)(&mut context, device) };
        d.check("cuDevicePrimaryCtxRetain", code)?;
        let gpu = Gpu(Arc::new(Inner {
            driver: self.driver.clone(),
            device,
            context,
            info,
        }));
        gpu.bind()?;
        Ok(gpu)
    }
}

fn describe(d: &Driver, device: c_int) -> Result<DeviceInfo, GpuError> {
    let attribute = |which| {
        let mut value = 0;
        // SAFETY: writes one number.
        let code = unsafe { (d.device_attribute)(&mut value, which, device) };
        d.check("cuDeviceGetAttribute", code)?;
        Ok(value.unsigned_abs())
    };
    let mut name = [0; 256];
    // SAFETY: writes at most 256 bytes.
    let code = unsafe { (d.device_name)(name.as_mut_ptr(), 255, device) };
    d.check("cuDeviceGetName", code)?;
    let mut memory = 0;
    // SAFETY: writes one number.
    d.check("cuDeviceTotalMem", unsafe {
        (d.device_memory)(&mut memory, device)
    })?;
    Ok(DeviceInfo {
        // SAFETY: the last byte is zero still, so the string ends within.
        name: unsafe { CStr::from_ptr(name.as_ptr()) }
            .to_string_lossy()
            .into_owned(),
        capability: (attribute(MAJOR)?, attribute(MINOR)?),
        memory: memory as u64,
        multiprocessors: attribute(MULTIPROCESSORS)?,
        l2: attribute(L2_BYTES)?,
        integrated: attribute(INTEGRATED)? != 0,
    })
}

/// A GPU with its context; clones are the same one.
#[derive(Clone)]
pub struct Gpu(Arc<Inner>);

struct Inner {
    driver: Arc<Driver>,
    device: c_int,
    context: Handle,
    info: DeviceInfo,
}

// SAFETY: contexts may be used from any thread that made them current, which `bind` does before every call.
unsafe impl Send for Inner {}
// SAFETY: as above; the driver locks what threads share.
unsafe impl Sync for Inner {}

impl Gpu {
    /// What the GPU says of itself.
    pub fn info(&self) -> &DeviceInfo {
        &self.0.info
    }

    /// The driver it belongs to.
    pub fn cuda(&self) -> Cuda {
        Cuda {
            driver: self.0.driver.clone(),
        }
    }

    /// Bytes of memory that are free, and in all.
    ///
    /// # Errors
    /// When the driver does not say.
    pub fn memory(&self) -> Result<(usize, usize), GpuError> {
        let d = self.bind()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: writes two numbers.
        d.check("cuMemGetInfo", unsafe { (d.memory_info)(&mut free, &mut total) })?;
        Ok((free, total))
    }

    /// Makes the context this thread's own, as most calls want it.
    pub(crate) fn bind(&self) -> Result<&Driver, GpuError> {
        let d = &*self.0.driver;
        // SAFETY: the context is retained for as long as `self`.
        d.check("cuCtxSetCurrent", unsafe { (d.set_current)(self.0.context) })?;
        Ok(d)
    }

    /// For `drop`, where nothing can be returned: does `work` and logs what fails.
    pub(crate) fn last_rites(&self, call: &'static str, work: impl FnOnce(&Driver) -> c_int) {
        let done = self.bind().and_then(|d| d.check(call, work(d)));
        if let Err(e) = done {
            log::warn!("while giving back what the GPU lent: {e}");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: retained once in `open`, and everything made in the context holds `Inner`.
        let code = unsafe { (self.driver.release)(self.device) };
        if let Err(e) = self.driver.check("cuDevicePrimaryCtxRelease", code) {
            log::warn!("while giving back the GPU: {e}");
        }
    }
}
