//! One peer connection: GStreamer's webrtcbin behind a source of access units, and one of sound.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use gst::prelude::*;
use gst_app::AppSrc;
use gst_webrtc::{
    WebRTCICEGatheringState, WebRTCPeerConnectionState, WebRTCRTPTransceiver, WebRTCRTPTransceiverDirection,
    WebRTCSDPType, WebRTCSessionDescription,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rand::Rng;
use synoptic_base::Span;

use super::offer::{ABS_CAPTURE_TIME, Codec, Offer, SoundOffer};
use super::times::Times;
use super::{IceServers, TurnServer, WebRtcError};
use crate::coded::{CodedSound, CodedStream, SoundFormat};
use crate::output::{h264_caps, sound_caps, waiting_bytes};

/// What a browser asks of webrtcbin takes no longer; then it hangs.
const REPLY: Span = Span::from_secs(10);
/// STUN and TURN servers that do not answer are not waited for longer than this: what is found by then is told.
const GATHERING: Span = Span::from_secs(4);
/// Elements that webrtcbin wants, and where they are.
const NEEDED: [(&str, &str); 5] = [
    ("webrtcbin", "gstreamer1.0-plugins-bad"),
    ("dtlsenc", "gstreamer1.0-plugins-bad"),
    ("srtpenc", "gstreamer1.0-plugins-bad"),
    ("nicesink", "gstreamer1.0-nice"),
    ("rtph264pay", "gstreamer1.0-plugins-good"),
];
/// What sound needs besides.
const NEEDED_FOR_SOUND: &str = "rtpopuspay";
/// Bytes of an RTP packet: what goes through tunnels and mobile networks in one piece.
const MTU: u32 = 1_200;
/// What stands as it is in the user part of a URL (RFC 3986 section 2.3).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A peer connection. Dropping it ends it.
pub(super) struct Peer {
    pipeline: gst::Pipeline,
    source: AppSrc,
    sound: Option<Sound>,
    /// The viewer has lost pictures (PLI, RFC 4585 section 6.3.1; FIR, RFC 5104 section 4.3.1).
    key_asked: Arc<AtomicBool>,
    states: Receiver<WebRTCPeerConnectionState>,
    stream: Arc<CodedStream>,
}

/// The way out for sound.
struct Sound {
    source: AppSrc,
    format: Option<Arc<SoundFormat>>,
}

/// What a pipeline is made of.
struct Parts {
    pipeline: gst::Pipeline,
    webrtc: gst::Element,
    source: AppSrc,
    payloader: gst::Element,
    sound: Option<(AppSrc, gst::Element)>,
}

impl Peer {
    /// Makes the connection's half of ours, and the answer, with all candidates in it.
    pub(super) fn answer(
        stream: &Arc<CodedStream>,
        offer: &Offer,
        codec: Codec,
        with_sound: bool,
        servers: &IceServers,
        times: &Arc<Times>,
    ) -> Result<(Peer, String), WebRtcError> {
        for (element, package) in NEEDED {
            if gst::ElementFactory::find(element).is_none() {
                return Err(WebRtcError::Missing { element, package });
            }
        }
        let broken = |why: String| WebRtcError::Broken {
            stream: stream.id(),
            why,
        };
        let sdp = gst_sdp::SDPMessage::parse_buffer(offer.text.as_bytes())
            .map_err(|e| WebRtcError::Offer(e.to_string()))?;
        // Told in the answer: a browser shows a source that it was not told of on no track.
        let ssrc: u32 = rand::rng().random_range(2..u32::MAX) & !1;
        let sound_ssrc = ssrc | 1;
        // What the viewer takes and the stream has; without the element pictures go alone.
        let sound = offer
            .sound
            .filter(|_| with_sound && gst::ElementFactory::find(NEEDED_FOR_SOUND).is_some());
        let parts = pipeline(codec, ssrc, sound.map(|s| (s, sound_ssrc)), servers);
        let Parts {
            pipeline,
            webrtc,
            source,
            payloader,
            sound: sound_parts,
        } = parts.map_err(|e| broken(e.to_string()))?;
        times.set_sources(ssrc, if sound.is_some() { sound_ssrc } else { 0 });
        let key_asked = Arc::new(AtomicBool::new(false));
        watch_for_losses(&source, &key_asked);
        let (told, states) = unbounded();
        webrtc.connect_notify(Some("connection-state"), move |webrtc, _| {
            // Nobody listens any more: it is being taken down.
            told.send(webrtc.property("connection-state")).ok();
        });
        let (told, gathered) = bounded(1);
        webrtc.connect_notify(Some("ice-gathering-state"), move |webrtc, _| {
            tell_gathered(webrtc, &told);
        });
        let peer = Peer {
            pipeline,
            source,
            sound: sound_parts.as_ref().map(|(source, _)| Sound {
                source: source.clone(),
                format: None,
            }),
            key_asked,
            states,
            stream: stream.clone(),
        };
        if let Some(rtpbin) = webrtc
            .downcast_ref::<gst::Bin>()
            .and_then(|b| b.by_name("rtpbin"))
        {
            times.watch(&rtpbin);
        }
        peer.pipeline
            .set_state(gst::State::Playing)
            .map_err(|_| broken(peer.error().unwrap_or_else(|| "it did not start".to_owned())))?;
        let pad = send_pad(&webrtc, offer.mline, &picture_caps(codec, ssrc));
        let pad = pad.map_err(|e| broken(e.to_string()))?;
        let payloader = payloader.static_pad("src");
        let payloader = payloader.ok_or_else(|| broken("no payloader".to_owned()))?;
        times.watch_payloader(&payloader);
        payloader.link(&pad).map_err(|e| broken(e.to_string()))?;
        if let (Some(offered), Some((_, payloader))) = (sound, &sound_parts) {
            let pad = send_pad(&webrtc, offered.mline, &sound_rtp_caps(offered, sound_ssrc));
            let pad = pad.map_err(|e| broken(e.to_string()))?;
            let payloader = payloader.static_pad("src");
            let payloader = payloader.ok_or_else(|| broken("no payloader for the sound".to_owned()))?;
            payloader.link(&pad).map_err(|e| broken(e.to_string()))?;
        }
        let offered = WebRTCSessionDescription::new(WebRTCSDPType::Offer, sdp);
        ask(&webrtc, "set-remote-description", &offered).map_err(WebRtcError::Offer)?;
        let answer = ask(&webrtc, "create-answer", &None::<gst::Structure>).map_err(WebRtcError::Unable)?;
        let answer = answer
            .and_then(|reply| reply.get::<WebRTCSessionDescription>("answer").ok())
            .ok_or_else(|| broken("there is no answer in the reply".to_owned()))?;
        ask(&webrtc, "set-local-description", &answer).map_err(&broken)?;
        // Ends at the limit too: an answer without the address of a STUN server is one.
        if gathered.recv_timeout(GATHERING.to_std()).is_err() {
            log::warn!(
                "{}: not all ways to a viewer by WebRTC were found within {GATHERING}; is the STUN or TURN server there?",
                stream.id()
            );
        }
        let local = webrtc.property::<Option<WebRTCSessionDescription>>("local-description");
        let text = local.and_then(|l| l.sdp().as_text().ok()).unwrap_or_default();
        usable(&text, offer.mline, ssrc).map_err(&broken)?;
        Ok((peer, completed(&text, offer, codec)))
    }

    /// How the connection is now, where that has changed.
    pub(super) fn state(&self) -> Option<WebRTCPeerConnectionState> {
        self.states.try_recv().ok()
    }

    /// The first error on the bus.
    pub(super) fn error(&self) -> Option<String> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(error) => Some(error.error().to_string()),
            _ => None,
        }
    }

    /// Sends an access unit.
    pub(super) fn send(&self, buffer: gst::Buffer) {
        // An error here is the pipeline's own, which is on the bus and comes with the next look.
        self.source.push_buffer(buffer).ok();
    }

    /// Whether sound is sent.
    pub(super) fn has_sound(&self) -> bool {
        self.sound.is_some()
    }

    /// Sends a frame of sound; its RTP time is its media time. Who gets none is sent none.
    pub(super) fn send_sound(&mut self, sound: &CodedSound) {
        let Some(out) = &mut self.sound else { return };
        if out.format.as_ref() != Some(&sound.format) {
            out.source.set_caps(Some(&sound_caps(&sound.format)));
            out.format = Some(sound.format.clone());
        }
        let mut buffer = gst::Buffer::from_slice(sound.data.clone());
        if let Some(data) = buffer.get_mut() {
            let time = gst::ClockTime::from_useconds(sound.media_us.max(0) as u64);
            data.set_pts(time);
            data.set_dts(time);
            data.set_duration(gst::ClockTime::from_nseconds(
                sound.duration.as_nanos().max(0) as u64
            ));
        }
        out.source.push_buffer(buffer).ok();
    }

    /// Whether the viewer has asked for an IDR picture since this was asked last.
    pub(super) fn take_key_asked(&self) -> bool {
        self.key_asked.swap(false, Ordering::Relaxed)
    }

    /// Bytes that wait for the network.
    pub(super) fn waiting(&self) -> u64 {
        waiting_bytes(&self.source)
    }

    #[cfg(test)]
    pub(super) fn pipeline(&self) -> gst::glib::WeakRef<gst::Pipeline> {
        self.pipeline.downgrade()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if self.pipeline.set_state(gst::State::Null).is_err() {
            log::warn!("{}: a WebRTC session did not end cleanly", self.stream.id());
        }
    }
}

