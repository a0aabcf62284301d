//! What the cameras see in the cells that two or more of them share: the figures from which seams and gains follow.
//!
//! A cell of 8 x 8 canvas pixels is looked at in 16 places of luma and 4 of chroma, at the nearest camera pixel: the
//! same places for every camera, so that texture differs by half a pixel at most.

use synoptic_base::{CellSeen, Cover, STITCH_CELL};

use super::mesh::{Mesh, PITCH};
use super::warp::Source;

/// Looks at the cells of small row `r` that are `shared` and that the camera covers, into `out`, one row of cells; leaves
/// the others as they are.
pub(crate) fn row(
    mesh: &Mesh,
    planes: &(Source<'_>, Source<'_>),
    shared: &[bool],
    cover: &[Cover],
    r: usize,
    out: &mut [CellSeen],
) {
    let (luma, chroma) = planes;
    for (c, out) in out.iter_mut().enumerate() {
        if !shared[c] || cover[c] < Cover::Whole {
            continue; // Unseen since it was made.
        }
        // Offset of the small cell in its mesh cell.
        let left = (c * STITCH_CELL % PITCH) as i32;
        let (mut sum, mut squares, mut cb, mut cr) = (0_u32, 0_u32, 0_u32, 0_u32);
        for y in [1, 3, 5, 7] {
            let run = mesh.luma_run(c * STITCH_CELL / PITCH, r * STITCH_CELL + y);
            for x in [1, 3, 5, 7] {
                let at = [0, 1].map(|k| run.at[k] + run.step[k] * (left + x));
                let v = u32::from(luma.nearest(at)[0]);
                sum += v;
                squares += v * v;
                if (x - 1) % 4 == 0 && (y - 1) % 4 == 0 {
                    let [b, r] = chroma.nearest(at.map(|v| (v >> 1) - (1 << 14)));
                    cb += u32::from(b);
                    cr += u32::from(r);
                }
            }
        }
        let mean = sum as f32 / 16.0;
        *out = CellSeen {
            luma: mean,
            cb: cb as f32 / 4.0,
            cr: cr as f32 / 4.0,
            detail: (squares as f32 / 16.0 - mean * mean).max(0.0).sqrt(),
        };
    }
}
