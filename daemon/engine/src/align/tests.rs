//! Scenarios: N simulated cameras with their own rates, phases and delays, in front of one aligner.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use synoptic_base::{Epoch, FrameKey, FrameKind, FrameMeta, MediaTime, Seq, Size, SlotStatus, TimeSource};

use super::*;

pub(super) fn id(i: usize) -> StreamId {
    StreamId::new(&format!("cam{i}")).unwrap()
}
fn ms(ms: i64) -> Span {
    Span::from_millis(ms)
}

pub(super) fn frame(cam: usize, seq: u64, captured: Mono) -> Frame<()> {
    let meta = FrameMeta {
        key: FrameKey {
            stream: id(cam),
            epoch: Epoch(1),
            media_us: MediaTime::from_micros(captured.as_nanos() / 1000),
        },
        seq: Seq(seq),
        arrival: captured,
        captured: Captured {
            mono: captured,
            rel_error: ms(1),
            source: TimeSource::SenderReport,
        },
        size: Size::new(640, 360),
        kind: FrameKind::P,
    };
    Frame { meta, pixels: () }
}

/// One camera of a scenario.
#[derive(Clone, Copy)]
struct Cam {
    interval: Span,
    phase: Span,
    /// From capture to the aligner.
    delay: Span,
    /// Percent of frames lost.
    loss: u32,
    /// Frames from this time on never come.
    dies: Option<Span>,
    /// In half of every second its frames gather and come at the end, all at once.
    stalls: bool,
}

const CAM: Cam = Cam {
    interval: Span::from_micros(66_667),
    phase: Span::ZERO,
    delay: ms_const(60),
    loss: 0,
    dies: None,
    stalls: false,
};
const fn ms_const(v: i64) -> Span {
    Span::from_millis(v)
}

struct Run {
    packets: Vec<(Mono, FramePacket<()>)>,
    given: u64,
    aligner: Aligner<()>,
}

/// Runs cameras for `secs`, delivering by arrival, calling at deadlines; checks the contract at every packet.
fn run(cams: &[Cam], secs: i64, seed: u64, jitter_us: i64) -> Run {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut feed: Vec<(Mono, Frame<()>)> = Vec::new();
    for (c, cam) in cams.iter().enumerate() {
        let count = secs * 1_000_000_000 / cam.interval.as_nanos();
        for i in 0..count {
            let at = Span::from_secs(10) + cam.phase + cam.interval * i;
            if cam.dies.is_some_and(|d| at - Span::from_secs(10) > d) || rng.random_range(0..100) < cam.loss {
                continue;
            }
            let noise = Span::from_micros(rng.random_range(-jitter_us..=jitter_us));
            let captured = Mono::from_nanos((at + noise).as_nanos());
            let late = Span::from_micros(rng.random_range(0..=2_000));
            let stalled = cam.stalls && (at.as_nanos() / 500_000_000) % 2 == 1;
            let arrival = captured + cam.delay + late;
            let burst = Mono::from_nanos((at.as_nanos() / 500_000_000 + 1) * 500_000_000) + cam.delay;
            let arrival = if stalled { arrival.max(burst) } else { arrival };
            feed.push((arrival, frame(c, i as u64, captured)));
        }
    }
    feed.sort_by_key(|(arrival, _)| *arrival);
    let config = AlignConfig::new((0..cams.len()).map(id).collect());
    let mut aligner = Aligner::new(config);
    for c in 0..cams.len() {
        aligner.handle(Mono::from_nanos(0), AlignInput::Up(id(c)));
    }
    let mut run = Run {
        packets: Vec::new(),
        given: feed.len() as u64,
        aligner,
    };
    let drain = |run: &mut Run, now: Mono| {
        while let Some(p) = run.aligner.poll() {
            let first = p.frames().map(|f| f.meta.captured.mono).min().unwrap();
            assert!(now <= first + ms(250) + ms(70), "packet {} left late", p.id.0);
            for f in p.frames() {
                assert!(
                    (f.meta.captured.mono - p.instant).abs() <= run.aligner.tolerance(),
                    "outside tolerance"
                );
            }
            if let Some((_, last)) = run.packets.last() {
                assert!(p.instant > last.instant, "packets out of order");
            }
            run.packets.push((now, p));
        }
    };
    for (arrival, frame) in feed {
        while let Some(deadline) = run.aligner.deadline().filter(|d| *d < arrival) {
            run.aligner.handle_time(deadline);
            drain(&mut run, deadline);
        }
        run.aligner.handle(arrival, AlignInput::Frame(frame));
        drain(&mut run, arrival);
    }
    while let Some(deadline) = run.aligner.deadline() {
        run.aligner.handle_time(deadline);
        drain(&mut run, deadline);
    }
    let kept: u64 = run.packets.iter().map(|(_, p)| p.frames().count() as u64).sum();
    let dropped: u64 = (0..cams.len())
        .flat_map(|c| run.aligner.drops(id(c)).unwrap().by_reason())
        .map(|(_, n)| n)
        .sum();
    assert_eq!(
        kept + dropped,
        run.given,
        "a frame is in one packet or in one drop counter"
    );
    run
}

