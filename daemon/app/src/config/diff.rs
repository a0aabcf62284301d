//! What a changed configuration means for a running daemon: a plain value, made by comparing resolved parts.

use std::fmt;

use synoptic_base::StreamId;

use super::resolved::{Camera, Config};

/// What to do to get from one configuration to another.
///
/// In this order: stop, rebuild detectors, start and restart, rebuild groups; then the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadPlan {
    /// Cameras to stop: removed, or no longer enabled.
    pub stop_cameras: Vec<StreamId>,
    /// Cameras to start: new, or enabled now.
    pub start_cameras: Vec<StreamId>,
    /// Running cameras whose source or treatment changed.
    pub restart_cameras: Vec<StreamId>,
    /// Running cameras of which only the name or the choice of a detector changed: nothing is interrupted.
    pub update_cameras: Vec<StreamId>,
    /// Groups that are gone.
    pub remove_groups: Vec<StreamId>,
    /// Groups that are new or have changed.
    pub rebuild_groups: Vec<StreamId>,
    /// Panoramas that are gone, or are not to run any more.
    pub remove_panoramas: Vec<StreamId>,
    /// Panoramas that are new or have changed.
    pub rebuild_panoramas: Vec<StreamId>,
    /// Virtual cameras that are gone, or are not to run any more.
    pub remove_virtual_cameras: Vec<StreamId>,
    /// Virtual cameras that are new or have changed.
    pub rebuild_virtual_cameras: Vec<StreamId>,
    /// Outputs to stop: removed, or no longer enabled.
    pub stop_outputs: Vec<StreamId>,
    /// Outputs to start: new, enabled now, or changed.
    pub start_outputs: Vec<StreamId>,
    /// The RTSP server gets another address or login; its clients connect anew.
    pub restart_rtsp: bool,
    /// Detectors that are gone.
    pub remove_detectors: Vec<String>,
    /// Detectors that are new or have changed.
    pub rebuild_detectors: Vec<String>,
    /// The connection to the broker is made anew, made first, or ended: see the new configuration.
    pub restart_mqtt: bool,
    /// The store gets new limits.
    pub update_store: bool,
    /// The box has another name, or other folders for models: read them from the new configuration.
    pub update_device: bool,
    /// Keys that changed and take effect at the next start of the daemon only.
    pub needs_restart: Vec<&'static str>,
}