/// What a viewer asks for by PLI or FIR goes up to the source as an event.
fn watch_for_losses(source: &AppSrc, asked: &Arc<AtomicBool>) {
    let Some(pad) = source.static_pad("src") else {
        return;
    };
    let asked = asked.clone();
    pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        if let Some(event) = info.event()
            && gst_video::UpstreamForceKeyUnitEvent::parse(event).is_ok()
        {
            asked.store(true, Ordering::Relaxed);
        }
        gst::PadProbeReturn::Ok
    });
}

fn pipeline(
    codec: Codec,
    ssrc: u32,
    sound: Option<(SoundOffer, u32)>,
    servers: &IceServers,
) -> Result<Parts, gst::glib::BoolError> {
    let webrtc = gst::ElementFactory::make("webrtcbin").build()?;
    // Everything over one connection: browsers offer that (RFC 9143).
    webrtc.set_property_from_str("bundle-policy", "max-bundle");
    if let Some(stun) = &servers.stun {
        webrtc.set_property("stun-server", for_gstreamer(stun, None));
    }
    if let Some(turn) = &servers.turn {
        webrtc.set_property("turn-server", for_gstreamer(&turn.url, Some(turn)));
    }
    // Pictures leave when they come. webrtcbin would hold each until the running time that is its media time.
    if let Some(bin) = webrtc.downcast_ref::<gst::Bin>() {
        bin.connect_deep_element_added(|_, _, element| {
            if element.factory().is_some_and(|f| f.name() == "clocksync") {
                element.set_property("sync", false);
            }
        });
    }
    let app_source = || {
        AppSrc::builder()
            .format(gst::Format::Time)
            .is_live(true)
            .max_bytes(0)
            .build()
    };
    let source = app_source();
    source.set_caps(Some(&h264_caps()));
    let payloader = gst::ElementFactory::make("rtph264pay")
        .name("pay")
        .property("pt", u32::from(codec.payload))
        .property("ssrc", ssrc)
        // RTP times are media times; without this they begin anywhere (RFC 3550 section 5.1), and nobody knows where.
        .property("timestamp-offset", 0_u32)
        .property("mtu", MTU)
        // Parameter sets and SEI in one packet, and nothing kept for the next picture.
        .property_from_str("aggregate-mode", "zero-latency")
        .build()?;
    let pipeline = gst::Pipeline::new();
    pipeline.add_many([source.upcast_ref(), &payloader, &webrtc])?;
    source.link(&payloader)?;
    let sound = match sound {
        Some((offered, ssrc)) => {
            let source = app_source();
            let payloader = gst::ElementFactory::make(NEEDED_FOR_SOUND)
                .property("pt", u32::from(offered.payload))
                .property("ssrc", ssrc)
                .property("timestamp-offset", 0_u32)
                .build()?;
            pipeline.add_many([source.upcast_ref(), &payloader])?;
            source.link(&payloader)?;
            Some((source, payloader))
        }
        None => None,
    };
    Ok(Parts {
        pipeline,
        webrtc,
        source,
        payloader,
        sound,
    })
}

