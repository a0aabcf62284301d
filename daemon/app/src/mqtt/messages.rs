//! Events as MQTT messages: pure, called when a change of an event is recorded together with its outbox row.
//!
//! The attributes are those of CloudEvents 1.0 in binary mode (MQTT protocol binding 1.0.2, section 3.1): user
//! properties beside the payload, and the MQTT content type for `datacontenttype`.

use serde::Serialize;
use synoptic_base::{BootId, EndReason, Event, EventChange, EventId, Sighting};

use super::Topics;
use crate::documents::{Capture, EventMessage, EventPhase, MediaRef, SystemEventDoc};

/// Version of the payload's schema.
const SCHEMA: u32 = 1;
/// Last level of the topic of events that follow a track.
const KIND: &str = "track";

/// What the messages of an event must know beside the change.
#[derive(Clone, Debug, PartialEq)]
pub struct EventContext {
    /// The event as it began.
    pub event: Event,
    /// Number of this message within the event: 0 for `start`, + 1 with each. Kept with the event, so that
    /// it goes on after a restart.
    pub seq: u32,
    /// Boot in which the change's sighting was captured.
    pub boot: BootId,
    /// Pictures kept of it so far.
    pub media: Vec<MediaRef>,
}

/// A message for the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Topic.
    pub topic: String,
    /// JSON, by docs/reference/schemas/event.json.
    pub payload: Vec<u8>,
    /// MQTT 5 user properties: the CloudEvents attributes. `id` is `EVENT:SEQ`, the same at every repeat.
    pub properties: Vec<(String, String)>,
}

/// The message of one change of an event.
///
/// # Errors
/// When `known` is not of the event that `change` is about; the caller has mixed two events up. System events have
/// [`system_message`].
pub fn event_message(
    topics: &Topics,
    change: &EventChange,
    known: &EventContext,
) -> Result<Message, MessageError> {
    let id = change.event();
    let wrong = MessageError {
        change: id,
        known: known.event.id,
    };
    let Some((phase, sighting, ended_by)) = parts(change).filter(|_| id == known.event.id) else {
        return Err(wrong);
    };
    let event = &known.event;
    let document = EventMessage {
        schema: SCHEMA,
        id: id.0.to_string(),
        phase,
        seq: known.seq,
        cam: event.stream.to_string(),
        track: event.track.0,
        label: event.label.clone(),
        score: sighting.score,
        bbox: [sighting.bbox.x, sighting.bbox.y, sighting.bbox.w, sighting.bbox.h],
        detector: event.detector.clone(),
        frame: sighting.frame.to_string(),
        capture: Capture::of_stamp(sighting.stamp, sighting.captured.rel_error),
        boot_id: known.boot.0.to_string(),
        ended_by: ended_by.map(|r| r.name().to_owned()),
        media: known.media.clone(),
    };
    let properties = [
        ("specversion", "1.0".to_owned()),
        ("id", format!("{}:{}", id.0, known.seq)),
        ("source", topics.event_source(event.stream.as_str())),
        ("type", format!("synoptic.{KIND}.{}.v{SCHEMA}", phase_name(phase))),
        ("subject", id.0.to_string()),
        ("time", document.capture.utc.clone()),
    ];
    Ok(Message {
        topic: topics.event(KIND),
        payload: json(&document),
        properties: properties.map(|(k, v)| (k.to_owned(), v)).to_vec(),
    })
}

/// The message of a system event.
pub fn system_message(topics: &Topics, document: &SystemEventDoc, name: &str) -> Message {
    let source = match &document.cam {
        Some(camera) => topics.event_source(camera),
        None => format!("/{}", topics.prefix()),
    };
    let properties = [
        ("specversion", "1.0".to_owned()),
        ("id", format!("{}:0", document.id)),
        ("source", source),
        ("type", format!("synoptic.{name}.v{}", document.schema)),
        ("subject", document.id.clone()),
        ("time", document.utc.clone()),
    ];
    Message {
        topic: topics.event(name),
        payload: json(document),
        properties: properties.map(|(k, v)| (k.to_owned(), v)).to_vec(),
    }
}

/// The context belongs to another event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a change of event {} came with the context of event {}", change.0, known.0)]
pub struct MessageError {
    change: EventId,
    known: EventId,
}

/// `None` for a system event, which has no phases.
fn parts(change: &EventChange) -> Option<(EventPhase, &Sighting, Option<EndReason>)> {
    match change {
        EventChange::Begin(event) => Some((EventPhase::Start, &event.first, None)),
        EventChange::Best { sighting, .. } => Some((EventPhase::Update, sighting, None)),
        EventChange::End { last, reason, .. } => Some((EventPhase::End, last, Some(*reason))),
        EventChange::System(_) => None,
    }
}

fn phase_name(phase: EventPhase) -> &'static str {
    match phase {
        EventPhase::Start => "start",
        EventPhase::Update => "update",
        EventPhase::End => "end",
    }
}

/// A document as JSON.
pub(crate) fn json<T: Serialize>(document: &T) -> Vec<u8> {
    // Documents are plain structs with text keys: serde_json has no way to fail on them.
    serde_json::to_vec(document).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::samples;

    #[test]
    fn an_event_is_one_id_through_all_phases() {
        let topics = samples::topics();
        for (seq, (change, phase)) in samples::changes()
            .into_iter()
            .zip(["start", "update", "end"])
            .enumerate()
        {
            let known = samples::context(seq as u32);
            let message = event_message(&topics, &change, &known).unwrap();
            assert_eq!(message.topic, "synoptic/v1/default/box-1/event/track");
            let payload: EventMessage = serde_json::from_slice(&message.payload).unwrap();
            let id = known.event.id.0.to_string();
            assert_eq!((payload.id.as_str(), payload.seq), (id.as_str(), seq as u32));
            assert_eq!(serde_json::to_value(payload.phase).unwrap(), phase);
            assert_eq!(payload.ended_by.as_deref(), (phase == "end").then_some("lost"));
            assert_eq!(payload.capture.source, "sender_report");
            assert_eq!(payload.capture.error_ms, Some(5.0));
            let property = |name: &str| {
                let found: Vec<_> = message.properties.iter().filter(|(k, _)| k == name).collect();
                assert_eq!(found.len(), 1, "{name}");
                found[0].1.clone()
            };
            assert_eq!(property("specversion"), "1.0");
            assert_eq!(property("id"), format!("{id}:{seq}"));
            assert_eq!(property("type"), format!("synoptic.track.{phase}.v1"));
            assert_eq!(property("source"), "/synoptic/v1/default/box-1/cam/front");
            assert_eq!(property("time"), payload.capture.utc);
        }
    }

    #[test]
    fn the_context_of_another_event_is_an_error() {
        let mut known = samples::context(1);
        known.event.id = EventId(uuid::Uuid::nil());
        let error = event_message(&samples::topics(), &samples::changes()[1], &known).unwrap_err();
        assert!(error.to_string().contains("00000000-0000"), "{error}");
    }
}
