//! Two threads that take what decoders give: one for the pictures, one for the sound.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use synoptic_base::Span;

use crate::MediaError;
use crate::session::sound::{SoundBranch, SoundEvent};
use crate::session::{Session, SessionEvent};

/// Longest wait for something to come, before the thread looks whether it is still wanted.
const LOOK: Span = Span::from_millis(50);
/// Between decoder and pacer; the pacer holds the rest.
const IN_FLIGHT: usize = 2;

/// What comes, with the number of seeks before it.
pub(super) struct Fed<T> {
    pub seeks: u64,
    pub event: T,
}

/// The two feeds of a session.
pub(super) struct Feeds {
    pub pictures: Receiver<Fed<Result<SessionEvent, MediaError>>>,
    pub sounds: Receiver<Fed<SoundEvent>>,
    /// Seeks so far; what was taken before the last one is old.
    pub seeks: Arc<AtomicU64>,
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Feeds {
    pub(super) fn start(mut session: Session, sound: Option<Arc<SoundBranch>>) -> Result<Feeds, MediaError> {
        let seeks = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = bounded::<()>(0);
        let (to_pacer, pictures) = bounded(IN_FLIGHT);
        let mut threads = Vec::new();
        let counter = seeks.clone();
        let ended = stopped.clone();
        threads.push(thread("play-pictures", move || {
            loop {
                let seeks = counter.load(Ordering::Acquire);
                let event = match session.next(LOOK) {
                    Ok(Some(event)) => Ok(event),
                    Ok(None) if is_stopped(&ended) => return,
                    Ok(None) => continue,
                    Err(error) => Err(error),
                };
                let (failed, end) = (event.is_err(), matches!(event, Ok(SessionEvent::End)));
                if to_pacer.send(Fed { seeks, event }).is_err() || failed {
                    return;
                }
                if end && !sought(&counter, seeks, &ended) {
                    return;
                }
            }
        })?);
        let (to_pacer, sounds) = bounded(IN_FLIGHT);
        if let Some(sound) = sound {
            let counter = seeks.clone();
            threads.push(thread("play-sound", move || {
                loop {
                    let seeks = counter.load(Ordering::Acquire);
                    let Some(event) = sound.next(LOOK) else {
                        if is_stopped(&stopped) {
                            return;
                        }
                        continue;
                    };
                    let end = matches!(event, SoundEvent::End);
                    if to_pacer.send(Fed { seeks, event }).is_err() {
                        return;
                    }
                    if end && !sought(&counter, seeks, &stopped) {
                        return;
                    }
                }
            })?);
        }
        Ok(Feeds {
            pictures,
            sounds,
            seeks,
            stop: Some(stop),
            threads,
        })
    }
}

impl Drop for Feeds {
    fn drop(&mut self) {
        self.stop = None;
        // Nobody takes any more: whoever waits to send, or sends next, ends.
        self.pictures = crossbeam_channel::never();
        self.sounds = crossbeam_channel::never();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a thread of the player panicked");
            }
        }
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, MediaError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|e| MediaError::Broken {
            source_name: "the player".to_owned(),
            why: format!("no thread: {e}"),
        })
}

fn is_stopped(stopped: &Receiver<()>) -> bool {
    matches!(
        stopped.try_recv(),
        Err(crossbeam_channel::TryRecvError::Disconnected)
    )
}

/// Waits at the end of a file for a seek; `false` when the player is stopped.
fn sought(counter: &AtomicU64, seeks: u64, stopped: &Receiver<()>) -> bool {
    loop {
        match stopped.recv_timeout(LOOK.to_std()) {
            Err(crossbeam_channel::RecvTimeoutError::Timeout) if counter.load(Ordering::Acquire) == seeks => {
            }
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => return true,
            _ => return false,
        }
    }
}
