//! Getting a model's file: where it may be, and whether it is the right one. No network here: `app` downloads and
//! hands the bytes to [`install`].

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::manifest::ModelManifest;

/// Folders below a mirror that are searched, and entries looked at: a mirror is a folder, not a disk.
const MIRROR_DEPTH: usize = 5;
const MIRROR_ENTRIES: usize = 20_000;
/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// Why a model's file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Reading or writing failed.
    #[error("{what} {}: {error}", path.display())]
    Io {
        /// `cannot read` or `cannot write`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// Another size.
    #[error("{} has {have} bytes, model {model} has {want}: it is another file or incomplete, fetch it again", path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// The model.
        model: String,
        /// Bytes found; one more than allowed when there was no end.
        have: u64,
        /// Bytes of the upstream file.
        want: u64,
    },
    /// Another content.
    #[error("{} has sha256 {have}, model {model} has {want}: it is another file or damaged, fetch it again", path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// The model.
        model: String,
        /// Of the file.
        have: String,
        /// Of the upstream file.
        want: String,
    },
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> FetchError {
    let path = path.to_owned();
    move |error| FetchError::Io { what, path, error }
}

/// How a model's file comes to be where it is looked for: a plain value, to be shown or done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It is there.
    Present(PathBuf),
    /// Copy it from a mirror.
    Copy {
        /// A verified file.
        from: PathBuf,
        /// The place for it.
        to: PathBuf,
    },
    /// Load it from the network.
    Download {
        /// The address.
        url: String,
        /// The place for it.
        to: PathBuf,
        /// Bytes to come.
        bytes: u64,
    },
}

/// What has to be done to have the model's file in one of `dirs`, the first of which is written to.
///
/// # Errors
/// [`FetchError::Io`] when a file that is there cannot be read.
pub fn plan(manifest: &ModelManifest, dirs: &[PathBuf], mirror: Option<&Path>) -> Result<Plan, FetchError> {
    for dir in dirs {
        for path in places(dir, manifest) {
            if is_right(&path, manifest)? {
                return Ok(Plan::Present(path));
            }
        }
    }
    let to = dirs.first().map_or_else(PathBuf::new, Clone::clone);
    let to = to.join(&manifest.name).join(manifest.file_name());
    if let Some(mirror) = mirror
        && let Some(from) = locate_in_mirror(mirror, manifest)?
    {
        return Ok(Plan::Copy { from, to });
    }
    Ok(Plan::Download {
        url: upstream_url(manifest),
        to,
        bytes: manifest.bytes,
    })
}

/// Where a model's file lies in a folder of models.
fn places(dir: &Path, manifest: &ModelManifest) -> [PathBuf; 4] {
    let file = manifest.file_name();
    [
        dir.join(&manifest.name).join(file),
        dir.join(file),
        dir.join(format!("{}.onnx", manifest.name)),
        dir.join(&manifest.sha256),
    ]
}

/// The model's file in the first of `dirs` that has one with its name. Not verified: loading does that.
pub fn locate(dirs: &[PathBuf], manifest: &ModelManifest) -> Option<PathBuf> {
    dirs.iter()
        .flat_map(|dir| places(dir, manifest))
        .find(|path| path.is_file())
}

/// A verified file of the model in a mirror: in its usual places first, then any of its size (5 folders deep).
///
/// # Errors
/// [`FetchError::Io`] when a candidate cannot be read. Folders that cannot be read are passed over.
pub fn locate_in_mirror(mirror: &Path, manifest: &ModelManifest) -> Result<Option<PathBuf>, FetchError> {
    for dir in [mirror.join("models"), mirror.to_owned()] {
        for path in places(&dir, manifest) {
            if is_right(&path, manifest)? {
                return Ok(Some(path));
            }
        }
    }
    let mut folders = vec![(mirror.to_owned(), 0)];
    let mut looked_at = 0;
    while let Some((folder, depth)) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            looked_at += 1;
            if looked_at > MIRROR_ENTRIES {
                log::warn!(
                    "gave up the search for {} in {} after {MIRROR_ENTRIES} entries",
                    manifest.name,
                    mirror.display()
                );
                return Ok(None);
            }
            // `file_type` does not follow links, so a loop cannot be entered.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < MIRROR_DEPTH => {
                    folders.push((entry.path(), depth + 1));
                }
                Ok(kind) if kind.is_file() && is_right(&entry.path(), manifest)? => {
                    return Ok(Some(entry.path()));
                }
                _ => {}
            }
        }
    }
    Ok(None)
}

