//! Documents and events for tests.

use synoptic_base::{
    BBox, BestFrame, BootId, Captured, ClockMap, EndReason, Epoch, Event, EventChange, EventId, FrameKey,
    MediaTime, Mono, Outage, Restamp, Sighting, Span, StreamId, SystemChange, SystemEvent, TimeSource,
    TrackId,
};
use uuid::Uuid;

use super::{EventContext, Topics};
use crate::config::MqttConfig;
use crate::documents::*;
use crate::outputs::{OutputDoc, OutputKind, OutputState};

pub(crate) fn topics() -> Topics {
    Topics::new("synoptic", "default", StreamId::new("box-1").unwrap())
}

pub(crate) fn config(port: u16) -> MqttConfig {
    MqttConfig {
        host: "127.0.0.1".into(),
        port,
        root: "synoptic".into(),
        tenant: "default".into(),
        user: None,
        password: None,
        tls: None,
        home_assistant: None,
        commands: None,
    }
}

/// A command in a state, with a result of so many letters.
pub(crate) fn command(name: &str, id: &str, state: CommandPhase, result: usize) -> CommandDoc {
    CommandDoc {
        name: name.into(),
        id: id.into(),
        state,
        since: "2026-11-21T10:00:01.000000Z".into(),
        progress: (state == CommandPhase::Executing).then(|| CommandProgress {
            text: "looking".into(),
            percent: Some(50.0),
        }),
        reason: (state == CommandPhase::Failed).then(|| "no".into()),
        result: (result > 0).then(|| "x".repeat(result).into()),
    }
}

pub(crate) fn info(cameras: &[&str]) -> DeviceInfo {
    DeviceInfo {
        schema: 1,
        id: "box-1".into(),
        name: "Box 1".into(),
        version: "0.1.0".into(),
        boot_id: boot().0.to_string(),
        model: None,
        cameras: cameras.iter().map(|c| (*c).to_owned()).collect(),
        groups: vec!["all".into()],
    }
}

