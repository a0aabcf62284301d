//! Panoramas on request that leave the box by pushes, played back by programs of others; and what cannot be stitched.

use serde_json::{Value, json};
use synoptic_base::Clock as _;
use synoptic_media::clocks::SystemClock;
use synoptic_sim::camera::Camera;

use crate::daemon::{Daemon, text};
use crate::harness::{Stage, camera, free_port, until, views};
use crate::players::{Decoding, lacks, rtmp_server, vlc_shows};
use crate::rtsp_taker::Taker;
use crate::stitch::{doc, refused, runs};

/// Pictures in what the RTSP server took: first slices, NAL units of type 1 and 5 (ITU-T H.264 table 7-1).
fn pictures_of(taker: &Taker) -> usize {
    let bytes = std::fs::read(&taker.file).unwrap_or_default();
    // The first slice of a picture has first_mb_in_slice 0: its first bit is 1.
    let is_first = |w: &[u8]| w[..3] == [0, 0, 1] && matches!(w[3] & 0x1f, 1 | 5) && w[4] & 0x80 != 0;
    bytes.windows(5).filter(|w| is_first(w)).count()
}

/// Type of the first NAL unit of a picture in what the RTSP server took.
fn first_slice(taker: &Taker) -> u8 {
    let bytes = std::fs::read(&taker.file).unwrap();
    let types = bytes.windows(4).filter(|w| w[..3] == [0, 0, 1]);
    types.map(|w| w[3] & 0x1f).find(|t| (1..=5).contains(t)).unwrap()
}

/// Pictures that are looked at: two seconds.
const PICTURES: usize = 30;

#[test]
fn panoramas_on_request_are_pushed_by_rtmp_and_by_rtsp_at_once() {
    if lacks("ffmpeg") || lacks("nginx") {
        return;
    }
    let Some(stage) = Stage::set() else { return };
    let rtmp = free_port();
    let Some(_server) = rtmp_server(rtmp, &stage) else {
        return;
    };
    let Some(taker) = Taker::start(&stage) else { return };
    let cameras: Vec<_> = views(2).iter().map(camera).collect();
    let urls: Vec<String> = cameras.iter().map(Camera::url).collect();
    let daemon = Daemon::start(&stage.configure("[stitch]\nworkers = 2\n"));

    let listening = taker.url();
    let played = format!("rtmp://127.0.0.1:{rtmp}/live/secretkey");
    let asked = SystemClock.now();
    let post = |one: &str, two: &str, output: &str| {
        let wish = json!({"url1": one, "url2": two, "output_url": output, "wait": false});
        doc(&daemon.post("/stitch", &wish).unwrap())
    };
    let first = post(&urls[0], &urls[1], &played);
    let second = post(&urls[1], &urls[0], &listening);
    assert_ne!(first["id"], second["id"]);
    let wish = json!({"url1": urls[0], "url2": urls[1], "output_url": "rtmp://127.0.0.1/live/third"});
    assert!(refused(daemon.post("/stitch", &wish), 503).contains("workers = 2"));

    let sizes = [runs(&daemon, &first), runs(&daemon, &second)];
    let ran = SystemClock.now();
    let player = Decoding::start(&["-i", &played], PICTURES);
    until("a picture at the RTSP server", || {
        (taker.taken() > 0).then_some(())
    });
    let pushed = SystemClock.now();
    let first_played = player.shows("stitch-rtmp", PICTURES, sizes[0]);
    eprintln!(
        "two panoramas at once ran {} after POST; the first picture was at the RTSP server after {}, decoded from the \
         RTMP server after {}",
        ran - asked,
        pushed - asked,
        first_played - asked
    );
    vlc_shows(&played, &stage, sizes[0]);
    until("two seconds of pictures", || {
        (pictures_of(&taker) > PICTURES).then_some(())
    });
    // It begins whole: the first slice is of an IDR picture (NAL unit type 5).
    assert_eq!(first_slice(&taker), 5);
    let file = taker.file.to_str().unwrap();
    Decoding::start(&["-f", "h264", "-i", file], PICTURES).shows("stitch-rtsp", PICTURES, sizes[1]);

    let place = format!("/stitch/{}", first["id"].as_str().unwrap());
    let now = until("the push to run", || {
        let now = doc(&daemon.get(&place).unwrap());
        (now["output"]["state"] == "running").then_some(now)
    });
    assert_eq!(now["output"]["kind"], "rtmp_push");
    let told = text(&daemon.get("/stitch").unwrap()) + &daemon.log().join("\n");
    assert!(!told.contains("secretkey"), "{told}");

    for begun in [&first, &second] {
        daemon
            .delete(&format!("/stitch/{}", begun["id"].as_str().unwrap()))
            .unwrap();
    }
    daemon.until("everything to be gone", |s| {
        s.cameras.is_empty() && s.panoramas.is_empty()
    });
    let outputs: Value = doc(&daemon.get("/api/v1/outputs").unwrap());
    assert_eq!(outputs, json!([]), "nothing is pushed any more");
    // Both workers are free again: what is refused now is refused for another reason.
    let same = json!({"url1": urls[0], "url2": urls[0], "output_url": played});
    assert!(refused(daemon.post("/stitch", &same), 422).contains("first stream"));
}

#[test]
fn streams_that_share_nothing_are_refused_with_the_reason() {
    let Some(stage) = Stage::set() else { return };
    // Each view lies 70 % of a picture further right: the first and the third have nothing in common.
    let options = views(3);
    let cameras = [camera(&options[0]), camera(&options[2])];
    let daemon = Daemon::start(&stage.configure(""));
    let wish = json!({
        "url1": cameras[0].url(), "url2": cameras[1].url(), "output_url": "rtmp://127.0.0.1/live/x", "timeout": 32
    });
    let why = refused(daemon.post("/stitch", &wish), 422);
    eprintln!("refused: {why}");
    assert!(why.contains("calibrated"), "{why}");
    daemon.until("its cameras to be gone", |s| s.cameras.is_empty());
    assert_eq!(doc(&daemon.get("/stitch").unwrap())[0]["status"], "failed");
}
