//! The horizon made straight and the view put in the middle: wave correction (Brown and Lowe 2007, section 5).
//!
//! People hold cameras so that their x axes lie in the horizon: the direction that is most nearly at right angles to
//! all x axes is down. Where the x axes all point the same way they say nothing of it, and the mean of the cameras' y
//! axes stands in.

use std::f64::consts::{PI, TAU};

use nalgebra::{Matrix3, SymmetricEigen, Vector3};

use super::model::{Model, cross, dot, times, transposed, unit};
use crate::panorama::geometry::{Mat3, Vec3, mul_transposed, unproject};

/// x axes that lie within this of one line do not show where down is: sin^2 of 8 degrees.
const SPREAD: f64 = 0.02;
/// Places along each edge of a picture that stand for its outline.
const EDGE: usize = 24;

/// Turns the world so that y is down and the view lies about +z; with `pitch` also up and down.
pub(super) fn level(model: &mut Model, pitch: bool) {
    let down = down(model);
    let ahead = unit(without(sum(model, 2), down));
    let ahead = if dot(ahead, ahead) > 0.5 {
        ahead
    } else {
        unit(without([0.3, 0.2, 0.9], down))
    };
    turn(model, &[cross(down, ahead), down, ahead]);
    let yaws = directions(model).into_iter().map(|d| d[0].atan2(d[2])).collect();
    let yaw = middle_of(yaws);
    let (s, c) = yaw.sin_cos();
    turn(model, &[[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]]);
    if pitch {
        let pitches = directions(model)
            .into_iter()
            .map(|d| d[1].atan2(d[2].hypot(d[0])));
        let (low, high) = pitches.fold((PI, -PI), |(l, h), p| (p.min(l), p.max(h)));
        let (s, c) = f64::midpoint(low, high).sin_cos();
        turn(model, &[[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]]);
    }
}

/// Takes new axes for the world: rows in the old world.
fn turn(model: &mut Model, axes: &Mat3) {
    for rotation in &mut model.rotations {
        *rotation = times(rotation, &transposed(axes));
    }
}

fn sum(model: &Model, axis: usize) -> Vec3 {
    let axes = model.rotations.iter().map(|r| r[axis]);
    axes.fold([0.0; 3], |s, a| [s[0] + a[0], s[1] + a[1], s[2] + a[2]])
}

/// `v` without its part along `n`.
fn without(v: Vec3, n: Vec3) -> Vec3 {
    let along = dot(v, n);
    [0, 1, 2].map(|i| v[i] - along * n[i])
}

fn down(model: &Model) -> Vec3 {
    let mut spread = Matrix3::zeros();
    for rotation in &model.rotations {
        let x = Vector3::from(rotation[0]);
        spread += x * x.transpose() / model.rotations.len() as f64;
    }
    let eigen = SymmetricEigen::new(spread);
    let mut order = [0, 1, 2];
    order.sort_by(|a, b| eigen.eigenvalues[*a].total_cmp(&eigen.eigenvalues[*b]));
    let mean_y = unit(sum(model, 1));
    let flat: Vec3 = eigen.eigenvectors.column(order[0]).into_owned().into();
    if eigen.eigenvalues[order[1]] > SPREAD {
        let sign = if dot(flat, mean_y) < 0.0 { -1.0 } else { 1.0 };
        flat.map(|v| v * sign)
    } else {
        let x = unit(sum(model, 0));
        unit(without(mean_y, x))
    }
}

/// Directions of the outlines of all cameras, in the world.
pub(super) fn directions(model: &Model) -> Vec<Vec3> {
    let mut found = Vec::new();
    for (camera, rotation) in model.rotations.iter().enumerate() {
        let optics = model.of(camera);
        let (w, h) = (
            f64::from(optics.size.width) - 1.0,
            f64::from(optics.size.height) - 1.0,
        );
        for i in 0..=EDGE {
            let t = i as f64 / EDGE as f64;
            let places = [
                [t * w, 0.0],
                [t * w, h],
                [0.0, t * h],
                [w, t * h],
                [t * w, h / 2.0],
            ];
            let rays = places.into_iter().filter_map(|p| unproject(optics, p));
            found.extend(rays.map(|r| mul_transposed(rotation, r)));
        }
    }
    found
}

/// The middle of angles on the circle: opposite to the middle of the widest gap.
fn middle_of(mut angles: Vec<f64>) -> f64 {
    angles.sort_by(f64::total_cmp);
    let (Some(first), Some(last)) = (angles.first(), angles.last()) else {
        return 0.0;
    };
    let mut widest = (first + TAU - last, f64::midpoint(first + TAU, *last));
    for pair in angles.windows(2) {
        if pair[1] - pair[0] > widest.0 {
            widest = (pair[1] - pair[0], f64::midpoint(pair[0], pair[1]));
        }
    }
    let opposite = widest.1 - PI;
    let d = [opposite.sin(), 0.0, opposite.cos()];
    d[0].atan2(d[2])
}

#[cfg(test)]
mod tests {
    use crate::panorama::geometry::mul;
    use synoptic_base::Size;

    use super::super::model::{plain_optics, rotation};
    use super::*;

    /// The direction a camera looks in, as degrees of yaw to the right and pitch up.
    fn bearing(rotation: &Mat3) -> [f64; 2] {
        let z = mul(&transposed(rotation), [0.0, 0.0, 1.0]);
        [
            z[0].atan2(z[2]).to_degrees(),
            (-z[1]).atan2(z[0].hypot(z[2])).to_degrees(),
        ]
    }

    /// Level cameras at the given yaws in degrees, in a world that was turned by `w`.
    fn rig(yaws: &[f64], w: Vec3) -> Model {
        let turned = rotation(w);
        let optics = plain_optics(Size::new(640, 360), 600.0, false);
        Model {
            rotations: yaws
                .iter()
                .map(|y| times(&rotation([0.0, -y.to_radians(), 0.0]), &turned))
                .collect(),
            optics: vec![optics],
            set: vec![0; yaws.len()],
        }
    }

    #[test]
    fn level_cameras_come_out_level_and_centred_however_the_world_was_turned() {
        for yaws in [
            &[0.0, 40.0][..],
            &[10.0, 50.0, 90.0, 130.0, 170.0],
            &[0.0, 60.0, 120.0, 180.0, 240.0, 300.0],
        ] {
            let mut model = rig(yaws, [0.3, 0.9, -0.4]);
            level(&mut model, false);
            for r in &model.rotations {
                assert!(r[0][1].abs() < 1e-9, "x axis {:?} leaves the horizon", r[0]);
                assert!(r[1][1] > 0.99, "y axis {:?} is not down", r[1]);
            }
            if yaws.len() < 6 {
                let [first, last] = [0, yaws.len() - 1].map(|i| bearing(&model.rotations[i])[0]);
                assert!((first + last).abs() < 1e-6, "from {first} to {last} degrees");
                assert!(first < last);
            }
        }
    }

    #[test]
    fn one_above_the_other_stays_upright() {
        let optics = plain_optics(Size::new(640, 360), 600.0, false);
        let mut model = Model {
            rotations: vec![rotation([0.2, 0.0, 0.0]), rotation([-0.2, 0.0, 0.0])],
            optics: vec![optics],
            set: vec![0, 0],
        };
        level(&mut model, false);
        for r in &model.rotations {
            assert!(r[0][0] > 0.999, "x axis {:?}", r[0]);
            assert!(r[1][1] > 0.9, "y axis {:?}", r[1]);
        }
    }
}
