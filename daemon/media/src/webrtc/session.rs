//! One viewer: his peer connection, and the thread that feeds it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use gst_webrtc::WebRTCPeerConnectionState as State;
use synoptic_base::{Epoch, Mono, Span};
use synoptic_engine::pacing::{ViewerGets, ViewerRate, ViewerReport};

use super::offer::Offer;
use super::peer::Peer;
use super::times::{Times, running_time};
use super::{IceServers, SessionEnd, WebRtcError};
use crate::coded::{CodedEvent, CodedFrame, CodedStream, Ended, SoundWant, Subscription, Want};
use crate::output::coded_buffer;
use crate::session::locked;

/// Bytes that wait at most before pictures are left out up to the next IDR picture.
const MAX_BYTES: u64 = 4 << 20;
/// How soon a session sees that something other than a picture came.
const LOOK: Span = Span::from_millis(100);
/// The first picture is waited for so long: an encoder starts, a camera's next IDR picture comes.
const FIRST: Span = Span::from_secs(15);
/// Who is not connected after this never will be.
const CONNECT: Span = Span::from_secs(20);
/// Receiver reports come every second or so (RFC 3550 section 6.2, RFC 4585 section 3.5.1).
const SILENCE: Span = Span::from_secs(15);
/// Pictures since the last IDR picture that a browser catches up with unseen. Of a longer burst it makes delay, which it
/// takes minutes to lose.
const CATCH_UP: Span = Span::from_millis(250);
/// The next IDR picture is rather waited for, if it comes within this.
const WORTH_WAITING: Span = Span::from_secs(3);

/// Sessions that run, with all that they hold.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// How a viewer does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ViewerStatus {
    /// He is connected.
    pub connected: bool,
    /// He gets sound.
    pub sound: bool,
    /// Which pictures he gets.
    pub gets: ViewerGets,
    /// What he told of his line last.
    pub heard: ViewerReport,
    /// Bits a second of the stream.
    pub stream_bps: Option<f64>,
    /// Pictures that he did not get: before an IDR picture, or since his line took no more.
    pub left_out: u64,
}

/// A running session. Dropping it ends it.
#[derive(Debug)]
pub struct Session {
    answer: String,
    epoch: Epoch,
    _end: Sender<()>,
    over: Arc<AtomicBool>,
    status: Arc<Mutex<ViewerStatus>>,
    #[cfg(test)]
    pub(super) pipeline: gst::glib::WeakRef<gst::Pipeline>,
    #[cfg(test)]
    times: Arc<Times>,
}

impl Session {
    /// Answers an offer for `stream`. It blocks until the stream has a picture (15 s) and the ways to the viewer are known
    /// (4 s with servers that do not answer). `ended` is called once when the session is over, on its own thread, when it
    /// holds nothing any more.
    ///
    /// # Errors
    /// When the offer makes no sense or takes no H.264, there is no picture, or GStreamer lacks a part.
    pub fn begin(
        stream: &Arc<CodedStream>,
        offer: &str,
        servers: &IceServers,
        ended: impl FnOnce(&SessionEnd) + Send + 'static,
    ) -> Result<Session, WebRtcError> {
        let offer = Offer::read(offer)?;
        // Kept while the connection is made, so that an encoder goes on.
        let mut reader = stream.subscribe(Want::Playable);
        let first = first_picture(stream, &mut reader)?;
        let times = Times::new(stream.clone(), offer.capture_id);
        let codec = offer.codec(profile(&first));
        let running = Running::new();
        let (peer, answer) = Peer::answer(stream, &offer, codec, stream.has_sound(), servers, &times)?;
        let status = Arc::new(Mutex::new(ViewerStatus {
            sound: peer.has_sound(),
            ..ViewerStatus::default()
        }));
        let (end, asked) = bounded(1);
        let over = Arc::new(AtomicBool::new(false));
        let epoch = first.key.epoch;
        #[cfg(test)]
        let (pipeline, of_test) = (peer.pipeline(), times.clone());
        let feeder = Feeder {
            stream: stream.clone(),
            reader,
            peer,
            times,
            epoch,
            asked,
            began: stream.now(),
            connected: false,
            await_key: true,
            rate: ViewerRate::new(stream.now()),
            status: status.clone(),
            left_out: 0,
            told_passed_through: false,
        };
        let is_over = over.clone();
        let id = stream.id();
        std::thread::Builder::new()
            .name(format!("whep {id}"))
            .spawn(move || {
                let why = feeder.run();
                drop(running);
                is_over.store(true, Ordering::Release);
                match &why {
                    SessionEnd::Asked => log::debug!("{id}: a WebRTC session is over: {why}"),
                    why => log::info!("{id}: a WebRTC session is over: {why}"),
                }
                ended(&why);
            })
            .map_err(|e| WebRtcError::Broken {
                stream: id,
                why: format!("no thread: {e}"),
            })?;
        Ok(Session {
            answer,
            epoch,
            _end: end,
            over,
            status,
            #[cfg(test)]
            pipeline,
            #[cfg(test)]
            times: of_test,
        })
    }

