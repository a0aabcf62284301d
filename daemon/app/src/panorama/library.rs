//! The calibrations of one panorama on disk: `FOLDER/ID.000007.toml` with a small picture beside it.
//!
//! The highest version is the one in use. A file is written whole under a new number and never changed; to roll back
//! is to write an old one anew. A result that nobody has accepted yet is the candidate, `ID.candidate.toml`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use synoptic_base::{Projection, StreamId};
use synoptic_vision::panorama::calibrate::{CalibrationFile, version_in_name, version_name};

use crate::documents::{CalibratedCameraDoc, CalibratedSeamDoc, CalibrationDoc};

/// Versions that are kept beside the one in use; the oldest goes.
const KEPT: usize = 50;

/// A calibration as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// Its version; `None` for a candidate, and for a file of the configuration.
    pub version: Option<u32>,
    pub file: CalibrationFile,
    pub sha256: String,
}

/// The calibrations of one panorama.
#[derive(Clone, Debug)]
pub(crate) struct Library {
    folder: PathBuf,
    name: StreamId,
}

impl Library {
    /// In `folder`, which is made when the first is written.
    pub(crate) fn new(folder: PathBuf, name: StreamId) -> Library {
        Library { folder, name }
    }

    fn path(&self, version: u32) -> PathBuf {
        self.folder.join(version_name(self.name.as_str(), version))
    }

    fn candidate_path(&self) -> PathBuf {
        self.folder.join(format!("{}.candidate.toml", self.name))
    }

