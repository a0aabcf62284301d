//! The SEI that every coded picture carries out of the box: its frame key and its capture time (docs/reference/keys.md).
//!
//! A SEI message user_data_unregistered (ITU-T H.264 section D.1.7) of [`FRAME_KEY_UUID`], then, big endian:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | epoch |
//! | 8 | media time, microseconds |
//! | 8 | capture time, UTC, nanoseconds since 1970, by the box's clock |
//! | 4 | its error bound in microseconds, rounded up; `FFFFFFFF`: the box does not know UTC |
//! | 1 to 31 | stream id, ASCII, to the end of the message |
//!
//! A picture that is shown again, to keep a rate constant, has a message of [`REPEAT_UUID`] behind it: 4 bytes, big endian, how
//! often it was shown before.

use synoptic_base::{Epoch, FrameKey, MediaTime, Span, StreamId, Utc};

use super::Bytes;
use super::sei::{MAX_SEI, USER_DATA, ff_coded, synoptic_sei, unescaped};

/// Names the message.
pub const FRAME_KEY_UUID: [u8; 16] = *b"Synoptic/key/v1\0";
/// Names the message of a picture that is shown again.
pub const REPEAT_UUID: [u8; 16] = *b"Synoptic/rep/v1\0";
/// The error bound of a box that does not know UTC.
const NO_BOUND: u32 = u32::MAX;
/// NAL unit type of SEI in H.264, as a header byte (nal_ref_idc 0).
const H264_SEI: u8 = 6;

/// What the SEI of a picture says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSei {
    /// The picture.
    pub key: FrameKey,
    /// When it was captured.
    pub utc: Utc,
    /// The truth lies within ± this; `None`: the box does not know UTC.
    pub error: Option<Span>,
    /// How often the same frame was shown before; 0: this is its first time.
    pub repeat: u32,
}

/// A SEI NAL unit of H.264 without start code, emulation prevention included. Where UTC is known, the message of
/// [`SYNOPTIC_UUID`](super::SYNOPTIC_UUID) stands first, for readers that want the time alone.
pub fn frame_sei_nal(sei: &FrameSei) -> Vec<u8> {
    let mut messages = Vec::with_capacity(96);
    if sei.error.is_some() {
        messages.extend(synoptic_sei(sei.utc));
    }
    let id = sei.key.stream.as_str().as_bytes();
    messages.extend([USER_DATA as u8, (16 + 24 + id.len()) as u8]);
    messages.extend(FRAME_KEY_UUID);
    messages.extend(sei.key.epoch.0.to_be_bytes());
    messages.extend(sei.key.media_us.as_micros().to_be_bytes());
    messages.extend(sei.utc.as_nanos().to_be_bytes());
    let bound = sei.error.map_or(NO_BOUND, |e| {
        u32::try_from((e.as_nanos() + 999).div_euclid(1_000)).unwrap_or(NO_BOUND - 1)
    });
    messages.extend(bound.to_be_bytes());
    messages.extend(id);
    if sei.repeat > 0 {
        messages.extend([USER_DATA as u8, 16 + 4]);
        messages.extend(REPEAT_UUID);
        messages.extend(sei.repeat.to_be_bytes());
    }
    messages.push(0x80); // rbsp_trailing_bits
    let mut nal = Vec::with_capacity(messages.len() + 8);
    nal.push(H264_SEI);
    escape_into(&mut nal, &messages);
    nal
}

/// Reads the message from a SEI NAL unit without start code; `header` is 1 byte in H.264 and 2 in H.265.
pub fn frame_sei(nal: &[u8], header: usize) -> Option<FrameSei> {
    let payload = nal.get(header..)?;
    let rbsp = unescaped(&payload[..payload.len().min(MAX_SEI)]);
    let mut rest = Bytes(&rbsp);
    let mut of = None;
    // The last byte holds the stop bit.
    while rest.0.len() > 2 {
        // What is cut off behind the key takes nothing from it.
        let (Some(kind), Some(size)) = (ff_coded(&mut rest), ff_coded(&mut rest)) else {
            break;
        };
        let Some(body) = rest.take(size) else { break };
        if kind != USER_DATA {
            continue;
        }
        match (&mut of, body.strip_prefix(&REPEAT_UUID)) {
            (Some(sei), Some(again)) => repeated(sei, again),
            (None, _) => of = message(body),
            (Some(_), None) => {}
        }
    }
    of
}

