//! Opening a database: is it whole, may this program read it, is its schema up to date?

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};
use synoptic_base::Utc;

use crate::{Quarantined, StoreError, files};

/// A database of the store.
pub(crate) struct Database {
    /// File name.
    pub(crate) name: &'static str,
    /// The schema that this program knows: its last migration.
    pub(crate) schema: i64,
    /// How durable a commit is.
    pub(crate) synchronous: SqliteSynchronous,
    /// Tables looked through at every start, whatever their size.
    quick_tables: &'static [&'static str],
    migrations: Migrator,
}

/// Bytes of a page. Pictures of 30 kB take 4 of these instead of 8 of the usual size; with 16 KiB `benches/store.rs`
/// was no faster, and small rows waste more.
pub(crate) const PAGE_BYTES: u32 = 8192;
/// A database up to this size is looked through whole at every start; of a larger one only the tables that the
/// daemon cannot do without, so that a start stays within seconds. `synoptic db check` looks at all.
const QUICK_CHECK_BYTES: u64 = 64 << 20;
/// A log larger than this is cut after a checkpoint.
const WAL_LIMIT_BYTES: i64 = 64 << 20;
/// Pages in the log before a checkpoint: 16 MiB. Fewer means more work a commit, more means a longer recovery.
const CHECKPOINT_PAGES: i64 = 2048;
/// How long a statement waits for another process, such as a backup or the sqlite3 shell, in milliseconds.
const BUSY_MS: u64 = 5_000;

/// Events, pictures, outbox.
pub(crate) fn events() -> Database {
    Database {
        name: files::EVENTS,
        schema: 2,
        synchronous: SqliteSynchronous::Full,
        quick_tables: &["meta", "events", "system_events", "outbox", "spill", "clock_maps"],
        migrations: tolerant(sqlx::migrate!("./migrations/events")),
    }
}

/// Detection results.
pub(crate) fn detections() -> Database {
    Database {
        name: files::DETECTIONS,
        schema: 1,
        synchronous: SqliteSynchronous::Normal,
        quick_tables: &["meta"],
        migrations: tolerant(sqlx::migrate!("./migrations/detections")),
    }
}

/// Accepts a file with more migrations than this program knows: a newer one was here, and its `min_reader` lets
/// us in.
fn tolerant(mut migrations: Migrator) -> Migrator {
    migrations.set_ignore_missing(true);
    migrations
}

impl Database {
    /// Makes sure that a whole database of the present schema is there, and says what had to be set aside.
    pub(crate) async fn prepare(&self, dir: &Path, now: Utc) -> Result<Option<Quarantined>, StoreError> {
        let path = dir.join(self.name);
        let mut quarantined = None;
        if path.exists()
            && let Err(e) = self.examine(&path)
        {
            let why = match e {
                Examined::Damaged(why) => why,
                Examined::Failed(e) => return Err(e),
            };
            quarantined = Some(files::set_aside(&path, now, why)?);
        }
        self.migrate(&path).await?;
        Ok(quarantined)
    }

    /// Looks at a file that is there.
    fn examine(&self, path: &Path) -> Result<(), Examined> {
        let db = Connection::open(path).map_err(StoreError::sqlite(path, "open"))?;
        let sql = |what| move |e| Examined::from(StoreError::sqlite(path, what)(e));
        db.busy_timeout(std::time::Duration::from_millis(BUSY_MS))
            .map_err(sql("set the busy timeout"))?;
        // Before the look through: a newer file is not damaged because this program does not understand it.
        self.admit(&db, path)?;
        let large = std::fs::metadata(path).map_or(0, |m| m.len()) > QUICK_CHECK_BYTES;
        let checks: Vec<String> = if large {
            let there = |table: &&&str| {
                db.query_row("SELECT 1 FROM sqlite_schema WHERE name = ?1", [table], |_| Ok(()))
                    .optional()
            };
            let mut checks = Vec::new();
            for table in self.quick_tables {
                if there(&table).map_err(sql("read the schema"))?.is_some() {
                    checks.push(format!("PRAGMA quick_check('{table}')"));
                }
            }
            checks
        } else {
            vec!["PRAGMA quick_check".to_owned()]
        };
        for check in checks {
            let answer: String = db
                .query_row(&check, [], |row| row.get(0))
                .map_err(sql("look through the file"))?;
            if answer != "ok" {
                return Err(Examined::Damaged(answer));
            }
        }
        Ok(())
    }

