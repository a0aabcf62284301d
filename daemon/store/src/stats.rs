//! What the store says of itself.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use synoptic_base::{Durations, Span};

/// Counters and levels of the store. Counters run since it was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoreStats {
    /// Changes in memory that are not committed yet.
    pub queue: u64,
    /// Changes waiting in the spill on disk.
    pub spill_waiting: u64,
    /// Changes that went through the spill.
    pub spilled: u64,
    /// Changes lost because memory, spill and database were all full, or the store was closed.
    pub lost: u64,
    /// Changes that said nothing new: a repeated begin, or anything after the end.
    pub ignored: u64,
    /// Changes that SQLite refuses whatever is tried (see the log).
    pub refused: u64,
    /// Changes stored.
    pub changes: u64,
    /// Commits to events.sqlite.
    pub commits: u64,
    /// How long commits to events.sqlite took, from the first statement to the disk's word.
    pub commit_durations: Durations,
    /// Detection rows stored.
    pub detections: u64,
    /// Detection rows dropped, because the disk was behind or full.
    pub dropped_detections: u64,
    /// Bytes of both databases with their write-ahead logs, at the last look.
    pub bytes: u64,
    /// Free bytes on their disk, at the last look.
    pub free_bytes: u64,
    /// Room is being made by size, not by age alone: the databases are at their limit, or the disk is short of space.
    pub making_room: bool,
    /// Events removed by age or for space.
    pub events_removed: u64,
    /// Messages in the outbox.
    pub outbox_rows: u64,
    /// Messages dropped because the outbox was full.
    pub outbox_dropped: u64,
    /// Why writing fails at present; `None` when the last attempt succeeded.
    pub last_error: Option<String>,
    /// events.sqlite was found damaged while running: restart, and it is set aside; nothing spilled is lost.
    pub damaged: bool,
}

/// The live counters behind [`StoreStats`].
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) spilled: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) ignored: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) changes: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) detections: AtomicU64,
    pub(crate) dropped_detections: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) free_bytes: AtomicU64,
    pub(crate) events_removed: AtomicU64,
    pub(crate) outbox_rows: AtomicU64,
    pub(crate) outbox_dropped: AtomicU64,
    pub(crate) making_room: AtomicBool,
    pub(crate) damaged: AtomicBool,
    last_error: Mutex<Option<String>>,
    commit_durations: Mutex<Durations>,
}

/// Adds to a counter; they are independent of each other, so no order is needed.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn spilled(&self, n: usize) {
        add(&self.spilled, n as u64);
    }

    pub(crate) fn committed(&self, took: Span) {
        add(&self.commits, 1);
        let mut durations = self
            .commit_durations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        durations.add(took);
    }

    /// Notes a failure, and logs it when it is another one than before.
    pub(crate) fn failed(&self, why: &str) {
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_deref() != Some(why) {
            log::error!("store: {why}");
            *last = Some(why.to_owned());
        }
    }

    pub(crate) fn succeeded(&self) {
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        if last.take().is_some() {
            log::info!("store: writing again");
        }
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn snapshot(&self) -> StoreStats {
        let get = |c: &AtomicU64| c.load(Ordering::Relaxed);
        StoreStats {
            queue: 0,
            spill_waiting: 0,
            spilled: get(&self.spilled),
            lost: get(&self.lost),
            ignored: get(&self.ignored),
            refused: get(&self.refused),
            changes: get(&self.changes),
            commits: get(&self.commits),
            commit_durations: *self
                .commit_durations
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
            detections: get(&self.detections),
            dropped_detections: get(&self.dropped_detections),
            bytes: get(&self.bytes),
            free_bytes: get(&self.free_bytes),
            making_room: self.making_room.load(Ordering::Relaxed),
            events_removed: get(&self.events_removed),
            outbox_rows: get(&self.outbox_rows),
            outbox_dropped: get(&self.outbox_dropped),
            last_error: self.last_error(),
            damaged: self.damaged.load(Ordering::Relaxed),
        }
    }
}
