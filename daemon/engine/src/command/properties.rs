//! The contract of commands under arbitrary requests, clocks and restarts.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::tests::{TTL, asked, at, config, id};
use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Name, id, how it comes, how long ago it was issued in seconds.
    Ask(usize, usize, usize, i64),
    Withdraw(usize),
    Finish(usize, bool),
    Tick,
    /// The program ends; what it had not kept is lost.
    Restart,
}

const NAMES: [&str; 5] = ["restart", "probe", "bundle", "reset", "dance"];
const ORIGINS: [Origin; 3] = [Origin::Page, Origin::Live, Origin::Retained];
const IDS: usize = 12;

/// Seconds that pass before, whether the clock is synchronised, and what happens.
fn step() -> impl Strategy<Value = (i64, bool, Step)> {
    let what = prop_oneof![
        8 => (0..NAMES.len(), 0..IDS, 0..ORIGINS.len(), -400_i64..200)
            .prop_map(|(name, id, origin, age)| Step::Ask(name, id, origin, age)),
        1 => (0..IDS).prop_map(Step::Withdraw),
        5 => (0..IDS, any::<bool>()).prop_map(|(id, well)| Step::Finish(id, well)),
        2 => Just(Step::Tick),
        1 => Just(Step::Restart),
    ];
    (0_i64..30, prop::bool::weighted(0.8), what)
}

#[derive(Default)]
struct Watch {
    /// What the disk holds.
    disk: BTreeMap<String, Report<u32>>,
    order: Vec<String>,
    running: BTreeSet<String>,
    /// How often each request began, with when it was issued.
    begun: BTreeMap<(String, i64), u32>,
}

proptest! {
    #[test]
    fn each_request_begins_at_most_once_and_is_answered(steps in prop::collection::vec(step(), 1..200)) {
        let limits = config();
        let mut machine: Commands<u32, u32> = Commands::new(limits.clone());
        let (mut now, mut watch) = (0_i64, Watch::default());
        for (passed, synchronised, step) in steps {
            now += passed;
            let time = BoxTime { synchronised, ..at(now) };
            let mut wants_answer = None;
            let mut issued = now;
            match step {
                Step::Ask(name, number, origin, age) => {
                    // The age goes with the id: a request that comes again is the same one.
                    issued = now - age;
                    wants_answer = Some(number.to_string());
                    machine.handle(time, asked(NAMES[name], &number.to_string(), ORIGINS[origin], issued));
                }
                Step::Withdraw(number) => machine.handle(time, Input::Withdrawn(id(&number.to_string()))),
                Step::Finish(number, well) => {
                    let outcome = if well { Ok(1) } else { Err("no".to_owned()) };
                    machine.handle(time, Input::Finished(id(&number.to_string()), outcome));
                }
                Step::Tick => machine.handle(time, Input::Tick),
                Step::Restart => {
                    machine = Commands::new(limits.clone());
                    machine.restore(watch.order.iter().map(|id| watch.disk[id].clone()));
                }
            }
            let mut told = BTreeSet::new();
            while let Some(output) = machine.poll() {
                match output {
                    Output::Keep(report) => {
                        let id = report.id.to_string();
                        if let Some(before) = watch.disk.get(&id) {
                            prop_assert!(!before.state.is_final(), "{} was final", id);
                        } else {
                            watch.order.push(id.clone());
                        }
                        if report.state.is_final() {
                            watch.running.remove(&id);
                        }
                        watch.disk.insert(id, report);
                    }
                    Output::Tell(report) => {
                        prop_assert!(report.state != CommandState::Failed || report.reason.is_some());
                        told.insert(report.id.to_string());
                    }
                    Output::Start { name, id, .. } => {
                        let id = id.to_string();
                        let kept = watch.disk.get(&id).map(|r| (r.name.clone(), r.state));
                        prop_assert_eq!(kept, Some((name, CommandState::Executing)), "kept before it begins");
                        let expires = watch.disk[&id].expires;
                        let age = time.utc - (expires - TTL);
                        prop_assert!(!synchronised || age <= TTL, "{} begins {} old", id, age);
                        prop_assert!(watch.running.insert(id.clone()));
                        *watch.begun.entry((id, expires.as_nanos())).or_default() += 1;
                    }
                    Output::Forget { id, .. } => {
                        if let Some(report) = watch.disk.remove(id.as_str()) {
                            prop_assert!(!synchronised || report.expires < time.utc, "{} is forgotten early", id);
                            watch.order.retain(|kept| kept != id.as_str());
                            if !synchronised {
                                // Nothing that was retained begins without the time: only a live repeat could.
                                watch.begun.retain(|(begun, _), _| begun != id.as_str());
                            }
                        }
                    }
                }
            }
            if let Some(id) = wants_answer {
                prop_assert!(told.contains(&id), "{} of {} has no answer", id, issued);
            }
            prop_assert!(watch.running.len() <= limits.running);
            let names: BTreeSet<_> = watch.running.iter().map(|id| watch.disk[id].name.clone()).collect();
            prop_assert_eq!(names.len(), watch.running.len(), "of each name one");
            prop_assert!(machine.all().count() <= limits.remembered + limits.refusals);
        }
        for (request, times) in watch.begun {
            prop_assert_eq!(times, 1, "{:?} began more than once", request);
        }
    }
}
