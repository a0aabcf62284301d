//! How far two calibrations of the same cameras lie apart: a new one from the last, a found one from the truth.

use nalgebra::{Matrix3, Vector3};
use synoptic_base::{Rig, RigCamera};

use super::model::{angle, times, transposed};
use crate::panorama::geometry::{Vec3, mul, mul_transposed, project, unproject};

/// Places across and down at which pictures are compared.
const PLACES: u32 = 64;

/// How far two rigs lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Where two cameras overlap: root mean square of what one rig puts elsewhere in the other camera than the other
    /// rig does, pixels. What a seam shows.
    pub overlap_px: f64,
    /// All pictures: root mean square of the angles between directions, after the best common turn, in pixels.
    pub full_px: f64,
    /// The focal length that differs most, percent.
    pub focal_percent: f64,
    /// The turn between two cameras that differs most, degrees.
    pub turn_degrees: f64,
}

/// Compares two rigs of the same cameras in the same order for things far away; `None` when they are not comparable.
pub fn difference(reference: &Rig, other: &Rig) -> Option<Difference> {
    let same = |(a, b): (&RigCamera, &RigCamera)| a.intrinsics.size == b.intrinsics.size;
    let pairs = || reference.cameras.iter().zip(&other.cameras);
    if reference.cameras.len() != other.cameras.len() || !pairs().all(same) {
        return None;
    }
    let (overlap, places) = overlap(reference, other);
    let focal_percent = pairs()
        .map(|(a, b)| 100.0 * (b.intrinsics.fx / a.intrinsics.fx - 1.0).abs())
        .fold(0.0, f64::max);
    let between = |rig: &Rig, i: usize, j: usize| {
        times(&rig.cameras[j].rotation, &transposed(&rig.cameras[i].rotation))
    };
    let mut turn_degrees = 0.0_f64;
    for i in 0..reference.cameras.len() {
        for j in 0..i {
            let off = times(&between(reference, i, j), &transposed(&between(other, i, j)));
            turn_degrees = turn_degrees.max(angle(&off).to_degrees());
        }
    }
    Some(Difference {
        overlap_px: if places > 0.0 {
            (overlap / places).sqrt()
        } else {
            0.0
        },
        full_px: full(reference, other)?,
        focal_percent,
        turn_degrees,
    })
}

/// Pixels spread over a camera's picture.
fn places(camera: &RigCamera) -> impl Iterator<Item = [f64; 2]> + use<> {
    let size = camera.intrinsics.size;
    let step = |side: u32, i: u32| f64::from(side - 1) * f64::from(i) / f64::from(PLACES - 1);
    (0..PLACES * PLACES).map(move |i| [step(size.width, i % PLACES), step(size.height, i / PLACES)])
}

fn transfer(from: &RigCamera, to: &RigCamera, pixel: [f64; 2]) -> Option<[f64; 2]> {
    let ray = mul_transposed(&from.rotation, unproject(&from.intrinsics, pixel)?);
    project(&to.intrinsics, mul(&to.rotation, ray))
}

/// Sum of squares and number of places.
fn overlap(reference: &Rig, other: &Rig) -> (f64, f64) {
    let (mut sum, mut count) = (0.0, 0.0);
    for i in 0..reference.cameras.len() {
        for j in (0..reference.cameras.len()).filter(|j| *j != i) {
            let size = reference.cameras[j].intrinsics.size;
            for pixel in places(&reference.cameras[i]) {
                let expected = transfer(&reference.cameras[i], &reference.cameras[j], pixel).filter(|p| {
                    (0.0..f64::from(size.width)).contains(&p[0])
                        && (0.0..f64::from(size.height)).contains(&p[1])
                });
                if let (Some(p), Some(q)) = (expected, transfer(&other.cameras[i], &other.cameras[j], pixel))
                {
                    sum += (p[0] - q[0]).powi(2) + (p[1] - q[1]).powi(2);
                    count += 1.0;
                }
            }
        }
    }
    (sum, count)
}

fn full(reference: &Rig, other: &Rig) -> Option<f64> {
    let mut moments = Matrix3::zeros();
    let mut directions: Vec<(Vector3<f64>, Vector3<f64>, f64)> = Vec::new();
    for (a, b) in reference.cameras.iter().zip(&other.cameras) {
        let look = |c: &RigCamera, p: [f64; 2]| -> Option<Vec3> {
            Some(mul_transposed(&c.rotation, unproject(&c.intrinsics, p)?))
        };
        for pixel in places(a) {
            if let (Some(p), Some(q)) = (look(a, pixel), look(b, pixel)) {
                let (p, q) = (Vector3::from(p), Vector3::from(q));
                moments += p * q.transpose();
                directions.push((p, q, a.intrinsics.fx));
            }
        }
    }
    // The turn that fits best (Kabsch 1976), kept from becoming a mirror.
    let svd = moments.svd(true, true);
    let (u, v) = (svd.u?, svd.v_t?);
    let handed = Matrix3::from_diagonal(&Vector3::new(1.0, 1.0, (u * v).determinant().signum()));
    let turn = u * handed * v;
    let squares = directions
        .iter()
        .map(|(p, q, focal)| (focal * (p - turn * q).norm()).powi(2));
    (!directions.is_empty()).then(|| (squares.sum::<f64>() / directions.len() as f64).sqrt())
}
