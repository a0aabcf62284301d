//! `synoptic run`: everything put together, kept in line with the configuration, and taken apart again.

mod telling;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use arc_swap::ArcSwap;
use synoptic_base::{Clock, ClockMap, Mono};
use synoptic_engine::system::SystemInput;
use synoptic_engine::track::TrackIds;
use synoptic_media::Epochs;
use synoptic_media::clocks::{self, SystemClock};
use synoptic_store::{Opened, Store};
use synoptic_vision::jpeg;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::adapters::{ConfiguredCameras, StoreOutbox, StoredEvents};
use crate::beat::Beats;
use crate::board::Board;
use crate::box_clock::BoxClock;
use crate::command::{self, WebCommands};
use crate::config::{self, Config};
use crate::documents::{DeviceState, DeviceStatus, MqttDoc};
use crate::epochs::StoredEpochs;
use crate::gpu_watch::GpuWatch;
use crate::groups::{Groups, Shared};
use crate::health::{self, HealthDesk};
use crate::hub::{Command, Hub};
use crate::inference::{self, EngineRoom};
use crate::mqtt::{CommandLink, Publisher, Topics, initial_state};
use crate::outputs;
use crate::panorama::{Desk, Extras, Service, ServiceParts};
use crate::recorder::Recorder;
use crate::service;
use crate::storage::{retention, store_options};
use crate::time_memory::TimeMemory;
use crate::update::Updater;
use crate::virtual_camera;
use crate::watchman::Watchman;
use crate::web::{self, Auth, Bound, Parts};

/// The status document is written this often, and at once after a reload.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
// A stop takes at most 5 s: the cameras need some 200 ms, the rest has these limits, one after the other.
/// For the last events to reach a broker that is there.
const DRAIN_LIMIT: Duration = Duration::from_millis(800);
/// For the broker and the pages, together.
const PART_LIMIT: Duration = Duration::from_millis(2_200);
/// For the database.
const CLOSE_LIMIT: Duration = Duration::from_millis(1_500);
/// How often the outbox is looked at while it drains.
const DRAIN_LOOK: Duration = Duration::from_millis(10);
/// Quality of live pictures: good enough to judge focus, about 30 kB at 640 pixels across.
const LIVE_QUALITY: u8 = 75;

