//! The pacer, run in virtual time: what is shown and heard, and when.

use synoptic_base::{Mono, Span};

use super::*;

fn ms(ms: i64) -> Span {
    Span::from_millis(ms)
}
fn at(ms: i64) -> Mono {
    Mono::from_nanos(ms * 1_000_000)
}

/// A file with pictures of 40 ms and sound of 20 ms, and a device of a given rate.
struct Play {
    pacer: Pacer<i64, i64>,
    now: Mono,
    pictures: std::ops::Range<i64>,
    sounds: std::ops::Range<i64>,
    picture_begin: Span,
    sound_begin: Span,
    device_ppm: i64,
    shown: Vec<(i64, Mono)>,
    dropped: Vec<i64>,
    repeated: usize,
    /// Device time, number and samples.
    played: Vec<(Span, i64, u32)>,
}

const START: Mono = Mono::from_nanos(1_000_000_000);

impl Play {
    fn new(config: PacingConfig) -> Play {
        let mut pacer = Pacer::new(config);
        pacer.handle(START, PaceInput::Device { position: Span::ZERO });
        Play {
            pacer,
            now: START,
            pictures: 0..500,
            sounds: 0..1_000,
            picture_begin: Span::ZERO,
            sound_begin: Span::ZERO,
            device_ppm: 0,
            shown: Vec::new(),
            dropped: Vec::new(),
            repeated: 0,
            played: Vec::new(),
        }
    }

    fn file(master: Master) -> Play {
        Play::new(PacingConfig {
            master,
            pictures: 4,
            ..PacingConfig::default()
        })
    }

    fn device(&self, now: Mono) -> Span {
        let passed = now - START;
        passed + Span::from_nanos(passed.as_nanos() / 1_000_000 * self.device_ppm)
    }

    fn feed(&mut self) {
        while self.pacer.wants_picture() {
            let input = match self.pictures.next() {
                Some(i) => PaceInput::Picture(Picture {
                    pts: Some(self.picture_begin + ms(40) * i),
                    duration: None,
                    repeat: 0,
                    payload: i,
                }),
                None => {
                    self.pacer.handle(self.now, PaceInput::PictureEnd);
                    break;
                }
            };
            self.pacer.handle(self.now, input);
        }
        while self.pacer.wants_sound() {
            let input = match self.sounds.next() {
                Some(i) => PaceInput::Sound(Sound {
                    pts: self.sound_begin + ms(20) * i,
                    samples: 960,
                    rate_hz: 48_000,
                    payload: i,
                }),
                None => {
                    self.pacer.handle(self.now, PaceInput::SoundEnd);
                    break;
                }
            };
            self.pacer.handle(self.now, input);
        }
    }

    /// A moment of the shell: feeds, drains, waits.
    fn turn(&mut self, feeding: bool) {
        let position = self.device(self.now);
        self.pacer.handle(self.now, PaceInput::Device { position });
        loop {
            if feeding {
                self.feed();
            }
            let Some(out) = self.pacer.poll(self.now) else {
                break;
            };
            match out {
                PaceOutput::Show { payload, at, .. } => self.shown.push((payload, at.max(self.now))),
                PaceOutput::Repeat { .. } => self.repeated += 1,
                PaceOutput::Drop { payload, .. } => self.dropped.push(payload),
                PaceOutput::Play {
                    payload, at, samples, ..
                } => self.played.push((at, payload, samples)),
                PaceOutput::Skip { .. } => {}
            }
        }
        let deadline = self.pacer.deadline().unwrap_or(self.now + ms(20));
        assert!(deadline > self.now, "a deadline that has passed would spin");
        self.now = deadline.min(self.now + ms(20));
    }

    fn run(&mut self, length: Span) {
        let end = self.now + length;
        while self.now < end {
            self.turn(true);
        }
    }

