//! Epoch numbers: + 1 at every reconnect, on disk before they are used, never used twice.
//!
//! They live in `epochs.json`, not in a database, so that they survive a corrupt one. The file is replaced whole
//! (write aside, sync, rename, sync the folder), so a crash leaves the old or the new one. Should it be missing or
//! unreadable beside existing data, numbering goes on above every epoch still found in the databases and not below
//! the number of seconds since 2024: epochs advance at most once a second (reconnects back off by at least that),
//! so that number is above any epoch given out before.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use synoptic_base::{Epoch, StreamId, Utc};

use crate::StoreError;

/// Name of the file.
pub(crate) const FILE: &str = "epochs.json";
/// 2024-01-01T00:00:00Z in seconds since 1970.
const YEAR_2024_S: i64 = 1_704_067_200;

/// The last epoch of every stream.
pub(crate) struct Epochs {
    dir: PathBuf,
    state: Mutex<State>,
}

/// What the file holds.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// No epoch at or below this is given out: 0 unless the file was once lost.
    floor: u32,
    /// The last epoch given out, by stream.
    last: BTreeMap<StreamId, u32>,
}

impl Epochs {
    /// Reads the file. `fresh` says that the folder holds no data yet; `found` gives the largest epoch in the
    /// databases, by stream, and is asked only when the file is lost.
    pub(crate) fn open(
        dir: &Path,
        fresh: bool,
        found: impl FnOnce() -> Result<BTreeMap<StreamId, u32>, StoreError>,
        now: Utc,
    ) -> Result<Epochs, StoreError> {
        let path = dir.join(FILE);
        let read: Option<State> = match std::fs::read(&path) {
            Ok(text) => match serde_json::from_slice(&text) {
                Ok(state) => Some(state),
                Err(e) => {
                    log::error!(
                        "{}: {e}; epochs go on from a number made of the time",
                        path.display()
                    );
                    None
                }
            },
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => fresh.then(State::default),
            Err(e) => return Err(StoreError::file(&path, "read the epochs")(e)),
        };
        let state = match read {
            Some(state) => state,
            None => State {
                floor: u32::try_from((now.as_nanos().div_euclid(1_000_000_000) - YEAR_2024_S).max(0))
                    .unwrap_or(u32::MAX - 1),
                last: found()?,
            },
        };
        Ok(Epochs {
            dir: dir.to_owned(),
            state: Mutex::new(state),
        })
    }

    /// Gives the next epoch out, after it is on disk.
    pub(crate) fn next(&self, stream: StreamId) -> Result<Epoch, StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = state.clone();
        let slot = next.last.entry(stream).or_default();
        *slot = (*slot).max(next.floor).saturating_add(1);
        let epoch = Epoch(*slot);
        self.write(&next)?;
        *state = next;
        Ok(epoch)
    }

    fn write(&self, state: &State) -> Result<(), StoreError> {
        let path = self.dir.join(FILE);
        let aside = self.dir.join("epochs.json.new");
        let text = serde_json::to_vec_pretty(state)
            .map_err(std::io::Error::other)
            .map_err(StoreError::file(&path, "write the epochs"))?;
        let write = || {
            let mut file = File::create(&aside)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&aside, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(StoreError::file(&path, "write the epochs"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cam(name: &str) -> StreamId {
        StreamId::new(name).unwrap()
    }

    #[test]
    fn epochs_count_from_one_and_survive() {
        let dir = tempfile::tempdir().unwrap();
        let now = Utc::from_nanos(0);
        let epochs = Epochs::open(dir.path(), true, || Ok(BTreeMap::new()), now).unwrap();
        assert_eq!(epochs.next(cam("a")).unwrap(), Epoch(1));
        assert_eq!(epochs.next(cam("a")).unwrap(), Epoch(2));
        assert_eq!(epochs.next(cam("b")).unwrap(), Epoch(1));
        let epochs = Epochs::open(dir.path(), false, || Ok(BTreeMap::new()), now).unwrap();
        assert_eq!(epochs.next(cam("a")).unwrap(), Epoch(3));
    }

    #[test]
    fn a_lost_file_never_brings_an_epoch_back() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), b"{\"floor\": 0, \"last\": {\"a\": 7").unwrap();
        let now = Utc::from_rfc3339("2026-11-21T10:00:00Z").unwrap();
        let epochs = Epochs::open(dir.path(), false, || Ok(BTreeMap::new()), now).unwrap();
        let first = epochs.next(cam("a")).unwrap();
        assert!(first.0 > 90_000_000, "{first:?}");
        assert_eq!(epochs.next(cam("a")).unwrap(), Epoch(first.0 + 1));
        // Cameras that had not come back yet when the file was written again are safe too.
        let epochs = Epochs::open(dir.path(), false, || Ok(BTreeMap::new()), now).unwrap();
        assert!(epochs.next(cam("b")).unwrap() >= first);
        // A box that does not know the time yet still goes on above what the databases hold.
        std::fs::remove_file(dir.path().join(FILE)).unwrap();
        let found = || Ok(BTreeMap::from([(cam("a"), 41)]));
        let epochs = Epochs::open(dir.path(), false, found, Utc::from_nanos(0)).unwrap();
        assert_eq!(epochs.next(cam("a")).unwrap(), Epoch(42));
    }
}
