//! The thread that takes pictures by the camera's media clock and hands each on after the camera's delay.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use synoptic_base::{Mono, Span};

use super::clip::Clip;
use super::feed::{Feed, Shared};
use crate::scene::Scene;

/// A picture handed on later than this after its time counts as late: the simulator itself, not the camera
/// that it plays, was too slow.
pub(super) const LATE: Span = Span::from_millis(10);

/// What is asked of the thread; it ends when nobody can ask any more.
pub(super) enum Command {
    /// Show this scene from now on.
    Scene(Arc<Scene>),
}

/// Where its pictures come from.
pub(super) enum Pictures {
    Scene {
        scene: Arc<Scene>,
        view: usize,
        fps: u32,
    },
    Clip(Clip),
}

pub(super) struct Pump {
    pub shared: Arc<Shared>,
    pub pictures: Pictures,
    pub delay: Span,
    pub jitter: Span,
    pub seed: u64,
    /// Media time of picture 0.
    pub begin: Span,
}

struct Pending {
    feed: Arc<Feed>,
    caps: gst::Caps,
    buffer: gst::Buffer,
    captured: Mono,
    /// When it goes to the encoder.
    due: Mono,
    /// When it would, were the simulator never late.
    scheduled: Mono,
}

impl Pump {
    /// Runs until the commands' other end is dropped.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut pending: VecDeque<Pending> = VecDeque::new();
        let mut number: u64 = 0;
        let mut served: Option<Arc<Feed>> = None;
        let clock = self.shared.clock.clone();
        loop {
            let take_at = self.due(number);
            let next = pending.front().map_or(take_at, |p| p.due.min(take_at));
            match commands.recv_timeout((next - clock.now()).to_std()) {
                Ok(Command::Scene(new)) => {
                    if let Pictures::Scene { scene, .. } = &mut self.pictures {
                        *scene = new;
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            while let Some(ready) = pending.pop_front_if(|p| p.due <= clock.now()) {
                self.hand_on(ready);
            }
            if clock.now() < take_at {
                continue;
            }
            let ready = self.shared.feed().filter(|f| f.runs());
            if matches!(self.pictures, Pictures::Clip(_)) && is_new(ready.as_ref(), served.as_ref()) {
                // From its first picture: an I picture, without which a client would wait for the next one.
                self.begin = self.shared.clockwork().media(clock.now());
                number = 0;
                served = ready;
                continue;
            }
            let watched = ready.filter(|_| !self.shared.frozen.load(Relaxed));
            let in_use = watched.is_some();
            if let Some(feed) = watched {
                let (buffer, caps, captured) = self.take(number, take_at);
                let wait = self.delay + Span::from_nanos(rng.random_range(0..=self.jitter.as_nanos()));
                // Pictures leave in order, as from any camera.
                let after = pending.back().map_or(Mono::default(), |p| p.due);
                let ready = match self.pictures {
                    Pictures::Scene { .. } => captured,
                    Pictures::Clip(_) => take_at,
                };
                pending.push_back(Pending {
                    feed,
                    caps,
                    buffer,
                    captured,
                    due: (ready + wait).max(after),
                    scheduled: (take_at + wait).max(after),
                });
            }
            number += 1;
            while self.due(number + 1) <= clock.now() {
                number += 1;
                if in_use {
                    self.shared.counters.late_frames.fetch_add(1, Relaxed);
                }
            }
        }
    }

    /// When picture `number` is taken.
    fn due(&self, number: u64) -> Mono {
        let media = match &self.pictures {
            Pictures::Scene { fps, .. } => {
                Span::from_nanos((i128::from(number) * 1_000_000_000 / i128::from(*fps)) as i64)
            }
            Pictures::Clip(clip) => {
                let (round, i) = clip_position(clip, number);
                clip.length * round + clip.pictures[i].sent
            }
        };
        self.shared.clockwork().instant(self.begin + media)
    }

    /// Takes picture `number`, which was due at `due`: buffer, caps, true capture time.
    fn take(&self, number: u64, due: Mono) -> (gst::Buffer, gst::Caps, Mono) {
        match &self.pictures {
            Pictures::Scene { scene, view, fps, .. } => {
                let size = scene.size();
                let caps = gst::Caps::builder("video/x-raw")
                    .field("format", "I420")
                    .field("width", size.width as i32)
                    .field("height", size.height as i32)
                    .field("framerate", gst::Fraction::new(*fps as i32, 1))
                    .build();
                let now = self.shared.clock.sample();
                let picture = scene.render(*view, now.realtime, &self.shared.name);
                (gst::Buffer::from_mut_slice(picture.into_bytes()), caps, now.mono)
            }
            Pictures::Clip(clip) => {
                let (_, i) = clip_position(clip, number);
                let coded = &clip.pictures[i];
                (
                    coded.buffer.clone(),
                    clip.caps.clone(),
                    due + (coded.shown - coded.sent),
                )
            }
        }
    }

    fn hand_on(&self, ready: Pending) {
        let counters = &self.shared.counters;
        if ready.feed.source.caps().as_ref() != Some(&ready.caps) {
            ready.feed.source.set_caps(Some(&ready.caps));
        }
        if self.shared.clock.now() - ready.scheduled > LATE {
            counters.late_frames.fetch_add(1, Relaxed);
        }
        if ready.feed.push(ready.buffer, ready.captured) {
            counters.frames.fetch_add(1, Relaxed);
        }
    }
}

/// Whether a first client came since `served`.
fn is_new(ready: Option<&Arc<Feed>>, served: Option<&Arc<Feed>>) -> bool {
    ready.is_some_and(|r| served.is_none_or(|s| !Arc::ptr_eq(r, s)))
}

/// Round and place within the clip of picture `number`.
fn clip_position(clip: &Clip, number: u64) -> (i64, usize) {
    let n = clip.pictures.len() as u64;
    ((number / n) as i64, (number % n) as usize)
}