    /// When the media time of a piece of sound is heard.
    fn heard(&self, number: i64) -> Mono {
        let (at, _, _) = self.played.iter().find(|(_, n, _)| *n == number).unwrap();
        START + *at - Span::from_nanos(at.as_nanos() / 1_000_000 * self.device_ppm)
    }

    /// Sound minus picture, at each picture shown for which there is sound.
    fn offsets(&self) -> Vec<Span> {
        let offset = |(i, seen): &(i64, Mono)| {
            let pts = self.picture_begin + ms(40) * *i;
            let piece = (pts - self.sound_begin).as_nanos() / 20_000_000;
            (pts >= self.sound_begin && self.played.iter().any(|(_, n, _)| *n == piece))
                .then(|| *seen - self.heard(piece))
        };
        self.shown.iter().filter_map(offset).collect()
    }
}

#[test]
fn with_audio_as_master_pictures_follow_a_fast_device() {
    let mut play = Play::file(Master::Audio);
    play.device_ppm = 200;
    play.run(Span::from_secs(10));
    assert!(play.shown.len() > 240, "{}", play.shown.len());
    for offset in &play.offsets()[2..] {
        assert!(offset.abs() < ms(2), "{offset}");
    }
    assert!(
        play.played.iter().all(|(_, _, samples)| *samples == 960),
        "sound is not touched"
    );
    assert_eq!((play.dropped.len(), play.repeated), (0, 0));
}

#[test]
fn with_video_as_master_sound_is_stretched_to_the_pictures() {
    let mut play = Play::file(Master::Video);
    play.device_ppm = 400;
    play.run(Span::from_secs(15));
    for pair in play.shown.windows(2) {
        assert_eq!(pair[1].1 - pair[0].1, ms(40), "pictures keep their rhythm");
    }
    for offset in &play.offsets()[50..] {
        assert!(offset.abs() < ms(2), "{offset}");
    }
    // A device that is 400 ppm fast plays 0.4 ms a second too much: as many samples are put in.
    let more = play.pacer.stats().corrected_samples;
    assert!((200..400).contains(&more), "{more} samples in 15 s");
}

#[test]
fn an_external_master_leads_both_and_two_boxes_show_the_same_instant() {
    let begin = START + ms(700);
    let box_of = |device_ppm, late| {
        let mut play = Play::file(Master::External);
        play.device_ppm = device_ppm;
        play.now = START + ms(late);
        play.pacer.handle(
            play.now,
            PaceInput::Anchor {
                media: Span::ZERO,
                at: begin,
            },
        );
        play.run(Span::from_secs(5));
        play
    };
    let (one, other) = (box_of(150, 0), box_of(-300, 350));
    for play in [&one, &other] {
        for (i, seen) in &play.shown[1..] {
            assert!((*seen - begin - ms(40) * *i).abs() < ms(1), "picture {i}");
        }
        let worst = play.offsets().into_iter().map(Span::abs).max().unwrap();
        assert!(worst < ms(2), "{worst}");
    }
    assert_eq!(one.shown[..50], other.shown[..50]);
}

#[test]
fn a_box_that_stood_still_drops_to_catch_up_and_counts_it() {
    let mut play = Play::file(Master::Audio);
    play.run(Span::from_secs(2));
    let (shown, repeated) = (play.shown.len(), play.repeated);
    // The thread sleeps for 130 ms: the device plays on from its buffer of 160 ms.
    play.now += ms(130);
    play.run(Span::from_secs(3));
    assert_eq!(play.dropped.len(), play.pacer.stats().dropped as usize);
    assert!((1..=4).contains(&play.dropped.len()), "{:?}", play.dropped);
    let after: Vec<Span> = play.offsets()[shown + 6..].to_vec();
    assert!(after.iter().all(|o| o.abs() < ms(3)), "{after:?}");
    let mut all: Vec<i64> = play
        .shown
        .iter()
        .map(|(i, _)| *i)
        .chain(play.dropped.iter().copied())
        .collect();
    all.sort_unstable();
    assert!(
        all.windows(2).all(|w| w[1] == w[0] + 1),
        "each picture is shown or dropped, once"
    );
    assert!(play.repeated <= repeated + 4);
}

