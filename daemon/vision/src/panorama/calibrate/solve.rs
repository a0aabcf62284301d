//! From pairs to all cameras: who connects with whom, the common start, and which parameters the pictures determine.

use nalgebra::{DVector, Matrix4, Vector4};
use synoptic_base::Size;

use super::bundle::{Adjusted, adjust, applied};
use super::image::Gray;
use super::model::{Free, Model, Tie, coefficients, cross, dot, plain_optics, times, transposed, unit};
use super::pair::Pair;
use super::{Optics, Still, refine};
use crate::panorama::geometry::{Mat3, Vec3, mul_transposed, unproject};

const IDENTITY: Mat3 = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
/// The median of a two-dimensional normal error, in standard deviations (Rayleigh): sqrt(2 ln 2).
const RAYLEIGH_MEDIAN: f64 = 1.177_410_022_515_474_7;
/// A tie that misses by more standard deviations than this is wrong, or shows something near.
const OUTLIER: f64 = 4.0;
/// From so many ties on, residuals may lower what is thought of their errors.
const MANY: usize = 60;
/// A parameter is freed when it lowers the cost by this much at least; by chance that happens once in
/// 10^6 (chi-squared of 24, one degree of freedom), so that there is room for ties that are not independent.
const WORTH: f64 = 12.0;
/// With it freed, no direction at a picture's corners may be less sure than this, in parts of the longer side.
const SURE: f64 = 0.0015;
/// Rounds of refinement: wide and forgiving first. Blur of 0.8 takes out what interpolation cannot carry.
const ROUNDS: [refine::Round; 3] = [
    refine::Round {
        blur: 2.5,
        reach: 8.0,
        cell: 48,
    },
    refine::Round {
        blur: 1.2,
        reach: 3.0,
        cell: 24,
    },
    refine::Round {
        blur: 0.8,
        reach: 1.5,
        cell: 16,
    },
];

/// A model with what it came from.
#[derive(Clone, Debug)]
pub(super) struct Solution {
    pub(super) model: Model,
    pub(super) free: Free,
    pub(super) ties: Vec<Tie>,
    /// The error of the ties is this much of what they thought, a robust standard deviation.
    pub(super) scale: f64,
    /// Of the parameters, in the order of [`adjust`], `scale` included.
    pub(super) adjusted: Adjusted,
}

/// The cameras in groups that are connected by `pairs`, each group in order.
pub(super) fn groups(cameras: usize, pairs: &[Pair]) -> Vec<Vec<usize>> {
    let mut label: Vec<usize> = (0..cameras).collect();
    for pair in pairs {
        let [a, b] = pair.cameras.map(|c| label[c]);
        for l in &mut label {
            if *l == a.max(b) {
                *l = a.min(b);
            }
        }
    }
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); cameras];
    for (camera, l) in label.iter().enumerate() {
        groups[*l].push(camera);
    }
    groups.retain(|g| !g.is_empty());
    groups
}

/// The start of the adjustment: rotations along the strongest pairs, the middle of the focal lengths.
pub(super) fn start(
    sizes: &[Size],
    pairs: &[Pair],
    fisheye: bool,
    optics: Optics,
    hint: Option<f64>,
) -> Model {
    let mut order: Vec<&Pair> = pairs.iter().collect();
    order.sort_by_key(|p| std::cmp::Reverse(p.ties.len()));
    let mut rotations: Vec<Option<Mat3>> = vec![None; sizes.len()];
    rotations[0] = Some(IDENTITY);
    // As in Prim's tree: always the strongest pair that reaches a new camera.
    while let Some((from, to, turn)) = order.iter().find_map(|p| {
        let [a, b] = p.cameras;
        match (rotations[a], rotations[b]) {
            (Some(known), None) => Some((known, b, p.rotation)),
            (None, Some(known)) => Some((known, a, transposed(&p.rotation))),
            _ => None,
        }
    }) {
        rotations[to] = Some(times(&turn, &from));
    }
    let mut focals: Vec<(f64, usize)> = pairs.iter().map(|p| (p.focal, p.ties.len())).collect();
    focals.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = focals.iter().map(|f| f.1).sum::<usize>() / 2;
    let mut below = 0;
    let found = focals.iter().find(|f| {
        below += f.1;
        below > half
    });
    let focal = hint.or(found.map(|f| f.0)).unwrap_or(1.0);
    let (mut sets, mut set): (Vec<Size>, Vec<usize>) = (Vec::new(), Vec::new());
    for size in sizes {
        let known = sets
            .iter()
            .position(|s| s == size)
            .filter(|_| optics != Optics::PerCamera);
        set.push(known.unwrap_or(sets.len()));
        if known.is_none() {
            sets.push(*size);
        }
    }
    Model {
        rotations: rotations.into_iter().map(|r| r.unwrap_or(IDENTITY)).collect(),
        optics: sets
            .iter()
            .map(|s| plain_optics(*s, focal * f64::from(s.width.max(s.height)), fisheye))
            .collect(),
        set,
    }
}

