//! Coded pictures leave here, behind the parser, under the key that the decoded frame will have.
//!
//! The estimator is fed by decoded frames alone, and epochs begin with one. So that no picture waits for the decoder, its
//! time is looked up ahead ([`RtpTimebase::preview`](synoptic_engine::timebase::RtpTimebase::preview)). Where only the
//! decoded frame can tell, a picture is **in doubt** and it waits, and all after it with it: before the first frame, with
//! new parameter sets (an epoch may begin), and where its stamp is far off. [`Tap::resolved`] then names it. What was named
//! ahead is compared with what the frame got: a difference is counted, told and mended at the next IDR picture.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use synoptic_base::{Captured, Epoch, FrameKey, FrameKind, MediaTime, Mono};

use super::locked;
use crate::coded::{AccessUnit, CodedFormat, CodedFrame, CodedStream, Framing, Slot, nals};

/// Pictures that wait for the decoder at most: 8 s at 30 a second.
const MAX_HELD: usize = 256;
/// ... and their bytes.
const MAX_HELD_BYTES: usize = 16 << 20;
/// Frames that come out of the decoder while the first picture waits in doubt, before it is given up.
const MAX_DOUBT: u32 = 32;
/// Keys remembered, to be compared with those of the decoded frames.
const REMEMBERED: usize = 128;
/// GOPs without a B picture after which a stream that announced some is believed to have none.
const GOPS_WITHOUT_B: u32 = 3;
/// A GOP shorter than this says nothing of that.
const LONG_GOP: u32 = 8;
/// Pictures that are shown later than they are decoded, at most: two B pictures in a row with one between as a reference.
const REORDERED: usize = 2;
/// Frames without an IDR picture after which a stream is believed to have none, only slowly refreshed ones.
const NO_IDR: u32 = 300;
/// Distances of pictures above this are gaps.
const MAX_DURATION_US: i64 = 2_000_000;

/// A coded picture as it left the parser.
pub(super) struct Parsed {
    /// As the ledger names it.
    pub stamp: i64,
    pub arrival: Mono,
    pub kind: FrameKind,
    pub unit: AccessUnit,
    /// `codec_data` of the caps: avcC.
    pub codec_data: Option<gst::Buffer>,
}

/// A picture whose time is looked up.
pub(super) struct Asked {
    pub stamp: i64,
    pub arrival: Mono,
    /// The frame shown last, and when it was captured.
    pub shown: Option<(MediaTime, Captured)>,
}

/// What is known ahead of a picture's time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Foretold {
    pub generation: u32,
    pub media: MediaTime,
    pub captured: Captured,
    /// Media time that must have been shown before the picture leaves; `None`: at once. Files are read ahead.
    pub due: Option<MediaTime>,
}

struct Held {
    parsed: Parsed,
    keyframe: bool,
    format: Arc<CodedFormat>,
    in_doubt: bool,
    exact: Option<(MediaTime, Captured)>,
    /// Those who want it ahead have it.
    told: bool,
}

#[derive(Default)]
struct State {
    /// The epoch, and the generation of the session's times that it is of.
    epoch: Option<(Epoch, u32)>,
    held: VecDeque<Held>,
    held_bytes: usize,
    doubts: u32,
    format: Option<Arc<CodedFormat>>,
    /// Parameter sets as the camera sends them.
    sets: (Vec<Vec<u8>>, Vec<Vec<u8>>),
    /// Nothing is taken before an IDR picture.
    began: bool,
    /// Frames decoded meanwhile.
    before_idr: u32,
    discontinuity: bool,
    named: VecDeque<(i64, FrameKey)>,
    order: Order,
    /// Media time shown last, for files.
    shown: Option<(MediaTime, Captured)>,
}

/// Watches whether pictures are shown in another order than they come.
#[derive(Default)]
struct Order {
    last_us: Option<i64>,
    seen_b: bool,
    frames: u32,
    gops_without: u32,
    /// Media times that came, as many as may be shown out of order.
    waiting: Vec<i64>,
    last_decode_us: Option<i64>,
}

