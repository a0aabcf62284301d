//! Light that changes, told from things that move.

use super::background::{BLACK, Background, CLIPPED, EMPTY};
use super::blobs::Blob;
use super::cells::Cells;

/// Every n-th cell is looked at for the gain of the light: enough for a median.
const GAIN_STEP: usize = 3;
/// Cells darker than this above black say nothing of the gain, levels.
const GAIN_MIN_LUMA: f32 = 16.0;
/// Share of the looked-at cells that must say something, else the gain is not known.
const GAIN_MIN_SHARE: f32 = 0.1;
/// Bins of the histogram of ratios, each 1 / 64 wide: ratios up to 4, two stops.
const GAIN_BINS: usize = 256;
const GAIN_BIN: f32 = 64.0;

/// Brightest cell of the picture, level: what is clipped cannot be compared.
pub(super) fn white(cells: &Cells) -> f32 {
    cells.y.iter().fold(0.0, |a: f32, &b| a.max(b))
}

/// How much brighter the picture is than the background: the median ratio over cells where nothing stood in the
/// last picture, as auto-exposure and clouds change most cells alike and objects few. `None` when too dark.
pub(super) fn gain(cells: &Cells, background: &[f32], mask: &[u8], white: f32) -> Option<f32> {
    let mut bins = [(0_u32, 0.0_f32); GAIN_BINS];
    let (mut seen, mut count) = (0_u32, 0_u32);
    for i in (0..background.len()).step_by(GAIN_STEP) {
        seen += 1;
        let (now, then) = (cells.y[i] - BLACK, background[i] - BLACK);
        if mask[i] == EMPTY && then >= GAIN_MIN_LUMA && now > 0.0 && cells.y[i] < white - CLIPPED {
            let ratio = now / then;
            let bin = &mut bins[((ratio * GAIN_BIN) as usize).min(GAIN_BINS - 1)];
            bin.0 += 1;
            bin.1 += ratio;
            count += 1;
        }
    }
    if (count as f32) < GAIN_MIN_SHARE * seen as f32 {
        return None;
    }
    let mut below = 0;
    let middle = bins.iter().position(|bin| {
        below += bin.0;
        2 * below >= count
    })?;
    // The mean around the median is finer than a bin.
    let around = &bins[middle.saturating_sub(1)..(middle + 2).min(GAIN_BINS)];
    let (n, sum) = around.iter().fold((0, 0.0), |(n, s), bin| (n + bin.0, s + bin.1));
    Some(sum / n.max(1) as f32)
}

/// Inside a patch of light the background's texture shows through: its correlation is at least this.
const PATCH_CORRELATION: f32 = 0.95;
/// A background with less variance than this has no texture to show, levels squared.
const PATCH_MIN_VAR: f32 = 25.0;
/// Largest mean |Cb| + |Cr| difference that light makes, levels.
const PATCH_CHROMA: f32 = 8.0;
/// Mean step of the contrast across the rim below which a blob has no outline, thresholds. A thing steps from its
/// contrast to none within two cells; light that people reflect onto a wall fades over many.
const SOFT_RIM: f32 = 0.8;
/// A hole has less than this share of the background's edges along its rim.
const HOLE_EDGES: f32 = 0.7;
/// Without such a mean edge along the rim, nothing is said, levels.
const HOLE_MIN_EDGE: f32 = 8.0;

/// What a blob is when one looks at its inside and its rim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// A thing.
    Thing,
    /// Light on the background: it has no outline, or the background's texture is there, only brighter or darker (normalised cross-correlation,
    /// Jacques, Jung and Musse, SIBGRAPI 2005).
    Light,
    /// The place that a thing left which stood there when the background was learnt ("ghost"): the outline is
    /// in the background, not in the picture (Cucchiara et al., PAMI 2003, tell ghosts by motion; edges need none).
    Hole,
}

/// Looks at the cells of `blob` that are set in `solid`.
pub(super) fn nature(blob: &Blob, solid: &[u8], cells: &Cells, background: &Background) -> Nature {
    let (w, h) = (cells.w, cells.h);
    let bg = &background.y;
    let (mut n, mut now, mut then, mut now2, mut then2, mut both, mut chroma) =
        (0.0_f32, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    let (mut rim, mut rim_now, mut rim_then, mut rim_contrast) = (0.0_f32, 0.0, 0.0, 0.0);
    for y in blob.top..blob.bottom {
        for x in blob.left..blob.right {
            let i = y * w + x;
            if solid[i] == 0 {
                continue;
            }
            // Around 128, so that single precision keeps the digits of the variances.
            let (a, b) = (cells.y[i] - 128.0, bg[i] - 128.0);
            n += 1.0;
            now += a;
            then += b;
            now2 += a * a;
            then2 += b * b;
            both += a * b;
            chroma += background.chroma_distance(cells, i);
            let inner = x > 0 && y > 0 && x + 1 < w && y + 1 < h;
            if inner && solid[i - 1] & solid[i + 1] & solid[i - w] & solid[i + w] == 0 {
                let edge = |v: &[f32]| (v[i + 1] - v[i - 1]).abs() + (v[i + w] - v[i - w]).abs();
                rim += 1.0;
                rim_now += edge(&cells.y);
                rim_then += edge(bg);
                rim_contrast += edge(&background.contrast);
            }
        }
    }
    if n == 0.0 {
        return Nature::Thing;
    }
    let variance = |sum: f32, squares: f32| squares / n - (sum / n) * (sum / n);
    let (var_now, var_then) = (variance(now, now2), variance(then, then2));
    let covariance = both / n - (now / n) * (then / n);
    if var_then > PATCH_MIN_VAR
        && covariance > PATCH_CORRELATION * (var_now * var_then).sqrt()
        && chroma / n < PATCH_CHROMA
    {
        return Nature::Light;
    }
    if rim > 0.0 && rim_contrast < SOFT_RIM * rim {
        return Nature::Light;
    }
    if rim > 0.0 && rim_then / rim > HOLE_MIN_EDGE && rim_now < HOLE_EDGES * rim_then {
        return Nature::Hole;
    }
    Nature::Thing
}