/// A publisher that runs.
struct Mqtt {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

/// The daemon while it runs.
struct Daemon {
    path: PathBuf,
    /// What runs: the configuration file, and what runs beside it.
    config: Arc<ArcSwap<Config>>,
    /// What the file said when it was last right.
    file: Config,
    extras: Arc<Extras>,
    /// The configuration of the start: some of it holds until the next one.
    started_with: Arc<Config>,
    /// Keys that have another value by now.
    restart_needed: Vec<&'static str>,
    clock: Arc<dyn Clock>,
    started: Mono,
    box_clock: BoxClock,
    map: Arc<ArcSwap<ClockMap>>,
    hub: Arc<Hub>,
    board: Arc<Board>,
    beats: Arc<Beats>,
    store: Store,
    /// What was learned of the cameras' delays.
    memory: Arc<TimeMemory>,
    recorder: Arc<Recorder>,
    watchman: Arc<Watchman>,
    desk: Arc<Desk>,
    /// Virtual cameras.
    views: Arc<virtual_camera::Desk>,
    /// What leaves the box.
    outputs: Arc<outputs::Desk>,
    /// What the box does when it is told to.
    commands: Arc<WebCommands>,
    updates: Arc<Updater>,
    health: Arc<HealthDesk>,
    room: Arc<EngineRoom>,
    gpus: GpuWatch,
    groups: Option<Groups>,
    mqtt: Option<Mqtt>,
    mqtt_state: watch::Sender<MqttDoc>,
    state: DeviceStatus,
}

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start: a wrong configuration, an address in use, a data folder that cannot be written.
pub async fn run(path: PathBuf) -> Result<()> {
    let clock = SystemClock::shared();
    let boot = clocks::boot_id().context("reading the boot id")?;
    let before = command::at_start(&path, clock.now(), boot.0);
    let config = load(&path)?;
    log::info!(
        "synoptic {} as {}: configuration {}, data in {}",
        env!("CARGO_PKG_VERSION"),
        config.device.id,
        path.display(),
        config.device.data_dir.display()
    );
    synoptic_media::init().map_err(|e| anyhow!(e))?;
    let box_clock = BoxClock::new(clock.clone(), boot);
    let map = Arc::new(ArcSwap::from_pointee(box_clock.map()));
    let (hub, commands) = Hub::new();
    hub.relay.set_clock_map(box_clock.map());

    let options = store_options(&config, boot);
    std::fs::create_dir_all(&options.dir)
        .with_context(|| format!("making the data folder {}", options.dir.display()))?;
    let Opened {
        store,
        open_events,
        quarantined,
    } = Store::open(options, clock.clone())
        .await
        .context("opening the database")?;
    for file in quarantined {
        log::error!(
            "database {} was damaged ({}); it is set aside as {} and a new one begun",
            file.path.display(),
            file.why,
            file.moved_to.display()
        );
    }
    store.put_clock_map(box_clock.map());
    hub.starts.restore(store.stream_starts());
    let recorder = Arc::new(Recorder::new(store.clone(), hub.clone(), boot, topics(&config)));
    recorder.close_after_restart(open_events);

    let started = clock.now();
    let online = DeviceStatus {
        state: DeviceState::Online,
        since: Some(box_clock.map().utc(started).to_rfc3339()),
    };
    let desk = Arc::new(Desk::new(&config.device.data_dir));
    let memory = Arc::new(TimeMemory::open(&config.device.data_dir));
    let program = std::env::current_exe().context("finding this program, which builds plans")?;
    let room = EngineRoom::new(config.device.data_dir.join(inference::FOLDER), program);
    let config = Arc::new(config);
    let outputs = outputs::Desk::new(hub.relay.clone(), clock.clone(), map.clone(), config.rtsp.clone());
    let running = Arc::new(ArcSwap::new(config.clone()));
    let updates = Updater::of_this_machine(&config.device.data_dir, &clock, &map, boot)
        .context("making the folder of updates")?;
    let commands_to_box = command::Setup {
        path: path.clone(),
        config: running.clone(),
        hub: hub.clone(),
        clock: clock.clone(),
        map: map.clone(),
        boot,
        panoramas: desk.clone(),
        updates: updates.clone(),
        editing: outputs.editing(),
        before,
    };
    let commands_to_box = commands_to_box.start()?;
    let cameras = running.clone();
    let health = Arc::new(HealthDesk::new(
        hub.clone(),
        clock.clone(),
        Arc::new(move || health::sources(&cameras.load())),
        &config.device.data_dir.join("update"),
    ));
    tokio::spawn(health::remember(health.clone(), updates.watch()));
    let watchman = Arc::new(Watchman::new(recorder.clone(), clock.clone(), map.clone()));
    let mut daemon = Daemon {
        path,
        file: Config::clone(&config),
        extras: Arc::default(),
        started_with: config.clone(),
        restart_needed: Vec::new(),
        config: running,
        clock: clock.clone(),
        started,
        box_clock,
        map: map.clone(),
        hub,
        board: Arc::new(Board::default()),
        beats: Arc::new(Beats::new(clock.clone())),
        store,
        memory,
        gpus: GpuWatch::of_this_machine(clock.clone(), watchman.clone()),
        watchman,
        recorder,
        desk,
        views: Arc::default(),
        outputs: Arc::new(outputs),
        commands: commands_to_box,
        updates,
        health,
        room: Arc::new(room),
        groups: None,
        mqtt: None,
        mqtt_state: watch::Sender::new(initial_state(None)),
        state: online,
    };
    let (web_stop, web_stopped) = watch::channel(());
    let web = daemon.start_web(web_stopped).await?;
    let outcome = daemon.serve(commands).await;
    daemon.stop(web, web_stop).await;
    outcome
}

/// Reads the configuration, telling its warnings.
fn load(path: &Path) -> Result<Config> {
    let loaded = config::load(path).map_err(|e| anyhow!("{e}"))?;
    if !loaded.warnings.is_empty() {
        log::warn!("{}", config::render(path, &loaded.warnings).trim_end());
    }
    Ok(loaded.config)
}

fn topics(config: &Config) -> Option<Topics> {
    config
        .mqtt
        .as_ref()
        .map(|m| Topics::new(&m.root, &m.tenant, config.device.id))
}

impl Daemon {
    async fn start_web(&self, stopped: watch::Receiver<()>) -> Result<Bound> {
        let config = self.config.load_full();
        let map = self.map.clone();
        let parts = Parts {
            hub: self.hub.clone(),
            clock: self.clock.clone(),
            clock_map: Arc::new(move || **map.load()),
            events: Arc::new(StoredEvents {
                store: self.store.clone(),
                recorder: self.recorder.clone(),
            }),
            cameras: Arc::new(ConfiguredCameras {
                path: self.path.clone(),
                config: self.config.clone(),
                hub: self.hub.clone(),
                clock: self.clock.clone(),
                map: self.map.clone(),
                editing: self.outputs.editing(),
            }),
            panoramas: self.desk.clone(),
            virtual_cameras: self.views.clone(),
            stitch: Arc::new(Service::new(ServiceParts {
                extras: self.extras.clone(),
                desk: self.desk.clone(),
                hub: self.hub.clone(),
                config: self.config.clone(),
                clock: self.clock.clone(),
                map: self.map.clone(),
                outputs: self.outputs.clone(),
            })),
            outputs: outputs::ConfiguredOutputs::shared(&self.path, &self.hub, &self.outputs),
            commands: self.commands.clone(),
            updates: self.updates.clone(),
            health: self.health.clone(),
            auth: Arc::new(Auth::open(&config.device.data_dir, self.clock.clone())?),
            metrics_token: config.web.metrics_token.clone(),
            encode_jpeg: |surface| jpeg::encode(surface, LIVE_QUALITY).map_err(|e| e.to_string()),
        };
        let web = web::serve(&config.web, &config.device.data_dir, parts, stopped).await?;
        let urls: Vec<String> = web.listening.iter().map(web::Listening::url).collect();
        for url in &urls {
            log::info!("the page is at {url}");
        }
        service::page_at(&urls);
        Ok(web)
    }