    /// Refuses a file that a newer program made unreadable for this one.
    pub(crate) fn admit(&self, db: &Connection, path: &Path) -> Result<(), StoreError> {
        let sql = |e| StoreError::sqlite(path, "read the schema version")(e);
        let has_meta = db
            .query_row("SELECT 1 FROM sqlite_schema WHERE name = 'meta'", [], |_| Ok(()))
            .optional()
            .map_err(sql)?
            .is_some();
        if !has_meta {
            return Ok(());
        }
        let number = |key: &str| -> Result<i64, StoreError> {
            db.query_row(
                "SELECT CAST(value AS INTEGER) FROM meta WHERE key = ?1",
                [key],
                |row| row.get(0),
            )
            .optional()
            .map(|v| v.unwrap_or(0))
            .map_err(sql)
        };
        let (schema, min_reader) = (number("schema")?, number("min_reader")?);
        if min_reader > self.schema {
            return Err(StoreError::TooNew {
                path: path.to_owned(),
                schema,
                min_reader,
                known: self.schema,
            });
        }
        Ok(())
    }

    /// Creates the file if it is missing, and applies the migrations it lacks, each in a transaction of its own.
    async fn migrate(&self, path: &Path) -> Result<(), StoreError> {
        let mut db = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .page_size(PAGE_BYTES)
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(self.synchronous)
            .busy_timeout(std::time::Duration::from_millis(BUSY_MS))
            .disable_statement_logging()
            .connect()
            .await
            .map_err(StoreError::query("open the database for its migrations"))?;
        self.migrations
            .run(&mut db)
            .await
            .map_err(|source| StoreError::Migrate {
                path: path.to_owned(),
                source,
            })?;
        db.close()
            .await
            .map_err(StoreError::query("close the database after its migrations"))
    }

    /// The writer's connection.
    pub(crate) fn writer(&self, dir: &Path) -> Result<Connection, StoreError> {
        let path = dir.join(self.name);
        let open = || {
            let db = Connection::open(&path)?;
            db.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
            let synchronous = match self.synchronous {
                SqliteSynchronous::Normal => "NORMAL",
                _ => "FULL",
            };
            db.pragma_update(None, "synchronous", synchronous)?;
            db.pragma_update(None, "foreign_keys", true)?;
            db.pragma_update(None, "journal_size_limit", WAL_LIMIT_BYTES)?;
            db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
            db.set_prepared_statement_cache_capacity(64);
            Ok(db)
        };
        open().map_err(StoreError::sqlite(&path, "open for writing"))
    }

    /// A connection that only reads, for checks and backups beside a running daemon.
    pub(crate) fn reader(&self, dir: &Path) -> Result<Connection, StoreError> {
        let path = dir.join(self.name);
        let open = || {
            let db = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            db.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
            Ok(db)
        };
        open().map_err(StoreError::sqlite(&path, "open for reading"))
    }

    /// Options of the reading pool.
    pub(crate) fn pool_options(&self, dir: &Path) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(dir.join(self.name))
            .read_only(true)
            .busy_timeout(std::time::Duration::from_millis(BUSY_MS))
            .disable_statement_logging()
    }
}

/// Why a file cannot be used as it is.
enum Examined {
    /// Set it aside.
    Damaged(String),
    /// Anything else: say so.
    Failed(StoreError),
}

impl From<StoreError> for Examined {
    fn from(e: StoreError) -> Examined {
        if e.is_corruption() {
            Examined::Damaged(e.to_string())
        } else {
            Examined::Failed(e)
        }
    }
}