/// Compares two configurations.
pub fn plan(old: &Config, new: &Config) -> ReloadPlan {
    let mut plan = ReloadPlan::default();
    let running = |config: &Config, id: &StreamId| -> Option<Camera> {
        config
            .cameras
            .iter()
            .find(|c| c.enabled && c.options.id == *id)
            .cloned()
    };
    for camera in old.cameras.iter().filter(|c| c.enabled) {
        let id = camera.options.id;
        match running(new, &id) {
            None => plan.stop_cameras.push(id),
            Some(now) if (&now.options, now.audio) != (&camera.options, camera.audio) => {
                plan.restart_cameras.push(id);
            }
            Some(now) if now != *camera => plan.update_cameras.push(id),
            Some(_) => {}
        }
    }
    let fresh = new.cameras.iter().filter(|c| c.enabled).map(|c| c.options.id);
    plan.start_cameras = fresh.filter(|id| running(old, id).is_none()).collect();

    let gone = old
        .groups
        .iter()
        .filter(|g| !new.groups.iter().any(|n| n.id == g.id));
    plan.remove_groups = gone.map(|g| g.id).collect();
    let changed = new.groups.iter().filter(|g| !old.groups.contains(g));
    plan.rebuild_groups = changed.map(|g| g.id).collect();

    let stay = |id: &StreamId| new.panoramas.iter().any(|n| n.enabled && n.id == *id);
    let gone = old.panoramas.iter().filter(|p| p.enabled && !stay(&p.id));
    plan.remove_panoramas = gone.map(|p| p.id).collect();
    let changed = new
        .panoramas
        .iter()
        .filter(|p| p.enabled && !old.panoramas.contains(p));
    plan.rebuild_panoramas = changed.map(|p| p.id).collect();

    let stay = |id: &StreamId| new.virtual_cameras.iter().any(|n| n.enabled && n.id == *id);
    let gone = old.virtual_cameras.iter().filter(|v| v.enabled && !stay(&v.id));
    plan.remove_virtual_cameras = gone.map(|v| v.id).collect();
    let changed = new
        .virtual_cameras
        .iter()
        .filter(|v| v.enabled && !old.virtual_cameras.contains(v));
    plan.rebuild_virtual_cameras = changed.map(|v| v.id).collect();

    let runs = |c: &Config, id| c.outputs.iter().find(|o| o.enabled && o.wish.id == id).cloned();
    for output in old.outputs.iter().filter(|o| o.enabled) {
        if runs(new, output.wish.id).is_none() {
            plan.stop_outputs.push(output.wish.id);
        }
    }
    for output in new.outputs.iter().filter(|o| o.enabled) {
        if runs(old, output.wish.id).as_ref() != Some(output) {
            plan.start_outputs.push(output.wish.id);
        }
    }
    plan.restart_rtsp = old.rtsp != new.rtsp;

    let gone = old
        .detectors
        .iter()
        .filter(|d| !new.detectors.iter().any(|n| n.name == d.name));
    plan.remove_detectors = gone.map(|d| d.name.clone()).collect();
    // An ONNX detector found its model in the folders of before.
    let folders = old.device.model_dirs != new.device.model_dirs;
    let changed = new
        .detectors
        .iter()
        .filter(|d| !old.detectors.contains(d) || folders && d.kind != super::DetectorKind::Motion);
    plan.rebuild_detectors = changed.map(|d| d.name.clone()).collect();

    // The box's name is in the birth certificate and in Home Assistant's discovery.
    let renamed = old.device.name != new.device.name;
    plan.restart_mqtt = old.mqtt != new.mqtt || renamed && new.mqtt.is_some();
    plan.update_store = old.store != new.store;
    plan.update_device = renamed || folders;
    for (key, changed) in [
        ("device.id", old.device.id != new.device.id),
        ("device.data_dir", old.device.data_dir != new.device.data_dir),
        ("web.listen", old.web.listen != new.web.listen),
        ("web.tls_cert", old.web.tls != new.web.tls),
        (
            "web.metrics_token",
            old.web.metrics_token != new.web.metrics_token,
        ),
        ("web.webrtc", old.web.ice != new.web.ice),
    ] {
        if changed {
            plan.needs_restart.push(key);
        }
    }
    plan
}

impl ReloadPlan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == ReloadPlan::default()
    }
}

