//! Detectors by their configuration.

use std::path::PathBuf;

use anyhow::{Context, Result};
use synoptic_base::{Detection, Detector, DetectorError, Picture, StreamId};
use synoptic_vision::fetch;
use synoptic_vision::motion::{self, MotionDetector};
use synoptic_vision::onnx::{OnnxDetector, OnnxOptions};

use crate::config::{DetectorConfig, DetectorKind};
use crate::models;

/// A detector ready to look.
pub struct Built {
    /// The detector, under the name it has in the configuration.
    pub detector: Box<dyn Detector>,
    /// The score from which its detections are believed, 0 to 1.
    pub threshold: f32,
}

/// Makes a detector ready to look. `model_dirs` are searched for manifests and models.
pub fn build(config: &DetectorConfig, model_dirs: &[PathBuf]) -> Result<Built> {
    let (inner, threshold): (Box<dyn Detector>, f32) = match &config.kind {
        DetectorKind::Motion => (
            Box::new(MotionDetector::new(config.threshold)),
            config.threshold.unwrap_or(motion::DEFAULT_THRESHOLD),
        ),
        DetectorKind::Onnx { model, threads } => {
            let manifest = models::find(model_dirs, model)?;
            let file = fetch::locate(model_dirs, &manifest).with_context(|| {
                format!("the file of model {model} is not on this box: run `synoptic models fetch {model}`")
            })?;
            let threshold = config.threshold.unwrap_or(manifest.threshold);
            let options = OnnxOptions {
                threads: *threads,
                threshold: config.threshold,
                labels: config.labels.clone(),
            };
            (
                Box::new(OnnxDetector::load(&file, manifest, &options)?),
                threshold,
            )
        }
    };
    let labels = config.labels.clone();
    Ok(Built {
        detector: Box::new(Named {
            name: config.name.clone(),
            labels,
            inner,
        }),
        threshold,
    })
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
