//! A camera's supervised thread: connect, deliver, and when it ends, say why and connect again.
//!
//! `run` retries with backoff, `run_once` is straight-line. A camera that fails is data, never a panic: it ends in
//! [`CameraNote::State`], and the other cameras do not notice.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use log::Level;
use rand::Rng;
use synoptic_base::{
    Captured, Clock, ClockMap, Epoch, Frame, FrameKey, FrameMeta, MediaTime, Numbering, Rotation, Seq, Span,
    StreamId, StreamRestamp, Surface,
};
use synoptic_engine::backoff::Backoff;
use synoptic_engine::timebase::{LearnedDelay, TimeEvent, TimeHealth};

use crate::coded::CodedStream;
use crate::encode::{EncodeOptions, PixelFeed};
use crate::notes::{CameraNote, CameraState};
use crate::session::{Session, SessionEvent, SessionFrame, SessionOptions, StreamInfo};
use crate::{CameraOptions, FrameQueue, MediaError, Source, StreamStats};

/// A connection gives its first frame within this, or is closed: a camera with a GOP of 8 s just makes it.
const FIRST_FRAME: Span = Span::from_secs(10);
/// How often a running camera looks whether it is to stop, and whether it has stalled.
const TICK: Span = Span::from_millis(200);
/// How often a camera tells of its time.
const HEALTH_INTERVAL: Span = Span::from_millis(500);
/// How often what was learned is kept: a power cut loses no more.
const KEEP_INTERVAL: Span = Span::from_secs(60);
/// A connection that held this long was a good one: the next failure begins its backoff anew.
const GOOD_CONNECTION: Span = Span::from_secs(30);

/// A picture as it travels through the daemon.
pub type Pixels = Arc<dyn Surface>;

/// What the daemon keeps for cameras over connections and restarts: epochs that are never reused, what was learned of
/// their delay, and the box's UTC.
pub trait Epochs: Send + Sync {
    /// The next epoch of a stream, on disk before it is returned.
    fn next_epoch(&self, stream: StreamId) -> Result<Epoch, String>;
    /// What the box knows of UTC; `None` for who keeps none.
    fn clock_map(&self) -> Option<ClockMap> {
        None
    }
    /// The delay that earlier connections to this camera learned; `None` when there is none, or the camera is read
    /// otherwise than then.
    fn learned_delay(&self, _camera: &CameraOptions) -> Option<LearnedDelay> {
        None
    }
    /// Keeps what a connection learned. Called at most once a minute and at its end; may write to disk.
    fn keep_learned_delay(&self, _camera: &CameraOptions, _learned: LearnedDelay) {}
}

/// What a camera needs from the daemon.
#[derive(Clone)]
pub struct CameraContext {
    /// The box's clock.
    pub clock: Arc<dyn Clock>,
    /// Where epochs come from.
    pub epochs: Arc<dyn Epochs>,
    /// Where frames go.
    pub frames: FrameQueue<Pixels>,
    /// Where everything else goes. A few messages a second at most, so it is not bounded.
    pub notes: Sender<CameraNote>,
}

/// A running camera. Dropping it stops the camera and waits for its thread.
pub struct Camera {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Camera {
    /// Starts a camera.
    pub fn start(options: CameraOptions, context: CameraContext) -> std::io::Result<Camera> {
        let label = options.id.to_string();
        Camera::start_as(label, options, context, None)
    }

    /// The same, and its coded pictures go to `coded`.
    pub fn start_relayed(
        options: CameraOptions,
        context: CameraContext,
        coded: Arc<CodedStream>,
    ) -> std::io::Result<Camera> {
        let label = options.id.to_string();
        Camera::start_as(label, options, context, Some(coded))
    }

    /// Starts the sub stream of a camera: frames and notes under the same id, in epochs of their own. `None` where the
    /// camera has none.
    pub fn start_sub(options: &CameraOptions, context: CameraContext) -> Option<std::io::Result<Camera>> {
        let options = CameraOptions {
            source: options.source.sub()?,
            ..options.clone()
        };
        let label = format!("{} (sub stream)", options.id);
        Some(Camera::start_as(label, options, context, None))
    }

