//! Draining the outbox: in order, at least once, a row leaves only on its PUBACK.
//!
//! [`Drain`] decides, without I/O; the publisher obeys. What happens at the limits:
//!
//! * At most [`WINDOW`] rows are unacknowledged, at most [`ROWS_PER_S`] leave a second: a backlog neither delays
//!   telemetry nor floods a broker that just came back (mosquitto #1359).
//! * A lost connection: everything without PUBACK is sent again in order. Repeats carry the same ids.
//! * A PUBACK that refuses (not authorised, quota, unspecified): the row stays, its topic is held with growing
//!   pauses and then tried again in order; other topics go on.
//! * A row that can never be sent (topic or payload invalid, larger than the broker takes): it is parked, that
//!   is, told to [`Outbox::park`] with the reason, and the others go on.
//! * A row that makes the broker drop the connection: after a drop, rows go one at a time; one that is alone in
//!   flight at [`DROPS_TO_BLAME`] drops in a row is parked when the broker complained of it, and its topic held
//!   when the connection was merely cut.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;

use synoptic_base::{Mono, Span};
use tokio::sync::watch;
use uuid::Uuid;

use super::backoff;

/// Unacknowledged rows at most; also never more than half of what the broker takes at once.
pub(crate) const WINDOW: usize = 32;
/// Rows a second at most, over a second: events of a day drain in minutes, a small broker is not flooded.
pub(crate) const ROWS_PER_S: f64 = 200.0;
/// Rows that may go at once after a pause.
const BURST: f64 = 32.0;
/// Rows read from the outbox at once.
const PAGE: u32 = 64;
/// Drops of the connection in a row after which the only row in flight is taken for the cause.
const DROPS_TO_BLAME: u32 = 3;

/// A future that can be sent to another thread.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A message that must arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its place in the order, from 1, growing, never reused.
    pub seq: i64,
    /// Id of the message, the same at every repeat.
    pub id: Uuid,
    /// Topic.
    pub topic: String,
    /// JSON.
    pub payload: Vec<u8>,
    /// MQTT 5 user properties: the CloudEvents attributes.
    pub properties: Vec<(String, String)>,
}

/// Messages on disk that wait for the broker.
pub trait Outbox: Send + Sync {
    /// The first `limit` waiting rows with a number above `after_seq`, in order. Parked rows do not wait.
    ///
    /// An error is logged and the read repeated after a pause; its text says what failed.
    fn rows(&self, after_seq: i64, limit: u32) -> BoxFuture<'_, Result<Vec<OutboxRow>, String>>;
    /// The broker has acknowledged these rows: they leave the outbox. Must not block.
    fn done(&self, seqs: Vec<i64>);
    /// This row can never be delivered, for the reason given: it no longer waits, and is kept for people to
    /// look at. Must not block.
    fn park(&self, seq: i64, why: String);
    /// Sent at each change; the value is the number of waiting rows.
    fn changed(&self) -> watch::Receiver<u64>;
}

/// A topic that the broker refused.
#[derive(Clone, Copy, Debug)]
struct Hold {
    /// Rows of the topic stay until then.
    until: Mono,
    /// Refusals in a row.
    refusals: u32,
    /// The time has come: rows go again, and the first success removes the hold.
    trying: bool,
}

/// Why a connection ended, as far as it matters to a row in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drop {
    /// The broker complained, or its answer was unreadable.
    Complaint,
    /// The connection was cut.
    Cut,
}

/// Decides which row goes next.
#[derive(Debug)]
pub(crate) struct Drain {
    /// Last row that was looked at.
    cursor: i64,
    /// The outbox had nothing behind the cursor.
    exhausted: bool,
    /// Read, not sent.
    loaded: VecDeque<OutboxRow>,
    /// Sent, not acknowledged, with their topic.
    flying: BTreeMap<i64, String>,
    /// Acknowledged or parked, but maybe still in the outbox.
    finished: BTreeSet<i64>,
    /// First row that was passed over for a hold.
    passed_over: Option<i64>,
    /// Refused topics.
    holds: BTreeMap<String, Hold>,
    /// Rows that may go now, as of `refilled`.
    tokens: f64,
    refilled: Option<Mono>,
    /// Rows still to go one at a time.
    careful: usize,
    /// Row that was alone in flight at the last drops, and how many drops.
    suspect: Option<(i64, u32)>,
}

impl Drain {
    pub(crate) fn new() -> Drain {
        Drain {
            cursor: 0,
            exhausted: false,
            loaded: VecDeque::new(),
            flying: BTreeMap::new(),
            finished: BTreeSet::new(),
            passed_over: None,
            holds: BTreeMap::new(),
            tokens: BURST,
            refilled: None,
            careful: 0,
            suspect: None,
        }
    }

