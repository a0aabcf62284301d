//! Decoded frames on their way to an encoder that runs only while somebody watches.

use std::sync::Arc;

use synoptic_base::{Epoch, Frame, Mono, Span};

use super::{EncodeOptions, Encoder, EncoderKind, choice};
use crate::coded::CodedStream;
use crate::{MediaError, Pixels};

/// An encoder that nobody watches goes on for this long: a page that is loaded again finds it running.
const IDLE: Span = Span::from_secs(2);
/// When no encoder works, the next try is not before this.
const RETRY: Span = Span::from_secs(5);
/// An encoder that failed after so long is started anew; one that fails sooner is left aside, and the next best one is taken.
const GOOD: Span = Span::from_secs(10);

/// IDR pictures that readers ask for are no closer: many who lost pictures at once get the same one.
const KEY_EVERY: Span = Span::from_secs(1);

struct Running {
    encoder: Encoder,
    epoch: Epoch,
    since: Mono,
    /// When it began, or a reader last got the IDR picture that it asked for.
    key_at: Mono,
    key_asked: bool,
}

impl Running {
    /// Lets the encoder make an IDR picture if a reader asked for one and it is time.
    fn look_for_key(&mut self, stream: &CodedStream, now: Mono) {
        self.key_asked |= stream.take_key_asked();
        if self.key_asked && now - self.key_at >= KEY_EVERY {
            self.key_asked = false;
            self.key_at = now;
            self.encoder.force_key();
        }
    }
}

/// Codes the frames of one stream for its readers.
pub struct PixelFeed {
    stream: Arc<CodedStream>,
    options: EncodeOptions,
    running: Option<Running>,
    wanted_at: Option<Mono>,
    failed_at: Option<Mono>,
    /// Encoders that failed soon after they were started.
    left_aside: Vec<EncoderKind>,
    /// Those of the stream's variants.
    variants: Vec<PixelFeed>,
}

impl PixelFeed {
    /// A feed of `stream`; nothing runs yet.
    pub fn new(stream: Arc<CodedStream>, options: EncodeOptions) -> PixelFeed {
        PixelFeed {
            stream,
            options,
            running: None,
            wanted_at: None,
            failed_at: None,
            left_aside: Vec::new(),
            variants: Vec::new(),
        }
    }

    /// Whether somebody wants pictures now, of the stream or of one of its variants.
    pub fn is_wanted(&self) -> bool {
        let variants = self.stream.variants();
        self.stream.wants_pixels() || variants.iter().any(|(variant, _)| variant.wants_pixels())
    }

    /// A frame came. Without a reader it costs one look.
    pub fn frame(&mut self, frame: &Frame<Pixels>) {
        self.follow_variants();
        self.variants.iter_mut().for_each(|variant| variant.frame(frame));
        self.code(frame);
    }

    /// One feed for each variant that there is now.
    fn follow_variants(&mut self) {
        let now = self.stream.variants();
        self.variants
            .retain(|feed| now.iter().any(|(v, _)| Arc::ptr_eq(v, &feed.stream)));
        for (variant, options) in now {
            if !self
                .variants
                .iter()
                .any(|feed| Arc::ptr_eq(&feed.stream, &variant))
            {
                self.variants.push(PixelFeed::new(variant, options));
            }
        }
    }

    fn code(&mut self, frame: &Frame<Pixels>) {
        let wanted = self.stream.wants_pixels();
        if !wanted && self.running.is_none() {
            return;
        }
        let now = self.stream.now();
        if wanted {
            self.wanted_at = Some(now);
        } else if self.wanted_at.is_none_or(|at| now - at > IDLE) {
            self.running = None;
            return;
        }
        // Another epoch or size begins with an IDR picture of its own.
        let epoch = frame.meta.key.epoch;
        if self
            .running
            .as_ref()
            .is_some_and(|r| r.epoch != epoch || !r.encoder.fits(frame))
        {
            self.running = None;
        }
        if self.running.is_none() {
            if self.failed_at.is_some_and(|at| now - at < RETRY) {
                return;
            }
            if let Err(error) = self.start(frame, now) {
                return self.failed(now, None, &error);
            }
        }
        let Some(running) = &mut self.running else { return };
        running.look_for_key(&self.stream, now);
        if let Err(error) = running.encoder.push(frame) {
            let failed = self.running.take().map(|r| (r.encoder.kind(), now - r.since));
            self.failed(now, failed, &error);
        }
    }

    fn start(&mut self, frame: &Frame<Pixels>, now: Mono) -> Result<(), MediaError> {
        let why = self.stream.transcoded().unwrap_or("codec");
        let options = EncodeOptions {
            encoder: Some(choice::choose(&self.options, &self.left_aside)?),
            ..self.options
        };
        self.running = Some(Running {
            encoder: Encoder::start(&self.stream, &options, frame, why)?,
            epoch: frame.meta.key.epoch,
            since: now,
            key_at: now,
            key_asked: false,
        });
        Ok(())
    }

