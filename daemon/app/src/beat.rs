//! The watchdog's evidence: every thread beats within its own deadline, or systemd restarts the daemon.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use synoptic_base::{Clock, Mono, Span};

/// One thread's pulse.
#[derive(Clone)]
pub struct Pulse {
    last: Arc<AtomicI64>,
    clock: Arc<dyn Clock>,
}

impl Pulse {
    /// The thread lives.
    pub fn beat(&self) {
        self.last.store(self.clock.now().as_nanos(), Ordering::Relaxed);
    }
}

struct Entry {
    name: String,
    limit: Span,
    last: Arc<AtomicI64>,
}

/// All threads that must live.
pub struct Beats {
    clock: Arc<dyn Clock>,
    entries: Mutex<Vec<Entry>>,
}

impl Beats {
    /// No threads yet.
    pub fn new(clock: Arc<dyn Clock>) -> Beats {
        Beats {
            clock,
            entries: Mutex::default(),
        }
    }

    /// Adds a thread that promises to beat at least every `limit`. It is forgotten once its pulse is dropped.
    pub fn add(&self, name: &str, limit: Span) -> Pulse {
        let pulse = Pulse {
            last: Arc::new(AtomicI64::new(0)),
            clock: self.clock.clone(),
        };
        pulse.beat();
        let entry = Entry {
            name: name.to_owned(),
            limit,
            last: pulse.last.clone(),
        };
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(entry);
        pulse
    }

    /// The threads that have missed their deadline, with how long they have been silent.
    pub fn dead(&self) -> Vec<(String, Span)> {
        let now = self.clock.now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|e| Arc::strong_count(&e.last) > 1);
        let silent = |e: &Entry| now - Mono::from_nanos(e.last.load(Ordering::Relaxed));
        entries
            .iter()
            .filter(|e| silent(e) > e.limit)
            .map(|e| (e.name.clone(), silent(e)))
            .collect()
    }
}