/// What is sent into the pictures' section. Without a profile: what the payloader says of the stream's own must fit, and what is
/// offered is answered.
fn picture_caps(codec: Codec, ssrc: u32) -> gst::Caps {
    gst::Caps::builder("application/x-rtp")
        .field("media", "video")
        .field("encoding-name", "H264")
        .field("clock-rate", 90_000_i32)
        .field("payload", i32::from(codec.payload))
        .field("packetization-mode", "1")
        .field("ssrc", ssrc)
        .build()
}

/// The same for the sound's.
fn sound_rtp_caps(offered: SoundOffer, ssrc: u32) -> gst::Caps {
    gst::Caps::builder("application/x-rtp")
        .field("media", "audio")
        .field("encoding-name", "OPUS")
        .field("clock-rate", 48_000_i32)
        .field("payload", i32::from(offered.payload))
        .field("ssrc", ssrc)
        .build()
}

/// The pad that sends into a media section of the offer.
fn send_pad(webrtc: &gst::Element, mline: u32, caps: &gst::Caps) -> Result<gst::Pad, gst::glib::BoolError> {
    let template = webrtc
        .pad_template("sink_%u")
        .ok_or_else(|| gst::glib::bool_error!("webrtcbin has no sink"))?;
    let pad = webrtc
        .request_pad(&template, Some(&format!("sink_{mline}")), Some(caps))
        .ok_or_else(|| gst::glib::bool_error!("webrtcbin gave no pad"))?;
    let transceiver = pad.property::<WebRTCRTPTransceiver>("transceiver");
    transceiver.set_property("direction", WebRTCRTPTransceiverDirection::Sendonly);
    transceiver.set_property("codec-preferences", caps);
    // Lost packets are sent again (RFC 4588) where the viewer can ask for them.
    if transceiver.has_property("do-nack") {
        transceiver.set_property("do-nack", true);
    }
    Ok(pad)
}

