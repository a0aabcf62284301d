//! What went wrong with the broker, in a sentence that says what to do.

use std::error::Error;
use std::io;

use rumqttc::v5::mqttbytes::Error as PacketError;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode};
use rumqttc::v5::{ConnectionError, StateError};
use rustls::{AlertDescription, CertificateError};

use super::outbox::Drop;

/// Describes a failed or lost connection to `broker` (`host:port`).
pub(crate) fn explain(error: &ConnectionError, broker: &str) -> String {
    if let Some(tls) = find::<rustls::Error>(root(error)) {
        return tls_text(tls, broker);
    }
    match error {
        ConnectionError::ConnectionRefused(code) => refused(*code, broker),
        ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code,
            reason_string,
        }) => disconnected(*reason_code, reason_string.as_deref(), broker),
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            format!("{broker} closed the connection without a reason; its log may tell more")
        }
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            format!("{broker} no longer answers; the network between may be down")
        }
        ConnectionError::Timeout(_) => {
            format!("{broker} does not answer in time; check mqtt.host, mqtt.port, mqtt.tls and the network")
        }
        other => match find::<io::Error>(root(other)) {
            Some(io) => io_text(io, broker),
            None => format!("the connection to {broker} failed: {other}"),
        },
    }
}

/// What the end of a connection says of the messages in flight.
pub(crate) fn blame(error: &ConnectionError) -> Drop {
    use DisconnectReasonCode as Code;
    let complaint = match error {
        ConnectionError::MqttState(StateError::Deserialization(PacketError::Io(_))) => false,
        ConnectionError::MqttState(
            StateError::Deserialization(_) | StateError::OutgoingPacketTooLarge { .. },
        ) => true,
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => matches!(
            reason_code,
            Code::MalformedPacket
                | Code::ProtocolError
                | Code::ImplementationSpecificError
                | Code::TopicNameInvalid
                | Code::PacketTooLarge
                | Code::PayloadFormatInvalid
        ),
        _ => false,
    };
    if complaint { Drop::Complaint } else { Drop::Cut }
}

fn refused(code: ConnectReturnCode, broker: &str) -> String {
    use ConnectReturnCode as Code;
    match code {
        Code::BadUserNamePassword | Code::NotAuthorized => {
            format!("{broker} refuses user or password; check mqtt.user and its password")
        }
        Code::BadClientId | Code::ClientIdentifierNotValid => {
            format!("{broker} refuses the client id; check device.id, mqtt.root and mqtt.tenant")
        }
        Code::RefusedProtocolVersion | Code::UnsupportedProtocolVersion => {
            format!("{broker} does not speak MQTT 5; use a broker that does, as Mosquitto from 1.6 on")
        }
        Code::Banned => format!("{broker} has banned this box; ask its administrator"),
        Code::ServerUnavailable
        | Code::ServiceUnavailable
        | Code::ServerBusy
        | Code::ConnectionRateExceeded => {
            format!("{broker} is busy ({code:?}); it is tried again")
        }
        Code::UseAnotherServer | Code::ServerMoved => {
            format!("{broker} asks to use another server; set mqtt.host to it")
        }
        other => format!("{broker} refuses the connection: {other:?}"),
    }
}

fn disconnected(code: DisconnectReasonCode, reason: Option<&str>, broker: &str) -> String {
    use DisconnectReasonCode as Code;
    match code {
        Code::SessionTakenOver => {
            format!("another client took over the connection to {broker}; give each box its own device.id")
        }
        Code::NotAuthorized => format!("{broker} no longer lets this box in; check its access lists"),
        Code::ServerShuttingDown => format!("{broker} is shutting down"),
        other => {
            let reason = reason.map_or(String::new(), |r| format!(" ({r})"));
            format!("{broker} ended the connection: {other:?}{reason}")
        }
    }
}

