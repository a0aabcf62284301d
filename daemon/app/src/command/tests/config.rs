//! `set-config`, `confirm-config`, `export-config` and `import-config` on real files.

use std::path::PathBuf;

use arc_swap::ArcSwap;
use synoptic_base::{BootId, ClockMap, Span, StreamId};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;
use crate::command::Setup;
use crate::command::link::WebCommands;
use crate::hub::{self, Hub};
use crate::panorama;
use crate::update::Updater;
use crate::web::CommandAdmin;

const EVENTS: &str = "[store]\nkeep_events = \"30d\" # a month\n";

/// A box with its configuration file; without the daemon around it.
struct Stage {
    dir: TempDir,
    path: PathBuf,
    reloads: mpsc::UnboundedReceiver<hub::Command>,
    commands: Arc<WebCommands>,
}

impl Stage {
    fn set() -> Stage {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("synoptic.toml");
        let text = format!(
            "schema_version = 1\n[device]\nid = \"box-1\"\ndata_dir = {:?}\n{EVENTS}",
            dir.path()
        );
        std::fs::write(&path, text).unwrap();
        Stage::on(dir, path)
    }

    fn on(dir: TempDir, path: PathBuf) -> Stage {
        let clock = SystemClock::shared();
        let before = crate::command::at_start(&path, clock.now(), BOOT);
        let config = crate::config::load(&path).unwrap().config;
        let (hub, reloads) = Hub::new();
        let map = ClockMap {
            boot_id: BootId(BOOT),
            version: 1,
            utc_minus_mono: clock.sample().realtime - synoptic_base::Utc::from_nanos(clock.now().as_nanos()),
            error: Some(Span::from_millis(1)),
        };
        let setup = Setup {
            path: path.clone(),
            config: Arc::new(ArcSwap::from_pointee(config)),
            hub,
            clock: clock.clone(),
            map: Arc::new(ArcSwap::from_pointee(map)),
            boot: BootId(BOOT),
            panoramas: Arc::new(panorama::Desk::new(dir.path())),
            updates: Updater::nowhere(dir.path(), &clock).unwrap(),
            editing: Arc::default(),
            before,
        };
        Stage {
            commands: setup.start().unwrap(),
            dir,
            path,
            reloads,
        }
    }

    /// The daemon dies and starts again, in the same boot.
    fn restart(self) -> Stage {
        drop(self.commands);
        Stage::on(self.dir, self.path)
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap()
    }

    fn revision(&self) -> String {
        crate::command::trial::revision(&self.text())
    }

    async fn ask(&self, name: &str, number: &str, arguments: Value) {
        ask(&self.commands.desk, name, number, arguments).await;
    }

    async fn ended(&self, number: &str) -> CommandDoc {
        ended(&self.commands.desk, number).await
    }

    /// Until a configuration is on trial.
    async fn on_trial(&self, number: &str) {
        let confirm = |d: &CommandDoc| d.progress.as_ref().is_some_and(|p| p.text.contains("confirm"));
        until(&self.commands.desk, number, |d| confirm(d) || d.state.is_final()).await;
        let doc = self.commands.desk.get(number).unwrap();
        assert_eq!(doc.state, CommandPhase::Executing, "{doc:?}");
    }
}

