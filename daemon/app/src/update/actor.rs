//! Does what the machine of `synoptic_engine::update` says, and tells it what came of it. It has no `if` about updates itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use synoptic_base::{Mono, Span};
use synoptic_engine::update::{
    Action, BoxFacts, BundleFacts, Fault, Input, Kept, Machine, NotNow, State, Wish, newest,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::documents::{SlotDoc, Source, UpdateDoc, UpdatePhase};
use super::facts::Places;
use super::fetch::{self, Goal, Stop};
use super::kept::{Memory, MemoryFile};
use super::media;
use super::rauc::{self, Rauc};
use super::updater::{Call, Options, RESERVE, UpdaterParts, limit, sum_of};
use crate::power::{Bus, Power, REQUESTS};

/// RAUC is asked about the slots at most this often: a page that is left open is no load.
const FRESH: Span = Span::from_secs(10);
/// MESSAGE_ID of journal entries about updates, for `journalctl MESSAGE_ID=…` and fleets' alerts; docs/guide/update.md.
const MESSAGE_ID: &str = "6f1d1f6c0d5b4d0c9e0a4f5b7c2d8e31";

/// How a task of the actor speaks to it.
#[derive(Clone)]
struct Teller {
    calls: mpsc::WeakUnboundedSender<Call>,
    job: u64,
}

impl Teller {
    fn tell(&self, input: Input) {
        // Nobody listens any more: the daemon is going down.
        if let Some(calls) = self.calls.upgrade() {
            calls.send(Call::Told { job: self.job, input }).ok();
        }
    }
}

pub(super) struct Actor {
    parts: UpdaterParts,
    calls: mpsc::WeakUnboundedSender<Call>,
    file: MemoryFile,
    memory: Memory,
    machine: Machine<Source>,
    /// Ends the fetch under way.
    stop: Stop,
    known: Option<Result<rauc::Machine, String>>,
    asked_at: Option<Mono>,
    doc: watch::Sender<Arc<UpdateDoc>>,
}

impl Actor {
    pub(super) fn new(
        parts: UpdaterParts,
        calls: mpsc::WeakUnboundedSender<Call>,
    ) -> (Actor, watch::Receiver<Arc<UpdateDoc>>) {
        let file = MemoryFile::in_folder(&parts.places.own);
        let mut memory = file.read().unwrap_or_else(|| {
            let idle = Machine::<Source>::new().kept();
            Memory::new(parts.boot.clone(), idle)
        });
        let same_boot = memory.boot == parts.boot;
        let machine = Machine::resume(memory.update.clone(), same_boot);
        // What runs uncontested is committed, also what the box was flashed with.
        if machine.state().is_at_rest() && parts.places.pending().is_none() {
            memory.floor = newest(memory.floor.as_deref(), &parts.places.version());
        }
        let doc = watch::Sender::new(Arc::new(first_doc(&parts.places)));
        let seen = doc.subscribe();
        let actor = Actor {
            parts,
            calls,
            file,
            memory,
            machine,
            stop: Arc::default(),
            known: None,
            asked_at: None,
            doc,
        };
        actor.publish();
        (actor, seen)
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Call>) {
        self.ask_rauc(None);
        loop {
            self.act().await;
            self.publish();
            let deadline = self.machine.deadline().map(|at| at - self.parts.clock.now());
            let wait = async {
                match deadline {
                    Some(span) => tokio::time::sleep(positive(span)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                call = inbox.recv() => match call {
                    Some(call) => self.take(call),
                    None => break,
                },
                () = wait => {}
            }
        }
        self.stop.store(true, Ordering::Relaxed);
    }

    fn take(&mut self, call: Call) {
        // Whoever asked may have gone: then nobody misses the answer.
        match call {
            Call::Ask(source, options, answer) => {
                let begun = self.begin(source, options);
                // The number is given out only once the document shows it.
                self.publish();
                answer.send(begun).ok();
            }
            Call::Cancel(answer) => {
                let done = self.machine.cancel();
                self.publish();
                answer.send(done).ok();
            }
            Call::Reboot(answer) => {
                answer.send(self.machine.reboot()).ok();
            }
            Call::Refresh(answer) => {
                let now = self.parts.clock.now();
                if self.asked_at.is_some_and(|at| now - at < FRESH) && self.known.is_some() {
                    answer.send(()).ok();
                } else {
                    self.ask_rauc(Some(answer));
                }
            }
            Call::Machine(found, answer) => {
                self.known = Some(found);
                self.publish();
                if let Some(answer) = answer {
                    answer.send(()).ok();
                }
            }
            Call::Told { job, input } if job == self.memory.job => {
                self.machine.handle(self.parts.clock.now(), input);
            }
            // Of an update that was cancelled.
            Call::Told { .. } => {}
        }
    }

    fn begin(&mut self, source: Source, options: Options) -> Result<u64, NotNow> {
        self.machine.ask(Wish {
            repeatable: !matches!(source, Source::Upload { .. }),
            source,
            version: options.version,
            allow_downgrade: options.allow_downgrade,
            force: options.force,
            reboot: options.reboot,
        })?;
        self.memory.job += 1;
        self.memory.command = options.command;
        Ok(self.memory.job)
    }

    async fn act(&mut self) {
        while let Some(action) = self.machine.poll(self.parts.clock.now()) {
            match action {
                Action::Keep => self.keep().await,
                Action::Check => self.check(),
                Action::Fetch => self.fetch(),
                Action::StopFetching => self.stop.store(true, Ordering::Relaxed),
                Action::Inspect => self.inspect(),
                Action::Install => self.install(),
                Action::Follow => self.follow(),
                Action::Reboot => self.reboot(),
                Action::Look => {
                    let mut look = self.parts.places.look();
                    look.running = self.running();
                    self.machine.handle(self.parts.clock.now(), Input::Seen(look));
                }
                Action::Discard => {
                    if let Err(error) = Goal::discard(&self.parts.places.bundle()) {
                        log::error!("updates: the bundle cannot be removed: {error}");
                    }
                }
                Action::NoteFloor => {
                    let version = self.parts.places.version();
                    self.memory.floor = newest(self.memory.floor.as_deref(), &version);
                    self.keep().await;
                }
            }
        }
    }

    /// Writes the state down. One that cannot be is told: then the next start knows less, and the update goes on.
    async fn keep(&mut self) {
        let update = self.machine.kept();
        if std::mem::discriminant(&update.state) != std::mem::discriminant(&self.memory.update.state) {
            self.memory.since = Some((self.parts.utc)().to_rfc3339());
            self.log(&update);
            // The slots' marks have changed with it.
            self.asked_at = None;
        }
        self.memory.boot.clone_from(&self.parts.boot);
        self.memory.update = update;
        let (file, memory) = (self.file.clone(), self.memory.clone());
        match tokio::task::spawn_blocking(move || file.write(&memory)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::error!("updates: the state cannot be written down: {error}"),
            Err(error) => log::error!("updates: writing the state down: {error}"),
        }
    }

    fn log(&self, update: &Kept<Source>) {
        let version = update
            .job
            .as_ref()
            .and_then(|job| Some(job.release.as_ref()?.version.as_str()));
        let version = version.unwrap_or("?");
        match &update.state {
            State::Failed { stage, reason } => {
                log::error!(MESSAGE_ID = MESSAGE_ID; "update: failed while {stage}: {reason}");
            }
            State::RolledBack { reason } => {
                log::error!(MESSAGE_ID = MESSAGE_ID; "update: {version} was not well, the box went back: {reason}");
            }
            State::Committed => log::info!(MESSAGE_ID = MESSAGE_ID; "update: {version} is committed"),
            State::RebootPending => {
                log::info!(MESSAGE_ID = MESSAGE_ID; "update: {version} is installed and waits for a restart");
            }
            state => log::info!(MESSAGE_ID = MESSAGE_ID; "update: {:?}", UpdatePhase::of(state)),
        }
    }

    fn publish(&self) {
        let mut doc = UpdateDoc::clone(&self.doc.borrow()).with(&self.machine.kept());
        match &self.known {
            None => {}
            Some(Ok(machine)) => {
                doc.unavailable = None;
                doc.compatible = Some(machine.compatible.clone());
                if machine.busy.is_none() {
                    doc.slots = machine.slots.iter().map(SlotDoc::from).collect();
                }
            }
            Some(Err(why)) => doc.unavailable = Some(why.clone()),
        }
        doc.slot = self.running();
        doc.rollback_reason = self.parts.places.rollback_reason();
        doc.job = self.memory.job;
        doc.command.clone_from(&self.memory.command);
        doc.since.clone_from(&self.memory.since);
        doc.floor.clone_from(&self.memory.floor);
        self.doc.send_if_modified(|now| {
            let changed = **now != doc;
            if changed {
                *now = Arc::new(doc);
            }
            changed
        });
    }

    /// Boot name of the slot that runs: the kernel's word, else RAUC's, which knows other boot loaders.
    fn running(&self) -> Option<String> {
        let known = || self.known.as_ref()?.as_ref().ok()?.running.clone();
        self.parts.places.running().or_else(known)
    }

    fn teller(&self) -> Teller {
        Teller {
            calls: self.calls.clone(),
            job: self.memory.job,
        }
    }

    fn ask_rauc(&mut self, answer: Option<oneshot::Sender<()>>) {
        self.asked_at = Some(self.parts.clock.now());
        let (bus, calls) = (self.parts.bus.clone(), self.calls.clone());
        tokio::spawn(async move {
            let found = ask(&bus).await;
            if let Some(calls) = calls.upgrade() {
                calls.send(Call::Machine(found, answer)).ok();
            }
        });
    }

    /// A future that measures the box.
    fn measured(&self) -> impl Future<Output = Result<BoxFacts, String>> + Send + 'static {
        let (bus, places, floor) = (
            self.parts.bus.clone(),
            self.parts.places.clone(),
            self.memory.floor.clone(),
        );
        let utc = (self.parts.utc)();
        async move {
            let machine = ask(&bus).await?;
            let free = places
                .free()
                .map_err(|e| format!("{}: {e}", places.own.display()))?;
            // What is here of the bundle is room that it takes no second time.
            let here = std::fs::metadata(places.bundle()).map_or(0, |meta| meta.len());
            Ok(BoxFacts {
                compatible: machine.compatible,
                version: places.version(),
                floor,
                free: free.saturating_add(here),
                reserve: RESERVE,
                slots: machine.slots,
                redundancy: places.redundancy(),
                pending: places.pending(),
                busy: machine.busy,
                utc: Some(utc),
            })
        }
    }

    fn check(&self) {
        let (measured, teller) = (self.measured(), self.teller());
        tokio::spawn(async move { teller.tell(Input::Checked(measured.await)) });
    }

    fn fetch(&mut self) {
        let Some(source) = self.machine.job().map(|job| job.wish.source.clone()) else {
            return;
        };
        // The one before must not be stopped by the next one's wish, nor the other way round.
        self.stop = Arc::new(AtomicBool::new(false));
        let (stop, places, teller) = (self.stop.clone(), self.parts.places.clone(), self.teller());
        // An upload comes by itself.
        if matches!(source, Source::Upload { .. }) {
            return;
        }
        // A thread of its own: a runtime waits for its blocking tasks, and a silent server holds this one for minutes.
        let failed = self.teller();
        let fetching = move || {
            let to = places.bundle();
            let progress = teller.clone();
            let mut told = |bytes, total| progress.tell(Input::Fetching { bytes, total });
            let ended = match limit(&places) {
                Err(error) => Err((fetch::of_disk(&error), 0)),
                Ok(limit) => {
                    let goal = Goal {
                        to: &to,
                        limit,
                        stop: &stop,
                    };
                    match &source {
                        Source::Url { url, .. } => goal.by_http(&fetch::client(), url, &mut told),
                        Source::File { path, .. } => match media::allowed(&places, path) {
                            Ok(from) => goal.by_copy(&from, &mut told),
                            Err(why) => Err((Fault::Final(why), 0)),
                        },
                        Source::Upload { .. } => return,
                    }
                }
            };
            teller.tell(match ended {
                Ok(bytes) => Input::Fetched { bytes },
                Err((fault, bytes)) => Input::FetchFailed {
                    fault,
                    bytes,
                    random: rand::random(),
                },
            });
        };
        let thread = std::thread::Builder::new().name("update-fetch".to_owned());
        if let Err(error) = thread.spawn(fetching) {
            failed.tell(Input::FetchFailed {
                fault: Fault::Passing(format!("no thread could be started: {error}")),
                bytes: 0,
                random: rand::random(),
            });
        }
    }

    fn inspect(&self) {
        let Some(job) = self.machine.job() else { return };
        let wanted = job.wish.source.sha256().map(str::to_ascii_lowercase);
        let (measured, teller) = (self.measured(), self.teller());
        let (bus, places) = (self.parts.bus.clone(), self.parts.places.clone());
        tokio::spawn(async move {
            let found = async {
                if let Some(wanted) = wanted {
                    let at = places.clone();
                    let sum = tokio::task::spawn_blocking(move || sum_of(&at)).await;
                    let sum = sum.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
                    if sum != wanted {
                        return Err(format!(
                            "the file's SHA-256 is {sum}, not {wanted}: it is another file, or damaged"
                        ));
                    }
                }
                let file = places.bundle();
                let bytes = std::fs::metadata(&file).map_err(|e| e.to_string())?.len();
                let name = file
                    .to_str()
                    .ok_or("the data folder's name is no UTF-8")?
                    .to_owned();
                let rauc = Rauc::connect(&bus).await.map_err(|e| e.to_string())?;
                let (release, built) = rauc.inspect(&name).await.map_err(|e| e.to_string())?;
                let facts = measured.await?;
                Ok((
                    facts,
                    BundleFacts {
                        release,
                        built,
                        bytes,
                    },
                ))
            };
            teller.tell(Input::Inspected(found.await));
        });
    }

    fn install(&self) {
        let (bus, file, teller) = (self.parts.bus.clone(), self.parts.places.bundle(), self.teller());
        tokio::spawn(async move {
            let done = async {
                let name = file.to_str().ok_or("the data folder's name is no UTF-8")?;
                let rauc = Rauc::connect(&bus).await.map_err(|e| e.to_string())?;
                let told = |percent| teller.tell(Input::Installing { percent });
                rauc.install(name, told).await.map_err(|e| e.to_string())
            };
            let done = done.await;
            teller.tell(Input::Installed(done));
        });
    }

    /// The daemon was restarted while RAUC wrote.
    fn follow(&self) {
        let (bus, places, teller) = (self.parts.bus.clone(), self.parts.places.clone(), self.teller());
        let target = self.machine.job().and_then(|job| job.target.clone());
        tokio::spawn(async move {
            if target.is_some() && places.running() == target {
                teller.tell(Input::Overtaken);
                return;
            }
            let done = async {
                let rauc = Rauc::connect(&bus).await.map_err(|e| e.to_string())?;
                let told = |percent| teller.tell(Input::Installing { percent });
                if rauc.follow(told).await.map_err(|e| e.to_string())?.is_some() {
                    return Ok(());
                }
                let machine = rauc.machine().await.map_err(|e| e.to_string())?;
                if target.is_some() && machine.primary == target {
                    return Ok(());
                }
                let what = "the box or RAUC was restarted in the middle of it, as by a power cut; the slot that runs was not touched";
                Err(what.to_owned())
            };
            let done = done.await;
            teller.tell(Input::Installed(done));
        });
    }

    fn reboot(&self) {
        let power = Power::new(self.parts.bus.clone(), self.parts.places.at(REQUESTS));
        let teller = self.teller();
        tokio::spawn(async move {
            log::info!("update: restarting the box");
            if let Err(why) = power.reboot().await {
                log::error!("update: the box did not restart: {why}");
                teller.tell(Input::RebootFailed(why));
            }
        });
    }
}

async fn ask(bus: &Bus) -> Result<rauc::Machine, String> {
    let rauc = Rauc::connect(bus).await.map_err(|e| e.to_string())?;
    rauc.machine().await.map_err(|e| e.to_string())
}

fn positive(span: Span) -> Duration {
    Duration::from_nanos(u64::try_from(span.as_nanos()).unwrap_or(0))
}

fn first_doc(places: &Places) -> UpdateDoc {
    UpdateDoc {
        unavailable: None,
        version: places.version(),
        compatible: None,
        slot: None,
        slots: Vec::new(),
        floor: None,
        job: 0,
        command: None,
        state: UpdatePhase::Idle,
        since: None,
        stage: None,
        reason: None,
        note: None,
        source: None,
        new_version: None,
        bytes: None,
        total_bytes: None,
        percent: None,
        rollback_reason: None,
        files: Vec::new(),
    }
}
