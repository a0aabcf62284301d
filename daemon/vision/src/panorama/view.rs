//! The geometry of a virtual camera: a part of a picture whose directions are known, seen as by a camera that pans, tilts and
//! zooms.
//!
//! A **source** is a picture with a [`Canvas`]: a panorama, or a camera taken for a plane. The view stands where the source's
//! cameras stand; +z of the source is straight ahead.

use synoptic_base::{BBox, Canvas, Projection, Ptz, Size};

use super::boxes::{around, outline};
use super::geometry::{Mat3, canvas_pixel, mul, mul_transposed, surface_point};

/// What a view is drawn on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ViewShape {
    /// A plane, as a real camera has: lines stay straight.
    #[default]
    Rectilinear,
    /// A cylinder: uprights stay straight, and more than 100 degrees can be shown.
    Cylindrical,
    /// None of its own: a rectangle cut out of the source, larger or smaller.
    Crop,
}

/// What a view is at zoom 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ViewOptics {
    /// Its pictures, in pixels; even both ways.
    pub size: Size,
    /// What it is drawn on.
    pub shape: ViewShape,
    /// Degrees across.
    pub hfov_deg: f64,
}

impl ViewOptics {
    /// Degrees down at zoom 1, along the middle.
    pub fn vfov_deg(&self) -> f64 {
        let half = f64::from(self.size.height) / 2.0;
        match self.shape {
            ViewShape::Rectilinear | ViewShape::Cylindrical => {
                2.0 * (half / self.focal(1.0)).atan().to_degrees()
            }
            ViewShape::Crop => 2.0 * (half / self.focal(1.0)).to_degrees(),
        }
    }

    /// Pixels for a unit of its surface, at `zoom`.
    fn focal(&self, zoom: f64) -> f64 {
        let width = f64::from(self.size.width);
        let angle = self.hfov_deg.to_radians();
        let focal = match self.shape {
            ViewShape::Rectilinear => width / 2.0 / (angle / 2.0).tan(),
            ViewShape::Cylindrical | ViewShape::Crop => width / angle,
        };
        focal * zoom
    }

    /// The largest view of this size and shape that shows nothing outside of `source` when it looks at its middle; never more
    /// than 100 degrees on a plane, where the edges would be torn apart.
    pub fn widest(source: &Canvas, size: Size, shape: ViewShape) -> ViewOptics {
        const MOST_ON_A_PLANE: f64 = 100.0;
        let [[left, right], [low, high]] = coverage_deg(source);
        let (w, h) = (f64::from(size.width), f64::from(size.height));
        // What fits down, in pixels for a unit, says how much fits across.
        let down = (high - low).min(170.0).to_radians();
        let by_height = match shape {
            ViewShape::Rectilinear => 2.0 * (w / h * (down / 2.0).tan()).atan(),
            ViewShape::Cylindrical => w / h * 2.0 * (down / 2.0).tan(),
            ViewShape::Crop => w / h * down,
        };
        let most = match shape {
            ViewShape::Rectilinear => MOST_ON_A_PLANE,
            ViewShape::Cylindrical | ViewShape::Crop => 360.0,
        };
        ViewOptics {
            size,
            shape,
            hfov_deg: by_height.to_degrees().min(right - left).clamp(1.0, most),
        }
    }
}

/// What `source` shows along its middle lines: degrees to the right (`[left, right]`) and up (`[lowest, highest]`).
pub fn coverage_deg(source: &Canvas) -> [[f64; 2]; 2] {
    let (w, h) = (f64::from(source.size.width), f64::from(source.size.height));
    let pan = |x: f64| {
        let [x, _, z] = surface_point(source, [x, source.cy]);
        // A cylinder of more than half a circle goes on behind.
        match source.projection {
            Projection::Cylindrical | Projection::Spherical => None,
            Projection::Rectilinear | Projection::Plane => Some(x.atan2(z).to_degrees()),
        }
    };
    let across = |x: f64| pan(x).unwrap_or_else(|| ((x - source.cx) / source.focal).to_degrees());
    let tilt = |y: f64| {
        let [x, y, z] = surface_point(source, [source.cx, y]);
        (-y).atan2(x.hypot(z)).to_degrees()
    };
    // The outer edges of the outermost pixels.
    [[across(-0.5), across(w - 0.5)], [tilt(h - 0.5), tilt(-0.5)]]
}

/// A view at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    source: Canvas,
    /// What the view is drawn on, in its own frame.
    canvas: Canvas,
    /// From the view's frame to the source's.
    turn: Mat3,
    /// Of a crop: the source pixel in its middle, and source pixels for a pixel of it.
    crop: Option<([f64; 2], f64)>,
}

