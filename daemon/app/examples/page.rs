//! Serves the page with a synthetic daemon behind it, two cameras with a moving picture, packets, events, for work on the page
//! and its browser tests: `cargo run -p synoptic --example page -- 127.0.0.1:8480`.

#[path = "page/box_docs.rs"]
mod box_docs;

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use synoptic_app::config::WebConfig;
use synoptic_app::documents::*;
use synoptic_app::hub::{Hub, LatestPicture};
use synoptic_app::web::{
    Auth, BoxFuture, CameraAdmin, CameraBias, Choices, DeviceChoice, EventFilter, EventSource, FoundDoc,
    NewCamera, NoStitching, Parts, Problem, serve,
};
use synoptic_base::*;
use synoptic_media::clocks::SystemClock;
use synoptic_store::DetectionQuery;
use uuid::Uuid;

const SIZE: Size = Size::new(640, 360);
/// Frames a second of the synthetic cameras.
const FPS: f64 = 15.0;

/// A picture in memory.
struct Drawn {
    luma: Vec<u8>,
    cb: Vec<u8>,
    cr: Vec<u8>,
}

impl Surface for Drawn {
    fn size(&self) -> Size {
        SIZE
    }
    fn format(&self) -> PixelFormat {
        PixelFormat::I420
    }
    fn with_planes(&self, read: &mut dyn FnMut(Planes<'_>)) -> Result<(), SurfaceError> {
        let width = SIZE.width as usize;
        read(Planes::I420 {
            y: Plane {
                data: &self.luma,
                stride: width,
            },
            u: Plane {
                data: &self.cb,
                stride: width / 2,
            },
            v: Plane {
                data: &self.cr,
                stride: width / 2,
            },
        });
        Ok(())
    }
}

/// A yard at dusk with somebody walking through it; gives the picture and the walker's box.
fn draw(phase: f64, hue: u8) -> (Drawn, [f32; 4]) {
    let (width, height) = (SIZE.width as usize, SIZE.height as usize);
    let centre = (0.5 + 0.35 * (phase * TAU).sin()) * width as f64;
    let (left, right) = ((centre - 22.0) as usize, (centre + 22.0) as usize);
    let (top, bottom) = (150, 300);
    let mut luma = vec![0; width * height];
    let mut cb = vec![128; width * height / 4];
    let mut cr = vec![128; width * height / 4];
    for y in 0..height {
        for x in 0..width {
            let ground = y > 210;
            let wall = (x / 80 + y / 40) % 2 == 0;
            let base = if ground {
                70 + (y - 210) / 3
            } else {
                120 - y / 4 + usize::from(wall) * 6
            };
            let noise = (x * 7919 + y * 104_729 + (phase * 1e4) as usize * 31) % 7;
            luma[y * width + x] = (base + noise) as u8;
        }
    }
    for y in top..bottom {
        for x in left..right {
            let middle = (x as f64 - centre).abs();
            let wide = if y < top + 34 {
                11.0
            } else if y < 230 {
                21.0
            } else {
                14.0
            };
            if middle < wide && !(y > 230 && middle < 3.0) {
                luma[y * width + x] = if y < top + 34 {
                    185
                } else if y < 230 {
                    150
                } else {
                    45
                };
                let at = y / 2 * (width / 2) + x / 2;
                (cb[at], cr[at]) = if y < top + 34 {
                    (110, 150)
                } else if y < 230 {
                    (hue, 255 - hue)
                } else {
                    (132, 124)
                };
            }
        }
    }
    let of = |v: usize, whole: usize| v as f32 / whole as f32;
    let bbox = [
        of(left, width),
        of(top, height),
        of(right - left, width),
        of(bottom - top, height),
    ];
    (Drawn { luma, cb, cr }, bbox)
}

fn encode(surface: &dyn Surface) -> Result<Vec<u8>, String> {
    let mut rgb = Vec::new();
    let Size { width, height } = surface.size();
    let mapped = surface.with_planes(&mut |planes| {
        let Planes::I420 { y, u, v } = planes else { return };
        for row in 0..height as usize {
            for column in 0..width as usize {
                let luma = (f32::from(y.data[row * y.stride + column]) - 16.0) * 1.164;
                let at = row / 2 * u.stride + column / 2;
                let (cb, cr) = (f32::from(u.data[at]) - 128.0, f32::from(v.data[at]) - 128.0);
                let pixel = [
                    luma + 1.596 * cr,
                    luma - 0.392 * cb - 0.813 * cr,
                    luma + 2.017 * cb,
                ];
                rgb.extend(pixel.map(|c| c.clamp(0.0, 255.0) as u8));
            }
        }
    });
    mapped.map_err(|e| e.to_string())?;
    let mut jpeg = Vec::new();
    jpeg_encoder::Encoder::new(&mut jpeg, 80)
        .encode(&rgb, width as u16, height as u16, jpeg_encoder::ColorType::Rgb)
        .map_err(|e| e.to_string())?;
    Ok(jpeg)
}

/// What the synthetic daemon remembers.
struct World {
    cameras: Mutex<Vec<(String, String, String)>>,
    events: Mutex<Vec<(EventDoc, Vec<u8>)>>,
}

impl EventSource for World {
    fn list(&self, filter: EventFilter) -> BoxFuture<'_, Result<Vec<AnyEventDoc>, Problem>> {
        let before = filter.before.map(|id| id.to_string());
        let events = self
            .events
            .lock()
            .map_or_else(|_| Vec::new(), |events| events.clone());
        let found = events
            .into_iter()
            .rev()
            .map(|(event, _)| event)
            .filter(|_| filter.kind.as_deref().is_none_or(|kind| kind == "track"))
            .filter(|e| filter.cam.is_none_or(|cam| e.cam == cam.as_str()))
            .filter(|e| filter.label.as_ref().is_none_or(|label| e.label == *label))
            .filter(|e| before.as_ref().is_none_or(|id| e.id < *id))
            .take(filter.limit)
            .map(AnyEventDoc::Track)
            .collect();
        Box::pin(async move { Ok(found) })
    }
    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Option<AnyEventDoc>, Problem>> {
        let found = self.find(id).map(|(event, _)| AnyEventDoc::Track(event));
        Box::pin(async move { Ok(found) })
    }
    fn picture(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Vec<u8>>, Problem>> {
        let found = self.find(id).map(|(_, jpeg)| jpeg);
        Box::pin(async move { Ok(found) })
    }
    fn found(&self, _: DetectionQuery) -> BoxFuture<'_, Result<Vec<FoundDoc>, Problem>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn found_in(&self, _: FrameKey) -> BoxFuture<'_, Result<Vec<FoundDoc>, Problem>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

impl World {
    fn find(&self, id: Uuid) -> Option<(EventDoc, Vec<u8>)> {
        let events = self.events.lock().ok()?;
        events
            .iter()
            .find(|(event, _)| event.id == id.to_string())
            .cloned()
    }
}

struct Admin(Arc<World>);
impl CameraAdmin for Admin {
    fn biases(&self, group: &StreamId) -> Result<Vec<CameraBias>, Problem> {
        Err(Problem::not_found(format!("there is no group `{group}`")))
    }

    fn set_biases(&self, _measured: &[CameraBias]) -> Result<(), Problem> {
        Err(Problem::conflict("this page has no configuration"))
    }

    fn add(&self, camera: NewCamera) -> Result<(), Problem> {
        let mut cameras = self
            .0
            .cameras
            .lock()
            .map_err(|e| Problem::internal("adding a camera", e))?;
        if cameras.iter().any(|(id, ..)| *id == camera.id.as_str()) {
            return Err(Problem::conflict(format!(
                "there is a camera `{}` already",
                camera.id
            )));
        }
        cameras.push((camera.id.to_string(), camera.name, camera.source));
        Ok(())
    }
    fn remove(&self, camera: &StreamId) -> Result<(), Problem> {
        let mut cameras = self
            .0
            .cameras
            .lock()
            .map_err(|e| Problem::internal("removing a camera", e))?;
        cameras.retain(|(id, ..)| id != camera.as_str());
        Ok(())
    }
    fn probe(&self, camera: NewCamera) -> ProbeDoc {
        let usable = !camera.source.contains("bad");
        let picture = encode(&draw(0.2, 150).0).ok().filter(|_| usable);
        ProbeDoc {
            source: camera.source,
            usable,
            verdict: if usable {
                "Good for synchronisation: the camera tells its capture time.".to_owned()
            } else {
                "Nobody answers at this address; check host, port and the camera's power.".to_owned()
            },
            findings: vec![
                "The stream declares 25 frames a second but delivers 15; set the camera's frame rate to 15."
                    .to_owned(),
                "The camera's clock is 2.0 s ahead; Synoptic corrects it. Set an NTP server in the camera."
                    .to_owned(),
            ],
            codec: usable.then(|| "H.264".to_owned()),
            width: usable.then_some(SIZE.width),
            height: usable.then_some(SIZE.height),
            fps_declared: usable.then_some(25.0),
            fps_delivered: usable.then_some(14.98),
            gop: usable.then_some(30),
            b_frames: usable.then_some(false),
            sender_reports: 2,
            clock_offset_ms: usable.then_some(2003.4),
            doctor: None,
            time_source: usable.then(|| "sender_report".to_owned()),
            picture_base64: picture.map(|jpeg| base64(&jpeg)),
        }
    }
    fn choices(&self) -> Choices {
        Choices {
            detectors: vec!["motion".to_owned(), "people".to_owned()],
            groups: vec!["yard".to_owned()],
            devices: vec![DeviceChoice {
                path: "/dev/video0".to_owned(),
                name: "USB camera".to_owned(),
            }],
        }
    }
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let sign = SIGNS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() {
                char::from(sign)
            } else {
                '='
            });
        }
    }
    text
}

