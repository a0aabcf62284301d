//! Picture and sound in virtual time, for a pacer and for what others do: the same decoder, device and thread.
//!
//! * [`FfplayRules`]: ffplay's video_refresh and compute_target_delay, written from their description;
//! * [`WebRtcDelays`]: WebRTC's StreamSynchronization, likewise;
//! * [`watch`] runs a pacer or FfplayRules on a seeded device and says how far picture and sound were apart.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use synoptic_base::{Mono, Span};
use synoptic_engine::pacing::{Master, PaceInput, PaceOutput, Pacer, PacingConfig, Picture, Sound};

/// What a viewer sat through.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// Sound heard minus picture shown, at each picture, with the time since the begin.
    pub offsets: Vec<(Span, Span)>,
    /// Pictures dropped.
    pub dropped: u64,
    /// Pictures that stayed for a frame more.
    pub repeated: u64,
}

/// A box to play on.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// Between two pictures.
    pub frame: Span,
    /// The sound device's rate against the box, ppm.
    pub device_ppm: f64,
    /// The device says its position in steps of this.
    pub period: Span,
    /// The player's thread wakes up to this late.
    pub wakes_late: Span,
    /// Each of these times the player stands still for 200 ms.
    pub stalls_every: Option<Span>,
}

/// Length of a piece of sound.
const PIECE: Span = Span::from_millis(20);
/// Sound that is with the device before it is heard, for ffplay: its own buffer of 2048 samples at 48 kHz.
const FFPLAY_BUFFER: Span = Span::from_micros(42_667);
const STALL: Span = Span::from_millis(200);

/// ffplay's picture timing with sound as master (fftools/ffplay.c).
#[derive(Clone, Debug)]
pub struct FfplayRules {
    frame_timer: Mono,
    last_pts: Option<Span>,
    /// Audio clock: PTS, and when it was set.
    audio: Option<(Span, Mono)>,
}

impl FfplayRules {
    /// Before the first picture.
    pub fn new(now: Mono) -> FfplayRules {
        FfplayRules {
            frame_timer: now,
            last_pts: None,
            audio: None,
        }
    }

    /// The audio callback: PTS of what is heard, as far as the buffers tell.
    pub fn heard(&mut self, pts: Span, now: Mono) {
        self.audio = Some((pts, now));
    }

    /// How long to wait before `pts` is shown; zero or less: now. `duration`: of the picture that is there.
    fn remaining(&self, pts: Span, now: Mono) -> (Span, Span) {
        const THRESHOLD_MIN: Span = Span::from_millis(40);
        const THRESHOLD_MAX: Span = Span::from_millis(100);
        let Some(last) = self.last_pts else {
            return (Span::ZERO, Span::ZERO);
        };
        let mut delay = pts - last;
        if let Some((audio, at)) = self.audio {
            // The video clock is the last picture's PTS, and runs on.
            let video = last + (now - self.frame_timer);
            let diff = video - (audio + (now - at));
            let threshold = delay.clamp(THRESHOLD_MIN, THRESHOLD_MAX);
            if diff.abs() < Span::from_secs(10) {
                if diff <= -threshold {
                    delay = (delay + diff).max(Span::ZERO);
                } else if diff >= threshold && delay > THRESHOLD_MAX {
                    delay += diff;
                } else if diff >= threshold {
                    delay = delay * 2;
                }
            }
        }
        (self.frame_timer + delay - now, delay)
    }

    fn shown(&mut self, pts: Span, delay: Span, now: Mono) {
        self.frame_timer += delay;
        if delay > Span::ZERO && now - self.frame_timer > Span::from_millis(100) {
            self.frame_timer = now;
        }
        self.last_pts = Some(pts);
    }
}

/// What happens on a box, the same for both.
struct World {
    stage: Stage,
    rng: ChaCha8Rng,
    begin: Mono,
    now: Mono,
    next_stall: Option<Mono>,
    /// The device needed so long to open: nobody knows beforehand.
    opens: Span,
    /// The last callback of the device: number, when, and what it had played.
    callback: Option<(i64, Mono, Span)>,
}

/// A device takes up to this long to open.
const OPENS_WITHIN: Span = Span::from_millis(120);

impl World {
    fn new(stage: Stage, seed: u64) -> World {
        let begin = Mono::from_nanos(10_000_000_000);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        World {
            stage,
            opens: Span::from_nanos(rng.random_range(0..OPENS_WITHIN.as_nanos())),
            callback: None,
            rng,
            begin,
            now: begin,
            next_stall: stage.stalls_every.map(|e| begin + e),
        }
    }

    /// What the device has really played by `at`.
    fn played(&self, at: Mono) -> Span {
        let passed = at - self.begin - self.opens;
        passed + Span::from_nanos((passed.as_nanos() as f64 * self.stage.device_ppm * 1e-6) as i64)
    }

