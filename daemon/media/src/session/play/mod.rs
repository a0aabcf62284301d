//! Playing a camera or a file on this box's own screen and loudspeaker, paced by `synoptic_engine::pacing`.
//!
//! A session decodes, two threads carry what it gives, [`Pacer`] decides, and two pipelines of their own show and play:
//! the screen on the monotonic clock, the loudspeaker on its device's. This module has no opinion about time.

mod feeds;
mod sinks;
mod stretch;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, never, select_biased};
use gst::prelude::*;
use synoptic_base::{Clock, Mono, Span, Utc};
use synoptic_engine::pacing::{
    Master, PaceInput, PaceOutput, PaceStats, Pacer, PacingConfig, Picture, Sound as PacedSound,
};

use super::sound::{Piece, SoundBranch, SoundEvent};
use super::{Session, SessionEvent, SessionOptions, Shared, StreamInfo};
use crate::{MediaError, Source};
use feeds::{Fed, Feeds};
use sinks::{Screen, Speaker};

/// Between two positions of the sound device.
const DEVICE_INTERVAL: Span = Span::from_millis(20);
/// Between two statistics.
const STATS_INTERVAL: Span = Span::from_secs(1);
/// Pictures held of a file. Live: what a latency of some seconds needs.
const FILE_PICTURES: usize = 4;
const LIVE_PICTURES: usize = 128;
/// At the end sinks have so long to show and write what they were given.
const FINISH: Span = Span::from_secs(3);
/// Nothing to see for this long is an error.
const STALL: Span = Span::from_secs(15);
/// A-V differences remembered for the percentiles.
const DIFFERENCES: usize = 4_096;

/// Where pictures or sound go.
#[derive(Clone, Debug)]
pub enum Sink {
    /// The name of a GStreamer sink (`kmssink`), or a description (`videoscale ! fakesink`).
    Named(String),
    /// An element that is there.
    Element(gst::Element),
}

/// What is played, and how.
#[derive(Clone, Debug)]
pub struct PlayOptions {
    /// Where it comes from.
    pub session: SessionOptions,
    /// Which clock leads.
    pub master: Master,
    /// Live: capture to presentation. `None`: as little as possible.
    pub latency: Option<Span>,
    /// For files with [`Master::External`]: when their begin is shown.
    pub begin: Option<Utc>,
    /// Where pictures go.
    pub video: Sink,
    /// Where sound goes; `None`: nowhere, it is not even decoded.
    pub audio: Option<Sink>,
    /// Ends after so many pictures.
    pub frames: Option<u64>,
    /// Ends after this.
    pub length: Option<Span>,
}

/// What a person at the keyboard wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlayCommand {
    /// Stand still, or go on.
    Pause,
    /// Forwards or backwards. Only in files that do not follow UTC.
    Seek(Span),
    /// End.
    Stop,
}

/// How it goes.
#[derive(Clone, Debug, Default)]
pub struct PlayStats {
    /// What the pacer counted.
    pub pace: PaceStats,
    /// The stream, once it is known.
    pub info: Option<StreamInfo>,
    /// Sound minus picture, newest last.
    pub differences: Vec<Span>,
    /// Media time of the newest picture: since the begin of a file, since the first picture of a camera.
    pub position: Span,
    /// Pictures a second over the last seconds.
    pub rate: Option<f64>,
}

impl PlayStats {
    /// A percentile (0 to 1) of the magnitude of the A-V differences; `None` without sound.
    pub fn difference(&self, share: f64) -> Option<Span> {
        let mut sorted: Vec<Span> = self.differences.iter().map(|d| d.abs()).collect();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        sorted.get((last as f64 * share).round() as usize).copied()
    }
}

/// Plays until the end, a limit or [`PlayCommand::Stop`]; `tell` hears of it about once a second and at the end.
pub fn play(
    options: &PlayOptions,
    clock: &Arc<dyn Clock>,
    commands: &Receiver<PlayCommand>,
    tell: &mut dyn FnMut(&PlayStats),
) -> Result<PlayStats, MediaError> {
    let mut player = Player::open(options, clock)?;
    let ended = player.run(commands, tell);
    if ended.is_ok() {
        player.screen.finish(FINISH);
        if let Some(speaker) = &player.speaker {
            speaker.finish(FINISH);
        }
    }
    ended.map(|()| player.stats())
}

struct Player<'a> {
    options: &'a PlayOptions,
    clock: Arc<dyn Clock>,
    live: bool,
    pacer: Pacer<gst::Sample, Piece>,
    input: gst::Pipeline,
    feeds: Feeds,
    screen: Screen,
    speaker: Option<Speaker>,
    stats: PlayStats,
    /// Media time at which the counting of `position` begins.
    origin: Option<Span>,
    /// Where the last seek went: running time begins anew there.
    sought_to: Span,
    shown_at: std::collections::VecDeque<Mono>,
    paused: bool,
    seeks: u64,
}

