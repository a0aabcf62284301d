//! The daemon killed in the middle of an event, and started again.

use std::collections::BTreeMap;

use synoptic_app::documents::EventPhase;

use crate::daemon::Daemon;
use crate::harness::{Stage, camera, rtsp_camera, until, views};
use crate::mqtt::Listener;

#[test]
fn a_killed_daemon_loses_no_event_and_publishes_none_under_a_second_id() {
    let Some(stage) = Stage::set() else { return };
    let sim = camera(&views(1)[0]);
    let cameras = [rtsp_camera("street", &sim.url(), ""), stage.file_camera("clip")];
    let config = stage.configure(&cameras.concat());
    let listener = Listener::start(stage.broker.port, "witness");
    let mut daemon = Daemon::start(&config);
    let before = daemon.online();

    // One that is over, and one that lasts.
    listener.until_event("an event that ended", |m| m.phase == EventPhase::End);
    let past = listener.events().len();
    let open = until("an event that lasts", || {
        let events = listener.events();
        let ended = |id: &str| events.iter().any(|m| m.id == id && m.phase == EventPhase::End);
        let begun = events[past..].iter().find(|m| m.phase == EventPhase::Start);
        begun.filter(|m| !ended(&m.id)).cloned()
    });
    let listed = daemon.events();
    daemon.kill();
    let announced = listener.events();
    drop(daemon);

    let mut daemon = Daemon::start(&config);
    let end = listener.until_event("the end of the event that was open", |m| {
        m.id == open.id && m.phase == EventPhase::End
    });
    let stored: BTreeMap<_, _> = daemon.events().into_iter().map(|e| (e.id.clone(), e)).collect();
    let ended_by = stored[&open.id].ended_by.clone();
    assert_eq!(end.ended_by, ended_by);
    // It may have ended by itself in the moment before the kill.
    assert!(
        matches!(ended_by.as_deref(), Some("restart" | "lost")),
        "{ended_by:?}"
    );
    assert!(
        stored.values().any(|e| e.ended_by.as_deref() == Some("restart")),
        "nothing was open when it was killed"
    );
    for message in &announced {
        let event = &stored[&message.id];
        assert_eq!((&event.cam, event.track), (&message.cam, message.track));
    }
    for event in &listed {
        let now = &stored[&event.id];
        assert_eq!(
            (&now.begin, &now.cam, now.track),
            (&event.begin, &event.cam, event.track)
        );
    }
    one_story_each(&listener);

    let after = daemon.online();
    for (old, new) in before.cameras.iter().zip(&after.cameras) {
        let epoch = |c: &synoptic_app::documents::CameraDoc| c.stream.as_ref().unwrap().epoch;
        assert!(
            epoch(new) > epoch(old),
            "{}: {} after {}",
            new.id,
            epoch(new),
            epoch(old)
        );
    }
    daemon.logged("was open when the daemon died");
}

/// Messages of one event agree with each other; a number within an event never comes with two contents.
pub(crate) fn one_story_each(listener: &Listener) {
    let mut told: BTreeMap<(String, u32), Vec<u8>> = BTreeMap::new();
    let mut ids: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for message in listener.messages().iter().filter(|m| m.topic == "event/track") {
        let event: synoptic_app::documents::EventMessage = message.read();
        let first = told
            .entry((event.id.clone(), event.seq))
            .or_insert_with(|| message.payload.clone());
        assert_eq!(
            *first, message.payload,
            "two messages {} of event {}",
            event.seq, event.id
        );
        let first = ids
            .entry(message.properties["id"].clone())
            .or_insert_with(|| message.payload.clone());
        assert_eq!(*first, message.payload, "one message id, two messages");
    }
}
