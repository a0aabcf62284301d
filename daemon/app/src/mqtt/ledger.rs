//! Which published message a PUBACK belongs to.
//!
//! rumqttc gives a message its packet id when it takes it from the request channel and says so with
//! `Outgoing::Publish(pkid)`, in the order of publishing. A PUBACK names only the packet id. A ledger lives as
//! long as one connection: packet ids mean nothing beyond it.

use std::collections::{HashMap, VecDeque};

use synoptic_base::Mono;

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// The row of the outbox with this number.
    Row(i64),
    /// A retained document on this topic.
    Retained(String),
    /// The state of a command on this topic, or an empty message that clears a topic of one.
    Command(String),
    /// An empty message that clears this retained topic.
    Cleared(String),
}

/// Messages between `publish` and their PUBACK.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// In the request channel, oldest first, with the time they were put there.
    queued: VecDeque<(Mono, Published)>,
    /// On the wire, by packet id.
    flying: HashMap<u16, (Mono, Published)>,
}

impl Ledger {
    /// A message was put into the request channel.
    pub(crate) fn published(&mut self, now: Mono, what: Published) {
        self.queued.push_back((now, what));
    }

    /// `Outgoing::Publish(pkid)`: the oldest queued message is on the wire.
    pub(crate) fn outgoing(&mut self, pkid: u16) {
        if let Some(entry) = self.queued.pop_front() {
            self.flying.insert(pkid, entry);
        }
    }

    /// PUBACK of `pkid`: what it acknowledges; `None` for an id that is not on the wire.
    pub(crate) fn acknowledged(&mut self, pkid: u16) -> Option<Published> {
        self.flying.remove(&pkid).map(|(_, what)| what)
    }

    /// Messages without PUBACK.
    pub(crate) fn len(&self) -> usize {
        self.queued.len() + self.flying.len()
    }

    /// Messages not yet taken from the request channel.
    pub(crate) fn queued(&self) -> usize {
        self.queued.len()
    }

    /// Whether a document or its clearing is without PUBACK.
    pub(crate) fn has_telemetry(&self) -> bool {
        let row = |(_, what): &(Mono, Published)| matches!(what, Published::Row(_));
        !self.queued.iter().all(row) || !self.flying.values().all(row)
    }

    /// When the oldest message without PUBACK was published.
    pub(crate) fn oldest(&self) -> Option<Mono> {
        self.queued
            .iter()
            .chain(self.flying.values())
            .map(|(at, _)| *at)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_find_their_message_in_any_order() {
        let mut ledger = Ledger::default();
        let at = Mono::from_nanos;
        ledger.published(at(1), Published::Retained("s".into()));
        ledger.published(at(2), Published::Row(7));
        ledger.published(at(3), Published::Row(8));
        assert_eq!(ledger.acknowledged(1), None, "not on the wire yet");
        ledger.outgoing(4);
        ledger.outgoing(5);
        assert_eq!((ledger.len(), ledger.queued()), (3, 1));
        assert_eq!(ledger.acknowledged(5), Some(Published::Row(7)));
        assert_eq!(ledger.oldest(), Some(at(1)));
        assert!(ledger.has_telemetry());
        assert_eq!(ledger.acknowledged(4), Some(Published::Retained("s".into())));
        assert!(!ledger.has_telemetry());
        assert_eq!(ledger.acknowledged(4), None, "a second ack of one id");
        ledger.outgoing(4);
        assert_eq!(
            ledger.acknowledged(4),
            Some(Published::Row(8)),
            "packet ids come again"
        );
        assert_eq!((ledger.len(), ledger.oldest()), (0, None));
    }
}
