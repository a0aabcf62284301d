//! Commands on the disk, one file each: what was begun is known after a restart, and is not begun again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use synoptic_base::Utc;
use synoptic_engine::command::{CommandId, CommandState, Report};
use uuid::Uuid;

use crate::config::write_atomically;

/// Folder in the data folder.
const FOLDER: &str = "commands";
/// Version of the files.
const VERSION: u32 = 1;

/// A command as it lies on the disk. Arguments are not kept: it is never begun again.
#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    name: String,
    id: String,
    state: String,
    since: String,
    expires: String,
    reason: Option<String>,
    result: Option<Value>,
    /// The boot in which it was last written.
    boot: Uuid,
    /// Counts the commands: their order.
    number: u64,
}

/// What an earlier run of the daemon left.
pub(super) struct Kept {
    pub(super) report: Report<Value>,
    pub(super) boot: Uuid,
    number: u64,
}

/// The folder of the commands.
pub(super) struct Memory {
    folder: PathBuf,
    boot: Uuid,
    next: u64,
}

impl Memory {
    /// Opens the folder and reads what is in it, oldest first. A file that cannot be read is set aside and told.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub(super) fn open(data_dir: &Path, boot: Uuid) -> std::io::Result<(Memory, Vec<Kept>)> {
        let folder = data_dir.join(FOLDER);
        std::fs::create_dir_all(&folder)?;
        let mut kept = Vec::new();
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|e| e != "json") {
                continue;
            }
            match read(&path) {
                Ok(one) => kept.push(one),
                Err(why) => {
                    log::error!("the record {} of a command is of no use: {why}", path.display());
                    let aside = path.with_extension("damaged");
                    if let Err(error) = std::fs::rename(&path, &aside) {
                        log::warn!("{} cannot be set aside: {error}", path.display());
                    }
                }
            }
        }
        kept.sort_by_key(|k| k.number);
        let next = kept.last().map_or(0, |k| k.number + 1);
        Ok((Memory { folder, boot, next }, kept))
    }

    /// Writes a command, whole or not at all.
    ///
    /// # Errors
    /// The text says which file and why.
    pub(super) fn keep(&mut self, report: &Report<Value>) -> Result<(), String> {
        let path = self.path(&report.id);
        // The first writing gives the number.
        let number = match read(&path) {
            Ok(known) => known.number,
            Err(_) => {
                self.next += 1;
                self.next - 1
            }
        };
        let record = Record {
            version: VERSION,
            name: report.name.clone(),
            id: report.id.to_string(),
            state: report.state.name().to_owned(),
            since: report.since.to_rfc3339(),
            expires: report.expires.to_rfc3339(),
            reason: report.reason.clone(),
            result: report.result.clone(),
            boot: self.boot,
            number,
        };
        let text = serde_json::to_vec(&record).map_err(|e| e.to_string())?;
        write_atomically(&path, &text, 0o600).map_err(|e| e.to_string())
    }

    /// Removes one that may be forgotten.
    pub(super) fn forget(&self, id: &CommandId) {
        let path = self.path(id);
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            log::warn!(
                "the record {} of a command cannot be removed: {error}",
                path.display()
            );
        }
    }

    fn path(&self, id: &CommandId) -> PathBuf {
        // Ids are narrow enough to be file names.
        self.folder.join(format!("{id}.json"))
    }
}

fn read(path: &Path) -> Result<Kept, String> {
    let text = std::fs::read(path).map_err(|e| e.to_string())?;
    let record: Record = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    if record.version != VERSION {
        return Err(format!("it is of version {}, not {VERSION}", record.version));
    }
    let time = |text: &str| Utc::from_rfc3339(text).ok_or_else(|| format!("{text} is no time"));
    let report = Report {
        id: CommandId::new(&record.id).map_err(|e| e.to_string())?,
        state: CommandState::from_name(&record.state).ok_or("its state is none")?,
        since: time(&record.since)?,
        expires: time(&record.expires)?,
        name: record.name,
        progress: None,
        reason: record.reason,
        result: record.result,
    };
    Ok(Kept {
        report,
        boot: record.boot,
        number: record.number,
    })
}