    /// All versions on disk, newest first.
    pub(crate) fn versions(&self) -> Result<Vec<u32>> {
        let at = || format!("reading folder {}", self.folder.display());
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e).with_context(at),
        };
        let mut versions = Vec::new();
        for entry in entries {
            let file = entry.with_context(at)?.file_name();
            versions.extend(file.to_str().and_then(|f| version_in_name(self.name.as_str(), f)));
        }
        versions.sort_unstable_by(|a, b| b.cmp(a));
        Ok(versions)
    }

    /// The newest that can be read; those that cannot be are told. `None` when there is none.
    pub(crate) fn newest(&self) -> Result<Option<Stored>> {
        for version in self.versions()? {
            match self.read(version) {
                Ok(stored) => return Ok(Some(stored)),
                Err(error) => log::error!("panorama {}: {error:#}; an older one is tried", self.name),
            }
        }
        Ok(None)
    }

    /// One version.
    pub(crate) fn read(&self, version: u32) -> Result<Stored> {
        read(&self.path(version), Some(version))
    }

    /// Removes all versions and the candidate.
    pub(crate) fn clear(&self) -> Result<()> {
        match std::fs::remove_dir_all(&self.folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("removing {}", self.folder.display()))
            }
            _ => Ok(()),
        }
    }

    /// The file of one version as it is written.
    pub(crate) fn text(&self, version: u32) -> Result<String> {
        let path = self.path(version);
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// What waits to be accepted.
    pub(crate) fn candidate(&self) -> Result<Option<Stored>> {
        let path = self.candidate_path();
        path.exists().then(|| read(&path, None)).transpose()
    }

    /// The small picture of a version, or of the candidate.
    pub(crate) fn picture(&self, version: Option<u32>) -> Option<Vec<u8>> {
        std::fs::read(self.picture_path(version)).ok()
    }

    fn picture_path(&self, version: Option<u32>) -> PathBuf {
        match version {
            Some(version) => self.path(version).with_extension("jpg"),
            None => self.candidate_path().with_extension("jpg"),
        }
    }

    /// Writes a result that waits for a person, in place of the one before.
    pub(crate) fn put_candidate(&self, file: &CalibrationFile, picture: Option<&[u8]>) -> Result<()> {
        self.make_folder()?;
        self.write_picture(None, picture);
        replace(&self.candidate_path(), file.to_text()?.as_bytes())
    }

    /// Takes the candidate into use. `None` when there is none.
    pub(crate) fn accept(&self) -> Result<Option<u32>> {
        let Some(stored) = self.candidate()? else {
            return Ok(None);
        };
        let picture = self.picture(None);
        let version = self.add(&stored.file, picture.as_deref())?;
        self.discard()?;
        Ok(Some(version))
    }

    /// Throws the candidate away. `false` when there is none.
    pub(crate) fn discard(&self) -> Result<bool> {
        let path = self.candidate_path();
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e).with_context(|| format!("removing {}", path.display())),
        }
        // A picture that stays is overwritten by the next candidate's.
        std::fs::remove_file(self.picture_path(None)).ok();
        Ok(true)
    }

    /// Writes an old version anew, so that it is the one in use. Returns its new number.
    pub(crate) fn roll_back(&self, version: u32) -> Result<u32> {
        let stored = self.read(version)?;
        let picture = self.picture(Some(version));
        self.add(&stored.file, picture.as_deref())
    }

    /// Writes the next version.
    pub(crate) fn add(&self, file: &CalibrationFile, picture: Option<&[u8]>) -> Result<u32> {
        self.make_folder()?;
        let versions = self.versions()?;
        let Some(next) = versions.first().copied().unwrap_or(0).checked_add(1) else {
            bail!("there are too many versions in {}", self.folder.display());
        };
        self.write_picture(Some(next), picture);
        let path = self.path(next);
        let mut temporary = tempfile::NamedTempFile::new_in(&self.folder)
            .with_context(|| format!("writing into {}", self.folder.display()))?;
        temporary.write_all(file.to_text()?.as_bytes())?;
        temporary.as_file().sync_all()?;
        temporary
            .persist_noclobber(&path)
            .with_context(|| format!("writing {}", path.display()))?;
        for old in versions.into_iter().skip(KEPT) {
            let removed = std::fs::remove_file(self.path(old));
            std::fs::remove_file(self.picture_path(Some(old))).ok();
            if let Err(e) = removed {
                log::warn!("panorama {}: old calibration {old} stays: {e}", self.name);
            }
        }
        Ok(next)
    }

    /// Where control points are kept.
    pub(super) fn points_path(&self) -> PathBuf {
        self.folder.join(format!("{}.control-points.json", self.name))
    }

    pub(super) fn make_folder(&self) -> Result<()> {
        std::fs::create_dir_all(&self.folder)
            .with_context(|| format!("making folder {}", self.folder.display()))
    }

    /// A calibration without its picture is as good.
    fn write_picture(&self, version: Option<u32>, picture: Option<&[u8]>) {
        if let Some(picture) = picture
            && let Err(error) = replace(&self.picture_path(version), picture)
        {
            log::warn!("panorama {}: {error:#}", self.name);
        }
    }

    /// A stored calibration as a document.
    pub(crate) fn doc(&self, stored: &Stored) -> CalibrationDoc {
        let which = stored.version.map_or("candidate".to_owned(), |v| v.to_string());
        let has_picture = self.picture_path(stored.version).exists();
        let picture = format!("/api/v1/panoramas/{}/calibrations/{which}/picture", self.name);
        CalibrationDoc {
            picture: has_picture.then_some(picture),
            ..doc(stored)
        }
    }
}

/// Reads a calibration file.
pub(crate) fn read(path: &Path, version: Option<u32>) -> Result<Stored> {
    let at = || format!("calibration {}", path.display());
    let text = std::fs::read_to_string(path).with_context(at)?;
    let file = CalibrationFile::from_text(&text).with_context(at)?;
    let head = text.lines().next().unwrap_or_default();
    let sha256 = head
        .rsplit("sha256=")
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    Ok(Stored {
        version,
        file,
        sha256,
    })
}

pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("writing into {}", folder.display()))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(())
}

/// Name of a projection in documents.
pub(crate) fn projection_name(projection: Projection) -> &'static str {
    match projection {
        Projection::Rectilinear => "rectilinear",
        Projection::Plane => "plane",
        Projection::Cylindrical => "cylindrical",
        Projection::Spherical => "spherical",
    }
}

