//! Coded pictures against decoded frames, over real RTSP: the same keys, and under each key the same picture.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crossbeam_channel::unbounded;
use gst::prelude::*;
use synoptic_base::{Clock, Epoch, FrameKey, MediaTime, Rotation, Size, Span, StreamId, Utc};
use synoptic_engine::timebase::wire::frame_sei;
use synoptic_media::clocks::SystemClock;
use synoptic_media::coded::{CodedEvent, CodedFrame, Ended, Relay, Subscription, Want};
use synoptic_media::{Camera, CameraContext, CameraOptions, Epochs, FrameQueue, Pixels, Source};

use crate::barcode;
use crate::camera::{self, Content};
use crate::packets_tests::{id, rtsp, three};

/// Far longer than anything here takes, for a machine that is busy.
const DEADLINE: Span = Span::from_secs(60);

#[derive(Default)]
struct Counter(Mutex<u32>);
impl Epochs for Counter {
    fn next_epoch(&self, _: StreamId) -> Result<Epoch, String> {
        let mut epoch = self.0.lock().unwrap();
        *epoch += 1;
        Ok(Epoch(*epoch))
    }
}

/// A camera of the daemon with both its sides.
struct Both {
    clock: Arc<dyn Clock>,
    frames: FrameQueue<Pixels>,
    relay: Arc<Relay>,
    coded: Subscription,
    /// What was decoded, with what its barcode says.
    decoded: BTreeMap<FrameKey, Option<Utc>>,
    sent: Vec<Arc<CodedFrame>>,
    gaps: usize,
    _camera: Camera,
    _notes: crossbeam_channel::Receiver<synoptic_media::CameraNote>,
}

impl Both {
    fn new(source: Source, want: Want, rotation: Rotation) -> Both {
        synoptic_media::init().unwrap();
        let clock = SystemClock::shared();
        let relay = Relay::new(clock.clone());
        let frames = FrameQueue::new(256);
        let (sender, notes) = unbounded();
        let context = CameraContext {
            clock: clock.clone(),
            epochs: Arc::new(Counter::default()),
            frames: frames.clone(),
            notes: sender,
        };
        let options = CameraOptions {
            id: id(0),
            source,
            rotation,
            stall_after: Span::from_secs(3),
            capture_bias: Span::ZERO,
            capture_bias_error: Span::from_millis(12),
        };
        let stream = relay.stream(id(0));
        Both {
            coded: stream.subscribe(want),
            _camera: Camera::start_relayed(options, context, stream).unwrap(),
            clock,
            frames,
            relay,
            decoded: BTreeMap::new(),
            sent: Vec::new(),
            gaps: 0,
            _notes: notes,
        }
    }

    /// Takes what comes on either side until `done`.
    fn until(&mut self, what: &str, mut done: impl FnMut(&Both) -> bool) {
        let give_up = self.clock.now() + DEADLINE;
        while !done(self) {
            assert!(
                self.clock.now() < give_up,
                "{what}: {} decoded, {} sent, {:?}",
                self.decoded.len(),
                self.sent.len(),
                self.relay.stream(id(0)).why_waiting(),
            );
            match self.coded.next_timeout(Span::from_millis(10)) {
                Some(Ok(CodedEvent::Frame(frame))) => self.sent.push(frame),
                Some(Ok(CodedEvent::Gap(_))) => self.gaps += 1,
                Some(Ok(CodedEvent::Waiting(_))) | None => {}
                Some(Ok(CodedEvent::Sound(_))) => panic!("{what}: sound that nobody asked for"),
                Some(Err(ended)) => panic!("{what}: {ended:?}"),
            }
            while let Ok(frame) = self.frames.receiver().try_recv() {
                self.decoded
                    .insert(frame.meta.key, code(&*frame.pixels, frame.meta.size));
            }
        }
    }

    /// Every picture that was sent was decoded under its key, and every decoded frame from the first IDR picture of its
    /// epoch on was sent. Pictures younger than the last decoded frame are still on their way.
    fn keys_are_the_same(&self) {
        let newest = *self.decoded.keys().next_back().unwrap();
        let sent: Vec<FrameKey> = self.sent.iter().map(|f| f.key).filter(|k| *k <= newest).collect();
        for key in &sent {
            assert!(self.decoded.contains_key(key), "{key} was sent and never decoded");
        }
        let mut again = sent.clone();
        again.sort_unstable();
        again.dedup();
        assert_eq!(again.len(), sent.len(), "a key was sent twice");
        for epoch in sent
            .iter()
            .map(|k| k.epoch)
            .collect::<std::collections::BTreeSet<_>>()
        {
            let of = |k: &&FrameKey| k.epoch == epoch;
            let sent: Vec<FrameKey> = sent.iter().filter(of).copied().collect();
            // The B pictures before the last P picture may not have come yet.
            let first = *sent.iter().min().unwrap();
            let last = *sent.iter().rev().take(3).min().unwrap();
            for key in self.decoded.range(first..=last).map(|(k, _)| k) {
                assert!(sent.contains(key), "{key} was decoded and never sent");
            }
        }
        let leader = self.sent.iter().find(|f| f.discontinuity).unwrap();
        assert!(leader.keyframe && self.sent[0].keyframe);
    }
}

