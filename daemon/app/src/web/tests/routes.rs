//! What the routes answer.

use std::io::{BufRead, BufReader};

use super::*;

#[test]
fn status_cameras_and_choices() {
    let server = Server::start(OPEN);
    let doc = server.get("/api/v1/status");
    assert_eq!(doc.status, 200);
    assert_eq!(serde_json::from_slice::<StatusDoc>(&doc.body).unwrap(), status());
    assert_eq!(doc.header("cache-control"), "no-store");
    assert_eq!(server.get("/api/v1/cameras").json()[0]["id"], "a");
    assert_eq!(server.get("/api/v1/choices").json()["detectors"][0], "motion");
    server.hub.status.send_replace(None);
    server.get("/api/v1/status").problem(503);
}

#[test]
fn cameras_are_tested_added_and_removed() {
    let server = Server::start(OPEN);
    let probe = server.post("/api/v1/cameras/test", &new_camera("gate"));
    assert_eq!((probe.status, &probe.json()["usable"]), (200, &json!(true)));
    assert_eq!(probe.json()["source"], "rtsp://192.0.2.9/s");
    assert!(server.admin.0.lock().unwrap().is_empty());

    let added = server.post("/api/v1/cameras", &new_camera("gate"));
    assert_eq!(
        (added.status, added.header("location")),
        (201, "/api/v1/cameras/gate")
    );
    let camera = server.admin.0.lock().unwrap()[0].clone();
    assert_eq!(camera.user.as_deref(), Some("u"));
    assert_eq!(camera.password.unwrap().expose(), "p!");
    server.post("/api/v1/cameras", &new_camera("gate")).problem(409);

    assert_eq!(
        server.ask("DELETE", "/api/v1/cameras/gate", &[], None).status,
        204
    );
    server
        .ask("DELETE", "/api/v1/cameras/gate", &[], None)
        .problem(404);
    server
        .ask("DELETE", "/api/v1/cameras/No%20Id", &[], None)
        .problem(404);
}