impl<'a> Player<'a> {
    fn open(options: &'a PlayOptions, clock: &Arc<dyn Clock>) -> Result<Player<'a>, MediaError> {
        let live = !matches!(options.session.source, Source::File { .. });
        let shared = Shared::new(clock.clone(), None);
        let device = matches!(options.session.source, Source::V4l2 { .. });
        // A local camera has no sound in its own stream.
        let sink = options.audio.as_ref().filter(|_| !device);
        let branch = sink.map(|_| Arc::new(SoundBranch::new()));
        if let Some(branch) = &branch {
            let fresh = shared.sound.set(branch.clone()).is_ok();
            debug_assert!(fresh);
        }
        let screen = Screen::open(&options.video)?;
        let speaker = sink.map(Speaker::open).transpose()?;
        let session = Session::open_shared(&options.session, shared)?;
        let input = session.pipeline.clone();
        let feeds = Feeds::start(session, branch.clone())?;
        let pacer = Pacer::new(PacingConfig {
            master: options.master,
            live,
            sound: branch.is_some(),
            latency: options.latency.filter(|_| live),
            pictures: if live { LIVE_PICTURES } else { FILE_PICTURES },
        });
        Ok(Player {
            options,
            clock: clock.clone(),
            live,
            pacer,
            input,
            feeds,
            screen,
            speaker,
            stats: PlayStats::default(),
            origin: None,
            sought_to: Span::ZERO,
            shown_at: std::collections::VecDeque::new(),
            paused: false,
            seeks: 0,
        })
    }

    fn run(
        &mut self,
        commands: &Receiver<PlayCommand>,
        tell: &mut dyn FnMut(&PlayStats),
    ) -> Result<(), MediaError> {
        let begin = self.clock.now();
        let (mut device_at, mut stats_at, mut last_picture) = (begin, begin + STATS_INTERVAL, begin);
        let mut over_at: Option<Mono> = None;
        loop {
            let now = self.clock.now();
            if now >= device_at {
                device_at = now + DEVICE_INTERVAL;
                self.report_device();
                self.anchor();
            }
            let shown = self.pacer.stats().shown;
            self.drain()?;
            if self.pacer.stats().shown > shown || self.paused {
                last_picture = now;
            }
            if now >= stats_at {
                stats_at = now + STATS_INTERVAL;
                tell(&self.stats());
            }
            if self.pacer.is_done() && over_at.is_none() {
                over_at = Some(self.pacer.ends_at().unwrap_or(now));
            }
            let enough = self.options.frames.is_some_and(|n| self.pacer.stats().shown >= n);
            let long_enough = self.options.length.is_some_and(|l| now - begin >= l);
            if enough || long_enough || over_at.is_some_and(|at| now >= at) {
                tell(&self.stats());
                return Ok(());
            }
            if now - last_picture > STALL && over_at.is_none() {
                return Err(MediaError::Stalled {
                    source_name: self.options.session.source.shown(),
                    after: STALL,
                });
            }
            let until = [self.pacer.deadline(), over_at].into_iter().flatten().min();
            let until = until.map_or(device_at, |at| at.min(device_at));
            if self.wait(until - self.clock.now(), commands)? {
                tell(&self.stats());
                return Ok(());
            }
        }
    }

    /// Waits for whatever comes first; `true` when it is to end.
    fn wait(&mut self, timeout: Span, commands: &Receiver<PlayCommand>) -> Result<bool, MediaError> {
        let (no_picture, no_sound) = (never(), never());
        let pictures = if self.pacer.wants_picture() {
            &self.feeds.pictures
        } else {
            &no_picture
        };
        let sounds = if self.pacer.wants_sound() {
            &self.feeds.sounds
        } else {
            &no_sound
        };
        select_biased! {
            recv(commands) -> command => match command {
                Ok(PlayCommand::Stop) => return Ok(true),
                Ok(PlayCommand::Pause) => self.pause(),
                Ok(PlayCommand::Seek(by)) => self.seek(by),
                // Nobody is at the keyboard: wait for the rest alone.
                Err(_) => {
                    let never = never();
                    return self.wait(timeout, &never);
                }
            },
            recv(sounds) -> fed => if let Ok(fed) = fed { self.sound(fed)? },
            recv(pictures) -> fed => if let Ok(fed) = fed { self.picture(fed)? },
            default(timeout.to_std()) => {}
        }
        Ok(false)
    }

    fn picture(&mut self, fed: Fed<Result<SessionEvent, MediaError>>) -> Result<(), MediaError> {
        let now = self.clock.now();
        let event = fed.event?;
        if fed.seeks != self.seeks {
            return Ok(());
        }
        match event {
            SessionEvent::Frame(frame) => {
                let pts = if self.live {
                    Span::from_nanos(frame.captured.mono.as_nanos())
                } else {
                    frame.media.since_zero()
                };
                let duration = frame.sample.buffer().and_then(gst::BufferRef::duration);
                let picture = Picture {
                    pts: Some(pts),
                    duration: duration.map(|d| Span::from_nanos(d.nseconds() as i64)),
                    repeat: 0, // GStreamer's decoders put it into PTS and duration
                    payload: frame.sample,
                };
                self.pacer.handle(now, PaceInput::Picture(picture));
            }
            SessionEvent::Format(info) => self.stats.info = Some(info),
            SessionEvent::End => self.pacer.handle(now, PaceInput::PictureEnd),
            SessionEvent::Restarted | SessionEvent::Unreadable(_) => {}
        }
        Ok(())
    }

    fn sound(&mut self, fed: Fed<SoundEvent>) -> Result<(), MediaError> {
        let now = self.clock.now();
        if fed.seeks != self.seeks {
            return Ok(());
        }
        match fed.event {
            SoundEvent::Piece(piece) => {
                if let Some(speaker) = &mut self.speaker {
                    speaker.prepare(piece.rate_hz, piece.channels)?;
                }
                let samples = piece.samples.len() / (piece.channels as usize).max(1);
                let sound = PacedSound {
                    pts: piece.pts,
                    samples: samples as u32,
                    rate_hz: piece.rate_hz,
                    payload: piece,
                };
                self.pacer.handle(now, PaceInput::Sound(sound));
            }
            SoundEvent::End => self.pacer.handle(now, PaceInput::SoundEnd),
        }
        Ok(())
    }

    fn report_device(&mut self) {
        if let Some((at, position)) = self.speaker.as_ref().and_then(|s| s.position(&*self.clock)) {
            self.pacer.handle(at, PaceInput::Device { position });
        }
    }

    /// Where a file follows UTC: when its begin is shown, by what the box knows of UTC now.
    fn anchor(&mut self) {
        if let (Master::External, Some(begin), false) = (self.options.master, self.options.begin, self.live) {
            let sample = self.clock.sample();
            let at = sample.mono + (begin - sample.realtime);
            let media = Span::ZERO;
            self.pacer.handle(sample.mono, PaceInput::Anchor { media, at });
        }
    }

    fn drain(&mut self) -> Result<(), MediaError> {
        while let Some(out) = self.pacer.poll(self.clock.now()) {
            match out {
                PaceOutput::Show { payload, pts, at, av } => {
                    self.screen.show(&payload, at)?;
                    self.shown(pts, at, av);
                }
                PaceOutput::Play {
                    payload,
                    at,
                    skip,
                    samples,
                } => {
                    if let Some(speaker) = &mut self.speaker {
                        speaker.prepare(payload.rate_hz, payload.channels)?;
                        let samples = stretch::stretch(&payload.samples, payload.channels, skip, samples);
                        speaker.play(&samples, at)?;
                    }
                }
                // A screen keeps its picture by itself.
                PaceOutput::Repeat { .. } | PaceOutput::Drop { .. } | PaceOutput::Skip { .. } => {}
            }
        }
        Ok(())
    }

    fn shown(&mut self, pts: Span, at: Mono, av: Option<Span>) {
        let origin = *self
            .origin
            .get_or_insert(if self.live { pts } else { Span::ZERO });
        self.stats.position = pts - origin + self.sought_to;
        if let Some(av) = av {
            if self.stats.differences.len() == DIFFERENCES {
                self.stats.differences.remove(0);
            }
            self.stats.differences.push(av);
        }
        if self.shown_at.len() > 100 {
            self.shown_at.pop_front();
        }
        self.shown_at.push_back(at);
    }

    fn stats(&self) -> PlayStats {
        let rate = self
            .shown_at
            .front()
            .zip(self.shown_at.back())
            .and_then(|(first, last)| {
                let span = (*last - *first).as_secs_f64();
                (span > 0.0).then(|| (self.shown_at.len() - 1) as f64 / span)
            });
        PlayStats {
            pace: self.pacer.stats(),
            rate,
            ..self.stats.clone()
        }
    }

    fn pause(&mut self) {
        self.paused = !self.paused;
        if let Some(speaker) = &self.speaker {
            speaker.pause(self.paused);
        }
        self.pacer.handle(self.clock.now(), PaceInput::Pause(self.paused));
    }

    fn seek(&mut self, by: Span) {
        if self.live || self.options.master == Master::External {
            return;
        }
        let to = (self.stats.position + by).max(Span::ZERO);
        let at = gst::ClockTime::from_nseconds(to.as_nanos() as u64);
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
        if let Err(error) = self.input.seek_simple(flags, at) {
            log::warn!("cannot seek: {error}");
            return;
        }
        // What was taken before this counts as old.
        self.seeks = self.feeds.seeks.fetch_add(1, Ordering::AcqRel) + 1;
        self.sought_to = to;
        self.pacer.handle(self.clock.now(), PaceInput::Flush);
    }
}