/// The coded side of one connection.
pub(super) struct Tap {
    stream: Arc<CodedStream>,
    state: Mutex<State>,
    mismatches: AtomicU64,
}

impl Tap {
    pub(super) fn new(stream: Arc<CodedStream>) -> Tap {
        let state = State {
            discontinuity: true,
            ..State::default()
        };
        Tap {
            stream,
            state: Mutex::new(state),
            mismatches: AtomicU64::new(0),
        }
    }

    /// A picture left the parser. `foretell` looks its time up.
    pub(super) fn parsed(&self, parsed: Parsed, foretell: impl Fn(&Asked) -> Option<Foretold>) {
        let mut state = locked(&self.state);
        let state = &mut *state;
        let Ok(map) = parsed.unit.buffer.map_readable() else {
            return;
        };
        let keyframe = nals(parsed.unit.framing, &map).any(|n| n.first().is_some_and(|h| h & 0x1f == 5));
        let mut in_doubt = false;
        if keyframe {
            in_doubt = state.look_at_sets(parsed.unit.framing, &map, parsed.codec_data.as_ref());
        }
        drop(map);
        let Some(format) = state.format.clone().filter(|_| keyframe || state.began) else {
            return; // joined between IDR pictures
        };
        state.began = true;
        state.held_bytes += parsed.unit.buffer.size();
        state.held.push_back(Held {
            parsed,
            keyframe,
            format,
            in_doubt,
            exact: None,
            told: false,
        });
        if state.held.len() > MAX_HELD || state.held_bytes > MAX_HELD_BYTES {
            self.give_up(state);
        }
        self.drain(state, foretell);
    }

    /// A frame came out of the decoder as `key`; `generation` is that of the session's times. `media` must not have moved
    /// on since: call it from the thread that pulls frames.
    pub(super) fn resolved(
        &self,
        stamp: i64,
        generation: u32,
        key: FrameKey,
        captured: Captured,
        foretell: impl Fn(&Asked) -> Option<Foretold>,
    ) {
        let mut state = locked(&self.state);
        let state = &mut *state;
        state.epoch = Some((key.epoch, generation));
        state.shown = Some((key.media_us, captured));
        if state.format.is_none() {
            state.before_idr += 1;
            if state.before_idr == NO_IDR {
                self.stream.declare(Some("no_idr"));
            }
        }
        if let Some(held) = state.held.iter_mut().find(|h| h.parsed.stamp == stamp) {
            held.exact = Some((key.media_us, captured));
        } else if let Some(at) = state.named.iter().rposition(|(s, _)| *s == stamp) {
            let named = state.named.remove(at);
            if let Some((_, before)) = named.filter(|(_, before)| *before != key) {
                let count = self.mismatches.fetch_add(1, Ordering::Relaxed) + 1;
                log::warn!(
                    "{before}: left under this name and became {key}; {count} so far: begun anew at the next IDR picture"
                );
                self.give_up(state);
            }
        }
        if state
            .held
            .front()
            .is_some_and(|h| h.in_doubt && h.exact.is_none())
        {
            state.doubts += 1;
            if state.doubts > MAX_DOUBT {
                self.give_up(state);
            }
        }
        self.drain(state, foretell);
    }

    fn give_up(&self, state: &mut State) {
        state.held.clear();
        state.held_bytes = 0;
        state.doubts = 0;
        state.began = false;
        state.discontinuity = true;
        self.stream.gap();
    }

    /// Lets go what can be named.
    fn drain(&self, state: &mut State, foretell: impl Fn(&Asked) -> Option<Foretold>) {
        while let (Some(front), Some((epoch, generation))) = (state.held.front_mut(), state.epoch) {
            let asked = Asked {
                stamp: front.parsed.stamp,
                arrival: front.parsed.arrival,
                shown: state.shown,
            };
            let (media, captured) = match front.exact {
                Some(exact) => exact,
                None if front.in_doubt => return,
                None => match foretell(&asked) {
                    Some(f) if f.generation != generation => return,
                    Some(f)
                        if f.due
                            .is_some_and(|due| state.shown.is_none_or(|(shown, _)| due > shown)) =>
                    {
                        self.tell_ahead(state, &foretell);
                        return;
                    }
                    Some(f) => (f.media, f.captured),
                    None => {
                        front.in_doubt = true;
                        return;
                    }
                },
            };
            let Some(held) = state.held.pop_front() else {
                return;
            };
            state.held_bytes -= held.parsed.unit.buffer.size();
            state.doubts = 0;
            let begins = state.named.back().is_some_and(|(_, key)| key.epoch != epoch);
            if media.as_micros() < 0 || (begins && !held.keyframe) {
                // Before the first frame that the decoder gave it has no key; and an epoch begins with an IDR picture.
                self.give_up(state);
                return;
            }
            self.name(state, held, epoch, media, captured);
        }
    }

