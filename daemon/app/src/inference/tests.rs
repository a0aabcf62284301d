//! The whole way on stand-ins for CUDA and each major of TensorRT: what goes well, and every fault.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use synoptic_base::{
    Captured, Detection, Detector, DetectorError, Epoch, FrameKey, FrameKind, FrameMeta, MediaTime, Mono,
    Picture, PixelFormat, Seq, Size, Span, StreamId, Surface, TimeSource,
};
use synoptic_gpu::GpuError;
use synoptic_gpu::trt::Precision;
use synoptic_vision::PictureBuf;
use synoptic_vision::onnx::{OnnxDetector, OnnxOptions};
use tempfile::TempDir;

use super::build::{self, Step};
use super::switch::{LoadCpu, Switching};
use super::worker::Worker;
use super::{EnginePhase, EngineRoom, EngineState, Fault, Libraries, ModelSpec, Wish};
use crate::models;

#[path = "../../../gpu/emulate/mod.rs"]
mod emulate;
#[path = "../../../gpu/emulate/tiny.rs"]
mod tiny;

/// Far longer than anything here takes, for a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(60);
/// Long enough for a stand-in on a busy machine, short enough to wait for.
const LIMIT: Duration = Duration::from_secs(3);

/// A box with a GPU that is not there.
struct World {
    folder: TempDir,
    room: EngineRoom,
    spec: ModelSpec,
}

impl World {
    /// With the TensorRT `version` (8, 10, 11, or 1 for RTX), which says it is `says`. `None`, aloud, without a compiler.
    fn new(version: u32, says: Option<u32>) -> Option<World> {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        let cuda = emulate::build("libcuda.cpp", &[], &place("cuda"))?;
        let mut options = vec!["-DDETECTOR".to_owned(), format!("-DVERSION={version}")];
        options.extend(says.map(|n| format!("-DSAYS={n}")));
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let built = emulate::build("nvinfer.cpp", &options, &place("trt"))?;
        let (library, parser) = match version {
            1 => (
                "libtensorrt_rtx.so.1".to_owned(),
                "libtensorrt_onnxparser_rtx.so.1".to_owned(),
            ),
            n => (format!("libnvinfer.so.{n}"), format!("libnvonnxparser.so.{n}")),
        };
        std::fs::copy(&built, built.with_file_name(parser)).unwrap();
        let library = built.with_file_name(library);
        std::fs::rename(&built, &library).unwrap();
        let dirs = vec![place("models")];
        tiny::write(&dirs[0]);
        let manifest = models::find(&dirs, tiny::MODEL).unwrap();
        let mut room = EngineRoom::new(folder.path().join("engines"), PathBuf::from("/nowhere/synoptic"));
        room.libraries = Libraries {
            cuda: Some(cuda.clone()),
            tensorrt: Some(library),
            nvrtc: Some(cuda),
        };
        room.limits.load = DEADLINE;
        room.limits.look = LIMIT;
        room.limits.retry = Duration::from_millis(50);
        Some(World {
            spec: ModelSpec {
                onnx: dirs[0].join("tiny.onnx"),
                dirs,
                manifest,
                precision: Precision::Model,
                device: 0,
                threshold: 0.7,
                keep: vec![true],
            },
            room,
            folder,
        })
    }

    /// Asks the stand-in for a fault, or for none.
    fn fault(&self, word: &str) {
        std::fs::write(self.folder.path().join("trt/fault"), word).unwrap();
    }

    /// A program that is run in place of this one to build plans.
    fn program(&mut self, script: &str) {
        let path = self.folder.path().join("builder");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        self.room.program = path;
    }

    fn built(&self) -> Result<Vec<Step>, Fault> {
        let mut steps = Vec::new();
        build::here(&self.room, &self.spec, &mut |step| steps.push(step)).map(|()| steps)
    }

    fn load_cpu(&self) -> LoadCpu {
        let (file, manifest) = (self.spec.onnx.clone(), self.spec.manifest.clone());
        Box::new(move || {
            let detector = OnnxDetector::load(&file, manifest.clone(), &OnnxOptions::default());
            let detector = detector.map_err(|e| e.to_string())?;
            Ok((Box::new(detector) as Box<dyn Detector>, "the CPU".to_owned()))
        })
    }

