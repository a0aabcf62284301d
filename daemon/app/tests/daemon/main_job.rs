//! The main job, end to end.

use std::collections::BTreeSet;

use synoptic_app::documents::{
    AnyEventDoc, CameraState, CameraStatus, CameraTime, DeviceInfo, DeviceState, DeviceStatus, EventDoc,
    EventPhase, StorageState, SyncState, SyncStatus,
};
use synoptic_base::Span;

use crate::daemon::{Daemon, cli, text};
use crate::harness::{Stage, camera, rtsp_camera, until, views};
use crate::mqtt::Listener;

#[test]
fn cameras_become_packets_events_messages_and_pictures() {
    let Some(stage) = Stage::alone() else { return };
    let mut options = views(2);
    options[1].clock_offset = Span::from_secs(2);
    let sims: Vec<_> = options.iter().map(camera).collect();
    let cameras = [
        rtsp_camera("left", &sims[0].url(), ""),
        rtsp_camera("right", &sims[1].url(), ""),
        stage.file_camera("clip"),
        "[[group]]\nid = \"main\"\ncameras = [\"left\", \"right\", \"clip\"]\n".to_owned(),
    ];
    let config = stage.configure(&cameras.concat());
    let mut daemon = Daemon::start(&config);

    let status = daemon.online();
    assert_eq!(status.device.cameras, ["left", "right", "clip"]);
    let running = |s: SyncState| matches!(s, SyncState::Locked | SyncState::Degraded);
    let status = daemon.until("packets in the group, an offset of 2 s", |s| {
        let right = s.cameras[1].time.offset_ms;
        running(s.groups[0].state)
            && s.groups[0].packets_per_s > 5.0
            && right.is_some_and(|o| (o - 2_000.0).abs() < 100.0)
    });
    assert_eq!(status.cameras[1].time.source.as_deref(), Some("sender_report"));

    // A client that comes late gets the state at once: it is retained.
    let listener = Listener::start(stage.broker.port, "late");
    let retained =
        |topic: &str| listener.until(&format!("{topic}, retained"), |m| m.retained && m.topic == topic);
    assert_eq!(
        retained("status").read::<DeviceStatus>().state,
        DeviceState::Online
    );
    assert_eq!(
        retained("info").read::<DeviceInfo>().cameras,
        status.device.cameras
    );
    for id in &status.device.cameras {
        let state: CameraStatus = retained(&format!("cam/{id}/status")).read();
        assert_eq!(state.state, CameraState::Online);
    }
    let time: CameraTime = retained("cam/right/time").read();
    assert!((time.offset_ms.unwrap() - 2_000.0).abs() < 100.0, "{time:?}");
    let sync: SyncStatus = retained("sync/main/status").read();
    assert_eq!(sync.members.len(), 3);
    assert!(running(sync.state), "{sync:?}");

    an_event_is_told_kept_and_shown(&stage, &daemon, &listener);
    the_command_line_works_beside_it(&stage, &daemon);
    the_metrics_show_the_work(&daemon);

    let (status, took) = daemon.stop();
    assert_eq!(status.code(), Some(0));
    assert!(took < Span::from_secs(5), "it stopped only after {took}");
    let after = Listener::start(stage.broker.port, "after");
    let left = after.until("the status it left", |m| m.topic == "status");
    assert!(left.retained);
    assert_eq!(left.read::<DeviceStatus>().state, DeviceState::Offline);
    what_the_database_holds_is_what_was_published(&daemon, &listener);
}

