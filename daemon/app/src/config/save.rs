//! Writing a configuration so that a power cut leaves the old file or the new one, never half of one.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::load::parse;
use super::problem::ConfigErrors;
use super::surroundings::{Surroundings, ThisMachine};

/// Mode of a configuration file that did not exist before: it holds no password, so everyone may read it.
const NEW_FILE_MODE: u32 = 0o644;

/// Why a configuration was not written. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The new text is wrong.
    #[error("{0}")]
    Invalid(#[from] ConfigErrors),
    /// The file system refused.
    #[error("{path} cannot be written: {source}. Synoptic's user needs to be allowed to write to its folder", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Checks the text and writes it to `path`: a temporary file, fsync, rename, fsync of the folder. What was there
/// stays as `path` with `.bak` behind its name.
pub fn save(path: &Path, text: &str) -> Result<(), SaveError> {
    save_with(path, text, &ThisMachine)
}

/// As [`save`], checked on `machine`.
pub(super) fn save_with(path: &Path, text: &str, machine: &dyn Surroundings) -> Result<(), SaveError> {
    parse(text, path, machine)?;
    // A rename would put a file in the place of a link.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mode = match std::fs::read(&target) {
        Ok(previous) if previous == text.as_bytes() => return Ok(()),
        Ok(previous) => {
            let mode = std::fs::metadata(&target)
                .map_err(|source| SaveError::Io {
                    path: target.clone(),
                    source,
                })?
                .permissions()
                .mode();
            let mut backup = target.clone().into_os_string();
            backup.push(".bak");
            write_atomically(Path::new(&backup), &previous, mode & 0o7777)?;
            mode & 0o7777
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => NEW_FILE_MODE,
        Err(source) => return Err(SaveError::Io { path: target, source }),
    };
    write_atomically(&target, text.as_bytes(), mode)
}

/// Writes a whole file or nothing, with permission bits `mode` from its first moment on.
pub(crate) fn write_atomically(path: &Path, content: &[u8], mode: u32) -> Result<(), SaveError> {
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".synoptic-")
            .permissions(std::fs::Permissions::from_mode(0o600))
            .tempfile_in(folder)?;
        file.write_all(content)?;
        // The process's umask does not apply to a mode that is set.
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        std::fs::File::open(folder)?.sync_all()
    };
    write().map_err(|source| SaveError::Io {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saving_keeps_the_previous_file_and_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        save(&path, "schema_version = 1\n").unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o644);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        save(&path, "schema_version = 1 # two\n").unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "schema_version = 1 # two\n"
        );
        let backup = folder.path().join("a.toml.bak");
        assert_eq!(std::fs::read_to_string(&backup).unwrap(), "schema_version = 1\n");
        assert_eq!((mode(&path), mode(&backup)), (0o640, 0o640));
        // Saving the same again does not overwrite the backup.
        save(&path, "schema_version = 1 # two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&backup).unwrap(), "schema_version = 1\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_wrong_text_is_never_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        save(&path, "schema_version = 1\n").unwrap();
        assert!(matches!(
            save(&path, "schema_version = 7\n"),
            Err(SaveError::Invalid(_))
        ));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "schema_version = 1\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a.toml"), folder.path().join("link.toml"));
        save(&path, "schema_version = 1\n").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        save(&link, "schema_version = 1 # new\n").unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "schema_version = 1 # new\n"
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = save(Path::new("/nowhere/at/all/a.toml"), "schema_version = 1\n").unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all/a.toml"), "{error}");
    }
}
