//! What fragmented MP4 says of sound: AAC (ISO/IEC 14496-14 section 5.6) and Opus ("Encapsulation of Opus in ISO Base Media
//! File Format" 0.8.1, section 4.3).

use super::fmp4::Writer;
use crate::coded::{SoundCodec, SoundFormat};

/// objectTypeIndication of AAC (ISO/IEC 14496-1 table 5).
const AAC: u8 = 0x40;
/// streamType audio, with the reserved bit (section 7.2.6.6).
const AUDIO_STREAM: u8 = 0x15;

/// The sample entry of a sound track. Only AAC and Opus have one here.
pub(super) fn sound_entry(w: &mut Writer, format: &SoundFormat) {
    let opus = format.codec == SoundCodec::Opus;
    w.atom(if opus { b"Opus" } else { b"mp4a" }, |w| {
        w.bytes(&[0; 6]);
        w.u16(&[1]); // data_reference_index
        w.bytes(&[0; 8]);
        w.u16(&[format.channels, 16, 0, 0]);
        // 16.16 fixed point: what has more than 16 bits is 0 (Opus is always 48 kHz here).
        w.u32(&[u32::from(u16::try_from(format.rate_hz).unwrap_or(0)) << 16]);
        if opus {
            w.atom(b"dOps", |w| {
                w.bytes(&[0, format.channels as u8]);
                w.u16(&[format.pre_skip]);
                w.u32(&[format.rate_hz]);
                w.u16(&[0]); // gain
                w.bytes(&[0]); // mapping family 0: mono or stereo
            });
        } else {
            w.full(b"esds", 0, 0, |w| w.bytes(&descriptors(&format.config)));
        }
    });
}

/// ES_Descriptor with what the decoder needs (ISO/IEC 14496-1 section 7.2.6.5). Lengths of one byte suffice: an
/// AudioSpecificConfig has a few bytes.
fn descriptors(config: &[u8]) -> Vec<u8> {
    let specific = descriptor(5, config);
    let mut decoder = vec![AAC, AUDIO_STREAM];
    decoder.extend([0; 11]); // buffer size and bit rates: not told
    decoder.extend(specific);
    let mut stream = vec![0, 0, 0];
    stream.extend(descriptor(4, &decoder));
    stream.extend(descriptor(6, &[2]));
    descriptor(3, &stream)
}

fn descriptor(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag, content.len().min(127) as u8];
    out.extend_from_slice(&content[..content.len().min(127)]);
    out
}
