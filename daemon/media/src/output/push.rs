//! One connection to a server that takes pictures.

use std::path::Path;
use std::sync::Arc;

use gio::prelude::*;
use gst::prelude::*;
use gst_app::AppSrc;
use synoptic_base::{Epoch, Mono, Span};

use super::sound::{self, SoundOut};
use super::times::{HeaderTimes, RtpTimes};
use super::{PushError, PushKind, PushOptions, access_unit, rtmp, run_on_the_boxs_clock, waiting_bytes};
use crate::coded::{CodedFrame, CodedSound, CodedStream, SoundWant};
use crate::mux::flv::FlvWriter;
use crate::{RtspTransport, Secret};

/// Connecting takes no longer, in seconds.
const CONNECT_S: u32 = 5;
/// A server that takes nothing for this long never will.
const STALL: Span = Span::from_secs(10);
/// Pictures that went into the pipeline before an empty queue means that the server takes them: the first one or two wait
/// between the queue and the connection.
const PROOF: u64 = 4;
/// Before the picture that an RTSP server is told of a stream by: the pictures proper begin with the same one again.
const ANNOUNCED_BEFORE: gst::ClockTime = gst::ClockTime::from_mseconds(1);
/// Words of a refusal, in what GStreamer and servers say.
const REFUSALS: [&str; 5] = [
    "unauthorized",
    "not authorized",
    "authentication",
    "authorization",
    "401",
];

/// A connection that pictures are pushed over. Dropping it ends it.
pub struct Push {
    pipeline: gst::Pipeline,
    source: AppSrc,
    options: PushOptions,
    stream: Arc<CodedStream>,
    times: Arc<RtpTimes>,
    /// RTMP: what writes its tags.
    writer: FlvWriter,
    /// RTSP: pictures that wait until the server records.
    waiting: Option<Waiting>,
    /// RTSP: the second stream.
    sound: Option<SoundOut>,
    /// Sound is wanted ...
    with_sound: bool,
    /// ... and the connection was made with it.
    has_sound: bool,
    epoch: Option<Epoch>,
    pictures: u64,
    bytes: u64,
    /// Since when something waits.
    behind_since: Option<Mono>,
    runs: bool,
}

/// Pictures from the newest IDR picture on, while an RTSP server is not ready to record. What it gets before its answer to RECORD
/// it may throw away, and what it shows then begins in the middle of a GOP. So one picture goes into the pipeline, from which
/// ANNOUNCE is made and of which filler leaves the box; the others wait here, no longer than [`STALL`].
#[derive(Default)]
struct Waiting {
    announced: bool,
    records: bool,
    pictures: Vec<gst::Buffer>,
}

impl Push {
    /// Begins to connect; pictures may be sent at once. `stream` is where they come from.
    pub fn start(options: &PushOptions, stream: &Arc<CodedStream>) -> Result<Push, PushError> {
        Push::start_with(options, stream, false)
    }

