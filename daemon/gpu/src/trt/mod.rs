//! TensorRT 8.5 to 11 and TensorRT-RTX, loaded at run time, through their virtual tables
//! (docs/decisions/0011-tensorrt-vtables.md).
//!
//! * [`TensorRt`] is the library; one of an unknown version is refused;
//! * [`TensorRt::build`] makes a [`Plan`] of an ONNX model: in a child process, for a builder may take gigabytes, minutes,
//!   or the process down with it;
//! * [`TensorRt::runtime`] and [`Engine`] run a plan.
//!
//! No factory of TensorRT is called before `cuInit` succeeded: without a driver some of them return garbage. What
//! needs a driver takes a [`crate::cuda::Gpu`], which exists only then. TensorRT-RTX alone builds without one.
#[allow(unsafe_code)]
mod abi;
#[allow(unsafe_code)]
mod builder;
#[allow(unsafe_code)]
mod logger;
#[allow(unsafe_code)]
mod runtime;
mod slots;
mod version;

use std::ffi::{c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use builder::{BuildOptions, Plan, Precision, Range};
pub use runtime::{Context, DataType, Engine, Runtime, Tensor};
pub use slots::Table;
pub use version::Version;

use crate::GpuError;
use crate::library::{Library, Wanted};
use abi::Object;
use logger::Logger;
use slots::Slots;

type Factory = unsafe extern "C" fn(*const c_void, c_int) -> Object;

/// A loaded TensorRT.
#[derive(Clone)]
pub struct TensorRt(Arc<Inner>);

struct Inner {
    library: Library,
    version: Version,
    /// What the library says of its version, as its factories want it.
    number: c_int,
    table: Table,
    slots: Slots,
    logger: &'static Logger,
    create_runtime: Factory,
    /// Not in the lean library.
    create_builder: Option<Factory>,
    parser: Option<Library>,
}

/// Names to look for, in this order: those with a builder first.
const NAMES: [&str; 6] = [
    "libnvinfer.so.10",
    "libnvinfer.so.11",
    "libnvinfer.so.8",
    "libtensorrt_rtx.so.1",
    "libnvinfer.so",
    "libtensorrt_rtx.so",
];

impl TensorRt {
    /// Loads the TensorRT of this machine.
    ///
    /// # Errors
    /// When there is none, or its version is not known.
    pub fn load() -> Result<TensorRt, GpuError> {
        TensorRt::of(Library::find(&Wanted {
            what: "TensorRT (libnvinfer)",
            variable: "SYNOPTIC_TENSORRT",
            names: &NAMES,
            mend: "install TensorRT 8.5 to 11 or TensorRT-RTX 1 (JetPack has it); SYNOPTIC_TENSORRT names another file",
        })?)
    }

    /// Loads the library in the file `path`; its ONNX parser is looked for beside it.
    ///
    /// # Errors
    /// As [`TensorRt::load`].
    pub fn load_file(path: &Path) -> Result<TensorRt, GpuError> {
        let library = Library::open(path).map_err(|tried| GpuError::Missing {
            what: "TensorRT (libnvinfer)",
            tried,
            mend: "name a file that is one",
        })?;
        TensorRt::of(library)
    }

    #[allow(unsafe_code)]
    fn of(library: Library) -> Result<TensorRt, GpuError> {
        // SAFETY: its type in every version's NvInferRuntime.h; it reads a constant and needs no driver.
        let number = unsafe {
            let says: unsafe extern "C" fn() -> c_int = library.function("getInferLibVersion")?;
            says()
        };
        let version = Version::new(&library.path, number);
        let table = version.table(&library.path)?;
        // SAFETY: their types in every version's NvInfer.h and NvInferRuntime.h.
        let (create_runtime, create_builder) = unsafe {
            (
                library.function("createInferRuntime_INTERNAL")?,
                library.function("createInferBuilder_INTERNAL").ok(),
            )
        };
        let parser = parser_names(&library.path, version)
            .into_iter()
            .find_map(|name| Library::open(&name).ok());
        log::info!("{version} in {}", library.path.display());
        Ok(TensorRt(Arc::new(Inner {
            logger: Logger::leak(&library, table),
            version,
            number,
            table,
            slots: Slots::of(table),
            create_runtime,
            create_builder,
            parser,
            library,
        })))
    }

    /// Its version.
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// The file, or the name by which the loader knew it.
    pub fn library(&self) -> &Path {
        &self.0.library.path
    }

    /// Whether it can build plans: the lean library cannot.
    pub fn builds(&self) -> bool {
        self.0.create_builder.is_some() && self.0.parser.is_some()
    }

    fn failed(&self, what: impl Into<String>) -> GpuError {
        GpuError::TensorRt {
            what: what.into(),
            log: self.0.logger.take(),
        }
    }
}

/// Where the ONNX parser of a library may be: beside it, of the same version, first.
fn parser_names(library: &Path, version: Version) -> Vec<PathBuf> {
    let (major, minor, patch) = version.number;
    let stem = if version.rtx {
        "libtensorrt_onnxparser_rtx.so"
    } else {
        "libnvonnxparser.so"
    };
    let names = [
        format!("{stem}.{major}.{minor}.{patch}"),
        format!("{stem}.{major}"),
        stem.to_owned(),
    ];
    let folder = library.parent().filter(|f| !f.as_os_str().is_empty());
    let beside = folder.into_iter().flat_map(|f| names.iter().map(|n| f.join(n)));
    // Another major version's parser would be worse than none: the bare name is tried beside the library only.
    beside.chain(names[..2].iter().map(PathBuf::from)).collect()
}
