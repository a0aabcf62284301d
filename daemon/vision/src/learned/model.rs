//! The model: three ONNX files in a folder, and `stitch.toml`, which holds their hashes. tools/stitchnet makes the files;
//! [`import`] takes them in, after it has tried each.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{COLUMNS, ROWS, WINDOW};
use crate::onnx::{Engine, EngineChoice, EngineInfo, Feed, Refusal, Wish, open};

/// The folder of the model within a folder of models.
pub const FOLDER: &str = "stitch";
/// Its manifest, within that folder.
pub const MANIFEST: &str = "stitch.toml";
/// The three networks; `NAME.onnx` are their files.
pub const NETWORKS: [&str; 3] = ["spatial", "temporal", "smooth"];
/// The networks halve four times and more, and what a box computes is bounded.
const SIDE: std::ops::RangeInclusive<usize> = 64..=1024;
/// Features are an eighth of the picture.
const STRIDE: usize = 8;
/// Features a pixel at most: four times those published.
const MAX_CHANNELS: usize = 512;
/// A file at most: twice the published spatial network.
const MAX_BYTES: u64 = 128 << 20;

/// Why a stitching model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StitchModelError {
    /// A file cannot be read or written.
    #[error("{what} {}: {error}", path.display())]
    Io {
        /// What was to be done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// There is no model.
    #[error(
        "there is no stitching model in {}: make one with tools/stitchnet and take it in with \
         `synoptic models import stitch DIR`",
        folders.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    Missing {
        /// The folders searched.
        folders: Vec<PathBuf>,
    },
    /// The manifest is none.
    #[error("{}: {why}; take the model in again with `synoptic models import stitch DIR`", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file is not what its manifest says.
    #[error(
        "{} is not the file that was taken in (SHA-256 {have}, the manifest has {want}): take the model in again",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// Its hash.
        have: String,
        /// The manifest's.
        want: String,
    },
    /// A file is no network of this kind.
    #[error("{}: {why}; export it with tools/stitchnet", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is there, and what was expected.
        why: String,
    },
    /// The engine asked for is not on this box.
    #[error("no onnxruntime for the stitching model: {0}; without that wish rten would run it")]
    Engine(String),
}

/// One file of the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StitchFile {
    /// `spatial.onnx`, `temporal.onnx` or `smooth.onnx`.
    pub name: String,
    /// SHA-256, 64 lower-case hex digits.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

/// What `stitch.toml` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StitchModel {
    /// Columns of the networks' pictures.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Features a pixel that the temporal network keeps.
    pub channels: usize,
    /// The three files, in the order of [`NETWORKS`].
    pub file: Vec<StitchFile>,
}

