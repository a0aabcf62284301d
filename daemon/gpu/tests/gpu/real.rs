//! The real NVRTC and the real TensorRT-RTX, where `scripts/test-tensorrt.sh` put them. Neither needs a GPU for this.

use std::path::{Path, PathBuf};

use synoptic_gpu::SOURCES;
use synoptic_gpu::cuda::Cuda;
use synoptic_gpu::nvrtc::Nvrtc;
use synoptic_gpu::trt::{BuildOptions, TensorRt};

/// The file of an environment variable; `None`, said aloud, without it.
fn given(variable: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).map(PathBuf::from);
    if found.is_none() {
        eprintln!("SKIPPED: {variable} names no library: scripts/test-tensorrt.sh brings one");
    }
    found
}

#[test]
fn every_kernel_compiles_by_nvrtc_for_orin_and_hopper() {
    if given("SYNOPTIC_LIBNVRTC").is_none() {
        return;
    }
    let nvrtc = Nvrtc::load().unwrap();
    eprintln!("NVRTC {:?}", nvrtc.version());
    for target in ["sm_87", "sm_90"] {
        for source in SOURCES {
            let cubin = nvrtc.cubin(source, target).unwrap();
            assert!(cubin.starts_with(b"\x7fELF"), "{} for {target}", source.file);
        }
    }
    let error = nvrtc.cubin(
        synoptic_gpu::nvrtc::Source {
            file: "broken.cu",
            text: "__global__ void f() { nonsense }",
        },
        "sm_87",
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("broken.cu") && error.contains("nonsense"),
        "{error}"
    );
}

#[test]
fn tensorrt_rtx_builds_plans_of_the_shipped_models_and_stops_cleanly_without_a_driver() {
    let Some(library) = given("SYNOPTIC_TENSORRT") else {
        return;
    };
    let trt = TensorRt::load_file(&library).unwrap();
    eprintln!("{} in {}", trt.version(), library.display());
    assert!(trt.builds());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let models = std::env::var_os("SYNOPTIC_MIRROR")
        .map(PathBuf::from)
        .into_iter()
        .chain(["../shared", "../../shared"].map(|p| root.join(p)))
        .map(|p| p.join("models"))
        .find(|p| p.is_dir());
    let error = trt
        .build(None, b"no model at all", &BuildOptions::default())
        .err()
        .unwrap();
    assert!(error.to_string().contains("parse the model"), "{error}");
    let Some(models) = models else {
        eprintln!("SKIPPED: no models: set SYNOPTIC_MIRROR to a folder that has them");
        return;
    };
    for (file, side) in [
        ("fastestdet/FastestDet.onnx", 352),
        ("yolox-nano/yolox_nano.onnx", 416),
        ("nanodet-m/nanodet_m_416.onnx", 416),
    ] {
        let onnx = std::fs::read(models.join(file)).unwrap();
        let plan = trt.build(None, &onnx, &BuildOptions::default()).unwrap();
        eprintln!(
            "{file}: {} layers, a plan of {} bytes, inputs {:?}",
            plan.layers,
            plan.bytes.len(),
            plan.inputs
        );
        assert!(plan.layers > 100 && plan.bytes.len() > 1 << 20);
        assert!(
            plan.inputs
                .iter()
                .any(|(_, shape)| shape[..] == [1, 3, side, side]),
            "{:?}",
            plan.inputs
        );
    }
    if let Err(error) = Cuda::load() {
        eprintln!("no driver, as here: {error}");
    }
}
