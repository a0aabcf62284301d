//! The tap without GStreamer's pipelines: pictures in, names out, with what the timebase knows made up.

use synoptic_base::{Clock, ClockSample, Span, StreamId, TimeSource, Utc};

use super::*;
use crate::coded::{CodedEvent, Relay, Subscription, Want};

struct Still;
impl Clock for Still {
    fn now(&self) -> Mono {
        Mono::from_nanos(1)
    }
    fn sample(&self) -> ClockSample {
        ClockSample {
            mono: self.now(),
            raw: self.now(),
            realtime: Utc::from_nanos(1),
            width: Span::ZERO,
        }
    }
}

/// Baseline 2.1, 320x240.
const SPS: [u8; 8] = [0x67, 0x42, 0x00, 0x15, 0xda, 0x05, 0x07, 0xe4];

fn parsed(stamp: i64, idr: bool, sps: &[u8]) -> Parsed {
    let mut unit = Vec::new();
    let mut put = |nal: &[u8]| {
        unit.extend([0, 0, 0, 1]);
        unit.extend_from_slice(nal);
    };
    if idr {
        put(sps);
        put(&[0x68, 0xce]);
        put(&[0x65, 0x88]);
    } else {
        put(&[0x41, 0xe0]);
    }
    Parsed {
        stamp,
        arrival: Mono::from_nanos(stamp),
        kind: if idr { FrameKind::I } else { FrameKind::P },
        unit: AccessUnit {
            buffer: gst::Buffer::from_slice(unit),
            framing: Framing::StartCodes,
        },
        codec_data: None,
    }
}

fn captured() -> Captured {
    Captured {
        mono: Mono::from_nanos(7),
        rel_error: Span::ZERO,
        source: TimeSource::Arrival,
    }
}

/// Media time is the stamp; stamps above a million are in doubt.
fn foretell(generation: u32) -> impl Fn(&Asked) -> Option<Foretold> {
    move |asked| {
        (asked.stamp < 1_000_000).then(|| Foretold {
            generation,
            media: MediaTime::from_micros(asked.stamp),
            captured: captured(),
            due: None,
        })
    }
}

struct Bench {
    tap: Tap,
    reader: Subscription,
}

impl Bench {
    fn new() -> Bench {
        gst::init().unwrap();
        let stream = Relay::new(Arc::new(Still)).stream(StreamId::new("gate").unwrap());
        Bench {
            reader: stream.subscribe(Want::Native),
            tap: Tap::new(stream),
        }
    }
    fn picture(&self, generation: u32, stamp: i64, idr: bool) {
        self.tap.parsed(parsed(stamp, idr, &SPS), foretell(generation));
    }
    fn frame(&self, generation: u32, stamp: i64, epoch: u32, media_us: i64) {
        let key = FrameKey {
            stream: StreamId::new("gate").unwrap(),
            epoch: Epoch(epoch),
            media_us: MediaTime::from_micros(media_us),
        };
        self.tap
            .resolved(stamp, generation, key, captured(), foretell(generation));
    }
    /// What left since the last call: keys, and `gap`.
    fn left(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        while let Some(Ok(event)) = self.reader.next_timeout(Span::ZERO) {
            match event {
                CodedEvent::Frame(frame) => left.push(frame.key.to_string()),
                CodedEvent::Gap(_) => left.push("gap".to_owned()),
                CodedEvent::Waiting(_) | CodedEvent::Sound(_) => {}
            }
        }
        left
    }
}

#[test]
fn pictures_wait_for_the_first_frame_and_then_for_none() {
    let mut b = Bench::new();
    b.picture(1, 5, false);
    b.picture(1, 10, true);
    b.picture(1, 20, false);
    assert!(b.left().is_empty());
    b.frame(1, 10, 3, 10);
    assert_eq!(b.left(), ["gate/3/10", "gate/3/20"]);
    b.picture(1, 30, false);
    assert_eq!(b.left(), ["gate/3/30"]);
    b.picture(1, 40, true);
    assert_eq!(b.left(), ["gate/3/40"], "the same parameter sets begin no epoch");
}

#[test]
fn a_picture_in_doubt_holds_those_after_it_until_its_frame_is_there() {
    let mut b = Bench::new();
    b.picture(1, 10, true);
    b.frame(1, 10, 3, 10);
    b.left();
    b.picture(1, 2_000_000, false);
    b.picture(1, 30, false);
    assert!(b.left().is_empty());
    b.frame(1, 2_000_000, 3, 21);
    assert_eq!(b.left(), ["gate/3/21", "gate/3/30"]);
}

#[test]
fn no_picture_leaves_under_the_epoch_before() {
    let mut b = Bench::new();
    b.picture(1, 10, true);
    b.frame(1, 10, 3, 10);
    b.left();
    // The timebase began a new line; the camera's thread has not told of the epoch yet.
    b.picture(2, 20, false);
    assert!(b.left().is_empty());
    b.frame(2, 15, 4, 15);
    assert!(b.left().is_empty(), "an epoch begins with an IDR picture");
    b.picture(2, 30, true);
    assert_eq!(b.left(), ["gap", "gate/4/30"]);
}

#[test]
fn new_parameter_sets_are_in_doubt() {
    let mut b = Bench::new();
    b.picture(1, 10, true);
    b.frame(1, 10, 3, 10);
    b.left();
    let mut wider = SPS;
    wider[3] = 0x1e;
    b.tap.parsed(parsed(20, true, &wider), foretell(1));
    b.picture(1, 30, false);
    assert!(b.left().is_empty());
    b.frame(2, 20, 4, 20);
    assert_eq!(b.left(), ["gate/4/20", "gate/4/30"]);
}

#[test]
fn a_wrong_name_is_told_and_mended_at_the_next_idr_picture() {
    let mut b = Bench::new();
    b.picture(1, 10, true);
    b.frame(1, 10, 3, 10);
    b.picture(1, 20, false);
    b.left();
    b.frame(1, 20, 3, 21);
    b.picture(1, 30, false);
    assert!(b.left().is_empty());
    b.picture(1, 40, true);
    assert_eq!(b.left(), ["gap", "gate/3/40"]);
}

#[test]
fn a_picture_that_the_decoder_never_gives_is_given_up() {
    let mut b = Bench::new();
    b.picture(1, 10, true);
    b.frame(1, 10, 3, 10);
    b.left();
    b.picture(1, 2_000_000, false);
    for i in 0..=i64::from(MAX_DOUBT) {
        b.frame(1, 100 + i, 3, 100 + i);
    }
    b.picture(1, 200, true);
    assert_eq!(b.left(), ["gap", "gate/3/200"]);
    // Nor does memory grow without any frame.
    b.picture(1, 3_000_000, false);
    for i in 0..2 * MAX_HELD as i64 {
        b.picture(1, 300 + i, false);
    }
    assert!(locked(&b.tap.state).held.len() <= MAX_HELD);
}

#[test]
fn decoding_times_run_on_and_are_never_after_the_showing() {
    let format = CodedFormat::h264(&[SPS.to_vec()], &[vec![0x68]], true, None).unwrap();
    let mut order = Order::default();
    let mut last = i64::MIN;
    // I P B B P B B, 40 ms apart.
    for shown in [0, 3, 1, 2, 6, 4, 5, 9, 7, 8] {
        let media_us = shown * 40_000;
        let decode_us = order.decode_us(&format, media_us);
        assert!(last < decode_us && decode_us <= media_us, "{shown}: {decode_us}");
        last = decode_us;
    }
}
