//! The server over real sockets: every route, and who may come in.

mod access;
mod hls;
mod outputs;
mod routes;
mod streams;
mod update;
mod whep;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use synoptic_base::*;
use synoptic_media::webrtc::IceServers;
use synoptic_store::DetectionQuery;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use uuid::Uuid;

use super::*;
use crate::config::WebConfig;
use crate::documents::*;
use crate::hub::LatestPicture;
use crate::outputs::{OutputDoc, OutputKind, OutputState};
use outputs::Outputs;

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
    fn list(&self, filter: EventFilter) -> BoxFuture<'_, Result<Vec<AnyEventDoc>, Problem>> {
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
            .map(AnyEventDoc::Track)
            .collect();
        Box::pin(async move { Ok(found) })
    }
    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Option<AnyEventDoc>, Problem>> {
        let found = self
            .0
            .lock()
            .unwrap()
            .iter()
            .find(|e| e.id == id.to_string())
            .cloned()
            .map(AnyEventDoc::Track);
        Box::pin(async move { Ok(found) })
    }
    fn picture(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Vec<u8>>, Problem>> {
        let known = self.0.lock().unwrap().iter().any(|e| e.id == id.to_string());
        Box::pin(async move { Ok(known.then(|| b"event picture".to_vec())) })
    }
    fn found(&self, _: DetectionQuery) -> BoxFuture<'_, Result<Vec<FoundDoc>, Problem>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn found_in(&self, _: FrameKey) -> BoxFuture<'_, Result<Vec<FoundDoc>, Problem>> {
        Box::pin(async { Ok(Vec::new()) })
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
    fn biases(&self, group: &StreamId) -> Result<Vec<CameraBias>, Problem> {
        Err(Problem::not_found(format!("there is no group `{group}`")))
    }
    fn set_biases(&self, _measured: &[CameraBias]) -> Result<(), Problem> {
        Err(Problem::conflict("there is nothing to set"))
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
            doctor: None,
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
        kind: TrackType::Track,
        id: Uuid::from_u128(n).to_string(),
        cam: cam.to_owned(),
        track: 1,
        label: label.to_owned(),
        score: 0.9,
        bbox: [0.1, 0.2, 0.3, 0.4],
        detector: "motion".to_owned(),
        begin: Capture::new(captured(), &map()),
        restamped: None,
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
        engine: None,
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
            doctor: None,
        },
        stream: None,
        drops: BTreeMap::from([("late".to_owned(), 3)]),
        traffic: TrafficDoc {
            connections: 3,
            frames_decoded: 100,
            frames_unreadable: 2,
            rtp_packets: 2_500,
            rtp_bytes: 3_000_000,
            rtp_lost: 7,
            rtp_late: 1,
            rtp_jitter_ms: Some(4.0),
        },
        sub: Some(SubDoc {
            status: CameraStatus {
                state: CameraState::Stalled,
                reason: None,
                since: "2026-11-21T10:00:00.000000Z".to_owned(),
            },
            traffic: TrafficDoc::default(),
            looked_sub: 90,
            looked_main: 8,
            looked_nothing: 2,
        }),
        attention: Some(AttentionDoc {
            looked: 30,
            every: 0,
            rate: 50,
            still: 20,
        }),
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
        panoramas: Vec::new(),
        detectors: vec![DetectorDoc {
            name: "people".to_owned(),
            group: "hall".to_owned(),
            model: "yolox-nano".to_owned(),
            cameras: vec!["a".to_owned()],
            engine: EngineDoc {
                wanted: "tensorrt".to_owned(),
                state: "fallback".to_owned(),
                running: Some("rten 0.27".to_owned()),
                reason: Some("not on TensorRT: the GPU's memory is full".to_owned()),
            },
        }],
        gpus: vec![GpuDoc {
            index: 0,
            name: "Orin".to_owned(),
            source: "sysfs".to_owned(),
            temperature_c: Some(61.5),
            power_w: Some(9.2),
            load: Some(0.43),
            clock_mhz: Some(612.0),
            clock_max_mhz: Some(918.0),
            memory_used_bytes: None,
            memory_bytes: None,
            throttled: Some("it is too hot".to_owned()),
        }],
        outputs: vec![OutputDoc {
            id: "relay".to_owned(),
            stream: "a".to_owned(),
            kind: OutputKind::RtmpPush,
            url: "rtmp://relay.example/live/***".to_owned(),
            configured: true,
            state: OutputState::Retrying,
            reason: Some("nothing answers there".to_owned()),
            since: None,
            transcoded: None,
            sound: None,
            sound_transcoded: None,
            width: None,
            height: None,
            clients: None,
            pictures: 40,
            bytes: 90_000,
            left_out: 1,
            repeated: 0,
            failures: 3,
        }],
        mqtt: MqttDoc {
            state: "off".to_owned(),
            broker: None,
            error: None,
            outbox: 0,
        },
        storage: StorageDoc {
            state: StorageState::Okay,
            bytes: 1_200_000_000,
            max_bytes: 20_000_000_000,
            free_bytes: 50_000_000_000,
            min_free_bytes: 1_000_000_000,
            waiting: 0,
            spilled: 0,
            outbox: 0,
            events_removed: 0,
            lost: 0,
            error: None,
        },
        restart_needed: Vec::new(),
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
    updates: Arc<Updater>,
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
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
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
/// Opens `/metrics`.
const METRICS_TOKEN: &str = "0123456789abcdef0123456789abcdef";
const TLS: Access = Access {
    https: true,
    sign_in: true,
};

impl Server {
    fn start(access: Access) -> Server {
        Server::start_with(access, IceServers::default())
    }

    fn start_with(access: Access, ice: IceServers) -> Server {
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
        let updates = update::updates(&runtime, dir.path(), "unix:path=/nowhere/at/all");
        let parts = Parts {
            hub: hub.clone(),
            clock: clock.clone(),
            clock_map: Arc::new(map),
            events: events.clone(),
            cameras: admin.clone(),
            panoramas: Arc::new(crate::panorama::Desk::new(dir.path())),
            virtual_cameras: Arc::new(crate::virtual_camera::Desk::default()),
            stitch: Arc::new(NoStitching),
            outputs: Arc::new(Outputs::default()),
            commands: Arc::new(NoCommands),
            updates: updates.clone(),
            health: HealthDesk::nowhere(&hub, &(clock.clone() as Arc<dyn Clock>), dir.path()),
            auth: Arc::new(Auth::open(dir.path(), clock.clone()).unwrap()),
            encode_jpeg: encode,
            metrics_token: Some(Secret::new(METRICS_TOKEN.to_owned())),
        };
        let config = WebConfig {
            listen: Vec::new(),
            tls: None,
            metrics_token: None,
            ice,
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
            updates,
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
                carried: false,
            }]),
            pixels: Arc::new(Grey),
        });
    }
}

fn client(dir: &tempfile::TempDir, access: Access) -> ureq::Agent {
    let mut config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        // The server closes a connection of which it has not read the request's body; one that is kept may be such.
        .max_idle_connections(0)
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
