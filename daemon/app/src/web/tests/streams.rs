//! Live video and detections over real sockets: a simulated camera, the real relay, clients that are not ours.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::process::Command;

use synoptic_engine::timebase::wire::frame_sei;
use synoptic_media::clocks::SystemClock;
use synoptic_media::{Camera, CameraContext, CameraOptions, Epochs, FrameQueue, RtspTransport, Source};
use synoptic_sim::camera::{self as sim, Content};
use synoptic_sim::scene::Scene;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, client::client};

use super::*;
use crate::found::Looked;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

struct Counter(AtomicUsize);
impl Epochs for Counter {
    fn next_epoch(&self, _: StreamId) -> Result<Epoch, String> {
        Ok(Epoch(self.0.fetch_add(1, Ordering::SeqCst) as u32 + 3))
    }
}

/// A camera of the daemon over a simulated one.
pub(super) struct Live {
    _sim: sim::Camera,
    _camera: Camera,
    _frames: FrameQueue<synoptic_media::Pixels>,
}

pub(super) fn live(server: &Server, rotation: Rotation) -> Live {
    synoptic_media::init().unwrap();
    let clock = SystemClock::shared();
    let scene = Arc::new(Scene::new(7, Size::new(640, 360), 1).unwrap());
    let options = sim::CameraOptions::new("a", Content::Scene { scene, view: 0 });
    let sim = sim::Camera::start(&options, clock.clone()).unwrap();
    let options = CameraOptions {
        id: id("a"),
        source: Source::Rtsp {
            url: sim.url(),
            sub_url: None,
            transport: RtspTransport::Tcp,
            user: None,
            password: None,
            tls_insecure: false,
            tls_ca: None,
        },
        rotation,
        stall_after: Span::from_secs(3),
        capture_bias: Span::ZERO,
        capture_bias_error: Span::ZERO,
    };
    let frames = FrameQueue::new(2);
    let (notes, _) = crossbeam_channel::unbounded();
    let context = CameraContext {
        clock,
        epochs: Arc::new(Counter(AtomicUsize::new(0))),
        frames: frames.clone(),
        notes,
    };
    let coded = server.hub.relay.stream(id("a"));
    Live {
        _camera: Camera::start_relayed(options, context, coded).unwrap(),
        _sim: sim,
        _frames: frames,
    }
}

/// A client that is not ours.
struct Client(WebSocket<TcpStream>);

