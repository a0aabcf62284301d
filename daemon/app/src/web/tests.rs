//! The server over real sockets: every route, and who may come in.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use synoptic_base::*;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use uuid::Uuid;

use super::*;
use crate::config::WebConfig;
use crate::documents::*;
use crate::hub::LatestPicture;

/// A clock that stands still until it is told.
pub(crate) struct ManualClock(Mutex<Mono>);

impl ManualClock {
    pub(crate) fn shared() -> Arc<ManualClock> {
        Arc::new(ManualClock(Mutex::new(Mono::from_nanos(1_000_000_000))))
    }
    pub(crate) fn advance(&self, by: Span) {
        let mut now = self.0.lock().unwrap();
        *now += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Mono {
        *self.0.lock().unwrap()
    }
    fn sample(&self) -> ClockSample {
        let now = self.now();
        ClockSample {
            mono: now,
            raw: now,
            realtime: Utc::from_nanos(now.as_nanos()),
            width: Span::ZERO,
        }
    }
}

/// A grey picture.
struct Grey;
impl Surface for Grey {
    fn size(&self) -> Size {
        Size::new(4, 2)
    }
    fn format(&self) -> PixelFormat {
        PixelFormat::I420
    }
    fn with_planes(&self, read: &mut dyn FnMut(Planes<'_>)) -> Result<(), SurfaceError> {
        let plane = |stride| Plane {
            data: &[128; 8],
            stride,
        };
        read(Planes::I420 {
            y: plane(4),
            u: plane(2),
            v: plane(2),
        });
        Ok(())
    }
}

static ENCODED: AtomicUsize = AtomicUsize::new(0);

fn encode(surface: &dyn Surface) -> Result<Vec<u8>, String> {
    ENCODED.fetch_add(1, Ordering::SeqCst);
    Ok(format!("jpeg of {} pixels", surface.size().width * surface.size().height).into_bytes())
}

#[derive(Default)]
struct Memory(Mutex<Vec<EventDoc>>);
impl EventSource for Memory {
    fn list(&self, filter: EventFilter) -> BoxFuture<'_, Result<Vec<EventDoc>, Problem>> {
        let before = filter.before.map(|id| id.to_string());
        let events = self.0.lock().unwrap();
        let found = events
            .iter()
            .rev()
            .filter(|e| filter.cam.is_none_or(|cam| e.cam == cam.as_str()))
            .filter(|e| filter.label.as_ref().is_none_or(|label| e.label == *label))
            .filter(|e| before.as_ref().is_none_or(|id| e.id < *id))
            .take(filter.limit)
            .cloned()
            .collect();
        Box::pin(async move { Ok(found) })
    }
    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Option<EventDoc>, Problem>> {
        let found = self
            .0
            .lock()
            .unwrap()
            .iter()
            .find(|e| e.id == id.to_string())
            .cloned();
        Box::pin(async move { Ok(found) })
    }
    fn picture(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Vec<u8>>, Problem>> {
        let known = self.0.lock().unwrap().iter().any(|e| e.id == id.to_string());
        Box::pin(async move { Ok(known.then(|| b"event picture".to_vec())) })
    }
}

#[derive(Default)]
struct Admin(Mutex<Vec<NewCamera>>);
impl CameraAdmin for Admin {
    fn add(&self, camera: NewCamera) -> Result<(), Problem> {
        let mut cameras = self.0.lock().unwrap();
        if cameras.iter().any(|c| c.id == camera.id) {
            return Err(Problem::conflict(format!(
                "there is a camera `{}` already",
                camera.id
            )));
        }
        cameras.push(camera);
        Ok(())
    }
    fn remove(&self, camera: &StreamId) -> Result<(), Problem> {
        let mut cameras = self.0.lock().unwrap();
        let before = cameras.len();
        cameras.retain(|c| c.id != *camera);
        if cameras.len() == before {
            return Err(Problem::not_found(format!("there is no camera `{camera}`")));
        }
        Ok(())
    }
    fn probe(&self, camera: NewCamera) -> ProbeDoc {
        ProbeDoc {
            source: camera.source,
            usable: true,
            verdict: "good".to_owned(),
            findings: vec!["no sender reports: switch NTP on in the camera".to_owned()],
            codec: Some("H.264".to_owned()),
            width: Some(640),
            height: Some(360),
            fps_declared: Some(15.0),
            fps_delivered: Some(14.9),
            gop: Some(30),
            b_frames: Some(false),
            sender_reports: 0,
            clock_offset_ms: None,
            time_source: Some("arrival".to_owned()),
            picture_base64: None,
        }
    }
    fn choices(&self) -> Choices {
        Choices {
            detectors: vec!["motion".to_owned()],
            groups: vec!["hall".to_owned()],
            devices: Vec::new(),
        }
    }
}

fn id(text: &str) -> StreamId {
    StreamId::new(text).unwrap()
}

fn captured() -> Captured {
    Captured {
        mono: Mono::from_nanos(5_000_000_000),
        rel_error: Span::from_millis(3),
        source: TimeSource::SenderReport,
    }
}

fn map() -> ClockMap {
    ClockMap {
        boot_id: BootId(Uuid::nil()),
        version: 1,
        utc_minus_mono: Span::from_secs(1_795_000_000),
        error: Some(Span::from_millis(1)),
    }
}

fn event(n: u128, cam: &str, label: &str) -> EventDoc {
    EventDoc {
        id: Uuid::from_u128(n).to_string(),
        cam: cam.to_owned(),
        track: 1,
        label: label.to_owned(),
        score: 0.9,
        bbox: [0.1, 0.2, 0.3, 0.4],
        detector: "motion".to_owned(),
        begin: Capture::new(captured(), &map()),
        end: None,
        ended_by: None,
        frame: format!("{cam}/1/2"),
        picture: None,
    }
}

fn packet(n: u64) -> PacketLine {
    let slot = |cam: &str, status: &str| PacketSlot {
        cam: cam.to_owned(),
        status: status.to_owned(),
        frame: None,
        kind: None,
        capture: None,
        phase_ms: None,
    };
    PacketLine {
        group: "hall".to_owned(),
        id: n,
        utc: "2026-11-21T10:00:00.000000Z".to_owned(),
        spread_ms: 4.0,
        slots: vec![slot("a", "okay"), slot("b", "okay")],
    }
}

fn status() -> StatusDoc {
    let camera = CameraDoc {
        id: "a".to_owned(),
        name: "Hall \"A\"".to_owned(),
        source: "rtsp://127.0.0.1/a".to_owned(),
        detector: None,
        status: CameraStatus {
            state: CameraState::Online,
            reason: None,
            since: "2026-11-21T10:00:00.000000Z".to_owned(),
        },
        time: CameraTime {
            source: Some("sender_report".to_owned()),
            offset_ms: Some(2000.0),
            uncertainty_ms: Some(3.0),
            drift_ppm: None,
            sr_age_s: None,
            quality: TimeQuality::Good,
        },
        stream: None,
        drops: BTreeMap::from([("late".to_owned(), 3)]),
    };
    StatusDoc {
        device: DeviceInfo {
            schema: 1,
            id: "box".to_owned(),
            name: "Box".to_owned(),
            version: "0".to_owned(),
            boot_id: Uuid::nil().to_string(),
            model: None,
            cameras: vec!["a".to_owned()],
            groups: vec!["hall".to_owned()],
        },
        status: DeviceStatus {
            state: DeviceState::Online,
            since: None,
        },
        utc: "2026-11-21T10:00:00.000000Z".to_owned(),
        uptime_s: 1.5,
        clock: ClockDoc {
            synchronised: true,
            error_ms: Some(1.0),
        },
        cameras: vec![camera],
        groups: Vec::new(),
        mqtt: MqttDoc {
            state: "off".to_owned(),
            broker: None,
            error: None,
            outbox: 0,
        },
    }
}

/// A server on a free port of loopback, and a client.
struct Server {
    runtime: Runtime,
    stop: watch::Sender<()>,
    bound: Bound,
    hub: Arc<Hub>,
    events: Arc<Memory>,
    admin: Arc<Admin>,
    clock: Arc<ManualClock>,
    client: ureq::Agent,
    dir: tempfile::TempDir,
    _commands: tokio::sync::mpsc::UnboundedReceiver<crate::hub::Command>,
}

struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
    /// Checks that this is a problem of the given status.
    fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("content-type"), "application/problem+json");
        let doc = self.json();
        assert_eq!(doc["status"], status);
        assert!(doc["detail"].as_str().is_some_and(|d| !d.is_empty()));
        doc
    }
}

