//! How to reach the broker, from the configuration: session, last will, TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rumqttc::v5::MqttOptions;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{LastWill, LastWillProperties};
use rumqttc::{TlsConfiguration, Transport};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::messages;
use super::topics::Topics;
use crate::config::{MqttConfig, MqttTls};
use crate::documents::{DeviceState, DeviceStatus};

/// The broker misses the box after 1.5 times this ([MQTT 5, 3.1.2.10]).
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Limit for TCP, TLS and CONNACK together.
const CONNECT_TIMEOUT_S: u64 = 10;
/// Unacknowledged messages at most; the publisher stays far below, so that packet ids never collide.
const MAX_INFLIGHT: u16 = 1024;
/// Largest message taken from the broker, in bytes: retained documents of our own, of an earlier run.
const MAX_INCOMING: u32 = 1 << 20;
/// Media type of all payloads.
pub(crate) const JSON: &str = "application/json";

/// Why the options cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OptionsError {
    /// A PEM file is of no use.
    #[error("{what} {path}: {why}; check mqtt.tls in the configuration")]
    Pem {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: String,
        /// What failed.
        why: String,
    },
    /// No authorities in the system.
    #[error("this system has no certificate authorities ({0}); install ca-certificates or set mqtt.tls.ca")]
    NoRoots(String),
    /// rustls refuses the combination.
    #[error("TLS towards the broker cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Options of one connection. Reads the PEM files, so that renewed certificates are taken at the next connection.
/// Blocks shortly.
pub(crate) fn options(config: &MqttConfig, topics: &Topics) -> Result<MqttOptions, OptionsError> {
    // rumqttc joins host and port itself and hands the host to TLS as it is: an IPv6 address without brackets.
    let host = config.host.trim_start_matches('[').trim_end_matches(']');
    let mut options = MqttOptions::new(topics.unique_name(), host, config.port);
    options
        .set_keep_alive(KEEP_ALIVE)
        .set_connection_timeout(CONNECT_TIMEOUT_S)
        .set_clean_start(true)
        .set_max_packet_size(Some(MAX_INCOMING))
        .set_outgoing_inflight_upper_limit(MAX_INFLIGHT)
        .set_last_will(last_will(topics));
    if config.user.is_some() || config.password.is_some() {
        let password = config.password.as_ref().map_or("", |p| p.expose());
        options.set_credentials(config.user.as_deref().unwrap_or_default(), password);
    }
    if let Some(tls) = &config.tls {
        let tls = Arc::new(tls_config(tls)?);
        options.set_transport(Transport::Tls(TlsConfiguration::Rustls(tls)));
    }
    Ok(options)
}

fn last_will(topics: &Topics) -> LastWill {
    let offline = DeviceStatus {
        state: DeviceState::Offline,
        since: None,
    };
    let properties = LastWillProperties {
        delay_interval: None,
        payload_format_indicator: Some(1),
        message_expiry_interval: None,
        content_type: Some(JSON.to_owned()),
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    };
    LastWill::new(
        topics.status(),
        messages::json(&offline),
        QoS::AtLeastOnce,
        true,
        Some(properties),
    )
}

fn tls_config(tls: &MqttTls) -> Result<ClientConfig, OptionsError> {
    let mut roots = RootCertStore::empty();
    match &tls.ca {
        Some(path) => {
            for certificate in certificates("authority", path)? {
                roots
                    .add(certificate)
                    .map_err(|e| pem_error("authority", path, &e))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let why: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
                return Err(OptionsError::NoRoots(why.join(", ")));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(match &tls.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates("client certificate", certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|e| pem_error("client key", key, &e))?;
            builder.with_client_auth_cert(chain, key)?
        }
    })
}

fn certificates(what: &'static str, path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, OptionsError> {
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found = found.map_err(|e| pem_error(what, path, &e))?;
    if found.is_empty() {
        return Err(pem_error(what, path, &"no CERTIFICATE in this file"));
    }
    Ok(found)
}

fn pem_error(what: &'static str, path: &Path, why: &dyn std::fmt::Display) -> OptionsError {
    OptionsError::Pem {
        what,
        path: path.display().to_string(),
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::samples;

    #[test]
    fn the_last_will_says_offline_on_the_status_topic() {
        let options = options(&samples::config(1883), &samples::topics()).unwrap();
        let will = options.last_will().unwrap();
        assert_eq!(&will.topic[..], b"synoptic/v1/default/box-1/status");
        assert_eq!(&will.message[..], br#"{"state":"offline","since":null}"#);
        assert!(will.retain && options.clean_start());
        assert_eq!(options.client_id(), "synoptic_default_box-1");
    }

    #[test]
    fn an_ipv6_host_loses_its_brackets() {
        let mut config = samples::config(1883);
        config.host = "[::1]".into();
        let options = options(&config, &samples::topics()).unwrap();
        assert_eq!(options.broker_address(), ("::1".to_owned(), 1883));
    }

    #[test]
    fn a_bad_pem_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "").unwrap();
        for (path, why) in [
            (empty, "no CERTIFICATE"),
            (dir.path().join("absent.pem"), "absent.pem"),
        ] {
            let mut config = samples::config(8883);
            config.tls = Some(MqttTls {
                ca: Some(path.clone()),
                client: None,
            });
            let error = options(&config, &samples::topics()).unwrap_err().to_string();
            assert!(
                error.contains(why) && error.contains(&path.display().to_string()),
                "{error}"
            );
        }
    }
}
