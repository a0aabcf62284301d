//! What is remembered of loading a plan, so that a daemon that dies of it does not die of it for ever.
//!
//! Before a plan is loaded a mark is written beside it, and removed when loading came to an end, good or bad. A mark
//! that is still there at the next start means that the process ended in between. Once may be a power cut; after the
//! second time the plan is not loaded any more, until `synoptic engine verify` loaded it in a process of its own.

use std::path::{Path, PathBuf};

use super::Fault;

/// Ends within loading from which on a plan is suspect.
const SUSPECT_AFTER: u32 = 2;
/// Ending of a mark's file.
const ENDING: &str = "trial";

/// A plan is being loaded. Dropped: loading came to an end.
#[derive(Debug)]
pub struct Trial {
    path: PathBuf,
}

/// The mark's file.
pub fn path(folder: &Path, plan: &str) -> PathBuf {
    folder.join(format!("{plan}.{ENDING}"))
}

/// Ends within loading so far.
pub fn ends(folder: &Path, plan: &str) -> u32 {
    let text = std::fs::read_to_string(path(folder, plan)).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// Begins to load the plan named `plan`. Without `even_if_suspect` one that processes died of twice is refused.
///
/// # Errors
/// [`Fault::Suspect`] with what to do; also when the mark cannot be written.
pub fn begin(folder: &Path, plan: &str, even_if_suspect: bool) -> Result<Trial, Fault> {
    let path = path(folder, plan);
    let before = ends(folder, plan);
    if before >= SUSPECT_AFTER && !even_if_suspect {
        return Err(Fault::Suspect(format!(
            "the daemon ended {before} times while it loaded plan {plan}: `synoptic engine verify` tries it in a process of its own; \
             or remove {} to try again",
            path.display()
        )));
    }
    let write = || {
        std::fs::create_dir_all(folder)?;
        std::fs::write(&path, format!("{}\n", before + 1))
    };
    write().map_err(|e: std::io::Error| {
        Fault::Suspect(format!(
            "cannot write {}: {e}; check the folder's owner and free space",
            path.display()
        ))
    })?;
    Ok(Trial { path })
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_ended_two_processes_is_suspect_until_it_is_verified() {
        let folder = tempfile::tempdir().unwrap();
        let begin = |even| begin(&folder.path().join("plans"), "yolox", even);
        drop(begin(false).unwrap());
        // Twice a process ends in between: nothing is dropped.
        for _ in 0..2 {
            std::mem::forget(begin(false).unwrap());
        }
        let error = begin(false).unwrap_err().to_string();
        assert!(
            error.contains("2 times") && error.contains("engine verify"),
            "{error}"
        );
        drop(begin(true).unwrap());
        drop(begin(false).unwrap());
    }
}
