//! Multi-band blending about the seams (Burt and Adelson, *A Multiresolution Spline*, 1983).
//!
//! Only patches about the cells where cameras are mixed are decomposed: coarse structure then mixes over a wide zone
//! and fine structure over a narrow one. Levels are taken on the canvas's own grid, and a patch reaches further than
//! what is written, so that patches of neighbouring bands meet without a step.

use std::ops::Range;

use synoptic_base::STITCH_CELL;

use super::band::{Eye, Out, Stretch};
use super::pyramid::Plane;
use super::rows;
use super::shares::Shares;
use super::warp::{LUMA_RUN, Simd};

/// Levels at most: the coarsest cell must divide a band.
pub(crate) const MAX_LEVELS: u32 = 5;

/// What a thread needs of its own.
#[derive(Default)]
pub(crate) struct Scratch {
    stretch: Stretch,
    row: Vec<i16>,
    luma: Pyramids,
    chroma: Pyramids,
    reached: Vec<bool>,
}

/// The pyramids of one kind of plane: a camera's picture and weights, and the sums over all cameras.
#[derive(Default)]
struct Pyramids {
    picture: Vec<Plane>,
    weights: Vec<Plane>,
    sums: Vec<Plane>,
    wide: Vec<i16>,
    row: Vec<i16>,
}

impl Pyramids {
    fn begin(&mut self, levels: usize, width: usize, height: usize, channels: usize) {
        for planes in [&mut self.picture, &mut self.weights, &mut self.sums] {
            planes.resize_with(levels + 1, Plane::default);
            planes[0].resize(width, height, channels);
        }
        let (mut w, mut h) = (width, height);
        for sum in &mut self.sums {
            sum.resize(w, h, channels);
            sum.data.fill(0);
            (w, h) = (w.div_ceil(2), h.div_ceil(2));
        }
    }

    /// Adds the picture and weights at level 0 to the sums.
    fn add(&mut self, simd: Simd) {
        let Pyramids {
            picture,
            weights,
            sums,
            wide,
            row,
        } = self;
        for planes in [&mut *picture, &mut *weights] {
            for level in 1..planes.len() {
                let (fine, coarse) = planes.split_at_mut(level);
                fine[level - 1].reduce(simd, &mut coarse[0], wide);
            }
        }
        for level in 0..picture.len() {
            let (fine, coarse) = picture.split_at_mut(level + 1);
            if let Some(coarse) = coarse.first() {
                fine[level].add_expanded(simd, coarse, -1, wide, row);
            }
            rows::add_weighed(
                simd,
                &fine[level].data,
                &weights[level].data,
                &mut sums[level].data,
            );
        }
    }

    /// Puts the sums together; the result is at level 0.
    fn collapse(&mut self, simd: Simd) -> &Plane {
        for level in (0..self.sums.len() - 1).rev() {
            let (fine, coarse) = self.sums.split_at_mut(level + 1);
            fine[level].add_expanded(simd, &coarse[0], 1, &mut self.wide, &mut self.row);
        }
        &self.sums[0]
    }
}

