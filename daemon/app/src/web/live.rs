//! Server-sent events: what happens, as it happens.
//!
//! Each reader has a task that picks from the hub and hands on one message at a time. A reader that is slow lets
//! its task wait: status is then simply newer when it comes, packets are skipped, and when events were lost it is
//! told to fetch them again (`resync`). Nobody else waits.
#![allow(unused_qualifications, reason = "utoipa's macro writes them for `LiveQuery`")]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use synoptic_base::{Clock, Mono, Span};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{IntoParams, ToSchema};

use super::problem::Params;
use super::{Problem, WebState};

/// A status is sent at most this often.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// Time between two packets of a group: 10 a second.
const PACKET_EVERY: Span = Span::from_millis(100);
/// A comment keeps proxies from closing a silent connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What a reader wants.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct LiveQuery {
    /// Packets: ten a second and group at most, or all of them.
    #[serde(default)]
    #[param(inline)]
    packets: Packets,
}

/// Which packets a reader gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Packets {
    /// At most ten a second and group.
    #[default]
    Thinned,
    /// All that the reader is fast enough for.
    All,
}

/// Status at most once a second, packets, every event. `resync` says that events were lost and should be fetched
/// from `/api/v1/events`.
#[utoipa::path(get, path = "/api/v1/live", tag = "status", params(LiveQuery),
    responses((status = 200, content_type = "text/event-stream", body = String,
        description = "`status`: StatusDoc; `packet`: PacketLine; `event`: AnyEventDoc; `resync`: {}"),
        (status = 503, description = "Too many readers", body = Problem)))]
pub(super) async fn get(
    State(state): State<WebState>,
    Params(query): Params<LiveQuery>,
) -> Result<Response, Problem> {
    let seat = Arc::clone(&state.shared.readers)
        .try_acquire_owned()
        .map_err(|_| Problem::unavailable("too many pages are open; close one"))?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(feed(state, sender, seat, query.packets));
    let stream = Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    // Tells nginx and its kin not to hold the stream back.
    Ok((
        [("x-accel-buffering", "no"), ("cache-control", "no-store")],
        stream,
    )
        .into_response())
}

type Message = Result<Event, Infallible>;

async fn feed(state: WebState, out: mpsc::Sender<Message>, _seat: OwnedSemaphorePermit, wanted: Packets) {
    let mut status = state.hub.status.subscribe();
    status.mark_changed();
    let mut packets = state.hub.packets.subscribe();
    let mut events = state.hub.events.subscribe();
    let mut shutdown = state.shared.shutdown.clone();
    let mut pace = Pace::new(Arc::clone(&state.clock));
    let mut tick = tokio::time::interval(STATUS_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            () = out.closed() => return,
            // The sender is dropped at shutdown; nothing is ever sent.
            _ = shutdown.changed() => return,
            event = events.recv() => match event {
                Ok(event) => message("event", event.as_ref()),
                Err(RecvError::Lagged(_)) => Some(Event::default().event("resync").data("{}")),
                Err(RecvError::Closed) => return,
            },
            packet = packets.recv() => match packet {
                Ok(packet) if wanted == Packets::All || pace.is_due(&packet.group) => message("packet", packet.as_ref()),
                Ok(_) | Err(RecvError::Lagged(_)) => None,
                Err(RecvError::Closed) => return,
            },
            _ = tick.tick() => {
                let newest = if status.has_changed().unwrap_or(false) {
                    status.borrow_and_update().clone()
                } else {
                    None
                };
                newest.and_then(|doc| message("status", doc.as_ref()))
            }
        };
        if let Some(message) = message
            && out.send(Ok(message)).await.is_err()
        {
            return;
        }
    }
}

fn message(name: &str, doc: &impl Serialize) -> Option<Event> {
    match Event::default().event(name).json_data(doc) {
        Ok(event) => Some(event),
        Err(e) => {
            log::error!("web: cannot write a `{name}` message: {e}");
            None
        }
    }
}

/// Thins out the packets of each group.
struct Pace {
    clock: Arc<dyn Clock>,
    /// When the next packet of a group may go.
    due: std::collections::HashMap<String, Mono>,
}

impl Pace {
    fn new(clock: Arc<dyn Clock>) -> Pace {
        Pace {
            clock,
            due: std::collections::HashMap::new(),
        }
    }

    fn is_due(&mut self, group: &str) -> bool {
        let now = self.clock.now();
        let Some(due) = self.due.get_mut(group) else {
            self.due.insert(group.to_owned(), now + PACKET_EVERY);
            return true;
        };
        if now < *due {
            return false;
        }
        // Keeps to the grid, so that 15 packets a second thin out to 10 and not to 7.5.
        *due = (*due + PACKET_EVERY).max(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::tests::ManualClock;

    #[test]
    fn packets_of_each_group_are_thinned_to_ten_a_second() {
        let clock = ManualClock::shared();
        let mut pace = Pace::new(clock.clone());
        let (mut fast, mut slow) = (0, 0);
        for n in 0..600 {
            fast += usize::from(pace.is_due("fast"));
            if n % 12 == 0 {
                slow += usize::from(pace.is_due("slow"));
            }
            clock.advance(Span::from_micros(16_667));
        }
        assert!((95..=102).contains(&fast), "{fast}");
        assert_eq!(slow, 50);
    }
}
