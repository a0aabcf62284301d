//! The shell: one task that keeps the connection and does what telemetry and drain decide.
//!
//! [`pump`] polls rumqttc beside [`Connection::drive`], which does everything else and never waits for the pump: it
//! publishes with `try_publish` only, into a channel that it keeps far from full.

use std::sync::Arc;

use log::{info, warn};
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, PubAckReason, Publish, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, ConnectionError, Event};
use synoptic_base::{Clock, Mono, Span, StreamId};
use tokio::sync::{mpsc, watch};

use super::commands::{CommandLink, CommandPost};
use super::home_assistant;
use super::ledger::{Ledger, Published};
use super::options::{self, OptionsError};
use super::outbox::{BoxFuture, Drain, Outbox, OutboxRow};
use super::pump::{Input, pump};
use super::telemetry::Telemetry;
use super::topics::Topics;
use super::wire::{Limits, fits, message, properties};
use super::{backoff, errors, messages};
use crate::config::MqttConfig;
use crate::documents::{DeviceInfo, DeviceState, DeviceStatus, MqttDoc};
use crate::hub::Hub;

/// Requests between us and the event loop.
const CHANNEL: usize = 64;
/// Rows that may lie in the channel before the event loop takes them: little stands before telemetry.
const ROWS_QUEUED: usize = 4;
/// A PUBACK that takes longer means that the connection is dead, whatever TCP says.
const ACK_TIMEOUT: Span = Span::from_secs(20);
/// A connection that lasted this long was a good one: the next wait is short again.
const STABLE: Span = Span::from_secs(30);
/// Wait before the outbox is read again after an error.
const READ_AGAIN: Span = Span::from_secs(2);
/// For the last acknowledgements at shutdown, and for the DISCONNECT.
const PARTING: Span = Span::from_secs(1);

/// Publishes the box's state and drains its outbox, until it is told to stop.
pub struct Publisher {
    /// The broker.
    pub config: MqttConfig,
    /// Id of the box in topics.
    pub device: StreamId,
    /// Birth certificate until the daemon's first status document brings a better one.
    pub info: DeviceInfo,
    /// The daemon's live state.
    pub hub: Arc<Hub>,
    /// Messages on disk.
    pub outbox: Arc<dyn Outbox>,
    /// Commands that the broker may give; `None`: none are taken.
    pub commands: Option<Arc<dyn CommandLink>>,
    /// The box's clocks.
    pub clock: Arc<dyn Clock>,
    /// Where the state of the connection is shown; begin with [`initial_state`].
    pub state: watch::Sender<MqttDoc>,
    /// `true`, or a dropped sender, stops the publisher.
    pub shutdown: watch::Receiver<bool>,
}

