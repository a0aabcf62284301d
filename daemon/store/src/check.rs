//! `synoptic db check`: looks through everything and says what it finds, as values. Changes nothing, and works
//! beside a running daemon.

use std::fmt;
use std::path::Path;

use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

use crate::migrate::{self, Database};
use crate::{StoreError, spill};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Something is off; the daemon works around it.
    Warning,
    /// Data is damaged.
    Error,
}

/// What is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The file cannot be opened or read at all.
    Unreadable(String),
    /// SQLite's own check complains.
    Integrity(String),
    /// A newer program wrote the file.
    NewerSchema(i64),
    /// A row refers to one that is not there.
    ForeignKey {
        /// The table that refers.
        table: String,
        /// The table referred to.
        parent: String,
        /// How many rows.
        rows: u64,
    },
    /// Pictures without their event.
    OrphanPictures(u64),
    /// A picture is not the one that was stored: its event.
    WrongPicture(String),
    /// Messages of one event stand in the wrong order: the later one's `seq`.
    OutboxOrder(i64),
    /// A message that cannot be sent as it is: its `seq`, and why.
    BadMessage(i64, String),
    /// Events that end before they begin, or hold a name this program does not know: one of them, and how many.
    BadEvents {
        /// What is wrong.
        why: &'static str,
        /// How many.
        rows: u64,
    },
    /// Detection results that are no JSON list.
    BadDetections(u64),
    /// Events without an end: usual while the daemon runs, closed at its next start otherwise.
    OpenEvents(u64),
    /// Messages that have not left.
    OutboxWaiting(u64),
    /// Bytes in the spill: taken over by the daemon, at its next start at the latest.
    SpillWaiting(u64),
}

impl Finding {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        match self {
            Finding::OpenEvents(_) | Finding::OutboxWaiting(_) | Finding::SpillWaiting(_) => Severity::Note,
            Finding::NewerSchema(_) | Finding::OutboxOrder(_) | Finding::BadDetections(_) => {
                Severity::Warning
            }
            _ => Severity::Error,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Unreadable(why) => {
                write!(
                    f,
                    "cannot be read: {why}. If it is damaged, the daemon sets it aside at its next start"
                )
            }
            Finding::Integrity(what) => {
                write!(
                    f,
                    "damaged: {what}. Restart the daemon to set the file aside, or restore a backup"
                )
            }
            Finding::NewerSchema(schema) => {
                write!(
                    f,
                    "has schema {schema}, newer than this program; it is readable all the same"
                )
            }
            Finding::ForeignKey { table, parent, rows } => {
                write!(
                    f,
                    "{rows} rows of {table} refer to rows of {parent} that are not there"
                )
            }
            Finding::OrphanPictures(n) => write!(f, "{n} pictures belong to no event"),
            Finding::WrongPicture(id) => {
                write!(f, "the picture of event {id} is not the one that was stored")
            }
            Finding::OutboxOrder(seq) => {
                write!(f, "message {seq} stands behind a newer one of the same event")
            }
            Finding::BadMessage(seq, why) => write!(f, "message {seq} cannot be sent: {why}"),
            Finding::BadEvents { why, rows } => write!(f, "{rows} events {why}"),
            Finding::BadDetections(n) => write!(f, "{n} detection results are unreadable"),
            Finding::OpenEvents(n) => write!(
                f,
                "{n} events have no end: usual while the daemon runs, else closed at its next start"
            ),
            Finding::OutboxWaiting(n) => write!(f, "{n} messages wait for the broker"),
            Finding::SpillWaiting(bytes) => {
                write!(
                    f,
                    "{bytes} bytes of changes wait in the spill; the daemon takes them over"
                )
            }
        }
    }
}

/// A finding and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// File name within the store's folder.
    pub file: &'static str,
    /// What.
    pub finding: Finding,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// All findings, in the order of the files.
    pub found: Vec<Found>,
}

impl CheckReport {
    /// The worst finding; `None` when there is none.
    pub fn worst(&self) -> Option<Severity> {
        self.found.iter().map(|f| f.finding.severity()).max()
    }
}