fn code(pixels: &dyn synoptic_base::Surface, size: Size) -> Option<Utc> {
    let mut code = None;
    pixels
        .with_planes(&mut |p| code = barcode::read(p.luma(), size))
        .unwrap();
    code.map(|c| c.utc)
}

/// Decodes pictures in the order in which they were sent; the barcode of each by the media time it was sent under.
fn decode(sent: &[Arc<CodedFrame>]) -> BTreeMap<i64, Utc> {
    let pipeline = gst::parse::launch(
        "appsrc name=in format=time caps=video/x-h264,stream-format=byte-stream,alignment=au ! h264parse ! decodebin ! \
         videoconvert ! video/x-raw,format=I420 ! appsink name=out sync=false max-buffers=0",
    );
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let part = |name| pipeline.by_name(name).unwrap();
    let input = part("in").downcast::<gst_app::AppSrc>().unwrap();
    let output = part("out").downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    for frame in sent {
        let mut buffer = gst::Buffer::from_slice(frame.annex_b());
        let pts = gst::ClockTime::from_useconds(frame.key.media_us.as_micros() as u64);
        buffer.get_mut().unwrap().set_pts(pts);
        input.push_buffer(buffer).unwrap();
    }
    input.end_of_stream().unwrap();
    let mut found = BTreeMap::new();
    while let Some(sample) = output.try_pull_sample(gst::ClockTime::from_seconds(20)) {
        let info = gst_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
        let buffer = sample.buffer_owned().unwrap();
        let media_us = buffer.pts().unwrap().useconds() as i64;
        let surface = synoptic_media::VideoSurface::new(buffer, &info).unwrap();
        if let Some(utc) = code(&surface, Size::new(info.width(), info.height())) {
            found.insert(media_us, utc);
        }
    }
    pipeline.set_state(gst::State::Null).unwrap();
    found
}

/// The key in a picture's own SEI.
fn key_within(frame: &CodedFrame) -> FrameKey {
    let data = frame.annex_b();
    let at = data.windows(5).position(|w| w == [0, 0, 0, 1, 6]).expect("a SEI");
    frame_sei(&data[at + 4..], 1).expect("our SEI stands first").key
}

#[test]
fn a_coded_picture_has_the_key_of_the_decoded_frame_and_is_that_very_picture() {
    let sims: Vec<_> = three().into_iter().take(1).collect();
    let sim = camera::Camera::start(&sims[0], SystemClock::shared()).unwrap();
    let mut both = Both::new(rtsp(&sim.url()), Want::Playable, Rotation::None);
    both.until("40 pictures", |b| b.sent.len() >= 40 && b.decoded.len() >= 40);
    sim.kill();
    let first = both.sent[0].key.epoch;
    both.until("the connection to end", |b| {
        b.relay.stream(id(0)).why_waiting().is_some()
    });
    sim.revive().unwrap();
    let new = |b: &Both| b.sent.iter().filter(|f| f.key.epoch > first).count();
    both.until("20 pictures after a reconnect", |b| new(b) >= 20);
    let last = both.sent.last().unwrap().key;
    both.until("their frames", |b| b.decoded.contains_key(&last));
    both.keys_are_the_same();
    for frame in &both.sent {
        assert_eq!(key_within(frame), frame.key);
        assert!(frame.format.rfc6381.starts_with("avc1."), "{:?}", frame.format);
        assert!(!frame.format.b_frames && frame.format.transcoded.is_none());
        assert_eq!(frame.decode_us, frame.key.media_us.as_micros());
        assert_eq!(frame.format.size, Size::new(640, 360));
    }
    let of_first: Vec<_> = both
        .sent
        .iter()
        .filter(|f| f.key.epoch == first)
        .cloned()
        .collect();
    let shown = decode(&of_first);
    assert!(
        shown.len() >= 35,
        "{} of {} could be read",
        shown.len(),
        of_first.len()
    );
    for (media_us, utc) in shown {
        let key = FrameKey {
            media_us: MediaTime::from_micros(media_us),
            ..of_first[0].key
        };
        assert_eq!(both.decoded[&key], Some(utc), "{key} is another picture");
    }
}

