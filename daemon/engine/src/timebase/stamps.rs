//! Camera UTC on the frames themselves: per-packet NTP, UTC in SEI, media clocks tied to a reference.
//!
//! Such a stamp is read from a clock of the camera. What it adds is where in the media time line a wall time lies,
//! without the ambiguity of a report's anchor; where that wall clock stands against the box's is known from sender
//! reports of the same clock, else from the box's own UTC if both are synchronised. Both are held as one level
//! (`captured = media + level`), so that a step of the camera's clock, seen on frames before the next report comes,
//! moves nothing.

use std::collections::VecDeque;

use synoptic_base::{Mono, Span, TimeSource, Utc};

/// Stamps kept, one in each [`EVERY`].
const KEPT: usize = 32;
const EVERY: Span = Span::from_millis(250);
/// A change of (wall − media) beyond this is a step of the wall clock. RFC 6051 senders that read their clock when they
/// packetise scatter by a few milliseconds.
const STEP: Span = Span::from_millis(20);
/// Stamps in a row that agree before the change is believed; until then, the stamps before stand.
const AGREE: usize = 2;
/// abs-capture-time may be interpolated for this long (absolute_capture_time_interpolator.h); OBS stamps each IDR.
const LIFE: Span = Span::from_secs(10);
/// A camera or encoder that is synchronised by NTP is so within this: SNTP clients of cameras lie 5 to 100 ms off.
const NTP_CLIENT: Span = Span::from_millis(100);

/// Which way a stamp came, hence what it means. The bias is the declared prior: how far capture may lie from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StampKind {
    /// RFC 6051 header extension: the report's clock on each packet, with the report's ambiguity (capture or send).
    Rfc6051,
    /// ONVIF replay extension 0xABAC: NTP time of the access unit.
    OnvifReplay,
    /// abs-capture-time: the capture, the sender's known delays taken out.
    AbsCaptureTime,
    /// RFC 7273: the media clock is the reference clock.
    ReferenceClock,
    /// UTC in SEI, written by an encoder at or after capture.
    Sei,
    /// UTC in onFI or onMetaData.
    Flv,
    /// UTC of a segment's first sample in an HLS playlist (EXT-X-PROGRAM-DATE-TIME), written by a packager.
    ProgramDate,
    /// Counted on from the UTC at which the stream began.
    StreamStart,
}

impl StampKind {
    /// The rung it belongs to.
    pub const fn source(self) -> TimeSource {
        match self {
            StampKind::ReferenceClock => TimeSource::Ptp,
            StampKind::Rfc6051 | StampKind::OnvifReplay | StampKind::AbsCaptureTime => TimeSource::PacketNtp,
            StampKind::Sei | StampKind::Flv | StampKind::ProgramDate | StampKind::StreamStart => {
                TimeSource::InBand
            }
        }
    }

    /// How far the capture may lie from the stamp, to either side. Measured against a barcode: RFC 6051 +32 ms, ONVIF
    /// −21 ms (docs/design/time.md); the others by their definitions.
    pub const fn prior(self) -> Span {
        match self {
            StampKind::Rfc6051 => Span::from_millis(40),
            StampKind::OnvifReplay => Span::from_millis(25),
            StampKind::AbsCaptureTime => Span::from_millis(10),
            StampKind::ReferenceClock => Span::from_millis(40),
            StampKind::Sei | StampKind::Flv => Span::from_millis(50),
            // 50 ms, and what a media clock of 100 ppm goes wrong by until it is measured.
            StampKind::StreamStart => Span::from_millis(100),
            // Packagers read the date when a stream reaches them, some once at its beginning: encoder and way are in it.
            StampKind::ProgramDate => Span::from_secs(1),
        }
    }
}

/// What ties a wall clock to the box's raw clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct WallTie {
    /// wall − box.
    pub offset: Span,
    pub error: Span,
}

/// Stamps of one kind.
#[derive(Clone, Debug)]
pub(super) struct Stamps {
    pub kind: StampKind,
    /// (media, wall − media), oldest first.
    recent: VecDeque<(Span, Span)>,
    suspects: Vec<(Span, Span)>,
    /// `captured − media` at a media time, with its error: held across steps of the wall clock.
    level: Option<(Span, Span, Span)>,
    last: Mono,
    pub steps: u32,
}

