//! Every statement that writes, and how values become columns.

use std::sync::LazyLock;

use rusqlite::{CachedStatement, Connection, Transaction};
use sha2::{Digest as _, Sha256};
use synoptic_base::{BootId, Event, EventChange, EventId, KnownMap, Mono, Sighting, Span, SystemEvent};

use crate::entry::Entry;
use crate::spill::Position;
use crate::{DetectionRow, OutboxMessage};

/// Columns of a sighting, after `begin_`, `last_` or `best_`, in the order of [`bind_sighting`].
pub(crate) const SIGHTING: [&str; 13] = [
    "epoch",
    "media_us",
    "mono_ns",
    "rel_error_ns",
    "source",
    "map",
    "utc_ns",
    "error_ns",
    "x",
    "y",
    "w",
    "h",
    "score",
];

fn columns(prefix: &str) -> String {
    SIGHTING.map(|c| format!("{prefix}_{c}")).join(", ")
}

fn assignments(prefix: &str, first: usize) -> String {
    let each = |(i, c): (usize, &str)| format!("{prefix}_{c} = ?{}", first + i);
    SIGHTING
        .into_iter()
        .enumerate()
        .map(each)
        .collect::<Vec<_>>()
        .join(", ")
}

/// ?1 to ?6 name the event, ?7 on is its first sighting, which is also the last and the best so far.
static INSERT_EVENT: LazyLock<String> = LazyLock::new(|| {
    let values: Vec<String> = (0..SIGHTING.len()).map(|i| format!("?{}", 7 + i)).collect();
    let values = values.join(", ");
    format!(
        "INSERT INTO events (id, stream, track, label, detector, boot_id, sightings, changes, {}, {}, {}) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, 1, {values}, {values}, {values}) ON CONFLICT (id) DO NOTHING",
        columns("begin"),
        columns("last"),
        columns("best"),
    )
});
/// ?1 is the event, ?2 on the sighting.
static BEST: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE events SET {}, {}, sightings = sightings + 1, changes = changes + 1 \
         WHERE id = ?1 AND ended_by IS NULL",
        assignments("best", 2),
        assignments("last", 2),
    )
});
/// ?1 is the event, ?2 on the sighting, then reason and number of sightings.
static END: LazyLock<String> = LazyLock::new(|| {
    let next = 2 + SIGHTING.len();
    format!(
        "UPDATE events SET {}, ended_by = ?{next}, sightings = ?{}, changes = changes + 1 \
         WHERE id = ?1 AND ended_by IS NULL",
        assignments("last", 2),
        next + 1,
    )
});
const EVENT_EXISTS: &str = "SELECT 1 FROM events WHERE id = ?1";
const PUT_PICTURE: &str = "INSERT INTO event_pictures (event_id, sha256, bytes, jpeg) VALUES (?1, ?2, ?3, ?4) \
     ON CONFLICT (event_id) DO UPDATE SET sha256 = excluded.sha256, bytes = excluded.bytes, jpeg = excluded.jpeg";
const INSERT_OUTBOX: &str = "INSERT INTO outbox (id, event_id, topic, properties, payload) \
     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) DO NOTHING";
const DELETE_OUTBOX: &str = "DELETE FROM outbox WHERE seq = ?1";
const INSERT_SYSTEM_EVENT: &str = "INSERT INTO system_events (id, type, stream, boot_id, mono_ns, map, utc_ns, \
     error_ns, facts, untold) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (id) DO NOTHING";
const PUT_MAP: &str = "INSERT INTO clock_maps (boot_id, version, utc_minus_mono_ns, error_ns, mono_ns) \
     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET \
     utc_minus_mono_ns = excluded.utc_minus_mono_ns, error_ns = excluded.error_ns, mono_ns = excluded.mono_ns";
const PUT_POSITION: &str = "INSERT INTO spill (segment, done) VALUES (?1, ?2) \
     ON CONFLICT (segment) DO UPDATE SET done = excluded.done";
const FORGET_POSITIONS: &str = "DELETE FROM spill WHERE segment < ?1";
const INSERT_DETECTIONS: &str = "INSERT OR REPLACE INTO detections (stream, epoch, media_us, detector, boot_id, \
     mono_ns, rel_error_ns, source, map, utc_ns, error_ns, detections) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

