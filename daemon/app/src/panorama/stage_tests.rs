//! Faults, at the panorama's own stage: a rain of dropped frames, a bumped camera. Rendered pictures, the real compositor.

use std::sync::Arc;

use synoptic_base::{
    Canvas, Frame, Intrinsics, Lens, PacketId, Planes, Projection, RigCamera, Slot, Surface as _,
};
use synoptic_vision::panorama::drift::turned;
use synoptic_vision::panorama::geometry::{mul_transposed, unproject};

use super::*;
use crate::config::tests::good;

const SIZE: Size = Size::new(320, 180);
/// That of the panorama below, and by when a camera that came back has surely faded in.
const PATIENCE: Span = Span::from_millis(200);
const FADED: Span = Span::from_millis(700);

/// Two pinholes of 40 degrees that share 0.4 rad.
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
        cameras: vec![camera("a", -0.15), camera("b", 0.15)],
        canvas: Canvas {
            size: Size::new(448, 180),
            projection: Projection::Cylindrical,
            focal,
            cx: 223.5,
            cy: 89.5,
        },
    }
}

/// What a camera sees of a wall that is nowhere black and has edges everywhere.
fn picture(camera: &RigCamera) -> Pixels {
    drawn(camera, None)
}

/// The same with somebody bright before it, who stands so many radians to the right.
fn drawn(camera: &RigCamera, walker: Option<f64>) -> Pixels {
    let mut picture = PictureBuf::black(SIZE).unwrap();
    for (i, value) in picture.luma_mut().iter_mut().enumerate() {
        let pixel = [(i % 320) as f64, (i / 320) as f64];
        let d = mul_transposed(&camera.rotation, unproject(&camera.intrinsics, pixel).unwrap());
        let (x, y) = (d[0].atan2(d[2]), d[1] / d[0].hypot(d[2]));
        let waves = (70.0 * x).sin() + (53.0 * y + 31.0 * x).cos() + (91.0 * y - 17.0 * x).sin();
        let wall = 125.0 + 28.0 * waves;
        // Edges of a pixel, so that no step of a whole pixel is all that moves.
        let within = |distance: f64, reach: f64| ((reach - distance.abs()) * 440.0 + 0.5).clamp(0.0, 1.0);
        let part = walker.map_or(0.0, |at| within(x - at, 0.045) * within(y, 0.11));
        *value = (wall + (230.0 - wall) * part).round() as u8;
    }
    Arc::new(picture)
}

fn panorama() -> Panorama {
    let text = "schema_version = 1\n[[camera]]\nid = \"a\"\nsource = \"a.mp4\"\n[[camera]]\nid = \"b\"\nsource = \"b.mp4\"\n\
        [[group]]\nid = \"g\"\ncameras = [\"a\", \"b\"]\n[[panorama]]\nid = \"whole\"\npatience = \"200ms\"\n";
    good(text).panoramas.remove(0)
}

fn at(ms: i64) -> Mono {
    Mono::from_nanos(1_000_000_000) + Span::from_millis(ms)
}

/// A packet captured then; `None`: that camera's frame was dropped.
fn packet(n: u64, ms: i64, pictures: [Option<&Pixels>; 2]) -> FramePacket<Pixels> {
    let slot = |k: usize| {
        let stream = StreamId::new(["a", "b"][k]).unwrap();
        let Some(pixels) = pictures[k] else {
            return (stream, Slot::Dropped);
        };
        let meta = FrameMeta {
            key: FrameKey {
                stream,
                epoch: Epoch(1),
                media_us: MediaTime::from_micros(ms * 1_000),
            },
            seq: Seq(n),
            arrival: at(ms),
            captured: Captured {
                mono: at(ms),
                rel_error: Span::from_millis(1),
                source: TimeSource::SenderReport,
            },
            size: SIZE,
            kind: FrameKind::Unknown,
        };
        let pixels = pixels.clone();
        (stream, Slot::Okay(Frame { meta, pixels }))
    };
    FramePacket {
        id: PacketId(n),
        instant: at(ms),
        slots: vec![slot(0), slot(1)],
        spread: Span::ZERO,
    }
}

