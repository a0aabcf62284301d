//! The pixel side of the daemon: cameras, group threads and detect threads, brought in line with a configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use synoptic_base::{BBox, Clock, ClockMap, Rotation, Span, StreamId, Utc};
use synoptic_engine::align::AlignConfig;
use synoptic_engine::attention::AttentionConfig;
use synoptic_engine::pair::SubStream;
use synoptic_engine::rules::EventMachine;
use synoptic_engine::track::TrackIds;
use synoptic_media::{Camera, CameraContext, CameraNote, CameraOptions, Epochs, FrameQueue, Pixels};
use synoptic_packets::{Share, ShareOptions};
use synoptic_store::Store;

use crate::beat::Beats;
use crate::board::Board;
use crate::config::{CameraAttention, Config, DetectorConfig, Panorama};
use crate::detect::{DetectTask, Leftovers, Watch};
use crate::group::GroupTask;
use crate::hub::Hub;
use crate::inference::EngineRoom;
use crate::look::CameraLook;
use crate::motion::{self, Motion, MotionContext};
use crate::panorama::{self, Desk, Lineup};
use crate::recorder::Recorder;
use crate::watches::{machine, watches};
use crate::watchman::Watchman;

/// Frames on their way to a group's aligner, for each of its cameras. The aligner takes them at once; this bounds
/// what gathers while it is held up.
const QUEUE_PER_CAMERA: usize = 8;
/// A thread that is silent for longer is taken for hung. Detection of a packet on a slow CPU takes a second.
const THREAD_LIMIT: Span = Span::from_secs(20);

/// What every group shares.
#[derive(Clone)]
pub(crate) struct Shared {
    pub clock: Arc<dyn Clock>,
    pub map: Arc<ArcSwap<ClockMap>>,
    pub hub: Arc<Hub>,
    pub board: Arc<Board>,
    pub beats: Arc<Beats>,
    pub store: Store,
    pub recorder: Arc<Recorder>,
    pub watchman: Arc<Watchman>,
    pub epochs: Arc<dyn Epochs>,
    pub track_ids: TrackIds,
    pub desk: Arc<Desk>,
    pub room: Arc<EngineRoom>,
}

impl Shared {
    fn motion(&self) -> MotionContext {
        MotionContext {
            clock: self.clock.clone(),
            relay: self.hub.relay.clone(),
            board: self.board.clone(),
        }
    }
}

/// A camera of a group.
#[derive(Clone, Debug, PartialEq)]
struct Member {
    options: CameraOptions,
    detector: Option<String>,
    ignore: Vec<BBox>,
    attention: CameraAttention,
    audio: bool,
    motion_vectors: bool,
}

/// A group as it is to run: what the threads depend on, so that comparing two says whether to restart them.
#[derive(Clone, Debug, PartialEq)]
struct GroupSpec {
    id: StreamId,
    cameras: Vec<Member>,
    align: AlignConfig,
    detectors: Vec<DetectorConfig>,
    model_dirs: Vec<PathBuf>,
    share: Option<ShareOptions>,
    /// The program that finds motion vectors.
    motion_helper: PathBuf,
    panoramas: Vec<Panorama>,
}

impl GroupSpec {
    /// How much a detector looks at a camera, and at which part of it.
    fn attention(&self, detector: &str, camera: &StreamId) -> (AttentionConfig, Option<BBox>) {
        let limits = self.cameras.iter().find(|m| m.options.id == *camera);
        let limits = limits.map(|m| m.attention).unwrap_or_default();
        let detector = self.detectors.iter().find(|d| d.name == detector);
        let config = AttentionConfig {
            every: detector.map_or(1, |d| d.every),
            max_fps: limits.max_fps,
            gated: detector.is_some_and(|d| d.gated),
        };
        (config, limits.region)
    }
}

