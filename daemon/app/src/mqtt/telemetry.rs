//! Which retained document is due: on change, and again within 5 s.
//!
//! A document is sent at once when its **gist** changes: states, reasons, time sources, grades, members. Numbers
//! that move all the time (offsets, quantiles, rates, phases, and whether a camera's newest slot was dropped) are
//! not in the gist; they go with the next repeat.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use synoptic_base::{Mono, Span};

use super::home_assistant::{self, Components};
use super::ledger::Published;
use super::messages;
use super::topics::Topics;
use crate::documents::{DeviceInfo, DeviceStatus, StatusDoc};

/// A status document is sent again after this; a second below the promised 5 s, for the way to the broker.
const REPEAT: Span = Span::from_secs(4);

/// A retained document.
#[derive(Clone, Debug)]
struct Document {
    topic: String,
    payload: Vec<u8>,
    /// A change of it is worth a message of its own.
    gist: Value,
    /// Sent again every [`REPEAT`]; birth certificates are not.
    repeats: bool,
}

/// A message to publish now, retained, QoS 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Topic.
    pub(crate) topic: String,
    /// JSON, or empty to clear the topic.
    pub(crate) payload: Vec<u8>,
    /// For the ledger.
    pub(crate) what: Published,
}

/// Decides what to publish; the publisher does it.
pub(crate) struct Telemetry {
    topics: Topics,
    home_assistant: Option<String>,
    /// In the order of importance: the box first.
    documents: Vec<Document>,
    /// Whether the documents are all there are: then other retained topics are remains.
    complete: bool,
    /// Last gist and time of sending, by topic, of this connection.
    sent: BTreeMap<String, (Value, Mono)>,
    /// Topics of ours that the broker may retain.
    retained: BTreeSet<String>,
    /// Being cleared, on this connection.
    clearing: BTreeSet<String>,
    /// Home Assistant components that were announced once.
    announced: Components,
    /// Topics whose refusal was logged.
    complained: BTreeSet<String>,
}

impl Telemetry {
    /// What is told before the daemon's first status document: `info` and `status`.
    pub(crate) fn new(
        topics: Topics,
        home_assistant: Option<String>,
        info: &DeviceInfo,
        status: &DeviceStatus,
    ) -> Telemetry {
        let documents = birth(&topics, info, status);
        Telemetry {
            topics,
            home_assistant,
            documents,
            complete: false,
            sent: BTreeMap::new(),
            retained: BTreeSet::new(),
            clearing: BTreeSet::new(),
            announced: Components::new(),
            complained: BTreeSet::new(),
        }
    }

    /// Takes the daemon's newest state.
    pub(crate) fn update(&mut self, status: &StatusDoc) {
        let topics = &self.topics;
        let mut documents = birth(topics, &status.device, &status.status);
        for camera in &status.cameras {
            let state = &camera.status;
            let time = &camera.time;
            let findings: Vec<&str> = time
                .doctor
                .iter()
                .flat_map(|d| &d.findings)
                .map(|f| f.finding.as_str())
                .collect();
            documents.push(Document {
                topic: topics.camera_status(&camera.id),
                payload: messages::json(state),
                gist: json!([state.state, state.reason, state.since]),
                repeats: true,
            });
            documents.push(Document {
                topic: topics.camera_time(&camera.id),
                payload: messages::json(time),
                gist: json!([time.source, time.quality, findings]),
                repeats: true,
            });
        }
        for group in &status.groups {
            let members = group.members.iter();
            let members: Vec<_> = members
                .map(|m| json!([m.cam, m.source, m.status == "broken"]))
                .collect();
            documents.push(Document {
                topic: topics.sync_status(&group.group),
                payload: messages::json(group),
                gist: json!([group.state, group.tolerance_ms, members]),
                repeats: true,
            });
        }
        for panorama in &status.panoramas {
            let stitch = &panorama.status;
            let slots: Vec<_> = stitch.cameras.iter().map(|c| json!([c.cam])).collect();
            documents.push(Document {
                topic: topics.stitch_status(&panorama.id),
                payload: messages::json(stitch),
                gist: json!([
                    stitch.state,
                    stitch.reason,
                    stitch.calibration,
                    stitch.width,
                    stitch.height,
                    slots
                ]),
                repeats: true,
            });
        }
        for detector in &status.detectors {
            documents.push(Document {
                topic: topics.detector_status(&detector.group, &detector.name),
                payload: messages::json(detector),
                gist: json!(detector),
                repeats: true,
            });
        }
        for gpu in &status.gpus {
            documents.push(Document {
                topic: topics.gpu_status(&gpu.index.to_string()),
                payload: messages::json(gpu),
                gist: json!([gpu.name, gpu.throttled.is_some()]),
                repeats: true,
            });
        }
        for output in &status.outputs {
            documents.push(Document {
                topic: topics.output_status(&output.id),
                payload: messages::json(output),
                gist: json!([
                    output.state,
                    output.reason,
                    output.url,
                    output.transcoded,
                    output.sound
                ]),
                repeats: true,
            });
        }
        if let Some(prefix) = &self.home_assistant {
            let config = home_assistant::config(topics, status, &mut self.announced);
            documents.push(Document {
                topic: home_assistant::topic(topics, prefix),
                payload: messages::json(&config),
                gist: config,
                repeats: false,
            });
        }
        self.documents = documents;
        self.complete = true;
    }

