//! Commands over MQTT: requests in, states out.
//!
//! Two topics a command, each with one writer: the requester writes `cmd/{name}/{id}`, the box `cmd/{name}/{id}/state`. So
//! an access list can tell who may command from who may only look, and neither overwrites the other. The box takes the
//! retained request away once its command is done: it would come again with every connection. No session is needed, for
//! what was published while the box was away is retained.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use log::{info, warn};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Publish};
use tokio::sync::watch;

use super::messages;
use super::topics::{CommandTopic, Topics};
use super::wire::{Limits, fits, message, properties};
use crate::documents::{CommandDoc, CommandPhase};

/// Where requests go, and where states come from.
pub trait CommandLink: Send + Sync {
    /// A request came; an empty one takes it back. `retained`: the broker had kept it.
    fn received(&self, name: &str, id: &str, payload: &[u8], retained: bool);
    /// Whether this command is remembered.
    fn is_known(&self, name: &str, id: &str) -> bool;
    /// The oldest news after number `after`.
    fn next(&self, after: u64) -> Option<CommandNews>;
    /// Changes with each news.
    fn changed(&self) -> watch::Receiver<u64>;
}

/// What is to be told of a command.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandNews {
    /// Its number, which grows.
    pub seq: u64,
    /// Name of the command.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its state; `None`: it is not remembered any more.
    pub doc: Option<CommandDoc>,
}

/// What the publisher does about commands.
pub(crate) struct CommandPost {
    topics: Topics,
    link: Option<Arc<dyn CommandLink>>,
    changed: watch::Receiver<u64>,
    /// Number of the last news told on this connection.
    told: u64,
    /// Requests that this connection has seen, and that may be retained.
    requests: BTreeSet<(String, String)>,
    /// Topics to clear.
    clear: VecDeque<String>,
}

impl CommandPost {
    /// `link`: `None` where the box takes no commands.
    pub(crate) fn new(topics: Topics, link: Option<Arc<dyn CommandLink>>) -> CommandPost {
        // A receiver whose sender is gone never changes.
        let changed = link
            .as_ref()
            .map_or_else(|| watch::channel(0).1, |link| link.changed());
        CommandPost {
            topics,
            link,
            changed,
            told: 0,
            requests: BTreeSet::new(),
            clear: VecDeque::new(),
        }
    }

    /// A new connection: everything is told anew, for the broker may have forgotten it.
    pub(crate) fn reconnected(&mut self) {
        self.told = 0;
        self.requests.clear();
        self.clear.clear();
    }

    /// Changes when there is more to tell.
    pub(crate) fn changed(&mut self) -> &mut watch::Receiver<u64> {
        &mut self.changed
    }

    /// What to subscribe to. The filters of states are only for those that an earlier life of the box left behind.
    pub(crate) fn filters(&self) -> Vec<Filter> {
        if self.link.is_none() {
            return Vec::new();
        }
        let filter = |path, qos| Filter {
            nolocal: true,
            ..Filter::new(path, qos)
        };
        vec![
            filter(self.topics.command("+", "+"), QoS::AtLeastOnce),
            filter(self.topics.command_state("+", "+"), QoS::AtMostOnce),
        ]
    }

    /// Takes a message if it is about commands; `false` when it is not.
    pub(crate) fn take(&mut self, message: &Publish) -> bool {
        let topic = String::from_utf8_lossy(&message.topic);
        let (Some(found), Some(link)) = (self.topics.command_of(&topic), &self.link) else {
            return false;
        };
        match found {
            CommandTopic::Request { name, id } => {
                if !message.payload.is_empty() {
                    self.requests.insert((name.to_owned(), id.to_owned()));
                }
                link.received(name, id, &message.payload, message.retain);
            }
            CommandTopic::State { name, id } => {
                if message.retain && !message.payload.is_empty() && !link.is_known(name, id) {
                    info!("mqtt: the state of a command that is not remembered is cleared: {name} {id}");
                    self.clear.push_back(topic.into_owned());
                }
            }
        }
        true
    }

