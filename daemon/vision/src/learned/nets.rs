//! The networks at work: two pictures of one instant in, control meshes out.

use std::path::PathBuf;

use synoptic_base::{Size, Surface};

use super::model::{self, Networks, StitchModelError, StitchOptions};
use super::window::Window;
use super::{ControlMesh, POINTS};
use crate::color::{Matrix, read};
use crate::manifest::{Input, Layout, Order, Resize};
use crate::onnx::{EngineInfo, Fit, Sampler};

/// Weights of blue, green and red in luma (ITU-R BT.601).
const LUMA: [f32; 3] = [0.114, 0.587, 0.299];

/// Why a frame was not understood.
#[derive(Debug, thiserror::Error)]
pub enum StitchNetError {
    /// The model.
    #[error(transparent)]
    Model(#[from] StitchModelError),
    /// A picture cannot be read.
    #[error("the picture of camera {camera} cannot be read: {why}")]
    Picture {
        /// Number of the camera, 0 or 1.
        camera: usize,
        /// What is wrong.
        why: String,
    },
    /// The networks answered with what is no number, or bent a mesh beyond any spline.
    #[error("the networks' answer is no mesh; the window begins anew")]
    Answer,
}

/// The three networks and their window.
pub struct OnlineStitch {
    networks: Networks,
    window: Window,
    input: Input,
    sampler: Sampler,
    pictures: [Vec<f32>; 2],
    lumas: [Vec<f32>; 2],
    /// Features of each camera's last picture.
    previous: [Option<Vec<f32>>; 2],
}

impl OnlineStitch {
    /// Loads the stitching model of the first of `dirs` that has one, verifies and tries it.
    ///
    /// # Errors
    /// [`StitchModelError`] with the reason and what to do.
    pub fn load(dirs: &[PathBuf], options: StitchOptions) -> Result<OnlineStitch, StitchModelError> {
        let networks = model::open_in(dirs, options)?;
        let (width, height) = (networks.model.width, networks.model.height);
        let pixels = width * height;
        Ok(OnlineStitch {
            window: Window::new(width, height),
            input: Input {
                width,
                height,
                order: Order::Bgr,
                layout: Layout::Nchw,
                resize: Resize::Stretch,
                pad: 0,
                scale: 1.0 / 127.5,
                mean: [1.0; 3],
                std: [1.0; 3],
            },
            sampler: Sampler::default(),
            pictures: [0, 1].map(|_| vec![0.0; 3 * pixels]),
            lumas: [0, 1].map(|_| vec![0.0; pixels]),
            previous: [None, None],
            networks,
        })
    }

    /// The engine in use.
    pub fn engine(&self) -> &EngineInfo {
        &self.networks.engine
    }

    /// Columns and rows of the networks' pictures.
    pub fn input(&self) -> [usize; 2] {
        [self.input.width, self.input.height]
    }

    /// Luma of the newest picture of `camera` as the networks saw it, 0 to 255.
    pub fn luma(&self, camera: usize) -> &[f32] {
        &self.lumas[camera]
    }

    /// Begins anew, as after a gap.
    pub fn clear(&mut self) {
        self.window.clear();
        self.previous = [None, None];
    }

    /// Takes in the pictures of one instant, the reference's first. Returns the meshes to show them by, once seven
    /// instants are known.
    ///
    /// # Errors
    /// [`StitchNetError`]; the next pictures may do.
    pub fn push(&mut self, pictures: [&dyn Surface; 2]) -> Result<Option<[ControlMesh; 2]>, StitchNetError> {
        for (camera, picture) in pictures.into_iter().enumerate() {
            self.fill(camera, picture)?;
        }
        self.understand()
    }

    /// Samples a picture into its tensor.
    fn fill(&mut self, camera: usize, picture: &dyn Surface) -> Result<(), StitchNetError> {
        let size: Size = picture.size();
        let fit = Fit::new(&self.input, size);
        let tensor = &mut self.pictures[camera];
        let filled = read(picture, |planes| {
            crate::picture::check(&planes, size)?;
            self.sampler
                .fill(&planes, size, Matrix::guess(size), &self.input, &fit, tensor);
            Ok::<(), crate::color::ColorError>(())
        });
        let filled = filled.map_err(crate::color::ColorError::from).flatten();
        filled.map_err(|error| StitchNetError::Picture {
            camera,
            why: error.to_string(),
        })
    }

    /// Runs the networks on the tensors as they are.
    pub(super) fn understand(&mut self) -> Result<Option<[ControlMesh; 2]>, StitchNetError> {
        let pixels = self.input.width * self.input.height;
        for (luma, tensor) in self.lumas.iter_mut().zip(&self.pictures) {
            let (blue, rest) = tensor.split_at(pixels);
            let (green, red) = rest.split_at(pixels);
            for (luma, ((b, g), r)) in luma.iter_mut().zip(blue.iter().zip(green).zip(red)) {
                *luma = (LUMA[0] * b + LUMA[1] * g + LUMA[2] * r) * 127.5 + 127.5;
            }
        }
        let networks = &mut self.networks;
        let [reference, target] = &self.pictures;
        let meshes = networks.spatial.run(&[reference, target])?;
        let mut motions = Vec::new();
        for (picture, previous) in self.pictures.iter().zip(&mut self.previous) {
            let known = previous.is_some();
            let model = &networks.model;
            let kept = previous
                .take()
                .unwrap_or_else(|| vec![0.0; model.channels * (model.width / 8) * (model.height / 8)]);
            let mut answer = networks.temporal.run(&[picture, &kept])?;
            *previous = answer.pop();
            // Against no picture there is no motion.
            motions.push(if known {
                mesh(&answer[0])
            } else {
                [[0.0; 2]; POINTS]
            });
        }
        let both = [mesh(&meshes[0]), mesh(&meshes[1])];
        if !self.window.push(both, [motions[0], motions[1]]) {
            self.clear();
            return Err(StitchNetError::Answer);
        }
        if !self.window.is_full() {
            return Ok(None);
        }
        let [first, second] = [0, 1].map(|k| self.window.inputs(k));
        let deltas = self
            .networks
            .smooth
            .run(&[&first[0], &first[1], &second[0], &second[1]])?;
        let shown = [0, 1].map(|k| self.window.smoothed(k, &mesh(&deltas[k])));
        match shown {
            [Some(a), Some(b)] if a.iter().chain(&b).flatten().all(|v| v.is_finite()) => Ok(Some([a, b])),
            _ => {
                self.clear();
                Err(StitchNetError::Answer)
            }
        }
    }

    /// The tensor of a camera, to test the networks without pictures.
    #[cfg(test)]
    pub(super) fn tensor(&mut self, camera: usize) -> &mut [f32] {
        &mut self.pictures[camera]
    }
}

/// An output of 7 x 9 x 2 numbers; its shape was checked.
fn mesh(values: &[f32]) -> ControlMesh {
    std::array::from_fn(|i| [0, 1].map(|k| f64::from(values[2 * i + k])))
}
