//! Estimators and the aligner under any sequence of inputs, with their invariants after each step.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use synoptic_base::{
    BootId, BrokenReason, Captured, ClockMap, ClockSample, Epoch, Frame, FrameKey, FrameKind, FrameMeta,
    MediaTime, Mono, Seq, Size, Span, StreamId, TimeSource, Utc,
};
use synoptic_engine::align::{AlignConfig, AlignInput, Aligner};
use synoptic_engine::timebase::{
    DriverStamp, DriverTimebase, DriverTimebaseConfig, RtpTimebase, RtpTimebaseConfig, SenderReport,
    StampClock, StampKind, StampPoint,
};

/// Bytes of one step.
const STEP: usize = 16;
/// UTC − monotonic of the box.
const UTC: i64 = 1_795_000_000_000_000_000;

/// A step's fields.
struct Step<'a>(&'a [u8]);

impl Step<'_> {
    fn what(&self) -> u8 {
        self.0[0]
    }
    fn uint(&self, from: usize, to: usize) -> u64 {
        self.0[from..to].iter().fold(0, |n, b| n << 8 | u64::from(*b))
    }
    /// What passed since the step before: up to 2 s, a few times more than a minute.
    fn passed(&self) -> Span {
        let us = self.uint(1, 4) as i64 / 8;
        Span::from_micros(if self.0[0] & 0x80 != 0 { us * 64 } else { us })
    }
}

/// Bounds stay bounds, media time never runs backwards within an epoch, and memory stays bounded.
pub(super) fn rtp_timebase(data: &[u8]) {
    const KINDS: [StampKind; 8] = [
        StampKind::Rfc6051,
        StampKind::OnvifReplay,
        StampKind::AbsCaptureTime,
        StampKind::ReferenceClock,
        StampKind::Sei,
        StampKind::Flv,
        StampKind::ProgramDate,
        StampKind::StreamStart,
    ];
    let Some((head, steps)) = data.split_first_chunk::<5>() else {
        return;
    };
    let clock_rate_hz = match head[0] & 3 {
        0 => 90_000,
        1 => 1_000,
        2 => 8_000,
        _ => u32::from_be_bytes([head[1], head[2], head[3], head[4]]),
    };
    let mut timebase = RtpTimebase::new(RtpTimebaseConfig {
        clock_rate_hz,
        capture_bias: Span::from_millis(i64::from(head[3]) - 128),
        capture_bias_error: Span::from_millis(i64::from(head[4])),
    });
    if head[0] & 4 != 0 {
        timebase = timebase.with_longest_way(Span::from_secs(30));
    }
    let mut now = Mono::from_nanos(1_000_000_000_000);
    let mut near = 0_u32;
    for step in steps.chunks_exact(STEP).map(Step) {
        now += step.passed();
        near = near.wrapping_add(step.uint(4, 6) as u32);
        let rtp = if step.what() & 0x40 == 0 {
            near
        } else {
            step.uint(4, 8) as u32
        };
        // Half of the wall times are near the truth, or only the checks for nonsense would be reached.
        let wall = if step.what() & 0x20 == 0 {
            Utc::from_nanos(now.as_nanos() + UTC) + Span::from_micros(step.uint(8, 11) as i64 - (1 << 23))
        } else {
            Utc::from_ntp(step.uint(8, 16))
        };
        match step.what() & 0x0f {
            0 => timebase.restart(),
            1 | 2 => {
                let wall = (step.0[15] != 0).then_some(wall);
                let step = timebase.report(SenderReport {
                    wall,
                    rtp,
                    arrival: now,
                });
                assert!(step.is_none_or(|by| by != Span::ZERO));
            }
            3 | 4 => timebase.stamp(KINDS[usize::from(step.0[15] & 7)], rtp, wall, now),
            5 => timebase.clock_map(ClockMap {
                boot_id: BootId(uuid::Uuid::nil()),
                version: 1,
                utc_minus_mono: Span::from_nanos(UTC),
                error: (step.0[15] & 1 != 0).then(|| Span::from_millis(i64::from(step.0[14]))),
            }),
            6 => timebase.box_sample(ClockSample {
                mono: now,
                raw: now + Span::from_micros(i64::from(step.0[15])),
                realtime: wall,
                width: Span::from_micros(1),
            }),
            _ => {
                let timed = timebase.frame(rtp, now);
                assert!(timed.captured.rel_error > Span::ZERO, "{timed:?}");
                assert!(timed.scatter >= Span::ZERO, "{timed:?}");
            }
        }
        assert!(std::iter::from_fn(|| timebase.poll()).count() < 64);
        timebase
            .check_invariants()
            .unwrap_or_else(|what| panic!("{what}"));
        timebase.health();
    }
}