    /// The next message, with its topic.
    pub(crate) fn next(&mut self, limits: Limits) -> Option<(String, Publish)> {
        if let Some(topic) = self.clear.pop_front() {
            let empty = message(&topic, Vec::new(), None, true);
            return Some((topic, empty));
        }
        let news = self.link.as_ref()?.next(self.told)?;
        self.told = news.seq;
        let topic = self.topics.command_state(&news.name, &news.id);
        let Some(mut doc) = news.doc else {
            let empty = message(&topic, Vec::new(), None, true);
            return Some((topic, empty));
        };
        let told =
            |doc: &CommandDoc| message(&topic, messages::json(doc), Some(properties(Vec::new())), true);
        let mut state = told(&doc);
        if let Err(why) = fits(&state, limits)
            && doc.result.is_some()
        {
            warn!(
                "mqtt: the result of {} {} cannot be told: {why}",
                doc.name, doc.id
            );
            doc.result = None;
            doc.reason = Some(format!(
                "its result is not here, for {why}: GET /api/v1/commands/{}",
                doc.id
            ));
            state = told(&doc);
        }
        let is_final = matches!(doc.state, CommandPhase::Successful | CommandPhase::Failed);
        if is_final && self.requests.remove(&(news.name.clone(), news.id.clone())) {
            self.clear.push_back(self.topics.command(&news.name, &news.id));
        }
        Some((topic, state))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::samples;
    use super::*;

    /// Tells what it is given, and remembers what came.
    struct Script {
        news: Vec<CommandNews>,
        came: Mutex<Vec<String>>,
    }

    impl CommandLink for Script {
        fn received(&self, name: &str, id: &str, payload: &[u8], retained: bool) {
            let payload = String::from_utf8_lossy(payload);
            let line = format!("{name} {id} {payload} {retained}");
            self.came.lock().unwrap().push(line);
        }
        fn is_known(&self, _: &str, id: &str) -> bool {
            id == "1"
        }
        fn next(&self, after: u64) -> Option<CommandNews> {
            self.news.iter().find(|n| n.seq > after).cloned()
        }
        fn changed(&self) -> watch::Receiver<u64> {
            watch::channel(0).1
        }
    }

    const LIMITS: Limits = Limits {
        window: 10,
        packet: 500,
    };

    fn news(seq: u64, state: CommandPhase, result: usize) -> CommandNews {
        let doc = samples::command("run-probe", "1", state, result);
        CommandNews {
            seq,
            name: doc.name.clone(),
            id: doc.id.clone(),
            doc: Some(doc),
        }
    }

    fn incoming(topic: &str, payload: &str, retain: bool) -> Publish {
        message(
            &samples::topics().prefix().to_owned().replace("box-1", topic),
            payload.into(),
            None,
            retain,
        )
    }

    fn drained(post: &mut CommandPost) -> Vec<String> {
        let prefix = samples::topics().prefix() + "/cmd/";
        std::iter::from_fn(|| post.next(LIMITS))
            .map(|(topic, m)| format!("{} {}", topic.replace(&prefix, ""), m.payload.len().min(1)))
            .collect()
    }

    #[test]
    fn states_are_told_and_a_request_that_was_seen_is_cleared_behind_its_end() {
        let script = Arc::new(Script {
            news: vec![
                news(1, CommandPhase::Executing, 0),
                news(2, CommandPhase::Successful, 0),
            ],
            came: Mutex::default(),
        });
        let mut post = CommandPost::new(samples::topics(), Some(script.clone()));
        assert_eq!(post.filters().len(), 2);
        assert!(post.take(&incoming("box-1/cmd/run-probe/1", "{}", true)));
        assert!(!post.take(&incoming("box-1/cam/a/status", "{}", true)));
        assert_eq!(*script.came.lock().unwrap(), ["run-probe 1 {} true"]);
        assert_eq!(
            drained(&mut post),
            ["run-probe/1/state 1", "run-probe/1/state 1", "run-probe/1 0"]
        );
        post.reconnected();
        assert_eq!(drained(&mut post).len(), 2, "again, but nothing was retained");
    }

    #[test]
    fn states_of_another_life_are_cleared() {
        let script = Arc::new(Script {
            news: Vec::new(),
            came: Mutex::default(),
        });
        let mut post = CommandPost::new(samples::topics(), Some(script));
        assert!(post.take(&incoming("box-1/cmd/restart/1/state", "{}", true)));
        assert!(post.take(&incoming("box-1/cmd/restart/2/state", "{}", true)));
        assert!(post.take(&incoming("box-1/cmd/restart/3/state", "{}", false)));
        assert_eq!(drained(&mut post), ["restart/2/state 0"]);
    }

    #[test]
    fn a_result_that_does_not_fit_is_left_out_and_said() {
        let script = Arc::new(Script {
            news: vec![news(1, CommandPhase::Successful, 600)],
            came: Mutex::default(),
        });
        let mut post = CommandPost::new(samples::topics(), Some(script));
        let (_, told) = post.next(LIMITS).unwrap();
        let doc: CommandDoc = serde_json::from_slice(&told.payload).unwrap();
        assert_eq!((doc.state, doc.result), (CommandPhase::Successful, None));
        assert!(doc.reason.unwrap().contains("GET /api/v1/commands/1"));
    }

    #[test]
    fn a_box_that_takes_no_commands_listens_to_none() {
        let mut post = CommandPost::new(samples::topics(), None);
        assert!(post.filters().is_empty());
        assert!(!post.take(&incoming("box-1/cmd/restart/1", "{}", true)));
        assert!(post.next(LIMITS).is_none());
    }
}
