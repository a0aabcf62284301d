//! What the daemon tells of itself.

use std::sync::Arc;

use super::Daemon;
use crate::documents::{
    CameraState, ClockDoc, DetectorDoc, DeviceInfo, DeviceState, DeviceStatus, MqttDoc, StatusDoc, SyncState,
    round_ms,
};
use crate::service;
use crate::storage::storage_doc;

/// Version of `DeviceInfo`.
const INFO_SCHEMA: u32 = 1;

impl Daemon {
    pub(super) fn info(&self) -> DeviceInfo {
        let config = self.config.load();
        DeviceInfo {
            schema: INFO_SCHEMA,
            id: config.device.id.to_string(),
            name: config.device.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: self.box_clock.map().boot_id.0.to_string(),
            model: service::hardware_model(),
            cameras: config.cameras.iter().map(|c| c.options.id.to_string()).collect(),
            groups: config.groups.iter().map(|g| g.id.to_string()).collect(),
        }
    }

    /// Writes the status document.
    pub(super) fn publish_status(&mut self) {
        let now = self.clock.now();
        let map = self.box_clock.map();
        let mut cameras = self.board.cameras(now, &map);
        for camera in &mut cameras {
            camera.engine = self.hub.engines.of_camera(&camera.id);
        }
        let detectors = self.hub.engines.docs();
        let groups = self.board.groups(now, &map);
        let well = |state: CameraState| matches!(state, CameraState::Online | CameraState::Disabled);
        let stored = self.store.stats();
        let degraded = stored.last_error.is_some()
            || cameras
                .iter()
                .any(|c| !well(c.status.state) || c.status.reason.is_some())
            || groups.iter().any(|g| g.state == SyncState::Lost)
            || detectors.iter().any(DetectorDoc::is_trouble);
        let state = if self.updates.watch().borrow().state.is_busy() {
            DeviceState::Updating
        } else if degraded {
            DeviceState::Degraded
        } else {
            DeviceState::Online
        };
        if state != self.state.state {
            self.state = DeviceStatus {
                state,
                since: Some(map.utc(now).to_rfc3339()),
            };
        }
        self.hub.stages.set("store", stored.commit_durations);
        let mqtt = MqttDoc {
            outbox: stored.outbox_rows,
            ..self.mqtt_state.borrow().clone()
        };
        let doc = StatusDoc {
            device: self.info(),
            status: self.state.clone(),
            utc: map.utc(now).to_rfc3339(),
            uptime_s: ((now - self.started).as_secs_f64() * 10.0).round() / 10.0,
            clock: ClockDoc {
                synchronised: map.error.is_some(),
                error_ms: map.error.map(round_ms),
            },
            cameras,
            groups,
            panoramas: self.desk.docs(now, &map),
            detectors,
            gpus: self.gpus.docs(),
            outputs: self.outputs.docs(),
            mqtt,
            storage: storage_doc(&stored, &self.config.load()),
            restart_needed: self.restart_needed.iter().map(|key| (*key).to_owned()).collect(),
        };
        self.hub.status.send_replace(Some(Arc::new(doc)));
    }
}