/// A healthy box with these cameras in one group, `all`.
pub(crate) fn status(cameras: &[&str]) -> StatusDoc {
    let camera = |id: &&str| CameraDoc {
        id: (*id).to_owned(),
        name: format!("The {id} camera"),
        source: format!("rtsp://{id}.example/main"),
        detector: Some("motion".into()),
        engine: None,
        status: CameraStatus {
            state: CameraState::Online,
            reason: None,
            since: "2026-11-21T10:00:00.000000Z".into(),
        },
        time: CameraTime {
            source: Some("sender_report".into()),
            offset_ms: Some(-12.4),
            uncertainty_ms: Some(3.1),
            drift_ppm: Some(18.0),
            sr_age_s: Some(2.2),
            quality: TimeQuality::Good,
            doctor: Some(DoctorDoc {
                grade: Some("A".into()),
                report_spread_ms: Some(0.4),
                reports: 61,
                last_step: Some(StepDoc {
                    utc: "2026-11-21T10:01:00.000000Z".into(),
                    step_ms: -250.0,
                }),
                wall_steps: 1,
                declared_rate_hz: Some(90_000),
                delay_ms: Some(58.2),
                delay_error_ms: Some(15.4),
                findings: vec![FindingDoc {
                    finding: "zone".into(),
                    text: "Its clock is off by +1.00 h: check its time zone and summer time.".into(),
                }],
                ..DoctorDoc::default()
            }),
        },
        stream: None,
        drops: Default::default(),
        traffic: Default::default(),
        sub: None,
        attention: None,
    };
    let member = |id: &&str| SyncMember {
        cam: (*id).to_owned(),
        status: "okay".into(),
        source: Some("sender_report".into()),
        offset_ms: Some(-12.4),
        error_ms: Some(3.1),
        phase_ms: Some(0.8),
    };
    StatusDoc {
        device: info(cameras),
        status: DeviceStatus {
            state: DeviceState::Online,
            since: Some("2026-11-21T10:00:00.000000Z".into()),
        },
        utc: "2026-11-21T10:05:00.000000Z".into(),
        uptime_s: 300.0,
        clock: ClockDoc {
            synchronised: true,
            error_ms: Some(1.0),
        },
        cameras: cameras.iter().map(camera).collect(),
        groups: vec![SyncStatus {
            group: "all".into(),
            state: SyncState::Locked,
            spread_ms: Some(Quantiles {
                p50: 1.2,
                p95: 4.0,
                max: 6.3,
            }),
            tolerance_ms: 33.3,
            complete_ratio: Some(0.998),
            packets_per_s: 15.0,
            window_s: 10.0,
            members: cameras.iter().map(member).collect(),
        }],
        panoramas: vec![panorama(cameras)],
        detectors: Vec::new(),
        gpus: Vec::new(),
        outputs: Vec::new(),
        mqtt: super::initial_state(None),
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

/// A push that runs.
pub(super) fn output() -> OutputDoc {
    OutputDoc {
        id: "relay".into(),
        stream: "front".into(),
        kind: OutputKind::RtmpPush,
        url: "rtmp://relay.example/live/***".into(),
        configured: true,
        state: OutputState::Running,
        reason: None,
        since: Some("2026-11-21T10:00:00.000000Z".into()),
        transcoded: None,
        sound: Some("aac".into()),
        sound_transcoded: Some("pcma".into()),
        width: Some(1280),
        height: Some(720),
        clients: None,
        pictures: 4_500,
        bytes: 90_000_000,
        left_out: 0,
        repeated: 0,
        failures: 1,
    }
}

/// A panorama of all cameras, with all that can be known.
fn panorama(cameras: &[&str]) -> PanoramaDoc {
    let latency = |p50, p99| Some(LatencyDoc { p50, p99 });
    let member = |id: &&str| StitchMemberDoc {
        cam: (*id).to_owned(),
        slot: StitchSlotDoc::Live,
    };
    let seam = |pair: &[&str]| SeamDoc {
        cameras: [pair[0].to_owned(), pair[1].to_owned()],
        psnr_db: Some(33.1),
        ssim: Some(0.94),
        gradient_correlation: Some(0.91),
        ghost_edge_fraction: Some(0.01),
        delta_e00: Some(0.8),
        skew_ms: Some(1.4),
        skew_error_ms: Some(0.9),
        residual_px: Some(0.12),
        jitter_px: Some(0.03),
    };
    PanoramaDoc {
        id: "whole".to_owned(),
        name: "The whole yard".to_owned(),
        group: "all".to_owned(),
        method: "calibrated".to_owned(),
        status: StitchStatus {
            panorama: "whole".to_owned(),
            state: PanoramaState::Running,
            reason: None,
            since: "2026-11-21T10:00:00.000000Z".into(),
            width: Some(1548),
            height: Some(360),
            fps: 15.0,
            latency_ms: latency(61.0, 80.5),
            compose_ms: latency(4.1, 6.3),
            window_s: 5.0,
            calibration: Some(3),
            cameras: cameras.iter().map(member).collect(),
            seams: cameras.windows(2).map(seam).collect(),
        },
        lines: Vec::new(),
        job: None,
    }
}

pub(crate) fn boot() -> BootId {
    BootId(Uuid::from_u128(0xb007))
}

fn sighting(ms: i64) -> Sighting {
    let captured = Captured {
        mono: Mono::from_nanos(0) + Span::from_millis(ms),
        rel_error: Span::from_millis(3),
        source: TimeSource::SenderReport,
    };
    let map = ClockMap {
        boot_id: boot(),
        version: 4,
        utc_minus_mono: Span::from_secs(1_795_000_000),
        error: Some(Span::from_millis(2)),
    };
    Sighting {
        frame: FrameKey {
            stream: StreamId::new("front").unwrap(),
            epoch: Epoch(3),
            media_us: MediaTime::from_micros(ms * 1000),
        },
        captured,
        stamp: map.stamp(captured),
        map_version: map.version,
        bbox: BBox::new(0.25, 0.5, 0.125, 0.25),
        score: 0.875,
    }
}

fn event() -> Event {
    Event {
        id: EventId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001)),
        stream: StreamId::new("front").unwrap(),
        track: TrackId(17),
        label: "person".into(),
        detector: "fastestdet".into(),
        first: sighting(1_000),
    }
}

