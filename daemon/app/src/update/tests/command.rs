//! The command `update`, over restarts of the daemon and of the box.

use std::ops::Deref;
use std::sync::Arc;

use serde_json::{Value, json};
use synoptic_engine::command::{BoxTime, CommandId};
use synoptic_media::clocks::SystemClock;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use super::bundle;
use super::fake_rauc::End;
use super::life::{Scene, writing};
use super::server::{Manner, Server};
use crate::command::{Desk, Parts, Update};
use crate::documents::{CommandDoc, CommandPhase};
use crate::mqtt::test_broker::within;
use crate::update::Updater;

/// A daemon's process, of which only updates and commands are looked at: its tasks end with it.
struct Daemon {
    desk: Option<Desk>,
    updates: Option<Arc<Updater>>,
    runtime: Option<Runtime>,
}

impl Deref for Daemon {
    type Target = Desk;
    fn deref(&self) -> &Desk {
        self.desk.as_ref().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.desk.take();
        self.updates.take();
        let runtime = self.runtime.take();
        tokio::task::block_in_place(|| drop(runtime));
    }
}

fn start(scene: &Scene, boot: u128) -> Daemon {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let within = runtime.enter();
    let updates = Arc::new(scene.updater(&boot.to_string()));
    let clock = SystemClock::shared();
    let time = move || BoxTime {
        utc: clock.sample().realtime,
        synchronised: true,
    };
    let desk = Desk::start(Parts {
        data_dir: scene.dir.path(),
        boot: Uuid::from_u128(boot),
        time: Arc::new(time),
        commands: vec![Arc::new(Update::new(updates.clone()))],
    });
    drop(within);
    Daemon {
        desk: Some(desk.unwrap()),
        updates: Some(updates),
        runtime: Some(runtime),
    }
}

async fn ask(desk: &Desk, id: &str, args: Value) {
    let Value::Object(args) = args else {
        panic!("{args} is no object")
    };
    let id = CommandId::new(id).unwrap();
    desk.ask("update", id, args).await.unwrap();
}

async fn until(desk: &Desk, id: &str, wish: impl Fn(&CommandDoc) -> bool) -> CommandDoc {
    let mut changed = desk.changed();
    within(&format!("update {id}"), async {
        loop {
            changed.mark_unchanged();
            if let Some(doc) = desk.get(id)
                && wish(&doc)
            {
                return doc;
            }
            changed.changed().await.unwrap();
        }
    })
    .await
}

async fn ended(desk: &Desk, id: &str) -> CommandDoc {
    until(desk, id, |doc| doc.state.is_final()).await
}

async fn says(desk: &Desk, id: &str, part: &str) {
    let word = |doc: &CommandDoc| doc.progress.as_ref().is_some_and(|p| p.text.contains(part));
    let doc = until(desk, id, |doc| word(doc) || doc.state.is_final()).await;
    assert_eq!(doc.state, CommandPhase::Executing, "{doc:?}");
}

