//! When streams began: `starts.json`, beside the epochs and kept like them, so that it survives a corrupt database.
//! Losing it costs nothing but that knowledge: an unreadable file is said and begun anew.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use synoptic_base::StreamStart;

use crate::StoreError;

/// Name of the file.
pub(crate) const FILE: &str = "starts.json";

pub(crate) fn read(dir: &Path) -> Vec<StreamStart> {
    let path = dir.join(FILE);
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|e| {
            log::error!(
                "{}: {e}; when streams began before this start is forgotten",
                path.display()
            );
            Vec::new()
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => {
            log::error!(
                "{}: {e}; when streams began before this start is forgotten",
                path.display()
            );
            Vec::new()
        }
    }
}

/// Replaces the file whole: a crash leaves the old or the new one.
pub(crate) fn write(dir: &Path, starts: &[StreamStart]) -> Result<(), StoreError> {
    let path = dir.join(FILE);
    let aside = dir.join("starts.json.new");
    let text = serde_json::to_vec_pretty(starts)
        .map_err(std::io::Error::other)
        .map_err(StoreError::file(&path, "write when streams began"))?;
    let write = || {
        let mut file = File::create(&aside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&aside, &path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(StoreError::file(&path, "write when streams began"))
}

#[cfg(test)]
mod tests {
    use synoptic_base::{Epoch, Numbering, Span, StreamId, TimeSource, Utc};

    use super::*;

    #[test]
    fn starts_survive_and_a_damaged_file_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), []);
        let start = StreamStart {
            stream: StreamId::new("cam").unwrap(),
            epoch: Epoch(7),
            utc: Utc::from_nanos(1_790_000_000_000_000_000),
            error: Some(Span::from_millis(3)),
            source: TimeSource::InBand,
            numbering: Some(Numbering {
                first: 5,
                clock_rate_hz: 1_000,
            }),
            drift_ppm: Some(1.5),
        };
        write(dir.path(), &[start]).unwrap();
        assert_eq!(read(dir.path()), [start]);
        std::fs::write(dir.path().join(FILE), b"[{").unwrap();
        assert_eq!(read(dir.path()), []);
    }
}
