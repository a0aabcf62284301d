//! The spill thread: moves changes that found no room in memory to disk, so that no pixel thread has to.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::feed::Feed;
use crate::spill::SpillTail;
use crate::stats::Counters;

/// Name of the thread.
pub(crate) const THREAD: &str = "store-spill";
/// Wait after a failed write.
const RETRY: Duration = Duration::from_millis(500);

/// Runs until the feed is closed.
pub(crate) fn run(feed: &Feed, tail: &Mutex<SpillTail>, counters: &Arc<Counters>) {
    while let Some(batch) = feed.take_overflow() {
        let result = tail
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .append(batch.iter());
        let written = result.is_ok();
        if written {
            counters.spilled(batch.len());
        }
        feed.overflow_done(batch, written);
        if let Err(e) = result {
            counters.failed(&format!("changes wait in memory: {e}"));
            feed.spiller_pause(RETRY);
        }
    }
}