const OPEN: Access = Access {
    https: false,
    sign_in: false,
};
/// As an address of the network, but over HTTP: what the sign-in tests need.
const CLOSED: Access = Access {
    https: false,
    sign_in: true,
};
const TLS: Access = Access {
    https: true,
    sign_in: true,
};

impl Server {
    fn start(access: Access) -> Server {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (hub, commands) = Hub::new();
        hub.status.send_replace(Some(Arc::new(status())));
        let clock = ManualClock::shared();
        let (events, admin) = (Arc::new(Memory::default()), Arc::new(Admin::default()));
        let parts = Parts {
            hub: hub.clone(),
            clock: clock.clone(),
            clock_map: Arc::new(map),
            events: events.clone(),
            cameras: admin.clone(),
            auth: Arc::new(Auth::open(dir.path(), clock.clone()).unwrap()),
            encode_jpeg: encode,
        };
        let config = WebConfig {
            listen: Vec::new(),
            tls: None,
        };
        let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let (stop, shutdown) = watch::channel(());
        let wanted = [(address, access)];
        let serving = server::serve_as(&wanted, &config, dir.path(), parts, shutdown);
        let bound = runtime.block_on(serving).unwrap();
        let client = client(&dir, access);
        Server {
            runtime,
            stop,
            bound,
            hub,
            events,
            admin,
            clock,
            client,
            dir,
            _commands: commands,
        }
    }

