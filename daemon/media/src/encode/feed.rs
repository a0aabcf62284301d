//! Decoded frames on their way to an encoder that runs only while somebody watches.

use std::sync::Arc;

use synoptic_base::{Epoch, Frame, Mono, Span};

use super::{EncodeOptions, Encoder};
use crate::Pixels;
use crate::coded::CodedStream;

/// An encoder that nobody watches goes on for this long: a page that is loaded again finds it running.
const IDLE: Span = Span::from_secs(2);
/// After a failure the next try is not before this.
const RETRY: Span = Span::from_secs(5);

/// Codes the frames of one stream for its readers.
pub struct PixelFeed {
    stream: Arc<CodedStream>,
    options: EncodeOptions,
    running: Option<(Encoder, Epoch)>,
    wanted_at: Option<Mono>,
    failed_at: Option<Mono>,
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
            .is_some_and(|(e, of)| *of != epoch || !e.fits(frame))
        {
            self.running = None;
        }
        if self.running.is_none() {
            if self.failed_at.is_some_and(|at| now - at < RETRY) {
                return;
            }
            let why = self.stream.transcoded().unwrap_or("codec");
            match Encoder::start(&self.stream, &self.options, frame, why) {
                Ok(encoder) => self.running = Some((encoder, epoch)),
                Err(error) => return self.failed(now, &error),
            }
        }
        if let Some((encoder, _)) = &mut self.running
            && let Err(error) = encoder.push(frame)
        {
            self.running = None;
            self.failed(now, &error);
        }
    }

    fn failed(&mut self, now: Mono, error: &crate::MediaError) {
        self.failed_at = Some(now);
        log::error!("{error}; next try in {RETRY}");
        self.stream.waiting(&error.to_string());
    }
}
