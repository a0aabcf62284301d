//! What is to be removed, as a plain value: computed here, carried out by `trim`.

use std::fmt;

use synoptic_base::{Span, Utc};

/// How long and how much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionLimits {
    /// Ended events older than this go.
    pub keep_events: Span,
    /// Detection results older than this go.
    pub keep_detections: Span,
    /// Both databases together stay below this many bytes.
    pub max_bytes: u64,
    /// Free space on the disk that is never used up, in bytes.
    pub min_free_bytes: u64,
}

/// What is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Now, by the box's clock.
    pub now: Utc,
    /// Bytes in use in events.sqlite, without its free pages.
    pub events_bytes: u64,
    /// Bytes in use in detections.sqlite, without its free pages.
    pub detections_bytes: u64,
    /// Free pages within both files: bytes that a vacuum gives back to the disk.
    pub reclaimable_bytes: u64,
    /// Write-ahead logs of both.
    pub wal_bytes: u64,
    /// Free bytes on the disk.
    pub free_bytes: u64,
    /// Messages in the outbox.
    pub outbox_rows: u64,
}

/// What is to be done about it. Events that have not ended, and those whose messages have not left, always stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionPlan {
    /// Remove detection results captured before this.
    pub detections_before: Utc,
    /// Remove events that were last seen before this.
    pub events_before: Utc,
    /// Remove the oldest detection results until their file has at most this many bytes in use.
    pub detections_bytes: Option<u64>,
    /// Remove the oldest events until their file has at most this many bytes in use.
    pub events_bytes: Option<u64>,
    /// Drop this many of the oldest messages.
    pub drop_messages: u64,
}

/// Once over `max_bytes`, room is made down to this part of it, so that it is not made for every single event.
const REFILL: (u64, u64) = (95, 100);
/// When others fill the disk, our data is still not given up below this part of `max_bytes`: removing it all would
/// not bring their space back.
const FLOOR: (u64, u64) = (10, 100);
/// Most messages in the outbox: at 1 kB each, 200 MB; a busy site makes them in months without a broker.
const MAX_OUTBOX_ROWS: u64 = 200_000;

fn part(of: u64, (numerator, denominator): (u64, u64)) -> u64 {
    of / denominator * numerator
}

impl RetentionPlan {
    /// Decides what goes. Telemetry goes before events.
    pub fn new(limits: &RetentionLimits, usage: &Usage) -> RetentionPlan {
        let used = usage.events_bytes + usage.detections_bytes + usage.wal_bytes;
        let over = if used > limits.max_bytes {
            used - part(limits.max_bytes, REFILL)
        } else {
            0
        };
        let free = usage.free_bytes.saturating_add(usage.reclaimable_bytes);
        let short = limits
            .min_free_bytes
            .saturating_sub(free)
            .min(used.saturating_sub(part(limits.max_bytes, FLOOR)));
        let goal = over.max(short);
        let from_detections = goal.min(usage.detections_bytes);
        let from_events = (goal - from_detections).min(usage.events_bytes);
        let target = |bytes: u64, less: u64| (less > 0).then(|| bytes - less);
        RetentionPlan {
            detections_before: usage.now - limits.keep_detections,
            events_before: usage.now - limits.keep_events,
            detections_bytes: target(usage.detections_bytes, from_detections),
            events_bytes: target(usage.events_bytes, from_events),
            drop_messages: usage.outbox_rows.saturating_sub(MAX_OUTBOX_ROWS),
        }
    }
}

impl fmt::Display for RetentionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "remove detections before {} and events before {}",
            self.detections_before, self.events_before
        )?;
        if let Some(bytes) = self.detections_bytes {
            write!(f, ", the oldest detections down to {bytes} bytes")?;
        }
        if let Some(bytes) = self.events_bytes {
            write!(f, ", the oldest events down to {bytes} bytes")?;
        }
        if self.drop_messages > 0 {
            write!(f, ", the {} oldest messages", self.drop_messages)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RetentionLimits = RetentionLimits {
        keep_events: Span::from_secs(30 * 86_400),
        keep_detections: Span::from_secs(7 * 86_400),
        max_bytes: 1_000_000,
        min_free_bytes: 500_000,
    };

    fn usage(events_bytes: u64, detections_bytes: u64, free_bytes: u64) -> Usage {
        Usage {
            now: Utc::from_rfc3339("2026-11-21T10:00:00Z").unwrap(),
            events_bytes,
            detections_bytes,
            reclaimable_bytes: 0,
            wal_bytes: 0,
            free_bytes,
            outbox_rows: 0,
        }
    }

    #[test]
    fn age_alone_when_there_is_room() {
        let plan = RetentionPlan::new(&LIMITS, &usage(600_000, 400_000, 500_000));
        assert_eq!(plan.events_before.to_rfc3339(), "2026-10-22T10:00:00.000000Z");
        assert_eq!(plan.detections_before.to_rfc3339(), "2026-11-14T10:00:00.000000Z");
        assert_eq!((plan.detections_bytes, plan.events_bytes), (None, None));
        assert_eq!(plan.drop_messages, 0);
    }

    #[test]
    fn detections_go_first_then_events() {
        let plan = RetentionPlan::new(&LIMITS, &usage(600_000, 500_000, 500_000));
        assert_eq!((plan.detections_bytes, plan.events_bytes), (Some(350_000), None));
        let plan = RetentionPlan::new(&LIMITS, &usage(1_200_000, 50_000, 500_000));
        assert_eq!(
            (plan.detections_bytes, plan.events_bytes),
            (Some(0), Some(950_000))
        );
    }

    #[test]
    fn a_disk_that_others_fill_does_not_cost_everything() {
        let plan = RetentionPlan::new(&LIMITS, &usage(600_000, 0, 400_000));
        assert_eq!(plan.events_bytes, Some(500_000));
        let plan = RetentionPlan::new(&LIMITS, &usage(600_000, 0, 0));
        assert_eq!(plan.events_bytes, Some(100_000));
        let plan = RetentionPlan::new(&LIMITS, &usage(90_000, 0, 0));
        assert_eq!(plan.events_bytes, None);
    }

    #[test]
    fn free_pages_count_as_free_space() {
        let mut there = usage(600_000, 0, 400_000);
        there.reclaimable_bytes = 100_000;
        assert_eq!(RetentionPlan::new(&LIMITS, &there).events_bytes, None);
    }

    #[test]
    fn the_outbox_is_bounded() {
        let mut there = usage(0, 0, 500_000);
        there.outbox_rows = MAX_OUTBOX_ROWS + 7;
        assert_eq!(RetentionPlan::new(&LIMITS, &there).drop_messages, 7);
    }
}
