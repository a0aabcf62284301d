//! `[mqtt]` as it is written; as `raw`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::raw::RawSecret;

pub(super) const MQTT_ROOT: &str = "synoptic";
pub(super) const MQTT_TENANT: &str = "default";

/// The MQTT broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawMqtt {
    /// The broker: `mqtt://host:port`, or `mqtts://host:port` for TLS. Port when not written: 1883, 8883.
    #[schemars(regex(pattern = r"^mqtts?://[^@/]+$"))]
    pub url: String,
    /// First level of every topic.
    #[serde(default = "mqtt_root")]
    pub root: String,
    /// Second level of every topic.
    #[serde(default = "mqtt_tenant")]
    pub tenant: String,
    /// User. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Password, by reference. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<RawSecret>,
    /// PEM file of the authorities that may sign the broker's certificate. Default: the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// PEM file of the box's own certificate, for brokers that ask for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<String>,
    /// PEM file of the own certificate's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
    /// Discovery prefix of Home Assistant, usually `homeassistant`. Default: no discovery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub home_assistant: Option<String>,
    /// Commands over MQTT. Without this table the box takes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commands: Option<RawMqttCommands>,
}

/// Commands over MQTT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawMqttCommands {
    /// Whether the box takes commands from the broker.
    #[serde(default)]
    pub enabled: bool,
    /// Names of the commands that it takes: docs/reference/mqtt.md. Who may give them is the broker's access list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
}

fn mqtt_root() -> String {
    MQTT_ROOT.to_owned()
}

fn mqtt_tenant() -> String {
    MQTT_TENANT.to_owned()
}
