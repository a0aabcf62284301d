//! One band of the canvas: samples of every camera, with gain, weighed, to bytes. Bands do not touch each other.

use std::ops::Range;

use synoptic_base::STITCH_CELL;

use super::field::{Field, GainRows};
use super::mesh::{Mesh, Run, RunRow, chroma_runs};
use super::reach::Reach;
use super::rows;
use super::shares::{Share, Shares};
use super::warp::{self, LUMA_RUN, Simd, Source};

/// Cells that are sampled and written at a time: what lies between stays in the first cache.
const CELLS_AT_ONCE: usize = 32;

/// A camera as a band sees it.
pub(crate) struct Eye<'a> {
    pub(crate) mesh: &'a Mesh,
    pub(crate) reach: &'a Reach,
    pub(crate) field: &'a Field,
    pub(crate) weights: &'a [u8],
    /// Luma and interleaved chroma; `None` without a picture.
    pub(crate) planes: Option<(Source<'a>, Source<'a>)>,
}

/// Two luma rows and their chroma row of a stretch of cells, with the gains that belong to them.
#[derive(Default)]
pub(crate) struct Stretch {
    rows: [RunRow; 2],
    chroma_runs: Vec<Run>,
    /// Luma samples of the upper and the lower row.
    pub(crate) luma: [Vec<i16>; 2],
    /// Chroma samples.
    pub(crate) chroma: Vec<i16>,
    /// The luma under each chroma sample.
    pub(crate) under: Vec<i16>,
    pub(crate) gains: GainRows,
}

impl Stretch {
    /// Samples `cells` on canvas rows `y` and `y + 1`. Where the camera does not see it is black when `cut`, else
    /// the edge of its picture goes on.
    pub(crate) fn fill(&mut self, simd: Simd, eye: &Eye<'_>, cells: &Range<usize>, y: usize, cut: bool) {
        let Some((luma, chroma)) = &eye.planes else {
            return;
        };
        let (first, n) = (cells.start * LUMA_RUN, cells.len() * LUMA_RUN);
        for (i, row) in self.luma.iter_mut().enumerate() {
            eye.mesh.luma_runs(simd, cells.clone(), y + i, &mut self.rows[i]);
            row.resize(n, 0);
            warp::sample(simd, luma, &self.rows[i].runs, row);
            if cut {
                eye.reach.gaps(y + i, &(first..first + n), |gap| {
                    row[gap.start - first..gap.end - first].fill(rows::BLACK_SAMPLE);
                });
            }
        }
        self.chroma_runs.resize(cells.len(), Run::default());
        chroma_runs(
            simd,
            &self.rows[0].runs,
            &self.rows[1].runs,
            &mut self.chroma_runs,
        );
        self.chroma.resize(n, 0);
        warp::sample(simd, chroma, &self.chroma_runs, &mut self.chroma);
        if cut {
            eye.reach.gaps(y, &(first..first + n), |gap| {
                self.chroma[(gap.start - first) & !1..(gap.end - first + 1) & !1].fill(0);
            });
        }
        self.under.resize(n, 0);
        rows::luma_of_chroma(simd, &self.luma[0], &self.luma[1], &mut self.under);
        self.gains.fill(simd, eye.field, cells.start, cells.len(), y);
    }
}

/// What a thread needs of its own.
#[derive(Default)]
pub(crate) struct Scratch {
    stretch: Stretch,
    weights: [Vec<i16>; 2],
    chroma_weights: Vec<i16>,
    values: Vec<i16>,
    /// Sums of two luma rows and a chroma row, as wide as the cells of the canvas.
    sums: [Vec<i16>; 3],
}

/// Bytes of a band to write: rows without padding.
pub(crate) struct Out<'a> {
    /// Canvas rows, both even.
    pub(crate) rows: Range<usize>,
    pub(crate) luma: &'a mut [u8],
    pub(crate) chroma: &'a mut [u8],
}

