//! The segments that a playlist lists, and those that it did a moment ago: who read of them may still fetch them.
//!
//! | what | limit | at the limit |
//! |---|---|---|
//! | segments that are listed | 4 target durations (8216bis section 6.2.2 wants 3) | the oldest one is listed no more |
//! | segments that are not listed any more | as long again | the oldest one is forgotten |
//! | bytes of all of them | 48 MiB: 12 s of a camera of 16 Mbit/s, twice | the same, listed or not |

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use synoptic_base::Utc;

use super::cut::Limits;

/// Target durations that are listed.
const LISTED: i64 = 4;
/// Bytes that are kept.
const MAX_BYTES: usize = 48 << 20;
/// Part numbers begin at so many times the first segment's number: more parts than a second ever has, so that they do not
/// go back either.
const PARTS: u64 = 8;
/// A request for a segment further ahead is a mistake (8216bis section 6.2.5.2).
const AHEAD: u64 = 2;

/// Whether something is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its bytes, in pieces.
    There(Vec<Bytes>),
    /// It is the next one to come.
    NotYet,
    /// It is gone, or never was.
    Never,
}

/// Whether a playlist can be answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It has what is waited for.
    There,
    /// It will have.
    NotYet,
    /// It is too far ahead.
    TooFar,
}

#[derive(Debug)]
pub(super) struct Part {
    pub number: u64,
    pub bytes: Bytes,
    pub duration_us: i64,
    pub independent: bool,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub number: u64,
    /// Its initialization segment.
    pub init: u64,
    /// There is a break before it.
    pub fresh: bool,
    pub utc: Option<Utc>,
    pub parts: Vec<Part>,
    pub ended: bool,
}

impl Segment {
    pub(super) fn duration_us(&self) -> i64 {
        self.parts.iter().map(|p| p.duration_us).sum()
    }

    fn bytes(&self) -> usize {
        self.parts.iter().map(|p| p.bytes.len()).sum()
    }
}

/// What can be fetched now.
pub(super) struct Window {
    limits: Limits,
    segments: VecDeque<Segment>,
    /// The first one that is listed.
    listed_from: u64,
    /// Breaks before it.
    breaks_before: u64,
    inits: BTreeMap<u64, Bytes>,
    next_segment: u64,
    next_part: u64,
    bytes: usize,
}

impl Window {
    pub(super) fn new(limits: Limits, first: u64) -> Window {
        Window {
            limits,
            segments: VecDeque::new(),
            listed_from: first,
            breaks_before: 0,
            inits: BTreeMap::new(),
            next_segment: first,
            next_part: first.saturating_mul(PARTS),
            bytes: 0,
        }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn has_init(&self) -> bool {
        !self.inits.is_empty()
    }

    /// A segment begins; with `init` after a break.
    pub(super) fn begin(&mut self, init: Option<Bytes>, utc: Option<Utc>) {
        let number = self.next_segment;
        self.next_segment += 1;
        let fresh = init.is_some() && self.has_init();
        if let Some(init) = init {
            self.inits.insert(number, init);
        }
        let newest = self.inits.last_key_value().map_or(number, |(n, _)| *n);
        self.segments.push_back(Segment {
            number,
            init: newest,
            fresh,
            utc,
            parts: Vec::new(),
            ended: false,
        });
    }

    /// A part of the segment that began last.
    pub(super) fn part(&mut self, bytes: Bytes, duration_us: i64, independent: bool) {
        let Some(open) = self.segments.back_mut() else {
            return;
        };
        self.bytes += bytes.len();
        open.parts.push(Part {
            number: self.next_part,
            bytes,
            duration_us,
            independent,
        });
        self.next_part += 1;
        self.forget();
    }

    /// The segment that began last is whole.
    pub(super) fn end(&mut self) {
        if let Some(open) = self.segments.back_mut() {
            open.ended = true;
        }
        self.forget();
    }

    /// Those that the playlist has.
    pub(super) fn listed(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|s| s.number >= self.listed_from)
    }

    pub(super) fn listed_from(&self) -> u64 {
        self.listed_from
    }

    pub(super) fn breaks_before(&self) -> u64 {
        self.breaks_before
    }

    pub(super) fn next_part(&self) -> u64 {
        self.next_part
    }

    fn unlist(&mut self) {
        let first = self.segments.iter().find(|s| s.number == self.listed_from);
        self.breaks_before += u64::from(first.is_some_and(|s| s.fresh));
        self.listed_from += 1;
    }

    fn forget(&mut self) {
        let window_us = LISTED * self.limits.target_s as i64 * 1_000_000;
        loop {
            let whole: i64 = self.listed().filter(|s| s.ended).map(Segment::duration_us).sum();
            let first = self.listed().next().filter(|s| s.ended);
            match first.map(Segment::duration_us) {
                Some(length) if whole - length >= window_us => self.unlist(),
                _ => break,
            }
        }
        loop {
            let unlisted = self.segments.iter().take_while(|s| s.number < self.listed_from);
            let gone_us: i64 = unlisted.map(Segment::duration_us).sum();
            let over = gone_us > window_us || self.bytes > MAX_BYTES;
            // The open one and the one before it stay, whatever they weigh.
            if !over || self.segments.len() <= 2 {
                break;
            }
            if self
                .segments
                .front()
                .is_some_and(|s| s.number == self.listed_from)
            {
                self.unlist();
            }
            if let Some(gone) = self.segments.pop_front() {
                self.bytes -= gone.bytes();
            }
        }
        if let Some(oldest) = self.segments.front().map(|s| s.init) {
            self.inits = self.inits.split_off(&oldest);
        }
    }

    pub(super) fn init(&self, number: u64) -> Found {
        match self.inits.get(&number) {
            Some(bytes) => Found::There(vec![bytes.clone()]),
            None => Found::Never,
        }
    }

    pub(super) fn segment(&self, number: u64) -> Found {
        match self.segments.iter().find(|s| s.number == number) {
            Some(s) if s.ended => Found::There(s.parts.iter().map(|p| p.bytes.clone()).collect()),
            Some(_) => Found::NotYet,
            None if number == self.next_segment => Found::NotYet,
            None => Found::Never,
        }
    }

    pub(super) fn part_numbered(&self, number: u64) -> Found {
        if number == self.next_part {
            return Found::NotYet;
        }
        let mut parts = self.segments.iter().flat_map(|s| &s.parts);
        match parts.find(|p| p.number == number) {
            Some(part) => Found::There(vec![part.bytes.clone()]),
            None => Found::Never,
        }
    }

    pub(super) fn asked(&self, msn: u64, part: Option<u64>) -> Asked {
        let open = self.segments.back().filter(|s| !s.ended);
        // The segment that parts are added to now or next, and how many it has.
        let (now, parts) = open.map_or((self.next_segment, 0), |s| (s.number, s.parts.len() as u64));
        let there = match part {
            _ if msn < now => true,
            // A part past the end of a segment is the first one of the next.
            Some(part) => msn == now && part < parts,
            None => false,
        };
        match there {
            true => Asked::There,
            false if msn > now + AHEAD => Asked::TooFar,
            false => Asked::NotYet,
        }
    }
}
