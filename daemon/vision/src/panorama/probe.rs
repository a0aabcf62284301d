//! A closer look at what two cameras share: patches of the canvas as each of the two sees them.
//!
//! It is for once a second or less, so every sample is projected exactly, not by the mesh of composing.

use synoptic_base::{
    Cover, GAIN_PITCH, PATCH, PatchPair, Planes, Rig, STITCH_CELL, SeamLook, Size, StitchLayout, StitchPlan,
};

use super::StitchSlot;
use super::delta_e::{ciede2000, lab};
use super::geometry::camera_from_canvas;
use crate::picture::{Chroma, check};

/// Patches of a pair of cameras at most: enough for a median, and some 10 ms a look.
const MOST: usize = 48;
/// Patches of a pair that are looked at, at least: fewer say nothing.
const FEWEST: usize = 4;
/// Every so manieth pixel of a patch, both ways, counts for its colour.
const COLOUR_STEP: usize = 4;

/// Where a patch lies in the pictures of the two cameras.
struct Place {
    at: [f32; 2],
    /// Of each camera, of each pixel of the patch, x and y in its picture.
    from: [Vec<[f32; 2]>; 2],
}

struct Overlap {
    cameras: [usize; 2],
    places: Vec<Place>,
}

/// Knows where to look.
pub struct Probe {
    overlaps: Vec<Overlap>,
    sizes: Vec<Size>,
    layout: StitchLayout,
}

impl Probe {
    /// Spreads patches over the overlaps of `rig`, whose cells are in `layout`. Pairs that share too little have none.
    pub fn new(rig: &Rig, layout: &StitchLayout) -> Probe {
        let sizes: Vec<Size> = rig.cameras.iter().map(|c| c.intrinsics.size).collect();
        Probe::through(&sizes, layout, |k, pixel| {
            camera_from_canvas(&rig.canvas, &rig.cameras[k], pixel)
        })
    }

    /// As [`Probe::new`], of cameras with pictures of `sizes`, where `from` says where in the picture of a camera a canvas
    /// pixel comes from.
    pub fn through(
        sizes: &[Size],
        layout: &StitchLayout,
        from: impl Fn(usize, [f64; 2]) -> Option<[f64; 2]>,
    ) -> Probe {
        let mut overlaps = Vec::new();
        for a in 0..sizes.len() {
            for b in a + 1..sizes.len() {
                let corners = spread(layout, [a, b]);
                if corners.len() >= FEWEST {
                    let places = corners
                        .iter()
                        .filter_map(|corner| place(sizes, &from, [a, b], *corner))
                        .collect();
                    overlaps.push(Overlap {
                        cameras: [a, b],
                        places,
                    });
                }
            }
        }
        Probe {
            overlaps,
            sizes: sizes.to_vec(),
            layout: layout.clone(),
        }
    }

