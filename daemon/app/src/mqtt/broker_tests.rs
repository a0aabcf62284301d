//! The publisher against a real Mosquitto, over real sockets.

use std::sync::Arc;

use nix::sys::signal::Signal;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use synoptic_media::Secret;

use super::samples;
use super::schema_tests::validate;
use super::test_broker::{Broker, Device, Listener, MemoryOutbox, number, within};
use super::test_proxy::Proxy;
use crate::config::MqttTls;
use crate::documents::DeviceStatus;

macro_rules! broker_or_skip {
    ($extra:expr, $files:expr) => {
        match Broker::start($extra, $files).await {
            Some(broker) => broker,
            None => return,
        }
    };
}

#[tokio::test]
async fn birth_and_status_are_retained_and_offline_is_said_before_leaving() {
    let broker = broker_or_skip!("", &[]);
    let outbox = MemoryOutbox::new();
    let mut device = Device::start(samples::config(broker.port), &outbox, &["front"]);
    device.connected().await;
    outbox.add_all([1]);
    outbox.drained_to(0).await;
    // Telemetry was acknowledged before the row: a client that comes later sees it all, retained.
    let mut late = Listener::start(broker.port).await;
    let wanted = [
        "status",
        "info",
        "cam/front/status",
        "cam/front/time",
        "sync/all/status",
    ];
    for _ in wanted {
        late.until("a retained document", |m| m.retain).await;
    }
    for message in &late.seen {
        validate(std::str::from_utf8(&message.topic).unwrap(), &message.payload);
        let properties = message.properties.as_ref().unwrap();
        assert_eq!(properties.content_type.as_deref(), Some("application/json"));
    }
    let prefix = samples::topics().prefix() + "/";
    let retained = late.seen.iter().filter(|m| m.retain);
    let mut topics: Vec<_> = retained
        .map(|m| std::str::from_utf8(&m.topic).unwrap().replace(&prefix, ""))
        .collect();
    topics.sort();
    topics.dedup();
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    assert_eq!(topics, wanted, "events are not retained");
    device.stop().await;
    let message = late.until_status("offline").await;
    let status: DeviceStatus = serde_json::from_slice(&message.payload).unwrap();
    assert!(
        status.since.is_some(),
        "said by the box itself, not by the last will"
    );
}

#[tokio::test]
async fn the_last_will_speaks_when_the_connection_dies() {
    let broker = broker_or_skip!("", &[]);
    let mut listener = Listener::start(broker.port).await;
    let device = Device::start(samples::config(broker.port), &MemoryOutbox::new(), &["front"]);
    listener.until_status("online").await;
    device.kill().await;
    let message = listener.until_status("offline").await;
    let status: DeviceStatus = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(status.since, None, "the last will");
}

#[tokio::test]
async fn status_goes_on_change_and_is_repeated() {
    let broker = broker_or_skip!("", &[]);
    let mut listener = Listener::start(broker.port).await;
    let device = Device::start(samples::config(broker.port), &MemoryOutbox::new(), &["front"]);
    let topic = samples::topics().camera_status("front");
    let of_camera = |state: &'static str| {
        let topic = topic.clone();
        move |m: &rumqttc::v5::mqttbytes::v5::Publish| {
            m.topic == topic.as_bytes() && String::from_utf8_lossy(&m.payload).contains(state)
        }
    };
    listener.until("online", of_camera("online")).await;
    let mut status = samples::status(&["front"]);
    status.cameras[0].status.state = crate::documents::CameraState::Stalled;
    device.hub.status.send_replace(Some(Arc::new(status)));
    listener.until("stalled", of_camera("stalled")).await;
    listener.until("stalled, repeated", of_camera("stalled")).await;
    device.stop().await;
}

#[tokio::test]
async fn the_outbox_drains_in_order_with_its_properties() {
    let broker = broker_or_skip!("", &[]);
    let mut listener = Listener::start(broker.port).await;
    let outbox = MemoryOutbox::new();
    outbox.add_all(1..=150);
    let mut device = Device::start(samples::config(broker.port), &outbox, &["front"]);
    device.connected().await;
    outbox.add_all(151..=200);
    outbox.drained_to(0).await;
    assert_eq!(listener.until_rows(200).await, (1..=200).collect::<Vec<_>>());
    let rows: Vec<_> = listener.seen.iter().filter(|m| number(m).is_some()).collect();
    assert_eq!(rows.len(), 200, "no repeats on a healthy connection");
    let properties = rows[6].properties.as_ref().unwrap();
    assert!(
        properties
            .user_properties
            .contains(&("specversion".into(), "1.0".into()))
    );
    let id = uuid::Uuid::from_u128(7).to_string();
    assert!(properties.user_properties.contains(&("id".into(), id)));
    device.until("an empty outbox", |doc| doc.outbox == 0).await;
    device.stop().await;
}