/// Composes a band of a canvas of `width` pixels.
pub(crate) fn compose(
    simd: Simd,
    eyes: &[Eye<'_>],
    shares: &Shares,
    width: usize,
    out: &mut Out<'_>,
    scratch: &mut Scratch,
) {
    let padded = width.div_ceil(LUMA_RUN) * LUMA_RUN;
    let (top, bottom) = (out.rows.start, out.rows.end);
    for sum in &mut scratch.sums {
        sum.resize(padded, 0);
    }
    for y in (top..bottom).step_by(2) {
        let r = y / STITCH_CELL;
        let (upper, lower) = out.luma[(y - top) * width..][..2 * width].split_at_mut(width);
        let chroma = &mut out.chroma[(y - top) / 2 * width..][..width];
        let present = |k: &usize| eyes[*k].planes.is_some();
        for dark in shares.dark(r, (0..eyes.len()).filter(present)) {
            let pixels = dark.start * LUMA_RUN..(dark.end * LUMA_RUN).min(width);
            upper[pixels.clone()].fill(16);
            lower[pixels.clone()].fill(16);
            chroma[pixels].fill(128);
        }
        for mixed in shares.mixed(r) {
            for sum in &mut scratch.sums {
                sum[mixed.start * LUMA_RUN..mixed.end * LUMA_RUN].fill(0);
            }
        }
        for (k, eye) in eyes.iter().enumerate().filter(|(_, e)| e.planes.is_some()) {
            for cells in shares.shown(k, r).flat_map(pieces) {
                scratch.stretch.fill(simd, eye, &cells, y, true);
                for full in shares.having(k, r, &cells, Share::Full) {
                    write(
                        simd,
                        &scratch.stretch,
                        &cells,
                        &full,
                        [&mut *upper, &mut *lower, &mut *chroma],
                    );
                }
                for mixed in shares.having(k, r, &cells, Share::Mixed) {
                    mix(simd, eye, shares, &cells, &mixed, y, scratch);
                }
            }
        }
        for mixed in shares.mixed(r) {
            let (from, to) = (mixed.start * LUMA_RUN, (mixed.end * LUMA_RUN).min(width));
            rows::luma_out(simd, &scratch.sums[0][from..to], &mut upper[from..to]);
            rows::luma_out(simd, &scratch.sums[1][from..to], &mut lower[from..to]);
            rows::chroma_out(simd, &scratch.sums[2][from..to], &mut chroma[from..to]);
        }
    }
}

/// `cells` in pieces of at most [`CELLS_AT_ONCE`].
fn pieces(cells: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = cells.end;
    let starts = cells.step_by(CELLS_AT_ONCE);
    starts.map(move |start| start..(start + CELLS_AT_ONCE).min(end))
}

/// The part `part` of a sampled stretch `cells`, alone.
fn write(simd: Simd, stretch: &Stretch, cells: &Range<usize>, part: &Range<usize>, out: [&mut [u8]; 3]) {
    let [upper, lower, chroma] = out;
    let from = part.start * LUMA_RUN;
    let to = (part.end * LUMA_RUN).min(upper.len());
    let s = from - cells.start * LUMA_RUN..to - cells.start * LUMA_RUN;
    let gains = &stretch.gains;
    for (row, out) in stretch.luma.iter().zip([upper, lower]) {
        rows::luma_bytes(simd, &row[s.clone()], &gains.luma[s.clone()], &mut out[from..to]);
    }
    rows::chroma_bytes(
        simd,
        &stretch.chroma[s.clone()],
        &stretch.under[s.clone()],
        &gains.chroma[s.clone()],
        &gains.tint[s],
        &mut chroma[from..to],
    );
}

/// Adds the part `part` of the sampled stretch `cells` to the sums.
fn mix(
    simd: Simd,
    eye: &Eye<'_>,
    shares: &Shares,
    cells: &Range<usize>,
    part: &Range<usize>,
    y: usize,
    scratch: &mut Scratch,
) {
    let Scratch {
        stretch,
        weights,
        chroma_weights,
        values,
        sums,
    } = scratch;
    let to = part.start * LUMA_RUN..part.end * LUMA_RUN;
    let s = to.start - cells.start * LUMA_RUN..to.end - cells.start * LUMA_RUN;
    let gains = &stretch.gains;
    values.resize(s.len(), 0);
    for i in 0..2 {
        shares.row(eye.weights, part, y + i, &mut weights[i]);
        rows::luma_values(simd, &stretch.luma[i][s.clone()], &gains.luma[s.clone()], values);
        rows::add_weighed(simd, values, &weights[i], &mut sums[i][to.clone()]);
    }
    chroma_weights.clear();
    for (u, l) in weights[0].chunks_exact(2).zip(weights[1].chunks_exact(2)) {
        let mean = (i32::from(u[0]) + i32::from(u[1]) + i32::from(l[0]) + i32::from(l[1])) / 4;
        chroma_weights.extend([mean as i16; 2]);
    }
    rows::chroma_values(
        simd,
        &stretch.chroma[s.clone()],
        &stretch.under[s.clone()],
        &gains.chroma[s.clone()],
        &gains.tint[s],
        values,
    );
    rows::add_weighed(simd, values, chroma_weights, &mut sums[2][to]);
}
