//! A copy of the databases, taken while they are being written.
//!
//! Through SQLite's online backup, within one read transaction: the copy is the state of one instant, and the
//! writer goes on meanwhile (its log grows until the copy is done). Works beside a running daemon, from any process.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::migrate::{self, Database};
use crate::{StoreError, files};

/// Pages copied at a time.
const PAGES_A_STEP: i32 = 4096;

/// What a backup wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupReport {
    /// The files, each with its size in bytes.
    pub files: Vec<(PathBuf, u64)>,
}

/// Copies the store in `dir` into the folder `to`, which is made if it is missing. Blocks while it copies.
///
/// Each file is written aside, looked through, synced and then renamed, so that a file of the right name is whole.
///
/// # Errors
/// A file of that name is there already; a file cannot be read or written; the copy turns out damaged.
pub fn run(dir: &Path, to: &Path) -> Result<BackupReport, StoreError> {
    std::fs::create_dir_all(to).map_err(StoreError::file(to, "make the folder"))?;
    let mut report = BackupReport { files: Vec::new() };
    for database in [migrate::events(), migrate::detections()] {
        let target = to.join(database.name);
        if target.exists() {
            return Err(StoreError::TargetExists { path: target });
        }
        let bytes = copy(&database, dir, &target)?;
        report.files.push((target, bytes));
    }
    let epochs = dir.join(crate::epochs::FILE);
    if epochs.exists() {
        let target = to.join(crate::epochs::FILE);
        let bytes = std::fs::copy(&epochs, &target).map_err(StoreError::file(&target, "copy the epochs"))?;
        report.files.push((target, bytes));
    }
    File::open(to)
        .and_then(|d| d.sync_all())
        .map_err(StoreError::file(to, "sync the folder"))?;
    Ok(report)
}

fn copy(database: &Database, dir: &Path, target: &Path) -> Result<u64, StoreError> {
    let aside = target.with_extension("part");
    if aside.exists() {
        std::fs::remove_file(&aside).map_err(StoreError::file(&aside, "remove an unfinished backup"))?;
    }
    let source = database.reader(dir)?;
    let sql = |what| StoreError::sqlite(&aside, what);
    let mut copy = Connection::open(&aside).map_err(sql("create the backup"))?;
    // The open read transaction pins the instant; without it every commit meanwhile would begin the copy anew.
    source
        .execute_batch("BEGIN; SELECT count(*) FROM meta;")
        .map_err(StoreError::sqlite(&dir.join(database.name), "begin to read"))?;
    {
        let backup = Backup::new(&source, &mut copy).map_err(sql("begin the backup"))?;
        loop {
            match backup.step(PAGES_A_STEP).map_err(sql("copy"))? {
                StepResult::Done => break,
                StepResult::More => {}
                // The source is pinned and nobody else knows the copy, so this does not happen; to go round again
                // is right if it does, because each lock is waited for by the busy timeout.
                _ => log::warn!("{}: the backup waits for a lock", aside.display()),
            }
        }
    }
    let answer: String = copy
        .query_row("PRAGMA quick_check", [], |row| row.get(0))
        .map_err(sql("look through the copy"))?;
    if answer != "ok" {
        return Err(StoreError::Row {
            table: "backup",
            row: target.display().to_string(),
            why: answer,
        });
    }
    // Out of the log mode: the copy is one file, whole by itself. Opening it as a store turns the log on again.
    copy.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))
        .map_err(sql("finish the backup"))?;
    copy.close().map_err(|(_, e)| sql("close the backup")(e))?;
    let sync = || {
        File::open(&aside)?.sync_all()?;
        std::fs::rename(&aside, target)?;
        std::fs::metadata(target).map(|m| m.len())
    };
    let bytes = sync().map_err(StoreError::file(target, "finish the backup"))?;
    log::info!(
        "{}: {bytes} bytes copied from {}",
        target.display(),
        dir.join(files::EVENTS).display()
    );
    Ok(bytes)
}
