use super::*;

type Machine = Commands<u32, u32>;

pub(super) const TTL: Span = Span::from_secs(60);

pub(super) fn at(seconds: i64) -> BoxTime {
    BoxTime {
        utc: Utc::from_nanos(1_795_000_000_000_000_000) + Span::from_secs(seconds),
        synchronised: true,
    }
}

fn blind(seconds: i64) -> BoxTime {
    BoxTime {
        synchronised: false,
        ..at(seconds)
    }
}

pub(super) fn id(text: &str) -> CommandId {
    CommandId::new(text).unwrap()
}

pub(super) fn config() -> CommandConfig {
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    CommandConfig {
        names: names(&["restart", "probe", "bundle", "reset"]),
        allowed: names(&["restart", "probe", "bundle"]),
        running: 2,
        waiting: 3,
        remembered: 6,
        refusals: 2,
    }
}

pub(super) fn asked(name: &str, number: &str, origin: Origin, issued: i64) -> Input<u32, u32> {
    Input::Asked(Asked {
        name: name.to_owned(),
        id: id(number),
        origin,
        body: Ok(Body {
            issued_at: Some(at(issued).utc),
            ttl: TTL,
            args: 7,
        }),
    })
}

fn outputs(machine: &mut Machine) -> Vec<String> {
    std::iter::from_fn(|| machine.poll())
        .map(|output| match output {
            Output::Keep(r) => format!("keep {} {}", r.id, r.state.name()),
            Output::Tell(r) => {
                let reason = r.reason.map_or(String::new(), |r| format!(": {r}"));
                let percent = r
                    .progress
                    .and_then(|p| p.percent)
                    .map_or(String::new(), |p| format!(" {p}%"));
                format!("tell {} {}{percent}{reason}", r.id, r.state.name())
            }
            Output::Start { name, id, args } => format!("start {name} {id} with {args}"),
            Output::Forget { id, .. } => format!("forget {id}"),
        })
        .collect()
}

fn run(machine: &mut Machine, now: BoxTime, input: Input<u32, u32>) -> Vec<String> {
    machine.handle(now, input);
    outputs(machine)
}

#[test]
fn one_command_from_request_to_result() {
    let mut machine = Machine::new(config());
    let ask = || asked("probe", "1", Origin::Live, 0);
    assert_eq!(
        run(&mut machine, at(1), ask()),
        [
            "tell 1 init",
            "keep 1 executing",
            "tell 1 executing",
            "start probe 1 with 7"
        ],
        "on the disk before it begins"
    );
    let progress = Progress {
        text: "looking".into(),
        percent: Some(50.0),
    };
    let progressed = Input::Progressed(id("1"), progress);
    assert_eq!(run(&mut machine, at(2), progressed), ["tell 1 executing 50%"]);
    assert_eq!(
        run(&mut machine, at(2), ask()),
        ["tell 1 executing 50%"],
        "again: told, not begun"
    );
    let finished = Input::Finished(id("1"), Ok(9));
    assert_eq!(
        run(&mut machine, at(3), finished.clone()),
        ["keep 1 successful", "tell 1 successful"]
    );
    assert_eq!(machine.get(&id("1")).unwrap().result, Some(9));
    assert_eq!(run(&mut machine, at(900), ask()), ["tell 1 successful"]);
    assert!(
        run(&mut machine, at(901), finished).is_empty(),
        "what is final stays"
    );
}

#[test]
fn what_cannot_be_is_refused_with_the_reason_and_the_id_stays_free() {
    let mut machine = Machine::new(config());
    let mut refused = |now, input, part: &str| {
        let said = run(&mut machine, now, input);
        let tell = said.last().unwrap();
        assert!(
            tell.starts_with("tell 1 failed") && tell.contains(part),
            "{said:?}"
        );
    };
    let unreadable = Input::Asked(Asked {
        name: "probe".into(),
        id: id("1"),
        origin: Origin::Live,
        body: Err("the payload is no JSON".into()),
    });
    refused(at(0), unreadable, "no JSON");
    refused(
        at(0),
        asked("dance", "1", Origin::Page, 0),
        "there are bundle, probe",
    );
    refused(at(0), asked("reset", "1", Origin::Live, 0), "mqtt.commands.allow");
    refused(at(61), asked("probe", "1", Origin::Retained, 0), "61.0 s ago");
    refused(
        at(0),
        asked("probe", "1", Origin::Live, 301),
        "301.0 s in the future",
    );
    assert_eq!(machine.all().count(), 1, "the last refusal of an id");
    let said = run(&mut machine, at(0), asked("reset", "1", Origin::Page, 0));
    assert_eq!(
        said.last().unwrap(),
        "start reset 1 with 7",
        "the page may, and the id is free"
    );
    let said = run(&mut machine, at(1), asked("probe", "1", Origin::Page, 0));
    assert!(said[0].contains("already used for `reset`"), "{said:?}");
}

