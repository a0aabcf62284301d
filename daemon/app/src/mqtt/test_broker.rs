//! A real Mosquitto for tests, and the client's side of a test: publisher, outbox in memory, a second client.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use synoptic_media::clocks::SystemClock;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{BoxFuture, CommandLink, Outbox, OutboxRow, Publisher, initial_state, samples};
use crate::config::MqttConfig;
use crate::documents::{DeviceStatus, MqttDoc};
use crate::hub::Hub;

/// Where Debian puts it; not on the PATH of ordinary users.
const MOSQUITTO: [&str; 2] = ["mosquitto", "/usr/sbin/mosquitto"];
/// Longest wait for any condition: a loaded machine, and a backoff that has grown.
const DEADLINE: Duration = Duration::from_secs(90);

/// Waits for a future; panics with `what` when it takes too long.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {DEADLINE:?}"),
    }
}

/// A Mosquitto on a free loopback port with a configuration of its own.
pub(crate) struct Broker {
    dir: TempDir,
    pub(crate) port: u16,
    child: Option<Child>,
}

impl Broker {
    /// A broker that anyone may use, with `extra` lines of configuration; `{dir}` in them is its folder, with
    /// `files` in it. `None`, aloud, where Mosquitto is not installed.
    pub(crate) async fn start(extra: &str, files: &[(&str, &str)]) -> Option<Broker> {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let mut broker = Broker {
            dir,
            port,
            child: None,
        };
        let extra = extra.replace("{dir}", &broker.path("").display().to_string());
        let anonymous = if extra.contains("allow_anonymous") {
            ""
        } else {
            "allow_anonymous true"
        };
        // `user root`: no change of user, so that it may read the folder when the tests run as root.
        let conf = format!("user root\nlistener {port} 127.0.0.1\n{anonymous}\n{extra}\n");
        std::fs::write(broker.path("mosquitto.conf"), conf).unwrap();
        if broker.run().await {
            return Some(broker);
        }
        eprintln!("SKIPPED: mosquitto is not installed (apt install mosquitto)");
        None
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts it (again) and waits until it listens.
    pub(crate) async fn run(&mut self) -> bool {
        let log = std::fs::File::create(self.path("mosquitto.log")).unwrap();
        let child = MOSQUITTO.iter().find_map(|program| {
            Command::new(program)
                .arg("-v")
                .arg("-c")
                .arg(self.path("mosquitto.conf"))
                .stdout(Stdio::null())
                .stderr(log.try_clone().unwrap())
                .spawn()
                .ok()
        });
        let Some(child) = child else { return false };
        self.child = Some(child);
        let listens = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", self.port))
                .await
                .is_err()
            {
                assert!(
                    self.child.as_mut().unwrap().try_wait().unwrap().is_none(),
                    "{}",
                    self.log()
                );
                tokio::task::yield_now().await;
            }
        };
        within("mosquitto listens", listens).await;
        true
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("mosquitto.log")).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().unwrap().id();
        kill(Pid::from_raw(pid as i32), signal).unwrap();
    }

    /// Ends it in good order, so that it saves its state where it is told to.
    pub(crate) fn stop(&mut self) {
        if self.child.is_some() {
            self.signal(Signal::SIGTERM);
            self.child.take().unwrap().wait().unwrap();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("mosquitto.log:\n{}", self.log());
        }
    }
}

