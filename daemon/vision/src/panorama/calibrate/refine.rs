//! Ties at a fraction of a pixel: where the model says that two cameras see the same, their pictures are laid over
//! each other patch by patch.
//!
//! Each cell of the overlap gives its best corner (Shi and Tomasi 1994). A patch around it is carried into the other
//! picture by the model and moved until it fits: Gauss and Newton on the difference of the patches after mean and
//! contrast are taken out, with the mean gradient of both (Lucas and Kanade 1981; second order as in Benhimane and
//! Malis 2004). Corners come from both cameras, so that what interpolation adds cancels.

use super::collect::Still;
use super::image::Gray;
use super::model::{Model, Tie};

/// Patches are 2 `RADIUS` + 1 pixels wide. A choice, not yet tuned: wider is surer, and crosses depths sooner.
const RADIUS: isize = 10;
const SIDE: usize = 2 * RADIUS as usize + 1;
/// Steps at most; a patch that needs more is not believed.
const MAX_STEPS: usize = 12;
/// A step below this ends the search, pixels.
const ENOUGH: f64 = 2e-3;
/// Corner measure: the smaller eigenvalue of the mean gradient products, in (levels a pixel)^2.
const MIN_CORNER: f64 = 1.0;
/// Patches must look alike this much (normalised cross-correlation).
const MIN_LIKENESS: f64 = 0.85;
/// What interpolation and a codec leave in the best of patches, pixels.
const FLOOR_SD: f64 = 0.03;
/// What a patch may be surer of than this is not believed, pixels.
const MAX_SD: f64 = 0.3;
/// Corners of one camera towards another: fitting and adjusting cost time by them. The far rig of the test data
/// gives about 440.
const MAX_CORNERS: usize = 500;
/// Places between corner candidates, pixels.
const STRIDE: usize = 4;

/// One round of refinement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// Pictures are blurred by this before, pixels.
    pub(super) blur: f32,
    /// A patch may move so far from where the model puts it, pixels.
    pub(super) reach: f64,
    /// Cells are so wide, pixels.
    pub(super) cell: usize,
}

/// Ties between two cameras that the model says overlap, both ways.
pub(super) fn ties(
    model: &Model,
    stills: &[Still],
    blurred: &[Gray],
    [a, b]: [usize; 2],
    round: Round,
) -> Vec<Tie> {
    let mut found = Vec::new();
    for (from, to) in [(a, b), (b, a)] {
        for corner in corners(model, stills, &blurred[from], [from, to], round.cell) {
            let Some(there) = model.transfer(from, to, corner) else {
                continue;
            };
            let patches = [&blurred[from], &blurred[to]];
            let Some((place, sd)) = fit(model, patches, [from, to], corner, there, round.reach) else {
                continue;
            };
            if stills[to].is_steady(place[0], place[1], RADIUS as f64) {
                found.push(Tie {
                    cameras: [from, to],
                    at: [corner, place],
                    sd,
                    by_hand: false,
                });
            }
        }
    }
    found
}

/// The best corner of each cell of camera `from` that camera `to` sees as well.
fn corners(
    model: &Model,
    stills: &[Still],
    luma: &Gray,
    [from, to]: [usize; 2],
    cell: usize,
) -> Vec<[f64; 2]> {
    let across = luma.width.div_ceil(cell);
    let mut best: Vec<Option<(f64, [f64; 2])>> = vec![None; across * luma.height.div_ceil(cell)];
    let margin = RADIUS as usize + 4;
    let other = &stills[to];
    for y in (margin..luma.height.saturating_sub(margin)).step_by(STRIDE) {
        for x in (margin..luma.width.saturating_sub(margin)).step_by(STRIDE) {
            let at = [x as f64, y as f64];
            let slot = &mut best[y / cell * across + x / cell];
            let strength = corner(luma, x as isize, y as isize);
            if strength < MIN_CORNER || slot.is_some_and(|(s, _)| s >= strength) {
                continue;
            }
            let seen = model.transfer(from, to, at);
            let radius = RADIUS as f64;
            if seen.is_some_and(|p| other.is_steady(p[0], p[1], radius + 3.0))
                && stills[from].is_steady(at[0], at[1], radius)
            {
                *slot = Some((strength, at));
            }
        }
    }
    let found: Vec<[f64; 2]> = best.into_iter().flatten().map(|(_, at)| at).collect();
    // Cells lie row by row: every n-th leaves the rest spread over the overlap.
    let every = found.len().div_ceil(MAX_CORNERS).max(1);
    found.into_iter().step_by(every).collect()
}

/// The smaller eigenvalue of the mean gradient products around a pixel; every second pixel is enough.
fn corner(luma: &Gray, x: isize, y: isize) -> f64 {
    let (mut xx, mut xy, mut yy, mut n) = (0.0, 0.0, 0.0, 0.0);
    let half = RADIUS / 2 + 1;
    for j in (-half..=half).step_by(2) {
        for i in (-half..=half).step_by(2) {
            let gx = f64::from(luma.at(x + i + 1, y + j) - luma.at(x + i - 1, y + j)) / 2.0;
            let gy = f64::from(luma.at(x + i, y + j + 1) - luma.at(x + i, y + j - 1)) / 2.0;
            xx += gx * gx;
            xy += gx * gy;
            yy += gy * gy;
            n += 1.0;
        }
    }
    smaller_eigenvalue(xx, xy, yy) / n
}

