//! The routes of updates, on a machine that takes none and on one with a RAUC that is played.

use std::path::Path;

use super::*;
use crate::power::Bus;
use crate::update::{Places, UpdateDoc, UpdatePhase, Updater, UpdaterParts};

/// Updates whose files are in `dir` and whose RAUC is at a D-Bus address.
pub(super) fn updates(runtime: &Runtime, dir: &Path, bus: &str) -> Arc<Updater> {
    let _within = runtime.enter();
    let updater = Updater::start(UpdaterParts {
        places: Places {
            root: dir.join("root"),
            own: dir.join("update"),
        },
        bus: Bus::At(bus.to_owned()),
        clock: synoptic_media::clocks::SystemClock::shared(),
        utc: Arc::new(|| map().utc(Mono::from_nanos(0))),
        boot: "boot".to_owned(),
    });
    Arc::new(updater.unwrap())
}

fn doc(server: &Server) -> UpdateDoc {
    serde_json::from_slice(&server.get("/api/v1/update").body).unwrap()
}

/// Until the update is at rest.
fn settled(server: &Server) -> UpdateDoc {
    server.runtime.block_on(async {
        let mut seen = server.updates.watch();
        let settled = seen.wait_for(|doc| doc.job > 0 && !doc.state.is_busy());
        let settled = tokio::time::timeout(Duration::from_secs(60), settled).await;
        UpdateDoc::clone(&settled.expect("the update ends").unwrap())
    })
}

#[test]
fn a_machine_that_takes_no_updates_says_why() {
    let server = Server::start(OPEN);
    let doc = doc(&server);
    assert_eq!((doc.state, doc.job), (UpdatePhase::Idle, 0));
    let why = doc.unavailable.unwrap();
    assert!(why.contains("system bus"), "{why}");
    assert_eq!(doc.version, env!("CARGO_PKG_VERSION"));
    let asked = server.post("/api/v1/update", &json!({"url": "http://127.0.0.1:9/x.raucb"}));
    assert_eq!(asked.status, 202, "{}", asked.text());
    let failed = settled(&server);
    assert_eq!(
        (failed.state, failed.stage.as_deref()),
        (UpdatePhase::Failed, Some("checking"))
    );
    assert!(failed.reason.unwrap().contains("system bus"));
    assert_eq!(server.ask("DELETE", "/api/v1/update", &[], None).status, 204);
    server.ask("DELETE", "/api/v1/update", &[], None).problem(409);
    server
        .ask("POST", "/api/v1/update/reboot", &[], None)
        .problem(409);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let server = Server::start(OPEN);
    let post = |body: Value| server.post("/api/v1/update", &body);
    for (body, field) in [
        (json!({}), "url"),
        (json!({"url": "http://h/a", "file": "/media/a.raucb"}), "url"),
        (json!({"url": "ftp://h/a"}), "url"),
        (json!({"url": "nonsense"}), "url"),
        (json!({"url": "http://h/a", "sha256": "12"}), "sha256"),
        (json!({"file": "/etc/passwd"}), "file"),
    ] {
        assert_eq!(post(body.clone()).problem(422)["field"], field, "{body}");
    }
    post(json!({"url": "http://h/a", "colour": "red"})).problem(422);
    let send = |kind: &str, path: &str| {
        let sent = server.client.post(server.url(path)).content_type(kind).send("x");
        sent.unwrap().status().as_u16()
    };
    assert_eq!(send("text/plain", "/api/v1/update"), 415);
    assert_eq!(
        send("application/octet-stream", "/api/v1/update?reboot=perhaps"),
        400
    );
    // An upload is answered once it is known that the box cannot take it.
    assert_eq!(send("application/octet-stream", "/api/v1/update"), 422);
    assert_eq!(doc(&server).job, 1);
}