impl View {
    /// The view of `optics` on `source` that looks where `ptz` says.
    pub fn new(source: &Canvas, optics: &ViewOptics, ptz: Ptz) -> View {
        let focal = optics.focal(ptz.zoom.max(1e-3));
        let middle = |n: u32| (f64::from(n) - 1.0) / 2.0;
        let canvas = Canvas {
            size: optics.size,
            projection: match optics.shape {
                ViewShape::Rectilinear | ViewShape::Crop => Projection::Rectilinear,
                ViewShape::Cylindrical => Projection::Cylindrical,
            },
            focal,
            cx: middle(optics.size.width),
            cy: middle(optics.size.height),
        };
        let (sp, cp) = ptz.pan_deg.to_radians().sin_cos();
        let (st, ct) = ptz.tilt_deg.to_radians().sin_cos();
        // First up, then to the right: the horizon stays level.
        let turn = [[cp, sp * st, sp * ct], [0.0, ct, -st], [-sp, cp * st, cp * ct]];
        let crop = (optics.shape == ViewShape::Crop).then(|| {
            let ahead = canvas_pixel(source, mul(&turn, [0.0, 0.0, 1.0]));
            (ahead.unwrap_or([source.cx, source.cy]), source.focal / focal)
        });
        View {
            source: *source,
            canvas,
            turn,
            crop,
        }
    }

    /// The view's pictures, in pixels.
    pub fn size(&self) -> Size {
        self.canvas.size
    }

    /// Pixels of the source for a pixel of the view, in its middle.
    pub(super) fn scale(&self) -> f64 {
        self.source.focal / self.canvas.focal
    }

    /// The pixel of the source that belongs at a pixel of the view; `None` where the source cannot show that direction. It may
    /// lie outside of the source's picture.
    pub fn source_from_view(&self, pixel: [f64; 2]) -> Option<[f64; 2]> {
        if let Some((middle, scale)) = self.crop {
            let c = [self.canvas.cx, self.canvas.cy];
            return Some([0, 1].map(|k| middle[k] + (pixel[k] - c[k]) * scale));
        }
        canvas_pixel(&self.source, mul(&self.turn, surface_point(&self.canvas, pixel)))
    }

    /// The other way round.
    pub fn view_from_source(&self, pixel: [f64; 2]) -> Option<[f64; 2]> {
        if let Some((middle, scale)) = self.crop {
            let c = [self.canvas.cx, self.canvas.cy];
            return Some([0, 1].map(|k| c[k] + (pixel[k] - middle[k]) / scale));
        }
        canvas_pixel(
            &self.canvas,
            mul_transposed(&self.turn, surface_point(&self.source, pixel)),
        )
    }

    /// The box in the view around what `bbox` of the source shows; `None` when the view shows none of it.
    pub fn bbox<S, V>(&self, bbox: &BBox<S>) -> Option<BBox<V>> {
        let from = self.source.size;
        let pixel = |p: [f64; 2]| {
            [
                p[0] * f64::from(from.width) - 0.5,
                p[1] * f64::from(from.height) - 0.5,
            ]
        };
        let points = outline(bbox).filter_map(|p| self.view_from_source(pixel(p)));
        around(points, (self.canvas.size.width, self.canvas.size.height))
    }
}

/// The direction of a pixel of `source`: degrees to the right and up.
pub fn direction_deg(source: &Canvas, pixel: [f64; 2]) -> [f64; 2] {
    let [x, y, z] = surface_point(source, pixel);
    [x.atan2(z).to_degrees(), (-y).atan2(x.hypot(z)).to_degrees()]
}

#[cfg(test)]
mod tests {
    use synoptic_base::{InCamera, InPanorama};

    use super::*;

    fn panorama(projection: Projection) -> Canvas {
        Canvas {
            size: Size::new(3264, 1080),
            projection,
            focal: 1700.0,
            cx: 1500.0,
            cy: 560.0,
        }
    }

    fn ptz(pan_deg: f64, tilt_deg: f64, zoom: f64) -> Ptz {
        Ptz {
            pan_deg,
            tilt_deg,
            zoom,
        }
    }

    fn optics(shape: ViewShape) -> ViewOptics {
        ViewOptics {
            size: Size::new(1280, 720),
            shape,
            hfov_deg: 50.0,
        }
    }

