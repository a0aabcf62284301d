//! Detectors made ready to look, and what makes events of what they see.

use std::collections::BTreeMap;
use std::path::PathBuf;

use synoptic_base::StreamId;
use synoptic_engine::rules::{EventConfig, EventMachine, event_id};
use synoptic_engine::track::{TrackConfig, Tracker};

use crate::config::{DetectorConfig, DetectorKind};
use crate::detect::Watch;
use crate::detectors;
use crate::groups::Shared;

/// Makes detectors ready to look. Of those that cannot be built: the reason, by name; their cameras go without.
pub(crate) fn build<'a>(
    configs: impl Iterator<Item = &'a DetectorConfig>,
    model_dirs: &[PathBuf],
) -> (Vec<Watch>, BTreeMap<String, String>) {
    let mut watches = Vec::new();
    let mut blind = BTreeMap::new();
    for config in configs {
        match detectors::build(config, model_dirs) {
            Ok(built) => watches.push(Watch {
                detector: built.detector,
                engine: built.engine,
                model: match &config.kind {
                    DetectorKind::Motion => "motion".to_owned(),
                    DetectorKind::Onnx { model, .. } => model.clone(),
                },
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

/// What makes events of what a detector sees of a camera.
pub(crate) fn machine(watch: &Watch, camera: StreamId, shared: &Shared) -> EventMachine {
    let config = TrackConfig::for_threshold(watch.threshold);
    let tracker = Tracker::new(camera, shared.track_ids.clone(), config);
    let new_id = Box::new(|utc| event_id(utc, rand::random()));
    EventMachine::new(
        watch.detector.name().to_owned(),
        tracker,
        EventConfig::default(),
        new_id,
    )
}
