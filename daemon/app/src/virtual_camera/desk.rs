//! All virtual cameras: started and stopped as the configuration says, steered by the API.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as BTreeEntry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};
use synoptic_base::{Clock, Span, StreamId};
use synoptic_media::Epochs;

use super::documents::{PtzWish, ViewState, VirtualCameraDoc};
use super::steering::Steering;
use super::task::Task;
use crate::beat::Beats;
use crate::config::VirtualCamera;
use crate::documents::round_ms;
use crate::hub::Hub;
use crate::panorama;
use crate::web::{Problem, VirtualCameraAdmin, WatchUrls};

/// A thread that is silent for longer is taken for hung.
const THREAD_LIMIT: Span = Span::from_secs(20);

/// What its thread writes down, and where it is steered.
pub(super) struct Line {
    pub config: VirtualCamera,
    steering: Mutex<Steering>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    state: ViewState,
    reason: Option<String>,
    draw: Option<Span>,
}

impl Line {
    fn new(config: VirtualCamera) -> Line {
        Line {
            steering: Mutex::new(Steering::new(config.clone())),
            state: Mutex::new(State {
                state: if config.enabled {
                    ViewState::Waiting
                } else {
                    ViewState::Stopped
                },
                ..State::default()
            }),
            config,
        }
    }

    /// Where it looks.
    pub(super) fn steering(&self) -> MutexGuard<'_, Steering> {
        self.steering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pictures come.
    pub(super) fn running(&self) {
        let mut state = self.state();
        (state.state, state.reason) = (ViewState::Running, None);
    }

    /// None come, and why.
    pub(super) fn waiting(&self, why: &str) {
        let mut state = self.state();
        (state.state, state.reason) = (ViewState::Waiting, Some(why.to_owned()));
    }

    /// Drawing a picture took this long.
    pub(super) fn drew(&self, took: Span) {
        self.state().draw = Some(took);
    }

    fn doc(&self, clock: &dyn Clock) -> VirtualCameraDoc {
        let mut steering = self.steering();
        let target = steering.target();
        let now = steering.look(clock.now()).unwrap_or(target);
        let (follow, limits) = (steering.follows(), steering.limits());
        drop(steering);
        let state = self.state();
        VirtualCameraDoc {
            id: self.config.id.to_string(),
            name: self.config.name.clone(),
            stream: self.config.stream.to_string(),
            state: state.state,
            reason: state.reason.clone(),
            width: self.config.size.width,
            height: self.config.size.height,
            follow,
            now: now.into(),
            target: target.into(),
            limits,
            draw_ms: state.draw.map(round_ms),
            urls: WatchUrls::of(self.config.id.as_str()),
        }
    }
}

/// What virtual cameras work with.
pub(crate) struct Parts {
    pub clock: Arc<dyn Clock>,
    pub hub: Arc<Hub>,
    pub panoramas: Arc<panorama::Desk>,
    pub epochs: Arc<dyn Epochs>,
    pub beats: Arc<Beats>,
}

/// One of the configuration.
struct Entry {
    line: Arc<Line>,
    running: Option<Running>,
}

/// Its thread, which ends when nobody holds the sender.
type Running = (Sender<()>, JoinHandle<()>);

/// All virtual cameras.
#[derive(Default)]
pub struct Desk {
    entries: Mutex<BTreeMap<StreamId, Entry>>,
    clock: Mutex<Option<Arc<dyn Clock>>>,
}

impl Desk {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<StreamId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs these and no others; those that did not change go on, and look where they looked.
    pub(crate) fn apply(&self, wanted: &[VirtualCamera], parts: &Parts) {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some(parts.clock.clone());
        let unlike = |entry: &Entry| !wanted.contains(&entry.line.config);
        let mut entries = self.entries();
        let ending: Vec<(Arc<Line>, Running)> = entries
            .values_mut()
            .filter(|entry| unlike(entry))
            .filter_map(|entry| Some((entry.line.clone(), entry.running.take()?)))
            .collect();
        entries.retain(|id, _| wanted.iter().any(|config| config.id == *id));
        drop(entries);
        for (line, running) in ending {
            end(&line, running);
            parts.hub.forget(&line.config.id);
        }
        // One that changed was listed as it was until here: who asks for it meanwhile is not told that there is none.
        let mut entries = self.entries();
        for config in wanted {
            let entry = entries.entry(config.id);
            if let BTreeEntry::Occupied(found) = &entry
                && !unlike(found.get())
            {
                continue;
            }
            entry.insert_entry(start(config, parts));
        }
    }

    /// Ends all, and waits.
    pub(crate) fn stop(&self) {
        let all = std::mem::take(&mut *self.entries());
        for Entry { line, running } in all.into_values() {
            if let Some(running) = running {
                end(&line, running);
            }
        }
    }

    fn find(&self, id: &StreamId) -> Option<Arc<Line>> {
        Some(self.entries().get(id)?.line.clone())
    }

    fn doc(&self, line: &Line) -> Option<VirtualCameraDoc> {
        let clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(line.doc(&*clock?))
    }
}

fn end(line: &Line, (stop, thread): Running) {
    drop(stop);
    if thread.join().is_err() {
        log::error!("the thread of virtual camera {} panicked", line.config.id);
    }
}

fn start(config: &VirtualCamera, parts: &Parts) -> Entry {
    let line = Arc::new(Line::new(config.clone()));
    if !config.enabled {
        return Entry { line, running: None };
    }
    let (stop, stopped) = bounded(0);
    let name = format!("view {}", config.id);
    let task = Task {
        line: line.clone(),
        tap: parts.hub.taps.open(config.stream),
        stopped,
        clock: parts.clock.clone(),
        hub: parts.hub.clone(),
        panoramas: parts.panoramas.clone(),
        epochs: parts.epochs.clone(),
        pulse: parts.beats.add(&name, THREAD_LIMIT),
    };
    let spawned = std::thread::Builder::new().name(name).spawn(move || task.run());
    let running = match spawned {
        Ok(thread) => Some((stop, thread)),
        Err(error) => {
            log::error!("virtual camera {} does not run: no thread: {error}", config.id);
            line.waiting(&format!("no thread: {error}"));
            None
        }
    };
    Entry { line, running }
}

impl VirtualCameraAdmin for Desk {
    fn list(&self) -> Vec<VirtualCameraDoc> {
        let lines: Vec<Arc<Line>> = self.entries().values().map(|e| e.line.clone()).collect();
        lines.iter().filter_map(|line| self.doc(line)).collect()
    }

    fn get(&self, id: &StreamId) -> Option<VirtualCameraDoc> {
        self.doc(&*self.find(id)?)
    }

    fn steer(&self, id: &StreamId, wish: &PtzWish) -> Result<VirtualCameraDoc, Problem> {
        let missing = || Problem::not_found(format!("there is no virtual camera `{id}`"));
        let line = self.find(id).ok_or_else(missing)?;
        if !line.config.enabled {
            return Err(Problem::conflict(
                "it is stopped: write enabled = true in the configuration first",
            ));
        }
        line.steering().steer(wish);
        self.doc(&line).ok_or_else(missing)
    }
}