/// The groups of a configuration, and one of its own for each enabled camera in none.
fn specs(config: &Config) -> Vec<GroupSpec> {
    let camera = |id: &StreamId| {
        let camera = config.cameras.iter().find(|c| c.options.id == *id && c.enabled)?;
        Some(Member {
            options: camera.options.clone(),
            detector: camera.detector.clone(),
            ignore: camera.ignore.clone(),
            attention: camera.attention,
            audio: camera.audio,
            motion_vectors: camera.motion_vectors,
        })
    };
    let named_helper = config.packets.as_ref().and_then(|p| p.motion_helper.as_deref());
    let motion_helper = motion::helper(named_helper);
    let spec = |id, cameras: Vec<Member>, align: AlignConfig, share| {
        let used = |d: &&DetectorConfig| cameras.iter().any(|m| m.detector.as_ref() == Some(&d.name));
        let detectors = config.detectors.iter().filter(used).cloned().collect();
        let model_dirs = config.device.model_dirs.clone();
        GroupSpec {
            id,
            cameras,
            align,
            detectors,
            model_dirs,
            share,
            motion_helper: motion_helper.clone(),
            panoramas: config
                .panoramas
                .iter()
                .filter(|p| p.enabled && p.group == id)
                .cloned()
                .collect(),
        }
    };
    let named = config.groups.iter().map(|group| {
        let cameras = group.cameras.iter().filter_map(camera).collect();
        let share = config.packets.as_ref().and_then(|p| p.of(group));
        spec(group.id, cameras, group.align(), share)
    });
    let in_a_group = |id: &StreamId| config.groups.iter().any(|g| g.cameras.contains(id));
    let alone = config
        .cameras
        .iter()
        .filter(|c| c.enabled && !in_a_group(&c.options.id))
        .map(|c| {
            let id = c.options.id;
            // A camera in no group is nobody's packet.
            spec(
                id,
                camera(&id).into_iter().collect(),
                AlignConfig::new(vec![id]),
                None,
            )
        });
    named.chain(alone).filter(|s| !s.cameras.is_empty()).collect()
}

/// The main or the sub streams of a group's cameras, and where what they give goes.
struct Streams {
    cameras: BTreeMap<StreamId, Camera>,
    frames: FrameQueue<Pixels>,
    notes: (Sender<CameraNote>, Receiver<CameraNote>),
}

impl Streams {
    fn new(capacity: usize) -> Streams {
        Streams {
            cameras: BTreeMap::new(),
            frames: FrameQueue::new(capacity),
            notes: unbounded(),
        }
    }

    /// These without the cameras that do not stay.
    fn kept(mut self, stays: impl Fn(&StreamId) -> bool) -> Streams {
        self.cameras.retain(|id, _| stays(id));
        self
    }

    fn context(&self, shared: &Shared) -> CameraContext {
        CameraContext {
            clock: shared.clock.clone(),
            epochs: shared.epochs.clone(),
            frames: self.frames.clone(),
            notes: self.notes.0.clone(),
        }
    }
}

/// A running group.
struct Running {
    spec: GroupSpec,
    main: Streams,
    /// The sub streams of cameras with a detector.
    sub: Streams,
    /// Detectors that could not be built, with the reason: the next reload tries again, for a model may have come.
    blind: BTreeMap<String, String>,
    share: Option<Arc<Share>>,
    /// Outlived by none of the cameras whose pictures it reads.
    motion: Motion,
    stop: Option<Sender<()>>,
    aligning: Option<JoinHandle<()>>,
    detecting: Option<JoinHandle<Leftovers>>,
    stitching: Lineup,
}

/// All running groups.
pub(crate) struct Groups {
    shared: Shared,
    running: BTreeMap<StreamId, Running>,
}

impl Groups {
    /// None yet.
    pub(crate) fn new(shared: Shared) -> Groups {
        Groups {
            shared,
            running: BTreeMap::new(),
        }
    }

    /// Makes the board fit `config` before anything is started or stopped.
    pub(crate) fn announce(&self, config: &Config, now: Utc) {
        let members = |s: &GroupSpec| s.cameras.iter().map(|m| m.options.id).collect();
        let named: Vec<(StreamId, Vec<StreamId>)> =
            specs(config).iter().map(|s| (s.id, members(s))).collect();
        self.shared.board.configure(config, &named, now);
    }

