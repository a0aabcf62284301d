//! The tracker against known truth, and its contract case by case.

use synoptic_base::{BBox, Detection, EndReason, Mono, Span, StreamId, TrackId};

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

fn person(x: f32) -> Detection {
    detection("person", 0.9, BBox::new(x, 0.3, 0.1, 0.4))
}

fn drain(tracker: &mut Tracker) -> Vec<TrackOutput> {
    std::iter::from_fn(|| tracker.poll()).collect()
}

/// Feeds one frame of epoch 1 and returns what became of it, and the tracks that ended.
fn feed(
    tracker: &mut Tracker,
    ms: i64,
    detections: &[Detection],
) -> (TrackedFrame, Vec<(TrackId, EndReason)>) {
    let meta = meta(1, ms.unsigned_abs(), at(ms));
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

/// The table of docs/design/tracking.md. Its bounds leave room for another random generator, not for a worse
/// tracker.
#[test]
fn measured_on_simulated_truth() {
    let config = TrackConfig::default();
    let measure = |name: &str, change: fn(&mut Scene)| {
        let score = over_seeds(SEEDS, &config, |seed| {
            let mut scene = Scene::crossing(seed);
            change(&mut scene);
            scene
        });
        println!("track: {name:<40} {score}");
        score
    };
    let easy = measure("two cross, 10 % missed", |_| {});
    assert!(easy.lasting <= 1 && easy.idf1() > 0.88 && easy.mota() > 0.8);
    let noisy = measure("two cross, 20 % missed, edges ± 4 %", |s| {
        s.miss = 0.2;
        s.noise = 0.04;
    });
    assert!(noisy.lasting <= 4 && noisy.idf1() > 0.8);
    let uneven = measure("two cross, 30 to 200 ms between frames", |s| {
        s.interval_ms = (30, 200);
    });
    assert!(uneven.lasting <= 4 && uneven.idf1() > 0.85);
    let slow = measure("two cross, 5 frames a second", |s| {
        s.interval_ms = (200, 200);
    });
    assert!(slow.lasting <= 4);
    let pillar = measure("two cross behind a pillar", |s| {
        s.pillar = Some(BBox::new(0.45, 0.0, 0.1, 1.0));
    });
    assert!(pillar.lasting <= 6 && pillar.idf1() > 0.85);
    let clutter = measure("two cross, a false box in every frame", |s| {
        s.clutter = 1.0;
    });
    assert!(clutter.lasting <= 8 && clutter.false_tracks <= 2);
    let crowd = measure("eight people, 10 % missed", |s| {
        s.movers = Scene::crowd(8, s.seed).movers;
    });
    assert!(crowd.lasting <= 24 && crowd.idf1() > 0.85);
    let turning = measure("two who turn on the spot at the edges", |s| {
        s.movers.iter_mut().for_each(|m| m.turns = true);
    });
    assert!(turning.lasting <= 16);
}

#[test]
fn confirmed_after_enough_sightings_and_time_and_the_first_is_kept() {
    let mut tracker = tracker(TrackConfig::default());
    let states: Vec<TrackState> = (0..5)
        .map(|i| feed(&mut tracker, i * 100, &[person(0.4)]).0.tracks[0].state)
        .collect();
    use TrackState::{Confirmed, Tentative};
    assert_eq!(states, [Tentative, Tentative, Tentative, Confirmed, Confirmed]);
    let track = tracker.tracks().next().unwrap();
    assert_eq!(
        (track.first.captured.mono, track.last.captured.mono),
        (at(0), at(400))
    );
    assert_eq!((track.id, track.hits), (TrackId(1), 5));
}

#[test]
fn flicker_is_never_confirmed() {
    let mut tracker = tracker(TrackConfig::default());
    for i in 0..300 {
        let seen = [person(0.4)];
        let frame = feed(&mut tracker, i * 33, if i % 3 == 0 { &seen } else { &[] }).0;
        assert!(frame.tracks.iter().all(|t| t.state == TrackState::Tentative));
    }
}

#[test]
fn an_unsure_detection_keeps_a_track_and_begins_none() {
    let mut tracker = with_a_person(TrackConfig::default());
    let unsure = |x| detection("person", 0.2, BBox::new(x, 0.3, 0.1, 0.4));
    let (frame, _) = feed(&mut tracker, 500, &[unsure(0.8), unsure(0.4)]);
    assert_eq!(frame.ids, [None, Some(TrackId(1))]);
    assert_eq!(frame.tracks[0].state, TrackState::Confirmed);
}

#[test]
fn lost_by_time_whatever_the_frame_rate_and_found_again_before() {
    for interval in [20, 100, 500] {
        let mut tracker = with_a_person(TrackConfig::default());
        let mut ended = None;
        let mut ms = 400;
        while ended.is_none() {
            ms += interval;
            ended = feed(&mut tracker, ms, &[]).1.pop();
        }
        assert_eq!(ended, Some((TrackId(1), EndReason::Lost)));
        assert!(ms > 1900 && ms - interval <= 1900, "{ms}");
    }
    let mut tracker = with_a_person(TrackConfig::default());
    for ms in [500, 1000, 1500] {
        assert_eq!(feed(&mut tracker, ms, &[]).0.tracks[0].state, TrackState::Lost);
    }
    let (frame, _) = feed(&mut tracker, 1850, &[person(0.4)]);
    assert_eq!(
        (frame.ids[0], frame.tracks[0].state),
        (Some(TrackId(1)), TrackState::Confirmed)
    );
}

#[test]
fn ends_at_the_deadline_when_no_frame_comes() {
    let mut tracker = with_a_person(TrackConfig::default());
    let deadline = tracker.deadline().unwrap();
    assert_eq!(deadline, at(400 + 1500 + 2000));
    tracker.handle(deadline - Span::from_nanos(1), TrackInput::Time);
    assert_eq!(drain(&mut tracker), []);
    tracker.handle(deadline, TrackInput::Time);
    assert!(matches!(
        &drain(&mut tracker)[..],
        [TrackOutput::Ended {
            reason: EndReason::CameraLost,
            ..
        }]
    ));
    assert_eq!(tracker.deadline(), None);
}

#[test]
fn a_new_epoch_ends_all_and_ids_go_on() {
    let mut tracker = with_a_person(TrackConfig::default());
    let meta = meta(2, 0, at(500));
    let found = [person(0.4)];
    tracker.handle(
        meta.arrival,
        TrackInput::Frame {
            meta: &meta,
            detections: &found,
        },
    );
    let outputs = drain(&mut tracker);
    assert!(
        matches!(&outputs[0], TrackOutput::Ended { track, reason: EndReason::CameraLost } if track.id == TrackId(1))
    );
    assert!(matches!(&outputs[1], TrackOutput::Frame(f) if f.ids == [Some(TrackId(2))]));
    let (old, _) = feed(&mut tracker, 600, &[person(0.4)]);
    assert_eq!(old.ignored, Some(Ignored::OutOfOrder), "epoch 1 is over");
}

#[test]
fn ids_go_on_in_the_next_tracker_of_the_stream() {
    let ids = TrackIds::default();
    for expected in [1, 2] {
        let mut tracker = Tracker::new(StreamId::new("cam").unwrap(), ids.clone(), TrackConfig::default());
        assert_eq!(
            feed(&mut tracker, 0, &[person(0.4)]).0.ids,
            [Some(TrackId(expected))]
        );
    }
}

#[test]
fn frames_out_of_order_or_of_others_are_counted_and_change_nothing() {
    let mut tracker = with_a_person(TrackConfig::default());
    let before: Vec<Track> = tracker.tracks().cloned().collect();
    for ms in [400, 250] {
        let (frame, ended) = feed(&mut tracker, ms, &[person(0.4), person(0.8)]);
        assert_eq!(
            (frame.ids.len(), frame.ignored, ended.len()),
            (2, Some(Ignored::OutOfOrder), 0)
        );
    }
    let mut foreign = meta(1, 9, at(500));
    foreign.key.stream = StreamId::new("other").unwrap();
    tracker.handle(
        foreign.arrival,
        TrackInput::Frame {
            meta: &foreign,
            detections: &[],
        },
    );
    assert!(
        matches!(&drain(&mut tracker)[..], [TrackOutput::Frame(f)] if f.ignored == Some(Ignored::OtherStream))
    );
    assert_eq!(tracker.tracks().cloned().collect::<Vec<_>>(), before);
    assert_eq!(
        (tracker.counts().out_of_order, tracker.counts().other_stream),
        (2, 1)
    );
}

#[test]
fn a_wrong_time_stamp_blinds_nobody() {
    let mut tracker = with_a_person(TrackConfig::default());
    let mut ahead = meta(1, 9, at(500));
    ahead.captured.mono = at(3_600_000);
    tracker.handle(
        ahead.arrival,
        TrackInput::Frame {
            meta: &ahead,
            detections: &[],
        },
    );
    drain(&mut tracker);
    assert_eq!(feed(&mut tracker, 600, &[person(0.4)]).0.ids, [Some(TrackId(1))]);
    assert_eq!(tracker.counts().in_future, 1);

    // The capture times of the stream step back by an hour.
    let outcomes: Vec<_> = (0..40)
        .map(|i| feed(&mut tracker, i * 100 - 3_600_000, &[person(0.4)]))
        .collect();
    assert_eq!(outcomes.iter().filter(|(f, _)| f.ignored.is_some()).count(), 30);
    assert_eq!(outcomes[30].1, [(TrackId(1), EndReason::CameraLost)]);
    assert_eq!(outcomes[39].0.ids, [Some(TrackId(2))]);
    assert_eq!(tracker.counts().steps_back, 1);
}

#[test]
fn classes_are_kept_apart_unless_only_the_name_changes() {
    let mut tracker = with_a_person(TrackConfig::default());
    let dog = |x| detection("dog", 0.7, BBox::new(x, 0.3, 0.1, 0.4));
    let (frame, _) = feed(&mut tracker, 500, &[dog(0.4), person(0.4)]);
    assert_eq!(frame.ids, [Some(TrackId(2)), Some(TrackId(1))]);

    let mut tracker = with_a_person(TrackConfig::default());
    let (frame, _) = feed(&mut tracker, 500, &[dog(0.4)]);
    assert_eq!(frame.ids, [Some(TrackId(1))], "the same object by another name");
    assert_eq!(
        (frame.tracks[0].label.as_str(), frame.tracks[0].agrees),
        ("person", false)
    );
    for i in 0..8 {
        feed(&mut tracker, 600 + i * 100, &[dog(0.4)]);
    }
    assert_eq!(
        tracker.tracks().next().unwrap().label,
        "dog",
        "the sum of scores decides"
    );
}

#[test]
fn limits_hold_and_are_counted() {
    let mut tracker = tracker(TrackConfig {
        max_tracks: 3,
        max_detections: 4,
        ..TrackConfig::default()
    });
    let many: Vec<_> = (0..8)
        .map(|i| {
            detection(
                "person",
                0.6 + i as f32 * 0.01,
                BBox::new(i as f32 * 0.12, 0.3, 0.1, 0.4),
            )
        })
        .collect();
    let (frame, _) = feed(&mut tracker, 0, &many);
    let surest: Vec<bool> = frame.ids.iter().map(Option::is_some).collect();
    assert_eq!(surest, [false, false, false, false, false, true, true, true]);
    assert_eq!((tracker.counts().too_many, tracker.counts().refused), (4, 1));
    tracker.check_invariants();
}

#[test]
fn broken_detections_are_counted_and_harm_nothing() {
    let mut tracker = with_a_person(TrackConfig::default());
    let bad = |score, w| detection("person", score, BBox::new(0.4, 0.3, w, 0.4));
    let boxes = [
        bad(f32::NAN, 0.1),
        bad(0.9, f32::INFINITY),
        bad(0.9, 0.0),
        bad(0.9, -0.1),
        person(0.4),
    ];
    let (frame, _) = feed(&mut tracker, 500, &boxes);
    assert_eq!(frame.ids, [None, None, None, None, Some(TrackId(1))]);
    assert_eq!(tracker.counts().invalid, 4);
    tracker.check_invariants();
}
