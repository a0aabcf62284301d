//! The main job against the truth: simulated cameras over real sockets, through `media` and the aligner, and every
//! frame's claimed capture time beside the one its barcode shows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, select, unbounded};
use synoptic_base::{
    BootId, BrokenReason, Captured, Clock, ClockMap, Epoch, FramePacket, Numbering, Rotation, Size, Span,
    StreamId,
};
use synoptic_engine::align::{AlignConfig, AlignInput, Aligner};
use synoptic_media::clocks::SystemClock;
use synoptic_media::{
    Camera, CameraContext, CameraNote, CameraOptions, CameraState, Epochs, FrameQueue, Pixels, RtspTransport,
    Secret, Source,
};

use crate::barcode;
use crate::camera::{self, Content, ReportMode};
use crate::scene::Scene;

/// Far longer than anything here takes, for a machine that is busy.
const DEADLINE: Span = Span::from_secs(90);
const SIZE: Size = Size::new(640, 360);

/// What a perfectly synchronised box knows: barcodes are written by the same clock.
pub(crate) fn true_map(clock: &dyn Clock) -> ClockMap {
    let sample = clock.sample();
    ClockMap {
        boot_id: BootId(uuid::Uuid::nil()),
        version: 1,
        utc_minus_mono: Span::from_nanos(sample.realtime.as_nanos() - sample.mono.as_nanos()),
        error: Some(Span::from_millis(1)),
    }
}

/// Epochs in memory.
struct Counter(Mutex<BTreeMap<StreamId, u32>>, Arc<dyn Clock>);

impl Epochs for Counter {
    fn next_epoch(&self, stream: StreamId) -> Result<Epoch, String> {
        let mut epochs = self.0.lock().unwrap();
        let epoch = epochs.entry(stream).or_default();
        *epoch += 1;
        Ok(Epoch(*epoch))
    }
    fn clock_map(&self) -> Option<ClockMap> {
        Some(true_map(&*self.1))
    }
}

/// The receiving half of the daemon: cameras and one aligner, driven by the test.
pub(crate) struct Rig {
    pub(crate) clock: Arc<dyn Clock>,
    aligner: Aligner<Pixels>,
    frames: FrameQueue<Pixels>,
    notes: Receiver<CameraNote>,
    pub(crate) states: BTreeMap<StreamId, (CameraState, Option<String>)>,
    pub(crate) health: BTreeMap<StreamId, synoptic_engine::timebase::TimeHealth>,
    pub(crate) sizes: BTreeMap<StreamId, Vec<(Epoch, Size)>>,
    pub(crate) codecs: BTreeMap<StreamId, String>,
    pub(crate) stats: BTreeMap<StreamId, synoptic_media::StreamStats>,
    pub(crate) starts: BTreeMap<(StreamId, Epoch), (Captured, Option<Numbering>)>,
    steps: Vec<(StreamId, Span)>,
    _cameras: Vec<Camera>,
}

pub(crate) fn id(i: usize) -> StreamId {
    StreamId::new(&format!("cam{i}")).unwrap()
}

pub(crate) fn rtsp(url: &str) -> Source {
    Source::Rtsp {
        url: url.to_owned(),
        sub_url: None,
        transport: RtspTransport::Tcp,
        user: None,
        password: None,
        tls_insecure: false,
        tls_ca: None,
    }
}

impl Rig {
    /// `bias`: how late each camera's stamps are declared to be.
    pub(crate) fn new(sources: Vec<(Source, Span)>) -> Rig {
        let options = sources
            .into_iter()
            .enumerate()
            .map(|(i, (source, capture_bias))| CameraOptions {
                id: id(i),
                source,
                rotation: Rotation::None,
                stall_after: Span::from_secs(3),
                capture_bias,
                capture_bias_error: Span::from_millis(12),
            });
        Rig::with(options.collect())
    }

    pub(crate) fn with(options: Vec<CameraOptions>) -> Rig {
        synoptic_media::init().unwrap();
        let clock = SystemClock::shared();
        let frames = FrameQueue::new(64);
        let (sender, notes) = unbounded();
        let config = AlignConfig {
            max_wait: Span::from_millis(400),
            ..AlignConfig::new(options.iter().map(|o| o.id).collect())
        };
        let context = CameraContext {
            clock: clock.clone(),
            epochs: Arc::new(Counter(Mutex::default(), clock.clone())),
            frames: frames.clone(),
            notes: sender,
        };
        let cameras = options
            .into_iter()
            .map(|options| Camera::start(options, context.clone()).unwrap());
        Rig {
            _cameras: cameras.collect(),
            aligner: Aligner::new(config),
            clock,
            frames,
            notes,
            states: BTreeMap::new(),
            health: BTreeMap::new(),
            sizes: BTreeMap::new(),
            codecs: BTreeMap::new(),
            stats: BTreeMap::new(),
            starts: BTreeMap::new(),
            steps: Vec::new(),
        }
    }

