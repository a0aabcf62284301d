//! Detectors: `[[detector]]`.

use std::path::PathBuf;

use synoptic_gpu::trt::Precision;
use synoptic_vision::onnx::EngineChoice;

use super::belongs_elsewhere;
use crate::config::raw;
use crate::config::reader::Section;
use crate::config::resolved::{DetectorConfig, DetectorKind, TensorRtWish};

/// More threads than any box of this class has cores.
const MAX_THREADS: i64 = 256;
/// More GPUs than any machine has.
const MAX_DEVICE: i64 = 63;
/// Fewer looks than one in so many frames are better said by `detect_max_fps`.
const MAX_EVERY: i64 = 100;

pub(super) struct Detectors {
    /// Those without an error.
    pub(super) list: Vec<DetectorConfig>,
    /// All names, also of those with an error, so that a camera that refers to one is not blamed.
    pub(super) names: Vec<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Motion,
    Onnx,
}

pub(super) fn detectors(root: &Section<'_, '_>) -> Detectors {
    let mut all = Detectors {
        list: Vec::new(),
        names: Vec::new(),
    };
    for section in root.sections("detector") {
        let detector = detector(&section, &mut all.names);
        section.finish(belongs_elsewhere);
        all.list.extend(detector);
    }
    if !all.names.iter().any(|n| n == raw::MOTION) {
        all.names.insert(0, raw::MOTION.to_owned());
        let motion = DetectorConfig {
            name: raw::MOTION.to_owned(),
            kind: DetectorKind::Motion,
            threshold: None,
            labels: Vec::new(),
            every: 1,
            gated: false,
        };
        all.list.insert(0, motion);
    }
    all
}

fn detector(section: &Section<'_, '_>, names: &mut Vec<String>) -> Option<DetectorConfig> {
    let reader = section.reader;
    let name = section.id("name");
    let name = section.need("name", name, "\"people\"");
    let kinds = [("motion", Kind::Motion), ("onnx", Kind::Onnx)];
    let kind = section.choice("kind", &kinds);
    let kind = section.need("kind", kind, "\"onnx\"");
    let model = section.filled("model");
    let threshold = section.number("threshold", 0.0..=1.0);
    let labels = section.texts("labels");
    let threads = section.integer("threads", 1..=MAX_THREADS);
    // On the CPU, and whether TensorRT is to run it: if it can, or by name.
    let engines = [
        ("auto", (EngineChoice::Auto, Some(false))),
        ("tensorrt", (EngineChoice::Auto, Some(true))),
        ("onnx-cpu", (EngineChoice::Auto, None)),
        ("rten", (EngineChoice::Rten, None)),
        ("onnxruntime", (EngineChoice::OnnxRuntime, None)),
    ];
    let engine = section.choice("engine", &engines);
    let (on_cpu, on_gpu) = engine.as_ref().map_or(engines[0].1, |e| e.value);
    let precisions = [
        ("fp32", Precision::Model),
        ("fp16", Precision::Half),
        ("int8", Precision::Int8),
    ];
    let precision = section.choice("precision", &precisions);
    let device = section.integer("device", 0..=MAX_DEVICE);
    let fallback = section.choice("fallback", &[("cpu", true), ("off", false)]);
    let every = section.integer("every", 1..=MAX_EVERY);
    let gate = section.choice("gate", &[("off", false), ("motion", true)]);
    if on_gpu.is_none() {
        for key in ["precision", "device", "fallback"] {
            section.out_of_place(key, "is for engine = \"tensorrt\" or \"auto\"");
        }
    } else if on_gpu == Some(false) && fallback.as_ref().is_some_and(|f| !f.value) {
        section.out_of_place(
            "fallback",
            "= \"off\" is for engine = \"tensorrt\": `auto` takes the CPU",
        );
    }
    let library = section.filled("library");
    if let Some(library) = &library
        && on_cpu == EngineChoice::Rten
    {
        let message = "engine = \"rten\" needs no library";
        reader.error_at(library, message, "remove the line, or choose another engine");
    }

    if let Some(name) = &name {
        let text = name.value.as_str();
        if text == raw::NO_DETECTOR {
            let message = "`none` means that no detector looks at a camera";
            reader.error_at(name, message, "choose another name");
        } else if names.iter().any(|n| n == text) {
            let message = format!("two detectors are named `{text}`");
            reader.error_at(name, message, "give one of them another name");
        } else if text == raw::MOTION && kind.as_ref().is_some_and(|k| k.value != Kind::Motion) {
            let message = "the name `motion` is that of the built-in motion detector";
            reader.error_at(name, message, "choose another name, or kind = \"motion\"");
        }
        names.push(text.to_owned());
    } else if let Some(text) = section.find("name").and_then(|f| f.value.as_str()) {
        names.push(text.to_owned());
    }
    if let Some(model) = &model {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if !model.value.bytes().all(plain) || model.value.starts_with('.') {
            let message = format!("`{}` is no name of a model", model.value);
            let hint = "use the name that `synoptic models list` shows, without folder and ending";
            reader.error_at(model, message, hint);
        }
    }
    let kind = match kind?.value {
        Kind::Motion => {
            for key in [
                "model",
                "threads",
                "engine",
                "library",
                "precision",
                "device",
                "fallback",
                "gate",
            ] {
                section.out_of_place(key, "is for kind = \"onnx\"");
            }
            if let (Some([_, ..]), Some(place)) = (labels.as_deref(), section.find("labels")) {
                let message = "a motion detector knows no labels but `motion`";
                reader.warn_at(&place, message, "remove the line");
            }
            DetectorKind::Motion
        }
        Kind::Onnx => {
            let model = section.need("model", model, "\"NAME\"; `synoptic models list` shows the names")?;
            DetectorKind::Onnx {
                model: model.value.to_owned(),
                threads: threads.and_then(|t| usize::try_from(t.value).ok()),
                engine: on_cpu,
                tensorrt: on_gpu.map(|must| TensorRtWish {
                    must,
                    precision: precision.map_or(Precision::Model, |p| p.value),
                    device: device.map_or(0, |d| d.value as usize),
                    on_cpu_meanwhile: fallback.is_none_or(|f| f.value),
                }),
                library: library.map(|l| PathBuf::from(l.value)),
            }
        }
    };
    Some(DetectorConfig {
        name: name?.value.to_string(),
        kind,
        threshold: threshold.map(|t| t.value as f32),
        labels: labels.into_iter().flatten().map(|l| l.value.to_owned()).collect(),
        every: every.map_or(1, |e| e.value as u32),
        gated: gate.is_some_and(|g| g.value),
    })
}
