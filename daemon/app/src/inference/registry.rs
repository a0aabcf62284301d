//! What runs each detector's model at the moment, for every document that says so.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use synoptic_base::StreamId;

use crate::documents::{DetectorDoc, EngineDoc};

/// How far a detector's engine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnginePhase {
    /// What was wanted runs, or with `auto` the best there is.
    AsWanted,
    /// A plan is being loaded or built.
    Preparing,
    /// Something else runs.
    Fallback,
    /// Nothing looks.
    Off,
}

impl EnginePhase {
    /// The word in documents.
    pub const fn name(self) -> &'static str {
        match self {
            EnginePhase::AsWanted => "as_wanted",
            EnginePhase::Preparing => "preparing",
            EnginePhase::Fallback => "fallback",
            EnginePhase::Off => "off",
        }
    }
}

/// What runs a detector's model, and why not something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineState {
    /// The configuration's word.
    pub wanted: &'static str,
    /// How far it is.
    pub phase: EnginePhase,
    /// What runs the model, with its version; `None`: nothing looks.
    pub running: Option<String>,
    /// Why that and not what is wanted or faster, and what to do.
    pub reason: Option<String>,
}

impl EngineState {
    /// In a sentence, for a camera's line.
    pub fn sentence(&self) -> String {
        let running = self.running.as_deref().unwrap_or("nothing");
        match &self.reason {
            Some(reason) => format!("{running}: {reason}"),
            None => running.to_owned(),
        }
    }

    /// The document.
    pub fn doc(&self) -> EngineDoc {
        EngineDoc {
            wanted: self.wanted.to_owned(),
            state: self.phase.name().to_owned(),
            running: self.running.clone(),
            reason: self.reason.clone(),
        }
    }
}

struct Line {
    model: String,
    cameras: Vec<StreamId>,
    state: EngineState,
}

/// Every detector with a model, by its group and name. Every method is short and may be called from any thread.
#[derive(Default)]
pub struct Engines {
    lines: Mutex<BTreeMap<(StreamId, String), Line>>,
}

impl Engines {
    fn lines(&self) -> MutexGuard<'_, BTreeMap<(StreamId, String), Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A detector's engine, new or changed. Returns what ran before, if that differs.
    pub fn set(
        &self,
        group: StreamId,
        detector: &str,
        model: &str,
        state: &EngineState,
    ) -> Option<EngineState> {
        let mut lines = self.lines();
        let line = lines.entry((group, detector.to_owned())).or_insert_with(|| Line {
            model: model.to_owned(),
            cameras: Vec::new(),
            state: state.clone(),
        });
        model.clone_into(&mut line.model);
        let before = std::mem::replace(&mut line.state, state.clone());
        (before != *state).then_some(before)
    }

    /// Which cameras each detector of a group looks at; those not named are gone.
    pub fn place(&self, group: StreamId, detectors: &[(String, Vec<StreamId>)]) {
        let mut lines = self.lines();
        lines.retain(|(of, name), _| *of != group || detectors.iter().any(|(n, _)| n == name));
        for (name, cameras) in detectors {
            if let Some(line) = lines.get_mut(&(group, name.clone())) {
                line.cameras.clone_from(cameras);
            }
        }
    }

    /// What a camera's detector runs on, in a sentence.
    pub fn of_camera(&self, camera: &str) -> Option<String> {
        let lines = self.lines();
        let line = lines
            .values()
            .find(|l| l.cameras.iter().any(|c| c.as_str() == camera))?;
        Some(line.state.sentence())
    }

    /// All of them.
    pub fn docs(&self) -> Vec<DetectorDoc> {
        let lines = self.lines();
        let doc = |((group, name), line): (&(StreamId, String), &Line)| DetectorDoc {
            name: name.clone(),
            group: group.to_string(),
            model: line.model.clone(),
            cameras: line.cameras.iter().map(StreamId::to_string).collect(),
            engine: line.state.doc(),
        };
        lines.iter().map(doc).collect()
    }
}