    fn start_as(
        label: String,
        options: CameraOptions,
        context: CameraContext,
        coded: Option<Arc<CodedStream>>,
    ) -> std::io::Result<Camera> {
        let (stop, stopped) = bounded(0);
        let name = format!("cam {label}");
        let runner = Runner {
            label,
            options,
            stats: Cell::default(),
            context,
            encoding: RefCell::new(coded.clone().map(|c| PixelFeed::new(c, EncodeOptions::default()))),
            coded,
            stopped,
            told: RefCell::default(),
            begun: Cell::new(false),
            lost: RefCell::default(),
        };
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || runner.run())?;
        Ok(Camera {
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Tells the camera to stop without waiting: drop it to wait.
    pub fn stop(&mut self) {
        self.stop = None;
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("a camera thread panicked");
        }
    }
}

/// How a connection ended without an error.
enum Ended {
    /// The daemon wants it so.
    Stopped,
    /// The file is over.
    File,
}

struct Runner {
    /// The camera's name in the log.
    label: String,
    options: CameraOptions,
    /// Counters of all connections that have ended, and of frames.
    stats: Cell<StreamStats>,
    context: CameraContext,
    /// Where its coded pictures go.
    coded: Option<Arc<CodedStream>>,
    /// Codes its frames where those pictures fit nobody.
    encoding: RefCell<Option<PixelFeed>>,
    stopped: Receiver<()>,
    /// The failure that the log told last; `None` once frames came.
    told: RefCell<Option<String>>,
    /// Whether an epoch has begun.
    begun: Cell<bool>,
    /// Frames lost in earlier connections, by reason.
    lost: RefCell<BTreeMap<&'static str, u64>>,
}

impl Runner {
    fn run(self) {
        let mut backoff = Backoff::default();
        self.state(CameraState::Connecting, None);
        loop {
            let began = self.context.clock.now();
            let error = match self.run_once() {
                Ok(Ended::Stopped) => return,
                Ok(Ended::File) if matches!(self.options.source, Source::File { repeat: true, .. }) => {
                    continue;
                }
                Ok(Ended::File) => {
                    self.state(
                        CameraState::Offline,
                        Some("the file has ended; set `repeat = true` to loop it".into()),
                    );
                    // Nothing more comes; the thread waits to be stopped.
                    let ended: Result<(), _> = self.stopped.recv();
                    debug_assert!(ended.is_err());
                    return;
                }
                Err(error) => error,
            };
            if self.context.clock.now() - began > GOOD_CONNECTION {
                backoff.reset();
            }
            let random = rand::rng().random();
            let (state, wait) = match error {
                MediaError::Auth { .. } => (CameraState::AuthFailed, backoff.wait_after_refusal(random)),
                MediaError::Stalled { .. } => (CameraState::Stalled, backoff.wait(random)),
                _ => (CameraState::Offline, backoff.wait(random)),
            };
            let mut reason = error.to_string();
            // The same again is no news: a camera that is away for a week must not fill the log.
            let news = self.told.replace(Some(reason.clone())).as_ref() != Some(&reason);
            let level = if news { Level::Warn } else { Level::Debug };
            log::log!(level, "camera {}: {reason}; next try in {wait}", self.label);
            if state == CameraState::AuthFailed {
                let minutes = (wait.as_secs_f64() / 60.0).round();
                reason += &format!(
                    "; the next try is in {minutes} min, for a camera locks an account that is tried too often"
                );
            }
            self.state(state, Some(reason));
            if self.is_stopped_within(wait) {
                return;
            }
        }
    }

    /// One connection, from open to the first error.
    fn run_once(&self) -> Result<Ended, MediaError> {
        let o = &self.options;
        let session = SessionOptions {
            source: o.source.clone(),
            rotation: o.rotation,
            capture_bias: o.capture_bias,
            capture_bias_error: o.capture_bias_error,
        };
        let clock = &self.context.clock;
        let mut session = Session::open_tapped(&session, clock.clone(), self.coded.clone())?;
        if let Some(learned) = self.context.epochs.learned_delay(o) {
            session.recall(learned);
        }
        let ended = self.follow(&mut session);
        self.keep_learned(&session.health());
        let transport = session.transport();
        self.count(|stats| *stats = stats.with(transport));
        ended
    }