/// An outbox in memory.
pub(crate) struct MemoryOutbox {
    state: Mutex<Rows>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Rows {
    waiting: BTreeMap<i64, OutboxRow>,
    done: Vec<i64>,
    parked: Vec<(i64, String)>,
}

impl MemoryOutbox {
    pub(crate) fn new() -> Arc<MemoryOutbox> {
        Arc::new(MemoryOutbox {
            state: Mutex::default(),
            changed: watch::Sender::new(0),
        })
    }
    fn rows_now(&self) -> MutexGuard<'_, Rows> {
        self.state.lock().unwrap()
    }
    fn tell(&self) {
        self.changed.send_replace(self.rows_now().waiting.len() as u64);
    }
    pub(crate) fn add(&self, seq: i64, topic: &str, payload: Vec<u8>) {
        let id = Uuid::from_u128(seq as u128);
        let properties = vec![
            ("specversion".to_owned(), "1.0".to_owned()),
            ("id".to_owned(), id.to_string()),
        ];
        let row = OutboxRow {
            seq,
            id,
            topic: topic.to_owned(),
            payload,
            properties,
        };
        self.rows_now().waiting.insert(seq, row);
        self.tell();
    }
    /// Rows numbered so, with their number as payload.
    pub(crate) fn add_all(&self, seqs: impl IntoIterator<Item = i64>) {
        for seq in seqs {
            self.add(
                seq,
                &samples::topics().event("track"),
                seq.to_string().into_bytes(),
            );
        }
    }
    pub(crate) fn done_so_far(&self) -> Vec<i64> {
        self.rows_now().done.clone()
    }
    pub(crate) fn parked_so_far(&self) -> Vec<(i64, String)> {
        self.rows_now().parked.clone()
    }
    /// Until no more than `rows` wait.
    pub(crate) async fn drained_to(&self, rows: u64) {
        let mut changed = self.changed.subscribe();
        within("the outbox drains", changed.wait_for(|n| *n <= rows))
            .await
            .unwrap();
    }
}

impl Outbox for MemoryOutbox {
    fn rows(&self, after_seq: i64, limit: u32) -> BoxFuture<'_, Result<Vec<OutboxRow>, String>> {
        Box::pin(async move {
            let state = self.rows_now();
            let rows = state.waiting.range(after_seq + 1..).take(limit as usize);
            Ok(rows.map(|(_, row)| row.clone()).collect())
        })
    }
    fn done(&self, seqs: Vec<i64>) {
        for seq in seqs {
            let mut state = self.rows_now();
            assert!(state.waiting.remove(&seq).is_some(), "row {seq} is done twice");
            state.done.push(seq);
        }
        self.tell();
    }
    fn park(&self, seq: i64, why: String) {
        let mut state = self.rows_now();
        state.waiting.remove(&seq);
        state.parked.push((seq, why));
        drop(state);
        self.tell();
    }
    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

