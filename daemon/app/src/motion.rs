//! Motion vectors of a group's cameras: from a camera's coded pictures, through its helper process, into the packets.
//!
//! One thread a camera takes coded pictures off the relay and pushes them to the helper; both run only while a program reads
//! the group's packets. Whatever goes wrong costs vectors and nothing else: it is told in the log and in the camera's status.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use synoptic_base::{Clock, Rotation, Span, StreamId};
use synoptic_media::coded::{CodedEvent, CodedStream, Relay, Want};
use synoptic_packets::Share;
use synoptic_packets::helper::{CodedUnit, MotionBook, MotionHelper};

use crate::board::Board;

/// The helper's name.
const PROGRAM: &str = "synoptic-mv";
/// How often a waiting thread looks whether somebody reads, and how the helper is.
const LOOK: Span = Span::from_millis(250);
/// A helper goes on for this long without a reader: a program that restarts finds it warm.
const WARM: Span = Span::from_secs(5);

/// The helper that is used: what the configuration names, else the one beside the daemon, else that of the PATH.
pub(crate) fn helper(configured: Option<&Path>) -> PathBuf {
    let beside = || {
        let own = std::env::current_exe().ok()?;
        Some(own.with_file_name(PROGRAM)).filter(|p| p.is_file())
    };
    configured
        .map(Path::to_owned)
        .or_else(beside)
        .unwrap_or_else(|| PROGRAM.into())
}

/// What a camera's thread depends on.
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    helper: PathBuf,
    rotation: Rotation,
}

/// A camera's thread; it ends when this is dropped.
struct Feed {
    wanted: Wanted,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            log::error!("a thread that feeds a motion helper panicked");
        }
    }
}

impl Drop for Motion {
    fn drop(&mut self) {
        // All are told before any is waited for.
        self.feeds.values_mut().for_each(|feed| feed.stop = None);
    }
}

/// What all cameras of the daemon share.
#[derive(Clone)]
pub(crate) struct MotionContext {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) relay: Arc<Relay>,
    pub(crate) board: Arc<Board>,
}

/// The motion vectors of a group's cameras.
#[derive(Default)]
pub(crate) struct Motion {
    book: Arc<MotionBook>,
    feeds: BTreeMap<StreamId, Feed>,
}

impl Motion {
    /// Where the packets get vectors from.
    pub(crate) fn book(&self) -> Arc<MotionBook> {
        self.book.clone()
    }

    /// Starts and stops threads until exactly `cameras` have one; what did not change goes on.
    pub(crate) fn apply(
        &mut self,
        cameras: &[(StreamId, Rotation)],
        helper: &Path,
        share: &Arc<Share>,
        context: &MotionContext,
    ) {
        let wanted: BTreeMap<StreamId, Wanted> = cameras
            .iter()
            .map(|(id, rotation)| {
                let helper = helper.to_owned();
                let rotation = *rotation;
                (*id, Wanted { helper, rotation })
            })
            .collect();
        self.feeds.retain(|id, feed| {
            let stays = wanted.get(id) == Some(&feed.wanted);
            if !stays {
                self.book.close(id);
                context.board.camera_motion(id, None);
            }
            stays
        });
        for (camera, wanted) in wanted {
            if self.feeds.contains_key(&camera) {
                continue;
            }
            self.book.open(camera);
            let (stop, stopped) = bounded(0);
            let task = Task {
                camera,
                wanted: wanted.clone(),
                book: self.book.clone(),
                share: share.clone(),
                context: context.clone(),
                stopped,
            };
            let thread = std::thread::Builder::new().name(format!("motion {camera}"));
            match thread.spawn(move || task.run()) {
                Ok(thread) => {
                    let feed = Feed {
                        wanted,
                        stop: Some(stop),
                        thread: Some(thread),
                    };
                    self.feeds.insert(camera, feed);
                }
                Err(error) => {
                    self.book.close(&camera);
                    let why = format!("no motion vectors: starting a thread: {error}");
                    log::error!("camera {camera}: {why}");
                    context.board.camera_motion(&camera, Some(why));
                }
            }
        }
    }
}

/// A camera's thread.
struct Task {
    camera: StreamId,
    wanted: Wanted,
    book: Arc<MotionBook>,
    share: Arc<Share>,
    context: MotionContext,
    stopped: Receiver<()>,
}

impl Task {
    fn run(&self) {
        loop {
            match self.stopped.recv_timeout(LOOK.to_std()) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.share.readers() == 0 {
                continue;
            }
            let Some(stream) = self.context.relay.find(&self.camera) else {
                continue;
            };
            let started = MotionHelper::start(
                self.camera,
                self.wanted.helper.clone(),
                self.wanted.rotation,
                self.book.clone(),
            );
            match started {
                Ok(helper) => self.feed(&stream, &helper),
                Err(error) => self.tell(Some(format!("starting a thread: {error}"))),
            }
            self.book.gap(&self.camera);
        }
    }

    /// Feeds the helper until nobody reads, the stream ends, or the group does.
    fn feed(&self, stream: &Arc<CodedStream>, helper: &MotionHelper) {
        let mut pictures = stream.subscribe(Want::Ahead);
        let mut read = self.context.clock.now();
        let mut looked = read;
        let mut came = false;
        while self.stopped.try_recv() == Err(TryRecvError::Empty) {
            match pictures.next_timeout(LOOK) {
                Some(Ok(CodedEvent::Frame(frame))) => {
                    came = true;
                    helper.push(CodedUnit {
                        key: frame.key,
                        keyframe: frame.keyframe,
                        annexb: frame.annex_b(),
                        size: frame.format.size,
                    });
                }
                Some(Ok(CodedEvent::Gap(_) | CodedEvent::Waiting(_))) => self.book.gap(&self.camera),
                Some(Ok(CodedEvent::Sound(_))) => {} // not asked for
                // Removed, or this thread was held up: begun anew.
                Some(Err(_)) => return,
                None => came = false,
            }
            let now = self.context.clock.now();
            if self.share.readers() > 0 {
                read = now;
            } else if now - read > WARM {
                return self.tell(None);
            }
            if now - looked > LOOK {
                looked = now;
                let unfit = stream.transcoded().filter(|_| !came).and_then(unfit);
                self.tell(unfit.map(str::to_owned).or_else(|| helper.trouble()));
            }
        }
    }

    fn tell(&self, why: Option<String>) {
        let why = why.map(|why| format!("no motion vectors: {why}"));
        self.context.board.camera_motion(&self.camera, why);
    }
}

/// What to say of a stream that gives no coded pictures, by why a browser cannot play it.
fn unfit(why: &str) -> Option<&'static str> {
    Some(match why {
        "h265" => {
            "they come from H.264 only, and this camera sends H.265: set it to H.264, or remove motion_vectors"
        }
        "mjpeg" => {
            "they come from H.264 only, and this camera sends MJPEG: set it to H.264, or remove motion_vectors"
        }
        "raw" => "this camera sends uncoded pictures, which have none: remove motion_vectors",
        "no_idr" => {
            "this camera sends no IDR pictures, with which decoding begins: set its GOP to some seconds"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_helper_is_the_configured_one_or_is_searched() {
        assert_eq!(helper(Some(Path::new("/opt/mv"))), Path::new("/opt/mv"));
        assert_eq!(helper(None).file_name().unwrap(), PROGRAM);
    }

    #[test]
    fn what_no_helper_can_read_is_said() {
        for why in ["h265", "mjpeg", "raw", "no_idr"] {
            assert!(unfit(why).is_some(), "{why}");
        }
        assert_eq!(unfit("b_frames"), None, "these have vectors all the same");
    }
}