    /// The same, and where the stream has sound it is sent too ([`Push::sound`]).
    pub fn start_with(
        options: &PushOptions,
        stream: &Arc<CodedStream>,
        with_sound: bool,
    ) -> Result<Push, PushError> {
        let has_sound = with_sound && stream.has_sound();
        let (mut sound, mut waiting) = (None, None);
        let pipeline = gst::Pipeline::new();
        let base = run_on_the_boxs_clock(&pipeline, stream.now());
        let times = RtpTimes::new(stream.clone(), base);
        let source = AppSrc::builder()
            .format(gst::Format::Time)
            .is_live(true)
            .max_bytes(0)
            .build();
        let broken = |why: &str| PushError::Broken {
            to: options.shown(),
            why: options.masked(why),
        };
        pipeline
            .add(&source)
            .map_err(|_| broken("no pipeline could be made"))?;
        match options.kind() {
            PushKind::Rtmp => {
                source.set_caps(Some(&gst::Caps::new_empty_simple("video/x-flv")));
                let sink = make("rtmp2sink", "gstreamer1.0-plugins-bad")?;
                set_rtmp(&sink, options);
                let linked = pipeline.add(&sink).is_ok() && source.link(&sink).is_ok();
                linked
                    .then_some(())
                    .ok_or_else(|| broken("no pipeline could be made"))?;
            }
            PushKind::Rtsp => {
                source.set_caps(Some(&h264_caps()));
                let parser = make("h264parse", "gstreamer1.0-plugins-bad")?;
                let sink = make("rtspclientsink", "gstreamer1.0-rtsp")?;
                let sounds = sound_source(stream, base).filter(|_| has_sound);
                let of_sound = sounds.as_ref().map(|out| out.times.clone());
                set_rtsp(&sink, options, &times, of_sound.as_ref()).map_err(|why| broken(&why))?;
                let linked = pipeline.add_many([&parser, &sink]).is_ok()
                    && source.link(&parser).is_ok()
                    && parser.link(&sink).is_ok();
                let linked = linked
                    && sounds.as_ref().is_none_or(|out| {
                        pipeline.add(&out.source).is_ok() && out.source.link(&sink).is_ok()
                    });
                linked
                    .then_some(())
                    .ok_or_else(|| broken("no pipeline could be made"))?;
                sound = sounds;
                times.hold();
                waiting = Some(Waiting::default());
            }
        }
        let mut push = Push {
            pipeline,
            source,
            options: options.clone(),
            stream: stream.clone(),
            times,
            writer: FlvWriter::new(has_sound),
            waiting,
            sound,
            with_sound,
            has_sound,
            epoch: None,
            pictures: 0,
            bytes: 0,
            behind_since: None,
            runs: false,
        };
        push.pipeline
            .set_state(gst::State::Playing)
            .map_err(|_| push.hear().unwrap_or_else(|| broken("it did not start")))?;
        Ok(push)
    }

    /// Whether the connection takes this picture: RTMP's time stamps are those of one epoch, and what a connection carries is
    /// told when it is made, so that sound that begins later needs another one.
    pub fn fits(&self, frame: &CodedFrame) -> bool {
        if frame.keyframe && self.with_sound && !self.has_sound && self.stream.has_sound() {
            return false;
        }
        self.options.kind() == PushKind::Rtsp || self.epoch.is_none_or(|epoch| epoch == frame.key.epoch)
    }

    /// Sends a picture; the first one is an IDR picture.
    ///
    /// # Errors
    /// When the connection has failed, or takes nothing.
    pub fn send(&mut self, frame: &CodedFrame) -> Result<(), PushError> {
        self.look()?;
        let buffers = match self.options.kind() {
            PushKind::Rtmp => rtmp::buffers(&self.writer.picture(frame)),
            PushKind::Rtsp => vec![access_unit(frame, &self.times)],
        };
        self.epoch = Some(frame.key.epoch);
        if let Some(waiting) = &mut self.waiting {
            if frame.keyframe {
                waiting.pictures.clear();
            }
            waiting.pictures.extend(buffers);
            if !waiting.announced
                && let Some(first) = waiting.pictures.first()
            {
                waiting.announced = true;
                let mut told = first.copy();
                if let Some(data) = told.get_mut() {
                    let before = data.pts().map(|pts| pts.saturating_sub(ANNOUNCED_BEFORE));
                    data.set_pts(before);
                    data.set_dts(before);
                }
                self.source.push_buffer(told).ok();
            }
            return Ok(());
        }
        self.feed(1, buffers);
        Ok(())
    }

    /// Puts pictures into the pipeline.
    fn feed(&mut self, pictures: u64, buffers: Vec<gst::Buffer>) {
        self.pictures += pictures;
        for buffer in buffers {
            self.bytes += buffer.size() as u64;
            // An error here is the pipeline's own, which is on the bus and comes with the next look.
            self.source.push_buffer(buffer).ok();
        }
    }

    /// Lets the pictures that wait go, once the server records.
    fn begin(&mut self) {
        let Some(waiting) = self.waiting.take_if(|w| w.records && !w.pictures.is_empty()) else {
            return;
        };
        if let Some(first) = waiting.pictures.first().and_then(|first| first.pts()) {
            self.times.begin_at(first);
        }
        self.feed(waiting.pictures.len() as u64, waiting.pictures);
    }

