//! What the status document says to the judgement.

use std::collections::BTreeSet;

use synoptic_engine::health::{CameraFacts, DatabaseFacts, DetectorFacts, Facts, GroupFacts};

use crate::documents::{CameraState, StatusDoc, SyncState};
use crate::stages::Measured;

/// Cameras that are switched on and give no frames: whether they answer is to be asked. One that refuses its password is
/// not: it is there, and the site's to mend.
pub(super) fn silent(status: &StatusDoc) -> impl Iterator<Item = &str> {
    let silent = |state| {
        matches!(
            state,
            CameraState::Connecting | CameraState::Stalled | CameraState::Offline
        )
    };
    status
        .cameras
        .iter()
        .filter(move |c| silent(c.status.state))
        .map(|c| c.id.as_str())
}

/// The facts, where cameras of `answering` answer.
pub(super) fn of(status: &StatusDoc, measured: &Measured, answering: &BTreeSet<String>) -> Facts {
    let enabled = status
        .cameras
        .iter()
        .filter(|c| c.status.state != CameraState::Disabled);
    let cameras = enabled.map(|c| CameraFacts {
        id: c.id.clone(),
        delivers: c.status.state == CameraState::Online,
        answers: answering.contains(&c.id),
        reason: c.status.reason.clone(),
    });
    let groups = status.groups.iter().map(|g| GroupFacts {
        id: g.group.clone(),
        cameras: g.members.iter().map(|m| m.cam.clone()).collect(),
        packets_per_s: g.packets_per_s,
        lost: g.state == SyncState::Lost,
    });
    let ran = |name: &str| {
        let mut of_detector = measured
            .inference
            .iter()
            .filter(|((detector, _), _)| detector == name);
        of_detector.any(|(_, durations)| durations.count > 0)
    };
    let detectors = status.detectors.iter().map(|d| DetectorFacts {
        name: d.name.clone(),
        cameras: d.cameras.clone(),
        ran: ran(&d.name),
        reason: d.engine.reason.clone(),
    });
    Facts {
        cameras: cameras.collect(),
        groups: groups.collect(),
        detectors: detectors.collect(),
        database: DatabaseFacts {
            // The clock map of the daemon's start is its first row.
            written: measured.stages.get("store").is_some_and(|d| d.count > 0),
            error: status.storage.error.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::{DetectorDoc, EngineDoc};
    use crate::mqtt::samples;
    use synoptic_base::Mono;
    use synoptic_base::{Durations, Span};
    use synoptic_engine::health::{Health, HealthWatch, verdict};

    fn once() -> Durations {
        let mut once = Durations::default();
        once.add(Span::from_millis(1));
        once
    }

    fn measured() -> Measured {
        Measured {
            stages: [("store", once())].into(),
            ..Measured::default()
        }
    }

    fn judged(status: &StatusDoc, measured: &Measured, answering: &[&str]) -> (Health, Vec<String>) {
        let answering = answering.iter().map(|c| (*c).to_owned()).collect();
        let facts = of(status, measured, &answering);
        let mut watch = HealthWatch::default();
        watch.judge(Mono::from_nanos(0), &facts);
        let found = watch.judge(Mono::from_nanos(0) + Span::from_secs(61), &facts);
        (verdict(&found), found.into_iter().map(|f| f.subject).collect())
    }

    #[test]
    fn a_status_document_is_judged() {
        let well = samples::status(&["left", "right"]);
        assert_eq!(judged(&well, &measured(), &[]), (Health::Well, vec![]));
        // A camera is away; later it answers and is silent.
        let mut away = well.clone();
        away.cameras[0].status.state = CameraState::Offline;
        assert_eq!(silent(&away).collect::<Vec<_>>(), ["left"]);
        assert_eq!(judged(&away, &measured(), &[]), (Health::Well, vec![]));
        let found = judged(&away, &measured(), &["left"]);
        assert_eq!(found, (Health::Unwell, vec!["camera left".to_owned()]));
        // Its password, or that it is switched off, is nobody's fault here.
        for state in [CameraState::AuthFailed, CameraState::Disabled] {
            away.cameras[0].status.state = state;
            assert_eq!(silent(&away).count(), 0);
            assert_eq!(judged(&away, &measured(), &[]), (Health::Well, vec![]));
        }
        // An offline broker is not even looked at.
        let mut alone = well.clone();
        alone.mqtt.state = "connecting".into();
        alone.mqtt.error = Some("refused".into());
        assert_eq!(judged(&alone, &measured(), &[]), (Health::Well, vec![]));
        let mut broken = well.clone();
        broken.groups[0].packets_per_s = 0.0;
        broken.storage.error = Some("disk I/O error".into());
        let found = judged(&broken, &measured(), &[]);
        assert_eq!(
            found,
            (
                Health::Unwell,
                vec!["group all".to_owned(), "database".to_owned()]
            )
        );
        assert_eq!(
            judged(&well, &Measured::default(), &[]).1,
            ["database"],
            "nothing was written"
        );
    }

    #[test]
    fn a_model_has_to_run_where_frames_come() {
        let mut status = samples::status(&["left"]);
        status.detectors = vec![DetectorDoc {
            name: "people".into(),
            group: "all".into(),
            model: "m".into(),
            cameras: vec!["left".into()],
            engine: EngineDoc {
                wanted: "auto".into(),
                state: "off".into(),
                running: None,
                reason: Some("its file is missing".into()),
            },
        }];
        assert_eq!(judged(&status, &measured(), &[]).1, ["detector people"]);
        let mut ran = measured();
        ran.inference.insert(("people".into(), "m".into()), once());
        assert_eq!(judged(&status, &ran, &[]).0, Health::Well);
        status.cameras[0].status.state = CameraState::Offline;
        assert_eq!(
            judged(&status, &measured(), &[]).0,
            Health::Well,
            "no frames, no answer"
        );
    }
}
