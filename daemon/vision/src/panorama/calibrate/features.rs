//! Features of a still and their matches, by kornia's SIFT (docs/decisions/0010-sift.md).

use kornia_imgproc::features::{
    DESCR_LEN, FirstOctave, SiftConfig, SiftConfigError, SiftWorkspace, sift_detect_and_compute,
};
use nalgebra::DMatrix;

use super::collect::Still;

/// The longest side that features are looked for at; larger pictures are halved until they fit.
const MAX_SIDE: usize = 2000;
/// Below this longest side a picture is doubled first: it needs every feature it has.
const SMALL_SIDE: usize = 1000;
/// Features kept of a camera. Matching costs their square.
const MAX_FEATURES: usize = 2500;
/// Cells across and down among which the kept ones are spread.
const CELLS: [usize; 2] = [16, 9];
/// Lowe's ratio of the best to the second best distance (2004, section 7.1).
const RATIO: f32 = 0.8;
/// A feature must keep this far from what moves, pixels.
const CLEARANCE: f64 = 4.0;

/// Features of one camera.
#[derive(Clone, Debug, Default)]
pub(super) struct Features {
    /// Places in pixels of the full picture.
    pub(super) at: Vec<[f64; 2]>,
    descriptors: Vec<f32>,
}

/// Finds features in a still, spread over it, none on what moves.
pub(super) fn find(still: &Still) -> Result<Features, SiftConfigError> {
    let mut picture = None;
    let mut factor = 1.0;
    loop {
        let now = picture.as_ref().unwrap_or(&still.luma);
        if now.width.max(now.height) <= MAX_SIDE {
            break;
        }
        picture = Some(now.halved());
        factor *= 2.0;
    }
    let luma = picture.as_ref().unwrap_or(&still.luma);
    let octave = if luma.width.max(luma.height) < SMALL_SIDE {
        FirstOctave::Double
    } else {
        FirstOctave::Native
    };
    // Half of Lowe's contrast: weak texture is texture, and matching sorts it out.
    let config = SiftConfig {
        contrast_threshold: 0.02,
        ..SiftConfig::default()
    };
    let mut workspace = SiftWorkspace::new();
    let found = sift_detect_and_compute(
        &mut workspace,
        &luma.data,
        luma.width,
        luma.height,
        &config,
        octave,
        usize::MAX,
        false,
    )?;
    let places: Vec<[f64; 2]> = found
        .keypoints
        .iter()
        .map(|k| [k.x, k.y].map(|v| f64::from(v) * factor + (factor - 1.0) / 2.0))
        .collect();
    let mut cells = vec![Vec::new(); CELLS[0] * CELLS[1]];
    for (i, p) in places.iter().enumerate() {
        if still.is_steady(p[0], p[1], CLEARANCE) {
            let cell = |v: f64, side: usize, n: usize| ((v / side as f64 * n as f64) as usize).min(n - 1);
            let x = cell(p[0], still.luma.width, CELLS[0]);
            let y = cell(p[1], still.luma.height, CELLS[1]);
            cells[y * CELLS[0] + x].push(i);
        }
    }
    for cell in &mut cells {
        cell.sort_by(|a, b| {
            found.keypoints[*b]
                .response
                .total_cmp(&found.keypoints[*a].response)
        });
    }
    // Round after round each cell gives its next best: crowded cells wait for poor ones.
    let deepest = cells.iter().map(Vec::len).max().unwrap_or(0);
    let mut features = Features::default();
    'full: for depth in 0..deepest {
        for i in cells.iter().filter_map(|c| c.get(depth)) {
            if features.at.len() == MAX_FEATURES {
                break 'full;
            }
            features.at.push(places[*i]);
            features
                .descriptors
                .extend_from_slice(&found.descriptors[i * DESCR_LEN..(i + 1) * DESCR_LEN]);
        }
    }
    Ok(features)
}

/// Places that look alike in two cameras: mutual nearest neighbours that pass Lowe's ratio test.
///
/// All distances at once, as one product of matrices: the library's own matcher took 4 s for 2400 x 1700 descriptors
/// on x86-64, where it has no SIMD; this took 0.25 to 0.55 s on the
/// same shared cores.
pub(super) fn matches(a: &Features, b: &Features) -> Vec<[[f64; 2]; 2]> {
    if a.at.len() < 2 || b.at.len() < 2 {
        return Vec::new();
    }
    let left = DMatrix::from_column_slice(DESCR_LEN, a.at.len(), &a.descriptors);
    let right = DMatrix::from_column_slice(DESCR_LEN, b.at.len(), &b.descriptors);
    let mut product = DMatrix::zeros(a.at.len(), b.at.len());
    product.gemm_tr(1.0_f32, &left, &right, 0.0);
    let norms = |m: &DMatrix<f32>| m.column_iter().map(|c| c.norm_squared()).collect::<Vec<f32>>();
    let (left, right) = (norms(&left), norms(&right));
    let mut of_a = vec![Nearest::NONE; a.at.len()];
    let mut of_b = vec![Nearest::NONE; b.at.len()];
    for (j, column) in product.column_iter().enumerate() {
        for (i, dot) in column.iter().enumerate() {
            let distance = left[i] + right[j] - 2.0 * dot;
            of_a[i].offer(j, distance);
            of_b[j].offer(i, distance);
        }
    }
    let mut found: Vec<[[f64; 2]; 2]> = of_a
        .iter()
        .enumerate()
        .filter(|(i, near)| near.best < RATIO * RATIO * near.second && of_b[near.index].index == *i)
        .map(|(i, near)| [a.at[i], b.at[near.index]])
        .collect();
    // One place with two orientations is one witness.
    found.sort_by(|m, n| {
        let key = |m: &[[f64; 2]; 2]| [m[0][0], m[0][1], m[1][0], m[1][1]].map(f64::to_bits);
        key(m).cmp(&key(n))
    });
    found.dedup_by(|m, n| (0..2).all(|k| (m[k][0] - n[k][0]).hypot(m[k][1] - n[k][1]) < 0.5));
    found
}

/// The nearest and the second nearest descriptor, as squared distances.
#[derive(Clone, Copy)]
struct Nearest {
    index: usize,
    best: f32,
    second: f32,
}

impl Nearest {
    const NONE: Nearest = Nearest {
        index: 0,
        best: f32::MAX,
        second: f32::MAX,
    };

    fn offer(&mut self, index: usize, distance: f32) {
        if distance < self.best {
            self.second = self.best;
            self.best = distance;
            self.index = index;
        } else if distance < self.second {
            self.second = distance;
        }
    }
}
