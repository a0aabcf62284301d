//! Detectors by their configuration.

use std::path::PathBuf;

use anyhow::{Context, Result};
use synoptic_base::{Detected, Detector, Picture, StreamId};
use synoptic_engine::track::TrackConfig;
use synoptic_vision::fetch;
use synoptic_vision::motion::{self, MotionDetector};
use synoptic_vision::onnx::{EngineInfo, OnnxDetector, OnnxOptions};

use crate::config::{DetectorConfig, DetectorKind};
use crate::models;

/// A detector ready to look.
pub struct Built {
    /// The detector, under the name it has in the configuration.
    pub detector: Box<dyn Detector>,
    /// What runs its model, for people; `None`: it has no model.
    pub engine: Option<String>,
    /// The score from which its detections are believed, 0 to 1.
    pub threshold: f32,
}

/// Makes a detector ready to look. `model_dirs` are searched for manifests and models.
pub fn build(config: &DetectorConfig, model_dirs: &[PathBuf]) -> Result<Built> {
    let (inner, threshold, engine): (Box<dyn Detector>, f32, _) = match &config.kind {
        DetectorKind::Motion => (
            Box::new(MotionDetector::new(config.threshold)),
            config.threshold.unwrap_or(motion::DEFAULT_THRESHOLD),
            None,
        ),
        DetectorKind::Onnx {
            model,
            threads,
            engine,
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
            let detector = OnnxDetector::load(&file, manifest, &options)?;
            let engine = describe(detector.engine());
            log::info!("detector {}: model {model} runs on {engine}", config.name);
            (Box::new(detector), threshold, Some(engine))
        }
    };
    Ok(Built {
        detector: Box::new(Named {
            name: config.name.clone(),
            labels: config.labels.clone(),
            inner,
        }),
        engine,
        threshold,
    })
}

/// The score down to which a model's detections go to the tracker: those below `threshold` begin nothing, but keep a
/// known track that is half hidden (ByteTrack's second round).
fn floor(threshold: f32) -> f32 {
    TrackConfig::for_threshold(threshold).low_score
}

/// The engine, and why it is not onnxruntime.
fn describe(engine: &EngineInfo) -> String {
    match &engine.fallback {
        Some(why) => format!("{engine}, not onnxruntime: {why}"),
        None => engine.to_string(),
    }
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
