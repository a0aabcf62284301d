//! Carries a [`RetentionPlan`] out, a small step at a time, so that events never wait behind it.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::Connection;
use synoptic_base::{Clock, Mono, Span};

use crate::retention::{RetentionLimits, RetentionPlan, Usage};
use crate::stats::{Counters, add};
use crate::{StoreError, files, migrate};

/// How often the store looks at what it holds.
const LOOK_EVERY: Span = Span::from_secs(30);
/// It also looks when this part of `max_bytes` has been written since: a fast writer cannot outrun it.
const LOOK_PART: u64 = 50;
/// The log is cut when it is larger than this part of `max_bytes`.
const WAL_PART: u64 = 16;
/// Events removed in one transaction; with pictures of 30 kB that is about 4 MB.
const EVENTS_STEP: u32 = 128;
/// Detection rows removed in one transaction.
const DETECTIONS_STEP: u32 = 2_000;
/// Pages given back to the disk in one transaction.
const VACUUM_STEP: u32 = 512;
/// Free pages that stay in a file for the next events.
const VACUUM_SLACK: u64 = 32;
/// What these take in both files at most, which plans leave room for.
const SLACK_BYTES: u64 = 2 * VACUUM_SLACK * migrate::PAGE_BYTES as u64;
/// Newest clock maps kept of each boot.
const MAPS_KEPT: u32 = 1_000;

/// Removes events that were last seen before ?1, by the newest clock map of their boot: a box that woke up in 1970
/// and learned the time later must not lose what it saw meanwhile.
const EVENTS_BY_AGE: &str = "DELETE FROM events WHERE id IN (
    SELECT id FROM events WHERE last_utc_ns < ?1 AND ended_by IS NOT NULL
    AND coalesce((SELECT last_mono_ns + utc_minus_mono_ns FROM clock_maps
        WHERE clock_maps.boot_id = events.boot_id ORDER BY version DESC LIMIT 1), last_utc_ns) < ?1
    AND NOT EXISTS (SELECT 1 FROM outbox WHERE event_id = events.id)
    LIMIT ?2)";
const OLDEST_EVENTS: &str = "DELETE FROM events WHERE id IN (
    SELECT id FROM events WHERE ended_by IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM outbox WHERE event_id = events.id)
    ORDER BY id LIMIT ?1)";
/// The same for system events.
const SYSTEM_EVENTS_BY_AGE: &str = "DELETE FROM system_events WHERE id IN (
    SELECT id FROM system_events WHERE utc_ns < ?1
    AND coalesce((SELECT mono_ns + utc_minus_mono_ns FROM clock_maps
        WHERE clock_maps.boot_id = system_events.boot_id ORDER BY version DESC LIMIT 1), utc_ns) < ?1
    AND NOT EXISTS (SELECT 1 FROM outbox WHERE event_id = system_events.id)
    LIMIT ?2)";
/// They go together with the events of their time.
const OLDEST_SYSTEM_EVENTS: &str = "DELETE FROM system_events WHERE id IN (
    SELECT id FROM system_events WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE event_id = system_events.id)
    AND id < coalesce((SELECT min(id) FROM events), x'FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF')
    ORDER BY id LIMIT ?1)";
/// The last resort: the events stay, because their messages have not left, but their pictures go.
const OLDEST_PICTURES: &str = "DELETE FROM event_pictures WHERE event_id IN (
    SELECT event_id FROM event_pictures JOIN events ON events.id = event_id
    WHERE ended_by IS NOT NULL ORDER BY event_id LIMIT ?1)";
const OLDEST_MESSAGES: &str =
    "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox ORDER BY seq LIMIT ?1)";
const OLD_MAPS: &str = "DELETE FROM clock_maps WHERE version <=
    (SELECT max(version) FROM clock_maps m WHERE m.boot_id = clock_maps.boot_id) - ?1";
const DETECTIONS_BY_AGE: &str = "DELETE FROM detections WHERE (stream, epoch, media_us, detector) IN (
    SELECT stream, epoch, media_us, detector FROM detections WHERE utc_ns < ?1 LIMIT ?2)";
const OLDEST_DETECTIONS: &str = "DELETE FROM detections WHERE (stream, epoch, media_us, detector) IN (
    SELECT stream, epoch, media_us, detector FROM detections ORDER BY utc_ns LIMIT ?1)";

/// The parts of a plan, in the order they are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    DetectionsByAge,
    EventsByAge,
    DetectionsBySize,
    EventsBySize,
    PicturesBySize,
    Messages,
    ClockMaps,
    VacuumDetections,
    VacuumEvents,
}

