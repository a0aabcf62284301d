//! TensorRT's wrappers on a stand-in of each major version.

use std::path::{Path, PathBuf};

use synoptic_gpu::GpuError;
use synoptic_gpu::cuda::{Buffer, Stream};
use synoptic_gpu::trt::{BuildOptions, DataType, Precision, Range, TensorRt};

use super::cuda::{Emulated, open};

/// The stand-in of a version, under the names that TensorRT and its parser have.
fn stand_in(version: u32, says: Option<u32>, folder: &Path) -> Option<PathBuf> {
    let mut options = vec![format!("-DVERSION={version}")];
    options.extend(says.map(|n| format!("-DSAYS={n}")));
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let built = super::emulate::build("nvinfer.cpp", &options, folder)?;
    let (library, parser) = match version {
        1 => (
            "libtensorrt_rtx.so.1".to_owned(),
            "libtensorrt_onnxparser_rtx.so.1".to_owned(),
        ),
        n => (format!("libnvinfer.so.{n}"), format!("libnvonnxparser.so.{n}")),
    };
    std::fs::copy(&built, folder.join(parser)).unwrap();
    let library = folder.join(library);
    std::fs::rename(&built, &library).unwrap();
    Some(library)
}

#[allow(unsafe_code)]
fn alive(library: &Path) -> i32 {
    let library = open(library);
    // SAFETY: as nvinfer.cpp declares it.
    unsafe {
        let alive = library
            .get::<unsafe extern "C" fn() -> i32>(b"fake_alive\0")
            .unwrap();
        alive()
    }
}

fn ranges() -> Vec<Range> {
    vec![Range {
        input: "in".to_owned(),
        min: vec![1, 3],
        best: vec![2, 3],
        max: vec![4, 3],
    }]
}

#[test]
fn every_major_builds_loads_and_runs_and_gives_everything_back() {
    let Some(emulated) = Emulated::new() else { return };
    let gpu = emulated.gpu();
    let stream = Stream::new(&gpu).unwrap();
    for version in [8, 10, 11, 1] {
        let folder = tempfile::tempdir().unwrap();
        let library = stand_in(version, None, folder.path()).unwrap();
        let trt = TensorRt::load_file(&library).unwrap();
        assert!(trt.builds(), "{}", trt.version());
        let options = BuildOptions {
            ranges: ranges(),
            ..BuildOptions::default()
        };
        let plan = trt.build(Some(&gpu), b"a model", &options).unwrap();
        assert_eq!(plan.bytes, format!("plan of {version}").as_bytes());
        assert_eq!(
            (plan.layers, plan.inputs),
            (7, vec![("in".to_owned(), vec![-1, 3])])
        );
        {
            let mut runtime = trt.runtime(&gpu).unwrap();
            let engine = runtime.engine(&plan.bytes).unwrap();
            // What depends on the runtime may outlive it.
            drop(runtime);
            let [input, output] = engine.tensors() else {
                panic!("{:?}", engine.tensors());
            };
            assert_eq!(
                (input.name.as_str(), input.input, input.data_type),
                ("in", true, DataType::Float)
            );
            assert_eq!(
                (output.name.as_str(), output.input, &output.shape[..]),
                ("out", false, &[-1, 3][..])
            );
            let mut context = engine.context().unwrap();
            drop(engine);
            let (a, b) = (Buffer::new(&gpu, 24).unwrap(), Buffer::new(&gpu, 24).unwrap());
            let memory = [("in", a.slice()), ("out", b.slice())];
            // Without a shape nothing is known of the sizes.
            assert!(context.run(&stream, &memory).is_err());
            context.set_shape("in", &[2, 3]).unwrap();
            assert_eq!(context.shape("out").unwrap(), [2, 3]);
            let values: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_ne_bytes()).collect();
            stream.upload(a.slice(), &values).unwrap();
            context.run(&stream, &memory).unwrap();
            let mut back = vec![0; 24];
            stream.download(&mut back, b.slice()).unwrap();
            let back: Vec<_> = back
                .chunks_exact(4)
                .map(|b| f32::from_ne_bytes(b.try_into().unwrap()))
                .collect();
            assert_eq!(back, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
            // Too little memory, a shape beyond the profile, a tensor that is not there.
            context.set_shape("in", &[4, 3]).unwrap();
            let error = context.run(&stream, &memory).unwrap_err().to_string();
            assert!(error.contains("tensor in of shape [4, 3]"), "{error}");
            let error = context.set_shape("in", &[5, 3]).unwrap_err().to_string();
            assert!(error.contains("outside of the profile"), "{error}");
            let error = context.set_shape("inn", &[1, 3]).unwrap_err().to_string();
            assert!(error.contains("it has in, out"), "{error}");
        }
        assert_eq!(alive(&library), 0, "{}", trt.version());
    }
}

#[test]
fn refusals_carry_tensorrts_words() {
    let Some(emulated) = Emulated::new() else { return };
    let gpu = emulated.gpu();
    for version in [8, 10, 11, 1] {
        let folder = tempfile::tempdir().unwrap();
        let library = stand_in(version, None, folder.path()).unwrap();
        let trt = TensorRt::load_file(&library).unwrap();
        let says = |result: Result<_, GpuError>| result.err().unwrap().to_string();
        let build = |model: &[u8], options: &BuildOptions| trt.build(Some(&gpu), model, options).map(drop);
        let options = BuildOptions::default();
        let error = says(build(b"bad", &options));
        assert!(
            error.contains("parse the model") && error.contains("unsupported node: Bad"),
            "{error}"
        );
        let error = says(build(b"a model", &options));
        assert!(error.contains("no optimization profile"), "{error}");
        let half = BuildOptions {
            precision: Precision::Half,
            ranges: ranges(),
            ..BuildOptions::default()
        };
        let built = build(b"a model", &half);
        assert_eq!(built.is_ok(), matches!(version, 8 | 10), "{built:?}");
        // Only RTX builds without a GPU.
        let options = BuildOptions {
            ranges: ranges(),
            ..BuildOptions::default()
        };
        assert_eq!(trt.build(None, b"a model", &options).is_ok(), version == 1);
        let mut runtime = trt.runtime(&gpu).unwrap();
        let error = says(runtime.engine(b"plan of another").map(drop));
        assert!(
            error.contains("Version tag does not match") && error.contains("build it anew"),
            "{error}"
        );
        drop(runtime);
        assert_eq!(alive(&library), 0, "{}", trt.version());
    }
}

#[test]
fn a_version_that_is_not_known_is_refused_before_anything_is_made() {
    for (version, says) in [(10, 101_700), (11, 120_000), (8, 8401), (1, 10_400)] {
        let folder = tempfile::tempdir().unwrap();
        let Some(library) = stand_in(version, Some(says), folder.path()) else {
            return;
        };
        let error = TensorRt::load_file(&library).err().unwrap();
        assert!(matches!(error, GpuError::Version { .. }), "{error}");
        assert_eq!(alive(&library), 0);
    }
}
