//! A group's detectors, made by their configuration; what makes events of what they see, and who is told what runs their
//! models.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use synoptic_base::{Span, StreamId};
use synoptic_engine::rules::{EventConfig, EventMachine, event_id};
use synoptic_engine::system::SystemInput;
use synoptic_engine::track::{TrackConfig, Tracker};

use crate::config::{DetectorConfig, DetectorKind};
use crate::detect::Watch;
use crate::detectors;
use crate::groups::Shared;
use crate::inference::{EnginePhase, EngineState, Tell};

/// Makes the detectors of a group ready to look. Of those that cannot be built: the reason, by name; their cameras go
/// without.
pub(crate) fn watches<'a>(
    group: StreamId,
    configs: impl Iterator<Item = &'a DetectorConfig>,
    model_dirs: &[PathBuf],
    shared: &Shared,
) -> (Vec<Watch>, BTreeMap<String, String>) {
    let mut watches = Vec::new();
    let mut blind = BTreeMap::new();
    for config in configs {
        let model = match &config.kind {
            DetectorKind::Motion => "motion".to_owned(),
            DetectorKind::Onnx { model, .. } => model.clone(),
        };
        let tell = tell(group, &config.name, &model, shared);
        match detectors::build(config, model_dirs, &shared.room, tell) {
            Ok(built) => watches.push(Watch {
                detector: built.detector,
                model,
                threshold: built.threshold,
                cameras: Vec::new(),
            }),
            Err(error) => {
                let why = format!("no detection: detector {}: {error:#}", config.name);
                blind.insert(config.name.clone(), why);
            }
        }
    }
    (watches, blind)
}

/// For a detector that looks at least every `interval` while something moves.
pub(crate) fn machine(watch: &Watch, camera: StreamId, interval: Span, shared: &Shared) -> EventMachine {
    let config = TrackConfig::for_threshold(watch.threshold).for_interval(interval);
    let tracker = Tracker::new(camera, shared.track_ids.clone(), config);
    let new_id = Box::new(|utc| event_id(utc, rand::random()));
    EventMachine::new(
        watch.detector.name().to_owned(),
        tracker,
        EventConfig::default(),
        new_id,
    )
}

/// Passes every change of a detector's engine on to the documents, and to the events where it matters.
fn tell(group: StreamId, detector: &str, model: &str, shared: &Shared) -> Tell {
    let (hub, watchman) = (shared.hub.clone(), shared.watchman.clone());
    let (detector, model) = (detector.to_owned(), model.to_owned());
    Arc::new(move |state| {
        let Some(before) = hub.engines.set(group, &detector, &model, state) else {
            return;
        };
        if is_news(&before, state) {
            watchman.see(SystemInput::Engine {
                detector: detector.clone(),
                from: before.running,
                to: state.running.clone(),
                reason: state.reason.clone(),
            });
        }
    })
}

/// Whether a change is worth an event: something else runs the model, or what was hoped for is given up.
fn is_news(before: &EngineState, now: &EngineState) -> bool {
    let bad = |s: &EngineState| matches!(s.phase, EnginePhase::Fallback | EnginePhase::Off);
    before.running != now.running || bad(now) && !bad(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_engine_and_a_lost_hope_are_news() {
        let state = |phase, running: Option<&str>| EngineState {
            wanted: "tensorrt",
            phase,
            running: running.map(str::to_owned),
            reason: None,
        };
        let preparing = state(EnginePhase::Preparing, Some("rten"));
        let fallen = state(EnginePhase::Fallback, Some("rten"));
        let runs = state(EnginePhase::AsWanted, Some("TensorRT"));
        assert!(!is_news(&preparing, &preparing));
        assert!(is_news(&preparing, &fallen) && is_news(&preparing, &runs) && is_news(&runs, &fallen));
        assert!(!is_news(&fallen, &preparing));
        assert!(is_news(
            &state(EnginePhase::Preparing, None),
            &state(EnginePhase::Off, None)
        ));
    }
}
