//! Pictures and sound, paced by one master.

use std::collections::VecDeque;

use synoptic_base::{Mono, Span};

use super::delays::{DelayConfig, DelayInput, RelativeDelays};
use super::device::DeviceClock;
use super::frames::{FrameTimer, NO_SYNC};
use super::sound::{LIVE_DEAD_BAND, SOUND_LEAD, SoundLine, Step, Target};
use super::types::{DropReason, Master, PaceInput, PaceOutput, PaceStats, PacingConfig, Picture, Sound};

/// Pictures are given out this long before they are due: what the way to the screen needs.
const SHOW_AHEAD: Span = Span::from_millis(20);
/// The other one of sound and picture is waited for at the begin for so long.
const PATIENCE: Span = Span::from_secs(1);
/// Sound held of a file: enough for a decoder that stutters.
const FILE_SOUND: Span = Span::from_millis(400);
/// Pieces of sound held at most; the oldest goes. 20 s of 20 ms.
const MAX_SOUNDS: usize = 1_024;
/// After so many late pictures one is shown nonetheless: a box that is too slow shows something.
const MAX_DROPS: u32 = 8;
/// Live sound is given to its device a little before it must be.
const SOUND_MARGIN: Span = Span::from_millis(20);
/// Begins of sound and picture closer than this are one.
const SAME_BEGIN: Span = Span::from_millis(5);

/// The two streams, for their relative delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Picture,
    Sound,
}

struct Queued<V> {
    pts: Span,
    repeat: u32,
    payload: V,
}

/// Decides when each picture is shown and each piece of sound is played.
pub struct Pacer<V, A> {
    config: PacingConfig,
    pictures: VecDeque<Queued<V>>,
    sounds: VecDeque<Sound<A>>,
    timer: FrameTimer,
    line: SoundLine,
    device: DeviceClock,
    delays: RelativeDelays<Lane>,
    /// Media time and when the external master shows it.
    anchor: Option<(Span, Mono)>,
    /// What a picture without PTS gets.
    next_pts: Option<Span>,
    first_picture: Option<Mono>,
    first_sound: Option<Mono>,
    picture_ended: bool,
    sound_ended: bool,
    paused: Option<Mono>,
    /// When the picture on the screen counts as repeated.
    repeat_at: Option<Mono>,
    /// When the last picture was or will be shown, be it of before a flush: none is shown before it.
    shown_at: Option<Mono>,
    drops_in_a_row: u32,
    deadline: Option<Mono>,
    stats: PaceStats,
    out: VecDeque<PaceOutput<V, A>>,
}

impl<V, A> Pacer<V, A> {
    /// A pacer that has seen nothing.
    pub fn new(config: PacingConfig) -> Pacer<V, A> {
        let mut delays = RelativeDelays::new(DelayConfig {
            expected: 1 + usize::from(config.sound),
            ..DelayConfig::default()
        });
        for (stream, playout) in [
            (Lane::Picture, SHOW_AHEAD),
            (Lane::Sound, SOUND_LEAD + SOUND_MARGIN),
        ] {
            let jitter = None;
            delays.handle(
                Mono::default(),
                DelayInput::Buffers {
                    stream,
                    jitter,
                    playout,
                },
            );
        }
        Pacer {
            config,
            pictures: VecDeque::new(),
            sounds: VecDeque::new(),
            timer: FrameTimer::default(),
            line: SoundLine::default(),
            device: DeviceClock::default(),
            delays,
            anchor: None,
            next_pts: None,
            first_picture: None,
            first_sound: None,
            picture_ended: false,
            sound_ended: !config.sound,
            paused: None,
            repeat_at: None,
            shown_at: None,
            drops_in_a_row: 0,
            deadline: None,
            stats: PaceStats::default(),
            out: VecDeque::new(),
        }
    }

    /// Whether another picture may be given; a live one may always, for the oldest goes.
    pub fn wants_picture(&self) -> bool {
        self.config.live || self.pictures.len() < self.config.pictures.max(1)
    }

