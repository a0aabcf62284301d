//! Watches over cameras and clocks: what the rules of system events say is recorded as an event.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use synoptic_base::{Clock, ClockMap, SystemChange, SystemEvent};
use synoptic_engine::rules::event_id;
use synoptic_engine::system::{SystemConfig, SystemInput, SystemOutput, SystemRules};

use crate::recorder::Recorder;

/// Shared by all groups, so that its memory outlives them. Every method is short and may be called from any thread.
pub(crate) struct Watchman {
    rules: Mutex<SystemRules>,
    recorder: Arc<Recorder>,
    clock: Arc<dyn Clock>,
    map: Arc<ArcSwap<ClockMap>>,
}

impl Watchman {
    pub(crate) fn new(
        recorder: Arc<Recorder>,
        clock: Arc<dyn Clock>,
        map: Arc<ArcSwap<ClockMap>>,
    ) -> Watchman {
        Watchman {
            rules: Mutex::new(SystemRules::new(SystemConfig::default())),
            recorder,
            clock,
            map,
        }
    }

    fn rules(&self) -> MutexGuard<'_, SystemRules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was seen.
    pub(crate) fn see(&self, input: SystemInput) {
        let mut rules = self.rules();
        rules.handle(self.clock.now(), input);
        self.record(&mut rules);
    }

    /// Time has passed. The states it waits for hold for seconds: once a second is often enough.
    pub(crate) fn tick(&self) {
        let mut rules = self.rules();
        rules.handle_time(self.clock.now());
        self.record(&mut rules);
    }

    /// Under the lock, so that events are stored in the order of telling.
    fn record(&self, rules: &mut SystemRules) {
        let map = **self.map.load();
        while let Some(told) = rules.poll() {
            let event = event(told, &map);
            log(&event);
            self.recorder.record_system(event);
        }
    }
}

fn event(told: SystemOutput, map: &ClockMap) -> SystemEvent {
    let utc = map.utc(told.at);
    SystemEvent {
        id: event_id(utc, rand::random()),
        stream: told.stream,
        at: told.at,
        utc,
        error: map.error,
        map_version: map.version,
        change: told.change,
        untold: told.untold,
    }
}

/// Comings and goings of a camera are in the log already, at once and not only when they have held.
fn log(event: &SystemEvent) {
    let panorama = matches!(
        event.change,
        SystemChange::StitchOkay | SystemChange::StitchDegraded { .. }
    );
    let kind = if panorama { "panorama" } else { "camera" };
    let about = event
        .stream
        .map_or("the box".to_owned(), |stream| format!("{kind} {stream}"));
    let level = match event.change {
        SystemChange::CameraOnline | SystemChange::CameraOffline { .. } | SystemChange::Restamp(_) => {
            log::Level::Debug
        }
        SystemChange::TimeSource { .. }
        | SystemChange::StitchOkay
        | SystemChange::GpuOkay { .. }
        | SystemChange::DetectorEngine { reason: None, .. } => log::Level::Info,
        SystemChange::CameraClockStep { .. }
        | SystemChange::BoxClockStep { .. }
        | SystemChange::CameraTime { .. }
        | SystemChange::DetectorEngine { .. }
        | SystemChange::GpuThrottled { .. }
        | SystemChange::StitchDegraded { .. } => log::Level::Warn,
    };
    log::log!(level, "{about}: {}: event {}", described(event), event.id.0);
}

/// A system event in a few words.
pub(crate) fn described(event: &SystemEvent) -> String {
    let text = match &event.change {
        SystemChange::CameraOnline => "online".to_owned(),
        SystemChange::CameraOffline { outage, reason } => match reason {
            Some(reason) => format!("{}: {reason}", outage.name()),
            None => outage.name().to_owned(),
        },
        SystemChange::TimeSource { from, to } => {
            format!("time source {} instead of {}", to.name(), from.name())
        }
        SystemChange::CameraClockStep { step } => format!("its own clock stepped by {step}"),
        SystemChange::BoxClockStep { step } => format!("clock stepped by {step}"),
        SystemChange::StitchOkay => "panorama as it should be".to_owned(),
        SystemChange::StitchDegraded { reason } => reason.clone(),
        SystemChange::CameraTime { text, .. } => text.clone(),
        SystemChange::Restamp(r) => format!(
            "frames of epoch {} since {} us are now known to be {} later, within {}",
            r.epoch.0,
            r.since_us.as_micros(),
            r.moved,
            r.rel_error
        ),
        SystemChange::DetectorEngine {
            detector,
            from,
            to,
            reason,
        } => format!(
            "detector {detector}: {} instead of {}{}{}",
            to.as_deref().unwrap_or("nothing"),
            from.as_deref().unwrap_or("nothing"),
            if reason.is_some() { ": " } else { "" },
            reason.as_deref().unwrap_or_default()
        ),
        SystemChange::GpuOkay { gpu } => format!("GPU {gpu} is at full speed"),
        SystemChange::GpuThrottled { gpu, reason } => format!("GPU {gpu} is slowed down: {reason}"),
    };
    match event.untold {
        0 => text,
        n => format!("{text} (and {n} changes before that were not told)"),
    }
}
