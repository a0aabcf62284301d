//! Every query that reads, through sqlx.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqlitePool};
use synoptic_base::{
    BBox, BootId, Captured, ClockMap, EndReason, Epoch, Event, EventId, FrameKey, KnownMap, MediaTime, Mono,
    Sighting, Span, Stamp, StreamId, TimeSource, TrackId, Utc,
};
use uuid::Uuid;

use crate::{
    DetectionQuery, DetectionRow, EventPage, EventQuery, EventRow, OutboxMessage, OutboxRow, PictureInfo,
    StoreError,
};

/// Events a page unless asked otherwise.
pub(crate) const PAGE: u32 = 50;
/// Most events a page.
pub(crate) const PAGE_MAX: u32 = 500;
/// Detection rows a page unless asked otherwise.
const DETECTIONS_PAGE: u32 = 1_000;
/// Most detection rows a page.
const DETECTIONS_PAGE_MAX: u32 = 10_000;

/// With the best clock map of the event's boot: the newest synchronised one, or else the newest. A file of schema 1, which
/// a tool may read, has no `mono_ns` in its maps: the name then means the one of `absent`.
const EVENTS: &str = "SELECT events.*, p.sha256 AS picture_sha256, p.bytes AS picture_bytes, \
     m.version AS known_version, m.utc_minus_mono_ns AS known_offset_ns, m.error_ns AS known_error_ns, \
     (SELECT mono_ns FROM clock_maps n WHERE n.boot_id = m.boot_id AND n.version = m.version) AS known_mono_ns \
     FROM events JOIN (SELECT NULL AS mono_ns) AS absent LEFT JOIN event_pictures p ON p.event_id = events.id \
     LEFT JOIN clock_maps m ON m.boot_id = events.boot_id AND m.version = (SELECT version FROM clock_maps n \
     WHERE n.boot_id = events.boot_id ORDER BY error_ns IS NULL, version DESC LIMIT 1) WHERE 1";

/// How many are wanted: 0 means the usual number.
pub(crate) fn limit(wanted: u32, usual: u32, most: u32) -> u32 {
    if wanted == 0 { usual } else { wanted.min(most) }
}

pub(crate) async fn events(db: &SqlitePool, q: &EventQuery) -> Result<EventPage, StoreError> {
    let mut sql = QueryBuilder::<Sqlite>::new(EVENTS);
    if let Some(stream) = &q.stream {
        sql.push(" AND stream = ").push_bind(stream.to_string());
    }
    if let Some(label) = &q.label {
        sql.push(" AND label = ").push_bind(label.clone());
    }
    if let Some(from) = q.from {
        sql.push(" AND begin_utc_ns >= ").push_bind(from.as_nanos());
    }
    if let Some(to) = q.to {
        sql.push(" AND begin_utc_ns < ").push_bind(to.as_nanos());
    }
    if q.open_only {
        sql.push(" AND ended_by IS NULL");
    }
    if let Some(cursor) = &q.cursor {
        let before = Uuid::try_parse(cursor).map_err(|_| StoreError::Cursor(cursor.clone()))?;
        sql.push(" AND events.id < ")
            .push_bind(before.as_bytes().to_vec());
    }
    let limit = limit(q.limit, PAGE, PAGE_MAX);
    // One more than wanted tells whether there is a next page.
    sql.push(" ORDER BY events.id DESC LIMIT ").push_bind(limit + 1);
    let rows = sql
        .build()
        .fetch_all(db)
        .await
        .map_err(StoreError::query("list events"))?;
    let mut events: Vec<EventRow> = rows.iter().map(event_row).collect::<Result<_, _>>()?;
    let more = events.len() > limit as usize;
    events.truncate(limit as usize);
    crate::system_events::restamp(db, &mut events).await?;
    let next = events
        .last()
        .filter(|_| more)
        .map(|e| e.event.id.0.simple().to_string());
    Ok(EventPage { events, next })
}

/// All events without an end, oldest first.
pub(crate) async fn open_events(db: &SqlitePool) -> Result<Vec<EventRow>, StoreError> {
    let mut sql = QueryBuilder::<Sqlite>::new(EVENTS);
    sql.push(" AND ended_by IS NULL ORDER BY events.id");
    let rows = sql
        .build()
        .fetch_all(db)
        .await
        .map_err(StoreError::query("list the open events"))?;
    rows.iter().map(event_row).collect()
}

pub(crate) async fn event(db: &SqlitePool, id: EventId) -> Result<Option<EventRow>, StoreError> {
    let mut sql = QueryBuilder::<Sqlite>::new(EVENTS);
    sql.push(" AND events.id = ").push_bind(id.0.as_bytes().to_vec());
    let row = sql
        .build()
        .fetch_optional(db)
        .await
        .map_err(StoreError::query("read an event"))?;
    let mut event = row.as_ref().map(event_row).transpose()?;
    crate::system_events::restamp(db, event.as_mut_slice()).await?;
    Ok(event)
}