    fn url(&self, path: &str) -> String {
        let at = self.bound.listening[0];
        // The certificate names localhost and addresses; either would do.
        format!("{}{}", at.url().trim_end_matches('/'), path)
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Answer {
        let mut request = ureq::http::Request::builder().method(method).uri(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json");
                self.client.run(request.body(body.to_owned()).unwrap())
            }
            None => self.client.run(request.body(()).unwrap()),
        };
        let mut answer = answer.unwrap();
        Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: answer.body_mut().read_to_vec().unwrap(),
        }
    }
    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], None)
    }
    fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &[], Some(&body.to_string()))
    }

    fn show(&self, media_us: i64, label: &str) {
        self.hub.show(LatestPicture {
            meta: FrameMeta {
                key: FrameKey {
                    stream: id("a"),
                    epoch: Epoch(2),
                    media_us: MediaTime::from_micros(media_us),
                },
                seq: Seq(7),
                arrival: Mono::from_nanos(0),
                captured: captured(),
                size: Size::new(4, 2),
                kind: FrameKind::I,
            },
            detections: Some(vec![DetectionDoc {
                track: Some(1),
                label: label.to_owned(),
                score: 0.5,
                bbox: [0.0, 0.0, 0.5, 0.5],
            }]),
            pixels: Arc::new(Grey),
        });
    }
}

fn client(dir: &tempfile::TempDir, access: Access) -> ureq::Agent {
    let mut config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)));
    if access.https {
        let pem = std::fs::read(dir.path().join("tls/certificate.pem")).unwrap();
        let root = ureq::tls::Certificate::from_pem(&pem).unwrap();
        let tls = ureq::tls::TlsConfig::builder()
            .root_certs(ureq::tls::RootCerts::new_with_certs(&[root]))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        config = config.tls_config(tls);
    }
    config.build().new_agent()
}

