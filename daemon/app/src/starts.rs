//! When streams began, for who holds a relative time stamp: told in the log, stored over restarts, read by the API.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use synoptic_base::{StreamId, StreamStart};
use synoptic_engine::starts::StartBook;

/// The beginnings that are known. Every method is short and may be called from any thread.
#[derive(Default)]
pub struct Starts {
    book: Mutex<StartBook>,
    unsaved: AtomicBool,
}

impl Starts {
    fn book(&self) -> MutexGuard<'_, StartBook> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what was stored.
    pub fn restore(&self, known: Vec<StreamStart>) {
        self.book().restore(known);
    }

    /// Takes when a running epoch began, as it looks now; returns what is held of it.
    pub fn see(&self, now: StreamStart) -> StreamStart {
        let mut book = self.book();
        if let Some(news) = book.see(now) {
            log::info!("camera {}: {news}", now.stream);
            self.unsaved.store(true, Ordering::Relaxed);
        }
        let held = book.of(&now.stream).find(|s| s.epoch == now.epoch);
        held.copied().unwrap_or(now)
    }

    /// Beginnings of a stream's epochs, the newest first.
    pub fn of(&self, stream: &StreamId) -> Vec<StreamStart> {
        self.book().of(stream).rev().copied().collect()
    }

    /// All of them, when something changed since the last call: to be stored.
    pub fn unsaved(&self) -> Option<Vec<StreamStart>> {
        self.unsaved
            .swap(false, Ordering::Relaxed)
            .then(|| self.book().all())
    }
}
