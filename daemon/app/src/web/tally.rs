//! Counts packets and events for `/metrics`. Sans-IO but for [`follow`], which feeds it from the hub.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use crate::documents::{AnyEventDoc, PacketLine};
use crate::hub::Hub;

/// Upper edges of the spread histogram, seconds: a millisecond to a second, where frame intervals lie.
pub(super) const SPREAD_EDGES_S: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];
/// Events remembered, so that the changes of one event count once.
const REMEMBERED_EVENTS: usize = 4096;

/// Counters of one sync group.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct GroupTally {
    /// Packets with every slot okay.
    pub(super) complete: u64,
    /// All others.
    pub(super) partial: u64,
    /// Complete packets by spread: `buckets[i]` those at or below edge `i`, not cumulative.
    pub(super) buckets: [u64; SPREAD_EDGES_S.len()],
    /// Sum of their spreads, seconds.
    pub(super) sum_s: f64,
    /// Slots of all packets, by camera and status.
    pub(super) slots: BTreeMap<(String, String), u64>,
}

/// The counters.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// By group.
    pub(super) groups: BTreeMap<String, GroupTally>,
    /// Events by camera and class.
    pub(super) events: BTreeMap<(String, String), u64>,
    /// Messages the counters missed because they came too fast.
    pub(super) missed: u64,
    known: HashSet<String>,
    order: VecDeque<String>,
}

impl Tally {
    fn packet(&mut self, packet: &PacketLine) {
        let group = self.groups.entry(packet.group.clone()).or_default();
        for slot in &packet.slots {
            let key = (slot.cam.clone(), slot.status.clone());
            *group.slots.entry(key).or_default() += 1;
        }
        if packet.slots.iter().any(|slot| slot.status != "okay") {
            group.partial += 1;
            return;
        }
        group.complete += 1;
        let spread_s = packet.spread_ms / 1e3;
        group.sum_s += spread_s;
        if let Some(bucket) = SPREAD_EDGES_S.iter().position(|edge| spread_s <= *edge) {
            group.buckets[bucket] += 1;
        }
    }

    fn event(&mut self, event: &AnyEventDoc) {
        if !self.known.insert(event.id().to_owned()) {
            return;
        }
        self.order.push_back(event.id().to_owned());
        if self.order.len() > REMEMBERED_EVENTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        let key = match event {
            AnyEventDoc::Track(event) => (event.cam.clone(), event.label.clone()),
            AnyEventDoc::System(event) => {
                let name = serde_json::to_value(event.kind).unwrap_or_default();
                let name = name.as_str().unwrap_or_default().to_owned();
                (event.cam.clone().unwrap_or_default(), name)
            }
        };
        *self.events.entry(key).or_default() += 1;
    }
}

/// Counts what the hub says from now on until the daemon stops.
pub(super) fn follow(
    hub: &Hub,
    tally: Arc<Mutex<Tally>>,
    mut shutdown: watch::Receiver<()>,
) -> impl Future<Output = ()> + use<> {
    let mut packets = hub.packets.subscribe();
    let mut events = hub.events.subscribe();
    async move {
        let locked = || tally.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            tokio::select! {
                _ = shutdown.changed() => return,
                packet = packets.recv() => match packet {
                    Ok(packet) => locked().packet(&packet),
                    Err(RecvError::Lagged(n)) => locked().missed += n,
                    Err(RecvError::Closed) => return,
                },
                event = events.recv() => match event {
                    Ok(event) => locked().event(&event),
                    Err(RecvError::Lagged(n)) => locked().missed += n,
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }
}
