//! The adjustment: turns and optics of all cameras at once, so that ties meet.
//!
//! Levenberg and Marquardt on transfer errors both ways (what one camera shows at a pixel, the other must show at the
//! tie's other end), reweighted by Cauchy's loss; Triggs et al., "Bundle adjustment, a modern synthesis" (2000).
//! The normal equations have 3 rows a camera and a few a set of optics: at most 88 for 8 cameras, so a dense
//! Cholesky is faster than a sparse one. Gauge: the first camera does not turn.

use nalgebra::{Cholesky, DMatrix, DVector};
use synoptic_base::Intrinsics;

use super::model::{Free, Model, Tie, cross, moved, orthonormal, rotation, times};
use crate::panorama::geometry::{Vec3, mul, mul_transposed, project, unproject};

/// Steps at most.
const MAX_STEPS: usize = 40;
/// A relative gain of cost below this ends the work.
const ENOUGH: f64 = 1e-9;
/// Differences for derivatives: of a direction, of the logarithm of the focal length and of k, of a pixel.
const SMALL: f64 = 1e-6;
/// What is known before any picture is seen, as standard deviations: logarithm of the focal length (a factor of e),
/// lens coefficients, principal point as a part of the width. They hold what the pictures do not.
const PRIOR_FOCAL: f64 = 1.0;
const PRIOR_LENS: f64 = 0.3;
const PRIOR_CENTRE: f64 = 0.01;
/// Cauchy's scale in standard deviations: 95 % efficiency on normal errors (Holland and Welsch 1977).
const CAUCHY: f64 = 2.385;

/// What an adjustment came to.
#[derive(Clone, Debug)]
pub(super) struct Adjusted {
    /// Robust cost: the sum of Cauchy's loss over ties, in units of `scale`, plus the priors.
    pub(super) cost: f64,
    /// Covariance of the parameters if errors are `sd` of the ties times `scale`: 3 a camera from the second on,
    /// then the free ones of each set of optics.
    pub(super) covariance: DMatrix<f64>,
}

/// Adjusts `model` to the ties. `scale` multiplies the `sd` of every tie. `start` is the model that priors speak of.
/// `None` when there are no ties that the model can see.
pub(super) fn adjust(
    model: &mut Model,
    ties: &[Tie],
    free: Free,
    scale: f64,
    start: &Model,
) -> Option<Adjusted> {
    let mut damping = 1e-4;
    let mut system = System::build(model, ties, free, scale, start)?;
    for _ in 0..MAX_STEPS {
        let mut damped = system.hessian.clone();
        for i in 0..damped.nrows() {
            damped[(i, i)] += damping * system.hessian[(i, i)].max(1e-12);
        }
        let Some(factor) = Cholesky::new(damped) else {
            damping *= 10.0;
            continue;
        };
        let step = factor.solve(&-&system.gradient);
        let next = applied(model, &step, free);
        let tried = System::build(&next, ties, free, scale, start).filter(|s| s.cost < system.cost);
        let Some(better) = tried else {
            damping *= 10.0;
            if damping > 1e10 {
                break;
            }
            continue;
        };
        let gain = (system.cost - better.cost) / system.cost.max(1e-300);
        *model = next;
        system = better;
        damping = (damping * 0.1).max(1e-12);
        if gain < ENOUGH {
            break;
        }
    }
    let covariance = Cholesky::new(system.hessian.clone())?.inverse();
    Some(Adjusted {
        cost: system.cost,
        covariance,
    })
}

/// The model moved by a step of all parameters.
pub(super) fn applied(model: &Model, step: &DVector<f64>, free: Free) -> Model {
    let mut next = model.clone();
    let cameras = model.rotations.len();
    for camera in 1..cameras {
        let at = 3 * (camera - 1);
        let turn = rotation([step[at], step[at + 1], step[at + 2]]);
        next.rotations[camera] = orthonormal(&times(&turn, &model.rotations[camera]));
    }
    for (i, optics) in next.optics.iter_mut().enumerate() {
        for which in 0..free.count() {
            *optics = moved(
                optics,
                free,
                which,
                step[3 * (cameras - 1) + i * free.count() + which],
            );
        }
    }
    next
}

/// Normal equations at a model.
struct System {
    cost: f64,
    hessian: DMatrix<f64>,
    gradient: DVector<f64>,
}

/// Optics and the same with each free parameter moved up and down.
struct Varied {
    here: Intrinsics,
    around: Vec<[Intrinsics; 2]>,
}

