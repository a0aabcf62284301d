//! System events: what happens to the cameras and to the box itself, told sparingly.
//!
//! Terms: a **state** (delivers or not, time source) is **told** once it has held for its **hold time**; a state that
//! goes before that was a **flicker**. A **step** of a clock is told at once. What is not told one by one is counted,
//! and the next event of the same kind says how many there were.
//!
//! Contract: the last told state of a camera becomes the true one within its hold time, or, where a camera changes
//! so often that its allowance is used up, within [`SystemConfig::refill`]. So a camera that flaps for a day makes
//! no more than `burst + day / refill` events a kind, and none of its changes is lost without a count.

use std::collections::{BTreeMap, VecDeque};

use synoptic_base::{Mono, Outage, Restamp, Span, StreamId, SystemChange, TimeSource};

/// How sparingly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemConfig {
    /// How long a camera must deliver before it is called online.
    pub online_hold: Span,
    /// How long a camera must be away before it is called offline. Its stall has been waited for already.
    pub offline_hold: Span,
    /// How long a time source must hold. A reconnected camera climbs the ladder anew: its first sender report comes
    /// within 5 s from most cameras (RFC 3550 section 6.2 gives that minimum).
    pub source_hold: Span,
    /// How long a panorama, or a GPU, must be as it is.
    pub stitch_hold: Span,
    /// How long something must be wrong with a camera's clocks before it is told, and how long right before the same
    /// is told again.
    pub finding_hold: Span,
    /// Events of one kind and camera at once.
    pub burst: u32,
    /// Time to earn one more.
    pub refill: Span,
}

impl Default for SystemConfig {
    fn default() -> SystemConfig {
        SystemConfig {
            online_hold: Span::from_secs(5),
            offline_hold: Span::from_secs(2),
            source_hold: Span::from_secs(10),
            stitch_hold: Span::from_secs(5),
            finding_hold: Span::from_secs(15),
            burst: 6,
            refill: Span::from_secs(600),
        }
    }
}

impl SystemConfig {
    /// A new connection improves its times ten times within the first minutes.
    fn restamps(&self) -> SystemConfig {
        SystemConfig {
            burst: self.burst * 4,
            refill: self.refill / 4,
            ..*self
        }
    }
}

/// What the shell tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SystemInput {
    /// The camera delivers.
    Online(StreamId),
    /// The camera does not deliver: how, and what is wrong.
    Away(StreamId, Outage, Option<String>),
    /// How the camera's newest frame was timed. Repeats are welcome.
    Source(StreamId, TimeSource),
    /// The camera's own clock stepped.
    CameraStep(StreamId, Span),
    /// The box's UTC stepped.
    BoxStep(Span),
    /// How a panorama is: what is wrong with it, if anything. Repeats are welcome.
    Stitch(StreamId, Option<String>),
    /// What is wrong with the camera's clocks now: a word and a sentence each. Repeats are welcome.
    Findings(StreamId, Vec<(&'static str, String)>),
    /// Frames of the camera would be timed better today.
    Restamp(StreamId, Restamp),
    /// Another engine runs a detector's model: the detector, what ran before and runs now, and why.
    Engine {
        /// The detector.
        detector: String,
        /// What ran it before.
        from: Option<String>,
        /// What runs it now.
        to: Option<String>,
        /// Why.
        reason: Option<String>,
    },
    /// How a GPU is: why it slows itself down, if it does. Repeats are welcome.
    Gpu(String, Option<String>),
    /// The camera or panorama is gone from the configuration.
    Forget(StreamId),
}

/// An event to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemOutput {
    /// The camera; `None` for the box.
    pub stream: Option<StreamId>,
    /// When it happened.
    pub at: Mono,
    /// What happened.
    pub change: SystemChange,
    /// Changes of this kind since the last event that were not told.
    pub untold: u32,
}

/// How many events may still be told.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    left: u32,
    /// When `left` was last brought up to date.
    at: Mono,
}

impl Allowance {
    fn full(config: &SystemConfig, now: Mono) -> Allowance {
        Allowance {
            left: config.burst,
            at: now,
        }
    }

    /// When one is there, at the earliest.
    fn ready(&self, config: &SystemConfig) -> Mono {
        if self.left > 0 {
            self.at
        } else {
            self.at + config.refill
        }
    }

    fn take(&mut self, config: &SystemConfig, now: Mono) -> bool {
        while self.left < config.burst && now - self.at >= config.refill {
            self.left += 1;
            self.at += config.refill;
        }
        if self.left == config.burst {
            self.at = now;
        }
        let taken = self.left > 0;
        self.left = self.left.saturating_sub(1);
        taken
    }
}

/// A state that is told once it has held.
#[derive(Clone, Debug)]
struct Held<T> {
    told: Option<T>,
    present: Option<(T, Mono)>,
    /// Changes since the last told one.
    changes: u32,
    allowance: Allowance,
}