    /// Sends a frame of sound; call it where [`Push::start_with`] was told so.
    pub fn sound(&mut self, sound: &CodedSound) {
        match self.options.kind() {
            PushKind::Rtmp => {
                for buffer in rtmp::buffers(&self.writer.sound(sound)) {
                    self.bytes += buffer.size() as u64;
                    // As with pictures: the error comes with the next look.
                    self.source.push_buffer(buffer).ok();
                }
            }
            PushKind::Rtsp => {
                let bytes = self.sound.as_ref().and_then(|out| out.push(sound));
                self.bytes += bytes.unwrap_or(0);
            }
        }
    }

    /// Which sound the connection takes.
    pub fn sound_want(options: &PushOptions) -> SoundWant {
        match options.kind() {
            PushKind::Rtmp => SoundWant::Flv,
            PushKind::Rtsp => SoundWant::Native,
        }
    }

    /// Looks for an error; call it now and then while no picture comes.
    ///
    /// # Errors
    /// When the connection has failed, or takes nothing.
    pub fn look(&mut self) -> Result<(), PushError> {
        if let Some(error) = self.hear() {
            return Err(error);
        }
        self.begin();
        let now = self.stream.now();
        let waits = self.waiting.as_ref().is_some_and(|w| !w.pictures.is_empty());
        if waiting_bytes(&self.source) == 0 && !waits {
            self.behind_since = None;
            self.runs |= self.pictures >= PROOF;
            return Ok(());
        }
        let since = *self.behind_since.get_or_insert(now);
        if now - since > STALL {
            return Err(PushError::Stalled {
                to: self.options.shown(),
                after: STALL,
            });
        }
        Ok(())
    }

    /// Whether the server has taken pictures.
    pub fn runs(&self) -> bool {
        self.runs
    }

    /// Pictures and bytes sent so far.
    pub fn sent(&self) -> (u64, u64) {
        (self.pictures, self.bytes)
    }

    /// Takes in what the pipeline says on its bus: the first error, and that the server records.
    fn hear(&mut self) -> Option<PushError> {
        use gst::MessageType::{Eos, Error, StateChanged};
        let bus = self.pipeline.bus()?;
        while let Some(message) = bus.pop_filtered(&[Error, Eos, StateChanged]) {
            let gst::MessageView::StateChanged(change) = message.view() else {
                return Some(self.failure(&message));
            };
            if let Some(waiting) = &mut self.waiting
                && change.current() == gst::State::Playing
                && message.src().is_some_and(is_inside_rtspclientsink)
            {
                waiting.records = true;
            }
        }
        None
    }

    /// What an error or an end means.
    fn failure(&self, message: &gst::Message) -> PushError {
        let to = self.options.shown();
        let gst::MessageView::Error(error) = message.view() else {
            return PushError::Broken {
                to,
                why: "the server ended the connection".to_owned(),
            };
        };
        let (text, detail) = (error.error().to_string(), error.debug().unwrap_or_default());
        let both = format!("{text} {detail}").to_ascii_lowercase();
        if error.error().matches(gst::ResourceError::NotAuthorized)
            || REFUSALS.iter().any(|word| both.contains(word))
        {
            return PushError::Refused { to };
        }
        // What is in brackets at the end of the details is the one thing that a person needs.
        let last = detail.lines().last().unwrap_or_default().trim();
        let why = if last.is_empty() || last.contains("GstPipeline") {
            text
        } else {
            format!("{text} {last}")
        };
        PushError::Broken {
            to,
            why: self.options.masked(&why),
        }
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        if self.pipeline.set_state(gst::State::Null).is_err() {
            log::warn!("{}: the connection did not end cleanly", self.options.shown());
        }
    }
}

/// Whether this is the bin in rtspclientsink that sends: it lets it play when RECORD was answered, and says so nowhere else.
fn is_inside_rtspclientsink(source: &gst::Object) -> bool {
    let sink = source
        .parent()
        .and_then(|parent| parent.downcast::<gst::Element>().ok());
    source.is::<gst::Bin>()
        && sink
            .and_then(|sink| sink.factory())
            .is_some_and(|factory| factory.name() == "rtspclientsink")
}