    /// A detector that wants TensorRT, what is told of it, and the folder that must live on.
    fn detector(self, must: bool, on_cpu: bool) -> (Switching, Told, TempDir) {
        let cpu = on_cpu.then(|| self.load_cpu());
        let (tell, told) = unbounded();
        let wish = Wish {
            room: Arc::new(self.room),
            spec: self.spec,
            must,
            tell: Arc::new(move |state: &EngineState| tell.send(state.clone()).unwrap_or_default()),
        };
        (Switching::start(wish, cpu).unwrap(), Told(told), self.folder)
    }
}

/// What is told of a detector's engine.
struct Told(Receiver<EngineState>);

impl Told {
    /// The next state of this phase.
    fn until(&self, phase: EnginePhase) -> EngineState {
        loop {
            let state = self
                .0
                .recv_timeout(DEADLINE)
                .unwrap_or_else(|_| panic!("never {phase:?}"));
            if state.phase == phase {
                return state;
            }
        }
    }
}

/// A dark picture with a bright square of a sixteenth.
fn picture() -> PictureBuf {
    let size = Size::new(128, 128);
    let mut data = vec![128; PictureBuf::bytes(size)];
    for y in 0..128 {
        for x in 0..128 {
            let bright = (64..96).contains(&x) && (32..64).contains(&y);
            data[y * 128 + x] = if bright { 230 } else { 40 };
        }
    }
    PictureBuf::new(size, PixelFormat::Nv12, data).unwrap()
}

fn look(detector: &mut dyn Detector) -> Result<Vec<Detection>, DetectorError> {
    let surface = picture();
    let meta = FrameMeta {
        key: FrameKey {
            stream: StreamId::new("a").unwrap(),
            epoch: Epoch(0),
            media_us: MediaTime::from_micros(0),
        },
        seq: Seq(0),
        arrival: Mono::from_nanos(0),
        captured: Captured {
            mono: Mono::from_nanos(0),
            rel_error: Span::ZERO,
            source: TimeSource::Host,
        },
        size: surface.size(),
        kind: FrameKind::Unknown,
    };
    let picture = Picture {
        meta: &meta,
        surface: &surface,
    };
    detector.detect(&[picture]).remove(0)
}

fn is_the_square(found: &[Detection]) {
    let [one] = found else { panic!("{found:?}") };
    assert_eq!(one.label, "square");
    // The cell's corner is the box's centre in this family; sigmoid(-1.1) is its side.
    let (x, y) = one.bbox.center();
    assert!((x - 0.5).abs() < 1e-4 && (y - 0.25).abs() < 1e-4, "{one:?}");
}

#[test]
fn every_major_builds_passes_its_test_and_finds_what_the_cpu_finds() {
    for version in [8, 10, 11, 1] {
        let Some(world) = World::new(version, None) else {
            return;
        };
        let missing = Worker::start(
            &Arc::new(EngineRoom {
                busy: Default::default(),
                folder: world.room.folder.clone(),
                program: PathBuf::new(),
                libraries: world.room.libraries.clone(),
                limits: world.room.limits,
            }),
            world.spec.clone(),
        );
        assert!(matches!(missing, Err(Fault::NoPlan(_))));
        let steps = world.built().unwrap();
        assert!(
            matches!(&steps[..], [Step::Opened { .. }, Step::Building { .. }, Step::Built { .. }, Step::Tested { by }]
            if by.contains("on emulated GPU")),
            "{steps:?}"
        );
        let mut cpu = world.load_cpu()().unwrap().0;
        let on_cpu = look(&mut *cpu).unwrap();
        is_the_square(&on_cpu);
        let limit = world.room.limits.look;
        let mut worker = Worker::start(&Arc::new(world.room), world.spec.clone()).unwrap();
        let found = worker.look(vec![picture(), picture()], limit).unwrap();
        for on_gpu in &found {
            is_the_square(on_gpu);
            assert!(
                (on_gpu[0].score - on_cpu[0].score).abs() < 1e-4,
                "{on_gpu:?} {on_cpu:?}"
            );
        }
        assert_eq!(found.len(), 2);
    }
}

