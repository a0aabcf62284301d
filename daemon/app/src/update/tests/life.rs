//! Whole updates.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use synoptic_base::Utc;
use synoptic_media::clocks::SystemClock;

use super::bundle;
use super::fake_rauc::{End, Play, Services, play};
use super::server::{Manner, Server};
use crate::power::Bus;
use crate::power::private_bus::PrivateBus;
use crate::update::fetch::sha256;
use crate::update::*;

const LONG: Duration = Duration::from_secs(60);

/// A played box.
pub(super) struct Scene {
    bus: PrivateBus,
    pub(super) dir: tempfile::TempDir,
    pub(super) play: Play,
}

impl Scene {
    pub(super) fn new() -> Option<Scene> {
        let dir = tempfile::tempdir().unwrap();
        let bus = PrivateBus::start()?;
        let scene = Scene {
            play: play(dir.path().to_owned()),
            bus,
            dir,
        };
        scene.write("proc/cmdline", "rauc.slot=A");
        scene.write("usr/share/synoptic/release", "1.0.0");
        Some(scene)
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        let file = self.path(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    pub(super) async fn services(&self) -> Services {
        Services::start(&self.bus.address, &self.play).await
    }

    /// The daemon's start.
    pub(super) fn updater(&self, boot: &str) -> Updater {
        let parts = UpdaterParts {
            places: Places {
                root: self.dir.path().to_owned(),
                own: self.path("own"),
            },
            bus: Bus::At(self.bus.address.clone()),
            clock: SystemClock::shared(),
            utc: Arc::new(|| Utc::from_rfc3339("2026-11-21T00:00:00Z").unwrap()),
            boot: boot.to_owned(),
        };
        Updater::start(parts).unwrap()
    }

    fn bundle_is_gone(&self) -> bool {
        !self.path("own/bundle.raucb").exists()
    }
}

fn of(server: &Server) -> UpdateRequest {
    UpdateRequest {
        url: Some(server.url.clone()),
        ..UpdateRequest::default()
    }
}

async fn until(updater: &Updater, what: impl FnMut(&Arc<UpdateDoc>) -> bool) -> UpdateDoc {
    let mut seen = updater.watch();
    let found = tokio::time::timeout(LONG, seen.wait_for(what)).await;
    match found {
        Ok(doc) => UpdateDoc::clone(&doc.unwrap()),
        Err(_) => panic!("in vain; it is {:?}", *updater.watch().borrow()),
    }
}

async fn phase(updater: &Updater, wanted: UpdatePhase) -> UpdateDoc {
    until(updater, |doc| doc.state == wanted).await
}

/// Until RAUC says how far it is.
pub(super) async fn writing(updater: &Updater) {
    until(updater, |doc| doc.percent == Some(40)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_a_broken_link_a_restart_and_the_commit() {
    let Some(scene) = Scene::new() else { return };
    let services = scene.services().await;
    let body = bundle(2_000_000);
    let server = Server::start(body.clone(), &[Manner::Status(503), Manner::Cut(1_000_000)]);
    scene.write("sum", "");
    std::fs::write(scene.path("sum"), &body).unwrap();
    let updater = scene.updater("one");
    let doc = updater.doc().await.unwrap();
    assert_eq!(
        (doc.unavailable, doc.version.as_str(), doc.slot.as_deref()),
        (None, "1.0.0", Some("A"))
    );
    assert_eq!(doc.compatible.as_deref(), Some("box"));
    assert_eq!(doc.slots.len(), 2);
    assert_eq!(
        doc.floor.as_deref(),
        Some("1.0.0"),
        "what was flashed is committed"
    );
    let request = UpdateRequest {
        sha256: Some(sha256(&scene.path("sum")).unwrap().to_uppercase()),
        ..of(&server)
    };
    assert_eq!(updater.request(request.clone()).await.unwrap(), 1);
    assert!(matches!(
        updater.request(request).await,
        Err(UpdateError::NotNow(_))
    ));
    let again = until(&updater, |doc| doc.note.is_some()).await;
    assert!(again.note.unwrap().contains("503"));
    writing(&updater).await;
    assert!(matches!(updater.cancel().await, Err(UpdateError::NotNow(_))));
    services.finish();
    let doc = phase(&updater, UpdatePhase::RebootPending).await;
    assert_eq!(doc.new_version.as_deref(), Some("1.1.0"));
    assert!(!doc.source.unwrap().contains("secret"), "no token is shown");
    assert!(scene.play.lock().unwrap().installed == [body]);
    updater.reboot().await.unwrap();
    let mut asked = tokio::time::interval(Duration::from_millis(20));
    let restarted = async {
        while scene.play.lock().unwrap().reboots == 0 {
            asked.tick().await;
        }
    };
    tokio::time::timeout(LONG, restarted)
        .await
        .expect("logind is asked");
    until(&updater, |_| scene.bundle_is_gone()).await;
    drop(updater);

    // The box starts the new system; the gate takes its time.
    scene.write("proc/cmdline", "rauc.slot=B");
    scene.write("usr/share/synoptic/release", "1.1.0");
    let updater = scene.updater("two");
    phase(&updater, UpdatePhase::Verifying).await;
    std::fs::remove_file(scene.path("data/update/pending")).unwrap();
    let doc = phase(&updater, UpdatePhase::Committed).await;
    until(&updater, |doc| doc.floor.as_deref() == Some("1.1.0")).await;
    assert_eq!(doc.job, 1);
    // What was committed is not taken back without a word.
    scene.play.lock().unwrap().version = "1.0.5".to_owned();
    updater.request(of(&server)).await.unwrap();
    let doc = phase(&updater, UpdatePhase::Failed).await;
    assert!(doc.reason.unwrap().contains("older than 1.1.0"));
    assert!(scene.bundle_is_gone());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_system_that_was_not_well() {
    let Some(scene) = Scene::new() else { return };
    let services = scene.services().await;
    services.finish();
    let server = Server::start(bundle(1_000), &[]);
    let updater = scene.updater("one");
    updater.request(of(&server)).await.unwrap();
    phase(&updater, UpdatePhase::RebootPending).await;
    drop(updater);
    std::fs::remove_file(scene.path("data/update/pending")).unwrap();
    scene.write(
        "data/update/rollback-reason",
        "the page does not answer (HTTP 500)\n",
    );
    let updater = scene.updater("two");
    let doc = phase(&updater, UpdatePhase::RolledBack).await;
    assert_eq!(doc.reason.as_deref(), Some("the page does not answer (HTTP 500)"));
    assert_eq!(doc.rollback_reason, doc.reason);
    assert_eq!(doc.floor.as_deref(), Some("1.0.0"), "nothing was committed");
    // It is told as often as the daemon starts, until somebody has read it.
    drop(updater);
    let updater = scene.updater("three");
    phase(&updater, UpdatePhase::RolledBack).await;
    updater.cancel().await.unwrap();
    phase(&updater, UpdatePhase::Idle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rauc_refuses_is_told_in_its_words() {
    let Some(scene) = Scene::new() else { return };
    let services = scene.services().await;
    let server = Server::start(bundle(1_000), &[]);
    let updater = scene.updater("one");
    let set = |change: &dyn Fn(&mut super::fake_rauc::Script)| change(&mut scene.play.lock().unwrap());
    let failed = async |stage: &str, why: &str| {
        let job = updater.request(of(&server)).await.unwrap();
        let doc = until(&updater, |doc| doc.job == job && doc.state == UpdatePhase::Failed).await;
        assert_eq!(doc.stage.as_deref(), Some(stage));
        let reason = doc.reason.unwrap();
        assert!(reason.contains(why), "{reason}");
        until(&updater, |_| scene.bundle_is_gone()).await;
    };
    set(&|p| p.bad_signature = Some("signature verification failed: self-signed certificate".to_owned()));
    failed("preflight", "self-signed certificate").await;
    // All that RAUC 1.8 says over D-Bus.
    set(&|p| p.bad_signature = Some("rauc info error".to_owned()));
    failed("preflight", "signature is not of this box's root").await;
    set(&|p| p.bad_signature = None);
    set(&|p| p.compatible = "toaster".to_owned());
    failed("preflight", "for `toaster`, this box is a `box`").await;
    set(&|p| p.compatible = "box".to_owned());
    set(&|p| p.modern = Some("2030-01-01T00:00:00Z".to_owned()));
    failed("preflight", "set the clock").await;
    set(&|p| p.modern = Some("2026-11-20T00:00:00Z".to_owned()));
    let wrong = UpdateRequest {
        sha256: Some("0".repeat(64)),
        ..of(&server)
    };
    let job = updater.request(wrong).await.unwrap();
    let doc = until(&updater, |doc| doc.job == job && doc.state == UpdatePhase::Failed).await;
    assert!(doc.reason.unwrap().contains("SHA-256"));
    assert!(
        scene.play.lock().unwrap().installed.is_empty(),
        "nothing of it reached a slot"
    );
    set(&|p| p.end = End::Badly("Failed mounting bundle: dm-verity: I/O error".to_owned()));
    services.finish();
    failed("installing", "dm-verity: I/O error").await;
    // A slot on trial is the only way back: it is not written over.
    scene.write("data/update/pending", "A");
    failed("checking", "not committed yet").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rauc_that_dies_in_the_middle() {
    let Some(scene) = Scene::new() else { return };
    let services = scene.services().await;
    scene.play.lock().unwrap().end = End::Never;
    let server = Server::start(bundle(1_000), &[]);
    let updater = scene.updater("one");
    updater.request(of(&server)).await.unwrap();
    writing(&updater).await;
    services.die(&scene.play).await;
    let doc = phase(&updater, UpdatePhase::Failed).await;
    assert_eq!(doc.stage.as_deref(), Some("installing"));
    let doc = updater.doc().await.unwrap();
    assert!(
        doc.unavailable
            .unwrap()
            .contains("service is not on this machine")
    );
    // Another one comes, as systemd would start it, and all is well again.
    let services = scene.services().await;
    scene.play.lock().unwrap().end = End::Well;
    services.finish();
    updater.request(of(&server)).await.unwrap();
    phase(&updater, UpdatePhase::RebootPending).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_restarted_in_the_middle_follows() {
    let Some(scene) = Scene::new() else { return };
    let services = scene.services().await;
    let server = Server::start(bundle(1_000), &[]);
    let updater = scene.updater("one");
    updater.request(of(&server)).await.unwrap();
    writing(&updater).await;
    drop(updater);
    let updater = scene.updater("one");
    writing(&updater).await;
    services.finish();
    phase(&updater, UpdatePhase::RebootPending).await;
    drop(updater);

    // The same, but the power went: the box starts the old system, RAUC knows nothing.
    let kept = std::fs::read_to_string(scene.path("own/state.json")).unwrap();
    let kept = kept.replace("\"reboot_pending\"", "\"installing\", \"percent\": 40");
    scene.write("own/state.json", &kept);
    services.die(&scene.play).await;
    let services = scene.services().await;
    let primary_is_new = scene.updater("two");
    phase(&primary_is_new, UpdatePhase::RebootPending).await;
    drop(primary_is_new);
    // ... or the new one, of which the daemon never heard that it was complete.
    scene.write("own/state.json", &kept);
    scene.write("proc/cmdline", "rauc.slot=B");
    let updater = scene.updater("three");
    phase(&updater, UpdatePhase::Verifying).await;
    drop(updater);
    // ... or the half-written slot is marked bad by RAUC, and the old one runs.
    scene.write("own/state.json", &kept);
    scene.write("proc/cmdline", "rauc.slot=A");
    let other = play(scene.dir.path().to_owned());
    services.die(&scene.play).await;
    let _services = Services::start(&scene.bus.address, &other).await;
    let updater = scene.updater("four");
    let doc = phase(&updater, UpdatePhase::Failed).await;
    assert!(doc.reason.unwrap().contains("power cut"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_is_sent() {
    let Some(scene) = Scene::new() else { return };
    let services = scene.services().await;
    services.finish();
    let updater = scene.updater("one");
    let pieces = |n: usize| tokio_stream::iter((0..n).map(|_| Ok::<_, String>(Bytes::from(bundle(100_000)))));
    let options = |name: &str| UploadOptions {
        name: Some(name.to_owned()),
        ..UploadOptions::default()
    };
    // One that breaks off, one that says it is too large, and one whose sender goes away.
    let broken = tokio_stream::iter([Ok(Bytes::from_static(b"abc")), Err("reset".to_owned())]);
    let error = updater.upload(options("x"), None, broken).await.unwrap_err();
    assert!(error.to_string().contains("reset"), "{error}");
    let error = updater
        .upload(options("x"), Some(MAX_BUNDLE + 1), pieces(1))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("larger than"), "{error}");
    let (hold, held) = tokio::sync::mpsc::channel::<Result<Bytes, String>>(1);
    hold.send(Ok(Bytes::from_static(b"abc"))).await.unwrap();
    {
        let body = tokio_stream::wrappers::ReceiverStream::new(held);
        let gone = updater.upload(options("x"), None, body);
        let seen = until(&updater, |doc| {
            doc.job == 3 && doc.state == UpdatePhase::Downloading
        });
        tokio::select! {
            _ = gone => panic!("it cannot end"),
            _ = seen => {}
        }
    }
    let doc = phase(&updater, UpdatePhase::Failed).await;
    assert!(doc.reason.unwrap().contains("went away"));
    updater
        .upload(options("release.raucb"), Some(3_000_000), pieces(30))
        .await
        .unwrap();
    let doc = phase(&updater, UpdatePhase::RebootPending).await;
    assert_eq!(doc.source.as_deref(), Some("release.raucb"));
    assert_eq!(scene.play.lock().unwrap().installed[0].len(), 3_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_on_a_stick_and_a_box_that_logind_does_not_restart() {
    let Some(scene) = Scene::new() else { return };
    let services = scene.services().await;
    services.finish();
    scene.play.lock().unwrap().no_reboot = true;
    std::fs::create_dir_all(scene.path("media/stick")).unwrap();
    let file = std::fs::canonicalize(scene.path("media/stick"))
        .unwrap()
        .join("box.raucb");
    std::fs::write(&file, bundle(5_000)).unwrap();
    let updater = scene.updater("one");
    let files = updater.doc().await.unwrap().files;
    assert_eq!((files.len(), files[0].bytes), (1, 5_000));
    let request = UpdateRequest {
        file: Some(files[0].path.clone()),
        reboot: true,
        ..UpdateRequest::default()
    };
    updater.request(request).await.unwrap();
    let doc = until(&updater, |doc| doc.note.is_some()).await;
    assert_eq!(doc.state, UpdatePhase::RebootPending);
    assert!(doc.note.unwrap().contains("polkit"));
    // A box of ours has a folder for it.
    std::fs::create_dir_all(scene.path("run/synoptic/request")).unwrap();
    updater.reboot().await.unwrap();
    let mut asked = tokio::time::interval(Duration::from_millis(20));
    let written = async {
        while !scene.path("run/synoptic/request/reboot").exists() {
            asked.tick().await;
        }
    };
    tokio::time::timeout(LONG, written)
        .await
        .expect("the box's own unit is asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_cancelled_leaves_nothing() {
    let Some(scene) = Scene::new() else { return };
    let _services = scene.services().await;
    let updater = scene.updater("one");
    // Silent, then the next one is served well: the late end of the first is of no account.
    let server = Server::start(bundle(1_000), &[Manner::Silent]);
    updater.request(of(&server)).await.unwrap();
    phase(&updater, UpdatePhase::Downloading).await;
    updater.cancel().await.unwrap();
    phase(&updater, UpdatePhase::Idle).await;
    assert!(scene.bundle_is_gone());
    updater.request(of(&server)).await.unwrap();
    writing(&updater).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_rauc_and_one_without_a_bus() {
    let Some(scene) = Scene::new() else { return };
    let updater = scene.updater("one");
    let doc = updater.doc().await.unwrap();
    assert!(
        doc.unavailable
            .unwrap()
            .contains("RAUC's service is not on this machine")
    );
    let server = Server::start(bundle(10), &[]);
    updater.request(of(&server)).await.unwrap();
    let doc = phase(&updater, UpdatePhase::Failed).await;
    assert_eq!(doc.stage.as_deref(), Some("checking"));
    assert!(
        server.asked().is_empty(),
        "nothing is loaded for a box that cannot install it"
    );
}
