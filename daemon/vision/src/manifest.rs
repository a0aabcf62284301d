//! What a model is: one TOML file, `configs/models/NAME.toml`. It names the upstream file, so that nothing has to
//! be shipped, and says how pictures go in and boxes come out.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Largest side of a model's input, pixels; and of a model file, bytes: above any detector meant for this box.
const MAX_SIDE: usize = 4096;
const MAX_BYTES: u64 = 1 << 30;

/// Why a manifest is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// No such manifest.
    #[error("no model `{name}`: no {name}.toml in {}", list(dirs))]
    NotFound {
        /// The name asked for.
        name: String,
        /// The folders searched.
        dirs: Vec<PathBuf>,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is no TOML or has keys that are not known.
    #[error("{}: {error}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what.
        error: Box<toml::de::Error>,
    },
    /// A value cannot be.
    #[error("{}: `{key}` {why}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What is wrong and what is right.
        why: String,
    },
}

fn list(dirs: &[PathBuf]) -> String {
    let shown: Vec<_> = dirs.iter().map(|d| d.display().to_string()).collect();
    shown.join(", ")
}

/// Where the model's file comes from: a file of a GitHub repository at one commit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// `owner/name`.
    pub repo: String,
    /// The commit, 40 hex digits.
    pub commit: String,
    /// Path within the repository.
    pub path: String,
    /// Another address to load the same file from.
    #[serde(default)]
    pub url: Option<String>,
}

/// Another file with the same weights, accepted in place of the upstream's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// SHA-256, 64 hex digits.
    pub sha256: String,
    /// Size of the file.
    pub bytes: u64,
    /// How it differs.
    pub note: String,
}

/// Order of the colour planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Blue first.
    Bgr,
    /// Red first.
    Rgb,
}

/// Layout of the input tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Batch, colour, row, column.
    #[default]
    Nchw,
}

/// How a picture is fitted into the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Both sides to size, whatever becomes of the shape.
    Stretch,
    /// The shape kept, in the top left corner.
    LetterboxTopleft,
    /// The shape kept, in the middle.
    LetterboxCenter,
}

fn one() -> f32 {
    1.0
}
fn ones() -> [f32; 3] {
    [1.0; 3]
}

/// The input tensor: `(pixel * scale - mean) / std`, pixel 0 to 255.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Order of the colours.
    pub order: Order,
    /// Layout of the tensor.
    #[serde(default)]
    pub layout: Layout,
    /// How the picture is fitted in.
    pub resize: Resize,
    /// Value of each colour around a letterboxed picture, 0 to 255.
    #[serde(default)]
    pub pad: u8,
    /// Factor of each pixel.
    #[serde(default = "one")]
    pub scale: f32,
    /// Taken from each colour, in `order`.
    #[serde(default)]
    pub mean: [f32; 3],
    /// Divides each colour, in `order`.
    #[serde(default = "ones")]
    pub std: [f32; 3],
}

/// Family of the model's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecoderKind {
    /// FastestDet: one grid of objectness, offsets and classes.
    FastestDet,
    /// YOLOX: three grids in one tensor.
    Yolox,
    /// NanoDet: classes and distributions of distances on three grids.
    NanoDet,
}

/// Names of the classes: a list, or the name of a known one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Labels {
    Known(String),
    List(Vec<String>),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    description: String,
    upstream: Upstream,
    sha256: String,
    bytes: u64,
    #[serde(default)]
    variant: Vec<Variant>,
    licence: String,
    input: Input,
    decoder: DecoderKind,
    labels: Labels,
    threshold: f32,
    nms_iou: f32,
}

/// A model, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelManifest {
    /// Its name, as the configuration and logs have it.
    pub name: String,
    /// A line for people.
    pub description: String,
    /// Where its file comes from.
    pub upstream: Upstream,
    /// SHA-256 of the upstream file, 64 lower-case hex digits.
    pub sha256: String,
    /// Size of the upstream file.
    pub bytes: u64,
    /// Other files with the same weights.
    pub variants: Vec<Variant>,
    /// SPDX expression.
    pub licence: String,
    /// How pictures go in.
    pub input: Input,
    /// How boxes come out.
    pub decoder: DecoderKind,
    /// Names of the classes, in the order of the model.
    pub labels: Vec<String>,
    /// Detections below are dropped unless the configuration says otherwise, 0 to 1.
    pub threshold: f32,
    /// Of two boxes of a class with more IoU than this, the better stays.
    pub nms_iou: f32,
}

