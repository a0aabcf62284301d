//! Sessions with a viewer that is GStreamer's own peer connection, over loopback.

mod lines;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use gst::prelude::*;
use gst_webrtc::{
    WebRTCRTPTransceiver, WebRTCRTPTransceiverDirection, WebRTCSDPType, WebRTCSessionDescription,
};
use synoptic_base::*;
use synoptic_engine::timebase::wire::frame_sei;

use super::offer::ABS_CAPTURE_TIME;
use super::peer::{ask, tell_gathered};
use super::*;
use crate::clocks::SystemClock;
use crate::coded::{CodedStream, Framing, Relay, SoundCodec, SoundForm, SoundFormat, SoundUnit, Want, nals};
use crate::encode::{EncodeOptions, PixelFeed, available};
use crate::output::h264_caps;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sessions are counted for the whole process: one test at a time.
fn alone() -> Option<MutexGuard<'static, ()>> {
    static ONE: Mutex<()> = Mutex::new(());
    gst::init().unwrap();
    let there =
        gst::ElementFactory::find("nicesink").is_some() && gst::ElementFactory::find("webrtcbin").is_some();
    if !there || available().is_empty() {
        eprintln!("SKIPPED: no webrtcbin, libnice or H.264 encoder here; scripts/setup.sh installs them");
        return None;
    }
    Some(ONE.lock().unwrap_or_else(PoisonError::into_inner))
}

struct Grey;
impl Surface for Grey {
    fn size(&self) -> Size {
        Size::new(64, 64)
    }
    fn format(&self) -> PixelFormat {
        PixelFormat::I420
    }
    fn with_planes(&self, read: &mut dyn FnMut(Planes<'_>)) -> Result<(), SurfaceError> {
        let plane = |stride| Plane {
            data: &[128; 64 * 64],
            stride,
        };
        read(Planes::I420 {
            y: plane(64),
            u: plane(32),
            v: plane(32),
        });
        Ok(())
    }
}

/// A stream whose frames come all the time, and are coded while somebody reads.
struct Camera {
    stream: Arc<CodedStream>,
    relay: Arc<Relay>,
    epoch: Arc<AtomicU32>,
    _stop: Sender<()>,
}

impl Camera {
    fn start() -> Camera {
        Camera::start_with(EncodeOptions::default())
    }

