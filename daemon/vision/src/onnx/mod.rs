//! ONNX detectors on the CPU, by one of two engines: `rten`, pure Rust and always there, or (cargo feature `ort`)
//! onnxruntime where its library is found, which is faster. They agree to 1e-5.
//!
//! A model is what its [`ModelManifest`] says. Its file is verified, loaded and tried once before the first
//! picture: a wrong hash, shape or decoder is refused there, with the reason.

mod decode;
mod engine;
#[cfg(any(feature = "ort", test))]
#[cfg_attr(not(feature = "ort"), allow(dead_code, reason = "tested in every build"))]
mod library;
mod nms;
#[cfg(feature = "ort")]
mod onnxruntime;
mod preprocess;
pub mod reference;
mod rten_engine;

use std::path::{Path, PathBuf};

use synoptic_base::{BBox, Detected, Detection, Detector, DetectorError, Picture};

use crate::color::{ColorError, Matrix, read};
use crate::fetch::{FetchError, check_bytes};
use crate::manifest::ModelManifest;
use decode::Candidate;
pub(crate) use engine::{Engine, Feed, Refusal, Wish, open};
pub use engine::{EngineChoice, EngineInfo};
pub(crate) use preprocess::{Fit, Sampler};

/// Threads at most: beyond, small models only get slower.
const MAX_THREADS: usize = 64;

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// The file cannot be read or is not the model's.
    #[error(transparent)]
    File(#[from] FetchError),
    /// The engine cannot read it.
    #[error("{}: the engine cannot load model {model}: {why}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// The model.
        model: String,
        /// What the engine says.
        why: String,
    },
    /// The engine asked for is not on this box.
    #[error("no onnxruntime for model {model}: {why}; engine = \"auto\" would take rten instead")]
    Engine {
        /// The model.
        model: String,
        /// What was looked for, and where.
        why: String,
    },
    /// Inputs or outputs are not what the manifest says.
    #[error("model {model} does not fit its manifest: {why}")]
    Shape {
        /// The model.
        model: String,
        /// What is there and what was expected.
        why: String,
    },
    /// A label to keep that the model does not have.
    #[error("model {model} has no label `{label}`; it has {known}")]
    Label {
        /// The model.
        model: String,
        /// The label asked for.
        label: String,
        /// The first of those there are.
        known: String,
    },
    /// A number out of range.
    #[error("{key} is {value}: it must be {range}")]
    Option {
        /// Name of the option.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        range: &'static str,
    },
}

/// How a model is used.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OnnxOptions {
    /// Threads, 1 to 64; `None`: half the cores, at least one.
    pub threads: Option<usize>,
    /// Detections below this score are dropped, 0 to 1; `None`: the manifest's.
    pub threshold: Option<f32>,
    /// Labels kept; empty: all.
    pub labels: Vec<String>,
    /// The engine that runs the model.
    pub engine: EngineChoice,
    /// The shared library of onnxruntime; `None`: ORT_DYLIB_PATH, then the usual folders.
    pub library: Option<PathBuf>,
}

/// A detector that runs an ONNX model.
pub struct OnnxDetector {
    manifest: ModelManifest,
    engine: Box<dyn Engine>,
    info: EngineInfo,
    /// Number of the picture's input.
    input: usize,
    threshold: f32,
    /// By class: whether it is kept.
    keep: Vec<bool>,
    matrix: Option<Matrix>,
    sampler: Sampler,
    tensor: Vec<f32>,
}

impl OnnxDetector {
    /// Verifies and loads the model in the file `path`, and tries it once.
    ///
    /// # Errors
    /// [`OnnxError`], with the reason for which the model is refused.
    pub fn load(
        path: &Path,
        manifest: ModelManifest,
        options: &OnnxOptions,
    ) -> Result<OnnxDetector, OnnxError> {
        let threshold = threshold(&manifest, options)?;
        let keep = keep(&manifest, &options.labels)?;
        let threads = threads(options)?;
        let data = std::fs::read(path).map_err(|error| FetchError::Io {
            what: "cannot read",
            path: path.to_owned(),
            error,
        })?;
        check_bytes(path, &manifest, &data)?;
        let wish = Wish {
            choice: options.engine,
            library: options.library.as_deref(),
            threads,
        };
        let (engine, info) = open(&wish, data).map_err(|refusal| match refusal {
            Refusal::Missing(why) => OnnxError::Engine {
                model: manifest.name.clone(),
                why,
            },
            Refusal::Model(why) => OnnxError::Load {
                path: path.to_owned(),
                model: manifest.name.clone(),
                why,
            },
        })?;
        let mut detector = OnnxDetector {
            input: input(&*engine, &manifest)?,
            engine,
            info,
            threshold,
            keep,
            matrix: None,
            sampler: Sampler::default(),
            tensor: vec![0.0; 3 * manifest.input.width * manifest.input.height],
            manifest,
        };
        // Says at once whether the outputs are the decoder's, and warms the caches.
        let mut found = Vec::new();
        detector.infer(&mut found).map_err(|why| OnnxError::Shape {
            model: detector.manifest.name.clone(),
            why,
        })?;
        Ok(detector)
    }

    /// Takes pictures as made with `matrix`; `None`, the default: guessed by their size.
    pub fn set_matrix(&mut self, matrix: Option<Matrix>) {
        self.matrix = matrix;
    }

