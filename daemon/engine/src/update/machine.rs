//! The way from a wish to a committed system.

use std::collections::VecDeque;

use synoptic_base::{Mono, Span};

use super::budget::Budget;
use super::preflight::{BoxFacts, BundleFacts, box_refusals, bundle_refusals, spoken, target};
use super::types::{Action, Fault, Input, Job, Kept, Look, NotNow, Stage, State, Wish};

/// How often slots and gate are looked at while the new system is on trial. The gate looks as often.
pub const LOOK_EVERY: Span = Span::from_secs(5);

/// What waits for its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    NextTry,
    NextLook,
}

/// One update at a time. Inputs that do not belong to the state it is in are ignored: they are late.
#[derive(Debug)]
pub struct Machine<S> {
    state: State,
    job: Option<Job<S>>,
    budget: Budget,
    waiting: Option<(Mono, Waiting)>,
    actions: VecDeque<Action>,
}

impl<S: Clone> Machine<S> {
    /// A box without a past.
    pub fn new() -> Machine<S> {
        Machine {
            state: State::Idle,
            job: None,
            budget: Budget::default(),
            waiting: None,
            actions: VecDeque::new(),
        }
    }

    /// Goes on where `kept` left it. `same_boot`: the box was not restarted since, only the daemon.
    pub fn resume(kept: Kept<S>, same_boot: bool) -> Machine<S> {
        let mut machine = Machine::new();
        machine.job = kept.job;
        machine.state = kept.state;
        let Some(job) = &machine.job else {
            // Written by hand, or by another version: there is nothing to go on with.
            if !machine.state.is_at_rest() {
                machine.enter(State::Idle);
            }
            return machine;
        };
        match &machine.state {
            State::Checking | State::Downloading { .. } | State::Preflight => {
                if job.wish.repeatable {
                    machine.enter(State::Checking);
                    machine.actions.push_back(Action::Check);
                } else {
                    machine.fail("the daemon was restarted in the middle: send the file again".to_owned());
                }
            }
            State::Installing { .. } => machine.actions.push_back(Action::Follow),
            State::RebootPending if same_boot => {}
            State::RebootPending => {
                machine.enter(State::Verifying);
                machine.actions.push_back(Action::Look);
            }
            State::Verifying => machine.actions.push_back(Action::Look),
            State::Idle | State::Committed | State::RolledBack { .. } | State::Failed { .. } => {}
        }
        machine
    }

    /// Where it is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The update under way, or the last one.
    pub fn job(&self) -> Option<&Job<S>> {
        self.job.as_ref()
    }

    /// What has to survive a restart.
    pub fn kept(&self) -> Kept<S> {
        Kept {
            state: self.state.clone(),
            job: self.job.clone(),
        }
    }

    /// Begins an update.
    ///
    /// # Errors
    /// While another one is under way.
    pub fn ask(&mut self, wish: Wish<S>) -> Result<(), NotNow> {
        match &self.state {
            State::RebootPending => return Err(NotNow::WaitsForReboot),
            State::Verifying => return Err(NotNow::OnTrial),
            State::Checking | State::Preflight => return Err(NotNow::Busy("checking")),
            State::Downloading { .. } => return Err(NotNow::Busy("downloading")),
            State::Installing { .. } => return Err(NotNow::Busy("installing")),
            State::Idle | State::Committed | State::RolledBack { .. } | State::Failed { .. } => {}
        }
        self.job = Some(Job {
            wish,
            release: None,
            target: None,
            note: None,
        });
        self.budget = Budget::default();
        self.enter(State::Checking);
        self.actions.push_back(Action::Check);
        Ok(())
    }

    /// Gives an update up before it is written, or forgets how the last one ended.
    ///
    /// # Errors
    /// When it is too late, or there is nothing.
    pub fn cancel(&mut self) -> Result<(), NotNow> {
        match &self.state {
            State::Idle => return Err(NotNow::Nothing),
            State::Installing { .. } => return Err(NotNow::Writing),
            State::RebootPending => return Err(NotNow::WaitsForReboot),
            State::Verifying => return Err(NotNow::OnTrial),
            State::Checking | State::Downloading { .. } | State::Preflight => {
                self.actions.push_back(Action::StopFetching);
                self.actions.push_back(Action::Discard);
            }
            State::Committed | State::RolledBack { .. } | State::Failed { .. } => {
                self.actions.push_back(Action::Discard);
            }
        }
        self.job = None;
        self.enter(State::Idle);
        Ok(())
    }

