//! The one thread that writes. It drains the queue into one transaction after the other (group commit): while one
//! commit waits for the disk, the next batch gathers, so a slower disk means larger batches, not a longer queue.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, TransactionBehavior};
use synoptic_base::{BootId, Clock, KnownMap, Span};
use tokio::sync::watch;

use crate::entry::Entry;
use crate::feed::{BATCH_BYTES, Feed, Pace, Work};
use crate::retention::RetentionLimits;
use crate::spill::{Position, SpillBatch, SpillHead, SpillTail};
use crate::sql::{self, Applied};
use crate::stats::{Counters, add};
use crate::trim::{self, Trim};
use crate::{StoreError, files};

/// Name of the thread.
pub(crate) const THREAD: &str = "store-writer";
/// Wait after the first failed commit; doubled with each.
const RETRY_FIRST: Span = Span::from_millis(50);
/// Longest wait after a failed commit.
const RETRY_MAX: Span = Span::from_secs(2);
/// Steps of retention tried when the disk is full, before the batch is tried again.
const TRIM_STEPS_WHEN_FULL: usize = 16;

/// What the writer and the handles share.
pub(crate) struct Shared {
    pub(crate) feed: Feed,
    pub(crate) counters: Arc<Counters>,
    pub(crate) tail: Mutex<SpillTail>,
    /// New limits that the writer has not taken yet.
    pub(crate) limits: Mutex<Option<RetentionLimits>>,
    /// Last sequence number committed to the outbox.
    pub(crate) outbox: watch::Sender<u64>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Stands in for a full disk: SQLite's limit on the file, which belongs to the writer's connection. 0: none.
    #[cfg(test)]
    pub(crate) max_pages: std::sync::atomic::AtomicI64,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    dir: PathBuf,
    boot: BootId,
    events: Connection,
    detections: Connection,
    head: SpillHead,
    /// How far an earlier run took over the segments it left.
    left_at: HashMap<i64, u64>,
    trim: Trim,
    pace: Pace,
    spiller: Option<JoinHandle<()>>,
    /// Keeps other processes from writing here.
    _lock: File,
}

/// Why a batch was not committed.
enum Failure {
    /// This entry will never be taken.
    Entry(usize, rusqlite::Error),
    /// Nothing wrong with the batch: try it again.
    Later(rusqlite::Error),
}

/// What became of a piece of work.
enum Handled {
    /// It is in the databases.
    Written,
    /// The store is closing and the database takes nothing: all that is left waits in the spill.
    LeftInSpill,
}

/// What a commit held.
#[derive(Default)]
struct Committed {
    stored: u64,
    ignored: u64,
    messages: u64,
    removed: u64,
}

/// What is to be committed together.
struct Batch {
    entries: Vec<Entry>,
    positions: Vec<Position>,
    done: Vec<i64>,
    maps: Vec<KnownMap>,
}

/// The parts a writer is made of.
pub(crate) struct Parts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) dir: PathBuf,
    pub(crate) boot: BootId,
    pub(crate) events: Connection,
    pub(crate) detections: Connection,
    pub(crate) positions: Vec<Position>,
    pub(crate) trim: Trim,
    pub(crate) lock: File,
}

impl Writer {
    pub(crate) fn new(parts: Parts) -> Writer {
        Writer {
            head: SpillHead::new(&parts.dir),
            left_at: parts.positions.iter().map(|p| (p.segment, p.done)).collect(),
            shared: parts.shared,
            dir: parts.dir,
            boot: parts.boot,
            events: parts.events,
            detections: parts.detections,
            trim: parts.trim,
            pace: Pace::default(),
            spiller: None,
            _lock: parts.lock,
        }
    }

    /// Takes over what an earlier run left in the spill, so that the database is complete before anyone reads it.
    /// A failure is not the end: the rest is taken over later, in order.
    pub(crate) fn replay(&mut self) {
        let waiting = self.shared.feed.fill().spilled;
        if waiting > 0 {
            log::info!("store: taking over {waiting} changes that the last run left in the spill");
        }
        while let left @ 1.. = self.shared.feed.fill().spilled {
            let result = self.read_spill(left).and_then(|spill| {
                self.commit_spill(left, spill)
                    .map_err(StoreError::sqlite(&self.dir, "take over the spill"))
            });
            if let Err(e) = result {
                self.shared.counters.failed(&e.to_string());
                return;
            }
        }
    }

