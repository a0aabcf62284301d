//! Cameras that do not work: each says why, and the others do not notice.

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;
use synoptic_app::documents::{CameraState, CameraStatus, DeviceState};
use synoptic_base::Span;
use synoptic_sim::camera::{CameraOptions, Content};

use crate::daemon::{Daemon, cam};
use crate::harness::{Stage, camera, free_port, rtsp_camera, views};
use crate::mqtt::Listener;

#[test]
fn cameras_that_do_not_work_say_why_and_the_others_go_on() {
    let Some(stage) = Stage::set() else { return };
    let mut options = views(2);
    options[1].login = Some(("admin".to_owned(), "right".to_owned()));
    let sims: Vec<_> = options.iter().map(camera).collect();
    let sound = camera(&CameraOptions::new("sound", Content::Audio));
    // Takes connections and never says a word.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute_url = format!("rtsp://{}/x", mute.local_addr().unwrap());
    std::fs::write(stage.path("secret"), "wrong-and-secret\n").unwrap();
    let owner_only = Permissions::from_mode(0o600);
    std::fs::set_permissions(stage.path("secret"), owner_only).unwrap();
    std::fs::write(stage.path("notes.mp4"), "this is no video\n".repeat(1_000)).unwrap();
    let login = format!(
        "user = \"admin\"\npassword = {{ file = {:?} }}\n",
        stage.path("secret")
    );
    let file = |id: &str| {
        format!(
            "[[camera]]\nid = \"{id}\"\nsource = {:?}\n\n",
            stage.path("notes.mp4")
        )
    };
    let missing = format!(
        "[[camera]]\nid = \"missing\"\nsource = {:?}\n\n",
        stage.path("none.mp4")
    );
    let cameras = [
        rtsp_camera("good", &sims[0].url(), ""),
        rtsp_camera("locked", &sims[1].url(), &login),
        rtsp_camera("sound", &sound.url(), ""),
        rtsp_camera("mute", &mute_url, ""),
        rtsp_camera("nobody", &format!("rtsp://127.0.0.1:{}/x", free_port()), ""),
        file("notes"),
        missing,
    ];
    let config = stage.configure(&cameras.concat());
    let listener = Listener::start(stage.broker.port, "witness");
    let mut daemon = Daemon::start(&config);

    let wanted = [
        ("good", CameraState::Online, ""),
        ("locked", CameraState::AuthFailed, "user or password"),
        ("sound", CameraState::Offline, "no video stream"),
        ("mute", CameraState::Offline, "Timeout"),
        ("nobody", CameraState::Offline, "cannot reach"),
        ("notes", CameraState::Offline, "notes.mp4"),
        ("missing", CameraState::Offline, "none.mp4"),
    ];
    let status = daemon.until("a verdict on each", |s| {
        wanted
            .iter()
            .all(|(id, state, _)| cam(s, id).status.state == *state)
    });
    for (id, state, reason) in wanted {
        let said = cam(&status, id).status.reason.clone().unwrap_or_default();
        assert!(said.contains(reason), "{id}: {said}");
        assert_eq!(said.is_empty(), id == "good", "{id}: {said}");
        let topic = format!("cam/{id}/status");
        let told = listener.until(&format!("{topic} {state:?}"), |m| {
            m.topic == topic && m.read::<CameraStatus>().state == state
        });
        assert!(
            told.read::<CameraStatus>()
                .reason
                .unwrap_or_default()
                .contains(reason)
        );
    }
    assert_eq!(status.status.state, DeviceState::Degraded);
    let good = cam(&status, "good");
    assert!(daemon.get("/api/v1/cameras/good/picture").is_ok());

    // A camera that hangs does not hold up the end.
    let (ended, took) = daemon.stop();
    assert_eq!(ended.code(), Some(0));
    assert!(took < Span::from_secs(5), "it stopped only after {took}");
    let log = daemon.log();
    let told = |id: &str| {
        log.iter()
            .filter(|l| l.contains(&format!("camera {id}: cannot")))
            .count()
    };
    assert_eq!(
        (told("nobody"), told("missing")),
        (1, 1),
        "the same again is no news"
    );
    let log = log.join("\n");
    assert!(
        !log.contains("secret\n") && !log.contains("wrong-and-secret"),
        "a password is in the log"
    );
    assert!(!log.contains("panicked"));
    assert_eq!(
        good.stream.as_ref().unwrap().epoch,
        1,
        "the good camera was interrupted"
    );
}

#[test]
fn a_camera_whose_model_is_missing_runs_without_detection_and_says_so() {
    let Some(stage) = Stage::set() else { return };
    let camera = stage.file_camera("clip");
    let detector = "[[detector]]\nname = \"people\"\nkind = \"onnx\"\nmodel = \"yolox-nano\"\n";
    let config = stage.configure(&camera);
    let mut daemon = Daemon::start(&config);
    let before = daemon.online();
    let good = std::fs::read_to_string(&config).unwrap();
    let watched = good.replace("repeat = true", "repeat = true\ndetector = \"people\"");
    std::fs::write(&config, format!("{watched}{detector}")).unwrap();
    daemon.signal(Signal::SIGHUP);
    let status = daemon.until("the reason", |s| s.cameras[0].status.reason.is_some());
    let reason = status.cameras[0].status.reason.clone().unwrap();
    assert!(reason.contains("synoptic models fetch yolox-nano"), "{reason}");
    assert_eq!(status.status.state, DeviceState::Degraded);
    let status = daemon.until("packets all the same", |s| s.groups[0].packets_per_s > 5.0);
    assert_eq!(status.cameras[0].status.since, before.cameras[0].status.since);
    std::fs::write(&config, good).unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.until("all well again", |s| {
        s.cameras[0].status.reason.is_none() && s.status.state == DeviceState::Online
    });
    daemon.stop();
}
