//! The broker stopped and started again.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use synoptic_app::documents::{DeviceState, DeviceStatus, EventPhase};

use crate::crash::one_story_each;
use crate::daemon::Daemon;
use crate::harness::{Stage, camera, rtsp_camera, until, views};
use crate::mqtt::Listener;

/// How often the publisher is replaced: a race would not show each time.
const RELOADS: usize = 5;

#[test]
fn a_new_publisher_comes_only_when_the_old_one_has_left() {
    let Some(stage) = Stage::set() else { return };
    let config = stage.configure(&stage.file_camera("clip"));
    let mut daemon = Daemon::start(&config);
    let listener = Listener::start(stage.broker.port, "witness");
    let connected = || stage.broker.log().matches("as synoptic_default_box").count();
    daemon.until("the broker", |s| s.mqtt.state == "connected");
    let text = std::fs::read_to_string(&config).unwrap();
    for n in 0..RELOADS {
        let before = connected();
        let prefix = format!("[mqtt]\nhome_assistant = \"ha{n}\"");
        std::fs::write(&config, text.replace("[mqtt]", &prefix)).unwrap();
        daemon.signal(Signal::SIGHUP);
        until("another connection", || (connected() > before).then_some(()));
        daemon.until("the broker again", |s| s.mqtt.state == "connected");
    }
    let log = stage.broker.log();
    assert!(
        !log.contains("already connected"),
        "a session was taken over:\n{log}"
    );
    let statuses = || -> Vec<DeviceState> {
        let messages = listener.messages();
        let all = messages.iter().filter(|m| m.topic == "status");
        all.map(|m| m.read::<DeviceStatus>().state).collect()
    };
    until("online after the last farewell", || {
        let all = statuses();
        let farewells = all.iter().filter(|s| **s == DeviceState::Offline).count();
        (farewells == RELOADS && *all.last()? == DeviceState::Online).then_some(())
    });
    let late = Listener::start(stage.broker.port, "late");
    let retained = late.until("the retained status", |m| m.topic == "status" && m.retained);
    assert_eq!(retained.read::<DeviceStatus>().state, DeviceState::Online);

    // No broker any more: the last word is that the box is offline, and the state here is off.
    let without = text[..text.find("[mqtt]").unwrap()].to_owned() + &text[text.find("[[camera]]").unwrap()..];
    std::fs::write(&config, without).unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.until("no broker", |s| s.mqtt.state == "off" && s.mqtt.broker.is_none());
    until("the last farewell", || {
        (*statuses().last()? == DeviceState::Offline).then_some(())
    });
    assert_eq!(daemon.stop().0.code(), Some(0));
}

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
