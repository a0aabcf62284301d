//! Boxes between the picture of a camera and the canvas.

use synoptic_base::{BBox, InCamera, InPanorama, Rig, Size};

use super::geometry::{camera_from_canvas, canvas_from_camera};

/// Points on each side of a box that are projected; a box is never so large that its sides bend between them.
const POINTS: usize = 5;

/// A box of a picture of `from`, on another of `to`, where `place` says where a pixel goes; `None` outside.
pub fn through<A, B>(
    bbox: &BBox<A>,
    from: Size,
    to: Size,
    place: impl Fn([f64; 2]) -> [f64; 2],
) -> Option<BBox<B>> {
    let pixel = |p: [f64; 2]| {
        [
            p[0] * f64::from(from.width) - 0.5,
            p[1] * f64::from(from.height) - 0.5,
        ]
    };
    around(outline(bbox).map(|p| place(pixel(p))), (to.width, to.height))
}

/// Points around the edge of a box, in fractions of its picture.
pub(super) fn outline<S>(bbox: &BBox<S>) -> impl Iterator<Item = [f64; 2]> + use<S> {
    let (x, y, w, h) = (
        f64::from(bbox.x),
        f64::from(bbox.y),
        f64::from(bbox.w),
        f64::from(bbox.h),
    );
    (0..POINTS).flat_map(move |i| {
        let part = i as f64 / (POINTS - 1) as f64;
        [
            [x + part * w, y],
            [x + part * w, y + h],
            [x, y + part * h],
            [x + w, y + part * h],
        ]
    })
}

/// The smallest box around `points` (in pixels) as fractions of a picture; `None` when they are none or lie outside.
pub(super) fn around<S>(points: impl Iterator<Item = [f64; 2]>, (w, h): (u32, u32)) -> Option<BBox<S>> {
    let (mut low, mut high) = ([f64::MAX; 2], [f64::MIN; 2]);
    for p in points {
        for k in 0..2 {
            low[k] = low[k].min(p[k]);
            high[k] = high[k].max(p[k]);
        }
    }
    let x = |v: f64| ((v + 0.5) / f64::from(w)) as f32;
    let y = |v: f64| ((v + 0.5) / f64::from(h)) as f32;
    let found = BBox::from_edges(x(low[0]), y(low[1]), x(high[0]), y(high[1])).clamped();
    (found.w > 0.0 && found.h > 0.0).then_some(found)
}

/// The box on the canvas around what `bbox` of camera `camera` shows; `None` when the canvas shows none of it.
pub fn on_canvas(rig: &Rig, camera: usize, bbox: &BBox<InCamera>) -> Option<BBox<InPanorama>> {
    let eye = rig.cameras.get(camera)?;
    let size = eye.intrinsics.size;
    let pixel = |p: [f64; 2]| {
        [
            p[0] * f64::from(size.width) - 0.5,
            p[1] * f64::from(size.height) - 0.5,
        ]
    };
    let points = outline(bbox).filter_map(|p| canvas_from_camera(&rig.canvas, eye, pixel(p)));
    around(points, (rig.canvas.size.width, rig.canvas.size.height))
}

/// The box in camera `camera` around what `bbox` of the canvas shows; `None` when the camera sees none of it.
pub fn in_camera(rig: &Rig, camera: usize, bbox: &BBox<InPanorama>) -> Option<BBox<InCamera>> {
    let eye = rig.cameras.get(camera)?;
    let (size, canvas) = (eye.intrinsics.size, rig.canvas.size);
    let pixel = |p: [f64; 2]| {
        [
            p[0] * f64::from(canvas.width) - 0.5,
            p[1] * f64::from(canvas.height) - 0.5,
        ]
    };
    let points = outline(bbox).filter_map(|p| camera_from_canvas(&rig.canvas, eye, pixel(p)));
    around(points, (size.width, size.height))
}
