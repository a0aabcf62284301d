//! The header before each picture on the video WebSocket (docs/reference/live.md).

use synoptic_media::coded::CodedFrame;

/// Bytes of the header.
pub(super) const HEADER: usize = 40;
const VERSION: u8 = 1;
const KEY: u8 = 1;
const INIT: u8 = 2;
const DISCONTINUITY: u8 = 4;
/// The error bound of a box that does not know UTC.
const NO_BOUND: u32 = u32::MAX;

/// A picture with its header. `payload` is the access unit or the fragment.
pub(super) fn picture(frame: &CodedFrame, payload: &[u8]) -> Vec<u8> {
    let key = if frame.keyframe { KEY } else { 0 };
    let gap = if frame.discontinuity { DISCONTINUITY } else { 0 };
    let bound = frame.stamp.error.map_or(NO_BOUND, |e| {
        u32::try_from((e.as_nanos() + 999).div_euclid(1_000)).unwrap_or(NO_BOUND - 1)
    });
    let mut out = Vec::with_capacity(HEADER + payload.len());
    out.extend([VERSION, key | gap, 0, 0]);
    out.extend(frame.key.epoch.0.to_le_bytes());
    out.extend(frame.key.media_us.as_micros().to_le_bytes());
    out.extend(frame.stamp.utc.as_nanos().div_euclid(1_000).to_le_bytes());
    out.extend(bound.to_le_bytes());
    out.extend(frame.duration_us.to_le_bytes());
    out.extend(frame.decode_us.to_le_bytes());
    out.extend_from_slice(payload);
    out
}

/// An initialization segment of `epoch` with its header.
pub(super) fn init_segment(epoch: u32, segment: &[u8]) -> Vec<u8> {
    let mut out = vec![0; HEADER];
    out[..2].copy_from_slice(&[VERSION, INIT]);
    out[4..8].copy_from_slice(&epoch.to_le_bytes());
    out[24..28].copy_from_slice(&NO_BOUND.to_le_bytes());
    out.extend_from_slice(segment);
    out
}
