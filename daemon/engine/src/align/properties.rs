//! The aligner's contract under arbitrary input.

use proptest::prelude::*;
use synoptic_base::SlotStatus;

use super::tests::{frame, id};
use super::*;

const MAX_WAIT: Span = Span::from_millis(250);

/// What happens, after this many microseconds.
#[derive(Clone, Debug)]
enum Step {
    /// A frame captured so long before now, in microseconds; negative: in the future.
    Frame(usize, i64),
    Unreadable(usize, i64),
    Up(usize),
    Down(usize),
    Nothing,
}

fn step(cameras: usize) -> impl Strategy<Value = (i64, Step)> {
    let camera = 0..cameras;
    let age = prop_oneof![
        8 => 0_i64..150_000,
        2 => 0_i64..600_000,
        1 => -60_000_000_i64..60_000_000,
    ];
    let what = prop_oneof![
        20 => (camera.clone(), age.clone()).prop_map(|(c, age)| Step::Frame(c, age)),
        2 => (camera.clone(), age).prop_map(|(c, age)| Step::Unreadable(c, age)),
        1 => camera.clone().prop_map(Step::Up),
        1 => camera.prop_map(Step::Down),
        2 => Just(Step::Nothing),
    ];
    (prop_oneof![0_i64..40_000, Just(0_i64), 0_i64..500_000], what)
}

fn runs() -> impl Strategy<Value = (usize, Option<usize>, Vec<(i64, Step)>)> {
    (1_usize..6, prop::option::of(1_usize..4)).prop_flat_map(|(cameras, buffer)| {
        (
            Just(cameras),
            Just(buffer),
            prop::collection::vec(step(cameras), 1..250),
        )
    })
}

/// Watches packets as they leave.
#[derive(Default)]
struct Watch {
    last: Option<Mono>,
    next_id: u64,
    seen: std::collections::BTreeSet<(StreamId, u64)>,
}

impl Watch {
    fn take(&mut self, aligner: &mut Aligner<()>, lossy: bool) -> Result<(), TestCaseError> {
        aligner.check_invariants().map_err(TestCaseError::fail)?;
        while let Some(packet) = aligner.poll() {
            prop_assert!(
                self.last.is_none_or(|last| packet.instant > last),
                "instants rise"
            );
            prop_assert!(
                lossy || packet.id.0 == self.next_id,
                "packets are numbered without gaps"
            );
            prop_assert_eq!(packet.slots.len(), aligner.config.cameras.len());
            self.last = Some(packet.instant);
            self.next_id = packet.id.0 + 1;
            let some = packet
                .slots
                .iter()
                .any(|(_, s)| matches!(s.status(), SlotStatus::Okay | SlotStatus::ReadError));
            prop_assert!(some, "a packet of nothing");
            for frame in packet.frames() {
                let meta = frame.meta;
                prop_assert!(
                    self.seen.insert((meta.key.stream, meta.seq.0)),
                    "in two packets: {}",
                    meta.key
                );
                // The tolerance may have shrunk with the frames that came since: half of the slowest there is.
                prop_assert!((meta.captured.mono - packet.instant).abs() <= Span::from_secs(1));
            }
        }
        Ok(())
    }
}

fn deadlines(
    aligner: &mut Aligner<()>,
    watch: &mut Watch,
    until: Mono,
    lossy: bool,
) -> Result<(), TestCaseError> {
    while let Some(deadline) = aligner.deadline().filter(|d| *d <= until) {
        aligner.handle_time(deadline);
        watch.take(aligner, lossy)?;
        prop_assert!(
            aligner.deadline().is_none_or(|next| next > deadline),
            "a deadline that has been kept comes again"
        );
    }
    Ok(())
}

