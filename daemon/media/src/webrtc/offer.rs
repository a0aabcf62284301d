//! What a viewer's offer leaves to choose: where its video and its sound stand, and which payload type fits the stream.

use super::WebRtcError;

/// Media sections that an offer may have: a browser's has three at most.
const MAX_MEDIA: usize = 8;
/// profile_idc of the H.264 profiles that matter here (ITU-T H.264 annex A).
const HIGH: u8 = 100;
const HIGH_444: u8 = 244;
/// The profile that every browser decodes.
const BASELINE: u8 = 66;
/// What is meant where nothing is said: Baseline, level 1 (RFC 6184 section 8.1).
const UNSAID: u32 = 0x42_000a;

/// The header extension with the capture time of a picture: 8 bytes of NTP time.
pub(super) const ABS_CAPTURE_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

/// An offer that can be answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// As it is given to GStreamer.
    pub(super) text: String,
    /// Which media section is the video that is asked for.
    pub(super) mline: u32,
    /// Under which id capture times may stand in headers of packets; `None`: nowhere.
    pub(super) capture_id: Option<u8>,
    /// Where sound is asked for that can be sent.
    pub(super) sound: Option<SoundOffer>,
    /// Payload types under which the viewer tells what he can take (`goog-remb`).
    remb: Vec<u8>,
    codecs: Vec<Codec>,
}

/// A media section that takes Opus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SoundOffer {
    pub(super) mline: u32,
    pub(super) payload: u8,
}

/// An H.264 payload type that takes fragmented units (`packetization-mode=1`, RFC 6184 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Codec {
    pub(super) payload: u8,
    /// `profile-level-id`: profile_idc, constraints and level_idc.
    pub(super) profile_level: u32,
}

impl Offer {
    /// Reads an offer.
    pub(super) fn read(text: &str) -> Result<Offer, WebRtcError> {
        let wrong = |why: &str| WebRtcError::Offer(why.to_owned());
        if !text.starts_with("v=0") {
            return Err(wrong("it does not begin with `v=0` (RFC 8866)"));
        }
        // Candidates with a name of multicast DNS, behind which browsers hide addresses, are of no use here: the box's
        // resolver mostly does not know them, and waits. The viewer's own checks tell the box where he is (RFC 8445
        // section 7.3.1.3).
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim_end)
            .filter(|line| !line.is_empty() && !is_hidden_candidate(line))
            .collect();
        let starts: Vec<usize> = (0..lines.len()).filter(|i| lines[*i].starts_with("m=")).collect();
        if starts.is_empty() || starts.len() > MAX_MEDIA {
            return Err(wrong("it has no media section, or too many"));
        }
        let session = &lines[..starts[0]];
        let ends = starts.iter().skip(1).copied().chain([lines.len()]);
        let sections: Vec<&[&str]> = starts
            .iter()
            .zip(ends)
            .map(|(from, to)| &lines[*from..to])
            .collect();
        // What GStreamer takes for granted.
        for section in &sections {
            for needed in ["ice-ufrag", "ice-pwd", "fingerprint", "setup", "mid"] {
                let here = attribute(section, needed).or_else(|| attribute(session, needed));
                if here.is_none_or(str::is_empty) && !is_rejected(section) {
                    return Err(WebRtcError::Offer(format!("`a={needed}` is missing")));
                }
            }
        }
        let wanted = |s: &[&str]| s[0].starts_with("m=video ") && !is_rejected(s) && receives(s, session);
        let Some(mline) = sections.iter().position(|s| wanted(s)) else {
            let why = "it has no video that is `recvonly` or `sendrecv`";
            return Err(WebRtcError::Unable(why.to_owned()));
        };
        let sound = sections.iter().enumerate().find_map(|(at, section)| {
            let wanted =
                section[0].starts_with("m=audio ") && !is_rejected(section) && receives(section, session);
            let payload = wanted.then(|| opus(section)).flatten()?;
            Some(SoundOffer {
                mline: at as u32,
                payload,
            })
        });
        let codecs = codecs(sections[mline]);
        if codecs.is_empty() {
            let why = "it takes no H.264 with packetization-mode=1";
            return Err(WebRtcError::Unable(why.to_owned()));
        }
        let mut text = lines.join("\r\n");
        text.push_str("\r\n");
        Ok(Offer {
            text,
            mline: mline as u32,
            capture_id: capture_id(sections[mline]),
            sound,
            remb: remb(sections[mline]),
            codecs,
        })
    }

    /// Whether the viewer can tell what he can take.
    pub(super) fn tells_estimate(&self, codec: Codec) -> bool {
        self.remb.contains(&codec.payload)
    }

    /// The payload type for a stream of this profile_idc: the very profile, a greater one, or what every browser takes, for
    /// their decoders take more than they say.
    pub(super) fn codec(&self, profile: u8) -> Codec {
        let of = |wanted: u8| {
            self.codecs
                .iter()
                .find(|c| c.profile_level >> 16 == u32::from(wanted))
        };
        let greater = if profile == HIGH { of(HIGH_444) } else { None };
        *of(profile)
            .or(greater)
            .or_else(|| of(BASELINE))
            .unwrap_or(&self.codecs[0])
    }
}

