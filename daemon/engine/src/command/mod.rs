//! Commands to the box: each runs at most once, and each is answered.
//!
//! Terms: a **request** names a command and carries an **id** that its requester chose. The command goes `init` →
//! `executing` → `successful` or `failed` with a reason (the operations of thin-edge.io have these states). A request that
//! comes again with an id that is known only gets the state told again.
//!
//! A request may lie at the broker for days before the box sees it, so it says when it was issued and how long it is good
//! for (**time to live**). What is older is refused. Three rules keep that sound:
//!
//! * An id is remembered at least as long as its request could be valid: where there is no room for another one, the new
//!   request is refused, never an old one forgotten early.
//! * A command is on the disk ([`Output::Keep`]) before it begins ([`Output::Start`]), so that a box that starts anew in
//!   the middle does not begin it again.
//! * A box that does not know UTC cannot judge an age. A request that came live is taken: the broker hands it on only to
//!   who listens already, so it is seconds old. One that the broker had kept waits in `init` until the box knows UTC. A box that
//!   never learns the time thus takes commands only while it is connected, and none that is of unknown age.
//!
//! The contract: `handle` one input, `poll` to `None`. Arguments and results are payloads of any type.

mod types;

use std::collections::{BTreeSet, VecDeque};

use synoptic_base::{Span, Utc};

pub use types::{
    Asked, Body, BoxTime, CommandId, CommandIdError, CommandState, Input, Origin, Output, Progress, Report,
};

/// A requester's clock may be ahead of the box's by this much: what two machines with NTP never reach.
const AHEAD: Span = Span::from_secs(300);

/// Limits, and which commands there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandConfig {
    /// Names of the commands.
    pub names: BTreeSet<String>,
    /// Those that the broker may ask for.
    pub allowed: BTreeSet<String>,
    /// How many may run at once, of each name one.
    pub running: usize,
    /// How many may wait; more are refused.
    pub waiting: usize,
    /// How many are remembered.
    pub remembered: usize,
    /// How many refusals are remembered, beside those.
    pub refusals: usize,
}

/// A command that is remembered, with its arguments until it begins.
#[derive(Clone, Debug)]
struct Entry<A, R> {
    report: Report<R>,
    args: Option<A>,
    issued_at: Option<Utc>,
    ttl: Span,
    /// Its age is not known yet.
    held: bool,
}

impl<A, R> Entry<A, R> {
    fn waits(&self) -> bool {
        self.report.state == CommandState::Init
    }
}

/// The state machine of all commands.
#[derive(Clone, Debug)]
pub struct Commands<A, R> {
    config: CommandConfig,
    /// In the order in which they came.
    entries: Vec<Entry<A, R>>,
    /// What was refused, oldest first. It never began, so the same id may come again.
    refused: VecDeque<Report<R>>,
    outputs: VecDeque<Output<A, R>>,
}