fn doc(stored: &Stored) -> CalibrationDoc {
    let (rig, report) = (&stored.file.calibration.rig, &stored.file.calibration.report);
    let cameras = rig.cameras.iter().map(|camera| {
        let figures = report.cameras.iter().find(|f| f.stream == camera.stream);
        CalibratedCameraDoc {
            cam: camera.stream.to_string(),
            focal_px: camera.intrinsics.fx,
            focal_sd_percent: figures.map(|f| f.focal_sd_percent),
            corner_sd_px: figures.map(|f| f.corner_sd_px),
            confidence: figures.map(|f| f.confidence),
        }
    });
    let seams = report.seams.iter().map(|seam| CalibratedSeamDoc {
        cameras: seam.cameras.map(|c| c.to_string()),
        ties: seam.ties,
        rms_px: seam.rms_px,
    });
    CalibrationDoc {
        version: stored.version,
        created: stored.file.created.clone(),
        sha256: stored.sha256.clone(),
        method: report.method.clone(),
        projection: projection_name(rig.canvas.projection).to_owned(),
        width: rig.canvas.size.width,
        height: rig.canvas.size.height,
        rms_px: report.rms_px,
        cameras: cameras.collect(),
        seams: seams.collect(),
        picture: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panorama::testing::file;

    #[test]
    fn the_highest_version_is_in_use_and_an_old_one_comes_back_under_a_new_number() {
        let dir = tempfile::tempdir().unwrap();
        let library = Library::new(dir.path().join("yard"), StreamId::new("yard").unwrap());
        assert!(library.newest().unwrap().is_none() && library.versions().unwrap().is_empty());
        assert_eq!(library.add(&file("one"), Some(b"jpg")).unwrap(), 1);
        assert_eq!(library.add(&file("two"), None).unwrap(), 2);
        let newest = library.newest().unwrap().unwrap();
        assert_eq!((newest.version, newest.file.created.as_str()), (Some(2), "two"));
        assert_eq!(library.roll_back(1).unwrap(), 3);
        let newest = library.newest().unwrap().unwrap();
        assert_eq!((newest.version, newest.file.created.as_str()), (Some(3), "one"));
        assert_eq!(library.picture(Some(3)).as_deref(), Some(&b"jpg"[..]));
        assert!(
            library
                .doc(&newest)
                .picture
                .unwrap()
                .ends_with("/calibrations/3/picture")
        );
        // A damaged one is passed over, and is never used.
        std::fs::write(library.path(4), "hello").unwrap();
        assert_eq!(library.newest().unwrap().unwrap().version, Some(3));
        assert!(library.read(4).is_err() && library.roll_back(4).is_err());
    }

    #[test]
    fn a_candidate_is_not_in_use_before_it_is_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let library = Library::new(dir.path().to_owned(), StreamId::new("yard").unwrap());
        assert!(!library.discard().unwrap() && library.accept().unwrap().is_none());
        library.put_candidate(&file("new"), Some(b"jpg")).unwrap();
        assert!(library.newest().unwrap().is_none());
        assert_eq!(library.candidate().unwrap().unwrap().version, None);
        assert_eq!(library.accept().unwrap(), Some(1));
        assert!(library.candidate().unwrap().is_none() && library.picture(None).is_none());
        assert_eq!(library.picture(Some(1)).as_deref(), Some(&b"jpg"[..]));
        library.put_candidate(&file("other"), None).unwrap();
        assert!(library.discard().unwrap());
        assert_eq!(library.versions().unwrap(), [1]);
    }

    #[test]
    fn the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let library = Library::new(dir.path().to_owned(), StreamId::new("yard").unwrap());
        for _ in 0..KEPT + 3 {
            library.add(&file("x"), None).unwrap();
        }
        let versions = library.versions().unwrap();
        assert_eq!((versions.len(), versions.last()), (KEPT + 1, Some(&3)));
    }
}