fn is_hidden_candidate(line: &str) -> bool {
    // candidate:FOUNDATION COMPONENT TRANSPORT PRIORITY ADDRESS PORT (RFC 8839 section 5.1).
    line.strip_prefix("a=candidate:")
        .and_then(|rest| rest.split_ascii_whitespace().nth(4))
        .is_some_and(|address| address.to_ascii_lowercase().ends_with(".local"))
}

/// The id of the abs-capture-time extension, of those that have one byte: `a=extmap:ID[/DIRECTION] URI` (RFC 8285 section 5).
fn capture_id(section: &[&str]) -> Option<u8> {
    section.iter().find_map(|line| {
        let (id, rest) = line.strip_prefix("a=extmap:")?.split_once(' ')?;
        let id = id.split('/').next()?.parse().ok()?;
        let ours = rest.split_ascii_whitespace().next() == Some(ABS_CAPTURE_TIME);
        (ours && (1..=14).contains(&id)).then_some(id)
    })
}

/// The value of `a=name:…`.
fn attribute<'a>(section: &[&'a str], name: &str) -> Option<&'a str> {
    section
        .iter()
        .find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
}

/// Port 0: not wanted (RFC 8829 section 5.2.1). A section of a bundle has it too, and takes part.
fn is_rejected(section: &[&str]) -> bool {
    let port = section[0].split_ascii_whitespace().nth(1);
    port == Some("0") && !section.contains(&"a=bundle-only")
}

/// Whether the offerer wants to receive; without a word it does (RFC 8866 section 6.7).
fn receives(section: &[&str], session: &[&str]) -> bool {
    let direction = |lines: &[&str]| {
        lines.iter().find_map(|line| match *line {
            "a=recvonly" | "a=sendrecv" => Some(true),
            "a=sendonly" | "a=inactive" => Some(false),
            _ => None,
        })
    };
    direction(section).or_else(|| direction(session)).unwrap_or(true)
}

/// The payload types with `a=rtcp-fb:TYPE goog-remb` (draft-alvestrand-rmcat-remb section 2.1); `*` means all.
fn remb(section: &[&str]) -> Vec<u8> {
    let mut payloads = Vec::new();
    for line in section {
        let told = line
            .strip_prefix("a=rtcp-fb:")
            .and_then(|rest| rest.split_once(' '));
        match told.filter(|(_, what)| what.trim() == "goog-remb") {
            Some(("*", _)) => payloads.extend(0..128),
            Some((number, _)) => payloads.extend(number.parse::<u8>()),
            None => {}
        }
    }
    payloads
}

/// The payload type of Opus (RFC 7587 section 7).
fn opus(section: &[&str]) -> Option<u8> {
    section.iter().find_map(|line| {
        let (payload, codec) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
        let payload = payload.parse::<u8>().ok().filter(|payload| *payload < 128)?;
        // GStreamer leaves out the channels, of which there are always two here.
        let codec = codec.trim().to_ascii_lowercase();
        matches!(codec.as_str(), "opus/48000/2" | "opus/48000").then_some(payload)
    })
}

