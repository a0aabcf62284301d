//! A push: a thread that connects, sends, and tries again.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use log::Level;
use rand::Rng as _;
use synoptic_base::{Clock, Span};
use synoptic_engine::backoff::Backoff;
use synoptic_media::coded::{CodedEvent, CodedFrame, Relay, Want};
use synoptic_media::output::{Push, PushError, PushOptions};

use super::status::{Board, OutputState};
use super::wish::OutputWish;

/// A connection that took pictures for this long was a good one: the next failure begins anew.
const GOOD: Span = Span::from_secs(10);
/// How often a thread that waits for a picture looks up.
const LOOK: Span = Span::from_millis(200);
/// Before a stream that was removed is asked for again.
const AGAIN: Span = Span::from_secs(1);

/// A running push. Dropping it ends the connection and waits for its thread.
pub(super) struct Pusher {
    board: Arc<Board>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Pusher {
    pub(super) fn start(
        wish: OutputWish,
        options: PushOptions,
        relay: Arc<Relay>,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Pusher> {
        let (stop, stopped) = bounded(0);
        let board = Arc::new(Board::default());
        let runner = Runner {
            wish,
            options,
            relay,
            clock,
            board: board.clone(),
            stopped,
        };
        let thread = std::thread::Builder::new()
            .name(format!("out {}", runner.wish.id))
            .spawn(move || runner.run())?;
        Ok(Pusher {
            board,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    pub(super) fn board(&self) -> &Board {
        &self.board
    }

    /// Tells it to stop without waiting: drop it to wait.
    pub(super) fn tell(&mut self) {
        self.stop = None;
    }
}

impl Drop for Pusher {
    fn drop(&mut self) {
        self.tell();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the thread of an output panicked");
        }
    }
}

/// Why a connection ended without an error.
enum Ended {
    /// It is to stop.
    Stopped,
    /// The stream was removed, or is to be read otherwise now.
    Again(Span),
}

struct Runner {
    wish: OutputWish,
    options: PushOptions,
    relay: Arc<Relay>,
    clock: Arc<dyn Clock>,
    board: Arc<Board>,
    stopped: Receiver<()>,
}

impl Runner {
    fn run(self) {
        let mut backoff = Backoff::default();
        let mut told: Option<String> = None;
        self.enter(OutputState::Waiting, None);
        loop {
            let began = self.clock.now();
            let error = match self.run_once() {
                Ok(Ended::Stopped) => return,
                Ok(Ended::Again(wait)) => {
                    if self.is_stopped_within(wait) {
                        return;
                    }
                    continue;
                }
                Err(error) => error,
            };
            if self.clock.now() - began > GOOD {
                backoff.reset();
                told = None;
            }
            let random = rand::rng().random();
            let wait = match error {
                PushError::Refused { .. } => backoff.wait_after_refusal(random),
                _ => backoff.wait(random),
            };
            let reason = error.to_string();
            // The same again is no news: a server that is away for a week must not fill the log.
            let level = match told.replace(reason.clone()) == Some(reason.clone()) {
                true => Level::Debug,
                false => Level::Warn,
            };
            log::log!(level, "output {}: {reason}; next try in {wait}", self.wish.id);
            self.board.change(|now| now.failures += 1);
            self.enter(OutputState::Retrying, Some(reason));
            if self.is_stopped_within(wait) {
                return;
            }
        }
    }

    /// From the first picture to the first error.
    fn run_once(&self) -> Result<Ended, PushError> {
        let codes = self.wish.codes(&self.relay);
        let reading = self.wish.reading(&self.relay);
        let sound = reading.sound().then(|| Push::sound_want(&self.options));
        let mut reader = reading.stream().subscribe_with(Want::Playable, sound);
        let mut push: Option<Push> = None;
        let mut sent = (0, 0);
        loop {
            if matches!(self.stopped.try_recv(), Err(TryRecvError::Disconnected)) {
                return Ok(Ended::Stopped);
            }
            if self.wish.codes(&self.relay) != codes {
                return Ok(Ended::Again(Span::ZERO));
            }
            match reader.next_timeout(LOOK) {
                Some(Ok(CodedEvent::Frame(frame))) => {
                    if push.as_ref().is_some_and(|push| !push.fits(&frame)) {
                        push = None;
                    }
                    if push.is_none() && !frame.keyframe {
                        continue;
                    }
                    let push = match &mut push {
                        Some(push) => push,
                        None => {
                            self.enter(OutputState::Connecting, None);
                            sent = (0, 0);
                            push.insert(Push::start_with(
                                &self.options,
                                reading.stream(),
                                reading.sound(),
                            )?)
                        }
                    };
                    push.send(&frame)?;
                    self.told(push, &frame, &mut sent);
                }
                Some(Ok(CodedEvent::Waiting(why))) => {
                    // A server that gets nothing for long ends the connection anyway.
                    push = None;
                    self.enter(OutputState::Waiting, Some(why));
                }
                Some(Ok(CodedEvent::Sound(sound))) => {
                    if let Some(push) = &mut push {
                        push.sound(&sound);
                    }
                }
                Some(Ok(CodedEvent::Gap(_))) => {}
                None => {
                    if let Some(push) = &mut push {
                        push.look()?;
                    }
                }
                Some(Err(_)) => {
                    self.enter(OutputState::Waiting, Some("the stream was removed".to_owned()));
                    return Ok(Ended::Again(AGAIN));
                }
            }
        }
    }

    fn told(&self, push: &Push, frame: &CodedFrame, sent: &mut (u64, u64)) {
        let (pictures, bytes) = push.sent();
        let now = self.clock.now();
        self.board.change(|board| {
            board.pictures += pictures - sent.0;
            board.bytes += bytes - sent.1;
            board.repeated += u64::from(frame.slot.repeat > 0);
            board.transcoded = frame.format.transcoded;
            board.size = Some((frame.format.size.width, frame.format.size.height));
            if push.runs() && board.state != OutputState::Running {
                log::info!("output {}: {} takes pictures", self.wish.id, self.options.shown());
                board.enter(OutputState::Running, None, now);
            }
        });
        *sent = (pictures, bytes);
    }

    fn enter(&self, state: OutputState, reason: Option<String>) {
        let now = self.clock.now();
        self.board.change(|board| board.enter(state, reason, now));
    }

    fn is_stopped_within(&self, wait: Span) -> bool {
        self.stopped.recv_timeout(wait.to_std()) == Err(RecvTimeoutError::Disconnected)
    }
}
