//! The events that last, each from Begin to End, and the places where one has just ended.

use std::collections::{BTreeMap, VecDeque};

use synoptic_base::{BBox, ClockMap, EndReason, Event, EventId, Mono, Sighting, Span, StreamId, TrackId};

use super::quality::quality;
use super::{EventConfig, EventCounts, EventOutput, NewEventId};
use crate::track::{Look, Track, TrackState, TrackedFrame};

/// Ended events that are remembered for `cooldown`. At the limit the oldest is forgotten, and its place is free.
const MAX_COOLING: usize = 64;

/// An event that lasts.
#[derive(Clone, Debug)]
struct Lasting {
    id: EventId,
    label: String,
    /// The newest sighting.
    last: Look,
    /// Frames it was seen in.
    sightings: u64,
    /// Pictures asked for.
    pictures: u32,
    /// When the newest was captured.
    pictured: Mono,
    /// How good the best of them is.
    best: f32,
}

/// Where an event has just ended.
#[derive(Clone, Debug)]
struct Cooling {
    label: String,
    bbox: BBox,
    until: Mono,
}

/// Turns tracks into events.
pub(super) struct Lifecycle {
    stream: StreamId,
    detector: String,
    config: EventConfig,
    new_id: NewEventId,
    lasting: BTreeMap<TrackId, Lasting>,
    cooling: VecDeque<Cooling>,
    counts: EventCounts,
}

fn sighting(look: &Look, map: &ClockMap) -> Sighting {
    Sighting {
        frame: look.frame,
        captured: look.captured,
        stamp: map.stamp(look.captured),
        map_version: map.version,
        bbox: look.bbox,
        score: look.score,
    }
}

impl Lifecycle {
    pub(super) fn new(
        stream: StreamId,
        detector: String,
        config: EventConfig,
        new_id: NewEventId,
    ) -> Lifecycle {
        Lifecycle {
            stream,
            detector,
            config,
            new_id,
            lasting: BTreeMap::new(),
            cooling: VecDeque::new(),
            counts: EventCounts::default(),
        }
    }

    pub(super) fn counts(&self) -> EventCounts {
        self.counts
    }

    /// A frame was tracked: follows the events seen in it, begins new ones.
    pub(super) fn frame(&mut self, frame: &TrackedFrame, map: &ClockMap, out: &mut VecDeque<EventOutput>) {
        if frame.ignored.is_some() {
            return;
        }
        let now = frame.meta.captured.mono;
        self.cooling.retain(|place| place.until > now);
        let seen = |t: &&Track| t.state == TrackState::Confirmed && t.last.frame == frame.meta.key;
        for track in frame.tracks.iter().filter(seen) {
            if let Some(event) = self.lasting.get_mut(&track.id) {
                event.last = track.last;
                event.sightings = track.hits;
                if event.wants_picture(track, &self.config) {
                    event.ask(track, map, out);
                    self.counts.pictures += 1;
                }
            } else if self.may_begin(track) {
                self.begin(track, map, out);
            }
        }
    }

    /// A track is over: ends its event, if it has one.
    pub(super) fn ended(
        &mut self,
        track: &Track,
        reason: EndReason,
        map: &ClockMap,
        out: &mut VecDeque<EventOutput>,
    ) {
        let Some(event) = self.lasting.remove(&track.id) else {
            self.counts.unreported += 1;
            return;
        };
        if reason == EndReason::Lost && self.config.cooldown > Span::ZERO {
            if self.cooling.len() >= MAX_COOLING {
                self.cooling.pop_front();
            }
            self.cooling.push_back(Cooling {
                label: event.label.clone(),
                bbox: event.last.bbox,
                until: event.last.captured.mono + self.config.cooldown,
            });
        }
        self.end(&event, reason, map, out);
    }

    /// Ends every event.
    pub(super) fn end_all(&mut self, reason: EndReason, map: &ClockMap, out: &mut VecDeque<EventOutput>) {
        for event in std::mem::take(&mut self.lasting).into_values() {
            self.end(&event, reason, map, out);
        }
    }

    fn end(&mut self, event: &Lasting, reason: EndReason, map: &ClockMap, out: &mut VecDeque<EventOutput>) {
        self.counts.ended += 1;
        out.push_back(EventOutput::End {
            id: event.id,
            last: sighting(&event.last, map),
            reason,
            sightings: event.sightings,
        });
    }

    fn may_begin(&self, track: &Track) -> bool {
        let now = track.last.captured.mono;
        let cooling = self.cooling.iter().any(|place| {
            place.label == track.label && place.bbox.iou(&track.first.bbox) >= self.config.same_place_iou
        });
        !cooling
            && now - track.first.captured.mono >= self.config.min_duration
            && self.lasting.len() < self.config.max_events
    }

    /// Begins an event and asks for its first picture at once, so that it is never without one.
    fn begin(&mut self, track: &Track, map: &ClockMap, out: &mut VecDeque<EventOutput>) {
        let first = sighting(&track.first, map);
        let id = (self.new_id)(first.stamp.utc);
        self.counts.begun += 1;
        self.counts.pictures += 1;
        let mut event = Lasting {
            id,
            label: track.label.clone(),
            last: track.last,
            sightings: track.hits,
            pictures: 0,
            pictured: track.last.captured.mono,
            best: 0.0,
        };
        out.push_back(EventOutput::Begin(Event {
            id,
            stream: self.stream,
            track: track.id,
            label: track.label.clone(),
            detector: self.detector.clone(),
            first,
        }));
        event.ask(track, map, out);
        self.lasting.insert(track.id, event);
    }

    /// Panics when something that must hold does not.
    #[cfg(test)]
    pub(super) fn check_invariants(&self, alive: &[TrackId]) {
        assert!(self.lasting.len() <= self.config.max_events && self.cooling.len() <= MAX_COOLING);
        assert!(
            self.lasting.keys().all(|id| alive.contains(id)),
            "an event without a track"
        );
        assert_eq!(self.counts.begun - self.counts.ended, self.lasting.len() as u64);
    }
}

impl Lasting {
    fn wants_picture(&self, track: &Track, config: &EventConfig) -> bool {
        if self.pictures >= config.max_pictures {
            return false;
        }
        let doublings = self.pictures.saturating_sub(1).min(30);
        let spacing = config.picture_spacing * (1_i64 << doublings);
        let q = quality(track);
        q > 0.0 && q >= self.best * config.better_by && track.last.captured.mono - self.pictured >= spacing
    }

    fn ask(&mut self, track: &Track, map: &ClockMap, out: &mut VecDeque<EventOutput>) {
        self.pictures += 1;
        self.pictured = track.last.captured.mono;
        self.best = quality(track);
        out.push_back(EventOutput::WantPicture {
            id: self.id,
            sighting: sighting(&track.last, map),
        });
    }
}