    fn start_with(options: EncodeOptions) -> Camera {
        let clock = SystemClock::shared();
        let relay = Relay::new(clock.clone());
        let stream = relay.stream(StreamId::new("gate").unwrap());
        stream.declare(Some("rotation"));
        stream.ready();
        let epoch = Arc::new(AtomicU32::new(3));
        let (stop, stopped) = bounded::<()>(0);
        let (of, now) = (stream.clone(), epoch.clone());
        std::thread::spawn(move || {
            let mut feed = PixelFeed::new(of.clone(), options);
            let mut number = 0_i64;
            while stopped.recv_timeout(Duration::from_millis(40))
                == Err(crossbeam_channel::RecvTimeoutError::Timeout)
            {
                number += 1;
                let at = clock.now();
                // A day of media time, and fractions of a tick.
                let media_us = 86_400_000_000 + number * 40_003 + number % 7;
                let meta = FrameMeta {
                    key: FrameKey {
                        stream: StreamId::new("gate").unwrap(),
                        epoch: Epoch(now.load(Ordering::SeqCst)),
                        media_us: MediaTime::from_micros(media_us),
                    },
                    seq: Seq(number as u64),
                    arrival: at,
                    captured: Captured {
                        mono: at,
                        rel_error: Span::ZERO,
                        source: TimeSource::Arrival,
                    },
                    size: Size::new(64, 64),
                    kind: FrameKind::Unknown,
                };
                for ago in [40, 20] {
                    of.sound(&heard(&of, at - Span::from_millis(ago)), SoundForm::Native);
                }
                feed.frame(&Frame {
                    meta,
                    pixels: Arc::new(Grey),
                });
            }
        });
        Camera {
            stream,
            relay,
            epoch,
            _stop: stop,
        }
    }
}

/// 20 ms of sound of the camera's own: its Opus bytes say in UTC when it was heard.
fn heard(stream: &CodedStream, at: Mono) -> SoundUnit {
    let mut data = vec![0xfc]; // 20 ms, one frame (RFC 6716 section 3.1)
    data.extend(stream.ntp(at).to_be_bytes());
    SoundUnit {
        captured: Captured {
            mono: at,
            rel_error: Span::ZERO,
            source: TimeSource::Arrival,
        },
        duration: Span::from_millis(20),
        format: Arc::new(SoundFormat {
            codec: SoundCodec::Opus,
            rate_hz: 48_000,
            channels: 1,
            config: Vec::new(),
            pre_skip: 312,
            transcoded: None,
        }),
        data: data.into(),
    }
}

/// The id under which the viewer wants capture times.
const CAPTURE_ID: u8 = 5;

/// A picture that a viewer got.
struct Seen {
    rtp: u32,
    /// NTP time of the capture as the header of a packet told it; 0: none did.
    header: u64,
    /// The same by the SEI.
    utc: Utc,
    key: FrameKey,
    idr: bool,
}

/// A viewer.
struct Viewer {
    pipeline: gst::Pipeline,
    webrtc: gst::Element,
    seen: Receiver<Seen>,
    /// RTP time of each packet of sound, and the NTP time at which it was heard.
    sounds: Receiver<(u32, u64)>,
    /// SSRC, RTP and NTP time of sender reports.
    reports: Receiver<(u32, u32, u64)>,
    /// Drops every other packet of the pictures when set.
    lossy: Arc<AtomicBool>,
    /// Asks for an IDR picture.
    depay: Arc<Mutex<Option<gst::Element>>>,
}

impl Viewer {
    /// A viewer and his offer; with a section of sound before the pictures, as pages often have it.
    fn offer(with_sound: bool) -> (Viewer, String) {
        let webrtc = gst::ElementFactory::make("webrtcbin").build().unwrap();
        webrtc.set_property_from_str("bundle-policy", "max-bundle");
        let pipeline = gst::Pipeline::new();
        pipeline.add(&webrtc).unwrap();
        let (told, seen) = unbounded();
        let (told_sound, sounds) = unbounded();
        let depay = Arc::new(Mutex::new(None));
        let (of, to_ask) = (pipeline.downgrade(), depay.clone());
        webrtc.connect_pad_added(move |_, pad| {
            if let Some(pipeline) = of.upgrade()
                && pad.direction() == gst::PadDirection::Src
            {
                let caps = pad.current_caps().unwrap();
                match caps.structure(0).unwrap().get::<&str>("media").unwrap() {
                    "audio" => listen(&pipeline, pad, told_sound.clone()),
                    _ => *to_ask.lock().unwrap() = Some(receive(&pipeline, pad, told.clone())),
                }
            }
        });
        let lossy = Arc::new(AtomicBool::new(false));
        let (told, reports) = unbounded();
        let rtpbin = webrtc
            .downcast_ref::<gst::Bin>()
            .unwrap()
            .by_name("rtpbin")
            .unwrap();
        let loses = lossy.clone();
        rtpbin.connect_pad_added(move |rtpbin, pad| {
            let told = told.clone();
            if pad.name().starts_with("recv_rtp_sink") {
                // It tells of its losses more often than every 5 s.
                let session = rtpbin.emit_by_name::<gst::glib::Object>("get-internal-session", &[&0_u32]);
                session.set_property("rtcp-min-interval", 300_000_000_u64);
                let (loses, count) = (loses.clone(), AtomicU32::new(0));
                pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                    if loses.load(Ordering::SeqCst) && count.fetch_add(1, Ordering::SeqCst).is_multiple_of(2)
                    {
                        info.data = None;
                        return gst::PadProbeReturn::Handled;
                    }
                    gst::PadProbeReturn::Ok
                });
            }
            if pad.name().starts_with("recv_rtcp_sink") {
                pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                    let map = info.buffer().unwrap().map_readable().unwrap();
                    let mut rest = &map[..];
                    while rest.len() >= 4 {
                        let length =
                            4 * (usize::from(u16::from_be_bytes(rest[2..4].try_into().unwrap())) + 1);
                        if rest[1] == 200 {
                            let word = |at: usize| u32::from_be_bytes(rest[at..at + 4].try_into().unwrap());
                            let ntp = u64::from(word(8)) << 32 | u64::from(word(12));
                            told.send((word(4), word(16), ntp)).ok();
                        }
                        rest = &rest[length.min(rest.len())..];
                    }
                    gst::PadProbeReturn::Ok
                });
            }
        });
        let (told, gathered) = bounded(1);
        webrtc.connect_notify(Some("ice-gathering-state"), move |webrtc, _| {
            tell_gathered(webrtc, &told);
        });
        pipeline.set_state(gst::State::Playing).unwrap();
        let rtp = |media: &str, encoding: &str| {
            gst::Caps::builder("application/x-rtp")
                .field("media", media)
                .field("encoding-name", encoding)
        };
        let sound = rtp("audio", "OPUS")
            .field("clock-rate", 48_000_i32)
            .field("payload", 111_i32);
        let video = rtp("video", "H264")
            .field("clock-rate", 90_000_i32)
            .field("payload", 104_i32)
            .field("packetization-mode", "1")
            .field("profile-level-id", "42e01f")
            .field("rtcp-fb-nack-pli", true)
            .field("rtcp-fb-goog-remb", true)
            .field(format!("extmap-{CAPTURE_ID}").as_str(), ABS_CAPTURE_TIME);
        let wanted = with_sound
            .then_some(sound.build())
            .into_iter()
            .chain([video.build()]);
        for caps in wanted {
            let direction = WebRTCRTPTransceiverDirection::Recvonly;
            webrtc.emit_by_name::<WebRTCRTPTransceiver>("add-transceiver", &[&direction, &caps]);
        }
        let offer = ask(&webrtc, "create-offer", &None::<gst::Structure>)
            .unwrap()
            .unwrap();
        let offer = offer.get::<WebRTCSessionDescription>("offer").unwrap();
        ask(&webrtc, "set-local-description", &offer).unwrap();
        gathered.recv_timeout(PATIENCE).unwrap();
        let text = webrtc
            .property::<WebRTCSessionDescription>("local-description")
            .sdp()
            .as_text()
            .unwrap();
        let viewer = Viewer {
            pipeline,
            webrtc,
            seen,
            sounds,
            reports,
            lossy,
            depay,
        };
        (viewer, text)
    }

    fn accept(&self, answer: &str) {
        let sdp = gst_sdp::SDPMessage::parse_buffer(answer.as_bytes()).unwrap();
        let answer = WebRTCSessionDescription::new(WebRTCSDPType::Answer, sdp);
        ask(&self.webrtc, "set-remote-description", &answer).unwrap();
    }

    fn picture(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).unwrap()
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).unwrap();
    }
}

