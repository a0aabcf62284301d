//! The same rig for pictures or a canvas of another size.

use synoptic_base::{Canvas, Intrinsics, Size};

/// Two shapes are the same when their sides differ by less than this part: 640x360 and 854x480 are.
const SAME_SHAPE: f64 = 0.01;

/// A place on an axis of `from` pixels on the same axis with `to` pixels; pixel centres have whole coordinates.
fn place(at: f64, from: u32, to: u32) -> f64 {
    (at + 0.5) * f64::from(to) / f64::from(from) - 0.5
}

/// The optics of a camera for its pictures in another size; `None` when they have another shape, so that it is not known
/// what of the view they show.
pub fn optics_for(optics: &Intrinsics, size: Size) -> Option<Intrinsics> {
    let old = optics.size;
    let x = f64::from(size.width) / f64::from(old.width.max(1));
    let y = f64::from(size.height) / f64::from(old.height.max(1));
    let possible = x > 0.0 && y > 0.0 && (x / y - 1.0).abs() < SAME_SHAPE;
    possible.then(|| Intrinsics {
        size,
        fx: optics.fx * x,
        fy: optics.fy * y,
        cx: place(optics.cx, old.width, size.width),
        cy: place(optics.cy, old.height, size.height),
        lens: optics.lens,
    })
}

/// The same view on a canvas of at most `width` pixels across; never larger than it is.
pub fn canvas_within(canvas: &Canvas, width: u32) -> Canvas {
    let old = canvas.size;
    if old.width <= width {
        return *canvas;
    }
    let even = |v: f64| ((v / 2.0).round() as u32 * 2).max(16);
    let across = even(f64::from(width));
    let scale = f64::from(across) / f64::from(old.width);
    let down = even(f64::from(old.height) * scale);
    Canvas {
        size: Size::new(across, down),
        focal: canvas.focal * scale,
        cx: place(canvas.cx, old.width, across),
        // One scale for both: what rounding leaves is added or cut at the bottom.
        cy: (canvas.cy + 0.5) * scale - 0.5,
        projection: canvas.projection,
    }
}

#[cfg(test)]
mod tests {
    use synoptic_base::{Lens, Projection, RigCamera, StreamId};

    use super::*;
    use crate::panorama::geometry::{camera_from_canvas, canvas_from_camera};

    fn camera() -> RigCamera {
        RigCamera {
            stream: StreamId::new("east").unwrap(),
            intrinsics: Intrinsics {
                size: Size::new(1280, 720),
                fx: 900.0,
                fy: 905.0,
                cx: 640.3,
                cy: 358.9,
                lens: Lens::Radial([-0.1, 0.02, 0.0, 0.0]),
            },
            rotation: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            centre: [0.0; 3],
        }
    }

    fn canvas() -> Canvas {
        Canvas {
            size: Size::new(2000, 900),
            projection: Projection::Cylindrical,
            focal: 880.0,
            cx: 999.5,
            cy: 449.5,
        }
    }

    #[test]
    fn a_smaller_picture_shows_the_same_place_at_the_same_canvas_pixel() {
        let (full, canvas) = (camera(), canvas());
        let half = RigCamera {
            intrinsics: optics_for(&full.intrinsics, Size::new(640, 360)).unwrap(),
            ..full.clone()
        };
        for pixel in [[0.0, 0.0], [100.0, 600.0], [1279.0, 719.0]] {
            let there = canvas_from_camera(&canvas, &full, pixel).unwrap();
            let small = [(pixel[0] + 0.5) / 2.0 - 0.5, (pixel[1] + 0.5) / 2.0 - 0.5];
            let again = canvas_from_camera(&canvas, &half, small).unwrap();
            assert!((there[0] - again[0]).hypot(there[1] - again[1]) < 1e-6);
        }
        assert!(optics_for(&full.intrinsics, Size::new(640, 480)).is_none());
        assert!(optics_for(&full.intrinsics, Size::new(854, 480)).is_some());
    }

    #[test]
    fn a_smaller_canvas_shows_the_same() {
        let (camera, whole) = (camera(), canvas());
        let small = canvas_within(&whole, 500);
        assert_eq!(small.size, Size::new(500, 226));
        let at = camera_from_canvas(&whole, &camera, [1200.0, 500.0]).unwrap();
        let again = camera_from_canvas(&small, &camera, [299.625, 124.625]).unwrap();
        assert!((at[0] - again[0]).hypot(at[1] - again[1]) < 1e-6);
        assert_eq!(canvas_within(&whole, 4000), whole);
    }
}
