//! Polling rumqttc.
//!
//! Its event loop sends nothing while it is not polled, and a poll that is dropped half-way may lose a message it
//! had taken. So one future does nothing but poll, to the end, and passes on what comes.

use std::convert::Infallible;

use rumqttc::v5::{ConnectionError, Event, EventLoop};
use tokio::sync::mpsc;

/// What [`pump`] reports.
pub(crate) enum Input {
    /// What was sent or received.
    Event(Box<Event>),
    /// The connection is lost, or was never made; nothing more comes.
    Lost(ConnectionError),
}

/// Polls the event loop without ever dropping a poll half-way. What it had read before an error comes first.
pub(crate) async fn pump(mut eventloop: EventLoop, tx: mpsc::UnboundedSender<Input>) -> Infallible {
    loop {
        let input = match eventloop.poll().await {
            Ok(event) => Input::Event(Box::new(event)),
            Err(error) => {
                for event in eventloop.state.events.drain(..) {
                    // The receiver lives as long as this future.
                    let _ = tx.send(Input::Event(Box::new(event)));
                }
                // As above.
                let _ = tx.send(Input::Lost(error));
                return std::future::pending().await;
            }
        };
        let _ = tx.send(input);
    }
}
