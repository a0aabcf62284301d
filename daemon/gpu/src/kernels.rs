//! The kernels, compiled and loaded on a GPU.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::GpuError;
use crate::cuda::{Function, Gpu, Module};
use crate::nvrtc::{Nvrtc, Source};

/// Every file of `kernels/`.
pub const SOURCES: [Source; 3] = [
    Source {
        file: "preprocess.cu",
        text: include_str!("../kernels/preprocess.cu"),
    },
    Source {
        file: "detect.cu",
        text: include_str!("../kernels/detect.cu"),
    },
    Source {
        // The one includes the other for nvcc; NVRTC, which has no files, gets both.
        file: "multiband.cu",
        text: concat!(
            include_str!("../kernels/panorama.cu"),
            include_str!("../kernels/multiband.cu")
        ),
    },
];

/// All kernels on one GPU.
#[derive(Clone)]
pub struct Kernels {
    pub(crate) preprocess: Function,
    pub(crate) decode: Function,
    pub(crate) suppress: Function,
    pub(crate) compose: Function,
    pub(crate) shares: Function,
    pub(crate) observe: Function,
    pub(crate) multiband_fill: Function,
    pub(crate) multiband_reduce: Function,
    pub(crate) multiband_add: Function,
    pub(crate) multiband_collapse: Function,
    pub(crate) multiband_write: Function,
}

impl Kernels {
    /// Compiles them with the box's NVRTC, or takes them from `cache`, a folder, where they were compiled before.
    ///
    /// # Errors
    /// When NVRTC is missing, a kernel does not compile, or the GPU does not take it.
    pub fn compile(gpu: &Gpu, cache: Option<&Path>) -> Result<Kernels, GpuError> {
        Kernels::compile_with(gpu, &Nvrtc::load()?, cache)
    }

    /// As [`Kernels::compile`], with this NVRTC.
    ///
    /// # Errors
    /// When a kernel does not compile, or the GPU does not take it.
    pub fn compile_with(gpu: &Gpu, nvrtc: &Nvrtc, cache: Option<&Path>) -> Result<Kernels, GpuError> {
        let target = gpu.info().target();
        Kernels::from_images(gpu, |source| {
            let file = cache.map(|folder| folder.join(cache_name(nvrtc, source, &target)));
            if let Some(image) = file.as_ref().and_then(|f| std::fs::read(f).ok()) {
                return Ok(image);
            }
            let image = nvrtc.cubin(source, &target)?;
            if let Some(file) = file
                && let Err(e) = write(&file, &image)
            {
                log::warn!(
                    "cannot keep the compiled kernel {}: {e}; it is compiled again at the next start",
                    file.display()
                );
            }
            Ok(image)
        })
    }

    /// Loads machine code that `image` gives for each source.
    ///
    /// # Errors
    /// Those of `image`, and when the GPU does not take what it gives.
    pub fn from_images(
        gpu: &Gpu,
        mut image: impl FnMut(Source) -> Result<Vec<u8>, GpuError>,
    ) -> Result<Kernels, GpuError> {
        let [preprocess, detect, panorama] = SOURCES;
        let mut load = |source| Module::load(gpu, &image(source)?);
        let (preprocess, detect, panorama) = (load(preprocess)?, load(detect)?, load(panorama)?);
        Ok(Kernels {
            preprocess: preprocess.function("synoptic_preprocess")?,
            decode: detect.function("synoptic_decode")?,
            suppress: detect.function("synoptic_suppress")?,
            compose: panorama.function("synoptic_compose")?,
            shares: panorama.function("synoptic_shares")?,
            observe: panorama.function("synoptic_observe")?,
            multiband_fill: panorama.function("synoptic_multiband_fill")?,
            multiband_reduce: panorama.function("synoptic_multiband_reduce")?,
            multiband_add: panorama.function("synoptic_multiband_add")?,
            multiband_collapse: panorama.function("synoptic_multiband_collapse")?,
            multiband_write: panorama.function("synoptic_multiband_write")?,
        })
    }
}

/// Another name for another source, compiler or GPU.
fn cache_name(nvrtc: &Nvrtc, source: Source, target: &str) -> String {
    let (major, minor) = nvrtc.version();
    let hash = Sha256::digest(source.text.as_bytes());
    let short: String = hash[..8].iter().map(|b| format!("{b:02x}")).collect();
    let stem = source.file.trim_end_matches(".cu");
    format!("{stem}-{short}-nvrtc{major}.{minor}-{target}.cubin")
}

/// Written whole or not at all.
fn write(file: &Path, image: &[u8]) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    std::io::Write::write_all(&mut temporary, image)?;
    temporary.as_file().sync_all()?;
    temporary.persist(file)?;
    Ok(())
}