/// A running publisher.
pub(crate) struct Device {
    pub(crate) hub: Arc<Hub>,
    state: watch::Receiver<MqttDoc>,
    shutdown: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Device {
    pub(crate) fn start(config: MqttConfig, outbox: &Arc<MemoryOutbox>, cameras: &[&str]) -> Device {
        Device::start_with(config, outbox, cameras, None)
    }

    /// The same with commands.
    pub(crate) fn start_with(
        config: MqttConfig,
        outbox: &Arc<MemoryOutbox>,
        cameras: &[&str],
        commands: Option<Arc<dyn CommandLink>>,
    ) -> Device {
        let (hub, _commands) = Hub::new();
        hub.status.send_replace(Some(Arc::new(samples::status(cameras))));
        let (state_tx, state) = watch::channel(initial_state(Some(&config)));
        let (shutdown, stop) = watch::channel(false);
        let publisher = Publisher {
            config,
            device: synoptic_base::StreamId::new("box-1").unwrap(),
            info: samples::info(cameras),
            hub: hub.clone(),
            outbox: outbox.clone(),
            commands,
            clock: SystemClock::shared(),
            state: state_tx,
            shutdown: stop,
        };
        Device {
            hub,
            state,
            shutdown,
            task: tokio::spawn(publisher.run()),
        }
    }

    /// Until the state of the connection is as wished.
    pub(crate) async fn until(&mut self, what: &str, wish: impl FnMut(&MqttDoc) -> bool) -> MqttDoc {
        let mut state = self.state.clone();
        let found = tokio::time::timeout(DEADLINE, state.wait_for(wish)).await;
        match found {
            Ok(doc) => doc.unwrap().clone(),
            Err(_) => panic!("{what}: not within {DEADLINE:?}, but {:?}", *self.state.borrow()),
        }
    }

    pub(crate) async fn connected(&mut self) {
        self.until("connected", |doc| doc.state == "connected").await;
    }

    /// Until the broker is lost or refuses; gives the reason.
    pub(crate) async fn error(&mut self) -> String {
        self.until("an error", |doc| doc.error.is_some())
            .await
            .error
            .unwrap()
    }

    /// Stops it in good order.
    pub(crate) async fn stop(self) {
        self.shutdown.send_replace(true);
        within("the publisher stops", self.task).await.unwrap();
    }

    /// Ends it as a power cut would: the TCP connection is gone without a DISCONNECT.
    pub(crate) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// A second client that subscribes to everything.
pub(crate) struct Listener {
    messages: mpsc::UnboundedReceiver<Publish>,
    /// All that came, in order.
    pub(crate) seen: Vec<Publish>,
    task: JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    /// Subscribes, and subscribes again whenever the connection was lost.
    pub(crate) async fn start(port: u16) -> Listener {
        Listener::start_as(port, None).await
    }

    /// The same with a user's rights.
    pub(crate) async fn start_as(port: u16, user: Option<&str>) -> Listener {
        let mut options = MqttOptions::new(format!("listener-{}", Uuid::now_v7()), "127.0.0.1", port);
        options.set_max_packet_size(Some(1 << 20));
        if let Some(user) = user {
            options.set_credentials(user, "");
        }
        // The session survives a broker that keeps it.
        options
            .set_clean_start(false)
            .set_session_expiry_interval(Some(3600));
        let (client, mut eventloop) = AsyncClient::new(options, 10);
        let (tx, messages) = mpsc::unbounded_channel();
        let (ready_tx, mut ready) = watch::channel(false);
        let task = tokio::spawn(async move {
            loop {
                match eventloop.poll().await {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        client.try_subscribe("#", QoS::AtLeastOnce).unwrap();
                    }
                    Ok(Event::Incoming(Packet::SubAck(_))) => {
                        ready_tx.send_replace(true);
                    }
                    Ok(Event::Incoming(Packet::Publish(publish))) => {
                        if tx.send(publish).is_err() {
                            return;
                        }
                    }
                    Ok(_) => {}
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        within("the listener subscribes", ready.wait_for(|r| *r))
            .await
            .unwrap();
        Listener {
            messages,
            seen: Vec::new(),
            task,
        }
    }

    /// Until a message is as wished; all before it are kept in `seen`, too.
    pub(crate) async fn until(&mut self, what: &str, mut wish: impl FnMut(&Publish) -> bool) -> Publish {
        let found = async {
            loop {
                let message = self.messages.recv().await.unwrap();
                self.seen.push(message.clone());
                if wish(&message) {
                    return message;
                }
            }
        };
        within(what, found).await
    }

    /// Until the box's status says this.
    pub(crate) async fn until_status(&mut self, state: &str) -> Publish {
        let topic = samples::topics().status();
        self.until(&format!("status {state}"), |m| {
            m.topic == topic.as_bytes()
                && serde_json::from_slice::<DeviceStatus>(&m.payload)
                    .is_ok_and(|d| serde_json::to_value(d.state).unwrap() == state)
        })
        .await
    }

    /// Until these event rows have come; gives the order of first arrivals of all rows so far.
    pub(crate) async fn until_rows(&mut self, last: i64) -> Vec<i64> {
        if !self.first_arrivals().contains(&last) {
            self.until(&format!("row {last}"), |m| number(m) == Some(last))
                .await;
        }
        self.first_arrivals()
    }

    pub(crate) fn first_arrivals(&self) -> Vec<i64> {
        let mut seen = Vec::new();
        for seq in self.seen.iter().filter_map(number) {
            if !seen.contains(&seq) {
                seen.push(seq);
            }
        }
        seen
    }
}

/// The number of an event row.
pub(crate) fn number(message: &Publish) -> Option<i64> {
    let topic = std::str::from_utf8(&message.topic).ok()?;
    topic
        .contains("/event/")
        .then(|| std::str::from_utf8(&message.payload).ok()?.parse().ok())?
}