#[test]
fn a_box_without_the_time_takes_what_comes_live_and_holds_what_was_kept() {
    let mut machine = Machine::new(config());
    let said = run(
        &mut machine,
        blind(-9_000_000),
        asked("probe", "live", Origin::Live, 0),
    );
    assert_eq!(said.last().unwrap(), "start probe live with 7");
    let said = run(
        &mut machine,
        blind(-9_000_000),
        asked("bundle", "fresh", Origin::Retained, 0),
    );
    assert!(
        said[0].starts_with("tell fresh init: the box does not know the time"),
        "{said:?}"
    );
    assert_eq!(said.len(), 1);
    run(
        &mut machine,
        blind(-9_000_000),
        asked("restart", "stale", Origin::Retained, -500),
    );
    assert!(machine.waits());
    let mut again = machine.clone();
    let kept = asked("bundle", "fresh", Origin::Retained, 0);
    assert_eq!(
        run(&mut again, blind(-8_000_000), kept).len(),
        1,
        "a new connection"
    );
    let live = asked("bundle", "fresh", Origin::Live, 0);
    let said = run(&mut again, blind(-8_000_000), live);
    assert_eq!(said[0], "tell fresh init", "no reason is left");
    assert_eq!(said.last().unwrap(), "start bundle fresh with 7");
    let said = run(&mut machine, at(10), Input::Tick);
    assert!(said.contains(&"start bundle fresh with 7".to_owned()), "{said:?}");
    assert!(
        said.iter()
            .any(|s| s.starts_with("tell stale failed: it was issued 510.0 s ago")),
        "{said:?}"
    );
    assert!(!machine.waits());
}

#[test]
fn so_many_run_at_once_and_of_each_name_one() {
    let mut machine = Machine::new(config());
    let now = at(0);
    for (name, number) in [("probe", "1"), ("probe", "2"), ("bundle", "3"), ("restart", "4")] {
        run(&mut machine, now, asked(name, number, Origin::Live, 0));
    }
    let state = |machine: &Machine, number| machine.get(&id(number)).unwrap().state;
    use CommandState::{Executing, Failed, Init};
    assert_eq!(
        ["1", "2", "3", "4"].map(|n| state(&machine, n)),
        [Executing, Init, Executing, Init]
    );
    run(&mut machine, now, asked("restart", "5", Origin::Live, 0));
    let said = run(&mut machine, now, asked("probe", "6", Origin::Live, 0));
    assert!(said[0].contains("3 commands wait already"), "{said:?}");
    let said = run(&mut machine, now, Input::Withdrawn(id("4")));
    assert!(said[0].contains("took it back"), "{said:?}");
    assert!(
        run(&mut machine, now, Input::Withdrawn(id("1"))).is_empty(),
        "it runs"
    );
    let said = run(&mut machine, now, Input::Finished(id("1"), Err("no".into())));
    assert_eq!(said[1], "tell 1 failed: no");
    assert_eq!(said.last().unwrap(), "start probe 2 with 7");
    // What waits grows too old as well.
    run(&mut machine, at(61), Input::Finished(id("2"), Ok(0)));
    assert_eq!(state(&machine, "5"), Failed);
}

#[test]
fn an_id_is_not_forgotten_before_its_time() {
    let mut machine = Machine::new(config());
    for n in 0..6 {
        let number = n.to_string();
        run(&mut machine, at(n), asked("probe", &number, Origin::Live, n));
        run(&mut machine, at(n), Input::Finished(id(&number), Ok(0)));
    }
    let said = run(&mut machine, at(10), asked("probe", "more", Origin::Live, 10));
    assert!(said[0].contains("still within their time to live"), "{said:?}");
    let said = run(&mut machine, at(61), asked("probe", "more", Origin::Live, 61));
    assert_eq!(
        (said[0].as_str(), said.last().unwrap().as_str()),
        ("forget 0", "start probe more with 7")
    );
}

#[test]
fn refusals_are_few() {
    let mut machine = Machine::new(config());
    let mut said = Vec::new();
    for n in 0..5 {
        said = run(
            &mut machine,
            at(0),
            asked("dance", &n.to_string(), Origin::Live, 0),
        );
    }
    assert_eq!(said[0], "forget 2");
    assert_eq!(machine.all().count(), 2);
}

#[test]
fn a_restart_in_the_middle_begins_nothing_again() {
    let mut machine = Machine::new(config());
    machine.handle(at(0), asked("probe", "1", Origin::Live, 0));
    let kept: Vec<_> = std::iter::from_fn(|| machine.poll())
        .filter_map(|o| match o {
            Output::Keep(report) => Some(report),
            _ => None,
        })
        .collect();
    let mut again = Machine::new(config());
    again.restore(kept);
    assert_eq!(
        run(&mut again, at(5), asked("probe", "1", Origin::Retained, 0)),
        ["tell 1 executing"]
    );
    let said = run(&mut again, at(6), Input::Finished(id("1"), Err("ended".into())));
    assert_eq!(said, ["keep 1 failed", "tell 1 failed: ended"]);
}

#[test]
fn ids_are_narrow() {
    for good in ["a", "A-9_z", "019aa5c0-93b0-7c31-9d8e-27f9c3a1b2d4"] {
        assert_eq!(CommandId::new(good).unwrap().as_str(), good);
    }
    let long = "x".repeat(65);
    for bad in ["", "a/b", "+", "..", "a b", "ü", &long] {
        assert!(CommandId::new(bad).is_err(), "{bad}");
    }
    for state in [
        CommandState::Init,
        CommandState::Executing,
        CommandState::Successful,
        CommandState::Failed,
    ] {
        assert_eq!(CommandState::from_name(state.name()), Some(state));
    }
}