    /// Runs until a signal says stop.
    async fn serve(&mut self, mut commands: mpsc::UnboundedReceiver<Command>) -> Result<()> {
        let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
        let mut hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
        self.start_mqtt();
        let mut groups = Groups::new(self.shared());
        let config = self.config.load_full();
        let now = self.utc_now();
        tokio::task::block_in_place(|| groups.apply(&config, now));
        self.groups = Some(groups);
        tokio::task::block_in_place(|| self.views.apply(&config.virtual_cameras, &self.view_parts()));
        tokio::task::block_in_place(|| self.outputs.apply(&config));
        self.publish_status();
        service::ready();
        let mut tick = tokio::time::interval(STATUS_INTERVAL);
        loop {
            tokio::select! {
                _ = tick.tick() => self.tick()?,
                _ = hangup.recv() => self.reload(),
                command = commands.recv() => match command {
                    Some(Command::Reload) => self.reload(),
                    Some(Command::Apply) => self.apply(),
                    Some(Command::Stop) => return Ok(()),
                    None => return Ok(()),
                },
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
            }
        }
    }

    fn shared(&self) -> Shared {
        Shared {
            clock: self.clock.clone(),
            map: self.map.clone(),
            hub: self.hub.clone(),
            board: self.board.clone(),
            beats: self.beats.clone(),
            store: self.store.clone(),
            recorder: self.recorder.clone(),
            watchman: self.watchman.clone(),
            epochs: self.epochs(),
            track_ids: TrackIds::default(),
            desk: self.desk.clone(),
            room: self.room.clone(),
        }
    }