    /// The pairs that are looked at.
    pub fn pairs(&self) -> impl Iterator<Item = [usize; 2]> + '_ {
        self.overlaps.iter().map(|o| o.cameras)
    }

    /// Looks at all pairs whose cameras are both live; `plan` has the gains of now. A picture that cannot be mapped, or is
    /// not of the rig's size, is left out: composing says so.
    pub fn look(&self, slots: &[StitchSlot<'_>], plan: &StitchPlan) -> Vec<SeamLook> {
        let live = |k: usize| match slots.get(k) {
            Some(StitchSlot::Live(surface)) if surface.size() == self.sizes[k] => Some(*surface),
            _ => None,
        };
        let mut looks = Vec::new();
        for overlap in &self.overlaps {
            let [a, b] = overlap.cameras;
            let (Some(one), Some(two)) = (live(a), live(b)) else {
                continue;
            };
            let mut look = None;
            let mapped = one.with_planes(&mut |first| {
                let both = two.with_planes(&mut |second| {
                    let right = check(&first, self.sizes[a]).is_ok() && check(&second, self.sizes[b]).is_ok();
                    if right {
                        look = Some(self.compare(overlap, [&first, &second], plan));
                    }
                });
                if let Err(error) = both {
                    log::debug!("a camera is not looked at: {error}");
                }
            });
            if let Err(error) = mapped {
                log::debug!("a camera is not looked at: {error}");
            }
            looks.extend(look);
        }
        looks
    }

    fn compare(&self, overlap: &Overlap, planes: [&Planes<'_>; 2], plan: &StitchPlan) -> SeamLook {
        let sizes = overlap.cameras.map(|k| self.sizes[k]);
        let mut differences = Vec::new();
        let patches = overlap.places.iter().enumerate().map(|(number, place)| {
            let luma = |k: usize| {
                let plane = planes[k].luma();
                place.from[k]
                    .iter()
                    .map(|at| bilinear(plane.data, plane.stride, sizes[k], *at))
                    .collect::<Vec<f32>>()
            };
            let (one, two) = (luma(0), luma(1));
            let colour = |k: usize, luma: &[f32]| {
                let gain = self.gain(plan, overlap.cameras[k], place.at);
                lab(self.colour(planes[k], &place.from[k], luma, gain))
            };
            differences.push(ciede2000(colour(0, &one), colour(1, &two)));
            PatchPair {
                number,
                at: place.at,
                one,
                two,
            }
        });
        let patches = patches.collect();
        differences.sort_by(f64::total_cmp);
        SeamLook {
            cameras: overlap.cameras,
            patches,
            delta_e00: differences.get(differences.len() / 2).copied(),
        }
    }

    /// The gain of a camera at the node next to a place of the canvas.
    fn gain(&self, plan: &StitchPlan, camera: usize, at: [f32; 2]) -> [f32; 3] {
        let (across, down) = self.layout.gain_nodes();
        let node = |v: f32, n: usize| ((v / GAIN_PITCH as f32).round().max(0.0) as usize).min(n - 1);
        let i = node(at[1], down) * across + node(at[0], across);
        plan.gains
            .get(camera)
            .and_then(|g| g.get(i))
            .copied()
            .unwrap_or_default()
    }

    /// Mean R'G'B' of a patch with gain, 0 to 255.
    fn colour(&self, planes: &Planes<'_>, from: &[[f32; 2]], luma: &[f32], gain: [f32; 3]) -> [f32; 3] {
        let chroma = Chroma::of(planes);
        let (mut y, mut cb, mut cr, mut n) = (0.0_f32, 0.0_f32, 0.0_f32, 0.0_f32);
        for row in (0..PATCH).step_by(COLOUR_STEP) {
            for column in (0..PATCH).step_by(COLOUR_STEP) {
                let i = row * PATCH + column;
                let (cx, cy) = (from[i][0] as usize / 2, from[i][1] as usize / 2);
                let (blue, red) = chroma.row(cy);
                y += luma[i];
                cb += f32::from(blue[cx * chroma.step]);
                cr += f32::from(red[cx * chroma.step]);
                n += 1.0;
            }
        }
        let (y, cb, cr) = ((y / n - 16.0) * 255.0 / 219.0, cb / n - 128.0, cr / n - 128.0);
        let (kr, kb) = self.layout.kr_kb;
        let scale = 255.0 / 112.0;
        let r = y + cr * scale * (1.0 - kr);
        let b = y + cb * scale * (1.0 - kb);
        let g = (y - kr * r - kb * b) / (1.0 - kr - kb);
        let with = |v: f32, k: usize| (v * gain[k].exp()).clamp(0.0, 255.0);
        [with(r, 0), with(g, 1), with(b, 2)]
    }
}

/// Corners of patches that both cameras see whole, spread over all such places.
fn spread(layout: &StitchLayout, cameras: [usize; 2]) -> Vec<[usize; 2]> {
    let side = PATCH / STITCH_CELL;
    let whole = |c: usize, r: usize| {
        (r..r + side).all(|r| {
            (c..c + side).all(|c| {
                cameras
                    .iter()
                    .all(|k| layout.cover[*k][r * layout.columns + c] == Cover::Inner)
            })
        })
    };
    let mut found = Vec::new();
    for r in (0..(layout.rows + 1).saturating_sub(side)).step_by(side) {
        // Overlaps are often narrower than two patches: half a patch to the side is another place.
        for c in (0..(layout.columns + 1).saturating_sub(side)).step_by(side / 2) {
            if whole(c, r) {
                found.push([c * STITCH_CELL, r * STITCH_CELL]);
            }
        }
    }
    let n = found.len();
    if n <= MOST {
        return found;
    }
    (0..MOST).map(|i| found[i * n / MOST]).collect()
}

/// Where a patch lies in both pictures; `None` where one of them ends.
fn place(
    sizes: &[Size],
    camera_from_canvas: &impl Fn(usize, [f64; 2]) -> Option<[f64; 2]>,
    cameras: [usize; 2],
    corner: [usize; 2],
) -> Option<Place> {
    let mut from = [Vec::new(), Vec::new()];
    for (k, from) in cameras.iter().zip(&mut from) {
        let size = sizes[*k];
        for y in 0..PATCH {
            for x in 0..PATCH {
                let pixel = [(corner[0] + x) as f64, (corner[1] + y) as f64];
                let at = camera_from_canvas(*k, pixel)?;
                let inside = at[0] >= 0.0
                    && at[1] >= 0.0
                    && at[0] < f64::from(size.width) - 1.0
                    && at[1] < f64::from(size.height) - 1.0;
                if !inside {
                    return None;
                }
                from.push([at[0] as f32, at[1] as f32]);
            }
        }
    }
    let middle = (PATCH as f32 - 1.0) / 2.0;
    Some(Place {
        at: [corner[0] as f32 + middle, corner[1] as f32 + middle],
        from,
    })
}

/// The value between pixels; `at` lies inside of the picture, less one pixel at the right and below.
fn bilinear(data: &[u8], stride: usize, size: Size, at: [f32; 2]) -> f32 {
    let x = (at[0] as usize).min(size.width as usize - 2);
    let y = (at[1] as usize).min(size.height as usize - 2);
    let (fx, fy) = (at[0] - x as f32, at[1] - y as f32);
    let row = |y: usize| {
        let (a, b) = (data[y * stride + x], data[y * stride + x + 1]);
        f32::from(a) + (f32::from(b) - f32::from(a)) * fx
    };
    let (top, bottom) = (row(y), row(y + 1));
    top + (bottom - top) * fy
}
