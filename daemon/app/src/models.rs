//! Models: the manifests that come with the program, and those a box adds; their files, fetched and verified.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rust_embed::RustEmbed;
use synoptic_vision::fetch::{self, Plan};
use synoptic_vision::learned::model::{self as stitch, StitchModel, StitchOptions};
use synoptic_vision::manifest::{self, ManifestError, ModelManifest};
use synoptic_vision::onnx::EngineChoice;

/// The environment variable that names a local folder to search before the network.
pub const MIRROR: &str = "SYNOPTIC_MIRROR";

/// Manifests that come with the program.
#[derive(RustEmbed)]
#[folder = "../../configs/models"]
#[include = "*.toml"]
struct BuiltIn;

/// The manifest of a model: one of the box's own in `dirs`, else the one that came with the program.
pub fn find(dirs: &[PathBuf], name: &str) -> Result<ModelManifest> {
    match manifest::find(dirs, name) {
        Err(ManifestError::NotFound { .. }) => {}
        found => return Ok(found?),
    }
    let file = format!("{name}.toml");
    let Some(text) = BuiltIn::get(&file) else {
        bail!("there is no model `{name}`: `synoptic models list` names those there are");
    };
    let text = std::str::from_utf8(&text.data).context("a built-in manifest is no text")?;
    Ok(ModelManifest::parse(text, Path::new(&file))?)
}

/// Names of all models: the program's and the box's own.
pub fn names(dirs: &[PathBuf]) -> Vec<String> {
    let mut names: Vec<String> = BuiltIn::iter()
        .map(|f| f.trim_end_matches(".toml").to_owned())
        .collect();
    for entry in dirs
        .iter()
        .filter_map(|d| std::fs::read_dir(d).ok())
        .flatten()
        .flatten()
    {
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "toml") {
            names.extend(path.file_stem().map(|s| s.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    names.dedup();
    names
}

/// Brings a model's file into the first of `dirs`, verified. `progress` is told bytes so far and in all.
pub fn fetch(model: &ModelManifest, dirs: &[PathBuf], progress: &mut dyn FnMut(u64, u64)) -> Result<PathBuf> {
    let mirror = std::env::var_os(MIRROR).map(PathBuf::from);
    let total = model.bytes;
    let (mut source, to): (Box<dyn Read>, PathBuf) = match fetch::plan(model, dirs, mirror.as_deref())? {
        Plan::Present(path) => return Ok(path),
        Plan::Copy { from, to } => {
            let file = File::open(&from).with_context(|| format!("reading {}", from.display()))?;
            (Box::new(file), to)
        }
        Plan::Download { url, to, .. } => {
            let answer = ureq::get(&url).call().with_context(|| {
                format!("loading {url}; without a network, put the file into a folder and set {MIRROR} to it")
            })?;
            (Box::new(answer.into_body().into_reader()), to)
        }
    };
    fetch::install(&mut source, &to, model, &mut |bytes| progress(bytes, total))?;
    Ok(to)
}

/// How a stitching model is tried: by the engine that is always there.
pub const STITCH_TRIAL: StitchOptions = StitchOptions {
    engine: EngineChoice::Rten,
    threads: 1,
};

/// Takes the stitching model of the folder `from` into the first of `dirs`; its folder there, and what it is.
pub fn import_stitch(from: &Path, dirs: &[PathBuf]) -> Result<(PathBuf, StitchModel)> {
    let Some(to) = dirs.first() else {
        bail!("there is no folder of models: name one by --dir, or model_dirs of [device]");
    };
    let model = stitch::import(from, to, STITCH_TRIAL).context("the stitching model is not taken in")?;
    Ok((to.join(stitch::FOLDER), model))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stitching_model_is_taken_in_and_another_file_refused() {
        let from = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../vision/golden/stitchnet"));
        let to = tempfile::tempdir().unwrap();
        let dirs = [to.path().join("models"), to.path().join("shared")];
        let (folder, model) = import_stitch(from, &dirs).unwrap();
        assert_eq!((folder, model.width), (dirs[0].join("stitch"), 192));
        assert_eq!(stitch::locate(&dirs).unwrap(), dirs[0].join("stitch"));
        // The names of detectors do not know it.
        assert!(!names(&dirs).contains(&"stitch".to_owned()));
        let error = import_stitch(to.path(), &dirs).unwrap_err();
        assert!(format!("{error:#}").contains("spatial.onnx"), "{error:#}");
        assert!(import_stitch(from, &[]).is_err());
    }

    #[test]
    fn every_built_in_manifest_is_sound() {
        let names = names(&[]);
        assert!(names.contains(&"yolox-nano".to_owned()), "{names:?}");
        for name in names {
            assert_eq!(find(&[], &name).unwrap().name, name);
        }
        assert!(
            find(&[], "no-such-model")
                .unwrap_err()
                .to_string()
                .contains("models list")
        );
    }
}
