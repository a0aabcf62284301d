//! Readers fast and slow, without a camera.

use std::sync::OnceLock;

use synoptic_base::{Clock, ClockSample, Epoch, FrameKey, FrameKind, MediaTime, Size, Span, TimeSource, Utc};

use super::super::{
    AccessUnit, CodedEvent, Framing, Relay, Slot, SoundCodec, SoundForm, SoundFormat, SoundUnit, VideoCodec,
};
use super::*;

#[derive(Default)]
struct Manual(Mutex<Mono>);
impl Manual {
    fn advance(&self, by: Span) {
        *self.0.lock().unwrap() += by;
    }
}
impl Clock for Manual {
    fn now(&self) -> Mono {
        *self.0.lock().unwrap()
    }
    fn sample(&self) -> ClockSample {
        ClockSample {
            mono: self.now(),
            raw: self.now(),
            realtime: Utc::from_nanos(0),
            width: Span::ZERO,
        }
    }
}

struct Bench {
    clock: Arc<Manual>,
    stream: Arc<CodedStream>,
    next: i64,
    format: Arc<CodedFormat>,
}

const GATE: &str = "gate";

impl Bench {
    fn new() -> Bench {
        gst::init().unwrap();
        let clock = Arc::new(Manual::default());
        let format = CodedFormat {
            codec: VideoCodec::H264,
            rfc6381: "avc1.64001f".to_owned(),
            size: Size::new(640, 360),
            fps: Some(10.0),
            b_frames: false,
            transcoded: None,
            sps: Vec::new(),
            pps: Vec::new(),
        };
        Bench {
            stream: Relay::new(clock.clone()).stream(StreamId::new(GATE).unwrap()),
            clock,
            next: 0,
            format: Arc::new(format),
        }
    }

    fn make(&mut self, bytes: usize) -> CodedFrame {
        let n = self.next;
        self.next += 1;
        let captured = Captured {
            mono: self.clock.now(),
            rel_error: Span::ZERO,
            source: TimeSource::Arrival,
        };
        CodedFrame {
            key: FrameKey {
                stream: self.stream.id(),
                epoch: Epoch(1),
                media_us: MediaTime::from_micros(n),
            },
            captured,
            stamp: self.stream.stamp(captured),
            arrival: captured.mono,
            kind: FrameKind::Unknown,
            keyframe: n % 10 == 0,
            discontinuity: false,
            format: self.format.clone(),
            decode_us: n,
            duration_us: 0,
            slot: Slot::default(),
            unit: AccessUnit {
                buffer: gst::Buffer::with_size(bytes).unwrap(),
                framing: Framing::Lengths,
            },
            written: OnceLock::new(),
        }
    }

    /// Pictures of the camera, 100 ms apart, each tenth an IDR picture.
    fn native(&mut self, count: usize, bytes: usize) {
        for _ in 0..count {
            self.clock.advance(Span::from_millis(100));
            let frame = self.make(bytes);
            self.stream.native(frame, false);
        }
    }
}

/// What waits: media times, `gap`, `waiting`, `end`.
fn drain(reader: &mut Subscription) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(event) = reader.next_timeout(Span::ZERO) {
        match event {
            Ok(CodedEvent::Frame(frame)) => found.push(frame.key.media_us.as_micros().to_string()),
            Ok(CodedEvent::Gap(reason)) => found.push(reason.name().to_owned()),
            Ok(CodedEvent::Waiting(_)) => found.push("waiting".to_owned()),
            Ok(CodedEvent::Sound(sound)) => {
                found.push(format!("{} {}", sound.format.codec.name(), sound.media_us));
            }
            Err(ended) => {
                found.push(format!("{ended:?}"));
                break;
            }
        }
    }
    found
}

#[test]
fn who_joins_gets_the_last_gop_and_then_every_picture() {
    let mut b = Bench::new();
    let mut early = b.stream.subscribe(Want::Playable);
    assert_eq!(drain(&mut early), ["waiting"]);
    b.native(13, 10);
    assert_eq!(drain(&mut early).len(), 13);
    let mut late = b.stream.subscribe(Want::Playable);
    assert_eq!(drain(&mut late), ["10", "11", "12"]);
    b.native(1, 10);
    assert_eq!(drain(&mut late), ["13"]);
    assert_eq!(b.stream.readers(), 2);
    drop(late);
    assert_eq!(b.stream.readers(), 1);
}