    /// Starts, stops and restarts what differs from `config`; everything else goes on undisturbed. A group that
    /// cannot start is logged and left out, the others run. Returns what failed.
    pub(crate) fn apply(&mut self, config: &Config, now: Utc) -> Vec<String> {
        let wanted = specs(config);
        let gone: Vec<StreamId> = self
            .running
            .keys()
            .filter(|id| !wanted.iter().any(|s| s.id == **id))
            .copied()
            .collect();
        for id in gone {
            if let Some(group) = self.running.remove(&id) {
                group.remove();
                self.shared.hub.stages.forget(id.as_str());
                self.shared.hub.engines.place(id, &[]);
            }
        }
        self.announce(config, now);
        let mut failed = Vec::new();
        for spec in wanted {
            let id = spec.id;
            let old = self.running.remove(&id);
            let started = match old {
                Some(running) if running.spec == spec && running.blind.is_empty() => Ok(running),
                Some(mut running) if running.spec.differs_in_panoramas(&spec) && running.blind.is_empty() => {
                    running.spec = spec;
                    // What cannot be started is told; the group goes on.
                    if let Err(error) = running.stitch(&self.shared) {
                        log::error!("group {id}: a panorama does not run: {error}");
                        failed.push(format!("group {id}: a panorama: {error}"));
                    }
                    Ok(running)
                }
                old => Running::start(spec, old, &self.shared),
            };
            match started {
                Ok(running) => {
                    self.running.insert(id, running);
                }
                Err(error) => {
                    log::error!("group {id} does not run: {error:#}");
                    failed.push(format!("group {id}: {error:#}"));
                }
            }
        }
        self.shared.desk.stopped(&config.panoramas, now);
        failed
    }

    /// Stops everything, cameras first, and waits.
    pub(crate) fn stop(self) {
        let mut groups: Vec<Running> = self.running.into_values().collect();
        // All are told before any is waited for.
        groups.iter_mut().for_each(Running::tell_cameras);
        groups.into_iter().for_each(Running::stop);
    }
}

impl GroupSpec {
    /// Whether `other` is the same but for its panoramas.
    fn differs_in_panoramas(&self, other: &GroupSpec) -> bool {
        let without = |spec: &GroupSpec| GroupSpec {
            panoramas: Vec::new(),
            ..spec.clone()
        };
        without(self) == without(other)
    }
}

impl Running {
    /// Starts a group. Of the one it replaces, cameras that did not change go on without a gap, and so do their
    /// detectors, tracks and events.
    fn start(spec: GroupSpec, old: Option<Running>, shared: &Shared) -> Result<Running> {
        let capacity = spec.cameras.len() * QUEUE_PER_CAMERA;
        // New detectors are built before the old threads stop: a model takes a while to load.
        let stays = |d: &DetectorConfig| old.as_ref().is_some_and(|old| old.keeps(d, &spec));
        let new = spec.detectors.iter().filter(|d| !stays(d));
        let (mut built, blind) = watches(spec.id, new, &spec.model_dirs, shared);
        for member in &spec.cameras {
            let why = member.detector.as_ref().and_then(|name| blind.get(name)).cloned();
            if let Some(why) = &why {
                log::error!("camera {}: {why}", member.options.id);
            }
            shared.board.camera_blind(&member.options.id, why);
        }
        let (mut machines, mut attention) = (BTreeMap::new(), BTreeMap::new());
        let mut share = None;
        let mut motion = Motion::default();
        let (main, sub) = match old {
            Some(mut old) => {
                // Programs that read go on where nothing changed for them.
                share = old.share.take().filter(|_| old.spec.share == spec.share);
                let before = std::mem::take(&mut old.motion);
                if share.is_some() {
                    motion = before;
                }
                let mut left = old.stop_threads();
                if let Some(left) = &mut left {
                    left.daemon_goes_on();
                    for config in spec.detectors.iter().filter(|d| old.keeps(d, &spec)) {
                        built.extend(left.detector(&config.name));
                    }
                    for member in spec.cameras.iter().filter(|m| old.follows(m, &spec)) {
                        let id = member.options.id;
                        machines.extend(left.machine(&id).map(|machine| (id, machine)));
                        attention.extend(left.attention(&id).map(|attention| (id, attention)));
                    }
                }
                // Ends the events of all others.
                drop(left);
                let before = std::mem::take(&mut old.spec.cameras);
                let member = |members: &[Member], id| members.iter().find(|m| m.options.id == id).cloned();
                let stays = |id: &StreamId| {
                    let (now, before) = (member(&spec.cameras, *id), member(&before, *id));
                    now.map(|m| m.options) == before.map(|m| m.options)
                };
                let detected =
                    |id: &StreamId| member(&spec.cameras, *id).is_some_and(|m| m.detector.is_some());
                let sub = old.sub.kept(|id| stays(id) && detected(id));
                (old.main.kept(stays), sub)
            }
            None => (Streams::new(capacity), Streams::new(capacity)),
        };
        let of = |name: &str| {
            let looks = |m: &Member| (m.detector.as_deref() == Some(name)).then_some(m.options.id);
            (name.to_owned(), spec.cameras.iter().filter_map(looks).collect())
        };
        let placed: Vec<_> = built.iter().map(|w| of(w.detector.name())).collect();
        shared.hub.engines.place(spec.id, &placed);
        let (id, options) = (spec.id, spec.share.clone());
        let share = share.or_else(|| open_share(id, options, &motion, shared));
        if let Some(share) = &share {
            let asked = |m: &&Member| m.motion_vectors;
            let turned = |m: &Member| -> (StreamId, Rotation) { (m.options.id, m.options.rotation) };
            let cameras: Vec<_> = spec.cameras.iter().filter(asked).map(turned).collect();
            motion.apply(&cameras, &spec.motion_helper, share, &shared.motion());
        }
        let mut running = Running {
            spec,
            main,
            sub,
            blind,
            share,
            motion,
            stop: None,
            aligning: None,
            detecting: None,
            stitching: Lineup::default(),
        };
        running
            .start_threads(built, machines, attention, shared)
            .context("starting its threads")?;
        let failed = |id: &StreamId| format!("starting the thread of camera {id}");
        for member in &running.spec.cameras {
            let (options, detector) = (&member.options, &member.detector);
            let id = options.id;
            if !running.main.cameras.contains_key(&id) {
                let context = running.main.context(shared);
                let coded = shared.hub.relay.stream(id);
                coded.take_sound(member.audio);
                let camera =
                    Camera::start_relayed(options.clone(), context, coded).with_context(|| failed(&id))?;
                running.main.cameras.insert(id, camera);
            }
            if detector.is_some() && !running.sub.cameras.contains_key(&id) {
                let context = running.sub.context(shared);
                if let Some(camera) = Camera::start_sub(options, context) {
                    running
                        .sub
                        .cameras
                        .insert(id, camera.with_context(|| failed(&id))?);
                }
            }
        }
        Ok(running)
    }

