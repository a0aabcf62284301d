//! Detectors by their configuration.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use synoptic_base::{Detected, Detector, Picture, StreamId};
use synoptic_engine::track::TrackConfig;
use synoptic_gpu::trt::Precision;
use synoptic_vision::fetch;
use synoptic_vision::motion::{self, MotionDetector};
use synoptic_vision::onnx::{self, EngineChoice, OnnxDetector, OnnxError, OnnxOptions};

use crate::config::{DetectorConfig, DetectorKind, TensorRtWish};
use crate::inference::switch::{LoadCpu, Switching};
use crate::inference::{EnginePhase, EngineRoom, EngineState, ModelSpec, Tell, Wish};
use crate::models;

/// A detector ready to look.
pub struct Built {
    /// The detector, under the name it has in the configuration.
    pub detector: Box<dyn Detector>,
    /// The score from which its detections are believed, 0 to 1.
    pub threshold: f32,
}

/// Makes a detector ready to look. `model_dirs` are searched for manifests and models; `tell` hears what runs its model,
/// at once and at every change.
///
/// # Errors
/// When the model is not there, cannot be loaded, or does not have a label that is asked for.
pub fn build(
    config: &DetectorConfig,
    model_dirs: &[PathBuf],
    room: &Arc<EngineRoom>,
    tell: Tell,
) -> Result<Built> {
    let (inner, threshold): (Box<dyn Detector>, f32) = match &config.kind {
        DetectorKind::Motion => (
            Box::new(MotionDetector::new(config.threshold)),
            config.threshold.unwrap_or(motion::DEFAULT_THRESHOLD),
        ),
        DetectorKind::Onnx {
            model,
            threads,
            engine,
            tensorrt,
            library,
        } => {
            let manifest = models::find(model_dirs, model)?;
            let file = fetch::locate(model_dirs, &manifest).with_context(|| {
                format!("the file of model {model} is not on this box: run `synoptic models fetch {model}`")
            })?;
            let threshold = config.threshold.unwrap_or(manifest.threshold);
            let options = OnnxOptions {
                threads: *threads,
                threshold: Some(floor(threshold)),
                labels: config.labels.clone(),
                engine: *engine,
                library: library.clone(),
            };
            let spec = ModelSpec {
                keep: onnx::keep(&manifest, &config.labels)?,
                manifest,
                onnx: file,
                dirs: model_dirs.to_vec(),
                precision: tensorrt.map_or(Precision::Model, |t| t.precision),
                device: tensorrt.map_or(0, |t| t.device),
                threshold: floor(threshold),
            };
            let detector = on_engine(spec, options, *tensorrt, room, tell)?;
            (detector, threshold)
        }
    };
    Ok(Built {
        detector: Box::new(Named {
            name: config.name.clone(),
            labels: config.labels.clone(),
            inner,
        }),
        threshold,
    })
}

/// A model on the CPU, or on the way to the GPU.
fn on_engine(
    spec: ModelSpec,
    options: OnnxOptions,
    tensorrt: Option<TensorRtWish>,
    room: &Arc<EngineRoom>,
    tell: Tell,
) -> Result<Box<dyn Detector>> {
    let wanted = match options.engine {
        EngineChoice::Auto => "onnx-cpu",
        EngineChoice::Rten => "rten",
        EngineChoice::OnnxRuntime => "onnxruntime",
    };
    let (manifest, file) = (spec.manifest.clone(), spec.onnx.clone());
    let load = move || {
        let detector = OnnxDetector::load(&file, manifest.clone(), &options)?;
        let engine = detector.engine().clone();
        Ok::<_, OnnxError>((Box::new(detector) as Box<dyn Detector>, engine))
    };
    let Some(wish) = tensorrt else {
        let (detector, engine) = load()?;
        log::info!("model {}: runs on {engine}", spec.manifest.name);
        tell(&EngineState {
            wanted,
            phase: EnginePhase::AsWanted,
            running: Some(engine.to_string()),
            reason: engine.fallback.map(|why| format!("not onnxruntime: {why}")),
        });
        return Ok(detector);
    };
    let load: LoadCpu = Box::new(move || {
        let loaded = load().map_err(|e| e.to_string())?;
        Ok((loaded.0, loaded.1.to_string()))
    });
    let request = Wish {
        room: room.clone(),
        spec,
        must: wish.must,
        tell,
    };
    let detector = Switching::start(request, wish.on_cpu_meanwhile.then_some(load));
    Ok(Box::new(detector.map_err(|e| anyhow!(e))?))
}

/// The score down to which a model's detections go to the tracker: those below `threshold` begin nothing, but keep a
/// known track that is half hidden (ByteTrack's second round).
fn floor(threshold: f32) -> f32 {
    TrackConfig::for_threshold(threshold).low_score
}

/// A detector under the name it has in the configuration.
struct Named {
    name: String,
    /// Labels kept; empty: all.
    labels: Vec<String>,
    inner: Box<dyn Detector>,
}

impl Detector for Named {
    fn name(&self) -> &str {
        &self.name
    }

    fn forget(&mut self, stream: &StreamId) {
        self.inner.forget(stream);
    }

    fn detect(&mut self, batch: &[Picture<'_>]) -> Vec<Detected> {
        let mut found = self.inner.detect(batch);
        if !self.labels.is_empty() {
            for detections in found.iter_mut().flatten() {
                detections.retain(|d| self.labels.contains(&d.label));
            }
        }
        found
    }
}
