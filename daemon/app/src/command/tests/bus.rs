//! `reboot` and `factory-reset` against a logind that does what it is told, on a bus of the test.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::*;
use crate::command::{FactoryReset, Reboot};
use crate::power::private_bus::PrivateBus;
use crate::power::{Bus, Power};

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
        if interactive || self.answer != "yes" {
            return Err(zbus::fdo::Error::AccessDenied("nobody is here".into()));
        }
        self.reboots.fetch_add(1, Ordering::SeqCst);
        self.rebooted.notify_one();
        Ok(())
    }
}

/// Of a box whose units look into `folder`/requests.
fn power(address: &str, folder: &Path) -> Power {
    Power::new(Bus::At(address.to_owned()), folder.join("requests"))
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
    let reboot = || vec![Arc::new(Reboot::by(power(&bus.address, dir.path()))) as Arc<dyn Command>];
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
    let desk = Box1::new().desk(
        dir.path(),
        BOOT,
        vec![Arc::new(Reboot::by(power(&nobody, dir.path())))],
    );
    ask(&desk, "reboot", "r1", json!({})).await;
    let reason = ended(&desk, "r1").await.reason.unwrap();
    assert!(reason.contains("no system bus"), "{reason}");
    ask(&desk, "reboot", "r2", json!({"force": true})).await;
    let reason = ended(&desk, "r2").await.reason.unwrap();
    assert!(reason.contains("force"), "{reason}");

    let Some(bus) = PrivateBus::start() else { return };
    let desk = Box1::new().desk(
        dir.path(),
        BOOT,
        vec![Arc::new(Reboot::by(power(&bus.address, dir.path())))],
    );
    ask(&desk, "reboot", "r3", json!({})).await;
    let reason = ended(&desk, "r3").await.reason.unwrap();
    assert!(
        reason.contains("logind does not restart"),
        "no logind on the bus: {reason}"
    );
    let (_service, reboots, _) = logind(&bus, "challenge").await;
    ask(&desk, "reboot", "r4", json!({})).await;
    let reason = ended(&desk, "r4").await.reason.unwrap();
    assert!(reason.contains("ask a person for a password"), "{reason}");
    // An image of ours has no polkit, but a unit that looks into this folder.
    std::fs::create_dir(dir.path().join("requests")).unwrap();
    ask(&desk, "reboot", "r5", json!({})).await;
    within("a request", async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while !dir.path().join("requests/reboot").exists() {
            look.tick().await;
        }
    })
    .await;
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
    let reset = || {
        Arc::new(FactoryReset::with(
            config.clone(),
            actor.clone(),
            power(&bus.address, dir.path()),
        )) as Arc<dyn Command>
    };
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