/// Takes pictures apart: the RTP time is that of the packet which ends one.
fn receive(pipeline: &gst::Pipeline, pad: &gst::Pad, told: Sender<Seen>) -> gst::Element {
    let depay = gst::ElementFactory::make("rtph264depay").build().unwrap();
    let sink = gst_app::AppSink::builder().caps(&h264_caps()).sync(false).build();
    pipeline.add_many([&depay, sink.upcast_ref()]).unwrap();
    depay.link(&sink).unwrap();
    let (time, header) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU64::new(0)));
    let (newest, newest_header) = (time.clone(), header.clone());
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let map = info.buffer().unwrap().map_readable().unwrap();
        newest.store(
            u32::from_be_bytes(map[4..8].try_into().unwrap()),
            Ordering::SeqCst,
        );
        if let Some(ntp) = capture_time(&map) {
            newest_header.store(ntp, Ordering::SeqCst);
        }
        gst::PadProbeReturn::Ok
    });
    depay
        .static_pad("src")
        .unwrap()
        .add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let map = info.buffer().unwrap().map_readable().unwrap();
            let units: Vec<&[u8]> = nals(Framing::StartCodes, &map).collect();
            if let Some(sei) = units.iter().find_map(|nal| frame_sei(nal, 1)) {
                let seen = Seen {
                    rtp: time.load(Ordering::SeqCst),
                    header: header.swap(0, Ordering::SeqCst),
                    utc: sei.utc,
                    key: sei.key,
                    idr: units.iter().any(|nal| nal[0] & 0x1f == 5),
                };
                told.send(seen).ok();
            }
            gst::PadProbeReturn::Ok
        });
    sink.sync_state_with_parent().unwrap();
    depay.sync_state_with_parent().unwrap();
    pad.link(&depay.static_pad("sink").unwrap()).unwrap();
    depay
}