impl<T: Clone + PartialEq> Held<T> {
    fn new(config: &SystemConfig, now: Mono) -> Held<T> {
        Held {
            told: None,
            present: None,
            changes: 0,
            allowance: Allowance::full(config, now),
        }
    }

    fn set(&mut self, now: Mono, state: T) {
        if self.present.as_ref().is_none_or(|(present, _)| *present != state) {
            self.present = Some((state, now));
            self.changes = self.changes.saturating_add(1);
        }
    }

    /// When [`Held::take`] has something, should nothing change.
    fn due(&self, config: &SystemConfig, hold: impl Fn(&T) -> Span) -> Option<Mono> {
        let (present, since) = self.present.as_ref()?;
        let news = self.told.as_ref() != Some(present);
        news.then(|| (*since + hold(present)).max(self.allowance.ready(config)))
    }

    /// The state before, the state that is told now, since when it holds, and how many changes went untold.
    fn take(
        &mut self,
        config: &SystemConfig,
        now: Mono,
        hold: impl Fn(&T) -> Span,
    ) -> Option<(Option<T>, T, Mono, u32)> {
        if self.due(config, hold).is_none_or(|due| due > now) || !self.allowance.take(config, now) {
            return None;
        }
        let (present, since) = self.present.clone()?;
        let before = self.told.replace(present.clone());
        let untold = std::mem::take(&mut self.changes).saturating_sub(1);
        Some((before, present, since, untold))
    }

    /// What is not told yet will not be: the state is found anew.
    fn hold_back(&mut self) {
        self.present = None;
    }
}

/// Whether a camera delivers. What is wrong with one that does not belongs to it, but is not compared: another
/// sentence about the same outage is no news.
#[derive(Clone, Debug)]
enum Delivery {
    Online,
    Away(Outage, Option<String>),
}

impl PartialEq for Delivery {
    /// A stall and a lost connection are one outage; a refused password is another, because it calls for a person.
    fn eq(&self, other: &Delivery) -> bool {
        let class = |d: &Delivery| match d {
            Delivery::Online => 0,
            Delivery::Away(Outage::Offline | Outage::Stalled, _) => 1,
            Delivery::Away(Outage::AuthFailed, _) => 2,
        };
        class(self) == class(other)
    }
}

/// Steps of one clock.
#[derive(Clone, Copy, Debug)]
struct Steps {
    untold: u32,
    allowance: Allowance,
}

impl Steps {
    fn new(config: &SystemConfig, now: Mono) -> Steps {
        Steps {
            untold: 0,
            allowance: Allowance::full(config, now),
        }
    }

    /// How many went untold before this one, if it may be told.
    fn step(&mut self, config: &SystemConfig, now: Mono) -> Option<u32> {
        if self.allowance.take(config, now) {
            return Some(std::mem::take(&mut self.untold));
        }
        self.untold = self.untold.saturating_add(1);
        None
    }
}

/// How a panorama is. What is wrong is not compared: a camera after the other is one trouble.
#[derive(Clone, Debug)]
struct Stitch(Option<String>);

impl PartialEq for Stitch {
    fn eq(&self, other: &Stitch) -> bool {
        self.0.is_some() == other.0.is_some()
    }
}

struct Camera {
    delivery: Held<Delivery>,
    source: Held<TimeSource>,
    steps: Steps,
    restamps: Steps,
    /// Whether each thing that was ever wrong is wrong, with the latest sentence about it.
    findings: BTreeMap<&'static str, (Held<bool>, String)>,
}

/// Decides which changes are told.
pub struct SystemRules {
    config: SystemConfig,
    cameras: BTreeMap<StreamId, Camera>,
    panoramas: BTreeMap<StreamId, Held<Stitch>>,
    /// By detector.
    engines: BTreeMap<String, Steps>,
    gpus: BTreeMap<String, Held<Stitch>>,
    box_steps: Option<Steps>,
    outputs: VecDeque<SystemOutput>,
}

impl SystemRules {
    /// Knows nothing yet: the first delivery of each camera is told, its first time source is not.
    pub fn new(config: SystemConfig) -> SystemRules {
        SystemRules {
            config,
            cameras: BTreeMap::new(),
            panoramas: BTreeMap::new(),
            engines: BTreeMap::new(),
            gpus: BTreeMap::new(),
            box_steps: None,
            outputs: VecDeque::new(),
        }
    }

    fn camera(&mut self, id: StreamId, now: Mono) -> &mut Camera {
        let config = self.config;
        self.cameras.entry(id).or_insert_with(|| Camera {
            delivery: Held::new(&config, now),
            source: Held::new(&config, now),
            steps: Steps::new(&config, now),
            restamps: Steps::new(&config, now),
            findings: BTreeMap::new(),
        })
    }

