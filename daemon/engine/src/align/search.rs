//! The search for the packet of the smallest arc.

use synoptic_base::{Mono, Span};

use super::lane::{Item, Lane};

/// A grouping replaces the one at hand only if its arc is smaller by this: two groupings of nearly the same arc
/// must not take turns, or frames fall between them.
const HYSTERESIS: Span = Span::from_millis(3);

/// The next frame of a camera comes no earlier than this part of its interval, in percent: lets a packet leave
/// without waiting for a frame that cannot make it better.
const EARLIEST_NEXT_PERCENT: i64 = 85;

/// One frame of each camera that takes part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// Capture time of the chosen frame, for each lane.
    pub(super) heads: Vec<Option<Mono>>,
    /// The oldest of them.
    pub(super) start: Mono,
}

/// A camera's place in the set being looked at.
#[derive(Clone, Copy)]
struct Head {
    lane: usize,
    index: usize,
    at: Mono,
    /// Whether the frame is here; if not, `at` is the earliest it can be captured.
    here: bool,
}

/// Chooses the next packet's frames, or `None` when waiting can still make it better. With `expired`, cameras
/// without a frame are left out and nothing is waited for.
pub(super) fn choose<P>(lanes: &[Lane<P>], tolerance: Span, expired: bool) -> Option<Choice> {
    let mut set: Vec<Head> = Vec::with_capacity(lanes.len());
    let mut missing = false;
    for (i, lane) in lanes.iter().enumerate() {
        match lane.queue.front() {
            Some(item) => set.push(Head {
                lane: i,
                index: 0,
                at: item.at(),
                here: true,
            }),
            None if lane.broken().is_some() => {}
            None if expired => missing = true,
            None => return None,
        }
    }
    if missing {
        // The grouping stays as it was until the late camera is back: the best one without it may be another, and
        // each change of grouping leaves frames over.
        return (!set.is_empty()).then(|| within(lanes, &set, tolerance));
    }
    // Nothing before the newest head can be in one set with it that another set would not serve as well.
    let pivot = set.iter().max_by_key(|h| h.at)?.lane;
    let mut best = set.clone();
    let mut best_arc = arc(&best);
    let mut wait = false;
    while let Some(oldest) = set.iter_mut().min_by_key(|h| h.at) {
        if oldest.lane == pivot || !oldest.here {
            break;
        }
        let lane = &lanes[oldest.lane];
        oldest.index += 1;
        match lane.queue.get(oldest.index) {
            Some(item) => oldest.at = item.at(),
            // A camera that is down sends nothing more; one that is late has had its time.
            None if expired || lane.broken().is_some() => break,
            None => {
                let interval = lane.interval().unwrap_or(Span::ZERO);
                oldest.at += interval * EARLIEST_NEXT_PERCENT / 100;
                oldest.here = false;
            }
        }
        let better = arc(&set) + HYSTERESIS < best_arc;
        if better && set.iter().all(|h| h.here) {
            best.clone_from(&set);
            best_arc = arc(&best);
            wait = false;
        } else if better {
            wait = true;
        }
    }
    (!wait).then(|| within(lanes, &best, tolerance))
}

fn arc(set: &[Head]) -> Span {
    match (set.iter().map(|h| h.at).min(), set.iter().map(|h| h.at).max()) {
        (Some(first), Some(last)) => last - first,
        _ => Span::ZERO,
    }
}

/// Of a set that is wider than the tolerance allows, the part with most cameras; the earlier one of equals. What
/// is older than it is passed over, what is newer keeps waiting.
fn within<P>(lanes: &[Lane<P>], set: &[Head], tolerance: Span) -> Choice {
    let mut sorted: Vec<&Head> = set.iter().collect();
    sorted.sort_by_key(|h| h.at);
    let fits = |from: usize| {
        sorted[from..]
            .iter()
            .take_while(|h| h.at - sorted[from].at <= tolerance * 2)
            .count()
    };
    let from = (0..sorted.len()).rev().max_by_key(|i| fits(*i)).unwrap_or(0);
    let mut heads = vec![None; lanes.len()];
    for head in &sorted[from..from + fits(from)] {
        heads[head.lane] = lanes[head.lane].queue.get(head.index).map(Item::at);
    }
    Choice {
        heads,
        start: sorted[from].at,
    }
}