/// How much the ties err against what they thought, robustly.
fn scale(model: &Model, ties: &[Tie]) -> f64 {
    let mut misses: Vec<f64> = ties.iter().filter_map(|t| Some(model.miss(t)? / t.sd)).collect();
    if misses.is_empty() {
        return 1.0;
    }
    let middle = misses.len() / 2;
    let median = *misses.select_nth_unstable_by(middle, f64::total_cmp).1;
    // Few ties fit any model: their residuals say nothing of their errors.
    let least = if ties.len() < MANY { 1.0 } else { 0.05 };
    (median / RAYLEIGH_MEDIAN).max(least)
}

/// Adjusts until the scale of the errors settles, then without what lies too far off.
fn settle(model: &mut Model, ties: &[Tie], free: Free, begun: &Model) -> Option<(Vec<Tie>, f64, Adjusted)> {
    let mut kept = ties.to_vec();
    for _ in 0..3 {
        let s = scale(model, &kept);
        adjust(model, &kept, free, s, begun)?;
        let limit = OUTLIER * scale(model, &kept);
        kept = ties
            .iter()
            .filter(|t| t.by_hand || model.miss(t).is_some_and(|m| m < limit * t.sd))
            .copied()
            .collect();
    }
    let s = scale(model, &kept);
    let adjusted = adjust(model, &kept, free, s, begun)?;
    Some((kept, s, adjusted))
}

/// All the way from the start to a solution with every parameter that the pictures determine.
pub(super) fn solve(
    mut model: Model,
    pairs: &[Pair],
    stills: &[Still],
    hand: &[Tie],
    optics: Optics,
    mut progress: impl FnMut(f64),
) -> Option<Solution> {
    let begun = model.clone();
    let lens_free = |lens| Free {
        focal: true,
        lens,
        centre: false,
    };
    let mut first: Vec<Tie> = pairs.iter().flat_map(|p| p.ties.iter().copied()).collect();
    first.extend_from_slice(hand);
    settle(&mut model, &first, lens_free(0), &begun)?;
    settle(&mut model, &first, lens_free(1), &begun)?;
    let mut free = lens_free(1);
    let mut ties = first;
    for (done, round) in ROUNDS.into_iter().enumerate() {
        let blurred: Vec<Gray> = stills.iter().map(|s| s.luma.blurred(round.blur)).collect();
        let mut fine: Vec<Tie> = pairs
            .iter()
            .flat_map(|p| refine::ties(&model, stills, &blurred, p.cameras, round))
            .collect();
        log::debug!("refinement at blur {} gave {} ties", round.blur, fine.len());
        if fine.len() < super::pair::MIN_INLIERS {
            break;
        }
        fine.extend_from_slice(hand);
        ties = fine;
        let (_, s, _) = settle(&mut model, &ties, free, &begun)?;
        log::debug!(
            "errors are {s:.2} of expectation, focal {:.1}",
            model.optics[0].fx
        );
        // A second k where the first round already calls for it, so that the last round has nothing to hide.
        let candidate = tried(&model, &ties, lens_free(free.lens + 1), &begun, free);
        if let Some(better) = candidate.filter(|_| free.lens < 3) {
            model = better.model;
            free = better.free;
        }
        progress((done + 1) as f64 / (ROUNDS.len() + 1) as f64);
    }
    let mut best = finished(model, &ties, lens_free(0), &begun)?;
    // The principal point comes before k2: what is off by it would be taken for a bent lens.
    let wanted = [(1, false), (1, true), (2, true), (2, false), (3, true)];
    for (lens, centre) in wanted {
        let free = Free {
            focal: true,
            lens: lens.max(best.free.lens),
            centre: centre || best.free.centre,
        };
        if lens > best.free.lens + 1 || free == best.free {
            continue;
        }
        if let Some(better) = tried(&best.model, &ties, free, &begun, best.free) {
            best = better;
        }
    }
    // What the first steps took may have become needless.
    while best.free.lens > 0 {
        let less = Free {
            lens: best.free.lens - 1,
            ..best.free
        };
        if tried(&best.model, &ties, best.free, &begun, less).is_some() {
            break;
        }
        best = finished(best.model, &ties, less, &begun)?;
    }
    if optics == Optics::Auto && best.model.optics.len() < best.model.set.len() {
        let mut apart = best.model.clone();
        apart.optics = best.model.set.iter().map(|s| best.model.optics[*s]).collect();
        apart.set = (0..apart.optics.len()).collect();
        let mut begun_apart = begun.clone();
        begun_apart.optics = begun.set.iter().map(|s| begun.optics[*s]).collect();
        begun_apart.set.clone_from(&apart.set);
        let more = (apart.optics.len() - best.model.optics.len()) * best.free.count();
        if let Some(better) = compared(
            &apart,
            &best.model,
            &ties,
            [best.free, best.free],
            &begun_apart,
            &begun,
            more,
        ) {
            best = better;
        }
    }
    progress(1.0);
    Some(best)
}

