//! Where the shared library of onnxruntime lies.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The variable by which the `ort` crate and its users name the library.
pub(super) const VARIABLE: &str = "ORT_DYLIB_PATH";

/// Folders of a system's own libraries, Debian's multiarch ones among them, and where its makers unpack it.
const FOLDERS: [&str; 8] = [
    "/usr/local/lib",
    "/usr/local/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/opt/onnxruntime/lib",
    "/usr/local/onnxruntime/lib",
];

/// What a search found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Search {
    /// Files to try, the best first.
    pub(super) files: Vec<PathBuf>,
    looked_in: Vec<PathBuf>,
}

impl Search {
    /// Where it looked, for a message.
    pub(super) fn places(&self) -> String {
        let shown: Vec<_> = self.looked_in.iter().map(|p| p.display().to_string()).collect();
        shown.join(", ")
    }
}

/// Files to try. A name by configuration, then by variable, is the only one: it is never passed over silently.
pub(super) fn search(wanted: Option<&Path>) -> Search {
    let folders: Vec<PathBuf> = FOLDERS.iter().map(PathBuf::from).collect();
    search_in(wanted, std::env::var_os(VARIABLE), &folders)
}

fn search_in(wanted: Option<&Path>, variable: Option<OsString>, folders: &[PathBuf]) -> Search {
    let named = wanted.map(Path::to_owned).or_else(|| {
        let value = variable.filter(|v| !v.is_empty())?;
        Some(PathBuf::from(value))
    });
    let mut files = Vec::new();
    match named {
        Some(path) => files.push(path),
        None => {
            for folder in folders {
                files.extend(in_folder(folder));
            }
        }
    }
    Search {
        files,
        looked_in: folders.to_vec(),
    }
}

/// The libraries in a folder, the newest version first; each file once, whatever links point at it.
fn in_folder(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new(); // Most systems have only some of the folders.
    };
    let mut found: Vec<(Vec<u32>, PathBuf)> = Vec::new();
    for path in entries.filter_map(Result::ok).map(|e| e.path()) {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let Some(rest) = name.strip_prefix("libonnxruntime.so") else {
            continue;
        };
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        if rest.is_empty() || rest.starts_with('.') {
            let version = rest.split('.').filter_map(|part| part.parse().ok()).collect();
            match found.iter_mut().find(|(_, known)| *known == real) {
                Some((known, _)) => *known = std::mem::take(known).max(version),
                None => found.push((version, real)),
            }
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_the_only_one_tried() {
        let folders = [PathBuf::from("/nowhere")];
        let by_key = search_in(Some(Path::new("/a.so")), Some("/b.so".into()), &folders);
        assert_eq!(by_key.files, [PathBuf::from("/a.so")]);
        let by_variable = search_in(None, Some("/b.so".into()), &folders);
        assert_eq!(by_variable.files, [PathBuf::from("/b.so")]);
        let neither = search_in(None, Some(OsString::new()), &folders);
        assert!(neither.files.is_empty());
        assert_eq!(neither.places(), "/nowhere");
    }

    #[test]
    fn the_newest_of_a_folder_is_first_and_each_file_there_once() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        for name in [
            "libonnxruntime.so.1.9.0",
            "libonnxruntime.so.1.31.1",
            "libonnxruntime_providers_shared.so",
        ] {
            std::fs::write(dir.join(name), b"").unwrap();
        }
        std::os::unix::fs::symlink("libonnxruntime.so.1.31.1", dir.join("libonnxruntime.so")).unwrap();
        std::os::unix::fs::symlink("libonnxruntime.so.1.31.1", dir.join("libonnxruntime.so.1")).unwrap();
        let found = search_in(None, None, std::slice::from_ref(&dir));
        assert_eq!(
            found.files,
            [
                dir.join("libonnxruntime.so.1.31.1"),
                dir.join("libonnxruntime.so.1.9.0")
            ]
        );
    }
}
