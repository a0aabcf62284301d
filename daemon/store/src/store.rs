//! The handle: what the rest of the daemon sees of the store.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::SqlitePool;
use sqlx::sqlite::SqlitePoolOptions;
use synoptic_base::{
    BBox, BootId, Clock, ClockMap, Detection, Epoch, EventChange, EventId, FrameKey, KnownMap, Span,
    StreamId, StreamStart,
};
use tokio::sync::watch;

use crate::entry::Entry;
use crate::epochs::Epochs;
use crate::feed::Feed;
use crate::migrate::{self, Database};
use crate::retention::RetentionLimits;
use crate::spill::{self, SpillTail};
use crate::stats::{Counters, add};
use crate::trim::Trim;
use crate::writer::{Parts, Shared, Writer, epochs_found};
use crate::{
    AnyEventPage, AnyEventRow, DetectionQuery, DetectionRow, EventPage, EventQuery, EventRow, OutboxMessage,
    OutboxRow, Quarantined, StoreError, StoreStats, files, queries, sql, system_events,
};

/// Readers of events.sqlite at a time: the page, the API, the outbox drainer and one to spare.
const EVENT_READERS: u32 = 4;
/// Readers of detections.sqlite at a time.
const DETECTION_READERS: u32 = 2;
/// The spill takes this part of `max_bytes` at most.
const SPILL_PART: u64 = 4;

/// Where the store lives and what it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Its folder; made if it is missing.
    pub dir: PathBuf,
    /// This boot: what is recorded from now on belongs to it.
    pub boot_id: BootId,
    /// Ended events older than this are removed.
    pub keep_events: Span,
    /// Detection results older than this are removed.
    pub keep_detections: Span,
    /// Both databases together stay below this many bytes.
    pub max_bytes: u64,
    /// Free space on the disk that is never used up, in bytes.
    pub min_free_bytes: u64,
}

/// An open store and what was found when it opened.
pub struct Opened {
    /// The store.
    pub store: Store,
    /// Events without an end, oldest first: the last run was killed. The caller ends each with
    /// [`EndReason::Restart`](synoptic_base::EndReason::Restart), at its last sighting.
    pub open_events: Vec<EventRow>,
    /// Files that were damaged and set aside.
    pub quarantined: Vec<Quarantined>,
}

/// A handle; clones are the same store. The last handle dropped closes it, [`Store::close`] also waits for it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    shared: Arc<Shared>,
    epochs: Epochs,
    boot: BootId,
    events: SqlitePool,
    detections: SqlitePool,
    ended: watch::Receiver<Option<Result<(), (u64, String)>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.feed.close();
    }
}

