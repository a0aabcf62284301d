//! The broker stopped and started again.

use std::collections::BTreeMap;

use synoptic_app::documents::{DeviceState, EventPhase};

use crate::crash::one_story_each;
use crate::daemon::Daemon;
use crate::harness::{Stage, camera, rtsp_camera, until, views};
use crate::mqtt::Listener;

/// Messages that must gather while the broker is away: more than one event.
const BACKLOG: u64 = 6;

#[test]
fn what_happens_while_the_broker_is_away_arrives_when_it_is_back() {
    let Some(mut stage) = Stage::set() else { return };
    let sim = camera(&views(1)[0]);
    let cameras = [rtsp_camera("street", &sim.url(), ""), stage.file_camera("clip")];
    let config = stage.configure(&cameras.concat());
    let listener = Listener::start(stage.broker.port, "witness");
    let mut daemon = Daemon::start(&config);
    listener.until_event("an event while all is well", |m| m.phase == EventPhase::Start);

    stage.broker.stop();
    let away = daemon.until("the broker is missed, and messages gather", |s| {
        s.mqtt.state != "connected" && s.mqtt.outbox >= BACKLOG
    });
    assert!(away.mqtt.error.is_some(), "{:?}", away.mqtt);
    let before = listener.events().len();
    assert!(stage.broker.run());
    daemon.until("all messages have left", |s| {
        s.mqtt.state == "connected" && s.mqtt.outbox == 0
    });
    until("status again", || {
        (listener.device()?.state == DeviceState::Online).then_some(())
    });
    until("the backlog", || {
        (listener.events().len() >= before + BACKLOG as usize).then_some(())
    });

    assert_eq!(daemon.stop().0.code(), Some(0));
    let stored = daemon.exported();
    assert!(!stored.is_empty());
    until("the end of every stored event", || {
        let ended = |id: &str| {
            let told = listener.events();
            told.iter().any(|m| m.id == id && m.phase == EventPhase::End)
        };
        stored.iter().all(|e| ended(&e.id)).then_some(())
    });
    one_story_each(&listener);
    let mut told: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for message in listener.events() {
        let seqs = told.entry(message.id).or_default();
        // A repeat after the outage is allowed, and known by its number.
        if !seqs.contains(&message.seq) {
            seqs.push(message.seq);
        }
    }
    for (id, seqs) in &told {
        let whole: Vec<u32> = (0..seqs.len() as u32).collect();
        assert_eq!(*seqs, whole, "messages of event {id} are missing or out of order");
        assert!(stored.iter().any(|e| e.id == *id));
    }
}
