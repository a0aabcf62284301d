//! Every way an update can go.

use proptest::prelude::*;
use synoptic_base::{Mono, Span, Utc};

use super::*;

fn at(s: i64) -> Mono {
    Mono::from_nanos(0) + Span::from_secs(s)
}

fn wish() -> Wish<&'static str> {
    Wish {
        source: "here",
        repeatable: true,
        version: None,
        allow_downgrade: false,
        force: false,
        reboot: false,
    }
}

fn slot(name: &str, boot: &str, booted: bool) -> SlotFacts {
    SlotFacts {
        name: name.to_owned(),
        bootname: Some(boot.to_owned()),
        booted,
        good: Some(true),
        version: None,
    }
}

fn facts() -> BoxFacts {
    BoxFacts {
        compatible: "box".to_owned(),
        version: "1.0.0".to_owned(),
        free: 2_000_000_000,
        reserve: 100_000_000,
        slots: vec![slot("rootfs.0", "A", true), slot("rootfs.1", "B", false)],
        utc: Utc::from_rfc3339("2026-11-21T00:00:00Z"),
        ..BoxFacts::default()
    }
}

fn bundle(version: &str) -> BundleFacts {
    BundleFacts {
        release: Release {
            version: version.to_owned(),
            compatible: "box".to_owned(),
        },
        built: Utc::from_rfc3339("2026-11-01T00:00:00Z"),
        bytes: 1_000,
    }
}

fn look(running: &str, pending: Option<&str>, reason: Option<&str>) -> Input {
    Input::Seen(Look {
        running: Some(running.to_owned()),
        pending: pending.map(str::to_owned),
        rollback_reason: reason.map(str::to_owned),
    })
}

fn broken(bytes: u64) -> Input {
    Input::FetchFailed {
        fault: Fault::Passing("the connection broke".to_owned()),
        bytes,
        random: 0.0,
    }
}

/// What is to be done besides keeping the state.
fn work<S: Clone>(machine: &mut Machine<S>, now: Mono) -> Vec<Action> {
    let all: Vec<_> = std::iter::from_fn(|| machine.poll(now)).collect();
    all.into_iter().filter(|a| *a != Action::Keep).collect()
}

fn reason<S: Clone>(machine: &Machine<S>) -> String {
    match machine.state() {
        State::Failed { reason, .. } | State::RolledBack { reason } => reason.clone(),
        other => panic!("{other:?} has no reason"),
    }
}