/// Most single findings of one kind that are listed.
const LISTED: usize = 20;

/// Checks the store in a folder. Reads every page, so it takes as long as the disk needs for that.
///
/// # Errors
/// The folder cannot be listed. What is wrong with a file is a finding, not an error.
pub fn run(dir: &Path) -> Result<CheckReport, StoreError> {
    let mut report = CheckReport::default();
    check_file(&migrate::events(), dir, &mut report, events);
    check_file(&migrate::detections(), dir, &mut report, detections);
    let spilled = spill::used_bytes(dir)?;
    if spilled > 0 {
        report.found.push(Found {
            file: "spill",
            finding: Finding::SpillWaiting(spilled),
        });
    }
    Ok(report)
}

type Findings = Vec<Finding>;

fn check_file(
    database: &Database,
    dir: &Path,
    report: &mut CheckReport,
    rows: fn(&Connection, &mut Findings) -> rusqlite::Result<()>,
) {
    let mut findings = Vec::new();
    let mut look = || -> Result<(), StoreError> {
        let db = database.reader(dir)?;
        let path = dir.join(database.name);
        let sql = |what| StoreError::sqlite(&path, what);
        database.admit(&db, &path)?;
        whole(&db, &mut findings).map_err(sql("check the file"))?;
        let schema: i64 = db
            .query_row(
                "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'schema'",
                [],
                |r| r.get(0),
            )
            .map_err(sql("read the schema version"))?;
        if schema > database.schema {
            findings.push(Finding::NewerSchema(schema));
        }
        rows(&db, &mut findings).map_err(sql("check the rows"))
    };
    if let Err(e) = look() {
        findings.push(Finding::Unreadable(e.to_string()));
    }
    let file = database.name;
    report
        .found
        .extend(findings.into_iter().map(|finding| Found { file, finding }));
}

/// SQLite's own checks.
fn whole(db: &Connection, findings: &mut Findings) -> rusqlite::Result<()> {
    let mut s = db.prepare(&format!("PRAGMA integrity_check({LISTED})"))?;
    let lines = s.query_map([], |row| row.get::<_, String>(0))?;
    for line in lines {
        let line = line?;
        if line != "ok" {
            findings.push(Finding::Integrity(line));
        }
    }
    let mut s = db.prepare(
        "SELECT \"table\", parent, count(*) FROM pragma_foreign_key_check GROUP BY \"table\", parent",
    )?;
    let broken = s.query_map([], |row| {
        Ok(Finding::ForeignKey {
            table: row.get(0)?,
            parent: row.get(1)?,
            rows: row.get::<_, i64>(2)?.unsigned_abs(),
        })
    })?;
    for finding in broken {
        findings.push(finding?);
    }
    Ok(())
}

fn count(db: &Connection, sql: &str) -> rusqlite::Result<u64> {
    db.query_row(sql, [], |row| row.get::<_, i64>(0))
        .map(i64::unsigned_abs)
}