fn status(world: &World, clock: &dyn Clock, start: Mono) -> StatusDoc {
    let sample = clock.sample();
    let since = Utc::from_nanos(sample.realtime.as_nanos() - (sample.mono - start).as_nanos()).to_rfc3339();
    let cameras = world
        .cameras
        .lock()
        .map_or_else(|_| Vec::new(), |cameras| cameras.clone());
    let docs = cameras.iter().enumerate().map(|(n, (id, name, source))| {
        let online = n < 2;
        let offset = [-3.2, 2003.4].get(n).copied();
        CameraDoc {
            id: id.clone(),
            name: name.clone(),
            source: source.clone(),
            detector: Some("motion".to_owned()),
            engine: None,
            status: CameraStatus {
                state: if online {
                    CameraState::Online
                } else {
                    CameraState::Offline
                },
                reason: (!online).then(|| "connection refused; check that the camera is on".to_owned()),
                since: since.clone(),
            },
            time: CameraTime {
                source: online.then(|| "sender_report".to_owned()),
                offset_ms: offset,
                uncertainty_ms: online.then_some(2.6 + n as f64),
                drift_ppm: online.then_some(-14.0 + 30.0 * n as f64),
                sr_age_s: online.then_some(2.0),
                quality: if online {
                    TimeQuality::Good
                } else {
                    TimeQuality::None
                },
                doctor: online.then(|| DoctorDoc {
                    grade: Some("A".to_owned()),
                    reports: 61,
                    ..DoctorDoc::default()
                }),
            },
            stream: online.then(|| StreamDoc {
                codec: "H.264".to_owned(),
                width: SIZE.width,
                height: SIZE.height,
                fps_declared: Some(FPS),
                fps_delivered: FPS - 0.02,
                epoch: 3,
                start: None,
            }),
            drops: BTreeMap::from([("late".to_owned(), 2 * n as u64)]),
            traffic: Default::default(),
            sub: None,
            attention: Some(AttentionDoc {
                looked: 900,
                still: 300,
                ..AttentionDoc::default()
            }),
        }
    });
    let docs = docs.collect::<Vec<_>>();
    let members = docs.iter().take(2).enumerate().map(|(n, camera)| SyncMember {
        cam: camera.id.clone(),
        status: "okay".to_owned(),
        source: camera.time.source.clone(),
        offset_ms: camera.time.offset_ms,
        error_ms: camera.time.uncertainty_ms,
        phase_ms: Some(if n == 0 { -4.0 } else { 4.0 }),
    });
    StatusDoc {
        device: DeviceInfo {
            schema: 1,
            id: "box-7".to_owned(),
            name: "North gate".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: Uuid::nil().to_string(),
            model: Some("Jetson Orin NX".to_owned()),
            cameras: docs.iter().map(|c| c.id.clone()).collect(),
            groups: vec!["yard".to_owned()],
        },
        status: DeviceStatus {
            state: DeviceState::Online,
            since: Some(since),
        },
        utc: sample.realtime.to_rfc3339(),
        uptime_s: (sample.mono - start).as_secs_f64(),
        clock: ClockDoc {
            synchronised: true,
            error_ms: Some(1.8),
        },
        panoramas: Vec::new(),
        detectors: box_docs::detectors(cameras.iter().take(2).map(|(id, ..)| id.clone()).collect()),
        gpus: box_docs::gpus(),
        groups: vec![SyncStatus {
            group: "yard".to_owned(),
            state: SyncState::Locked,
            spread_ms: Some(Quantiles {
                p50: 7.9,
                p95: 11.4,
                max: 14.0,
            }),
            tolerance_ms: 33.3,
            complete_ratio: Some(0.998),
            packets_per_s: FPS,
            window_s: 10.0,
            members: members.collect(),
        }],
        cameras: docs,
        mqtt: MqttDoc {
            state: "connected".to_owned(),
            broker: Some("127.0.0.1:1883".to_owned()),
            error: None,
            outbox: 0,
        },
        storage: box_docs::storage(),
        outputs: Vec::new(),
        restart_needed: Vec::new(),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8480".to_owned());
    let data_dir = std::env::args()
        .nth(2)
        .map_or_else(|| std::env::temp_dir().join("synoptic-page"), Into::into);
    let clock = SystemClock::shared();
    let start = clock.now();
    let (hub, _commands) = Hub::new();
    let camera = |id: &str, name: &str| (id.to_owned(), name.to_owned(), format!("rtsp://192.0.2.10/{id}"));
    let world = Arc::new(World {
        cameras: Mutex::new(vec![
            camera("gate-left", "Gate, left"),
            camera("gate-right", "Gate, right"),
        ]),
        events: Mutex::default(),
    });
    let map = {
        let clock = Arc::clone(&clock);
        move || {
            let sample = clock.sample();
            ClockMap {
                boot_id: BootId(Uuid::nil()),
                version: 1,
                utc_minus_mono: Span::from_nanos(sample.realtime.as_nanos() - sample.mono.as_nanos()),
                error: Some(Span::from_micros(1800)),
            }
        }
    };
    let parts = Parts {
        hub: Arc::clone(&hub),
        clock: Arc::clone(&clock),
        clock_map: Arc::new(map.clone()),
        events: world.clone(),
        cameras: Arc::new(Admin(world.clone())),
        panoramas: Arc::new(synoptic_app::panorama::Desk::new(&data_dir)),
        virtual_cameras: Arc::new(synoptic_app::virtual_camera::Desk::default()),
        stitch: Arc::new(NoStitching),
        outputs: Arc::new(synoptic_app::web::NoOutputs),
        commands: Arc::new(synoptic_app::web::NoCommands),
        updates: synoptic_app::update::Updater::nowhere(&data_dir, &clock)?,
        health: synoptic_app::health::HealthDesk::nowhere(&hub, &clock, &data_dir),
        auth: Arc::new(Auth::open(&data_dir, Arc::clone(&clock))?),
        encode_jpeg: encode,
        metrics_token: None,
    };
    let (stop, shutdown) = tokio::sync::watch::channel(());
    let config = WebConfig {
        listen: vec![address.parse()?],
        tls: None,
        metrics_token: None,
        ice: Default::default(),
    };
    let bound = serve(&config, &data_dir, parts, shutdown).await?;
    for at in &bound.listening {
        println!("{}", at.url());
    }
    let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / FPS));
    let mut open: Option<EventDoc> = None;
    for n in 0u64.. {
        tokio::select! {
            _ = tick.tick() => {}
            _ = tokio::signal::ctrl_c() => break,
        }
        if n % FPS as u64 == 0 {
            hub.status
                .send_replace(Some(Arc::new(status(&world, clock.as_ref(), start))));
        }
        step(n, &hub, &world, clock.as_ref(), &map(), &mut open)?;
    }
    drop(stop);
    bound.stopped().await;
    Ok(())
}

