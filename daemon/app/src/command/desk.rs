//! The desk: one thread that takes requests, runs them and tells what becomes of them.
//!
//! A thread of its own, because a command is on the disk before it begins, and writing that blocks. Commands themselves
//! run on the async runtime.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use serde_json::Value;
use synoptic_engine::command::{
    self as engine, Asked, Body, BoxTime, CommandConfig, CommandId, CommandState, Commands, Input, Origin,
    Output, Report,
};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use super::memory::{Kept, Memory};
use super::{Args, Call, Command, Interrupted, Outcome};
use crate::documents::{CommandDoc, CommandPhase, CommandProgress};

/// Commands that run at once, of each name one.
const RUNNING: usize = 4;
/// Commands that wait for those.
const WAITING: usize = 16;
/// Commands that are remembered: a fleet that gives one an hour has ids that are good for five days.
const REMEMBERED: usize = 128;
/// Refusals that are remembered, in memory only.
const REFUSALS: usize = 32;
/// Things to tell that belong to no command that is known; the oldest goes.
const PASSING: usize = 32;
/// How often what waits is looked at.
const TICK: Duration = Duration::from_secs(1);
/// The largest result, in bytes of JSON: with its envelope it fits a broker that takes 1 MiB.
const MAX_RESULT: usize = 512 << 10;
/// How long a request by the page is good for when it has to wait for others.
const PAGE_TTL: synoptic_base::Span = synoptic_base::Span::from_secs(300);

/// What the desk works with.
pub struct Parts<'a> {
    /// Where commands are remembered.
    pub data_dir: &'a Path,
    /// This boot.
    pub boot: Uuid,
    /// What the box knows of UTC now.
    pub time: Arc<dyn Fn() -> BoxTime + Send + Sync>,
    /// All commands there are.
    pub commands: Vec<Arc<dyn Command>>,
}

/// What is to be told of a command: its newest state, or that it is forgotten.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct News {
    /// Grows with each.
    pub(crate) seq: u64,
    pub(crate) name: String,
    pub(crate) id: String,
    /// `None`: it is not remembered any more.
    pub(crate) doc: Option<CommandDoc>,
}

enum Note {
    Input(Input<Args, Value>, Option<oneshot::Sender<CommandDoc>>),
    Allow(BTreeSet<String>),
    Stop,
}

#[derive(Default)]
struct Book {
    seq: u64,
    /// By name and id, what is known and when it was last news.
    known: BTreeMap<(String, String), (u64, CommandDoc)>,
    /// What is told once.
    passing: VecDeque<News>,
}

/// What readers see.
struct Shared {
    book: Mutex<Book>,
    changed: watch::Sender<u64>,
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes requests from everywhere. Dropping it ends its thread; commands that run are left to the daemon's end.
pub struct Desk {
    notes: Sender<Note>,
    shared: Arc<Shared>,
    names: BTreeSet<String>,
    time: Arc<dyn Fn() -> BoxTime + Send + Sync>,
}

impl Drop for Desk {
    fn drop(&mut self) {
        // The thread is there until it hears this.
        self.notes.send(Note::Stop).ok();
    }
}

impl Desk {
    /// Starts the desk within a tokio runtime. What ran when the daemon ended is taken up again or failed.
    ///
    /// # Errors
    /// When the folder of the commands cannot be used.
    pub fn start(parts: Parts<'_>) -> Result<Desk> {
        let folder = parts.data_dir.display();
        let (memory, kept) = Memory::open(parts.data_dir, parts.boot)
            .with_context(|| format!("reading the commands of before in {folder}"))?;
        let (notes, heard) = unbounded();
        let shared = Arc::new(Shared {
            book: Mutex::default(),
            changed: watch::Sender::new(0),
        });
        let commands: BTreeMap<_, _> = parts.commands.into_iter().map(|c| (c.name(), c)).collect();
        let names: BTreeSet<String> = commands.keys().map(|n| (*n).to_owned()).collect();
        let machine = Commands::new(CommandConfig {
            names: names.clone(),
            allowed: BTreeSet::new(),
            running: RUNNING,
            waiting: WAITING,
            remembered: REMEMBERED,
            refusals: REFUSALS,
        });
        let mut worker = Worker {
            machine,
            commands,
            memory,
            shared: shared.clone(),
            notes: notes.clone(),
            time: parts.time.clone(),
            runtime: Handle::try_current().context("commands run on the async runtime")?,
            unkept: BTreeMap::new(),
        };
        worker.restore(kept, parts.boot);
        std::thread::Builder::new()
            .name("commands".to_owned())
            .spawn(move || worker.run(&heard))
            .context("starting the thread of the commands")?;
        Ok(Desk {
            notes,
            shared,
            names,
            time: parts.time,
        })
    }

    /// Names of all commands.
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// Sets what the broker may ask for from now on.
    pub fn allow(&self, names: BTreeSet<String>) {
        self.note(Note::Allow(names));
    }