    /// The last callback of the device by now: one a period, a bit late, with what it has played then.
    fn heard(&mut self) -> Option<(Mono, Span)> {
        let period = self.stage.period.as_nanos().max(1);
        let number = self.played(self.now).as_nanos().div_euclid(period);
        if number >= 0 && self.callback.is_none_or(|(known, ..)| number > known) {
            let position = Span::from_nanos(number * period);
            let slower = 1.0 + self.stage.device_ppm * 1e-6;
            let due =
                self.begin + self.opens + Span::from_nanos((position.as_nanos() as f64 / slower) as i64);
            let late = self.rng.random_range(0..=self.stage.wakes_late.as_nanos());
            let at = (due + Span::from_nanos(late)).min(self.now);
            self.callback = Some((number, at, position));
        }
        self.callback.map(|(_, at, position)| (at, position))
    }

    /// The thread sleeps until `at`, and wakes a bit late.
    fn sleep(&mut self, at: Mono) {
        let late = self.rng.random_range(0..=self.stage.wakes_late.as_nanos());
        self.now = at.max(self.now + Span::from_micros(200)) + Span::from_nanos(late);
        if let Some(stall) = self.next_stall.filter(|s| self.now >= *s) {
            self.now += STALL;
            self.next_stall = self.stage.stalls_every.map(|e| stall + e);
        }
    }
}

/// A file under `engine::pacing`. Pictures are shown when the thread gives them out or when they are due, the later.
pub fn watch(stage: Stage, master: Master, length: Span, seed: u64) -> Watched {
    let mut world = World::new(stage, seed);
    let mut pacer: Pacer<i64, i64> = Pacer::new(PacingConfig {
        master,
        pictures: 4,
        ..PacingConfig::default()
    });
    let anchor = PaceInput::Anchor {
        media: Span::ZERO,
        at: world.begin + Span::from_millis(300),
    };
    pacer.handle(world.now, anchor);
    let (mut pictures, mut sounds) = (0, 0);
    let mut shown: Vec<(Span, Mono)> = Vec::new();
    let mut pieces: Vec<(Span, Span, u32)> = Vec::new();
    let end = world.begin + length;
    while world.now < end {
        let now = world.now;
        if let Some((at, position)) = world.heard() {
            pacer.handle(at, PaceInput::Device { position });
        }
        loop {
            while pacer.wants_picture() {
                let picture = Picture {
                    pts: Some(stage.frame * pictures),
                    duration: None,
                    repeat: 0,
                    payload: pictures,
                };
                pacer.handle(now, PaceInput::Picture(picture));
                pictures += 1;
            }
            while pacer.wants_sound() {
                let sound = Sound {
                    pts: PIECE * sounds,
                    samples: 960,
                    rate_hz: 48_000,
                    payload: sounds,
                };
                pacer.handle(now, PaceInput::Sound(sound));
                sounds += 1;
            }
            match pacer.poll(now) {
                Some(PaceOutput::Show { pts, at, .. }) => shown.push((pts, at.max(now))),
                Some(PaceOutput::Play {
                    payload, at, samples, ..
                }) => pieces.push((at, PIECE * payload, samples)),
                Some(_) => {}
                None => break,
            }
        }
        let next = now + Span::from_millis(20);
        world.sleep(pacer.deadline().map_or(next, |d| d.min(next)));
    }
    let heard = |at: Mono| {
        let played = world.played(at);
        let i = pieces
            .partition_point(|(out, ..)| *out <= played)
            .checked_sub(1)?;
        let (out, pts, samples) = pieces[i];
        let length = Span::from_nanos(i64::from(samples) * 1_000_000_000 / 48_000);
        let share = (played - out).as_nanos() as f64 / length.as_nanos() as f64;
        // The device has run dry: nothing is heard.
        (share <= 1.0).then(|| pts + Span::from_nanos((PIECE.as_nanos() as f64 * share) as i64))
    };
    let offsets = shown
        .iter()
        .filter_map(|(pts, at)| Some((*at - world.begin, heard(*at)? - *pts)));
    Watched {
        offsets: offsets.collect(),
        dropped: pacer.stats().dropped,
        repeated: pacer.stats().repeated,
    }
}

