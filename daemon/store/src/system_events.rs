//! System events read back, alone and among the events that follow a track.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite, SqlitePool};
use synoptic_base::{BootId, EventId, Mono, Span, StreamId, SystemChange, SystemEvent, Utc};
use uuid::Uuid;

use crate::queries::{self, Columns, PAGE, PAGE_MAX, limit};
use crate::{AnyEventPage, AnyEventRow, EventQuery, EventRow, StoreError, SystemEventRow, TRACK};

/// Type of the events that say which frames are timed better today.
const RESTAMP: &str = "restamp";
/// Restamps looked through for a page of events; a connection makes about ten.
const RESTAMPS: i64 = 5_000;

/// Gives each event the restamps of the frames that it was seen in.
pub(crate) async fn restamp(db: &SqlitePool, events: &mut [EventRow]) -> Result<(), StoreError> {
    let mut streams: Vec<StreamId> = events.iter().map(|e| e.event.stream).collect();
    streams.sort();
    streams.dedup();
    for stream in streams {
        let of = || events.iter().filter(|e| e.event.stream == stream);
        let Some(first) = of().map(|e| e.event.id).min() else {
            continue;
        };
        let found = sqlx::query(
            "SELECT boot_id, facts FROM system_events WHERE stream = ?1 AND type = ?2 AND id > ?3 ORDER BY id LIMIT ?4",
        )
        .bind(stream.to_string())
        .bind(RESTAMP)
        .bind(first.0.as_bytes().to_vec())
        .bind(RESTAMPS)
        .fetch_all(db)
        .await;
        let rows = match found {
            Ok(rows) => rows,
            // A tool may read a file of schema 1, which has no such table.
            Err(sqlx::Error::Database(e)) if e.message().contains("no such table") => return Ok(()),
            Err(e) => return Err(StoreError::query("read restamps")(e)),
        };
        for row in rows {
            let get = Columns {
                row: &row,
                table: "system_events",
                key: stream.to_string(),
            };
            let boot = BootId(get.uuid("boot_id")?);
            let facts: &str = get.value("facts")?;
            let change: SystemChange = serde_json::from_str(facts).map_err(|e| get.bad("facts", &e))?;
            let SystemChange::Restamp(restamp) = change else {
                continue;
            };
            for event in events
                .iter_mut()
                .filter(|e| e.event.stream == stream && e.boot_id == boot)
            {
                let seen = [&event.event.first, &event.best, &event.last];
                if seen
                    .iter()
                    .any(|s| restamp.recaptured(s.frame, s.captured).is_some())
                {
                    event.restamps.push(restamp);
                }
            }
        }
    }
    Ok(())
}

/// A page of events of every kind. Each kind is asked for a page, and the newest of both are one.
pub(crate) async fn any(db: &SqlitePool, q: &EventQuery) -> Result<AnyEventPage, StoreError> {
    let limit = limit(q.limit, PAGE, PAGE_MAX) as usize;
    let mut more = false;
    let mut events = Vec::new();
    if q.kind.as_deref().is_none_or(|kind| kind == TRACK) {
        let page = queries::events(db, q).await?;
        more = page.next.is_some();
        events.extend(page.events.into_iter().map(|e| AnyEventRow::Track(Box::new(e))));
    }
    // A system event has no class, and is over when it begins.
    let system = q.label.is_none() && !q.open_only && q.kind.as_deref() != Some(TRACK);
    if system {
        events.extend(list(db, q, limit + 1).await?.into_iter().map(AnyEventRow::System));
    }
    events.sort_by_key(|event| std::cmp::Reverse(event.id()));
    more |= events.len() > limit;
    events.truncate(limit);
    let next = events
        .last()
        .filter(|_| more)
        .map(|event| event.id().0.simple().to_string());
    Ok(AnyEventPage { events, next })
}

/// Newest first. Types that a newer program brought are passed over.
async fn list(db: &SqlitePool, q: &EventQuery, limit: usize) -> Result<Vec<SystemEventRow>, StoreError> {
    // A tool may be newer than the daemon that wrote the file and has not been started anew.
    let there = sqlx::query("SELECT 1 FROM sqlite_schema WHERE name = 'system_events'")
        .fetch_optional(db)
        .await
        .map_err(StoreError::query("read the schema"))?;
    if there.is_none() {
        return Ok(Vec::new());
    }
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT * FROM system_events WHERE type IN (");
    let known = SystemChange::NAMES.into_iter();
    let mut types = sql.separated(", ");
    // Restamps are read along with the events that they correct; alone only if asked for.
    let wanted = |name: &&str| q.kind.as_deref().map_or(*name != RESTAMP, |kind| kind == *name);
    for name in known.filter(wanted) {
        types.push_bind(name);
    }
    sql.push(")");
    if let Some(stream) = &q.stream {
        sql.push(" AND stream = ").push_bind(stream.to_string());
    }
    if let Some(from) = q.from {
        sql.push(" AND utc_ns >= ").push_bind(from.as_nanos());
    }
    if let Some(to) = q.to {
        sql.push(" AND utc_ns < ").push_bind(to.as_nanos());
    }
    if let Some(cursor) = &q.cursor {
        let before = Uuid::try_parse(cursor).map_err(|_| StoreError::Cursor(cursor.clone()))?;
        sql.push(" AND id < ").push_bind(before.as_bytes().to_vec());
    }
    sql.push(" ORDER BY id DESC LIMIT ").push_bind(limit as i64);
    let rows = sql
        .build()
        .fetch_all(db)
        .await
        .map_err(StoreError::query("list system events"))?;
    rows.iter().map(row).collect()
}

/// One event of either kind.
pub(crate) async fn one(db: &SqlitePool, id: EventId) -> Result<Option<AnyEventRow>, StoreError> {
    if let Some(event) = queries::event(db, id).await? {
        return Ok(Some(AnyEventRow::Track(Box::new(event))));
    }
    let found = sqlx::query("SELECT * FROM system_events WHERE id = ?1")
        .bind(id.0.as_bytes().to_vec())
        .fetch_optional(db)
        .await
        .map_err(StoreError::query("read a system event"))?;
    found
        .as_ref()
        .map(|r| row(r).map(AnyEventRow::System))
        .transpose()
}

fn row(row: &SqliteRow) -> Result<SystemEventRow, StoreError> {
    let mut get = Columns {
        row,
        table: "system_events",
        key: "without id".to_owned(),
    };
    let id = get.uuid("id")?;
    get.key = id.to_string();
    let stream: Option<&str> = get.value("stream")?;
    let stream = stream
        .map(|name| StreamId::new(name).map_err(|e| get.bad("stream", &e)))
        .transpose()?;
    let facts: &str = get.value("facts")?;
    let error: Option<i64> = get.value("error_ns")?;
    Ok(SystemEventRow {
        event: SystemEvent {
            id: EventId(id),
            stream,
            at: Mono::from_nanos(get.value("mono_ns")?),
            utc: Utc::from_nanos(get.value("utc_ns")?),
            error: error.map(Span::from_nanos),
            map_version: get.number("map")?,
            change: serde_json::from_str(facts).map_err(|e| get.bad("facts", &e))?,
            untold: get.number("untold")?,
        },
        boot_id: BootId(get.uuid("boot_id")?),
    })
}