/// Starts anew with only `free` of the lens kept, and settles.
fn finished(mut model: Model, ties: &[Tie], free: Free, begun: &Model) -> Option<Solution> {
    for optics in &mut model.optics {
        for k in &mut coefficients(&mut optics.lens)[free.lens..] {
            *k = 0.0;
        }
    }
    let (ties, scale, adjusted) = settle(&mut model, ties, free, begun)?;
    Some(Solution {
        model,
        free,
        ties,
        scale,
        adjusted,
    })
}

/// The model with more freed, if that is worth it and still determined.
fn tried(model: &Model, ties: &[Tie], free: Free, begun: &Model, was: Free) -> Option<Solution> {
    let more = (free.count() - was.count()) * model.optics.len();
    compared(model, model, ties, [free, was], begun, begun, more)
}

/// Settles `wider` with `free[0]` and gives it if it beats `narrower` with `free[1]` by enough for `more` parameters.
fn compared(
    wider: &Model,
    narrower: &Model,
    ties: &[Tie],
    free: [Free; 2],
    begun_wider: &Model,
    begun_narrower: &Model,
    more: usize,
) -> Option<Solution> {
    let mut narrow = finished(narrower.clone(), ties, free[1], begun_narrower)?;
    let wide = finished(wider.clone(), ties, free[0], begun_wider)?;
    // Both are judged by the ties and the scale of the wider.
    let was = adjust(&mut narrow.model, &wide.ties, free[1], wide.scale, begun_narrower)?;
    let gain = was.cost - wide.adjusted.cost;
    let longest = wide
        .model
        .optics
        .iter()
        .map(|o| o.size.width.max(o.size.height))
        .max()?;
    let unsure = corner_sd(&wide).into_iter().fold(0.0, f64::max);
    log::debug!(
        "{:?} over {:?}: gain {gain:.0} for {more} parameters, corners ±{unsure:.2} px, focal {:.1}, lens {:?}",
        free[0],
        free[1],
        wide.model.optics[0].fx,
        wide.model.optics[0].lens,
    );
    (gain > WORTH * more as f64 && unsure < SURE * f64::from(longest) && plausible(&wide.model))
        .then_some(wide)
}

/// A lens that turns back on itself inside of the picture is no lens.
fn plausible(model: &Model) -> bool {
    model.optics.iter().all(|o| {
        let corners = border(o.size);
        corners.iter().all(|p| unproject(o, *p).is_some())
    })
}

/// Places at the corners and the edges' middles of a picture.
fn border(size: Size) -> Vec<[f64; 2]> {
    let (w, h) = (f64::from(size.width) - 1.0, f64::from(size.height) - 1.0);
    let mut places = Vec::new();
    for y in [0.0, 0.5, 1.0] {
        for x in [0.0, 0.5, 1.0] {
            if x != 0.5 || y != 0.5 {
                places.push([x * w, y * h]);
            }
        }
    }
    places
}

