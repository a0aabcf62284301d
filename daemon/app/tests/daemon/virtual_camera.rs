//! Virtual cameras of a panorama and of a camera: streams of their own that the API steers.

use serde_json::{Value, json};
use synoptic_app::documents::PanoramaState;
use synoptic_app::virtual_camera::{ViewState, VirtualCameraDoc};

use crate::daemon::Daemon;
use crate::harness::{Stage, camera, free_port, rtsp_camera, until, views};
use crate::panorama::Watcher;
use crate::players::{Decoding, lacks};
use crate::stitch::{doc, refused};

fn view(daemon: &Daemon, id: &str) -> VirtualCameraDoc {
    let path = format!("/api/v1/virtual-cameras/{id}");
    serde_json::from_slice(&daemon.get(&path).unwrap()).unwrap()
}

fn steer(daemon: &Daemon, id: &str, wish: &Value) -> VirtualCameraDoc {
    let path = format!("/api/v1/virtual-cameras/{id}");
    serde_json::from_slice(&daemon.patch(&path, wish).unwrap()).unwrap()
}

fn runs(daemon: &Daemon, id: &str) -> VirtualCameraDoc {
    until(&format!("{id} to run"), || {
        Some(view(daemon, id)).filter(|v| v.state == ViewState::Running && v.limits.is_some())
    })
}

fn keep(name: &str, jpeg: &[u8]) {
    if let Some(folder) = std::env::var_os("SYNOPTIC_LOOK") {
        std::fs::write(std::path::Path::new(&folder).join(name), jpeg).unwrap();
    }
}

fn still(daemon: &Daemon, id: &str) -> Vec<u8> {
    daemon
        .get(&format!("/api/v1/virtual-cameras/{id}/picture"))
        .unwrap()
}

#[test]
fn virtual_cameras_are_streams_that_glide_where_they_are_told() {
    let Some(stage) = Stage::set() else { return };
    let options = views(2);
    let cameras = [camera(&options[0]), camera(&options[1])];
    let port = free_port();
    let tables = rtsp_camera("cam0", &cameras[0].url(), "")
        + &rtsp_camera("cam1", &cameras[1].url(), "")
        + &format!(
            "[[group]]\nid = \"yard\"\ncameras = [\"cam0\", \"cam1\"]\n[[panorama]]\nid = \"whole\"\n\
             [[virtual_camera]]\nid = \"stage\"\nstream = \"whole\"\nwidth = 320\nheight = 180\n\
             [[virtual_camera]]\nid = \"door\"\nstream = \"cam0\"\nwidth = 320\nheight = 180\nzoom = 2\nfollow = \"action\"\n\
             [rtsp]\nlisten = \"127.0.0.1:{port}\"\n[[output]]\nid = \"out\"\nstream = \"stage\"\nserve = \"rtsp\"\n"
        );
    let daemon = Daemon::start(&stage.configure(&tables));
    // That of the camera needs no calibration.
    let door = runs(&daemon, "door");
    assert!(door.follow && door.width == 320, "{door:?}");
    let stage_view = runs(&daemon, "stage");
    let limits = stage_view.limits.unwrap();
    assert!(
        limits.pan[0] < 0.0 && limits.pan[1] > 0.0 && limits.fov[0] > 1.0,
        "{limits:?}"
    );
    keep(
        "view-stage.jpg",
        &until("a still", || {
            Some(still(&daemon, "stage")).filter(|j| !j.is_empty())
        }),
    );
    keep(
        "view-door.jpg",
        &until("a still", || {
            Some(still(&daemon, "door")).filter(|j| !j.is_empty())
        }),
    );

    // It is a stream as others are.
    let streams = doc(&daemon.get("/api/v1/streams").unwrap());
    let of = |id: &str| {
        streams
            .as_array()
            .unwrap()
            .iter()
            .find(|s| s["id"] == id)
            .unwrap()
            .clone()
    };
    assert_eq!(
        (&of("stage")["kind"], &of("stage")["transcoded"]),
        (&json!("virtual_camera"), &json!("virtual_camera"))
    );
    let mut watcher = Watcher::start(&format!("{}/live/stage.flv", daemon.url));
    if let Some(watcher) = &mut watcher {
        watcher.sees(15, (320, 180));
    }

    // Steered: it glides, and stays within what the panorama shows.
    let told = steer(&daemon, "stage", &json!({"pan": 300, "zoom": 2.5}));
    assert!(
        told.target.pan < limits.pan[1] && told.target.pan > 0.0,
        "{told:?}"
    );
    assert_eq!(told.target.zoom, 2.5);
    let there = until("it to be there", || {
        Some(view(&daemon, "stage")).filter(|v| v.now == v.target)
    });
    assert_eq!(there.target, told.target);
    keep("view-stage-right.jpg", &still(&daemon, "stage"));
    if let Some(watcher) = &mut watcher {
        watcher.sees(10, (320, 180));
    }
    drop(watcher);
    if !lacks("ffmpeg") {
        let url = format!("rtsp://127.0.0.1:{port}/out");
        steer(&daemon, "stage", &json!({"pan": 0, "zoom": 1}));
        Decoding::start(&["-rtsp_transport", "tcp", "-i", &url], 20).shows("view-rtsp", 20, (320, 180));
    }
    // Who steers ends following, and may begin it again.
    assert!(!steer(&daemon, "door", &json!({"tilt": 1.5})).follow);
    assert!(steer(&daemon, "door", &json!({"follow": true})).follow);
    for (wish, status) in [
        (json!({"pan": "left"}), 422),
        (json!({"zoom": -1}), 422),
        (json!({"speed": 1}), 422),
    ] {
        refused_at(&daemon, "/api/v1/virtual-cameras/door", &wish, status);
    }
    refused_at(&daemon, "/api/v1/virtual-cameras/none", &json!({"pan": 1}), 404);
    refused(daemon.get("/api/v1/virtual-cameras/none"), 404);

    pause(&daemon);
}

