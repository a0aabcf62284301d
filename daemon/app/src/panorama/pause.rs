//! A paused panorama: nothing is composed, and whoever watches keeps the last picture.
//!
//! The picture is given out again once a second, under keys of its own, so that servers and players do not take the stream for
//! dead. Its capture time says what is known: now, give or take as much as the picture is old.

use synoptic_base::{Frame, FrameMeta, Mono, Span};
use synoptic_media::Pixels;

/// How often it is given out again.
const EVERY: Span = Span::from_secs(1);
/// By so much it stays behind now, so that pictures that are composed later come later.
const BEHIND: Span = Span::from_millis(500);

/// The last picture that was composed.
pub(super) struct Still {
    pixels: Pixels,
    /// When it was captured, and its bound.
    captured: Mono,
    rel_error: Span,
    due: Mono,
}

impl Still {
    /// A picture that was composed at `now`.
    pub(super) fn new(frame: &Frame<Pixels>, now: Mono) -> Still {
        Still {
            pixels: frame.pixels.clone(),
            captured: frame.meta.captured.mono,
            rel_error: frame.meta.captured.rel_error,
            due: now + EVERY,
        }
    }

    /// The picture again, where it is time; `next` makes the key and the rest of a picture captured then.
    pub(super) fn again(&mut self, now: Mono, next: impl FnOnce(Mono) -> FrameMeta) -> Option<Frame<Pixels>> {
        if now < self.due {
            return None;
        }
        self.due = now + EVERY;
        let at = (now - BEHIND).max(self.captured);
        let mut meta = next(at);
        meta.captured.mono = at;
        meta.captured.rel_error = self.rel_error + (at - self.captured);
        Some(Frame {
            meta,
            pixels: self.pixels.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use synoptic_base::{Captured, Epoch, FrameKey, FrameKind, MediaTime, Seq, Size, StreamId, TimeSource};
    use synoptic_vision::PictureBuf;

    use super::*;

    #[test]
    fn it_comes_once_a_second_and_says_how_old_it_is() {
        let at = |ms: i64| Mono::from_nanos(0) + Span::from_millis(ms);
        let meta = |mono: Mono| FrameMeta {
            key: FrameKey {
                stream: StreamId::new("whole").unwrap(),
                epoch: Epoch(1),
                media_us: MediaTime::from_micros(mono.as_nanos() / 1_000),
            },
            seq: Seq(0),
            arrival: mono,
            captured: Captured {
                mono,
                rel_error: Span::from_millis(3),
                source: TimeSource::SenderReport,
            },
            size: Size::new(16, 16),
            kind: FrameKind::Unknown,
        };
        let pixels: Pixels = Arc::new(PictureBuf::black(Size::new(16, 16)).unwrap());
        let frame = Frame {
            meta: meta(at(100)),
            pixels,
        };
        let mut still = Still::new(&frame, at(200));
        assert!(still.again(at(1_100), meta).is_none());
        let first = still.again(at(1_300), meta).unwrap();
        assert!(still.again(at(1_400), meta).is_none());
        let second = still.again(at(10_300), meta).unwrap();
        for (frame, now) in [(first, 1_300), (second, 10_300)] {
            let Captured { mono, rel_error, .. } = frame.meta.captured;
            assert!(mono < at(now) && mono > at(100));
            // The truth lies within the bound.
            assert_eq!(mono - rel_error, at(100) - Span::from_millis(3));
        }
    }
}
