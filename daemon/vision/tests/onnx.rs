//! Real models on real pictures, against what onnxruntime finds (golden files of tools/golden/detect.py).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use synoptic_base::{BBox, Detection, Detector, Picture, Size, Surface};

use synoptic_vision::fetch::{FetchError, locate_in_mirror};
use synoptic_vision::manifest::{DecoderKind, ModelManifest, find};
use synoptic_vision::onnx::{EngineChoice, OnnxDetector, OnnxError, OnnxOptions};
use synoptic_vision::{PictureBuf, jpeg};

use crate::testing::{Clip, Gone, meta, mirror};

#[derive(Deserialize)]
struct Golden {
    pictures: Vec<GoldenPicture>,
}

#[derive(Deserialize)]
struct GoldenPicture {
    file: String,
    /// Number of the frame, if the file is a video.
    frame: Option<usize>,
    width: u32,
    height: u32,
    models: BTreeMap<String, Vec<GoldenBox>>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../golden/detections.json")).unwrap()
}

/// Label, score, x, y, w, h in fractions.
type GoldenBox = (String, f32, f32, f32, f32, f32);

/// Scores may differ by this much, so boxes that near to the threshold may come or go.
const SCORE_ERROR: f32 = 0.01;

fn picture(golden: &GoldenPicture) -> Option<PictureBuf> {
    let path = mirror(&golden.file)?;
    match golden.frame {
        Some(n) => Clip::open(&path, Size::new(golden.width, golden.height))?.nth(n),
        None => Some(jpeg::decode(&std::fs::read(path).unwrap()).unwrap()),
    }
}