#[test]
fn virtual_cameras_are_added_changed_and_removed_by_the_api() {
    let Some(stage) = Stage::set() else { return };
    let options = views(1);
    let camera = camera(&options[0]);
    let config = stage.configure(&rtsp_camera("cam0", &camera.url(), ""));
    let daemon = Daemon::start(&config);
    let all = "/api/v1/virtual-cameras";
    let list = || doc(&daemon.get(all).unwrap());
    assert_eq!(list(), json!([]));

    let wish =
        json!({"id": "door", "stream": "cam0", "width": 320, "height": 180, "zoom": 2, "follow": "action"});
    assert_eq!(doc(&daemon.post(all, &wish).unwrap()), json!({"id": "door"}));
    until("it to be listed", || {
        (list().as_array().unwrap().len() == 1).then_some(())
    });
    let door = runs(&daemon, "door");
    assert!(
        door.follow && door.width == 320 && door.stream == "cam0",
        "{door:?}"
    );
    until("a still", || {
        Some(still(&daemon, "door")).filter(|j| !j.is_empty())
    });
    for (wish, status, part) in [
        (json!({"id": "door", "stream": "cam0"}), 409, "already"),
        (json!({"id": "cam0", "stream": "cam0"}), 409, "already"),
        (json!({"stream": "cam0"}), 422, "id is missing"),
        (
            json!({"id": "other", "stream": "none"}),
            422,
            "no camera or panorama `none`",
        ),
        (json!({"id": "other", "stream": "cam0", "width": 321}), 422, "odd"),
        (
            json!({"id": "other", "stream": "cam0", "colour": "red"}),
            422,
            "colour",
        ),
    ] {
        let told = refused(daemon.post(all, &wish), status);
        assert!(told.contains(part), "{wish}: {told}");
    }

    // What it runs with, defaults among it; a change is in effect, and in the file.
    let settings = format!("{all}/door/settings");
    let now = doc(&daemon.get(&settings).unwrap());
    assert_eq!(
        (&now["zoom"], &now["max_zoom"]),
        (&json!(2.0), &json!(6.0)),
        "{now}"
    );
    assert_eq!(now["camera_hfov"], json!(80.0), "{now}");
    let change = json!({"width": 160, "height": 90, "follow": null, "name": "The door"});
    daemon.patch(&settings, &change).unwrap();
    until("the change", || {
        let door = view(&daemon, "door");
        (door.width == 160 && door.name == "The door" && !door.follow).then_some(())
    });
    let file = std::fs::read_to_string(&config).unwrap();
    assert!(file.contains("width = 160") && !file.contains("follow"), "{file}");
    daemon.patch(&settings, &json!({"enabled": false})).unwrap();
    until("it to be stopped", || {
        (view(&daemon, "door").state == ViewState::Stopped).then_some(())
    });
    refused_at(&daemon, &settings, &json!({"id": "gate"}), 422);
    refused_at(&daemon, &settings, &json!({"zoom": 100}), 422);
    refused_at(&daemon, &format!("{all}/none/settings"), &json!({"zoom": 1}), 404);

    let place = format!("{all}/door");
    daemon.delete(&place).unwrap();
    until("it to be gone", || (list() == json!([])).then_some(()));
    refused(daemon.delete(&place), 404);
    refused(daemon.get(&settings), 404);
    assert!(
        !std::fs::read_to_string(&config)
            .unwrap()
            .contains("virtual_camera")
    );
}

fn refused_at(daemon: &Daemon, path: &str, wish: &Value, status: u16) {
    let (code, body) = daemon.patch(path, wish).unwrap_err();
    assert_eq!(code, status, "{wish}: {body}");
}

/// A paused panorama keeps its last picture, and so do who watches it and the views of it.
fn pause(daemon: &Daemon) {
    let state = || {
        let doc = doc(&daemon.get("/api/v1/panoramas/whole").unwrap());
        serde_json::from_value::<PanoramaState>(doc["status"]["state"].clone()).unwrap()
    };
    let size = {
        let doc = doc(&daemon.get("/api/v1/panoramas/whole").unwrap());
        let side = |key: &str| doc["status"][key].as_u64().unwrap() as u32;
        (side("width"), side("height"))
    };
    let mut watcher = Watcher::start(&format!("{}/live/whole.flv", daemon.url));
    if let Some(watcher) = &mut watcher {
        watcher.sees(5, size);
    }
    daemon.post("/api/v1/panoramas/whole/pause", &json!({})).unwrap();
    until("it to be paused", || {
        (state() == PanoramaState::Paused).then_some(())
    });
    let picture = || daemon.get("/api/v1/panoramas/whole/picture").unwrap();
    // What was composed before may still have waited for its detections.
    let mut last = picture();
    until("the last picture", || {
        let before = std::mem::replace(&mut last, picture());
        (before == last).then_some(())
    });
    if let Some(watcher) = &mut watcher {
        watcher.sees(3, size);
    }
    assert!(picture() == last, "something is composed");
    assert_eq!(view(daemon, "stage").state, ViewState::Running);
    daemon.post("/api/v1/panoramas/whole/resume", &json!({})).unwrap();
    until("it to run again", || {
        (state() == PanoramaState::Running).then_some(())
    });
    if let Some(watcher) = &mut watcher {
        watcher.sees(10, size);
    }
    refused(daemon.post("/api/v1/panoramas/none/pause", &json!({})), 404);
}