    /// Whether more sound may be given.
    pub fn wants_sound(&self) -> bool {
        let held: Span = self.sounds.iter().map(Sound::length).sum();
        self.config.live || held < FILE_SOUND
    }

    /// Whether everything that came was given out, and no more comes.
    pub fn is_done(&self) -> bool {
        self.picture_ended
            && self.sound_ended
            && self.pictures.is_empty()
            && self.sounds.is_empty()
            && self.out.is_empty()
    }

    /// When the last picture and the last sound are over.
    pub fn ends_at(&self) -> Option<Mono> {
        let picture = self.timer.last().map(|(at, stays)| at + stays);
        picture.max(self.line.end().and_then(|end| self.device.when(end)))
    }

    /// What was done so far.
    pub fn stats(&self) -> PaceStats {
        PaceStats {
            latency: self.latency(),
            device_ppm: self.device.ppm(),
            corrected_samples: self.line.corrected,
            sound_runs: self.line.runs,
            ..self.stats
        }
    }

    /// Takes an input; drain [`Pacer::poll`] afterwards.
    pub fn handle(&mut self, now: Mono, input: PaceInput<V, A>) {
        match input {
            PaceInput::Picture(picture) => self.picture(now, picture),
            PaceInput::Sound(sound) => self.sound(now, sound),
            PaceInput::Device { position } => self.device.report(now, position),
            PaceInput::Anchor { media, at } => self.anchor = Some((media, at)),
            PaceInput::Pause(true) => {
                self.paused.get_or_insert(now);
            }
            PaceInput::Pause(false) => {
                if let Some(since) = self.paused.take() {
                    let stood = now - since;
                    self.timer.shift(stood);
                    self.repeat_at = self.repeat_at.map(|at| at + stood);
                }
            }
            PaceInput::Flush => self.flush(),
            PaceInput::PictureEnd => {
                self.picture_ended = true;
                self.delays.handle(now, DelayInput::Gone(Lane::Picture));
            }
            PaceInput::SoundEnd => {
                self.sound_ended = true;
                self.delays.handle(now, DelayInput::Gone(Lane::Sound));
            }
        }
    }

    /// What is to be done now; drain it to `None`.
    pub fn poll(&mut self, now: Mono) -> Option<PaceOutput<V, A>> {
        if let Some(out) = self.out.pop_front() {
            return Some(out);
        }
        self.deadline = None;
        if self.paused.is_some() {
            return None;
        }
        while self.delays.poll(now).is_some() {}
        if self.config.live && self.config.latency.is_none() {
            self.deadline = self.delays.deadline();
        }
        if let Some(out) = self.poll_sound(now) {
            return Some(out);
        }
        self.poll_picture(now)
    }

    /// When [`Pacer::poll`] is to be asked again without input; `None`: not before the next one.
    pub fn deadline(&self) -> Option<Mono> {
        self.deadline
    }

    fn picture(&mut self, now: Mono, picture: Picture<V>) {
        let delay = picture
            .duration
            .filter(|d| *d > Span::ZERO)
            .unwrap_or(self.timer.good_delay());
        let pts = picture.pts.or(self.next_pts).unwrap_or_default();
        // FFmpeg's rule: each repeat_pict is half a frame more.
        self.next_pts = Some(pts + delay + delay * i64::from(picture.repeat) / 2);
        self.first_picture.get_or_insert(now);
        self.picture_ended = false;
        self.arrived(now, Lane::Picture, pts);
        if self.pictures.len() >= self.config.pictures.max(1)
            && let Some(oldest) = self.pictures.pop_front()
        {
            self.stats.overflowed += 1;
            self.out.push_back(PaceOutput::Drop {
                payload: oldest.payload,
                why: DropReason::Overflow,
            });
        }
        self.pictures.push_back(Queued {
            pts,
            repeat: picture.repeat,
            payload: picture.payload,
        });
    }