/// One line an action.
impl fmt::Display for ReloadPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "nothing to do");
        }
        let ids = |f: &mut fmt::Formatter<'_>, what: &str, ids: &[StreamId]| {
            ids.iter().try_for_each(|id| writeln!(f, "{what} {id}"))
        };
        ids(f, "stop camera", &self.stop_cameras)?;
        for name in &self.remove_detectors {
            writeln!(f, "remove detector {name}")?;
        }
        for name in &self.rebuild_detectors {
            writeln!(f, "build detector {name}")?;
        }
        ids(f, "start camera", &self.start_cameras)?;
        ids(f, "restart camera", &self.restart_cameras)?;
        ids(f, "update camera", &self.update_cameras)?;
        ids(f, "remove group", &self.remove_groups)?;
        ids(f, "build group", &self.rebuild_groups)?;
        ids(f, "remove panorama", &self.remove_panoramas)?;
        ids(f, "build panorama", &self.rebuild_panoramas)?;
        ids(f, "remove virtual camera", &self.remove_virtual_cameras)?;
        ids(f, "build virtual camera", &self.rebuild_virtual_cameras)?;
        ids(f, "stop output", &self.stop_outputs)?;
        ids(f, "start output", &self.start_outputs)?;
        for (line, wanted) in [
            ("start the RTSP server anew", self.restart_rtsp),
            ("connect to the broker anew", self.restart_mqtt),
            ("apply the limits of the store", self.update_store),
            ("update name and folders of the box", self.update_device),
        ] {
            if wanted {
                writeln!(f, "{line}")?;
            }
        }
        for key in &self.needs_restart {
            writeln!(f, "{key} takes effect when the daemon is started again")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::good;

    const OLD: &str = r#"
        schema_version = 1
        [device]
        id = "box"
        [mqtt]
        url = "mqtt://localhost"
        [[camera]]
        id = "a"
        source = "a.mp4"
        [[camera]]
        id = "b"
        source = "b.mp4"
        [[camera]]
        id = "c"
        source = "c.mp4"
        enabled = false
        [[group]]
        id = "g"
        cameras = ["a", "b", "c"]
        [[detector]]
        name = "people"
        kind = "onnx"
        model = "m"
    "#;

    fn lines(old: &str, new: &str) -> Vec<String> {
        let plan = plan(&good(old), &good(new));
        plan.to_string().lines().map(str::to_owned).collect()
    }

    #[test]
    fn nothing_changed_is_nothing_to_do() {
        assert!(plan(&good(OLD), &good(OLD)).is_empty());
        assert_eq!(
            lines(OLD, &OLD.replace("[mqtt]", "# hello\n[mqtt]")),
            ["nothing to do"]
        );
    }

    #[test]
    fn each_change_touches_only_its_part() {
        for (from, to, expected) in [
            ("a.mp4\"", "z.mp4\"", vec!["restart camera a"]),
            ("a.mp4\"", "a.mp4\"\nname = \"Door\"", vec!["update camera a"]),
            (
                "a.mp4\"",
                "a.mp4\"\ndetector = \"people\"",
                vec!["update camera a"],
            ),
            (
                "a.mp4\"",
                "a.mp4\"\nenabled = false",
                vec!["stop camera a", "build group g"],
            ),
            ("enabled = false", "", vec!["start camera c", "build group g"]),
            (
                "id = \"g\"",
                "id = \"h\"",
                vec!["remove group g", "build group h"],
            ),
            (
                "id = \"g\"",
                "id = \"g\"\ntolerance = \"5ms\"",
                vec!["build group g"],
            ),
            ("model = \"m\"", "model = \"n\"", vec!["build detector people"]),
            (
                "name = \"people\"",
                "name = \"folk\"",
                vec!["remove detector people", "build detector folk"],
            ),
            ("localhost", "localhost:1884", vec!["connect to the broker anew"]),
            (
                "[mqtt]\n        url = \"mqtt://localhost\"",
                "",
                vec!["connect to the broker anew"],
            ),
            (
                "[mqtt]",
                "[store]\nkeep_events = \"1d\"\n[mqtt]",
                vec!["apply the limits of the store"],
            ),
            (
                "id = \"box\"",
                "id = \"box\"\nname = \"Hall\"",
                vec!["connect to the broker anew", "update name and folders of the box"],
            ),
            (
                "id = \"box\"",
                "id = \"box\"\nmodel_dirs = [\"m\"]",
                vec!["build detector people", "update name and folders of the box"],
            ),
            (
                "[[group]]",
                "[[output]]\nid = \"o\"\nstream = \"a\"\nserve = \"rtsp\"\n[[group]]",
                vec!["start output o"],
            ),
            (
                "[mqtt]",
                "[rtsp]\nlisten = \"127.0.0.1:8555\"\n[mqtt]",
                vec!["start the RTSP server anew"],
            ),
            (
                "[mqtt]",
                "[web]\nlisten = [\"127.0.0.1:0\"]\n[mqtt]",
                vec!["web.listen takes effect when the daemon is started again"],
            ),
            (
                "id = \"box\"",
                "id = \"box\"\nname = \"box\"\ndata_dir = \"/d\"\nmodel_dirs = [\"/var/lib/synoptic/models\", \"/usr/share/synoptic/models\"]",
                vec!["device.data_dir takes effect when the daemon is started again"],
            ),
        ] {
            assert_eq!(lines(OLD, &OLD.replacen(from, to, 1)), expected, "{from} -> {to}");
        }
    }
}
