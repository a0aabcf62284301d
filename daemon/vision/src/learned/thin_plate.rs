//! Thin plate splines: the smoothest way to bend a plane so that given points go to given places (Bookstein,
//! "Principal Warps", IEEE PAMI 1989). The radial function is d2 ln(d2 + 1e-6), as in the published networks' code.

use nalgebra::{DMatrix, Dyn, LU};

/// Inside the logarithm, so that it is defined at zero.
const EPSILON: f64 = 1e-6;

fn radial(a: [f64; 2], b: [f64; 2]) -> f64 {
    let d2 = (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
    d2 * (d2 + EPSILON).ln()
}

/// Points that a plane is bent by, prepared once for any number of bends. Give them within about -1 to 1.
#[derive(Clone, Debug)]
pub struct Plate {
    sources: Vec<[f64; 2]>,
    system: LU<f64, Dyn, Dyn>,
}

/// A plane bent so that the plate's points go to given places.
#[derive(Clone, Debug)]
pub struct Bend {
    sources: Vec<[f64; 2]>,
    /// Of 1, x, y, then of each source's radial function.
    factors: Vec<[f64; 2]>,
}

impl Plate {
    /// For `sources`; `None` when they lie on a line or two are one, so that no plane is defined by them.
    pub fn new(sources: &[[f64; 2]]) -> Option<Plate> {
        let n = sources.len();
        let system = DMatrix::from_fn(n + 3, n + 3, |i, j| {
            let affine = |k: usize, of: [f64; 2]| match k {
                0 => 1.0,
                k => of[k - 1],
            };
            match (i < n, j) {
                (true, 0..3) => affine(j, sources[i]),
                (true, j) => radial(sources[i], sources[j - 3]),
                (false, 0..3) => 0.0,
                (false, j) => affine(i - n, sources[j - 3]),
            }
        });
        if system.iter().any(|v| !v.is_finite()) {
            return None;
        }
        let system = system.lu();
        system.is_invertible().then(|| Plate {
            sources: sources.to_vec(),
            system,
        })
    }

    /// Bends it so that source `i` goes to `targets[i]`; `None` when there are not as many, or that has no solution in
    /// finite numbers.
    pub fn bend(&self, targets: &[[f64; 2]]) -> Option<Bend> {
        let n = self.sources.len();
        if targets.len() != n {
            return None;
        }
        let wanted = DMatrix::from_fn(n + 3, 2, |i, k| if i < n { targets[i][k] } else { 0.0 });
        let solved = self.system.solve(&wanted)?;
        if solved.iter().any(|v| !v.is_finite()) {
            return None;
        }
        Some(Bend {
            sources: self.sources.clone(),
            factors: (0..n + 3).map(|i| [solved[(i, 0)], solved[(i, 1)]]).collect(),
        })
    }
}

impl Bend {
    /// Where `point` goes.
    pub fn at(&self, point: [f64; 2]) -> [f64; 2] {
        let affine = [1.0, point[0], point[1]];
        let (plane, plate) = self.factors.split_at(3);
        let mut sum = [0.0; 2];
        let mut add = |weight: f64, factor: &[f64; 2]| {
            sum = [sum[0] + weight * factor[0], sum[1] + weight * factor[1]];
        };
        for (weight, factor) in affine.into_iter().zip(plane) {
            add(weight, factor);
        }
        for (source, factor) in self.sources.iter().zip(plate) {
            add(radial(point, *source), factor);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_go_where_they_shall_and_affine_ways_stay_affine() {
        let sources = [[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0], [0.1, 0.2]];
        let plate = Plate::new(&sources).unwrap();
        let bent = [[-1.0, -0.8], [1.2, -1.0], [-1.0, 1.0], [0.9, 1.3], [0.0, 0.0]];
        let bend = plate.bend(&bent).unwrap();
        for (source, target) in sources.iter().zip(bent) {
            let at = bend.at(*source);
            assert!(
                (at[0] - target[0]).hypot(at[1] - target[1]) < 1e-4,
                "{at:?} {target:?}"
            );
        }
        let turned = sources.map(|[x, y]| [3.0 + 2.0 * x - y, 1.0 + x + 2.0 * y]);
        let at = plate.bend(&turned).unwrap().at([5.0, -7.0]);
        assert!(
            (at[0] - 20.0).abs() < 1e-6 && (at[1] + 8.0).abs() < 1e-6,
            "{at:?}"
        );
    }

    #[test]
    fn points_that_define_no_plane_are_refused() {
        assert!(Plate::new(&[[0.0, 0.0], [0.5, 0.5], [1.0, 1.0], [0.2, 0.2]]).is_none());
        assert!(Plate::new(&[[0.0, 0.0], [f64::NAN, 0.5], [1.0, 0.0]]).is_none());
        let plate = Plate::new(&[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).unwrap();
        assert!(plate.bend(&[[0.0, 0.0]]).is_none());
    }
}
