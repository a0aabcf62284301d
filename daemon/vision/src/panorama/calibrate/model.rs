//! What the adjustment changes: how each camera is turned, and the optics that cameras share or not.

use synoptic_base::{Intrinsics, Lens, Size};

use crate::panorama::geometry::{Mat3, Vec3, mul, mul_transposed, project, unproject};

/// Two pixels that show the same place of the world.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tie {
    /// The two cameras, by index.
    pub(super) cameras: [usize; 2],
    /// Where each shows the place, pixels.
    pub(super) at: [[f64; 2]; 2],
    /// Standard deviation of the place in either picture, pixels.
    pub(super) sd: f64,
    /// A person set it: it is never thrown away.
    pub(super) by_hand: bool,
}

/// Which parameters of the optics the pictures may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Free {
    /// The focal length.
    pub(super) focal: bool,
    /// So many coefficients of the lens, from k1 on; 0 to 4.
    pub(super) lens: usize,
    /// The principal point.
    pub(super) centre: bool,
}

impl Free {
    /// Parameters of one set of optics.
    pub(super) fn count(self) -> usize {
        usize::from(self.focal) + self.lens + 2 * usize::from(self.centre)
    }
}

/// All cameras.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Model {
    /// Turns a direction of the world into the camera's, one a camera.
    pub(super) rotations: Vec<Mat3>,
    /// Sets of optics.
    pub(super) optics: Vec<Intrinsics>,
    /// Which set each camera has.
    pub(super) set: Vec<usize>,
}

impl Model {
    /// The optics of a camera.
    pub(super) fn of(&self, camera: usize) -> &Intrinsics {
        &self.optics[self.set[camera]]
    }

    /// Where camera `to` shows what camera `from` shows at `pixel`; far things only.
    pub(super) fn transfer(&self, from: usize, to: usize, pixel: [f64; 2]) -> Option<[f64; 2]> {
        let ray = unproject(self.of(from), pixel)?;
        let world = mul_transposed(&self.rotations[from], ray);
        project(self.of(to), mul(&self.rotations[to], world))
    }

    /// How far the two ends of a tie miss each other: root mean square of both ways, pixels.
    pub(super) fn miss(&self, tie: &Tie) -> Option<f64> {
        let [a, b] = tie.cameras;
        let there = self.transfer(a, b, tie.at[0])?;
        let back = self.transfer(b, a, tie.at[1])?;
        let square = |p: [f64; 2], q: [f64; 2]| (p[0] - q[0]).powi(2) + (p[1] - q[1]).powi(2);
        Some(((square(there, tie.at[1]) + square(back, tie.at[0])) / 2.0).sqrt())
    }
}

/// Optics of a picture of `size` with focal length `focal`, the axis in the middle, no distortion.
pub(super) fn plain_optics(size: Size, focal: f64, fisheye: bool) -> Intrinsics {
    Intrinsics {
        size,
        fx: focal,
        fy: focal,
        cx: (f64::from(size.width) - 1.0) / 2.0,
        cy: (f64::from(size.height) - 1.0) / 2.0,
        lens: if fisheye {
            Lens::Fisheye([0.0; 4])
        } else {
            Lens::PINHOLE
        },
    }
}

/// The coefficients of a lens.
pub(super) fn coefficients(lens: &mut Lens) -> &mut [f64; 4] {
    match lens {
        Lens::Radial(k) | Lens::Fisheye(k) => k,
    }
}

/// Optics with free parameter number `which` (in the order focal, k1.., cx, cy) moved by `step`, in its own unit:
/// natural logarithm of the focal length, 1 for k, pixels for the principal point.
pub(super) fn moved(optics: &Intrinsics, free: Free, which: usize, step: f64) -> Intrinsics {
    let mut optics = *optics;
    let mut index = which;
    if free.focal {
        if index == 0 {
            let factor = step.exp();
            optics.fx *= factor;
            optics.fy *= factor;
            return optics;
        }
        index -= 1;
    }
    if index < free.lens {
        coefficients(&mut optics.lens)[index] += step;
    } else if index == free.lens {
        optics.cx += step;
    } else {
        optics.cy += step;
    }
    optics
}

/// `a b`.
pub(super) fn times(a: &Mat3, b: &Mat3) -> Mat3 {
    a.map(|row| [0, 1, 2].map(|c| (0..3).map(|k| row[k] * b[k][c]).sum()))
}

/// `m^T`.
pub(super) fn transposed(m: &Mat3) -> Mat3 {
    [0, 1, 2].map(|r| [0, 1, 2].map(|c| m[c][r]))
}

/// `u x v`.
pub(super) fn cross(u: Vec3, v: Vec3) -> Vec3 {
    [
        u[1] * v[2] - u[2] * v[1],
        u[2] * v[0] - u[0] * v[2],
        u[0] * v[1] - u[1] * v[0],
    ]
}

/// `u . v`.
pub(super) fn dot(u: Vec3, v: Vec3) -> f64 {
    u[0] * v[0] + u[1] * v[1] + u[2] * v[2]
}

/// `v` with length 1; zero stays zero.
pub(super) fn unit(v: Vec3) -> Vec3 {
    let length = dot(v, v).sqrt();
    if length > 0.0 { v.map(|x| x / length) } else { v }
}

/// The rotation about `w` by its length in radians (Rodrigues).
pub(super) fn rotation(w: Vec3) -> Mat3 {
    let angle = dot(w, w).sqrt();
    let (s, c) = if angle < 1e-9 {
        (1.0, 0.5)
    } else {
        (angle.sin() / angle, (1.0 - angle.cos()) / (angle * angle))
    };
    let k = [[0.0, -w[2], w[1]], [w[2], 0.0, -w[0]], [-w[1], w[0], 0.0]];
    let kk = times(&k, &k);
    let mut m = [[0.0; 3]; 3];
    for r in 0..3 {
        for col in 0..3 {
            m[r][col] = f64::from(u8::from(r == col)) + s * k[r][col] + c * kk[r][col];
        }
    }
    m
}

/// The nearest rotation to a matrix that has drifted: Gram and Schmidt on its rows.
pub(super) fn orthonormal(m: &Mat3) -> Mat3 {
    let x = unit(m[0]);
    let y = unit([0, 1, 2].map(|i| m[1][i] - dot(x, m[1]) * x[i]));
    [x, y, cross(x, y)]
}

/// The angle of a rotation, radians.
pub(super) fn angle(m: &Mat3) -> f64 {
    // By sine and cosine: the cosine alone loses half of the digits near zero.
    let sine = [m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]];
    dot(sine, sine).sqrt().atan2(m[0][0] + m[1][1] + m[2][2] - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_turns_by_its_angle_and_stays_one() {
        let w = [0.1, -0.4, 0.2];
        let r = rotation(w);
        assert!((angle(&r) - dot(w, w).sqrt()).abs() < 1e-12);
        let one = times(&r, &transposed(&r));
        assert!(angle(&one) < 1e-12 && (one[0][0] - 1.0).abs() < 1e-12);
        let mut drifted = r;
        drifted[0][1] += 1e-4;
        assert!(angle(&times(&orthonormal(&drifted), &transposed(&r))) < 2e-4);
        // Right-handed: about +y, z turns towards x.
        let v = mul(&rotation([0.0, 0.1, 0.0]), [0.0, 0.0, 1.0]);
        assert!((v[0] - 0.1_f64.sin()).abs() < 1e-12);
    }
}
