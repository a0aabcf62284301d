//! The functions of libcuda, by their names and types in CUDA's driver API reference.

use std::ffi::{c_char, c_int, c_uint, c_void};

use crate::GpuError;
use crate::library::{Library, Wanted};

/// A CUdeviceptr.
pub(crate) type DeviceAddress = u64;
/// A CUcontext, CUstream, CUevent, CUmodule or CUfunction.
pub(crate) type Handle = *mut c_void;

macro_rules! functions {
    ($($name:ident: $symbol:literal($($arg:ty),*);)*) => {
        /// libcuda's functions; valid as long as the library, which is never closed before this.
        pub(crate) struct Driver {
            $(pub(crate) $name: unsafe extern "C" fn($($arg),*) -> c_int,)*
            pub(crate) library: Library,
        }

        impl Driver {
            /// The system's libcuda.
            pub(crate) fn find() -> Result<Library, GpuError> {
                Library::find(&Wanted {
                    what: "the NVIDIA driver (libcuda)",
                    variable: "SYNOPTIC_LIBCUDA",
                    names: &["libcuda.so.1", "libcuda.so"],
                    mend: "install the driver, or on a Jetson give this process the GPU's devices; SYNOPTIC_LIBCUDA names another file",
                })
            }

            /// Finds every function in `library`.
            pub(crate) fn of(library: Library) -> Result<Driver, GpuError> {
                Ok(Driver {
                    // SAFETY: types are those of the driver API reference; the library lives beside them.
                    $($name: unsafe { library.function($symbol)? },)*
                    library,
                })
            }
        }
    };
}

functions! {
    init: "cuInit"(c_uint);
    driver_version: "cuDriverGetVersion"(*mut c_int);
    error_name: "cuGetErrorName"(c_int, *mut *const c_char);
    device_count: "cuDeviceGetCount"(*mut c_int);
    device: "cuDeviceGet"(*mut c_int, c_int);
    device_name: "cuDeviceGetName"(*mut c_char, c_int, c_int);
    device_attribute: "cuDeviceGetAttribute"(*mut c_int, c_int, c_int);
    device_memory: "cuDeviceTotalMem_v2"(*mut usize, c_int);
    retain: "cuDevicePrimaryCtxRetain"(*mut Handle, c_int);
    release: "cuDevicePrimaryCtxRelease_v2"(c_int);
    set_current: "cuCtxSetCurrent"(Handle);
    memory_info: "cuMemGetInfo_v2"(*mut usize, *mut usize);
    alloc: "cuMemAlloc_v2"(*mut DeviceAddress, usize);
    free: "cuMemFree_v2"(DeviceAddress);
    alloc_host: "cuMemAllocHost_v2"(*mut Handle, usize);
    free_host: "cuMemFreeHost"(Handle);
    to_device: "cuMemcpyHtoDAsync_v2"(DeviceAddress, *const c_void, usize, Handle);
    to_host: "cuMemcpyDtoHAsync_v2"(Handle, DeviceAddress, usize, Handle);
    on_device: "cuMemcpyDtoDAsync_v2"(DeviceAddress, DeviceAddress, usize, Handle);
    set_bytes: "cuMemsetD8Async"(DeviceAddress, u8, usize, Handle);
    stream_create: "cuStreamCreate"(*mut Handle, c_uint);
    stream_destroy: "cuStreamDestroy_v2"(Handle);
    stream_wait: "cuStreamSynchronize"(Handle);
    stream_query: "cuStreamQuery"(Handle);
    stream_wait_event: "cuStreamWaitEvent"(Handle, Handle, c_uint);
    event_create: "cuEventCreate"(*mut Handle, c_uint);
    event_destroy: "cuEventDestroy_v2"(Handle);
    event_record: "cuEventRecord"(Handle, Handle);
    event_wait: "cuEventSynchronize"(Handle);
    event_elapsed: "cuEventElapsedTime"(*mut f32, Handle, Handle);
    module_load: "cuModuleLoadData"(*mut Handle, *const c_void);
    module_unload: "cuModuleUnload"(Handle);
    module_function: "cuModuleGetFunction"(*mut Handle, Handle, *const c_char);
    launch: "cuLaunchKernel"(
        Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, *mut Handle, *mut Handle
    );
}

impl Driver {
    /// Turns CUDA's number into a result.
    pub(crate) fn check(&self, call: &'static str, code: c_int) -> Result<(), GpuError> {
        if code == 0 {
            return Ok(());
        }
        let mut name = std::ptr::null();
        // SAFETY: CUDA writes a pointer to a string that lives as long as the library.
        let known = unsafe { (self.error_name)(code, &mut name) } == 0 && !name.is_null();
        let name = if known {
            // SAFETY: as above; it ends with a zero.
            unsafe { std::ffi::CStr::from_ptr(name) }
                .to_string_lossy()
                .into_owned()
        } else {
            "an error without a name".to_owned()
        };
        Err(GpuError::Cuda { call, code, name })
    }
}
