//! Events on their way to disk, to the broker's outbox and to the page: the one place that turns a change of an
//! event into a row, a message and a document.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use synoptic_base::{BootId, EndReason, EventChange, EventId, SystemChange, SystemEvent};
use synoptic_store::{AnyEventRow, EventRow, OutboxMessage, Store};

use crate::documents::{
    AnyEventDoc, Capture, EventDoc, MediaRef, RestampDoc, SystemEventDoc, SystemEventType, TrackType,
    round_ms,
};
use crate::hub::Hub;
use crate::mqtt::{EventContext, Topics, event_message, system_message};

/// Pictures held for those who ask before the store has committed them: more than events change within a commit.
const NEWEST_PICTURES: usize = 32;

/// An event that lasts.
struct Lasting {
    context: EventContext,
    doc: EventDoc,
}

/// Records changes of events. Shared by the detect threads; never waits for the disk.
pub struct Recorder {
    store: Store,
    hub: Arc<Hub>,
    boot: BootId,
    /// `None` while no broker is configured: then nothing is written for it either.
    topics: Mutex<Option<Topics>>,
    lasting: Mutex<BTreeMap<EventId, Lasting>>,
    /// The newest pictures as JPEG, oldest first.
    pictures: Mutex<VecDeque<(EventId, Arc<[u8]>)>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// A recorder of the boot `boot`.
    pub fn new(store: Store, hub: Arc<Hub>, boot: BootId, topics: Option<Topics>) -> Recorder {
        Recorder {
            store,
            hub,
            boot,
            topics: Mutex::new(topics),
            lasting: Mutex::default(),
            pictures: Mutex::default(),
        }
    }

    /// The broker was configured anew.
    pub fn set_topics(&self, topics: Option<Topics>) {
        *locked(&self.topics) = topics;
    }

    /// Closes the events that a killed daemon left open, under the ids they began with.
    pub fn close_after_restart(&self, open: Vec<EventRow>) {
        for row in open {
            let id = row.event.id;
            log::info!("event {}: was open when the daemon died; closed", id.0);
            let media = row
                .picture
                .map(|p| picture_ref(id, &p.sha256))
                .into_iter()
                .collect();
            let context = EventContext {
                event: row.event.clone(),
                seq: row.changes,
                boot: row.boot_id,
                media,
            };
            locked(&self.lasting).insert(
                id,
                Lasting {
                    context,
                    doc: event_doc(&row),
                },
            );
            let reason = EndReason::Restart;
            self.record(EventChange::End {
                id,
                last: row.last,
                reason,
                sightings: row.sightings,
            });
        }
    }

    /// Records a change.
    pub fn record(&self, change: EventChange) {
        let mut lasting = locked(&self.lasting);
        let id = change.event();
        match &change {
            EventChange::Begin(event) => {
                let context = EventContext {
                    event: event.clone(),
                    seq: 0,
                    boot: self.boot,
                    media: Vec::new(),
                };
                lasting.insert(
                    event.id,
                    Lasting {
                        context,
                        doc: begun(event),
                    },
                );
            }
            EventChange::Best { .. } | EventChange::End { .. } => {}
            EventChange::System(event) => return self.record_system(event.clone()),
        }
        let Some(entry) = lasting.get_mut(&id) else {
            log::error!(
                "event {}: a change of an event that never began is not recorded",
                id.0
            );
            return;
        };
        entry.apply(&change);
        if let EventChange::Best { picture, .. } = &change {
            self.hold_picture(id, &picture.jpeg);
        }
        let messages = self.messages(&change, &entry.context);
        entry.context.seq += 1;
        // Without a page open there is nobody to tell.
        let doc = AnyEventDoc::Track(entry.doc.clone());
        self.hub.events.send(Arc::new(doc)).ok();
        if matches!(change, EventChange::End { .. }) {
            lasting.remove(&id);
        }
        // Still under the lock: the store sees changes in the order of their numbers.
        self.store.record(change, messages);
    }