    /// Takes a request of the page, and says how it was taken.
    pub async fn ask(&self, name: &str, id: CommandId, args: Args) -> Option<CommandDoc> {
        let asked = Asked {
            name: name.to_owned(),
            id,
            origin: Origin::Page,
            body: Ok(Body {
                issued_at: Some((self.time)().utc),
                ttl: PAGE_TTL,
                args,
            }),
        };
        let (answer, told) = oneshot::channel();
        self.note(Note::Input(Input::Asked(asked), Some(answer)));
        // The thread ends with the desk only.
        told.await.ok()
    }

    pub(super) fn request(&self, asked: Asked<Args>) {
        self.note(Note::Input(Input::Asked(asked), None));
    }

    pub(super) fn withdraw(&self, id: CommandId) {
        self.note(Note::Input(Input::Withdrawn(id), None));
    }

    /// What is known of a command.
    pub fn get(&self, id: &str) -> Option<CommandDoc> {
        let book = self.shared.book();
        let found = book.known.values().find(|(_, doc)| doc.id == id);
        found.map(|(_, doc)| doc.clone())
    }

    /// All commands that are known, in the order of their news.
    pub fn all(&self) -> Vec<CommandDoc> {
        let book = self.shared.book();
        let mut all: Vec<_> = book.known.values().collect();
        all.sort_by_key(|(seq, _)| *seq);
        all.into_iter().map(|(_, doc)| doc.clone()).collect()
    }

    pub(super) fn is_known(&self, name: &str, id: &str) -> bool {
        let key = (name.to_owned(), id.to_owned());
        self.shared.book().known.contains_key(&key)
    }

    /// The oldest news after `seq`.
    pub(super) fn next(&self, seq: u64) -> Option<News> {
        let book = self.shared.book();
        let known = book.known.iter().filter(|(_, (at, _))| *at > seq);
        let known = known.min_by_key(|(_, (at, _))| *at);
        let passing = book.passing.iter().find(|n| n.seq > seq);
        match (known, passing) {
            (Some((_, (at, _))), Some(passing)) if passing.seq < *at => Some(passing.clone()),
            (None, passing) => passing.cloned(),
            (Some(((name, id), (at, doc))), _) => Some(News {
                seq: *at,
                name: name.clone(),
                id: id.clone(),
                doc: Some(doc.clone()),
            }),
        }
    }

    /// Says something about a request that cannot even be one.
    pub(super) fn tell_once(&self, doc: CommandDoc) {
        tell_once(&self.shared, doc.name.clone(), doc.id.clone(), Some(doc));
    }

    pub(super) fn now(&self) -> BoxTime {
        (self.time)()
    }

    /// Changes with each news.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    fn note(&self, note: Note) {
        // The thread ends with the desk only.
        self.notes.send(note).ok();
    }
}

/// Where a running command says how far it is.
#[derive(Clone)]
pub struct Progress {
    id: CommandId,
    notes: Sender<Note>,
}

impl Progress {
    /// Tells it, with 0 to 100 percent where that is known.
    pub fn tell(&self, text: impl Into<String>, percent: Option<f64>) {
        let progress = engine::Progress {
            text: text.into(),
            percent,
        };
        // Only the daemon's end is in the way.
        self.notes
            .send(Note::Input(Input::Progressed(self.id.clone(), progress), None))
            .ok();
    }
}

struct Worker {
    machine: Commands<Args, Value>,
    commands: BTreeMap<&'static str, Arc<dyn Command>>,
    memory: Memory,
    shared: Arc<Shared>,
    notes: Sender<Note>,
    time: Arc<dyn Fn() -> BoxTime + Send + Sync>,
    runtime: Handle,
    /// Commands that could not be written, with the reason: they do not begin.
    unkept: BTreeMap<CommandId, String>,
}

impl Worker {
    fn restore(&mut self, kept: Vec<Kept>, boot: Uuid) {
        for one in &kept {
            tell(&self.shared, &one.report);
        }
        let running: Vec<_> = kept
            .iter()
            .filter(|k| k.report.state == CommandState::Executing)
            .map(|k| (k.report.name.clone(), k.report.id.clone(), k.boot != boot))
            .collect();
        self.machine.restore(kept.into_iter().map(|k| k.report));
        for (name, id, other_boot) in running {
            let goes_on = match self.commands.get(name.as_str()) {
                Some(command) => command.resume(Interrupted {
                    id: id.clone(),
                    other_boot,
                }),
                None => super::failed("this version of the daemon has no such command"),
            };
            log::info!("command {name} {id} ran when the daemon ended");
            self.spawn(id, goes_on);
        }
    }

