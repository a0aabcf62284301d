//! What happens to cameras and clocks is told as events.

use synoptic_app::documents::{SystemEventDoc, SystemEventType};
use synoptic_base::Span;

use crate::daemon::{Daemon, cli, text};
use crate::harness::{Stage, camera, rtsp_camera, until, views};
use crate::mqtt::Listener;

#[test]
fn outages_and_clock_steps_are_events() {
    let Some(stage) = Stage::set() else { return };
    let sim = camera(&views(1)[0]);
    let config = stage.configure(&rtsp_camera("street", &sim.url(), ""));
    let listener = Listener::start(stage.broker.port, "witness");
    let mut daemon = Daemon::start(&config);
    let told = |topic: &str| -> SystemEventDoc {
        let topic = format!("event/{topic}");
        listener.until(&topic, |m| m.topic == topic).read()
    };
    let online = told("camera_online");
    assert_eq!(
        (online.kind, online.cam.as_deref()),
        (SystemEventType::CameraOnline, Some("street"))
    );
    daemon.until("a sender report", |s| {
        s.cameras[0].time.source.as_deref() == Some("sender_report")
    });

    sim.step_clock(Span::from_secs(3));
    let step = told("camera_clock_step");
    assert!((step.step_ms.unwrap() - 3_000.0).abs() < 100.0, "{step:?}");
    sim.kill();
    let offline = told("camera_offline");
    assert!(
        offline.reason.as_deref().is_some_and(|r| !r.is_empty()),
        "{offline:?}"
    );
    sim.revive().unwrap();
    until("the camera is told online again", || {
        let online = |m: &&crate::mqtt::Message| m.topic == "event/camera_online";
        (listener.messages().iter().filter(online).count() == 2).then_some(())
    });
    until("all messages have left", || {
        (daemon.status().mqtt.outbox == 0).then_some(())
    });

    // What was published is what is stored, and a person can read it.
    let stored = daemon.system_events();
    for event in [&online, &step, &offline] {
        assert!(stored.contains(event), "{event:?} in {stored:?}");
    }
    assert!(stored.iter().all(|e| e.untold == 0), "{stored:?}");
    let page = daemon
        .get("/api/v1/events?type=camera_offline&cam=street")
        .unwrap();
    assert!(text(&page).contains(&offline.id) && !text(&page).contains(&step.id));
    let wrong = daemon.get("/api/v1/events?type=nonsense").unwrap_err();
    assert!(wrong.0 == 400 && wrong.1.contains("camera_offline"), "{wrong:?}");
    let path = config.display().to_string();
    let listed = cli(&["--config", &path, "events", "list", "--type", "camera_clock_step"]);
    let listed = text(&listed.stdout);
    assert!(listed.contains("its own clock stepped by 3"), "{listed}");
    assert_eq!(listed.lines().count(), 1, "{listed}");
    assert_eq!(daemon.stop().0.code(), Some(0));
    assert!(text(&cli(&["--config", &path, "db", "check"]).stdout).contains("sound"));
}
