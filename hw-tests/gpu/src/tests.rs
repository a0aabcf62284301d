//! The same checks on the emulated GPU: arithmetic, indices and barriers, without a GPU.
#![allow(clippy::unwrap_used)]

use synoptic_gpu::Kernels;
use synoptic_gpu::cuda::{Cuda, Stream};

use crate::checks::{self, Bench};
use crate::report::Verdict;

#[path = "../../../daemon/gpu/emulate/mod.rs"]
mod emulate;

#[test]
fn every_kernel_agrees_with_its_reference_on_the_emulated_gpu() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = emulate::build("libcuda.cpp", &[], folder.path()) else {
        return;
    };
    let gpu = Cuda::load_file(&library).unwrap().open(0).unwrap();
    let kernels = Kernels::from_images(&gpu, |_| Ok(b"emulated".to_vec())).unwrap();
    let stream = Stream::new(&gpu).unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared = ["../shared", "../../shared"].map(|p| root.join(p));
    let shared = shared.iter().find(|p| p.join("models").is_dir());
    let (models, pictures) = (
        shared.map(|s| s.join("models")),
        shared.map(|s| s.join("data/stills")),
    );
    let checks = checks::all(&Bench {
        gpu: &gpu,
        kernels: &kernels,
        stream: &stream,
        models: models.as_deref(),
        pictures: pictures.as_deref(),
        quick: true,
    });
    assert!(checks.len() > 15, "{} checks", checks.len());
    for check in &checks {
        eprintln!(
            "{:?} {}: {:e} ({:e} {}), {}",
            check.verdict, check.name, check.worst, check.tolerance, check.unit, check.note
        );
    }
    let failed: Vec<_> = checks.iter().filter(|c| c.verdict == Verdict::Failed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}