pub(super) fn tell_gathered(webrtc: &gst::Element, told: &Sender<()>) {
    let state = webrtc.property::<WebRTCICEGatheringState>("ice-gathering-state");
    if state == WebRTCICEGatheringState::Complete {
        // Full: it was told already.
        told.try_send(()).ok();
    }
}

/// Asks webrtcbin for something and waits for the reply.
pub(super) fn ask(
    webrtc: &gst::Element,
    what: &str,
    argument: &dyn ToValue,
) -> Result<Option<gst::Structure>, String> {
    let (told, reply) = bounded(1);
    let promise = gst::Promise::with_change_func(move |reply| {
        let reply = match reply {
            Ok(reply) => Ok(reply.map(ToOwned::to_owned)),
            Err(e) => Err(format!("{e:?}")),
        };
        // Nobody waits any more where it took too long.
        told.try_send(reply).ok();
    });
    webrtc.emit_by_name_with_values(what, &[argument.to_value(), promise.to_value()]);
    let reply: Option<gst::Structure> = reply
        .recv_timeout(REPLY.to_std())
        .map_err(|_| format!("{what}: no reply within {REPLY}"))??;
    match reply
        .as_ref()
        .and_then(|r| r.get::<gst::glib::Error>("error").ok())
    {
        Some(error) => Err(error.to_string()),
        None => Ok(reply),
    }
}