    /// Reads a batch from the spill.
    fn read_spill(&self, count: u64) -> Result<SpillBatch, StoreError> {
        let left_at = |segment| self.left_at.get(&segment).copied().unwrap_or(0);
        self.head.read(count, BATCH_BYTES, &left_at)
    }

    /// Commits a batch from the spill, and moves on behind it.
    fn commit_spill(&mut self, wanted: u64, mut spill: SpillBatch) -> Result<(), rusqlite::Error> {
        let found = spill.entries.len() as u64;
        let mut batch = Batch {
            entries: std::mem::take(&mut spill.entries),
            positions: spill.positions.clone(),
            done: Vec::new(),
            maps: Vec::new(),
        };
        self.commit(&mut batch)?;
        // Fewer than were written means that a segment was damaged meanwhile.
        let lost = if spill.exhausted {
            wanted.saturating_sub(found)
        } else {
            0
        };
        if lost > 0 {
            add(&self.shared.counters.lost, lost);
            log::error!(
                "{}: {lost} changes in the spill were unreadable",
                self.dir.display()
            );
        }
        self.shared.feed.spill_taken(found + lost);
        let tidied = self.head.taken(&spill).and_then(|()| {
            let mut tail = self.shared.tail.lock().unwrap_or_else(PoisonError::into_inner);
            if self.shared.feed.spill_is_empty() {
                tail.close_segment();
                self.head.clear()?;
            }
            Ok(())
        });
        if let Err(e) = tidied {
            // Harmless: the positions in the database say that these are done.
            log::warn!("{e}");
        }
        Ok(())
    }

