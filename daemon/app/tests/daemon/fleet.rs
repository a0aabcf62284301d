//! Commands to the real daemon: by the broker and by the API, over its own end.

use serde_json::{Value, json};
use synoptic_app::documents::{CommandDoc, CommandPhase};
use synoptic_base::Clock;
use synoptic_media::clocks::SystemClock;

use crate::daemon::Daemon;
use crate::harness::{Stage, until};
use crate::mqtt::{Listener, Message};

const COMMANDS: &str = "[mqtt.commands]\nenabled = true\nallow = [\"restart\", \"set-config\", \"confirm-config\", \"run-probe\"]\n";

fn request(args: &Value) -> String {
    let issued = SystemClock.sample().realtime.to_rfc3339();
    json!({"issued_at": issued, "ttl_s": 600, "args": args}).to_string()
}

fn state(message: &Message, name: &str, id: &str) -> Option<CommandPhase> {
    let told = message.topic == format!("cmd/{name}/{id}/state") && !message.payload.is_empty();
    told.then(|| message.read::<CommandDoc>().state)
}

fn asked(daemon: &Daemon, id: &str) -> Option<CommandDoc> {
    let body = daemon.get(&format!("/api/v1/commands/{id}")).ok()?;
    Some(serde_json::from_slice(&body).unwrap())
}

fn ended(daemon: &Daemon, id: &str) -> CommandDoc {
    until(&format!("the end of {id}"), || {
        asked(daemon, id).filter(|doc| doc.state.is_final())
    })
}

#[test]
fn a_restart_by_the_broker_is_done_once_and_told_by_the_next_daemon() {
    let Some(stage) = Stage::set() else { return };
    let config = stage.configure(COMMANDS);
    let listener = Listener::start(stage.broker.port, "witness");
    let mut daemon = Daemon::start_with(&config, &[("INVOCATION_ID", "x".as_ref())]);
    daemon.until("the broker", |s| s.mqtt.state == "connected");
    listener.publish("cmd/restart/r1", &request(&json!({})));
    assert_eq!(daemon.ended().code(), Some(0));
    let mut daemon = Daemon::start_with(&config, &[("INVOCATION_ID", "x".as_ref())]);
    listener.until("the restart is done", |m| {
        state(m, "restart", "r1") == Some(CommandPhase::Successful)
    });
    listener.until("the request is gone", |m| {
        m.topic == "cmd/restart/r1" && m.payload.is_empty()
    });
    // Again, and something that is not allowed: answered, and neither is done.
    listener.publish("cmd/restart/r1", &request(&json!({})));
    listener.publish("cmd/reboot/r2", &request(&json!({})));
    let refused = listener.until("the refusal", |m| {
        state(m, "reboot", "r2") == Some(CommandPhase::Failed)
    });
    assert!(
        refused
            .read::<CommandDoc>()
            .reason
            .unwrap()
            .contains("mqtt.commands.allow")
    );
    assert_eq!(ended(&daemon, "r1").state, CommandPhase::Successful);
    assert_eq!(daemon.stop().0.code(), Some(0));
}

#[test]
fn a_configuration_on_trial_outlives_the_daemon_and_goes_back() {
    let Some(stage) = Stage::set() else { return };
    let config = stage.configure(COMMANDS);
    let before = std::fs::read_to_string(&config).unwrap();
    let mut daemon = Daemon::start(&config);
    let week = json!({"id": "c1", "args": {
        "merge": {"device": {"name": "Renamed"}}, "confirm_within_s": 4,
    }});
    daemon.post("/api/v1/commands/set-config", &week).unwrap();
    daemon.until("the new name", |s| s.device.name == "Renamed");
    daemon.kill();
    let mut daemon = Daemon::start(&config);
    let doc = ended(&daemon, "c1");
    assert_eq!(doc.state, CommandPhase::Failed);
    assert!(doc.reason.unwrap().contains("is back"));
    assert_eq!(std::fs::read_to_string(&config).unwrap(), before);
    daemon.until("the old name", |s| s.device.name == "box");

    // Confirmed it stays, by the broker as by the API.
    let week = json!({"merge": {"device": {"name": "Kept"}}, "confirm_within_s": 600});
    let listener = Listener::start(stage.broker.port, "witness");
    daemon.until("the broker", |s| s.mqtt.state == "connected");
    listener.publish("cmd/set-config/c2", &request(&week));
    let trial = listener.until("it is on trial", |m| {
        m.topic == "cmd/set-config/c2/state"
            && !m.payload.is_empty()
            && m.read::<CommandDoc>().progress.is_some()
    });
    let text = trial.read::<CommandDoc>().progress.unwrap().text;
    let revision = text.split(' ').nth(4).unwrap();
    // The publisher connects anew meanwhile, and a box without the time begins no command that it missed: say it again.
    let kept = until("the end of c2", || {
        listener.publish("cmd/confirm-config/c3", &request(&json!({"revision": revision})));
        asked(&daemon, "c2").filter(|doc| doc.state.is_final())
    });
    assert_eq!(kept.state, CommandPhase::Successful);
    daemon.until("the new name", |s| s.device.name == "Kept");

    let (code, why) = daemon.post("/api/v1/commands/dance", &json!({})).unwrap_err();
    assert_eq!(code, 404, "{why}");
    let export: Value = serde_json::from_slice(&daemon.get("/api/v1/configuration/export").unwrap()).unwrap();
    assert!(export["configuration"].as_str().unwrap().contains("Kept"));
    let taken = daemon.post("/api/v1/configuration/import", &export).unwrap();
    let taken: CommandDoc = serde_json::from_slice(&taken).unwrap();
    assert_eq!(ended(&daemon, &taken.id).state, CommandPhase::Successful);
    assert_eq!(daemon.get("/api/v1/support-bundle").unwrap_err().0, 404);
    daemon
        .post("/api/v1/commands/support-bundle", &json!({"id": "s1"}))
        .unwrap();
    assert_eq!(ended(&daemon, "s1").state, CommandPhase::Successful);
    let bundle = daemon.get("/api/v1/support-bundle").unwrap();
    assert_eq!(bundle[..2], [0x1f, 0x8b], "gzip, RFC 1952");
    daemon
        .post(
            "/api/v1/commands/run-probe",
            &json!({"id": "p1", "args": {"url": "file:///etc/passwd"}}),
        )
        .unwrap();
    assert!(ended(&daemon, "p1").reason.unwrap().contains("not probed"));
    assert_eq!(daemon.stop().0.code(), Some(0));
}