/// Whether `path` is a file of the model; the hash is only made when the size fits.
fn is_right(path: &Path, manifest: &ModelManifest) -> Result<bool, FetchError> {
    let fits = path
        .metadata()
        .is_ok_and(|m| m.is_file() && manifest.accepted().any(|(_, bytes)| bytes == m.len()));
    if !fits {
        return Ok(false);
    }
    match verify(path, manifest, &mut |_| ()) {
        Ok(()) => Ok(true),
        Err(FetchError::Hash { .. } | FetchError::Size { .. }) => Ok(false),
        Err(other) => Err(other),
    }
}

/// Address of the model's file: its own, else GitHub's raw file at the pinned commit.
pub fn upstream_url(manifest: &ModelManifest) -> String {
    let up = &manifest.upstream;
    match &up.url {
        Some(url) => url.clone(),
        None => {
            let mut url = format!("https://raw.githubusercontent.com/{}/{}/", up.repo, up.commit);
            for byte in up.path.bytes() {
                if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~') {
                    url.push(char::from(byte));
                } else {
                    // Writing to a String cannot fail.
                    let _ = write!(url, "%{byte:02X}");
                }
            }
            url
        }
    }
}

/// Checks size and SHA-256 of a file. `progress` is told the bytes read so far.
///
/// # Errors
/// [`FetchError`]: the file cannot be read, or is not the model's.
pub fn verify(
    path: &Path,
    manifest: &ModelManifest,
    progress: &mut dyn FnMut(u64),
) -> Result<(), FetchError> {
    let mut file = File::open(path).map_err(io("cannot read", path))?;
    pump(&mut file, &mut std::io::sink(), path, manifest, progress)
}

/// Writes what `from` gives to `to`, through a file beside it that takes its name only once size and SHA-256 are
/// right. Folders are made. `progress` is told the bytes so far.
///
/// # Errors
/// [`FetchError`]; `to` is then as it was before.
pub fn install(
    from: &mut dyn Read,
    to: &Path,
    manifest: &ModelManifest,
    progress: &mut dyn FnMut(u64),
) -> Result<(), FetchError> {
    if let Some(dir) = to.parent() {
        std::fs::create_dir_all(dir).map_err(io("cannot make", dir))?;
    }
    let mut part = to.as_os_str().to_owned();
    part.push(format!(".part{}", std::process::id()));
    let part = PathBuf::from(part);
    let result = File::create(&part)
        .map_err(io("cannot write", &part))
        .and_then(|mut file| {
            pump(from, &mut file, to, manifest, progress)?;
            file.sync_all().map_err(io("cannot write", &part))
        })
        .and_then(|()| std::fs::rename(&part, to).map_err(io("cannot write", to)));
    if result.is_err()
        && let Err(error) = std::fs::remove_file(&part)
    {
        log::warn!("cannot remove {}: {error}", part.display());
    }
    result
}

fn pump(
    from: &mut dyn Read,
    to: &mut dyn Write,
    path: &Path,
    manifest: &ModelManifest,
    progress: &mut dyn FnMut(u64),
) -> Result<(), FetchError> {
    let most = manifest
        .accepted()
        .map(|(_, bytes)| bytes)
        .max()
        .unwrap_or_default();
    let (mut hash, mut have) = (Sha256::new(), 0_u64);
    let mut chunk = vec![0; CHUNK];
    loop {
        let n = match from.read(&mut chunk) {
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(io("cannot read", path)(e)),
        };
        have += n as u64;
        // A server that never ends must not fill the disk.
        if n == 0 || have > most {
            break;
        }
        hash.update(&chunk[..n]);
        to.write_all(&chunk[..n]).map_err(io("cannot write", path))?;
        progress(have);
    }
    check(path, manifest, have, &hex(&hash.finalize()))
}