    /// An encoder `failed` after it ran for some time, or none could be started.
    fn failed(&mut self, now: Mono, failed: Option<(EncoderKind, Span)>, error: &MediaError) {
        self.stream.encoder_failed();
        let next = match failed {
            Some((kind, ran)) if ran > GOOD => Some(kind),
            Some((kind, _)) => {
                self.left_aside.push(kind);
                choice::choose(&self.options, &self.left_aside).ok()
            }
            None => None,
        };
        match next {
            Some(next) => log::warn!("{error}; {} takes over", next.element()),
            None => {
                // From the best one again.
                self.left_aside.clear();
                self.failed_at = Some(now);
                log::error!("{error}; next try in {RETRY}");
                self.stream.waiting(&error.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clocks::SystemClock;
    use crate::coded::{CodedEvent, Relay, Want};
    use crate::encode::available;
    use synoptic_base::*;

    struct Grey;
    impl Surface for Grey {
        fn size(&self) -> Size {
            Size::new(64, 64)
        }
        fn format(&self) -> PixelFormat {
            PixelFormat::I420
        }
        fn with_planes(&self, read: &mut dyn FnMut(Planes<'_>)) -> Result<(), SurfaceError> {
            let plane = |stride| Plane {
                data: &[128; 64 * 64],
                stride,
            };
            read(Planes::I420 {
                y: plane(64),
                u: plane(32),
                v: plane(32),
            });
            Ok(())
        }
    }

    fn frame(number: i64) -> Frame<Pixels> {
        let at = Mono::from_nanos(1_000_000_000_000) + Span::from_millis(40) * number;
        Frame {
            meta: FrameMeta {
                key: FrameKey {
                    stream: StreamId::new("gate").unwrap(),
                    epoch: Epoch(1),
                    media_us: MediaTime::from_micros(number * 40_000),
                },
                seq: Seq(number as u64),
                arrival: at,
                captured: Captured {
                    mono: at,
                    rel_error: Span::ZERO,
                    source: TimeSource::Arrival,
                },
                size: Size::new(64, 64),
                kind: FrameKind::Unknown,
            },
            pixels: Arc::new(Grey),
        }
    }

    #[test]
    fn an_encoder_that_breaks_down_is_replaced_or_started_anew_and_counted() {
        gst::init().unwrap();
        let there = available();
        if there.is_empty() {
            return eprintln!("SKIPPED: no H.264 encoder here");
        }
        let stream = Relay::new(SystemClock::shared()).stream(StreamId::new("gate").unwrap());
        stream.declare(Some("rotation"));
        stream.ready();
        let mut reader = stream.subscribe(Want::Playable);
        let mut feed = PixelFeed::new(stream.clone(), EncodeOptions::default());
        let mut number = 0;
        let mut until_coded = |feed: &mut PixelFeed| {
            // Each frame is waited for: an encoder that is busy leaves frames out.
            for _ in 0..200 {
                feed.frame(&frame(number));
                number += 1;
                while let Some(event) = reader.next_timeout(Span::from_millis(150)) {
                    if let CodedEvent::Frame(coded) = event.unwrap() {
                        assert_eq!(coded.format.transcoded, Some("rotation"));
                        return coded;
                    }
                }
            }
            panic!("no coded picture came");
        };
        until_coded(&mut feed);
        assert_eq!(stream.encoder_failures(), 0);
        feed.running.as_ref().unwrap().encoder.break_down();
        feed.frame(&frame(900)); // finds it broken
        assert_eq!(stream.encoder_failures(), 1);
        match there.get(1) {
            Some(second) => {
                let coded = until_coded(&mut feed);
                assert!(coded.keyframe, "a new encoder begins with an IDR picture");
                assert_eq!(feed.running.as_ref().unwrap().encoder.kind(), *second);
            }
            None => {
                assert!(feed.failed_at.is_some());
                feed.failed_at = None;
            }
        }
        // One that worked for long is started anew.
        until_coded(&mut feed);
        let running = feed.running.as_mut().unwrap();
        let kind = running.encoder.kind();
        running.since -= Span::from_secs(60);
        running.encoder.break_down();
        feed.frame(&frame(901));
        assert_eq!(stream.encoder_failures(), 2);
        until_coded(&mut feed);
        assert_eq!(feed.running.as_ref().unwrap().encoder.kind(), kind);
        assert_eq!(stream.why_waiting(), None);
    }

    /// A stream that is coded with `options`, and a reader of it.
    fn coded(options: EncodeOptions) -> Option<(PixelFeed, crate::coded::Subscription)> {
        gst::init().unwrap();
        if available().is_empty() {
            eprintln!("SKIPPED: no H.264 encoder here");
            return None;
        }
        let stream = Relay::new(SystemClock::shared()).stream(StreamId::new("gate").unwrap());
        stream.declare(Some("rotation"));
        stream.ready();
        let reader = stream.subscribe(Want::Playable);
        Some((PixelFeed::new(stream, options), reader))
    }

    #[test]
    fn a_reader_that_asks_gets_an_idr_picture_once_a_second_at_most() {
        let options = EncodeOptions {
            gop: 10_000,
            ..EncodeOptions::default()
        };
        let Some((mut feed, mut reader)) = coded(options) else {
            return;
        };
        let mut number = 0;
        let mut next = |feed: &mut PixelFeed| {
            for _ in 0..200 {
                feed.frame(&frame(number));
                number += 1;
                if let Some(Ok(CodedEvent::Frame(coded))) = reader.next_timeout(Span::from_millis(500)) {
                    return coded.keyframe;
                }
            }
            panic!("no coded picture came");
        };
        assert!(next(&mut feed), "it begins with one");
        assert!((0..5).all(|_| !next(&mut feed)));
        let ask = |feed: &PixelFeed| assert!(feed.stream.ask_for_key());
        ask(&feed);
        // It is asked for again within the second: nothing comes of it yet, and it is not forgotten.
        feed.running.as_mut().unwrap().key_at += Span::from_secs(3_600);
        assert!((0..5).all(|_| !next(&mut feed)));
        feed.running.as_mut().unwrap().key_at -= Span::from_secs(3_660);
        assert!((0..5).any(|_| next(&mut feed)));
        // One for all who asked.
        feed.running.as_mut().unwrap().key_at -= Span::from_secs(60);
        assert!((0..5).all(|_| !next(&mut feed)));
        ask(&feed);
        ask(&feed);
        assert_eq!((0..8).filter(|_| next(&mut feed)).count(), 1);
    }

    #[test]
    fn what_a_camera_coded_has_no_idr_picture_to_ask_for() {
        gst::init().unwrap();
        let stream = Relay::new(SystemClock::shared()).stream(StreamId::new("gate").unwrap());
        let _reader = stream.subscribe(Want::Playable);
        assert!(!stream.ask_for_key());
    }

    #[test]
    fn a_constant_rate_has_a_picture_in_every_slot_and_repeats_keep_their_key() {
        let options = EncodeOptions {
            fps: Some(crate::encode::FrameRate::Constant(50)),
            ..EncodeOptions::default()
        };
        let Some((mut feed, mut reader)) = coded(options) else {
            return;
        };
        // Frames of 25 a second, captured a moment ago by the clock that the slots are timed with.
        let mut pictures: Vec<Arc<crate::coded::CodedFrame>> = Vec::new();
        let began = feed.stream.now();
        for number in 0..400 {
            let mut frame = frame(number);
            frame.meta.captured.mono = began + Span::from_millis(40) * number;
            while let Some(event) =
                reader.next_timeout((frame.meta.captured.mono - feed.stream.now()).max(Span::ZERO))
            {
                if let CodedEvent::Frame(coded) = event.unwrap() {
                    pictures.push(coded);
                }
            }
            if pictures.len() >= 60 {
                break;
            }
            feed.frame(&frame);
        }
        assert!(pictures.len() >= 60, "{} pictures", pictures.len());
        let first = pictures[0].shown_mono();
        let mut repeated = 0;
        for picture in &pictures {
            // On the grid of 20 ms; one that a busy machine's encoder left out leaves a hole in it, and no shift.
            let slots = (picture.shown_mono() - first).as_millis_f64() / 20.0;
            assert!((slots - slots.round()).abs() < 1e-3, "{slots}");
            assert_eq!(picture.decode_us, picture.shown_us());
            assert_eq!(picture.key.media_us.as_micros() % 40_000, 0, "{}", picture.key);
            let sei = crate::coded::nals(crate::coded::Framing::StartCodes, &picture.annex_b())
                .find_map(|nal| synoptic_engine::timebase::wire::frame_sei(nal, 1))
                .unwrap();
            assert_eq!((sei.key, sei.repeat), (picture.key, picture.slot.repeat));
            repeated += usize::from(sei.repeat > 0);
        }
        assert!(repeated * 3 >= pictures.len(), "{repeated} of {}", pictures.len());
        assert!(
            pictures
                .windows(2)
                .all(|p| p[0].shown_us() < p[1].shown_us() && p[0].key.media_us <= p[1].key.media_us)
        );
    }
}