    /// Runs until `done` says so of a packet (or of the state without one).
    pub(crate) fn until(
        &mut self,
        what: &str,
        mut done: impl FnMut(&Rig, Option<&FramePacket<Pixels>>) -> bool,
    ) {
        let give_up = self.clock.now() + DEADLINE;
        loop {
            let now = self.clock.now();
            assert!(
                now < give_up,
                "{what}: not within {DEADLINE}; states {:?}, time {:?}",
                self.states,
                self.health
            );
            let tick = Span::from_millis(50);
            let wait = self.aligner.deadline().map_or(tick, |d| (d - now).min(tick));
            select! {
                recv(self.frames.receiver()) -> frame =>
                    self.aligner.handle(self.clock.now(), AlignInput::Frame(frame.unwrap())),
                recv(self.notes) -> note => self.note(note.unwrap()),
                default(wait.to_std()) => self.aligner.handle_time(self.clock.now()),
            }
            if done(self, None) {
                return;
            }
            while let Some(packet) = self.aligner.poll() {
                if done(self, Some(&packet)) {
                    return;
                }
            }
        }
    }

    fn note(&mut self, note: CameraNote) {
        let now = self.clock.now();
        match note {
            CameraNote::State {
                camera,
                state,
                reason,
            } => {
                let input = match state {
                    CameraState::Connecting => None,
                    CameraState::Online => Some(AlignInput::Up(camera)),
                    CameraState::Stalled => Some(AlignInput::Down(camera, BrokenReason::Stalled)),
                    _ => Some(AlignInput::Down(camera, BrokenReason::Disconnected)),
                };
                if let Some(input) = input {
                    self.aligner.handle(now, input);
                }
                self.states.insert(camera, (state, reason));
            }
            CameraNote::Health { camera, health } => {
                self.health.insert(camera, health);
            }
            CameraNote::Format { camera, epoch, info } => {
                self.sizes.entry(camera).or_default().push((epoch, info.size));
                self.codecs.insert(camera, info.codec);
            }
            CameraNote::WallStep { camera, step } => self.steps.push((camera, step)),
            CameraNote::Stats { camera, stats } => {
                self.stats.insert(camera, stats);
            }
            CameraNote::Start {
                camera,
                epoch,
                zero,
                numbering,
                ..
            } => {
                self.starts.insert((camera, epoch), (zero, numbering));
            }
            CameraNote::Unreadable { .. } | CameraNote::Drops { .. } | CameraNote::Restamp(_) => {}
        }
    }

    pub(crate) fn state(&self, i: usize) -> Option<CameraState> {
        self.states.get(&id(i)).map(|(state, _)| *state)
    }
}

/// Claimed minus true capture time of a frame, by its barcode.
pub(crate) fn error_of(rig: &Rig, frame: &synoptic_base::Frame<Pixels>) -> Span {
    let mut code = None;
    frame
        .pixels
        .with_planes(&mut |p| code = barcode::read(p.luma(), frame.meta.size))
        .unwrap();
    let code = code.expect("every frame of the simulator has a readable barcode");
    let sample = rig.clock.sample();
    let utc_minus_mono = sample.realtime.as_nanos() - sample.mono.as_nanos();
    Span::from_nanos(frame.meta.captured.mono.as_nanos() + utc_minus_mono - code.utc.as_nanos())
}

pub(crate) fn cameras(options: impl IntoIterator<Item = camera::CameraOptions>) -> Vec<camera::Camera> {
    options
        .into_iter()
        .map(|o| camera::Camera::start(&o, SystemClock::shared()).unwrap())
        .collect()
}

fn late(cameras: &[camera::Camera]) -> u64 {
    cameras.iter().map(|c| c.stats().late_frames).sum()
}

/// Three cameras as in the demo: other phases, clocks that are seconds off and drift, reports of either meaning.
pub(crate) fn three() -> Vec<camera::CameraOptions> {
    let scene = Arc::new(Scene::new(7, SIZE, 3).unwrap());
    let of = |i: usize| {
        camera::CameraOptions::new(
            &format!("cam{i}"),
            Content::Scene {
                scene: scene.clone(),
                view: i,
            },
        )
    };
    vec![
        camera::CameraOptions {
            report_interval: Span::from_millis(700),
            ..of(0)
        },
        camera::CameraOptions {
            clock_offset: Span::from_secs(2),
            clock_drift_ppm: 40.0,
            phase: Span::from_millis(21),
            report_interval: Span::from_millis(700),
            ..of(1)
        },
        camera::CameraOptions {
            clock_offset: Span::from_millis(-350),
            media_drift_ppm: -30.0,
            phase: Span::from_millis(47),
            delay: Span::from_millis(30),
            report_mode: ReportMode::Send,
            report_interval: Span::from_millis(700),
            ..of(2)
        },
    ]
}