/// A clip of two seconds with B pictures, made by x264; `None`, aloud, where it cannot be made.
fn clip_with_b_frames(folder: &Path) -> Option<std::path::PathBuf> {
    gst::init().unwrap();
    let path = folder.join("b.mp4");
    let make = gst::parse::launch(&format!(
        "videotestsrc num-buffers=60 pattern=ball ! video/x-raw,width=320,height=240,framerate=30/1 \
         ! x264enc bframes=2 b-adapt=false key-int-max=15 ! mp4mux ! filesink location={}",
        path.display()
    ));
    let make = make.map_err(|e| eprintln!("SKIPPED: {e}")).ok()?;
    make.set_state(gst::State::Playing).unwrap();
    let bus = make.bus().unwrap();
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &[gst::MessageType::Eos]);
    assert!(end.is_some());
    make.set_state(gst::State::Null).unwrap();
    Some(path)
}

#[test]
fn with_b_pictures_the_keys_are_the_same_too() {
    let folder = tempfile::tempdir().unwrap();
    let Some(path) = clip_with_b_frames(folder.path()) else {
        return;
    };
    let options = camera::CameraOptions::new("clip", Content::Clip(path.clone()));
    let sim = camera::Camera::start(&options, SystemClock::shared()).unwrap();
    let file = Source::File { path, repeat: false };
    for source in [rtsp(&sim.url()), file] {
        let what = source.shown();
        let mut both = Both::new(source, Want::Native, Rotation::None);
        both.until(&what, |b| b.sent.len() >= 50 && b.decoded.len() >= 50);
        let last = both.sent.last().unwrap().key;
        both.until("their frames", |b| b.decoded.contains_key(&last));
        both.keys_are_the_same();
        let b_frames = both
            .sent
            .iter()
            .filter(|f| f.kind == synoptic_base::FrameKind::B)
            .count();
        assert!(b_frames >= 20, "{what}: {b_frames} B pictures");
        assert!(both.sent.iter().skip(3).all(|f| f.format.b_frames), "{what}");
        for pair in both.sent.windows(2) {
            assert!(
                pair[0].decode_us < pair[1].decode_us,
                "{what}: {} {}",
                pair[0].key,
                pair[1].key
            );
        }
        for frame in &both.sent {
            assert!(
                frame.decode_us <= frame.key.media_us.as_micros(),
                "{what}: {}",
                frame.key
            );
        }
        let stream = both.relay.stream(id(0));
        assert_eq!(stream.transcoded(), Some("b_frames"), "{what}");
    }
}

#[test]
fn a_reader_who_joins_late_begins_at_once_at_the_last_idr_picture_and_hears_of_the_end() {
    let sim = camera::Camera::start(&three()[0], SystemClock::shared()).unwrap();
    let mut both = Both::new(rtsp(&sim.url()), Want::Playable, Rotation::None);
    both.until("two GOPs", |b| b.sent.len() >= 25);
    let mut late = both.relay.stream(id(0)).subscribe(Want::Playable);
    let Some(Ok(CodedEvent::Frame(first))) = late.next_timeout(Span::ZERO) else {
        panic!("nothing at once");
    };
    assert!(first.keyframe);
    both.relay.remove(&id(0));
    let give_up = both.clock.now() + DEADLINE;
    while both.clock.now() < give_up {
        if let Some(Err(ended)) = late.next_timeout(Span::from_millis(100)) {
            assert_eq!(ended, Ended::Removed);
            return;
        }
    }
    panic!("the end was not told");
}

#[test]
fn what_browsers_cannot_play_is_coded_anew_and_is_the_same_picture_under_the_same_key() {
    let options = camera::CameraOptions {
        codec: camera::Codec::H265,
        ..three().swap_remove(0)
    };
    let sim = camera::Camera::start(&options, SystemClock::shared()).unwrap();
    let mut both = Both::new(rtsp(&sim.url()), Want::Playable, Rotation::None);
    both.until("20 coded pictures", |b| b.sent.len() >= 20);
    let last = both.sent.last().unwrap().key;
    both.until("their frames", |b| b.decoded.contains_key(&last));
    for frame in &both.sent {
        assert!(
            both.decoded.contains_key(&frame.key),
            "{} was never decoded",
            frame.key
        );
        assert_eq!(frame.format.transcoded, Some("h265"));
        assert_eq!(key_within(frame), frame.key);
    }
    let shown = decode(&both.sent);
    assert!(
        shown.len() >= 15,
        "{} of {} could be read",
        shown.len(),
        both.sent.len()
    );
    for (media_us, utc) in shown {
        let key = FrameKey {
            media_us: MediaTime::from_micros(media_us),
            ..both.sent[0].key
        };
        assert_eq!(both.decoded[&key], Some(utc), "{key} is another picture");
    }
    let stream = both.relay.stream(id(0));
    drop(both.coded);
    assert!(!stream.wants_pixels(), "coded for nobody");
}
