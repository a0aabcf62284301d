//! A camera with a sub stream: found in the small picture, kept under the frame of the large one.

use std::sync::Arc;

use synoptic_app::documents::CameraState;
use synoptic_base::{BootId, Clock, Size, Span, StreamId, Utc};
use synoptic_media::clocks::SystemClock;
use synoptic_sim::camera::{CameraOptions, Content};
use synoptic_sim::scene::{Scene, Truth};
use synoptic_store::{DetectionQuery, DetectionRow, Options, Store};

use crate::daemon::{Daemon, cam};
use crate::harness::{SIZE, Stage, camera, rtsp_camera, views};

/// A quarter of the main picture, of the same view.
const SUB_SIZE: Size = Size::new(320, 180);
/// Looks at the daemon's status, 50 ms apart, at which something moves: 4 s of frames and more.
const LOOKS: usize = 80;
/// Least median overlap (intersection over union) of the boxes with what moves. Measured: 0.63 to 0.87; the motion
/// detector sees a 320 x 180 picture in cells, and takes two that hide one another for one. Boxes of another scale, or
/// of a picture a few frames off, fall to nothing.
const OVERLAP: f32 = 0.5;

/// Every detection that the daemon left in its store.
fn detections(stage: &Stage, id: &str) -> Vec<DetectionRow> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let options = Options {
        dir: stage.path("data"),
        boot_id: BootId(uuid::Uuid::nil()),
        keep_events: Span::from_secs(86_400),
        keep_detections: Span::from_secs(86_400),
        max_bytes: u64::MAX >> 1,
        min_free_bytes: 0,
    };
    let query = DetectionQuery {
        stream: StreamId::new(id).unwrap(),
        after: None,
        from: None,
        to: None,
        limit: 10_000,
    };
    runtime.block_on(async {
        let opened = Store::open(options, SystemClock::shared()).await.unwrap();
        opened.store.detections(&query).await.unwrap()
    })
}

#[test]
fn the_detector_looks_at_the_sub_stream_and_its_boxes_are_those_of_the_main_frame() {
    let Some(stage) = Stage::set() else { return };
    let main = views(1).swap_remove(0);
    let Content::Scene { scene, .. } = main.content.clone() else {
        unreachable!()
    };
    let sub = CameraOptions {
        phase: Span::from_millis(25),
        content: Content::Scene {
            scene: Arc::new(scene.resized(SUB_SIZE).unwrap()),
            view: 0,
        },
        ..main.clone()
    };
    let sims = [camera(&main), camera(&sub)];
    let line = format!("sub_source = \"{}\"\n", sims[1].url());
    let mut daemon = Daemon::start(&stage.configure(&rtsp_camera("gate", &sims[0].url(), &line)));
    // The scene is what it is at this time of day: wait until enough has moved through it.
    let mut moved = 0;
    let status = daemon.until(
        "200 frames looked at in the sub stream, and things that move",
        |s| {
            let looked = cam(s, "gate").sub.as_ref().map_or(0, |s| s.looked_sub);
            let now = SystemClock.sample().realtime;
            moved += usize::from(looked > 30 && !moving(&scene, now).is_empty());
            looked >= 200 && moved >= LOOKS
        },
    );
    let gate = cam(&status, "gate");
    let before = gate.sub.clone().unwrap();
    let stream = gate.stream.clone().unwrap();
    assert_eq!((stream.width, stream.height), (SIZE.width, SIZE.height));
    assert_eq!(before.status.state, CameraState::Online);
    assert!(before.traffic.frames_decoded >= 200 && before.traffic.rtp_packets >= 200);

    // Without the sub stream the main stream is looked at, and the status says so.
    sims[1].kill();
    let status = daemon.until("frames of the main stream looked at", |s| {
        let gate = cam(s, "gate");
        gate.sub.as_ref().unwrap().looked_main > before.looked_main + 10 && gate.status.reason.is_some()
    });
    let gate = cam(&status, "gate");
    assert_eq!(gate.status.state, CameraState::Online, "{:?}", gate.status);
    let reason = gate.status.reason.clone().unwrap();
    assert!(reason.contains("looks at the main stream"), "{reason}");
    sims[1].revive().unwrap();
    let looked = gate.sub.as_ref().unwrap().looked_sub;
    daemon.until("the sub stream looked at again", |s| {
        let gate = cam(s, "gate");
        gate.sub.as_ref().unwrap().looked_sub > looked + 10 && gate.status.reason.is_none()
    });
    let metrics = String::from_utf8(daemon.get("/metrics").unwrap()).unwrap();
    let reconnects = "synoptic_camera_reconnects_total{camera=\"gate\",stream=\"sub\"} 1\n";
    assert!(metrics.contains(reconnects), "{metrics}");
    let (status, _) = daemon.stop();
    assert_eq!(status.code(), Some(0));

    boxes_are_true(&scene, &detections(&stage, "gate"), stream.epoch);
}

/// What moves, wholly in view.
fn moving(scene: &Scene, at: Utc) -> Vec<Truth> {
    let before = scene.truth(0, at - Span::from_millis(200));
    let moves = |t: &Truth| {
        let then = before.iter().find(|b| b.id == t.id);
        t.visible > 0.99 && then.is_some_and(|b| (b.bbox.x - t.bbox.x).abs() > 0.005)
    };
    scene.truth(0, at).into_iter().filter(moves).collect()
}

fn boxes_are_true(scene: &Scene, rows: &[DetectionRow], epoch: u32) {
    // A sub frame has a key of another epoch, and is nowhere to be found.
    assert!(rows.len() >= 200, "{} rows", rows.len());
    assert!(rows.iter().all(|r| r.frame.epoch.0 == epoch));
    // Ghosts (where something stood when the background was learnt) are the motion detector's own affair: what is held to
    // the truth is where the boxes of things are that move, wholly in view. The first second of an epoch teaches it.
    let mut overlaps: Vec<f32> = Vec::new();
    for row in rows.iter().filter(|r| !r.detections.is_empty()) {
        for object in moving(scene, row.stamp.utc) {
            let best = row.detections.iter().map(|d| d.bbox.iou(&object.bbox));
            overlaps.push(best.fold(0.0, f32::max));
        }
    }
    overlaps.sort_by(f32::total_cmp);
    assert!(overlaps.len() >= 30, "{} objects", overlaps.len());
    let median = overlaps[overlaps.len() / 2];
    println!(
        "{} sightings of what moves, overlap {median} median",
        overlaps.len()
    );
    assert!(median >= OVERLAP, "{median}: {overlaps:?}");
}
