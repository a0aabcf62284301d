//! What of an update survives a restart: one small file, whole or not at all.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use synoptic_engine::update::Kept;

use super::documents::Source;

/// The file in the updater's folder.
const FILE: &str = "state.json";
/// Version of the file. Another one is begun anew: a release older than the one that wrote it must start all the same.
const SCHEMA: u32 = 1;

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    /// Version of this file.
    pub schema: u32,
    /// Boot id of when it was written.
    pub boot: String,
    /// Number of the update under way, or of the last one.
    pub job: u64,
    /// The command that asked for it: after the restart it is told how that went.
    #[serde(default)]
    pub command: Option<String>,
    /// Since when it is in this state, RFC 3339.
    pub since: Option<String>,
    /// Newest version that was ever committed.
    pub floor: Option<String>,
    /// The machine.
    pub update: Kept<Source>,
}

/// The file.
#[derive(Clone, Debug)]
pub(super) struct MemoryFile(PathBuf);

impl MemoryFile {
    pub(super) fn in_folder(own: &Path) -> MemoryFile {
        MemoryFile(own.join(FILE))
    }

    /// What is remembered. One that cannot be read is told and forgotten: an update that cannot be begun is worse.
    pub(super) fn read(&self) -> Option<Memory> {
        let text = match std::fs::read(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                log::error!("updates: {} cannot be read: {error}", self.0.display());
                return None;
            }
        };
        match serde_json::from_slice::<Memory>(&text) {
            Ok(memory) if memory.schema == SCHEMA => Some(memory),
            Ok(memory) => {
                let (file, schema) = (self.0.display(), memory.schema);
                log::warn!("updates: {file} is of version {schema}, this daemon knows {SCHEMA}: begun anew");
                None
            }
            Err(error) => {
                log::error!("updates: {} is damaged ({error}): begun anew", self.0.display());
                None
            }
        }
    }

    /// Writes it: a temporary file, fsync, rename, fsync of the folder.
    pub(super) fn write(&self, memory: &Memory) -> io::Result<()> {
        let folder = self.0.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".state-").tempfile_in(folder)?;
        serde_json::to_writer_pretty(&mut file, memory).map_err(io::Error::other)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(&self.0).map_err(|error| error.error)?;
        std::fs::File::open(folder)?.sync_all()
    }
}

impl Memory {
    /// A box that was never updated.
    pub(super) fn new(boot: String, update: Kept<Source>) -> Memory {
        Memory {
            schema: SCHEMA,
            boot,
            job: 0,
            command: None,
            since: None,
            floor: None,
            update,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use synoptic_engine::update::{Job, Release, State, Wish};

    fn memory() -> Memory {
        let update = Kept {
            state: State::Installing { percent: 40 },
            job: Some(Job {
                wish: Wish {
                    source: Source::Url {
                        url: "https://updates.example/box.raucb".to_owned(),
                        sha256: Some("00".repeat(32)),
                    },
                    repeatable: true,
                    version: None,
                    allow_downgrade: false,
                    force: true,
                    reboot: true,
                },
                release: Some(Release {
                    version: "1.2.3".to_owned(),
                    compatible: "box".to_owned(),
                }),
                target: Some("B".to_owned()),
                note: None,
            }),
        };
        Memory {
            job: 7,
            floor: Some("1.2.0".to_owned()),
            ..Memory::new("boot".to_owned(), update)
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = MemoryFile::in_folder(dir.path());
        assert_eq!(file.read(), None);
        file.write(&memory()).unwrap();
        assert_eq!(file.read(), Some(memory()));
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing is left behind"
        );
    }

    #[test]
    fn what_cannot_be_read_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let file = MemoryFile::in_folder(dir.path());
        let mut text = serde_json::to_string(&memory()).unwrap();
        std::fs::write(dir.path().join(FILE), &text[..text.len() / 2]).unwrap();
        assert_eq!(file.read(), None);
        text = text.replace("\"schema\":1", "\"schema\":2");
        std::fs::write(dir.path().join(FILE), &text).unwrap();
        assert_eq!(file.read(), None);
        assert!(
            MemoryFile::in_folder(Path::new("/nowhere/at/all"))
                .write(&memory())
                .is_err()
        );
    }
}