/// One instant of the synthetic world.
fn step(
    n: u64,
    hub: &Hub,
    world: &World,
    clock: &dyn Clock,
    map: &ClockMap,
    open: &mut Option<EventDoc>,
) -> anyhow::Result<()> {
    let cameras = world
        .cameras
        .lock()
        .map_or_else(|_| Vec::new(), |cameras| cameras.clone());
    let mut slots = Vec::new();
    let now = clock.now();
    let wobble = |k: f64| 1.2 * (n as f64 / k).sin() + 0.5 * (n as f64 * 1.7 * k).sin();
    for (index, (name, ..)) in cameras.iter().take(2).enumerate() {
        let side = if index == 0 { -1.0 } else { 1.0 };
        let phase_ms = side * (4.0 + wobble(11.0 + index as f64));
        let captured = Captured {
            mono: now + Span::from_micros((phase_ms * 1e3) as i64),
            rel_error: Span::from_micros(2600 + 1000 * index as i64),
            source: TimeSource::SenderReport,
        };
        let (pixels, bbox) = draw(n as f64 / 180.0 - 0.05 * index as f64, 90 + 90 * index as u8);
        let key = FrameKey {
            stream: StreamId::new(name)?,
            epoch: Epoch(3),
            media_us: MediaTime::from_micros((n as f64 * 1e6 / FPS) as i64),
        };
        let dropped = n % 211 == 7 && index == 1;
        slots.push(PacketSlot {
            cam: name.clone(),
            status: if dropped { "dropped" } else { "okay" }.to_owned(),
            frame: (!dropped).then(|| key.to_string()),
            kind: (!dropped).then(|| "P".to_owned()),
            capture: (!dropped).then(|| Capture::new(captured, map)),
            phase_ms: (!dropped).then_some(phase_ms),
        });
        if index == 0 && n % 75 == 10 {
            // Ends the last event and begins the next.
            if let Some(mut last) = open.take() {
                last.end = Some(Capture::new(captured, map));
                last.ended_by = Some("lost".to_owned());
                if let Ok(mut events) = world.events.lock()
                    && let Some(kept) = events.iter_mut().find(|(e, _)| e.id == last.id)
                {
                    kept.0 = last.clone();
                }
                let _ = hub.events.send(Arc::new(AnyEventDoc::Track(last))); // nobody looks: fine
            }
            let id = Uuid::now_v7().to_string();
            let event = EventDoc {
                kind: Default::default(),
                picture: Some(format!("/api/v1/events/{id}/picture")),
                id,
                cam: name.clone(),
                track: n,
                label: if n % 225 == 10 { "car" } else { "person" }.to_owned(),
                score: 0.72 + (n % 9) as f32 / 40.0,
                bbox,
                detector: "motion".to_owned(),
                begin: Capture::new(captured, map),
                restamped: None,
                end: None,
                ended_by: None,
                frame: key.to_string(),
            };
            let jpeg = encode(&pixels).map_err(anyhow::Error::msg)?;
            if let Ok(mut events) = world.events.lock() {
                events.push((event.clone(), jpeg));
            }
            *open = Some(event.clone());
            let _ = hub.events.send(Arc::new(AnyEventDoc::Track(event))); // nobody looks: fine
        }
        hub.show(LatestPicture {
            meta: FrameMeta {
                key,
                seq: Seq(n),
                arrival: now,
                captured,
                size: SIZE,
                kind: FrameKind::P,
            },
            detections: Some(vec![DetectionDoc {
                track: Some(17),
                label: "person".to_owned(),
                score: 0.91,
                bbox,
                carried: false,
            }]),
            pixels: Arc::new(pixels),
        });
    }
    let phases = slots.iter().filter_map(|slot| slot.phase_ms).collect::<Vec<_>>();
    let (low, high) = phases
        .iter()
        .fold((0.0, 0.0), |(l, h): (f64, f64), p| (l.min(*p), h.max(*p)));
    let _ = hub.packets.send(Arc::new(PacketLine {
        group: "yard".to_owned(),
        id: n,
        utc: map.utc(now).to_rfc3339(),
        spread_ms: if phases.len() < 2 { 0.0 } else { high - low },
        slots,
    }));
    Ok(())
}