    /// Records a system event: a row and a message at once, for it never changes.
    pub fn record_system(&self, event: SystemEvent) {
        let doc = system_doc(&event, self.boot);
        let messages = locked(&self.topics).as_ref().map(|topics| {
            let message = system_message(topics, &doc, event.change.name());
            OutboxMessage {
                id: message_id(event.id, 0),
                topic: message.topic,
                payload: message.payload,
                properties: message.properties,
            }
        });
        // Without a page open there is nobody to tell.
        self.hub.events.send(Arc::new(AnyEventDoc::System(doc))).ok();
        self.store
            .record(EventChange::System(event), messages.into_iter().collect());
    }

    fn hold_picture(&self, id: EventId, jpeg: &[u8]) {
        let mut pictures = locked(&self.pictures);
        pictures.retain(|(of, _)| *of != id);
        if pictures.len() == NEWEST_PICTURES {
            pictures.pop_front();
        }
        pictures.push_back((id, jpeg.into()));
    }

    /// The newest JPEG of an event that changed lately. The page is told of a picture before the store has it.
    pub fn newest_picture(&self, id: EventId) -> Option<Arc<[u8]>> {
        let pictures = locked(&self.pictures);
        let found = pictures.iter().find(|(of, _)| *of == id);
        found.map(|(_, jpeg)| Arc::clone(jpeg))
    }

    fn messages(&self, change: &EventChange, context: &EventContext) -> Vec<OutboxMessage> {
        let topics = locked(&self.topics);
        let Some(topics) = topics.as_ref() else {
            return Vec::new();
        };
        match event_message(topics, change, context) {
            Ok(message) => vec![OutboxMessage {
                id: message_id(context.event.id, context.seq),
                topic: message.topic,
                payload: message.payload,
                properties: message.properties,
            }],
            Err(error) => {
                log::error!("event {}: no message: {error}", context.event.id.0);
                Vec::new()
            }
        }
    }
}

impl Lasting {
    fn apply(&mut self, change: &EventChange) {
        match change {
            EventChange::Begin(_) | EventChange::System(_) => {}
            EventChange::Best {
                id,
                sighting,
                picture,
            } => {
                let sha256: [u8; 32] = Sha256::digest(&picture.jpeg).into();
                let media = picture_ref(*id, &sha256);
                self.doc.picture = Some(media.url.clone());
                self.context.media = vec![media];
                self.doc.score = sighting.score;
                self.doc.bbox = [sighting.bbox.x, sighting.bbox.y, sighting.bbox.w, sighting.bbox.h];
                self.doc.frame = sighting.frame.to_string();
            }
            EventChange::End { last, reason, .. } => {
                self.doc.end = Some(Capture::of_stamp(last.stamp, last.captured.rel_error));
                self.doc.ended_by = Some(reason.name().to_owned());
            }
        }
    }
}

/// Each message of an event has an id of its own, the same whenever it is made again: the event's random bits
/// with the message's number mixed in.
fn message_id(event: EventId, seq: u32) -> uuid::Uuid {
    let mut bytes = *event.0.as_bytes();
    for (byte, number) in bytes[12..].iter_mut().zip((seq + 1).to_be_bytes()) {
        *byte ^= number;
    }
    uuid::Uuid::from_bytes(bytes)
}

fn picture_ref(id: EventId, sha256: &[u8; 32]) -> MediaRef {
    MediaRef {
        url: picture_url(id),
        kind: "image/jpeg".to_owned(),
        sha256: sha256.iter().map(|b| format!("{b:02x}")).collect(),
    }
}

fn picture_url(id: EventId) -> String {
    format!("/api/v1/events/{}/picture", id.0)
}

fn begun(event: &synoptic_base::Event) -> EventDoc {
    let first = &event.first;
    EventDoc {
        kind: TrackType::Track,
        id: event.id.0.to_string(),
        cam: event.stream.to_string(),
        track: event.track.0,
        label: event.label.clone(),
        score: first.score,
        bbox: [first.bbox.x, first.bbox.y, first.bbox.w, first.bbox.h],
        detector: event.detector.clone(),
        begin: Capture::of_stamp(first.stamp, first.captured.rel_error),
        restamped: None,
        end: None,
        ended_by: None,
        frame: first.frame.to_string(),
        picture: None,
    }
}