/// Keys are never given twice in an epoch, and bounds stay bounds.
pub(super) fn driver_timebase(data: &[u8]) {
    let Some((&head, steps)) = data.split_first() else {
        return;
    };
    let interval = match head & 3 {
        0 => None,
        n => Some(Span::from_micros(i64::from(n) * 16_667)),
    };
    let mut timebase = DriverTimebase::new(DriverTimebaseConfig {
        interval,
        capture_bias: Span::ZERO,
        capture_bias_error: Span::from_millis(i64::from(head >> 2)),
    });
    let mut now = Mono::from_nanos(1_000_000_000_000);
    let mut last: Option<MediaTime> = None;
    for step in steps.chunks_exact(STEP).map(Step) {
        now += step.passed();
        let off = step.uint(4, 8) as i32;
        let shift = step.what() & 0x0f;
        let at = Span::from_nanos(now.as_nanos()) + Span::from_micros(i64::from(off >> shift));
        let timed = timebase.frame(
            DriverStamp {
                at,
                clock: if step.0[8] & 1 == 0 {
                    StampClock::Monotonic
                } else {
                    StampClock::Other
                },
                point: if step.0[8] & 2 == 0 {
                    StampPoint::EndOfFrame
                } else {
                    StampPoint::StartOfExposure
                },
                sequence: step.uint(9, 13) as u32,
            },
            now,
        );
        assert!(timed.captured.rel_error >= Span::ZERO, "{timed:?}");
        assert!(
            timed.new_epoch || last.is_none_or(|last| timed.media.as_micros() > last.as_micros()),
            "{timed:?} after {last:?}"
        );
        last = Some(timed.media);
    }
}

/// Instants rise, no frame is in two packets, and the aligner's own invariants hold.
pub(super) fn align(data: &[u8]) {
    let Some((&head, steps)) = data.split_first() else {
        return;
    };
    let cameras: Vec<StreamId> = ["a", "b", "c", "d"]
        .into_iter()
        .take(usize::from(head & 3) + 1)
        .filter_map(|name| StreamId::new(name).ok())
        .collect();
    let mut aligner: Aligner<()> = Aligner::new(AlignConfig {
        tolerance: (head & 4 != 0).then(|| Span::from_millis(i64::from(head >> 3))),
        frame_packet_buffer_maxsize: NonZeroUsize::new(usize::from(head >> 5)),
        ..AlignConfig::new(cameras.clone())
    });
    let mut now = Mono::from_nanos(1_000_000_000_000);
    let (mut instant, mut seen) = (None, BTreeSet::new());
    for (i, step) in steps.chunks_exact(STEP).map(Step).enumerate() {
        now += step.passed();
        let stream = cameras[usize::from(step.0[4]) % cameras.len()];
        let captured = Captured {
            mono: now - Span::from_micros(step.uint(5, 8) as i64 / 32),
            rel_error: Span::from_millis(i64::from(step.0[8])),
            source: TimeSource::Arrival,
        };
        match step.what() & 0x1f {
            0 => aligner.handle(now, AlignInput::Up(stream)),
            1 => aligner.handle(now, AlignInput::Down(stream, BrokenReason::Stalled)),
            2 => aligner.handle(now, AlignInput::Unreadable(stream, captured)),
            3 => aligner.handle_time(now),
            _ => {
                let meta = FrameMeta {
                    key: FrameKey {
                        stream,
                        epoch: Epoch(1),
                        media_us: MediaTime::from_micros(i as i64),
                    },
                    seq: Seq(i as u64),
                    arrival: now,
                    captured,
                    size: Size::new(640, 360),
                    kind: FrameKind::P,
                };
                aligner.handle(now, AlignInput::Frame(Frame { meta, pixels: () }));
            }
        }
        aligner.check_invariants().unwrap_or_else(|what| panic!("{what}"));
        while let Some(packet) = aligner.poll() {
            assert!(
                instant.is_none_or(|before| packet.instant > before),
                "instants rise"
            );
            instant = Some(packet.instant);
            assert_eq!(packet.slots.len(), cameras.len());
            for frame in packet.frames() {
                assert!(
                    seen.insert(frame.meta.seq.0),
                    "{} is in two packets",
                    frame.meta.key
                );
            }
        }
    }
}
