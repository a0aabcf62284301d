//! The desk behind the publisher, against a real Mosquitto.

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason, Publish};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use synoptic_base::Span;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::config::MqttConfig;
use crate::mqtt::samples;
use crate::mqtt::schema_tests::validate;
use crate::mqtt::test_broker::{Broker, Device, Listener, MemoryOutbox};

macro_rules! broker_or_skip {
    ($extra:expr, $files:expr) => {
        match Broker::start($extra, $files).await {
            Some(broker) => broker,
            None => return,
        }
    };
}

/// Who gives commands.
struct Requester {
    client: AsyncClient,
    acks: mpsc::UnboundedReceiver<PubAckReason>,
    task: JoinHandle<()>,
}

impl Drop for Requester {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Requester {
    async fn start(port: u16, user: Option<&str>) -> Requester {
        let mut options = MqttOptions::new(format!("requester-{}", Uuid::now_v7()), "127.0.0.1", port);
        if let Some(user) = user {
            options.set_credentials(user, "");
        }
        let (client, mut eventloop) = AsyncClient::new(options, 10);
        let (tx, acks) = mpsc::unbounded_channel();
        let (ready_tx, mut ready) = watch::channel(false);
        let task = tokio::spawn(async move {
            loop {
                match eventloop.poll().await {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        ready_tx.send_replace(true);
                    }
                    Ok(Event::Incoming(Packet::PubAck(ack))) => {
                        if tx.send(ack.reason).is_err() {
                            return;
                        }
                    }
                    Ok(_) => {}
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        within("the requester connects", ready.wait_for(|r| *r))
            .await
            .unwrap();
        Requester { client, acks, task }
    }

    /// Publishes, retained, and gives the broker's answer.
    async fn publish(&mut self, name: &str, number: &str, payload: &str) -> PubAckReason {
        let topic = samples::topics().command(name, number);
        self.client
            .publish(topic, QoS::AtLeastOnce, true, payload.to_owned())
            .await
            .unwrap();
        within("the broker's answer", self.acks.recv()).await.unwrap()
    }

    /// A request issued `age` ago.
    async fn ask(&mut self, name: &str, number: &str, age: Span) -> PubAckReason {
        let issued = SystemClock.sample().realtime - age;
        let payload = json!({"issued_at": issued.to_rfc3339(), "ttl_s": 600, "args": {"n": 1}});
        self.publish(name, number, &payload.to_string()).await
    }
}

/// Until the state of a command is so; checks every state on the way against its schema.
async fn told(listener: &mut Listener, name: &str, number: &str, phase: CommandPhase) -> CommandDoc {
    let topic = samples::topics().command_state(name, number);
    let read = |m: &Publish| serde_json::from_slice::<CommandDoc>(&m.payload).ok();
    let found = listener
        .until(&format!("{name} {number} {phase:?}"), |m| {
            m.topic == topic.as_bytes() && read(m).is_some_and(|doc| doc.state == phase)
        })
        .await;
    validate(&topic, &found.payload);
    read(&found).unwrap()
}

/// Until the request is taken away.
async fn cleared(listener: &mut Listener, name: &str, number: &str) {
    let topic = samples::topics().command(name, number);
    listener
        .until("the request is cleared", |m| {
            m.topic == topic.as_bytes() && m.payload.is_empty()
        })
        .await;
}

fn allowing(port: u16, names: &[&str]) -> MqttConfig {
    let mut config = samples::config(port);
    config.commands = Some(names.iter().map(|n| (*n).to_owned()).collect());
    config
}

/// A box that takes these commands.
fn device(config: MqttConfig, desk: &Arc<Desk>) -> Device {
    desk.allow(config.commands.clone().unwrap_or_default());
    Device::start_with(config, &MemoryOutbox::new(), &["front"], Some(desk.clone()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_id_twice_runs_once_also_across_a_restart_and_leaves_no_request() {
    let broker = broker_or_skip!("", &[]);
    let dir = tempfile::tempdir().unwrap();
    let counting = Counting::new("count");
    let desk = Arc::new(Box1::new().desk(dir.path(), BOOT, vec![counting.clone()]));
    let mut listener = Listener::start(broker.port).await;
    let mut fleet = Requester::start(broker.port, None).await;
    // Given while the box is away.
    fleet.ask("count", "1", Span::ZERO).await;
    let mut box1 = device(allowing(broker.port, &["count"]), &desk);
    let running = told(&mut listener, "count", "1", CommandPhase::Executing).await;
    assert_eq!(running.reason, None);
    let done = told(&mut listener, "count", "1", CommandPhase::Successful).await;
    assert_eq!(done.result, Some(json!({"n": 1})));
    cleared(&mut listener, "count", "1").await;
    fleet.ask("count", "1", Span::ZERO).await;
    cleared(&mut listener, "count", "1").await;
    box1.connected().await;
    box1.kill().await;
    drop(desk);
    // Once more while the box is away; and something that an earlier life left behind.
    fleet.ask("count", "1", Span::ZERO).await;
    let stray = samples::topics().command_state("count", "stray");
    fleet
        .client
        .publish(stray.clone(), QoS::AtLeastOnce, true, "{}")
        .await
        .unwrap();
    let desk = Arc::new(Box1::new().desk(dir.path(), BOOT, vec![counting.clone()]));
    let box1 = device(allowing(broker.port, &["count"]), &desk);
    told(&mut listener, "count", "1", CommandPhase::Successful).await;
    cleared(&mut listener, "count", "1").await;
    assert_eq!(counting.begun(), 1);
    // A state that nobody remembers is cleared with the first connection, before anything that is asked then.
    fleet.ask("count", "2", Span::ZERO).await;
    cleared(&mut listener, "count", "2").await;
    box1.stop().await;
    let mut late = Listener::start(broker.port).await;
    // What is retained comes before what is published now.
    fleet.ask("count", "mark", Span::ZERO).await;
    let mark = samples::topics().command("count", "mark");
    late.until("the mark", |m| m.topic == mark.as_bytes()).await;
    let retained: Vec<_> = late
        .seen
        .iter()
        .filter(|m| m.retain)
        .map(|m| String::from_utf8_lossy(&m.topic).into_owned())
        .collect();
    assert!(!retained.contains(&stray), "{retained:?}");
    for number in ["1", "2"] {
        assert!(
            !retained.contains(&samples::topics().command("count", number)),
            "{retained:?}"
        );
        assert!(
            retained.contains(&samples::topics().command_state("count", number)),
            "{retained:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_good_command_is_failed_with_the_reason_and_taken_away() {
    let broker = broker_or_skip!("", &[]);
    let dir = tempfile::tempdir().unwrap();
    let (counting, other) = (Counting::new("count"), Counting::new("restart"));
    let commands: Vec<Arc<dyn Command>> = vec![counting.clone(), other.clone()];
    let desk = Arc::new(Box1::new().desk(dir.path(), BOOT, commands));
    let mut listener = Listener::start(broker.port).await;
    let mut fleet = Requester::start(broker.port, None).await;
    fleet.ask("count", "old", Span::from_secs(601)).await;
    let box1 = device(allowing(broker.port, &["count"]), &desk);
    let mut failed = async |name: &str, number: &str, part: &str| {
        let doc = told(&mut listener, name, number, CommandPhase::Failed).await;
        let reason = doc.reason.unwrap();
        assert!(reason.contains(part), "{reason}");
        cleared(&mut listener, name, number).await;
    };
    failed("count", "old", "its time to live is 600.0 s").await;
    fleet.publish("count", "garbage", "reboot now!").await;
    failed("count", "garbage", "no command").await;
    fleet
        .publish("count", "bytes", "{\"issued_at\": \"\u{1F980}\"}")
        .await;
    failed("count", "bytes", "no RFC 3339 time").await;
    fleet.ask("count", "no id", Span::ZERO).await;
    failed("count", "no id", "no id of a command").await;
    fleet.ask("dance", "1", Span::ZERO).await;
    failed("dance", "1", "there is no command `dance`").await;
    fleet.ask("restart", "1", Span::ZERO).await;
    failed("restart", "1", "mqtt.commands.allow").await;
    assert_eq!((counting.begun(), other.begun()), (0, 0));
    box1.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_goes_away_in_the_middle_hears_the_end() {
    let mut broker = broker_or_skip!("persistence false", &[]);
    let dir = tempfile::tempdir().unwrap();
    let counting = Counting::new("count");
    counting.may_end.send_replace(false);
    let desk = Arc::new(Box1::new().desk(dir.path(), BOOT, vec![counting.clone()]));
    let mut listener = Listener::start(broker.port).await;
    let mut fleet = Requester::start(broker.port, None).await;
    let mut box1 = device(allowing(broker.port, &["count"]), &desk);
    fleet.ask("count", "1", Span::ZERO).await;
    told(&mut listener, "count", "1", CommandPhase::Executing).await;
    drop(fleet);
    broker.stop();
    box1.error().await;
    counting.may_end.send_replace(true);
    ended(&desk, "1").await;
    assert!(broker.run().await);
    let mut late = Listener::start(broker.port).await;
    told(&mut late, "count", "1", CommandPhase::Successful).await;
    assert_eq!(counting.begun(), 1);
    box1.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_that_does_not_know_the_time_holds_what_was_kept() {
    let broker = broker_or_skip!("", &[]);
    let dir = tempfile::tempdir().unwrap();
    let counting = Counting::new("count");
    let clockless = Box1::new();
    clockless.synchronised.store(false, Ordering::SeqCst);
    let desk = Arc::new(clockless.desk(dir.path(), BOOT, vec![counting.clone()]));
    let mut listener = Listener::start(broker.port).await;
    let mut fleet = Requester::start(broker.port, None).await;
    fleet.ask("count", "kept", Span::ZERO).await;
    fleet.ask("count", "old", Span::from_secs(3_600)).await;
    let mut box1 = device(allowing(broker.port, &["count"]), &desk);
    for number in ["kept", "old"] {
        let doc = until(&desk, number, |doc| doc.state == CommandPhase::Init).await;
        assert!(doc.reason.unwrap().contains("does not know the time"));
    }
    box1.connected().await;
    fleet.ask("count", "live", Span::ZERO).await;
    told(&mut listener, "count", "live", CommandPhase::Successful).await;
    assert_eq!(counting.begun(), 1);
    clockless.synchronised.store(true, Ordering::SeqCst);
    // The order in which the two end is not told.
    ended(&desk, "kept").await;
    assert_eq!(ended(&desk, "old").await.state, CommandPhase::Failed);
    assert_eq!(counting.begun(), 2);
    box1.stop().await;
}

/// The shipped access list, by user names: with certificates Mosquitto takes them from their common names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_the_shipped_access_list_only_the_fleet_commands() {
    let acl = include_str!("../../../../../configs/mosquitto-acl");
    let broker = broker_or_skip!("acl_file {dir}/acl", &[("acl", acl)]);
    let dir = tempfile::tempdir().unwrap();
    let counting = Counting::new("count");
    let desk = Arc::new(Box1::new().desk(dir.path(), BOOT, vec![counting.clone()]));
    let mut config = allowing(broker.port, &["count"]);
    config.user = Some("box-1".into());
    let mut box1 = device(config, &desk);
    box1.connected().await;
    let mut seen_by_fleet = Listener::start_as(broker.port, Some("fleet")).await;
    let mut seen_by_dashboard = Listener::start_as(broker.port, Some("dashboard")).await;
    for user in ["dashboard", "box-2", "nobody"] {
        let mut intruder = Requester::start(broker.port, Some(user)).await;
        assert_eq!(
            intruder.ask("count", &format!("by-{user}"), Span::ZERO).await,
            PubAckReason::NotAuthorized
        );
    }
    let mut fleet = Requester::start(broker.port, Some("fleet")).await;
    let answer = fleet.ask("count", "by-fleet", Span::ZERO).await;
    assert!(matches!(
        answer,
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers
    ));
    told(&mut seen_by_fleet, "count", "by-fleet", CommandPhase::Successful).await;
    cleared(&mut seen_by_fleet, "count", "by-fleet").await;
    assert_eq!(counting.begun(), 1, "those without rights began nothing");
    assert!(desk.get("by-dashboard").is_none());
    box1.stop().await;
    seen_by_dashboard.until_status("offline").await;
    let commands = seen_by_dashboard
        .seen
        .iter()
        .filter(|m| String::from_utf8_lossy(&m.topic).contains("/cmd/"))
        .count();
    assert_eq!(commands, 0, "a dashboard sees no results of commands");
}
