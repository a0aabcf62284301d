//! `reboot` and `factory-reset` against a logind that does what it is told, on a bus of the test.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command as Program, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::*;
use crate::command::{FactoryReset, Reboot};

/// A bus on a free address.
struct PrivateBus {
    child: Child,
    address: String,
}

impl PrivateBus {
    /// `None`, aloud, where there is no dbus-daemon.
    fn start() -> Option<PrivateBus> {
        let child = Program::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address=1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("SKIPPED: dbus-daemon is not installed (apt install dbus)");
            return None;
        };
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut address)
            .unwrap();
        Some(PrivateBus {
            child,
            address: address.trim().to_owned(),
        })
    }
}

impl Drop for PrivateBus {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

struct Logind {
    answer: &'static str,
    reboots: Arc<AtomicUsize>,
    rebooted: Arc<Notify>,
}

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl Logind {
    fn can_reboot(&self) -> String {
        self.answer.to_owned()
    }
    fn reboot(&self, interactive: bool) -> zbus::fdo::Result<()> {
        if interactive {
            return Err(zbus::fdo::Error::AccessDenied("nobody is here".into()));
        }
        self.reboots.fetch_add(1, Ordering::SeqCst);
        self.rebooted.notify_one();
        Ok(())
    }
}

async fn logind(bus: &PrivateBus, answer: &'static str) -> (zbus::Connection, Arc<AtomicUsize>, Arc<Notify>) {
    let (reboots, rebooted) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let service = Logind {
        answer,
        reboots: reboots.clone(),
        rebooted: rebooted.clone(),
    };
    let connection = zbus::connection::Builder::address(bus.address.as_str())
        .unwrap()
        .name("org.freedesktop.login1")
        .unwrap()
        .serve_at("/org/freedesktop/login1", service)
        .unwrap()
        .build()
        .await
        .unwrap();
    (connection, reboots, rebooted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reboot_is_done_when_the_box_is_back() {
    let Some(bus) = PrivateBus::start() else { return };
    let (_service, reboots, rebooted) = logind(&bus, "yes").await;
    let dir = tempfile::tempdir().unwrap();
    let reboot = || vec![Arc::new(Reboot::at(&bus.address)) as Arc<dyn Command>];
    let desk = Box1::new().desk(dir.path(), BOOT, reboot());
    ask(&desk, "reboot", "r1", json!({})).await;
    within("logind is asked", rebooted.notified()).await;
    assert_eq!(desk.get("r1").unwrap().state, CommandPhase::Executing);
    drop(desk);
    let desk = Box1::new().desk(dir.path(), Uuid::from_u128(2), reboot());
    assert_eq!(ended(&desk, "r1").await.state, CommandPhase::Successful);
    // Another one, of which only the daemon comes back.
    ask(&desk, "reboot", "r2", json!({})).await;
    within("logind is asked", rebooted.notified()).await;
    drop(desk);
    let desk = Box1::new().desk(dir.path(), Uuid::from_u128(2), reboot());
    assert!(
        ended(&desk, "r2")
            .await
            .reason
            .unwrap()
            .contains("did not reboot")
    );
    assert_eq!(reboots.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_the_way_of_a_reboot_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = format!("unix:path={}", dir.path().join("no-bus").display());
    let desk = Box1::new().desk(dir.path(), BOOT, vec![Arc::new(Reboot::at(&nobody))]);
    ask(&desk, "reboot", "r1", json!({})).await;
    let reason = ended(&desk, "r1").await.reason.unwrap();
    assert!(reason.contains("no system bus"), "{reason}");
    ask(&desk, "reboot", "r2", json!({"force": true})).await;
    let reason = ended(&desk, "r2").await.reason.unwrap();
    assert!(reason.contains("force"), "{reason}");

    let Some(bus) = PrivateBus::start() else { return };
    let desk = Box1::new().desk(dir.path(), BOOT, vec![Arc::new(Reboot::at(&bus.address))]);
    ask(&desk, "reboot", "r3", json!({})).await;
    let reason = ended(&desk, "r3").await.reason.unwrap();
    assert!(
        reason.contains("logind does not reboot"),
        "no logind on the bus: {reason}"
    );
    let (_service, reboots, _) = logind(&bus, "challenge").await;
    ask(&desk, "reboot", "r4", json!({})).await;
    let reason = ended(&desk, "r4").await.reason.unwrap();
    assert!(reason.contains("lacks the rule"), "{reason}");
    assert_eq!(reboots.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_factory_reset_leaves_word_and_reboots_once_that_was_told() {
    let Some(bus) = PrivateBus::start() else { return };
    let (_service, _, rebooted) = logind(&bus, "yes").await;
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "schema_version = 1\n[device]\nid = \"box-1\"\ndata_dir = {:?}\n",
        dir.path()
    );
    let config = Arc::new(ArcSwap::from_pointee(crate::config::tests::good(&text)));
    let actor = dir.path().join("actor");
    let reset =
        || Arc::new(FactoryReset::with(config.clone(), actor.clone(), &bus.address)) as Arc<dyn Command>;
    let desk = Box1::new().desk(dir.path(), BOOT, vec![reset()]);
    let order = dir.path().join("factory-reset");
    let failed = |number: &'static str, arguments: Value, part: &'static str| {
        let desk = &desk;
        async move {
            ask(desk, "factory-reset", number, arguments).await;
            let reason = ended(desk, number).await.reason.unwrap();
            assert!(reason.contains(part), "{reason}");
        }
    };
    failed("f1", json!({}), "device").await;
    failed("f2", json!({"device": "box-2"}), "this box is `box-1`").await;
    failed("f3", json!({"device": "box-1"}), "nothing here would act").await;
    assert!(!order.exists());
    std::fs::write(&actor, "").unwrap();
    ask(
        &desk,
        "factory-reset",
        "f4",
        json!({"device": "box-1", "keep_identity": false}),
    )
    .await;
    assert_eq!(ended(&desk, "f4").await.state, CommandPhase::Successful);
    assert_eq!(std::fs::read_to_string(&order).unwrap(), "keep-identity=no\n");
    within("the reboot", rebooted.notified()).await;
}
