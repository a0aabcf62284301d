//! RTSP cameras: rtspsrc, with the arrival of every packet and every sender report read where they enter rtpbin.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gst::prelude::*;
use synoptic_base::{Span, Utc};
use synoptic_engine::timebase::{RtpTimebase, RtpTimebaseConfig, SenderReport};

use super::decode::{self, Tail, internal};
use super::hdrext::Signalled;
use super::{SessionOptions, Shared, Timing, locked, rtcp, tls, waits};
use crate::{MediaError, RtspTransport, Source, TransportStats};

/// rtspsrc gives up connecting after this, in microseconds.
const CONNECT_TIMEOUT_US: u64 = 5_000_000;
/// How long the jitter buffer waits for a packet that UDP lost or reordered. Packets in order pass at once.
const JITTER_MS: u32 = 200;
/// The marker bit in the second byte of an RTP packet: the last one of a picture (RFC 6184 section 5.1).
const MARKER: u8 = 0x80;
/// A camera that sends to the box itself is declared to be late by no more; a server that relays or codes anew is.
const DIRECT: Span = Span::from_millis(150);
/// ... and then this lies between light and box at most.
const RELAYED: Span = Span::from_secs(3);
/// No RTP time: those have 32 bits.
const NO_STAMP: u64 = u64::MAX;

pub(super) fn build(
    pipeline: &gst::Pipeline,
    options: &SessionOptions,
    tail: Tail,
    shared: &Arc<Shared>,
) -> Result<(), MediaError> {
    let Source::Rtsp {
        url,
        transport,
        user,
        password,
        tls_insecure,
        tls_ca,
        ..
    } = &options.source
    else {
        return Err(internal("not an RTSP source"));
    };
    let source = decode::make("rtspsrc")?;
    source.set_property("location", url);
    source.set_property("latency", JITTER_MS);
    source.set_property("timeout", CONNECT_TIMEOUT_US);
    source.set_property("tcp-timeout", CONNECT_TIMEOUT_US);
    source.set_property("user-agent", concat!("Synoptic/", env!("CARGO_PKG_VERSION")));
    source.set_property_from_str(
        "protocols",
        match (transport, url.starts_with("rtsps:")) {
            (RtspTransport::Tcp, false) => "tcp",
            (RtspTransport::Tcp, true) => "tcp+tls",
            (RtspTransport::Udp, _) => "udp",
        },
    );
    if let Some(user) = user {
        source.set_property("user-id", user);
    }
    if let Some(password) = password {
        source.set_property("user-pw", password.expose());
    }
    if url.starts_with("rtsps:") {
        tls::check(
            &source,
            &options.source.shown(),
            tls_ca.as_deref(),
            *tls_insecure,
            shared,
        )?;
    }
    pipeline
        .add(&source)
        .map_err(|_| internal("could not add rtspsrc"))?;

    let chosen = shared.clone();
    source.connect("select-stream", false, move |args| {
        // Over TCP this thread reads the packets too, which come from now on.
        waits::forget();
        let number = args.get(1).and_then(|v| v.get::<u32>().ok());
        let caps = args.get(2).and_then(|v| v.get::<gst::Caps>().ok());
        let stream = caps.as_ref().and_then(|c| c.structure(0));
        let sound = stream.is_some_and(is_audio)
            && number
                .zip(chosen.sound.get())
                .is_some_and(|(number, sound)| sound.claim(number));
        Some((sound || stream.is_some_and(is_video)).to_value())
    });

    let watched = shared.clone();
    source.connect("new-manager", false, move |args| {
        let manager = args.get(1).and_then(|v| v.get::<gst::Element>().ok())?;
        let shared = watched.clone();
        manager.connect("new-jitterbuffer", false, move |args| {
            // There is one for the video; a camera that changes its SSRC gets another.
            let buffer = args.get(1).and_then(|v| v.get::<gst::Element>().ok())?;
            let session = args.get(2).and_then(|v| v.get::<u32>().ok())?;
            if shared.sound.get().is_some_and(|sound| sound.is_stream(session)) {
                return None;
            }
            shared.jitter_buffer.set(Some(&buffer));
            None
        });
        let shared = watched.clone();
        manager.connect_pad_added(move |_, pad| watch(pad, &shared));
        for pad in manager.sink_pads() {
            watch(&pad, &watched);
        }
        None
    });

    let name = options.source.shown();
    let (bias, bias_error) = (options.capture_bias, options.capture_bias_error);
    let on_pad = shared.clone();
    source.connect_pad_added(move |source, pad| {
        let Some(caps) = pad.current_caps() else { return };
        let Some(stream) = caps.structure(0) else { return };
        if is_audio(stream) {
            attach_sound(source, pad, stream, &on_pad, bias, bias_error);
            return;
        }
        if !is_video(stream) {
            return;
        }
        if locked(&on_pad.timing).is_some() {
            if let Err(error) = follow_on(pad, &on_pad) {
                on_pad.fail(error);
            }
            return;
        }
        let of = stream_of(&pad.name()).unwrap_or_default();
        let clock_rate_hz = stream.get::<i32>("clock-rate").map_or(90_000, i32::unsigned_abs);
        let config = RtpTimebaseConfig {
            clock_rate_hz,
            capture_bias: bias,
            capture_bias_error: bias_error,
        };
        let known = *locked(&on_pad.known);
        let mut timebase = RtpTimebase::new(config).with_learned_delay(known.learned);
        if bias + bias_error > DIRECT {
            timebase = timebase.with_longest_way(RELAYED);
        }
        // Before the first frame: where the two clocks are apart, what was timed without would lie elsewhere.
        timebase.box_sample(on_pad.clock.sample());
        if let Some(map) = known.map {
            timebase.clock_map(map);
        }
        let timebase = Box::new(timebase);
        *locked(&on_pad.timing) = Some(Timing::Rtp {
            timebase,
            stream: of,
            ssrc: None,
            run: 0,
            signalled: Signalled::from_caps(stream, clock_rate_hz),
            wall_steps: Vec::new(),
        });
        let encoding = stream
            .get::<String>("encoding-name")
            .unwrap_or_else(|_| "nothing".to_owned());
        if let Err(error) = depayload(source, pad, &encoding, &tail, &name, &on_pad) {
            on_pad.fail(error);
        }
    });

    let (name, ended) = (options.source.shown(), shared.clone());
    source.connect_no_more_pads(move |_| {
        if let Some(sound) = ended.sound.get() {
            sound.no_more();
        }
        if locked(&ended.timing).is_none() {
            ended.fail(MediaError::NoVideo {
                source_name: name.clone(),
                why: "the camera offers no video stream at this address".to_owned(),
            });
        }
    });
    Ok(())
}

