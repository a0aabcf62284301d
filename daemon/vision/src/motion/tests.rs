//! Synthetic scenes: these run everywhere.

use synoptic_base::{BBox, Detection, Detector, Picture, PixelFormat, Size};

use super::MotionDetector;
use crate::PictureBuf;
use crate::testing::{Gone, meta};

const SIZE: Size = Size::new(640, 360);
const FPS: f64 = 15.0;

/// A small generator with a known sequence (Marsaglia's xorshift): tests repeat.
struct Noise(u32);
impl Noise {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
    /// Roughly Gaussian with deviation `sigma`: the sum of four uniform values.
    fn level(&mut self, sigma: f32) -> f32 {
        let sum: f32 = (0..4).map(|_| (self.next() % 1000) as f32 / 1000.0 - 0.5).sum();
        sum * sigma * 1.732
    }
}

/// A room with texture: a floor of planks, a wall, a dark window.
fn wall(x: usize, y: usize) -> f32 {
    if y > 200 {
        90.0 + 30.0 * ((x / 24 + y / 40) % 2) as f32
    } else if x < 120 {
        40.0
    } else {
        150.0 + 20.0 * ((x / 60) % 2) as f32
    }
}

/// A scene: `wall` with noise, changed by `paint` (x, y, level) → level. Chroma is grey.
fn scene(noise: &mut Noise, paint: impl Fn(usize, usize, f32) -> f32) -> PictureBuf {
    let (w, h) = (SIZE.width as usize, SIZE.height as usize);
    let mut picture = PictureBuf::new(SIZE, PixelFormat::I420, vec![128; PictureBuf::bytes(SIZE)]).unwrap();
    for y in 0..h {
        for x in 0..w {
            let level = paint(x, y, wall(x, y)) + noise.level(2.0);
            picture.luma_mut()[y * w + x] = level.clamp(16.0, 235.0) as u8;
        }
    }
    picture
}

struct Run {
    detector: MotionDetector,
    noise: Noise,
    seq: u64,
    epoch: u32,
}

impl Run {
    fn new() -> Run {
        Run {
            detector: MotionDetector::new(None),
            noise: Noise(0x5eed),
            seq: 0,
            epoch: 0,
        }
    }
    fn show(&mut self, paint: impl Fn(usize, usize, f32) -> f32) -> Vec<Detection> {
        let picture = scene(&mut self.noise, paint);
        let meta = meta("cam", self.epoch, self.seq, FPS, SIZE);
        self.seq += 1;
        let batch = [Picture {
            meta: &meta,
            surface: &picture,
        }];
        self.detector.detect(&batch).remove(0).unwrap()
    }
    /// Boxes seen in `seconds` of the same scene.
    fn hold(&mut self, seconds: f64, paint: impl Fn(usize, usize, f32) -> f32) -> usize {
        (0..(seconds * FPS) as usize)
            .map(|_| self.show(&paint).len())
            .sum()
    }
}

fn as_it_is(_: usize, _: usize, level: f32) -> f32 {
    level
}

/// A thing of 60 x 120 pixels with its left edge at `left`.
fn thing(left: usize) -> (impl Fn(usize, usize, f32) -> f32, BBox) {
    let paint = move |x: usize, y: usize, level: f32| {
        if (left..left + 60).contains(&x) && (150..270).contains(&y) {
            25.0 + 40.0 * ((x / 10 + y / 10) % 2) as f32
        } else {
            level
        }
    };
    let bbox = BBox::new(left as f32 / 640.0, 150.0 / 360.0, 60.0 / 640.0, 120.0 / 360.0);
    (paint, bbox)
}

#[test]
fn a_thing_that_moves_is_found_where_it_is_and_only_it() {
    let mut run = Run::new();
    assert_eq!(run.hold(4.0, as_it_is), 0);
    let (mut seen, frames) = (0, 80);
    for i in 0..frames {
        let (paint, truth) = thing(130 + 5 * i);
        let found = run.show(paint);
        assert!(found.len() <= 1, "frame {i}: {found:?}");
        for d in found {
            assert_eq!(d.label, "motion");
            assert!(d.bbox.iou(&truth) > 0.7, "frame {i}: {:?} for {truth:?}", d.bbox);
            assert!(d.score > 0.5 && d.score <= 1.0, "{}", d.score);
            seen += 1;
        }
    }
    assert!(seen >= frames - 3, "{seen} of {frames}");
    assert_eq!(run.hold(5.0, as_it_is), 0);
}

#[test]
fn noise_gives_nothing() {
    assert_eq!(Run::new().hold(30.0, as_it_is), 0);
}

