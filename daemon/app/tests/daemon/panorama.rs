//! A panorama of simulated cameras: the box calibrates by itself, composes, loses a camera and has it back.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use synoptic_app::documents::{CalibrationDoc, JobState, PanoramaDoc, PanoramaState, StitchSlotDoc};

use crate::daemon::Daemon;
use crate::harness::{SIZE, Stage, camera, rtsp_camera, until, views};

fn panorama(daemon: &Daemon) -> PanoramaDoc {
    serde_json::from_slice(&daemon.get("/api/v1/panoramas/whole").unwrap()).unwrap()
}

/// Where a camera's pixel is on the canvas, in pixels of the canvas.
fn on_canvas(daemon: &Daemon, camera: &str, at: [f64; 2], canvas: (u32, u32)) -> [f64; 2] {
    let (w, h) = (f64::from(SIZE.width), f64::from(SIZE.height));
    // A box of two pixels around the place: its middle comes back as that of a box.
    let bbox = [(at[0] - 1.0) / w, (at[1] - 1.0) / h, 2.0 / w, 2.0 / h];
    let body = daemon
        .post(
            "/api/v1/panoramas/whole/map",
            &json!({"camera": camera, "bbox": bbox}),
        )
        .unwrap();
    let doc: Value = serde_json::from_slice(&body).unwrap();
    let found: Vec<f64> = doc["boxes"][0]["bbox"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect();
    [
        (found[0] + found[2] / 2.0) * f64::from(canvas.0),
        (found[1] + found[3] / 2.0) * f64::from(canvas.1),
    ]
}

/// ffmpeg while it decodes a live stream: the size of each picture, as it comes. Stopped when dropped.
pub(crate) struct Watcher {
    child: Child,
    sizes: Arc<Mutex<Vec<String>>>,
}

impl Watcher {
    /// `None`, aloud, where ffprobe is not installed.
    pub(crate) fn start(url: &str) -> Option<Watcher> {
        let child = Command::new("ffprobe")
            .args(["-v", "error", "-fflags", "nobuffer", "-select_streams", "v"])
            .args(["-show_entries", "frame=width,height", "-of", "csv=p=0", url])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("ffprobe is not installed: nobody decodes {url}");
            return None;
        };
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let (lines, kept) = (BufReader::new(child.stdout.take().unwrap()), sizes.clone());
        // Ends with the child, which closes its end of the pipe.
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                // Side data, such as the SEI, has empty lines.
                let size = line.trim_end_matches(',');
                if !size.is_empty() {
                    kept.lock().unwrap().push(size.to_owned());
                }
            }
        });
        Some(Watcher { child, sizes })
    }

    /// Waits for more pictures; all so far must be of this size, in one stream that never ended.
    pub(crate) fn sees(&mut self, more: usize, size: (u32, u32)) {
        let before = self.sizes.lock().unwrap().len();
        let what = format!("{more} more decoded pictures");
        let seen = until(&what, || {
            assert!(self.child.try_wait().unwrap().is_none(), "the stream ended");
            let sizes = self.sizes.lock().unwrap();
            (sizes.len() >= before + more).then(|| sizes.clone())
        });
        let wanted = format!("{},{}", size.0, size.1);
        let other = seen.iter().find(|s| **s != wanted);
        assert_eq!(other, None, "every picture is of {wanted}");
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The panorama among the streams.
fn watched(daemon: &Daemon) -> Value {
    let streams: Value = serde_json::from_slice(&daemon.get("/api/v1/streams").unwrap()).unwrap();
    let found = streams.as_array().unwrap().iter().find(|s| s["id"] == "whole");
    found.unwrap().clone()
}

#[test]
fn a_panorama_calibrates_itself_and_outlives_the_loss_of_a_camera() {
    let Some(stage) = Stage::set() else { return };
    let options = views(2);
    let one = camera(&options[0]);
    let mut two = Some(camera(&options[1]));
    let tables = rtsp_camera("cam0", &one.url(), "stall_after = \"1s\"")
        + &rtsp_camera("cam1", &two.as_ref().unwrap().url(), "stall_after = \"1s\"")
        + "[[group]]\nid = \"yard\"\ncameras = [\"cam0\", \"cam1\"]\n\n[[panorama]]\nid = \"whole\"\nname = \"All\"\n";
    let daemon = Daemon::start(&stage.configure(&tables));

    let running = until("the panorama to run", || {
        let doc = panorama(&daemon);
        let refused = doc.job.as_ref().filter(|j| j.state == JobState::Refused);
        assert!(refused.is_none(), "{refused:?}");
        (doc.status.state == PanoramaState::Running && doc.status.fps > 1.0).then_some(doc)
    });
    let canvas = (running.status.width.unwrap(), running.status.height.unwrap());
    let picture = daemon.get("/api/v1/panoramas/whole/picture").unwrap();
    assert_eq!(&picture[..2], [0xff, 0xd8], "a JPEG");
    assert!(canvas.0 > SIZE.width * 3 / 2, "{canvas:?} shows both");
    if let Some(folder) = std::env::var_os("SYNOPTIC_LOOK") {
        std::fs::write(
            std::path::Path::new(&folder).join("daemon-panorama.jpg"),
            &picture,
        )
        .unwrap();
    }

    // The truth: camera 1 sees the scene 448 pixels further right (70 % of 640).
    let mut worst: f64 = 0.0;
    for (x, y) in [(470.0, 60.0), (550.0, 180.0), (620.0, 300.0)] {
        let a = on_canvas(&daemon, "cam0", [x, y], canvas);
        let b = on_canvas(&daemon, "cam1", [x - 448.0, y], canvas);
        worst = worst.max((a[0] - b[0]).hypot(a[1] - b[1]));
    }
    eprintln!("the same place of the scene lies {worst:.2} px apart on the canvas, at the most");
    assert!(worst < 1.0, "off by {worst:.2} px");

    // It is a stream as the cameras' are; nothing is coded while nobody watches.
    let doc = watched(&daemon);
    assert_eq!(
        (&doc["kind"], &doc["transcoded"]),
        (&json!("panorama"), &json!("panorama"))
    );
    assert_eq!(
        (&doc["codec"], &doc["viewers"], &doc["waiting"]),
        (&Value::Null, &json!(0), &Value::Null)
    );
    let mut watcher = Watcher::start(&format!("{}/live/whole.flv", daemon.url));
    if let Some(watcher) = &mut watcher {
        watcher.sees(20, canvas);
        assert_eq!(watched(&daemon)["viewers"], json!(1));
    }

    // A camera goes: the canvas stays, its slot empties, and that is told.
    drop(two.take());
    let lost = until("the loss to show", || {
        let doc = panorama(&daemon);
        (doc.status.state == PanoramaState::Degraded && doc.status.cameras[1].slot == StitchSlotDoc::Empty)
            .then_some(doc)
    });
    assert_eq!(
        (lost.status.width, lost.status.height),
        (Some(canvas.0), Some(canvas.1))
    );
    assert!(
        lost.status.reason.as_ref().is_some_and(|r| r.contains("cam1")),
        "{lost:?}"
    );

    // Who watches sees no end and no other size.
    if let Some(watcher) = &mut watcher {
        watcher.sees(10, canvas);
    }
    drop(watcher);

    // A calibration by hand waits to be accepted; old versions come back under new numbers.
    let versions = || -> Vec<CalibrationDoc> {
        serde_json::from_slice(&daemon.get("/api/v1/panoramas/whole/calibrations").unwrap()).unwrap()
    };
    let first = versions();
    assert_eq!(first.len(), 1);
    assert!(
        first[0].sha256.len() == 64 && first[0].picture.is_some(),
        "{first:?}"
    );
    let restored = daemon
        .post("/api/v1/panoramas/whole/calibrations/1/restore", &json!({}))
        .unwrap();
    let restored: CalibrationDoc = serde_json::from_slice(&restored).unwrap();
    assert_eq!((restored.version, &restored.sha256), (Some(2), &first[0].sha256));
    until("version 2 to be in use", || {
        (panorama(&daemon).status.calibration == Some(2)).then_some(())
    });
    let missing = daemon.post("/api/v1/panoramas/whole/calibrations/9/restore", &json!({}));
    assert_eq!(missing.unwrap_err().0, 404);
    let nothing = daemon.post("/api/v1/panoramas/whole/calibrations/candidate", &json!({}));
    assert_eq!(nothing.unwrap_err().0, 404);
    // Places that a person found hold every later calibration.
    let points = "/api/v1/panoramas/whole/control-points";
    let one = json!({"cameras": ["cam0", "cam1"], "at": [[470.0 / 640.0, 0.5], [22.0 / 640.0, 0.5]]});
    daemon.post(points, &json!([one])).unwrap();
    let kept: Value = serde_json::from_slice(&daemon.get(points).unwrap()).unwrap();
    assert_eq!(kept, json!([one]));
    let outside = json!([{"cameras": ["cam0", "cam1"], "at": [[2.0, 0.5], [0.0, 0.5]]}]);
    assert_eq!(daemon.post(points, &outside).unwrap_err().0, 422);
    let silly = daemon.post("/api/v1/panoramas/whole/calibrate", &json!({"seconds": 0}));
    assert_eq!(silly.unwrap_err().0, 422);
}

#[test]
fn panoramas_are_added_changed_stopped_and_removed_while_cameras_go_on() {
    let Some(stage) = Stage::set() else { return };
    let tables = stage.file_camera("a") + &stage.file_camera("b");
    let daemon = Daemon::start(&stage.configure(&(tables + "# The end.\n")));
    let connections = |daemon: &Daemon| -> Vec<u64> {
        // The counters come with the cameras' first report.
        let online = daemon.until("all cameras counted", |s| {
            s.cameras.len() == 2 && s.cameras.iter().all(|c| c.traffic.connections > 0)
        });
        online.cameras.iter().map(|c| c.traffic.connections).collect()
    };
    let before = connections(&daemon);
    let problem = |answer: Result<Vec<u8>, (u16, String)>, status: u16| -> String {
        let (code, body) = answer.unwrap_err();
        assert_eq!(code, status, "{body}");
        body
    };
    let path = "/api/v1/panoramas/whole";
    let state = |daemon: &Daemon, wanted: PanoramaState| {
        until(&format!("{wanted:?}"), || {
            let doc: PanoramaDoc = serde_json::from_slice(&daemon.get(path).ok()?).unwrap();
            (doc.status.state == wanted).then_some(doc)
        })
    };

    let wish = json!({"id": "whole", "cameras": ["b", "a"], "auto_calibrate": false});
    daemon.post("/api/v1/panoramas", &wish).unwrap();
    let doc = state(&daemon, PanoramaState::Uncalibrated);
    assert_eq!(
        doc.status
            .cameras
            .iter()
            .map(|c| c.cam.as_str())
            .collect::<Vec<_>>(),
        ["b", "a"]
    );
    problem(daemon.post("/api/v1/panoramas", &wish), 409);
    let taken = json!({"id": "a", "cameras": ["b", "a"]});
    problem(daemon.post("/api/v1/panoramas", &taken), 409);

    daemon
        .patch(path, &json!({"name": "All", "blend": "multi_band"}))
        .unwrap();
    until("the new name", || (panorama(&daemon).name == "All").then_some(()));
    for (wrong, part) in [
        (json!({"scale": 99}), "panorama[0].scale"),
        (json!({"cameras": ["a", "nobody"]}), "nobody"),
        (json!({"colour": "red"}), "colour"),
    ] {
        let body = problem(daemon.patch(path, &wrong), 422);
        assert!(body.contains(part), "{body}");
    }

    daemon.post(&format!("{path}/stop"), &json!({})).unwrap();
    state(&daemon, PanoramaState::Stopped);
    problem(daemon.post(&format!("{path}/calibrate"), &json!({})), 409);
    daemon.post(&format!("{path}/start"), &json!({})).unwrap();
    let doc = state(&daemon, PanoramaState::Uncalibrated);
    assert_eq!(doc.name, "All");

    daemon.delete(path).unwrap();
    until("it to be gone", || daemon.get(path).err());
    problem(daemon.delete(path), 404);
    problem(daemon.patch(path, &json!({})), 404);
    assert_eq!(connections(&daemon), before, "no camera was disturbed");
    let text = std::fs::read_to_string(&daemon.config).unwrap();
    assert!(
        text.contains("# The end.") && !text.contains("panorama"),
        "{text}"
    );
}