    fn sound(&mut self, now: Mono, sound: Sound<A>) {
        self.first_sound.get_or_insert(now);
        self.sound_ended = false;
        self.arrived(now, Lane::Sound, sound.pts);
        if self.sounds.len() == MAX_SOUNDS
            && let Some(oldest) = self.sounds.pop_front()
        {
            self.skip(oldest);
        }
        self.sounds.push_back(sound);
    }

    fn arrived(&mut self, now: Mono, stream: Lane, captured: Span) {
        if self.config.live && self.config.latency.is_none() {
            let captured = Mono::from_nanos(captured.as_nanos());
            let arrival = now;
            self.delays.handle(
                now,
                DelayInput::Arrived {
                    stream,
                    captured,
                    arrival,
                },
            );
        }
    }

    fn flush(&mut self) {
        for queued in self.pictures.drain(..) {
            self.out.push_back(PaceOutput::Drop {
                payload: queued.payload,
                why: DropReason::Flushed,
            });
        }
        for sound in std::mem::take(&mut self.sounds) {
            self.skip(sound);
        }
        self.timer.forget();
        self.line.forget();
        (self.first_picture, self.first_sound, self.next_pts) = (None, None, None);
        (self.picture_ended, self.sound_ended) = (false, !self.config.sound);
        self.repeat_at = None;
    }

    fn skip(&mut self, sound: Sound<A>) {
        self.stats.skipped += 1;
        self.out.push_back(PaceOutput::Skip {
            payload: sound.payload,
        });
    }

    fn latency(&self) -> Option<Span> {
        let measured = || self.delays.latency();
        self.config
            .live
            .then(|| self.config.latency.or_else(measured))
            .flatten()
    }

    /// When the external master shows a media time.
    fn external(&self, pts: Span) -> Target {
        match (self.anchor, self.latency()) {
            (Some((media, at)), _) => Target::At(at + (pts - media)),
            (None, Some(latency)) => Target::At(Mono::from_nanos(pts.as_nanos()) + latency),
            (None, None) => Target::Wait(None),
        }
    }

