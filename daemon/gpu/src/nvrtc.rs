//! NVRTC compiles the kernels for the GPU at hand, with the CUDA that is on the box: no other version can be wrong.

use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;

use crate::GpuError;
use crate::library::{Library, Wanted};

type Program = *mut c_void;

/// The compiler.
pub struct Nvrtc {
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int,
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
    log_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    log: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    cubin_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    cubin: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    library: Library,
}

/// A source file.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Its name in `kernels/`.
    pub file: &'static str,
    /// CUDA C++.
    pub text: &'static str,
}

impl Nvrtc {
    /// Loads it.
    ///
    /// # Errors
    /// [`GpuError::Missing`] when it is not on this machine.
    pub fn load() -> Result<Nvrtc, GpuError> {
        Nvrtc::of(Library::find(&Wanted {
            what: "CUDA's run-time compiler (libnvrtc)",
            variable: "SYNOPTIC_LIBNVRTC",
            names: &[
                "libnvrtc.so.13",
                "libnvrtc.so.12",
                "libnvrtc.so.11.2",
                "libnvrtc.so",
            ],
            mend: "install cuda-nvrtc of the box's CUDA; SYNOPTIC_LIBNVRTC names another file",
        })?)
    }

    /// Loads the library in the file `path`.
    ///
    /// # Errors
    /// As [`Nvrtc::load`].
    pub fn load_file(path: &Path) -> Result<Nvrtc, GpuError> {
        let library = Library::open(path).map_err(|tried| GpuError::Missing {
            what: "CUDA's run-time compiler (libnvrtc)",
            tried,
            mend: "name a file that is one",
        })?;
        Nvrtc::of(library)
    }

    fn of(library: Library) -> Result<Nvrtc, GpuError> {
        // SAFETY: types are those of NVRTC's reference; the library lives beside them.
        unsafe {
            Ok(Nvrtc {
                version: library.function("nvrtcVersion")?,
                create: library.function("nvrtcCreateProgram")?,
                compile: library.function("nvrtcCompileProgram")?,
                log_size: library.function("nvrtcGetProgramLogSize")?,
                log: library.function("nvrtcGetProgramLog")?,
                cubin_size: library.function("nvrtcGetCUBINSize")?,
                cubin: library.function("nvrtcGetCUBIN")?,
                destroy: library.function("nvrtcDestroyProgram")?,
                library,
            })
        }
    }

    /// The library in use.
    pub fn path(&self) -> &Path {
        &self.library.path
    }

    /// Major and minor.
    pub fn version(&self) -> (u32, u32) {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: writes two numbers.
        unsafe { (self.version)(&mut major, &mut minor) };
        (major.unsigned_abs(), minor.unsigned_abs())
    }

    /// Machine code of `source` for `target` (`sm_87`), without contraction of floating point, as its references want.
    ///
    /// # Errors
    /// [`GpuError::Compile`] with the compiler's words.
    pub fn cubin(&self, source: Source, target: &str) -> Result<Vec<u8>, GpuError> {
        let failed = |log: String| GpuError::Compile {
            file: source.file,
            target: target.to_owned(),
            log,
        };
        let zero = |text: &str| CString::new(text).map_err(|e| failed(e.to_string()));
        let (text, name) = (zero(source.text)?, zero(source.file)?);
        let options = [
            zero(&format!("--gpu-architecture={target}"))?,
            zero("--fmad=false")?,
            zero("--std=c++17")?,
        ];
        let options: Vec<_> = options.iter().map(|o| o.as_ptr()).collect();
        let mut raw = std::ptr::null_mut();
        // SAFETY: both texts end with a zero and are copied; there are no headers.
        let code = unsafe {
            (self.create)(
                &mut raw,
                text.as_ptr(),
                name.as_ptr(),
                0,
                std::ptr::null(),
                std::ptr::null(),
            )
        };
        if code != 0 {
            return Err(failed(format!("nvrtcCreateProgram says {code}")));
        }
        let program = Owned { of: self, raw };
        // SAFETY: the program is alive; the options end with a zero each.
        let code = unsafe { (self.compile)(program.raw, options.len() as c_int, options.as_ptr()) };
        if code != 0 {
            let log = program.bytes(self.log_size, self.log).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            return Err(failed(format!("{} ({code})", log.trim_end_matches(['\0', '\n']))));
        }
        program
            .bytes(self.cubin_size, self.cubin)
            .filter(|b| !b.is_empty())
            .ok_or_else(|| failed("it made no machine code".to_owned()))
    }
}

struct Owned<'a> {
    of: &'a Nvrtc,
    raw: Program,
}

impl Owned<'_> {
    fn bytes(
        &self,
        size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
        get: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    ) -> Option<Vec<u8>> {
        let mut len = 0;
        // SAFETY: writes one number.
        if unsafe { size(self.raw, &mut len) } != 0 {
            return None;
        }
        let mut bytes = vec![0_u8; len];
        // SAFETY: writes as many bytes as it just said.
        let code = unsafe { get(self.raw, bytes.as_mut_ptr().cast()) };
        (code == 0).then_some(bytes)
    }
}

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed here only.
        unsafe { (self.of.destroy)(&mut self.raw) };
    }
}
