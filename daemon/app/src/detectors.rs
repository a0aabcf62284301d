//! Detectors by their configuration.

use std::path::PathBuf;

use anyhow::{Context, Result};
use synoptic_base::{Detection, Detector, DetectorError, Picture};
use synoptic_vision::fetch;
use synoptic_vision::motion::MotionDetector;
use synoptic_vision::onnx::{OnnxDetector, OnnxOptions};

use crate::config::{DetectorConfig, DetectorKind};
use crate::models;

/// Makes a detector ready to look. `model_dirs` are searched for manifests and models.
pub fn build(config: &DetectorConfig, model_dirs: &[PathBuf]) -> Result<Box<dyn Detector>> {
    match &config.kind {
        DetectorKind::Motion => Ok(Box::new(Named {
            name: config.name.clone(),
            labels: config.labels.clone(),
            inner: Box::new(MotionDetector::new(config.threshold)),
        })),
        DetectorKind::Onnx { model, threads } => {
            let manifest = models::find(model_dirs, model)?;
            let file = fetch::locate(model_dirs, &manifest).with_context(|| {
                format!("the file of model {model} is not on this box: run `synoptic models fetch {model}`")
            })?;
            let (threads, threshold) = (*threads, config.threshold);
            let options = OnnxOptions {
                threads,
                threshold,
                labels: config.labels.clone(),
            };
            let inner = OnnxDetector::load(&file, manifest, &options)?;
            Ok(Box::new(Named {
                name: config.name.clone(),
                labels: Vec::new(),
                inner: Box::new(inner),
            }))
        }
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

    fn detect(&mut self, batch: &[Picture<'_>]) -> Result<Vec<Vec<Detection>>, DetectorError> {
        let mut found = self.inner.detect(batch)?;
        if !self.labels.is_empty() {
            for detections in &mut found {
                detections.retain(|d| self.labels.contains(&d.label));
            }
        }
        Ok(found)
    }
}
