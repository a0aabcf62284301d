//! The queue between the pixel threads and the writer. Putting something in never waits for a disk.
//!
//! Changes keep their order through three places: `memory` (oldest), the spill on disk, `overflow` (newest, on its
//! way to the spill). `memory` takes a new one only while the other two are empty.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use synoptic_base::{Clock, EventId, KnownMap, Mono, Span};

use crate::DetectionRow;
use crate::entry::Entry;

/// Changes held in memory (architecture, section 5).
pub(crate) const MEMORY_ENTRIES: usize = 256;
/// Bytes of changes that may be on their way to the spill.
const OVERFLOW_BYTES: usize = 64 << 20;
/// Detection results held in memory: 4 cameras at 15 frames a second fill it in 17 s.
const DETECTION_ROWS: usize = 1024;
/// Clock maps held in memory; the newest count.
const CLOCK_MAPS: usize = 64;
/// Bytes of one batch: bounds the memory of a transaction.
pub(crate) const BATCH_BYTES: usize = 16 << 20;
/// Changes of one batch.
pub(crate) const BATCH_ENTRIES: usize = 1024;
/// Shortest time from commit to commit. Under load one commit then carries what came meanwhile.
const COMMIT_EVERY: Span = Span::from_millis(4);
/// How long acknowledgements and clock maps may wait for company: losing them costs a repeated message at most.
const LAZY_COMMIT_EVERY: Span = Span::from_millis(50);
/// How long detection results may wait.
const DETECTIONS_EVERY: Span = Span::from_millis(250);
/// Detection results that do not wait longer.
const DETECTIONS_BATCH: usize = 128;

/// What the writer is to do next.
pub(crate) struct Work {
    /// Changes from memory.
    pub(crate) entries: Vec<Entry>,
    /// Changes to read from the spill; 0 unless `entries` is empty.
    pub(crate) from_spill: u64,
    pub(crate) done: Vec<i64>,
    pub(crate) maps: Vec<KnownMap>,
    pub(crate) detections: Vec<DetectionRow>,
    /// Nothing is left, and nothing more comes.
    pub(crate) finished: bool,
}

/// How full the queue is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fill {
    pub(crate) memory: usize,
    pub(crate) overflow: usize,
    pub(crate) spilled: u64,
}

#[derive(Default)]
struct State {
    memory: VecDeque<Entry>,
    /// Taken from memory by the writer, which has not come back for more.
    in_hand: usize,
    overflow: VecDeque<Entry>,
    overflow_bytes: usize,
    /// The spill thread is writing what it took from `overflow`.
    spilling: usize,
    /// Whole records on disk that are not in the database yet.
    on_disk: u64,
    done: Vec<i64>,
    maps: VecDeque<KnownMap>,
    detections: VecDeque<DetectionRow>,
    closing: bool,
}

impl State {
    fn changes_wait(&self) -> bool {
        !self.memory.is_empty() || self.on_disk > 0 || (self.spilling == 0 && !self.overflow.is_empty())
    }
}

pub(crate) struct Feed {
    state: Mutex<State>,
    for_writer: Condvar,
    for_spiller: Condvar,
}

/// When the writer last committed: the base of its pace.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    pub(crate) events: Mono,
    pub(crate) detections: Mono,
}

