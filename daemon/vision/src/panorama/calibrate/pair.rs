//! Two cameras: which of their matches agree on one rotation and focal length, and do they agree by more than chance?
//!
//! A hypothesis is a focal length of a grid and the rotation that takes two rays of one camera onto two of the other
//! (with equal focal lengths two matches are minimal: Brown, Hartley and Nistér 2007). The score is that of MSAC
//! (Torr and Zisserman 2000). The best few are adjusted on their inliers with a free focal length and k1. A free
//! homography would fit the overlap as well and say nothing of the rest of the picture.

use synoptic_base::Size;

use super::bundle::adjust;
use super::collect::splitmix;
use super::model::{Free, Model, Tie, cross, dot, plain_optics, transposed, unit};
use crate::panorama::geometry::{Mat3, Vec3, mul, unproject};

/// Focal lengths tried, as parts of the longer side: 128 to 12 degrees across, a sixth apart.
const FOCAL_FIRST: f64 = 0.24;
const FOCAL_STEP: f64 = 1.17;
const FOCALS: usize = 19;
/// Samples of two matches for each focal length. With a quarter of true matches all but one of 10^11 runs see a good one.
const SAMPLES: u64 = 400;
/// A match agrees when it misses by less than this part of the longer side; distortion is not yet modelled.
const COARSE: f64 = 0.006;
/// The same after adjustment.
const FINE: f64 = 0.0025;
/// Two matches nearer than this part of the longer side say little of a rotation.
const APART: f64 = 0.05;
/// Hypotheses that are adjusted.
const FINALISTS: usize = 5;
/// Fewer inliers than this are chance, whatever their share.
pub(super) const MIN_INLIERS: usize = 16;

/// Two cameras that see the same.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    /// Both, by index.
    pub(super) cameras: [usize; 2],
    /// Matches there were.
    pub(super) matches: usize,
    /// Those that agree.
    pub(super) ties: Vec<Tie>,
    /// Takes directions of the first camera into the second's.
    pub(super) rotation: Mat3,
    /// The focal length of the first camera, in parts of its longer side.
    pub(super) focal: f64,
}

impl Pair {
    /// More inliers than wrong matches would give: n > 8 + 0.3 of all (Brown and Lowe 2007, section 3.2, with their
    /// constants), and never fewer than [`MIN_INLIERS`].
    pub(super) fn is_sure(&self) -> bool {
        let inliers = self.ties.len();
        inliers >= MIN_INLIERS && inliers as f64 > 8.0 + 0.3 * self.matches as f64
    }
}

fn longer(size: Size) -> f64 {
    f64::from(size.width.max(size.height))
}

/// Finds the rotation that most matches agree on; `None` when no two do.
pub(super) fn relate(
    cameras: [usize; 2],
    sizes: [Size; 2],
    matches: &[[[f64; 2]; 2]],
    fisheye: bool,
    hint: Option<f64>,
) -> Option<Pair> {
    if matches.len() < 4 {
        return None;
    }
    let focals: Vec<f64> = match hint {
        Some(focal) => vec![focal],
        None => (0..FOCALS)
            .map(|i| FOCAL_FIRST * FOCAL_STEP.powi(i as i32))
            .collect(),
    };
    let mut finalists: Vec<(f64, f64, Mat3)> = Vec::new();
    for (index, focal) in focals.iter().enumerate() {
        let best = sample(index as u64, sizes, matches, *focal, fisheye);
        finalists.extend(best.map(|(score, rotation)| (score, *focal, rotation)));
    }
    finalists.sort_by(|a, b| b.0.total_cmp(&a.0));
    finalists.truncate(FINALISTS);
    let ties: Vec<Tie> = matches
        .iter()
        .map(|at| Tie {
            cameras: [0, 1],
            at: *at,
            sd: 1.0,
            by_hand: false,
        })
        .collect();
    finalists
        .into_iter()
        .filter_map(|(_, focal, rotation)| polish(sizes, &ties, focal, rotation, fisheye))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, model, inliers)| Pair {
            cameras,
            matches: matches.len(),
            ties: inliers.into_iter().map(|t| Tie { cameras, ..t }).collect(),
            rotation: model.rotations[1],
            focal: model.optics[0].fx / longer(sizes[0]),
        })
}