/// State before the publisher runs; `off` for ever where no broker is configured.
pub fn initial_state(config: Option<&MqttConfig>) -> MqttDoc {
    MqttDoc {
        state: if config.is_some() { "connecting" } else { "off" }.to_owned(),
        broker: config.map(address),
        error: None,
        outbox: 0,
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error("{text}")]
    Connection { text: String, error: ConnectionError },
    #[error("{0} does not acknowledge messages; it may be overloaded")]
    Silent(String),
    #[error("{0} takes no {1}, which Synoptic needs; change the broker's configuration")]
    Lacks(String, &'static str),
}

impl Publisher {
    /// Runs until shutdown, which takes at most about two seconds. Never fails: what is wrong is in `state`.
    pub async fn run(self) {
        let topics = Topics::new(&self.config.root, &self.config.tenant, self.device);
        let online = DeviceStatus {
            state: DeviceState::Online,
            since: Some(self.clock.sample().realtime.to_rfc3339()),
        };
        let prefix = self.config.home_assistant.clone();
        let mut connection = Connection {
            telemetry: Telemetry::new(topics.clone(), prefix, &self.info, &online),
            drain: Drain::new(),
            commands: CommandPost::new(topics.clone(), self.commands.clone()),
            ledger: Ledger::default(),
            status: self.hub.status.subscribe(),
            outbox_changed: self.outbox.changed(),
            shutdown: self.shutdown.clone(),
            connected: None,
            topics,
            publisher: &self,
        };
        connection.take_outbox_change();
        self.warn_of_clear_text();
        let mut failures = 0;
        loop {
            let lost = match connection.run_once().await {
                Ok(()) => break,
                Err(lost) => lost,
            };
            let now = self.clock.now();
            connection.close(&lost, now);
            if connection
                .connected
                .take()
                .is_some_and(|since| now - since >= STABLE)
            {
                failures = 0;
            }
            self.tell("connecting", Some(lost.to_string()));
            let stopped = connection.pause(backoff::wait(failures, rand::random())).await;
            if stopped {
                break;
            }
            failures = failures.saturating_add(1);
        }
        self.tell("off", None);
    }

    fn warn_of_clear_text(&self) {
        let config = &self.config;
        let here = matches!(config.host.as_str(), "localhost" | "127.0.0.1" | "::1" | "[::1]");
        if config.password.is_some() && config.tls.is_none() && !here {
            warn!(
                "mqtt: the password goes to {} in clear text; set mqtt.tls",
                address(config)
            );
        }
    }

    /// Shows the state, and logs it when it is news.
    fn tell(&self, state: &str, error: Option<String>) {
        let broker = address(&self.config);
        let changed = self.state.send_if_modified(|doc| {
            let same = doc.state == state && doc.error == error;
            doc.state = state.to_owned();
            doc.broker = Some(broker.clone());
            doc.error.clone_from(&error);
            !same
        });
        match error {
            Some(error) if changed => warn!("mqtt: {error}"),
            None if changed && state == "connected" => info!("mqtt: connected to {broker}"),
            _ => {}
        }
    }

    fn tell_outbox(&self, rows: u64) {
        self.state.send_if_modified(|doc| {
            let changed = doc.outbox != rows;
            doc.outbox = rows;
            changed
        });
    }
}

fn address(config: &MqttConfig) -> String {
    format!("{}:{}", config.host, config.port)
}

/// All that is behind the publisher's loop; outlives single connections, but for the ledger.
struct Connection<'a> {
    publisher: &'a Publisher,
    topics: Topics,
    telemetry: Telemetry,
    drain: Drain,
    commands: CommandPost,
    ledger: Ledger,
    status: watch::Receiver<Option<Arc<crate::documents::StatusDoc>>>,
    outbox_changed: watch::Receiver<u64>,
    shutdown: watch::Receiver<bool>,
    /// When the CONNACK came.
    connected: Option<Mono>,
}

/// A page of the outbox being read: after which row, and the answer.
type Reading<'a> = (i64, BoxFuture<'a, Result<Vec<OutboxRow>, String>>);

impl<'a> Connection<'a> {
    /// One connection, from TCP to its end. `Ok` after a shutdown.
    async fn run_once(&mut self) -> Result<(), Lost> {
        let (config, topics) = (self.publisher.config.clone(), self.topics.clone());
        let made = tokio::task::spawn_blocking(move || options::options(&config, &topics)).await;
        let options = match made {
            Ok(options) => options?,
            // Only a runtime that is going down cancels it.
            Err(_) => return Ok(()),
        };
        self.ledger = Ledger::default();
        let (client, eventloop) = AsyncClient::new(options, CHANNEL);
        let (tx, rx) = mpsc::unbounded_channel();
        tokio::select! {
            never = pump(eventloop, tx) => match never {},
            end = self.drive(&client, rx) => end,
        }
    }

