//! Documents and events for tests.

use synoptic_base::{
    BBox, BestFrame, BootId, Captured, ClockMap, EndReason, Epoch, Event, EventChange, EventId, FrameKey,
    MediaTime, Mono, Sighting, Span, StreamId, TimeSource, TrackId,
};
use uuid::Uuid;

use super::{EventContext, Topics};
use crate::config::MqttConfig;
use crate::documents::*;

pub(super) fn topics() -> Topics {
    Topics::new("synoptic", "default", StreamId::new("box-1").unwrap())
}

pub(super) fn config(port: u16) -> MqttConfig {
    MqttConfig {
        host: "127.0.0.1".into(),
        port,
        root: "synoptic".into(),
        tenant: "default".into(),
        user: None,
        password: None,
        tls: None,
        home_assistant: None,
    }
}

pub(super) fn info(cameras: &[&str]) -> DeviceInfo {
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
pub(super) fn status(cameras: &[&str]) -> StatusDoc {
    let camera = |id: &&str| CameraDoc {
        id: (*id).to_owned(),
        name: format!("The {id} camera"),
        source: format!("rtsp://{id}.example/main"),
        detector: Some("motion".into()),
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
        },
        stream: None,
        drops: Default::default(),
        traffic: Default::default(),
        sub: None,
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
        mqtt: super::initial_state(None),
    }
}

pub(super) fn boot() -> BootId {
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
pub(super) fn changes() -> Vec<EventChange> {
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

/// The context of the message number `seq` of that event.
pub(super) fn context(seq: u32) -> EventContext {
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