/// The best rotation of many samples at one focal length, with its score.
fn sample(
    seed: u64,
    sizes: [Size; 2],
    matches: &[[[f64; 2]; 2]],
    focal: f64,
    fisheye: bool,
) -> Option<(f64, Mat3)> {
    let optics = sizes.map(|s| plain_optics(s, focal * longer(s), fisheye));
    let rays: Vec<[Vec3; 2]> = matches
        .iter()
        .filter_map(|m| Some([unproject(&optics[0], m[0])?, unproject(&optics[1], m[1])?]))
        .collect();
    let limit = (COARSE / focal).powi(2);
    let apart = (APART / focal).powi(2);
    let n = rays.len() as u64;
    if n < 2 {
        return None;
    }
    let mut best: Option<(f64, Mat3)> = None;
    for i in 0..SAMPLES {
        let draw = splitmix(seed << 32 | (i + 1));
        let (one, two) = ((draw >> 32) % n, (draw & 0xffff_ffff) % n);
        let (p, q) = (&rays[one as usize], &rays[two as usize]);
        let (here, there) = (distance(p[0], q[0]), distance(p[1], q[1]));
        if here < apart || there < apart || (here.sqrt() - there.sqrt()).abs() > 2.0 * limit.sqrt() {
            continue;
        }
        let rotation = align([p[0], q[0]], [p[1], q[1]]);
        let score: f64 = rays
            .iter()
            .map(|r| (1.0 - distance(mul(&rotation, r[0]), r[1]) / limit).max(0.0))
            .sum();
        if best.as_ref().is_none_or(|b| score > b.0) {
            best = Some((score, rotation));
        }
    }
    best
}

/// Square of the distance of two points of the unit sphere.
fn distance(u: Vec3, v: Vec3) -> f64 {
    let d = [0, 1, 2].map(|i| u[i] - v[i]);
    dot(d, d)
}

/// The rotation that takes two directions onto two others, the miss shared between them.
fn align(from: [Vec3; 2], to: [Vec3; 2]) -> Mat3 {
    let frame = |[u, v]: [Vec3; 2]| {
        let x = unit([0, 1, 2].map(|i| u[i] + v[i]));
        let z = unit(cross(u, v));
        [x, cross(z, x), z]
    };
    let (a, b) = (frame(from), transposed(&frame(to)));
    super::model::times(&b, &a)
}

/// Adjusts a hypothesis on its inliers, more strictly each round. Gives its score, the model and the inliers.
fn polish(
    sizes: [Size; 2],
    ties: &[Tie],
    focal: f64,
    rotation: Mat3,
    fisheye: bool,
) -> Option<(f64, Model, Vec<Tie>)> {
    let same = sizes[0] == sizes[1];
    let optics = |s: Size| plain_optics(s, focal * longer(s), fisheye);
    let mut model = Model {
        rotations: vec![[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], rotation],
        optics: if same {
            vec![optics(sizes[0])]
        } else {
            vec![optics(sizes[0]), optics(sizes[1])]
        },
        set: if same { vec![0, 0] } else { vec![0, 1] },
    };
    let start = model.clone();
    let size = longer(sizes[0]).max(longer(sizes[1]));
    let within = |model: &Model, part: f64| -> Vec<Tie> {
        let near = |t: &&Tie| model.miss(t).is_some_and(|m| m < part * size);
        ties.iter().filter(near).copied().collect()
    };
    for (part, lens) in [(COARSE, 0), (COARSE, 0), (COARSE, 1), (FINE, 1), (FINE, 1)] {
        let inliers = within(&model, part);
        if inliers.len() < 4 {
            return None;
        }
        let free = Free {
            focal: true,
            lens,
            centre: false,
        };
        adjust(&mut model, &inliers, free, part * size / 4.0, &start)?;
    }
    let inliers = within(&model, FINE);
    let score = inliers
        .iter()
        .filter_map(|t| model.miss(t))
        .map(|m| 1.0 - (m / (FINE * size)).powi(2))
        .sum();
    Some((score, model, inliers))
}
