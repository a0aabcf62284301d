//! From canvas to camera by a coarse mesh, in whole numbers: the same on every machine.
//!
//! A mesh has a node every [`PITCH`] canvas pixels; between nodes the camera's pixel is bilinear. Interpolating a
//! curve by chords errs to one side only, so every node is moved by half of the mean error around it, which halves
//! the largest error. Places are in 1/65536 of a camera's pixel.

use std::ops::Range;

use synoptic_base::{Canvas, RigCamera};

use super::geometry::camera_from_canvas;
use super::grid::{NodeGrid, node_place};
use super::rows::versions;
use super::warp::Simd;

/// Canvas pixels from node to node.
pub(crate) const PITCH: usize = 16;
/// Bits of `PITCH`.
const PITCH_BITS: u32 = 4;
/// Fraction bits of a place.
pub(crate) const FRACTION_BITS: u32 = 16;
/// Places are kept within this many pixels of the origin, so that no arithmetic on them overflows 32 bits.
const LIMIT: f64 = 16_000.0;

/// A place in a camera's picture, x and y in 1/65536 pixel.
pub(crate) type Place = [i32; 2];

/// Where a run of samples along a canvas row begins in the camera's picture, and how far apart they lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)] // The samplers read four i32 in a row.
pub(crate) struct Run {
    /// First place.
    pub(crate) at: Place,
    /// From sample to sample.
    pub(crate) step: Place,
}

/// The mesh of one camera.
#[derive(Clone, Debug)]
pub(crate) struct Mesh {
    /// Cells across.
    pub(crate) columns: usize,
    nodes: Vec<Option<Place>>,
    /// The nodes' places, x and y in turn; nothing where the lens does not see.
    places: Vec<i32>,
    /// The largest distance to the exact projection found at the middles of cells and of their edges inside the
    /// camera's picture, in camera pixels.
    pub(crate) error_px: f64,
}

impl Mesh {
    /// The mesh of `camera` on `canvas`.
    pub(crate) fn new(canvas: &Canvas, camera: &RigCamera) -> Mesh {
        let columns = (canvas.size.width as usize).div_ceil(PITCH);
        let rows = (canvas.size.height as usize).div_ceil(PITCH);
        let exact = |x: f64, y: f64| {
            camera_from_canvas(canvas, camera, [x, y]).filter(|p| p[0].abs() < LIMIT && p[1].abs() < LIMIT)
        };
        let at = |i: usize, half: f64| (i * PITCH) as f64 + half;
        let across = columns + 1;
        let corners: Vec<_> = (0..across * (rows + 1))
            .map(|i| exact(at(i % across, 0.0), at(i / across, 0.0)))
            .collect();
        let cell = |nodes: &[Option<[f64; 2]>], c: usize, r: usize| {
            let n = |c: usize, r: usize| nodes[r * across + c];
            Some([n(c, r)?, n(c + 1, r)?, n(c, r + 1)?, n(c + 1, r + 1)?])
        };
        let half = PITCH as f64 / 2.0;
        // What the chord misses at the middle of each cell.
        let misses: Vec<Option<[f64; 2]>> = (0..columns * rows)
            .map(|i| {
                let (c, r) = (i % columns, i / columns);
                let [a, b, d, e] = cell(&corners, c, r)?;
                let truth = exact(at(c, half), at(r, half))?;
                Some([0, 1].map(|k| truth[k] - (a[k] + b[k] + d[k] + e[k]) / 4.0))
            })
            .collect();
        let nodes: Vec<_> = (0..corners.len())
            .map(|i| {
                let (c, r) = (i % across, i / across);
                let corner = corners[i]?;
                let (mut sum, mut n) = ([0.0; 2], 0.0);
                for r in r.saturating_sub(1)..(r + 1).min(rows) {
                    for c in c.saturating_sub(1)..(c + 1).min(columns) {
                        if let Some(miss) = misses[r * columns + c] {
                            sum = [sum[0] + miss[0], sum[1] + miss[1]];
                            n += 1.0;
                        }
                    }
                }
                let n = f64::max(n, 1.0);
                Some([corner[0] + sum[0] / n / 2.0, corner[1] + sum[1] / n / 2.0])
            })
            .collect();

        let size = camera.intrinsics.size;
        let inside = |p: [f64; 2]| {
            (0.0..=f64::from(size.width - 1)).contains(&p[0])
                && (0.0..=f64::from(size.height - 1)).contains(&p[1])
        };
        let mut error_px = 0.0_f64;
        for r in 0..rows {
            for c in 0..columns {
                let Some([a, b, d, e]) = cell(&nodes, c, r) else {
                    continue;
                };
                for (u, v) in [(0.0, 0.0), (0.5, 0.5), (0.5, 0.0), (0.0, 0.5)] {
                    let Some(truth) = exact(at(c, u * 16.0), at(r, v * 16.0)).filter(|p| inside(*p)) else {
                        continue;
                    };
                    let guess = [0, 1].map(|k| {
                        (a[k] * (1.0 - u) + b[k] * u) * (1.0 - v) + (d[k] * (1.0 - u) + e[k] * u) * v
                    });
                    error_px = error_px.max((guess[0] - truth[0]).hypot(guess[1] - truth[1]));
                }
            }
        }
        let scale = f64::from(1 << FRACTION_BITS);
        let nodes = nodes
            .into_iter()
            .map(|p| p.map(|p| p.map(|v| (v * scale).round() as i32)));
        Mesh::of_nodes(columns, nodes.collect(), error_px)
    }