    fn run(mut self, heard: &Receiver<Note>) {
        loop {
            let note = if self.machine.waits() {
                match heard.recv_timeout(TICK) {
                    Ok(note) => note,
                    Err(RecvTimeoutError::Timeout) => Note::Input(Input::Tick, None),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            } else {
                match heard.recv() {
                    Ok(note) => note,
                    Err(_) => return,
                }
            };
            match note {
                Note::Input(input, answer) => self.handle(input, answer),
                Note::Allow(names) => self.machine.allow(names),
                Note::Stop => return,
            }
        }
    }

    fn handle(&mut self, input: Input<Args, Value>, answer: Option<oneshot::Sender<CommandDoc>>) {
        let wanted = match &input {
            Input::Asked(asked) => {
                log::info!("command {} {}: asked for", asked.name, asked.id);
                Some((asked.name.clone(), asked.id.clone()))
            }
            _ => None,
        };
        self.machine.handle((self.time)(), bounded(input));
        let mut newest = None;
        while let Some(output) = self.machine.poll() {
            if let (Output::Tell(report), Some((name, id))) = (&output, &wanted)
                && report.name == *name
                && report.id == *id
            {
                newest = Some(doc(report));
            }
            self.carry_out(output);
        }
        if let (Some(answer), Some(doc)) = (answer, newest) {
            // Who asked may have hung up.
            answer.send(doc).ok();
        }
    }

    fn carry_out(&mut self, output: Output<Args, Value>) {
        match output {
            Output::Keep(report) => {
                if let Err(error) = self.memory.keep(&report) {
                    log::error!("command {} {}: {error}", report.name, report.id);
                    if report.state == CommandState::Executing {
                        self.unkept.insert(report.id, error);
                    }
                }
            }
            Output::Tell(report) => {
                log_state(&report);
                let mine = self
                    .machine
                    .get(&report.id)
                    .is_some_and(|r| r.name == report.name);
                if mine {
                    tell(&self.shared, &report);
                } else {
                    let (name, id) = (report.name.clone(), report.id.to_string());
                    tell_once(&self.shared, name, id, Some(doc(&report)));
                }
            }
            Output::Start { name, id, args } => self.begin(&name, id, args),
            Output::Forget { name, id } => {
                if self.machine.get(&id).is_none() {
                    self.memory.forget(&id);
                }
                let key = (name.clone(), id.to_string());
                self.shared.book().known.remove(&key);
                tell_once(&self.shared, name, id.to_string(), None);
            }
        }
    }

    fn begin(&mut self, name: &str, id: CommandId, args: Args) {
        if let Some(error) = self.unkept.remove(&id) {
            let reason = format!("it was not begun, for it could begin again after a restart: {error}");
            return self.spawn(id, super::failed(&reason));
        }
        let Some(command) = self.commands.get(name) else {
            return self.spawn(id, super::failed("there is no such command"));
        };
        let progress = Progress {
            id: id.clone(),
            notes: self.notes.clone(),
        };
        let running = command.run(Call {
            id: id.clone(),
            args,
            progress,
        });
        self.spawn(id, running);
    }

    fn spawn(&self, id: CommandId, running: super::Running) {
        let notes = self.notes.clone();
        self.runtime.spawn(async move {
            let outcome = running.await;
            // Only the daemon's end is in the way.
            notes.send(Note::Input(Input::Finished(id, outcome), None)).ok();
        });
    }
}

/// A result that no broker takes is none.
fn bounded(input: Input<Args, Value>) -> Input<Args, Value> {
    match input {
        Input::Finished(id, Ok(result)) => {
            let size = result.to_string().len();
            let outcome: Outcome = if size > MAX_RESULT {
                Err(format!(
                    "it was done, but its result has {size} bytes, and {MAX_RESULT} can be told"
                ))
            } else {
                Ok(result)
            };
            Input::Finished(id, outcome)
        }
        other => other,
    }
}

fn log_state(report: &Report<Value>) {
    let (name, id, state) = (&report.name, &report.id, report.state.name());
    match (&report.reason, &report.progress) {
        (Some(reason), _) if report.state == CommandState::Failed => {
            log::warn!("command {name} {id}: {state}: {reason}");
        }
        (Some(reason), _) if report.state == CommandState::Init => {
            log::info!("command {name} {id}: waits: {reason}");
        }
        (_, Some(progress)) => log::debug!("command {name} {id}: {}", progress.text),
        _ => log::info!("command {name} {id}: {state}"),
    }
}

fn tell(shared: &Shared, report: &Report<Value>) {
    let doc = doc(report);
    let mut book = shared.book();
    book.seq += 1;
    let seq = book.seq;
    book.known.insert((doc.name.clone(), doc.id.clone()), (seq, doc));
    drop(book);
    shared.changed.send_replace(seq);
}

fn tell_once(shared: &Shared, name: String, id: String, doc: Option<CommandDoc>) {
    let mut book = shared.book();
    book.seq += 1;
    let seq = book.seq;
    if book.passing.len() == PASSING {
        book.passing.pop_front();
    }
    book.passing.push_back(News { seq, name, id, doc });
    drop(book);
    shared.changed.send_replace(seq);
}

fn doc(report: &Report<Value>) -> CommandDoc {
    CommandDoc {
        name: report.name.clone(),
        id: report.id.to_string(),
        state: match report.state {
            CommandState::Init => CommandPhase::Init,
            CommandState::Executing => CommandPhase::Executing,
            CommandState::Successful => CommandPhase::Successful,
            CommandState::Failed => CommandPhase::Failed,
        },
        since: report.since.to_rfc3339(),
        progress: report.progress.as_ref().map(|p| CommandProgress {
            text: p.text.clone(),
            percent: p.percent,
        }),
        reason: report.reason.clone(),
        result: report.result.clone(),
    }
}