impl Stage {
    fn next(self) -> Option<Stage> {
        use Stage::{
            ClockMaps, DetectionsByAge, DetectionsBySize, EventsByAge, EventsBySize, Messages,
            PicturesBySize, VacuumDetections, VacuumEvents,
        };
        match self {
            DetectionsByAge => Some(EventsByAge),
            EventsByAge => Some(DetectionsBySize),
            DetectionsBySize => Some(EventsBySize),
            EventsBySize => Some(PicturesBySize),
            PicturesBySize => Some(Messages),
            Messages => Some(ClockMaps),
            ClockMaps => Some(VacuumDetections),
            VacuumDetections => Some(VacuumEvents),
            VacuumEvents => None,
        }
    }
}

/// The state of retention.
pub(crate) struct Trim {
    dir: PathBuf,
    limits: RetentionLimits,
    look_at: Mono,
    written_since: u64,
    running: Option<(RetentionPlan, Stage)>,
}

/// Bytes in use, and bytes in free pages.
fn sizes(db: &Connection) -> rusqlite::Result<(u64, u64)> {
    let number = |pragma: &str| db.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let page = number("page_size")?.unsigned_abs();
    let free = number("freelist_count")?.unsigned_abs();
    let all = number("page_count")?.unsigned_abs();
    Ok((all.saturating_sub(free) * page, free * page))
}

/// Copies the log into the file and cuts it, unless a reader is in the way.
pub(crate) fn cut_log(db: &Connection) -> rusqlite::Result<()> {
    let busy: Duration = Duration::from_millis(
        db.pragma_query_value(None, "busy_timeout", |row| row.get::<_, i64>(0))?
            .unsigned_abs(),
    );
    db.busy_timeout(Duration::ZERO)?;
    let done = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    db.busy_timeout(busy)?;
    done
}

/// Limits that leave room for what stays free within the files.
fn with_slack(limits: RetentionLimits) -> RetentionLimits {
    RetentionLimits {
        max_bytes: limits.max_bytes.saturating_sub(SLACK_BYTES),
        ..limits
    }
}

impl Trim {
    /// The first look is due at once.
    pub(crate) fn new(dir: &Path, limits: RetentionLimits, now: Mono) -> Trim {
        Trim {
            dir: dir.to_owned(),
            limits: with_slack(limits),
            look_at: now,
            written_since: 0,
            running: None,
        }
    }

    /// Other limits: looks at once, and plans anew.
    pub(crate) fn set_limits(&mut self, limits: RetentionLimits, now: Mono) {
        self.limits = with_slack(limits);
        self.running = None;
        self.look_at = now;
    }

    /// When [`Trim::step`] is due.
    pub(crate) fn deadline(&self, now: Mono) -> Mono {
        if self.running.is_some() || self.written_since > self.limits.max_bytes / LOOK_PART {
            now
        } else {
            self.look_at
        }
    }

    /// So many bytes were given to the databases.
    pub(crate) fn written(&mut self, bytes: u64) {
        self.written_since += bytes;
    }

    /// Looks at once: the disk is full.
    pub(crate) fn hurry(&mut self, now: Mono) {
        self.look_at = now;
    }

    /// Does one step, if one is due.
    pub(crate) fn step(
        &mut self,
        events: &Connection,
        detections: &Connection,
        clock: &dyn Clock,
        counters: &Counters,
    ) -> Result<(), StoreError> {
        let now = clock.now();
        if self.deadline(now) > now {
            return Ok(());
        }
        let sql = |e| StoreError::sqlite(&self.dir, "remove what is too old or too much")(e);
        let Some((plan, stage)) = self.running else {
            self.look_at = now + LOOK_EVERY;
            self.written_since = 0;
            let usage = self.look(events, detections, clock, counters)?;
            let plan = RetentionPlan::new(&self.limits, &usage);
            log::debug!("retention: {usage:?}: {plan}");
            let by_size = plan.detections_bytes.is_some() || plan.events_bytes.is_some();
            counters.making_room.store(by_size, Ordering::Relaxed);
            if by_size || plan.drop_messages > 0 {
                log::info!("retention: {plan}");
            }
            self.running = Some((plan, Stage::DetectionsByAge));
            return Ok(());
        };
        let again = match run(&plan, stage, events, detections, counters) {
            Ok(again) => again,
            Err(e) => {
                // Begin anew at the next look: what is left is found again.
                self.running = None;
                return Err(sql(e));
            }
        };
        self.running = if again {
            Some((plan, stage))
        } else {
            stage.next().map(|next| (plan, next))
        };
        if self.running.is_none() {
            self.look(events, detections, clock, counters)?;
        }
        Ok(())
    }