    /// The outbox has changed.
    pub(crate) fn outbox_changed(&mut self) {
        self.exhausted = false;
    }

    /// What to read from the outbox now: after which row, how many.
    pub(crate) fn wants(&self) -> Option<(i64, u32)> {
        (!self.exhausted && self.loaded.len() < WINDOW).then_some((self.cursor, PAGE))
    }

    /// Takes what was read for `after`; an answer to an older question is ignored.
    pub(crate) fn loaded(&mut self, after: i64, rows: Vec<OutboxRow>) {
        if after != self.cursor {
            return;
        }
        // The page is complete up to its last row, or to the end if it is short: what is finished and not in it
        // has left the outbox and need not be remembered.
        let full = rows.len() >= PAGE as usize;
        let end = if full {
            rows.last().map_or(after, |r| r.seq)
        } else {
            i64::MAX
        };
        let present: BTreeSet<i64> = rows.iter().map(|r| r.seq).collect();
        self.finished
            .retain(|seq| *seq <= after || *seq > end || present.contains(seq));
        self.exhausted = !full;
        self.cursor = rows.last().map_or(after, |r| r.seq);
        let (finished, flying) = (&self.finished, &self.flying);
        let fresh = rows
            .into_iter()
            .filter(|r| !finished.contains(&r.seq) && !flying.contains_key(&r.seq));
        self.loaded.extend(fresh);
    }

    /// The row to send now. `window`: rows in flight at most; `idle`: nothing at all is in flight.
    pub(crate) fn next(&mut self, now: Mono, window: usize, idle: bool) -> Option<OutboxRow> {
        self.release_holds(now);
        self.refill(now);
        if self.careful > 0 && !idle || self.flying.len() >= window.max(1) || self.tokens < 1.0 {
            return None;
        }
        while let Some(row) = self.loaded.pop_front() {
            if self.holds.get(&row.topic).is_some_and(|h| !h.trying) {
                self.passed_over = Some(self.passed_over.map_or(row.seq, |p| p.min(row.seq)));
                continue;
            }
            self.tokens -= 1.0;
            self.flying.insert(row.seq, row.topic.clone());
            return Some(row);
        }
        None
    }