    /// A new connection: everything is told anew.
    pub(crate) fn reconnected(&mut self) {
        self.sent.clear();
        self.clearing.clear();
    }

    /// The broker retains this topic of ours, maybe from an earlier run.
    pub(crate) fn seen(&mut self, topic: &str, payload: &[u8]) {
        if self
            .home_assistant
            .as_ref()
            .is_some_and(|p| home_assistant::topic(&self.topics, p) == topic)
        {
            home_assistant::recall(payload, &mut self.announced);
        }
        self.retained.insert(topic.to_owned());
    }

    /// The broker has taken the clearing of a topic.
    pub(crate) fn cleared(&mut self, topic: &str) {
        self.clearing.remove(topic);
        self.retained.remove(topic);
    }

    /// The broker refused a document. It comes again with its repeat; said once a topic.
    pub(crate) fn refused(&mut self, topic: &str, reason: &str) {
        if self.complained.insert(topic.to_owned()) {
            log::warn!("mqtt: the broker refuses {topic} ({reason}); check its access lists");
        }
    }

    /// The next message, most important first.
    pub(crate) fn next(&mut self, now: Mono) -> Option<Due> {
        let sent = &self.sent;
        let is_due = |d: &&Document| match sent.get(&d.topic) {
            None => true,
            Some((gist, at)) => *gist != d.gist || d.repeats && now - *at >= REPEAT,
        };
        if let Some(document) = self.documents.iter().find(is_due) {
            self.sent
                .insert(document.topic.clone(), (document.gist.clone(), now));
            self.retained.insert(document.topic.clone());
            return Some(Due {
                topic: document.topic.clone(),
                payload: document.payload.clone(),
                what: Published::Retained(document.topic.clone()),
            });
        }
        if !self.complete {
            return None;
        }
        let wanted = |topic: &String| self.documents.iter().any(|d| d.topic == *topic);
        let remains = self
            .retained
            .iter()
            .find(|t| !wanted(t) && !self.clearing.contains(*t))?
            .clone();
        self.sent.remove(&remains);
        self.clearing.insert(remains.clone());
        Some(Due {
            topic: remains.clone(),
            payload: Vec::new(),
            what: Published::Cleared(remains),
        })
    }

    /// When the next repeat is due.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        let repeats = self.documents.iter().filter(|d| d.repeats);
        repeats
            .filter_map(|d| self.sent.get(&d.topic).map(|(_, at)| *at + REPEAT))
            .min()
    }
}

