//! The tracker against known truth, and its contract case by case.

use synoptic_base::{BBox, EndReason, Mono, Span, StreamId, TrackId};

use super::measure::over_seeds;
use super::scene::{Scene, detection, meta};
use super::*;

const SEEDS: u64 = 20;

fn tracker(config: TrackConfig) -> Tracker {
    Tracker::new(StreamId::new("cam").unwrap(), TrackIds::default(), config)
}

fn at(ms: i64) -> Mono {
    Mono::from_nanos(1_000_000_000) + Span::from_millis(ms)
}

fn person(x: f32) -> synoptic_base::Detection {
    detection("person", 0.9, BBox::new(x, 0.3, 0.1, 0.4))
}

fn drain(tracker: &mut Tracker) -> Vec<TrackOutput> {
    std::iter::from_fn(|| tracker.poll()).collect()
}

/// Feeds one frame of epoch 1 and returns what became of it, and the tracks that ended.
fn feed(
    tracker: &mut Tracker,
    ms: i64,
    detections: &[synoptic_base::Detection],
) -> (TrackedFrame, Vec<(TrackId, EndReason)>) {
    let meta = meta(1, ms as u64, at(ms));
    tracker.handle(
        meta.arrival,
        TrackInput::Frame {
            meta: &meta,
            detections,
        },
    );
    let (mut frame, mut ended) = (None, Vec::new());
    for output in drain(tracker) {
        match output {
            TrackOutput::Frame(f) => frame = Some(f),
            TrackOutput::Ended { track, reason } => ended.push((track.id, reason)),
        }
    }
    (frame.expect("one Frame for each frame"), ended)
}

/// A confirmed person who stands at 0.4 from 0 to 400 ms.
fn with_a_person(config: TrackConfig) -> Tracker {
    let mut tracker = tracker(config);
    for ms in [0, 100, 200, 300, 400] {
        feed(&mut tracker, ms, &[person(0.4)]);
    }
    assert_eq!(tracker.tracks().next().unwrap().state, TrackState::Confirmed);
    tracker
}

#[test]
fn measured_on_simulated_truth() {
    let config = TrackConfig::default();
    let show = |name: &str, (score, worst): (measure::Score, u64)| {
        println!("track: {name:<44} {score}  most switches in a seed {worst}");
        (score, worst)
    };
    let (_, worst) = show(
        "two cross, 10 % missed",
        over_seeds(SEEDS, &config, Scene::crossing),
    );
    let (_, worst20) = show(
        "two cross, 20 % missed, noise 4 %",
        over_seeds(SEEDS, &config, |seed| Scene {
            miss: 0.2,
            noise: 0.04,
            ..Scene::crossing(seed)
        }),
    );
    let (varying, _) = show(
        "two cross, 30 to 200 ms between frames",
        over_seeds(SEEDS, &config, |seed| Scene {
            interval_ms: (30, 200),
            ..Scene::crossing(seed)
        }),
    );
    let (pillar, _) = show(
        "two cross behind a pillar",
        over_seeds(SEEDS, &config, |seed| Scene {
            pillar: Some(BBox::new(0.45, 0.0, 0.1, 1.0)),
            ..Scene::crossing(seed)
        }),
    );
    let (crowd, _) = show(
        "eight in a crowd, 10 % missed",
        over_seeds(SEEDS, &config, |seed| Scene::crowd(8, seed)),
    );
    let (clutter, _) = show(
        "two cross, one false box a frame",
        over_seeds(SEEDS, &config, |seed| Scene {
            clutter: 1.0,
            ..Scene::crossing(seed)
        }),
    );
    let (turning, _) = show(
        "two who turn on the spot at the edges",
        over_seeds(SEEDS, &config, |seed| {
            let mut scene = Scene::crossing(seed);
            scene.movers.iter_mut().for_each(|m| m.turns = true);
            scene
        }),
    );
    assert!(turning.mota() > 0.8);
    assert!(worst <= 1 && worst20 <= 2);
    let _ = (varying, pillar, crowd, clutter);
}
