//! Views of drawn panoramas.

use synoptic_base::{Plane, Projection};

use super::*;
use crate::panorama::ViewShape;
use crate::panorama::geometry::surface_point;

fn source(projection: Projection) -> Canvas {
    Canvas {
        size: Size::new(1632, 540),
        projection,
        focal: 850.0,
        cx: 815.5,
        cy: 269.5,
    }
}

/// What is seen in a direction: smooth, so that bilinear samples are exact to a level or two.
fn luma(d: [f64; 3]) -> f64 {
    let (pan, tilt) = (d[0].atan2(d[2]), d[1].atan2(d[0].hypot(d[2])));
    128.0 + 50.0 * (9.0 * pan).sin() + 40.0 * (11.0 * tilt + 2.0 * pan).cos()
}

fn chroma(d: [f64; 3]) -> [f64; 2] {
    let pan = d[0].atan2(d[2]);
    [128.0 + 40.0 * (5.0 * pan).sin(), 128.0 + 40.0 * (4.0 * pan).cos()]
}

fn panorama(canvas: &Canvas) -> PictureBuf {
    let mut picture = PictureBuf::black(canvas.size).unwrap();
    let (w, h) = (canvas.size.width as usize, canvas.size.height as usize);
    let (y_plane, uv) = picture.nv12_mut();
    for (i, value) in y_plane.iter_mut().enumerate() {
        *value = luma(surface_point(canvas, [(i % w) as f64, (i / w) as f64])).round() as u8;
    }
    for i in 0..w * h / 4 {
        // A chroma sample lies in the middle of its four pixels.
        let at = [(i % (w / 2) * 2) as f64 + 0.5, (i / (w / 2) * 2) as f64 + 0.5];
        let both = chroma(surface_point(canvas, at));
        uv[2 * i] = both[0].round() as u8;
        uv[2 * i + 1] = both[1].round() as u8;
    }
    picture
}

fn optics(shape: ViewShape) -> ViewOptics {
    ViewOptics {
        size: Size::new(320, 180),
        shape,
        hfov_deg: 40.0,
    }
}

fn ptz(pan_deg: f64, tilt_deg: f64, zoom: f64) -> Ptz {
    Ptz {
        pan_deg,
        tilt_deg,
        zoom,
    }
}

#[test]
fn every_pixel_shows_its_own_direction() {
    for projection in [
        Projection::Cylindrical,
        Projection::Spherical,
        Projection::Rectilinear,
    ] {
        let canvas = source(projection);
        let whole = panorama(&canvas);
        for shape in [ViewShape::Rectilinear, ViewShape::Cylindrical, ViewShape::Crop] {
            let mut warp = ViewWarp::new(canvas, optics(shape), None).unwrap();
            let mut out = PictureBuf::black(Size::new(320, 180)).unwrap();
            for look in [Ptz::AHEAD, ptz(15.0, -3.0, 1.5), ptz(-20.0, 4.0, 3.0)] {
                warp.aim(look);
                warp.render(&whole, &mut out).unwrap();
                let view = warp.view().unwrap();
                let (y_plane, uv) = out.nv12_mut();
                let (mut worst, mut worst_chroma) = (0.0_f64, 0.0_f64);
                for (i, value) in y_plane.iter().enumerate() {
                    let at = view
                        .source_from_view([(i % 320) as f64, (i / 320) as f64])
                        .unwrap();
                    worst = worst.max((luma(surface_point(&canvas, at)) - f64::from(*value)).abs());
                }
                for (i, pair) in uv.chunks(2).enumerate() {
                    let p = [(i % 160 * 2) as f64 + 0.5, (i / 160 * 2) as f64 + 0.5];
                    let want = chroma(surface_point(&canvas, view.source_from_view(p).unwrap()));
                    for k in 0..2 {
                        worst_chroma = worst_chroma.max((want[k] - f64::from(pair[k])).abs());
                    }
                }
                assert!(
                    worst < 3.0 && worst_chroma < 3.0,
                    "{projection:?} {shape:?} {look:?}: {worst} {worst_chroma}"
                );
            }
        }
    }
}

#[test]
fn the_mesh_is_within_a_tenth_of_a_source_pixel() {
    let canvas = source(Projection::Cylindrical);
    let wide = ViewOptics {
        size: Size::new(1280, 720),
        hfov_deg: 80.0,
        shape: ViewShape::Rectilinear,
    };
    let view = View::new(&canvas, &wide, ptz(10.0, 5.0, 1.0));
    let mesh = Mesh::of_grid(&NodeGrid::new(wide.size, |p| view.source_from_view(p)));
    let mut worst = 0.0_f64;
    for y in (3..720).step_by(37) {
        for x in (5..1280).step_by(41) {
            let p = [f64::from(x), f64::from(y)];
            let (a, b) = (
                mesh.camera_from_canvas(p).unwrap(),
                view.source_from_view(p).unwrap(),
            );
            worst = worst.max((a[0] - b[0]).hypot(a[1] - b[1]));
        }
    }
    assert!(worst < 0.1, "{worst} px");
}