    /// Takes one input at `now`. Drain [`SystemRules::poll`] after it.
    pub fn handle(&mut self, now: Mono, input: SystemInput) {
        let config = self.config;
        match input {
            SystemInput::Online(id) => self.camera(id, now).delivery.set(now, Delivery::Online),
            SystemInput::Away(id, outage, reason) => {
                let camera = self.camera(id, now);
                camera.delivery.set(now, Delivery::Away(outage, reason));
                // It climbs the ladder anew once it is back.
                camera.source.hold_back();
            }
            SystemInput::Source(id, source) => self.camera(id, now).source.set(now, source),
            SystemInput::CameraStep(id, step) => {
                if let Some(untold) = self.camera(id, now).steps.step(&config, now) {
                    let change = SystemChange::CameraClockStep { step };
                    self.tell(Some(id), now, change, untold);
                }
            }
            SystemInput::BoxStep(step) => {
                let steps = self.box_steps.get_or_insert_with(|| Steps::new(&config, now));
                if let Some(untold) = steps.step(&config, now) {
                    self.tell(None, now, SystemChange::BoxClockStep { step }, untold);
                }
            }
            SystemInput::Stitch(id, trouble) => {
                let fresh = || Held::new(&config, now);
                self.panoramas
                    .entry(id)
                    .or_insert_with(fresh)
                    .set(now, Stitch(trouble));
            }
            SystemInput::Findings(id, found) => {
                let findings = &mut self.camera(id, now).findings;
                for (word, (held, _)) in findings.iter_mut() {
                    if !found.iter().any(|(w, _)| w == word) {
                        held.set(now, false);
                    }
                }
                for (word, text) in found {
                    let (held, told) = findings
                        .entry(word)
                        .or_insert_with(|| (Held::new(&config, now), String::new()));
                    held.set(now, true);
                    *told = text;
                }
            }
            SystemInput::Restamp(id, restamp) => {
                if let Some(untold) = self.camera(id, now).restamps.step(&config.restamps(), now) {
                    self.tell(Some(id), now, SystemChange::Restamp(restamp), untold);
                }
            }
            SystemInput::Engine {
                detector,
                from,
                to,
                reason,
            } => {
                let fresh = || Steps::new(&config, now);
                let steps = self.engines.entry(detector.clone()).or_insert_with(fresh);
                if let Some(untold) = steps.step(&config, now) {
                    let change = SystemChange::DetectorEngine {
                        detector,
                        from,
                        to,
                        reason,
                    };
                    self.tell(None, now, change, untold);
                }
            }
            SystemInput::Gpu(gpu, trouble) => {
                let fresh = || Held::new(&config, now);
                self.gpus
                    .entry(gpu)
                    .or_insert_with(fresh)
                    .set(now, Stitch(trouble));
            }
            SystemInput::Forget(id) => {
                self.cameras.remove(&id);
                self.panoramas.remove(&id);
            }
        }
        self.handle_time(now);
    }

    /// Time has passed. Drain [`SystemRules::poll`] after it.
    pub fn handle_time(&mut self, now: Mono) {
        let config = self.config;
        for (id, camera) in &mut self.cameras {
            let mut tell = |at, change, untold| {
                self.outputs.push_back(SystemOutput {
                    stream: Some(*id),
                    at,
                    change,
                    untold,
                });
            };
            let hold = |d: &Delivery| delivery_hold(&config, d);
            if let Some((_, delivery, since, untold)) = camera.delivery.take(&config, now, hold) {
                let change = match delivery {
                    Delivery::Online => SystemChange::CameraOnline,
                    Delivery::Away(outage, reason) => SystemChange::CameraOffline { outage, reason },
                };
                tell(since, change, untold);
            }
            let taken = camera.source.take(&config, now, |_| config.source_hold);
            if let Some((Some(from), to, since, untold)) = taken {
                tell(since, SystemChange::TimeSource { from, to }, untold);
            }
            for (word, (held, text)) in &mut camera.findings {
                if let Some((_, true, since, untold)) = held.take(&config, now, |_| config.finding_hold) {
                    let (finding, text) = ((*word).to_owned(), text.clone());
                    tell(since, SystemChange::CameraTime { finding, text }, untold);
                }
            }
        }
        self.gpus(now);
        for (id, panorama) in &mut self.panoramas {
            let taken = panorama.take(&config, now, |_| config.stitch_hold);
            // That all is well from the start is no event.
            let Some((before, Stitch(trouble), at, untold)) = taken else {
                continue;
            };
            let change = match trouble {
                None if before.is_none() => continue,
                None => SystemChange::StitchOkay,
                Some(reason) => SystemChange::StitchDegraded { reason },
            };
            self.outputs.push_back(SystemOutput {
                stream: Some(*id),
                at,
                change,
                untold,
            });
        }
    }

