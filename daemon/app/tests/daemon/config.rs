//! The configuration changes while the daemon runs: by the API, and by hand with SIGHUP.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use synoptic_app::documents::{CameraState, ProbeDoc, StatusDoc};

use crate::daemon::{Daemon, cam};
use crate::harness::{Stage, camera, free_port, rtsp_camera, views};

fn epoch(status: &StatusDoc, id: &str) -> u32 {
    cam(status, id).stream.as_ref().unwrap().epoch
}

#[test]
fn cameras_come_and_go_by_the_api_and_the_others_do_not_notice() {
    let Some(stage) = Stage::set() else { return };
    let sims: Vec<_> = views(2).iter().map(camera).collect();
    let text = format!(
        "# The gate; ask Bob before you change it.\n{}[[group]] # both sides\nid = \"yard\"\ncameras = [\"gate\"]\n",
        rtsp_camera("gate", &sims[0].url(), "")
    );
    let config = stage.configure(&text);
    let daemon = Daemon::start(&config);
    let before = daemon.online();
    let file = || std::fs::read_to_string(&config).unwrap();
    let commented = |text: &str| text.contains("ask Bob before") && text.contains("# both sides");

    let new = json!({
        "id": "street", "name": "Street", "source": sims[1].url(), "detector": "motion", "group": "yard"
    });
    daemon.post("/api/v1/cameras", &new).unwrap();
    assert!(
        file().contains("id = \"street\"") && commented(&file()),
        "{}",
        file()
    );
    let both = daemon.until("the new camera in the group", |s| {
        s.cameras.len() == 2
            && cam(s, "street").status.state == CameraState::Online
            && s.groups[0].members.iter().all(|m| m.status == "okay")
            && s.groups[0].members.len() == 2
    });
    assert_eq!(epoch(&both, "gate"), epoch(&before, "gate"));

    let (code, why) = daemon.post("/api/v1/cameras", &new).unwrap_err();
    assert_eq!(code, 409, "{why}");
    daemon.delete("/api/v1/cameras/street").unwrap();
    assert!(!file().contains("street") && commented(&file()), "{}", file());
    let alone = daemon.until("the camera gone", |s| {
        s.cameras.len() == 1 && s.groups[0].members.len() == 1 && s.groups[0].packets_per_s > 0.0
    });
    assert_eq!(epoch(&alone, "gate"), epoch(&before, "gate"));
    assert_eq!(
        cam(&alone, "gate").status.since,
        cam(&before, "gate").status.since
    );
    assert_eq!(daemon.delete("/api/v1/cameras/street").unwrap_err().0, 404);
    drop(sims);
}

#[test]
fn a_camera_can_be_tested_before_it_is_added() {
    let Some(stage) = Stage::set() else { return };
    let sim = camera(&views(1)[0]);
    let config = stage.configure("");
    let daemon = Daemon::start(&config);
    let test = |source: &str| -> ProbeDoc {
        let camera = json!({"id": "new", "name": "New", "source": source});
        serde_json::from_slice(&daemon.post("/api/v1/cameras/test", &camera).unwrap()).unwrap()
    };
    let good = test(&sim.url());
    assert!(good.usable && good.verdict.starts_with("Good"), "{good:?}");
    assert_eq!((good.width, good.height), (Some(640), Some(360)));
    assert!(good.picture_base64.is_some());
    let bad = test(&format!("rtsp://127.0.0.1:{}/nothing", free_port()));
    assert!(!bad.usable && bad.picture_base64.is_none(), "{bad:?}");
    assert!(bad.verdict.to_lowercase().contains("reach"), "{}", bad.verdict);
    let status: Value = serde_json::from_slice(&daemon.get("/api/v1/cameras").unwrap()).unwrap();
    assert_eq!(status, json!([]), "a test adds nothing");
}

#[test]
fn a_wrong_configuration_changes_nothing_and_a_mended_one_is_applied() {
    let Some(stage) = Stage::set() else { return };
    let table = stage.file_camera("clip");
    let config = stage.configure(&table);
    let mut daemon = Daemon::start(&config);
    let before = daemon.online();
    let good = std::fs::read_to_string(&config).unwrap();

    // Two mistakes: both are told, with their lines.
    let bad = good
        .replace("repeat = true", "repeat = true\nrotate = 91")
        .replace("[web]", "[web]\ncolour = \"red\"");
    std::fs::write(&config, &bad).unwrap();
    let seen = daemon.log().len();
    daemon.signal(Signal::SIGHUP);
    daemon.logged_after(seen, "the configuration stays as it was");
    for mistake in ["colour = ", "rotate = 91"] {
        let number = bad.lines().position(|l| l.starts_with(mistake)).unwrap() + 1;
        daemon.logged_after(seen, &format!("synoptic.toml:{number}:"));
    }
    let after = daemon.status();
    assert_eq!(epoch_since(&after), epoch_since(&before));

    let mended = good.replace("id = \"clip\"", "id = \"clip2\"\nname = \"Second\"");
    std::fs::write(&config, &mended).unwrap();
    daemon.signal(Signal::SIGHUP);
    let after = daemon.until("the camera of the mended file", |s| {
        s.cameras.len() == 1 && s.cameras[0].id == "clip2" && s.cameras[0].status.state == CameraState::Online
    });
    assert_eq!(after.cameras[0].name, "Second");
}

#[test]
fn what_waits_for_a_restart_is_said() {
    let Some(stage) = Stage::set() else { return };
    let config = stage.configure("");
    let mut daemon = Daemon::start(&config);
    assert_eq!(daemon.status().restart_needed, [""; 0]);
    let good = std::fs::read_to_string(&config).unwrap();
    let moved = good
        .replace("[store]", "[store]\nkeep_events = \"3d\"")
        .replace("127.0.0.1:0", "127.0.0.2:0");
    std::fs::write(&config, moved).unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.until("the key that waits", |s| s.restart_needed == ["web.listen"]);
    daemon.logged("in effect only when the daemon is started again: web.listen");
    daemon.logged("apply the limits of the store");
    std::fs::write(&config, good).unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.until("nothing waits", |s| s.restart_needed.is_empty());
    daemon.stop();
}

fn epoch_since(status: &StatusDoc) -> Vec<(String, String)> {
    let cameras = status.cameras.iter();
    cameras.map(|c| (c.id.clone(), c.status.since.clone())).collect()
}