    #[test]
    fn the_middle_of_the_view_is_where_it_is_told_to_look() {
        for projection in [
            Projection::Cylindrical,
            Projection::Spherical,
            Projection::Rectilinear,
        ] {
            let source = panorama(projection);
            for shape in [ViewShape::Rectilinear, ViewShape::Cylindrical, ViewShape::Crop] {
                let view = View::new(&source, &optics(shape), ptz(12.0, -7.0, 2.0));
                let at = view.source_from_view([639.5, 359.5]).unwrap();
                let seen = direction_deg(&source, at);
                assert!(
                    (seen[0] - 12.0).abs() < 1e-9 && (seen[1] + 7.0).abs() < 1e-9,
                    "{seen:?}"
                );
                // There and back, everywhere.
                for p in [[0.0, 0.0], [1279.0, 40.0], [300.0, 719.0]] {
                    let back = view.view_from_source(view.source_from_view(p).unwrap()).unwrap();
                    assert!(
                        (back[0] - p[0]).hypot(back[1] - p[1]) < 1e-6,
                        "{shape:?} {p:?} {back:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_plane_shows_straight_what_the_cylinder_bends() {
        // A level straight line of the world: y = 0.2 at z = 1.
        let source = panorama(Projection::Cylindrical);
        let view = View::new(&source, &optics(ViewShape::Rectilinear), ptz(0.0, -8.0, 1.0));
        let places: Vec<[f64; 2]> = [-0.3, 0.0, 0.3]
            .map(|x| {
                view.view_from_source(canvas_pixel(&source, [x, 0.2, 1.0]).unwrap())
                    .unwrap()
            })
            .to_vec();
        let [a, b, c] = places[..] else { panic!() };
        let off = (b[1] - a[1]) - (c[1] - a[1]) * (b[0] - a[0]) / (c[0] - a[0]);
        assert!(off.abs() < 1e-6, "{off} px off the line");
        let on_source = [-0.3, 0.0, 0.3].map(|x| canvas_pixel(&source, [x, 0.2, 1.0]).unwrap()[1]);
        assert!(
            (on_source[1] - on_source[0]).abs() > 5.0,
            "it was bent: {on_source:?}"
        );
    }

    #[test]
    fn zoom_makes_things_larger_by_itself() {
        let source = panorama(Projection::Spherical);
        for shape in [ViewShape::Rectilinear, ViewShape::Cylindrical, ViewShape::Crop] {
            let width = |zoom: f64| {
                let view = View::new(&source, &optics(shape), ptz(0.0, 0.0, zoom));
                let at = |x: f64| view.view_from_source([source.cx + x, source.cy]).unwrap()[0];
                at(10.0) - at(-10.0)
            };
            assert!((width(3.0) / width(1.0) - 3.0).abs() < 1e-3, "{shape:?}");
        }
    }

    #[test]
    fn the_widest_view_shows_nothing_outside() {
        for projection in [
            Projection::Cylindrical,
            Projection::Spherical,
            Projection::Rectilinear,
        ] {
            let source = Canvas {
                cx: 1631.5,
                cy: 539.5,
                ..panorama(projection)
            };
            for shape in [ViewShape::Rectilinear, ViewShape::Cylindrical, ViewShape::Crop] {
                let optics = ViewOptics::widest(&source, Size::new(1280, 720), shape);
                let view = View::new(&source, &optics, Ptz::AHEAD);
                for p in [[0.0, 359.5], [1279.0, 359.5], [639.5, 0.0], [639.5, 719.0]] {
                    let [x, y] = view.source_from_view(p).unwrap();
                    let inside = (-1.0..=3264.0).contains(&x) && (-1.0..=1080.0).contains(&y);
                    assert!(inside, "{projection:?} {shape:?}: {p:?} is at {x:.1}, {y:.1}");
                }
            }
        }
    }

    #[test]
    fn boxes_go_where_the_picture_goes() {
        let source = panorama(Projection::Cylindrical);
        let view = View::new(&source, &optics(ViewShape::Rectilinear), ptz(0.0, 0.0, 1.0));
        // 100 x 200 pixels in the middle of the source's +z.
        let bbox: BBox<InPanorama> =
            BBox::new(1450.5 / 3264.0, 460.5 / 1080.0, 100.0 / 3264.0, 200.0 / 1080.0);
        let seen: BBox<InCamera> = view.bbox(&bbox).unwrap();
        let (x, y) = seen.center();
        assert!((x - 0.5).abs() < 1e-3 && (y - 0.5).abs() < 1e-3, "{seen:?}");
        // 1280 / 2 / tan(25 degrees) = 1372 pixels a radian where the source has 1700.
        assert!(
            (seen.w * 1280.0 - 80.8).abs() < 0.5 && (seen.h * 720.0 - 161.5).abs() < 1.0,
            "{seen:?}"
        );
        let away: BBox<InPanorama> = BBox::new(0.0, 0.4, 0.02, 0.1);
        assert_eq!(view.bbox::<_, InCamera>(&away), None);
    }
}
