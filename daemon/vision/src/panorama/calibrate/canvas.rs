//! Which surface to unroll, how large, and what of it to keep.

use synoptic_base::{Canvas, Projection, RigCamera, Size};

use super::Crop;
use crate::panorama::geometry::{Vec3, camera_from_canvas, canvas_pixel};

/// A side of a canvas is this long at most; what would be longer gets fewer pixels a radian.
const MAX_SIDE: f64 = 16384.0;
/// Columns of the raster on which the largest covered rectangle is sought.
const RASTER: usize = 480;
/// Below this angle across and down a plane shows the view with little stretch, radians: 70 degrees.
const NARROW: f64 = 1.22;
/// Above this angle from the horizon a cylinder stretches too much, radians: 50 degrees.
const STEEP: f64 = 0.87;

/// The projection that suits the outlines of the cameras, given as directions of a levelled world.
pub(super) fn choose(directions: &[Vec3]) -> Projection {
    let yaw = directions
        .iter()
        .map(|d| d[0].atan2(d[2]).abs())
        .fold(0.0, f64::max);
    let pitch = directions
        .iter()
        .map(|d| d[1].atan2(d[0].hypot(d[2])).abs())
        .fold(0.0, f64::max);
    if 2.0 * yaw <= NARROW && 2.0 * pitch <= NARROW {
        Projection::Rectilinear
    } else if pitch <= STEEP {
        Projection::Cylindrical
    } else {
        Projection::Spherical
    }
}

/// The canvas that shows the directions at `focal` pixels a radian; `None` when the projection cannot show them.
pub(super) fn fit(
    directions: &[Vec3],
    projection: Projection,
    focal: f64,
    crop: Crop,
    cameras: &[RigCamera],
) -> Option<Canvas> {
    let at = |focal: f64| Canvas {
        size: Size::new(2, 2),
        projection,
        focal,
        cx: 0.0,
        cy: 0.0,
    };
    let unit = at(1.0);
    let mut bounds = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
    for d in directions {
        let [x, y] = canvas_pixel(&unit, *d)?;
        bounds = [
            bounds[0].min(x),
            bounds[1].min(y),
            bounds[2].max(x),
            bounds[3].max(y),
        ];
    }
    if bounds.iter().any(|b| !b.is_finite() || b.abs() > 20.0) {
        return None;
    }
    let focal = focal
        .min(MAX_SIDE / (bounds[2] - bounds[0]))
        .min(MAX_SIDE / (bounds[3] - bounds[1]));
    let canvas = framed(at(focal), bounds.map(|b| b * focal))?;
    match crop {
        Crop::All => Some(canvas),
        Crop::Inside => {
            let inner = largest_covered(&canvas, cameras)?;
            let offset = [canvas.cx, canvas.cy, canvas.cx, canvas.cy];
            framed(at(focal), [0, 1, 2, 3].map(|i| inner[i] - offset[i]))
        }
    }
}

/// The canvas with these bounds about its origin, its size even.
fn framed(canvas: Canvas, [left, top, right, bottom]: [f64; 4]) -> Option<Canvas> {
    let even = |v: f64| 2 * (v / 2.0).floor() as u32;
    let size = Size::new(even(right - left), even(bottom - top));
    (size.width >= 16 && size.height >= 16).then_some(Canvas {
        size,
        cx: -left,
        cy: -top,
        ..canvas
    })
}

