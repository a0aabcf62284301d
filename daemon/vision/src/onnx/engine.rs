//! What a detector needs of an inference engine, and the choice between the engines there are.

use std::path::{Path, PathBuf};

use super::decode::Output;
use super::rten_engine::RtenEngine;

/// What goes into one input of a model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feed<'a> {
    /// Number of the input, in the model's order.
    pub(crate) input: usize,
    /// Shape of the tensor.
    pub(crate) shape: &'a [usize],
    /// Its values, row-major.
    pub(crate) data: &'a [f32],
}

/// Takes a model's outputs, in its order.
pub(crate) type Read<'a> = dyn FnMut(&[Output<'_>]) -> Result<(), String> + 'a;

/// Runs one model. Everything around it (pictures, boxes, meshes) is the same for every engine.
pub(crate) trait Engine: Send {
    /// Shape of each input, in the model's order; `None` is a side left open.
    fn inputs(&self) -> Vec<Vec<Option<usize>>>;
    /// Names of the inputs, in the same order.
    fn input_names(&self) -> Vec<String>;
    /// Names of the outputs, in the model's order.
    fn output_names(&self) -> Vec<String>;
    /// Runs the model with all of `feeds` and hands its outputs to `read`.
    fn run_all(&mut self, feeds: &[Feed<'_>], read: &mut Read<'_>) -> Result<(), String>;
    /// Runs the model with `tensor`, of `shape`, as input number `input`, and hands its outputs to `read`.
    fn run(
        &mut self,
        input: usize,
        shape: [usize; 4],
        tensor: &[f32],
        read: &mut Read<'_>,
    ) -> Result<(), String> {
        let feed = Feed {
            input,
            shape: &shape,
            data: tensor,
        };
        self.run_all(&[feed], read)
    }
}

/// Which engine runs a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// onnxruntime where it is built in and its library is found, else rten; [`EngineInfo::fallback`] says why.
    #[default]
    Auto,
    /// rten: pure Rust, always there.
    Rten,
    /// onnxruntime, by its shared library, or an error.
    OnnxRuntime,
}

/// The engine in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// `rten` or `onnxruntime`.
    pub name: &'static str,
    /// Its version: of rten the one built in, of onnxruntime what the library says.
    pub version: String,
    /// The shared library, if it is one.
    pub library: Option<PathBuf>,
    /// Why [`EngineChoice::Auto`] did not take onnxruntime.
    pub fallback: Option<String>,
}

impl EngineInfo {
    fn rten(fallback: Option<String>) -> EngineInfo {
        EngineInfo {
            name: "rten",
            version: RTEN_VERSION.to_owned(),
            library: None,
            fallback,
        }
    }
}

impl std::fmt::Display for EngineInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)?;
        if let Some(library) = &self.library {
            write!(f, " ({})", library.display())?;
        }
        Ok(())
    }
}

/// Of the `rten` in the workspace; a test holds it to Cargo.lock.
const RTEN_VERSION: &str = "0.27";

/// Why no engine runs a model.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The engine asked for is not there.
    Missing(String),
    /// The engine is there and cannot load the model.
    Model(String),
}

/// What is asked of an engine.
pub(crate) struct Wish<'a> {
    pub(crate) choice: EngineChoice,
    /// The shared library of onnxruntime; `None`: searched.
    pub(crate) library: Option<&'a Path>,
    pub(crate) threads: usize,
}

/// Loads the model `data` into the engine asked for.
pub(crate) fn open(wish: &Wish<'_>, data: Vec<u8>) -> Result<(Box<dyn Engine>, EngineInfo), Refusal> {
    let rten = |data, fallback| {
        let engine = RtenEngine::load(data, wish.threads).map_err(Refusal::Model)?;
        Ok((Box::new(engine) as Box<dyn Engine>, EngineInfo::rten(fallback)))
    };
    match wish.choice {
        EngineChoice::Rten => rten(data, None),
        EngineChoice::OnnxRuntime => onnxruntime(wish, &data),
        // A library that is there and cannot load the model is no reason to hide that: only a missing one is.
        EngineChoice::Auto => match onnxruntime(wish, &data) {
            Err(Refusal::Missing(why)) => rten(data, Some(why)),
            other => other,
        },
    }
}

#[cfg(feature = "ort")]
fn onnxruntime(wish: &Wish<'_>, data: &[u8]) -> Result<(Box<dyn Engine>, EngineInfo), Refusal> {
    use super::onnxruntime::{OnnxRuntime, OrtEngine};
    let runtime = OnnxRuntime::get(wish.library).map_err(Refusal::Missing)?;
    let info = EngineInfo {
        name: "onnxruntime",
        version: runtime.version.clone(),
        library: Some(runtime.path.clone()),
        fallback: None,
    };
    let engine = OrtEngine::load(&runtime, data, wish.threads).map_err(Refusal::Model)?;
    Ok((Box::new(engine), info))
}

#[cfg(not(feature = "ort"))]
fn onnxruntime(wish: &Wish<'_>, _data: &[u8]) -> Result<(Box<dyn Engine>, EngineInfo), Refusal> {
    let library = wish.library.map(|l| format!(" to load {} with", l.display()));
    Err(Refusal::Missing(format!(
        "this build has no onnxruntime{}: build it with the cargo feature `ort`",
        library.unwrap_or_default()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_rten_is_that_of_the_workspace() {
        let lock = include_str!("../../../../Cargo.lock");
        let line = lock
            .split("name = \"rten\"\nversion = \"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        assert!(line.unwrap().starts_with(RTEN_VERSION), "{line:?}");
    }
}