    /// GPUs that slowed themselves down for long enough, or stopped to.
    fn gpus(&mut self, now: Mono) {
        let config = self.config;
        for (gpu, held) in &mut self.gpus {
            let Some((before, Stitch(trouble), at, untold)) = held.take(&config, now, |_| config.stitch_hold)
            else {
                continue;
            };
            let gpu = gpu.clone();
            let change = match trouble {
                None if before.is_none() => continue,
                None => SystemChange::GpuOkay { gpu },
                Some(reason) => SystemChange::GpuThrottled { gpu, reason },
            };
            self.outputs.push_back(SystemOutput {
                stream: None,
                at,
                change,
                untold,
            });
        }
    }

    fn tell(&mut self, stream: Option<StreamId>, at: Mono, change: SystemChange, untold: u32) {
        self.outputs.push_back(SystemOutput {
            stream,
            at,
            change,
            untold,
        });
    }

    /// The next event, in the order of telling.
    pub fn poll(&mut self) -> Option<SystemOutput> {
        self.outputs.pop_front()
    }

    /// When to call [`SystemRules::handle_time`], should no input come before.
    pub fn deadline(&self) -> Option<Mono> {
        let config = self.config;
        let due = |camera: &Camera| {
            let delivery = camera.delivery.due(&config, |d| delivery_hold(&config, d));
            let source = camera.source.due(&config, |_| config.source_hold);
            let findings = camera
                .findings
                .values()
                .filter_map(|(held, _)| held.due(&config, |_| config.finding_hold));
            findings.chain(delivery).chain(source).min()
        };
        let panoramas = self
            .panoramas
            .values()
            .filter_map(|p| p.due(&config, |_| config.stitch_hold));
        let gpus = self
            .gpus
            .values()
            .filter_map(|g| g.due(&config, |_| config.stitch_hold));
        let cameras = self.cameras.values().filter_map(due);
        cameras.chain(panoramas).chain(gpus).min()
    }
}

fn delivery_hold(config: &SystemConfig, delivery: &Delivery) -> Span {
    match delivery {
        Delivery::Online => config.online_hold,
        Delivery::Away(..) => config.offline_hold,
    }
}

#[cfg(test)]
mod stitch_tests {
    use super::*;

    #[test]
    fn a_panorama_that_is_degraded_for_long_is_told_and_its_recovery_too() {
        let at = |s: i64| Mono::from_nanos(0) + Span::from_secs(s);
        let id = StreamId::new("yard").unwrap();
        let mut rules = SystemRules::new(SystemConfig::default());
        let mut told = Vec::new();
        for s in 0..60 {
            // Well, a flicker of two seconds, well, wrong for 20 seconds, well.
            let wrong = (12..14).contains(&s) || (20..40).contains(&s);
            rules.handle(
                at(s),
                SystemInput::Stitch(id, wrong.then(|| format!("since {s}"))),
            );
            told.extend(std::iter::from_fn(|| rules.poll()));
        }
        let told: Vec<_> = told.into_iter().map(|o| (o.at, o.change)).collect();
        let reason = "since 20".to_owned();
        assert_eq!(
            told,
            [
                (at(20), SystemChange::StitchDegraded { reason }),
                (at(40), SystemChange::StitchOkay)
            ]
        );
    }
}

#[cfg(test)]
mod engine_tests {
    use super::*;

    #[test]
    fn engines_are_told_at_once_and_gpus_once_they_are_hot_for_long() {
        let at = |s: i64| Mono::from_nanos(0) + Span::from_secs(s);
        let mut rules = SystemRules::new(SystemConfig::default());
        let mut told = Vec::new();
        for s in 0..60 {
            let hot = (10..12).contains(&s) || (20..40).contains(&s);
            rules.handle(
                at(s),
                SystemInput::Gpu("0".to_owned(), hot.then(|| "hot".to_owned())),
            );
            if s == 3 {
                let engine = SystemInput::Engine {
                    detector: "people".to_owned(),
                    from: Some("TensorRT".to_owned()),
                    to: Some("rten".to_owned()),
                    reason: None,
                };
                // More than the allowance: the rest is counted.
                for _ in 0..20 {
                    rules.handle(at(s), engine.clone());
                }
            }
            told.extend(std::iter::from_fn(|| rules.poll()));
        }
        let names: Vec<_> = told.iter().map(|o| (o.at, o.change.name())).collect();
        assert_eq!(names[..6], [(at(3), "detector_engine"); 6]);
        assert_eq!(names[6..], [(at(20), "gpu_throttled"), (at(40), "gpu_okay")]);
    }
}

#[cfg(test)]
#[path = "system_tests.rs"]
mod tests;