/// The same file and box under ffplay's rules. Its sound is never touched: sound is the master.
pub fn watch_ffplay(stage: Stage, length: Span, seed: u64) -> Watched {
    const REFRESH: Span = Span::from_millis(10);
    let mut world = World::new(stage, seed);
    let mut rules = FfplayRules::new(world.now);
    let mut watched = Watched::default();
    let mut number = 0;
    let end = world.begin + length;
    // Sound begins to be heard one buffer after the player did.
    let heard = |world: &World, at: Mono| world.played(at) - FFPLAY_BUFFER;
    while world.now < end {
        let now = world.now;
        // In the callback the clock is set to what was written less what the hardware holds.
        if let Some((at, position)) = world.heard() {
            rules.heard(position - FFPLAY_BUFFER, at);
        }
        let pts = stage.frame * number;
        let (remaining, delay) = rules.remaining(pts, now);
        if remaining > Span::ZERO {
            let at = now + remaining.min(REFRESH);
            world.sleep(at);
            continue;
        }
        rules.shown(pts, delay, now);
        if delay >= stage.frame * 2 {
            watched.repeated += 1;
        }
        number += 1;
        // framedrop: the next one is due already.
        if now > rules.frame_timer + stage.frame {
            watched.dropped += 1;
            continue;
        }
        watched
            .offsets
            .push((now - world.begin, heard(&world, now) - pts));
        world.sleep(now + Span::from_micros(200));
    }
    watched
}

/// WebRTC's StreamSynchronization for one sound and one picture (video/stream_synchronization.cc).
#[derive(Clone, Copy, Debug, Default)]
pub struct WebRtcDelays {
    average: Span,
    extra_sound: Span,
    extra_picture: Span,
}

impl WebRtcDelays {
    /// Once a second: the relative delay, and what the buffers of both hold now. Returns the extra delays of sound and
    /// picture, beyond their own buffers.
    pub fn second(&mut self, relative: Span, sound: Span, picture: Span) -> (Span, Span) {
        const FILTER: i64 = 4;
        const MIN_DELTA: Span = Span::from_millis(30);
        const MAX_CHANGE: Span = Span::from_millis(80);
        const MAX_DELAY: Span = Span::from_secs(10);
        let unchanged = (self.extra_sound, self.extra_picture);
        if relative.abs() > MAX_DELAY {
            return unchanged;
        }
        let diff = picture - sound + relative;
        self.average = (self.average * (FILTER - 1) + diff) / FILTER;
        if self.average.abs() < MIN_DELTA {
            return unchanged;
        }
        let step = (self.average / 2).clamp(-MAX_CHANGE, MAX_CHANGE);
        self.average = Span::ZERO;
        if step > Span::ZERO {
            // Pictures are later: first give theirs back, else hold the sound.
            if self.extra_picture > Span::ZERO {
                self.extra_picture = (self.extra_picture - step).max(Span::ZERO);
            } else {
                self.extra_sound = (self.extra_sound + step).min(MAX_DELAY);
            }
        } else if self.extra_sound > Span::ZERO {
            self.extra_sound = (self.extra_sound + step).max(Span::ZERO);
        } else {
            self.extra_picture = (self.extra_picture - step).min(MAX_DELAY);
        }
        (self.extra_sound, self.extra_picture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage() -> Stage {
        Stage {
            frame: Span::from_millis(40),
            device_ppm: 100.0,
            period: Span::from_millis(10),
            wakes_late: Span::from_millis(2),
            stalls_every: None,
        }
    }

    #[test]
    fn ffplay_corrects_nothing_below_forty_milliseconds_and_much_above() {
        let mut rules = FfplayRules::new(Mono::from_nanos(0));
        let at = |ms: i64| Mono::from_nanos(ms * 1_000_000);
        rules.shown(Span::ZERO, Span::ZERO, at(0));
        for (audio, delay) in [(0, 40), (-35, 40), (35, 40), (50, 0), (-50, 80)] {
            rules.heard(Span::from_millis(audio), at(0));
            assert_eq!(
                rules.remaining(Span::from_millis(40), at(0)).1,
                Span::from_millis(delay),
                "{audio}"
            );
        }
    }

    #[test]
    fn webrtc_needs_a_frame_of_difference_and_moves_by_half_of_it() {
        let ms = Span::from_millis;
        let mut delays = WebRtcDelays::default();
        let mut now = (Span::ZERO, Span::ZERO);
        let mut seconds = 0;
        while now.0 < ms(150) && seconds < 60 {
            now = delays.second(ms(200), now.0, now.1);
            seconds += 1;
        }
        assert!(
            (8..30).contains(&seconds),
            "{seconds} s to hold sound for 150 of 200 ms"
        );
    }

    #[test]
    fn picture_and_sound_stay_within_the_target_on_a_noisy_device() {
        let settled = |w: &Watched| {
            let mut offsets: Vec<Span> = w
                .offsets
                .iter()
                .filter(|o| o.0 > Span::from_secs(5))
                .map(|o| o.1.abs())
                .collect();
            offsets.sort_unstable();
            offsets[offsets.len() * 95 / 100]
        };
        for seed in 0..3 {
            let ours = settled(&watch(stage(), Master::Audio, Span::from_secs(30), seed));
            assert!(ours < Span::from_millis(10), "seed {seed}: {ours}");
            let theirs = settled(&watch_ffplay(stage(), Span::from_secs(30), seed));
            assert!(
                theirs < Span::from_millis(60),
                "seed {seed}: {theirs}: its own threshold holds"
            );
        }
    }
}
