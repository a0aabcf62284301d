//! FLV tags for `rtmp2sink`, which sends each buffer that holds one tag as one RTMP message.

use crate::coded::CodedFrame;
use crate::mux::flv;

/// The file's header and the size of no tag (FLV 10.1 annex E.2): a buffer of its own.
const HEADER: usize = 13;

/// What stands before the first picture, in buffers.
pub(super) fn header(first: &CodedFrame) -> Vec<gst::Buffer> {
    let bytes = flv::header(first);
    let (header, mut rest) = bytes.split_at(HEADER.min(bytes.len()));
    let mut out = vec![gst::Buffer::from_slice(header.to_vec())];
    while let Some([_, a, b, c, ..]) = rest.first_chunk::<11>() {
        let data = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        // Head, data, and the tag's own size behind it.
        let (tag, after) = rest.split_at((11 + data + 4).min(rest.len()));
        out.push(gst::Buffer::from_slice(tag.to_vec()));
        rest = after;
    }
    out
}

/// A picture.
pub(super) fn picture(frame: &CodedFrame) -> gst::Buffer {
    gst::Buffer::from_slice(flv::picture(frame))
}