impl System {
    fn build(model: &Model, ties: &[Tie], free: Free, scale: f64, start: &Model) -> Option<System> {
        let cameras = model.rotations.len();
        let count = free.count();
        let size = 3 * (cameras - 1) + count * model.optics.len();
        let varied: Vec<Varied> = model
            .optics
            .iter()
            .map(|optics| Varied {
                here: *optics,
                around: (0..count)
                    .map(|p| [SMALL, -SMALL].map(|s| moved(optics, free, p, s)))
                    .collect(),
            })
            .collect();
        let mut hessian = DMatrix::zeros(size, size);
        let mut gradient = DVector::zeros(size);
        let mut cost = 0.0;
        let mut seen = 0;
        let mut row: Vec<(usize, [f64; 2])> = Vec::with_capacity(6 + 2 * count);
        for tie in ties {
            // Each tie counts once, half of it each way; ends that the model cannot see cost as much as a far miss,
            // so that a step cannot gain by losing ties.
            for way in 0..2 {
                let (from, to) = (tie.cameras[way], tie.cameras[1 - way]);
                let width = scale * tie.sd * if tie.by_hand { 1e3 } else { CAUCHY };
                let sd = scale * tie.sd;
                row.clear();
                let Some(error) = transfer(
                    model,
                    &varied,
                    [from, to],
                    [tie.at[way], tie.at[1 - way]],
                    &mut row,
                ) else {
                    cost += (width / sd).powi(2) * 1e4_f64.ln() / 2.0;
                    continue;
                };
                seen += 1;
                let square = (error[0] * error[0] + error[1] * error[1]) / (width * width);
                // Half a tie, in the unit of the log-likelihood: (1/2) (1/2) c^2 ln(1 + (e/c)^2).
                cost += (width / sd).powi(2) * square.ln_1p() / 4.0;
                let weight = 0.5 / (sd * sd) / (1.0 + square);
                for (i, a) in &row {
                    gradient[*i] += weight * (a[0] * error[0] + a[1] * error[1]);
                    for (j, b) in &row {
                        hessian[(*i, *j)] += weight * (a[0] * b[0] + a[1] * b[1]);
                    }
                }
            }
        }
        for (set, optics) in model.optics.iter().enumerate() {
            for p in 0..count {
                let at = 3 * (cameras - 1) + set * count + p;
                let (off, sd) = prior(optics, &start.optics[set], free, p);
                cost += (off / sd).powi(2) / 2.0;
                gradient[at] += off / (sd * sd);
                hessian[(at, at)] += 1.0 / (sd * sd);
            }
        }
        (seen > 0 && cost.is_finite()).then_some(System {
            cost,
            hessian,
            gradient,
        })
    }
}

/// How far free parameter `which` is from where it began, and how far it may well be.
fn prior(now: &Intrinsics, then: &Intrinsics, free: Free, which: usize) -> (f64, f64) {
    let focal = usize::from(free.focal);
    if free.focal && which == 0 {
        return ((now.fx / then.fx).ln(), PRIOR_FOCAL);
    }
    let index = which - focal;
    if index < free.lens {
        let (mut a, mut b) = (now.lens, then.lens);
        let off = super::model::coefficients(&mut a)[index] - super::model::coefficients(&mut b)[index];
        (off, PRIOR_LENS)
    } else {
        let off = if index == free.lens {
            now.cx - then.cx
        } else {
            now.cy - then.cy
        };
        (off, PRIOR_CENTRE * f64::from(now.size.width))
    }
}

/// The miss of a transfer and its derivatives by parameter number.
fn transfer(
    model: &Model,
    varied: &[Varied],
    [from, to]: [usize; 2],
    at: [[f64; 2]; 2],
    row: &mut Vec<(usize, [f64; 2])>,
) -> Option<[f64; 2]> {
    let cameras = model.rotations.len();
    let (source, target) = (&varied[model.set[from]], &varied[model.set[to]]);
    let ray = unproject(&source.here, at[0])?;
    let seen_from = |ray: Vec3| mul(&model.rotations[to], mul_transposed(&model.rotations[from], ray));
    let direction = seen_from(ray);
    let pixel = project(&target.here, direction)?;
    // By the direction: columns of a 2x3 matrix.
    let mut by_direction = [[0.0; 2]; 3];
    for (axis, column) in by_direction.iter_mut().enumerate() {
        let ends = [SMALL, -SMALL].map(|s| {
            let mut d = direction;
            d[axis] += s;
            project(&target.here, d)
        });
        *column = slope(ends[0]?, ends[1]?);
    }
    let along = |d: Vec3| [0, 1].map(|k| (0..3).map(|axis| by_direction[axis][k] * d[axis]).sum::<f64>());
    for axis in 0..3 {
        let mut e = [0.0; 3];
        e[axis] = 1.0;
        if to > 0 {
            // R_to <- exp(w) R_to moves d by w x d.
            row.push((3 * (to - 1) + axis, along(cross(e, direction))));
        }
        if from > 0 {
            // R_from <- exp(w) R_from moves the ray by -w x ray before it enters the world.
            row.push((3 * (from - 1) + axis, along(seen_from(cross(ray, e)))));
        }
    }
    let count = target.around.len();
    let base = 3 * (cameras - 1);
    for p in 0..count {
        let ends = [0, 1].map(|k| project(&target.around[p][k], direction));
        let target_slope = slope(ends[0]?, ends[1]?);
        let rays = [0, 1].map(|k| unproject(&source.around[p][k], at[0]));
        let (up, down) = (rays[0]?, rays[1]?);
        let source_slope = along(seen_from([0, 1, 2].map(|i| (up[i] - down[i]) / (2.0 * SMALL))));
        if model.set[from] == model.set[to] {
            let both = [0, 1].map(|k| target_slope[k] + source_slope[k]);
            row.push((base + model.set[to] * count + p, both));
        } else {
            row.push((base + model.set[to] * count + p, target_slope));
            row.push((base + model.set[from] * count + p, source_slope));
        }
    }
    Some([pixel[0] - at[1][0], pixel[1] - at[1][1]])
}

fn slope(up: [f64; 2], down: [f64; 2]) -> [f64; 2] {
    [0, 1].map(|k| (up[k] - down[k]) / (2.0 * SMALL))
}