impl<A, R: Clone> Commands<A, R> {
    /// Nothing was asked yet.
    pub fn new(config: CommandConfig) -> Commands<A, R> {
        Commands {
            config,
            entries: Vec::new(),
            refused: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes what an earlier run of the program kept, in the order in which it came. What ran then counts as running: the
    /// caller says [`Input::Finished`] for it.
    pub fn restore(&mut self, reports: impl IntoIterator<Item = Report<R>>) {
        for report in reports {
            if report.state == CommandState::Init || self.known(&report.id).is_some() {
                continue;
            }
            self.entries.push(Entry {
                report,
                args: None,
                issued_at: None,
                ttl: Span::ZERO,
                held: false,
            });
        }
    }

    /// Changes what the broker may ask for. What runs or waits goes on.
    pub fn allow(&mut self, allowed: BTreeSet<String>) {
        self.config.allowed = allowed;
    }

    /// What is known of a command, refused ones among them.
    pub fn get(&self, id: &CommandId) -> Option<&Report<R>> {
        let refused = self.refused.iter().rev().find(|r| r.id == *id);
        self.known(id).map(|e| &e.report).or(refused)
    }

    /// Everything that is known, in the order in which it came, refusals first.
    pub fn all(&self) -> impl Iterator<Item = &Report<R>> {
        self.refused.iter().chain(self.entries.iter().map(|e| &e.report))
    }

    /// Whether something waits for time to pass: then [`Input::Tick`] is wanted about once a second.
    pub fn waits(&self) -> bool {
        self.entries.iter().any(Entry::waits)
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output<A, R>> {
        self.outputs.pop_front()
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: BoxTime, input: Input<A, R>) {
        match input {
            Input::Asked(asked) => self.asked(now, asked),
            Input::Withdrawn(id) => self.withdrawn(now, &id),
            Input::Progressed(id, progress) => self.progressed(&id, progress),
            Input::Finished(id, outcome) => self.finished(now, &id, outcome),
            Input::Tick => {}
        }
        self.start(now);
    }

    fn asked(&mut self, now: BoxTime, asked: Asked<A>) {
        let Asked {
            name,
            id,
            origin,
            body,
        } = asked;
        if let Some(known) = self.entries.iter_mut().find(|e| e.report.id == id) {
            if known.held && known.waits() && known.report.name == name && origin != Origin::Retained {
                // Said again to a box that listens: it is meant now, whatever the box's clock says.
                known.held = false;
                known.report.reason = None;
            }
            let report = known.report.clone();
            if report.name == name {
                self.outputs.push_back(Output::Tell(report));
            } else {
                let reason = format!(
                    "the id {id} was already used for `{}`: take another one",
                    report.name
                );
                let told = refusal(now, name, id, reason);
                // Not remembered: the id is the other command's.
                self.outputs.push_back(Output::Tell(told));
            }
            return;
        }
        let judged = self.judge(now, &name, origin, body);
        let (body, held) = match judged {
            Ok(judged) => judged,
            Err(reason) => return self.refuse(refusal(now, name, id, reason)),
        };
        self.refused.retain(|r| r.id != id);
        let issued = body.issued_at.unwrap_or(now.utc);
        let report = Report {
            name,
            id,
            state: CommandState::Init,
            since: now.utc,
            expires: issued + body.ttl,
            progress: None,
            reason: held.then(|| HELD.to_owned()),
            result: None,
        };
        self.outputs.push_back(Output::Tell(report.clone()));
        self.entries.push(Entry {
            report,
            args: Some(body.args),
            issued_at: body.issued_at,
            ttl: body.ttl,
            held,
        });
    }

    /// Whether a request is taken, and whether its age is still to be judged.
    fn judge(
        &mut self,
        now: BoxTime,
        name: &str,
        origin: Origin,
        body: Result<Body<A>, String>,
    ) -> Result<(Body<A>, bool), String> {
        let body = body?;
        if !self.config.names.contains(name) {
            let names: Vec<_> = self.config.names.iter().map(String::as_str).collect();
            return Err(format!(
                "there is no command `{name}`; there are {}",
                names.join(", ")
            ));
        }
        if origin != Origin::Page && !self.config.allowed.contains(name) {
            return Err(format!(
                "`{name}` is not allowed over MQTT on this box: add it to mqtt.commands.allow"
            ));
        }
        let held = match (origin, now.synchronised) {
            (Origin::Page | Origin::Live, false) => false,
            (Origin::Retained, false) => true,
            (_, true) => {
                too_old(now.utc, body.issued_at, body.ttl)?;
                false
            }
        };
        if self.entries.iter().filter(|e| e.waits()).count() >= self.config.waiting {
            return Err(format!(
                "{} commands wait already: try again when they are done",
                self.config.waiting
            ));
        }
        self.make_room(now)?;
        Ok((body, held))
    }

    /// Forgets the oldest command that may be, if there is no room for another.
    fn make_room(&mut self, now: BoxTime) -> Result<(), String> {
        if self.entries.len() < self.config.remembered {
            return Ok(());
        }
        // Without UTC nothing that was kept by the broker begins, so nothing old can come again.
        let done =
            |e: &Entry<A, R>| e.report.state.is_final() && (e.report.expires < now.utc || !now.synchronised);
        let Some(at) = self.entries.iter().position(done) else {
            return Err(format!(
                "{} commands of the last time are still within their time to live: give shorter ones, or wait",
                self.config.remembered
            ));
        };
        let Report { name, id, .. } = self.entries.remove(at).report;
        self.outputs.push_back(Output::Forget { name, id });
        Ok(())
    }

    fn refuse(&mut self, report: Report<R>) {
        self.refused.retain(|r| r.id != report.id);
        if self.refused.len() >= self.config.refusals
            && let Some(Report { name, id, .. }) = self.refused.pop_front()
        {
            self.outputs.push_back(Output::Forget { name, id });
        }
        self.outputs.push_back(Output::Tell(report.clone()));
        self.refused.push_back(report);
    }

    fn withdrawn(&mut self, now: BoxTime, id: &CommandId) {
        if let Some(at) = self.entries.iter().position(|e| e.report.id == *id && e.waits()) {
            self.drop_waiting(now, at, "its requester took it back before it began".to_owned());
        }
    }

    fn progressed(&mut self, id: &CommandId, progress: Progress) {
        if let Some(entry) = self.executing(id) {
            entry.report.progress = Some(progress);
            let report = entry.report.clone();
            self.outputs.push_back(Output::Tell(report));
        }
    }

    fn finished(&mut self, now: BoxTime, id: &CommandId, outcome: Result<R, String>) {
        let Some(entry) = self.executing(id) else { return };
        let report = &mut entry.report;
        report.since = now.utc;
        report.progress = None;
        match outcome {
            Ok(result) => {
                report.state = CommandState::Successful;
                report.result = Some(result);
            }
            Err(reason) => {
                report.state = CommandState::Failed;
                report.reason = Some(reason);
            }
        }
        let report = report.clone();
        self.outputs.push_back(Output::Keep(report.clone()));
        self.outputs.push_back(Output::Tell(report));
    }

    /// Begins what may begin, and gives up what waited too long.
    fn start(&mut self, now: BoxTime) {
        let mut at = 0;
        while let Some(entry) = self.entries.get(at) {
            if !entry.waits() {
                at += 1;
                continue;
            }
            if now.synchronised
                && let Err(reason) = too_old(now.utc, entry.issued_at, entry.ttl)
            {
                self.drop_waiting(now, at, reason);
                continue;
            }
            if entry.held && !now.synchronised || !self.may_run(&entry.report.name) {
                at += 1;
                continue;
            }
            self.begin(now, at);
            at += 1;
        }
    }

    fn begin(&mut self, now: BoxTime, at: usize) {
        let entry = &mut self.entries[at];
        // Taken when it came, and given away only here.
        let Some(args) = entry.args.take() else { return };
        let report = &mut entry.report;
        report.state = CommandState::Executing;
        report.since = now.utc;
        report.reason = None;
        let report = report.clone();
        let (name, id) = (report.name.clone(), report.id.clone());
        self.outputs.push_back(Output::Keep(report.clone()));
        self.outputs.push_back(Output::Tell(report));
        self.outputs.push_back(Output::Start { name, id, args });
    }

    /// It never began, so it is a refusal.
    fn drop_waiting(&mut self, now: BoxTime, at: usize, reason: String) {
        let Report { name, id, .. } = self.entries.remove(at).report;
        self.refuse(refusal(now, name, id, reason));
    }

    fn may_run(&self, name: &str) -> bool {
        let mut running = self
            .entries
            .iter()
            .filter(|e| e.report.state == CommandState::Executing);
        running.clone().count() < self.config.running && !running.any(|e| e.report.name == name)
    }

    fn known(&self, id: &CommandId) -> Option<&Entry<A, R>> {
        self.entries.iter().find(|e| e.report.id == *id)
    }

    fn executing(&mut self, id: &CommandId) -> Option<&mut Entry<A, R>> {
        self.entries
            .iter_mut()
            .find(|e| e.report.id == *id && e.report.state == CommandState::Executing)
    }
}

/// Why a command waits for the clock.
const HELD: &str = "the box does not know the time yet, so it cannot tell how old this command is; it begins when the clock is synchronised, or when it is published again";

fn too_old(now: Utc, issued_at: Option<Utc>, ttl: Span) -> Result<(), String> {
    let Some(issued_at) = issued_at else { return Ok(()) };
    let age = now - issued_at;
    if age > ttl {
        return Err(format!(
            "it was issued {age} ago, and its time to live is {ttl}: issue it again"
        ));
    }
    if -age > AHEAD {
        return Err(format!(
            "it was issued {} in the future: check the requester's clock, or the box's",
            -age
        ));
    }
    Ok(())
}

fn refusal<R>(now: BoxTime, name: String, id: CommandId, reason: String) -> Report<R> {
    Report {
        name,
        id,
        state: CommandState::Failed,
        since: now.utc,
        expires: now.utc,
        progress: None,
        reason: Some(reason),
        result: None,
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