/// The largest rectangle of the canvas that cameras cover all of: left, top, right, bottom in pixels.
fn largest_covered(canvas: &Canvas, cameras: &[RigCamera]) -> Option<[f64; 4]> {
    let step = (f64::from(canvas.size.width) / RASTER as f64).max(1.0);
    let columns = (f64::from(canvas.size.width) / step) as usize;
    let rows = (f64::from(canvas.size.height) / step) as usize;
    let covered = |x: usize, y: usize| {
        // The four corners of the cell, so that no part of it looks over an edge.
        [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
            .iter()
            .all(|[i, j]| {
                let pixel = [(x as f64 + i) * step, (y as f64 + j) * step];
                cameras.iter().any(|c| {
                    camera_from_canvas(canvas, c, pixel).is_some_and(|p| {
                        let size = c.intrinsics.size;
                        p[0] >= 0.0
                            && p[1] >= 0.0
                            && p[0] <= f64::from(size.width) - 1.0
                            && p[1] <= f64::from(size.height) - 1.0
                    })
                })
            })
    };
    // Heights of covered columns ending at each row; the largest rectangle under such a skyline, by a stack.
    let mut heights = vec![0_usize; columns + 1];
    let mut best = (0, [0_usize; 4]);
    for y in 0..rows {
        for (x, height) in heights.iter_mut().take(columns).enumerate() {
            *height = if covered(x, y) { *height + 1 } else { 0 };
        }
        let mut stack: Vec<(usize, usize)> = Vec::new();
        for (x, height) in heights.iter().enumerate() {
            let mut from = x;
            while let Some((left, high)) = stack.last().copied().filter(|(_, high)| high >= height) {
                stack.pop();
                from = left;
                let area = high * (x - left);
                if area > best.0 {
                    best = (area, [left, y + 1 - high, x, y + 1]);
                }
            }
            stack.push((from, *height));
        }
    }
    (best.0 > 0).then(|| best.1.map(|v| v as f64 * step))
}

#[cfg(test)]
mod tests {
    use synoptic_base::StreamId;

    use super::super::level::directions;
    use super::super::model::{Model, plain_optics, rotation};
    use super::*;

    fn rig(yaws: &[f64], roll: f64) -> (Model, Vec<RigCamera>) {
        let optics = plain_optics(Size::new(640, 360), 600.0, false);
        let rotations: Vec<_> = yaws
            .iter()
            .map(|y| super::super::model::times(&rotation([0.0, 0.0, roll]), &rotation([0.0, -y, 0.0])))
            .collect();
        let cameras = rotations
            .iter()
            .map(|r| RigCamera {
                stream: StreamId::new("east").unwrap(),
                intrinsics: optics,
                rotation: *r,
                centre: [0.0; 3],
            })
            .collect();
        let set = vec![0; yaws.len()];
        let optics = vec![optics];
        (
            Model {
                rotations,
                optics,
                set,
            },
            cameras,
        )
    }

    #[test]
    fn projections_follow_the_view() {
        assert_eq!(choose(&directions(&rig(&[0.0], 0.0).0)), Projection::Rectilinear);
        assert_eq!(
            choose(&directions(&rig(&[-0.4, 0.4], 0.0).0)),
            Projection::Cylindrical
        );
        assert_eq!(
            choose(&directions(&rig(&[-0.4, 0.4], 1.5).0)),
            Projection::Cylindrical
        );
        assert_eq!(choose(&[[0.0, -1.0, 0.1]]), Projection::Spherical);
    }

    #[test]
    fn the_crop_is_covered_everywhere_and_the_whole_shows_every_corner() {
        let (model, cameras) = rig(&[-0.35, 0.35], 0.04);
        let outline = directions(&model);
        let whole = fit(&outline, Projection::Cylindrical, 600.0, Crop::All, &cameras).unwrap();
        let inner = fit(&outline, Projection::Cylindrical, 600.0, Crop::Inside, &cameras).unwrap();
        assert!(
            inner.size.height < whole.size.height && inner.size.height > 290,
            "{:?}",
            inner.size
        );
        assert_eq!((inner.size.width % 2, inner.size.height % 2), (0, 0));
        for y in (0..inner.size.height).step_by(9) {
            for x in (0..inner.size.width).step_by(9) {
                let seen = cameras.iter().any(|c| {
                    let p = camera_from_canvas(&inner, c, [f64::from(x), f64::from(y)]);
                    p.is_some_and(|p| (-0.01..639.01).contains(&p[0]) && (-0.01..359.01).contains(&p[1]))
                });
                assert!(seen, "nobody sees {x}, {y}");
            }
        }
        for d in outline {
            let p = canvas_pixel(&whole, d).unwrap();
            assert!(
                p[0] > -1e-6 && p[1] > -1e-6 && p[0] < f64::from(whole.size.width) + 2.0,
                "{p:?}"
            );
        }
    }

    #[test]
    fn a_view_behind_has_no_plane() {
        let (model, cameras) = rig(&[0.0, 2.5], 0.0);
        assert_eq!(
            fit(
                &directions(&model),
                Projection::Rectilinear,
                600.0,
                Crop::All,
                &cameras
            ),
            None
        );
    }
}