    /// When `next` may give a row that it withholds now: for the rate limit or a hold.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        let token = (!self.loaded.is_empty() && self.tokens < 1.0)
            .then(|| {
                self.refilled
                    .map(|at| at + Span::from_secs_f64((1.0 - self.tokens) / ROWS_PER_S))
            })
            .flatten();
        let hold = self.holds.values().filter(|h| !h.trying).map(|h| h.until).min();
        [token, hold].into_iter().flatten().min()
    }

    /// PUBACK of a row: it may leave the outbox.
    pub(crate) fn delivered(&mut self, seq: i64) {
        if let Some(topic) = self.flying.remove(&seq)
            && self.holds.get(&topic).is_some_and(|h| h.trying)
        {
            self.holds.remove(&topic);
        }
        self.finished.insert(seq);
        self.careful = self.careful.saturating_sub(1);
        self.suspect = None;
    }

    /// The broker refused a row for now: its topic is held. Gives the pause, for the log, when it is new.
    pub(crate) fn refused(&mut self, seq: i64, now: Mono, jitter: f64) -> Option<(String, Span)> {
        let topic = self.flying.remove(&seq)?;
        self.passed_over = Some(self.passed_over.map_or(seq, |p| p.min(seq)));
        self.careful = self.careful.saturating_sub(1);
        self.suspect = None;
        self.hold(topic, now, jitter)
    }

    /// A row can never be sent. The caller tells the outbox.
    pub(crate) fn parked(&mut self, seq: i64) {
        self.flying.remove(&seq);
        self.finished.insert(seq);
        self.suspect = None;
    }

    /// The connection ended. `telemetry`: a document was in flight too. Gives a row to park, if one is to blame.
    pub(crate) fn dropped(&mut self, why: Drop, telemetry: bool, now: Mono, jitter: f64) -> Option<i64> {
        let mut blamed = None;
        if !self.flying.is_empty() {
            self.careful = WINDOW;
        }
        if self.flying.len() == 1
            && !telemetry
            && let Some((seq, topic)) = self.flying.pop_first()
        {
            let drops = match self.suspect {
                Some((s, n)) if s == seq => n + 1,
                _ => 1,
            };
            self.suspect = Some((seq, drops));
            if drops >= DROPS_TO_BLAME {
                self.suspect = None;
                match why {
                    Drop::Complaint => {
                        self.finished.insert(seq);
                        blamed = Some(seq);
                    }
                    Drop::Cut => {
                        self.hold(topic, now, jitter);
                    }
                }
            }
        }
        self.flying.clear();
        self.rewind(0);
        blamed
    }

    fn hold(&mut self, topic: String, now: Mono, jitter: f64) -> Option<(String, Span)> {
        let refusals = match self.holds.get(&topic) {
            // More refusals of the same burst say nothing new.
            Some(hold) if !hold.trying => return None,
            Some(hold) => hold.refusals + 1,
            None => 0,
        };
        let pause = backoff::wait(refusals, jitter);
        let hold = Hold {
            until: now + pause,
            refusals,
            trying: false,
        };
        self.holds.insert(topic.clone(), hold);
        Some((topic, pause))
    }

    fn release_holds(&mut self, now: Mono) {
        let mut released = false;
        for hold in self.holds.values_mut().filter(|h| !h.trying && h.until <= now) {
            hold.trying = true;
            released = true;
        }
        if released && let Some(seq) = self.passed_over.take() {
            self.rewind(seq - 1);
        }
    }

    fn rewind(&mut self, cursor: i64) {
        self.cursor = cursor;
        self.exhausted = false;
        self.loaded.clear();
        self.passed_over = None;
    }

    fn refill(&mut self, now: Mono) {
        let passed = self.refilled.map_or(Span::ZERO, |at| now - at);
        self.tokens = (self.tokens + passed.as_secs_f64() * ROWS_PER_S).min(BURST);
        self.refilled = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seq: i64, topic: &str) -> OutboxRow {
        OutboxRow {
            seq,
            id: Uuid::from_u128(seq as u128),
            topic: topic.to_owned(),
            payload: b"{}".to_vec(),
            properties: Vec::new(),
        }
    }

    fn s(seconds: f64) -> Mono {
        Mono::from_nanos(0) + Span::from_secs_f64(seconds)
    }

    /// An outbox in memory.
    struct Rows(Vec<OutboxRow>);

    impl Rows {
        fn feed(&self, drain: &mut Drain) {
            while let Some((after, limit)) = drain.wants() {
                let page = self
                    .0
                    .iter()
                    .filter(|r| r.seq > after)
                    .take(limit as usize)
                    .cloned();
                drain.loaded(after, page.collect());
            }
        }
        fn next(&self, drain: &mut Drain, now: Mono, window: usize) -> Option<i64> {
            self.feed(drain);
            let idle = drain.flying.is_empty();
            let first = drain.next(now, window, idle).map(|r| r.seq);
            first.or_else(|| {
                // A released hold rewinds: read again.
                self.feed(drain);
                drain.next(now, window, idle).map(|r| r.seq)
            })
        }
        fn all(&self, drain: &mut Drain, now: Mono, window: usize) -> Vec<i64> {
            std::iter::from_fn(|| self.next(drain, now, window)).collect()
        }
        fn remove(&mut self, seq: i64) {
            self.0.retain(|r| r.seq != seq);
        }
    }

    #[test]
    fn rows_go_in_order_within_the_window_and_once() {
        let mut rows = Rows((1..=5).map(|n| row(n, "t")).collect());
        let mut drain = Drain::new();
        assert_eq!(rows.all(&mut drain, s(0.0), 3), [1, 2, 3]);
        drain.delivered(2);
        rows.remove(2);
        assert_eq!(rows.all(&mut drain, s(0.0), 3), [4]);
        for seq in [1, 3, 4] {
            drain.delivered(seq);
        }
        assert_eq!(rows.all(&mut drain, s(0.0), 3), [5]);
        drain.delivered(5);
        rows.0.push(row(6, "t"));
        assert_eq!(rows.next(&mut drain, s(0.0), 3), None, "not told of the change");
        drain.outbox_changed();
        assert_eq!(rows.all(&mut drain, s(0.0), 3), [6]);
    }

    #[test]
    fn the_rate_is_limited_after_a_burst() {
        let rows = Rows((1..=1000).map(|n| row(n, "t")).collect());
        let mut drain = Drain::new();
        let mut sent = Vec::new();
        for tick in 0..=100 {
            for seq in rows.all(&mut drain, s(f64::from(tick) * 0.01), WINDOW) {
                drain.delivered(seq);
                sent.push(seq);
            }
        }
        assert_eq!(sent, (1..=sent.len() as i64).collect::<Vec<_>>());
        let most = (BURST + ROWS_PER_S) as usize;
        assert!((most - 2..=most).contains(&sent.len()), "{}", sent.len());
        assert!(drain.deadline().is_some_and(|at| at > s(1.0) && at < s(1.01)));
    }

    #[test]
    fn a_lost_connection_sends_all_unacknowledged_again_in_order() {
        let rows = Rows((1..=5).map(|n| row(n, "t")).collect());
        let mut drain = Drain::new();
        assert_eq!(rows.all(&mut drain, s(0.0), 4), [1, 2, 3, 4]);
        drain.delivered(2);
        assert_eq!(drain.dropped(Drop::Cut, false, s(0.0), 0.5), None);
        // Row 2 is acknowledged but still in the outbox: it is not sent again.
        let mut sent = Vec::new();
        while let Some(seq) = rows.next(&mut drain, s(1.0), 4) {
            assert_eq!(
                rows.next(&mut drain, s(1.0), 4),
                None,
                "one at a time after a drop"
            );
            drain.delivered(seq);
            sent.push(seq);
        }
        assert_eq!(sent, [1, 3, 4, 5]);
    }

    #[test]
    fn a_refused_topic_waits_while_others_go_on() {
        let rows = Rows(
            [(1, "a"), (2, "b"), (3, "a"), (4, "b")]
                .map(|(n, t)| row(n, t))
                .to_vec(),
        );
        let mut drain = Drain::new();
        assert_eq!(rows.all(&mut drain, s(0.0), 2), [1, 2]);
        let (topic, pause) = drain.refused(1, s(0.0), 0.0).unwrap();
        assert_eq!((topic.as_str(), pause), ("a", Span::from_secs(1)));
        drain.delivered(2);
        assert_eq!(rows.all(&mut drain, s(0.5), 2), [4], "3 is of the held topic");
        drain.delivered(4);
        assert_eq!(drain.deadline(), Some(s(1.0)));
        assert_eq!(rows.all(&mut drain, s(1.0), 2), [1, 3], "tried again, in order");
        assert_eq!(
            drain.refused(1, s(1.0), 1.0).unwrap().1,
            Span::from_secs(4),
            "the pause grows"
        );
        assert_eq!(drain.refused(3, s(1.0), 1.0), None, "logged once");
        assert_eq!(rows.all(&mut drain, s(4.9), 2), [] as [i64; 0]);
        assert_eq!(rows.all(&mut drain, s(5.0), 2), [1, 3]);
        drain.delivered(1);
        drain.delivered(3);
        assert!(drain.holds.is_empty());
    }

    #[test]
    fn a_row_that_kills_the_connection_is_found_and_parked() {
        let rows = Rows((1..=4).map(|n| row(n, "t")).collect());
        let mut drain = Drain::new();
        assert_eq!(rows.all(&mut drain, s(0.0), 4), [1, 2, 3, 4]);
        assert_eq!(
            drain.dropped(Drop::Complaint, false, s(0.0), 0.0),
            None,
            "any of the four"
        );
        assert_eq!(rows.all(&mut drain, s(1.0), 4), [1]);
        drain.delivered(1);
        for drop in 1..=3 {
            assert_eq!(rows.all(&mut drain, s(1.0), 4), [2]);
            let blamed = drain.dropped(Drop::Complaint, false, s(1.0), 0.0);
            assert_eq!(blamed, (drop == 3).then_some(2));
        }
        assert_eq!(rows.all(&mut drain, s(2.0), 4), [3], "the others go on");
    }

    #[test]
    fn cuts_hold_a_topic_but_never_park() {
        let rows = Rows([(1, "a"), (2, "b")].map(|(n, t)| row(n, t)).to_vec());
        let mut drain = Drain::new();
        for _ in 0..3 {
            assert_eq!(rows.next(&mut drain, s(1.0), 1), Some(1));
            assert_eq!(drain.dropped(Drop::Cut, false, s(1.0), 0.0), None);
        }
        assert_eq!(rows.next(&mut drain, s(1.5), 1), Some(2));
        drain.delivered(2);
        assert_eq!(rows.next(&mut drain, s(2.0), 1), Some(1), "tried again");
    }

    #[test]
    fn what_left_the_outbox_is_forgotten() {
        let mut rows = Rows((1..=200).map(|n| row(n, "t")).collect());
        let mut drain = Drain::new();
        let mut now = 0.0;
        while !rows.0.is_empty() {
            now += 1.0;
            for seq in rows.all(&mut drain, s(now), WINDOW) {
                drain.delivered(seq);
                rows.remove(seq);
            }
        }
        drain.dropped(Drop::Cut, false, s(now), 0.0);
        rows.feed(&mut drain);
        assert!(drain.finished.is_empty(), "{:?}", drain.finished);
    }
}