#[test]
fn what_is_not_there_or_not_known_is_said_with_the_mend() {
    let Some(mut world) = World::new(10, None) else {
        return;
    };
    let there = world.room.libraries.clone();
    world.room.libraries.cuda = Some("/nowhere/libcuda.so.1".into());
    let no_driver = world.built().unwrap_err();
    assert!(
        matches!(no_driver, Fault::Absent(GpuError::Missing { .. })),
        "{no_driver}"
    );
    assert!(no_driver.to_string().contains("/nowhere/libcuda.so.1") && !no_driver.may_pass());
    world.room.libraries = Libraries {
        tensorrt: Some("/nowhere/libnvinfer.so.10".into()),
        ..there.clone()
    };
    let no_library = world.built().unwrap_err().to_string();
    assert!(
        no_library.contains("TensorRT") && no_library.contains("libnvinfer.so.10"),
        "{no_library}"
    );
    for (version, says) in [(8, 8401), (10, 101_700), (11, 120_000), (1, 10_400)] {
        let Some(world) = World::new(version, Some(says)) else {
            return;
        };
        let unknown = world.built().unwrap_err();
        assert!(
            matches!(unknown, Fault::Absent(GpuError::Version { .. })),
            "{unknown}"
        );
    }
    world.room.libraries = there;
    world.spec.device = 3;
    assert!(matches!(world.built(), Err(Fault::Absent(GpuError::Cuda { .. }))));
}

#[test]
fn a_plan_that_is_refused_is_removed_and_one_that_computes_nonsense_is_not_used() {
    for version in [8, 10, 11, 1] {
        let Some(world) = World::new(version, None) else {
            return;
        };
        world.built().unwrap();
        let plans = || {
            let entries = std::fs::read_dir(&world.room.folder)
                .unwrap()
                .map(|e| e.unwrap().path());
            entries
                .filter(|p| p.extension().is_some_and(|e| e == "plan"))
                .count()
        };
        world.fault("wrong_answers");
        let load = || super::model::GpuModel::load(&world.room, &world.spec, false).map(drop);
        let wrong = load().unwrap_err();
        assert!(
            matches!(&wrong, Fault::Wrong(why) if why.contains("% away")),
            "{wrong}"
        );
        world.fault("plan_refused");
        assert_eq!(plans(), 1);
        let refused = load().unwrap_err();
        assert!(
            matches!(&refused, Fault::NoPlan(why) if why.contains("Version tag")),
            "{refused}"
        );
        assert_eq!(plans(), 0);
        world.fault("build_fails");
        let failed = world.built().unwrap_err();
        assert!(
            matches!(&failed, Fault::Build { why, may_pass: false } if why.contains("Conv_0")),
            "{failed}"
        );
        world.fault("");
        world.built().unwrap();
        load().unwrap();
    }
}

#[test]
fn out_of_memory_falls_back_without_losing_a_frame_and_comes_back() {
    let Some(world) = World::new(10, None) else { return };
    world.built().unwrap();
    let fault = world.folder.path().join("trt/fault");
    let (mut detector, told, _folder) = world.detector(true, true);
    let first = told.until(EnginePhase::Preparing);
    assert_eq!(
        (first.wanted, first.running.as_deref()),
        ("tensorrt", Some("the CPU"))
    );
    let runs = told.until(EnginePhase::AsWanted);
    assert!(
        runs.running
            .as_deref()
            .is_some_and(|r| r.starts_with("TensorRT 10.3.0, fp32")),
        "{runs:?}"
    );
    is_the_square(&look(&mut detector).unwrap());
    std::fs::write(&fault, "out_of_memory").unwrap();
    is_the_square(&look(&mut detector).unwrap());
    let fallen = told.until(EnginePhase::Fallback);
    assert_eq!(fallen.running.as_deref(), Some("the CPU"));
    assert!(
        fallen
            .reason
            .as_deref()
            .is_some_and(|r| r.contains("out of memory")),
        "{fallen:?}"
    );
    std::fs::write(&fault, "").unwrap();
    told.until(EnginePhase::AsWanted);
    is_the_square(&look(&mut detector).unwrap());
}