impl Stamps {
    pub(super) fn new(kind: StampKind, now: Mono) -> Stamps {
        Stamps {
            kind,
            recent: VecDeque::new(),
            suspects: Vec::new(),
            level: None,
            last: now,
            steps: 0,
        }
    }

    /// A frame of media time `media` is stamped `wall`. Returns a step of the wall clock.
    pub(super) fn take(&mut self, media: Span, wall: Utc, now: Mono) -> Option<Span> {
        self.last = now;
        let new = (media, Span::from_nanos(wall.as_nanos()) - media);
        let Some(usual) = self.usual() else {
            self.recent.push_back(new);
            return None;
        };
        let off = new.1 - usual;
        if off.abs() > STEP {
            self.suspects.retain(|s| (s.1 - new.1).abs() <= STEP);
            self.suspects.push(new);
            if self.suspects.len() < AGREE {
                return None;
            }
            self.recent = std::mem::take(&mut self.suspects).into();
            self.steps += 1;
            return Some(off);
        }
        self.suspects.clear();
        if self
            .recent
            .back()
            .is_none_or(|(at, _)| (media - *at).abs() >= EVERY)
        {
            if self.recent.len() == KEPT {
                self.recent.pop_front();
            }
            self.recent.push_back(new);
        }
        None
    }

    /// wall − media, as most of the recent stamps have it.
    pub(super) fn usual(&self) -> Option<Span> {
        let mut all: Vec<Span> = self.recent.iter().map(|r| r.1).collect();
        super::hull::median(&mut all)
    }

    /// Ties the stamps to the box's clock, unless a step of the wall clock is newer than what is known of the tie.
    pub(super) fn tie(&mut self, tie: WallTie) {
        if let (Some(usual), Some((media, _))) = (self.usual(), self.recent.back()) {
            self.level = Some((*media, usual - tie.offset, tie.error));
        }
    }

    /// `captured − media` for a frame of media time `media`, and the error of the tie; `None` when stale or untied.
    pub(super) fn level(&self, media: Span, drift: f64, now: Mono) -> Option<(Span, Span)> {
        let (at, level, error) = self.level?;
        if now - self.last > LIFE {
            return None;
        }
        let along = (media - at).as_nanos() as f64 * drift;
        Some((level + Span::from_nanos(along as i64), error))
    }
}

/// The tie of a clock that is synchronised on its own: by the box's UTC.
pub(super) fn by_utc(utc_minus_box: Span, box_error: Span, kind: StampKind) -> WallTie {
    let client = if kind == StampKind::ReferenceClock {
        Span::from_millis(1)
    } else {
        NTP_CLIENT
    };
    WallTie {
        offset: utc_minus_box,
        error: box_error + client,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_the_wall_clock_moves_no_level() {
        let mono = |ms: i64| Mono::from_nanos(ms * 1_000_000);
        let utc = |ms: i64| Utc::from_nanos(ms * 1_000_000);
        let mut stamps = Stamps::new(StampKind::OnvifReplay, mono(0));
        for i in 0..40 {
            assert_eq!(
                stamps.take(Span::from_millis(i * 100), utc(5_000 + i * 100), mono(i * 100)),
                None
            );
        }
        let tie = WallTie {
            offset: Span::from_millis(4_000),
            error: Span::from_millis(1),
        };
        stamps.tie(tie);
        let level = Some((Span::from_millis(1_000), tie.error));
        assert_eq!(stamps.level(Span::from_secs(4), 0.0, mono(4_000)), level);
        let steps: Vec<Span> = (40..50)
            .filter_map(|i| stamps.take(Span::from_millis(i * 100), utc(5_250 + i * 100), mono(i * 100)))
            .collect();
        assert_eq!(steps, [Span::from_millis(250)]);
        assert_eq!(stamps.level(Span::from_secs(5), 0.0, mono(5_000)), level);
        assert_eq!(stamps.level(Span::from_secs(5), 0.0, mono(50_000)), None, "stale");
        // A single wrong one is nothing.
        assert_eq!(
            stamps.take(Span::from_millis(5_100), utc(99_000), mono(5_100)),
            None
        );
        assert_eq!(stamps.usual(), Some(Span::from_millis(5_250)));
    }
}