    /// Tells of pictures that have a key and wait only to be shown.
    fn tell_ahead(&self, state: &mut State, foretell: &impl Fn(&Asked) -> Option<Foretold>) {
        let Some((epoch, generation)) = state.epoch else {
            return;
        };
        for held in state.held.iter_mut().filter(|h| !h.told) {
            let asked = Asked {
                stamp: held.parsed.stamp,
                arrival: held.parsed.arrival,
                shown: state.shown,
            };
            let paced = foretell(&asked).filter(|f| f.generation == generation && f.due.is_some());
            let Some(foretold) = paced.filter(|f| f.media.as_micros() >= 0) else {
                return;
            };
            // Before its frame came, a picture in doubt may begin another epoch.
            if held.in_doubt && held.exact.is_none() {
                return;
            }
            held.told = true;
            let (media, captured) = held.exact.unwrap_or((foretold.media, foretold.captured));
            self.stream.ahead(CodedFrame {
                key: FrameKey {
                    stream: self.stream.id(),
                    epoch,
                    media_us: media,
                },
                captured,
                stamp: self.stream.stamp(captured),
                arrival: held.parsed.arrival,
                kind: held.parsed.kind,
                keyframe: held.keyframe,
                discontinuity: state.discontinuity,
                decode_us: media.as_micros(),
                format: held.format.clone(),
                duration_us: 0,
                slot: Slot::default(),
                unit: held.parsed.unit.clone(),
                written: OnceLock::new(),
            });
        }
    }

    fn name(&self, state: &mut State, held: Held, epoch: Epoch, media: MediaTime, captured: Captured) {
        let key = FrameKey {
            stream: self.stream.id(),
            epoch,
            media_us: media,
        };
        if state.named.len() == REMEMBERED {
            state.named.pop_front();
        }
        state.named.push_back((held.parsed.stamp, key));
        let last_us = state.order.last_us;
        let mut format = held.format;
        let b_frames = state.order.look(
            held.keyframe,
            held.parsed.kind,
            format.b_frames,
            media.as_micros(),
        );
        // Whether there are B pictures is known better now: what waits is of that format too.
        if b_frames != format.b_frames
            && state.format.as_ref().is_some_and(|f| Arc::ptr_eq(f, &format))
            && let Some(better) = CodedFormat::h264(&state.sets.0, &state.sets.1, b_frames, None)
        {
            format = Arc::new(better);
            state.format = Some(format.clone());
            state.held.iter_mut().for_each(|h| h.format = format.clone());
        }
        let step = last_us.map_or(0, |last| media.as_micros() - last);
        let duration_us = if (1..=MAX_DURATION_US).contains(&step) {
            step as u32
        } else {
            format
                .fps
                .filter(|fps| *fps > 0.5)
                .map_or(0, |fps| (1e6 / fps) as u32)
        };
        let frame = CodedFrame {
            key,
            captured,
            stamp: self.stream.stamp(captured),
            arrival: held.parsed.arrival,
            kind: held.parsed.kind,
            keyframe: held.keyframe,
            discontinuity: std::mem::take(&mut state.discontinuity),
            decode_us: state.order.decode_us(&format, media.as_micros()),
            format,
            duration_us,
            slot: Slot::default(),
            unit: held.parsed.unit,
            written: OnceLock::new(),
        };
        self.stream.native(frame, held.told);
    }
}