fn events(db: &Connection, findings: &mut Findings) -> rusqlite::Result<()> {
    let orphans = count(
        db,
        "SELECT count(*) FROM event_pictures WHERE NOT EXISTS (SELECT 1 FROM events WHERE id = event_id)",
    )?;
    if orphans > 0 {
        findings.push(Finding::OrphanPictures(orphans));
    }

    let mut s = db.prepare("SELECT lower(hex(event_id)), sha256, bytes, jpeg FROM event_pictures")?;
    let mut rows = s.query([])?;
    let mut wrong = 0;
    while let Some(row) = rows.next()? {
        let (sha256, jpeg) = (row.get_ref(1)?.as_blob()?, row.get_ref(3)?.as_blob()?);
        let bytes: i64 = row.get(2)?;
        if Sha256::digest(jpeg).as_slice() != sha256 || bytes.unsigned_abs() != jpeg.len() as u64 {
            wrong += 1;
            if wrong <= LISTED {
                findings.push(Finding::WrongPicture(row.get(0)?));
            }
        }
    }

    // Message ids are UUIDv7, so within one event a smaller id behind a larger one is out of order. Only the first
    // 6 bytes count: they are the time, the rest is chance.
    let mut s = db.prepare(
        "SELECT seq FROM (SELECT seq, substr(id, 1, 6) AS at, lag(substr(id, 1, 6)) OVER \
         (PARTITION BY event_id ORDER BY seq) AS before FROM outbox) WHERE before > at ORDER BY seq LIMIT ?1",
    )?;
    for seq in s.query_map([LISTED as i64], |row| row.get(0))? {
        findings.push(Finding::OutboxOrder(seq?));
    }
    let mut s = db.prepare("SELECT seq, topic, properties FROM outbox ORDER BY seq")?;
    let mut rows = s.query([])?;
    let mut bad = 0;
    while let Some(row) = rows.next()? {
        let (topic, properties): (String, String) = (row.get(1)?, row.get(2)?);
        let why = if topic.is_empty() {
            Some("it has no topic".to_owned())
        } else {
            serde_json::from_str::<Vec<(String, String)>>(&properties)
                .err()
                .map(|e| format!("its properties are unreadable: {e}"))
        };
        if let Some(why) = why
            && bad < LISTED
        {
            bad += 1;
            findings.push(Finding::BadMessage(row.get(0)?, why));
        }
    }
    let last: i64 = crate::sql::last_outbox_seq(db)?;
    if let Some(seq) = db.query_row("SELECT max(seq) FROM outbox", [], |r| r.get::<_, Option<i64>>(0))?
        && seq > last
    {
        let why = format!("the counter says {last}, so its number would be given out again");
        findings.push(Finding::BadMessage(seq, why));
    }

    for (why, condition) in [
        ("end before they begin", "last_mono_ns < begin_mono_ns"),
        (
            "have an end of an unknown kind",
            "ended_by IS NOT NULL AND ended_by NOT IN ('lost', 'camera_lost', 'shutdown', 'restart')",
        ),
        (
            "have an unknown time source",
            &unknown_sources(&["begin_source", "last_source", "best_source"]),
        ),
    ] {
        let rows = count(db, &format!("SELECT count(*) FROM events WHERE {condition}"))?;
        if rows > 0 {
            findings.push(Finding::BadEvents { why, rows });
        }
    }

    let there = "SELECT count(*) FROM sqlite_schema WHERE name = 'system_events'";
    if count(db, there)? > 0 {
        let rows = count(
            db,
            "SELECT count(*) FROM system_events WHERE NOT json_valid(facts) OR facts ->> 'type' IS NOT type",
        )?;
        if rows > 0 {
            let why = "of the system have unreadable facts";
            findings.push(Finding::BadEvents { why, rows });
        }
    }

    let open = count(db, "SELECT count(*) FROM events WHERE ended_by IS NULL")?;
    if open > 0 {
        findings.push(Finding::OpenEvents(open));
    }
    let waiting = count(db, "SELECT count(*) FROM outbox")?;
    if waiting > 0 {
        findings.push(Finding::OutboxWaiting(waiting));
    }
    Ok(())
}

/// A condition that is true where a column holds no known time source.
fn unknown_sources(columns: &[&str]) -> String {
    use synoptic_base::TimeSource::{
        Arrival, FrameCounter, Hardware, Host, InBand, PacketNtp, Ptp, SenderReport,
    };
    let known = [
        Ptp,
        PacketNtp,
        Hardware,
        SenderReport,
        InBand,
        Arrival,
        FrameCounter,
        Host,
    ]
    .map(|s| format!("'{}'", s.name()))
    .join(", ");
    let each: Vec<String> = columns.iter().map(|c| format!("{c} NOT IN ({known})")).collect();
    each.join(" OR ")
}

fn detections(db: &Connection, findings: &mut Findings) -> rusqlite::Result<()> {
    let bad = count(
        db,
        "SELECT count(*) FROM detections WHERE NOT json_valid(detections) OR json_type(detections) <> 'array'",
    )?;
    if bad > 0 {
        findings.push(Finding::BadDetections(bad));
    }
    Ok(())
}