impl Feed {
    /// `on_disk` records wait in the spill of an earlier run.
    pub(crate) fn new(on_disk: u64) -> Feed {
        Feed {
            state: Mutex::new(State {
                on_disk,
                ..State::default()
            }),
            for_writer: Condvar::new(),
            for_spiller: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a change. Fails when there is no room left anywhere, or the store is closed: then it is lost.
    pub(crate) fn push(&self, entry: Entry) -> Result<(), EventId> {
        let mut state = self.lock();
        if state.closing {
            return Err(entry.event());
        }
        let direct = state.on_disk == 0 && state.spilling == 0 && state.overflow.is_empty();
        if direct && state.memory.len() < MEMORY_ENTRIES {
            state.memory.push_back(entry);
            drop(state);
            self.for_writer.notify_one();
            return Ok(());
        }
        let bytes = entry.bytes();
        if state.overflow_bytes + bytes > OVERFLOW_BYTES {
            return Err(entry.event());
        }
        state.overflow_bytes += bytes;
        state.overflow.push_back(entry);
        drop(state);
        self.for_spiller.notify_one();
        Ok(())
    }

    /// Takes a detection result; returns how many had to go for it.
    pub(crate) fn push_detections(&self, row: DetectionRow) -> u64 {
        let mut state = self.lock();
        if state.closing {
            return 1;
        }
        let full = state.detections.len() >= DETECTION_ROWS;
        if full {
            state.detections.pop_front();
        }
        state.detections.push_back(row);
        let wake = state.detections.len() == 1 || state.detections.len() == DETECTIONS_BATCH;
        drop(state);
        if wake {
            self.for_writer.notify_one();
        }
        u64::from(full)
    }

    pub(crate) fn push_map(&self, map: KnownMap) {
        let mut state = self.lock();
        if state.maps.len() >= CLOCK_MAPS {
            state.maps.pop_front();
        }
        state.maps.push_back(map);
        drop(state);
        self.for_writer.notify_one();
    }

    pub(crate) fn push_done(&self, seqs: Vec<i64>) {
        self.lock().done.extend(seqs);
        self.for_writer.notify_one();
    }

    /// No more comes; what is there is still written.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.for_writer.notify_all();
        self.for_spiller.notify_all();
    }

    pub(crate) fn closing(&self) -> bool {
        self.lock().closing
    }

    pub(crate) fn fill(&self) -> Fill {
        let state = self.lock();
        Fill {
            memory: state.memory.len() + state.in_hand,
            overflow: state.overflow.len() + state.spilling,
            spilled: state.on_disk,
        }
    }

    /// Waits for work until `deadline`; returns empty work when it passes.
    pub(crate) fn take(&self, clock: &dyn Clock, pace: Pace, deadline: Mono) -> Work {
        let mut state = self.lock();
        state.in_hand = 0;
        loop {
            let now = clock.now();
            let mut wake = deadline;
            // Each kind of work is due at its own time; all that is there goes when the first is due.
            let mut due = state.closing && state.spilling == 0;
            let mut consider = |there: bool, at: Mono| {
                if there {
                    due |= at <= now;
                    wake = wake.min(at);
                }
            };
            let hurry = state.memory.len() >= MEMORY_ENTRIES / 2 || state.on_disk > 0;
            consider(
                state.changes_wait(),
                if hurry { now } else { pace.events + COMMIT_EVERY },
            );
            consider(
                !state.done.is_empty() || !state.maps.is_empty(),
                pace.events + LAZY_COMMIT_EVERY,
            );
            let hurry = state.detections.len() >= DETECTIONS_BATCH;
            consider(
                !state.detections.is_empty(),
                if hurry {
                    now
                } else {
                    pace.detections + DETECTIONS_EVERY
                },
            );
            if due || deadline <= now {
                return take_all(&mut state);
            }
            state = self
                .for_writer
                .wait_timeout(state, (wake - now).to_std())
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// `count` records of the spill are in the database.
    pub(crate) fn spill_taken(&self, count: u64) {
        let mut state = self.lock();
        state.on_disk = state.on_disk.saturating_sub(count);
    }

    /// Nothing waits on disk, or is on its way to it. Holds while the caller has the tail of the spill locked.
    pub(crate) fn spill_is_empty(&self) -> bool {
        let state = self.lock();
        state.on_disk == 0 && state.spilling == 0
    }

    /// Waits `pause`, or until closing begins.
    pub(crate) fn pause(&self, clock: &dyn Clock, pause: Span) {
        let until = clock.now() + pause;
        let mut state = self.lock();
        while !state.closing {
            let left = until - clock.now();
            if left <= Span::ZERO {
                return;
            }
            state = self
                .for_writer
                .wait_timeout(state, left.to_std())
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// For the spill thread: waits for what must go to disk. `None` when closing: the writer takes the rest itself.
    pub(crate) fn take_overflow(&self) -> Option<Vec<Entry>> {
        let mut state = self.lock();
        loop {
            if state.closing {
                return None;
            }
            if !state.overflow.is_empty() {
                let mut batch = Vec::new();
                let mut bytes = 0;
                while bytes < BATCH_BYTES
                    && let Some(entry) = state.overflow.pop_front()
                {
                    bytes += entry.bytes();
                    batch.push(entry);
                }
                state.spilling = batch.len();
                return Some(batch);
            }
            state = self
                .for_spiller
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// For the spill thread: the batch is on disk, or comes back as the oldest of the overflow.
    pub(crate) fn overflow_done(&self, batch: Vec<Entry>, written: bool) {
        let mut state = self.lock();
        state.spilling = 0;
        if written {
            state.on_disk += batch.len() as u64;
            let bytes: usize = batch.iter().map(Entry::bytes).sum();
            state.overflow_bytes = state.overflow_bytes.saturating_sub(bytes);
        } else {
            for entry in batch.into_iter().rev() {
                state.overflow.push_front(entry);
            }
        }
        drop(state);
        self.for_writer.notify_one();
    }

    /// For the spill thread: waits after a failure.
    pub(crate) fn spiller_pause(&self, pause: Duration) {
        let state = self.lock();
        // Woken early by a new change it tries early: no harm, the next failure waits again.
        let _woken = self
            .for_spiller
            .wait_timeout_while(state, pause, |s| !s.closing)
            .unwrap_or_else(PoisonError::into_inner);
    }

    /// At the end, when the database takes nothing: all that is still in memory, oldest first, in front of the
    /// spill and behind it.
    pub(crate) fn take_rest(&self) -> (Vec<Entry>, Vec<Entry>) {
        let mut state = self.lock();
        state.overflow_bytes = 0;
        (
            state.memory.drain(..).collect(),
            state.overflow.drain(..).collect(),
        )
    }
}

fn take_all(state: &mut State) -> Work {
    let mut entries = Vec::new();
    let mut from_spill = 0;
    if !state.memory.is_empty() {
        let mut bytes = 0;
        while bytes < BATCH_BYTES
            && let Some(entry) = state.memory.pop_front()
        {
            bytes += entry.bytes();
            entries.push(entry);
        }
    } else if state.on_disk > 0 {
        from_spill = state.on_disk.min(BATCH_ENTRIES as u64);
    } else if state.spilling == 0 {
        let mut bytes = 0;
        while bytes < BATCH_BYTES
            && entries.len() < BATCH_ENTRIES
            && let Some(entry) = state.overflow.pop_front()
        {
            bytes += entry.bytes();
            entries.push(entry);
        }
        state.overflow_bytes = state.overflow_bytes.saturating_sub(bytes);
    }
    state.in_hand = entries.len();
    let work = Work {
        entries,
        from_spill,
        done: std::mem::take(&mut state.done),
        maps: state.maps.drain(..).collect(),
        detections: state.detections.drain(..).collect(),
        finished: false,
    };
    let finished = state.closing
        && state.spilling == 0
        && !state.changes_wait()
        && work.entries.is_empty()
        && work.from_spill == 0
        && work.done.is_empty()
        && work.maps.is_empty()
        && work.detections.is_empty();
    Work { finished, ..work }
}
