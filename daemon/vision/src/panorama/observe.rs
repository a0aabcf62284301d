//! What the cameras see in the cells that two or more of them share: the figures from which seams and gains follow.
//!
//! A cell of 8 x 8 canvas pixels is looked at in 16 places of luma and 4 of chroma, at the nearest camera pixel: the
//! same places for every camera, so that texture differs by half a pixel at most. The places of a camera are the same for
//! every picture, so they are found once.

use synoptic_base::{CellSeen, Cover, STITCH_CELL};

use super::mesh::{Mesh, PITCH};
use super::warp::Source;

/// Cells that are fetched ahead: the stretches of rows are too short for processors to see where they lead.
const AHEAD: usize = 24;

/// Where one cell is looked at: bytes of the planes.
#[derive(Clone, Debug)]
struct Look {
    column: u32,
    luma: [u32; 16],
    /// Of Cb; Cr is the next.
    chroma: [u32; 4],
}

/// Where the cells of one camera are looked at, for planes with these strides.
#[derive(Clone, Debug)]
pub(crate) struct Looks {
    strides: [usize; 2],
    /// Row by row.
    cells: Vec<Look>,
    /// Of each row of cells its first, and the end of the last.
    rows: Vec<usize>,
}

impl Looks {
    /// For the cells, `columns` a row, that are `shared` and that the camera covers.
    pub(crate) fn new(
        mesh: &Mesh,
        planes: &(Source<'_>, Source<'_>),
        shared: &[bool],
        cover: &[Cover],
        columns: usize,
    ) -> Looks {
        let (luma, chroma) = planes;
        let rows = shared.chunks(columns).zip(cover.chunks(columns)).enumerate();
        let (mut cells, mut starts) = (Vec::new(), vec![0]);
        for (r, (shared, cover)) in rows {
            let looked = (0..columns).filter(|c| shared[*c] && cover[*c] >= Cover::Whole);
            let look = |c: usize| {
                // Offset of the small cell in its mesh cell.
                let left = (c * STITCH_CELL % PITCH) as i32;
                let place = |i: usize, across: usize| {
                    let (x, y) = (2 * (i % across) + 1, 2 * (i / across) + 1);
                    let (x, y) = if across == 2 {
                        (2 * x - 1, 2 * y - 1)
                    } else {
                        (x, y)
                    };
                    let run = mesh.luma_run(c * STITCH_CELL / PITCH, r * STITCH_CELL + y);
                    [0, 1].map(|k| run.at[k] + run.step[k] * (left + x as i32))
                };
                let halved = |at: [i32; 2]| at.map(|v| (v >> 1) - (1 << 14));
                Look {
                    column: c as u32,
                    luma: std::array::from_fn(|i| luma.nearest(place(i, 4)) as u32),
                    chroma: std::array::from_fn(|i| chroma.nearest(halved(place(i, 2))) as u32),
                }
            };
            cells.extend(looked.map(look));
            starts.push(cells.len());
        }
        Looks {
            strides: [luma.stride(), chroma.stride()],
            cells,
            rows: starts,
        }
    }

    /// Whether they are places in `planes`, which are of the camera's size.
    pub(crate) fn fit(&self, planes: &(Source<'_>, Source<'_>)) -> bool {
        self.strides == [planes.0.stride(), planes.1.stride()]
    }

    /// Looks at the cells of row `r`, into `out`, one row of cells; leaves the others as they are: unseen since they were
    /// made.
    pub(crate) fn row(&self, planes: &(Source<'_>, Source<'_>), r: usize, out: &mut [CellSeen]) {
        let (luma, chroma) = (planes.0.data(), planes.1.data());
        let (from, to) = (self.rows[r], self.rows[r + 1]);
        for (i, look) in self.cells[from..to].iter().enumerate() {
            if let Some(next) = self.cells.get(from + i + AHEAD) {
                for at in next.luma.iter().step_by(4) {
                    planes.0.fetch(*at as usize);
                }
                for at in next.chroma.iter().step_by(2) {
                    planes.1.fetch(*at as usize);
                }
            }
            let (mut sum, mut squares, mut cb, mut cr) = (0_u32, 0_u32, 0_u32, 0_u32);
            for at in look.luma {
                let v = u32::from(luma[at as usize]);
                sum += v;
                squares += v * v;
            }
            for at in look.chroma {
                cb += u32::from(chroma[at as usize]);
                cr += u32::from(chroma[at as usize + 1]);
            }
            let mean = sum as f32 / 16.0;
            out[look.column as usize] = CellSeen {
                luma: mean,
                cb: cb as f32 / 4.0,
                cr: cr as f32 / 4.0,
                detail: (squares as f32 / 16.0 - mean * mean).max(0.0).sqrt(),
            };
        }
    }
}
