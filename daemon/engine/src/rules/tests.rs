//! Events against their contract: case by case, and with a random driver that checks every step.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use synoptic_base::{
    BBox, BootId, ClockMap, Detection, EndReason, Event, EventId, FrameMeta, Mono, Sighting, Span, StreamId,
    Utc,
};

use super::*;
use crate::track::scene::{Scene, detection, meta};
use crate::track::{TrackConfig, TrackIds, TrackInput, Tracker};

fn map(version: u32) -> ClockMap {
    ClockMap {
        boot_id: BootId(uuid::Uuid::nil()),
        version,
        utc_minus_mono: Span::from_secs(1_790_000_000),
        error: Some(Span::from_millis(1)),
    }
}

fn at(ms: i64) -> Mono {
    Mono::from_nanos(1_000_000_000_000) + Span::from_millis(ms)
}

fn machine_with(config: EventConfig, tracks: TrackConfig) -> EventMachine {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let tracker = Tracker::new(StreamId::new("cam").unwrap(), TrackIds::default(), tracks);
    let new_id = Box::new(move |utc| event_id(utc, rng.random()));
    EventMachine::new("motion".to_owned(), tracker, config, new_id)
}

fn machine(config: EventConfig) -> EventMachine {
    machine_with(config, TrackConfig::default())
}

fn person(x: f32) -> Detection {
    detection("person", 0.9, BBox::new(x, 0.3, 0.1, 0.4))
}

fn drain(machine: &mut EventMachine) -> Vec<EventOutput> {
    std::iter::from_fn(|| machine.poll()).collect()
}

/// Feeds one frame; what it caused, the tracked frame left out.
fn feed(machine: &mut EventMachine, ms: i64, detections: &[Detection]) -> Vec<EventOutput> {
    let meta = meta(1, ms as u64, at(ms));
    let input = TrackInput::Frame {
        meta: &meta,
        detections,
    };
    machine.handle(meta.arrival, input, &map(1));
    let mut outputs = drain(machine);
    assert!(matches!(outputs.pop(), Some(EventOutput::Tracked(f)) if f.meta == meta));
    outputs
}

/// Feeds the same detections every 100 ms over `ms`.
fn feed_over(
    machine: &mut EventMachine,
    ms: impl Iterator<Item = i64>,
    detections: &[Detection],
) -> Vec<EventOutput> {
    ms.flat_map(|ms| feed(machine, ms, detections)).collect()
}

fn every_100(from: i64, to: i64) -> impl Iterator<Item = i64> {
    (from..to).step_by(100)
}

#[test]
fn begins_with_the_first_sighting_and_a_picture_of_the_frame_at_hand() {
    let mut machine = machine(EventConfig::default());
    let outputs = feed_over(&mut machine, every_100(0, 400), &[person(0.4)]);
    let [
        EventOutput::Begin(Event {
            id,
            label,
            detector,
            first,
            ..
        }),
        EventOutput::WantPicture { id: of, sighting },
    ] = &outputs[..]
    else {
        panic!("{outputs:?}");
    };
    assert_eq!((label.as_str(), detector.as_str()), ("person", "motion"));
    assert_eq!(id, of);
    assert_eq!((first.captured.mono, sighting.captured.mono), (at(0), at(300)));
    assert_eq!(first.stamp, map(1).stamp(first.captured));
    assert_eq!(first.stamp.error, Some(Span::from_millis(4)));
    let millis = first.stamp.utc.as_nanos() as u64 / 1_000_000;
    let (bytes, version) = (id.0.as_bytes(), id.0.get_version_num());
    assert_eq!(
        (&millis.to_be_bytes()[2..], version),
        (&bytes[..6], 7),
        "sorts by time"
    );
}

#[test]
fn ends_when_lost_with_the_last_sighting() {
    let mut machine = machine(EventConfig::default());
    feed_over(&mut machine, every_100(0, 600), &[person(0.4)]);
    let outputs = feed_over(&mut machine, every_100(600, 4000), &[]);
    let [
        EventOutput::End {
            last,
            reason,
            sightings,
            ..
        },
    ] = &outputs[..]
    else {
        panic!("{outputs:?}");
    };
    assert_eq!(
        (last.captured.mono, *reason, *sightings),
        (at(500), EndReason::Lost, 6)
    );
}

#[test]
fn ends_when_the_camera_dies_silently_or_is_said_to_be_gone() {
    for told in [false, true] {
        let mut machine = machine(EventConfig::default());
        feed_over(&mut machine, every_100(0, 600), &[person(0.4)]);
        let deadline = machine.deadline().unwrap();
        let (now, input) = match told {
            true => (at(700), TrackInput::CameraLost),
            false => (deadline, TrackInput::Time),
        };
        machine.handle(now, input, &map(2));
        let outputs = drain(&mut machine);
        assert!(matches!(
            &outputs[..],
            [EventOutput::End { reason: EndReason::CameraLost, last, .. }] if last.map_version == 2
        ));
        assert_eq!(machine.deadline(), None);
    }
}