fn new_camera(id: &str) -> Value {
    json!({"id": id, "name": "Gate", "source": "rtsp://u:p%21@192.0.2.9/s", "detector": "motion"})
}

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
        let ids = doc.events.iter().map(|e| e.id.parse::<Uuid>().unwrap().as_u128());
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
    server.hub.events.send(Arc::new(event(1, "a", "car"))).unwrap();
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
    let mut partial = packet(2);
    partial.slots[1].status = "dropped".to_owned();
    for n in 0..2 {
        let doc = event(n, "a", "car");
        server.hub.events.send(Arc::new(doc.clone())).unwrap();
        server.hub.events.send(Arc::new(doc)).unwrap();
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
fn the_first_password_opens_a_closed_address() {
    let server = Server::start(CLOSED);
    let session = || server.get("/api/v1/session").json();
    assert_eq!(
        session(),
        json!({"needed": true, "set_up": false, "signed_in": false})
    );
    server
        .post("/api/v1/session", &json!({"password": "whatever it is"}))
        .problem(409);
    let short = server.post("/api/v1/session/setup", &json!({"password": "short"}));
    assert_eq!(short.problem(422)["field"], "password");
    let set = server.post("/api/v1/session/setup", &json!({"password": "correct horse"}));
    assert_eq!(set.status, 204);
    let cookie = set.header("set-cookie").to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    server
        .post("/api/v1/session/setup", &json!({"password": "another horse"}))
        .problem(409);
    server
        .post("/api/v1/session", &json!({"password": "wrong horse!"}))
        .problem(403);

    let cookie = cookie.split(';').next().unwrap().to_owned();
    let with = |method: &str, path: &str| server.ask(method, path, &[("cookie", &cookie)], None);
    assert_eq!(with("GET", "/api/v1/status").status, 200);
    assert_eq!(with("GET", "/api/v1/session").json()["signed_in"], true);
    let out = with("DELETE", "/api/v1/session");
    assert_eq!(out.status, 204);
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    with("GET", "/api/v1/status").problem(401);
}

#[test]
fn every_route_but_the_session_is_closed() {
    let server = Server::start(CLOSED);
    let api = serde_json::to_value(openapi_document()).unwrap();
    let mut closed = 0;
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let path = path.replace("{id}", "00000000-0000-0000-0000-000000000001");
            let body = operation.get("requestBody").map(|_| "{}");
            let answer = server.ask(
                &method.to_uppercase(),
                &path,
                &[("cookie", "synoptic=guess")],
                body,
            );
            if path.starts_with("/api/v1/session") {
                assert_ne!(answer.status, 401, "{method} {path}");
            } else {
                answer.problem(401);
                closed += 1;
            }
        }
    }
    assert!(closed >= 13, "{closed}");
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn guessing_passwords_is_slowed_down() {
    let server = Server::start(CLOSED);
    let sign_in = |password: &str| server.post("/api/v1/session", &json!({"password": password}));
    server.post("/api/v1/session/setup", &json!({"password": "correct horse"}));
    for _ in 0..5 {
        sign_in("wrong horse!").problem(403);
    }
    let refused = sign_in("correct horse");
    assert_eq!(refused.problem(429)["retry_after_s"], 20);
    assert_eq!(refused.header("retry-after"), "20");
    server.clock.advance(Span::from_secs(20));
    assert_eq!(sign_in("correct horse").status, 204);
}

#[test]
fn other_sites_are_refused() {
    let server = Server::start(OPEN);
    let ask = |method: &str, name: &str, value: &str| {
        server
            .ask(method, "/api/v1/cameras/a", &[(name, value)], None)
            .status
    };
    assert_eq!(ask("DELETE", "origin", "http://evil.example"), 403);
    assert_eq!(ask("DELETE", "origin", server.url("").as_str()), 404);
    assert_eq!(ask("DELETE", "host", "evil.example"), 421);
    assert_eq!(
        server
            .ask("GET", "/api/v1/status", &[("host", "evil.example")], None)
            .status,
        421
    );
}

#[test]
fn the_page_has_security_headers() {
    let server = Server::start(OPEN);
    let page = server.get("/");
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    if !page.header("etag").is_empty() {
        let tag = [("if-none-match", page.header("etag"))];
        assert_eq!(server.ask("GET", "/", &tag, None).status, 304);
    }
}

#[test]
fn other_addresses_speak_tls_only() {
    let server = Server::start(TLS);
    assert!(server.url("/").starts_with("https://"));
    server.get("/api/v1/status").problem(401);
    let set = server.post("/api/v1/session/setup", &json!({"password": "correct horse"}));
    let cookie = set.header("set-cookie");
    assert!(
        cookie.starts_with("__Host-synoptic=") && cookie.contains("Secure"),
        "{cookie}"
    );
    let cookie = [("cookie", cookie.split(';').next().unwrap())];
    assert_eq!(server.ask("GET", "/api/v1/status", &cookie, None).status, 200);
    let plain = format!("http://{}/", server.bound.listening[0].address);
    assert!(client(&server.dir, OPEN).get(plain).call().is_err());
}

#[test]
fn an_address_in_use_is_named() {
    let server = Server::start(OPEN);
    let at = server.bound.listening[0].address;
    let (_, shutdown) = watch::channel(());
    let clock = ManualClock::shared();
    let parts = Parts {
        hub: server.hub.clone(),
        clock: clock.clone(),
        clock_map: Arc::new(map),
        events: server.events.clone(),
        cameras: server.admin.clone(),
        auth: Arc::new(Auth::open(server.dir.path(), clock).unwrap()),
        encode_jpeg: encode,
    };
    let config = WebConfig {
        listen: vec![at],
        tls: None,
    };
    let failed = server
        .runtime
        .block_on(serve(&config, server.dir.path(), parts, shutdown));
    assert!(failed.err().unwrap().to_string().contains(&at.to_string()));
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
