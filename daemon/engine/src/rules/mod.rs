//! Events: what becomes of tracks once they matter.
//!
//! Terms:
//! * an **event** tells of one object, from the first frame that showed it to the last ([`Event`]);
//! * a **sighting** is one look at it, with its capture time in UTC;
//! * a **picture** is a frame that shows it well; the engine asks for one, the shell encodes it.
//!
//! Job: begin an event when its track is confirmed, ask for better pictures while it lasts, end it when the track
//! is lost, the camera is gone or the daemon stops.
//!
//! Contract: one [`EventMachine`] a stream; it owns the stream's tracker. Handle one input, [`EventMachine::poll`] to
//! `None`, come back at [`EventMachine::deadline`] even when no frame comes. Every event that begins ends exactly
//! once, unless the process dies (then the store closes it with `restart`). Pictures are asked for only between the
//! two, and only of the frame just handled, which the shell still holds. An event keeps the id, label and first
//! sighting it began with. Two tracks never share an event, and an ended event is never taken up again.
//!
//! Against flicker: a track must be confirmed (see [`TrackConfig`](crate::track::TrackConfig)) and as old as
//! `min_duration`; and where an event of the same label has just ended at the same place, the next one begins only
//! once `cooldown` has passed, if its track is still there. It then begins with the true first sighting.

mod lifecycle;
mod machine;
mod quality;

#[cfg(test)]
mod tests;

use synoptic_base::{EndReason, Event, EventId, Sighting, Span, Utc};

pub use machine::EventMachine;

use crate::track::TrackedFrame;

/// Makes the id of an event from the capture time of its first sighting; see [`event_id`].
pub type NewEventId = Box<dyn FnMut(Utc) -> EventId + Send>;

/// When events begin and which pictures are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct EventConfig {
    /// Least age of a track, on top of being confirmed.
    pub min_duration: Span,
    /// How long after an event was lost the next one of its label at its place must wait.
    pub cooldown: Span,
    /// IoU of a track's first box with an ended event's last box from which they are at the same place.
    pub same_place_iou: f32,
    /// Pictures of one event, the first included.
    pub max_pictures: u32,
    /// Least time from the first picture to the second; it doubles with each further one.
    pub picture_spacing: Span,
    /// How many times better than the best so far a picture must be.
    pub better_by: f32,
    /// Events that last at once. At the limit none begins until another ends.
    pub max_events: usize,
}

impl Default for EventConfig {
    /// Six pictures with doubling spacing from 0.5 s span the first 15 s of an event.
    fn default() -> EventConfig {
        EventConfig {
            min_duration: Span::ZERO,
            cooldown: Span::from_secs(5),
            same_place_iou: 0.5,
            max_pictures: 6,
            picture_spacing: Span::from_millis(500),
            better_by: 1.2,
            max_events: 256,
        }
    }
}

/// What the machine says.
#[derive(Clone, Debug, PartialEq)]
pub enum EventOutput {
    /// An event begins: `EventChange::Begin`.
    Begin(Event),
    /// Encode the picture of this sighting's frame, the one just handled, and record `EventChange::Best`.
    WantPicture {
        /// The event.
        id: EventId,
        /// The sighting in that frame.
        sighting: Sighting,
    },
    /// An event is over: `EventChange::End`.
    End {
        /// The event.
        id: EventId,
        /// The last sighting.
        last: Sighting,
        /// Why it ended.
        reason: EndReason,
        /// Number of frames it was seen in.
        sightings: u64,
    },
    /// What became of a frame's detections: one for each frame handed in, after the events it caused.
    Tracked(TrackedFrame),
}

/// What the machine counts, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Events that began.
    pub begun: u64,
    /// Events that ended.
    pub ended: u64,
    /// Pictures asked for.
    pub pictures: u64,
    /// Confirmed tracks that ended before they became an event: too short, cooling down, or at the limit.
    pub unreported: u64,
}

/// A UUIDv7 (RFC 9562 section 5.7) from a time and 80 random bits. Times before 1970 count as 1970.
pub fn event_id(utc: Utc, random: [u8; 10]) -> EventId {
    let millis = utc.as_nanos().max(0) as u64 / 1_000_000;
    EventId(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
}
