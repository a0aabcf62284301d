//! Which canvas pixels each camera sees, to the pixel for composing and by cells for deciding.

use std::ops::Range;

use synoptic_base::{Cover, STITCH_CELL, Size, StitchLayout};

use super::mesh::{Mesh, PITCH, RunRow};
use super::warp::Simd;
use crate::color::Matrix;

/// The stretches of each canvas row that a camera sees with all neighbours a sample needs.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    rows: Vec<Vec<Range<u32>>>,
}

impl Reach {
    /// Of the camera with `mesh` and a picture of `width` x `height` on a canvas of `canvas` pixels.
    pub(crate) fn new(mesh: &Mesh, picture: (u32, u32), canvas: (u32, u32)) -> Reach {
        let last = [picture.0, picture.1].map(|n| (i64::from(n) - 1) << 16);
        let mut line = RunRow::default();
        let rows = (0..canvas.1 as usize).map(|y| {
            let mut found: Vec<Range<u32>> = Vec::new();
            let mut see = |x: u32, end: u32| {
                let end = end.min(canvas.0);
                match found.last_mut() {
                    Some(run) if run.end == x => run.end = end,
                    _ => found.push(x..end),
                }
            };
            mesh.luma_runs(Simd::Portable, 0..mesh.columns, y, &mut line);
            for (c, run) in line
                .runs
                .iter()
                .enumerate()
                .filter(|(c, _)| mesh.seen(*c, y / PITCH))
            {
                let at = |i: usize| [0, 1].map(|k| i64::from(run.at[k]) + i64::from(run.step[k]) * i as i64);
                let inside = |p: [i64; 2]| (0..2).all(|k| (0..last[k]).contains(&p[k]));
                let (x, width) = ((c * PITCH) as u32, PITCH as u32);
                let (first, end) = (at(0), at(PITCH - 1));
                // The places lie on a line and the picture is convex: what its ends say holds between them.
                if inside(first) && inside(end) {
                    see(x, x + width);
                    continue;
                }
                let beside =
                    |k: usize| first[k] < 0 && end[k] < 0 || first[k] >= last[k] && end[k] >= last[k];
                if beside(0) || beside(1) {
                    continue;
                }
                for i in (0..width).filter(|i| x + i < canvas.0 && inside(at(*i as usize))) {
                    see(x + i, x + i + 1);
                }
            }
            found
        });
        Reach { rows: rows.collect() }
    }

    /// Calls `gap` with the parts of `within` on row `y` that the camera does not see.
    pub(crate) fn gaps(&self, y: usize, within: &Range<usize>, mut gap: impl FnMut(Range<usize>)) {
        let mut from = within.start;
        for seen in &self.rows[y] {
            let (start, end) = (seen.start as usize, seen.end as usize);
            if end <= from {
                continue;
            }
            if start >= within.end {
                break;
            }
            if start > from {
                gap(from..start);
            }
            from = end;
        }
        if from < within.end {
            gap(from..within.end);
        }
    }

    /// Calls `seen` with the parts of `within` on row `y` that the camera sees.
    pub(crate) fn seen(&self, y: usize, within: &Range<usize>, mut seen: impl FnMut(Range<usize>)) {
        for run in &self.rows[y] {
            let run = (run.start as usize).max(within.start)..(run.end as usize).min(within.end);
            if run.start < run.end {
                seen(run);
            }
        }
    }

    /// Pixels seen in each cell of `columns` x `rows`.
    fn count(&self, columns: usize, rows: usize) -> Vec<u16> {
        let mut counts = vec![0_u16; columns * rows];
        for (y, seen) in self.rows.iter().enumerate() {
            let row = &mut counts[y / STITCH_CELL * columns..][..columns];
            for run in seen {
                let (mut x, end) = (run.start as usize, run.end as usize);
                while x < end {
                    let next = ((x / STITCH_CELL + 1) * STITCH_CELL).min(end);
                    row[x / STITCH_CELL] += (next - x) as u16;
                    x = next;
                }
            }
        }
        counts
    }
}

/// What the cameras cover, for those who decide.
pub(crate) fn layout(size: Size, reaches: &[Reach]) -> StitchLayout {
    let (w, h) = (size.width as usize, size.height as usize);
    let (columns, rows) = (w.div_ceil(STITCH_CELL), h.div_ceil(STITCH_CELL));
    let cover = reaches.iter().map(|reach| {
        let counts = reach.count(columns, rows);
        let whole = |c: usize, r: usize| {
            let pixels = (w - c * STITCH_CELL).min(STITCH_CELL) * (h - r * STITCH_CELL).min(STITCH_CELL);
            usize::from(counts[r * columns + c]) == pixels
        };
        (0..columns * rows)
            .map(|i| {
                let (c, r) = (i % columns, i / columns);
                if !whole(c, r) {
                    return if counts[i] > 0 { Cover::Part } else { Cover::None };
                }
                let around = |at: usize, n: usize| at.saturating_sub(1)..(at + 2).min(n);
                let inner = around(r, rows).all(|r| around(c, columns).all(|c| whole(c, r)));
                if inner { Cover::Inner } else { Cover::Whole }
            })
            .collect()
    });
    StitchLayout {
        size,
        columns,
        rows,
        cover: cover.collect(),
        kr_kb: Matrix::guess(size).kr_kb(),
    }
}