/// A machine brought to the given state the regular way.
fn brought_to(goal: &State, wish: Wish<&'static str>) -> Machine<&'static str> {
    let mut m = Machine::new();
    m.ask(wish).unwrap();
    for input in [
        Input::Checked(Ok(facts())),
        Input::Fetched { bytes: 1_000 },
        Input::Inspected(Ok((facts(), bundle("1.1.0")))),
        Input::Installed(Ok(())),
    ] {
        if std::mem::discriminant(m.state()) == std::mem::discriminant(goal) {
            break;
        }
        m.handle(at(0), input);
    }
    work(&mut m, at(0));
    m
}

const DOWNLOADING: State = State::Downloading {
    bytes: 0,
    total: None,
};
const INSTALLING: State = State::Installing { percent: 0 };

#[test]
fn an_update_from_the_wish_to_the_commit() {
    let mut m = Machine::new();
    m.ask(wish()).unwrap();
    assert_eq!(work(&mut m, at(0)), [Action::Check]);
    m.handle(at(1), Input::Checked(Ok(facts())));
    assert_eq!(work(&mut m, at(1)), [Action::Fetch]);
    let total = Some(1_000);
    m.handle(at(2), Input::Fetching { bytes: 500, total });
    assert_eq!(*m.state(), State::Downloading { bytes: 500, total });
    m.handle(at(3), Input::Fetched { bytes: 1_000 });
    assert_eq!(work(&mut m, at(3)), [Action::Inspect]);
    m.handle(at(4), Input::Inspected(Ok((facts(), bundle("1.1.0")))));
    assert_eq!(work(&mut m, at(4)), [Action::Install]);
    let job = m.job().unwrap();
    assert_eq!(job.target.as_deref(), Some("B"));
    assert_eq!(job.release.as_ref().unwrap().version, "1.1.0");
    m.handle(at(5), Input::Installing { percent: 40 });
    assert_eq!(*m.state(), State::Installing { percent: 40 });
    m.handle(at(6), Input::Installed(Ok(())));
    assert_eq!(*m.state(), State::RebootPending);
    assert_eq!(
        work(&mut m, at(6)),
        [Action::Discard],
        "the bundle's space is given back"
    );
    assert_eq!(m.reboot(), Ok(()));
    assert_eq!(work(&mut m, at(7)), [Action::Reboot]);

    // Another start, another daemon.
    let mut m = Machine::resume(m.kept(), false);
    assert_eq!(*m.state(), State::Verifying);
    assert_eq!(work(&mut m, at(0)), [Action::Look]);
    m.handle(at(1), look("B", Some("B"), None));
    assert_eq!(m.deadline(), Some(at(1) + LOOK_EVERY));
    assert_eq!(work(&mut m, at(5)), []);
    assert_eq!(work(&mut m, at(6)), [Action::Look]);
    m.handle(at(6), look("B", None, None));
    assert_eq!(*m.state(), State::Committed);
    assert_eq!(work(&mut m, at(6)), [Action::NoteFloor]);
    assert_eq!(m.ask(wish()), Ok(()), "the next one");
}

#[test]
fn the_box_is_restarted_at_once_when_asked_to() {
    let m = &mut brought_to(
        &INSTALLING,
        Wish {
            reboot: true,
            ..wish()
        },
    );
    m.handle(at(0), Input::Installed(Ok(())));
    assert_eq!(work(m, at(0)), [Action::Discard, Action::Reboot]);
    m.handle(at(1), Input::RebootFailed("not allowed".to_owned()));
    assert_eq!(*m.state(), State::RebootPending);
    assert!(m.job().unwrap().note.as_ref().unwrap().contains("not allowed"));
}

#[test]
fn a_box_that_went_back_says_why() {
    let pending = brought_to(&State::RebootPending, wish());
    for (seen, why) in [
        (
            look("A", None, Some("the page did not answer")),
            "the page did not answer",
        ),
        (
            look("B", None, Some("it is about to go back")),
            "it is about to go back",
        ),
        (look("A", None, None), "slot A runs"),
    ] {
        let mut m = Machine::resume(pending.kept(), false);
        m.handle(at(0), look("A", Some("B"), None));
        m.handle(at(0), Input::Seen(Look::default()));
        assert_eq!(*m.state(), State::Verifying, "the gate has not spoken, nor RAUC");
        m.handle(at(5), seen);
        assert!(matches!(m.state(), State::RolledBack { .. }));
        assert!(reason(&m).contains(why), "{}", reason(&m));
        assert!(!work(&mut m, at(5)).contains(&Action::NoteFloor));
    }
}

#[test]
fn a_broken_link_is_tried_again_behind_what_is_here() {
    let mut m = brought_to(&DOWNLOADING, wish());
    m.handle(at(0), broken(700));
    assert!(matches!(m.state(), State::Downloading { bytes: 700, .. }));
    assert!(m.job().unwrap().note.as_ref().unwrap().contains("broke"));
    assert_eq!(work(&mut m, at(0)), []);
    let next = m.deadline().unwrap();
    assert_eq!(next, at(1));
    assert_eq!(work(&mut m, next), [Action::Fetch]);
    m.handle(
        next,
        Input::Fetching {
            bytes: 800,
            total: None,
        },
    );
    assert_eq!(m.job().unwrap().note, None);
    for _ in 0..100 {
        m.handle(next, broken(800));
    }
    assert!(reason(&m).contains("given up"), "{}", reason(&m));
    assert!(
        !work(&mut m, next).contains(&Action::Discard),
        "the same wish goes on behind it"
    );
}

#[test]
fn what_would_fail_again_fails_at_once() {
    let mut m = brought_to(&DOWNLOADING, wish());
    m.handle(
        at(0),
        Input::FetchFailed {
            fault: Fault::Final("HTTP 404".to_owned()),
            bytes: 0,
            random: 0.5,
        },
    );
    assert_eq!(reason(&m), "HTTP 404");
    assert_eq!(m.deadline(), None);
    // An upload cannot be asked again.
    let mut m = brought_to(
        &DOWNLOADING,
        Wish {
            repeatable: false,
            ..wish()
        },
    );
    m.handle(at(0), broken(1));
    assert!(matches!(
        m.state(),
        State::Failed {
            stage: Stage::Downloading,
            ..
        }
    ));
    assert_eq!(work(&mut m, at(0)), [Action::Discard]);
}

#[test]
fn what_fails_says_where_and_leaves_nothing() {
    for (goal, input, stage) in [
        (
            State::Checking,
            Input::Checked(Err("no RAUC".to_owned())),
            Stage::Checking,
        ),
        (
            State::Checking,
            Input::FetchFailed {
                fault: Fault::Final("the sender went away".to_owned()),
                bytes: 0,
                random: 0.0,
            },
            Stage::Checking,
        ),
        (
            State::Preflight,
            Input::Inspected(Err("bad signature".to_owned())),
            Stage::Preflight,
        ),
        (
            INSTALLING,
            Input::Installed(Err("I/O error".to_owned())),
            Stage::Installing,
        ),
    ] {
        let mut m = brought_to(&goal, wish());
        m.handle(at(0), input);
        assert!(
            matches!(m.state(), State::Failed { stage: s, .. } if *s == stage),
            "{:?}",
            m.state()
        );
        assert_eq!(work(&mut m, at(0)), [Action::Discard]);
        assert_eq!(m.ask(wish()), Ok(()));
    }
}

#[test]
fn only_one_at_a_time_and_never_half_a_slot() {
    for (state, ask, cancel) in [
        (State::Checking, NotNow::Busy("checking"), Ok(())),
        (DOWNLOADING, NotNow::Busy("downloading"), Ok(())),
        (State::Preflight, NotNow::Busy("checking"), Ok(())),
        (INSTALLING, NotNow::Busy("installing"), Err(NotNow::Writing)),
        (
            State::RebootPending,
            NotNow::WaitsForReboot,
            Err(NotNow::WaitsForReboot),
        ),
    ] {
        let mut m = brought_to(&state, wish());
        assert_eq!(m.ask(wish()), Err(ask), "{state:?}");
        assert_eq!(m.cancel(), cancel, "{state:?}");
        if cancel.is_ok() {
            assert_eq!(work(&mut m, at(0)), [Action::StopFetching, Action::Discard]);
            assert_eq!((m.state(), m.job()), (&State::Idle, None));
            m.handle(at(0), Input::Fetched { bytes: 1 });
            assert_eq!(*m.state(), State::Idle, "what comes late changes nothing");
        }
    }
    let mut m = Machine::resume(brought_to(&State::RebootPending, wish()).kept(), false);
    assert_eq!(
        (m.ask(wish()), m.cancel()),
        (Err(NotNow::OnTrial), Err(NotNow::OnTrial))
    );
    let mut m = Machine::<()>::new();
    assert_eq!(
        (m.reboot(), m.cancel()),
        (Err(NotNow::NothingInstalled), Err(NotNow::Nothing))
    );
}

#[test]
fn a_restart_of_the_daemon_goes_on_or_says_so() {
    for state in [State::Checking, DOWNLOADING, State::Preflight] {
        let kept = brought_to(&state, wish()).kept();
        let mut m = Machine::resume(kept, true);
        assert_eq!(
            (m.state().clone(), work(&mut m, at(0))),
            (State::Checking, vec![Action::Check]),
            "{state:?}"
        );
        let kept = brought_to(
            &state,
            Wish {
                repeatable: false,
                ..wish()
            },
        )
        .kept();
        assert!(reason(&Machine::resume(kept, true)).contains("send the file again"));
    }
    let mut m = Machine::resume(brought_to(&INSTALLING, wish()).kept(), true);
    assert_eq!(work(&mut m, at(0)), [Action::Follow], "RAUC goes on without us");
    m.handle(at(0), Input::Installed(Ok(())));
    assert_eq!(*m.state(), State::RebootPending);
    let mut m = Machine::resume(m.kept(), true);
    assert_eq!(
        (m.state().clone(), work(&mut m, at(0))),
        (State::RebootPending, vec![])
    );
    let mut m = Machine::resume(brought_to(&INSTALLING, wish()).kept(), false);
    work(&mut m, at(0));
    m.handle(at(0), Input::Overtaken);
    assert_eq!(
        (m.state().clone(), work(&mut m, at(0))),
        (State::Verifying, vec![Action::Look])
    );
    let lone = Kept {
        state: State::Verifying,
        job: None,
    };
    assert_eq!(*Machine::<()>::resume(lone, false).state(), State::Idle);
}

#[test]
fn a_box_that_can_take_no_update_says_what_is_wrong() {
    let refused = |change: &dyn Fn(&mut BoxFacts)| {
        let mut facts = facts();
        change(&mut facts);
        box_refusals(&facts, None)
    };
    assert_eq!(refused(&|_| {}), []);
    assert_eq!(refused(&|f| f.slots.truncate(1)), [Refusal::OneSlot]);
    assert_eq!(refused(&|f| f.slots[0].booted = false), [Refusal::NoBootedSlot]);
    assert_eq!(
        refused(&|f| f.redundancy = Redundancy::NotArmed),
        [Refusal::NotArmed]
    );
    let trapped = |slot: &str| Redundancy::Trapped(slot.to_owned());
    assert_eq!(
        refused(&|f| f.redundancy = trapped("B")),
        [Refusal::Trapped("B".to_owned())]
    );
    assert_eq!(
        refused(&|f| f.redundancy = trapped("A")),
        [],
        "it is not the one that is written"
    );
    assert_eq!(
        refused(&|f| f.pending = Some("A".to_owned())),
        [Refusal::Uncommitted]
    );
    assert_eq!(refused(&|f| f.free = 99_999_999).len(), 1);
    let all = refused(&|f| {
        f.busy = Some("installing".to_owned());
        f.slots.clear();
        f.free = 0;
    });
    let text = spoken(&all);
    assert!(
        text.contains("RAUC is busy (installing)") && text.contains("100 MB are needed"),
        "{text}"
    );
    let room = |bytes| box_refusals(&facts(), Some(bytes)).len();
    assert_eq!((room(1_900_000_000), room(1_900_000_001)), (0, 1));
}

#[test]
fn a_bundle_that_does_not_fit_is_refused_with_all_reasons() {
    let mut other = bundle("0.9.0");
    other.release.compatible = "toaster".to_owned();
    other.built = Utc::from_rfc3339("2027-01-01T00:00:00Z");
    let found = bundle_refusals(&facts(), &other, &wish());
    assert_eq!(found.len(), 3, "{found:?}");
    let text = spoken(&found);
    for part in [
        "for `toaster`, this box is a `box`",
        "older than 1.0.0",
        "set the clock",
    ] {
        assert!(text.contains(part), "{text}");
    }
    // A box that knows no time, a bundle that tells none, and a person who knows better.
    let mut late = bundle("1.1.0");
    late.built = other.built;
    let timeless = BoxFacts { utc: None, ..facts() };
    assert_eq!(bundle_refusals(&timeless, &late, &wish()), []);
    assert_eq!(
        bundle_refusals(
            &facts(),
            &late,
            &Wish {
                force: true,
                ..wish()
            }
        ),
        []
    );
    late.built = None;
    assert_eq!(bundle_refusals(&facts(), &late, &wish()), []);
    // A fleet that names a version gets that one or none.
    let named = |version: &str| Wish {
        version: Some(version.to_owned()),
        ..wish()
    };
    assert_eq!(bundle_refusals(&facts(), &bundle("1.1.0"), &named("1.1.0")), []);
    let refused = bundle_refusals(&facts(), &bundle("1.1.0"), &named("1.2.0"));
    assert!(
        spoken(&refused).contains("of version 1.1.0, 1.2.0 was asked for"),
        "{refused:?}"
    );
    let mut m = brought_to(&State::Preflight, wish());
    m.handle(at(0), Input::Inspected(Ok((facts(), other))));
    assert!(matches!(
        m.state(),
        State::Failed {
            stage: Stage::Preflight,
            ..
        }
    ));
    assert_eq!(
        m.job().unwrap().release.as_ref().unwrap().version,
        "0.9.0",
        "what it was is told"
    );
}

/// What may follow what; everything else is a bug.
fn may_follow(from: &State, to: &State) -> bool {
    use State as S;
    from == to
        || matches!(
            (from, to),
            (S::Idle | S::Committed | S::RolledBack { .. } | S::Failed { .. }, S::Checking | S::Idle)
                | (S::Checking, S::Downloading { .. } | S::Failed { .. } | S::Idle)
                | (S::Downloading { .. }, S::Downloading { .. } | S::Preflight | S::Failed { .. } | S::Idle)
                | (S::Preflight, S::Installing { .. } | S::Failed { .. } | S::Idle)
                | (S::Installing { .. }, S::Installing { .. } | S::RebootPending | S::Verifying | S::Failed { .. })
                | (S::RebootPending, S::Verifying)
                | (S::Verifying, S::Committed | S::RolledBack { .. })
                // After a restart of the daemon.
                | (S::Downloading { .. } | S::Preflight, S::Checking)
        )
}

proptest! {
    /// Whatever comes in whatever order: a slot is committed only after a whole way, and never out of a failure.
    #[test]
    fn no_way_leads_from_a_failure_to_a_commit(steps in prop::collection::vec((0..19_u8, any::<bool>()), 1..200)) {
        let mut m = Machine::new();
        let mut installed_since_asked = false;
        let mut now = at(0);
        for (step, flag) in steps {
            let before = m.state().clone();
            now += Span::from_secs(1);
            match step {
                0 => if m.ask(Wish { repeatable: flag, ..wish() }).is_ok() { installed_since_asked = false },
                1 => { let _ = m.cancel(); }
                2 => { let _ = m.reboot(); }
                3 => m.handle(now, Input::Checked(Ok(facts()))),
                4 => m.handle(now, Input::Checked(Err("x".to_owned()))),
                5 => m.handle(now, Input::Fetching { bytes: 5, total: Some(9) }),
                6 => m.handle(now, Input::Fetched { bytes: 9 }),
                7 => m.handle(now, broken(u64::from(flag))),
                8 => m.handle(now, Input::Inspected(Ok((facts(), bundle(if flag { "1.1.0" } else { "0.1.0" }))))),
                9 => m.handle(now, Input::Inspected(Err("x".to_owned()))),
                10 => m.handle(now, Input::Installing { percent: 50 }),
                11 => {
                    installed_since_asked |= matches!(m.state(), State::Installing { .. });
                    m.handle(now, Input::Installed(Ok(())));
                }
                12 => m.handle(now, Input::Installed(Err("x".to_owned()))),
                13 => m.handle(now, Input::RebootFailed("x".to_owned())),
                14 => m.handle(now, look(if flag { "A" } else { "B" }, None, None)),
                15 => m.handle(now, look("B", flag.then_some("B"), (!flag).then_some("x"))),
                16 => m = Machine::resume(m.kept(), flag),
                17 => {
                    installed_since_asked |= matches!(m.state(), State::Installing { .. });
                    m.handle(now, Input::Overtaken);
                }
                _ => while m.poll(now).is_some() {},
            }
            prop_assert!(may_follow(&before, m.state()), "step {step}: {before:?} became {:?}", m.state());
            if *m.state() == State::Committed {
                prop_assert!(installed_since_asked);
            }
            if let Some(deadline) = m.deadline() {
                let waits = matches!(m.state(), State::Downloading { .. } | State::Verifying);
                prop_assert!(waits);
                prop_assert!(deadline <= now + Span::from_secs(31));
            }
        }
    }
}