    /// Restarts the box into the system that was installed.
    ///
    /// # Errors
    /// When none was.
    pub fn reboot(&mut self) -> Result<(), NotNow> {
        match self.state {
            State::RebootPending => {
                self.actions.push_back(Action::Reboot);
                Ok(())
            }
            _ => Err(NotNow::NothingInstalled),
        }
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Mono, input: Input) {
        match (&self.state, input) {
            (State::Checking, Input::Checked(facts)) => self.checked(facts),
            // Whoever was to send the bundle has gone already.
            (
                State::Checking,
                Input::FetchFailed {
                    fault: Fault::Final(reason),
                    ..
                },
            ) => self.fail(reason),
            (State::Downloading { .. }, Input::Fetching { bytes, total }) => {
                self.state = State::Downloading { bytes, total };
                self.note(None);
            }
            (State::Downloading { .. }, Input::Fetched { .. }) => {
                self.enter(State::Preflight);
                self.actions.push_back(Action::Inspect);
            }
            (State::Downloading { total, .. }, Input::FetchFailed { fault, bytes, random }) => {
                let total = *total;
                self.fetch_failed(now, fault, bytes, total, random);
            }
            (State::Preflight, Input::Inspected(found)) => self.inspected(found),
            (State::Installing { .. }, Input::Installing { percent }) => {
                self.state = State::Installing {
                    percent: percent.min(100),
                };
            }
            (State::Installing { .. }, Input::Installed(Ok(()))) => {
                self.enter(State::RebootPending);
                self.actions.push_back(Action::Discard);
                if self.job.as_ref().is_some_and(|job| job.wish.reboot) {
                    self.actions.push_back(Action::Reboot);
                }
            }
            (State::Installing { .. }, Input::Installed(Err(reason))) => self.fail(reason),
            (State::Installing { .. }, Input::Overtaken) => {
                self.enter(State::Verifying);
                self.actions.push_back(Action::Look);
            }
            (State::RebootPending, Input::RebootFailed(reason)) => {
                self.note(Some(format!("the box did not restart: {reason}")));
                self.actions.push_back(Action::Keep);
            }
            (State::Verifying, Input::Seen(look)) => self.seen(now, look),
            _ => {}
        }
    }

    /// What is to be done, one after the other.
    pub fn poll(&mut self, now: Mono) -> Option<Action> {
        if let Some((at, what)) = self.waiting
            && at <= now
        {
            self.waiting = None;
            self.actions.push_back(match what {
                Waiting::NextTry => Action::Fetch,
                Waiting::NextLook => Action::Look,
            });
        }
        self.actions.pop_front()
    }

    /// When to poll again although nothing happened.
    pub fn deadline(&self) -> Option<Mono> {
        self.waiting.map(|(at, _)| at)
    }

    fn checked(&mut self, facts: Result<BoxFacts, String>) {
        match facts {
            Err(reason) => self.fail(reason),
            Ok(facts) => {
                let refusals = box_refusals(&facts, None);
                if refusals.is_empty() {
                    self.enter(State::Downloading {
                        bytes: 0,
                        total: None,
                    });
                    self.actions.push_back(Action::Fetch);
                } else {
                    self.fail(spoken(&refusals));
                }
            }
        }
    }

    fn fetch_failed(&mut self, now: Mono, fault: Fault, bytes: u64, total: Option<u64>, random: f64) {
        let repeatable = self.job.as_ref().is_some_and(|job| job.wish.repeatable);
        let reason = match fault {
            Fault::Passing(reason) if repeatable => reason,
            Fault::Passing(reason) | Fault::Final(reason) => {
                self.actions.push_back(Action::Discard);
                return self.fail(reason);
            }
        };
        match self.budget.failed(bytes, random) {
            None => self.fail(format!("given up after many tries; the last one: {reason}")),
            Some(wait) => {
                self.state = State::Downloading { bytes, total };
                self.note(Some(format!("tried again: {reason}")));
                self.waiting = Some((now + wait, Waiting::NextTry));
                self.actions.push_back(Action::Keep);
            }
        }
    }

    fn inspected(&mut self, found: Result<(BoxFacts, BundleFacts), String>) {
        let (facts, bundle) = match found {
            Ok(found) => found,
            Err(reason) => return self.fail(reason),
        };
        let Some(job) = &mut self.job else {
            return self.fail("nobody asked for this bundle".to_owned());
        };
        job.release = Some(bundle.release.clone());
        let refusals = bundle_refusals(&facts, &bundle, &job.wish);
        if !refusals.is_empty() {
            return self.fail(spoken(&refusals));
        }
        job.target = target(&facts.slots).and_then(|slot| slot.bootname.clone());
        self.enter(State::Installing { percent: 0 });
        self.actions.push_back(Action::Install);
    }

    fn seen(&mut self, now: Mono, look: Look) {
        let target = self.job.as_ref().and_then(|job| job.target.clone());
        // The gate's word goes first: it is written before the box goes back.
        if let Some(reason) = look.rollback_reason {
            self.enter(State::RolledBack { reason });
        } else if look.pending.is_some() || look.running.is_none() {
            self.waiting = Some((now + LOOK_EVERY, Waiting::NextLook));
        } else if target.is_some() && look.running == target {
            self.enter(State::Committed);
            self.actions.push_back(Action::NoteFloor);
        } else {
            let running = look.running.unwrap_or_default();
            let target = target.unwrap_or_else(|| "?".to_owned());
            self.enter(State::RolledBack {
                reason: format!(
                    "slot {target} was installed, but slot {running} runs, and nobody left a reason"
                ),
            });
        }
    }

    fn fail(&mut self, reason: String) {
        let stage = self.state.stage().unwrap_or(Stage::Checking);
        // What came of a download that was given up is left: the same wish goes on behind it.
        if stage != Stage::Downloading {
            self.actions.push_back(Action::Discard);
        }
        self.enter(State::Failed { stage, reason });
    }

    fn enter(&mut self, state: State) {
        self.waiting = None;
        self.state = state;
        self.note(None);
        self.actions.push_back(Action::Keep);
    }

    fn note(&mut self, note: Option<String>) {
        if let Some(job) = &mut self.job {
            job.note = note;
        }
    }
}

impl<S: Clone> Default for Machine<S> {
    fn default() -> Machine<S> {
        Machine::new()
    }
}
