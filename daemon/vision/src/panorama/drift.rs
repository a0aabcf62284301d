//! By which turn a camera has drifted, from how patches of the canvas miss each other.
//!
//! Only a turn is looked for: a camera that zoomed or was carried elsewhere leaves residuals that no turn explains, and
//! those are told, not corrected.

use nalgebra::{Matrix3, Vector3};
use synoptic_base::{Rig, RigCamera};

use super::geometry::{Mat3, camera_from_canvas, canvas_from_camera};

/// Step of the numeric derivative, radians: a hundredth of a pixel of a long lens, far above rounding.
const STEP: f64 = 1e-6;
/// Rounds in which patches that disagree are left out.
const ROUNDS: usize = 4;
/// A patch further from the fit than this many times the median disagrees.
const DISAGREE: f64 = 3.0;
/// And at least this many canvas pixels.
const FINE_PX: f64 = 0.1;
/// Patches without which nothing is said.
const FEWEST: usize = 8;

/// A turn and what it explains.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// Axis times angle in the camera's frame, radians: the rotation becomes exp(turn) times what it was.
    pub turn: [f64; 3],
    /// Root mean square miss of the patches that agree, canvas pixels, before and after.
    pub before_px: f64,
    /// After.
    pub after_px: f64,
    /// Part of the patches that agree, 0 to 1.
    pub agree: f64,
    /// How many there are.
    pub patches: usize,
}

/// exp(turn) by Rodrigues' formula.
fn exp(turn: [f64; 3]) -> Matrix3<f64> {
    *nalgebra::Rotation3::new(Vector3::from(turn)).matrix()
}

/// The camera after a turn.
pub fn turned(camera: &RigCamera, turn: [f64; 3]) -> RigCamera {
    let old = Matrix3::from_fn(|r, c| camera.rotation[r][c]);
    let new = exp(turn) * old;
    let rotation: Mat3 = [0, 1, 2].map(|r| [0, 1, 2].map(|c| new[(r, c)]));
    RigCamera {
        rotation,
        ..camera.clone()
    }
}

/// The turn of camera `camera` that best moves its picture by `residuals`: places of the canvas, and by how much the
/// camera's picture must be moved there, in pixels. `None` when there are too few or no turn is determined.
pub fn fit(rig: &Rig, camera: usize, residuals: &[([f32; 2], [f32; 2])]) -> Option<Drift> {
    let eye = rig.cameras.get(camera)?;
    let rows: Vec<([[f64; 3]; 2], [f64; 2])> = residuals
        .iter()
        .filter_map(|(at, shift)| {
            let shift = shift.map(f64::from);
            let from = [f64::from(at[0]) - shift[0], f64::from(at[1]) - shift[1]];
            let pixel = camera_from_canvas(&rig.canvas, eye, from)?;
            let mut slope = [[0.0; 3]; 2];
            for k in 0..3 {
                let mut turn = [0.0; 3];
                turn[k] = STEP;
                let there = canvas_from_camera(&rig.canvas, &turned(eye, turn), pixel)?;
                slope[0][k] = (there[0] - from[0]) / STEP;
                slope[1][k] = (there[1] - from[1]) / STEP;
            }
            Some((slope, shift))
        })
        .collect();
    if rows.len() < FEWEST {
        return None;
    }
    let mut used: Vec<usize> = (0..rows.len()).collect();
    let mut turn = Vector3::zeros();
    let left = |turn: &Vector3<f64>, i: usize| {
        let (slope, shift) = &rows[i];
        let miss = |k: usize| shift[k] - Vector3::from(slope[k]).dot(turn);
        miss(0).hypot(miss(1))
    };
    for _ in 0..ROUNDS {
        let (mut normal, mut right) = (Matrix3::zeros(), Vector3::zeros());
        for i in &used {
            let (slope, shift) = &rows[*i];
            for k in 0..2 {
                let row = Vector3::from(slope[k]);
                normal += row * row.transpose();
                right += row * shift[k];
            }
        }
        turn = normal.cholesky()?.solve(&right);
        let mut misses: Vec<f64> = (0..rows.len()).map(|i| left(&turn, i)).collect();
        misses.sort_by(f64::total_cmp);
        let limit = (DISAGREE * misses[misses.len() / 2]).max(FINE_PX);
        used = (0..rows.len()).filter(|i| left(&turn, *i) <= limit).collect();
        if used.len() < FEWEST {
            return None;
        }
    }
    let rms = |of: &dyn Fn(usize) -> f64| {
        (used.iter().map(|i| of(*i).powi(2)).sum::<f64>() / used.len() as f64).sqrt()
    };
    Some(Drift {
        turn: [turn[0], turn[1], turn[2]],
        before_px: rms(&|i| rows[i].1[0].hypot(rows[i].1[1])),
        after_px: rms(&|i| left(&turn, i)),
        agree: used.len() as f64 / rows.len() as f64,
        patches: rows.len(),
    })
}