fn check(cameras: usize, buffer: Option<usize>, steps: &[(i64, Step)]) -> Result<(), TestCaseError> {
    let config = AlignConfig {
        max_wait: MAX_WAIT,
        tolerance: Some(Span::from_millis(35)),
        frame_packet_buffer_maxsize: buffer.and_then(NonZeroUsize::new),
        ..AlignConfig::new((0..cameras).map(id).collect())
    };
    let lossy = buffer.is_some();
    let tolerance = Span::from_millis(35);
    let mut aligner = Aligner::new(config);
    let mut watch = Watch::default();
    let mut now = Mono::from_nanos(100_000_000_000);
    for c in 0..cameras {
        aligner.handle(now, AlignInput::Up(id(c)));
    }
    for (seq, (after, what)) in steps.iter().enumerate() {
        let then = now + Span::from_micros(*after);
        deadlines(&mut aligner, &mut watch, then, lossy)?;
        now = then;
        let captured = |age: i64| now - Span::from_micros(age);
        match *what {
            Step::Frame(c, age) => {
                aligner.handle(now, AlignInput::Frame(frame(c, seq as u64, captured(age))));
            }
            Step::Unreadable(c, age) => {
                let captured = frame(c, 0, captured(age)).meta.captured;
                aligner.handle(now, AlignInput::Unreadable(id(c), captured));
            }
            Step::Up(c) => aligner.handle(now, AlignInput::Up(id(c))),
            Step::Down(c) => aligner.handle(now, AlignInput::Down(id(c), BrokenReason::Disconnected)),
            Step::Nothing => aligner.handle_time(now),
        }
        for packet in &aligner.out {
            for f in packet.frames() {
                prop_assert!((f.meta.captured.mono - packet.instant).abs() <= tolerance);
            }
        }
        // Whoever waits, waits for no longer than agreed after the first capture.
        if let Some(deadline) = aligner.deadline() {
            let first = aligner
                .lanes
                .iter()
                .filter_map(|l| l.queue.front())
                .map(Item::at)
                .min();
            prop_assert!(first.is_some_and(|first| deadline <= first + MAX_WAIT));
        }
        watch.take(&mut aligner, lossy)?;
    }
    deadlines(&mut aligner, &mut watch, Mono::from_nanos(i64::MAX), lossy)?;
    for lane in &aligner.lanes {
        prop_assert!(lane.queue.is_empty(), "after the last deadline nothing waits");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_contract_holds_whatever_comes((cameras, buffer, steps) in runs()) {
        check(cameras, buffer, &steps)?;
    }

    /// Bytes as they come: two for the time, one for the camera and the kind, two for the age.
    #[test]
    fn the_contract_holds_for_bytes(bytes in prop::collection::vec(any::<u8>(), 0..1_500)) {
        let cameras = 1 + bytes.len() % 5;
        let steps: Vec<(i64, Step)> = bytes
            .chunks_exact(5)
            .map(|b| {
                let age = i64::from(i16::from_le_bytes([b[3], b[4]])) * 20;
                let camera = usize::from(b[2] >> 3) % cameras;
                let what = match b[2] & 7 {
                    0 => Step::Unreadable(camera, age),
                    1 if b[0] == 0 => Step::Down(camera),
                    1 => Step::Up(camera),
                    _ => Step::Frame(camera, age),
                };
                (i64::from(u16::from_le_bytes([b[0], b[1]])), what)
            })
            .collect();
        check(cameras, Some(2), &steps)?;
    }
}

#[test]
fn a_camera_that_cannot_be_read_is_broken_until_it_can() {
    let mut aligner = Aligner::new(AlignConfig::new(vec![id(0), id(1)]));
    let start = Mono::from_nanos(1_000_000_000);
    for c in 0..2 {
        aligner.handle(start, AlignInput::Up(id(c)));
    }
    let mut seen = Vec::new();
    for i in 0..8 {
        let at = start + Span::from_millis(67) * i;
        aligner.handle(at, AlignInput::Frame(frame(0, i as u64, at)));
        let other = frame(1, i as u64, at + Span::from_millis(1));
        let input = if i < 6 {
            AlignInput::Unreadable(id(1), other.meta.captured)
        } else {
            AlignInput::Frame(other)
        };
        aligner.handle(at, input);
        while let Some(packet) = aligner.poll() {
            seen.push(packet.slots[1].1.status());
        }
        aligner.check_invariants().unwrap();
    }
    let unreadable = |aligner: &Aligner<()>| aligner.drops(id(1)).unwrap().unreadable;
    assert_eq!(unreadable(&aligner), 4, "the third one and what follows");
    assert_eq!(
        seen.iter().filter(|s| **s == SlotStatus::ReadError).count(),
        2,
        "{seen:?}"
    );
    assert!(seen.contains(&SlotStatus::Broken), "{seen:?}");
    assert_eq!(seen.last(), Some(&SlotStatus::Okay), "{seen:?}");
}

#[test]
fn a_camera_that_comes_up_far_from_the_others_is_left_out_until_it_is_near() {
    let mut aligner = Aligner::new(AlignConfig {
        max_initial_stream_offset: Span::from_secs(5),
        ..AlignConfig::new(vec![id(0), id(1)])
    });
    let start = Mono::from_nanos(100_000_000_000);
    for c in 0..2 {
        aligner.handle(start, AlignInput::Up(id(c)));
    }
    let mut seen = Vec::new();
    for i in 0..20 {
        let at = start + Span::from_millis(67) * i;
        let far = if i < 10 {
            Span::from_secs(-20)
        } else {
            Span::from_millis(2)
        };
        aligner.handle(at, AlignInput::Frame(frame(0, i as u64, at)));
        aligner.handle(at, AlignInput::Frame(frame(1, i as u64, at + far)));
        while let Some(packet) = aligner.poll() {
            seen.push(packet.slots[1].1.status());
        }
        aligner.check_invariants().unwrap();
    }
    assert_eq!(aligner.drops(id(1)).unwrap().out_of_step, 10);
    assert!(seen.iter().take(9).all(|s| *s == SlotStatus::Broken), "{seen:?}");
    assert_eq!(seen.last(), Some(&SlotStatus::Okay), "{seen:?}");
}

#[test]
fn the_wait_follows_the_delays_that_are_measured() {
    // Two cameras 40 ms late: when one dies, the other's packets leave long before `max_wait`.
    let mut aligner = Aligner::new(AlignConfig {
        max_wait: Span::from_secs(2),
        ..AlignConfig::new(vec![id(0), id(1)])
    });
    let start = Mono::from_nanos(100_000_000_000);
    for c in 0..2 {
        aligner.handle(start, AlignInput::Up(id(c)));
    }
    for i in 0..60 {
        let at = start + Span::from_millis(67) * i;
        let now = at + Span::from_millis(40);
        aligner.handle(now, AlignInput::Frame(frame(0, i as u64, at)));
        if i < 40 {
            aligner.handle(
                now,
                AlignInput::Frame(frame(1, i as u64, at + Span::from_millis(1))),
            );
        }
        while aligner.poll().is_some() {}
    }
    let first = aligner.lanes[0].queue.front().map(Item::at).unwrap();
    let wait = aligner.deadline().unwrap() - first;
    assert!(wait < Span::from_millis(67 + 40 + 25), "it waits for {wait} only");
}