pub(crate) async fn picture(db: &SqlitePool, id: EventId) -> Result<Option<Vec<u8>>, StoreError> {
    sqlx::query_scalar("SELECT jpeg FROM event_pictures WHERE event_id = ?1")
        .bind(id.0.as_bytes().to_vec())
        .fetch_optional(db)
        .await
        .map_err(StoreError::query("read a picture"))
}

pub(crate) async fn outbox(
    db: &SqlitePool,
    after_seq: i64,
    limit: u32,
) -> Result<Vec<OutboxRow>, StoreError> {
    let rows = sqlx::query(
        "SELECT seq, id, event_id, topic, properties, payload FROM outbox WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )
    .bind(after_seq)
    .bind(limit)
    .fetch_all(db)
    .await
    .map_err(StoreError::query("read the outbox"))?;
    rows.iter()
        .map(|row| {
            let get = Columns {
                row,
                table: "outbox",
                key: format!("{}", row.try_get::<i64, _>("seq").unwrap_or(0)),
            };
            let properties: String = get.value("properties")?;
            Ok(OutboxRow {
                seq: get.value("seq")?,
                event: EventId(get.uuid("event_id")?),
                message: OutboxMessage {
                    id: get.uuid("id")?,
                    topic: get.value("topic")?,
                    payload: get.value("payload")?,
                    properties: serde_json::from_str(&properties).map_err(|e| get.bad("properties", &e))?,
                },
            })
        })
        .collect()
}

pub(crate) async fn detections(db: &SqlitePool, q: &DetectionQuery) -> Result<Vec<DetectionRow>, StoreError> {
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT * FROM detections WHERE stream = ");
    sql.push_bind(q.stream.to_string());
    if let Some(after) = q.after {
        sql.push(" AND (epoch, media_us) > (")
            .push_bind(after.epoch.0)
            .push(", ")
            .push_bind(after.media_us.as_micros())
            .push(")");
    }
    if let Some(from) = q.from {
        sql.push(" AND utc_ns >= ").push_bind(from.as_nanos());
    }
    if let Some(to) = q.to {
        sql.push(" AND utc_ns < ").push_bind(to.as_nanos());
    }
    sql.push(" ORDER BY epoch, media_us, detector LIMIT ")
        .push_bind(limit(q.limit, DETECTIONS_PAGE, DETECTIONS_PAGE_MAX));
    let rows = sql
        .build()
        .fetch_all(db)
        .await
        .map_err(StoreError::query("read detections"))?;
    rows.iter().map(detection_row).collect()
}

/// What was found in one frame, by every detector that looked.
pub(crate) async fn detections_of(db: &SqlitePool, frame: FrameKey) -> Result<Vec<DetectionRow>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM detections WHERE stream = ?1 AND epoch = ?2 AND media_us = ?3 ORDER BY detector",
    )
    .bind(frame.stream.to_string())
    .bind(frame.epoch.0)
    .bind(frame.media_us.as_micros())
    .fetch_all(db)
    .await
    .map_err(StoreError::query("read the detections of a frame"))?;
    rows.iter().map(detection_row).collect()
}

/// Reads columns, and says which row was wrong.
pub(crate) struct Columns<'a> {
    pub(crate) row: &'a SqliteRow,
    pub(crate) table: &'static str,
    pub(crate) key: String,
}

impl<'a> Columns<'a> {
    pub(crate) fn bad(&self, column: &str, why: &dyn std::fmt::Display) -> StoreError {
        StoreError::Row {
            table: self.table,
            row: self.key.clone(),
            why: format!("column {column}: {why}"),
        }
    }

    pub(crate) fn value<T>(&self, column: &str) -> Result<T, StoreError>
    where
        T: sqlx::Decode<'a, Sqlite> + sqlx::Type<Sqlite>,
    {
        self.row.try_get(column).map_err(|e| self.bad(column, &e))
    }

    pub(crate) fn number<T: TryFrom<i64>>(&self, column: &str) -> Result<T, StoreError> {
        let value: i64 = self.value(column)?;
        T::try_from(value).map_err(|_| self.bad(column, &format!("{value} is out of range")))
    }

    pub(crate) fn uuid(&self, column: &str) -> Result<Uuid, StoreError> {
        Uuid::from_slice(self.value(column)?).map_err(|e| self.bad(column, &e))
    }

    pub(crate) fn stream(&self) -> Result<StreamId, StoreError> {
        StreamId::new(self.value("stream")?).map_err(|e| self.bad("stream", &e))
    }