impl Store {
    /// Opens the store, making what is missing.
    ///
    /// A damaged file is set aside and an empty one takes its place; changes that the last run left in the spill
    /// are taken over. Works on the calling thread for as long as that takes: seconds, after a crash under load.
    ///
    /// # Errors
    /// The folder cannot be used or is in use, a file is from a newer program, or a thread cannot be started.
    pub async fn open(options: Options, clock: Arc<dyn Clock>) -> Result<Opened, StoreError> {
        let dir = &options.dir;
        std::fs::create_dir_all(dir).map_err(StoreError::file(dir, "make the folder"))?;
        let lock = files::lock(dir)?;
        let names = [files::EVENTS, files::DETECTIONS, crate::epochs::FILE];
        let fresh = !names.iter().any(|name| dir.join(name).exists());
        let now = clock.sample().realtime;

        let (events, detections) = (migrate::events(), migrate::detections());
        let mut quarantined = Vec::new();
        quarantined.extend(events.prepare(dir, now).await?);
        quarantined.extend(detections.prepare(dir, now).await?);
        let events_db = events.writer(dir)?;
        let detections_db = detections.writer(dir)?;
        let epochs = Epochs::open(dir, fresh, epochs_found(&events_db, &detections_db, dir)?, now)?;

        let read = |e| StoreError::sqlite(&dir.join(files::EVENTS), "read the state")(e);
        let positions = sql::positions(&events_db).map_err(read)?;
        let done = |segment| {
            positions
                .iter()
                .find(|p| p.segment == segment)
                .map_or(0, |p| p.done)
        };
        let (waiting, damaged) = spill::recover(dir, &done, &files::corrupt_suffix(now))?;
        quarantined.extend(damaged);
        let known = positions.iter().map(|p| p.segment).max();
        let tail = SpillTail::new(dir, options.max_bytes / SPILL_PART, known)?;

        let counters = Arc::new(Counters::default());
        let outbox_rows: i64 = events_db
            .query_row("SELECT count(*) FROM outbox", [], |row| row.get(0))
            .map_err(read)?;
        counters
            .outbox_rows
            .store(outbox_rows.unsigned_abs(), Ordering::Relaxed);
        let last_seq = sql::last_outbox_seq(&events_db).map_err(read)?.unsigned_abs();
        let limits = RetentionLimits {
            keep_events: options.keep_events,
            keep_detections: options.keep_detections,
            max_bytes: options.max_bytes,
            min_free_bytes: options.min_free_bytes,
        };
        let shared = Arc::new(Shared {
            feed: Feed::new(waiting),
            counters,
            tail: Mutex::new(tail),
            limits: Mutex::default(),
            outbox: watch::Sender::new(last_seq),
            clock: Arc::clone(&clock),
            #[cfg(test)]
            max_pages: Default::default(),
        });
        let mut writer = Writer::new(Parts {
            shared: Arc::clone(&shared),
            dir: dir.clone(),
            boot: options.boot_id,
            events: events_db,
            detections: detections_db,
            positions,
            trim: Trim::new(dir, limits, clock.now()),
            lock,
        });
        writer.replay();

        let events = pool(&events, dir, EVENT_READERS);
        let open_events = queries::open_events(&events).await?;
        let (ended_tx, ended) = watch::channel(None);
        writer.start(ended_tx)?;
        let inner = Inner {
            dir: dir.clone(),
            shared,
            epochs,
            boot: options.boot_id,
            events,
            detections: pool(&detections, dir, DETECTION_READERS),
            ended,
        };
        Ok(Opened {
            store: Store {
                inner: Arc::new(inner),
            },
            open_events,
            quarantined,
        })
    }

    /// Takes a change of an event, with the messages that tell of it: both are stored in one transaction.
    ///
    /// Never waits for a disk. Returns before the change is durable: [`Store::outbox_changed`] tells of commits.
    /// All sightings of an event are of its own stream.
    pub fn record(&self, change: EventChange, messages: Vec<OutboxMessage>) {
        let entry = Entry::new(self.inner.boot, change, messages);
        if let Err(id) = self.inner.shared.feed.push(entry) {
            let counters = &self.inner.shared.counters;
            add(&counters.lost, 1);
            counters.failed(&format!(
                "changes are being lost: neither memory nor disk has room, or the store is closed; the first is of \
                 event {}",
                id.0
            ));
        }
    }

    /// Takes what a detector found in a frame. Telemetry: when the disk is behind, the oldest waiting row is
    /// dropped and counted.
    pub fn record_detections(&self, mut batch: DetectionRow) {
        // JSON has no NaN.
        let finite = |v: f32| if v.is_finite() { v } else { 0.0 };
        for Detection { bbox: b, score, .. } in &mut batch.detections {
            *b = BBox::new(finite(b.x), finite(b.y), finite(b.w), finite(b.h));
            *score = finite(*score);
        }
        let dropped = self.inner.shared.feed.push_detections(batch);
        add(&self.inner.shared.counters.dropped_detections, dropped);
    }

    /// Keeps a clock map that was found just now: the UTC of what was recorded in its boot can be corrected by it, see
    /// [`EventRow::restamped`].
    pub fn put_clock_map(&self, map: ClockMap) {
        let found = Some(self.inner.shared.clock.now());
        self.inner.shared.feed.push_map(KnownMap { map, found });
    }

    /// Other limits, from the next look on: within half a minute.
    pub fn set_limits(&self, limits: RetentionLimits) {
        let shared = &self.inner.shared;
        let mut tail = shared.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.set_max_bytes(limits.max_bytes / SPILL_PART);
        drop(tail);
        *shared.limits.lock().unwrap_or_else(PoisonError::into_inner) = Some(limits);
    }

    /// The next epoch of a stream, on disk before this returns; never one that was given out before, not even
    /// when a database was lost (see `epochs.json`). Waits for the disk: call it where a camera is connected. When
    /// the disk takes nothing, the log says so and the epoch is given out all the same.
    pub fn next_epoch(&self, stream: StreamId) -> Epoch {
        self.inner.epochs.next(stream)
    }