#[test]
fn all_loops_draw_the_same_bits_and_i420_is_nv12() {
    struct Apart(PictureBuf, Vec<u8>, Vec<u8>);
    impl Surface for Apart {
        fn size(&self) -> Size {
            self.0.size()
        }
        fn format(&self) -> PixelFormat {
            PixelFormat::I420
        }
        fn with_planes(&self, work: &mut dyn FnMut(Planes<'_>)) -> Result<(), SurfaceError> {
            let stride = self.0.size().width as usize / 2;
            work(Planes::I420 {
                y: self.0.planes().luma(),
                u: Plane {
                    data: &self.1,
                    stride,
                },
                v: Plane {
                    data: &self.2,
                    stride,
                },
            });
            Ok(())
        }
    }
    let canvas = source(Projection::Cylindrical);
    let mut whole = panorama(&canvas);
    let draw = |simd, picture: &dyn Surface| {
        let mut warp = ViewWarp::new(canvas, optics(ViewShape::Rectilinear), Some(simd)).unwrap();
        let mut out = PictureBuf::black(Size::new(320, 180)).unwrap();
        warp.aim(ptz(33.0, 9.0, 1.0));
        warp.render(picture, &mut out).unwrap();
        out
    };
    let want = draw(Simd::Portable, &whole);
    for simd in Simd::available() {
        assert_eq!(draw(simd, &whole), want, "{simd:?}");
    }
    let (_, uv) = whole.nv12_mut();
    let (u, v) = uv.chunks(2).map(|p| (p[0], p[1])).unzip();
    assert_eq!(draw(Simd::detect(), &Apart(whole, u, v)), want);
}

#[test]
fn beyond_the_source_it_is_black() {
    let canvas = source(Projection::Cylindrical);
    let mut white = PictureBuf::black(canvas.size).unwrap();
    white.luma_mut().fill(235);
    let mut warp = ViewWarp::new(canvas, optics(ViewShape::Rectilinear), None).unwrap();
    let mut out = PictureBuf::black(Size::new(320, 180)).unwrap();
    // The source ends 55 degrees to the right: in the middle of this view.
    warp.aim(ptz(55.0, 0.0, 1.0));
    warp.render(&white, &mut out).unwrap();
    let row = &out.planes().luma().data[90 * 320..91 * 320];
    let edge = row.iter().position(|v| *v == 16).unwrap();
    assert!((158..=163).contains(&edge), "{edge}");
    assert!(row[..edge].iter().all(|v| *v == 235) && row[edge..].iter().all(|v| *v == 16));
    // Behind it there is nothing at all, and that is no error.
    warp.aim(ptz(180.0, 0.0, 1.0));
    warp.render(&white, &mut out).unwrap();
    assert!(out.planes().luma().data.iter().all(|v| *v == 16));
}

#[test]
fn what_cannot_be_is_refused() {
    let canvas = source(Projection::Cylindrical);
    let of = |size, hfov_deg| ViewOptics {
        size,
        shape: ViewShape::Rectilinear,
        hfov_deg,
    };
    for wrong in [Size::new(321, 180), Size::new(320, 8), Size::new(32_768, 180)] {
        assert!(matches!(
            ViewWarp::new(canvas, of(wrong, 40.0), None),
            Err(ViewError::Size { .. })
        ));
    }
    for angle in [0.0, 180.0, f64::NAN] {
        let error = ViewWarp::new(canvas, of(Size::new(320, 180), angle), None).err();
        assert!(matches!(error, Some(ViewError::Angle(_))), "{angle}");
    }
    let mut warp = ViewWarp::new(canvas, of(Size::new(320, 180), 40.0), None).unwrap();
    let mut out = PictureBuf::black(Size::new(320, 180)).unwrap();
    let other = PictureBuf::black(Size::new(640, 360)).unwrap();
    let error = warp.render(&other, &mut out).unwrap_err();
    assert!(matches!(error, ViewError::Resized { .. }), "{error}");
    let gone = crate::testing::Gone(canvas.size);
    assert!(matches!(warp.render(&gone, &mut out), Err(ViewError::Surface(_))));
}
