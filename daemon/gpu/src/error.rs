//! Why the GPU cannot be used.

use std::path::PathBuf;

/// What went wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// No such library on this machine.
    #[error("{what} is not on this machine (tried {tried}): {mend}")]
    Missing {
        /// `the NVIDIA driver (libcuda)`, ...
        what: &'static str,
        /// File names tried, and what the loader said of the last.
        tried: String,
        /// What to install or set.
        mend: &'static str,
    },
    /// A library lacks a function: it is not the one its name says.
    #[error("{} has no {symbol}: it is another library, or too old", library.display())]
    Symbol {
        /// The library.
        library: PathBuf,
        /// The function.
        symbol: String,
    },
    /// A call of CUDA failed.
    #[error("{call} failed with {name} ({code}){}", mend(*code))]
    Cuda {
        /// The call, by its name in CUDA's documentation.
        call: &'static str,
        /// CUDA's number.
        code: i32,
        /// CUDA's name of that number.
        name: String,
    },
    /// A kernel was not compiled.
    #[error("kernel file {file} does not compile for {target}: {log}")]
    Compile {
        /// The file in `kernels/`.
        file: &'static str,
        /// `sm_87`.
        target: String,
        /// What the compiler says.
        log: String,
    },
    /// A library's version is not one whose interface is known.
    #[error("{} says it is version {version}: {why}", library.display())]
    Version {
        /// The library.
        library: PathBuf,
        /// What it says.
        version: String,
        /// Why that is refused.
        why: String,
    },
    /// TensorRT refused.
    #[error("TensorRT cannot {what}: {log}")]
    TensorRt {
        /// `parse the model`, ...
        what: String,
        /// What it logged.
        log: String,
    },
    /// Arguments that do not fit each other.
    #[error("{0}")]
    Argument(String),
}

/// What to do about the errors of CUDA that people meet.
fn mend(code: i32) -> &'static str {
    match code {
        2 => ": the GPU's memory is full; use smaller batches, a smaller model or fewer cameras",
        100 => ": there is no NVIDIA GPU, or this process may not use it",
        209 => ": the kernels were compiled for another GPU",
        222 | 218 => ": the kernels were compiled by a newer CUDA than the driver; update the driver",
        719 | 700 | 702 | 714 | 716 => ": the GPU stopped this process's work; it must be started again",
        803 | 804 => ": driver and CUDA do not fit; update the driver",
        999 => ": the driver is in trouble; see the kernel's log (dmesg)",
        _ => "",
    }
}
