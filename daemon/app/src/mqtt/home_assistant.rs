//! Home Assistant: one retained discovery document for the whole box, so that its entities appear by themselves.
//!
//! The form is Home Assistant's "device discovery" (integration MQTT, since 2024.11): topic
//! `{prefix}/device/{object id}/config`, one component an entity; a component that is gone is named once more
//! with its platform only.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::topics::Topics;
use crate::documents::StatusDoc;

/// Announced entities: component key to platform.
pub(crate) type Components = BTreeMap<String, String>;

/// Where the discovery document is published.
pub(crate) fn topic(topics: &Topics, prefix: &str) -> String {
    format!("{prefix}/device/{}/config", topics.unique_name())
}

/// Filters that find our discovery document, also below a prefix that was configured once.
pub(crate) fn filters(topics: &Topics, prefix: Option<&str>) -> Vec<String> {
    let mut filters = vec![topic(topics, "+")];
    // A prefix of several levels is not matched by one `+`.
    filters.extend(prefix.filter(|p| p.contains('/')).map(|p| topic(topics, p)));
    filters
}

/// The discovery document. Components that are in `announced` but not of the box any more are removed from Home
/// Assistant by it; `announced` is brought up to date.
pub(crate) fn config(topics: &Topics, status: &StatusDoc, announced: &mut Components) -> Value {
    let name = topics.unique_name();
    let mut components = Map::new();
    for camera in &status.cameras {
        let state_topic = topics.camera_status(&camera.id);
        components.insert(
            format!("cam_{}_connectivity", camera.id),
            json!({
                "platform": "binary_sensor",
                "unique_id": format!("{name}_cam_{}_connectivity", camera.id),
                "name": format!("{} connectivity", camera.name),
                "device_class": "connectivity",
                "entity_category": "diagnostic",
                "state_topic": state_topic,
                "value_template": "{{ 'ON' if value_json.state == 'online' else 'OFF' }}",
                "json_attributes_topic": state_topic,
            }),
        );
    }
    for group in &status.groups {
        let state_topic = topics.sync_status(&group.group);
        components.insert(
            format!("sync_{}_state", group.group),
            json!({
                "platform": "sensor",
                "unique_id": format!("{name}_sync_{}_state", group.group),
                "name": format!("{} sync", group.group),
                "device_class": "enum",
                "options": ["locked", "degraded", "lost"],
                "entity_category": "diagnostic",
                "state_topic": state_topic,
                "value_template": "{{ value_json.state }}",
            }),
        );
        components.insert(
            format!("sync_{}_spread", group.group),
            json!({
                "platform": "sensor",
                "unique_id": format!("{name}_sync_{}_spread", group.group),
                "name": format!("{} spread", group.group),
                "device_class": "duration",
                "unit_of_measurement": "ms",
                "state_class": "measurement",
                "suggested_display_precision": 1,
                "entity_category": "diagnostic",
                "state_topic": state_topic,
                "value_template": "{{ value_json.spread_ms.p95 if value_json.spread_ms else None }}",
            }),
        );
    }
    for (key, platform) in announced.iter() {
        if !components.contains_key(key) {
            components.insert(key.clone(), json!({ "platform": platform }));
        }
    }
    recall_components(&components, announced);
    let device = json!({
        "identifiers": [name],
        "name": status.device.name,
        "manufacturer": "Synoptic",
        "model": status.device.model,
        "sw_version": status.device.version,
    });
    json!({
        "device": device,
        "origin": { "name": "synoptic", "sw_version": status.device.version },
        "availability": [{
            "topic": topics.status(),
            "value_template": "{{ 'offline' if value_json.state == 'offline' else 'online' }}",
        }],
        "components": components,
        "qos": 1,
    })
}

/// Takes up the components of a document that an earlier run left at the broker.
pub(crate) fn recall(payload: &[u8], announced: &mut Components) {
    // What is no document of ours is replaced by the next one.
    if let Ok(Value::Object(document)) = serde_json::from_slice(payload)
        && let Some(Value::Object(components)) = document.get("components")
    {
        recall_components(components, announced);
    }
}

fn recall_components(components: &Map<String, Value>, announced: &mut Components) {
    for (key, component) in components {
        // A component with its platform alone is removed already.
        let alive = component.as_object().is_some_and(|c| c.len() > 1);
        if let (true, Some(platform)) = (alive, component.get("platform").and_then(Value::as_str)) {
            announced.insert(key.clone(), platform.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::samples;

    #[test]
    fn every_camera_and_group_becomes_entities_with_unique_ids() {
        let config = config(
            &samples::topics(),
            &samples::status(&["front", "yard"]),
            &mut Components::new(),
        );
        let components = config["components"].as_object().unwrap();
        let keys: Vec<_> = components.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "cam_front_connectivity",
                "cam_yard_connectivity",
                "sync_all_spread",
                "sync_all_state"
            ]
        );
        let ids: std::collections::BTreeSet<_> = components
            .values()
            .map(|c| c["unique_id"].as_str().unwrap())
            .collect();
        assert_eq!(ids.len(), components.len());
        let camera = &components["cam_front_connectivity"];
        assert_eq!(
            camera["state_topic"],
            "synoptic/v1/default/box-1/cam/front/status"
        );
        assert_eq!(
            config["availability"][0]["topic"],
            "synoptic/v1/default/box-1/status"
        );
        assert_eq!(config["device"]["identifiers"][0], "synoptic_default_box-1");
    }

    #[test]
    fn a_removed_camera_is_removed_from_home_assistant_too() {
        let topics = samples::topics();
        let first = config(
            &topics,
            &samples::status(&["front", "yard"]),
            &mut Components::new(),
        );
        // A later run of the daemon, without the camera.
        let mut announced = Components::new();
        recall(&messages_json(&first), &mut announced);
        let second = config(&topics, &samples::status(&["front"]), &mut announced);
        assert_eq!(
            second["components"]["cam_yard_connectivity"],
            json!({ "platform": "binary_sensor" })
        );
        // And one more: it is not dragged along for ever.
        let mut announced = Components::new();
        recall(&messages_json(&second), &mut announced);
        let third = config(&topics, &samples::status(&["front"]), &mut announced);
        assert_eq!(third["components"].get("cam_yard_connectivity"), None);
    }

    #[test]
    fn the_topic_is_found_below_any_prefix() {
        let topics = samples::topics();
        assert_eq!(
            topic(&topics, "homeassistant"),
            "homeassistant/device/synoptic_default_box-1/config"
        );
        assert_eq!(filters(&topics, None), ["+/device/synoptic_default_box-1/config"]);
        assert_eq!(filters(&topics, Some("a/b")).len(), 2);
    }

    fn messages_json(value: &Value) -> Vec<u8> {
        crate::mqtt::messages::json(value)
    }
}
