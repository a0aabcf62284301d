//! The event machine of one stream: its tracker and the events made from its tracks.

use std::collections::VecDeque;

use synoptic_base::{BBox, ClockMap, EndReason, Mono, TrackId};

use super::lifecycle::Lifecycle;
use super::{EventConfig, EventCounts, EventOutput, NewEventId};
use crate::track::{TrackCounts, TrackInput, TrackOutput, TrackState, Tracker};

/// Detections of one stream in, events out.
pub struct EventMachine {
    tracker: Tracker,
    events: Lifecycle,
    outputs: VecDeque<EventOutput>,
    /// Set by `shutdown`: nothing happens any more.
    closed: bool,
}

impl EventMachine {
    /// A machine that makes events from what `tracker` follows.
    ///
    /// `detector` is the name of the detector whose results come; `new_id` makes event ids.
    pub fn new(detector: String, tracker: Tracker, config: EventConfig, new_id: NewEventId) -> EventMachine {
        EventMachine {
            events: Lifecycle::new(tracker.stream(), detector, config, new_id),
            tracker,
            outputs: VecDeque::new(),
            closed: false,
        }
    }

    /// Takes one input at `now`; sightings are stamped through `map`. Drain [`EventMachine::poll`] after it.
    /// After a shutdown inputs are ignored.
    pub fn handle(&mut self, now: Mono, input: TrackInput<'_>, map: &ClockMap) {
        if self.closed {
            return;
        }
        self.tracker.handle(now, input);
        while let Some(output) = self.tracker.poll() {
            match output {
                TrackOutput::Ended { track, reason } => {
                    self.events.ended(&track, reason, map, &mut self.outputs);
                }
                TrackOutput::Frame(frame) => {
                    self.events.frame(&frame, map, &mut self.outputs);
                    self.outputs.push_back(EventOutput::Tracked(frame));
                }
            }
        }
    }

    /// Whether anything is followed, told of or not.
    pub fn follows(&self) -> bool {
        self.tracker.tracks().next().is_some()
    }

    /// Where the objects seen last are thought to be at `at`: for frames that no detector looks at. Their track, label,
    /// score and box of the last sighting, moved on by its velocity.
    pub fn carried(&self, at: Mono) -> Vec<(TrackId, String, f32, BBox)> {
        let seen = self.tracker.tracks().filter(|t| t.state == TrackState::Confirmed);
        seen.map(|t| {
            let since = (at - t.last.captured.mono).as_secs_f64() as f32;
            let BBox { x, y, w, h, .. } = t.bbox;
            let moved = BBox::new(x + t.velocity.0 * since, y + t.velocity.1 * since, w, h);
            (t.id, t.label.clone(), t.last.score, moved.clamped())
        })
        .collect()
    }

    /// Ends every event, for good. Drain [`EventMachine::poll`] after it.
    pub fn shutdown(&mut self, map: &ClockMap) {
        self.closed = true;
        self.events.end_all(EndReason::Shutdown, map, &mut self.outputs);
    }

    /// The next output, in the order in which things happened.
    pub fn poll(&mut self) -> Option<EventOutput> {
        self.outputs.pop_front()
    }

    /// When to call with [`TrackInput::Time`], should no frame come before.
    pub fn deadline(&self) -> Option<Mono> {
        if self.closed {
            None
        } else {
            self.tracker.deadline()
        }
    }

    /// What was counted of events.
    pub fn counts(&self) -> EventCounts {
        self.events.counts()
    }

    /// What was counted of tracks.
    pub fn track_counts(&self) -> TrackCounts {
        self.tracker.counts()
    }

    /// Panics when something that must hold does not.
    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        let alive: Vec<_> = self.tracker.tracks().map(|t| t.id).collect();
        self.tracker.check_invariants();
        if !self.closed {
            self.events.check_invariants(&alive);
        }
    }
}