#[test]
fn packets_hold_frames_of_one_instant_by_the_barcodes() {
    let sims = cameras(three());
    let bias = [Span::ZERO, Span::ZERO, Span::from_millis(34)];
    let mut rig = Rig::new(sims.iter().zip(bias).map(|(c, b)| (rtsp(&c.url()), b)).collect());
    rig.until("sender reports of all cameras", |rig, _| {
        (0..3).all(|i| rig.health.get(&id(i)).is_some_and(|h| h.reports >= 3))
    });
    let late_before = late(&sims);
    let mut checked: BTreeMap<StreamId, Vec<f64>> = BTreeMap::new();
    let (mut packets, mut complete) = (0, 0);
    let half_interval = Span::from_micros(33_334);
    rig.until("150 packets", |rig, packet| {
        let Some(packet) = packet else { return false };
        packets += 1;
        complete += u32::from(packet.is_complete());
        for frame in packet.frames() {
            let error = error_of(rig, frame);
            checked
                .entry(frame.meta.key.stream)
                .or_default()
                .push(error.as_millis_f64());
            let bound = frame.meta.captured.rel_error;
            assert!(
                error.abs() <= bound,
                "{}: {error} against a bound of {bound}",
                frame.meta.key
            );
            let truth = frame.meta.captured.mono - error;
            let off = (truth - packet.instant).abs();
            assert!(
                off <= half_interval + bound,
                "{}: {off} from its packet's instant",
                frame.meta.key
            );
        }
        packets == 150
    });
    for (camera, errors) in &mut checked {
        errors.sort_by(f64::total_cmp);
        let at = |q: usize| errors[(errors.len() - 1) * q / 100];
        let health = rig.health[camera];
        println!(
            "{camera}: claimed - true {:+.1} ms median ({:+.1} .. {:+.1}), bound {}, {} frames, {} reports",
            at(50),
            at(0),
            at(100),
            health.rel_error.unwrap(),
            errors.len(),
            health.reports,
        );
    }
    if late(&sims) > late_before {
        println!("INVALID: the simulator itself was late; completeness is not judged");
        return;
    }
    assert!(complete >= 140, "{complete} of {packets} packets are complete");
}

#[test]
fn a_camera_with_a_wrong_clock_is_reported_and_corrected_and_its_step_moves_no_frame() {
    let sims = cameras(three().into_iter().skip(1).take(1));
    let mut rig = Rig::new(vec![(rtsp(&sims[0].url()), Span::ZERO)]);
    let offset = |rig: &Rig| {
        let health = rig.health.get(&id(0))?;
        let sample = rig.clock.sample();
        let utc_minus_mono = Span::from_nanos(sample.realtime.as_nanos() - sample.mono.as_nanos());
        Some(health.wall_minus_mono? - utc_minus_mono)
    };
    let near = |rig: &Rig, seconds: i64| {
        offset(rig).is_some_and(|o| (o - Span::from_secs(seconds)).abs() < Span::from_millis(100))
    };
    rig.until("an offset of 2 s", |rig, _| {
        near(rig, 2) && rig.health[&id(0)].reports >= 3
    });
    sims[0].step_clock(Span::from_secs(5));
    rig.until("an offset of 7 s", |rig, packet| {
        if let Some(frame) = packet.and_then(|p| p.frames().next()) {
            let error = error_of(rig, frame);
            assert!(error.abs() <= frame.meta.captured.rel_error, "{error}");
        }
        near(rig, 7) && !rig.steps.is_empty()
    });
    assert_eq!(rig.steps.len(), 1);
    assert!(
        (rig.steps[0].1 - Span::from_secs(5)).abs() < Span::from_millis(50),
        "{}",
        rig.steps[0].1
    );
}

#[test]
fn a_killed_camera_is_broken_at_once_and_comes_back_with_a_new_epoch() {
    let sims = cameras(three().into_iter().take(2));
    let mut rig = Rig::new(sims.iter().map(|c| (rtsp(&c.url()), Span::ZERO)).collect());
    rig.until("a complete packet", |_, packet| {
        packet.is_some_and(FramePacket::is_complete)
    });
    sims[1].kill();
    rig.until("cam1 broken in a packet that has cam0", |_, packet| {
        packet.is_some_and(|p| {
            p.slots[0].1.frame().is_some() && p.slots[1].1.status() == synoptic_base::SlotStatus::Broken
        })
    });
    assert_ne!(rig.state(1), Some(CameraState::Online));
    sims[1].revive().unwrap();
    // Not just a complete one: on a busy machine a last frame of before is still on its way.
    rig.until("a complete packet of a new epoch", |_, packet| {
        packet.is_some_and(|p| {
            let again = p.slots[1].1.frame();
            p.is_complete() && again.is_some_and(|frame| frame.meta.key.epoch > Epoch(1))
        })
    });
    let epochs: Vec<u32> = rig.sizes[&id(1)].iter().map(|(e, _)| e.0).collect();
    assert_eq!(epochs, [1, 2]);
}

