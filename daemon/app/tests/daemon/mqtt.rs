//! A real Mosquitto, and a client that hears everything.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{Client, Event, MqttOptions};
use serde::de::DeserializeOwned;
use synoptic_app::documents::{DeviceStatus, EventMessage};
use tempfile::TempDir;

use crate::harness::{Patience, free_port, until};

/// Where Debian puts it; not on the PATH of ordinary users.
const MOSQUITTO: [&str; 2] = ["mosquitto", "/usr/sbin/mosquitto"];
/// What all topics of the box begin with.
pub(crate) const PREFIX: &str = "synoptic/v1/default/box/";

/// A Mosquitto on a free loopback port. It keeps sessions and retained messages across a stop.
pub(crate) struct Broker {
    dir: TempDir,
    pub port: u16,
    child: Option<Child>,
}

impl Broker {
    /// `None`, aloud, where Mosquitto is not installed.
    pub(crate) fn start() -> Option<Broker> {
        let mut broker = Broker {
            dir: tempfile::tempdir().unwrap(),
            port: free_port(),
            child: None,
        };
        let dir = broker.dir.path().display();
        // `user root`: no change of user, so that it may write its folder when the tests run as root.
        let conf = format!(
            "user root\nlistener {} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {dir}/\n\
             max_queued_messages 10000\n",
            broker.port
        );
        std::fs::write(broker.dir.path().join("mosquitto.conf"), conf).unwrap();
        if broker.run() {
            return Some(broker);
        }
        eprintln!("SKIPPED: mosquitto is not installed (apt install mosquitto)");
        None
    }

    /// Starts it (again) and waits until it listens.
    pub(crate) fn run(&mut self) -> bool {
        let log = std::fs::File::create(self.dir.path().join("mosquitto.log")).unwrap();
        let child = MOSQUITTO.iter().find_map(|program| {
            Command::new(program)
                .arg("-c")
                .arg(self.dir.path().join("mosquitto.conf"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log.try_clone().unwrap())
                .spawn()
                .ok()
        });
        let Some(child) = child else { return false };
        self.child = Some(child);
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        until("mosquitto listens", || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "mosquitto ended: {}", self.log());
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()
        });
        true
    }

    /// What it says of its clients.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("mosquitto.log")).unwrap_or_default()
    }

    /// Ends it in good order, so that it saves its state.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only where it has ended already.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// A message as it came.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Without the box's prefix.
    pub topic: String,
    pub payload: Vec<u8>,
    pub retained: bool,
    pub properties: BTreeMap<String, String>,
}

impl Message {
    pub(crate) fn read<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.payload)
            .unwrap_or_else(|e| panic!("{}: {e}: {}", self.topic, String::from_utf8_lossy(&self.payload)))
    }
}

#[derive(Default)]
struct Heard {
    messages: Mutex<Vec<Message>>,
    more: Condvar,
    subscribed: AtomicBool,
    end: AtomicBool,
}

impl Heard {
    /// A test that failed while it looked still ends its listener in good order.
    fn messages(&self) -> MutexGuard<'_, Vec<Message>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears everything the box publishes, whatever becomes of the broker.
pub(crate) struct Listener {
    heard: Arc<Heard>,
    client: Client,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Subscribes, and waits until the broker has agreed.
    pub(crate) fn start(port: u16, name: &str) -> Listener {
        let mut options = MqttOptions::new(name, "127.0.0.1", port);
        options.set_max_packet_size(Some(1 << 20));
        options.set_clean_start(false);
        options.set_session_expiry_interval(Some(3_600));
        let (client, mut connection) = Client::new(options, 10);
        let heard = Arc::new(Heard::default());
        let (asking, kept) = (client.clone(), heard.clone());
        let thread = std::thread::spawn(move || {
            for event in connection.iter() {
                if kept.end.load(Ordering::Relaxed) {
                    return;
                }
                match event {
                    Ok(Event::Incoming(Packet::ConnAck(ack))) => {
                        // A broker that remembers the session does not need to be told again.
                        if !ack.session_present {
                            asking
                                .try_subscribe(format!("{PREFIX}#"), QoS::AtLeastOnce)
                                .unwrap();
                        }
                    }
                    Ok(Event::Incoming(Packet::SubAck(_))) => kept.subscribed.store(true, Ordering::Relaxed),
                    Ok(Event::Incoming(Packet::Publish(publish))) => {
                        let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
                        let properties = publish.properties.map(|p| p.user_properties).unwrap_or_default();
                        kept.messages().push(Message {
                            topic: topic.trim_start_matches(PREFIX).to_owned(),
                            payload: publish.payload.to_vec(),
                            retained: publish.retain,
                            properties: properties.into_iter().collect(),
                        });
                        kept.more.notify_all();
                    }
                    Ok(_) => {}
                    // The broker is down: try again, not at once.
                    Err(_) => Patience::new().look("the next try"),
                }
            }
        });
        until("the listener's subscription", || {
            heard.subscribed.load(Ordering::Relaxed).then_some(())
        });
        Listener {
            heard,
            client,
            thread: Some(thread),
        }
    }

    /// Publishes below the box's prefix, retained.
    pub(crate) fn publish(&self, topic: &str, payload: &str) {
        let topic = format!("{PREFIX}{topic}");
        self.client
            .try_publish(topic, QoS::AtLeastOnce, true, payload.to_owned())
            .unwrap();
    }

    /// Everything so far.
    pub(crate) fn messages(&self) -> Vec<Message> {
        self.heard.messages().clone()
    }

    /// The event messages so far.
    pub(crate) fn events(&self) -> Vec<EventMessage> {
        let messages = self.messages();
        let events = messages.iter().filter(|m| m.topic == "event/track");
        events.map(Message::read).collect()
    }

    /// Until a message is as wished; gives the first. All since the start count.
    pub(crate) fn until(&self, what: &str, mut wish: impl FnMut(&Message) -> bool) -> Message {
        let patience = Patience::new();
        let mut seen = 0;
        let mut messages = self.heard.messages();
        loop {
            if let Some(found) = messages[seen..].iter().find(|m| wish(m)) {
                return found.clone();
            }
            seen = messages.len();
            let left = patience.left(what);
            messages = self.heard.more.wait_timeout(messages, left).unwrap().0;
        }
    }

    /// Until an event message is as wished.
    pub(crate) fn until_event(
        &self,
        what: &str,
        mut wish: impl FnMut(&EventMessage) -> bool,
    ) -> EventMessage {
        self.until(what, |m| m.topic == "event/track" && wish(&m.read()))
            .read()
    }

    /// The newest state of the box.
    pub(crate) fn device(&self) -> Option<DeviceStatus> {
        let messages = self.messages();
        let status = messages.iter().rev().find(|m| m.topic == "status");
        status.map(Message::read)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.heard.end.store(true, Ordering::Relaxed);
        // Wakes the thread where the broker is there; where it is not, the next failed try does.
        self.client.try_disconnect().ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
