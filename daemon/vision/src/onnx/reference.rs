//! The steps of detection one by one: what other backends are held to.

use std::path::Path;

use synoptic_base::{Size, Surface};

use super::decode::{self, Output};
use super::engine::Engine;
use super::nms;
use super::preprocess::{Fit, Sampler};
use super::rten_engine::RtenEngine;
use crate::color::{ColorError, Matrix, read};
use crate::manifest::{Input, ModelManifest};

/// Where a picture of `size` lies in `input`, in pixels of the input: left, top, width, height.
pub fn placement(input: &Input, size: Size) -> [usize; 4] {
    Fit::new(input, size).place()
}

/// The tensor of `picture`: 3 planes of `input.height` x `input.width`.
///
/// # Errors
/// [`ColorError`] when its pixels cannot be read.
pub fn tensor(picture: &dyn Surface, input: &Input) -> Result<Vec<f32>, ColorError> {
    let size = picture.size();
    let mut tensor = vec![0.0; 3 * input.width * input.height];
    read(picture, |planes| {
        crate::picture::check(&planes, size)?;
        let fit = Fit::new(input, size);
        Sampler::default().fill(&planes, size, Matrix::guess(size), input, &fit, &mut tensor);
        Ok::<(), ColorError>(())
    })??;
    Ok(tensor)
}

/// Shape and values of an output.
pub type RawOutput = (Vec<usize>, Vec<f32>);

/// A box in pixels of the input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RawBox {
    /// Index of its class.
    pub class: usize,
    /// 0 to 1.
    pub score: f32,
    /// Left, top, right, bottom.
    pub edges: [f32; 4],
}

/// The boxes in `outputs` (shape and values of each) of at least `threshold` whose class is in `keep`, after
/// suppression, best first.
///
/// # Errors
/// When the outputs are not those of the manifest's decoder.
pub fn boxes(
    manifest: &ModelManifest,
    outputs: &[RawOutput],
    threshold: f32,
    keep: &[bool],
) -> Result<Vec<RawBox>, String> {
    let outputs: Vec<_> = outputs
        .iter()
        .map(|(shape, data)| Output { shape, data })
        .collect();
    let mut found = Vec::new();
    decode::decode(manifest, &outputs, threshold, keep, &mut found)?;
    let kept = nms::suppress(found, manifest.nms_iou).into_iter();
    Ok(kept
        .map(|c| RawBox {
            class: c.class,
            score: c.score,
            edges: c.edges,
        })
        .collect())
}

/// A model in rten with nothing around it: what a detector's overhead is measured against.
pub struct Bare {
    engine: RtenEngine,
    input: usize,
    shape: [usize; 4],
}

impl Bare {
    /// Loads the model in the file `path`, for so many threads.
    ///
    /// # Errors
    /// When the model cannot be read.
    pub fn load(path: &Path, manifest: &ModelManifest, threads: usize) -> Result<Bare, String> {
        let data = std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let engine = RtenEngine::load(data, threads)?;
        Ok(Bare {
            input: super::input(&engine, manifest).map_err(|e| e.to_string())?,
            shape: [1, 3, manifest.input.height, manifest.input.width],
            engine,
        })
    }

    /// Runs it once on `tensor` and drops what comes out.
    ///
    /// # Errors
    /// When the model cannot be run.
    pub fn run(&mut self, tensor: &[f32]) -> Result<(), String> {
        self.engine.run(self.input, self.shape, tensor, &mut |_| Ok(()))
    }
}

/// Outputs (shape and values of each, in the model's order) of the model in the file `path` for `tensor`, by rten.
///
/// # Errors
/// When the model cannot be read or run.
pub fn infer(path: &Path, manifest: &ModelManifest, tensor: &[f32]) -> Result<Vec<RawOutput>, String> {
    let data = std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let mut engine = RtenEngine::load(data, 1)?;
    let input = super::input(&engine, manifest).map_err(|e| e.to_string())?;
    let shape = [1, 3, manifest.input.height, manifest.input.width];
    let mut found = Vec::new();
    engine.run(input, shape, tensor, &mut |outputs| {
        found = outputs
            .iter()
            .map(|o| (o.shape.to_vec(), o.data.to_vec()))
            .collect();
        Ok(())
    })?;
    Ok(found)
}
