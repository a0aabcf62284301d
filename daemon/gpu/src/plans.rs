//! Plans on disk: one file for each model, TensorRT, GPU and way of building, found again by a name that says all of it.
//!
//! A plan is written whole or not at all. One that TensorRT refuses is thrown away and built anew.

use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::GpuError;
use crate::cuda::DeviceInfo;
use crate::trt::{BuildOptions, Precision, Version};

/// Suffix of a plan's file.
const SUFFIX: &str = "plan";

/// A folder of plans.
#[derive(Clone, Debug)]
pub struct PlanStore {
    folder: PathBuf,
}

/// What a plan was built from and for; its file's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlanKey(String);

impl PlanKey {
    /// Of the model `onnx`, called `model`, built with `options` by `version` for `gpu`.
    ///
    /// Two GPUs of one name and capability share plans; TensorRT asks for no more (developer guide, "Serialized engines").
    pub fn new(
        model: &str,
        onnx: &[u8],
        version: Version,
        gpu: &DeviceInfo,
        options: &BuildOptions,
    ) -> PlanKey {
        let short = |hash: &[u8]| {
            hash.iter()
                .take(8)
                .map(|b| format!("{b:02x}"))
                .collect::<String>()
        };
        let precision = match options.precision {
            Precision::Model => "model",
            Precision::Half => "half",
            Precision::Int8 => "int8",
        };
        // What has no room in a name: the whole of the options and the GPU's.
        let rest = format!("{options:?} {} {}", gpu.name, gpu.multiprocessors);
        let plain = |text: &str| -> String {
            let kept = text.chars().map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_lowercase()
                } else {
                    '-'
                }
            });
            kept.take(32).collect()
        };
        let (major, minor, patch) = version.number;
        PlanKey(format!(
            "{}-{}-{}{major}.{minor}.{patch}-{}-{precision}-{}",
            plain(model),
            short(&Sha256::digest(onnx)),
            if version.rtx { "rtx" } else { "trt" },
            gpu.target(),
            short(&Sha256::digest(rest.as_bytes())),
        ))
    }
}

impl std::fmt::Display for PlanKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A plan in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its file's name without the suffix: a [`PlanKey`], or what somebody else put there.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

impl PlanStore {
    /// In `folder`, which need not be there yet.
    pub fn new(folder: impl Into<PathBuf>) -> PlanStore {
        PlanStore {
            folder: folder.into(),
        }
    }

    /// The file of a plan, whether it is there or not.
    pub fn path(&self, key: &PlanKey) -> PathBuf {
        self.folder.join(format!("{key}.{SUFFIX}"))
    }

    /// The plan of `key`; `None` when it was never built here.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(&self, key: &PlanKey) -> Result<Option<Vec<u8>>, GpuError> {
        let path = self.path(key);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed("read", &path, &e)),
        }
    }

    /// Keeps a plan, in place of one of the same key.
    ///
    /// # Errors
    /// When the folder cannot be written; nothing is changed then.
    pub fn write(&self, key: &PlanKey, plan: &[u8]) -> Result<(), GpuError> {
        let path = self.path(key);
        let write = || {
            std::fs::create_dir_all(&self.folder)?;
            let mut temporary = tempfile::NamedTempFile::new_in(&self.folder)?;
            temporary.write_all(plan)?;
            temporary.as_file().sync_all()?;
            temporary.persist(&path)?;
            // The name is safe too once its folder is.
            std::fs::File::open(&self.folder)?.sync_all()
        };
        write().map_err(|e: std::io::Error| failed("write", &path, &e))
    }

    /// Throws a plan away, one that was refused say; whether there was one.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove(&self, key: &PlanKey) -> Result<bool, GpuError> {
        let path = self.path(key);
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(failed("remove", &path, &e)),
        }
    }

    /// All plans, by name.
    ///
    /// # Errors
    /// When the folder is there and cannot be read.
    pub fn list(&self) -> Result<Vec<Stored>, GpuError> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(failed("read", &self.folder, &e)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| failed("read", &self.folder, &e))?;
            let path = entry.path();
            if path.extension().is_none_or(|e| e != SUFFIX) {
                continue;
            }
            let bytes = entry.metadata().map_err(|e| failed("read", &path, &e))?.len();
            let name = path.file_stem().map(|n| n.to_string_lossy().into_owned());
            found.push(Stored {
                name: name.unwrap_or_default(),
                bytes,
            });
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> GpuError {
    GpuError::Argument(format!(
        "cannot {what} {}: {error}; check the folder's owner and free space",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(name: &str, capability: (u32, u32)) -> DeviceInfo {
        DeviceInfo {
            name: name.to_owned(),
            capability,
            memory: 1 << 33,
            multiprocessors: 8,
            l2: 4 << 20,
            integrated: true,
        }
    }

    fn key(onnx: &[u8], number: (u32, u32, u32), name: &str, precision: Precision) -> PlanKey {
        let options = BuildOptions {
            precision,
            ..BuildOptions::default()
        };
        let version = Version { rtx: false, number };
        PlanKey::new("YOLOX nano/../x", onnx, version, &gpu(name, (8, 7)), &options)
    }

    #[test]
    fn another_model_version_gpu_or_way_of_building_is_another_plan() {
        let base = key(b"a", (10, 3, 0), "Orin", Precision::Half);
        assert!(base.to_string().starts_with("yolox-nano----x-"), "{base}");
        assert!(base.to_string().contains("-trt10.3.0-sm_87-half-"), "{base}");
        let others = [
            key(b"b", (10, 3, 0), "Orin", Precision::Half),
            key(b"a", (10, 3, 1), "Orin", Precision::Half),
            key(b"a", (10, 3, 0), "Thor", Precision::Half),
            key(b"a", (10, 3, 0), "Orin", Precision::Int8),
        ];
        assert!(others.iter().all(|o| *o != base));
        assert_eq!(key(b"a", (10, 3, 0), "Orin", Precision::Half), base);
    }

    #[test]
    fn plans_come_back_are_replaced_whole_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let store = PlanStore::new(folder.path().join("plans"));
        let key = key(b"a", (10, 3, 0), "Orin", Precision::Model);
        assert_eq!((store.read(&key), store.list()), (Ok(None), Ok(Vec::new())));
        store.write(&key, b"first").unwrap();
        store.write(&key, b"the second").unwrap();
        assert_eq!(store.read(&key), Ok(Some(b"the second".to_vec())));
        let stored = Stored {
            name: key.to_string(),
            bytes: 10,
        };
        // No temporary file stays behind.
        assert_eq!(std::fs::read_dir(folder.path().join("plans")).unwrap().count(), 1);
        assert_eq!(store.list(), Ok(vec![stored]));
        assert_eq!((store.remove(&key), store.remove(&key)), (Ok(true), Ok(false)));
        // A folder that cannot be: said with its path, and nothing else happens.
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let error = PlanStore::new(&file)
            .write(&key, b"plan")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("file") && error.contains("cannot write"),
            "{error}"
        );
    }
}
