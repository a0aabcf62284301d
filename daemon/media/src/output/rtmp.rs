//! FLV tags for `rtmp2sink`, which sends each buffer that holds one tag as one RTMP message.

/// The file's header and the size of no tag (FLV 10.1 annex E.2): a buffer of its own.
const HEADER: usize = 13;
/// What every file begins with.
const SIGNATURE: &[u8] = b"FLV";

/// What a [`FlvWriter`](crate::mux::flv::FlvWriter) wrote, in buffers of one tag each.
pub(super) fn buffers(bytes: &[u8]) -> Vec<gst::Buffer> {
    let mut rest = bytes;
    let mut out = Vec::new();
    if bytes.starts_with(SIGNATURE) {
        let (header, after) = bytes.split_at(HEADER.min(bytes.len()));
        out.push(gst::Buffer::from_slice(header.to_vec()));
        rest = after;
    }
    while let Some([_, a, b, c, ..]) = rest.first_chunk::<11>() {
        let data = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        // Head, data, and the tag's own size behind it.
        let (tag, after) = rest.split_at((11 + data + 4).min(rest.len()));
        out.push(gst::Buffer::from_slice(tag.to_vec()));
        rest = after;
    }
    out
}