#[test]
fn a_light_step_is_quiet_again_within_two_seconds() {
    for gain in [0.7, 1.3] {
        let mut run = Run::new();
        run.hold(4.0, as_it_is);
        let lit = |_, _, level: f32| 16.0 + (level - 16.0) * gain;
        run.hold(2.0, lit);
        assert_eq!(run.hold(20.0, lit), 0, "gain {gain}");
        // Still awake: a thing in the new light is found.
        let mut seen = 0;
        for i in 0..20 {
            let (paint, truth) = thing(200 + 5 * i);
            let found = run.show(|x, y, l| lit(x, y, paint(x, y, l)));
            seen += usize::from(found.iter().any(|d| d.bbox.iou(&truth) > 0.6));
        }
        assert!(seen >= 17, "gain {gain}: {seen}");
    }
}

#[test]
fn a_lamp_that_lights_a_part_of_the_room_is_quiet_again_within_two_seconds() {
    let mut run = Run::new();
    run.hold(4.0, as_it_is);
    let lit = |x: usize, y: usize, level: f32| {
        if x > 300 && y > 120 {
            16.0 + (level - 16.0) * 1.35
        } else {
            level
        }
    };
    run.hold(2.0, lit);
    assert_eq!(run.hold(20.0, lit), 0);
}

#[test]
fn a_soft_shadow_is_no_thing() {
    let mut run = Run::new();
    run.hold(4.0, as_it_is);
    for i in 0..60 {
        let left = 130 + 5 * i;
        let found = run.show(|x, y, level| {
            if (left..left + 90).contains(&x) && (100..300).contains(&y) {
                16.0 + (level - 16.0) * 0.75
            } else {
                level
            }
        });
        assert!(found.is_empty(), "frame {i}: {found:?}");
    }
}

#[test]
fn a_thing_that_stands_still_is_reported_for_a_minute_then_becomes_background_and_leaves_no_hole() {
    let mut run = Run::new();
    run.hold(4.0, as_it_is);
    let (still, _) = thing(300);
    assert!(run.hold(30.0, &still) >= 440);
    run.hold(40.0, &still);
    assert_eq!(run.hold(5.0, &still), 0);
    assert_eq!(run.hold(5.0, as_it_is), 0, "taken away");
}

#[test]
fn what_stood_there_at_the_start_leaves_no_hole_for_long() {
    let mut run = Run::new();
    let (still, _) = thing(300);
    run.hold(4.0, &still);
    run.hold(2.0, as_it_is);
    assert_eq!(run.hold(5.0, as_it_is), 0);
}

#[test]
fn leaves_in_the_wind_fall_silent_within_a_minute() {
    let mut run = Run::new();
    let leaves = |phase: usize| {
        move |x: usize, y: usize, level: f32| {
            let swaying = (400..500).contains(&x) && (40..140).contains(&y);
            if swaying && (x / 16 + y / 16 + phase / 3).is_multiple_of(2) {
                60.0
            } else {
                level
            }
        }
    };
    for i in 0..900 {
        run.show(leaves(i));
    }
    let late: usize = (900..1050).map(|i| run.show(leaves(i)).len()).sum();
    assert_eq!(late, 0);
}

#[test]
fn a_new_epoch_or_size_starts_anew_and_streams_are_apart() {
    let mut run = Run::new();
    run.hold(4.0, as_it_is);
    run.epoch = 1;
    let (still, _) = thing(300);
    assert_eq!(run.hold(3.0, still), 0, "learnt as background of the new epoch");

    let small = Size::new(320, 180);
    let picture = PictureBuf::new(small, PixelFormat::Nv12, vec![60; PictureBuf::bytes(small)]).unwrap();
    let metas = [
        meta("cam", 1, run.seq, FPS, small),
        meta("other", 0, run.seq, FPS, small),
    ];
    let batch = metas.each_ref().map(|meta| Picture {
        meta,
        surface: &picture,
    });
    assert_eq!(run.detector.detect(&batch), [Ok(vec![]), Ok(vec![])]);
}

#[test]
fn a_picture_that_cannot_be_read_fails_alone() {
    let mut run = Run::new();
    run.hold(4.0, as_it_is);
    let metas = [
        meta("cam", 0, run.seq, FPS, SIZE),
        meta("other", 0, run.seq, FPS, SIZE),
    ];
    run.seq += 1;
    let whole = PictureBuf::new(SIZE, PixelFormat::Nv12, vec![60; PictureBuf::bytes(SIZE)]).unwrap();
    let batch = [
        Picture {
            meta: &metas[0],
            surface: &Gone(SIZE),
        },
        Picture {
            meta: &metas[1],
            surface: &whole,
        },
    ];
    let found = run.detector.detect(&batch);
    let error = found[0].as_ref().unwrap_err().to_string();
    assert!(
        error.contains("cam/0/") && error.contains("device is gone"),
        "{error}"
    );
    assert_eq!(found[1..], [Ok(vec![])]);
    let (paint, _) = thing(300);
    run.show(&paint);
    assert!(run.hold(0.4, paint) > 0, "the background outlives the error");
}