    /// When streams began, as an earlier run of the program stored it.
    pub fn stream_starts(&self) -> Vec<StreamStart> {
        crate::starts::read(&self.inner.dir)
    }

    /// Stores when streams began: all of them, in place of what was stored. Waits for the disk.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep_stream_starts(&self, starts: &[StreamStart]) -> Result<(), StoreError> {
        crate::starts::write(&self.inner.dir, starts)
    }

    /// A page of events, newest first by id.
    ///
    /// # Errors
    /// The cursor is none of this store's, or the database cannot be read.
    pub async fn events(&self, q: &EventQuery) -> Result<EventPage, StoreError> {
        queries::events(&self.inner.events, q).await
    }

    /// A page of events of every kind, newest first by id.
    ///
    /// # Errors
    /// The cursor is none of this store's, or the database cannot be read.
    pub async fn any_events(&self, q: &EventQuery) -> Result<AnyEventPage, StoreError> {
        system_events::any(&self.inner.events, q).await
    }

    /// One event of either kind; `None` when there is none of this id.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn any_event(&self, id: EventId) -> Result<Option<AnyEventRow>, StoreError> {
        system_events::one(&self.inner.events, id).await
    }

    /// One event; `None` when there is none of this id.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn event(&self, id: EventId) -> Result<Option<EventRow>, StoreError> {
        queries::event(&self.inner.events, id).await
    }

    /// The JPEG of an event's best picture; `None` when none was kept.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn picture(&self, id: EventId) -> Result<Option<Vec<u8>>, StoreError> {
        queries::picture(&self.inner.events, id).await
    }

    /// Detection results of a stream, oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn detections(&self, q: &DetectionQuery) -> Result<Vec<DetectionRow>, StoreError> {
        queries::detections(&self.inner.detections, q).await
    }

    /// What was found in one frame, a row a detector.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn detections_of(&self, frame: FrameKey) -> Result<Vec<DetectionRow>, StoreError> {
        queries::detections_of(&self.inner.detections, frame).await
    }

    /// Messages behind `after_seq`, in the order they are to be sent.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn outbox(&self, after_seq: i64, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        queries::outbox(&self.inner.events, after_seq, limit).await
    }

    /// These messages have left: the broker has them. Their rows go soon; after a crash before that they are sent
    /// once more, under the same id.
    pub fn outbox_done(&self, seqs: Vec<i64>) {
        self.inner.shared.feed.push_done(seqs);
    }

    /// The last sequence number committed to the outbox: wait for a change, then read [`Store::outbox`].
    pub fn outbox_changed(&self) -> watch::Receiver<u64> {
        self.inner.shared.outbox.subscribe()
    }

    /// How the store is doing.
    pub fn stats(&self) -> StoreStats {
        let fill = self.inner.shared.feed.fill();
        StoreStats {
            queue: (fill.memory + fill.overflow) as u64,
            spill_waiting: fill.spilled,
            ..self.inner.shared.counters.snapshot()
        }
    }

    /// Writes what is waiting and ends. Other handles refuse from now on. The caller sets the time limit; what is
    /// not written by then stays in the spill or is lost with the process.
    ///
    /// # Errors
    /// Changes could be written neither to the database nor to the spill.
    pub async fn close(self) -> Result<(), StoreError> {
        self.inner.shared.feed.close();
        let mut ended = self.inner.ended.clone();
        let result = match ended.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or(Ok(())),
            Err(_) => {
                let fill = self.inner.shared.feed.fill();
                Err((
                    (fill.memory + fill.overflow) as u64,
                    "the writer is gone".to_owned(),
                ))
            }
        };
        self.inner.events.close().await;
        self.inner.detections.close().await;
        result.map_err(|(count, why)| StoreError::Unwritten { count, why })
    }
}

#[cfg(test)]
impl Store {
    /// From the next commit on, events.sqlite can hold this many pages: a full disk.
    pub(crate) fn limit_pages_for_test(&self, pages: i64) {
        self.inner.shared.max_pages.store(pages, Ordering::Relaxed);
    }
}

/// Readers of a database.
pub(crate) fn pool(database: &Database, dir: &std::path::Path, readers: u32) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(readers)
        // A file's connections do not go stale; without these limits the pool also needs no task of its own.
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(database.pool_options(dir))
}
