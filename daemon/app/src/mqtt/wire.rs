//! Messages as rumqttc takes them, and what a broker can take.

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnAck, Publish, PublishProperties};

use super::options::JSON;
use super::outbox::WINDOW;

/// What the broker said it can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Rows in flight.
    pub(crate) window: usize,
    /// Bytes of a packet.
    pub(crate) packet: usize,
}

impl Limits {
    /// Reads them from a CONNACK. The error names what the broker lacks.
    pub(crate) fn of(connack: &ConnAck) -> Result<Limits, &'static str> {
        let properties = connack.properties.as_ref();
        if properties.and_then(|p| p.max_qos) == Some(0) {
            return Err("QoS 1");
        }
        if properties.and_then(|p| p.retain_available) == Some(0) {
            return Err("retained messages");
        }
        let receive_max = properties.and_then(|p| p.receive_max).unwrap_or(u16::MAX);
        Ok(Limits {
            // The other half is for telemetry, which never waits for rows.
            window: WINDOW.min(usize::from(receive_max) / 2).max(1),
            packet: properties
                .and_then(|p| p.max_packet_size)
                .map_or(usize::MAX, |max| max as usize),
        })
    }
}

/// Properties of a JSON payload.
pub(crate) fn properties(user_properties: Vec<(String, String)>) -> PublishProperties {
    PublishProperties {
        payload_format_indicator: Some(1), // UTF-8
        content_type: Some(JSON.to_owned()),
        user_properties,
        ..PublishProperties::default()
    }
}

/// A message, QoS 1.
pub(crate) fn message(
    topic: &str,
    payload: Vec<u8>,
    properties: Option<PublishProperties>,
    retain: bool,
) -> Publish {
    let mut message = Publish::new(topic, QoS::AtLeastOnce, payload, properties);
    message.retain = retain;
    message
}

/// Whether MQTT and this broker can take a message. rumqttc would drop the connection, or send nonsense.
pub(crate) fn fits(message: &Publish, limits: Limits) -> Result<(), String> {
    const LONGEST: usize = u16::MAX as usize; // length prefix of strings, MQTT 5, 1.5.4
    let topic = &message.topic;
    if topic.is_empty() || topic.len() > LONGEST || topic.iter().any(|b| matches!(b, b'+' | b'#' | 0)) {
        return Err(format!(
            "{:?} is no topic to publish on",
            String::from_utf8_lossy(topic)
        ));
    }
    let mut user = message.properties.iter().flat_map(|p| &p.user_properties);
    if let Some((name, _)) = user.find(|(k, v)| k.len() > LONGEST || v.len() > LONGEST) {
        return Err(format!("its property {name:.20} is longer than {LONGEST} bytes"));
    }
    let size = message.size();
    if size > limits.packet {
        return Err(format!("it has {size} bytes, the broker takes {}", limits.packet));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rumqttc::v5::mqttbytes::v5::{ConnAckProperties, ConnectReturnCode};

    use super::*;

    fn silent() -> ConnAckProperties {
        ConnAckProperties {
            session_expiry_interval: None,
            receive_max: None,
            max_qos: None,
            retain_available: None,
            max_packet_size: None,
            assigned_client_identifier: None,
            topic_alias_max: None,
            reason_string: None,
            user_properties: Vec::new(),
            wildcard_subscription_available: None,
            subscription_identifiers_available: None,
            shared_subscription_available: None,
            server_keep_alive: None,
            response_information: None,
            server_reference: None,
            authentication_method: None,
            authentication_data: None,
        }
    }

    fn connack(properties: Option<ConnAckProperties>) -> ConnAck {
        ConnAck {
            session_present: false,
            code: ConnectReturnCode::Success,
            properties,
        }
    }

    #[test]
    fn rows_leave_half_of_the_brokers_window_to_telemetry() {
        let window = |receive_max| {
            let mut properties = silent();
            properties.receive_max = Some(receive_max);
            Limits::of(&connack(Some(properties))).unwrap().window
        };
        assert_eq!([1, 20, 65_535].map(window), [1, 10, WINDOW]);
        assert_eq!(Limits::of(&connack(None)).unwrap().window, WINDOW);
        let mut poor = silent();
        poor.retain_available = Some(0);
        assert_eq!(Limits::of(&connack(Some(poor))), Err("retained messages"));
    }

    #[test]
    fn what_cannot_be_sent_is_refused_with_the_reason() {
        let limits = Limits {
            window: 1,
            packet: 100,
        };
        let check = |topic: &str, payload: usize, property: usize| {
            let property = vec![("k".to_owned(), "v".repeat(property))];
            fits(
                &message(topic, vec![0; payload], Some(properties(property)), false),
                limits,
            )
        };
        assert_eq!(check("a/b", 10, 1), Ok(()));
        for (refused, why) in [
            (check("", 1, 1), "no topic"),
            (check("a/#", 1, 1), "a/#"),
            (check("a", 100, 1), "the broker takes 100"),
            (check("a", 1, 70_000), "property k"),
        ] {
            assert!(refused.as_ref().is_err_and(|e| e.contains(why)), "{refused:?}");
        }
    }
}