/// Binds a sighting from parameter `first` on.
fn bind_sighting(s: &mut CachedStatement<'_>, first: usize, seen: &Sighting) -> rusqlite::Result<usize> {
    s.raw_bind_parameter(first, seen.frame.epoch.0)?;
    s.raw_bind_parameter(first + 1, seen.frame.media_us.as_micros())?;
    s.raw_bind_parameter(first + 2, seen.captured.mono.as_nanos())?;
    s.raw_bind_parameter(first + 3, seen.captured.rel_error.as_nanos())?;
    s.raw_bind_parameter(first + 4, seen.captured.source.name())?;
    s.raw_bind_parameter(first + 5, seen.map_version)?;
    s.raw_bind_parameter(first + 6, seen.stamp.utc.as_nanos())?;
    s.raw_bind_parameter(first + 7, seen.stamp.error.map(Span::as_nanos))?;
    s.raw_bind_parameter(first + 8, seen.bbox.x)?;
    s.raw_bind_parameter(first + 9, seen.bbox.y)?;
    s.raw_bind_parameter(first + 10, seen.bbox.w)?;
    s.raw_bind_parameter(first + 11, seen.bbox.h)?;
    s.raw_bind_parameter(first + 12, seen.score)?;
    Ok(first + SIGHTING.len())
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// Stored, with this many messages.
    Stored(u64),
    /// Said nothing new; its messages were stored the first time.
    Ignored,
}

/// Stores a change and its messages.
///
/// A change of an event that is not there (its begin was lost with a damaged file) still sends its messages.
pub(crate) fn apply(tx: &Transaction<'_>, entry: &Entry) -> rusqlite::Result<Applied> {
    let id = entry.event();
    let changed = match &entry.change {
        EventChange::Begin(event) => {
            if insert_event(tx, event, entry.boot)? == 0 {
                return Ok(Applied::Ignored);
            }
            1
        }
        EventChange::Best {
            sighting, picture, ..
        } => {
            let mut s = tx.prepare_cached(&BEST)?;
            s.raw_bind_parameter(1, id.0.as_bytes())?;
            bind_sighting(&mut s, 2, sighting)?;
            let changed = s.raw_execute()?;
            if changed > 0 {
                let sha256: [u8; 32] = Sha256::digest(&picture.jpeg).into();
                tx.prepare_cached(PUT_PICTURE)?.execute((
                    id.0.as_bytes(),
                    sha256,
                    picture.jpeg.len() as i64,
                    &picture.jpeg,
                ))?;
            }
            changed
        }
        EventChange::End {
            last,
            reason,
            sightings,
            ..
        } => {
            let mut s = tx.prepare_cached(&END)?;
            s.raw_bind_parameter(1, id.0.as_bytes())?;
            let next = bind_sighting(&mut s, 2, last)?;
            s.raw_bind_parameter(next, reason.name())?;
            s.raw_bind_parameter(next + 1, i64::try_from(*sightings).unwrap_or(i64::MAX))?;
            s.raw_execute()?
        }
        EventChange::System(event) => {
            if insert_system_event(tx, event, entry.boot)? == 0 {
                return Ok(Applied::Ignored);
            }
            1
        }
    };
    if changed == 0 {
        if tx.prepare_cached(EVENT_EXISTS)?.exists([id.0.as_bytes()])? {
            return Ok(Applied::Ignored);
        }
        log::warn!("event {}: a change came, but its begin was never stored", id.0);
    }
    let mut stored = 0;
    for message in &entry.messages {
        stored += insert_outbox(tx, id, message)?;
    }
    Ok(Applied::Stored(stored))
}

fn insert_event(tx: &Transaction<'_>, event: &Event, boot: BootId) -> rusqlite::Result<usize> {
    let mut s = tx.prepare_cached(&INSERT_EVENT)?;
    s.raw_bind_parameter(1, event.id.0.as_bytes())?;
    s.raw_bind_parameter(2, event.stream.as_str())?;
    s.raw_bind_parameter(3, i64::try_from(event.track.0).unwrap_or(i64::MAX))?;
    s.raw_bind_parameter(4, &event.label)?;
    s.raw_bind_parameter(5, &event.detector)?;
    s.raw_bind_parameter(6, boot.0.as_bytes())?;
    bind_sighting(&mut s, 7, &event.first)?;
    s.raw_execute()
}