    /// Whether this group has the detector as `next` wants it.
    fn keeps(&self, detector: &DetectorConfig, next: &GroupSpec) -> bool {
        self.spec.detectors.contains(detector)
            && !self.blind.contains_key(&detector.name)
            && self.spec.model_dirs == next.model_dirs
    }

    /// Whether this group looks at the camera as `next` wants it.
    fn follows(&self, member: &Member, next: &GroupSpec) -> bool {
        let same = |m: &&Member| m.options == member.options && m.detector == member.detector;
        let detector = next
            .detectors
            .iter()
            .find(|d| Some(&d.name) == member.detector.as_ref());
        self.spec.cameras.iter().any(|m| same(&m)) && detector.is_some_and(|d| self.keeps(d, next))
    }

    /// `machines` are those taken over; the others are made.
    fn start_threads(
        &mut self,
        mut watches: Vec<Watch>,
        mut machines: BTreeMap<StreamId, EventMachine>,
        mut attention: BTreeMap<StreamId, CameraLook>,
        shared: &Shared,
    ) -> std::io::Result<()> {
        for watch in &mut watches {
            let name = watch.detector.name().to_owned();
            let looks = |m: &Member| (m.detector.as_ref() == Some(&name)).then_some(m.options.id);
            let cameras: Vec<StreamId> = self.spec.cameras.iter().filter_map(looks).collect();
            for gone in watch.cameras.iter().filter(|c| !cameras.contains(c)) {
                watch.detector.forget(gone);
            }
            watch.cameras = cameras;
            for camera in &watch.cameras {
                let (config, region) = self.spec.attention(&name, camera);
                let kept = attention.remove(camera).filter(|a| a.is(config, region));
                attention.insert(*camera, kept.unwrap_or_else(|| CameraLook::new(config, region)));
                machines
                    .entry(*camera)
                    .or_insert_with(|| machine(watch, *camera, config.interval(), shared));
            }
        }
        let (stop, stopped) = bounded(0);
        let (detect, packets) = bounded(1);
        let id = self.spec.id;
        let with_sub = |m: &&Member| m.detector.is_some() && m.options.source.sub().is_some();
        let subs: BTreeMap<StreamId, SubStream<Pixels>> = self
            .spec
            .cameras
            .iter()
            .filter(with_sub)
            .map(|m| (m.options.id, SubStream::default()))
            .collect();
        self.stitch(shared)?;
        let group = GroupTask {
            id,
            stitch: self.stitching.mailboxes(),
            config: AlignConfig {
                cameras: self.spec.cameras.iter().map(|m| m.options.id).collect(),
                ..self.spec.align.clone()
            },
            online: self
                .main
                .cameras
                .keys()
                .filter(|c| shared.board.is_online(c))
                .copied()
                .collect(),
            frames: self.main.frames.clone(),
            notes: self.main.notes.1.clone(),
            sub_notes: self.sub.notes.1.clone(),
            sub_frames: (!subs.is_empty()).then(|| self.sub.frames.clone()),
            stopped,
            share: self.share.clone(),
            detect,
            detect_behind: packets.clone(),
            clock: shared.clock.clone(),
            map: shared.map.clone(),
            hub: shared.hub.clone(),
            board: shared.board.clone(),
            watchman: shared.watchman.clone(),
            pulse: shared.beats.add(&format!("group {id}"), THREAD_LIMIT),
        };
        let detect = DetectTask {
            packets,
            machines,
            attention,
            sub_frames: self.sub.frames.receiver().clone(),
            subs,
            watches,
            ignore: self
                .spec
                .cameras
                .iter()
                .map(|m| (m.options.id, m.ignore.clone()))
                .collect(),
            recorder: shared.recorder.clone(),
            store: shared.store.clone(),
            clock: shared.clock.clone(),
            map: shared.map.clone(),
            hub: shared.hub.clone(),
            board: shared.board.clone(),
            unread: BTreeMap::new(),
            pulse: shared.beats.add(&format!("detect {id}"), THREAD_LIMIT),
        };
        let spawn = |name: String| std::thread::Builder::new().name(name);
        self.aligning = Some(spawn(format!("group {id}")).spawn(move || group.run())?);
        self.detecting = Some(spawn(format!("detect {id}")).spawn(move || detect.run())?);
        self.stop = Some(stop);
        Ok(())
    }