    /// As if the viewer had not been heard for longer than he may be silent.
    #[cfg(test)]
    pub(super) fn grow_silent(&self) {
        self.times.grow_silent(SILENCE);
    }

    /// The answer: SDP with all candidates.
    pub fn answer(&self) -> &str {
        &self.answer
    }

    /// The epoch that it shows.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How its viewer does.
    pub fn status(&self) -> ViewerStatus {
        *locked(&self.status)
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Sessions of this process whose pipeline or thread is there.
    pub fn running() -> usize {
        RUNNING.load(Ordering::Acquire)
    }
}

/// Counts a session while it is there.
struct Running;

impl Running {
    fn new() -> Running {
        RUNNING.fetch_add(1, Ordering::AcqRel);
        Running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::AcqRel);
    }
}

fn first_picture(
    stream: &Arc<CodedStream>,
    reader: &mut Subscription,
) -> Result<Arc<CodedFrame>, WebRtcError> {
    let none = |why: String| WebRtcError::NoPicture {
        stream: stream.id(),
        why,
    };
    let began = stream.now();
    loop {
        match reader.next_timeout(LOOK) {
            Some(Ok(CodedEvent::Frame(frame))) => return Ok(frame),
            // Where none is to be expected it is said at once.
            Some(Ok(CodedEvent::Waiting(why))) => return Err(none(why)),
            Some(Ok(CodedEvent::Gap(_) | CodedEvent::Sound(_))) | None => {}
            Some(Err(_)) => return Err(none("it was removed".to_owned())),
        }
        if stream.now() - began > FIRST {
            return Err(none(format!("no picture came within {FIRST}")));
        }
    }
}

/// profile_idc, which the codec string begins with: `avc1.64001f`.
fn profile(frame: &CodedFrame) -> u8 {
    let hex = frame.format.rfc6381.split('.').nth(1).and_then(|s| s.get(..2));
    hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).unwrap_or(0)
}

/// What the thread of a session has.
struct Feeder {
    stream: Arc<CodedStream>,
    reader: Subscription,
    peer: Peer,
    times: Arc<Times>,
    epoch: Epoch,
    asked: Receiver<()>,
    began: Mono,
    connected: bool,
    await_key: bool,
    rate: ViewerRate,
    status: Arc<Mutex<ViewerStatus>>,
    left_out: u64,
    told_passed_through: bool,
}

impl Feeder {
    /// Feeds until the end, and takes everything down.
    fn run(mut self) -> SessionEnd {
        loop {
            if let Some(end) = self.look() {
                return end;
            }
            match self.reader.next_timeout(LOOK) {
                Some(Ok(CodedEvent::Frame(frame))) => {
                    if frame.key.epoch != self.epoch {
                        return SessionEnd::Epoch;
                    }
                    if self.connected {
                        self.send(&frame);
                    }
                }
                Some(Ok(CodedEvent::Sound(sound))) => {
                    // While pictures are left out for a thin line the sound goes on: it is a fortieth of them.
                    if self.connected && sound.epoch == self.epoch {
                        self.times.sound_sent(&sound);
                        self.peer.send_sound(&sound);
                    }
                }
                Some(Ok(CodedEvent::Gap(_) | CodedEvent::Waiting(_))) | None => {}
                Some(Err(Ended::Removed)) => return SessionEnd::Removed,
                Some(Err(Ended::TooSlow)) => return SessionEnd::TooSlow,
            }
        }
    }