fn insert_system_event(tx: &Transaction<'_>, event: &SystemEvent, boot: BootId) -> rusqlite::Result<usize> {
    let facts = serde_json::to_string(&event.change).map_err(to_sql_error)?;
    tx.prepare_cached(INSERT_SYSTEM_EVENT)?.execute((
        event.id.0.as_bytes(),
        event.change.name(),
        event.stream.as_ref().map(synoptic_base::StreamId::as_str),
        boot.0.as_bytes(),
        event.at.as_nanos(),
        event.map_version,
        event.utc.as_nanos(),
        event.error.map(Span::as_nanos),
        facts,
        event.untold,
    ))
}

fn insert_outbox(tx: &Transaction<'_>, event: EventId, message: &OutboxMessage) -> rusqlite::Result<u64> {
    // A list of pairs of texts always becomes JSON.
    let properties = serde_json::to_string(&message.properties).map_err(to_sql_error)?;
    let changed = tx.prepare_cached(INSERT_OUTBOX)?.execute((
        message.id.as_bytes(),
        event.0.as_bytes(),
        &message.topic,
        properties,
        &message.payload,
    ))?;
    Ok(changed as u64)
}

fn to_sql_error(e: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(e))
}

/// Removes messages that have left; returns how many there were.
pub(crate) fn delete_outbox(tx: &Transaction<'_>, seqs: &[i64]) -> rusqlite::Result<u64> {
    let mut s = tx.prepare_cached(DELETE_OUTBOX)?;
    let mut removed = 0;
    for seq in seqs {
        removed += s.execute([seq])? as u64;
    }
    Ok(removed)
}

pub(crate) fn put_map(tx: &Transaction<'_>, known: &KnownMap) -> rusqlite::Result<usize> {
    let map = &known.map;
    tx.prepare_cached(PUT_MAP)?.execute((
        map.boot_id.0.as_bytes(),
        map.version,
        map.utc_minus_mono.as_nanos(),
        map.error.map(Span::as_nanos),
        known.found.map(Mono::as_nanos),
    ))
}

/// Notes how far the spill has been taken over; segments below the first of these are gone.
pub(crate) fn put_positions(tx: &Transaction<'_>, positions: &[Position]) -> rusqlite::Result<()> {
    if let Some(first) = positions.first() {
        tx.prepare_cached(FORGET_POSITIONS)?.execute([first.segment])?;
    }
    for p in positions {
        let done = i64::try_from(p.done).unwrap_or(i64::MAX);
        tx.prepare_cached(PUT_POSITION)?.execute((p.segment, done))?;
    }
    Ok(())
}

/// The positions that an earlier run noted.
pub(crate) fn positions(db: &Connection) -> rusqlite::Result<Vec<Position>> {
    let mut s = db.prepare("SELECT segment, done FROM spill")?;
    let rows = s.query_map([], |row| {
        Ok(Position {
            segment: row.get(0)?,
            done: row.get::<_, i64>(1)?.unsigned_abs(),
        })
    })?;
    rows.collect()
}

/// Largest sequence number ever given to a message.
pub(crate) fn last_outbox_seq(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row(
        "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0)",
        [],
        |row| row.get(0),
    )
}

/// Stores detection results.
pub(crate) fn insert_detections(
    db: &mut Connection,
    boot: BootId,
    rows: &[DetectionRow],
) -> rusqlite::Result<()> {
    let tx = db.transaction()?;
    {
        let mut s = tx.prepare_cached(INSERT_DETECTIONS)?;
        for row in rows {
            let found = serde_json::to_string(&row.detections).map_err(to_sql_error)?;
            s.execute((
                row.frame.stream.as_str(),
                row.frame.epoch.0,
                row.frame.media_us.as_micros(),
                &row.detector,
                boot.0.as_bytes(),
                row.captured.mono.as_nanos(),
                row.captured.rel_error.as_nanos(),
                row.captured.source.name(),
                row.map_version,
                row.stamp.utc.as_nanos(),
                row.stamp.error.map(Span::as_nanos),
                found,
            ))?;
        }
    }
    tx.commit()
}
