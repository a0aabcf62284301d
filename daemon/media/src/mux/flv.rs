//! FLV (Adobe Flash Video File Format Specification 10.1, annex E) of one H.264 track and, where there is sound, one of AAC,
//! for HTTP-FLV and RTMP.
//!
//! Time stamps are the epoch's media time in milliseconds, 32 bits. Players subtract the first one; so onMetaData, which
//! stands before it, says what it was (`timestampBase`) and which `stream` and `epoch` it is of.

use std::sync::Arc;

use super::avcc;
use crate::coded::{CodedFrame, CodedSound, SoundFormat, SoundWant};

const SCRIPT: u8 = 18;
const VIDEO: u8 = 9;
const AUDIO: u8 = 8;
/// TypeFlags of the file's header (annex E.2).
const HAS_VIDEO: u8 = 1;
const HAS_AUDIO: u8 = 4;
/// SoundFormat AAC; rate, size and kind are always these for AAC, whatever it is (annex E.4.2.1).
const AAC: u8 = 0xaf;
/// CodecID of H.264, with the frame type before it.
const KEY_AVC: u8 = 0x17;
const INTER_AVC: u8 = 0x27;

/// Writes one epoch of a stream.
#[derive(Debug, Default)]
pub struct FlvWriter {
    with_sound: bool,
    begun: Option<u32>,
    told: Option<Arc<SoundFormat>>,
}

impl FlvWriter {
    /// Nothing is written yet; `with_sound`: sound is known to come. Players wait for what the header promises.
    pub fn new(with_sound: bool) -> FlvWriter {
        FlvWriter {
            with_sound,
            ..FlvWriter::default()
        }
    }

    /// A picture; before the first one, what a file begins with.
    pub fn picture(&mut self, frame: &CodedFrame) -> Vec<u8> {
        let mut out = match self.begun {
            Some(_) => Vec::new(),
            None => header(frame, self.with_sound),
        };
        self.begun = Some(frame.key.epoch.0);
        out.extend(picture(frame));
        out
    }

    /// A frame of sound; before the first one, its configuration. Empty for what FLV cannot carry, is of another epoch, or
    /// was not announced.
    pub fn sound(&mut self, sound: &CodedSound) -> Vec<u8> {
        let mut out = Vec::new();
        let fits = self.with_sound && SoundWant::Flv.takes(sound.format.codec);
        if !fits || self.begun != Some(sound.epoch.0) {
            return out;
        }
        let at_ms = sound.media_us.max(0).div_euclid(1_000) as u32;
        if self.told.as_ref() != Some(&sound.format) {
            tag(&mut out, AUDIO, at_ms, &[&[AAC, 0], &sound.format.config]);
            self.told = Some(sound.format.clone());
        }
        tag(&mut out, AUDIO, at_ms, &[&[AAC, 1], &sound.data]);
        out
    }
}

/// What stands before the first picture: the file's header, onMetaData, and the parameter sets.
fn header(first: &CodedFrame, with_sound: bool) -> Vec<u8> {
    // Version 1, what is in it, nine bytes; then the size of no tag.
    let flags = HAS_VIDEO | if with_sound { HAS_AUDIO } else { 0 };
    let mut out = vec![b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0];
    let base_ms = timestamp_ms(first);
    let size = first.format.size;
    let mut script = Vec::new();
    amf_string(&mut script, "onMetaData");
    let mut numbers = vec![
        ("width", f64::from(size.width)),
        ("height", f64::from(size.height)),
        ("framerate", first.format.fps.unwrap_or(0.0)),
        ("videocodecid", 7.0),
        ("epoch", f64::from(first.key.epoch.0)),
        ("timestampBase", f64::from(base_ms)),
        ("mediaUsBase", first.key.media_us.as_micros() as f64),
        ("utcBaseMs", first.stamp.utc.as_nanos() as f64 / 1e6),
    ];
    if with_sound {
        numbers.push(("audiocodecid", 10.0));
    }
    script.push(8); // ECMA array
    script.extend((numbers.len() as u32 + 1).to_be_bytes());
    for (name, value) in numbers {
        amf_name(&mut script, name);
        script.push(0);
        script.extend(value.to_be_bytes());
    }
    amf_name(&mut script, "stream");
    amf_string(&mut script, first.key.stream.as_str());
    script.extend([0, 0, 9]);
    // It is of the file, not of a time: at any other one FFmpeg takes it for a track of texts.
    tag(&mut out, SCRIPT, 0, &[&script]);
    tag(
        &mut out,
        VIDEO,
        base_ms,
        &[&[KEY_AVC, 0, 0, 0, 0], &avcc(&first.format)],
    );
    out
}

/// A picture.
fn picture(frame: &CodedFrame) -> Vec<u8> {
    let unit = frame.length_prefixed();
    let offset_ms = (frame.shown_us() - frame.decode_us).div_euclid(1_000) as i32;
    let [_, high, middle, low] = offset_ms.to_be_bytes();
    let kind = if frame.keyframe { KEY_AVC } else { INTER_AVC };
    let mut out = Vec::with_capacity(unit.len() + 24);
    tag(
        &mut out,
        VIDEO,
        timestamp_ms(frame),
        &[&[kind, 1, high, middle, low], &unit],
    );
    out
}

/// The time stamp of a picture: its media time in the order of decoding, floored; it wraps after 49.7 days.
pub fn timestamp_ms(frame: &CodedFrame) -> u32 {
    frame.decode_us.max(0).div_euclid(1_000) as u32
}

fn tag(out: &mut Vec<u8>, kind: u8, timestamp_ms: u32, parts: &[&[u8]]) {
    let begin = out.len();
    let bytes: usize = parts.iter().map(|p| p.len()).sum();
    out.push(kind);
    out.extend(&(bytes as u32).to_be_bytes()[1..]);
    let [highest, rest @ ..] = timestamp_ms.to_be_bytes();
    out.extend(rest);
    out.extend([highest, 0, 0, 0]); // the upper 8 bits; stream 0
    parts.iter().for_each(|part| out.extend_from_slice(part));
    let size = (out.len() - begin) as u32;
    out.extend(size.to_be_bytes());
}

/// AMF0: a string with its marker.
fn amf_string(out: &mut Vec<u8>, text: &str) {
    out.push(2);
    amf_name(out, text);
}

fn amf_name(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.as_bytes());
}
