//! Geometry and pixels, without time.

use synoptic_base::{Cover, Lens, Mono, Projection, STITCH_CELL, Size};
use synoptic_engine::stitch::{Director, StitchConfig};
use synoptic_vision::PictureBuf;
use synoptic_vision::panorama::{Blend, ComposeOptions, Compositor, Simd, StitchSlot};

use super::world::{World, psnr, row};

const SIZE: Size = Size::new(480, 270);

fn composed(
    rig: &synoptic_base::Rig,
    pictures: &[PictureBuf],
    options: ComposeOptions,
) -> (PictureBuf, Compositor) {
    let mut compositor = Compositor::new(rig, options).unwrap();
    let mut director = Director::new(compositor.layout().clone(), StitchConfig::default()).unwrap();
    let slots: Vec<_> = pictures.iter().map(|p| StitchSlot::Live(p)).collect();
    let mut out = PictureBuf::black(rig.canvas.size).unwrap();
    compositor
        .compose(&slots, &[], &mut director, &mut out, Mono::from_nanos(0))
        .unwrap();
    (out, compositor)
}

/// A pixel of a cell that some camera sees whole.
fn covered(compositor: &Compositor) -> impl Fn(usize, usize) -> bool + use<'_> {
    let layout = compositor.layout();
    move |x, y| {
        let cell = y / STITCH_CELL * layout.columns + x / STITCH_CELL;
        layout.cover.iter().any(|c| c[cell] >= Cover::Whole)
    }
}

#[test]
fn what_is_composed_is_what_the_canvas_would_see() {
    let world = World::default();
    let cases = [
        (2, Lens::PINHOLE, Projection::Cylindrical),
        (2, Lens::Radial([-0.08, 0.01, 0.0, 0.0]), Projection::Spherical),
        (
            2,
            Lens::Fisheye([-0.02, 0.003, 0.0, 0.0]),
            Projection::Rectilinear,
        ),
        (3, Lens::Radial([-0.05, 0.0, 0.0, 0.0]), Projection::Cylindrical),
        (4, Lens::PINHOLE, Projection::Spherical),
    ];
    for (n, lens, projection) in cases {
        let rig = row(n, SIZE, lens, projection);
        let pictures: Vec<_> = (0..n).map(|k| world.seen_by(&rig, k, [1.0; 3])).collect();
        let truth = world.truth(&rig);
        for blend in [Blend::Feather, Blend::MultiBand(3)] {
            let options = ComposeOptions {
                blend,
                ..ComposeOptions::default()
            };
            let (out, compositor) = composed(&rig, &pictures, options);
            let got = psnr(&out, &truth, covered(&compositor));
            // Bilinear sampling and rounding leave 40 dB of the finest waves; half a pixel off leaves 30.
            assert!(got > 38.0, "{n} {lens:?} {projection:?} {blend:?}: {got:.1} dB");
            eprintln!(
                "{n} {projection:?} {blend:?}: {got:.1} dB, mesh {:?} px",
                compositor.mesh_errors()
            );
        }
    }
}

#[test]
fn every_version_and_number_of_threads_makes_the_same_bytes() {
    let world = World::default();
    let rig = row(
        3,
        SIZE,
        Lens::Radial([-0.05, 0.0, 0.0, 0.0]),
        Projection::Cylindrical,
    );
    let gains = [[1.0; 3], [0.9, 0.95, 1.0], [0.8, 0.8, 0.8]];
    let pictures: Vec<_> = (0..3).map(|k| world.seen_by(&rig, k, gains[k])).collect();
    for blend in [Blend::Feather, Blend::MultiBand(4)] {
        let options = |simd, threads| ComposeOptions {
            threads,
            blend,
            simd: Some(simd),
        };
        let (want, _) = composed(&rig, &pictures, options(Simd::Portable, 1));
        for simd in Simd::available() {
            for threads in [1, 3] {
                let (got, _) = composed(&rig, &pictures, options(simd, threads));
                assert!(got == want, "{simd:?} with {threads} threads, {blend:?}");
            }
        }
    }
}

#[test]
fn i420_and_nv12_make_the_same_picture() {
    let world = World::default();
    let rig = row(2, SIZE, Lens::PINHOLE, Projection::Cylindrical);
    let nv12: Vec<_> = (0..2).map(|k| world.seen_by(&rig, k, [1.0; 3])).collect();
    let i420: Vec<_> = nv12.iter().map(planar).collect();
    let options = ComposeOptions::default();
    assert!(composed(&rig, &nv12, options).0 == composed(&rig, &i420, options).0);
}

fn planar(picture: &PictureBuf) -> PictureBuf {
    let synoptic_base::Planes::Nv12 { y, uv } = picture.planes() else {
        panic!("not NV12")
    };
    let mut data = y.data.to_vec();
    data.extend(uv.data.iter().step_by(2));
    data.extend(uv.data.iter().skip(1).step_by(2));
    PictureBuf::new(SIZE, synoptic_base::PixelFormat::I420, data).unwrap()
}

#[test]
fn pictures_that_do_not_belong_are_refused_and_the_next_is_composed() {
    let world = World::default();
    let rig = row(2, SIZE, Lens::PINHOLE, Projection::Cylindrical);
    let mut compositor = Compositor::new(&rig, ComposeOptions::default()).unwrap();
    let mut director = Director::new(compositor.layout().clone(), StitchConfig::default()).unwrap();
    let good: Vec<_> = (0..2).map(|k| world.seen_by(&rig, k, [1.0; 3])).collect();
    let small = PictureBuf::black(Size::new(320, 180)).unwrap();
    let mut out = PictureBuf::black(rig.canvas.size).unwrap();
    let now = Mono::from_nanos(0);
    let slots = [StitchSlot::Live(&good[0]), StitchSlot::Live(&small)];
    let refused = compositor
        .compose(&slots, &[], &mut director, &mut out, now)
        .unwrap_err();
    assert!(refused.to_string().contains("cam1"), "{refused}");
    assert!(
        compositor
            .compose(&slots[..1], &[], &mut director, &mut out, now)
            .is_err()
    );
    let slots = [StitchSlot::Live(&good[0]), StitchSlot::Live(&good[1])];
    let mut wrong = PictureBuf::black(Size::new(64, 64)).unwrap();
    assert!(
        compositor
            .compose(&slots, &[], &mut director, &mut wrong, now)
            .is_err()
    );
    compositor
        .compose(&slots, &[], &mut director, &mut out, now)
        .unwrap();
    let one = synoptic_base::Rig {
        cameras: rig.cameras[..1].to_vec(),
        ..rig
    };
    assert!(Compositor::new(&one, ComposeOptions::default()).is_err());
}
