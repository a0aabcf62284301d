//! Bundles on what somebody plugged in.

use std::path::{Path, PathBuf};

use super::documents::MediaFile;
use super::facts::Places;

/// Where a system mounts what is plugged in, and how many folders deep a file may lie (udisks: media/USER/LABEL).
const FOLDERS: [&str; 2] = ["run/media", "media"];
const DEPTH: usize = 4;
/// Files listed at most, and entries looked at: a stick full of pictures is not walked for minutes.
const MOST: usize = 32;
const MOST_LOOKED_AT: usize = 4_000;

/// Every bundle there is.
pub(super) fn list(places: &Places) -> Vec<MediaFile> {
    let mut found = Vec::new();
    let mut left = MOST_LOOKED_AT;
    for folder in FOLDERS {
        walk(&places.at(folder), DEPTH, &mut left, &mut found);
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.truncate(MOST);
    found
}

fn walk(folder: &Path, depth: usize, left: &mut usize, found: &mut Vec<MediaFile>) {
    // Not there, or not for us: nothing to list.
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if *left == 0 {
            return;
        }
        *left -= 1;
        // Links are not followed: one may lead anywhere.
        let Ok(kind) = entry.file_type() else { continue };
        let path = entry.path();
        if kind.is_dir() && depth > 0 {
            walk(&path, depth - 1, left, found);
        } else if kind.is_file()
            && is_bundle(&path)
            && let (Ok(meta), Some(text)) = (entry.metadata(), path.to_str())
        {
            found.push(MediaFile {
                path: text.to_owned(),
                bytes: meta.len(),
            });
        }
    }
}

fn is_bundle(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "raucb")
}

/// The file of that path, if it is one that may be installed.
///
/// # Errors
/// What is wrong with it.
pub(super) fn allowed(places: &Places, path: &str) -> Result<PathBuf, String> {
    let real = std::fs::canonicalize(path).map_err(|e| format!("{path}: {e}"))?;
    let inside = FOLDERS
        .iter()
        .any(|folder| std::fs::canonicalize(places.at(folder)).is_ok_and(|folder| real.starts_with(folder)));
    if !inside || !is_bundle(&real) || !real.is_file() {
        return Err(format!(
            "{path} is no *.raucb file below /run/media or /media, where sticks are mounted"
        ));
    }
    Ok(real)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bundles_of_what_is_plugged_in() {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        let places = Places {
            root: root.clone(),
            own: root.join("own"),
        };
        assert_eq!(list(&places), []);
        for file in [
            "media/stick/a.raucb",
            "run/media/user/LABEL/deep/b.raucb",
            "media/stick/photo.jpg",
            "etc/c.raucb",
        ] {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"12345").unwrap();
        }
        std::os::unix::fs::symlink(root.join("etc/c.raucb"), root.join("media/stick/link.raucb")).unwrap();
        std::os::unix::fs::symlink(root.join("etc"), root.join("media/stick/folder")).unwrap();
        let found: Vec<_> = list(&places).into_iter().map(|f| (f.path, f.bytes)).collect();
        let name = |file: &str| root.join(file).to_str().unwrap().to_owned();
        assert_eq!(
            found,
            [
                (name("media/stick/a.raucb"), 5),
                (name("run/media/user/LABEL/deep/b.raucb"), 5)
            ]
        );
        assert!(allowed(&places, &name("media/stick/a.raucb")).is_ok());
        for bad in [
            "etc/c.raucb",
            "media/stick/link.raucb",
            "media/stick/photo.jpg",
            "media/stick/../../etc/c.raucb",
            "media/none.raucb",
        ] {
            assert!(allowed(&places, &name(bad)).is_err(), "{bad}");
        }
    }
}
