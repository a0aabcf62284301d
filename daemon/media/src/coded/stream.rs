//! One coded stream: the last GOP for who joins, and its readers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use synoptic_base::{Captured, Epoch, Mono, Span, Stamp, StreamId, TimeSource};

use super::queue::Queue;
use super::relay::Times;
use super::sound_side::SoundSide;
use super::{CodedFormat, CodedFrame, Ended, GapReason, SoundWant, Subscription};
use crate::encode::EncodeOptions;

/// Bytes of the last GOP that are kept: 8 s of a camera of 16 Mbit/s.
const MAX_GOP_BYTES: usize = 16 << 20;
/// Why the pictures of a [`Variant`] are coded anew.
const BY_OPTIONS: &str = "options";
/// What a reader is told before the first picture.
const NOTHING_YET: &str = "no picture has come yet";

/// Which pictures a reader wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// As the camera sends them, whatever they are.
    Native,
    /// H.264 as every browser plays it: upright, no B pictures. As the camera sends them where that fits.
    Playable,
    /// As the camera sends them and as soon as they have a key: those of files before they are shown. For who decodes them
    /// beside the daemon. Their order of decoding is not timed (`decode_us` is that of showing).
    Ahead,
}

/// Pictures since the last IDR picture.
#[derive(Debug, Default)]
struct Gop {
    frames: VecDeque<Arc<CodedFrame>>,
    bytes: usize,
    /// The last IDR picture.
    began: Option<(Epoch, i64)>,
    /// The longest distance of two of them in this epoch.
    longest: Option<Span>,
}

impl Gop {
    fn push(&mut self, frame: &Arc<CodedFrame>) {
        if frame.keyframe {
            self.clear();
            self.measure(frame);
        } else if self.frames.is_empty() {
            return; // its beginning was let go
        }
        self.bytes += frame.size();
        if self.bytes > MAX_GOP_BYTES {
            return self.clear();
        }
        self.frames.push_back(Arc::clone(frame));
    }

    fn measure(&mut self, frame: &CodedFrame) {
        let now = (frame.key.epoch, frame.decode_us);
        let since = self.began.replace(now).filter(|(epoch, _)| *epoch == now.0);
        self.longest = since.map(|(_, began)| {
            let length = Span::from_micros(now.1 - began);
            self.longest.map_or(length, |longest| longest.max(length))
        });
    }

    fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    native: Gop,
    encoded: Gop,
    /// The native ones, and those that have a key before they leave.
    ahead: Gop,
    native_format: Option<Arc<CodedFormat>>,
    encoded_format: Option<Arc<CodedFormat>>,
    /// Why the native pictures are not playable, whatever they are: `h265`, `mjpeg`, `raw`, `rotation`, `no_idr`, `panorama`.
    declared: Option<&'static str>,
    /// ... or by what they are: also `b_frames`.
    unplayable: Option<&'static str>,
    /// Why no pictures come now.
    waiting: Option<String>,
    /// Decoded pictures come, and are coded once somebody reads.
    ready: bool,
    pub(super) readers: Vec<Arc<Queue>>,
    /// The same pictures, coded otherwise.
    pub(super) variants: Vec<Arc<CodedStream>>,
    pub(super) sound: SoundSide,
    ended: bool,
}

impl State {
    /// Whether there was no picture, and none is known to come.
    fn nothing_yet(&self) -> bool {
        !self.ready && self.native_format.is_none() && self.encoded_format.is_none()
    }
}

/// What a camera or panorama offers.
pub struct CodedStream {
    id: StreamId,
    times: Arc<Times>,
    state: Mutex<State>,
    /// Somebody watches and the pictures must be coded anew.
    encode: AtomicBool,
    encoder_failures: AtomicU64,
    /// A reader has lost pictures and cannot wait for the next IDR picture.
    key_asked: AtomicBool,
    /// How a variant is coded; `None`: as whoever has the pixels wants it.
    options: Option<EncodeOptions>,
}

impl std::fmt::Debug for CodedStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CodedStream({})", self.id)
    }
}

impl CodedStream {
    pub(super) fn new(id: StreamId, times: Arc<Times>) -> Arc<CodedStream> {
        Arc::new(CodedStream {
            id,
            times,
            state: Mutex::default(),
            encode: AtomicBool::new(false),
            encoder_failures: AtomicU64::new(0),
            key_asked: AtomicBool::new(false),
            options: None,
        })
    }

    /// The same pictures, coded anew with `options` while somebody reads them. Keys and capture times are the same.
    pub fn variant(self: &Arc<Self>, options: EncodeOptions) -> Variant {
        let mut state = self.lock();
        let variant = Arc::new(CodedStream {
            id: self.id,
            times: self.times.clone(),
            state: Mutex::new(State {
                declared: Some(BY_OPTIONS),
                unplayable: Some(BY_OPTIONS),
                waiting: state.waiting.clone(),
                ended: state.ended,
                sound: state.sound.alike(),
                ..State::default()
            }),
            encode: AtomicBool::new(false),
            encoder_failures: AtomicU64::new(0),
            key_asked: AtomicBool::new(false),
            options: Some(options),
        });
        state.variants.push(variant.clone());
        Variant {
            stream: variant,
            main: self.clone(),
        }
    }