fn luma(composed: &Composed) -> Vec<u8> {
    let mut bytes = Vec::new();
    composed
        .pixels
        .with_planes(&mut |planes: Planes<'_>| bytes = planes.luma().data.to_vec())
        .unwrap();
    bytes
}

/// Mean of the canvas columns `from..to` in the middle rows: the waves give 125.
fn mean(luma: &[u8], from: usize, to: usize) -> f64 {
    let rows = luma.chunks(448).skip(40).take(100);
    let values: Vec<f64> = rows
        .flat_map(|r| r[from..to].iter().map(|v| f64::from(*v)))
        .collect();
    values.iter().sum::<f64>() / values.len() as f64
}

/// Even noise, the same on every machine.
fn random(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn a_rain_of_dropped_frames_leaves_the_picture_whole() {
    let rig = rig();
    let pictures = [picture(&rig.cameras[0]), picture(&rig.cameras[1])];
    let mut stage = Stage::new(&panorama(), &rig, Some(1), Epoch(1)).unwrap();
    let mut noise = 11_u64;
    let mut last_key = None;
    let mut calm = None;
    let mut seen = [at(0); 2];
    // Since when no gap was longer than the panorama's patience.
    let mut steady = [at(0); 2];
    let mut checked = [0; 3];
    for n in 0..260_u64 {
        let ms = n as i64 * 40;
        // Every other frame is lost, after two seconds and until eight.
        let rains = (50..200).contains(&n);
        let there = [0, 1].map(|_| !rains || random(&mut noise).is_multiple_of(2));
        let shown = [0, 1].map(|k| there[k].then_some(&pictures[k]));
        let now = at(ms);
        for k in 0..2 {
            if there[k] {
                if now - seen[k] > PATIENCE {
                    steady[k] = now;
                }
                seen[k] = now;
            }
        }
        let composed = stage
            .compose(&packet(n, ms, shown), &[], now, n % 25 == 0)
            .unwrap();
        assert_eq!(composed.meta.size, rig.canvas.size);
        assert!(last_key < Some(composed.meta.key.media_us), "keys only grow");
        last_key = Some(composed.meta.key.media_us);
        let picture = luma(&composed);
        // What only one camera sees stands while its last picture may, once it has faded in.
        let stands = |k: usize| now - seen[k] <= PATIENCE && now - steady[k] >= FADED;
        for (k, (from, to)) in [(20, 140), (310, 430)].into_iter().enumerate() {
            if stands(k) {
                checked[k] += usize::from(rains);
                let mean = mean(&picture, from, to);
                assert!((mean - 125.0).abs() < 12.0, "picture {n}, camera {k}: {mean:.0}");
            }
        }
        // What both see is there while either is.
        if stands(0) || stands(1) {
            checked[2] += usize::from(rains);
            let mean = mean(&picture, 190, 260);
            assert!((mean - 125.0).abs() < 12.0, "picture {n}, overlap: {mean:.0}");
        }
        if n == 49 {
            calm = Some(picture);
        } else if n == 259 {
            let before = calm.take().unwrap();
            let far = picture.iter().zip(&before).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(far <= Some(6), "after the rain it is as before: {far:?}");
        }
    }
    assert!(
        checked.iter().all(|n| *n > 40),
        "{checked:?} pictures looked at in the rain"
    );
    assert_eq!(stage.slots(), [SlotView::Live, SlotView::Live]);
    assert!(
        stage.quality.troubled().next().is_none(),
        "dropped frames are no moved camera"
    );
}

/// The stage after `looks` looks, one a second, with camera `b` turned by `turn` from the 15th on: whether it is told as moved, and
/// the last residual.
fn bumped(turn: [f64; 3], looks: u64) -> (Stage, bool, f64) {
    let rig = rig();
    let straight = [picture(&rig.cameras[0]), picture(&rig.cameras[1])];
    let moved = picture(&turned(&rig.cameras[1], turn));
    let mut stage = Stage::new(&panorama(), &rig, Some(1), Epoch(1)).unwrap();
    let mut told = false;
    for n in 0..looks {
        let ms = n as i64 * 1_000;
        let second = if n < 15 { &straight[1] } else { &moved };
        let shown = [Some(&straight[0]), Some(second)];
        stage.compose(&packet(n, ms, shown), &[], at(ms), true).unwrap();
        told |= stage.quality.troubled().next().is_some();
    }
    let residual = stage.quality.seams().next().and_then(|s| s.residual_px);
    (stage, told, residual.unwrap_or(f64::NAN))
}

#[test]
fn a_camera_that_sagged_a_little_is_turned_back() {
    // A quarter of a degree: 2 pixels.
    let (stage, _, residual) = bumped([0.002, 0.0045, 0.0], 75);
    assert!(residual < 0.6, "{residual} px are left");
    assert_ne!(
        stage.rig().cameras[1].rotation,
        rig().cameras[1].rotation,
        "it was turned"
    );
    assert_eq!(stage.rig().cameras[0], rig().cameras[0]);
}

#[test]
fn a_camera_that_was_hit_is_told_and_not_followed() {
    // Seven degrees: nothing of what is measured belongs together.
    let (stage, told, _) = bumped([0.03, 0.12, 0.02], 45);
    assert!(told, "a moved camera is no secret");
    assert_eq!(
        stage.rig().cameras[1].rotation,
        rig().cameras[1].rotation,
        "no guess"
    );
}

/// The skew that is told when the second camera is late by `skew_ms`.
fn skew(skew_ms: f64) -> f64 {
    let rig = rig();
    let mut stage = Stage::new(&panorama(), &rig, Some(1), Epoch(1)).unwrap();
    for n in 0..200 {
        let ms = n as i64 * 40;
        // To and fro: nothing is told before both directions were seen, and what a tenth of a pixel of the meshes does in one of
        // them (1 ms at 100 pixels a second) it undoes in the other.
        let at_s = |ms: f64| 0.13 * (ms / 1e3 * std::f64::consts::TAU / 3.0).sin();
        let one = drawn(&rig.cameras[0], Some(at_s(ms as f64)));
        let two = drawn(&rig.cameras[1], Some(at_s(ms as f64 + skew_ms)));
        stage
            .compose(&packet(n, ms, [Some(&one), Some(&two)]), &[], at(ms), false)
            .unwrap();
    }
    stage.skews[0].skew().unwrap().skew.as_millis_f64()
}

#[test]
fn forty_milliseconds_between_rendered_cameras_are_told_within_two() {
    for skew_ms in [40.0, 0.0, -25.0] {
        let found = skew(skew_ms);
        eprintln!("{skew_ms} ms: told as {found:.2} ms");
        assert!(
            (found - skew_ms).abs() < 2.0,
            "{skew_ms} ms: told as {found:.2} ms"
        );
    }
}