#[test]
fn a_slow_reader_loses_pictures_up_to_an_idr_picture_alone_and_a_stalled_one_is_dropped() {
    let mut b = Bench::new();
    let (mut slow, mut fast) = (
        b.stream.subscribe(Want::Playable),
        b.stream.subscribe(Want::Playable),
    );
    drain(&mut slow);
    for _ in 0..45 {
        b.native(1, 10);
        assert!(!drain(&mut fast).contains(&"slow_client".to_owned()));
    }
    // 3 s after the first picture all went; the next IDR picture follows the gap.
    assert_eq!(drain(&mut slow), ["slow_client", "40", "41", "42", "43", "44"]);
    b.native(5, 10);
    assert_eq!(drain(&mut slow).len(), 5, "it caught up");
    b.native(150, 10);
    assert_eq!(drain(&mut slow), ["TooSlow"]);
    assert_eq!(
        drain(&mut fast).last().unwrap(),
        "TooSlow",
        "it did not read for 15 s either"
    );
}

#[test]
fn bytes_are_bounded() {
    let mut b = Bench::new();
    let mut reader = b.stream.subscribe(Want::Playable);
    drain(&mut reader);
    b.native(25, 1 << 20);
    assert_eq!(drain(&mut reader), ["slow_client", "20", "21", "22", "23", "24"]);
    b.native(1, 20 << 20);
    drain(&mut reader);
    assert!(
        locked(&b.stream.state).native.frames.is_empty(),
        "too much to be kept"
    );
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

#[test]
fn pixels_are_wanted_only_where_the_cameras_pictures_fit_nobody_who_watches() {
    let mut b = Bench::new();
    b.native(3, 10);
    let mut playable = b.stream.subscribe(Want::Playable);
    let mut native = b.stream.subscribe(Want::Native);
    assert!(!b.stream.wants_pixels());
    b.stream.declare(Some("rotation"));
    assert!(b.stream.wants_pixels());
    drain(&mut playable);
    drain(&mut native);
    b.native(1, 10);
    assert!(drain(&mut playable).is_empty());
    assert_eq!(drain(&mut native), ["3"]);
    while b.next % 10 != 0 {
        b.next += 1;
    }
    let coded = b.make(10);
    b.stream.encoded(coded);
    assert_eq!(drain(&mut playable), ["source", "10"]);
    assert!(drain(&mut native).is_empty());
    drop(playable);
    assert!(!b.stream.wants_pixels());
    b.stream.declare(None);
    assert_eq!(b.stream.transcoded(), None);
}

#[test]
fn who_waits_is_told_why_and_begins_anew_with_an_idr_picture() {
    let mut b = Bench::new();
    let mut reader = b.stream.subscribe(Want::Playable);
    drain(&mut reader);
    b.native(5, 10);
    drain(&mut reader);
    b.stream.waiting("it is away");
    assert_eq!(b.stream.why_waiting().as_deref(), Some("it is away"));
    assert_eq!(drain(&mut reader), ["waiting"]);
    assert_eq!(drain(&mut b.stream.subscribe(Want::Playable)), ["waiting"]);
    b.native(7, 10);
    assert_eq!(drain(&mut reader), ["10", "11"]);
    assert_eq!(b.stream.why_waiting(), None);
    b.stream.end();
    assert_eq!(drain(&mut reader), ["Removed"]);
}

/// Sound of the instant of the next picture.
fn sound(bench: &Bench, codec: SoundCodec) -> SoundUnit {
    SoundUnit {
        captured: Captured {
            mono: bench.clock.now() + Span::from_millis(100),
            rel_error: Span::ZERO,
            source: TimeSource::SenderReport,
        },
        duration: Span::from_millis(20),
        format: Arc::new(SoundFormat {
            codec,
            rate_hz: 8_000,
            channels: 1,
            config: Vec::new(),
            pre_skip: 0,
            transcoded: None,
        }),
        data: bytes::Bytes::from_static(b"sound"),
    }
}

#[test]
fn sound_leaves_with_the_pictures_of_its_time_to_those_who_asked_for_it() {
    let mut b = Bench::new();
    let mut silent = b.stream.subscribe(Want::Playable);
    let mut native = b.stream.subscribe_with(Want::Playable, Some(SoundWant::Native));
    let mut flv = b.stream.subscribe_with(Want::Playable, Some(SoundWant::Flv));
    assert!(!b.stream.has_sound() && !b.stream.wants_sound(SoundForm::Aac));
    let unit = sound(&b, SoundCodec::Alaw);
    b.stream.sound(&unit, SoundForm::Native);
    assert!(b.stream.has_sound());
    for reader in [&mut silent, &mut native, &mut flv] {
        assert_eq!(drain(reader), ["waiting"], "no picture came yet");
    }
    b.native(1, 10);
    assert_eq!(drain(&mut silent), ["0"]);
    assert_eq!(drain(&mut native), ["0", "pcma 0"]);
    assert_eq!(drain(&mut flv), ["0"], "FLV cannot carry G.711");
    assert!(b.stream.wants_sound(SoundForm::Aac), "and somebody waits for AAC");
    let unit = sound(&b, SoundCodec::Aac);
    b.stream.sound(&unit, SoundForm::Aac);
    b.native(1, 10);
    assert_eq!(drain(&mut native), ["1"]);
    let heard = drain(&mut flv);
    assert!(
        heard.len() == 2 && heard.iter().any(|e| e.starts_with("aac")),
        "{heard:?}"
    );
    // Who joins has it too, from the last IDR picture on.
    let mut late = b.stream.subscribe_with(Want::Playable, Some(SoundWant::Native));
    assert_eq!(drain(&mut late), ["0", "1", "pcma 0"]);
    drop((native, flv, late));
    assert!(!b.stream.wants_sound(SoundForm::Aac));
    b.stream.waiting("the camera is away");
    assert!(!b.stream.has_sound());
}

#[test]
fn a_panorama_has_the_sound_of_its_camera_on_its_own_time_line() {
    let mut b = Bench::new();
    let relay = Relay::new(b.clock.clone());
    let panorama = relay.stream(StreamId::new("pano").unwrap());
    panorama.declare(Some("panorama"));
    b.stream.send_sound_to(&panorama);
    let mut reader = panorama.subscribe_with(Want::Playable, Some(SoundWant::Flv));
    let unit = sound(&b, SoundCodec::Alaw);
    b.stream.sound(&unit, SoundForm::Native);
    assert!(
        panorama.has_sound() && b.stream.wants_sound(SoundForm::Aac),
        "wanted by the panorama's reader"
    );
    let unit = sound(&b, SoundCodec::Aac);
    b.stream.sound(&unit, SoundForm::Aac);
    drain(&mut reader);
    // Its picture of that instant comes later, and only then the sound.
    let captured = unit.captured;
    b.clock.advance(Span::from_millis(300));
    let mut frame = b.make(10);
    frame.captured = captured;
    frame.key.stream = panorama.id();
    frame.key.media_us = MediaTime::from_micros(7_000_000);
    panorama.encoded(frame);
    assert_eq!(drain(&mut reader), ["7000000", "aac 7000000"]);
    b.stream.keep_sound_from(&panorama);
    drop(reader);
    assert!(!b.stream.wants_sound(SoundForm::Aac));
}

#[test]
fn who_wants_opus_gets_it_from_a_coder_of_its_own_that_runs_beside_that_of_aac() {
    let mut b = Bench::new();
    let mut flv = b.stream.subscribe_with(Want::Playable, Some(SoundWant::Flv));
    let mut browser = b.stream.subscribe_with(Want::Playable, Some(SoundWant::WebRtc));
    b.stream.sound(&sound(&b, SoundCodec::Alaw), SoundForm::Native);
    assert!(SoundForm::CODED.iter().all(|form| b.stream.wants_sound(*form)));
    b.native(1, 10);
    b.stream.sound(&sound(&b, SoundCodec::Opus), SoundForm::Opus);
    b.stream.sound(&sound(&b, SoundCodec::Aac), SoundForm::Aac);
    b.native(1, 10);
    let has = |heard: &[String], codec: &str| heard.iter().filter(|e| e.starts_with(codec)).count();
    let (flv_heard, browser_heard) = (drain(&mut flv), drain(&mut browser));
    assert_eq!(
        (has(&flv_heard, "aac"), has(&flv_heard, "opus")),
        (1, 0),
        "{flv_heard:?}"
    );
    assert_eq!(
        (has(&browser_heard, "aac"), has(&browser_heard, "opus")),
        (0, 1),
        "{browser_heard:?}"
    );
    drop(browser);
    assert!(b.stream.wants_sound(SoundForm::Aac) && !b.stream.wants_sound(SoundForm::Opus));
    // A camera's own Opus passes as it is.
    let mut other = Bench::new();
    let mut browser = other
        .stream
        .subscribe_with(Want::Playable, Some(SoundWant::WebRtc));
    other
        .stream
        .sound(&sound(&other, SoundCodec::Opus), SoundForm::Native);
    assert!(!other.stream.wants_sound(SoundForm::Opus));
    other.native(1, 10);
    assert_eq!(has(&drain(&mut browser), "opus"), 1);
}
