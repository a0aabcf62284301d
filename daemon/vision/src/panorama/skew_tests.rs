//! Skew between two cameras, measured through the whole path: rendered pictures, the compositor's looks, the engine's watch.

use synoptic_base::{Canvas, Intrinsics, Lens, Mono, Projection, Rig, RigCamera, Size, Span, StreamId};
use synoptic_engine::stitch::skew::{Skew, SkewWatch};

use super::geometry::{mul_transposed, unproject};
use super::{ComposeOptions, Compositor, StitchSlot};
use crate::PictureBuf;

const SIZE: Size = Size::new(320, 180);
const FPS: f64 = 25.0;

/// Two pinholes of 40 degrees that look 0.3 rad apart: 0.4 rad are seen by both.
fn rig() -> Rig {
    let focal = 440.0;
    let camera = |name: &str, turn: f64| {
        let (s, c) = turn.sin_cos();
        RigCamera {
            stream: StreamId::new(name).unwrap(),
            intrinsics: Intrinsics {
                size: SIZE,
                fx: focal,
                fy: focal,
                cx: 159.5,
                cy: 89.5,
                lens: Lens::PINHOLE,
            },
            rotation: [[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]],
            centre: [0.0; 3],
        }
    };
    Rig {
        cameras: vec![camera("cam0", -0.15), camera("cam1", 0.15)],
        canvas: Canvas {
            size: Size::new(448, 180),
            projection: Projection::Cylindrical,
            focal,
            cx: 223.5,
            cy: 89.5,
        },
    }
}

/// What a camera sees at `t` seconds: waves far away, and somebody bright who walks to and fro before them.
fn picture(camera: &RigCamera, t: f64) -> PictureBuf {
    // To and fro within the 3 s that are remembered: what a tenth of a pixel of the meshes does in one direction (1 ms at 100
    // pixels a second) it undoes in the other.
    let walker = 0.13 * (t * std::f64::consts::TAU / 3.0).sin();
    let mut picture = PictureBuf::black(SIZE).unwrap();
    for (i, value) in picture.luma_mut().iter_mut().enumerate() {
        let pixel = [(i % 320) as f64, (i / 320) as f64];
        let d = mul_transposed(&camera.rotation, unproject(&camera.intrinsics, pixel).unwrap());
        let (pan, up) = (d[0].atan2(d[2]), d[1] / d[0].hypot(d[2]));
        let ground = 90.0 + 25.0 * (60.0 * pan).sin() + 20.0 * (47.0 * up + 9.0 * pan).cos();
        // An edge of a pixel, so that no step of a whole pixel is all that moves.
        let inside = ((0.045 - (pan - walker).abs()) * 440.0 + 0.5).clamp(0.0, 1.0)
            * ((0.11 - up.abs()) * 440.0 + 0.5).clamp(0.0, 1.0);
        *value = (ground + (210.0 - ground) * inside).round() as u8;
    }
    picture
}

/// What is found when the second camera is late by `skew_ms`, and exposed otherwise.
fn found(skew_ms: f64) -> Option<Skew> {
    let rig = rig();
    let mut compositor = Compositor::new(&rig, ComposeOptions::default()).unwrap();
    let mut watch = SkewWatch::new(compositor.layout(), [0, 1]).unwrap();
    for i in 0..76 {
        let t = f64::from(i) / FPS;
        let one = picture(&rig.cameras[0], t);
        let two = picture(&rig.cameras[1], t + skew_ms / 1e3);
        let seen = compositor
            .observe(&[StitchSlot::Live(&one), StitchSlot::Live(&two)])
            .unwrap();
        let at = Mono::from_nanos(9_000_000_000) + Span::from_secs_f64(t);
        watch.see(&seen.cells, &[Some(at), Some(at)]);
    }
    watch.skew()
}

#[test]
fn forty_milliseconds_between_rendered_cameras_are_found_within_two() {
    for skew_ms in [40.0, 0.0, -25.0] {
        let found = found(skew_ms).unwrap();
        let off = found.skew.as_millis_f64() - skew_ms;
        eprintln!("{skew_ms} ms: off by {off:.2} ms, {found:?}");
        assert!(off.abs() < 2.0, "{skew_ms} ms: off by {off:.2} ms, {found:?}");
    }
}