fn complete(run: &Run) -> usize {
    run.packets.iter().filter(|(_, p)| p.is_complete()).count()
}

#[test]
fn equal_cameras_give_complete_packets_at_camera_rate() {
    for phase in [0, 10, 33, 50, 66] {
        let run = run(
            &[
                CAM,
                Cam {
                    phase: ms(phase),
                    ..CAM
                },
            ],
            20,
            1,
            500,
        );
        assert!(
            run.packets.len().abs_diff(300) <= 2,
            "phase {phase}: {} packets",
            run.packets.len()
        );
        assert!(
            complete(&run) >= run.packets.len() - 2,
            "phase {phase}: {} complete",
            complete(&run)
        );
        let spread = run.packets[10].1.spread;
        let expected = ms(phase.min(67 - phase));
        assert!(
            (spread - expected).abs() < ms(5),
            "phase {phase}: spread {spread}"
        );
    }
}

#[test]
fn the_arc_is_the_smallest_that_the_phases_allow() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let (mut ours, mut optimum) = (0.0, 0.0);
    for seed in 0..40 {
        let phases: Vec<Span> = (0..7)
            .map(|_| Span::from_micros(rng.random_range(0..66_667)))
            .collect();
        let cams: Vec<Cam> = phases.iter().map(|p| Cam { phase: *p, ..CAM }).collect();
        let run = run(&cams, 4, seed, 0);
        let mut sorted = phases.clone();
        sorted.sort();
        let wrap = sorted[0] + CAM.interval - sorted[6];
        let gap = sorted.windows(2).map(|w| w[1] - w[0]).max().unwrap().max(wrap);
        optimum += (CAM.interval - gap).as_millis_f64();
        let mut spreads: Vec<Span> = run.packets.iter().map(|(_, p)| p.spread).collect();
        spreads.sort();
        ours += spreads[spreads.len() / 2].as_millis_f64();
        assert!(complete(&run) + 3 >= run.packets.len());
    }
    println!(
        "7 cameras, 15 Hz, random phases: mean spread {:.1} ms, optimum {:.1} ms",
        ours / 40.0,
        optimum / 40.0
    );
    // Hysteresis and the search's pivot may cost a little.
    assert!(ours <= optimum * 1.05, "{ours} against {optimum}");
}

#[test]
fn a_lost_frame_is_one_dropped_slot_and_nothing_else() {
    let run = run(
        &[
            CAM,
            Cam {
                loss: 5,
                phase: ms(10),
                ..CAM
            },
        ],
        60,
        3,
        500,
    );
    let status = |s: SlotStatus| {
        run.packets
            .iter()
            .flat_map(|(_, p)| &p.slots)
            .filter(|(_, slot)| slot.status() == s)
            .count()
    };
    let lost = 900
        - run
            .packets
            .iter()
            .filter(|(_, p)| p.slots[1].1.frame().is_some())
            .count();
    assert!(run.packets.len().abs_diff(900) <= 2, "{}", run.packets.len());
    assert!(status(SlotStatus::Dropped).abs_diff(lost) <= 2);
    assert!((20..=70).contains(&lost), "{lost}");
}

