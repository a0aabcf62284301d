//! The box over MQTT 5: its state as retained documents, its events from an outbox on disk.
//!
//! Terms: **telemetry** is what the newest document replaces (status topics, retained); an **outbox row** is a
//! message that must arrive at least once. Telemetry goes first: a backlog of rows never delays it by more than
//! the window of rows in flight. docs/reference/mqtt.md is the contract with the outside.
//!
//! Every connection is a new MQTT session (clean start) and a new rumqttc event loop. What must survive a lost
//! connection is in the outbox; what the broker should know is told anew after each CONNACK. rumqttc 0.25 is not
//! asked to resume: it drops its unacknowledged messages when the broker has lost the session, sends them in
//! the order of packet ids instead of the order of publishing, and would repeat stale telemetry.

mod backoff;
mod commands;
mod errors;
mod home_assistant;
mod ledger;
mod messages;
mod options;
mod outbox;
mod publisher;
mod pump;
mod telemetry;
mod topics;
mod wire;

pub use commands::{CommandLink, CommandNews};
pub use messages::{EventContext, Message, event_message, system_message};
pub use outbox::{BoxFuture, Outbox, OutboxRow};
pub use publisher::{Publisher, initial_state};
pub use topics::Topics;

#[cfg(test)]
mod broker_tests;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
pub(crate) mod schema_tests;
#[cfg(test)]
pub(crate) mod test_broker;
#[cfg(test)]
pub(crate) mod test_proxy;