    fn source(&self, column: &str) -> Result<TimeSource, StoreError> {
        let name: &str = self.value(column)?;
        TimeSource::from_name(name).ok_or_else(|| self.bad(column, &format!("unknown time source `{name}`")))
    }

    fn captured(&self, prefix: &str) -> Result<(Captured, Stamp), StoreError> {
        let source = self.source(&format!("{prefix}source"))?;
        let error: Option<i64> = self.value(&format!("{prefix}error_ns"))?;
        let captured = Captured {
            mono: Mono::from_nanos(self.value(&format!("{prefix}mono_ns"))?),
            rel_error: Span::from_nanos(self.value(&format!("{prefix}rel_error_ns"))?),
            source,
        };
        let stamp = Stamp {
            utc: Utc::from_nanos(self.value(&format!("{prefix}utc_ns"))?),
            error: error.map(Span::from_nanos),
            source,
        };
        Ok((captured, stamp))
    }

    fn frame(&self, stream: StreamId, prefix: &str) -> Result<FrameKey, StoreError> {
        Ok(FrameKey {
            stream,
            epoch: Epoch(self.number(&format!("{prefix}epoch"))?),
            media_us: MediaTime::from_micros(self.value(&format!("{prefix}media_us"))?),
        })
    }

    fn sighting(&self, stream: StreamId, prefix: &str) -> Result<Sighting, StoreError> {
        let real = |name: &str| self.value::<f64>(&format!("{prefix}{name}")).map(|v| v as f32);
        let (captured, stamp) = self.captured(prefix)?;
        Ok(Sighting {
            frame: self.frame(stream, prefix)?,
            captured,
            stamp,
            map_version: self.number(&format!("{prefix}map"))?,
            bbox: BBox::new(real("x")?, real("y")?, real("w")?, real("h")?),
            score: real("score")?,
        })
    }
}

/// The inverse of [`EndReason::name`].
pub(crate) fn end_reason(name: &str) -> Option<EndReason> {
    [
        EndReason::Lost,
        EndReason::CameraLost,
        EndReason::Shutdown,
        EndReason::Restart,
    ]
    .into_iter()
    .find(|r| r.name() == name)
}

fn event_row(row: &SqliteRow) -> Result<EventRow, StoreError> {
    let mut get = Columns {
        row,
        table: "events",
        key: "without id".to_owned(),
    };
    let id = get.uuid("id")?;
    get.key = id.to_string();
    let stream = get.stream()?;
    let ended_by: Option<&str> = get.value("ended_by")?;
    let ended_by = ended_by
        .map(|name| end_reason(name).ok_or_else(|| get.bad("ended_by", &format!("unknown reason `{name}`"))))
        .transpose()?;
    let sha256: Option<&[u8]> = get.value("picture_sha256")?;
    let picture = match sha256 {
        Some(sha256) => Some(PictureInfo {
            sha256: sha256.try_into().map_err(|e| get.bad("sha256", &e))?,
            bytes: get.number("picture_bytes")?,
        }),
        None => None,
    };
    let boot_id = BootId(get.uuid("boot_id")?);
    let version: Option<i64> = get.value("known_version")?;
    let known_map = match version {
        Some(_) => Some(KnownMap {
            map: ClockMap {
                boot_id,
                version: get.number("known_version")?,
                utc_minus_mono: Span::from_nanos(get.value("known_offset_ns")?),
                error: get.value::<Option<i64>>("known_error_ns")?.map(Span::from_nanos),
            },
            found: get.value::<Option<i64>>("known_mono_ns")?.map(Mono::from_nanos),
        }),
        None => None,
    };
    Ok(EventRow {
        event: Event {
            id: EventId(id),
            stream,
            track: TrackId(get.number("track")?),
            label: get.value("label")?,
            detector: get.value("detector")?,
            first: get.sighting(stream, "begin_")?,
        },
        boot_id,
        last: get.sighting(stream, "last_")?,
        best: get.sighting(stream, "best_")?,
        ended_by,
        sightings: get.number("sightings")?,
        changes: get.number("changes")?,
        picture,
        known_map,
        restamps: Vec::new(),
    })
}

fn detection_row(row: &SqliteRow) -> Result<DetectionRow, StoreError> {
    let mut get = Columns {
        row,
        table: "detections",
        key: "without key".to_owned(),
    };
    let frame = get.frame(get.stream()?, "")?;
    get.key = frame.to_string();
    let (captured, stamp) = get.captured("")?;
    let found: &str = get.value("detections")?;
    Ok(DetectionRow {
        frame,
        captured,
        stamp,
        map_version: get.number("map")?,
        detector: get.value("detector")?,
        detections: serde_json::from_str(found).map_err(|e| get.bad("detections", &e))?,
    })
}
