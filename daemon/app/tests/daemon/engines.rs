//! A detector on the GPU, from the first start to a driver that hangs: on stand-ins for CUDA and TensorRT.

use std::path::PathBuf;

use synoptic_app::documents::{DetectorDoc, StatusDoc};

use crate::daemon::{Daemon, synoptic, text};
use crate::harness::{Stage, until};
use crate::mqtt::Listener;

#[path = "../../../gpu/emulate/mod.rs"]
mod emulate;
#[path = "../../../gpu/emulate/tiny.rs"]
mod tiny;

/// Files of the stand-ins.
struct Fakes {
    cuda: PathBuf,
    tensorrt: PathBuf,
}

impl Fakes {
    fn new(stage: &Stage) -> Option<Fakes> {
        let place = |name: &str| {
            let path = stage.path(name);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        let cuda = emulate::build("libcuda.cpp", &[], &place("cuda"))?;
        let built = emulate::build("nvinfer.cpp", &["-DDETECTOR", "-DVERSION=10"], &place("trt"))?;
        let tensorrt = built.with_file_name("libnvinfer.so.10");
        std::fs::copy(&built, built.with_file_name("libnvonnxparser.so.10")).unwrap();
        std::fs::rename(&built, &tensorrt).unwrap();
        tiny::write(&place("models"));
        Some(Fakes { cuda, tensorrt })
    }

    fn environment(&self) -> [(&'static str, &std::path::Path); 3] {
        [
            ("SYNOPTIC_LIBCUDA", &self.cuda),
            ("SYNOPTIC_LIBNVRTC", &self.cuda),
            ("SYNOPTIC_TENSORRT", &self.tensorrt),
        ]
    }

    fn fault(&self, word: &str) {
        std::fs::write(self.tensorrt.with_file_name("fault"), word).unwrap();
    }
}

fn state(status: &StatusDoc) -> &str {
    status.detectors.first().map_or("", |d| &d.engine.state)
}

#[test]
fn a_plan_is_built_by_a_child_the_gpu_takes_over_and_a_driver_that_hangs_ends_nothing() {
    let Some(stage) = Stage::set() else { return };
    let Some(fakes) = Fakes::new(&stage) else { return };
    let models = stage.path("models");
    let camera = stage.file_camera("clip");
    let detector = "detector = \"bright\"\n\n[[detector]]\nname = \"bright\"\nkind = \"onnx\"\nmodel = \"tiny\"\n\
                    engine = \"tensorrt\"\n";
    let config = stage.configure(&format!(
        "{}{detector}",
        camera.trim_end_matches('\n').to_owned() + "\n"
    ));
    let whole = std::fs::read_to_string(&config).unwrap();
    let with_models = whole.replace("[device]\n", &format!("[device]\nmodel_dirs = [{models:?}]\n"));
    std::fs::write(&config, with_models).unwrap();

    // The first child crashes: the CPU looks, and it is said.
    fakes.fault("build_crashes");
    let mut daemon = Daemon::start_with(&config, &fakes.environment());
    let status = daemon.until("a crashed build", |s| state(s) == "fallback");
    let engine = &status.detectors[0].engine;
    assert_eq!(
        (engine.wanted.as_str(), engine.running.as_deref()),
        ("tensorrt", Some("rten 0.27"))
    );
    assert!(
        engine.reason.as_deref().unwrap().contains("crashed with SIGABRT"),
        "{engine:?}"
    );
    assert_eq!(
        status.cameras[0].engine.as_deref().unwrap().split(':').next(),
        Some("rten 0.27")
    );
    let listener = Listener::start(stage.broker.port, "engines");
    let told: DetectorDoc = listener
        .until("the detector's state", |m| {
            m.retained && m.topic == "detector/main/bright/status"
        })
        .read();
    assert_eq!(told.engine.state, "fallback");

    // By hand it can be built once the fault is gone; the next start takes the plan.
    let by_hand = |command: &str| {
        let mut run = synoptic();
        run.arg("--config")
            .arg(&config)
            .args(["engine", command, "tiny", "--json"]);
        let output = run.envs(fakes.environment()).output().unwrap();
        (output.status.code(), text(&output.stdout))
    };
    let (code, said) = by_hand("verify");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("engine build tiny"), "{said}");
    fakes.fault("");
    let (code, said) = by_hand("build");
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = by_hand("verify");
    assert!(code == Some(0) && said.contains("TensorRT 10.3.0"), "{said}");
    assert_eq!(daemon.stop().0.code(), Some(0));
    let mut daemon = Daemon::start_with(&config, &fakes.environment());
    let status = daemon.until("the GPU", |s| state(s) == "as_wanted");
    let running = status.detectors[0].engine.running.clone().unwrap();
    assert!(
        running.starts_with("TensorRT 10.3.0, fp32, on emulated GPU"),
        "{running}"
    );
    assert_eq!(status.detectors[0].cameras, ["clip"]);

    // The plan is gone: the daemon's own child builds it anew.
    assert_eq!(daemon.stop().0.code(), Some(0));
    let plans = stage.path("data/engines");
    for entry in std::fs::read_dir(&plans).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let mut daemon = Daemon::start_with(&config, &fakes.environment());
    daemon.logged("builds its plan");
    daemon.until("the GPU, with a plan of its own making", |s| {
        state(s) == "as_wanted"
    });

    fakes.fault("enqueue_hangs");
    let status = daemon.until("a driver that hangs", |s| state(s) == "fallback");
    let engine = &status.detectors[0].engine;
    assert!(
        engine.reason.as_deref().unwrap().contains("no answer within"),
        "{engine:?}"
    );
    let metrics = text(&daemon.get("/metrics").unwrap());
    let series = "synoptic_detector_engine_state{group=\"main\",detector=\"bright\",state=\"fallback\"} 1";
    assert!(metrics.contains(series), "{metrics}");
    until("the event", || {
        let events = daemon.system_events();
        events.into_iter().find(|e| {
            e.reason
                .as_deref()
                .is_some_and(|r| r.starts_with("detector bright") && r.contains("no answer"))
        })
    });
    let looked = |s: &StatusDoc| s.cameras[0].attention.map_or(0, |a| a.looked);
    let before = looked(&daemon.status());
    daemon.until("frames that the CPU looks at", |s| looked(s) > before + 10);
    assert_eq!(daemon.stop().0.code(), Some(0));
    fakes.fault("");
}
