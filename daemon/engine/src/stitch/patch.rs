//! What two views of one patch have to do with each other.

use synoptic_base::{PATCH, PatchPair};

/// Side of the blocks of SSIM.
const BLOCK: usize = 8;
/// Constants of SSIM (Wang et al. 2004) for 8 bits: (0.01 x 255)^2 and (0.03 x 255)^2.
const C1: f64 = 6.5025;
const C2: f64 = 58.5225;
/// Gradients (difference over two pixels) from which on an edge is strong, and counts as an answer to one.
const STRONG: f32 = 40.0;
const ANSWER: f32 = 16.0;
/// An edge of the other picture within this is the same edge, pixels.
const NEAR: usize = 3;
/// Strong edges from which on their fraction says something.
const MIN_EDGES: usize = 40;
/// A residual further than this is not believed: the patch is 32 pixels wide.
const REACH: f32 = 5.0;
/// Rows and columns at each side that a moved patch may need.
const RIM: usize = 6;
/// Smaller eigenvalue of the mean structure tensor below which a patch has no hold, squared levels a pixel.
const MIN_TEXTURE: f32 = 6.0;
/// Gauss-Newton steps.
const STEPS: usize = 12;
/// A patch whose views differ by more than this after moving shows two things, root mean square levels.
const MAX_LEFT: f32 = 14.0;

/// The pair with the second view's brightness matched to the first's.
pub(super) fn levelled(pair: &PatchPair) -> PatchPair {
    let mean = |v: &[f32]| v.iter().sum::<f32>() / v.len().max(1) as f32;
    // Luma 16 is black.
    let (one, two) = (mean(&pair.one) - 16.0, mean(&pair.two) - 16.0);
    let gain = if two > 1.0 {
        (one / two).clamp(0.2, 5.0)
    } else {
        1.0
    };
    PatchPair {
        two: pair.two.iter().map(|v| (v - 16.0) * gain + 16.0).collect(),
        ..pair.clone()
    }
}

/// Of all pairs together, dB; capped at 60, where nothing is left but rounding.
pub(super) fn psnr(pairs: &[PatchPair]) -> Option<f64> {
    let (mut sum, mut n) = (0.0, 0.0);
    for pair in pairs {
        for (a, b) in pair.one.iter().zip(&pair.two) {
            sum += f64::from((a - b).powi(2));
            n += 1.0;
        }
    }
    (n > 0.0).then(|| (10.0 * (255.0 * 255.0 * n / sum.max(1e-9)).log10()).min(60.0))
}

/// Mean over blocks of 8 x 8.
pub(super) fn ssim(pairs: &[PatchPair]) -> Option<f64> {
    let (mut sum, mut n) = (0.0, 0.0);
    for pair in pairs {
        for by in (0..PATCH).step_by(BLOCK) {
            for bx in (0..PATCH).step_by(BLOCK) {
                let (mut a, mut b, mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0, 0.0, 0.0);
                for y in by..by + BLOCK {
                    for x in bx..bx + BLOCK {
                        let (p, q) = (
                            f64::from(pair.one[y * PATCH + x]),
                            f64::from(pair.two[y * PATCH + x]),
                        );
                        a += p;
                        b += q;
                        aa += p * p;
                        bb += q * q;
                        ab += p * q;
                    }
                }
                let count = (BLOCK * BLOCK) as f64;
                let (a, b) = (a / count, b / count);
                let (va, vb, vab) = (aa / count - a * a, bb / count - b * b, ab / count - a * b);
                sum += (2.0 * a * b + C1) * (2.0 * vab + C2) / ((a * a + b * b + C1) * (va + vb + C2));
                n += 1.0;
            }
        }
    }
    (n > 0.0).then(|| sum / n)
}

/// Difference over two pixels, both ways, at an inner pixel.
fn gradient(view: &[f32], x: usize, y: usize) -> [f32; 2] {
    let i = y * PATCH + x;
    [view[i + 1] - view[i - 1], view[i + PATCH] - view[i - PATCH]]
}