impl Client {
    fn try_open(server: &Server, path: &str, headers: &[(&'static str, &str)]) -> Result<Client, u16> {
        let address = server.bound.listening[0].address;
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match client(request, stream) {
            Ok((socket, _)) => Ok(Client(socket)),
            Err(tokio_tungstenite::tungstenite::HandshakeError::Failure(Error::Http(answer))) => {
                Err(answer.status().as_u16())
            }
            Err(other) => panic!("{path}: {other}"),
        }
    }
    fn open(server: &Server, path: &str) -> Client {
        Client::try_open(server, path, &[]).unwrap()
    }
    fn say(&mut self, doc: &Value) {
        self.0.send(Message::text(doc.to_string())).unwrap();
    }
    /// The next text of a type; others are passed over.
    fn text(&mut self, kind: &str) -> Value {
        loop {
            if let Message::Text(text) = self.0.read().unwrap() {
                let doc: Value = serde_json::from_str(&text).unwrap();
                if doc["type"] == kind {
                    return doc;
                }
            }
        }
    }
    fn binary(&mut self) -> Vec<u8> {
        loop {
            if let Message::Binary(bytes) = self.0.read().unwrap() {
                return bytes.to_vec();
            }
        }
    }
    fn close_code(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.0.read().unwrap() {
                return frame.unwrap().code.into();
            }
        }
    }
}

struct Header {
    flags: u8,
    epoch: u32,
    media_us: u64,
    utc_us: i64,
    bound_us: u32,
    decode_us: i64,
}

fn header(bytes: &[u8]) -> Header {
    assert_eq!((bytes[0], bytes[2], bytes[3]), (1, 0, 0));
    let at = |from: usize| -> [u8; 8] { bytes[from..from + 8].try_into().unwrap() };
    let small = |from: usize| u32::from_le_bytes(bytes[from..from + 4].try_into().unwrap());
    Header {
        flags: bytes[1],
        epoch: small(4),
        media_us: u64::from_le_bytes(at(8)),
        utc_us: i64::from_le_bytes(at(16)),
        bound_us: small(24),
        decode_us: i64::from_le_bytes(at(32)),
    }
}

/// What ffprobe says of the packets of a file; `None`, aloud, where there is none.
pub(super) fn probe(folder: &std::path::Path, name: &str, bytes: &[u8]) -> Option<Vec<Value>> {
    let file = folder.join(name);
    std::fs::write(&file, bytes).unwrap();
    let run = Command::new("ffprobe")
        .args(["-v", "error", "-show_packets", "-show_streams", "-of", "json"])
        .arg(&file)
        .output();
    let out = run.map_err(|e| eprintln!("SKIPPED: ffprobe: {e}")).ok()?;
    assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    let doc: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(doc["streams"][0]["codec_name"], "h264");
    assert_eq!(doc["streams"][0]["has_b_frames"], 0);
    Some(doc["packets"].as_array().unwrap().clone())
}

#[test]
fn access_units_come_with_their_keys_and_ffprobe_reads_them() {
    let server = Server::start(OPEN);
    server.hub.relay.set_clock_map(map());
    let _live = live(&server, Rotation::None);
    let mut client = Client::open(&server, "/api/v1/streams/a/video");
    let stream = client.text("stream");
    assert_eq!(
        (&stream["stream"], &stream["format"]),
        (&json!("a"), &json!("h264"))
    );
    assert_eq!(
        (&stream["epoch"], &stream["transcoded"]),
        (&json!(3), &Value::Null)
    );
    assert_eq!((&stream["width"], &stream["height"]), (&json!(640), &json!(360)));
    assert!(stream["codec"].as_str().unwrap().starts_with("avc1."));
    let mut file = Vec::new();
    let mut keys = Vec::new();
    for n in 0..40 {
        let bytes = client.binary();
        let found = header(&bytes);
        let payload = &bytes[40..];
        assert_eq!(
            found.flags & 1,
            u8::from(payload[4] & 0x1f == 7),
            "parameter sets before an IDR picture"
        );
        assert!(n > 0 || found.flags & 1 == 1);
        assert_eq!((found.epoch, found.decode_us), (3, found.media_us as i64));
        assert!(
            found.bound_us >= 1_000 && found.bound_us < 1_000_000,
            "{}",
            found.bound_us
        );
        let at = payload.windows(5).position(|w| w == [0, 0, 0, 1, 6]).unwrap();
        let sei = frame_sei(&payload[at + 4..], 1).unwrap();
        assert_eq!(sei.key.to_string(), format!("a/3/{}", found.media_us));
        assert_eq!(sei.utc.as_nanos() / 1_000, found.utc_us);
        keys.push(found.media_us);
        file.extend_from_slice(payload);
    }
    assert!(keys.windows(2).all(|k| k[0] < k[1]));
    if let Some(packets) = probe(server.dir.path(), "a.h264", &file) {
        assert_eq!(packets.len(), 40);
    }
}

#[test]
fn fragments_give_back_the_media_time_exactly() {
    let server = Server::start(OPEN);
    let _live = live(&server, Rotation::None);
    let mut client = Client::open(&server, "/api/v1/streams/a/video?format=fmp4");
    let stream = client.text("stream");
    assert_eq!(
        stream["mime"],
        format!("video/mp4; codecs=\"{}\"", stream["codec"].as_str().unwrap())
    );
    let first = client.binary();
    assert_eq!(header(&first).flags, 2, "an initialization segment");
    let mut file = first[40..].to_vec();
    let mut keys = Vec::new();
    for _ in 0..30 {
        let bytes = client.binary();
        keys.push(header(&bytes).media_us);
        file.extend_from_slice(&bytes[40..]);
    }
    let Some(packets) = probe(server.dir.path(), "a.mp4", &file) else {
        return;
    };
    let found: Vec<u64> = packets.iter().map(|p| p["pts"].as_u64().unwrap()).collect();
    assert_eq!(found, keys);
    assert!(packets[0]["flags"].as_str().unwrap().starts_with('K'));
}

#[test]
fn what_is_turned_is_coded_anew_under_the_same_keys_once_for_all() {
    let server = Server::start(OPEN);
    let _live = live(&server, Rotation::Quarter);
    let mut clients = [0, 1].map(|_| Client::open(&server, "/api/v1/streams/a/video"));
    let mut seen: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
    for client in &mut clients {
        let stream = client.text("stream");
        assert_eq!(
            (&stream["transcoded"], &stream["width"]),
            (&json!("rotation"), &json!(360))
        );
        for _ in 0..20 {
            let bytes = client.binary();
            seen.entry(header(&bytes).media_us)
                .or_default()
                .push(bytes[40..].to_vec());
        }
    }
    let both: Vec<_> = seen.values().filter(|v| v.len() == 2).collect();
    assert!(both.len() >= 5, "{}", both.len());
    assert!(both.iter().all(|v| v[0] == v[1]), "coded twice");
    let listed = server.get("/api/v1/streams").json();
    assert_eq!(listed[0]["transcoded"], "rotation");
    assert_eq!(listed[0]["viewers"], 2);
}

#[test]
fn http_flv_has_the_base_of_its_time_stamps_and_ffprobe_reads_it() {
    use std::io::Read;
    let server = Server::start(OPEN);
    let _live = live(&server, Rotation::None);
    let answer = flv(&server);
    assert_eq!(answer.headers()["content-type"], "video/x-flv");
    let mut file = vec![0; 120_000];
    answer.into_body().into_reader().read_exact(&mut file).unwrap();
    let whole = whole_tags(&file);
    let text = String::from_utf8_lossy(&file[..400]).into_owned();
    assert!(
        text.contains("onMetaData") && text.contains("timestampBase"),
        "{text}"
    );
    let Some(packets) = probe(server.dir.path(), "a.flv", &file[..whole]) else {
        return;
    };
    assert!(packets.len() >= 5, "{}", packets.len());
    server.get("/live/none.flv").problem(404);
    server.get("/live/a").problem(404);
}

/// The answer once there are pictures; before, the reason is told at once.
fn flv(server: &Server) -> ureq::http::Response<ureq::Body> {
    for _ in 0..3_000 {
        let answer = server.client.get(server.url("/live/a.flv")).call().unwrap();
        if answer.status() == 200 {
            return answer;
        }
        assert_eq!(answer.status(), 503);
        let (_never, pause) = crossbeam_channel::bounded::<()>(0);
        pause.recv_timeout(Duration::from_millis(10)).ok();
    }
    panic!("no picture came");
}

#[test]
fn http_flv_ends_at_once_when_the_stream_goes_down_and_says_why_before_it_begins() {
    use std::io::Read;
    let server = Server::start(OPEN);
    let before = server.get("/live/a.flv").problem(503);
    assert!(
        before["detail"]
            .as_str()
            .unwrap()
            .contains("no picture has come yet"),
        "{before}"
    );
    let live = live(&server, Rotation::None);
    let mut body = flv(&server).into_body().into_reader();
    body.read_exact(&mut [0; 5_000]).unwrap();
    // The camera's connection goes down with all that reads it; without this the client would wait for ever.
    drop(live);
    server.hub.relay.stream(id("a")).waiting("the camera is away");
    body.read_to_end(&mut Vec::new()).unwrap();
    let down = server.get("/live/a.flv").problem(503);
    assert!(down["detail"].as_str().unwrap().contains("is away"), "{down}");
    assert_eq!(server.hub.relay.stream(id("a")).readers(), 0);
}

/// Where the last whole tag ends.
fn whole_tags(file: &[u8]) -> usize {
    let mut at = 13;
    while let Some(head) = file.get(at..at + 4) {
        let size = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
        if at + 11 + size + 4 > file.len() {
            break;
        }
        at += 11 + size + 4;
    }
    at
}

#[test]
fn the_box_answers_pings_and_refuses_what_it_does_not_know() {
    let server = Server::start(OPEN);
    let mut client = Client::open(&server, "/api/v1/streams/a/video");
    assert!(
        client.text("waiting")["reason"]
            .as_str()
            .unwrap()
            .contains("no picture")
    );
    client.say(&json!({ "type": "ping", "t0": 12.5 }));
    let pong = client.text("pong");
    assert_eq!(pong["t0"], 12.5);
    assert!(pong["t1"].as_f64().unwrap() <= pong["t2"].as_f64().unwrap());
    assert_eq!(pong["error_ms"], 1.0);
    client.say(&json!({ "type": "dance" }));
    assert!(client.text("error")["detail"].as_str().unwrap().contains("dance"));
    client.say(&json!("what?"));
    client.text("error");
    for path in ["/api/v1/streams/none/video", "/api/v1/streams/NO!/detections"] {
        let mut client = Client::open(&server, path);
        client.text("error");
        assert_eq!(client.close_code(), 4404, "{path}");
    }
    server.get("/api/v1/streams/a/video").problem(400);
    assert_eq!(
        Client::try_open(&server, "/api/v1/streams/a/video?format=gif", &[]).err(),
        Some(400)
    );
}

#[test]
fn sockets_are_for_the_signed_in_and_for_the_boxs_own_page() {
    let server = Server::start(OPEN);
    let path = "/api/v1/streams/a/detections";
    let foreign = [("origin", "http://evil.example")];
    assert_eq!(Client::try_open(&server, path, &foreign).err(), Some(403));
    let own = format!("http://{}", server.bound.listening[0].address);
    assert!(Client::try_open(&server, path, &[("origin", own.as_str())]).is_ok());
    let closed = Server::start(CLOSED);
    assert_eq!(Client::try_open(&closed, path, &[]).err(), Some(401));
}

fn looked(cam: &str, media_us: i64) -> Looked {
    Looked {
        meta: FrameMeta {
            key: FrameKey {
                stream: id(cam),
                epoch: Epoch(3),
                media_us: MediaTime::from_micros(media_us),
            },
            seq: Seq(9),
            arrival: Mono::from_nanos(0),
            captured: captured(),
            size: Size::new(640, 360),
            kind: FrameKind::P,
        },
        detections: vec![DetectionDoc {
            track: Some(17),
            label: "person".to_owned(),
            score: 0.5,
            bbox: [0.25, 0.5, 0.5, 0.25],
            carried: false,
        }],
    }
}

#[test]
fn detections_come_by_key_for_the_streams_that_were_joined() {
    let server = Server::start(OPEN);
    server.clock.advance(Span::from_secs(5));
    let now = server.clock.now();
    server.hub.found.looked(looked("a", 1_234_567), now);
    let mut client = Client::open(&server, "/api/v1/streams/a/detections");
    let joined = client.text("joined");
    assert_eq!(
        (&joined["stream"], &joined["latency_ms"]["p99"]),
        (&json!("a"), &json!(1_000.0))
    );
    let doc = client.text("detections");
    assert_eq!(
        (&doc["key"], &doc["timestamp"]),
        (&json!("a/3/1234567"), &json!(1234))
    );
    assert_eq!(
        (&doc["epoch"], &doc["media_us"], &doc["frame_id"]),
        (&json!(3), &json!(1_234_567), &json!(9))
    );
    assert_eq!(doc["capture"]["source"], "sender_report");
    let expected = json!({ "id": 17, "x": 160.0, "y": 180.0, "width": 320.0, "height": 90.0, "confidence": 0.5,
        "class": "person" });
    assert_eq!(doc["detections"][0], expected);
    assert_eq!(client.text("latency")["p50_ms"], 1_000.0);
    let key = |cam: &str, us| looked(cam, us).meta.key;
    server
        .hub
        .found
        .skipped(vec![key("a", 1), key("b", 2), key("a", 3)]);
    let skipped = client.text("skipped");
    assert_eq!(skipped["keys"], json!(["a/3/1", "a/3/3"]));
    client.say(&json!({ "type": "leave", "stream": "a" }));
    assert_eq!(client.text("left")["stream"], "a");
    client.say(&json!({ "type": "join", "stream": "none" }));
    client.text("error");
    server.hub.relay.stream(id("b"));
    client.say(&json!({ "type": "join", "stream": "b" }));
    assert_eq!(client.text("joined")["latency_ms"], Value::Null);
    server.hub.found.looked(looked("a", 5), now);
    server.hub.found.looked(looked("b", 6), now);
    assert_eq!(client.text("detections")["key"], "b/3/6");
}

#[test]
fn a_client_that_does_not_read_loses_its_oldest_and_is_told() {
    let server = Server::start(OPEN);
    let mut client = Client::open(&server, "/api/v1/streams/a/detections");
    client.text("joined");
    let now = server.clock.now();
    for n in 0..40_000 {
        server.hub.found.looked(looked("a", n), now);
    }
    let lost = client.text("lost")["count"].as_u64().unwrap();
    assert!(lost > 0 && lost < 40_000, "{lost}");
}

#[test]
fn history_wants_keys_and_times_that_make_sense() {
    let server = Server::start(OPEN);
    let path = |q: &str| format!("/api/v1/streams/a/detections/history?{q}");
    assert_eq!(server.get(&path("key=a/3/5")).json()["frames"], json!([]));
    assert_eq!(server.get(&path("from=2026-11-21T10:00:00Z&limit=5")).status, 200);
    for bad in [
        "key=b/3/5",
        "key=5",
        "from=yesterday",
        "limit=0",
        "limit=5000",
        "what=1",
    ] {
        server.get(&path(bad)).problem(400);
    }
}
