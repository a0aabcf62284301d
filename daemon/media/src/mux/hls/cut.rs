//! Where parts and segments begin.

use std::collections::VecDeque;

use synoptic_base::{Epoch, Span, Utc};

use crate::coded::CodedFrame;

/// Parts are about so long: three of them are what a player holds back (8216bis section 4.4.3.8), so it sees things a
/// second after they happen.
const PART_US: i64 = 333_333;
/// A part may be longer than its pictures are on average: cameras' intervals are not even. Parts of all pictures but one are
/// still longer than the 85 % of the target that 8216bis asks for (section 4.4.4.9), from six pictures on.
const UNEVEN: (i64, i64) = (105, 100);
/// A segment ends at the first IDR picture after this.
const LEAST_SEGMENT_US: i64 = 900_000;
/// Target durations, in seconds; 4 where nothing is known of the distance of IDR pictures.
const LEAST_TARGET_S: u64 = 2;
const UNKNOWN_TARGET_S: u64 = 4;
/// Who sends IDR pictures further apart than this gets segments that begin with other pictures.
pub(super) const MOST_TARGET_S: u64 = 12;
/// A length is rounded to the nearest second before it is compared with the target (section 4.4.3.1).
const ROUNDING_US: i64 = 450_000;
/// Of pictures of which nothing is known.
const NOMINAL_US: i64 = 40_000;
/// The longest that a picture is shown; what lies further apart is a break.
const MAX_PICTURE_US: i64 = 2_000_000;

/// What a playlist promises when it begins, and never changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limits {
    pub target_s: u64,
    pub part_us: i64,
}

impl Limits {
    /// For a stream that begins with `first` and whose IDR pictures are `gop` apart.
    pub(super) fn of(first: &CodedFrame, gop: Option<Span>) -> Limits {
        let by_rate = first
            .format
            .fps
            .filter(|fps| *fps > 0.1)
            .map(|fps| (1e6 / fps) as i64);
        let picture_us = match first.duration_us {
            0 => by_rate.unwrap_or(NOMINAL_US),
            us => i64::from(us),
        };
        Limits::new(picture_us, gop)
    }

    pub(super) fn new(picture_us: i64, gop: Option<Span>) -> Limits {
        let picture_us = picture_us.clamp(1_000, MAX_PICTURE_US);
        let pictures = ((PART_US + picture_us / 2) / picture_us).max(1);
        let longest = gop.map(|gop| LEAST_SEGMENT_US + gop.as_micros_floor());
        let target = longest.map_or(UNKNOWN_TARGET_S, |us| (us as f64 / 1e6).round() as u64);
        Limits {
            target_s: target.clamp(LEAST_TARGET_S, MOST_TARGET_S),
            part_us: pictures * picture_us * UNEVEN.0 / UNEVEN.1,
        }
    }
}

/// A picture, as far as cutting goes.
#[derive(Clone, Debug)]
pub(super) struct Item<P> {
    pub epoch: Epoch,
    pub decode_us: i64,
    /// When it was captured, where that is known.
    pub utc: Option<Utc>,
    pub keyframe: bool,
    /// It does not continue what was before it.
    pub fresh: bool,
    /// How long it is shown, where no other one says it; 0: not known.
    pub hint_us: u32,
    pub payload: P,
}

/// A part.
#[derive(Clone, Debug)]
pub(super) struct Piece<P> {
    /// Each with how long it is shown, microseconds.
    pub pictures: Vec<(P, u32)>,
    pub begin_us: i64,
    pub duration_us: i64,
    /// It begins with an IDR picture.
    pub independent: bool,
    pub utc: Option<Utc>,
    /// There is a break before it.
    pub fresh: bool,
    /// It is the first one of a segment.
    pub begins: bool,
    /// ... and the last one.
    pub ends: bool,
}

/// Cuts a stream into parts.
pub(super) struct Cutter<P> {
    limits: Limits,
    /// How long it is shown is known when the next one comes.
    waiting: Option<Item<P>>,
    open: Option<Piece<P>>,
    /// Length of the open segment so far.
    segment_us: i64,
    out: VecDeque<Piece<P>>,
}

impl<P> Cutter<P> {
    pub(super) fn new(limits: Limits) -> Cutter<P> {
        Cutter {
            limits,
            waiting: None,
            open: None,
            segment_us: 0,
            out: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, mut item: Item<P>) {
        let Some(before) = self.waiting.take() else {
            self.waiting = Some(item);
            return;
        };
        let step = item.decode_us - before.decode_us;
        let broken = item.fresh || item.epoch != before.epoch || !(1..=MAX_PICTURE_US).contains(&step);
        let hint = match before.hint_us {
            0 => NOMINAL_US,
            us => i64::from(us).min(MAX_PICTURE_US),
        };
        let length = if broken { hint } else { step };
        self.add(before, length);
        let longest = self.limits.target_s as i64 * 1_000_000 + ROUNDING_US;
        let full = self
            .open
            .as_ref()
            .is_some_and(|p| p.duration_us + length > self.limits.part_us);
        if broken
            || item.keyframe && self.segment_us >= LEAST_SEGMENT_US
            || self.segment_us + 2 * length > longest
        {
            self.close(true);
        } else if full {
            self.close(false);
        }
        item.fresh = broken;
        self.waiting = Some(item);
    }

    /// The next part.
    pub(super) fn poll(&mut self) -> Option<Piece<P>> {
        self.out.pop_front()
    }

    fn add(&mut self, item: Item<P>, length_us: i64) {
        if self
            .open
            .as_ref()
            .is_some_and(|p| p.duration_us + length_us > self.limits.part_us)
        {
            self.close(false);
        }
        let begins = self.segment_us == 0;
        let open = self.open.get_or_insert_with(|| Piece {
            pictures: Vec::new(),
            begin_us: item.decode_us,
            duration_us: 0,
            independent: item.keyframe,
            utc: item.utc,
            fresh: item.fresh,
            begins,
            ends: false,
        });
        open.pictures.push((item.payload, length_us as u32));
        open.duration_us += length_us;
        self.segment_us += length_us;
    }

    fn close(&mut self, ends: bool) {
        if let Some(mut piece) = self.open.take() {
            piece.ends = ends;
            self.out.push_back(piece);
        }
        if ends {
            self.segment_us = 0;
        }
    }
}
