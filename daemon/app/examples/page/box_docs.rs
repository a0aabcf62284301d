//! What the box itself says of its disk, its detectors and its GPU.

use synoptic_app::documents::*;

pub(crate) fn storage() -> StorageDoc {
    StorageDoc {
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
    }
}

/// One whose plan is being built, for `cameras`.
pub(crate) fn detectors(cameras: Vec<String>) -> Vec<DetectorDoc> {
    vec![DetectorDoc {
        name: "people".to_owned(),
        group: "yard".to_owned(),
        model: "yolox-nano".to_owned(),
        cameras,
        engine: EngineDoc {
            wanted: "tensorrt".to_owned(),
            state: "preparing".to_owned(),
            running: Some("rten 0.27".to_owned()),
            reason: Some("its plan is being built".to_owned()),
        },
    }]
}

pub(crate) fn gpus() -> Vec<GpuDoc> {
    vec![GpuDoc {
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
        throttled: None,
    }]
}