/// For each camera, how sure the least sure of its border directions is, in its pixels, when a turn of all cameras
/// together counts for nothing, nor does a common scale: in a narrow view a longer focal length with smaller turns
/// shows the same, so that the scale is known badly and matters little.
pub(super) fn corner_sd(solution: &Solution) -> Vec<f64> {
    const STEP: f64 = 1e-6;
    let model = &solution.model;
    let places: Vec<(usize, [f64; 2])> = (0..model.rotations.len())
        .flat_map(|c| border(model.of(c).size).into_iter().map(move |p| (c, p)))
        .collect();
    let directions = |m: &Model| -> Option<Vec<Vec3>> {
        let direction =
            |(c, p): &(usize, [f64; 2])| Some(mul_transposed(&m.rotations[*c], unproject(m.of(*c), *p)?));
        places.iter().map(direction).collect()
    };
    let size = solution.adjusted.covariance.nrows();
    let slopes = || -> Option<Vec<Vec<Vec3>>> {
        let here = directions(model)?;
        (0..size)
            .map(|i| {
                let ends = [STEP, -STEP].map(|s| {
                    let mut step = DVector::zeros(size);
                    step[i] = s;
                    directions(&applied(model, &step, solution.free))
                });
                let [up, down] = ends;
                let mut slope: Vec<Vec3> = up?
                    .iter()
                    .zip(&down?)
                    .map(|(u, d)| [0, 1, 2].map(|k| (u[k] - d[k]) / (2.0 * STEP)))
                    .collect();
                without_turn(&here, &mut slope);
                Some(slope)
            })
            .collect()
    };
    let mut worst = vec![0.0_f64; model.rotations.len()];
    let Some(slopes) = slopes() else {
        return vec![f64::INFINITY; worst.len()];
    };
    for (n, (camera, _)) in places.iter().enumerate() {
        let mut variance = 0.0;
        for i in 0..size {
            for j in 0..size {
                variance += solution.adjusted.covariance[(i, j)] * dot(slopes[i][n], slopes[j][n]);
            }
        }
        // Two directions across, of which one standard deviation each.
        let sd = (variance / 2.0).max(0.0).sqrt() * model.of(*camera).fx;
        worst[*camera] = worst[*camera].max(sd);
    }
    worst
}

/// Takes out of the movements of directions what a common turn and a common scale explain, by least squares.
fn without_turn(directions: &[Vec3], moves: &mut [Vec3]) {
    let sum = directions
        .iter()
        .fold([0.0; 3], |s, d| [s[0] + d[0], s[1] + d[1], s[2] + d[2]]);
    let middle = unit(sum);
    // How a direction moves by each of three turns, and away from the middle by its angle from it.
    let modes = |r: Vec3| -> [Vec3; 4] {
        let [x, y, z] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]].map(|axis| cross(axis, r));
        let cosine = dot(r, middle);
        let away = [0, 1, 2].map(|i| r[i] * cosine - middle[i]);
        let sine = dot(away, away).sqrt();
        let scale = if sine > 1e-9 {
            sine.atan2(cosine) / sine
        } else {
            0.0
        };
        [x, y, z, away.map(|v| v * scale)]
    };
    let mut normal = Matrix4::<f64>::zeros();
    let mut right = Vector4::<f64>::zeros();
    for (r, m) in directions.iter().zip(moves.iter()) {
        let modes = modes(*r);
        for i in 0..4 {
            right[i] += dot(modes[i], *m);
            for j in 0..4 {
                normal[(i, j)] += dot(modes[i], modes[j]);
            }
        }
    }
    if let Some(inverse) = normal.try_inverse() {
        let share = inverse * right;
        for (r, m) in directions.iter().zip(moves) {
            for (i, mode) in modes(*r).iter().enumerate() {
                for k in 0..3 {
                    m[k] -= share[i] * mode[k];
                }
            }
        }
    }
}

/// Standard deviation of the focal length of each camera, as a part of it.
pub(super) fn focal_sd(solution: &Solution) -> Vec<f64> {
    let cameras = solution.model.rotations.len();
    let count = solution.free.count();
    solution
        .model
        .set
        .iter()
        .map(|s| {
            let at = 3 * (cameras - 1) + s * count;
            solution.adjusted.covariance[(at, at)].sqrt()
        })
        .collect()
}
