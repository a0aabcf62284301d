//! What can go wrong, where, and how to mend it.

use std::path::{Path, PathBuf};

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder could not be read or written.
    #[error("{path}: cannot {what}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Another process writes this folder.
    #[error(
        "{dir} is in use by another process; stop the other daemon, or give this one a folder of its own"
    )]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// The file was made by a newer program that old ones must not read.
    #[error(
        "{path} has schema {schema} and wants a program that knows schema {min_reader}; this one knows {known}. \
         Install the newer version again, or move the file away to start with an empty one"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its schema.
        schema: i64,
        /// The oldest schema a reader must know.
        min_reader: i64,
        /// What this program knows.
        known: i64,
    },
    /// SQLite refused, in the writer's library.
    #[error("{path}: {what}: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: rusqlite::Error,
    },
    /// A query failed, in the readers' library.
    #[error("{what}: {source}")]
    Query {
        /// What was asked.
        what: &'static str,
        /// Why it failed.
        source: sqlx::Error,
    },
    /// The migrations could not be applied.
    #[error("{path}: cannot bring the schema up to date: {source}; `synoptic db check` tells more")]
    Migrate {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: sqlx::migrate::MigrateError,
    },
    /// A row holds what this program cannot read.
    #[error("{table} {row}: {why}; run `synoptic db check`")]
    Row {
        /// The table.
        table: &'static str,
        /// Which row.
        row: String,
        /// What is wrong.
        why: String,
    },
    /// A page cursor that this store did not give out.
    #[error("`{0}` is no page cursor: pass on the `next` of the page before, unchanged")]
    Cursor(String),
    /// A backup's target exists.
    #[error("{path} exists; choose another place for the backup, or move the old one away")]
    TargetExists {
        /// The file.
        path: PathBuf,
    },
    /// A thread of the store could not be started.
    #[error("cannot start the thread {name}: {source}; the system may be out of memory or threads")]
    Thread {
        /// Its name.
        name: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// Closing found changes that could neither be stored nor spilled.
    #[error("{count} changes could not be written before the end: {why}")]
    Unwritten {
        /// How many.
        count: u64,
        /// Why.
        why: String,
    },
}

impl StoreError {
    pub(crate) fn file(path: &Path, what: &'static str) -> impl FnOnce(std::io::Error) -> StoreError {
        let path = path.to_owned();
        move |source| StoreError::File { path, what, source }
    }

    pub(crate) fn sqlite(path: &Path, what: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
        let path = path.to_owned();
        move |source| StoreError::Sqlite { path, what, source }
    }

    pub(crate) fn query(what: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
        move |source| StoreError::Query { what, source }
    }

    /// Whether the file itself is broken, so that setting it aside helps.
    pub(crate) fn is_corruption(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match self {
            StoreError::Sqlite { source, .. } => {
                matches!(source.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
            }
            _ => false,
        }
    }
}
