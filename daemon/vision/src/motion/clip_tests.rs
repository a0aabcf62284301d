//! The promise of the motion detector, measured on a real clip: one-by-one-person-detection.mp4 (768x432, 10 fps).
//!
//! Ground truth: persons that YOLOX-nano finds in each frame (score ≥ 0.2 kept, made by tools/golden/detect.py).
//! * A frame **has a person** when one is found with score ≥ 0.5.
//! * It is **recalled** when some motion box has IoU ≥ 0.3 with a person, or lies by half inside one and covers
//!   0.3 of it.
//! * A box is **false** when it comes within a tenth of the picture of no person (score ≥ 0.2) of any frame within
//!   a second: a foot or a shadow at the picture's edge moves before and after the model knows it as a person.

use synoptic_base::{BBox, Detection, Detector, Picture, Size};

use super::MotionDetector;
use crate::PictureBuf;
use crate::testing::{Clip, meta, mirror};

const CLIP: &str = "data/clips/one-by-one-person-detection.mp4";
const SIZE: Size = Size::new(768, 432);
const FPS: f64 = 10.0;
/// Frames in which nobody is seen: where the light steps are made.
const EMPTY_AT: usize = 700;
const PERSON_AT: usize = 300;

struct Person {
    bbox: BBox,
    score: f32,
}

fn truth() -> Vec<Vec<Person>> {
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../../golden/one-by-one-person.json")).unwrap();
    let frames: Vec<Vec<[f32; 5]>> = serde_json::from_value(golden["frames"].clone()).unwrap();
    let person = |[x, y, w, h, score]: [f32; 5]| Person {
        bbox: BBox::new(x, y, w, h).clamped(),
        score,
    };
    frames
        .into_iter()
        .map(|f| f.into_iter().map(person).collect())
        .collect()
}

fn overlap(a: &BBox, b: &BBox) -> f32 {
    let w = a.right().min(b.right()) - a.x.max(b.x);
    let h = a.bottom().min(b.bottom()) - a.y.max(b.y);
    w.max(0.0) * h.max(0.0)
}

fn recalls(motion: &BBox, person: &BBox) -> bool {
    let both = overlap(motion, person);
    motion.iou(person) >= 0.3 || (both >= 0.5 * motion.area() && both >= 0.3 * person.area())
}

/// Detections of every frame; `change` may edit a picture, by its number.
fn run(change: impl Fn(usize, &mut PictureBuf)) -> Option<Vec<Vec<Detection>>> {
    let clip = Clip::open(&mirror(CLIP)?, SIZE)?;
    let mut detector = MotionDetector::new(None);
    let mut found = Vec::new();
    for (i, mut picture) in clip.enumerate() {
        change(i, &mut picture);
        let meta = meta("clip", 0, i as u64, FPS, SIZE);
        let batch = [Picture {
            meta: &meta,
            surface: &picture,
        }];
        found.push(detector.detect(&batch).remove(0).unwrap());
    }
    Some(found)
}

/// Frames with a person, those recalled, and false boxes as (frame, box).
fn judge(found: &[Vec<Detection>], truth: &[Vec<Person>]) -> (usize, usize, Vec<(usize, [f32; 4])>) {
    let (mut with, mut recalled, mut wrong) = (0, 0, Vec::new());
    for (i, boxes) in found.iter().enumerate() {
        let persons: Vec<_> = truth[i].iter().filter(|p| p.score >= 0.5).collect();
        if !persons.is_empty() {
            with += 1;
            let hit = boxes
                .iter()
                .any(|d| persons.iter().any(|p| recalls(&d.bbox, &p.bbox)));
            recalled += usize::from(hit);
            if !hit && std::env::var_os("SYNOPTIC_SHOW").is_some() {
                eprintln!("missed {i}: {boxes:?}");
            }
        }
        let near = &truth[i.saturating_sub(FPS as usize)..(i + FPS as usize + 1).min(truth.len())];
        let touches = |d: &Detection| near.iter().flatten().any(|p| overlap(&p.bbox, &d.bbox) > 0.0);
        wrong.extend(
            boxes
                .iter()
                .filter(|d| !touches(d))
                .map(|d| (i, [d.bbox.x, d.bbox.y, d.bbox.w, d.bbox.h])),
        );
    }
    (with, recalled, wrong)
}

#[test]
fn people_are_found_and_little_else() {
    let Some(found) = run(|_, _| ()) else { return };
    let truth = truth();
    assert_eq!(found.len(), truth.len());
    let (with, recalled, wrong) = judge(&found, &truth);
    let recall = recalled as f64 / with as f64;
    let minutes = found.len() as f64 / FPS / 60.0;
    eprintln!(
        "recall {recall:.3} of {with} frames; {} false boxes in {minutes:.2} min: {wrong:?}",
        wrong.len()
    );
    assert!(recall >= 0.9, "recall {recall}");
    assert!(wrong.len() as f64 <= minutes, "{} false boxes", wrong.len());
}

#[test]
fn a_light_step_of_30_percent_is_quiet_again_after_two_seconds() {
    let truth = truth();
    for (at, gain) in [
        (EMPTY_AT, 0.7_f32),
        (EMPTY_AT, 1.3),
        (PERSON_AT, 0.7),
        (PERSON_AT, 1.3),
    ] {
        let step = |i: usize, picture: &mut PictureBuf| {
            if i >= at {
                for level in picture.luma_mut() {
                    *level = (16.0 + (f32::from(*level) - 16.0) * gain).clamp(16.0, 235.0) as u8;
                }
            }
        };
        let Some(found) = run(step) else { return };
        let (with, recalled, wrong) = judge(&found, &truth);
        // What comes later than 20 s has nothing to do with the step.
        let after = |from: usize, to: usize| {
            wrong
                .iter()
                .filter(|(i, _)| (at + from..at + to).contains(i))
                .count()
        };
        let second = FPS as usize;
        let last = wrong
            .iter()
            .map(|(i, _)| *i)
            .filter(|i| (at..at + 20 * second).contains(i))
            .max();
        let quiet = last.map_or(0.0, |i| (i + 1 - at) as f64 / FPS);
        eprintln!(
            "step x{gain} at frame {at}: quiet after {quiet:.1} s, recall {:.3}, false boxes {wrong:?}",
            recalled as f64 / with as f64
        );
        assert_eq!(after(2 * second, 20 * second), 0);
        assert!(recalled as f64 >= 0.9 * with as f64);
    }
}
