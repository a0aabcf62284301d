//! Doors to this crate's parsers for the fuzz targets of `synoptic_sim::fuzz`; nothing else uses them.

use synoptic_base::FrameKind;

use super::nal::{self, Codec, Framing, KindReader};
use super::rtcp;

/// Reads bytes as RTCP and as an RTP packet.
pub fn rtcp(bytes: &[u8]) {
    if let Some(report) = rtcp::sender_report(bytes) {
        assert!(bytes.len() >= 20, "{report:?} out of {} bytes", bytes.len());
    }
    if rtcp::rtp_header(bytes).is_some() {
        assert!(bytes.len() >= 12);
    }
}

/// Reads bytes as an access unit, in each framing of each codec.
pub fn nal(bytes: &[u8]) {
    for codec in [Codec::H264, Codec::H265] {
        for framing in [Framing::StartCodes, Framing::Lengths] {
            // Whatever it is, it is an answer: there is no wrong one for rubbish.
            let _kind = nal::kind(codec, framing, bytes);
            let _utc = nal::sei_utc(codec, framing, bytes);
            let mut reader = KindReader::new(codec);
            let first = reader.kind(framing, bytes, || Some(bytes.to_vec()));
            // What an intra picture is by itself it stays with parameter sets.
            assert!(nal::kind(codec, framing, bytes) != FrameKind::I || first == FrameKind::I);
        }
    }
}
