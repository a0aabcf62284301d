//! What waits for one reader: bounded, and when it is full its pictures go up to the next IDR. Nobody else waits.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use synoptic_base::{Mono, Span};

use super::{CodedFrame, CodedSound, CodedStream, SoundWant, Want};

/// Bytes that wait at most: 8 s of a camera of 16 Mbit/s.
const MAX_BYTES: usize = 16 << 20;
/// A queue that was not empty for this long holds pictures nobody wants any more.
const MAX_LAG: Span = Span::from_secs(3);
/// A reader that was behind for this long never catches up.
const TOO_SLOW: Span = Span::from_secs(10);

/// Why pictures are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// The reader did not take them in time.
    SlowClient,
    /// The camera did not send them, or they could not be named.
    Source,
}

impl GapReason {
    /// Name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            GapReason::SlowClient => "slow_client",
            GapReason::Source => "source",
        }
    }
}

/// What a reader gets.
#[derive(Clone, Debug)]
pub enum CodedEvent {
    /// A picture. After a gap, and at first, it is an IDR picture.
    Frame(Arc<CodedFrame>),
    /// A frame of sound; only for who asked for it. It is of the pictures before it, or of those around it.
    Sound(Arc<CodedSound>),
    /// Pictures are missing before the next one.
    Gap(GapReason),
    /// There are no pictures now, and why.
    Waiting(String),
}

/// Why a reader gets nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was behind for 10 s.
    TooSlow,
    /// The stream was removed.
    Removed,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<CodedEvent>,
    bytes: usize,
    /// The next picture taken is an IDR picture.
    await_key: bool,
    /// Told before it.
    gap: Option<GapReason>,
    /// Since when the reader has not found its queue empty.
    behind_since: Option<Mono>,
    /// The same, or since it was emptied for it.
    lag_since: Option<Mono>,
    ended: Option<Ended>,
    waker: Option<Waker>,
}

/// The queue of one reader.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) want: Want,
    /// Which sound, if any.
    pub(super) sound: Option<SoundWant>,
    state: Mutex<State>,
    ready: Condvar,
}

impl Queue {
    pub(super) fn new(want: Want, sound: Option<SoundWant>) -> Arc<Queue> {
        let state = State {
            await_key: true,
            ..State::default()
        };
        Arc::new(Queue {
            want,
            sound,
            state: Mutex::new(state),
            ready: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let waker = state.waker.take();
        drop(state);
        self.ready.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A picture came at `now`.
    pub(super) fn frame(&self, frame: &Arc<CodedFrame>, now: Mono) {
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        let behind = state.behind_since.map_or(Span::ZERO, |since| now - since);
        if behind > TOO_SLOW {
            state.ended = Some(Ended::TooSlow);
            state.items.clear();
            return self.wake(state);
        }
        let lag = state.lag_since.map_or(Span::ZERO, |since| now - since);
        let full = state.bytes + frame.size() > MAX_BYTES || lag > MAX_LAG;
        if full && !state.items.is_empty() {
            state.items.clear();
            state.bytes = 0;
            state.lag_since = None;
            state.await_key = true;
            state.gap = Some(GapReason::SlowClient);
        }
        if state.await_key {
            if !frame.keyframe {
                return;
            }
            state.await_key = false;
            if let Some(reason) = state.gap.take() {
                state.items.push_back(CodedEvent::Gap(reason));
            }
        }
        state.bytes += frame.size();
        state.items.push_back(CodedEvent::Frame(Arc::clone(frame)));
        state.behind_since.get_or_insert(now);
        state.lag_since.get_or_insert(now);
        self.wake(state);
    }

    /// Sound came. While pictures are left out it is too.
    pub(super) fn sound(&self, sound: &Arc<CodedSound>) {
        let mut state = self.lock();
        if state.ended.is_some() || state.await_key {
            return;
        }
        state.bytes += sound.data.len();
        state.items.push_back(CodedEvent::Sound(Arc::clone(sound)));
        self.wake(state);
    }

    /// Pictures are missing: the next one taken is an IDR picture.
    pub(super) fn gap(&self, reason: GapReason) {
        let mut state = self.lock();
        if !state.await_key {
            state.await_key = true;
            state.gap = Some(reason);
        }
    }

    pub(super) fn waiting(&self, why: &str) {
        let mut state = self.lock();
        // One is enough: the newest.
        if let Some(CodedEvent::Waiting(last)) = state.items.back_mut() {
            why.clone_into(last);
        } else {
            state.items.push_back(CodedEvent::Waiting(why.to_owned()));
        }
        state.await_key = true;
        self.wake(state);
    }

    pub(super) fn end(&self, why: Ended) {
        let mut state = self.lock();
        state.ended.get_or_insert(why);
        self.wake(state);
    }

    fn pop(state: &mut State) -> Option<Result<CodedEvent, Ended>> {
        if let Some(item) = state.items.pop_front() {
            match &item {
                CodedEvent::Frame(frame) => state.bytes -= frame.size(),
                CodedEvent::Sound(sound) => state.bytes -= sound.data.len(),
                CodedEvent::Gap(_) | CodedEvent::Waiting(_) => {}
            }
            return Some(Ok(item));
        }
        state.behind_since = None;
        state.lag_since = None;
        state.ended.map(Err)
    }
}

/// A reader of a coded stream. Dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    pub(super) queue: Arc<Queue>,
    pub(super) stream: Arc<CodedStream>,
}

impl Subscription {
    /// The next event, or a wake-up when there is one.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<CodedEvent, Ended>> {
        let mut state = self.queue.lock();
        match Queue::pop(&mut state) {
            Some(event) => Poll::Ready(event),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The next event, waiting for up to `timeout`; `None` when nothing came in that time. For threads.
    pub fn next_timeout(&mut self, timeout: Span) -> Option<Result<CodedEvent, Ended>> {
        let mut state = self.queue.lock();
        if let Some(event) = Queue::pop(&mut state) {
            return Some(event);
        }
        let idle = |s: &mut State| s.items.is_empty() && s.ended.is_none();
        let (mut state, _) = self
            .queue
            .ready
            .wait_timeout_while(state, timeout.to_std(), idle)
            .unwrap_or_else(PoisonError::into_inner);
        Queue::pop(&mut state)
    }

    /// The stream that is read.
    pub fn stream(&self) -> &Arc<CodedStream> {
        &self.stream
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.stream.leave(&self.queue);
    }
}