/// Every engine there is here, rten first. That onnxruntime is not among them is said aloud.
fn engines() -> Vec<EngineChoice> {
    // The engine is opened before the model is: of a file that is none it says so, if it is there.
    let dir = tempfile::tempdir().unwrap();
    let (path, manifest) = own(dir.path(), b"no model at all");
    match OnnxDetector::load(&path, manifest, &with(EngineChoice::OnnxRuntime)) {
        Err(OnnxError::Load { .. }) => vec![EngineChoice::Rten, EngineChoice::OnnxRuntime],
        Err(OnnxError::Engine { why, .. }) => {
            eprintln!("SKIPPED on onnxruntime: {why}");
            vec![EngineChoice::Rten]
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("a text was taken for a model"),
    }
}

/// One's own file, and the manifest that fits it in size and hash.
fn own(dir: &Path, data: &[u8]) -> (PathBuf, ModelManifest) {
    let path = dir.join("own.onnx");
    std::fs::write(&path, data).unwrap();
    let mut manifest = shipped("fastestdet");
    (manifest.bytes, manifest.sha256) = (data.len() as u64, hash(data));
    (path, manifest)
}

fn shipped(name: &str) -> ModelManifest {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/models"));
    find(&[folder], name).unwrap()
}

fn with(engine: EngineChoice) -> OnnxOptions {
    OnnxOptions {
        engine,
        ..OnnxOptions::default()
    }
}

fn load(name: &str, options: &OnnxOptions) -> Option<OnnxDetector> {
    let manifest = shipped(name);
    let models = mirror("models")?;
    let Some(path) = locate_in_mirror(&models, &manifest).unwrap() else {
        eprintln!("SKIPPED: no file of model {name} in {}", models.display());
        return None;
    };
    Some(OnnxDetector::load(&path, manifest, options).unwrap())
}

fn look(detector: &mut OnnxDetector, picture: &PictureBuf) -> Vec<Detection> {
    let meta = meta("cam", 0, 0, 10.0, picture.size());
    let batch = [Picture {
        meta: &meta,
        surface: picture,
    }];
    detector.detect(&batch).remove(0).unwrap()
}

#[test]
fn boxes_are_those_of_onnxruntime() {
    let golden = golden();
    let pictures: Vec<_> = golden
        .pictures
        .iter()
        .filter_map(|g| Some((g, picture(g)?)))
        .collect();
    for engine in engines() {
        for name in ["fastestdet", "yolox-nano", "nanodet-m"] {
            if let Some(mut detector) = load(name, &with(engine)) {
                let compared = compare(&mut detector, &pictures);
                eprintln!(
                    "{name} by {}: {compared} boxes compared with onnxruntime's",
                    detector.engine()
                );
            }
        }
    }
}

/// Panics where the detector and the golden file differ; returns how many boxes were compared.
fn compare(detector: &mut OnnxDetector, pictures: &[(&GoldenPicture, PictureBuf)]) -> usize {
    let name = detector.manifest().name.clone();
    let mut compared = 0;
    for (golden, picture) in pictures {
        let what = format!(
            "{name} by {} on {} {:?}",
            detector.engine(),
            golden.file,
            golden.frame
        );
        let want = &golden.models[&name];
        for picture in [&picture.to_nv12(), picture] {
            let found = look(detector, picture);
            let sure = detector.manifest().threshold + SCORE_ERROR;
            let same = |d: &Detection, g: &GoldenBox| {
                d.label == g.0
                    && (d.score - g.1).abs() <= SCORE_ERROR
                    && d.bbox.iou(&BBox::new(g.2, g.3, g.4, g.5)) >= 0.95
            };
            for g in want.iter().filter(|g| g.1 > sure) {
                assert!(found.iter().any(|d| same(d, g)), "{what}: no {g:?} in {found:?}");
                compared += 1;
            }
            for d in found.iter().filter(|d| d.score > sure) {
                assert!(
                    want.iter().any(|g| same(d, g)),
                    "{what}: {d:?} is not in {want:?}"
                );
            }
        }
    }
    compared
}

#[test]
fn a_picture_that_cannot_be_read_fails_alone() {
    let golden = golden();
    for engine in engines() {
        let Some(mut detector) = load("yolox-nano", &with(engine)) else {
            return;
        };
        let Some(picture) = picture(&golden.pictures[0]) else {
            return;
        };
        let alone = look(&mut detector, &picture);
        let metas = ["a", "b"].map(|id| meta(id, 0, 0, 10.0, picture.size()));
        let gone = Gone(picture.size());
        let surfaces: [&dyn Surface; 2] = [&gone, &picture];
        let batch: Vec<_> = metas
            .iter()
            .zip(surfaces)
            .map(|(meta, surface)| Picture { meta, surface })
            .collect();
        let found = detector.detect(&batch);
        let error = found[0].as_ref().unwrap_err().to_string();
        assert!(
            error.contains("a/0/") && error.contains("device is gone"),
            "{error}"
        );
        assert_eq!(found[1..], [Ok(alone)]);
    }
}

#[test]
fn an_engine_that_is_not_there_is_named_and_auto_takes_rten() {
    let missing = |engine| OnnxOptions {
        engine,
        library: Some("/nowhere/libonnxruntime.so".into()),
        ..OnnxOptions::default()
    };
    let manifest = shipped("fastestdet");
    let Some(models) = mirror("models") else { return };
    let Some(path) = locate_in_mirror(&models, &manifest).unwrap() else {
        return;
    };
    let auto = OnnxDetector::load(&path, manifest.clone(), &missing(EngineChoice::Auto)).unwrap();
    assert_eq!(auto.engine().name, "rten");
    let why = auto.engine().fallback.clone().unwrap();
    let error = OnnxDetector::load(&path, manifest, &missing(EngineChoice::OnnxRuntime))
        .err()
        .unwrap();
    assert!(matches!(error, OnnxError::Engine { .. }), "{error}");
    let says = if cfg!(feature = "ort") {
        "/nowhere/libonnxruntime.so"
    } else {
        "cargo feature `ort`"
    };
    assert!(why.contains(says), "{why}");
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn labels_and_threshold_filter() {
    let golden = golden();
    let options = |labels: &[&str], threshold| OnnxOptions {
        labels: labels.iter().map(|&l| l.to_owned()).collect(),
        threshold,
        ..OnnxOptions::default()
    };
    let Some(mut some) = load("yolox-nano", &options(&["person"], Some(0.1))) else {
        return;
    };
    let Some(picture) = picture(&golden.pictures[0]) else {
        return;
    };
    let found = look(&mut some, &picture);
    assert!(!found.is_empty() && found.iter().all(|d| d.label == "person" && d.score >= 0.1));
    let mut none = load("yolox-nano", &options(&["zebra"], None)).unwrap();
    assert_eq!(look(&mut none, &picture), []);
}

#[test]
fn wrong_files_shapes_and_decoders_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.onnx");
    let load = |path: &Path, manifest| {
        OnnxDetector::load(path, manifest, &OnnxOptions::default())
            .err()
            .unwrap()
    };
    let manifest = shipped("fastestdet");
    assert!(matches!(
        load(&file, manifest.clone()),
        OnnxError::File(FetchError::Io { .. })
    ));
    std::fs::write(&file, b"short").unwrap();
    assert!(load(&file, manifest.clone()).to_string().contains("has 5 bytes"));
    std::fs::write(&file, vec![0; manifest.bytes as usize]).unwrap();
    assert!(load(&file, manifest.clone()).to_string().contains("sha256"));

    let bad = |options: OnnxOptions| {
        OnnxDetector::load(&file, shipped("fastestdet"), &options)
            .err()
            .unwrap()
            .to_string()
    };
    let label = bad(OnnxOptions {
        labels: vec!["persn".to_owned()],
        ..OnnxOptions::default()
    });
    assert!(
        label.contains("no label `persn`; it has person, bicycle"),
        "{label}"
    );
    let threads = bad(OnnxOptions {
        threads: Some(0),
        ..OnnxOptions::default()
    });
    assert_eq!(threads, "threads is 0: it must be 1 to 64");
}

#[test]
fn a_model_that_does_not_fit_its_manifest_is_refused_by_every_engine_alike() {
    let manifest = shipped("fastestdet");
    let Some(models) = mirror("models") else { return };
    let Some(real) = locate_in_mirror(&models, &manifest).unwrap() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    for engine in engines() {
        let refused = |path: &Path, manifest| {
            let refused = OnnxDetector::load(path, manifest, &with(engine));
            refused.err().unwrap().to_string()
        };
        let changed = |change: &dyn Fn(&mut ModelManifest)| {
            let mut other = manifest.clone();
            change(&mut other);
            refused(&real, other)
        };
        let shape = changed(&|m| m.input.width = 320);
        assert!(
            shape.contains("no input of shape [1, 3, 352, 320]")
                && shape.contains("there are [1, 3, 352, 352]"),
            "{engine:?}: {shape}"
        );
        let decoder = changed(&|m| m.decoder = DecoderKind::Yolox);
        assert!(decoder.contains("decoder yolox wants"), "{engine:?}: {decoder}");
        let decoder = changed(&|m| m.decoder = DecoderKind::NanoDet);
        assert!(decoder.contains("decoder nanodet wants"), "{engine:?}: {decoder}");
        let labels = changed(&|m| {
            m.labels.pop();
        });
        assert!(
            labels.contains("wants an output of shape [1, 84, 22, 22]"),
            "{engine:?}: {labels}"
        );

        // One's own file with the right hash that is no model, and one that ends early.
        for data in [
            b"no model at all".to_vec(),
            std::fs::read(&real).unwrap()[..500_000].to_vec(),
        ] {
            let (path, own) = own(dir.path(), &data);
            let error = refused(&path, own);
            assert!(
                error.contains("own.onnx: the engine cannot load model fastestdet"),
                "{engine:?}: {error}"
            );
        }
    }
}

fn hash(data: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(data)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}