/// Checks a file that was read whole.
///
/// # Errors
/// [`FetchError`]: it is not the model's.
pub fn check_bytes(path: &Path, manifest: &ModelManifest, data: &[u8]) -> Result<(), FetchError> {
    check(path, manifest, data.len() as u64, &hex(&Sha256::digest(data)))
}

fn check(path: &Path, manifest: &ModelManifest, have: u64, sha256: &str) -> Result<(), FetchError> {
    if !manifest.accepted().any(|(_, bytes)| bytes == have) {
        return Err(FetchError::Size {
            path: path.to_owned(),
            model: manifest.name.clone(),
            have,
            want: manifest.bytes,
        });
    }
    if !manifest.accepted().any(|accepted| accepted == (sha256, have)) {
        return Err(FetchError::Hash {
            path: path.to_owned(),
            model: manifest.name.clone(),
            have: sha256.to_owned(),
            want: manifest.sha256.clone(),
        });
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::shipped;

    const DATA: &[u8] = b"abc";

    /// FastestDet's manifest, for a file that holds `abc` (its SHA-256 is the example of FIPS 180-4).
    fn manifest() -> ModelManifest {
        let mut manifest = shipped("fastestdet");
        manifest.sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
        manifest.bytes = 3;
        manifest
    }

    #[test]
    fn a_download_is_taken_only_when_it_is_right() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("deep/er/model.onnx");
        let mut told = Vec::new();
        install(&mut &DATA[..], &to, &manifest(), &mut |n| told.push(n)).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), DATA);
        assert_eq!(told, [3]);
        for bad in [&b"abd"[..], b"ab", b"abcd"] {
            let error = install(&mut &bad[..], &to, &manifest(), &mut |_| ()).unwrap_err();
            assert!(error.to_string().contains("fetch it again"), "{error}");
        }
        let endless = install(&mut std::io::repeat(7), &to, &manifest(), &mut |_| ());
        assert!(matches!(endless, Err(FetchError::Size { .. })));
        assert_eq!(std::fs::read(&to).unwrap(), DATA);
        assert_eq!(std::fs::read_dir(to.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_plan_prefers_what_is_there_then_the_mirror_then_the_network() {
        let (models, mirror) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (manifest, dirs) = (manifest(), [models.path().to_owned()]);
        let to = models.path().join("fastestdet/FastestDet.onnx");
        let plan = || plan(&manifest, &dirs, Some(mirror.path())).unwrap();

        std::fs::create_dir_all(mirror.path().join("a/b")).unwrap();
        // The right name and size, but damaged.
        std::fs::write(mirror.path().join("FastestDet.onnx"), b"xyz").unwrap();
        let url = format!(
            "https://raw.githubusercontent.com/dog-qiuqiu/FastestDet/{}/{}",
            manifest.upstream.commit, manifest.upstream.path
        );
        let bytes = 3;
        assert_eq!(
            plan(),
            Plan::Download {
                url,
                to: to.clone(),
                bytes
            }
        );

        let from = mirror.path().join("a/b/whatever");
        std::fs::write(&from, DATA).unwrap();
        assert_eq!(plan(), Plan::Copy { from, to: to.clone() });

        install(&mut &DATA[..], &to, &manifest, &mut |_| ()).unwrap();
        assert_eq!(plan(), Plan::Present(to.clone()));
        assert_eq!(locate(&dirs, &manifest), Some(to));
    }

    #[test]
    fn addresses_are_escaped() {
        let mut manifest = manifest();
        manifest.upstream.path = "a b/ü.onnx".to_owned();
        assert!(upstream_url(&manifest).ends_with("/a%20b/%C3%BC.onnx"));
        manifest.upstream.url = Some("https://example.org/x".to_owned());
        assert_eq!(upstream_url(&manifest), "https://example.org/x");
    }
}