    /// Starts the thread.
    pub(crate) fn start(
        mut self,
        ended: watch::Sender<Option<Result<(), (u64, String)>>>,
    ) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let thread = |name| move |source| StoreError::Thread { name, source };
        let spiller = std::thread::Builder::new()
            .name(crate::spiller::THREAD.to_owned())
            .spawn(move || crate::spiller::run(&shared.feed, &shared.tail, &shared.counters))
            .map_err(thread(crate::spiller::THREAD))?;
        self.spiller = Some(spiller);
        let shared = Arc::clone(&self.shared);
        std::thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || {
                let result = self.run();
                ended.send_replace(Some(result));
            })
            .map_err(|source| {
                shared.feed.close(); // ends the spill thread
                StoreError::Thread { name: THREAD, source }
            })?;
        Ok(())
    }

    /// Runs until the feed is closed and empty. `Err` tells how many changes could not be written, and why.
    fn run(mut self) -> Result<(), (u64, String)> {
        loop {
            let shared = Arc::clone(&self.shared);
            let clock = shared.clock.as_ref();
            let deadline = self.trim.deadline(clock.now());
            let work = shared.feed.take(clock, self.pace, deadline);
            if work.finished {
                break;
            }
            if let Handled::LeftInSpill = self.handle(work)? {
                return Ok(());
            }
            self.trim_step();
        }
        self.join_spiller();
        for (db, name) in [
            (&self.events, files::EVENTS),
            (&self.detections, files::DETECTIONS),
        ] {
            if let Err(e) = trim::cut_log(db) {
                log::warn!("{name}: the log stays for the next start: {e}");
            }
        }
        Ok(())
    }

    fn trim_step(&mut self) {
        let shared = &self.shared;
        let limits = shared
            .limits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(limits) = limits {
            self.trim.set_limits(limits, shared.clock.now());
        }
        let result = self.trim.step(
            &self.events,
            &self.detections,
            shared.clock.as_ref(),
            &shared.counters,
        );
        if let Err(e) = result {
            shared.counters.failed(&e.to_string());
        }
    }

    fn join_spiller(&mut self) {
        if let Some(spiller) = self.spiller.take()
            && spiller.join().is_err()
        {
            log::error!("the thread {} panicked", crate::spiller::THREAD);
        }
    }

    /// Writes what there is, however often that takes.
    fn handle(&mut self, work: Work) -> Result<Handled, (u64, String)> {
        let shared = Arc::clone(&self.shared);
        if !work.detections.is_empty() {
            self.pace.detections = shared.clock.now();
            self.write_detections(&work.detections);
        }
        let mut retry = RETRY_FIRST;
        let mut batch = Batch {
            entries: work.entries,
            positions: Vec::new(),
            done: work.done,
            maps: work.maps,
        };
        loop {
            self.pace.events = shared.clock.now();
            let result = if batch.entries.is_empty() && batch.done.is_empty() && batch.maps.is_empty() {
                Ok(())
            } else {
                self.commit(&mut batch)
                    .map_err(StoreError::sqlite(&self.dir.join(files::EVENTS), "store events"))
            };
            let result = result.and_then(|()| {
                batch.entries.clear();
                batch.done.clear();
                batch.maps.clear();
                if work.from_spill == 0 {
                    return Ok(());
                }
                let spill = self.read_spill(work.from_spill)?;
                self.commit_spill(work.from_spill, spill)
                    .map_err(StoreError::sqlite(
                        &self.dir.join(files::EVENTS),
                        "take over the spill",
                    ))
            });
            let Err(e) = result else {
                shared.counters.succeeded();
                return Ok(Handled::Written);
            };
            let text = e.to_string();
            shared.counters.failed(&text);
            if e.is_corruption() {
                shared.counters.damaged.store(true, Ordering::Relaxed);
            }
            if shared.feed.closing() {
                self.save_rest(batch.entries, &text)?;
                return Ok(Handled::LeftInSpill);
            }
            self.trim.hurry(shared.clock.now());
            for _ in 0..TRIM_STEPS_WHEN_FULL {
                self.trim_step();
            }
            shared.feed.pause(shared.clock.as_ref(), retry);
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    /// Commits a batch; entries that SQLite refuses for good are taken out, counted and logged.
    fn commit(&mut self, batch: &mut Batch) -> Result<(), rusqlite::Error> {
        loop {
            let began = self.shared.clock.now();
            match self.try_commit(batch) {
                Ok((committed, last_seq)) => {
                    let counters = &self.shared.counters;
                    counters.committed(self.shared.clock.now() - began);
                    add(&counters.changes, committed.stored);
                    add(&counters.ignored, committed.ignored);
                    counters
                        .outbox_rows
                        .fetch_add(committed.messages, Ordering::Relaxed);
                    counters
                        .outbox_rows
                        .fetch_sub(committed.removed, Ordering::Relaxed);
                    let bytes: usize = batch.entries.iter().map(Entry::bytes).sum();
                    self.trim.written(bytes as u64);
                    if committed.messages > 0 {
                        self.shared.outbox.send_replace(last_seq);
                    }
                    return Ok(());
                }
                Err(Failure::Entry(index, e)) => {
                    let entry = batch.entries.remove(index);
                    add(&self.shared.counters.refused, 1);
                    log::error!("event {}: a change cannot be stored: {e}", entry.event().0);
                }
                Err(Failure::Later(e)) => return Err(e),
            }
        }
    }

    fn try_commit(&mut self, batch: &Batch) -> Result<(Committed, u64), Failure> {
        let later = Failure::Later;
        #[cfg(test)]
        {
            let pages = self.shared.max_pages.load(Ordering::Relaxed);
            if pages > 0 {
                self.events
                    .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
                    .map_err(later)?;
            }
        }
        let tx = self
            .events
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(later)?;
        let mut committed = Committed::default();
        for map in &batch.maps {
            sql::put_map(&tx, map).map_err(later)?;
        }
        for (index, entry) in batch.entries.iter().enumerate() {
            match sql::apply(&tx, entry) {
                Ok(Applied::Stored(messages)) => {
                    committed.stored += 1;
                    committed.messages += messages;
                }
                Ok(Applied::Ignored) => committed.ignored += 1,
                Err(e) if is_the_entrys_fault(&e) => return Err(Failure::Entry(index, e)),
                Err(e) => return Err(Failure::Later(e)),
            }
        }
        committed.removed = sql::delete_outbox(&tx, &batch.done).map_err(later)?;
        sql::put_positions(&tx, &batch.positions).map_err(later)?;
        let last_seq = if committed.messages > 0 {
            sql::last_outbox_seq(&tx).map_err(later)?.unsigned_abs()
        } else {
            0
        };
        tx.commit().map_err(later)?;
        Ok((committed, last_seq))
    }

    fn write_detections(&mut self, rows: &[crate::DetectionRow]) {
        let counters = &self.shared.counters;
        match sql::insert_detections(&mut self.detections, self.boot, rows) {
            Ok(()) => {
                add(&counters.detections, rows.len() as u64);
                let found: usize = rows.iter().map(|r| r.detections.len()).sum();
                // About what a row and a box take in the file.
                self.trim.written((rows.len() * 200 + found * 80) as u64);
            }
            Err(e) => {
                add(&counters.dropped_detections, rows.len() as u64);
                counters.failed(&format!("{}: store detections: {e}", files::DETECTIONS));
            }
        }
    }

    /// At the end, when the database takes nothing: what is in memory goes to the spill, for the next start.
    fn save_rest(&mut self, mut oldest: Vec<Entry>, why: &str) -> Result<(), (u64, String)> {
        self.join_spiller();
        let (memory, overflow) = self.shared.feed.take_rest();
        oldest.extend(memory);
        let count = (oldest.len() + overflow.len()) as u64;
        let mut tail = self.shared.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.close_segment();
        let mut save = || -> Result<(), StoreError> {
            if !overflow.is_empty() {
                tail.append(overflow.iter())?;
            }
            if !oldest.is_empty() {
                tail.put_in_front(oldest.iter())?;
            }
            Ok(())
        };
        match save() {
            Ok(()) => {
                log::warn!("store: {count} changes wait in the spill for the next start: {why}");
                Ok(())
            }
            Err(e) => {
                add(&self.shared.counters.lost, count);
                Err((count, format!("{why}; and {e}")))
            }
        }
    }
}

/// Whether an error comes from the values of one entry, so that trying again never helps.
fn is_the_entrys_fault(e: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
    match e {
        rusqlite::Error::ToSqlConversionFailure(_) => true,
        e => matches!(
            e.sqlite_error_code(),
            Some(ConstraintViolation | TooBig | TypeMismatch)
        ),
    }
}

/// The folder's epochs as the databases tell them: the newest of each stream.
pub(crate) fn epochs_found(
    events: &Connection,
    detections: &Connection,
    dir: &Path,
) -> Result<std::collections::BTreeMap<synoptic_base::StreamId, u32>, StoreError> {
    let read = || -> rusqlite::Result<_> {
        let mut found = std::collections::BTreeMap::<synoptic_base::StreamId, u32>::new();
        for (db, next, newest) in [
            (
                events,
                "SELECT min(stream) FROM events WHERE stream > ?1",
                "SELECT last_epoch FROM events WHERE stream = ?1 ORDER BY id DESC LIMIT 1",
            ),
            (
                detections,
                "SELECT min(stream) FROM detections WHERE stream > ?1",
                "SELECT max(epoch) FROM detections WHERE stream = ?1",
            ),
        ] {
            let mut at = String::new();
            // From stream to stream by the index, never through all rows.
            while let Some(stream) = db.query_row(next, [&at], |row| row.get::<_, Option<String>>(0))? {
                let epoch: u32 = db.query_row(newest, [&stream], |row| row.get(0))?;
                if let Ok(id) = synoptic_base::StreamId::new(&stream) {
                    let slot = found.entry(id).or_default();
                    *slot = epoch.max(*slot);
                }
                at = stream;
            }
        }
        Ok(found)
    };
    read().map_err(StoreError::sqlite(dir, "look for epochs"))
}