#[tokio::test]
async fn a_row_leaves_only_on_its_puback_also_across_a_reconnect() {
    let broker = broker_or_skip!("", &[]);
    let mut proxy = Proxy::start(broker.port).await;
    let mut listener = Listener::start(broker.port).await;
    let outbox = MemoryOutbox::new();
    let mut device = Device::start(samples::config(proxy.port), &outbox, &["front"]);
    device.connected().await;
    outbox.add_all([1]);
    outbox.drained_to(0).await;
    // From here on the broker's answers do not reach the box.
    proxy.hold_answers(true);
    outbox.add_all(2..=6);
    assert_eq!(listener.until_rows(6).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(
        outbox.done_so_far(),
        [1],
        "the broker has them all, but its PUBACKs are not in"
    );
    proxy.cut();
    device.error().await;
    assert_eq!(outbox.done_so_far(), [1]);
    proxy.hold_answers(false);
    outbox.drained_to(0).await;
    assert_eq!(outbox.done_so_far(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(listener.first_arrivals(), [1, 2, 3, 4, 5, 6]);
    device.stop().await;
}

async fn stopped_mid_drain(extra: &str) {
    let mut broker = broker_or_skip!(extra, &[]);
    let mut listener = Listener::start(broker.port).await;
    let outbox = MemoryOutbox::new();
    outbox.add_all(1..=120);
    let mut device = Device::start(samples::config(broker.port), &outbox, &["front"]);
    for (left, more) in [(90, 121..=130), (60, 131..=140)] {
        outbox.drained_to(left).await;
        broker.stop();
        outbox.add_all(more);
        device.error().await;
        assert!(broker.run().await);
        device.connected().await;
    }
    outbox.drained_to(0).await;
    // All arrived at the broker; a listener without its session may have missed some while it was away.
    let mut done = outbox.done_so_far();
    done.sort_unstable();
    assert_eq!(done, (1..=140).collect::<Vec<_>>());
    let arrivals = listener.until_rows(140).await;
    assert!(arrivals.is_sorted(), "{arrivals:?}");
    if extra.contains("persistence true") {
        assert_eq!(arrivals, (1..=140).collect::<Vec<_>>());
    }
    device.stop().await;
}

#[tokio::test]
async fn a_broker_that_forgets_everything_is_stopped_mid_drain() {
    stopped_mid_drain("persistence false").await;
}

#[tokio::test]
async fn a_broker_that_keeps_its_sessions_is_stopped_mid_drain() {
    stopped_mid_drain("persistence true\npersistence_location {dir}\nmax_queued_messages 0").await;
}

#[tokio::test]
async fn a_backlog_does_not_delay_status() {
    let broker = broker_or_skip!("", &[]);
    let mut listener = Listener::start(broker.port).await;
    let outbox = MemoryOutbox::new();
    outbox.add_all(1..=2000);
    let device = Device::start(samples::config(broker.port), &outbox, &["front"]);
    listener.until_rows(50).await;
    let mut status = samples::status(&["front"]);
    status.cameras[0].status.reason = Some("changed now".into());
    let before = listener.first_arrivals().len();
    device.hub.status.send_replace(Some(Arc::new(status)));
    let changed =
        |m: &rumqttc::v5::mqttbytes::v5::Publish| String::from_utf8_lossy(&m.payload).contains("changed now");
    listener.until("the change", changed).await;
    let between = listener.first_arrivals().len() - before;
    // Rows, not seconds: a second's worth and what was on its way to the listener.
    assert!(between <= 300, "{between} rows went before the status");
    device.stop().await;
}

#[tokio::test]
async fn a_refused_topic_is_kept_and_delivered_once_it_is_allowed() {
    let prefix = samples::topics().prefix();
    let allow = |topics: &[&str]| {
        let lines = topics.iter().map(|t| format!("topic readwrite {t}\n"));
        lines.collect::<String>()
    };
    let some = [&format!("{prefix}/status"), &format!("{prefix}/event/track")[..]];
    let acl = allow(&some);
    let broker = broker_or_skip!("acl_file {dir}/acl", &[("acl", &acl)]);
    let outbox = MemoryOutbox::new();
    let secret = samples::topics().event("secret");
    outbox.add(1, &secret, b"1".to_vec());
    outbox.add_all([2]);
    outbox.add(3, &secret, b"3".to_vec());
    outbox.add_all([4]);
    let device = Device::start(samples::config(broker.port), &outbox, &["front"]);
    outbox.drained_to(2).await;
    assert_eq!(outbox.done_so_far(), [2, 4], "refused ones stay, others go on");
    std::fs::write(broker.path("acl"), allow(&["#"])).unwrap();
    broker.signal(Signal::SIGHUP);
    outbox.drained_to(0).await;
    assert_eq!(outbox.done_so_far(), [2, 4, 1, 3]);
    assert_eq!(outbox.parked_so_far(), []);
    device.stop().await;
}

#[tokio::test]
async fn rows_that_can_never_be_sent_are_parked_with_the_reason() {
    let broker = broker_or_skip!("max_packet_size 2000", &[]);
    let outbox = MemoryOutbox::new();
    outbox.add_all([1]);
    outbox.add(2, "a/+/b", b"2".to_vec());
    outbox.add(3, &samples::topics().event("track"), vec![b' '; 3000]);
    outbox.add_all([4]);
    let device = Device::start(samples::config(broker.port), &outbox, &["front"]);
    outbox.drained_to(0).await;
    assert_eq!(outbox.done_so_far(), [1, 4]);
    let parked = outbox.parked_so_far();
    assert_eq!(parked.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [2, 3]);
    assert!(
        parked[0].1.contains("a/+/b") && parked[1].1.contains("2000"),
        "{parked:?}"
    );
    device.stop().await;
}

#[tokio::test]
async fn a_row_that_makes_the_broker_hang_up_is_found_and_parked() {
    // Mosquitto answers such a row with a reason that rumqttc cannot read: the connection ends each time.
    let broker = broker_or_skip!("message_size_limit 2000", &[]);
    let outbox = MemoryOutbox::new();
    outbox.add_all([1]);
    outbox.add(2, &samples::topics().event("track"), vec![b' '; 3000]);
    outbox.add_all([3]);
    let device = Device::start(samples::config(broker.port), &outbox, &["front"]);
    outbox.drained_to(0).await;
    assert_eq!(outbox.done_so_far(), [1, 3]);
    assert_eq!(outbox.parked_so_far()[0].0, 2);
    device.stop().await;
}

#[tokio::test]
async fn a_wrong_password_is_said_and_a_right_one_is_taken() {
    // mosquitto_passwd's format 7: PBKDF2-SHA512 of "right", made with `mosquitto_passwd -b FILE box right`.
    let hash = include_str!("test_password.txt");
    let broker = broker_or_skip!(
        "allow_anonymous false\npassword_file {dir}/passwords",
        &[("passwords", hash)]
    );
    let mut config = samples::config(broker.port);
    config.user = Some("box".into());
    config.password = Some(Secret::new("wrong".into()));
    let mut device = Device::start(config.clone(), &MemoryOutbox::new(), &["front"]);
    let error = device.error().await;
    assert!(
        error.contains("refuses user or password") && error.contains("mqtt.user"),
        "{error}"
    );
    device.stop().await;
    config.password = Some(Secret::new("right".into()));
    let mut device = Device::start(config, &MemoryOutbox::new(), &["front"]);
    device.connected().await;
    device.stop().await;
}

#[tokio::test]
async fn nobody_listening_and_an_unknown_host_are_said() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut device = Device::start(samples::config(free), &MemoryOutbox::new(), &["front"]);
    let error = device.error().await;
    assert!(error.contains("nothing listens"), "{error}");
    device.stop().await;
    let mut config = samples::config(1883);
    config.host = "no-such-host.invalid".into(); // RFC 2606
    let mut device = Device::start(config, &MemoryOutbox::new(), &["front"]);
    let error = device.error().await;
    assert!(error.contains("cannot be resolved"), "{error}");
    device.stop().await;
}

#[tokio::test]
async fn a_removed_camera_is_cleared_at_once_and_after_a_restart() {
    let broker = broker_or_skip!("", &[]);
    let mut listener = Listener::start(broker.port).await;
    let device = Device::start(
        samples::config(broker.port),
        &MemoryOutbox::new(),
        &["front", "yard", "roof"],
    );
    let topics = samples::topics();
    let cleared = |topic: String| {
        move |m: &rumqttc::v5::mqttbytes::v5::Publish| m.topic == topic.as_bytes() && m.payload.is_empty()
    };
    listener
        .until("sync", |m| m.topic == topics.sync_status("all").as_bytes())
        .await;
    device
        .hub
        .status
        .send_replace(Some(Arc::new(samples::status(&["front", "yard"]))));
    listener
        .until("roof's time is cleared", cleared(topics.camera_time("roof")))
        .await;
    device.stop().await;
    // A daemon that never knew the camera.
    let device = Device::start(samples::config(broker.port), &MemoryOutbox::new(), &["front"]);
    listener
        .until("yard's time is cleared", cleared(topics.camera_time("yard")))
        .await;
    device.stop().await;
    let mut late = Listener::start(broker.port).await;
    late.until_status("offline").await;
    let yard = late
        .seen
        .iter()
        .filter(|m| String::from_utf8_lossy(&m.topic).contains("/yard/"))
        .count();
    assert_eq!(yard, 0);
}

#[tokio::test]
async fn home_assistant_discovery_comes_and_goes_with_the_option() {
    let broker = broker_or_skip!("", &[]);
    let mut listener = Listener::start(broker.port).await;
    let mut config = samples::config(broker.port);
    config.home_assistant = Some("homeassistant".into());
    let topic = "homeassistant/device/synoptic_default_box-1/config";
    let device = Device::start(config.clone(), &MemoryOutbox::new(), &["front", "yard"]);
    let found = listener.until("discovery", |m| m.topic == topic.as_bytes()).await;
    assert!(String::from_utf8_lossy(&found.payload).contains("cam_front_connectivity"));
    device.stop().await;
    // Another prefix, a camera less: the old document goes, the new one comes.
    config.home_assistant = Some("ha".into());
    let device = Device::start(config.clone(), &MemoryOutbox::new(), &["front"]);
    listener
        .until("old prefix cleared", |m| {
            m.topic == topic.as_bytes() && m.payload.is_empty()
        })
        .await;
    device.stop().await;
    config.home_assistant = None;
    let device = Device::start(config, &MemoryOutbox::new(), &["front"]);
    let new_topic = topic.replace("homeassistant", "ha");
    listener
        .until("switched off", |m| {
            m.topic == new_topic.as_bytes() && m.payload.is_empty()
        })
        .await;
    device.stop().await;
}

/// PEM files: authority, server, client with its key.
struct Pki {
    ca: String,
    server: (String, String),
    client: (String, String),
}

fn pki() -> Pki {
    let mut params = CertificateParams::default();
    // Names must differ: a certificate whose issuer is its own subject counts as self-signed.
    params
        .distinguished_name
        .push(DnType::CommonName, "test authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let issue = |name: &str, purpose| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        (params.signed_by(&key, &ca).unwrap().pem(), key.serialize_pem())
    };
    Pki {
        ca: ca.pem(),
        server: issue("127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth),
        client: issue("box-1", ExtendedKeyUsagePurpose::ClientAuth),
    }
}

#[tokio::test]
async fn tls_with_client_certificates() {
    let (pki, other) = (pki(), pki().ca);
    let files = [
        ("ca.pem", pki.ca.as_str()),
        ("server.pem", &pki.server.0),
        ("server.key", &pki.server.1),
        ("client.pem", &pki.client.0),
        ("client.key", &pki.client.1),
        ("other.pem", other.as_str()),
    ];
    let extra =
        "cafile {dir}/ca.pem\ncertfile {dir}/server.pem\nkeyfile {dir}/server.key\nrequire_certificate true";
    let broker = broker_or_skip!(extra, &files);
    let tls = |ca: &str, client: bool| MqttTls {
        ca: Some(broker.path(ca)),
        client: client.then(|| (broker.path("client.pem"), broker.path("client.key"))),
    };
    let mut config = samples::config(broker.port);
    config.tls = Some(tls("ca.pem", true));
    let outbox = MemoryOutbox::new();
    outbox.add_all(1..=3);
    let mut device = Device::start(config.clone(), &outbox, &["front"]);
    device.connected().await;
    outbox.drained_to(0).await;
    device.stop().await;
    for (tls, host, part) in [
        (
            Some(tls("ca.pem", false)),
            "127.0.0.1",
            "refuses this box's certificate",
        ),
        (
            Some(tls("other.pem", true)),
            "127.0.0.1",
            "not signed by a known authority",
        ),
        (Some(tls("ca.pem", true)), "localhost", "is for another host"),
        (None, "127.0.0.1", "127.0.0.1"),
    ] {
        let mut config = config.clone();
        (config.tls, config.host) = (tls, host.to_owned());
        let mut device = Device::start(config, &outbox, &["front"]);
        let error = within("an error", device.error()).await;
        assert!(error.contains(part), "{error}");
        device.stop().await;
    }
}