    fn epochs(&self) -> Arc<dyn Epochs> {
        Arc::new(StoredEpochs {
            store: self.store.clone(),
            map: self.map.clone(),
            memory: self.memory.clone(),
        })
    }

    fn view_parts(&self) -> virtual_camera::Parts {
        virtual_camera::Parts {
            clock: self.clock.clone(),
            hub: self.hub.clone(),
            panoramas: self.desk.clone(),
            epochs: self.epochs(),
            beats: self.beats.clone(),
        }
    }

    fn utc_now(&self) -> synoptic_base::Utc {
        self.map.load().utc(self.clock.now())
    }

    /// Once a second. Fails when only a restart helps.
    fn tick(&mut self) -> Result<()> {
        let before = self.box_clock.map();
        let step = self.box_clock.look();
        let map = self.box_clock.map();
        self.map.store(Arc::new(map));
        self.hub.relay.set_clock_map(map);
        if map.version != before.version {
            self.store.put_clock_map(map);
        }
        // Frames do not move, their UTC is mapped anew; the event itself is stamped by the new map.
        if let Some(step) = step {
            self.watchman.see(SystemInput::BoxStep(step));
        }
        self.watchman.tick();
        if let Some(starts) = self.hub.starts.unsaved() {
            let store = self.store.clone();
            tokio::task::spawn_blocking(move || {
                if let Err(error) = store.keep_stream_starts(&starts) {
                    log::error!("{error}; they are known until the daemon ends");
                }
            });
        }
        tokio::task::block_in_place(|| self.outputs.look());
        let dead = self.beats.dead();
        for (thread, silent) in &dead {
            log::error!("thread {thread} has not answered for {silent}");
        }
        if dead.is_empty() {
            service::feed_watchdog();
        }
        self.publish_status();
        // What is recorded meanwhile waits in the spill; the next start sets the file aside and takes it over.
        anyhow::ensure!(
            !self.store.stats().damaged,
            "the database was damaged while in use: starting anew sets it aside"
        );
        Ok(())
    }

    /// Reads the configuration again and applies what changed. A wrong one changes nothing.
    fn reload(&mut self) {
        match load(&self.path) {
            Ok(new) => {
                self.file = new;
                self.apply();
            }
            Err(error) => log::error!("the configuration stays as it was:\n{error:#}"),
        }
    }

    /// Brings what runs in line with the file and what is to run beside it.
    fn apply(&mut self) {
        let old = self.config.load_full();
        let new = self.extras.with(&self.file);
        let plan = config::plan(&old, &new);
        log::info!(
            "configuration applied: {}",
            plan.to_string().trim_end().replace('\n', "; ")
        );
        self.config.store(Arc::new(new));
        let config = self.config.load_full();
        if plan.restart_mqtt {
            self.recorder.set_topics(topics(&config));
            self.start_mqtt();
        }
        if plan.update_store {
            self.store.set_limits(retention(&config));
        }
        let waiting = config::plan(&self.started_with, &config).needs_restart;
        if waiting != self.restart_needed && !waiting.is_empty() {
            log::warn!(
                "changed, but in effect only when the daemon is started again: {}",
                waiting.join(", ")
            );
        }
        self.restart_needed = waiting;
        let now = self.utc_now();
        if let Some(mut groups) = self.groups.take() {
            // The page hears of it before it takes effect, so that it does not ask for a camera that is gone.
            groups.announce(&config, now);
            self.publish_status();
            tokio::task::block_in_place(|| groups.apply(&config, now));
            self.groups = Some(groups);
        }
        tokio::task::block_in_place(|| self.views.apply(&config.virtual_cameras, &self.view_parts()));
        tokio::task::block_in_place(|| self.outputs.apply(&config));
        for camera in plan.stop_cameras.iter().chain(&plan.remove_panoramas) {
            self.hub.forget(camera);
            self.watchman.see(SystemInput::Forget(*camera));
        }
        self.publish_status();
    }

