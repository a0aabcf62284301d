//! Containers for coded pictures: bytes out, nothing else.
//!
//! The boxes of fragmented MP4 and the tags of FLV that a track of H.264 and one of sound need are written here: a general
//! library (mp4-atom 0.17 was looked at) brings more code and crates than these have lines, and copies each picture once
//! more.

pub mod flv;
pub mod fmp4;
pub mod hls;
mod sound_entry;

use crate::coded::CodedFormat;

/// AVCDecoderConfigurationRecord (ISO/IEC 14496-15 section 5.3.3.1.2), lengths of four bytes.
fn avcc(format: &CodedFormat) -> Vec<u8> {
    let profile = format
        .sps
        .first()
        .and_then(|sps| sps.get(1..4))
        .unwrap_or(&[0x42, 0, 0x1e]);
    let mut out = vec![1];
    out.extend_from_slice(profile);
    out.push(0xff); // lengthSizeMinusOne = 3
    for (marker, sets) in [(0xe0, &format.sps), (0, &format.pps)] {
        out.push(marker | sets.len().min(31) as u8);
        for set in sets.iter().take(31) {
            out.extend((set.len() as u16).to_be_bytes());
            out.extend_from_slice(set);
        }
    }
    out
}