    fn of_nodes(columns: usize, nodes: Vec<Option<Place>>, error_px: f64) -> Mesh {
        let places = nodes.iter().flat_map(|n| n.unwrap_or_default()).collect();
        Mesh {
            columns,
            nodes,
            places,
            error_px,
        }
    }

    /// The mesh that `grid` describes.
    pub(crate) fn of_grid(grid: &NodeGrid) -> Mesh {
        Mesh::of_nodes(grid.columns, grid.nodes.clone(), 0.0)
    }

    /// Its nodes.
    pub(crate) fn grid(&self) -> NodeGrid {
        NodeGrid {
            columns: self.columns,
            rows: self.nodes.len() / (self.columns + 1) - 1,
            nodes: self.nodes.clone(),
        }
    }

    /// Where the canvas pixel `p` comes from, bilinear between nodes.
    pub(crate) fn camera_from_canvas(&self, p: [f64; 2]) -> Option<[f64; 2]> {
        let across = self.columns + 1;
        let down = self.nodes.len() / across;
        let [x, y] = p.map(|v| v / PITCH as f64);
        if !(x >= 0.0 && y >= 0.0 && x <= self.columns as f64 && y <= (down - 1) as f64) {
            return None;
        }
        let (c, r) = ((x as usize).min(self.columns - 1), (y as usize).min(down - 2));
        let (u, v) = (x - c as f64, y - r as f64);
        let node = |c: usize, r: usize| self.nodes[r * across + c].map(node_place);
        let (a, b, d, e) = (node(c, r)?, node(c + 1, r)?, node(c, r + 1)?, node(c + 1, r + 1)?);
        Some([0, 1].map(|k| (a[k] * (1.0 - u) + b[k] * u) * (1.0 - v) + (d[k] * (1.0 - u) + e[k] * u) * v))
    }

    /// Places of the nodes, row by row, one more than `columns` a row.
    pub(crate) fn nodes(&self) -> &[Option<Place>] {
        &self.nodes
    }

    /// Whether all four corners of the cell in column `c` are seen by the lens, on the row of cells `r`.
    pub(crate) fn seen(&self, c: usize, r: usize) -> bool {
        let n = |c: usize, r: usize| self.nodes[r * (self.columns + 1) + c].is_some();
        n(c, r) && n(c + 1, r) && n(c, r + 1) && n(c + 1, r + 1)
    }