/// RTP session and payload type in the name of a pad: `recv_rtp_src_SESSION_SSRC_TYPE`, as rtpbin calls them.
fn stream_of(pad: &str) -> Option<(u32, u8)> {
    let mut parts = pad.strip_prefix("recv_rtp_src_")?.split('_');
    let session = parts.next()?.parse().ok()?;
    Some((session, parts.nth(1)?.parse().ok()?))
}

/// rtpbin gives another SSRC a pad of its own: the depayloader goes on with that one. A second video stream of the same
/// camera is left alone.
fn follow_on(pad: &gst::Pad, shared: &Shared) -> Result<(), MediaError> {
    let ours = match &*locked(&shared.timing) {
        Some(Timing::Rtp { stream, .. }) => stream_of(&pad.name()) == Some(*stream),
        _ => false,
    };
    if !ours {
        return Ok(());
    }
    let failed = || internal("could not follow the camera to its new SSRC");
    let depay = shared.depay.upgrade();
    let sink = depay.and_then(|d| d.static_pad("sink")).ok_or_else(failed)?;
    if let Some(before) = sink.peer() {
        before.unlink(&sink).map_err(|_| failed())?;
    }
    pad.link(&sink).map_err(|_| failed())?;
    Ok(())
}

fn is_video(caps: &gst::StructureRef) -> bool {
    caps.get::<&str>("media").is_ok_and(|m| m == "video")
}

fn is_audio(caps: &gst::StructureRef) -> bool {
    caps.get::<&str>("media").is_ok_and(|m| m == "audio")
}