fn birth(topics: &Topics, info: &DeviceInfo, status: &DeviceStatus) -> Vec<Document> {
    vec![
        Document {
            topic: topics.status(),
            payload: messages::json(status),
            gist: json!([status.state, status.since]),
            repeats: true,
        },
        Document {
            topic: topics.info(),
            payload: messages::json(info),
            gist: json!(info),
            repeats: false,
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::{CameraState, TimeQuality};
    use crate::mqtt::samples;

    fn at(s: i64) -> Mono {
        Mono::from_nanos(0) + Span::from_secs(s)
    }

    fn all(telemetry: &mut Telemetry, now: Mono) -> Vec<Due> {
        std::iter::from_fn(|| telemetry.next(now)).collect()
    }

    fn names(due: &[Due]) -> Vec<&str> {
        let cut = |d: &'_ Due| d.topic.find("box-1/").map_or(0, |at| at + 6);
        due.iter().map(|d| &d.topic[cut(d)..]).collect()
    }

    fn telemetry() -> Telemetry {
        let status = samples::status(&["front", "yard"]);
        Telemetry::new(samples::topics(), None, &status.device, &status.status)
    }

    #[test]
    fn birth_comes_first_then_every_document() {
        let mut t = telemetry();
        assert_eq!(names(&all(&mut t, at(0))), ["status", "info"]);
        t.update(&samples::status(&["front", "yard"]));
        let due = all(&mut t, at(0));
        assert_eq!(
            names(&due),
            [
                "cam/front/status",
                "cam/front/time",
                "cam/yard/status",
                "cam/yard/time",
                "sync/all/status",
                "stitch/whole/status"
            ]
        );
    }

    #[test]
    fn trembling_numbers_wait_for_the_repeat_and_states_do_not() {
        let mut t = telemetry();
        let mut status = samples::status(&["front"]);
        t.update(&status);
        all(&mut t, at(0));
        status.cameras[0].time.offset_ms = Some(17.0);
        status.groups[0].packets_per_s = 14.9;
        status.groups[0].members[0].phase_ms = Some(3.0);
        status.groups[0].members[0].status = "dropped".into();
        t.update(&status);
        assert_eq!(all(&mut t, at(1)), []);
        assert_eq!(t.deadline(), Some(at(4)));
        status.cameras[0].status.state = CameraState::Stalled;
        status.cameras[0].time.quality = TimeQuality::Poor;
        status.groups[0].members[0].status = "broken".into();
        t.update(&status);
        assert_eq!(
            names(&all(&mut t, at(2))),
            ["cam/front/status", "cam/front/time", "sync/all/status"]
        );
        let due = all(&mut t, at(4));
        assert_eq!(
            names(&due),
            ["status", "stitch/whole/status"],
            "the others were sent 2 s ago, info is not repeated"
        );
        assert_eq!(
            names(&all(&mut t, at(6))),
            ["cam/front/status", "cam/front/time", "sync/all/status"]
        );
    }

    #[test]
    fn another_engine_and_a_hot_gpu_are_told_at_once_and_degrees_are_not() {
        let mut t = telemetry();
        let mut status = samples::status(&["front"]);
        let (detector, gpu) = samples::engines();
        status.detectors.push(detector);
        status.gpus.push(gpu);
        t.update(&status);
        let due = all(&mut t, at(0));
        assert_eq!(
            names(&due)[due.len() - 2..],
            ["detector/all/people/status", "gpu/0/status"]
        );
        status.gpus[0].temperature_c = Some(62.0);
        t.update(&status);
        assert_eq!(all(&mut t, at(1)), []);
        status.gpus[0].throttled = Some("hot".into());
        status.detectors[0].engine.reason = Some("its plan is being built".into());
        t.update(&status);
        assert_eq!(
            names(&all(&mut t, at(2))),
            ["detector/all/people/status", "gpu/0/status"]
        );
    }

    #[test]
    fn an_output_that_fails_is_told_at_once_and_its_counts_with_the_repeat() {
        let mut t = telemetry();
        let mut status = samples::status(&["front"]);
        status.outputs.push(samples::output());
        t.update(&status);
        assert_eq!(names(&all(&mut t, at(0))).last(), Some(&"output/relay/status"));
        status.outputs[0].pictures += 25;
        t.update(&status);
        assert_eq!(all(&mut t, at(1)), []);
        status.outputs[0].state = crate::outputs::OutputState::Retrying;
        t.update(&status);
        assert_eq!(names(&all(&mut t, at(2))), ["output/relay/status"]);
        status.outputs.clear();
        t.update(&status);
        let due = all(&mut t, at(3));
        assert!(
            due.iter()
                .any(|d| d.topic.ends_with("output/relay/status") && d.payload.is_empty())
        );
    }

    #[test]
    fn a_new_connection_is_told_everything() {
        let mut t = telemetry();
        t.update(&samples::status(&["front"]));
        let first = names(&all(&mut t, at(0))).len();
        t.reconnected();
        assert_eq!(all(&mut t, at(1)).len(), first);
    }

    #[test]
    fn removed_cameras_are_cleared_also_those_of_an_earlier_run() {
        let mut t = telemetry();
        t.seen("synoptic/v1/default/box-1/cam/old/time", b"{}");
        assert_eq!(
            names(&all(&mut t, at(0))),
            ["status", "info"],
            "not known yet what is old"
        );
        t.update(&samples::status(&["front", "yard"]));
        let cleared = |due: Vec<Due>| -> Vec<String> {
            let empty = due.into_iter().filter(|d| d.payload.is_empty());
            empty
                .map(|d| d.topic.replace("synoptic/v1/default/box-1/", ""))
                .collect()
        };
        assert_eq!(cleared(all(&mut t, at(0))), ["cam/old/time"]);
        t.update(&samples::status(&["front"]));
        assert_eq!(cleared(all(&mut t, at(1))), ["cam/yard/status", "cam/yard/time"]);
        assert_eq!(cleared(all(&mut t, at(1))), [] as [&str; 0], "once a connection");
        t.cleared("synoptic/v1/default/box-1/cam/yard/time");
        t.reconnected();
        assert_eq!(
            cleared(all(&mut t, at(2))),
            ["cam/old/time", "cam/yard/status"],
            "no PUBACK came"
        );
        t.cleared("synoptic/v1/default/box-1/cam/yard/status");
        t.update(&samples::status(&["front", "yard"]));
        let back = [
            "info",
            "cam/yard/status",
            "cam/yard/time",
            "sync/all/status",
            "stitch/whole/status",
        ];
        assert_eq!(names(&all(&mut t, at(3))), back);
    }

    #[test]
    fn discovery_is_removed_when_it_is_switched_off() {
        let mut t = telemetry();
        let topic = home_assistant::topic(&samples::topics(), "homeassistant");
        t.seen(&topic, b"{}");
        t.update(&samples::status(&["front"]));
        let due = all(&mut t, at(0));
        let last = due.last().unwrap();
        assert_eq!((last.topic.as_str(), last.payload.len()), (topic.as_str(), 0));
    }
}