    /// What happened besides pictures; the end, if that is one.
    fn look(&mut self) -> Option<SessionEnd> {
        if self.asked.try_recv() != Err(TryRecvError::Empty) {
            return Some(SessionEnd::Asked);
        }
        while let Some(state) = self.peer.state() {
            match state {
                State::Connected if !self.connected => {
                    self.connected = true;
                    self.times.hear();
                    self.join();
                }
                State::Failed | State::Closed => return Some(SessionEnd::Lost),
                // After a short interruption it is connected again; else it is silent.
                _ => {}
            }
        }
        if self.peer.take_key_asked() {
            self.ask_for_key();
        }
        self.judge();
        if let Some(why) = self.peer.error() {
            return Some(SessionEnd::Broken(why));
        }
        if !self.connected && self.stream.now() - self.began > CONNECT {
            return Some(SessionEnd::NeverConnected(CONNECT));
        }
        (self.connected && self.times.silence() > SILENCE).then_some(SessionEnd::Silent(SILENCE))
    }

    /// The viewer is there: begins with the pictures since the last IDR picture, or with the next one.
    fn join(&mut self) {
        let sound = self.peer.has_sound().then_some(SoundWant::WebRtc);
        let mut reader = self.stream.subscribe_with(Want::Playable, sound);
        let mut frames = Vec::new();
        while let Some(Ok(event)) = reader.next_timeout(Span::ZERO) {
            match event {
                CodedEvent::Frame(frame) => frames.push(frame),
                // Of the pictures before: it would be heard before they are seen.
                CodedEvent::Sound(_) => {}
                CodedEvent::Gap(_) | CodedEvent::Waiting(_) => break,
            }
        }
        self.reader = reader;
        let media = |f: &Arc<CodedFrame>| f.key.media_us.as_micros();
        let behind = match (frames.first(), frames.last()) {
            (Some(first), Some(last)) => Span::from_micros(media(last) - media(first)),
            _ => return,
        };
        if begins_now(behind, self.stream.gop(Want::Playable)) {
            let epoch = self.epoch;
            for frame in frames.iter().filter(|f| f.key.epoch == epoch) {
                self.send(frame);
            }
        }
    }

    /// The viewer has lost pictures and cannot go on without an IDR picture.
    fn ask_for_key(&mut self) {
        if !self.stream.ask_for_key() && !self.told_passed_through {
            self.told_passed_through = true;
            log::debug!(
                "{}: a viewer asks for an IDR picture; the camera's own pictures are passed through, and he waits for its next",
                self.stream.id()
            );
        }
    }

    /// Takes in what the viewer told, and decides what he gets.
    fn judge(&mut self) {
        let now = self.stream.now();
        self.rate.report(now, self.times.take_told());
        let before = self.rate.gets();
        let gets = self.rate.decide(now);
        let heard = self.rate.heard(now);
        match (before, gets) {
            (ViewerGets::All, ViewerGets::Keys(why)) => log::info!(
                "{}: a viewer by WebRTC gets IDR pictures alone ({}): {heard:?}",
                self.stream.id(),
                why.name()
            ),
            (ViewerGets::Keys(_), ViewerGets::All) => {
                self.await_key = true;
                self.ask_for_key();
                log::info!("{}: a viewer by WebRTC gets all pictures again", self.stream.id());
            }
            _ => {}
        }
        *locked(&self.status) = ViewerStatus {
            connected: self.connected,
            sound: self.peer.has_sound(),
            gets,
            heard,
            stream_bps: self.rate.stream_bps(),
            left_out: self.left_out,
        };
    }

    fn send(&mut self, frame: &CodedFrame) {
        self.rate.picture(self.stream.now(), frame.size());
        let full = self.peer.waiting() > MAX_BYTES;
        let thinned = self.rate.gets() != ViewerGets::All;
        self.await_key = full || (thinned || self.await_key) && !frame.keyframe;
        if self.await_key {
            self.left_out += 1;
            return;
        }
        self.times.sent(frame);
        let time = running_time(frame.key.media_us);
        self.peer.send(coded_buffer(frame, time));
    }
}

/// Whether a viewer begins with the pictures since the last IDR picture, `behind` long: a short burst, or the next IDR
/// picture would be long in coming, for all that is known.
fn begins_now(behind: Span, gop: Option<Span>) -> bool {
    behind <= CATCH_UP || gop.is_none_or(|gop| gop - behind > WORTH_WAITING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_waits_for_an_idr_picture_that_comes_soon() {
        let ms = Span::from_millis;
        assert!(begins_now(ms(200), Some(ms(1_000))));
        assert!(!begins_now(ms(400), Some(ms(1_000))));
        assert!(!begins_now(ms(9_000), Some(ms(10_000))));
        assert!(begins_now(ms(2_000), Some(ms(10_000))));
        assert!(begins_now(ms(2_000), None));
    }
}