#[test]
fn a_decoder_that_stalls_is_a_repeat_of_the_picture_that_is_there() {
    let mut play = Play::file(Master::Audio);
    play.run(Span::from_secs(1));
    assert_eq!(play.repeated, 0);
    let end = play.now + ms(600);
    while play.now < end {
        play.turn(false);
    }
    // 4 pictures (160 ms) were held; some 440 ms are left, in frames of 40 ms.
    assert!((8..=12).contains(&play.repeated), "{}", play.repeated);
    assert_eq!(play.repeated as u64, play.pacer.stats().repeated);
}

#[test]
fn whichever_begins_later_is_held() {
    for (picture, sound) in [(0, 500), (500, 0), (0, 0)] {
        let mut play = Play::file(Master::Audio);
        (play.picture_begin, play.sound_begin) = (ms(picture), ms(sound));
        play.run(Span::from_secs(3));
        assert_eq!(play.shown[0].0, 0);
        assert_eq!(play.dropped, [0_i64; 0], "{picture} {sound}");
        assert_eq!(play.pacer.stats().skipped, 0);
        for offset in &play.offsets()[2..] {
            assert!(offset.abs() < ms(3), "{picture} {sound}: {offset}");
        }
    }
}

#[test]
fn without_sound_pictures_run_by_themselves() {
    let mut play = Play::file(Master::Audio);
    play.sounds = 0..0;
    play.run(Span::from_secs(2));
    assert!(play.shown.len() >= 48, "{}", play.shown.len());
    // Sound that is announced and never comes is waited for, not for ever.
    let mut never = Play::file(Master::Audio);
    for i in 0..4 {
        let picture = Picture {
            pts: Some(ms(40 * i)),
            duration: None,
            repeat: 0,
            payload: i,
        };
        never.pacer.handle(never.now, PaceInput::Picture(picture));
    }
    while never.now < START + Span::from_secs(3) {
        never.turn(false);
    }
    assert_eq!(never.shown.len(), 4);
    assert!(never.shown[0].1 - START >= ms(1_000));
}

#[test]
fn pictures_without_pts_are_placed_by_the_video_clock() {
    let mut pacer: Pacer<i64, ()> = Pacer::new(PacingConfig {
        sound: false,
        ..PacingConfig::default()
    });
    for (i, pts, repeat) in [
        (0, Some(ms(0)), 1),
        (1, None, 0),
        (2, None, 0),
        (3, Some(ms(140)), 0),
    ] {
        let picture = Picture {
            pts,
            duration: Some(ms(40)),
            repeat,
            payload: i,
        };
        pacer.handle(at(0), PaceInput::Picture(picture));
    }
    let mut seen = Vec::new();
    for t in 0..400 {
        while let Some(out) = pacer.poll(at(t)) {
            if let PaceOutput::Show { pts, .. } = out {
                seen.push(pts);
            }
        }
    }
    assert_eq!(
        seen,
        [ms(0), ms(60), ms(100), ms(140)],
        "repeat_pict is half a frame"
    );
}