fn smaller_eigenvalue(xx: f64, xy: f64, yy: f64) -> f64 {
    (xx + yy) / 2.0 - ((xx - yy).powi(2) / 4.0 + xy * xy).sqrt()
}

/// A patch without its mean and contrast, and its gradients.
struct Patch {
    value: Vec<f64>,
    gradient: Vec<[f64; 2]>,
    contrast: f64,
}

impl Patch {
    /// Samples one pixel more on each side for the gradients; `None` when it is flat.
    fn sample(luma: &Gray, place: impl Fn(f64, f64) -> [f64; 2], weights: &[f64]) -> Option<Patch> {
        const WIDE: usize = SIDE + 2;
        let mut raw = [0.0_f64; WIDE * WIDE];
        for (index, value) in raw.iter_mut().enumerate() {
            let u = (index % WIDE) as f64 - (RADIUS + 1) as f64;
            let v = (index / WIDE) as f64 - (RADIUS + 1) as f64;
            let [x, y] = place(u, v);
            *value = f64::from(luma.cubic(x, y));
        }
        let inner = |i: usize| (i / SIDE + 1) * WIDE + i % SIDE + 1;
        let mean: f64 = (0..SIDE * SIDE).map(|i| weights[i] * raw[inner(i)]).sum();
        let variance: f64 = (0..SIDE * SIDE)
            .map(|i| weights[i] * (raw[inner(i)] - mean).powi(2))
            .sum();
        let contrast = variance.sqrt();
        if contrast < 1.0 {
            return None;
        }
        let value = (0..SIDE * SIDE)
            .map(|i| (raw[inner(i)] - mean) / contrast)
            .collect();
        let gradient = (0..SIDE * SIDE)
            .map(|i| {
                let k = inner(i);
                [raw[k + 1] - raw[k - 1], raw[k + WIDE] - raw[k - WIDE]].map(|d| d / (2.0 * contrast))
            })
            .collect();
        Some(Patch {
            value,
            gradient,
            contrast,
        })
    }
}

/// Weights of a patch, a Gaussian that sums to 1.
fn weights() -> Vec<f64> {
    let sigma = RADIUS as f64 / 1.8;
    let mut w: Vec<f64> = (0..SIDE * SIDE)
        .map(|i| {
            let (u, v) = (
                (i % SIDE) as f64 - RADIUS as f64,
                (i / SIDE) as f64 - RADIUS as f64,
            );
            (-(u * u + v * v) / (2.0 * sigma * sigma)).exp()
        })
        .collect();
    let sum: f64 = w.iter().sum();
    w.iter_mut().for_each(|w| *w /= sum);
    w
}

/// Where in the second picture the patch around `corner` of the first lies, searched from `start`, and how sure that is
/// (pixels).
fn fit(
    model: &Model,
    pictures: [&Gray; 2],
    [from, to]: [usize; 2],
    corner: [f64; 2],
    start: [f64; 2],
    reach: f64,
) -> Option<([f64; 2], f64)> {
    // One pixel of the second picture is this much of the first: columns by x and by y.
    let step = |dx: f64, dy: f64| model.transfer(to, from, [start[0] + dx, start[1] + dy]);
    let (right, left, below, above) = (
        step(1.0, 0.0)?,
        step(-1.0, 0.0)?,
        step(0.0, 1.0)?,
        step(0.0, -1.0)?,
    );
    let along_x = [(right[0] - left[0]) / 2.0, (right[1] - left[1]) / 2.0];
    let along_y = [(below[0] - above[0]) / 2.0, (below[1] - above[1]) / 2.0];
    let weights = weights();
    let template = Patch::sample(
        pictures[0],
        |u, v| [0, 1].map(|k| corner[k] + u * along_x[k] + v * along_y[k]),
        &weights,
    )?;
    let mut place = start;
    for _ in 0..MAX_STEPS {
        let now = Patch::sample(pictures[1], |u, v| [place[0] + u, place[1] + v], &weights)?;
        let (mut xx, mut xy, mut yy, mut bx, mut by, mut square) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
        for (i, w) in weights.iter().enumerate() {
            let g = [0, 1].map(|k| (now.gradient[i][k] + template.gradient[i][k]) / 2.0);
            let e = template.value[i] - now.value[i];
            xx += w * g[0] * g[0];
            xy += w * g[0] * g[1];
            yy += w * g[1] * g[1];
            bx += w * g[0] * e;
            by += w * g[1] * e;
            square += w * e * e;
        }
        let determinant = xx * yy - xy * xy;
        if determinant < 1e-12 {
            return None;
        }
        let d = [
            (yy * bx - xy * by) / determinant,
            (xx * by - xy * bx) / determinant,
        ];
        place = [place[0] + d[0], place[1] + d[1]];
        if (place[0] - start[0]).hypot(place[1] - start[1]) > reach {
            return None;
        }
        if d[0].hypot(d[1]) < ENOUGH {
            // Both have variance 1: the likeness is 1 - square / 2. Blurred pixels are not independent: one in
            // four is assumed, and the scale of the adjustment corrects what is wrong with that.
            let likeness = 1.0 - square / 2.0;
            let independent = 0.25 / weights.iter().map(|w| w * w).sum::<f64>();
            let least = smaller_eigenvalue(xx, xy, yy).max(1e-12);
            let sd = (square / (independent * least)).sqrt().hypot(FLOOR_SD);
            let bright = now.contrast.min(template.contrast) > 2.0;
            return (likeness > MIN_LIKENESS && sd < MAX_SD && bright).then_some((place, sd));
        }
    }
    None
}
