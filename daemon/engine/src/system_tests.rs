//! What is told of the system, and what is not.

use super::*;

fn at(s: i64) -> Mono {
    Mono::from_nanos(1_000_000_000_000) + Span::from_secs(s)
}

fn cam(name: &str) -> StreamId {
    StreamId::new(name).unwrap()
}

fn away(reason: &str) -> SystemInput {
    SystemInput::Away(cam("a"), Outage::Stalled, Some(reason.to_owned()))
}

/// Feeds inputs at their seconds, comes back at every deadline until `end`; the types told, and when each was.
fn run(rules: &mut SystemRules, inputs: Vec<(i64, SystemInput)>, end: i64) -> Vec<(i64, SystemOutput)> {
    let mut told = Vec::new();
    let mut drain = |rules: &mut SystemRules, now: Mono| {
        while let Some(output) = rules.poll() {
            told.push(((now - at(0)).as_secs_f64() as i64, output));
        }
    };
    let mut until = |rules: &mut SystemRules, limit: Mono| {
        drain(rules, limit);
        while let Some(deadline) = rules.deadline().filter(|d| *d <= limit) {
            rules.handle_time(deadline);
            assert!(rules.deadline().is_none_or(|d| d > deadline), "no progress");
            drain(rules, deadline);
        }
    };
    for (s, input) in inputs {
        until(rules, at(s));
        rules.handle(at(s), input);
        // A step is told at once, whatever the deadline of the rest.
        until(rules, at(s));
    }
    until(rules, at(end));
    told
}

fn names(told: &[(i64, SystemOutput)]) -> Vec<(i64, &'static str)> {
    told.iter().map(|(s, o)| (*s, o.change.name())).collect()
}

#[test]
fn an_outage_is_two_events_with_the_times_of_the_changes() {
    let mut rules = SystemRules::new(SystemConfig::default());
    let inputs = vec![
        (0, SystemInput::Online(cam("a"))),
        (100, away("no frame for 3 s")),
        (
            101,
            SystemInput::Away(cam("a"), Outage::Offline, Some("refused".into())),
        ),
        (160, SystemInput::Online(cam("a"))),
    ];
    let told = run(&mut rules, inputs, 1_000);
    assert_eq!(
        names(&told),
        [
            (5, "camera_online"),
            (102, "camera_offline"),
            (165, "camera_online")
        ]
    );
    assert_eq!(told[1].1.at, at(100), "when it went, not when it was believed");
    assert!(matches!(
        &told[1].1.change,
        SystemChange::CameraOffline { outage: Outage::Stalled, reason: Some(r) } if r == "no frame for 3 s"
    ));
    assert_eq!(told[2].1.at, at(160));
}

#[test]
fn a_flicker_is_counted_and_not_told() {
    let mut rules = SystemRules::new(SystemConfig::default());
    let inputs = vec![
        (0, SystemInput::Online(cam("a"))),
        (50, away("stalled")),
        (51, SystemInput::Online(cam("a"))),
        (90, away("stalled")),
    ];
    let told = run(&mut rules, inputs, 1_000);
    assert_eq!(names(&told), [(5, "camera_online"), (92, "camera_offline")]);
    assert_eq!(told[1].1.untold, 2);
}

#[test]
fn a_flapping_camera_does_not_flood_and_ends_told_right() {
    let config = SystemConfig::default();
    let mut rules = SystemRules::new(config);
    let day = 86_400;
    let mut inputs = Vec::new();
    for s in (0..day).step_by(30) {
        inputs.push((s, SystemInput::Online(cam("a"))));
        inputs.push((s + 15, away("gone")));
    }
    let changes = inputs.len() as u32;
    let told = run(&mut rules, inputs, day + 700);
    let most = i64::from(config.burst) + (day + 700) / 600 + 1;
    assert!(told.len() as i64 <= most, "{} > {most}", told.len());
    let (_, last) = told.last().unwrap();
    assert_eq!(last.change.name(), "camera_offline");
    let counted: u32 = told.iter().map(|(_, o)| o.untold + 1).sum();
    assert_eq!(counted, changes, "none is lost without a count");
}