    /// The left edge of cell `c` on canvas row `y`; the right edge of the last is that of one more.
    #[inline(always)]
    fn edge(&self, c: usize, y: usize) -> Place {
        let across = self.columns + 1;
        let (r, part) = (y / PITCH, (y % PITCH) as i64);
        let top = self.nodes[r * across + c].unwrap_or_default();
        let bottom = self.nodes[(r + 1) * across + c].unwrap_or_default();
        // In 64 bits: beside a pole two nodes lie far apart.
        let lerp = |a: i32, b: i32| a + (((i64::from(b) - i64::from(a)) * part) >> PITCH_BITS) as i32;
        [lerp(top[0], bottom[0]), lerp(top[1], bottom[1])]
    }

    /// The 16 luma samples of cell `c` on canvas row `y`.
    #[inline]
    pub(crate) fn luma_run(&self, c: usize, y: usize) -> Run {
        between(self.edge(c, y), self.edge(c + 1, y))
    }

    /// The luma samples of `cells` on canvas row `y`, into `row`.
    pub(crate) fn luma_runs(&self, simd: Simd, cells: Range<usize>, y: usize, row: &mut RunRow) {
        let across = self.columns + 1;
        let line = |r: usize| &self.places[2 * (r * across + cells.start)..2 * (r * across + cells.end + 1)];
        let RunRow { edges, runs } = row;
        edges.resize(2 * (cells.len() + 1), 0);
        runs.resize(cells.len(), Run::default());
        let (r, part) = (y / PITCH, (y % PITCH) as i32);
        edges_between(simd, line(r), line(r + 1), part, edges);
        runs_between(simd, edges, runs);
    }
}

/// The runs of a stretch of cells on one row.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunRow {
    /// Places of the cells' edges, x and y in turn.
    edges: Vec<i32>,
    /// A run a cell.
    pub(crate) runs: Vec<Run>,
}

versions! {
    /// `part` sixteenths of the way from `top` to `bottom`.
    pub(crate) fn edges_between(top: &[i32], bottom: &[i32], part: i32, out: &mut [i32]) {
        for ((a, b), o) in top.iter().zip(bottom).zip(out) {
            // Beside a pole two nodes lie far apart: the product of all bits would not fit.
            let way = b - a;
            *o = a + (way >> PITCH_BITS) * part + (((way & (PITCH as i32 - 1)) * part) >> PITCH_BITS);
        }
    }
}

versions! {
    /// From edge to edge.
    pub(crate) fn runs_between(edges: &[i32], runs: &mut [Run]) {
        let edges = &edges[..2 * runs.len() + 2];
        for (i, run) in runs.iter_mut().enumerate() {
            let (left, right) = ([edges[2 * i], edges[2 * i + 1]], [edges[2 * i + 2], edges[2 * i + 3]]);
            *run = between(left, right);
        }
    }
}

versions! {
    /// [`chroma_run`] of all runs of two rows.
    pub(crate) fn chroma_runs(upper: &[Run], lower: &[Run], out: &mut [Run]) {
        for ((upper, lower), out) in upper.iter().zip(lower).zip(out) {
            *out = chroma_run(upper, lower);
        }
    }
}

#[inline(always)]
fn between(left: Place, right: Place) -> Run {
    Run {
        at: left,
        step: [0, 1].map(|k| (right[k] - left[k]) >> PITCH_BITS),
    }
}

/// The 8 chroma samples that belong to a cell's luma samples on an even canvas row and on the row below. A chroma
/// sample lies in the middle of its four pixels, on the canvas and in the camera alike.
#[inline(always)]
pub(crate) fn chroma_run(upper: &Run, lower: &Run) -> Run {
    // The mean of four luma places is the place of the chroma sample in luma pixels: half of it, less a quarter.
    let quarter = 1 << (FRACTION_BITS - 2);
    let at = [0, 1].map(|k| {
        let middle = ((upper.at[k] + upper.step[k] / 2) >> 1) + ((lower.at[k] + lower.step[k] / 2) >> 1);
        (middle >> 1) - quarter
    });
    let step = [0, 1].map(|k| (upper.step[k] + lower.step[k]) >> 1);
    Run { at, step }
}