    /// Measures, and cuts the logs if they have grown.
    fn look(
        &self,
        events: &Connection,
        detections: &Connection,
        clock: &dyn Clock,
        counters: &Counters,
    ) -> Result<Usage, StoreError> {
        let sql = |e| StoreError::sqlite(&self.dir, "measure the databases")(e);
        let wal_bytes = |name| files::wal_bytes(&self.dir.join(name));
        for (db, name) in [(events, files::EVENTS), (detections, files::DETECTIONS)] {
            if wal_bytes(name) > self.limits.max_bytes / WAL_PART {
                cut_log(db).map_err(sql)?;
            }
        }
        let (events_bytes, events_free) = sizes(events).map_err(sql)?;
        let (detections_bytes, detections_free) = sizes(detections).map_err(sql)?;
        let usage = Usage {
            now: clock.sample().realtime,
            events_bytes,
            detections_bytes,
            reclaimable_bytes: events_free + detections_free,
            wal_bytes: wal_bytes(files::EVENTS) + wal_bytes(files::DETECTIONS),
            free_bytes: files::free_bytes(&self.dir)?,
            outbox_rows: counters.outbox_rows.load(Ordering::Relaxed),
        };
        let bytes = events_bytes + detections_bytes + usage.reclaimable_bytes + usage.wal_bytes;
        counters.bytes.store(bytes, Ordering::Relaxed);
        counters.free_bytes.store(usage.free_bytes, Ordering::Relaxed);
        Ok(usage)
    }
}

/// One step of a stage. True when the stage may have more to do.
fn run(
    plan: &RetentionPlan,
    stage: Stage,
    events: &Connection,
    detections: &Connection,
    counters: &Counters,
) -> rusqlite::Result<bool> {
    let over = |db: &Connection, limit: Option<u64>| -> rusqlite::Result<bool> {
        Ok(match limit {
            Some(limit) => sizes(db)?.0 > limit,
            None => false,
        })
    };
    match stage {
        Stage::DetectionsByAge => {
            let mut s = detections.prepare_cached(DETECTIONS_BY_AGE)?;
            Ok(s.execute((plan.detections_before.as_nanos(), DETECTIONS_STEP))? > 0)
        }
        Stage::EventsByAge => {
            let mut s = events.prepare_cached(EVENTS_BY_AGE)?;
            let limits = (plan.events_before.as_nanos(), EVENTS_STEP);
            let removed =
                s.execute(limits)? + events.prepare_cached(SYSTEM_EVENTS_BY_AGE)?.execute(limits)?;
            add(&counters.events_removed, removed as u64);
            Ok(removed > 0)
        }
        Stage::DetectionsBySize => {
            if !over(detections, plan.detections_bytes)? {
                return Ok(false);
            }
            Ok(detections
                .prepare_cached(OLDEST_DETECTIONS)?
                .execute([DETECTIONS_STEP])?
                > 0)
        }
        Stage::EventsBySize => {
            if !over(events, plan.events_bytes)? {
                return Ok(false);
            }
            let removed = events.prepare_cached(OLDEST_EVENTS)?.execute([EVENTS_STEP])?
                + events
                    .prepare_cached(OLDEST_SYSTEM_EVENTS)?
                    .execute([EVENTS_STEP])?;
            add(&counters.events_removed, removed as u64);
            Ok(removed > 0)
        }
        Stage::PicturesBySize => {
            if !over(events, plan.events_bytes)? {
                return Ok(false);
            }
            Ok(events.prepare_cached(OLDEST_PICTURES)?.execute([EVENTS_STEP])? > 0)
        }
        Stage::Messages => {
            if plan.drop_messages == 0 {
                return Ok(false);
            }
            let count = i64::try_from(plan.drop_messages).unwrap_or(i64::MAX);
            let dropped = events.prepare_cached(OLDEST_MESSAGES)?.execute([count])? as u64;
            add(&counters.outbox_dropped, dropped);
            counters.outbox_rows.fetch_sub(dropped, Ordering::Relaxed);
            log::error!(
                "the outbox is full: dropped its {dropped} oldest messages; is the broker reachable?"
            );
            Ok(false)
        }
        Stage::ClockMaps => {
            events.prepare_cached(OLD_MAPS)?.execute([MAPS_KEPT])?;
            Ok(false)
        }
        Stage::VacuumDetections => vacuum(detections),
        Stage::VacuumEvents => vacuum(events),
    }
}

/// Gives some free pages back to the disk. True when there are more.
fn vacuum(db: &Connection) -> rusqlite::Result<bool> {
    let free = |db: &Connection| db.pragma_query_value(None, "freelist_count", |row| row.get::<_, i64>(0));
    let before = free(db)?.unsigned_abs();
    if before <= VACUUM_SLACK {
        return Ok(false);
    }
    let pages = (before - VACUUM_SLACK).min(u64::from(VACUUM_STEP));
    // The pragma gives up one page a step of the statement, so it must be run to its end.
    let mut s = db.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = s.query([])?;
    while rows.next()?.is_some() {}
    Ok(free(db)?.unsigned_abs() < before)
}