/// Composes the mixed parts of a band anew.
pub(crate) fn compose(
    simd: Simd,
    eyes: &[Eye<'_>],
    shares: &Shares,
    canvas: (usize, usize),
    levels: u32,
    out: &mut Out<'_>,
    scratch: &mut Scratch,
) {
    // What the kernel of the coarsest level sees, on each side.
    let apron = 4 << levels;
    let rows = out.rows.start.saturating_sub(apron)..(out.rows.end + apron).min(canvas.1);
    let lines = rows.start / STITCH_CELL..rows.end.div_ceil(STITCH_CELL);
    let columns = canvas.0.div_ceil(LUMA_RUN);
    let beyond = apron.div_ceil(LUMA_RUN);
    let mut patches: Vec<Range<usize>> = lines.clone().flat_map(|r| shares.mixed(r)).collect();
    for patch in &mut patches {
        *patch = patch.start.saturating_sub(beyond)..(patch.end + beyond).min(columns);
    }
    patches.sort_unstable_by_key(|p| p.start);
    patches.dedup_by(|next, last| {
        let meet = next.start <= last.end;
        if meet {
            last.end = last.end.max(next.end);
        }
        meet
    });
    for cells in patches {
        let shown = |k: usize| {
            lines.clone().any(|r| {
                shares
                    .shown(k, r)
                    .any(|s| s.start < cells.end && cells.start < s.end)
            })
        };
        let these: Vec<&Eye<'_>> = (0..eyes.len())
            .filter(|k| eyes[*k].planes.is_some() && shown(*k))
            .map(|k| &eyes[k])
            .collect();
        patch(
            simd,
            &these,
            shares,
            canvas.0,
            levels as usize,
            (&cells, &rows),
            out,
            scratch,
        );
    }
}

/// Blends the patch of `area` (cells across, rows) and writes what of it lies in the band.
#[allow(clippy::too_many_arguments)] // One call, one place; a struct would only name them twice.
fn patch(
    simd: Simd,
    eyes: &[&Eye<'_>],
    shares: &Shares,
    canvas_width: usize,
    levels: usize,
    area: (&Range<usize>, &Range<usize>),
    out: &mut Out<'_>,
    scratch: &mut Scratch,
) {
    let (cells, rows) = area;
    let (left, width) = (cells.start * LUMA_RUN, cells.len() * LUMA_RUN);
    let Scratch {
        stretch,
        row,
        luma,
        chroma,
        reached,
    } = scratch;
    luma.begin(levels, width, rows.len(), 1);
    // Chroma is half as large: a level less is as wide on the canvas.
    chroma.begin(levels - 1, width / 2, rows.len() / 2, 2);
    reached.clear();
    reached.resize(width * rows.len(), false);
    for eye in eyes {
        for y in rows.clone().step_by(2) {
            let line = y - rows.start;
            stretch.fill(simd, eye, cells, y, false);
            for i in 0..2 {
                rows::luma_values(
                    simd,
                    &stretch.luma[i],
                    &stretch.gains.luma,
                    luma.picture[0].row_mut(line + i),
                );
                shares.row(eye.weights, cells, y + i, row);
                luma.weights[0].row_mut(line + i).copy_from_slice(row);
                eye.reach.seen(y + i, &(left..left + width), |seen| {
                    reached[(line + i) * width..][seen.start - left..seen.end - left].fill(true);
                });
            }
            rows::chroma_values(
                simd,
                &stretch.chroma,
                &stretch.under,
                &stretch.gains.chroma,
                &stretch.gains.tint,
                chroma.picture[0].row_mut(line / 2),
            );
            // The weight of a chroma sample is that of its pixels, once for Cb and once for Cr.
            let (upper, lower) = (luma.weights[0].row(line), luma.weights[0].row(line + 1));
            let into = chroma.weights[0].row_mut(line / 2).chunks_exact_mut(2);
            for ((u, l), o) in upper.chunks_exact(2).zip(lower.chunks_exact(2)).zip(into) {
                let sum = i32::from(u[0]) + i32::from(u[1]) + i32::from(l[0]) + i32::from(l[1]);
                o.fill((sum / 4) as i16);
            }
        }
        luma.add(simd);
        chroma.add(simd);
    }
    let (luma, chroma) = (luma.collapse(simd), chroma.collapse(simd));
    let end = (left + width).min(canvas_width);
    let runs = |line: usize, mut write: Box<dyn FnMut(Range<usize>) + '_>| {
        let row = &reached[line * width..][..end - left];
        let mut from = 0;
        while let Some(n) = row[from..].iter().position(|r| *r) {
            let start = from + n;
            let stop = row[start..]
                .iter()
                .position(|r| !*r)
                .map_or(row.len(), |n| start + n);
            write(start..stop);
            from = stop;
        }
    };
    for y in out.rows.clone() {
        let line = y - rows.start;
        let into = &mut out.luma[(y - out.rows.start) * canvas_width + left..];
        runs(
            line,
            Box::new(|r| rows::luma_out(simd, &luma.row(line)[r.clone()], &mut into[r])),
        );
        if y % 2 == 0 {
            let into = &mut out.chroma[(y - out.rows.start) / 2 * canvas_width + left..];
            runs(
                line,
                Box::new(|r| {
                    let r = r.start.next_multiple_of(2)..r.end & !1;
                    if r.start < r.end {
                        rows::chroma_out(simd, &chroma.row(line / 2)[r.clone()], &mut into[r]);
                    }
                }),
            );
        }
    }
}