#[cfg(test)]
mod tests {
    use synoptic_base::{Canvas, Intrinsics, Lens, Projection, Size, StreamId};

    use super::*;

    fn rig() -> Rig {
        let camera = |name: &str, yaw: f64| {
            let (s, c) = yaw.sin_cos();
            RigCamera {
                stream: StreamId::new(name).unwrap(),
                intrinsics: Intrinsics {
                    size: Size::new(1280, 720),
                    fx: 900.0,
                    fy: 900.0,
                    cx: 639.5,
                    cy: 359.5,
                    lens: Lens::Radial([-0.05, 0.0, 0.0, 0.0]),
                },
                rotation: [[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]],
                centre: [0.0; 3],
            }
        };
        Rig {
            cameras: vec![camera("one", -0.4), camera("two", 0.4)],
            canvas: Canvas {
                size: Size::new(2000, 800),
                projection: Projection::Cylindrical,
                focal: 900.0,
                cx: 999.5,
                cy: 399.5,
            },
        }
    }

    /// What is measured when camera 1 really stands turned by `turn` while the rig does not know.
    fn residuals(rig: &Rig, turn: [f64; 3]) -> Vec<([f32; 2], [f32; 2])> {
        let truth = turned(&rig.cameras[1], turn);
        let mut found = Vec::new();
        for y in (60..760).step_by(60) {
            for x in (920..1100).step_by(45) {
                // What belongs at (x, y) is where the true camera has it, and is drawn where the rig's puts it.
                let at = [f64::from(x), f64::from(y)];
                let pixel = camera_from_canvas(&rig.canvas, &truth, at).unwrap();
                let drawn = canvas_from_camera(&rig.canvas, &rig.cameras[1], pixel).unwrap();
                let shift = [(at[0] - drawn[0]) as f32, (at[1] - drawn[1]) as f32];
                found.push(([x as f32, y as f32], shift));
            }
        }
        found
    }

    #[test]
    fn a_turn_is_found_and_undone_in_spite_of_some_who_disagree() {
        let rig = rig();
        let turn = [0.0011, -0.0017, 0.0008];
        let mut seen = residuals(&rig, turn);
        for bad in seen.iter_mut().step_by(6) {
            bad.1 = [-2.0, 3.0];
        }
        let drift = fit(&rig, 1, &seen).unwrap();
        for (found, true_one) in drift.turn.iter().zip(turn) {
            assert!((found - true_one).abs() < 2e-5, "{drift:?}");
        }
        assert!(
            drift.before_px > 1.0 && drift.after_px < 0.05 && drift.agree > 0.8,
            "{drift:?}"
        );
        let mended = Rig {
            cameras: vec![rig.cameras[0].clone(), turned(&rig.cameras[1], drift.turn)],
            canvas: rig.canvas,
        };
        let truth = turned(&rig.cameras[1], turn);
        let off = (0..3).flat_map(|r| (0..3).map(move |c| (r, c)));
        let worst = off
            .map(|(r, c)| (mended.cameras[1].rotation[r][c] - truth.rotation[r][c]).abs())
            .fold(0.0, f64::max);
        assert!(worst < 3e-5, "{worst}");
    }

    #[test]
    fn what_no_turn_explains_stays() {
        let rig = rig();
        // A zoom: everything moves away from the middle.
        let seen: Vec<_> = residuals(&rig, [0.0; 3])
            .into_iter()
            .map(|(at, _)| (at, [0.02 * (at[0] - 1010.0), 0.02 * (at[1] - 400.0)]))
            .collect();
        let drift = fit(&rig, 1, &seen);
        assert!(
            drift.is_none_or(|d| d.after_px > 0.3 * d.before_px || d.agree < 0.7),
            "{drift:?}"
        );
        assert!(fit(&rig, 1, &seen[..5]).is_none());
    }
}