#[test]
fn a_frozen_camera_is_a_stall() {
    let sims = cameras(three().into_iter().take(1));
    let mut rig = Rig::new(vec![(rtsp(&sims[0].url()), Span::ZERO)]);
    rig.until("a packet", |_, packet| packet.is_some());
    let frozen_at = rig.clock.now();
    sims[0].freeze(true);
    rig.until("the stall", |rig, _| rig.state(0) == Some(CameraState::Stalled));
    let took = rig.clock.now() - frozen_at;
    assert!(
        took >= Span::from_millis(2_900),
        "a stall is declared after 3 s, not {took}"
    );
    sims[0].freeze(false);
    rig.until("a packet after the stall", |_, packet| packet.is_some());
}

#[test]
fn a_wait_for_the_first_frame_longer_than_a_stall_is_none() {
    let sims = cameras(three().into_iter().take(1));
    // With one client there, the next can connect although no picture comes.
    let mut there = Rig::new(vec![(rtsp(&sims[0].url()), Span::ZERO)]);
    there.until("a packet", |_, packet| packet.is_some());
    sims[0].freeze(true);
    // Frames that were being coded are let out: the next client shall get none at all.
    let mut last = there.clock.now();
    there.until("the last packet", |rig, packet| {
        let now = rig.clock.now();
        if packet.is_some() {
            last = now;
        }
        now - last > Span::from_millis(700)
    });
    let mut rig = Rig::new(vec![(rtsp(&sims[0].url()), Span::ZERO)]);
    rig.until("the second connection", |_, _| sims[0].stats().clients == 2);
    let began = rig.clock.now();
    // Longer than `stall_after`, shorter than a connection may wait for its first frame.
    rig.until("five seconds", |rig, _| {
        rig.clock.now() - began > Span::from_secs(5)
    });
    assert_eq!(rig.state(0), Some(CameraState::Connecting));
    sims[0].freeze(false);
    rig.until("a packet", |_, packet| packet.is_some());
    let epochs: Vec<u32> = rig.sizes[&id(0)].iter().map(|(e, _)| e.0).collect();
    assert_eq!(epochs, [1], "it was cut off at its first frame");
}

#[test]
fn a_change_of_resolution_is_a_new_epoch() {
    let sims = cameras(three().into_iter().take(1));
    let mut rig = Rig::new(vec![(rtsp(&sims[0].url()), Span::ZERO)]);
    rig.until("a packet", |_, packet| packet.is_some());
    let bigger = Size::new(960, 540);
    sims[0].set_size(bigger).unwrap();
    rig.until("a frame of the new size", |_, packet| {
        packet
            .and_then(|p| p.frames().next())
            .is_some_and(|f| f.meta.size == bigger)
    });
    let seen = &rig.sizes[&id(0)];
    assert_eq!(seen.first().unwrap().1, SIZE);
    assert_eq!(seen.last().unwrap().1, bigger);
    assert!(seen.last().unwrap().0 > seen.first().unwrap().0);
}

#[test]
fn a_wrong_password_and_a_stream_without_video_say_so() {
    let login = Some(("admin".to_owned(), "secret".to_owned()));
    let mut options = three();
    options.truncate(2);
    options[0].login = login;
    options[1].content = Content::Audio;
    let sims = cameras(options);
    let locked = |password: &str| {
        let Source::Rtsp {
            url,
            sub_url,
            transport,
            tls_insecure,
            tls_ca,
            ..
        } = rtsp(&sims[0].url())
        else {
            unreachable!()
        };
        let (user, password) = (Some("admin".to_owned()), Some(Secret::new(password.to_owned())));
        Source::Rtsp {
            url,
            sub_url,
            transport,
            user,
            password,
            tls_insecure,
            tls_ca,
        }
    };
    let sources = vec![
        (locked("wrong"), Span::ZERO),
        (locked("secret"), Span::ZERO),
        (rtsp(&sims[1].url()), Span::ZERO),
    ];
    let mut rig = Rig::new(sources);
    rig.until("verdicts on all three", |rig, _| {
        rig.state(0) == Some(CameraState::AuthFailed)
            && rig.state(1) == Some(CameraState::Online)
            && rig.state(2) == Some(CameraState::Offline)
    });
    let reason = |i: usize| rig.states[&id(i)].1.clone().unwrap();
    assert!(reason(0).contains("user or password"), "{}", reason(0));
    assert!(reason(2).contains("no video stream"), "{}", reason(2));
}
