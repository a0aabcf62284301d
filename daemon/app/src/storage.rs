//! The store by the configuration, and what it says of itself.

use synoptic_base::BootId;
use synoptic_store::{Options, RetentionLimits, StoreStats};

use crate::config::Config;
use crate::documents::{StorageDoc, StorageState};

/// How the store is opened.
pub(crate) fn store_options(config: &Config, boot_id: BootId) -> Options {
    let s = &config.store;
    Options {
        dir: config.device.data_dir.clone(),
        boot_id,
        keep_events: s.keep_events,
        keep_detections: s.keep_detections,
        max_bytes: s.max_bytes,
        min_free_bytes: s.min_free_bytes,
    }
}

/// What is kept, and for how long.
pub(crate) fn retention(config: &Config) -> RetentionLimits {
    let s = &config.store;
    RetentionLimits {
        keep_events: s.keep_events,
        keep_detections: s.keep_detections,
        max_bytes: s.max_bytes,
        min_free_bytes: s.min_free_bytes,
    }
}

/// What the store says of itself, as a document. Before its first look all bytes are 0, which is no shortage.
pub(crate) fn storage_doc(stats: &StoreStats, config: &Config) -> StorageDoc {
    let limits = &config.store;
    let looked = stats.bytes > 0;
    let state = if stats.last_error.is_some() || stats.damaged {
        StorageState::Failing
    } else if looked && stats.free_bytes < limits.min_free_bytes {
        StorageState::DiskShort
    } else if stats.making_room {
        StorageState::Full
    } else {
        StorageState::Okay
    };
    StorageDoc {
        state,
        bytes: stats.bytes,
        max_bytes: limits.max_bytes,
        free_bytes: stats.free_bytes,
        min_free_bytes: limits.min_free_bytes,
        waiting: stats.queue + stats.spill_waiting,
        spilled: stats.spill_waiting,
        outbox: stats.outbox_rows,
        events_removed: stats.events_removed,
        lost: stats.lost,
        error: stats.last_error.clone(),
    }
}