#[test]
fn live_streams_of_different_delay_are_seen_and_heard_at_one_latency() {
    let mut pacer: Pacer<i64, i64> = Pacer::new(PacingConfig {
        live: true,
        ..PacingConfig::default()
    });
    // Pictures need 60 ms to come, sound 310.
    let (mut seen, mut heard) = (Vec::new(), Vec::new());
    for t in 0..4_000_i64 {
        let now = START + ms(t);
        let captured = |delay: i64| Span::from_nanos((now - ms(delay)).as_nanos());
        if t % 40 == 0 {
            let picture = Picture {
                pts: Some(captured(60)),
                duration: None,
                repeat: 0,
                payload: t,
            };
            pacer.handle(now, PaceInput::Picture(picture));
        }
        if t % 20 == 0 {
            let sound = Sound {
                pts: captured(310),
                samples: 960,
                rate_hz: 48_000,
                payload: t,
            };
            pacer.handle(now, PaceInput::Sound(sound));
        }
        pacer.handle(now, PaceInput::Device { position: ms(t) });
        while let Some(out) = pacer.poll(now) {
            match out {
                PaceOutput::Show { pts, at, .. } => seen.push(at - Mono::from_nanos(pts.as_nanos())),
                PaceOutput::Play { payload, at, .. } => {
                    heard.push(at - ms(payload - 310));
                }
                PaceOutput::Drop { .. } => panic!("nothing is late"),
                PaceOutput::Repeat { .. } | PaceOutput::Skip { .. } => {}
            }
        }
    }
    let latency = pacer.stats().latency.unwrap();
    assert_eq!(latency, ms(310) + SOUND_LEAD + ms(20));
    assert!(
        seen.len() > 80 && heard.len() > 150,
        "{} {}",
        seen.len(),
        heard.len()
    );
    for span in seen.iter().skip(2).chain(&heard) {
        assert!((*span - latency).abs() < ms(2), "{span} against {latency}");
    }
}

#[test]
fn a_seek_forgets_and_a_pause_holds() {
    let mut play = Play::file(Master::Audio);
    play.run(Span::from_secs(1));
    play.pacer.handle(play.now, PaceInput::Flush);
    (play.pictures, play.sounds) = (250..500, 500..1_000);
    let before = play.shown.len();
    play.run(Span::from_secs(1));
    let (first, seen) = play.shown[before];
    assert_eq!(first, 250);
    assert!(seen - START < ms(1_400), "{}", seen - START);
    for offset in &play.offsets()[before + 2..] {
        assert!(offset.abs() < ms(3), "{offset}");
    }
    let shown = play.shown.len();
    play.pacer.handle(play.now, PaceInput::Pause(true));
    assert_eq!(
        (play.pacer.poll(play.now + ms(500)), play.pacer.deadline()),
        (None, None)
    );
    play.pacer.handle(play.now + ms(500), PaceInput::Pause(false));
    assert_eq!(play.shown.len(), shown);
}

#[test]
fn after_a_seek_no_picture_is_shown_before_the_one_that_is_on_its_way() {
    let config = PacingConfig {
        master: Master::Video,
        live: false,
        sound: false,
        latency: None,
        pictures: 3,
    };
    let mut pacer: Pacer<u64, u64> = Pacer::new(config);
    let picture = |payload| {
        PaceInput::Picture(Picture {
            pts: Some(ms(payload as i64 * 40)),
            duration: None,
            repeat: 0,
            payload,
        })
    };
    let shown = |out| match out {
        Some(PaceOutput::Show { at, payload, .. }) => (at, payload),
        other => panic!("{other:?}"),
    };
    pacer.handle(START, picture(0));
    pacer.handle(START, picture(1));
    shown(pacer.poll(START));
    assert!(pacer.poll(START).is_none());
    // Handed out a little before it is due.
    let now = pacer.deadline().unwrap();
    let (at, _) = shown(pacer.poll(now));
    assert!(at > now);
    pacer.handle(now, PaceInput::Flush);
    pacer.handle(now, picture(2));
    assert_eq!(shown(pacer.poll(now)), (at, 2));
}

#[test]
fn it_is_done_when_all_was_given_out() {
    let mut play = Play::file(Master::Audio);
    (play.pictures, play.sounds) = (0..25, 0..50);
    play.run(Span::from_secs(2));
    assert!(play.pacer.is_done());
    let end = play.pacer.ends_at().unwrap() - START;
    assert!((end - ms(1_060)).abs() < ms(3), "{end}");
}
