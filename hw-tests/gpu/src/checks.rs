//! Every kernel against its CPU reference in `synoptic-vision`.

mod decode;
mod inference;
mod panorama;
mod preprocess;
pub(crate) mod tensorrt;

use std::path::Path;

use synoptic_gpu::Kernels;
use synoptic_gpu::cuda::{Gpu, Stream};

use crate::report::Check;
pub(crate) use decode::{decoding, shipped};
pub(crate) use preprocess::{device_fit, device_input};

/// What a check works with.
pub(crate) struct Bench<'a> {
    /// The GPU.
    pub(crate) gpu: &'a Gpu,
    /// Its kernels.
    pub(crate) kernels: &'a Kernels,
    /// Where work is queued.
    pub(crate) stream: &'a Stream,
    /// Folder of manifests (`configs/models`), models (`NAME/FILE.onnx`) and stills, if any.
    pub(crate) models: Option<&'a Path>,
    /// Folder of pictures (`*.jpg`), if any.
    pub(crate) pictures: Option<&'a Path>,
    /// Small sizes only: the emulation computes one thread after the other.
    pub(crate) quick: bool,
}

/// All of them.
pub(crate) fn all(bench: &Bench<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    checks.extend(preprocess::all(bench));
    checks.extend(decode::all(bench));
    checks.extend(panorama::all(bench));
    checks.extend(inference::all(bench));
    checks
}

/// The largest difference; infinite where one is NaN or the lengths differ.
pub(crate) fn worst(have: &[f32], want: &[f32]) -> f64 {
    if have.len() != want.len() {
        return f64::INFINITY;
    }
    have.iter().zip(want).fold(0.0, |worst, (a, b)| {
        let d = f64::from((a - b).abs());
        if d.is_nan() { f64::INFINITY } else { worst.max(d) }
    })
}

/// Stills to look at: `(name, picture)`; empty, when there are none.
pub(crate) fn stills(bench: &Bench<'_>) -> Vec<(String, synoptic_vision::PictureBuf)> {
    let Some(folder) = bench.pictures else {
        return Vec::new();
    };
    // One folder further down, too: that is how the project's stills lie.
    let list = |folder: &Path| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|e| e.path()).collect()
    };
    let mut files = list(folder);
    for below in files.clone().into_iter().filter(|p| p.is_dir()) {
        files.extend(list(&below));
    }
    files.sort();
    let jpegs = files.iter().filter(|p| p.extension().is_some_and(|e| e == "jpg"));
    jpegs
        .filter_map(|path| {
            let picture = synoptic_vision::jpeg::decode(&std::fs::read(path).ok()?).ok()?;
            Some((path.file_name()?.to_string_lossy().into_owned(), picture))
        })
        .take(if bench.quick { 2 } else { 8 })
        .collect()
}