impl State {
    /// Reads the parameter sets of an IDR picture. Whether they are new: then an epoch may begin with it.
    fn look_at_sets(&mut self, framing: Framing, unit: &[u8], codec_data: Option<&gst::Buffer>) -> bool {
        let mut sets = (Vec::new(), Vec::new());
        let mut take = |nal: &[u8]| match nal.first().map(|h| h & 0x1f) {
            Some(7) => sets.0.push(nal.to_vec()),
            Some(8) => sets.1.push(nal.to_vec()),
            _ => {}
        };
        if let Some(map) = codec_data.and_then(|b| b.map_readable().ok()) {
            avcc(&map, &mut take);
        }
        nals(framing, unit).for_each(&mut take);
        // What is not repeated stays.
        if sets.0.is_empty() {
            sets.0.clone_from(&self.sets.0);
        }
        if sets.1.is_empty() {
            sets.1.clone_from(&self.sets.1);
        }
        sets.0.dedup();
        sets.1.dedup();
        if sets == self.sets && self.format.is_some() {
            return false;
        }
        let read = sets.0.iter().find_map(|nal| crate::coded::Sps::read(nal));
        let b_frames = read.is_some_and(|sps| !sps.in_order && sps.max_reorder.is_some_and(|n| n > 0));
        self.format = CodedFormat::h264(&sets.0, &sets.1, b_frames, None).map(Arc::new);
        if self.format.is_none() {
            log::warn!("the parameter sets of a coded stream cannot be read: it is not offered as it is");
        }
        self.sets = sets;
        self.order = Order::default();
        true
    }
}

impl Order {
    /// Takes a picture in the order of coding; whether the stream has B pictures, by what was `believed` and what was seen.
    fn look(&mut self, keyframe: bool, kind: FrameKind, believed: bool, media_us: i64) -> bool {
        let back = self.last_us.is_some_and(|last| media_us < last);
        if keyframe {
            self.gops_without += u32::from(self.frames >= LONG_GOP && !self.seen_b);
            self.frames = 0;
        }
        self.frames += 1;
        self.last_us = Some(media_us);
        self.seen_b |= kind == FrameKind::B || back;
        self.seen_b || (believed && self.gops_without < GOPS_WITHOUT_B)
    }

    /// Media time in the order of decoding. With B pictures: those of the pictures in the order of showing, delayed by as
    /// many as may be shown later than they are decoded.
    fn decode_us(&mut self, format: &CodedFormat, media_us: i64) -> i64 {
        if !format.b_frames {
            return media_us;
        }
        let at = self.waiting.partition_point(|us| *us < media_us);
        self.waiting.insert(at, media_us);
        let before = REORDERED.saturating_sub(self.waiting.len() - 1) as i64;
        let step_us = format
            .fps
            .filter(|fps| *fps > 0.5)
            .map_or(40_000, |fps| (1e6 / fps) as i64);
        let first = self.waiting.first().copied().unwrap_or(media_us);
        if self.waiting.len() > REORDERED {
            self.waiting.remove(0);
        }
        let due = (first - before * step_us).min(media_us);
        let decode_us = self.last_decode_us.map_or(due, |last| due.max(last + 1));
        self.last_decode_us = Some(decode_us);
        decode_us
    }
}

/// The parameter sets of an AVCDecoderConfigurationRecord (ISO/IEC 14496-15 section 5.3.3.1.2).
fn avcc(record: &[u8], take: &mut impl FnMut(&[u8])) {
    let Some((head, mut rest)) = record.split_at_checked(5) else {
        return;
    };
    if head[0] != 1 {
        return;
    }
    for mask in [0x1f, 0xff] {
        let Some((count, after)) = rest.split_first() else {
            return;
        };
        rest = after;
        for _ in 0..count & mask {
            let Some((length, after)) = rest.split_first_chunk::<2>() else {
                return;
            };
            let Some((nal, after)) = after.split_at_checked(usize::from(u16::from_be_bytes(*length))) else {
                return;
            };
            take(nal);
            rest = after;
        }
    }
}

#[cfg(test)]
#[path = "tap_tests.rs"]
mod tests;
