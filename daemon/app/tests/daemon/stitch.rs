//! A panorama on request: two streams in, one out, and nothing left of it.

use serde_json::{Value, json};
use synoptic_app::documents::PanoramaDoc;
use synoptic_sim::camera::Camera;

use crate::daemon::Daemon;
use crate::harness::{Stage, camera, free_port, until, views};
use crate::panorama::Watcher;
use crate::players::{Decoding, vlc_shows};

pub(crate) fn doc(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// What is wrong with an answer, as the API tells it.
pub(crate) fn refused(answer: Result<Vec<u8>, (u16, String)>, status: u16) -> String {
    let (code, body) = answer.unwrap_err();
    assert_eq!(code, status, "{body}");
    doc(body.as_bytes())["detail"].as_str().unwrap().to_owned()
}

/// Until the panorama of a request runs; its size.
pub(crate) fn runs(daemon: &Daemon, begun: &Value) -> (u32, u32) {
    let place = format!("/stitch/{}", begun["id"].as_str().unwrap());
    until("the panorama to run", || {
        let now = doc(&daemon.get(&place).unwrap());
        assert_ne!(now["status"], "failed", "{now}");
        (now["status"] == "running").then_some(())
    });
    let path = format!("/api/v1/panoramas/{}", begun["panorama"].as_str().unwrap());
    let panorama: PanoramaDoc = serde_json::from_slice(&daemon.get(&path).unwrap()).unwrap();
    (panorama.status.width.unwrap(), panorama.status.height.unwrap())
}

#[test]
fn a_panorama_on_request_is_served_by_rtsp() {
    let Some(stage) = Stage::set() else { return };
    let cameras: Vec<_> = views(2).iter().map(camera).collect();
    let port = free_port();
    let config = stage.configure(&format!("[rtsp]\nlisten = \"127.0.0.1:{port}\"\n"));
    let daemon = Daemon::start(&config);
    let output = format!("rtsp://localhost:{port}/live");
    let urls = [cameras[0].url(), cameras[1].url()];
    let wish = json!({"url1": urls[0], "url2": urls[1], "output_url": output, "wait": false});
    let begun = doc(&daemon.post("/stitch", &wish).unwrap());
    let size = runs(&daemon, &begun);
    let Some(mut watcher) = Watcher::start(&output) else {
        return;
    };
    watcher.sees(15, size);
    let place = format!("/stitch/{}", begun["id"].as_str().unwrap());
    let now = doc(&daemon.get(&place).unwrap());
    assert_eq!(
        (&now["output"]["kind"], &now["output"]["clients"]),
        (&json!("rtsp_server"), &json!(1))
    );
    drop(watcher);
    Decoding::start(&["-rtsp_transport", "tcp", "-i", &output], 20).shows("stitch-served", 20, size);
    // Debian's VLC reads no RTSP: it gets the same stream as HTTP-FLV.
    let flv = format!("{}{}", daemon.url, begun["urls"]["http_flv"].as_str().unwrap());
    vlc_shows(&flv, &stage, size);
    daemon.delete(&place).unwrap();
    assert_eq!(doc(&daemon.get("/stitch").unwrap()), json!([]));
}

#[test]
fn two_streams_become_one_on_request_and_leave_nothing() {
    let Some(stage) = Stage::set() else { return };
    let cameras: Vec<_> = views(2).iter().map(camera).collect();
    let urls: Vec<String> = cameras.iter().map(Camera::url).collect();
    let config = stage.configure("[stitch]\nworkers = 1\n");
    let before = std::fs::read_to_string(&config).unwrap();
    let daemon = Daemon::start(&config);
    let output = format!("{}/live/yard.flv", daemon.url);
    let wish = json!({"url1": urls[0], "url2": urls[1], "output_url": output, "wait": false});

    let begun = doc(&daemon.post("/stitch", &wish).unwrap());
    let place = format!("/stitch/{}", begun["id"].as_str().unwrap());
    assert_eq!(begun["panorama"], "yard");
    // The same again, one too many, and what can never be.
    assert!(refused(daemon.post("/stitch", &wish), 409).contains(&place));
    let other = json!({"url1": urls[1], "url2": urls[0], "output_url": "rtmp://127.0.0.1/live/x"});
    assert!(refused(daemon.post("/stitch", &other), 503).contains("workers"));
    let file = json!({"url1": "/etc/passwd", "url2": urls[1], "output_url": output});
    refused(daemon.post("/stitch", &file), 422);
    refused(daemon.post("/stitch", &json!({"url1": urls[0]})), 422);

    let size = runs(&daemon, &begun);
    if let Some(mut watcher) = Watcher::start(&output) {
        watcher.sees(15, size);
    }

    daemon.delete(&place).unwrap();
    daemon.until("everything to be gone", |s| {
        s.cameras.is_empty() && s.panoramas.is_empty()
    });
    refused(daemon.get(&place), 404);
    refused(daemon.delete(&place), 404);
    assert!(!stage.path("data/panoramas/yard").exists());

    // Nobody listens there: the answer waits as long as it was told to, and says which stream it is.
    let nobody = format!("rtsp://127.0.0.1:{}/none", free_port());
    let wish = json!({"url1": urls[0], "url2": nobody, "output_url": output, "timeout": 5});
    let why = refused(daemon.post("/stitch", &wish), 422);
    assert!(why.contains("url2") && why.contains(&nobody), "{why}");
    daemon.until("its cameras to be gone", |s| s.cameras.is_empty());
    let failed = doc(&daemon.get("/stitch").unwrap());
    assert_eq!(failed[0]["status"], "failed", "{failed}");
    assert_eq!(
        std::fs::read_to_string(&config).unwrap(),
        before,
        "the configuration is as it was"
    );
}