#[test]
fn a_box_without_commands_says_so() {
    let server = Server::start(OPEN);
    assert_eq!(
        server.get("/api/v1/commands").json(),
        json!({"names": [], "commands": []})
    );
    let post = |body: &str| server.ask("POST", "/api/v1/commands/reboot", &[], Some(body));
    assert!(
        post("{}").problem(404)["detail"]
            .as_str()
            .unwrap()
            .contains("`reboot`")
    );
    post("{").problem(400);
    post(r#"{"args": []}"#).problem(422);
    post(r#"{"arguments": {}}"#).problem(422);
    server.get("/api/v1/commands/1").problem(404);
    let none = server.get("/api/v1/support-bundle").problem(404);
    assert!(
        none["detail"]
            .as_str()
            .unwrap()
            .contains("POST /api/v1/commands/support-bundle")
    );
    // Larger than other bodies may be.
    let large = json!({"configuration": " ".repeat(4 * MAX_BODY)});
    server.post("/api/v1/configuration/import", &large).problem(404);
    let import = |body: &str| server.ask("POST", "/api/v1/configuration/import", &[], Some(body));
    import("[]").problem(422);
    import(&" ".repeat(commands::MAX_IMPORT + 1)).problem(413);
    let odd = "/api/v1/configuration/import?confirm=1";
    server.ask("POST", odd, &[], Some("{}")).problem(400);
}

#[test]
fn when_a_stream_began_turns_a_relative_time_stamp_into_utc() {
    let server = Server::start(OPEN);
    server.get("/api/v1/streams/a/start").problem(404);
    server.get("/api/v1/streams/No%20Id/start").problem(404);
    let began = |epoch: u32, utc: &str, first: u32| StreamStart {
        stream: StreamId::new("a").unwrap(),
        epoch: Epoch(epoch),
        utc: Utc::from_rfc3339(utc).unwrap(),
        error: Some(Span::from_millis(20)),
        source: TimeSource::InBand,
        numbering: Some(Numbering {
            first,
            clock_rate_hz: 1_000,
        }),
        drift_ppm: None,
    };
    server
        .hub
        .starts
        .restore(vec![began(1, "2026-11-21T09:00:00Z", 0)]);
    server.hub.starts.see(began(2, "2026-11-21T10:00:00Z", 500));
    let doc = server.get("/api/v1/streams/a/start?timestamp=1500").json();
    assert_eq!(doc["newest"]["epoch"], 2);
    assert_eq!(doc["newest"]["utc"], "2026-11-21T10:00:00.000000Z");
    assert_eq!(doc["newest"]["error_ms"], 20.0);
    assert_eq!(doc["newest"]["numbering"]["first"], 500);
    assert!(
        doc["asked_utc"].as_str().unwrap().ends_with(":01.000000Z"),
        "{doc}"
    );
    assert_eq!(doc["earlier"][0]["epoch"], 1);
    assert_eq!(server.hub.starts.unsaved().unwrap().len(), 2);
    assert_eq!(server.hub.starts.unsaved(), None, "stored once");
    server.get("/api/v1/streams/a/start?timestamp=x").problem(400);
}

#[test]
fn bad_input_gets_a_problem() {
    let server = Server::start(OPEN);
    let post = |body: &str| server.ask("POST", "/api/v1/cameras", &[], Some(body));
    post("{").problem(400);
    post("{}").problem(422);
    let mut unknown = new_camera("gate");
    unknown["colour"] = json!("red");
    assert!(
        post(&unknown.to_string()).problem(422)["detail"]
            .as_str()
            .unwrap()
            .contains("colour")
    );
    let mut scheme = new_camera("gate");
    scheme["source"] = json!("exec:reboot");
    assert_eq!(post(&scheme.to_string()).problem(422)["field"], "source");
    post(&new_camera("No Id").to_string()).problem(422);
    post(&" ".repeat(MAX_BODY + 1)).problem(413);
    let plain = server
        .client
        .post(server.url("/api/v1/cameras"))
        .content_type("text/plain")
        .send("{}");
    assert_eq!(plain.unwrap().status().as_u16(), 415);
    server.get("/api/v1/nothing").problem(404);
    let wrong = server.ask("PUT", "/api/v1/cameras", &[], Some("{}"));
    wrong.problem(405);
    assert!(
        wrong.header("allow").contains("POST"),
        "{}",
        wrong.header("allow")
    );
    server.ask("PUT", "/", &[], Some("{}")).problem(405);
    server.get("/nothing.js").problem(404);
    for query in [
        "limit=0",
        "limit=201",
        "limit=x",
        "before=x",
        "cam=No!",
        "camera=a",
    ] {
        server.get(&format!("/api/v1/events?{query}")).problem(400);
    }
    server.get("/api/v1/events/x").problem(400);
}

#[test]
fn a_picture_is_encoded_once_and_says_its_frame() {
    let server = Server::start(OPEN);
    assert_eq!(server.get("/api/v1/cameras/a/picture").status, 204);
    server.show(40_000, "猫");
    let before = ENCODED.load(Ordering::SeqCst);
    let first = server.get("/api/v1/cameras/a/picture");
    assert_eq!(
        (first.status, first.body.as_slice()),
        (200, b"jpeg of 8 pixels".as_slice())
    );
    assert_eq!(first.header("content-type"), "image/jpeg");
    assert_eq!(first.header("cache-control"), "no-store");
    let frame: FrameDoc = serde_json::from_str(first.header("synoptic-frame")).unwrap();
    assert_eq!((frame.key.as_str(), frame.seq, frame.width), ("a/2/40000", 7, 4));
    assert_eq!(frame.capture, Capture::new(captured(), &map()));
    assert_eq!(frame.detections.unwrap()[0].label, "猫");
    for _ in 0..9 {
        assert_eq!(server.get("/api/v1/cameras/a/picture").status, 200);
    }
    assert_eq!(ENCODED.load(Ordering::SeqCst), before + 1);

    let tag = first.header("etag").to_owned();
    let again = |tag: &str| {
        server.ask(
            "GET",
            "/api/v1/cameras/a/picture",
            &[("if-none-match", tag)],
            None,
        )
    };
    assert_eq!(again(&tag).status, 304);
    server.show(80_000, "dog");
    assert_eq!(again(&tag).header("etag"), "\"a/2/80000\"");
    server.get("/api/v1/cameras/b/picture").problem(404);
}

#[test]
fn events_come_in_pages() {
    let server = Server::start(OPEN);
    for n in 1..=5 {
        let label = if n % 2 == 0 { "person" } else { "car" };
        server.events.0.lock().unwrap().push(event(n, "a", label));
    }
    let page = |query: &str| {
        let doc: EventPage =
            serde_json::from_slice(&server.get(&format!("/api/v1/events{query}")).body).unwrap();
        let ids = doc
            .events
            .iter()
            .map(|e| e.id().parse::<Uuid>().unwrap().as_u128());
        (ids.collect::<Vec<_>>(), doc.next)
    };
    assert_eq!(page(""), (vec![5, 4, 3, 2, 1], None));
    let (ids, next) = page("?limit=2&cam=a");
    assert_eq!(ids, [5, 4]);
    let (ids, next) = page(&format!("?limit=2&before={}", next.unwrap()));
    assert_eq!(ids, [3, 2]);
    assert_eq!(
        page(&format!("?limit=2&before={}", next.unwrap())),
        (vec![1], None)
    );
    assert_eq!(page("?label=person&cam="), (vec![4, 2], None));
    assert_eq!(page("?cam=b"), (vec![], None));

    let one = format!("/api/v1/events/{}", Uuid::from_u128(3));
    assert_eq!(server.get(&one).json()["label"], "car");
    let picture = server.get(&format!("{one}/picture"));
    assert_eq!(picture.body, b"event picture");
    let tag = [("if-none-match", picture.header("etag"))];
    assert_eq!(
        server.ask("GET", &format!("{one}/picture"), &tag, None).status,
        304
    );
    let none = format!("/api/v1/events/{}", Uuid::from_u128(9));
    server.get(&none).problem(404);
    server.get(&format!("{none}/picture")).problem(404);
}

/// Reads server-sent events: name and data.
fn next_message(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> (String, Value) {
    let mut name = String::new();
    for line in lines.by_ref() {
        let line = line.unwrap();
        if let Some(text) = line.strip_prefix("event: ") {
            name = text.to_owned();
        } else if let Some(text) = line.strip_prefix("data: ") {
            return (name, serde_json::from_str(text).unwrap());
        }
    }
    panic!("the stream ended");
}

#[test]
fn live_tells_what_happens_and_ends_at_shutdown() {
    let server = Server::start(OPEN);
    let answer = server.client.get(server.url("/api/v1/live")).call().unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut lines = BufReader::new(answer.into_body().into_reader()).lines();
    let (name, doc) = next_message(&mut lines);
    assert_eq!((name.as_str(), &doc["device"]["id"]), ("status", &json!("box")));
    // The clock stands still, so of two packets one is due.
    server.hub.packets.send(Arc::new(packet(1))).unwrap();
    server.hub.packets.send(Arc::new(packet(2))).unwrap();
    let (name, doc) = next_message(&mut lines);
    assert_eq!((name.as_str(), &doc["id"]), ("packet", &json!(1)));
    server
        .hub
        .events
        .send(Arc::new(AnyEventDoc::Track(event(1, "a", "car"))))
        .unwrap();
    assert_eq!(next_message(&mut lines).0, "event");
    server.clock.advance(Span::from_millis(100));
    server.hub.packets.send(Arc::new(packet(3))).unwrap();
    assert_eq!(next_message(&mut lines).1["id"], 3);

    let Server {
        runtime, stop, bound, ..
    } = server;
    drop(stop);
    let stopped =
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), bound.stopped()).await });
    assert!(stopped.is_ok());
    assert!(lines.all(|line| line.is_err() || line.is_ok_and(|l| l.is_empty())));
}