/// A name and a shape.
type Slot = (&'static str, Vec<usize>);

/// Inputs and outputs of the three networks, for pictures of `width` x `height`.
fn forms(width: usize, height: usize, channels: usize) -> [(Vec<Slot>, Vec<Slot>); 3] {
    let picture = vec![1, 3, height, width];
    let kept = vec![1, channels, height / STRIDE, width / STRIDE];
    let mesh = vec![ROWS, COLUMNS, 2];
    let window = vec![WINDOW, ROWS, COLUMNS, 2];
    [
        (
            vec![("reference", picture.clone()), ("target", picture.clone())],
            vec![("mesh_reference", mesh.clone()), ("mesh_target", mesh.clone())],
        ),
        (
            vec![("picture", picture), ("previous", kept.clone())],
            vec![("motion", mesh.clone()), ("features", kept)],
        ),
        (
            ["mesh_reference", "path_reference", "mesh_target", "path_target"]
                .map(|name| (name, window.clone()))
                .to_vec(),
            vec![("delta_reference", mesh.clone()), ("delta_target", mesh)],
        ),
    ]
}

/// A network ready to run: inputs and outputs in the order of its form.
pub(super) struct Network {
    engine: Box<dyn Engine>,
    path: PathBuf,
    inputs: Vec<(usize, Vec<usize>)>,
    outputs: Vec<(usize, Vec<usize>)>,
}

impl Network {
    /// Runs it; the outputs in the order of the form.
    pub(super) fn run(&mut self, inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>, StitchModelError> {
        let feeds: Vec<Feed<'_>> = self
            .inputs
            .iter()
            .zip(inputs)
            .map(|((input, shape), data)| Feed {
                input: *input,
                shape,
                data,
            })
            .collect();
        let (wanted, mut found) = (&self.outputs, Vec::new());
        let ran = self.engine.run_all(&feeds, &mut |outputs| {
            for (output, shape) in wanted {
                let output = &outputs[*output];
                if output.shape != *shape {
                    return Err(format!("an output is of shape {:?}, not {shape:?}", output.shape));
                }
                found.push(output.data.to_vec());
            }
            Ok(())
        });
        ran.map_err(|why| StitchModelError::Form {
            path: self.path.clone(),
            why,
        })?;
        Ok(found)
    }

    fn check(
        path: &Path,
        engine: Box<dyn Engine>,
        (inputs, outputs): &(Vec<Slot>, Vec<Slot>),
    ) -> Result<Network, StitchModelError> {
        let refuse = |why: String| StitchModelError::Form {
            path: path.to_owned(),
            why,
        };
        let (names, shapes) = (engine.input_names(), engine.inputs());
        if names.len() != inputs.len() {
            let why = format!("it has the inputs {}, not {}", names.join(", "), listed(inputs));
            return Err(refuse(why));
        }
        let mut order = Vec::new();
        for (name, want) in inputs {
            let Some(at) = names.iter().position(|n| n == name) else {
                let why = format!("it has no input `{name}`: it has {}", names.join(", "));
                return Err(refuse(why));
            };
            let have: Vec<usize> = shapes[at].iter().map(|side| side.unwrap_or(0)).collect();
            if have != *want {
                return Err(refuse(format!(
                    "its input `{name}` is of shape {have:?}, not {want:?}"
                )));
            }
            order.push((at, want.clone()));
        }
        let names = engine.output_names();
        let mut answers = Vec::new();
        for (name, want) in outputs {
            let Some(at) = names.iter().position(|n| n == name) else {
                let why = format!("it has no output `{name}`: it has {}", names.join(", "));
                return Err(refuse(why));
            };
            answers.push((at, want.clone()));
        }
        let mut network = Network {
            engine,
            path: path.to_owned(),
            inputs: order,
            outputs: answers,
        };
        // Says at once whether the outputs are of their shapes, and that the engine has all its operators.
        let zeros: Vec<Vec<f32>> = inputs
            .iter()
            .map(|(_, shape)| vec![0.0; shape.iter().product()])
            .collect();
        let zeros: Vec<&[f32]> = zeros.iter().map(Vec::as_slice).collect();
        let found = network.run(&zeros)?;
        if found.iter().flatten().any(|v| !v.is_finite()) {
            return Err(refuse(
                "it answers a black picture with what is no number".to_owned(),
            ));
        }
        Ok(network)
    }
}

fn listed(slots: &[Slot]) -> String {
    slots.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// How the networks are run.
#[derive(Clone, Copy, Debug)]
pub struct StitchOptions {
    /// The engine.
    pub engine: EngineChoice,
    /// Its threads.
    pub threads: usize,
}

/// The networks of a folder, each tried once.
pub(super) struct Networks {
    pub(super) model: StitchModel,
    pub(super) engine: EngineInfo,
    pub(super) spatial: Network,
    pub(super) temporal: Network,
    pub(super) smooth: Network,
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, StitchModelError> {
    let io = |what| {
        move |error| StitchModelError::Io {
            what,
            path: path.to_owned(),
            error,
        }
    };
    let size = std::fs::metadata(path).map_err(io("cannot read"))?.len();
    if !(1..=MAX_BYTES).contains(&size) {
        return Err(StitchModelError::Form {
            path: path.to_owned(),
            why: format!("it has {size} bytes; a network of this kind has 1 to {MAX_BYTES}"),
        });
    }
    std::fs::read(path).map_err(io("cannot read"))
}

fn hash(data: &[u8]) -> String {
    Sha256::digest(data).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// Loads and tries the three files of `folder`, against `manifest` if there is one.
fn load(
    folder: &Path,
    manifest: Option<&StitchModel>,
    options: StitchOptions,
) -> Result<Networks, StitchModelError> {
    let wish = Wish {
        choice: options.engine,
        library: None,
        threads: options.threads,
    };
    let mut files = Vec::new();
    let mut engines = Vec::new();
    for (i, name) in NETWORKS.iter().enumerate() {
        let name = format!("{name}.onnx");
        let path = folder.join(&name);
        let data = bytes_of(&path)?;
        let sha256 = hash(&data);
        if let Some(want) = manifest
            .and_then(|m| m.file.get(i))
            .filter(|f| f.sha256 != sha256)
        {
            return Err(StitchModelError::Changed {
                path,
                have: sha256,
                want: want.sha256.clone(),
            });
        }
        files.push(StitchFile {
            name,
            sha256,
            bytes: data.len() as u64,
        });
        let (engine, info) = open(&wish, data).map_err(|refusal| match refusal {
            Refusal::Missing(why) => StitchModelError::Engine(why),
            Refusal::Model(why) => StitchModelError::Form {
                path: path.clone(),
                why: format!("the engine cannot load it: {why}"),
            },
        })?;
        engines.push((path, engine, info));
    }
    let shape = |of: usize, name: &str| {
        let engine = &engines[of].1;
        let at = engine.input_names().iter().position(|n| n == name)?;
        engine.inputs()[at]
            .iter()
            .copied()
            .collect::<Option<Vec<usize>>>()
    };
    let refuse = |of: usize, why: String| StitchModelError::Form {
        path: engines[of].0.clone(),
        why,
    };
    let Some([1, 3, height, width]) = shape(0, "reference")
        .as_deref()
        .and_then(|s| s.first_chunk::<4>())
        .copied()
    else {
        let why = "it has no input `reference` of shape [1, 3, height, width]";
        return Err(refuse(0, why.to_owned()));
    };
    let side = |n: usize| SIDE.contains(&n) && n.is_multiple_of(STRIDE);
    if !side(width) || !side(height) {
        let why = format!("its pictures are {width}x{height}: sides must be multiples of 8 from 64 to 1024");
        return Err(refuse(0, why));
    }
    let Some([1, channels, _, _]) = shape(1, "previous")
        .as_deref()
        .and_then(|s| s.first_chunk::<4>())
        .copied()
    else {
        let why = "it has no input `previous` of shape [1, channels, height / 8, width / 8]";
        return Err(refuse(1, why.to_owned()));
    };
    if !(1..=MAX_CHANNELS).contains(&channels) {
        return Err(refuse(
            1,
            format!("it keeps {channels} features a pixel: 1 to {MAX_CHANNELS} are possible"),
        ));
    }
    let model = StitchModel {
        width,
        height,
        channels,
        file: files,
    };
    let info = engines[0].2.clone();
    let mut networks = Vec::new();
    for ((path, engine, _), form) in engines.into_iter().zip(&forms(width, height, channels)) {
        networks.push(Network::check(&path, engine, form)?);
    }
    let Ok([spatial, temporal, smooth]) = <[Network; 3]>::try_from(networks) else {
        return Err(StitchModelError::Missing {
            folders: vec![folder.to_owned()],
        });
    };
    Ok(Networks {
        model,
        engine: info,
        spatial,
        temporal,
        smooth,
    })
}

/// The networks that the first of `dirs` with a stitching model holds, verified and tried.
pub(super) fn open_in(dirs: &[PathBuf], options: StitchOptions) -> Result<Networks, StitchModelError> {
    let folder = locate(dirs)?;
    let model = read(&folder)?;
    load(&folder, Some(&model), options)
}

/// The folder of the stitching model in the first of `dirs` that has one.
///
/// # Errors
/// [`StitchModelError::Missing`].
pub fn locate(dirs: &[PathBuf]) -> Result<PathBuf, StitchModelError> {
    let folders: Vec<PathBuf> = dirs.iter().map(|d| d.join(FOLDER)).collect();
    let found = folders.iter().find(|f| f.join(MANIFEST).is_file()).cloned();
    found.ok_or(StitchModelError::Missing { folders })
}

/// The manifest in `folder`.
///
/// # Errors
/// [`StitchModelError`] when there is none or it is wrong.
pub fn read(folder: &Path) -> Result<StitchModel, StitchModelError> {
    let path = folder.join(MANIFEST);
    let text = std::fs::read_to_string(&path).map_err(|error| StitchModelError::Io {
        what: "cannot read",
        path: path.clone(),
        error,
    })?;
    let model: StitchModel = toml::from_str(&text).map_err(|error| StitchModelError::Manifest {
        path: path.clone(),
        why: error.to_string(),
    })?;
    let named = NETWORKS.iter().map(|n| format!("{n}.onnx"));
    if !model.file.iter().map(|f| f.name.clone()).eq(named) {
        return Err(StitchModelError::Manifest {
            path,
            why: "it must list spatial.onnx, temporal.onnx and smooth.onnx, in this order".to_owned(),
        });
    }
    Ok(model)
}

/// Tries the model in `folder` against its manifest.
///
/// # Errors
/// [`StitchModelError`] with what is wrong.
pub fn verify(folder: &Path, options: StitchOptions) -> Result<EngineInfo, StitchModelError> {
    let model = read(folder)?;
    Ok(load(folder, Some(&model), options)?.engine)
}

/// Verifies the three files of `from`, tries each, and puts them with their hashes into the folder `stitch` of `to`. A
/// model that is there is replaced only when the new one is complete.
///
/// # Errors
/// [`StitchModelError`] with the file and what is wrong with it; what was there then stays.
pub fn import(from: &Path, to: &Path, options: StitchOptions) -> Result<StitchModel, StitchModelError> {
    let model = load(from, None, options)?.model;
    let fresh = to.join(format!("{FOLDER}.new"));
    let io = |what, path: &Path| {
        let path = path.to_owned();
        move |error| StitchModelError::Io { what, path, error }
    };
    clear(&fresh)?;
    std::fs::create_dir_all(&fresh).map_err(io("cannot make", &fresh))?;
    for file in &model.file {
        let data = bytes_of(&from.join(&file.name))?;
        let sha256 = hash(&data);
        if sha256 != file.sha256 {
            return Err(StitchModelError::Changed {
                path: from.join(&file.name),
                have: sha256,
                want: file.sha256.clone(),
            });
        }
        write(&fresh.join(&file.name), &data)?;
    }
    let manifest = fresh.join(MANIFEST);
    let text = toml::to_string(&model).map_err(|error| StitchModelError::Manifest {
        path: manifest.clone(),
        why: error.to_string(),
    })?;
    write(&manifest, text.as_bytes())?;
    let (place, old) = (to.join(FOLDER), to.join(format!("{FOLDER}.old")));
    clear(&old)?;
    if place.exists() {
        std::fs::rename(&place, &old).map_err(io("cannot put aside", &place))?;
    }
    std::fs::rename(&fresh, &place).map_err(io("cannot put in place", &place))?;
    clear(&old)?;
    Ok(model)
}

fn clear(folder: &Path) -> Result<(), StitchModelError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StitchModelError::Io {
            what: "cannot remove",
            path: folder.to_owned(),
            error,
        }),
        _ => Ok(()),
    }
}

/// Writes a file and sees it to the disk.
fn write(path: &Path, data: &[u8]) -> Result<(), StitchModelError> {
    let written = std::fs::File::create(path).and_then(|mut file| {
        file.write_all(data)?;
        file.sync_all()
    });
    written.map_err(|error| StitchModelError::Io {
        what: "cannot write",
        path: path.to_owned(),
        error,
    })
}