    /// Takes what a connection gives, until its end or its first error.
    fn follow(&self, session: &mut Session) -> Result<Ended, MediaError> {
        let (o, clock) = (&self.options, &self.context.clock);
        let mut run: Option<Run> = None;
        let mut last_frame = clock.now();
        let mut last_health = clock.now();
        let mut last_kept = clock.now();
        loop {
            // Not a wait of zero length: that spins and yields before it gives up.
            if matches!(self.stopped.try_recv(), Err(TryRecvError::Disconnected)) {
                return Ok(Ended::Stopped);
            }
            // UTC in the stream places frames from the first one on.
            if run.is_none()
                && let Some(map) = self.context.epochs.clock_map()
            {
                session.clock_map(map);
            }
            let event = match session.next(TICK) {
                Ok(event) => event,
                Err(error) => {
                    self.drops(session, true);
                    return Err(error);
                }
            };
            let now = clock.now();
            match event {
                Some(SessionEvent::Format(info)) => {
                    // The first frame is here: how long it took is not measured by `stall_after`.
                    last_frame = now;
                    if run.is_none() {
                        self.count(|stats| stats.connections += 1);
                    }
                    run = Some(self.begin(info)?);
                }
                Some(SessionEvent::Restarted) => {
                    if let Some(info) = run.map(|r| r.info) {
                        run = Some(self.begin(info)?);
                    } else {
                        run = None;
                    }
                }
                Some(SessionEvent::Frame(frame)) => {
                    last_frame = now;
                    if let Some(run) = &mut run {
                        self.count(|stats| stats.decoded += 1);
                        run.deliver(self, session, frame);
                    }
                }
                Some(SessionEvent::Unreadable(captured)) => {
                    self.count(|stats| stats.unreadable += 1);
                    self.note(CameraNote::Unreadable {
                        camera: o.id,
                        captured,
                    });
                }
                Some(SessionEvent::End) => return Ok(Ended::File),
                None => {}
            }
            let limit = if run.is_some() { o.stall_after } else { FIRST_FRAME };
            if now - last_frame > limit {
                return Err(MediaError::Stalled {
                    source_name: o.source.shown(),
                    after: limit,
                });
            }
            if now - last_health >= HEALTH_INTERVAL {
                last_health = now;
                if let Some(map) = self.context.epochs.clock_map() {
                    session.clock_map(map);
                }
                let health = session.health();
                if now - last_kept >= KEEP_INTERVAL {
                    last_kept = now;
                    self.keep_learned(&health);
                }
                self.note(CameraNote::Health { camera: o.id, health });
                if let Some(start) = run.as_ref().and_then(|run| run.start(o.id, session, &health)) {
                    self.note(start);
                }
                for event in session.time_events() {
                    log::info!("camera {}: time: {event}", self.label);
                    let TimeEvent::Better { since, moved, .. } = event else {
                        continue;
                    };
                    let restamp = run.as_ref().and_then(|r| session.restamp(r.epoch, since, moved));
                    if let Some(restamp) = restamp {
                        let stream = o.id;
                        self.note(CameraNote::Restamp(StreamRestamp { stream, restamp }));
                    }
                }
                self.drops(session, false);
                self.note(CameraNote::Stats {
                    camera: o.id,
                    stats: self.stats.get().with(session.transport()),
                });
                for step in session.wall_steps() {
                    log::debug!("camera {}: its own clock stepped by {step}", self.label);
                    self.note(CameraNote::WallStep { camera: o.id, step });
                }
            }
        }
    }

    fn keep_learned(&self, health: &TimeHealth) {
        if let Some(learned) = health.learned {
            self.context.epochs.keep_learned_delay(&self.options, learned);
        }
    }

    /// Tells of the frames that a connection lost, `ended` for the last time.
    fn drops(&self, session: &Session, ended: bool) {
        let mut lost = self.lost.borrow_mut();
        for (reason, count) in session.drops().into_iter().filter(|(_, count)| *count > 0) {
            let before = lost.entry(reason).or_default();
            let (camera, total) = (self.options.id, *before + count);
            self.note(CameraNote::Drops {
                camera,
                reason,
                total,
            });
            if ended {
                *before = total;
            }
        }
    }

