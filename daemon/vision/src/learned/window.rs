//! The last seven frames of two cameras: their control meshes, and the paths that the points take on the plane.

use std::collections::VecDeque;

use super::thin_plate::Plate;
use super::{ControlMesh, POINTS, WINDOW, rigid};

#[derive(Clone, Debug)]
struct Frame {
    mesh: ControlMesh,
    /// By how much a point that moves with the picture steps on the plane since the last frame.
    step: ControlMesh,
}

/// The window. Bounded: older frames fall out.
#[derive(Clone, Debug)]
pub struct Window {
    size: [f64; 2],
    rigid: ControlMesh,
    plate: Option<Plate>,
    cameras: [VecDeque<Frame>; 2],
}

impl Window {
    /// For pictures of `width` x `height` in the networks' input.
    pub fn new(width: usize, height: usize) -> Window {
        let size = [width as f64, height as f64];
        let rigid = rigid(width, height);
        Window {
            plate: Plate::new(&rigid.map(|p| unit(p, size))),
            size,
            rigid,
            cameras: Default::default(),
        }
    }

    /// Takes in a frame of each camera: where its points are on the plane, and how far they moved in the picture since
    /// the last frame (of the first frame that is not used). Returns `false`, and begins anew, when a mesh is not of
    /// finite numbers.
    pub fn push(&mut self, meshes: [ControlMesh; 2], motions: [ControlMesh; 2]) -> bool {
        let finite = |mesh: &ControlMesh| mesh.iter().flatten().all(|v| v.is_finite());
        let steps = [0, 1].map(|k| self.step(k, &meshes[k], &motions[k]));
        let (true, [Some(first), Some(second)]) = (meshes.iter().all(finite), steps) else {
            self.clear();
            return false;
        };
        for ((camera, mesh), step) in self.cameras.iter_mut().zip(meshes).zip([first, second]) {
            if camera.len() == WINDOW {
                camera.pop_front();
            }
            camera.push_back(Frame { mesh, step });
        }
        true
    }

    /// The points moved by `motion` in their picture, as the last frame's plane shows them, less where they are now.
    fn step(&self, camera: usize, mesh: &ControlMesh, motion: &ControlMesh) -> Option<ControlMesh> {
        let Some(last) = self.cameras[camera].back() else {
            return Some([[0.0; 2]; POINTS]);
        };
        let bend = self
            .plate
            .as_ref()?
            .bend(&last.mesh.map(|p| unit(p, self.size)))?;
        let step: ControlMesh = std::array::from_fn(|i| {
            let moved = [0, 1].map(|k| self.rigid[i][k] + motion[i][k]);
            let shown = bend.at(unit(moved, self.size));
            [0, 1].map(|k| (shown[k] + 1.0) * self.size[k] / 2.0 - mesh[i][k])
        });
        step.iter().flatten().all(|v| v.is_finite()).then_some(step)
    }

    /// Begins anew, as after a gap.
    pub fn clear(&mut self) {
        for camera in &mut self.cameras {
            camera.clear();
        }
    }

    /// Whether there are seven frames.
    pub fn is_full(&self) -> bool {
        self.cameras[0].len() == WINDOW
    }

    /// Meshes and paths of camera `camera` as the smoothing network takes them: frame, point, x and y. Paths begin at
    /// zero in the window's first frame.
    pub fn inputs(&self, camera: usize) -> [Vec<f32>; 2] {
        let mut path = [[0.0_f64; 2]; POINTS];
        let (mut meshes, mut paths) = (Vec::new(), Vec::new());
        for (i, frame) in self.cameras[camera].iter().enumerate() {
            if i > 0 {
                for (at, step) in path.iter_mut().zip(&frame.step) {
                    *at = [at[0] + step[0], at[1] + step[1]];
                }
            }
            meshes.extend(frame.mesh.iter().flatten().map(|v| *v as f32));
            paths.extend(path.iter().flatten().map(|v| *v as f32));
        }
        [meshes, paths]
    }

    /// The mesh to show the newest picture of `camera` by, after the smoothing network's `delta`.
    pub fn smoothed(&self, camera: usize, delta: &ControlMesh) -> Option<ControlMesh> {
        let newest = self.cameras[camera].back()?;
        Some(std::array::from_fn(|i| {
            [0, 1].map(|k| newest.mesh[i][k] - delta[i][k])
        }))
    }
}

/// Pixels as -1 to 1 over the picture.
fn unit(point: [f64; 2], size: [f64; 2]) -> [f64; 2] {
    [0, 1].map(|k| point[k] * 2.0 / size[k] - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_that_moves_with_its_picture_has_a_path_and_one_that_stands_has_none() {
        let mut window = Window::new(480, 360);
        let still = rigid(480, 360);
        for k in 0..9 {
            // The picture moves 2 px to the right, and the plane shows it where it was: a path of 2 px a frame.
            let motion = [[2.0, 0.0]; POINTS];
            assert!(window.push([still, still], [motion, [[0.0; 2]; POINTS]]));
            assert_eq!(window.is_full(), k >= WINDOW - 1);
        }
        let [meshes, path] = window.inputs(0);
        assert_eq!(
            (meshes.len(), path.len()),
            (WINDOW * POINTS * 2, WINDOW * POINTS * 2)
        );
        let newest = &path[(WINDOW - 1) * POINTS * 2..];
        assert!(
            newest
                .chunks(2)
                .all(|p| (p[0] - 12.0).abs() < 1e-3 && p[1].abs() < 1e-3),
            "{newest:?}"
        );
        assert!(window.inputs(1)[1].iter().all(|v| v.abs() < 1e-3));
        let shown = window.smoothed(0, &[[1.0, -1.0]; POINTS]).unwrap();
        assert_eq!(shown[10], [still[10][0] - 1.0, still[10][1] + 1.0]);
    }

    #[test]
    fn what_is_no_number_empties_the_window() {
        let mut window = Window::new(480, 360);
        let still = rigid(480, 360);
        let none = [[0.0; 2]; POINTS];
        assert!(window.push([still, still], [none, none]));
        let mut broken = still;
        broken[5][1] = f64::NAN;
        assert!(!window.push([still, broken], [none, none]));
        assert!(!window.is_full() && window.smoothed(0, &none).is_none());
    }
}