#[test]
fn shutdown_ends_all_for_good() {
    let mut machine = machine(EventConfig::default());
    feed_over(
        &mut machine,
        every_100(0, 600),
        &[person(0.1), person(0.4), person(0.7)],
    );
    machine.shutdown(&map(1));
    let outputs = drain(&mut machine);
    assert_eq!(outputs.len(), 3);
    assert!(outputs.iter().all(|o| matches!(
        o,
        EventOutput::End {
            reason: EndReason::Shutdown,
            ..
        }
    )));
    machine.shutdown(&map(1));
    let meta = meta(1, 700, at(700));
    let input = TrackInput::Frame {
        meta: &meta,
        detections: &[person(0.4)],
    };
    machine.handle(meta.arrival, input, &map(1));
    assert_eq!((machine.poll(), machine.deadline()), (None, None));
}

#[test]
fn a_short_visit_is_no_event_when_a_duration_is_asked_for() {
    let mut machine = machine(EventConfig {
        min_duration: Span::from_secs(1),
        ..EventConfig::default()
    });
    assert_eq!(feed_over(&mut machine, every_100(0, 900), &[person(0.4)]), []);
    assert_eq!(feed_over(&mut machine, every_100(900, 4000), &[]), []);
    assert_eq!(machine.counts().unreported, 1);
    let outputs = feed_over(&mut machine, every_100(4000, 5100), &[person(0.4)]);
    assert!(matches!(&outputs[0], EventOutput::Begin(e) if e.first.captured.mono == at(4000)));
}

#[test]
fn what_comes_and_goes_at_one_place_waits_out_the_cooldown() {
    let mut machine = machine(EventConfig::default());
    let mut begun = 0;
    // Half a second there, two seconds gone: 24 tracks in a minute.
    for i in 0..600 {
        let seen = [person(0.4)];
        let outputs = feed(&mut machine, i * 100, if i % 25 < 5 { &seen } else { &[] });
        begun += outputs
            .iter()
            .filter(|o| matches!(o, EventOutput::Begin(_)))
            .count();
    }
    assert!(begun <= 12, "{begun}");
    assert!(machine.counts().unreported >= 12);

    // One that stays becomes an event all the same, and another place or label does not wait.
    let mut machine = self::machine(EventConfig::default());
    feed_over(&mut machine, every_100(0, 500), &[person(0.4)]);
    feed_over(&mut machine, every_100(500, 2500), &[]);
    let dog = detection("dog", 0.9, BBox::new(0.4, 0.1, 0.1, 0.1));
    let outputs = feed_over(
        &mut machine,
        every_100(2500, 7000),
        &[person(0.4), person(0.7), dog],
    );
    let begun: Vec<(f32, Mono)> = outputs
        .iter()
        .filter_map(|o| match o {
            EventOutput::Begin(e) => Some((e.first.bbox.x, e.first.captured.mono)),
            _ => None,
        })
        .collect();
    assert_eq!(begun.len(), 3);
    assert!(
        begun.iter().all(|b| b.1 == at(2500)),
        "each with its true first sighting"
    );
    assert_eq!(begun[2].0, 0.4, "the one that had to wait came last");
}

#[test]
fn pictures_get_better_rarer_and_end() {
    let config = EventConfig::default();
    let mut machine = machine(config.clone());
    // Comes nearer for 40 s.
    let mut wanted: Vec<Sighting> = Vec::new();
    for i in 0..400 {
        let h = 0.2 + 0.0015 * i as f32;
        let seen = [detection("person", 0.9, BBox::new(0.4, 0.1, h / 4.0, h))];
        for output in feed(&mut machine, i * 100, &seen) {
            if let EventOutput::WantPicture { sighting, .. } = output {
                assert_eq!(sighting.captured.mono, at(i * 100), "only of the frame at hand");
                wanted.push(sighting);
            }
        }
    }
    assert_eq!(wanted.len(), config.max_pictures as usize);
    let mut spacing = config.picture_spacing;
    for pair in wanted.windows(2) {
        assert!(pair[1].captured.mono - pair[0].captured.mono >= spacing);
        assert!(pair[1].bbox.area() > pair[0].bbox.area() * 1.19);
        spacing = spacing * 2;
    }
}

#[test]
fn at_the_limit_an_event_waits_for_room() {
    let mut machine = machine(EventConfig {
        max_events: 1,
        ..EventConfig::default()
    });
    feed_over(&mut machine, every_100(0, 600), &[person(0.1), person(0.7)]);
    assert_eq!(machine.counts().begun, 1);
    let outputs = feed_over(&mut machine, every_100(600, 3000), &[person(0.7)]);
    let ends = matches!(outputs[0], EventOutput::End { .. });
    assert!(ends && matches!(&outputs[1], EventOutput::Begin(e) if e.first.captured.mono == at(0)));
}

/// What must hold of the outputs, whatever goes in.
#[derive(Default)]
struct Oracle {
    lasting: BTreeMap<EventId, (Sighting, u32)>,
    ids: BTreeSet<EventId>,
    tracks: BTreeSet<u64>,
    ended: usize,
}