/// Begin, best, end of one event.
pub(crate) fn changes() -> Vec<EventChange> {
    let best = sighting(1_400);
    vec![
        EventChange::Begin(event()),
        EventChange::Best {
            id: event().id,
            picture: BestFrame {
                frame: best.frame,
                jpeg: vec![0xff, 0xd8],
            },
            sighting: best,
        },
        EventChange::End {
            id: event().id,
            last: sighting(5_000),
            reason: EndReason::Lost,
            sightings: 61,
        },
    ]
}

/// A detector on the GPU, and the GPU.
pub(crate) fn engines() -> (DetectorDoc, GpuDoc) {
    let detector = DetectorDoc {
        name: "people".into(),
        group: "all".into(),
        model: "yolox-nano".into(),
        cameras: vec!["front".into()],
        engine: EngineDoc {
            wanted: "tensorrt".into(),
            state: "as_wanted".into(),
            running: Some("TensorRT 10.3.0, fp16, on Orin".into()),
            reason: None,
        },
    };
    let gpu = GpuDoc {
        index: 0,
        name: "Orin".into(),
        source: "sysfs".into(),
        temperature_c: Some(61.5),
        power_w: Some(9.2),
        load: Some(0.43),
        clock_mhz: Some(612.0),
        clock_max_mhz: Some(918.0),
        memory_used_bytes: None,
        memory_bytes: None,
        throttled: None,
    };
    (detector, gpu)
}

/// One of each type.
pub(crate) fn system_events() -> Vec<SystemEvent> {
    let step = Span::from_millis(-2_000);
    let changes = [
        SystemChange::CameraOnline,
        SystemChange::CameraOffline {
            outage: Outage::AuthFailed,
            reason: Some("the camera refuses user or password".into()),
        },
        SystemChange::TimeSource {
            from: TimeSource::SenderReport,
            to: TimeSource::Arrival,
        },
        SystemChange::CameraClockStep { step },
        SystemChange::BoxClockStep { step },
        SystemChange::StitchOkay,
        SystemChange::StitchDegraded {
            reason: "no pictures of front".to_owned(),
        },
        SystemChange::CameraTime {
            finding: "zone".into(),
            text: "Its clock is off by +1.00 h: check its time zone and summer time.".into(),
        },
        SystemChange::Restamp(Restamp {
            epoch: Epoch(3),
            since_us: MediaTime::from_micros(0),
            until_us: MediaTime::from_micros(9_000_000),
            from: Mono::from_nanos(1_000),
            to: Mono::from_nanos(9_000_001_000),
            moved: Span::from_millis(-31),
            rel_error: Span::from_millis(3),
            source: TimeSource::SenderReport,
        }),
        SystemChange::DetectorEngine {
            detector: "people".into(),
            from: Some("TensorRT 10.3.0, fp16, on Orin".into()),
            to: Some("rten 0.27".into()),
            reason: Some("not on TensorRT: the GPU's memory is full".into()),
        },
        SystemChange::GpuOkay { gpu: "0".into() },
        SystemChange::GpuThrottled {
            gpu: "0".into(),
            reason: "it is too hot: 97 °C".into(),
        },
    ];
    let event = |(n, change): (u128, SystemChange)| {
        let seen = sighting(1_000);
        let of_the_box = matches!(
            change,
            SystemChange::BoxClockStep { .. }
                | SystemChange::DetectorEngine { .. }
                | SystemChange::GpuOkay { .. }
                | SystemChange::GpuThrottled { .. }
        );
        SystemEvent {
            id: EventId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0100 + n)),
            stream: (!of_the_box).then_some(seen.frame.stream),
            at: seen.captured.mono,
            utc: seen.stamp.utc,
            error: None,
            map_version: seen.map_version,
            change,
            untold: 0,
        }
    };
    (0..).zip(changes).map(event).collect()
}

/// The context of the message number `seq` of that event.
pub(crate) fn context(seq: u32) -> EventContext {
    let picture = MediaRef {
        url: format!("/api/v1/events/{}/picture", event().id.0),
        kind: "image/jpeg".into(),
        sha256: "0".repeat(64),
    };
    EventContext {
        event: event(),
        seq,
        boot: boot(),
        media: if seq == 0 { Vec::new() } else { vec![picture] },
    }
}