fn an_event_is_told_kept_and_shown(stage: &Stage, daemon: &Daemon, listener: &Listener) {
    // Which event it is does not matter, so long as all of it was heard: the listener came late.
    let begun = |id: &str| {
        let events = listener.events();
        events.iter().any(|m| m.id == id && m.phase == EventPhase::Start)
    };
    let end = until("an event from start to end", || {
        let events = listener.events().into_iter();
        events
            .filter(|m| m.phase == EventPhase::End)
            .find(|m| begun(&m.id))
    });
    let mut phases = listener.events();
    phases.retain(|m| m.id == end.id);
    let id = phases[0].id.clone();
    let seqs: Vec<_> = phases.iter().map(|m| m.seq).collect();
    assert_eq!(seqs, (0..phases.len() as u32).collect::<Vec<_>>(), "{phases:#?}");
    assert_eq!(phases.last().unwrap().phase, EventPhase::End);
    assert!(
        phases[1..phases.len() - 1]
            .iter()
            .all(|m| m.phase == EventPhase::Update)
    );

    let stored = daemon.events();
    let event = stored.iter().find(|e| e.id == id).unwrap();
    assert_eq!(event.cam, phases[0].cam);
    assert_eq!(
        event.frame,
        phases[phases.len() - 2].frame,
        "the best is the last update"
    );
    let picture = daemon.get(event.picture.as_deref().unwrap()).unwrap();
    assert_eq!(picture[..3], [0xff, 0xd8, 0xff], "not a JPEG");
    std::fs::write(stage.path("picture.jpg"), &picture).unwrap();
}

fn the_command_line_works_beside_it(stage: &Stage, daemon: &Daemon) {
    let config = daemon.config.display().to_string();
    let run = |args: &[&str]| {
        let output = cli(&[&["--config", &config], args].concat());
        assert!(
            output.status.success(),
            "{args:?}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    };
    let packets = run(&["packets", "--url", &daemon.url]);
    let first = packets.lines().next().unwrap();
    assert!(first.contains(" main #"), "{packets}");
    assert!(
        ["left", "right", "clip"].iter().all(|id| first.contains(id)),
        "{packets}"
    );

    let listed = run(&["events", "list"]);
    assert!(listed.lines().count() > 0);
    let pictures = stage.path("pictures").display().to_string();
    let exported = run(&["events", "export", "--pictures", &pictures]);
    let events: Vec<EventDoc> = exported
        .lines()
        .filter_map(|line| {
            serde_json::from_str::<AnyEventDoc>(line)
                .unwrap()
                .track()
                .cloned()
        })
        .collect();
    assert!(!events.is_empty());
    for event in events.iter().filter(|e| e.picture.is_some()) {
        assert!(stage.path("pictures").join(format!("{}.jpg", event.id)).exists());
    }
    let checked = run(&["db", "check"]);
    assert!(checked.contains("sound"), "{checked}");
}

fn the_metrics_show_the_work(daemon: &Daemon) {
    let page = text(&daemon.get("/metrics").unwrap());
    let value = |series: &str| -> f64 {
        let line = page.lines().find(|l| l.starts_with(series));
        let line = line.unwrap_or_else(|| panic!("no {series} in {page}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    for stage in ["decode", "align", "detect", "store"] {
        let count = format!("synoptic_stage_seconds_count{{stage=\"{stage}\"}}");
        assert!(value(&count) > 0.0, "{count}");
    }
    assert!(value("synoptic_inference_seconds_count{detector=\"motion\",model=\"motion\"}") > 0.0);
    assert!(value("synoptic_queue_depth{group=\"main\",queue=\"frames\"}") >= 0.0);
    assert!(value("synoptic_storage_bytes") > 0.0);
    assert!(value("synoptic_storage_free_bytes") > 0.0);
    assert!(value("synoptic_storage_state{state=\"okay\"}") > 0.0);
    let storage = daemon.status().storage;
    assert_eq!((storage.state, storage.error), (StorageState::Okay, None));
}

fn what_the_database_holds_is_what_was_published(daemon: &Daemon, listener: &Listener) {
    let stored: BTreeSet<String> = daemon.exported().into_iter().map(|e| e.id).collect();
    let told = || -> BTreeSet<String> { listener.events().into_iter().map(|m| m.id).collect() };
    let begun: BTreeSet<String> = listener
        .events()
        .into_iter()
        .filter(|m| m.phase == EventPhase::Start)
        .map(|m| m.id)
        .collect();
    assert!(begun.is_subset(&stored));
    // Those that ended before the listener came are stored only.
    assert!(told().is_subset(&stored), "{:?}", told().difference(&stored));
    until("an end of everything that began", || {
        let ended: BTreeSet<String> = listener
            .events()
            .into_iter()
            .filter(|m| m.phase == EventPhase::End)
            .map(|m| m.id)
            .collect();
        begun.is_subset(&ended).then_some(())
    });
}