#[test]
fn a_refused_password_is_news_during_an_outage() {
    let mut rules = SystemRules::new(SystemConfig::default());
    let inputs = vec![
        (0, away("gone")),
        (60, SystemInput::Away(cam("a"), Outage::AuthFailed, None)),
    ];
    let told = run(&mut rules, inputs, 100);
    assert_eq!(names(&told), [(2, "camera_offline"), (62, "camera_offline")]);
}

#[test]
fn a_rung_is_told_once_it_holds_and_the_first_is_not() {
    let mut rules = SystemRules::new(SystemConfig::default());
    let source = |s, source| (s, SystemInput::Source(cam("a"), source));
    let inputs = vec![
        source(0, TimeSource::Arrival),
        source(3, TimeSource::SenderReport),
        source(60, TimeSource::Arrival),
        source(64, TimeSource::SenderReport),
        source(100, TimeSource::Arrival),
        // A reconnect: the ladder is climbed anew, and nobody is told of its lower rungs.
        (200, away("gone")),
        source(230, TimeSource::Host),
        source(233, TimeSource::SenderReport),
    ];
    let told = run(&mut rules, inputs, 300);
    let sources: Vec<_> = told
        .iter()
        .filter_map(|(s, o)| match o.change {
            SystemChange::TimeSource { from, to } => Some((*s, from, to)),
            _ => None,
        })
        .collect();
    assert_eq!(
        sources,
        [
            (110, TimeSource::SenderReport, TimeSource::Arrival),
            (243, TimeSource::Arrival, TimeSource::SenderReport)
        ]
    );
}

#[test]
fn steps_are_told_at_once_and_too_many_are_counted() {
    let mut rules = SystemRules::new(SystemConfig::default());
    let step = Span::from_secs(2);
    let mut inputs: Vec<_> = (0..100)
        .map(|s| (s, SystemInput::CameraStep(cam("a"), step)))
        .collect();
    inputs.push((50, SystemInput::BoxStep(-step)));
    inputs.push((700, SystemInput::CameraStep(cam("a"), step)));
    inputs.sort_by_key(|(s, _)| *s);
    let told = run(&mut rules, inputs, 1_000);
    let of = |stream: Option<StreamId>| -> Vec<_> {
        let of = told.iter().filter(|(_, o)| o.stream == stream);
        of.map(|(s, o)| (*s, o.untold)).collect()
    };
    assert_eq!(of(None), [(50, 0)]);
    assert_eq!(
        of(Some(cam("a"))),
        [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (700, 94)]
    );
}

#[test]
fn what_is_wrong_with_a_clock_is_told_once_and_again_after_it_was_right() {
    let mut rules = SystemRules::new(SystemConfig::default());
    let zone = || vec![("zone", "Its clock is off by +1.00 h.".to_owned())];
    let mut inputs = vec![(0, SystemInput::Findings(cam("a"), vec![]))];
    // Too short to be told, wrong for long, right for long, wrong again.
    inputs.extend((5..10).map(|s| (s, SystemInput::Findings(cam("a"), zone()))));
    inputs.extend((10..50).map(|s| (s, SystemInput::Findings(cam("a"), vec![]))));
    inputs.extend((50..100).map(|s| (s, SystemInput::Findings(cam("a"), zone()))));
    inputs.extend((100..150).map(|s| (s, SystemInput::Findings(cam("a"), vec![]))));
    inputs.extend((150..200).map(|s| (s, SystemInput::Findings(cam("a"), zone()))));
    let told = run(&mut rules, inputs, 300);
    assert_eq!(names(&told), [(65, "camera_time"), (165, "camera_time")]);
    assert!(matches!(
        &told[0].1.change,
        SystemChange::CameraTime { finding, text } if finding == "zone" && text.contains("+1.00 h")
    ));
    assert_eq!(told[0].1.at, at(50));
}

#[test]
fn a_removed_camera_is_forgotten() {
    let mut rules = SystemRules::new(SystemConfig::default());
    let inputs = vec![
        (0, SystemInput::Online(cam("a"))),
        (3, SystemInput::Forget(cam("a"))),
    ];
    assert_eq!(run(&mut rules, inputs, 100), []);
    assert_eq!(rules.deadline(), None);
}