    /// The model.
    pub fn manifest(&self) -> &ModelManifest {
        &self.manifest
    }

    /// The engine that runs it.
    pub fn engine(&self) -> &EngineInfo {
        &self.info
    }

    /// Runs the model on `tensor`.
    fn infer(&mut self, found: &mut Vec<Candidate>) -> Result<(), String> {
        let (manifest, threshold, keep) = (&self.manifest, self.threshold, &self.keep);
        let shape = [1, 3, manifest.input.height, manifest.input.width];
        self.engine.run(self.input, shape, &self.tensor, &mut |outputs| {
            decode::decode(manifest, outputs, threshold, keep, found)
        })
    }

    fn look(&mut self, picture: &Picture<'_>) -> Detected {
        let size = picture.surface.size();
        let matrix = self.matrix.unwrap_or(Matrix::guess(size));
        let fit = Fit::new(&self.manifest.input, size);
        read(picture.surface, |planes| {
            crate::picture::check(&planes, size)?;
            self.sampler.fill(
                &planes,
                size,
                matrix,
                &self.manifest.input,
                &fit,
                &mut self.tensor,
            );
            Ok::<(), ColorError>(())
        })
        .map_err(ColorError::from)
        .flatten()
        .map_err(|e| DetectorError::Picture {
            frame: picture.meta.key.to_string(),
            why: e.to_string(),
        })?;
        let mut found = Vec::new();
        self.infer(&mut found).map_err(|why| DetectorError::Engine {
            detector: self.manifest.name.clone(),
            why,
        })?;
        let kept = nms::suppress(found, self.manifest.nms_iou);
        Ok(kept
            .into_iter()
            .map(|c| self.detection(&c, &fit))
            .filter(|d| d.bbox.area() > 0.0)
            .collect())
    }

    fn detection(&self, found: &Candidate, fit: &Fit) -> Detection {
        let [left, top, right, bottom] = fit.to_picture(found.edges);
        Detection {
            bbox: BBox::from_edges(left, top, right, bottom).clamped(),
            label: self.manifest.labels[found.class].clone(),
            score: found.score,
        }
    }
}

impl Detector for OnnxDetector {
    fn name(&self) -> &str {
        &self.manifest.name
    }

    /// The models take one picture at a time.
    fn detect(&mut self, batch: &[Picture<'_>]) -> Vec<Detected> {
        batch.iter().map(|picture| self.look(picture)).collect()
    }
}

fn threshold(manifest: &ModelManifest, options: &OnnxOptions) -> Result<f32, OnnxError> {
    let threshold = options.threshold.unwrap_or(manifest.threshold);
    if !(0.0..=1.0).contains(&threshold) {
        return Err(OnnxError::Option {
            key: "threshold",
            value: threshold.to_string(),
            range: "between 0 and 1",
        });
    }
    Ok(threshold)
}

fn threads(options: &OnnxOptions) -> Result<usize, OnnxError> {
    let half = || std::thread::available_parallelism().map_or(1, |n| (n.get() / 2).max(1));
    let threads = options.threads.unwrap_or_else(half);
    if !(1..=MAX_THREADS).contains(&threads) {
        return Err(OnnxError::Option {
            key: "threads",
            value: threads.to_string(),
            range: "1 to 64",
        });
    }
    Ok(threads)
}

/// By class: whether it is among `labels`; without any, all are.
///
/// # Errors
/// [`OnnxError::Label`] for one that the model does not have.
pub fn keep(manifest: &ModelManifest, labels: &[String]) -> Result<Vec<bool>, OnnxError> {
    if let Some(label) = labels.iter().find(|l| !manifest.labels.contains(l)) {
        let some: Vec<_> = manifest.labels.iter().take(12).map(String::as_str).collect();
        let more = if manifest.labels.len() > some.len() {
            ", ..."
        } else {
            ""
        };
        return Err(OnnxError::Label {
            model: manifest.name.clone(),
            label: label.clone(),
            known: some.join(", ") + more,
        });
    }
    Ok(manifest
        .labels
        .iter()
        .map(|l| labels.is_empty() || labels.contains(l))
        .collect())
}

/// Number of the picture's input. Some exporters list the weights as inputs too: the picture's is the one of its
/// shape.
fn input(engine: &dyn Engine, manifest: &ModelManifest) -> Result<usize, OnnxError> {
    let want = [1, 3, manifest.input.height, manifest.input.width];
    let fits = |shape: &Vec<Option<usize>>| {
        let same = |(have, want): (&Option<usize>, usize)| have.is_none_or(|have| have == want);
        shape.len() == want.len() && shape.iter().zip(want).all(same)
    };
    let shapes = engine.inputs();
    shapes.iter().position(fits).ok_or_else(|| {
        let side = |n: &Option<usize>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
        let shape = |s: &Vec<_>| format!("[{}]", s.iter().map(side).collect::<Vec<_>>().join(", "));
        let some: Vec<_> = shapes.iter().take(3).map(shape).collect();
        OnnxError::Shape {
            model: manifest.name.clone(),
            why: format!(
                "no input of shape {want:?} (1, 3, input.height, input.width); there are {}",
                some.join(", ")
            ),
        }
    })
}