#[test]
fn metrics_have_the_status_and_the_counts() {
    let server = Server::start(OPEN);
    let stream = server.hub.relay.stream(id("a"));
    let _viewer = stream.subscribe(synoptic_media::coded::Want::Native);
    let mut partial = packet(2);
    partial.slots[1].status = "dropped".to_owned();
    for n in 0..2 {
        let doc = event(n, "a", "car");
        server
            .hub
            .events
            .send(Arc::new(AnyEventDoc::Track(doc.clone())))
            .unwrap();
        server.hub.events.send(Arc::new(AnyEventDoc::Track(doc))).unwrap();
    }
    server.hub.packets.send(Arc::new(packet(1))).unwrap();
    server.hub.packets.send(Arc::new(partial)).unwrap();
    // The counts come from another task: they are there soon, not at once.
    let wanted = [
        "synoptic_camera_up{camera=\"a\"} 1\n",
        "synoptic_camera_frames_dropped_total{camera=\"a\",reason=\"late\"} 3\n",
        "synoptic_camera_clock_offset_seconds{camera=\"a\"} 2\n",
        "synoptic_camera_clock_uncertainty_seconds{camera=\"a\",source=\"sender_report\"} 0.003\n",
        "synoptic_sync_spread_seconds_bucket{group=\"hall\",le=\"0.002\"} 0\n",
        "synoptic_sync_spread_seconds_bucket{group=\"hall\",le=\"0.005\"} 1\n",
        "synoptic_sync_spread_seconds_count{group=\"hall\"} 1\n",
        "synoptic_sync_sets_total{group=\"hall\",result=\"partial\"} 1\n",
        "synoptic_camera_frames_total{camera=\"a\",stream=\"main\",status=\"decoded\"} 100\n",
        "synoptic_camera_frames_total{camera=\"a\",stream=\"main\",status=\"unreadable\"} 2\n",
        "synoptic_camera_frames_total{camera=\"a\",stream=\"sub\",status=\"decoded\"} 0\n",
        "synoptic_camera_reconnects_total{camera=\"a\",stream=\"main\"} 2\n",
        "synoptic_camera_reconnects_total{camera=\"a\",stream=\"sub\"} 0\n",
        "synoptic_camera_rtp_packets_received_total{camera=\"a\",stream=\"main\"} 2500\n",
        "synoptic_camera_rtp_received_bytes_total{camera=\"a\",stream=\"main\"} 3000000\n",
        "synoptic_camera_rtp_packets_lost_total{camera=\"a\",stream=\"main\"} 7\n",
        "synoptic_camera_rtp_packets_late_total{camera=\"a\",stream=\"main\"} 1\n",
        "synoptic_camera_rtp_jitter_seconds{camera=\"a\",stream=\"main\"} 0.004\n",
        "synoptic_camera_looked_total{camera=\"a\",at=\"main\"} 8\n",
        "synoptic_output_up{output=\"relay\",stream=\"a\"} 0\n",
        "synoptic_output_failures_total{output=\"relay\",stream=\"a\"} 3\n",
        "synoptic_stream_encoder_failures_total{stream=\"a\"} 0\n",
        "synoptic_stream_viewers{stream=\"a\"} 1\n",
        "synoptic_output_bytes_total{output=\"relay\",stream=\"a\"} 90000\n",
        "synoptic_sync_slots_total{group=\"hall\",camera=\"b\",status=\"dropped\"} 1\n",
        "synoptic_sync_slots_total{group=\"hall\",camera=\"b\",status=\"okay\"} 1\n",
        "synoptic_events_total{camera=\"a\",type=\"car\"} 2\n",
        "# TYPE synoptic_sync_spread_seconds histogram\n",
    ];
    let mut text = String::new();
    for _ in 0..1000 {
        text = String::from_utf8(server.get("/metrics").body).unwrap();
        if wanted.iter().all(|line| text.contains(line)) {
            return;
        }
    }
    panic!("missing in:\n{text}");
}