    /// Runs the panoramas of the spec and no others.
    fn stitch(&mut self, shared: &Shared) -> std::io::Result<()> {
        let members = self.spec.cameras.iter().map(|m| panorama::Member {
            id: m.options.id,
            detected: m.detector.as_ref().is_some_and(|d| !self.blind.contains_key(d)),
            ignore: m.ignore.clone(),
        });
        let members: Vec<_> = members.collect();
        self.stitching
            .run(&self.spec.panoramas, &members, THREAD_LIMIT, shared)
    }

    /// Ends the group's threads; the cameras go on. Returns what the detect thread leaves.
    fn stop_threads(&mut self) -> Option<Leftovers> {
        self.stop = None;
        let panicked = |_| log::error!("a thread of group {} panicked", self.spec.id);
        let aligning = self.aligning.take().map(JoinHandle::join);
        let detecting = self.detecting.take().map(JoinHandle::join);
        if let Some(Err(error)) = aligning {
            panicked(error);
        }
        self.stitching.stop();
        detecting.and_then(|left| left.map_err(panicked).ok())
    }

    /// Tells the cameras to stop, and waits for none.
    fn tell_cameras(&mut self) {
        let all = self
            .main
            .cameras
            .values_mut()
            .chain(self.sub.cameras.values_mut());
        all.for_each(Camera::stop);
    }

    fn stop(mut self) {
        self.tell_cameras();
        self.main.cameras.clear();
        self.sub.cameras.clear();
        drop(self.stop_threads());
    }

    /// Stops a group that is not wanted any more, while the daemon goes on.
    fn remove(mut self) {
        self.tell_cameras();
        self.main.cameras.clear();
        self.sub.cameras.clear();
        if let Some(mut left) = self.stop_threads() {
            left.daemon_goes_on();
        }
    }
}

/// Opens a group's packets to other programs; without them the group runs all the same.
fn open_share(
    group: StreamId,
    options: Option<ShareOptions>,
    motion: &Motion,
    shared: &Shared,
) -> Option<Arc<Share>> {
    let map = shared.map.clone();
    let newest = Box::new(move || **map.load());
    match Share::open(group, options?, shared.clock.clone(), newest, motion.book()) {
        Ok(share) => Some(Arc::new(share)),
        Err(error) => {
            log::error!("{error}");
            None
        }
    }
}