impl Oracle {
    fn check(&mut self, output: &EventOutput, newest: Option<&FrameMeta>) {
        match output {
            EventOutput::Begin(event) => {
                assert!(self.ids.insert(event.id), "ids are unique");
                assert!(self.tracks.insert(event.track.0), "one event a track");
                self.lasting.insert(event.id, (event.first.clone(), 0));
            }
            EventOutput::WantPicture { id, sighting } => {
                let (last, pictures) = self.lasting.get_mut(id).expect("between Begin and End");
                assert!(sighting.captured.mono >= last.captured.mono, "time goes on");
                assert_eq!(
                    Some(sighting.frame),
                    newest.map(|m| m.key),
                    "the shell holds that frame"
                );
                *last = sighting.clone();
                *pictures += 1;
                assert!(*pictures <= EventConfig::default().max_pictures);
            }
            EventOutput::End {
                id, last, sightings, ..
            } => {
                let (before, pictures) = self.lasting.remove(id).expect("one End for each Begin");
                assert!(last.captured.mono >= before.captured.mono, "time goes on");
                assert!(pictures >= 1 && *sightings >= u64::from(pictures));
                self.ended += 1;
            }
            EventOutput::Tracked(frame) => assert_eq!(Some(&frame.meta), newest),
        }
    }
}

/// The reasons of the events that end here.
fn ends(outputs: &[EventOutput]) -> impl Iterator<Item = &'static str> {
    outputs.iter().filter_map(|o| match o {
        EventOutput::End { reason, .. } => Some(reason.name()),
        _ => None,
    })
}

#[test]
fn whatever_comes_the_contract_holds() {
    let (mut begun, mut cases) = (0, BTreeSet::new());
    for seed in 0..40 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let tracks = TrackConfig {
            max_tracks: if seed % 4 == 0 { 5 } else { 256 },
            ..TrackConfig::default()
        };
        let mut machine = machine_with(EventConfig::default(), tracks);
        let mut oracle = Oracle::default();
        let mut scene = Scene::crowd(6, seed);
        scene.clutter = 0.5;
        scene.interval_ms = (20, 300);
        let (mut epoch, mut shift, mut version) = (1, Span::ZERO, 1);
        for frame in scene.frames() {
            let mut frame_meta = frame.meta;
            match rng.random_range(0..100) {
                0 => epoch += 1,
                1 => shift += Span::from_secs(rng.random_range(1..20)),
                2 => frame_meta.captured.mono -= Span::from_secs(1),
                3 => frame_meta.key.stream = StreamId::new("other").unwrap(),
                4 => version += 1,
                5 => frame_meta.captured.mono += Span::from_secs(3600),
                _ => {}
            }
            frame_meta.key.epoch = synoptic_base::Epoch(epoch);
            frame_meta.captured.mono += shift;
            frame_meta.arrival += shift;
            let now = frame_meta.arrival;
            // A faithful shell comes back at the deadline; a lazy one must do no harm either.
            let deadline = machine.deadline();
            if let Some(deadline) = deadline.filter(|d| *d <= now && rng.random_bool(0.7)) {
                machine.handle(deadline, TrackInput::Time, &map(version));
                drain(&mut machine).iter().for_each(|o| oracle.check(o, None));
                machine.check_invariants();
            }
            let input = TrackInput::Frame {
                meta: &frame_meta,
                detections: &frame.detections,
            };
            machine.handle(now, input, &map(version));
            let outputs = drain(&mut machine);
            outputs.iter().for_each(|o| oracle.check(o, Some(&frame_meta)));
            cases.extend(ends(&outputs));
            machine.check_invariants();
        }
        if seed % 2 == 0 {
            machine.shutdown(&map(version));
        } else {
            while let Some(deadline) = machine.deadline() {
                machine.handle(deadline, TrackInput::Time, &map(version));
            }
        }
        let outputs = drain(&mut machine);
        outputs.iter().for_each(|o| oracle.check(o, None));
        cases.extend(ends(&outputs));
        assert_eq!(oracle.lasting.len(), 0, "every event has ended");
        let counts = machine.counts();
        assert_eq!(
            (counts.begun, counts.ended),
            (oracle.ids.len() as u64, oracle.ended as u64)
        );
        begun += counts.begun;
    }
    println!("rules: {begun} events in 40 random runs, ended by {cases:?}");
    assert!(begun > 100 && cases.len() == 3, "lost, camera_lost and shutdown");
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let run = || {
        let mut machine = machine(EventConfig::default());
        let mut all = Vec::new();
        for frame in Scene::crowd(6, 3).frames() {
            let input = TrackInput::Frame {
                meta: &frame.meta,
                detections: &frame.detections,
            };
            machine.handle(frame.meta.arrival, input, &map(1));
            all.extend(drain(&mut machine));
        }
        all
    };
    assert_eq!(run(), run());
}

#[test]
fn an_id_of_before_1970_is_still_an_id() {
    assert_eq!(
        event_id(Utc::from_nanos(-1), [1; 10]),
        event_id(Utc::from_nanos(0), [1; 10])
    );
}