#[test]
fn the_committed_description_is_current() {
    let now = openapi_document().to_pretty_json().unwrap() + "\n";
    let doc: Value = serde_json::from_str(&now).unwrap();
    assert!(doc["openapi"].as_str().unwrap().starts_with("3.1"));
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/openapi.json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &now).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == now,
        "docs/reference/openapi.json is old: UPDATE=1 cargo test -p synoptic writes it anew"
    );
}

#[test]
fn health_is_told_in_a_document_and_in_two_lines() {
    let server = Server::start(OPEN);
    let mut quiet = status();
    quiet.detectors.clear();
    quiet.groups.clear();
    server.hub.status.send_replace(Some(Arc::new(quiet)));
    let doc = server.get("/api/v1/health");
    assert_eq!(doc.status, 200);
    assert_eq!(doc.header("cache-control"), "no-store");
    // No daemon has written anything here.
    assert_eq!(doc.json()["state"], "waiting");
    assert_eq!(doc.json()["findings"][0]["subject"], "database");
    let text = server.ask("GET", "/api/v1/health", &[("accept", "text/plain")], None);
    assert_eq!(
        text.text(),
        "waiting\ndatabase: nothing was written to it yet (for 0 s)\n"
    );
    let mut once = Durations::default();
    once.add(Span::from_millis(1));
    server.hub.stages.set("store", once);
    let well = server.ask("GET", "/api/v1/health", &[("accept", "text/plain")], None);
    assert_eq!(well.text(), "well\n\n");
    server.hub.status.send_replace(None);
    server.get("/api/v1/health").problem(503);
}