fn codecs(section: &[&str]) -> Vec<Codec> {
    let payloads = section[0].split_ascii_whitespace().skip(3);
    let numbers: Vec<u8> = payloads
        .filter_map(|p| p.parse().ok())
        .filter(|p| *p < 128)
        .collect();
    let of = |payload: &u8| {
        let prefix = format!("{payload} ");
        let map = |name: &str| {
            section.iter().find_map(|line| {
                let rest = line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':')?;
                rest.strip_prefix(&prefix)
            })
        };
        let h264 = map("rtpmap")?.trim().eq_ignore_ascii_case("H264/90000");
        let parameters = map("fmtp").unwrap_or_default();
        let parameter = |name: &str| {
            let pairs = parameters
                .split(';')
                .filter_map(|pair| pair.trim().split_once('='));
            pairs
                .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim())
                .next()
        };
        let fragments = parameter("packetization-mode") == Some("1");
        let profile_level = match parameter("profile-level-id") {
            Some(id) if id.len() == 6 => u32::from_str_radix(id, 16).ok()?,
            Some(_) => return None,
            None => UNSAID,
        };
        (h264 && fragments).then_some(Codec {
            payload: *payload,
            profile_level,
        })
    };
    numbers.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Chromium 156 offers, shortened.
    const CHROMIUM: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n\
        a=fingerprint:sha-256 AA\r\na=setup:actpass\r\na=mid:0\r\na=recvonly\r\na=rtpmap:111 opus/48000/2\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 104 106 127\r\nc=IN IP4 0.0.0.0\r\n\
        a=candidate:1 1 udp 2113937151 4a-b.local 5000 typ host generation 0\r\n\
        a=candidate:2 1 udp 2113937151 192.0.2.7 5001 typ host generation 0\r\n\
        a=ice-ufrag:u\r\na=ice-pwd:p\r\na=fingerprint:sha-256 AA\r\na=setup:actpass\r\na=mid:1\r\na=recvonly\r\n\
        a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
        a=rtpmap:102 H264/90000\r\na=fmtp:102 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f\r\n\
        a=rtpmap:104 H264/90000\r\na=fmtp:104 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
        a=rtpmap:106 H264/90000\r\na=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f\r\n\
        a=rtpmap:127 H264/90000\r\na=fmtp:127 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=f4001f\r\n";

    #[test]
    fn the_video_and_the_payload_type_that_fits_are_found() {
        let offer = Offer::read(CHROMIUM).unwrap();
        assert_eq!(offer.mline, 1);
        let payload = |profile| offer.codec(profile).payload;
        assert_eq!([66, 77, 100, 88].map(payload), [104, 106, 127, 104]);
        assert_eq!(offer.capture_id, None);
        assert_eq!(
            offer.sound,
            Some(SoundOffer {
                mline: 0,
                payload: 111
            })
        );
        assert!(!offer.tells_estimate(offer.codec(66)));
        let with = CHROMIUM.replace("a=rtpmap:104", "a=rtcp-fb:104 goog-remb\r\na=rtpmap:104");
        let told = Offer::read(&with).unwrap();
        assert!(told.tells_estimate(told.codec(66)) && !told.tells_estimate(told.codec(77)));
        let deaf = CHROMIUM.replace("opus/48000/2", "L16/44100/2");
        assert_eq!(Offer::read(&deaf).unwrap().sound, None);
        let with = CHROMIUM.replace(
            "a=mid:1",
            &format!("a=mid:1\r\na=extmap:9/recvonly {ABS_CAPTURE_TIME}"),
        );
        assert_eq!(Offer::read(&with).unwrap().capture_id, Some(9));
        // The address that is hidden is left out, the other one is not.
        assert!(!offer.text.contains(".local"));
        assert!(offer.text.contains("192.0.2.7"));
    }

    #[test]
    fn what_cannot_be_answered_is_refused_with_the_reason() {
        let why = |text: &str| Offer::read(text).unwrap_err().to_string();
        let without = |what: &str| CHROMIUM.replace(what, "a=x");
        assert!(why("hello").contains("v=0"));
        assert!(why("v=0\r\ns=-\r\n").contains("media section"));
        assert!(why(&without("a=fingerprint:sha-256 AA")).contains("fingerprint"));
        assert!(why(&without("a=mid:1")).contains("mid"));
        assert!(why(&CHROMIUM.replace("a=recvonly", "a=sendonly")).contains("recvonly"));
        assert!(why(&CHROMIUM.replace("packetization-mode=1", "packetization-mode=0")).contains("H.264"));
        assert!(why(&CHROMIUM.replace("m=video 9", "m=video 0")).contains("no video"));
        let many = format!("{CHROMIUM}{}", "m=audio 0 X 0\r\n".repeat(MAX_MEDIA));
        assert!(why(&many).contains("too many"));
    }

    #[test]
    fn nothing_that_is_cut_or_mixed_up_panics() {
        for cut in 0..CHROMIUM.len() {
            if let Ok(offer) = Offer::read(&CHROMIUM[..cut]) {
                offer.codec(100);
            }
        }
        for line in CHROMIUM.lines() {
            for other in [
                "",
                "m=video",
                "m= ",
                "a=fmtp:104",
                "a=rtpmap:104 H264/90000 x",
                "a=candidate:",
                "é",
            ] {
                Offer::read(&CHROMIUM.replace(line, other)).ok();
            }
        }
    }
}
