//! FLV tags to coded pictures, and the UTC that senders put between them.

use synoptic_base::{Mono, Span, Utc};
use synoptic_engine::timebase::wire::{FlvClock, FlvItem, FlvReader, flv_script};
use synoptic_engine::timebase::{StampKind, StartClock};

use super::pull::{Feed, Unit};
use crate::MediaError;

/// Bytes without a picture after which a stream is taken for sound only: half a minute of it at 256 kbit/s.
const SOUND_ONLY: u64 = 1 << 20;
/// A time counted on from the stream's start is told this often, in ms of stream time.
const TELL_EVERY_MS: u32 = 500;
/// Times of the stream's start that differ by more are times of the tags themselves.
const SAME_START: Span = Span::from_secs(1);

/// Reads the tags of one connection.
pub(super) struct FlvFeed {
    feed: Feed,
    reader: FlvReader,
    clock: FlvClock,
    /// UTC of stream time zero, as the sender told it.
    start: Option<StartClock>,
    /// The sender tells its time again and again in onMetaData: then it is that of the tag.
    repeated: bool,
    told: Option<u32>,
    bytes: u64,
}

impl FlvFeed {
    pub(super) fn new(feed: Feed) -> FlvFeed {
        FlvFeed {
            feed,
            reader: FlvReader::default(),
            clock: FlvClock::default(),
            start: None,
            repeated: false,
            told: None,
            bytes: 0,
        }
    }

    /// Takes what came at `arrival`.
    pub(super) fn take(&mut self, bytes: &[u8], arrival: Mono) -> Result<(), MediaError> {
        self.bytes += bytes.len() as u64;
        self.reader.push(bytes);
        let unusable = |feed: &Feed, why: String| MediaError::NoVideo {
            source_name: feed.name.clone(),
            why,
        };
        while let Some(item) = self
            .reader
            .poll()
            .map_err(|e| unusable(&self.feed, e.to_string()))?
        {
            match item {
                FlvItem::Config { codec, record } => self.feed.configure(codec.into(), Some(&record))?,
                FlvItem::Picture {
                    dts_ms,
                    composition_ms,
                    keyframe,
                    data,
                    ..
                } => {
                    let pts = self.clock.unwrap(dts_ms).wrapping_add(composition_ms as u32);
                    self.by_start(pts, arrival);
                    self.feed.push(&Unit {
                        pts,
                        composition: i64::from(composition_ms),
                        keyframe,
                        arrival,
                        data: &data,
                    })?;
                }
                FlvItem::Script { at_ms, body } => self.script(at_ms, &body, arrival),
            }
        }
        if !self.feed.is_set() && self.bytes > SOUND_ONLY {
            return Err(unusable(&self.feed, "there is no video in it".to_owned()));
        }
        Ok(())
    }

    pub(super) fn end(&self) {
        self.feed.end();
    }

    fn script(&mut self, at_ms: u32, body: &[u8], arrival: Mono) {
        let Some(time) = flv_script(body) else { return };
        let utc = time.near(self.feed.shared.clock.sample().realtime);
        if time.at_start && !self.repeated {
            match &self.start {
                None => {
                    log::info!(
                        "{}: the sender says that its stream began at {utc}",
                        self.feed.name
                    );
                    self.start = Some(StartClock::new(utc));
                }
                Some(known) if (known.zero() - utc).abs() > SAME_START => {
                    self.repeated = true;
                    self.start = None;
                }
                Some(_) => {}
            }
        }
        if !time.at_start || self.repeated {
            // Tags of script data do not move the clock of the pictures.
            let at = self.clock.clone().unwrap(at_ms);
            self.feed.stamp(StampKind::Flv, at, utc, arrival);
        }
    }

    /// UTC of a picture by that of the stream's start, while that is near enough.
    fn by_start(&mut self, pts: u32, arrival: Mono) {
        let Some(start) = &self.start else { return };
        if self
            .told
            .is_some_and(|told| pts.wrapping_sub(told) < TELL_EVERY_MS)
        {
            return;
        }
        self.told = Some(pts);
        let utc: Option<Utc> = start.utc_of(Span::from_millis(i64::from(pts)), self.feed.drift_ppm());
        if let Some(utc) = utc {
            self.feed.stamp(StampKind::StreamStart, pts, utc, arrival);
        }
    }
}