/// Of all inner pixels of all pairs; `None` where both are flat.
pub(super) fn gradient_correlation(pairs: &[PatchPair]) -> Option<f64> {
    let (mut both, mut one, mut two) = (0.0, 0.0, 0.0);
    for pair in pairs {
        for y in 1..PATCH - 1 {
            for x in 1..PATCH - 1 {
                let (a, b) = (gradient(&pair.one, x, y), gradient(&pair.two, x, y));
                both += f64::from(a[0] * b[0] + a[1] * b[1]);
                one += f64::from(a[0] * a[0] + a[1] * a[1]);
                two += f64::from(b[0] * b[0] + b[1] * b[1]);
            }
        }
    }
    (one > 1.0 && two > 1.0).then(|| both / (one * two).sqrt())
}

/// Part of the strong edges of either view that the other does not answer.
pub(super) fn ghost_edges(pairs: &[PatchPair]) -> Option<f64> {
    let strength = |view: &[f32]| {
        let mut all = vec![0.0_f32; PATCH * PATCH];
        for y in 1..PATCH - 1 {
            for x in 1..PATCH - 1 {
                let g = gradient(view, x, y);
                all[y * PATCH + x] = g[0].hypot(g[1]);
            }
        }
        all
    };
    let (mut edges, mut ghosts) = (0, 0);
    for pair in pairs {
        let (one, two) = (strength(&pair.one), strength(&pair.two));
        for (a, b) in [(&one, &two), (&two, &one)] {
            for y in 1 + NEAR..PATCH - 1 - NEAR {
                for x in 1 + NEAR..PATCH - 1 - NEAR {
                    if a[y * PATCH + x] < STRONG {
                        continue;
                    }
                    edges += 1;
                    let answered = (y - NEAR..=y + NEAR)
                        .any(|y| (x - NEAR..=x + NEAR).any(|x| b[y * PATCH + x] >= ANSWER));
                    ghosts += usize::from(!answered);
                }
            }
        }
    }
    (edges >= MIN_EDGES).then(|| f64::from(ghosts as u32) / f64::from(edges as u32))
}

/// By how much the second view must be moved to lie on the first (Lucas and Kanade 1981), in pixels; `None` for a patch
/// without hold, or with two different things in it. Positive: what the second shows at x - shift belongs at x.
pub(super) fn shift(one: &[f32], two: &[f32]) -> Option<[f32; 2]> {
    let (mut xx, mut xy, mut yy, mut n) = (0.0_f32, 0.0_f32, 0.0_f32, 0.0_f32);
    let inner = || (RIM..PATCH - RIM).flat_map(|y| (RIM..PATCH - RIM).map(move |x| (x, y)));
    for (x, y) in inner() {
        let [gx, gy] = gradient(one, x, y).map(|g| g / 2.0);
        xx += gx * gx;
        xy += gx * gy;
        yy += gy * gy;
        n += 1.0;
    }
    let (half, difference) = ((xx + yy) / 2.0, (xx - yy) / 2.0);
    if (half - difference.hypot(xy)) / n < MIN_TEXTURE {
        return None;
    }
    let determinant = xx * yy - xy * xy;
    let mut shift = [0.0_f32; 2];
    let mut left = f32::MAX;
    for _ in 0..STEPS {
        let (mut bx, mut by, mut error) = (0.0, 0.0, 0.0);
        for (x, y) in inner() {
            let seen = sample(two, x as f32 - shift[0], y as f32 - shift[1]);
            let d = seen - one[y * PATCH + x];
            let [gx, gy] = gradient(one, x, y).map(|g| g / 2.0);
            bx += gx * d;
            by += gy * d;
            error += d * d;
        }
        left = (error / n).sqrt();
        let step = [
            (yy * bx - xy * by) / determinant,
            (xx * by - xy * bx) / determinant,
        ];
        shift = [shift[0] + step[0], shift[1] + step[1]];
        if shift[0].abs() > REACH || shift[1].abs() > REACH {
            return None;
        }
        if step[0].hypot(step[1]) < 0.01 {
            break;
        }
    }
    (left < MAX_LEFT).then_some(shift)
}

/// The value between pixels, edges repeated.
fn sample(view: &[f32], x: f32, y: f32) -> f32 {
    let most = (PATCH - 2) as f32;
    let (bx, by) = (x.floor().clamp(0.0, most), y.floor().clamp(0.0, most));
    let (fx, fy) = ((x - bx).clamp(0.0, 1.0), (y - by).clamp(0.0, 1.0));
    let i = by as usize * PATCH + bx as usize;
    let top = view[i] + (view[i + 1] - view[i]) * fx;
    let bottom = view[i + PATCH] + (view[i + PATCH + 1] - view[i + PATCH]) * fx;
    top + (bottom - top) * fy
}