/// Hands a sound pad of rtspsrc to whoever asked for it.
fn attach_sound(
    source: &gst::Element,
    pad: &gst::Pad,
    stream: &gst::StructureRef,
    shared: &Shared,
    capture_bias: Span,
    capture_bias_error: Span,
) {
    let pipeline = source.parent().and_downcast::<gst::Pipeline>();
    let (Some(sound), Some(pipeline)) = (shared.sound.get(), pipeline) else {
        return;
    };
    // 8 kHz of G.711, where nothing is said.
    let clock_rate_hz = stream.get::<i32>("clock-rate").map_or(8_000, i32::unsigned_abs);
    let config = RtpTimebaseConfig {
        clock_rate_hz,
        capture_bias,
        capture_bias_error,
    };
    if let Err(error) = sound.attach_rtp(&pipeline, pad, config) {
        shared.fail(error);
    }
}

/// Links depayloader and decoder to a video pad of rtspsrc.
fn depayload(
    source: &gst::Element,
    pad: &gst::Pad,
    encoding: &str,
    tail: &Tail,
    name: &str,
    shared: &Shared,
) -> Result<(), MediaError> {
    let (factory, media_type) = match encoding {
        "H264" => ("rtph264depay", "video/x-h264"),
        "H265" => ("rtph265depay", "video/x-h265"),
        "JPEG" => ("rtpjpegdepay", "image/jpeg"),
        other => {
            return Err(MediaError::NoVideo {
                source_name: name.to_owned(),
                why: format!("its codec is {other}; set the camera to H.264 or H.265"),
            });
        }
    };
    let depay = decode::make(factory)?;
    shared.depay.set(Some(&depay));
    let parent = source
        .parent()
        .and_downcast::<gst::Pipeline>()
        .ok_or_else(|| internal("no pipeline"))?;
    parent
        .add(&depay)
        .map_err(|_| internal("could not add the depayloader"))?;
    let src = depay
        .static_pad("src")
        .ok_or_else(|| internal("no src pad at the depayloader"))?;
    let sink = depay
        .static_pad("sink")
        .ok_or_else(|| internal("no sink pad at the depayloader"))?;
    let probed = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    // Each mark is carried through depayloader, parser and decoder: two a picture, not one a packet. The first packet may
    // hold a parameter set, which the depayloader takes out with its mark; the last one holds a slice.
    let last = AtomicU64::new(NO_STAMP);
    sink.add_probe(probed, move |_, info| {
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                if let Some(rtp) = outermost(buffer, &last) {
                    decode::mark_rtp(buffer.make_mut(), rtp);
                }
            }
            Some(gst::PadProbeData::BufferList(list)) => {
                for i in 0..list.len() {
                    let Some(rtp) = list.get(i).and_then(|buffer| outermost(buffer, &last)) else {
                        continue;
                    };
                    if let Some(buffer) = list.make_mut().get_mut(i) {
                        decode::mark_rtp(buffer, rtp);
                    }
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
    tail.attach(&src, media_type, |buffer| {
        decode::rtp_stamp(buffer).map(i64::from)
    })?;
    depay
        .sync_state_with_parent()
        .map_err(|_| internal("the depayloader did not start"))?;
    pad.link(&sink)
        .map_err(|e| internal(&format!("could not link the depayloader: {e}")))?;
    Ok(())
}

/// RTP time of a packet that begins or ends a picture: `last` is that of the packet before.
fn outermost(packet: &gst::BufferRef, last: &AtomicU64) -> Option<u32> {
    let map = packet.map_readable().ok()?;
    let (_, rtp) = rtcp::rtp_header(&map)?;
    let begins = last.swap(u64::from(rtp), Ordering::Relaxed) != u64::from(rtp);
    let ends = map.get(1).is_some_and(|byte| byte & MARKER != 0);
    (begins || ends).then_some(rtp)
}

/// Watches a sink pad of rtpbin: packets and sender reports get their arrival before any jitter buffer.
fn watch(pad: &gst::Pad, shared: &Arc<Shared>) {
    let name = pad.name();
    let rtp = name.starts_with("recv_rtp_sink");
    if !rtp && !name.starts_with("recv_rtcp_sink") {
        return;
    }
    // The number of the stream ends the name of the pad.
    let number = name.rsplit('_').next().and_then(|n| n.parse::<u32>().ok());
    let session = number.unwrap_or(0);
    let shared = shared.clone();
    pad.add_probe(
        gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
        move |_, info| {
            let arrival = shared.clock.now();
            locked(&shared.waits).look(arrival);
            let sound = shared.sound.get();
            let sound = sound.filter(|sound| number.is_some_and(|n| sound.is_stream(n)));
            let each = |buffer: &gst::BufferRef| {
                let Ok(map) = buffer.map_readable() else { return };
                if let Some(sound) = sound {
                    if rtp {
                        sound.packet(&map, arrival);
                    } else {
                        sound.report(&map, arrival);
                    }
                } else if rtp {
                    packet(&shared, session, &map, arrival);
                } else {
                    report(&shared, session, &map, arrival);
                }
            };
            match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => each(buffer),
                Some(gst::PadProbeData::BufferList(list)) => list.iter().for_each(each),
                _ => {}
            }
            gst::PadProbeReturn::Ok
        },
    );
}

/// What came and what did not; loss and jitter by the statistics of rtpjitterbuffer.
pub(super) fn transport(shared: &Shared) -> TransportStats {
    let buffer = shared.jitter_buffer.upgrade();
    let stats = buffer.map(|b| b.property::<gst::Structure>("stats"));
    let count = |field: &str| stats.as_ref().and_then(|s| s.get::<u64>(field).ok());
    TransportStats {
        packets: shared.packets.load(Ordering::Relaxed),
        bytes: shared.bytes.load(Ordering::Relaxed),
        lost: count("num-lost").unwrap_or(0), // none yet: the buffer is made with the first packet
        late: count("num-late").unwrap_or(0),
        jitter: count("avg-jitter").map(|ns| Span::from_nanos(ns as i64)),
    }
}

fn packet(shared: &Shared, session: u32, bytes: &[u8], arrival: synoptic_base::Mono) {
    let Some((ssrc, stamp)) = rtcp::rtp_header(bytes) else {
        return;
    };
    shared.packets.fetch_add(1, Ordering::Relaxed);
    shared.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    if let Some(Timing::Rtp {
        ssrc: known,
        stream,
        timebase,
        signalled,
        run,
        ..
    }) = &mut *locked(&shared.timing)
    {
        let payload_type = bytes.get(1).map_or(0, |b| b & !MARKER);
        if *stream != (session, payload_type) {
            return;
        }
        let mut ledger = locked(&shared.ledger);
        if known.replace(ssrc).is_some_and(|before| before != ssrc) {
            log::info!("the camera sends under another SSRC: its time stamps begin anew");
            ledger.new_run();
            *signalled = signalled.of_another_sender();
        }
        // While pictures of the sender before are still being decoded, the new one's times have no line to lie on.
        if ledger.run() == *run {
            signalled.packet(timebase, bytes, arrival, || shared.clock.sample().realtime);
        }
    }
    locked(&shared.ledger).arrived(i64::from(stamp), arrival);
}

fn report(shared: &Shared, session: u32, bytes: &[u8], arrival: synoptic_base::Mono) {
    let Some(raw) = rtcp::sender_report(bytes) else {
        return;
    };
    let mut timing = locked(&shared.timing);
    let Some(Timing::Rtp {
        timebase,
        ssrc,
        stream,
        wall_steps,
        run,
        ..
    }) = &mut *timing
    else {
        return;
    };
    if stream.0 != session {
        return;
    }
    // A report of another stream says nothing about this one. Some cameras get their own SSRC wrong (smolrtsp#42);
    // the timebase finds out by the RTP time whether such a report fits.
    if ssrc.is_some_and(|known| known != raw.ssrc && known != raw.ssrc.swap_bytes()) {
        log::debug!(
            "a sender report of SSRC {:08x} among packets of another",
            raw.ssrc
        );
        return;
    }
    if locked(&shared.ledger).run() != *run {
        return; // the next one comes when there is a picture to compare it with
    }
    let wall = (raw.ntp != 0).then(|| Utc::from_ntp(raw.ntp));
    if let Some(by) = locked(&shared.waits).of(arrival) {
        timebase.waited(arrival, by);
    }
    wall_steps.extend(timebase.report(SenderReport {
        wall,
        rtp: raw.rtp,
        arrival,
    }));
}