    /// The variants there are, each with how it is coded.
    pub(crate) fn variants(&self) -> Vec<(Arc<CodedStream>, EncodeOptions)> {
        let of = |v: &Arc<CodedStream>| (v.clone(), v.options.unwrap_or_default());
        self.lock().variants.iter().map(of).collect()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its id.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// The format that a reader would get; `None` before the first picture.
    pub fn format(&self, want: Want) -> Option<Arc<CodedFormat>> {
        let state = self.lock();
        match (want, state.unplayable) {
            (Want::Playable, Some(_)) => state.encoded_format.clone(),
            _ => state.native_format.clone(),
        }
    }

    /// Why playable pictures are coded by the box; `None`: they are the camera's own.
    pub fn transcoded(&self) -> Option<&'static str> {
        self.lock().unplayable
    }

    /// Why no pictures come now; `None` while they do.
    pub fn why_waiting(&self) -> Option<String> {
        let state = self.lock();
        let nothing = state.nothing_yet().then(|| NOTHING_YET.to_owned());
        state.waiting.clone().or(nothing)
    }

    /// Why no pictures would come to who begins to read now; a variant's come once they are coded.
    pub(crate) fn main_why_waiting(&self) -> Option<String> {
        match self.options {
            Some(_) => self.lock().waiting.clone(),
            None => self.why_waiting(),
        }
    }

    /// The longest time from one IDR picture to the next in this epoch, as far as it is known.
    pub fn gop(&self, want: Want) -> Option<Span> {
        let state = self.lock();
        match (want, state.unplayable) {
            (Want::Playable, Some(_)) => state.encoded.longest,
            _ => state.native.longest,
        }
    }

    /// Readers now.
    pub fn readers(&self) -> usize {
        self.lock().readers.len()
    }

    /// Begins to read, at the last IDR picture.
    pub fn subscribe(self: &Arc<Self>, want: Want) -> Subscription {
        self.subscribe_with(want, None)
    }

    /// The same, with the sound beside the pictures, where there is one.
    pub fn subscribe_with(self: &Arc<Self>, want: Want, sound: Option<SoundWant>) -> Subscription {
        let queue = Queue::new(want, sound);
        let now = self.times.clock.now();
        let mut state = self.lock();
        let gop = match (want, state.unplayable) {
            (Want::Playable, Some(_)) => &state.encoded,
            (Want::Ahead, _) => &state.ahead,
            _ => &state.native,
        };
        if let Some(why) = &state.waiting {
            queue.waiting(why);
        } else if gop.frames.is_empty() && state.nothing_yet() {
            queue.waiting(NOTHING_YET);
        } else {
            gop.frames.iter().for_each(|frame| queue.frame(frame, now));
            state.sound.catch_up(&queue);
        }
        if state.ended {
            queue.end(Ended::Removed);
        }
        state.readers.push(queue.clone());
        self.look_for_work(&state);
        drop(state);
        Subscription {
            queue,
            stream: self.clone(),
        }
    }

    pub(super) fn leave(&self, queue: &Arc<Queue>) {
        let mut state = self.lock();
        state.readers.retain(|q| !Arc::ptr_eq(q, queue));
        self.look_for_work(&state);
    }

    fn look_for_work(&self, state: &State) {
        let wanted = state.unplayable.is_some() && state.readers.iter().any(|q| q.want == Want::Playable);
        self.encode.store(wanted, Ordering::Relaxed);
    }

    /// Whether decoded pictures are to be coded: somebody watches, and the native ones do not fit.
    pub fn wants_pixels(&self) -> bool {
        self.encode.load(Ordering::Relaxed)
    }

    /// A reader wants an IDR picture soon. Whether it comes: where the box codes; what a camera coded begins again when
    /// the camera does.
    pub(crate) fn ask_for_key(&self) -> bool {
        let coded = self.wants_pixels();
        if coded {
            self.key_asked.store(true, Ordering::Relaxed);
        }
        coded
    }

    /// Whether a reader wants an IDR picture since this was asked last.
    pub(crate) fn take_key_asked(&self) -> bool {
        self.key_asked.swap(false, Ordering::Relaxed)
    }

    /// A capture time in UTC, by what the box knows now.
    pub(crate) fn stamp(&self, captured: Captured) -> Stamp {
        self.times.stamp(captured)
    }

    /// The UTC of an instant of the box's clock as NTP writes it (RFC 5905 section 6).
    pub(crate) fn ntp(&self, at: Mono) -> u64 {
        let captured = Captured {
            mono: at,
            rel_error: Span::ZERO,
            source: TimeSource::Host,
        };
        self.stamp(captured).utc.to_ntp()
    }

    pub(crate) fn now(&self) -> Mono {
        self.times.clock.now()
    }