#[test]
fn a_camera_that_comes_late_does_not_make_the_others_change_their_grouping() {
    // Phases 0, 20 and 40 ms of 67: without the one in the middle, the other two are closer the other way round.
    let middle = Cam {
        phase: ms(20),
        stalls: true,
        ..CAM
    };
    let run = run(&[CAM, middle, Cam { phase: ms(40), ..CAM }], 60, 8, 500);
    let both = |p: &FramePacket<()>| p.slots[0].1.frame().is_some() && p.slots[2].1.frame().is_some();
    let paired = run.packets.iter().filter(|(_, p)| both(p)).count();
    assert!(
        run.packets.len().abs_diff(900) <= 4,
        "{} packets",
        run.packets.len()
    );
    assert!(
        paired >= run.packets.len() - 4,
        "{paired} of {} packets pair the two",
        run.packets.len()
    );
}

#[test]
fn a_dead_camera_delays_the_others_once_until_it_is_said_to_be_down() {
    let dead = Cam {
        dies: Some(Span::from_secs(5)),
        ..CAM
    };
    let run = run(&[CAM, dead, CAM], 20, 4, 500);
    assert!(run.packets.len().abs_diff(300) <= 2, "{}", run.packets.len());
    assert!(
        run.packets
            .iter()
            .skip(80)
            .all(|(_, p)| p.slots[1].1.status() == SlotStatus::Dropped)
    );
    assert!(
        run.packets
            .iter()
            .skip(5)
            .all(|(_, p)| p.slots[0].1.frame().is_some())
    );
}

#[test]
fn a_camera_that_is_down_is_not_waited_for() {
    let config = AlignConfig::new(vec![id(0), id(1)]);
    let mut aligner = Aligner::new(config);
    let now = Mono::from_nanos(1_000_000_000);
    aligner.handle(now, AlignInput::Up(id(0)));
    aligner.handle(now, AlignInput::Frame(frame(0, 0, now)));
    let packet = aligner.poll().expect("camera 1 was never up");
    assert!(matches!(packet.slots[1].1, Slot::Broken(BrokenReason::NeverSeen)));
    assert_eq!(aligner.deadline(), None);
}

#[test]
fn a_slow_camera_paces_and_a_fast_one_has_surplus() {
    let slow = Cam {
        interval: ms(100),
        phase: ms(7),
        ..CAM
    };
    let fast = Cam {
        interval: ms(40),
        ..CAM
    };
    let run = run(&[slow, fast], 30, 5, 500);
    assert!(run.packets.len().abs_diff(300) <= 5, "{}", run.packets.len());
    assert!(complete(&run) >= run.packets.len() - 5);
    let drops = run.aligner.drops(id(1)).unwrap();
    assert!(drops.surplus > 400, "{drops:?}");
}

#[test]
fn nearly_equal_rates_slip_without_losing_packets() {
    let run = run(
        &[
            CAM,
            Cam {
                interval: Span::from_micros(66_733),
                ..CAM
            },
        ],
        120,
        6,
        1_000,
    );
    assert!(
        complete(&run) * 100 >= run.packets.len() * 97,
        "{} of {}",
        complete(&run),
        run.packets.len()
    );
}

#[test]
fn unequal_delays_do_not_matter_below_max_wait() {
    let run = run(
        &[
            CAM,
            Cam {
                delay: ms(200),
                phase: ms(20),
                ..CAM
            },
        ],
        20,
        7,
        500,
    );
    assert!(complete(&run) >= run.packets.len() - 2);
    assert_eq!(run.aligner.drops(id(1)).unwrap().late, 0);
}

#[test]
fn an_unreadable_frame_is_a_read_error_in_its_packet() {
    let config = AlignConfig {
        tolerance: Some(ms(30)),
        ..AlignConfig::new(vec![id(0), id(1)])
    };
    let mut aligner = Aligner::new(config);
    let now = Mono::from_nanos(1_000_000_000);
    for i in 0..2 {
        aligner.handle(now, AlignInput::Up(id(i)));
    }
    aligner.handle(now, AlignInput::Frame(frame(0, 0, now)));
    let captured = Captured {
        mono: now + ms(5),
        rel_error: ms(1),
        source: TimeSource::Arrival,
    };
    aligner.handle(now, AlignInput::Unreadable(id(1), captured));
    aligner.handle_time(now + ms(300));
    let packet = aligner.poll().unwrap();
    assert_eq!(packet.slots[0].1.status(), SlotStatus::Okay);
    assert_eq!(packet.slots[1].1.status(), SlotStatus::ReadError);
}