fn week(confirm_within_s: u32) -> Value {
    json!({"merge": {"store": {"keep_events": "7d"}}, "confirm_within_s": confirm_within_s})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_is_confirmed_stays() {
    let mut stage = Stage::set();
    let before = stage.revision();
    stage.ask("set-config", "c1", week(60)).await;
    stage.on_trial("c1").await;
    assert!(
        stage.text().contains("keep_events = \"7d\" # a month"),
        "{}",
        stage.text()
    );
    assert_eq!(stage.reloads.recv().await, Some(hub::Command::Reload));
    stage
        .ask("confirm-config", "no", json!({"revision": before}))
        .await;
    assert!(stage.ended("no").await.reason.unwrap().contains("not"));
    // Another one has to wait.
    stage.ask("import-config", "i1", json!({"document": {}})).await;
    assert!(stage.ended("i1").await.reason.unwrap().contains("args"));
    stage
        .ask("confirm-config", "yes", json!({"revision": stage.revision()}))
        .await;
    assert_eq!(stage.ended("yes").await.state, CommandPhase::Successful);
    let done = stage.ended("c1").await;
    let result = done.result.unwrap();
    assert_eq!(
        (&result["before"], &result["plan"]),
        (&json!(before), &json!(["apply the limits of the store"]))
    );
    let stage = stage.restart();
    assert!(stage.text().contains("7d"), "nothing is left of the trial");
    stage
        .ask("confirm-config", "late", json!({"revision": stage.revision()}))
        .await;
    assert!(
        stage
            .ended("late")
            .await
            .reason
            .unwrap()
            .contains("no configuration waits")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_nobody_confirms_goes_back() {
    let mut stage = Stage::set();
    let before = stage.text();
    stage.ask("set-config", "c1", week(1)).await;
    let done = stage.ended("c1").await;
    assert!(
        done.reason
            .unwrap()
            .contains("not confirmed in time: the configuration of before is back")
    );
    assert_eq!(stage.text(), before);
    for _ in 0..2 {
        assert_eq!(stage.reloads.recv().await, Some(hub::Command::Reload));
    }
    assert!(!stage.path.with_extension("toml.trial").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_goes_on_over_a_restart_and_still_ends() {
    let stage = Stage::set();
    let before = stage.text();
    stage.ask("set-config", "c1", week(2)).await;
    stage.on_trial("c1").await;
    let stage = stage.restart();
    let done = stage.ended("c1").await;
    assert!(done.reason.unwrap().contains("is back"));
    assert_eq!(stage.text(), before);
    stage.ask("set-config", "c2", week(600)).await;
    stage.on_trial("c2").await;
    let stage = stage.restart();
    stage
        .ask("confirm-config", "yes", json!({"revision": stage.revision()}))
        .await;
    assert_eq!(stage.ended("c2").await.state, CommandPhase::Successful);
    assert!(stage.text().contains("7d"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_changes_nothing() {
    let stage = Stage::set();
    let before = stage.text();
    for (number, arguments, part) in [
        ("1", json!({}), "either `toml` or `merge`"),
        ("2", json!({"toml": "schema_version = 1", "merge": {}}), "either"),
        ("3", json!({"toml": "= 1"}), "no TOML"),
        (
            "4",
            json!({"merge": {"store": {"keep_events": "soon"}}}),
            "store.keep_events",
        ),
        ("5", json!({"merge": {"nonsense": 1}}), "nonsense"),
        (
            "6",
            json!({"merge": {}, "expect_revision": "0000000000000000"}),
            "fetch it",
        ),
        (
            "7",
            json!({"merge": {}, "confirm_within_s": 4000}),
            "confirm_within_s",
        ),
        (
            "8",
            json!({"merge": {"mqtt": {"url": "mqtt://u:hunter2@h"}}}),
            "do not belong",
        ),
    ] {
        stage.ask("set-config", number, arguments).await;
        let reason = stage.ended(number).await.reason.unwrap();
        assert!(reason.contains(part) && !reason.contains("hunter2"), "{reason}");
    }
    assert_eq!(stage.text(), before);
    stage.ask("set-config", "same", json!({"toml": before})).await;
    let same = stage.ended("same").await;
    assert_eq!(
        same.state,
        CommandPhase::Successful,
        "nothing to confirm: {same:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_is_replaced_by_its_document() {
    let old = Stage::set();
    let secret = old.dir.path().join("broker.password");
    std::fs::write(&secret, "hunter2hunter2").unwrap();
    let broker = json!({"merge": {
        "mqtt": {"url": "mqtt://127.0.0.1", "user": "u", "password": {"file": "broker.password"}},
        "camera": [{"id": "a", "source": "a.mp4"}, {"id": "b", "source": "b.mp4"}],
        "group": [{"id": "g", "cameras": ["a", "b"]}],
        "panorama": [{"id": "whole", "group": "g", "enabled": false}],
    }, "confirm_within_s": 0});
    old.ask("set-config", "c1", broker).await;
    assert_eq!(old.ended("c1").await.state, CommandPhase::Successful);
    let whole = StreamId::new("whole").unwrap();
    let old = old.restart();
    panorama::Desk::new(old.dir.path())
        .library(whole)
        .add(&panorama::testing::file("old"), None)
        .unwrap();
    let document = old.commands.export().unwrap();
    assert!(!document.to_string().contains("hunter2"));
    assert_eq!(
        document["secrets"],
        json!([{"key": "mqtt.password", "kind": "file", "name": "broker.password"}])
    );

    let new = Stage::set();
    let import = |number: &'static str| json!({"document": document, "confirm_within_s": 0, "keep_device": number == "i2"});
    new.ask("import-config", "i1", import("i1")).await;
    let reason = new.ended("i1").await.reason.unwrap();
    assert!(
        reason.contains("broker.password"),
        "the secret is missing: {reason}"
    );
    std::fs::write(new.dir.path().join("broker.password"), "x").unwrap();
    new.ask("import-config", "i2", import("i2")).await;
    let done = new.ended("i2").await;
    assert_eq!(done.result.unwrap()["calibrations"], json!({"whole": 1}));
    assert!(new.text().contains("[[panorama]]") && new.text().contains("id = \"box-1\""));
    let library = panorama::Desk::new(new.dir.path()).library(whole);
    assert_eq!(library.newest().unwrap().unwrap().file.created, "old");
    let mut other = document.clone();
    other["version"] = json!(2);
    new.ask("import-config", "i3", json!({"document": other})).await;
    assert!(
        new.ended("i3")
            .await
            .reason
            .unwrap()
            .contains("reads synoptic-configuration 1")
    );
}