    /// Everything but polling the event loop.
    async fn drive(
        &mut self,
        client: &AsyncClient,
        mut rx: mpsc::UnboundedReceiver<Input>,
    ) -> Result<(), Lost> {
        let Some(limits) = self.await_connack(&mut rx).await? else {
            return Ok(());
        };
        let publisher = self.publisher;
        self.connected = Some(publisher.clock.now());
        publisher.tell("connected", None);
        self.telemetry.reconnected();
        self.commands.reconnected();
        self.subscribe(client);
        self.take_status();
        let mut reading: Option<Reading<'a>> = None;
        let mut read_again: Option<Mono> = None;
        loop {
            let now = publisher.clock.now();
            self.publish_commands(client, limits, now);
            self.publish_telemetry(client, limits, now);
            self.publish_rows(client, limits, now);
            if self.ledger.oldest().is_some_and(|at| now - at >= ACK_TIMEOUT) {
                return Err(Lost::Silent(address(&publisher.config)));
            }
            read_again = read_again.filter(|at| *at > now);
            if reading.is_none()
                && read_again.is_none()
                && let Some((after, limit)) = self.drain.wants()
            {
                reading = Some((after, publisher.outbox.rows(after, limit)));
            }
            let timeout = self.ledger.oldest().map(|at| at + ACK_TIMEOUT);
            let deadlines = [
                self.telemetry.deadline(),
                self.drain.deadline(),
                timeout,
                read_again,
            ];
            let wake = deadlines.into_iter().flatten().min();
            tokio::select! {
                input = rx.recv() => self.handle(input)?,
                (after, rows) = read(&mut reading) => {
                    reading = None;
                    match rows {
                        Ok(rows) => self.drain.loaded(after, rows),
                        Err(error) => {
                            warn!("mqtt: the outbox cannot be read, tried again in {READ_AGAIN}: {error}");
                            read_again = Some(publisher.clock.now() + READ_AGAIN);
                        }
                    }
                }
                () = next_change(&mut self.status) => self.take_status(),
                () = next_change(&mut self.outbox_changed) => self.take_outbox_change(),
                // Told at the top of the loop.
                () = next_change(self.commands.changed()) => {}
                () = stop(&mut self.shutdown) => {
                    self.part(client, &mut rx).await;
                    return Ok(());
                }
                () = sleep_until(wake, now) => {}
            }
        }
    }

    /// The broker's limits, or `None` at shutdown.
    async fn await_connack(
        &mut self,
        rx: &mut mpsc::UnboundedReceiver<Input>,
    ) -> Result<Option<Limits>, Lost> {
        loop {
            tokio::select! {
                input = rx.recv() => {
                    if let Some(Input::Event(event)) = &input
                        && let Event::Incoming(Packet::ConnAck(connack)) = &**event
                    {
                        let lacks = |what| Lost::Lacks(address(&self.publisher.config), what);
                        return Limits::of(connack).map(Some).map_err(lacks);
                    }
                    self.handle(input)?;
                }
                () = next_change(&mut self.outbox_changed) => self.take_outbox_change(),
                () = stop(&mut self.shutdown) => return Ok(None),
            }
        }
    }

    /// Asks for the documents that the broker retains of us, to find those of removed cameras.
    fn subscribe(&self, client: &AsyncClient) {
        let mut filters = self.topics.member_filters().to_vec();
        filters.extend(home_assistant::filters(
            &self.topics,
            self.publisher.config.home_assistant.as_deref(),
        ));
        let filters = filters.into_iter().map(|path| Filter {
            // Our own publishing does not come back.
            nolocal: true,
            ..Filter::new(path, QoS::AtMostOnce)
        });
        if let Err(error) = client.try_subscribe_many(filters) {
            warn!("mqtt: documents of removed cameras cannot be looked for: {error}");
        }
        let filters = self.commands.filters();
        if !filters.is_empty()
            && let Err(error) = client.try_subscribe_many(filters)
        {
            warn!("mqtt: commands are not heard on this connection: {error}");
        }
    }

    fn take_status(&mut self) {
        let status = self.status.borrow_and_update().clone();
        if let Some(status) = status {
            self.telemetry.update(&status);
        }
    }

    fn take_outbox_change(&mut self) {
        let rows = *self.outbox_changed.borrow_and_update();
        self.publisher.tell_outbox(rows);
        self.drain.outbox_changed();
    }

    fn publish_commands(&mut self, client: &AsyncClient, limits: Limits, now: Mono) {
        while self.ledger.queued() < CHANNEL / 2 {
            let Some((topic, message)) = self.commands.next(limits) else {
                break;
            };
            match fits(&message, limits) {
                Ok(()) => self.publish(client, now, message, Published::Command(topic)),
                Err(why) => warn!("mqtt: {topic} cannot be published: {why}"),
            }
        }
    }