fn repeated(sei: &mut FrameSei, body: &[u8]) {
    if let Some(times) = body.first_chunk::<4>() {
        sei.repeat = u32::from_be_bytes(*times);
    }
}

fn message(body: &[u8]) -> Option<FrameSei> {
    let mut rest = Bytes(body.strip_prefix(&FRAME_KEY_UUID)?);
    let epoch = Epoch(rest.uint(4)? as u32);
    let media_us = MediaTime::from_micros(i64::try_from(rest.uint(8)?).ok()?);
    let utc = Utc::from_nanos(rest.uint(8)? as i64);
    let bound = rest.uint(4)? as u32;
    let stream = StreamId::new(std::str::from_utf8(rest.0).ok()?).ok()?;
    Some(FrameSei {
        key: FrameKey {
            stream,
            epoch,
            media_us,
        },
        utc,
        error: (bound != NO_BOUND).then(|| Span::from_micros(i64::from(bound))),
        repeat: 0,
    })
}

/// Appends a payload with emulation prevention (ITU-T H.264 section 7.4.1.1): no `00 00 0x` with x <= 3 in it.
pub fn escape_into(out: &mut Vec<u8>, payload: &[u8]) {
    let mut zeros = 0;
    for &byte in payload {
        if zeros >= 2 && byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::super::sei_times;
    use super::*;

    fn sei(media_us: i64, error: Option<Span>) -> FrameSei {
        FrameSei {
            key: FrameKey {
                stream: StreamId::new("gate").unwrap(),
                epoch: Epoch(3),
                media_us: MediaTime::from_micros(media_us),
            },
            utc: Utc::from_nanos(1_795_000_000_123_456_789),
            error,
            repeat: 0,
        }
    }

    #[test]
    fn a_picture_that_is_shown_again_has_the_same_key_and_says_so() {
        let first = sei(7, Some(Span::from_micros(2)));
        let again = FrameSei { repeat: 3, ..first };
        let nal = frame_sei_nal(&again);
        assert_eq!(frame_sei(&nal, 1), Some(again));
        assert_eq!(frame_sei(&nal, 1).unwrap().key, first.key);
        // Who reads no such message reads the key all the same.
        let plain = frame_sei_nal(&first);
        assert_eq!(nal[..plain.len() - 1], plain[..plain.len() - 1]);
        for n in 0..nal.len() {
            frame_sei(&nal[..n], 1);
        }
    }

    #[test]
    fn what_is_written_is_read_and_the_time_alone_too() {
        for media_us in [0, 1, 256, 0x0001_0000_0300, 1_234_567, (1 << 53) - 1] {
            let written = sei(media_us, Some(Span::from_micros(1_500)));
            let nal = frame_sei_nal(&written);
            assert_eq!(frame_sei(&nal, 1), Some(written));
            assert_eq!(sei_times(&nal, 1)[0].utc, written.utc);
            assert!(
                !nal.windows(3).any(|w| w[0] == 0 && w[1] == 0 && w[2] < 3),
                "a start code within: {nal:02x?}"
            );
            for n in 0..nal.len() {
                frame_sei(&nal[..n], 1);
            }
        }
    }

    #[test]
    fn a_box_without_utc_says_so() {
        let nal = frame_sei_nal(&sei(7, None));
        assert_eq!(frame_sei(&nal, 1).unwrap().error, None);
        assert!(sei_times(&nal, 1).is_empty());
    }

    #[test]
    fn bounds_are_rounded_up() {
        let nal = frame_sei_nal(&sei(7, Some(Span::from_nanos(1_001))));
        assert_eq!(frame_sei(&nal, 1).unwrap().error, Some(Span::from_micros(2)));
    }

    #[test]
    fn rubbish_is_no_key() {
        for bad in [&[][..], &[6], &[6, 5, 16], &[0xff; 80], &[0; 80]] {
            assert_eq!(frame_sei(bad, 1), None);
        }
        let mut nal = frame_sei_nal(&sei(7, None));
        let at = nal.len() - 2;
        nal[at] = b'/'; // no id
        assert_eq!(frame_sei(&nal, 1), None);
    }
}