#[cfg(test)]
mod tests {
    use synoptic_base::{Intrinsics, Lens, Projection, Size, StreamId};

    use super::*;

    #[test]
    fn it_is_within_a_tenth_of_a_pixel_of_the_exact_projection() {
        let size = Size::new(1920, 1080);
        let (s, c) = 0.35_f64.sin_cos();
        for (lens, projection) in [
            (Lens::PINHOLE, Projection::Cylindrical),
            (Lens::Radial([-0.2, 0.04, 0.0, 0.0]), Projection::Spherical),
            (Lens::Fisheye([-0.02, 0.003, 0.0, 0.0]), Projection::Cylindrical),
        ] {
            let camera = RigCamera {
                stream: StreamId::new("east").unwrap(),
                intrinsics: Intrinsics {
                    size,
                    fx: 1600.0,
                    fy: 1600.0,
                    cx: 959.5,
                    cy: 539.5,
                    lens,
                },
                rotation: [[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]],
                centre: [0.0; 3],
            };
            let canvas = Canvas {
                size: Size::new(3264, 1080),
                projection,
                focal: 1700.0,
                cx: 1632.0,
                cy: 540.0,
            };
            let mesh = Mesh::new(&canvas, &camera);
            assert!(
                mesh.error_px < 0.1,
                "{lens:?} {projection:?}: {} px",
                mesh.error_px
            );
            // Every sample, luma and chroma, on some rows that are no rows of nodes.
            let mut worst = 0.0_f64;
            for y in (0..1080).step_by(46) {
                let mut rows = [RunRow::default(), RunRow::default()];
                for (i, row) in rows.iter_mut().enumerate() {
                    mesh.luma_runs(Simd::detect(), 0..mesh.columns, y + i, row);
                }
                let mut pairs = vec![Run::default(); mesh.columns];
                chroma_runs(Simd::detect(), &rows[0].runs, &rows[1].runs, &mut pairs);
                for (cell, (upper, lower)) in rows[0].runs.iter().zip(&rows[1].runs).enumerate() {
                    assert_eq!(*upper, mesh.luma_run(cell, y));
                    let chroma = chroma_run(upper, lower);
                    assert_eq!(chroma, pairs[cell]);
                    for i in 0..16 {
                        let x = (cell * PITCH + i) as f64;
                        let mut check = |run: &Run, i: i32, x: f64, y: f64, scale: f64| {
                            let got = [0, 1].map(|k| f64::from(run.at[k] + run.step[k] * i) / 65536.0);
                            let Some(want) = camera_from_canvas(&canvas, &camera, [x, y]) else {
                                return;
                            };
                            if (0.0..1919.0).contains(&want[0]) && (0.0..1079.0).contains(&want[1]) {
                                let want = if scale == 2.0 {
                                    want.map(|v| v / 2.0 - 0.25)
                                } else {
                                    want
                                };
                                worst = worst.max((got[0] - want[0]).hypot(got[1] - want[1]) * scale);
                            }
                        };
                        check(upper, i as i32, x, y as f64, 1.0);
                        if i % 2 == 0 {
                            check(&chroma, i as i32 / 2, x + 0.5, y as f64 + 0.5, 2.0);
                        }
                    }
                }
            }
            assert!(worst < 0.1, "{lens:?} {projection:?}: {worst} px");
        }
    }

    #[test]
    fn nodes_as_far_apart_as_can_be_overflow_nothing() {
        let far = 16_000 << FRACTION_BITS;
        let nodes = [[-far, far], [far, -far], [far - 5, -far + 3], [-far + 1, far - 7]];
        let mesh = Mesh::of_nodes(1, nodes.map(Some).to_vec(), 0.0);
        for y in 0..PITCH {
            for simd in Simd::available() {
                let mut row = RunRow::default();
                mesh.luma_runs(simd, 0..1, y, &mut row);
                assert_eq!(row.runs, [mesh.luma_run(0, y)], "{simd:?} {y}");
            }
        }
    }
}