/// Tells of packets of sound.
fn listen(pipeline: &gst::Pipeline, pad: &gst::Pad, told: Sender<(u32, u64)>) {
    let sink = gst::ElementFactory::make("fakesink")
        .property("sync", false)
        .build()
        .unwrap();
    pipeline.add(&sink).unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let map = info.buffer().unwrap().map_readable().unwrap();
        let rtp = u32::from_be_bytes(map[4..8].try_into().unwrap());
        // Our nine bytes are the last ones.
        let ntp = u64::from_be_bytes(map[map.len() - 8..].try_into().unwrap());
        told.send((rtp, ntp)).ok();
        gst::PadProbeReturn::Ok
    });
    sink.sync_state_with_parent().unwrap();
    pad.link(&sink.static_pad("sink").unwrap()).unwrap();
}

/// The capture time in the header of a packet (one-byte extensions, RFC 8285 section 4.2).
fn capture_time(packet: &[u8]) -> Option<u64> {
    if packet[0] & 0x10 == 0 {
        return None;
    }
    let at = 12 + 4 * usize::from(packet[0] & 0x0f);
    let length = 4 * usize::from(u16::from_be_bytes(packet[at + 2..at + 4].try_into().unwrap()));
    let mut rest = &packet[at + 4..at + 4 + length];
    while let Some((first, after)) = rest.split_first() {
        let bytes = if *first == 0 {
            0
        } else {
            usize::from(*first & 0x0f) + 1
        };
        if *first >> 4 == CAPTURE_ID && bytes == 8 {
            return Some(u64::from_be_bytes(after[..8].try_into().unwrap()));
        }
        rest = &after[bytes..];
    }
    None
}

fn begin(camera: &Camera, offer: &str) -> (Session, Receiver<SessionEnd>) {
    let (told, ended) = bounded(1);
    let ended_with = move |why: &SessionEnd| told.send(why.clone()).unwrap();
    let session = Session::begin(&camera.stream, offer, &IceServers::default(), ended_with).unwrap();
    (session, ended)
}

/// The source that a media section of an answer tells of.
fn ssrc_of(answer: &str, section: &str) -> Option<u32> {
    let section = answer
        .split("\r\nm=")
        .find(|s| section.ends_with(s.split(' ').next().unwrap()))?;
    let ssrc = section.split("a=ssrc:").nth(1)?.split(' ').next()?;
    ssrc.parse().ok()
}

#[test]
fn every_picture_comes_with_the_rtp_time_of_its_key() {
    let Some(_alone) = alone() else { return };
    let camera = Camera::start();
    for with_sound in [false, true] {
        let (viewer, offer) = Viewer::offer(with_sound);
        let (session, ended) = begin(&camera, &offer);
        assert_eq!(session.epoch(), Epoch(3));
        viewer.accept(session.answer());
        let first = viewer.picture();
        assert!(first.idr, "a viewer begins with an IDR picture");
        let mut last = None;
        for _ in 0..30 {
            let seen = viewer.picture();
            assert_eq!(seen.rtp, rtp_time(seen.key.media_us), "{}", seen.key);
            // The capture time in the header is that of the SEI: within 50 ms, for without a clock map each asks the clock anew.
            let off = seen.header.cast_signed() - seen.utc.to_ntp().cast_signed();
            assert!(off.abs() < (1 << 32) / 20, "{off}");
            last = Some(seen);
        }
        // A report is of an instant near the pictures, by the same two clocks.
        let sounds_ssrc = ssrc_of(session.answer(), "m=audio");
        let (_, rtp, ntp) = std::iter::from_fn(|| viewer.reports.recv_timeout(PATIENCE).ok())
            .find(|(ssrc, _, _)| Some(*ssrc) != sounds_ssrc)
            .unwrap();
        let off = rtp.wrapping_sub(last.unwrap().rtp).cast_signed();
        assert!(off.abs() < 90_000 * 60, "{off}");
        let now = camera.stream.ntp(camera.stream.now());
        assert!(now.wrapping_sub(ntp) >> 32 < 60);
        drop(session);
        assert_eq!(ended.recv_timeout(PATIENCE).unwrap(), SessionEnd::Asked);
    }
}