/// A stored event of either kind as a document.
pub fn any_event_doc(row: &AnyEventRow) -> AnyEventDoc {
    match row {
        AnyEventRow::Track(row) => AnyEventDoc::Track(event_doc(row)),
        AnyEventRow::System(row) => AnyEventDoc::System(system_doc(&row.event, row.boot_id)),
    }
}

/// Version of `SystemEventDoc`.
const SYSTEM_SCHEMA: u32 = 1;

/// A system event of the boot `boot` as a document.
pub fn system_doc(event: &SystemEvent, boot: BootId) -> SystemEventDoc {
    let mut doc = SystemEventDoc {
        schema: SYSTEM_SCHEMA,
        id: event.id.0.to_string(),
        kind: SystemEventType::CameraOnline,
        cam: event.stream.map(|stream| stream.to_string()),
        utc: event.utc.to_rfc3339(),
        error_ms: event.error.map(round_ms),
        boot_id: boot.0.to_string(),
        from: None,
        to: None,
        step_ms: None,
        reason: None,
        restamp: None,
        untold: event.untold,
    };
    match &event.change {
        SystemChange::CameraOnline => {}
        SystemChange::CameraOffline { outage, reason } => {
            doc.kind = SystemEventType::CameraOffline;
            doc.to = Some(outage.name().to_owned());
            doc.reason.clone_from(reason);
        }
        SystemChange::TimeSource { from, to } => {
            doc.kind = SystemEventType::TimeSource;
            doc.from = Some(from.name().to_owned());
            doc.to = Some(to.name().to_owned());
        }
        SystemChange::CameraClockStep { step } => {
            doc.kind = SystemEventType::CameraClockStep;
            doc.step_ms = Some(round_ms(*step));
        }
        SystemChange::BoxClockStep { step } => {
            doc.kind = SystemEventType::BoxClockStep;
            doc.step_ms = Some(round_ms(*step));
        }
        SystemChange::StitchOkay => doc.kind = SystemEventType::StitchOkay,
        SystemChange::StitchDegraded { reason } => {
            doc.kind = SystemEventType::StitchDegraded;
            doc.reason = Some(reason.clone());
        }
        SystemChange::CameraTime { finding, text } => {
            doc.kind = SystemEventType::CameraTime;
            doc.to = Some(finding.clone());
            doc.reason = Some(text.clone());
        }
        SystemChange::Restamp(restamp) => {
            doc.kind = SystemEventType::Restamp;
            doc.restamp = Some(RestampDoc::new(restamp, event));
        }
        SystemChange::DetectorEngine {
            detector,
            from,
            to,
            reason,
        } => {
            doc.kind = SystemEventType::DetectorEngine;
            doc.from.clone_from(from);
            doc.to.clone_from(to);
            let why = reason.as_deref().unwrap_or("as wanted");
            doc.reason = Some(format!("detector {detector}: {why}"));
        }
        SystemChange::GpuOkay { gpu } => {
            doc.kind = SystemEventType::GpuOkay;
            doc.to = Some(gpu.clone());
        }
        SystemChange::GpuThrottled { gpu, reason } => {
            doc.kind = SystemEventType::GpuThrottled;
            doc.to = Some(gpu.clone());
            doc.reason = Some(reason.clone());
        }
    }
    doc
}

/// A stored event as a document.
pub fn event_doc(row: &EventRow) -> EventDoc {
    let best = &row.best;
    EventDoc {
        score: best.score,
        bbox: [best.bbox.x, best.bbox.y, best.bbox.w, best.bbox.h],
        frame: best.frame.to_string(),
        restamped: row
            .restamped(&row.event.first)
            .map(|(stamp, captured)| Capture::of_stamp(stamp, captured.rel_error)),
        end: row
            .end()
            .map(|last| Capture::of_stamp(last.stamp, last.captured.rel_error)),
        ended_by: row.ended_by.map(|r| r.name().to_owned()),
        picture: row.picture.map(|_| picture_url(row.event.id)),
        ..begun(&row.event)
    }
}
