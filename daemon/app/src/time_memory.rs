//! What was learned of each camera's delay from light to arrival, over connections and restarts.
//!
//! One small file in the data folder, replaced whole. Losing it costs a wider bound until the first sender reports: so a
//! file that cannot be read or written is a word in the log, and nothing else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use synoptic_base::{Span, StreamId};
use synoptic_engine::timebase::LearnedDelay;
use synoptic_media::CameraOptions;

/// Name of the file.
const FILE: &str = "camera-delays.json";
/// A delay that moved by less, within a bound that did, is not worth a write.
const NEWS: Span = Span::from_millis(1);

/// What was learned of one stream of a camera.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Learned {
    /// The stream, without password: another one has another delay.
    source: String,
    /// The bias that it was learned with.
    bias_ns: i64,
    delay_ns: i64,
    error_ns: i64,
}

/// Keeps learned delays.
pub(crate) struct TimeMemory {
    path: PathBuf,
    cameras: Mutex<BTreeMap<StreamId, Vec<Learned>>>,
}

impl TimeMemory {
    /// Reads what an earlier run kept in `dir`.
    pub(crate) fn open(dir: &Path) -> TimeMemory {
        let path = dir.join(FILE);
        let cameras = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|e| {
                log::warn!("{}: {e}; cameras' delays are learned anew", path.display());
                BTreeMap::new()
            }),
            Err(e) => {
                if e.kind() != std::io::ErrorKind::NotFound {
                    log::warn!("{}: {e}; cameras' delays are learned anew", path.display());
                }
                BTreeMap::new()
            }
        };
        TimeMemory {
            path,
            cameras: Mutex::new(cameras),
        }
    }

    /// The delay of this stream, if it was learned with the bias that it has now.
    pub(crate) fn get(&self, camera: &CameraOptions) -> Option<LearnedDelay> {
        let cameras = self.cameras.lock().unwrap_or_else(PoisonError::into_inner);
        let source = camera.source.shown();
        let learned = cameras.get(&camera.id)?.iter().find(|l| l.source == source)?;
        (learned.bias_ns == camera.capture_bias.as_nanos()).then_some(LearnedDelay {
            delay: Span::from_nanos(learned.delay_ns),
            error: Span::from_nanos(learned.error_ns),
        })
    }

    /// Keeps a delay; writes only what is news.
    pub(crate) fn put(&self, camera: &CameraOptions, learned: LearnedDelay) {
        let known = self.get(camera);
        let same = |k: LearnedDelay| {
            (k.delay - learned.delay).abs() < NEWS && (k.error - learned.error).abs() < NEWS
        };
        if known.is_some_and(same) {
            return;
        }
        let mut cameras = self.cameras.lock().unwrap_or_else(PoisonError::into_inner);
        let source = camera.source.shown();
        let streams = cameras.entry(camera.id).or_default();
        streams.retain(|l| l.source != source);
        // A camera has a main and a sub stream; what is older was another address.
        if streams.len() > 1 {
            streams.remove(0);
        }
        streams.push(Learned {
            source,
            bias_ns: camera.capture_bias.as_nanos(),
            delay_ns: learned.delay.as_nanos(),
            error_ns: learned.error.as_nanos(),
        });
        let written = serde_json::to_vec_pretty(&*cameras)
            .map_err(std::io::Error::other)
            .and_then(|text| {
                let aside = self.path.with_extension("json.new");
                std::fs::write(&aside, text)?;
                std::fs::rename(&aside, &self.path)
            });
        if let Err(e) = written {
            log::warn!("{} cannot be written: {e}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use synoptic_base::Rotation;
    use synoptic_media::Source;

    use super::*;

    fn camera(path: &str, bias_ms: i64) -> CameraOptions {
        CameraOptions {
            id: StreamId::new("a").unwrap(),
            source: Source::File {
                path: path.into(),
                repeat: false,
            },
            rotation: Rotation::None,
            stall_after: Span::from_secs(3),
            capture_bias: Span::from_millis(bias_ms),
            capture_bias_error: Span::from_millis(40),
        }
    }

    fn delay(ms: i64) -> LearnedDelay {
        LearnedDelay {
            delay: Span::from_millis(ms),
            error: Span::from_millis(5),
        }
    }

    #[test]
    fn a_delay_survives_a_restart_and_belongs_to_its_stream_and_bias() {
        let dir = tempfile::tempdir().unwrap();
        let memory = TimeMemory::open(dir.path());
        assert_eq!(memory.get(&camera("main", 0)), None);
        memory.put(&camera("main", 0), delay(60));
        memory.put(&camera("sub", 0), delay(90));
        let memory = TimeMemory::open(dir.path());
        assert_eq!(memory.get(&camera("main", 0)), Some(delay(60)));
        assert_eq!(memory.get(&camera("sub", 0)), Some(delay(90)));
        assert_eq!(memory.get(&camera("main", 7)), None, "calibrated since");
        assert_eq!(memory.get(&camera("elsewhere", 0)), None);
    }

    #[test]
    fn a_damaged_file_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), b"{\"a\": [").unwrap();
        let memory = TimeMemory::open(dir.path());
        assert_eq!(memory.get(&camera("main", 0)), None);
        memory.put(&camera("main", 0), delay(60));
        assert_eq!(
            TimeMemory::open(dir.path()).get(&camera("main", 0)),
            Some(delay(60))
        );
    }
}