/// Whether an answer sends what was asked for.
fn usable(answer: &str, mline: u32, ssrc: u32) -> Result<(), String> {
    let section = answer.split("\r\nm=").nth(mline as usize + 1).unwrap_or_default();
    if !section.contains("a=sendonly") || !section.contains(&format!("a=ssrc:{ssrc} ")) {
        return Err("the answer does not send the video".to_owned());
    }
    if !answer.contains("a=candidate:") {
        return Err("this box has no address to tell the viewer".to_owned());
    }
    Ok(())
}

/// The answer with what webrtcbin leaves out: the profile that was chosen (RFC 6184 section 8.2.2 wants it said again), the
/// header extension for capture times, and that the viewer's estimate is read.
fn completed(answer: &str, offer: &Offer, codec: Codec) -> String {
    let of_codec = format!("a=fmtp:{} ", codec.payload);
    let mut out = String::with_capacity(answer.len() + 128);
    let mut section = 0;
    for line in answer.split_inclusive("\r\n") {
        let bare = line.trim_end();
        section += u32::from(bare.starts_with("m="));
        let ours = section == offer.mline + 1;
        out.push_str(bare);
        if ours && bare.starts_with(&of_codec) && !bare.contains("profile-level-id") {
            out.push_str(&format!(";profile-level-id={:06x}", codec.profile_level));
        }
        out.push_str("\r\n");
        if ours
            && bare.starts_with("a=mid:")
            && let Some(id) = offer.capture_id.filter(|_| !answer.contains(ABS_CAPTURE_TIME))
        {
            out.push_str(&format!("a=extmap:{id} {ABS_CAPTURE_TIME}\r\n"));
        }
        let remb = format!("a=rtcp-fb:{} goog-remb", codec.payload);
        if ours && bare.starts_with("a=mid:") && offer.tells_estimate(codec) && !answer.contains(&remb) {
            out.push_str(&remb);
            out.push_str("\r\n");
        }
    }
    out
}

/// A server's address as webrtcbin wants it: `turn://user:password@host:port`.
fn for_gstreamer(url: &str, login: Option<&TurnServer>) -> String {
    let (scheme, rest) = url.split_once(':').unwrap_or(("stun", url));
    let part = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
    let login = login.map(|turn| format!("{}:{}@", part(&turn.user), part(turn.password.expose())));
    // The port that everyone means (RFC 7064 section 3.2, RFC 7065 section 3.2): GStreamer wants one.
    let (host, query) = rest.split_once('?').map_or((rest, None), |(h, q)| (h, Some(q)));
    let has_port = host.rsplit_once(':').is_some_and(|(before, port)| {
        !port.is_empty()
            && port.bytes().all(|b| b.is_ascii_digit())
            && (!before.contains(':') || before.ends_with(']'))
    });
    let port = match (has_port, scheme) {
        (true, _) => "",
        (false, "turns" | "stuns") => ":5349",
        (false, _) => ":3478",
    };
    let query = query.map(|q| format!("?{q}")).unwrap_or_default();
    format!("{scheme}://{}{host}{port}{query}", login.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    #[test]
    fn servers_are_named_as_gstreamer_wants_them() {
        assert_eq!(
            for_gstreamer("stun:stun.example", None),
            "stun://stun.example:3478"
        );
        assert_eq!(
            for_gstreamer("stun:[2001:db8::1]", None),
            "stun://[2001:db8::1]:3478"
        );
        let turn = TurnServer {
            url: "turns:relay.example:443?transport=tcp".to_owned(),
            user: "a:b".to_owned(),
            password: Secret::new("p@ss/1".to_owned()),
        };
        assert_eq!(
            for_gstreamer(&turn.url, Some(&turn)),
            "turns://a%3Ab:p%40ss%2F1@relay.example:443?transport=tcp"
        );
        assert_eq!(for_gstreamer("turns:r", None), "turns://r:5349");
    }
}
