//! Compiled kernels on a GPU.

use std::ffi::CString;
use std::sync::Arc;

use super::device::Gpu;
use super::stream::Stream;
use super::sys::Handle;
use crate::GpuError;

/// The one parameter of a kernel.
///
/// # Safety
/// The type must be `repr(C)`, hold plain numbers without padding, and be laid out as the kernel's parameter.
pub(crate) unsafe trait KernelParams {}

/// A compiled file of kernels, loaded.
pub(crate) struct Module {
    gpu: Gpu,
    raw: Handle,
}

// SAFETY: modules may be used from any thread; every call binds the context first.
unsafe impl Send for Module {}
// SAFETY: nothing of a module changes once it is loaded.
unsafe impl Sync for Module {}

impl Module {
    /// Loads a cubin or PTX.
    pub(crate) fn load(gpu: &Gpu, image: &[u8]) -> Result<Arc<Module>, GpuError> {
        // PTX is text that must end with a zero; a cubin knows its own length.
        let mut image = image.to_vec();
        image.push(0);
        let d = gpu.bind()?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: the image is copied by the call, and ends with a zero; the module is unloaded once, in `drop`.
        let code = unsafe { (d.module_load)(&mut raw, image.as_ptr().cast()) };
        d.check("cuModuleLoadData", code)?;
        Ok(Arc::new(Module {
            gpu: gpu.clone(),
            raw,
        }))
    }

    /// The kernel `name`.
    pub(crate) fn function(self: &Arc<Module>, name: &str) -> Result<Function, GpuError> {
        let text = CString::new(name).map_err(|e| GpuError::Argument(format!("kernel {name}: {e}")))?;
        let d = self.gpu.bind()?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: writes one handle, which lives as long as the module.
        let code = unsafe { (d.module_function)(&mut raw, self.raw, text.as_ptr()) };
        d.check("cuModuleGetFunction", code)?;
        Ok(Function {
            module: self.clone(),
            raw,
        })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: loaded in `load` and unloaded here only; `Function` holds the module.
        self.gpu
            .last_rites("cuModuleUnload", |d| unsafe { (d.module_unload)(self.raw) });
    }
}

/// A kernel.
#[derive(Clone)]
pub(crate) struct Function {
    module: Arc<Module>,
    raw: Handle,
}

// SAFETY: as `Module`.
unsafe impl Send for Function {}
// SAFETY: as `Module`.
unsafe impl Sync for Function {}

impl Function {
    /// Queues the kernel on `stream`.
    ///
    /// # Safety
    /// `P` must be the kernel's parameter, and every address in it must be of memory large enough for what the kernel
    /// reads and writes there, until the work is done.
    pub(crate) unsafe fn launch<P: KernelParams>(
        &self,
        stream: &Stream,
        grid: [u32; 3],
        block: [u32; 3],
        params: &P,
    ) -> Result<(), GpuError> {
        let d = self.module.gpu.bind()?;
        let mut list = [std::ptr::from_ref(params).cast_mut().cast()];
        // SAFETY: the caller's promise; CUDA copies the parameter before it returns.
        let code = unsafe {
            (d.launch)(
                self.raw,
                grid[0],
                grid[1],
                grid[2],
                block[0],
                block[1],
                block[2],
                0,
                stream.raw(),
                list.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        d.check("cuLaunchKernel", code)
    }
}
