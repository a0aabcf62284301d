//! Multi-band blending about the seams (Burt and Adelson, *A Multiresolution Spline*, 1983).
//!
//! Only patches about the cells where cameras are mixed are decomposed. Levels are taken on the canvas's own grid,
//! and patches reach as far beyond what is written as the coarsest level sees, so that patches meet without a step.

use super::band::{Eye, Out};
use super::shares::Shares;
use super::warp::Simd;

/// Levels at most: the coarsest cell must divide a band.
pub(crate) const MAX_LEVELS: u32 = 5;

/// What a thread needs of its own.
#[derive(Default)]
pub(crate) struct Scratch {}

/// Composes the mixed parts of a band anew.
pub(crate) fn compose(
    _simd: Simd,
    _eyes: &[Eye<'_>],
    _shares: &Shares,
    _canvas: (usize, usize),
    _levels: u32,
    _out: &mut Out<'_>,
    _scratch: &mut Scratch,
) {
}
