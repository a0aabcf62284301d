//! What holds whatever comes.

use proptest::prelude::*;
use synoptic_base::{Mono, Span};

use super::*;

#[derive(Clone, Copy, Debug)]
enum Event {
    /// PTS in ms off the regular one, or none.
    Picture(Option<i64>),
    Sound(i64),
    /// Position in ms off the regular one.
    Device(i64),
    Anchor(i64),
    Pause(bool),
    Flush,
    End,
    Nothing,
}

fn events() -> impl Strategy<Value = Vec<(i64, Event)>> {
    let off = || prop_oneof![8 => Just(0_i64), 3 => -60_i64..60, 1 => -20_000_i64..20_000];
    let event = prop_oneof![
        8 => prop::option::weighted(0.9, off()).prop_map(Event::Picture),
        10 => off().prop_map(Event::Sound),
        6 => off().prop_map(Event::Device),
        1 => off().prop_map(Event::Anchor),
        1 => any::<bool>().prop_map(Event::Pause),
        1 => Just(Event::Flush),
        1 => Just(Event::End),
        6 => Just(Event::Nothing),
    ];
    prop::collection::vec((0_i64..45_000, event), 1..250)
}

fn config() -> impl Strategy<Value = PacingConfig> {
    let master = prop_oneof![Just(Master::Audio), Just(Master::Video), Just(Master::External)];
    let latency = prop::option::of((0_i64..800).prop_map(Span::from_millis));
    (master, any::<bool>(), any::<bool>(), latency, 1_usize..12).prop_map(
        |(master, live, sound, latency, pictures)| PacingConfig {
            master,
            live,
            sound,
            latency,
            pictures,
        },
    )
}