impl ModelManifest {
    /// Reads and checks a manifest file.
    ///
    /// # Errors
    /// [`ManifestError`] with the file, the key and what is right.
    pub fn read(path: &Path) -> Result<ModelManifest, ManifestError> {
        let text = std::fs::read_to_string(path).map_err(|error| ManifestError::Read {
            path: path.to_owned(),
            error,
        })?;
        ModelManifest::parse(&text, path)
    }

    /// Checks the text of a manifest; `path` is for messages.
    ///
    /// # Errors
    /// As [`ModelManifest::read`].
    pub fn parse(text: &str, path: &Path) -> Result<ModelManifest, ManifestError> {
        let raw: Raw = toml::from_str(text).map_err(|error| ManifestError::Parse {
            path: path.to_owned(),
            error: Box::new(error),
        })?;
        raw.resolve().map_err(|(key, why)| ManifestError::Value {
            path: path.to_owned(),
            key,
            why,
        })
    }

    /// Name of the model's file: the last part of its path upstream.
    pub fn file_name(&self) -> &str {
        self.upstream.path.rsplit('/').next().unwrap_or(&self.name)
    }

    /// Every file that is accepted, as (sha256, bytes), the upstream's first.
    pub fn accepted(&self) -> impl Iterator<Item = (&str, u64)> {
        let variants = self.variants.iter().map(|v| (v.sha256.as_str(), v.bytes));
        std::iter::once((self.sha256.as_str(), self.bytes)).chain(variants)
    }
}

/// The manifest `name` in the first of `dirs` that has `name.toml`.
///
/// # Errors
/// [`ManifestError`] when none has it, or the one found is wrong.
pub fn find(dirs: &[PathBuf], name: &str) -> Result<ModelManifest, ManifestError> {
    let missing = || ManifestError::NotFound {
        name: name.to_owned(),
        dirs: dirs.to_vec(),
    };
    // A name is never a path: it comes from a configuration that a web page may write.
    if !is_name(name) {
        return Err(missing());
    }
    let path = dirs
        .iter()
        .map(|d| d.join(format!("{name}.toml")))
        .find(|p| p.is_file());
    ModelManifest::read(&path.ok_or_else(missing)?)
}

fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

