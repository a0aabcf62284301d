//! One coded picture. What is sent of it is made when somebody first asks, once for all.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use synoptic_base::{Captured, FrameKey, FrameKind, Mono, Span, Stamp};
use synoptic_engine::timebase::wire::{FRAME_KEY_UUID, FrameSei, frame_sei, frame_sei_nal};

use super::CodedFormat;

/// NAL unit types of H.264 (ITU-T H.264 table 7-1).
const SEI: u8 = 6;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const FILLER: u8 = 12;
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// How the NAL units of an access unit are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A start code before each.
    StartCodes,
    /// A length of four bytes before each.
    Lengths,
}

/// A picture as GStreamer has it.
#[derive(Clone, Debug)]
pub(crate) struct AccessUnit {
    pub(crate) buffer: gst::Buffer,
    pub(crate) framing: Framing,
}

/// Where a picture stands in an output of constant rate (`synoptic_engine::pacing::ConstantRate`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// The slot is so much later than the capture of the picture; earlier by half an interval at most.
    pub later: Span,
    /// How often the same frame was shown before.
    pub repeat: u32,
}

/// A coded picture with all that is known of it.
#[derive(Debug)]
pub struct CodedFrame {
    /// Its key: that of the decoded frame.
    pub key: FrameKey,
    /// When it was captured.
    pub captured: Captured,
    /// The same in UTC, by what the box knew when the picture left.
    pub stamp: Stamp,
    /// When its first byte reached the box.
    pub arrival: Mono,
    /// I, P, B or unknown.
    pub kind: FrameKind,
    /// An IDR picture: decoding can begin here.
    pub keyframe: bool,
    /// Pictures before this one are missing, or it begins an epoch.
    pub discontinuity: bool,
    /// The format of this picture.
    pub format: Arc<CodedFormat>,
    /// Media time in the order of decoding (what a container calls DTS), microseconds. Equals [`CodedFrame::shown_us`] where
    /// no picture is shown out of order.
    pub decode_us: i64,
    /// How long it is shown, microseconds, by the pictures before it; 0: not known.
    pub duration_us: u32,
    /// Where it is shown, in an output of constant rate; at its own time where that is no slot's.
    pub slot: Slot,
    pub(crate) unit: AccessUnit,
    pub(crate) written: OnceLock<Written>,
}

/// NAL units one after the other, each behind a start code of four bytes.
#[derive(Debug)]
pub(crate) struct Written {
    bytes: Bytes,
    /// Where each start code begins.
    at: Vec<usize>,
}

impl CodedFrame {
    /// Bytes of the picture as it came: what queues count.
    pub fn size(&self) -> usize {
        self.unit.buffer.size()
    }

    /// Media time at which it is shown, microseconds: that of the key but in an output of constant rate.
    pub fn shown_us(&self) -> i64 {
        self.key.media_us.as_micros() + self.slot.later.as_micros_floor()
    }

    /// The instant at which it is shown: its capture but in an output of constant rate.
    pub fn shown_mono(&self) -> Mono {
        self.captured.mono + self.slot.later
    }

    /// The access unit in Annex B form, for H.264 with a SEI that holds key and UTC; an IDR picture has its parameter sets
    /// before it. Empty when GStreamer cannot map the buffer.
    pub fn annex_b(&self) -> Bytes {
        self.written().bytes.clone()
    }

    /// The access unit with the length of each NAL unit before it, in four bytes (ISO/IEC 14496-15), without parameter
    /// sets: containers have them elsewhere.
    pub fn length_prefixed(&self) -> Vec<u8> {
        let written = self.written();
        let mut out = Vec::with_capacity(written.bytes.len());
        let ends = written.at.iter().skip(1).copied().chain([written.bytes.len()]);
        for (begin, end) in written.at.iter().zip(ends) {
            let nal = &written.bytes[begin + START_CODE.len()..end];
            if nal.first().is_some_and(|h| matches!(h & 0x1f, SPS | PPS)) {
                continue;
            }
            out.extend((nal.len() as u32).to_be_bytes());
            out.extend_from_slice(nal);
        }
        out
    }

    fn written(&self) -> &Written {
        self.written.get_or_init(|| {
            let Ok(map) = self.unit.buffer.map_readable() else {
                log::error!("{}: its coded picture cannot be mapped", self.key);
                return Written {
                    bytes: Bytes::new(),
                    at: Vec::new(),
                };
            };
            let sei = FrameSei {
                key: self.key,
                utc: self.stamp.utc,
                error: self.stamp.error,
                repeat: self.slot.repeat,
            };
            write(
                nals(self.unit.framing, &map),
                self.keyframe.then_some(&*self.format),
                &sei,
            )
        })
    }
}

