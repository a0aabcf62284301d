//! The topics of one box, all below `{root}/v1/{tenant}/{device}/`. Fixed words (`cam`, `sync`, `stitch`, `event`) stand
//! before every id, so that ids of different kinds never clash.

use synoptic_base::StreamId;

/// Version of the topic tree, its second level.
const TREE_VERSION: &str = "v1";

/// The topics of one box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    root: String,
    tenant: String,
    device: StreamId,
}

impl Topics {
    /// Topics below `{root}/v1/{tenant}/{device}`. `root` and `tenant` hold no wildcard (the configuration
    /// sees to that).
    pub fn new(root: &str, tenant: &str, device: StreamId) -> Topics {
        Topics {
            root: root.to_owned(),
            tenant: tenant.to_owned(),
            device,
        }
    }

    /// What all topics of the box begin with, without the last slash.
    pub fn prefix(&self) -> String {
        format!("{}/{TREE_VERSION}/{}/{}", self.root, self.tenant, self.device)
    }

    /// State of the box; also the topic of the last will.
    pub fn status(&self) -> String {
        format!("{}/status", self.prefix())
    }

    /// Birth certificate.
    pub fn info(&self) -> String {
        format!("{}/info", self.prefix())
    }

    /// State of a camera.
    pub fn camera_status(&self, camera: &str) -> String {
        format!("{}/cam/{camera}/status", self.prefix())
    }

    /// What is known of a camera's time.
    pub fn camera_time(&self, camera: &str) -> String {
        format!("{}/cam/{camera}/time", self.prefix())
    }

    /// State of a sync group.
    pub fn sync_status(&self, group: &str) -> String {
        format!("{}/sync/{group}/status", self.prefix())
    }

    /// State and quality of a panorama.
    pub fn stitch_status(&self, panorama: &str) -> String {
        format!("{}/stitch/{panorama}/status", self.prefix())
    }

    /// What runs the model of a group's detector.
    pub fn detector_status(&self, group: &str, detector: &str) -> String {
        format!("{}/detector/{group}/{detector}/status", self.prefix())
    }

    /// State of a GPU.
    pub fn gpu_status(&self, index: &str) -> String {
        format!("{}/gpu/{index}/status", self.prefix())
    }

    /// State of an output.
    pub fn output_status(&self, output: &str) -> String {
        format!("{}/output/{output}/status", self.prefix())
    }

    /// Events of a type: `track`, or the name of a system event.
    pub fn event(&self, kind: &str) -> String {
        format!("{}/event/{kind}", self.prefix())
    }

    /// Filters for every retained topic that belongs to a camera, a group, a panorama, a detector, a GPU or an output, present
    /// or removed.
    pub fn member_filters(&self) -> [String; 7] {
        [
            self.camera_status("+"),
            self.camera_time("+"),
            self.sync_status("+"),
            self.stitch_status("+"),
            self.detector_status("+", "+"),
            self.gpu_status("+"),
            self.output_status("+"),
        ]
    }

    /// A name of the box that is unique at the broker and made of `a-z A-Z 0-9 _ -` only: MQTT client id and
    /// Home Assistant object id.
    pub fn unique_name(&self) -> String {
        format!("{}_{}_{}", self.root, self.tenant, self.device)
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '-' {
                    c
                } else {
                    '_'
                }
            })
            .collect()
    }

    /// The `source` of CloudEvents of a camera: a URI reference.
    pub fn event_source(&self, camera: &str) -> String {
        format!("/{}/cam/{camera}", self.prefix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Topics {
        Topics::new("synoptic", "acme", StreamId::new("box-1").unwrap())
    }

    #[test]
    fn one_device_is_one_subtree() {
        let t = topics();
        assert_eq!(t.status(), "synoptic/v1/acme/box-1/status");
        assert_eq!(t.info(), "synoptic/v1/acme/box-1/info");
        assert_eq!(
            t.camera_status("front"),
            "synoptic/v1/acme/box-1/cam/front/status"
        );
        assert_eq!(t.camera_time("front"), "synoptic/v1/acme/box-1/cam/front/time");
        assert_eq!(t.sync_status("all"), "synoptic/v1/acme/box-1/sync/all/status");
        assert_eq!(t.event("track"), "synoptic/v1/acme/box-1/event/track");
        assert_eq!(t.event_source("front"), "/synoptic/v1/acme/box-1/cam/front");
    }

    #[test]
    fn a_camera_may_have_the_id_of_a_group() {
        let t = topics();
        assert_ne!(t.camera_status("a"), t.sync_status("a"));
    }

    #[test]
    fn filters_cover_cameras_and_groups_but_not_the_box() {
        let filters = topics().member_filters();
        assert_eq!(filters[0], "synoptic/v1/acme/box-1/cam/+/status");
        assert_eq!(filters[1], "synoptic/v1/acme/box-1/cam/+/time");
        assert_eq!(filters[2], "synoptic/v1/acme/box-1/sync/+/status");
        assert_eq!(filters[3], "synoptic/v1/acme/box-1/stitch/+/status");
        assert_eq!(filters[4], "synoptic/v1/acme/box-1/detector/+/+/status");
        assert_eq!(filters[5], "synoptic/v1/acme/box-1/gpu/+/status");
    }

    #[test]
    fn the_unique_name_is_plain_and_differs_by_tenant() {
        let a = Topics::new("site/a", "x y", StreamId::new("b").unwrap());
        assert_eq!(a.unique_name(), "site_a_x_y_b");
        assert_ne!(
            topics().unique_name(),
            Topics::new("synoptic", "other", StreamId::new("box-1").unwrap()).unique_name()
        );
    }
}