/// Access units of H.264 as they leave the relay.
pub(crate) fn h264_caps() -> gst::Caps {
    gst::Caps::builder("video/x-h264")
        .field("stream-format", "byte-stream")
        .field("alignment", "au")
        .build()
}

fn make(element: &'static str, package: &'static str) -> Result<gst::Element, PushError> {
    gst::ElementFactory::make(element)
        .build()
        .map_err(|_| PushError::Missing { element, package })
}

fn set_rtmp(sink: &gst::Element, options: &PushOptions) {
    sink.set_property("location", &options.url);
    sink.set_property("timeout", CONNECT_S);
    sink.set_property("async", false);
    sink.set_property("sync", false);
    if let (Some(user), Some(password)) = (&options.user, &options.password) {
        sink.set_property("username", user);
        sink.set_property("password", password.expose());
    }
    if options.tls_insecure {
        log::warn!(
            "{}: its certificate is not checked, as `tls_insecure` wants",
            options.shown()
        );
        sink.set_property("tls-validation-flags", gio::TlsCertificateFlags::empty());
    }
}

/// What sends the sound of `stream` as it comes; `None`: there is none.
fn sound_source(stream: &Arc<CodedStream>, base: Mono) -> Option<SoundOut> {
    let format = stream.sound_format(SoundWant::Native)?;
    let source = AppSrc::builder()
        .format(gst::Format::Time)
        .is_live(true)
        .max_bytes(0)
        .build();
    let rate_hz = sound::rtp_rate_hz(&format);
    let times = RtpTimes::of(stream.clone(), base, sound::SESSION, rate_hz);
    Some(SoundOut::new(source, times, format))
}

fn set_rtsp(
    sink: &gst::Element,
    options: &PushOptions,
    times: &Arc<RtpTimes>,
    of_sound: Option<&Arc<RtpTimes>>,
) -> Result<(), String> {
    sink.set_property("location", &options.url);
    sink.set_property_from_str(
        "protocols",
        match options.transport {
            RtspTransport::Tcp => "tcp",
            RtspTransport::Udp => "udp",
        },
    );
    sink.set_property("rtx-time", 0_u32);
    let microseconds = u64::from(CONNECT_S) * 1_000_000;
    sink.set_property("tcp-timeout", microseconds);
    sink.set_property("timeout", microseconds);
    if let Some(user) = &options.user {
        sink.set_property("user-id", user);
    }
    if let Some(password) = options.password.as_ref().map(Secret::expose) {
        sink.set_property("user-pw", password);
    }
    if options.tls_insecure {
        log::warn!(
            "{}: its certificate is not checked, as `tls_insecure` wants",
            options.shown()
        );
        sink.set_property("tls-validation-flags", gio::TlsCertificateFlags::empty());
    } else if let Some(ca) = &options.tls_ca {
        sink.set_property("tls-database", trusted(ca)?);
    }
    let (of_pictures, of_sounds) = (times.clone(), of_sound.cloned());
    sink.connect("new-payloader", false, move |args| {
        if let Some(payloader) = args.get(1).and_then(|v| v.get::<gst::Element>().ok()) {
            let pictures = payloader.factory().is_some_and(|f| f.name() == "rtph264pay");
            match (&of_sounds, pictures) {
                (Some(times), false) => times.watch_payloader(&payloader, HeaderTimes::default()),
                _ => of_pictures.watch_payloader(&payloader, HeaderTimes::default()),
            }
        }
        None
    });
    let of_manager = [Some(times.clone()), of_sound.cloned()];
    sink.connect("new-manager", false, move |args| {
        if let Some(manager) = args.get(1).and_then(|v| v.get::<gst::Element>().ok()) {
            of_manager
                .iter()
                .flatten()
                .for_each(|times| times.watch_session(&manager));
        }
        None
    });
    Ok(())
}

fn trusted(ca: &Path) -> Result<gio::TlsFileDatabase, String> {
    gio::TlsFileDatabase::new(ca)
        .map_err(|error| format!("`tls_ca` {} cannot be used: {error}", ca.display()))
}