    /// Says why the native pictures are not playable, or that nothing speaks against it but what they are themselves.
    pub fn declare(&self, why: Option<&'static str>) {
        let mut state = self.lock();
        state.declared = why;
        let b_frames = state.native_format.as_ref().is_some_and(|f| f.b_frames);
        self.decide(&mut state, b_frames);
    }

    fn decide(&self, state: &mut State, b_frames: bool) {
        let why = state.declared.or(b_frames.then_some("b_frames"));
        if state.unplayable == why {
            return;
        }
        state.unplayable = why;
        state.encoded.clear();
        state.encoded_format = None;
        for reader in state.readers.iter().filter(|q| q.want == Want::Playable) {
            reader.gap(GapReason::Source);
        }
        self.look_for_work(state);
    }

    /// A picture of the camera; `told`: those who want it ahead had it.
    pub(crate) fn native(&self, frame: CodedFrame, told: bool) {
        let frame = Arc::new(frame);
        let mut state = self.lock();
        self.decide(&mut state, frame.format.b_frames);
        state.native.push(&frame);
        state.native_format = Some(frame.format.clone());
        if !told {
            state.ahead.push(&frame);
        }
        self.hand_out(&mut state, &frame, |reader, transcodes| match reader {
            Want::Native => true,
            Want::Playable => !transcodes,
            Want::Ahead => !told,
        });
        // The pictures of an encoder leave later, and the sound with them.
        if state.unplayable.is_none() || !self.wants_pixels() {
            state.follow(&frame);
        }
    }

    /// A picture that leaves as a native one only later.
    pub(crate) fn ahead(&self, frame: CodedFrame) {
        let frame = Arc::new(frame);
        let mut state = self.lock();
        state.ahead.push(&frame);
        self.hand_out(&mut state, &frame, |reader, _| reader == Want::Ahead);
    }

    /// A picture that the box coded.
    pub(crate) fn encoded(&self, frame: CodedFrame) {
        let frame = Arc::new(frame);
        let mut state = self.lock();
        if state.unplayable.is_none() {
            return; // the native ones fit by now
        }
        state.encoded.push(&frame);
        state.encoded_format = Some(frame.format.clone());
        self.hand_out(&mut state, &frame, |reader, _| reader == Want::Playable);
        state.follow(&frame);
    }

    /// Gives a picture to the readers that `is_for` it, by what they want and whether pictures are coded anew.
    fn hand_out(&self, state: &mut State, frame: &Arc<CodedFrame>, is_for: impl Fn(Want, bool) -> bool) {
        state.waiting = None;
        let now = self.times.clock.now();
        let transcodes = state.unplayable.is_some();
        for reader in state.readers.iter().filter(|r| is_for(r.want, transcodes)) {
            reader.frame(frame, now);
        }
    }

    /// Native pictures are missing.
    pub(crate) fn gap(&self) {
        let mut state = self.lock();
        state.native.clear();
        state.ahead.clear();
        let transcodes = state.unplayable.is_some();
        for reader in state
            .readers
            .iter()
            .filter(|q| !(transcodes && q.want == Want::Playable))
        {
            reader.gap(GapReason::Source);
        }
    }

    /// An encoder of this stream failed.
    pub(crate) fn encoder_failed(&self) {
        self.encoder_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// How often an encoder of this stream has failed.
    pub fn encoder_failures(&self) -> u64 {
        let variants: u64 = self.lock().variants.iter().map(|v| v.encoder_failures()).sum();
        self.encoder_failures.load(Ordering::Relaxed) + variants
    }

    /// The encoder stopped: its last GOP is no beginning any more.
    pub(crate) fn encoder_stopped(&self) {
        self.lock().encoded.clear();
    }

    /// Decoded pictures come of a stream that has no others: who begins to read gets them coded.
    pub fn ready(&self) {
        let mut state = self.lock();
        state.waiting = None;
        state.ready = true;
    }

    /// No pictures come now, and why.
    pub fn waiting(&self, why: &str) {
        let mut state = self.lock();
        state.ready = false;
        state.native.clear();
        state.encoded.clear();
        state.ahead.clear();
        state.sound.stop();
        state.waiting = Some(why.to_owned());
        for reader in &state.readers {
            reader.waiting(why);
        }
        for variant in &state.variants {
            variant.waiting(why);
        }
    }

    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        for reader in &state.readers {
            reader.end(Ended::Removed);
        }
        for variant in &state.variants {
            variant.end();
        }
    }
}

/// A stream whose pictures are coded with options of their own. Dropping it ends that.
#[derive(Debug)]
pub struct Variant {
    stream: Arc<CodedStream>,
    main: Arc<CodedStream>,
}

impl Variant {
    /// What is read.
    pub fn stream(&self) -> &Arc<CodedStream> {
        &self.stream
    }
}

impl Drop for Variant {
    fn drop(&mut self) {
        let mut state = self.main.lock();
        state.variants.retain(|v| !Arc::ptr_eq(v, &self.stream));
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