fn check(config: PacingConfig, events: &[(i64, Event)]) -> Result<(), TestCaseError> {
    let mut pacer: Pacer<u64, u64> = Pacer::new(config);
    let start = Mono::from_nanos(50_000_000_000);
    let mut now = start;
    let (mut pictures, mut sounds) = (0_u64, 0_u64);
    let mut ended = vec![false; events.len() + 1];
    let (mut last_shown, mut last_played_end) = (None::<(u64, Mono)>, None::<Span>);
    let (mut repeats, mut gone) = (0_u64, 0_u64);
    for (after, event) in events {
        now += Span::from_micros(*after);
        let media = now - start + Span::from_nanos(if config.live { start.as_nanos() } else { 0 });
        match *event {
            Event::Picture(off) => {
                let pts = off.map(|off| media + Span::from_millis(off - 100));
                let (duration, repeat, payload) = (None, u32::from(pictures % 7 == 0), pictures);
                pacer.handle(
                    now,
                    PaceInput::Picture(Picture {
                        pts,
                        duration,
                        repeat,
                        payload,
                    }),
                );
                pictures += 1;
            }
            Event::Sound(off) => {
                let pts = media + Span::from_millis(off - 100);
                let (samples, rate_hz, payload) = (320 + (sounds % 3) as u32 * 160, 16_000, sounds);
                pacer.handle(
                    now,
                    PaceInput::Sound(Sound {
                        pts,
                        samples,
                        rate_hz,
                        payload,
                    }),
                );
                sounds += 1;
            }
            Event::Device(off) => {
                let position = now - start + Span::from_millis(off);
                pacer.handle(now, PaceInput::Device { position });
            }
            Event::Anchor(off) => {
                pacer.handle(
                    now,
                    PaceInput::Anchor {
                        media,
                        at: now + Span::from_millis(off),
                    },
                );
            }
            Event::Pause(paused) => pacer.handle(now, PaceInput::Pause(paused)),
            Event::Flush => pacer.handle(now, PaceInput::Flush),
            Event::End => {
                pacer.handle(now, PaceInput::PictureEnd);
                pacer.handle(now, PaceInput::SoundEnd);
            }
            Event::Nothing => {}
        }
        let mut turns = 0;
        while let Some(out) = pacer.poll(now) {
            turns += 1;
            prop_assert!(turns < 3_000, "it spins");
            match out {
                PaceOutput::Show { payload, at, .. } => {
                    if let Some((before, before_at)) = last_shown {
                        prop_assert!(payload > before, "{payload} is shown after {before}");
                        prop_assert!(at >= before_at || now >= before_at, "time runs back");
                    }
                    prop_assert!(at - now <= Span::from_millis(20), "no sooner than needed");
                    prop_assert!(!ended[payload as usize], "shown twice");
                    ended[payload as usize] = true;
                    last_shown = Some((payload, at));
                }
                PaceOutput::Drop { payload, .. } => {
                    prop_assert!(!ended[payload as usize], "dropped after it went");
                    ended[payload as usize] = true;
                }
                PaceOutput::Repeat { at } => {
                    prop_assert!(last_shown.is_some_and(|(_, shown)| at > shown), "repeats nothing");
                    repeats += 1;
                }
                PaceOutput::Play {
                    at,
                    skip,
                    samples,
                    payload,
                } => {
                    let given = 320 + (payload % 3) as u32 * 160;
                    let (least, most) = (f64::from(given - skip) * 0.9 - 1.0, f64::from(given) * 1.1 + 1.0);
                    prop_assert!(
                        (least..=most).contains(&f64::from(samples)),
                        "{samples} of {given}"
                    );
                    if let Some(end) = last_played_end {
                        prop_assert!(at >= end - Span::from_nanos(2), "pieces lie over each other");
                    }
                    last_played_end = Some(at + Span::from_nanos(i64::from(samples) * 62_500));
                    gone += 1;
                }
                PaceOutput::Skip { .. } => gone += 1,
            }
        }
        if let Some(deadline) = pacer.deadline() {
            prop_assert!(deadline > now, "the wait is never negative, nor none");
        }
    }
    let stats = pacer.stats();
    prop_assert_eq!(stats.repeated, repeats);
    prop_assert!(gone <= sounds);
    pacer.handle(now, PaceInput::Pause(false));
    pacer.handle(now, PaceInput::Flush);
    while let Some(out) = pacer.poll(now) {
        match out {
            PaceOutput::Drop { payload, .. } | PaceOutput::Show { payload, .. } => {
                prop_assert!(!ended[payload as usize]);
                ended[payload as usize] = true;
            }
            _ => {}
        }
    }
    prop_assert!(
        ended[..pictures as usize].iter().all(|e| *e),
        "every picture is accounted for"
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_contract_holds_whatever_comes(config in config(), events in events()) {
        check(config, &events)?;
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    /// Of any number of streams: bounded steps, bounded delays, and all at one latency in the end.
    #[test]
    fn delays_are_bounded_and_converge(
        paths in prop::collection::vec((0_i64..900, 0_i64..40), 2..7),
        later in prop::collection::vec(0_i64..900, 7),
    ) {
        let config = DelayConfig { expected: paths.len(), ..DelayConfig::default() };
        let mut delays: RelativeDelays<usize> = RelativeDelays::new(config);
        let mut minimum = vec![None::<Span>; paths.len()];
        let mut latency = Span::ZERO;
        for i in 0..3_300_i64 {
            let now = Mono::from_nanos(60_000_000_000) + Span::from_millis(20) * i;
            for (stream, (path, jitter)) in paths.iter().enumerate() {
                let path = if i < 500 { *path } else { later[stream] };
                let delay = Span::from_millis(path) + Span::from_micros(jitter * 1_000 * (i * 7 % 11) / 11);
                let (captured, arrival) = (now - delay, now);
                delays.handle(now, DelayInput::Arrived { stream, captured, arrival });
            }
            while let Some(told) = delays.poll(now) {
                prop_assert!(told.minimum >= Span::ZERO && told.minimum <= config.max_delta);
                if let Some(before) = minimum[told.stream] {
                    let change = (told.minimum - before).abs();
                    prop_assert!(change <= config.max_change, "{change}");
                }
                minimum[told.stream] = Some(told.minimum);
                latency = told.latency;
            }
        }
        for (stream, (_, jitter)) in paths.iter().enumerate() {
            let presented = Span::from_millis(later[stream]) + minimum[stream].unwrap_or_default();
            let off = (presented - latency).abs();
            prop_assert!(off <= Span::from_millis(*jitter + 5), "stream {stream} is off by {off}");
        }
    }
}