    /// Starts the publisher that the configuration wants. One that runs is told to leave, and the new one connects
    /// only once it has left: both have the same client id, of which the broker keeps one, and the last word on the
    /// retained status must be the new one's.
    fn start_mqtt(&mut self) {
        let config = self.config.load_full();
        let before = self.mqtt.take();
        if let Some(before) = &before {
            before.stop.send_replace(true);
        }
        let left = async move {
            if let Some(before) = before
                && let Err(error) = before.task.await
            {
                log::error!("mqtt: the publisher of before ended badly: {error}");
            }
        };
        let state = self.mqtt_state.clone();
        let initial = initial_state(config.mqtt.as_ref());
        let (stop, shutdown) = watch::channel(false);
        let allowed = config.mqtt.as_ref().and_then(|m| m.commands.clone());
        let commands = allowed
            .as_ref()
            .map(|_| self.commands.desk.clone() as Arc<dyn CommandLink>);
        self.commands.desk.allow(allowed.unwrap_or_default());
        let Some(mqtt) = config.mqtt.clone() else {
            let task = tokio::spawn(async move {
                left.await;
                state.send_replace(initial);
            });
            self.mqtt = Some(Mqtt { task, stop });
            return;
        };
        let publisher = Publisher {
            config: mqtt,
            device: config.device.id,
            info: self.info(),
            hub: self.hub.clone(),
            outbox: Arc::new(StoreOutbox(self.store.clone())),
            commands,
            clock: self.clock.clone(),
            state: self.mqtt_state.clone(),
            shutdown,
        };
        let task = tokio::spawn(async move {
            left.await;
            state.send_replace(initial);
            if !*publisher.shutdown.borrow() {
                publisher.run().await;
            }
        });
        self.mqtt = Some(Mqtt { task, stop });
    }

    /// Takes everything down, top to bottom: pictures first, so that the last events still reach disk and broker.
    async fn stop(mut self, web: Bound, web_stop: watch::Sender<()>) {
        log::info!("stopping");
        service::stopping();
        if let Some(groups) = self.groups.take() {
            tokio::task::block_in_place(|| groups.stop());
        }
        tokio::task::block_in_place(|| self.views.stop());
        let outputs = self.outputs.close(PART_LIMIT);
        drop(web_stop);
        let mqtt = self.mqtt.take();
        let broker = async {
            let Some(mqtt) = mqtt else { return };
            if self.mqtt_state.borrow().state == "connected" {
                // What does not leave in time leaves after the next start.
                tokio::time::timeout(DRAIN_LIMIT, self.drained()).await.ok();
            }
            mqtt.stop.send_replace(true);
            if tokio::time::timeout(PART_LIMIT, mqtt.task).await.is_err() {
                log::warn!("the broker did not take its leave in time");
            }
        };
        let pages = async {
            if tokio::time::timeout(PART_LIMIT, web.stopped()).await.is_err() {
                log::warn!("a page did not let go in time");
            }
        };
        tokio::join!(broker, pages, outputs);
        match tokio::time::timeout(CLOSE_LIMIT, self.store.close()).await {
            Ok(Ok(())) => log::info!("stopped"),
            Ok(Err(error)) => log::error!("closing the database: {error}"),
            Err(_) => log::error!("the database did not close in time; what is queued is in its spill file"),
        }
    }

    /// Until every change is stored and every message has left.
    async fn drained(&self) {
        let mut look = tokio::time::interval(DRAIN_LOOK);
        loop {
            look.tick().await;
            let stats = self.store.stats();
            if stats.queue + stats.spill_waiting + stats.outbox_rows == 0 {
                return;
            }
        }
    }
}
