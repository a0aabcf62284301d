//! A change of the configuration leaves alone what it is not about.

use serde_json::json;

use crate::daemon::Daemon;
use crate::harness::{Patience, Stage, camera, rtsp_camera, until, views};

#[test]
fn a_running_event_survives_a_camera_that_joins_its_group() {
    let Some(stage) = Stage::set() else { return };
    let sims: Vec<_> = views(2).iter().map(camera).collect();
    let group = "[[group]]\nid = \"main\"\ncameras = [\"left\"]\n";
    let config = stage.configure(&format!("{}{group}", rtsp_camera("left", &sims[0].url(), "")));
    let mut daemon = Daemon::start(&config);
    let right = json!({
        "id": "right", "name": "Right", "source": sims[1].url(), "group": "main", "detector": "motion",
    });
    let patience = Patience::new();
    // An object may leave by itself just then: in that case the next one is looked at.
    let survivor = loop {
        patience.look("an event that goes on behind the change");
        let running = until("a running event", || {
            daemon.events().into_iter().find(|e| e.end.is_none())
        });
        daemon.post("/api/v1/cameras", &right).unwrap();
        let joined = daemon.until("the new camera in packets of the group", |s| {
            let right = s.groups[0].members.iter().find(|m| m.cam == "right");
            right.is_some_and(|m| m.status == "okay")
        });
        let ended = until("the event's end", || {
            let events = daemon.events();
            let same = events.into_iter().find(|e| e.id == running.id);
            same.filter(|e| e.end.is_some())
        });
        assert_eq!(ended.ended_by.as_deref(), Some("lost"), "{ended:?}");
        let last = ended.end.as_ref().map(|end| end.utc.clone()).unwrap_or_default();
        daemon.delete("/api/v1/cameras/right").unwrap();
        daemon.until("the group as before", |s| s.groups[0].members.len() == 1);
        if last > joined.utc {
            break ended;
        }
    };
    assert_eq!(survivor.cam, "left");
    assert_eq!(
        daemon.status().cameras[0].stream.as_ref().unwrap().epoch,
        1,
        "it was interrupted"
    );
    let wrong: Vec<_> = daemon
        .events()
        .into_iter()
        .filter(|e| e.cam == "left" && !matches!(e.ended_by.as_deref(), None | Some("lost")))
        .collect();
    assert_eq!(wrong, [], "ended by a change that was not about them");
    let ended = daemon.stop().0;
    assert_eq!(ended.code(), Some(0));
}