/// The new system runs, on trial.
fn boots_b(scene: &Scene) {
    scene.write("proc/cmdline", "rauc.slot=B");
    scene.write("usr/share/synoptic/release", "1.1.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_new_version_tells_that_the_update_went_well() {
    let Some(scene) = Scene::new() else { return };
    let services = scene.services().await;
    let server = Server::start(bundle(100_000), &[]);
    let desk = start(&scene, 1);
    ask(&desk, "u1", json!({"url": server.url, "version": "1.1.0"})).await;
    says(&desk, "u1", "writing 1.1.0").await;
    writing(desk.updates.as_ref().unwrap()).await;
    // The daemon dies while RAUC writes, and another one follows.
    drop(desk);
    let desk = start(&scene, 1);
    writing(desk.updates.as_ref().unwrap()).await;
    services.finish();
    within("logind is asked", async {
        let mut look = tokio::time::interval(std::time::Duration::from_millis(20));
        while scene.play.lock().unwrap().reboots == 0 {
            look.tick().await;
        }
    })
    .await;
    drop(desk);
    boots_b(&scene);
    let desk = start(&scene, 2);
    // Nothing is said before the gate has spoken, which is in no hurry.
    let doc = desk.get("u1").unwrap();
    assert_eq!(doc.state, CommandPhase::Executing, "{doc:?}");
    std::fs::remove_file(scene.path("data/update/pending")).unwrap();
    let done = ended(&desk, "u1").await;
    assert_eq!(
        (done.state, done.result),
        (
            CommandPhase::Successful,
            Some(json!({"version": "1.1.0", "slot": "B", "updated": true}))
        ),
        "{:?}",
        done.reason
    );
    // The same wish again: nothing to do.
    ask(&desk, "u2", json!({"url": server.url, "version": "1.1.0"})).await;
    let same = ended(&desk, "u2").await;
    assert_eq!(same.result.unwrap()["updated"], json!(false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_version_tells_why_the_box_went_back() {
    let Some(scene) = Scene::new() else { return };
    let services = scene.services().await;
    services.finish();
    let server = Server::start(bundle(1_000), &[]);
    let desk = start(&scene, 1);
    ask(&desk, "u1", json!({"url": server.url, "reboot": false})).await;
    says(&desk, "u1", "the next start of the box takes it").await;
    assert_eq!(scene.play.lock().unwrap().reboots, 0, "nobody wants it yet");
    drop(desk);
    std::fs::remove_file(scene.path("data/update/pending")).unwrap();
    scene.write("data/update/rollback-reason", "no camera gives frames\n");
    let desk = start(&scene, 3);
    let reason = ended(&desk, "u1").await.reason.unwrap();
    assert!(
        reason.contains("1.1.0") && reason.contains("went back to 1.0.0: no camera gives frames"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_a_failure_with_its_reason() {
    let Some(scene) = Scene::new() else { return };
    let services = scene.services().await;
    let desk = start(&scene, 1);
    let server = Server::start(bundle(1_000), &[Manner::Status(404)]);
    for (id, args, part) in [
        ("1", json!({}), "one of `url` and `file`"),
        ("2", json!({"url": "ftp://x/y"}), "https"),
        ("3", json!({"url": server.url, "sha": "x"}), "sha"),
        ("4", json!({"url": server.url, "sha256": "12"}), "64 hex digits"),
        (
            "5",
            json!({"url": server.url}),
            "downloading: the server said HTTP 404",
        ),
        (
            "6",
            json!({"url": server.url, "version": "2.0.0"}),
            "preflight: the bundle is of version 1.1.0, 2.0.0 was asked for",
        ),
        ("7", json!({"file": "/etc/passwd"}), "/run/media"),
    ] {
        ask(&desk, id, args).await;
        let reason = ended(&desk, id).await.reason.unwrap();
        assert!(reason.contains(part), "{id}: {reason}");
    }
    scene.play.lock().unwrap().end = End::Badly("no space left on device".to_owned());
    services.finish();
    ask(&desk, "8", json!({"url": server.url})).await;
    let reason = ended(&desk, "8").await.reason.unwrap();
    assert!(reason.contains("installing: RAUC: no space left"), "{reason}");
    // Two of them: the second waits for the first, and then finds a box that waits for its restart.
    scene.play.lock().unwrap().end = End::Well;
    ask(&desk, "9", json!({"url": server.url, "reboot": false})).await;
    writing(desk.updates.as_ref().unwrap()).await;
    drop(desk);
    let desk = start(&scene, 1);
    // A command that the updater has never heard of.
    let record = std::fs::read_to_string(scene.path("commands/9.json")).unwrap();
    drop(desk);
    std::fs::write(scene.path("commands/10.json"), record.replace("\"9\"", "\"10\"")).unwrap();
    let desk = start(&scene, 1);
    let reason = ended(&desk, "10").await.reason.unwrap();
    assert!(reason.contains("nothing is known of it"), "{reason}");
    assert_eq!(desk.get("9").unwrap().state, CommandPhase::Executing);
    services.finish();
}
