//! Finding and opening a shared library.

use std::path::{Path, PathBuf};

use libloading::os::unix;

use crate::GpuError;

/// A library that is open for as long as this lives.
pub(crate) struct Library {
    /// Where it was found: a path, or the name that the loader knew.
    pub(crate) path: PathBuf,
    inner: unix::Library,
}

/// What is looked for.
pub(crate) struct Wanted<'a> {
    /// For people.
    pub(crate) what: &'static str,
    /// Environment variable that names the file; then no other is tried.
    pub(crate) variable: &'static str,
    /// Names, the first that opens is taken.
    pub(crate) names: &'a [&'a str],
    /// What to do when none is there.
    pub(crate) mend: &'static str,
}

/// RTLD_NODELETE of Linux: these libraries have threads and exit handlers of their own, and do not outlive being unloaded.
const NODELETE: i32 = 0x1000;

/// Folders besides the loader's own: where JetPack, Debian and CUDA's installers put libraries.
const FOLDERS: [&str; 4] = [
    "/usr/lib/aarch64-linux-gnu/nvidia",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/local/cuda/lib64",
    "/usr/local/nvidia/lib64",
];

impl Library {
    /// Opens the first of the wanted names.
    pub(crate) fn find(wanted: &Wanted<'_>) -> Result<Library, GpuError> {
        let missing = |tried: String| GpuError::Missing {
            what: wanted.what,
            tried,
            mend: wanted.mend,
        };
        if let Some(path) = std::env::var_os(wanted.variable) {
            let path = PathBuf::from(path);
            return Library::open(&path).map_err(|e| missing(format!("{}: {e}", wanted.variable)));
        }
        let mut last = String::new();
        for name in wanted.names {
            let places =
                std::iter::once(PathBuf::from(name)).chain(FOLDERS.iter().map(|f| Path::new(f).join(name)));
            for place in places {
                match Library::open(&place) {
                    Ok(library) => return Ok(library),
                    Err(e) if last.is_empty() => last = e,
                    Err(_) => {}
                }
            }
        }
        Err(missing(format!("{}; {last}", wanted.names.join(", "))))
    }

    /// Opens one file.
    pub(crate) fn open(path: &Path) -> Result<Library, String> {
        // SAFETY: the libraries named here are NVIDIA's (or a test's stand-ins), whose constructors may run at any time.
        let opened = unsafe { unix::Library::open(Some(path), unix::RTLD_NOW | unix::RTLD_LOCAL | NODELETE) };
        let words = |e: libloading::Error| {
            let why = std::error::Error::source(&e).map(|s| format!(": {s}"));
            format!("{}: {e}{}", path.display(), why.unwrap_or_default())
        };
        opened.map_err(words).map(|inner| Library {
            path: path.to_owned(),
            inner,
        })
    }

    /// The function `symbol`.
    ///
    /// # Safety
    /// `F` must be a function pointer of the type that the library's documentation gives for `symbol`, and must not be
    /// called after this is gone.
    pub(crate) unsafe fn function<F: Copy>(&self, symbol: &str) -> Result<F, GpuError> {
        const { assert!(size_of::<F>() == size_of::<*const ()>(), "a function pointer") };
        // SAFETY: the caller's promise.
        let found = unsafe { self.inner.get::<F>(symbol.as_bytes()) };
        found.map(|f| *f).map_err(|_| GpuError::Symbol {
            library: self.path.clone(),
            symbol: symbol.to_owned(),
        })
    }
}