/// Writes an access unit: `format` of an IDR picture, then our SEI, then what the camera sent.
fn write<'a>(nals: impl Iterator<Item = &'a [u8]>, format: Option<&CodedFormat>, sei: &FrameSei) -> Written {
    let mut bytes = Vec::new();
    let mut at = Vec::new();
    let mut put = |nal: &[u8]| {
        at.push(bytes.len());
        bytes.extend(START_CODE);
        bytes.extend_from_slice(nal);
    };
    if let Some(format) = format {
        format.sps.iter().chain(&format.pps).for_each(|nal| put(nal));
    }
    put(&frame_sei_nal(sei));
    for nal in nals {
        let Some(kind) = nal.first().map(|h| h & 0x1f) else {
            continue;
        };
        let ours = kind == SEI
            && nal.windows(FRAME_KEY_UUID.len()).any(|w| w == FRAME_KEY_UUID)
            && frame_sei(nal, 1).is_some();
        match kind {
            DELIMITER | FILLER => {}
            SPS | PPS if format.is_some() => {}
            // Of a box before this one: its key is not ours.
            SEI if ours => {}
            _ => put(nal),
        }
    }
    Written {
        bytes: bytes.into(),
        at,
    }
}

/// The NAL units of an access unit, whole, without trailing zeros. What is cut off is left out.
pub(crate) fn nals(framing: Framing, unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = unit;
    if framing == Framing::StartCodes {
        rest = start_code(rest).map_or(&[][..], |(_, after)| after);
    }
    std::iter::from_fn(move || match framing {
        Framing::Lengths => {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let nal;
            (nal, rest) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            Some(nal)
        }
        Framing::StartCodes => {
            if rest.is_empty() {
                return None;
            }
            let (mut nal, after) = start_code(rest).unwrap_or((rest, &[]));
            rest = after;
            while let [head @ .., 0] = nal {
                nal = head;
            }
            Some(nal)
        }
    })
}

/// What stands before and after the next start code.
fn start_code(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut from = 0;
    loop {
        // Most bytes are not 1: only those are looked at twice.
        let one = from + bytes.get(from..)?.iter().position(|b| *b == 1)?;
        if one >= 2 && bytes[one - 1] == 0 && bytes[one - 2] == 0 {
            return Some((&bytes[..one - 2], &bytes[one + 1..]));
        }
        from = one + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use synoptic_base::{Epoch, MediaTime, Size, StreamId, Utc};

    use crate::coded::VideoCodec;

    fn sei() -> FrameSei {
        FrameSei {
            key: FrameKey {
                stream: StreamId::new("gate").unwrap(),
                epoch: Epoch(3),
                media_us: MediaTime::from_micros(1_234_567),
            },
            utc: Utc::from_nanos(1_795_000_000_000_000_000),
            error: Some(Span::from_millis(2)),
            repeat: 0,
        }
    }

    fn format() -> CodedFormat {
        CodedFormat {
            codec: VideoCodec::H264,
            rfc6381: "avc1.64001f".to_owned(),
            size: Size::new(640, 360),
            fps: None,
            b_frames: false,
            transcoded: None,
            sps: vec![vec![0x67, 1]],
            pps: vec![vec![0x68, 2]],
        }
    }

    #[test]
    fn nals_are_found_in_either_framing() {
        let stream = [
            0, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x65, 1, 1, 0, 1, 7, 0, 0,
        ];
        let found: Vec<&[u8]> = nals(Framing::StartCodes, &stream).collect();
        assert_eq!(found, [&[9, 0xf0][..], &[0x67, 1], &[0x65, 1, 1, 0, 1, 7]]);
        let lengths = [0, 0, 0, 2, 9, 0xf0, 0, 0, 0, 1, 0x65, 0, 0, 0, 9, 1];
        let found: Vec<&[u8]> = nals(Framing::Lengths, &lengths).collect();
        assert_eq!(found, [&[9, 0xf0][..], &[0x65]]);
        for rubbish in [&[][..], &[0, 0, 1], &[1; 5], &[0; 5]] {
            assert!(nals(Framing::StartCodes, rubbish).count() <= 1);
        }
    }

    #[test]
    fn an_idr_picture_has_its_parameter_sets_and_one_sei_of_ours() {
        let other = frame_sei_nal(&FrameSei { error: None, ..sei() });
        let unit: [&[u8]; 6] = [
            &[9, 0xf0],
            &[0x67, 9, 9],
            &[0x68, 9],
            &other,
            &[6, 1, 1, 0, 0x80],
            &[0x65, 5],
        ];
        let written = write(unit.into_iter(), Some(&format()), &sei());
        let found: Vec<&[u8]> = nals(Framing::StartCodes, &written.bytes).collect();
        let kinds: Vec<u8> = found.iter().map(|n| n[0] & 0x1f).collect();
        assert_eq!(kinds, [7, 8, 6, 6, 5]);
        assert_eq!((found[0], found[1]), (&[0x67, 1][..], &[0x68, 2][..]));
        assert_eq!(frame_sei(found[2], 1), Some(sei()));
        assert_eq!(written.at.len(), 5);
    }

    #[test]
    fn a_later_picture_keeps_what_the_camera_sent() {
        let unit: [&[u8]; 3] = [&[0x68, 9], &[0x41, 5], &[12, 0xff]];
        let written = write(unit.into_iter(), None, &sei());
        let kinds: Vec<u8> = nals(Framing::StartCodes, &written.bytes)
            .map(|n| n[0] & 0x1f)
            .collect();
        assert_eq!(kinds, [6, 8, 1]);
    }
}