#[test]
fn sessions_that_are_over_leave_nothing_behind() {
    let Some(_alone) = alone() else { return };
    let camera = Camera::start();
    let mut pipelines = Vec::new();
    let (_nobody, unused) = Viewer::offer(false);
    for round in 0..20 {
        // Some end before they are connected.
        let viewer = (round % 5 == 0).then(|| Viewer::offer(false));
        let offer = viewer.as_ref().map_or(&unused, |(_, offer)| offer);
        let (session, ended) = begin(&camera, offer);
        pipelines.push(session.pipeline.clone());
        assert_eq!(Session::running(), 1);
        if let Some((viewer, _)) = &viewer {
            viewer.accept(session.answer());
            viewer.picture();
        }
        drop(session);
        assert_eq!(ended.recv_timeout(PATIENCE).unwrap(), SessionEnd::Asked);
        assert_eq!(Session::running(), 0);
    }
    assert_eq!(camera.stream.readers(), 0);
    let left = pipelines.iter().filter(|p| p.upgrade().is_some()).count();
    assert_eq!(left, 0, "pipelines are left");
}

#[test]
fn a_session_ends_with_its_epoch_its_stream_and_its_viewer() {
    let Some(_alone) = alone() else { return };
    let camera = Camera::start();
    let (viewer, offer) = Viewer::offer(false);
    let (session, ended) = begin(&camera, &offer);
    viewer.accept(session.answer());
    viewer.picture();
    camera.epoch.store(4, Ordering::SeqCst);
    assert_eq!(ended.recv_timeout(PATIENCE).unwrap(), SessionEnd::Epoch);
    assert!(session.is_over());
    drop(viewer);
    let (viewer, offer) = Viewer::offer(false);
    let (gone, ended) = begin(&camera, &offer);
    assert_eq!(gone.epoch(), Epoch(4));
    viewer.accept(gone.answer());
    viewer.picture();
    drop(viewer);
    gone.grow_silent();
    let why = ended.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(why, SessionEnd::Lost | SessionEnd::Silent(_)), "{why}");
    let (_viewer, offer) = Viewer::offer(false);
    let (_session, ended) = begin(&camera, &offer);
    camera.relay.remove(&StreamId::new("gate").unwrap());
    assert_eq!(ended.recv_timeout(PATIENCE).unwrap(), SessionEnd::Removed);
}

#[test]
fn what_cannot_be_shown_is_refused_and_leaves_nothing() {
    let Some(_alone) = alone() else { return };
    let camera = Camera::start();
    let (_viewer, offer) = Viewer::offer(false);
    let refused = |stream: &Arc<CodedStream>, offer: &str| {
        Session::begin(stream, offer, &IceServers::default(), |_| {
            panic!("it never began")
        })
        .unwrap_err()
    };
    let without = offer.replace("H264/90000", "VP8/90000");
    assert!(matches!(
        refused(&camera.stream, &without),
        WebRtcError::Unable(_)
    ));
    assert!(matches!(refused(&camera.stream, "v=0"), WebRtcError::Offer(_)));
    let fingerprint = offer.lines().find(|l| l.starts_with("a=fingerprint")).unwrap();
    let broken = offer.replace(fingerprint, "a=fingerprint:sha-256 zz");
    // Whatever GStreamer makes of it: an answer or a refusal, and nothing stays.
    Session::begin(&camera.stream, &broken, &IceServers::default(), |_| {}).ok();
    let empty = camera.relay.stream(StreamId::new("empty").unwrap());
    match refused(&empty, &offer) {
        WebRtcError::NoPicture { stream, .. } => assert_eq!(stream.as_str(), "empty"),
        other => panic!("{other}"),
    }
}