fn tls_text(error: &rustls::Error, broker: &str) -> String {
    let wants_certificate = [
        AlertDescription::CertificateRequired,
        AlertDescription::BadCertificate,
        AlertDescription::UnknownCA,
        AlertDescription::CertificateUnknown,
        AlertDescription::CertificateExpired,
        AlertDescription::CertificateRevoked,
        AlertDescription::UnsupportedCertificate,
        AlertDescription::AccessDenied,
        // What OpenSSL brokers send over TLS 1.2 when the client certificate is missing.
        AlertDescription::HandshakeFailure,
    ];
    match error {
        // BadSignature: another authority of the same name.
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => format!(
            "the certificate of {broker} is not signed by a known authority; set mqtt.tls.ca to the authority's file"
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!("the certificate of {broker} is for another host; use the host name it was made for"),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => format!(
            "the certificate of {broker} is not valid now ({error}); check the box's clock, then renew it"
        ),
        rustls::Error::AlertReceived(alert) if wants_certificate.contains(alert) => format!(
            "{broker} refuses this box's certificate ({alert:?}); check mqtt.tls.client_cert and mqtt.tls.client_key"
        ),
        other => format!("TLS with {broker} failed: {other}; is it a TLS port?"),
    }
}

fn io_text(error: &io::Error, broker: &str) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("nothing listens on {broker}; is the broker running, are mqtt.host and mqtt.port right?")
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            format!("the connection to {broker} was cut ({error})")
        }
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            format!("{broker} cannot be reached ({error}); check the network")
        }
        // A failed name look-up has no kind of its own.
        _ if error.to_string().contains("lookup") => {
            format!("the name of {broker} cannot be resolved ({error}); check mqtt.host and the DNS")
        }
        _ => format!("the connection to {broker} failed: {error}"),
    }
}

/// Where the chain of sources begins: rumqttc breaks it at errors of the packet codec.
fn root(error: &ConnectionError) -> &(dyn Error + 'static) {
    match error {
        ConnectionError::MqttState(StateError::Deserialization(inner)) => inner,
        other => other,
    }
}

/// The first error of type `T` in the chain. An `io::Error` hides the error it wraps from `source`.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tls_error_is_found_inside_io_errors() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let error = ConnectionError::Tls(rumqttc::TlsError::Io(io::Error::other(tls)));
        assert!(explain(&error, "b:1").contains("mqtt.tls.ca"));
        let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        let packet = PacketError::Io(io::Error::new(io::ErrorKind::InvalidData, alert));
        let error = ConnectionError::MqttState(StateError::Deserialization(packet));
        assert!(explain(&error, "b:1").contains("mqtt.tls.client_cert"));
        assert_eq!(blame(&error), Drop::Cut);
    }

    #[test]
    fn every_text_names_the_broker_and_the_broker_is_blamed_only_for_complaints() {
        let io = |kind| ConnectionError::Io(io::Error::from(kind));
        let server = |reason_code| {
            ConnectionError::MqttState(StateError::ServerDisconnect {
                reason_code,
                reason_string: None,
            })
        };
        let packet = |e| ConnectionError::MqttState(StateError::Deserialization(e));
        for (error, part, drop) in [
            (io(io::ErrorKind::ConnectionRefused), "nothing listens", Drop::Cut),
            (io(io::ErrorKind::ConnectionReset), "cut", Drop::Cut),
            (
                ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized),
                "mqtt.user",
                Drop::Cut,
            ),
            (
                server(DisconnectReasonCode::SessionTakenOver),
                "device.id",
                Drop::Cut,
            ),
            (
                server(DisconnectReasonCode::ServerShuttingDown),
                "shutting down",
                Drop::Cut,
            ),
            (
                server(DisconnectReasonCode::PacketTooLarge),
                "PacketTooLarge",
                Drop::Complaint,
            ),
            (
                packet(PacketError::InvalidConnectReturnCode(149)),
                "149",
                Drop::Complaint,
            ),
            (
                ConnectionError::MqttState(StateError::ConnectionAborted),
                "closed",
                Drop::Cut,
            ),
        ] {
            let text = explain(&error, "broker:1883");
            assert!(text.contains("broker:1883") && text.contains(part), "{text}");
            assert_eq!(blame(&error), drop, "{text}");
        }
    }
}