    fn publish_telemetry(&mut self, client: &AsyncClient, limits: Limits, now: Mono) {
        while self.ledger.queued() < CHANNEL / 2 {
            let Some(due) = self.telemetry.next(now) else {
                break;
            };
            let properties = (!due.payload.is_empty()).then(|| properties(Vec::new()));
            let message = message(&due.topic, due.payload, properties, true);
            match fits(&message, limits) {
                Ok(()) => self.publish(client, now, message, due.what),
                Err(why) => warn!("mqtt: {} cannot be published: {why}", due.topic),
            }
        }
    }

    fn publish_rows(&mut self, client: &AsyncClient, limits: Limits, now: Mono) {
        while self.ledger.queued() < ROWS_QUEUED {
            let Some(row) = self.drain.next(now, limits.window, self.ledger.len() == 0) else {
                break;
            };
            let seq = row.seq;
            let message = message(&row.topic, row.payload, Some(properties(row.properties)), false);
            match fits(&message, limits) {
                Ok(()) => self.publish(client, now, message, Published::Row(seq)),
                Err(why) => self.park(seq, why),
            }
        }
    }

    /// Hands a message to the event loop. The channel has room: `ledger.queued` counts what is in it.
    fn publish(&mut self, client: &AsyncClient, now: Mono, message: Publish, what: Published) {
        let topic = String::from_utf8_lossy(&message.topic).into_owned();
        let properties = message.properties.unwrap_or_default();
        let sent = client.try_publish_with_properties(
            &topic,
            QoS::AtLeastOnce,
            message.retain,
            message.payload,
            properties,
        );
        match sent {
            Ok(()) => self.ledger.published(now, what),
            // Not in the ledger: a document comes again with its repeat, a row with the next connection.
            Err(error) => warn!("mqtt: {topic} was not taken for sending: {error}"),
        }
    }

    fn park(&mut self, seq: i64, why: String) {
        warn!("mqtt: event message {seq} can never be delivered and is set aside: {why}");
        self.drain.parked(seq);
        self.publisher.outbox.park(seq, why);
    }

    fn handle(&mut self, input: Option<Input>) -> Result<(), Lost> {
        let event = match input {
            Some(Input::Event(event)) => event,
            Some(Input::Lost(error)) => {
                let text = errors::explain(&error, &address(&self.publisher.config));
                return Err(Lost::Connection { text, error });
            }
            // The pump never ends before this future does.
            None => return Ok(()),
        };
        match *event {
            Event::Outgoing(Outgoing::Publish(pkid)) => self.ledger.outgoing(pkid),
            Event::Incoming(Packet::PubAck(ack)) => {
                if let Some(what) = self.ledger.acknowledged(ack.pkid) {
                    self.acknowledged(what, ack.reason);
                }
            }
            Event::Incoming(Packet::Publish(message)) if self.commands.take(&message) => {}
            Event::Incoming(Packet::SubAck(ack)) => {
                let refused = |code: &SubscribeReasonCode| !matches!(code, SubscribeReasonCode::Success(_));
                if ack.return_codes.iter().any(refused) {
                    warn!(
                        "mqtt: the broker refuses a subscription to the box's own topics: see its access list"
                    );
                }
            }
            Event::Incoming(Packet::Publish(message)) if message.retain && !message.payload.is_empty() => {
                self.telemetry
                    .seen(&String::from_utf8_lossy(&message.topic), &message.payload);
            }
            _ => {}
        }
        Ok(())
    }

