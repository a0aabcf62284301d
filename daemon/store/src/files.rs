//! The files of a store: their names, their sizes, setting a damaged one aside.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use synoptic_base::Utc;

use crate::{Quarantined, StoreError};

/// Events, pictures, outbox.
pub(crate) const EVENTS: &str = "events.sqlite";
/// Detection results.
pub(crate) const DETECTIONS: &str = "detections.sqlite";
/// Held locked by the one process that writes.
const LOCK: &str = "store.lock";
/// What SQLite keeps beside a database in WAL mode.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];
/// Damaged databases kept for a look; older ones go, so that a failing disk is not filled with them.
const KEEP_QUARANTINED: usize = 2;

/// The companion file of a database: its path with a suffix.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Takes the folder for this process, for as long as the file lives.
pub(crate) fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK);
    let file = File::create(&path).map_err(StoreError::file(&path, "create the lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(e)) => Err(StoreError::file(&path, "lock the folder")(e)),
    }
}

/// Bytes of a database on disk: the file and its write-ahead log.
pub(crate) fn wal_bytes(path: &Path) -> u64 {
    // No log, no bytes.
    std::fs::metadata(with_suffix(path, "-wal")).map_or(0, |m| m.len())
}

/// Bytes free on the disk for this user.
pub(crate) fn free_bytes(dir: &Path) -> Result<u64, StoreError> {
    let fs = nix::sys::statvfs::statvfs(dir)
        .map_err(std::io::Error::from)
        .map_err(StoreError::file(dir, "ask for free space"))?;
    Ok(fs.blocks_available().saturating_mul(fs.fragment_size()))
}

/// `corrupt-20261121T100000Z`.
pub(crate) fn corrupt_suffix(now: Utc) -> String {
    let text = now.to_rfc3339();
    let seconds = text.split('.').next().unwrap_or(&text);
    format!("corrupt-{}Z", seconds.replace(['-', ':'], ""))
}

/// Renames a damaged database and its companions aside.
pub(crate) fn set_aside(path: &Path, now: Utc, why: String) -> Result<Quarantined, StoreError> {
    let suffix = corrupt_suffix(now);
    // Two in one second, as after a clock that starts at the same time with each boot, must not meet.
    let moved_to = (0..)
        .map(|n| {
            with_suffix(
                path,
                &if n == 0 {
                    format!(".{suffix}")
                } else {
                    format!(".{suffix}.{n}")
                },
            )
        })
        .find(|p| !p.exists())
        .unwrap_or_else(|| with_suffix(path, ".corrupt"));
    for companion in COMPANIONS {
        let from = with_suffix(path, companion);
        if from.exists() {
            std::fs::rename(&from, with_suffix(&moved_to, companion))
                .map_err(StoreError::file(&from, "set the damaged file aside"))?;
        }
    }
    std::fs::rename(path, &moved_to).map_err(StoreError::file(path, "set the damaged file aside"))?;
    forget_old_quarantine(path)?;
    log::error!(
        "{} is damaged ({why}); it lies in {} now, and an empty one takes its place",
        path.display(),
        moved_to.display()
    );
    Ok(Quarantined {
        path: path.to_owned(),
        moved_to,
        why,
    })
}

/// Removes all but the newest damaged copies of a database.
fn forget_old_quarantine(path: &Path) -> Result<(), StoreError> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return Ok(());
    };
    let prefix = format!("{name}.corrupt");
    let mut old = Vec::new();
    for item in std::fs::read_dir(dir).map_err(StoreError::file(dir, "list the folder"))? {
        let item = item.map_err(StoreError::file(dir, "list the folder"))?;
        let name = item.file_name().to_string_lossy().into_owned();
        if name.starts_with(&prefix) && !COMPANIONS.iter().any(|c| name.ends_with(c)) {
            let age = item.metadata().and_then(|m| m.modified()).ok();
            old.push((age, item.path()));
        }
    }
    old.sort();
    for (_, path) in old.iter().rev().skip(KEEP_QUARANTINED) {
        for companion in COMPANIONS {
            let path = with_suffix(path, companion);
            if path.exists() {
                std::fs::remove_file(&path)
                    .map_err(StoreError::file(&path, "remove the old damaged file"))?;
            }
        }
        std::fs::remove_file(path).map_err(StoreError::file(path, "remove the old damaged file"))?;
    }
    Ok(())
}