type Wrong = (&'static str, String);

fn need(ok: bool, key: &'static str, why: &str) -> Result<(), Wrong> {
    if ok { Ok(()) } else { Err((key, why.to_owned())) }
}

impl Raw {
    fn resolve(self) -> Result<ModelManifest, Wrong> {
        need(
            is_name(&self.name),
            "name",
            "must be 1 to 64 of a-z, 0-9, - and _",
        )?;
        let hash = "must be 64 lower-case hex digits";
        need(is_hex(&self.sha256, 64), "sha256", hash)?;
        need(
            self.variant.iter().all(|v| is_hex(&v.sha256, 64)),
            "variant.sha256",
            hash,
        )?;
        let bytes = |b: u64| (1..=MAX_BYTES).contains(&b);
        need(
            bytes(self.bytes) && self.variant.iter().all(|v| bytes(v.bytes)),
            "bytes",
            "must be 1 to 2^30",
        )?;
        need(!self.licence.is_empty(), "licence", "must not be empty")?;
        let up = &self.upstream;
        need(
            up.repo.split('/').filter(|p| !p.is_empty()).count() == 2,
            "upstream.repo",
            "must be owner/name",
        )?;
        need(
            is_hex(&up.commit, 40),
            "upstream.commit",
            "must be 40 lower-case hex digits",
        )?;
        need(
            !up.path.is_empty() && up.path.split('/').all(|p| !matches!(p, "" | "." | "..")),
            "upstream.path",
            "must be a path within the repository",
        )?;
        need(
            up.url.as_ref().is_none_or(|u| u.starts_with("https://")),
            "upstream.url",
            "must begin with https://",
        )?;
        self.check_numbers()?;
        let labels = match self.labels {
            Labels::Known(name) if name == "coco80" => COCO80.iter().map(|&l| l.to_owned()).collect(),
            Labels::Known(name) => {
                return Err(("labels", format!("`{name}` is not known: give coco80 or a list")));
            }
            Labels::List(list) => list,
        };
        need(!labels.is_empty(), "labels", "must not be empty")?;
        Ok(ModelManifest {
            name: self.name,
            description: self.description,
            upstream: self.upstream,
            sha256: self.sha256,
            bytes: self.bytes,
            variants: self.variant,
            licence: self.licence,
            input: self.input,
            decoder: self.decoder,
            labels,
            threshold: self.threshold,
            nms_iou: self.nms_iou,
        })
    }

    fn check_numbers(&self) -> Result<(), Wrong> {
        let input = &self.input;
        // 32 is the coarsest stride of every family.
        let side = |v: usize| (32..=MAX_SIDE).contains(&v) && v.is_multiple_of(32);
        let sides = "must be a multiple of 32, up to 4096";
        need(side(input.width), "input.width", sides)?;
        need(side(input.height), "input.height", sides)?;
        let finite = input.mean.iter().all(|v| v.is_finite()) && input.scale.is_finite();
        need(finite, "input.mean", "and `input.scale` must be numbers")?;
        need(
            input.std.iter().all(|v| v.is_finite() && *v > 0.0),
            "input.std",
            "must be above 0",
        )?;
        let fraction = |v: f32| v > 0.0 && v < 1.0;
        let between = "must be between 0 and 1";
        need(fraction(self.threshold), "threshold", between)?;
        need(fraction(self.nms_iou), "nms_iou", between)
    }
}

/// The 80 classes of COCO 2017 (Lin et al., 2014), in the order every COCO detector has them.
#[rustfmt::skip]
pub const COCO80: [&str; 80] = [
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear",
    "hair drier", "toothbrush",
];

#[cfg(test)]
pub(crate) fn shipped(name: &str) -> ModelManifest {
    find(
        &[PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../configs/models"
        ))],
        name,
    )
    .unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../../../configs/models/yolox-nano.toml");

    fn wrong(from: &str, to: &str) -> String {
        let text = TEXT.replace(from, to);
        assert_ne!(text, TEXT, "`{from}` is not there");
        ModelManifest::parse(&text, Path::new("x.toml"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn every_shipped_manifest_is_right_and_bears_its_name() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/models");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let manifest = ModelManifest::read(&path).unwrap();
            assert_eq!(path.file_stem().unwrap().to_str(), Some(manifest.name.as_str()));
            assert_eq!(manifest.labels.len(), 80);
            names.push(manifest.name);
        }
        names.sort();
        assert_eq!(names, ["fastestdet", "nanodet-m", "yolox-nano"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_file_and_key() {
        assert!(wrong("pad = 114", "pads = 114").contains("unknown field `pads`"));
        assert!(wrong("width = 416", "width = 417").starts_with("x.toml: `input.width` must be"));
        assert!(wrong("sha256 = \"695e", "sha256 = \"695E").contains("`sha256` must be 64"));
        assert!(wrong("\"coco80\"", "\"coco81\"").contains("`labels`"));
        assert!(wrong("\"yolox\"", "\"yolo\"").contains("unknown variant `yolo`"));
        assert!(wrong("model/yolox_nano.onnx", "../yolox_nano.onnx").contains("`upstream.path`"));
        assert!(wrong("threshold = 0", "threshold = 1").contains("`threshold`"));
        assert!(wrong("licence = \"Apache-2.0\"", "").contains("missing field `licence`"));
    }

    #[test]
    fn a_name_that_is_not_there_lists_the_folders() {
        let dirs = [PathBuf::from("a"), PathBuf::from("b")];
        let error = find(&dirs, "none").unwrap_err().to_string();
        assert_eq!(error, "no model `none`: no none.toml in a, b");
        assert!(matches!(
            find(&dirs, "../secret"),
            Err(ManifestError::NotFound { .. })
        ));
    }
}