    fn wake(&mut self, at: Option<Mono>) {
        self.deadline = match (self.deadline, at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    fn poll_sound(&mut self, now: Mono) -> Option<PaceOutput<V, A>> {
        let sound = self.sounds.front()?;
        let target = self.sound_target(sound.pts, now);
        let leads = self.config.master == Master::Audio;
        let dead_band = if leads { LIVE_DEAD_BAND } else { Span::ZERO };
        match self.line.step(now, sound, &self.device, target, dead_band) {
            Step::Play { at, skip, samples } => {
                self.stats.played += 1;
                let payload = self.sounds.pop_front()?.payload;
                Some(PaceOutput::Play {
                    payload,
                    at,
                    skip,
                    samples,
                })
            }
            Step::Skip => {
                self.stats.skipped += 1;
                let payload = self.sounds.pop_front()?.payload;
                Some(PaceOutput::Skip { payload })
            }
            Step::Wait(until) => {
                self.wake(until);
                None
            }
        }
    }

    fn sound_target(&self, pts: Span, now: Mono) -> Target {
        match self.config.master {
            Master::External => self.external(pts),
            _ if self.config.live => self.external(pts),
            Master::Audio if self.line.runs_at(now, &self.device) => Target::Free,
            // The begin: whichever of the two begins later is held.
            Master::Audio => match (self.timer.when(pts), self.pictures.front()) {
                (Some(at), _) => Target::At(at),
                (None, Some(first)) if first.pts + SAME_BEGIN < pts => Target::Wait(None),
                (None, Some(_)) => Target::Free,
                (None, None) if self.picture_ended => Target::Free,
                (None, None) => patient(self.first_sound, now),
            },
            Master::Video => match self.timer.when(pts) {
                Some(at) => Target::At(at),
                None if self.picture_ended => Target::Free,
                None => patient(self.first_sound, now),
            },
        }
    }

    fn picture_target(&self, pts: Span, now: Mono) -> Target {
        let alone = || match (self.config.live, self.latency()) {
            (true, Some(_)) => self.external(pts),
            (true, None) => Target::Wait(None),
            (false, _) => Target::Free,
        };
        match self.config.master {
            Master::External => self.external(pts),
            Master::Video => alone(),
            Master::Audio => match self.line.when(pts, now, &self.device) {
                Some(at) => Target::At(at),
                None if self.sound_ended => alone(),
                None if self.sounds.front().is_some_and(|s| pts + SAME_BEGIN < s.pts) => alone(),
                None if self.timer.last().is_some() => alone(),
                None => match patient(self.first_picture, now) {
                    Target::Free => alone(),
                    wait => wait,
                },
            },
        }
    }

    fn poll_picture(&mut self, now: Mono) -> Option<PaceOutput<V, A>> {
        let mut due = None;
        if let Some(head) = self.pictures.front() {
            let target = match self.picture_target(head.pts, now) {
                Target::At(at) => Some(at),
                Target::Free => None,
                Target::Wait(until) => {
                    self.wake(until);
                    return self.repeat(now, None);
                }
            };
            if self.is_overtaken(now) {
                self.drops_in_a_row += 1;
                self.stats.dropped += 1;
                let payload = self.pictures.pop_front()?.payload;
                let why = DropReason::Late;
                return Some(PaceOutput::Drop { payload, why });
            }
            let at = self.timer.plan(head.pts, target, now);
            let at = self.shown_at.map_or(at, |shown| at.max(shown));
            if at - now <= SHOW_AHEAD {
                return self.show(now, at, target);
            }
            due = Some(at);
        }
        self.repeat(now, due)
    }

    /// Whether the picture after the first is due already.
    fn is_overtaken(&self, now: Mono) -> bool {
        if self.drops_in_a_row >= MAX_DROPS {
            return false;
        }
        let Some(next) = self.pictures.get(1) else {
            return false;
        };
        match self.picture_target(next.pts, now) {
            Target::At(at) => at <= now && now - at < NO_SYNC,
            _ => false,
        }
    }

    fn show(&mut self, now: Mono, at: Mono, target: Option<Mono>) -> Option<PaceOutput<V, A>> {
        let head = self.pictures.pop_front()?;
        self.drops_in_a_row = 0;
        self.shown_at = Some(at);
        self.timer.shown(head.pts, at, head.repeat, target);
        // By then a picture that comes with a correction below a frame is there.
        self.repeat_at = self
            .timer
            .last()
            .map(|(at, stays)| at + stays + self.timer.good_delay() / 2);
        let seen = at.max(now);
        let av = self.line.heard(seen, &self.device).map(|heard| heard - head.pts);
        self.stats.shown += 1;
        self.stats.av = av;
        Some(PaceOutput::Show {
            payload: head.payload,
            pts: head.pts,
            at,
            av,
        })
    }

    /// The picture on the screen stays for another frame, unless one is `due` before.
    fn repeat(&mut self, now: Mono, due: Option<Mono>) -> Option<PaceOutput<V, A>> {
        self.wake(due.map(|at| at - SHOW_AHEAD));
        let at = self.repeat_at?;
        if (self.picture_ended && self.pictures.is_empty()) || due.is_some_and(|due| due <= at) {
            return None;
        }
        if now < at {
            self.wake(Some(at));
            return None;
        }
        let delay = self.timer.good_delay();
        // A thread that slept for seconds has nothing to make up for.
        self.repeat_at = Some(if now - at > delay { now + delay } else { at + delay });
        self.stats.repeated += 1;
        let at = at - delay / 2;
        Some(PaceOutput::Repeat { at })
    }
}

/// Waits for the other stream since `first`, then goes without it.
fn patient(first: Option<Mono>, now: Mono) -> Target {
    match first.map(|first| first + PATIENCE) {
        Some(until) if now < until => Target::Wait(Some(until)),
        _ => Target::Free,
    }
}