    /// Begins an epoch.
    fn begin(&self, info: StreamInfo) -> Result<Run, MediaError> {
        let camera = self.options.id;
        let epoch = self
            .context
            .epochs
            .next_epoch(camera)
            .map_err(|why| MediaError::Broken {
                source_name: self.options.source.shown(),
                why: format!("no epoch could be stored: {why}"),
            })?;
        let (codec, size) = (&info.codec, info.size);
        if let Some(coded) = &self.coded {
            coded.declare(unplayable(codec, self.options.rotation));
        }
        self.told.replace(None);
        let loops = matches!(self.options.source, Source::File { repeat: true, .. });
        let news = !self.begun.replace(true) || !loops;
        log::log!(
            if news { Level::Info } else { Level::Debug },
            "camera {}: epoch {}: {codec} {}x{}",
            self.label,
            epoch.0,
            size.width,
            size.height
        );
        self.note(CameraNote::Format {
            camera,
            epoch,
            info: info.clone(),
        });
        self.state(CameraState::Online, None);
        Ok(Run {
            info,
            epoch,
            seq: Seq(0),
            last: None,
        })
    }

    fn count(&self, change: impl FnOnce(&mut StreamStats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }

    fn state(&self, state: CameraState, reason: Option<String>) {
        if let (Some(coded), false) = (&self.coded, state == CameraState::Online) {
            coded.waiting(reason.as_deref().unwrap_or("the camera is being connected"));
        }
        self.note(CameraNote::State {
            camera: self.options.id,
            state,
            reason,
        });
    }

    fn note(&self, note: CameraNote) {
        if self.context.notes.send(note).is_err() {
            log::debug!("camera {}: nobody listens any more", self.label);
        }
    }

    /// Waits; whether the camera was told to stop meanwhile.
    fn is_stopped_within(&self, wait: Span) -> bool {
        !matches!(
            self.stopped.recv_timeout(wait.to_std()),
            Err(crossbeam_channel::RecvTimeoutError::Timeout)
        )
    }
}

/// Why a browser cannot play what a camera sends, by what the camera says of itself.
fn unplayable(codec: &str, rotation: Rotation) -> Option<&'static str> {
    match codec {
        "H.264" if rotation == Rotation::None => None,
        "H.264" => Some("rotation"),
        "H.265" => Some("h265"),
        "MJPEG" => Some("mjpeg"),
        name if name.starts_with("raw") => Some("raw"),
        _ => Some("codec"),
    }
}

/// One epoch.
struct Run {
    info: StreamInfo,
    epoch: Epoch,
    seq: Seq,
    /// Media and capture time of the newest frame.
    last: Option<(MediaTime, Captured)>,
}

/// What a media clock is still off by once its drift was measured, and before (parts per million).
const DRIFT_LEFT_PPM: (i64, i64) = (5, 50);

impl Run {
    /// When this epoch began, by its newest frame.
    fn start(&self, camera: StreamId, session: &Session, health: &TimeHealth) -> Option<CameraNote> {
        let (media, captured) = self.last?;
        let drift_ppm = health.drift_ppm;
        let media = media.since_zero();
        let left = if drift_ppm.is_some() {
            DRIFT_LEFT_PPM.0
        } else {
            DRIFT_LEFT_PPM.1
        };
        let elapsed = media.as_nanos() as f64 / (1.0 + drift_ppm.unwrap_or(0.0) * 1e-6);
        let zero = Captured {
            mono: captured.mono - Span::from_nanos(elapsed as i64),
            rel_error: captured.rel_error + Span::from_nanos(media.as_nanos() / 1_000_000 * left),
            source: captured.source,
        };
        let numbering = session
            .numbering()
            .map(|(first, clock_rate_hz)| Numbering { first, clock_rate_hz });
        Some(CameraNote::Start {
            camera,
            epoch: self.epoch,
            zero,
            numbering,
            drift_ppm,
        })
    }

    fn deliver(&mut self, runner: &Runner, session: &Session, frame: SessionFrame) {
        let meta = FrameMeta {
            key: FrameKey {
                stream: runner.options.id,
                epoch: self.epoch,
                media_us: frame.media,
            },
            seq: self.seq,
            arrival: frame.arrival,
            captured: frame.captured,
            size: frame.size,
            kind: frame.kind,
        };
        self.seq.0 += 1;
        self.last = Some((frame.media, frame.captured));
        session.named(&frame, meta.key);
        let frame: Frame<Pixels> = Frame {
            meta,
            pixels: frame.surface,
        };
        if let Some(encoding) = &mut *runner.encoding.borrow_mut() {
            encoding.frame(&frame);
        }
        runner.context.frames.push(frame);
    }
}
