//! A change with its messages as it waits in the queue, and its form on disk in the spill.
//!
//! On disk: length of the head (u32, little endian), the head as JSON, the JPEG, the payloads. JSON, because a
//! spill may be read by the next version of the program; the blobs stay as they are, because they are large.

use serde::{Deserialize, Serialize};
use synoptic_base::{
    BBox, BestFrame, BootId, EndReason, Event, EventChange, EventId, FrameKey, Sighting, StreamId,
    SystemEvent, TrackId,
};
use uuid::Uuid;

use crate::OutboxMessage;

/// What an entry weighs beside its blobs, in bytes: generous.
const OVERHEAD_BYTES: usize = 1024;

/// A change with its messages.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// The boot in which it was recorded.
    pub(crate) boot: BootId,
    pub(crate) change: EventChange,
    pub(crate) messages: Vec<OutboxMessage>,
}

impl Entry {
    /// Takes a change in. Numbers that are no numbers become 0: neither SQLite nor JSON can hold them.
    pub(crate) fn new(boot: BootId, mut change: EventChange, messages: Vec<OutboxMessage>) -> Entry {
        let sighting = match &mut change {
            EventChange::Begin(event) => Some(&mut event.first),
            EventChange::Best { sighting, .. } => Some(sighting),
            EventChange::End { last, .. } => Some(last),
            EventChange::System(_) => None,
        };
        if let Some(sighting) = sighting {
            let finite = |v: f32| if v.is_finite() { v } else { 0.0 };
            let b = sighting.bbox;
            sighting.bbox = BBox::new(finite(b.x), finite(b.y), finite(b.w), finite(b.h));
            sighting.score = finite(sighting.score);
        }
        Entry {
            boot,
            change,
            messages,
        }
    }

    /// The event it is about.
    pub(crate) fn event(&self) -> EventId {
        self.change.event()
    }

    /// What it takes in memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let picture = match &self.change {
            EventChange::Best { picture, .. } => picture.jpeg.len(),
            _ => 0,
        };
        let messages: usize = self
            .messages
            .iter()
            .map(|m| m.payload.len() + m.topic.len())
            .sum();
        OVERHEAD_BYTES + picture + messages
    }

    /// Its form on disk.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        let (change, jpeg): (ChangeHead, &[u8]) = match &self.change {
            EventChange::Begin(e) => (
                ChangeHead::Begin {
                    id: e.id,
                    stream: e.stream,
                    track: e.track,
                    label: e.label.clone(),
                    detector: e.detector.clone(),
                    first: e.first.clone(),
                },
                &[],
            ),
            EventChange::Best {
                id,
                sighting,
                picture,
            } => (
                ChangeHead::Best {
                    id: *id,
                    sighting: sighting.clone(),
                    frame: picture.frame,
                    jpeg_bytes: picture.jpeg.len(),
                },
                &picture.jpeg,
            ),
            EventChange::End {
                id,
                last,
                reason,
                sightings,
            } => (
                ChangeHead::End {
                    id: *id,
                    last: last.clone(),
                    reason: *reason,
                    sightings: *sightings,
                },
                &[],
            ),
            EventChange::System(event) => (ChangeHead::System { event: event.clone() }, &[]),
        };
        let head = Head {
            boot: self.boot,
            change,
            messages: self.messages.iter().map(MessageHead::of).collect(),
        };
        let head = serde_json::to_vec(&head).map_err(|e| e.to_string())?;
        let mut out = Vec::with_capacity(head.len() + self.bytes());
        let head_bytes = u32::try_from(head.len()).map_err(|_| "the head is too long".to_owned())?;
        out.extend_from_slice(&head_bytes.to_le_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(jpeg);
        for message in &self.messages {
            out.extend_from_slice(&message.payload);
        }
        Ok(out)
    }

    /// The inverse of [`Entry::encode`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Entry, String> {
        let mut rest = bytes;
        let mut take = |n: usize| -> Result<&[u8], String> {
            let (front, back) = rest.split_at_checked(n).ok_or("the record is cut short")?;
            rest = back;
            Ok(front)
        };
        let mut head_bytes = [0; 4];
        head_bytes.copy_from_slice(take(4)?);
        let head: Head = serde_json::from_slice(take(u32::from_le_bytes(head_bytes) as usize)?)
            .map_err(|e| format!("its head cannot be read: {e}"))?;
        let change = match head.change {
            ChangeHead::Begin {
                id,
                stream,
                track,
                label,
                detector,
                first,
            } => EventChange::Begin(Event {
                id,
                stream,
                track,
                label,
                detector,
                first,
            }),
            ChangeHead::Best {
                id,
                sighting,
                frame,
                jpeg_bytes,
            } => EventChange::Best {
                id,
                sighting,
                picture: BestFrame {
                    frame,
                    jpeg: take(jpeg_bytes)?.to_vec(),
                },
            },
            ChangeHead::End {
                id,
                last,
                reason,
                sightings,
            } => EventChange::End {
                id,
                last,
                reason,
                sightings,
            },
            ChangeHead::System { event } => EventChange::System(event),
        };
        let mut messages = Vec::with_capacity(head.messages.len());
        for m in head.messages {
            messages.push(OutboxMessage {
                id: m.id,
                topic: m.topic,
                properties: m.properties,
                payload: take(m.payload_bytes)?.to_vec(),
            });
        }
        Ok(Entry {
            boot: head.boot,
            change,
            messages,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    boot: BootId,
    change: ChangeHead,
    messages: Vec<MessageHead>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ChangeHead {
    Begin {
        id: EventId,
        stream: StreamId,
        track: TrackId,
        label: String,
        detector: String,
        first: Sighting,
    },
    Best {
        id: EventId,
        sighting: Sighting,
        frame: FrameKey,
        jpeg_bytes: usize,
    },
    End {
        id: EventId,
        last: Sighting,
        reason: EndReason,
        sightings: u64,
    },
    System {
        event: SystemEvent,
    },
}

#[derive(Serialize, Deserialize)]
struct MessageHead {
    id: Uuid,
    topic: String,
    properties: Vec<(String, String)>,
    payload_bytes: usize,
}

impl MessageHead {
    fn of(message: &OutboxMessage) -> MessageHead {
        MessageHead {
            id: message.id,
            topic: message.topic.clone(),
            properties: message.properties.clone(),
            payload_bytes: message.payload.len(),
        }
    }
}