    fn acknowledged(&mut self, what: Published, reason: PubAckReason) {
        use PubAckReason as Reason;
        let accepted = matches!(reason, Reason::Success | Reason::NoMatchingSubscribers);
        match what {
            Published::Row(seq) if accepted => {
                self.drain.delivered(seq);
                self.publisher.outbox.done(vec![seq]);
            }
            Published::Row(seq) => match reason {
                Reason::TopicNameInvalid | Reason::PayloadFormatInvalid => {
                    self.park(seq, format!("the broker refuses it: {reason:?}"));
                }
                _ => {
                    let now = self.publisher.clock.now();
                    if let Some((topic, pause)) = self.drain.refused(seq, now, rand::random()) {
                        warn!("mqtt: the broker refuses {topic} ({reason:?}); tried again in {pause}");
                    }
                }
            },
            Published::Command(topic) if !accepted => {
                warn!("mqtt: the broker refuses {topic} ({reason:?}): see its access list");
            }
            Published::Command(_) => {}
            Published::Cleared(topic) if accepted => self.telemetry.cleared(&topic),
            Published::Cleared(topic) | Published::Retained(topic) => {
                if !accepted {
                    self.telemetry.refused(&topic, &format!("{reason:?}"));
                }
            }
        }
    }

    /// Draws the conclusions from the end of a connection.
    fn close(&mut self, lost: &Lost, now: Mono) {
        let Lost::Connection { error, .. } = lost else {
            self.drain
                .dropped(super::outbox::Drop::Cut, true, now, rand::random());
            return;
        };
        let telemetry = self.ledger.has_telemetry();
        if let Some(seq) = self
            .drain
            .dropped(errors::blame(error), telemetry, now, rand::random())
        {
            self.park(seq, format!("the broker ends the connection on it: {lost}"));
        }
    }

    /// Waits, with an eye on the outbox. `true` at shutdown.
    async fn pause(&mut self, span: Span) -> bool {
        let wait = tokio::time::sleep(span.to_std());
        tokio::pin!(wait);
        loop {
            tokio::select! {
                () = &mut wait => return false,
                () = stop(&mut self.shutdown) => return true,
                () = next_change(&mut self.outbox_changed) => self.take_outbox_change(),
            }
        }
    }

    /// Says that the box goes offline, waits shortly for what is in flight, and disconnects.
    async fn part(&mut self, client: &AsyncClient, rx: &mut mpsc::UnboundedReceiver<Input>) {
        let offline = DeviceStatus {
            state: DeviceState::Offline,
            since: Some(self.publisher.clock.sample().realtime.to_rfc3339()),
        };
        let topic = self.topics.status();
        let message = message(
            &topic,
            messages::json(&offline),
            Some(properties(Vec::new())),
            true,
        );
        let now = self.publisher.clock.now();
        self.publish(client, now, message, Published::Retained(topic));
        let acknowledged = async {
            while self.ledger.len() > 0 {
                let input = rx.recv().await;
                self.handle(input)?;
            }
            Ok::<(), Lost>(())
        };
        match tokio::time::timeout(PARTING.to_std(), acknowledged).await {
            Ok(Ok(())) => {}
            Ok(Err(lost)) => return warn!("mqtt: lost at shutdown: {lost}"),
            Err(_) => warn!(
                "mqtt: {} messages are not acknowledged at shutdown",
                self.ledger.len()
            ),
        }
        if let Err(error) = client.try_disconnect() {
            return warn!("mqtt: not disconnected in good order, the last will follows: {error}");
        }
        let gone = async {
            while let Some(Input::Event(event)) = rx.recv().await {
                if *event == Event::Outgoing(Outgoing::Disconnect) {
                    break;
                }
            }
        };
        if tokio::time::timeout(PARTING.to_std(), gone).await.is_err() {
            warn!("mqtt: not disconnected in good order, the last will follows");
        }
    }
}

async fn read(reading: &mut Option<Reading<'_>>) -> (i64, Result<Vec<OutboxRow>, String>) {
    match reading {
        Some((after, rows)) => (*after, rows.await),
        None => std::future::pending().await,
    }
}

/// The next change; never, when there will be none.
async fn next_change<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Shutdown.
async fn stop(receiver: &mut watch::Receiver<bool>) {
    // A dropped sender is a shutdown, too.
    let _ = receiver.wait_for(|stop| *stop).await;
}

async fn sleep_until(wake: Option<Mono>, now: Mono) {
    match wake {
        Some(at) => tokio::time::sleep((at - now).to_std()).await,
        None => std::future::pending().await,
    }
}