#[test]
fn an_enqueue_that_hangs_costs_its_deadline_once_and_nothing_else() {
    let Some(world) = World::new(10, None) else { return };
    world.built().unwrap();
    let fault = world.folder.path().join("trt/fault");
    let (mut detector, told, _folder) = world.detector(false, true);
    told.until(EnginePhase::AsWanted);
    std::fs::write(&fault, "enqueue_hangs").unwrap();
    is_the_square(&look(&mut detector).unwrap());
    let fallen = told.until(EnginePhase::Fallback);
    assert!(
        fallen
            .reason
            .as_deref()
            .is_some_and(|r| r.contains("no answer within 3 s")),
        "{fallen:?}"
    );
    // No new try hangs as well.
    is_the_square(&look(&mut detector).unwrap());
    assert!(told.0.recv_timeout(Duration::from_millis(300)).is_err());
    std::fs::write(&fault, "").unwrap();
}

#[test]
fn without_the_cpu_nothing_looks_until_the_gpu_does() {
    let Some(mut world) = World::new(10, None) else {
        return;
    };
    world.program("echo '{\"step\":\"failed\",\"why\":\"no room\",\"may_pass\":false}'; exit 1");
    let (mut detector, told, _folder) = world.detector(true, false);
    assert!(matches!(look(&mut detector), Err(DetectorError::NotReady { .. })));
    let off = told.until(EnginePhase::Off);
    assert_eq!(off.running, None);
    assert!(
        off.reason.as_deref().is_some_and(|r| r.contains("no room")),
        "{off:?}"
    );
}

#[test]
fn auto_on_a_box_without_a_gpu_has_what_it_wants_and_says_why_it_is_not_more() {
    let Some(mut world) = World::new(10, None) else {
        return;
    };
    world.room.libraries.cuda = Some("/nowhere/libcuda.so.1".into());
    let (mut detector, told, _folder) = world.detector(false, true);
    let state = told.until(EnginePhase::AsWanted);
    assert_eq!(
        (state.wanted, state.running.as_deref()),
        ("auto", Some("the CPU"))
    );
    assert!(
        state.reason.as_deref().is_some_and(|r| r.contains("libcuda")),
        "{state:?}"
    );
    is_the_square(&look(&mut detector).unwrap());
}

#[test]
fn a_building_child_that_crashes_is_killed_hangs_or_says_nothing_is_a_failed_build() {
    let Some(mut world) = World::new(10, None) else {
        return;
    };
    world.room.limits.build = LIMIT;
    world.room.limits.retry = DEADLINE;
    for (script, part) in [
        (
            "echo a last word >&2; kill -SEGV $$",
            "crashed with SIGSEGV; its last words: a last word",
        ),
        ("kill -KILL $$", "was killed, probably because memory ran short"),
        ("exit 7", "ended with exit status: 7; it said nothing"),
        ("exec sleep 1000", "had not ended after 3 s"),
        // It says that all went well, and there is no plan.
        ("exit 0", "never built here"),
    ] {
        let Some(mut fresh) = World::new(10, None) else {
            return;
        };
        fresh.room.limits = world.room.limits;
        fresh.program(script);
        let (mut detector, told, _folder) = fresh.detector(true, true);
        let fallen = told.until(EnginePhase::Fallback);
        assert!(
            fallen.reason.as_deref().is_some_and(|r| r.contains(part)),
            "{script}: {fallen:?}"
        );
        is_the_square(&look(&mut detector).unwrap());
    }
    world.program("exit 0");
    world.room.program = "/nowhere/synoptic".into();
    let (_detector, told, _folder) = world.detector(true, true);
    let fallen = told.until(EnginePhase::Fallback);
    assert!(
        fallen
            .reason
            .as_deref()
            .is_some_and(|r| r.contains("cannot start /nowhere/synoptic")),
        "{fallen:?}"
    );
}
