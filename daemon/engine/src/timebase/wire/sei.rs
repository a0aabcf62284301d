//! UTC in supplemental enhancement information (ITU-T H.264 and H.265, annex D).

use synoptic_base::{Span, Utc};

use super::Bytes;

/// Our own SEI: UUIDv5-like constant, followed by UTC as a big-endian i64 of nanoseconds since 1970.
pub const SYNOPTIC_UUID: [u8; 16] = *b"Synoptic/UTC/v1\0";
/// MISP precision time stamp (MISB ST 0604): microseconds since 1970.
const MISP_MICRO: [u8; 16] = *b"MISPmicrosectime";
/// MISP nano precision time stamp (MISB ST 0603): nanoseconds since 1970.
const MISP_NANO: [u8; 16] = [
    0xcf, 0x84, 0x82, 0x78, 0xee, 0x23, 0x30, 0x6c, 0x92, 0x65, 0xe8, 0xfe, 0xf2, 0x2f, 0xb8, 0xb8,
];
/// OBS broadcast performance metrics, the per-frame timing one (obs-studio plugins/obs-outputs, PR #11004).
const OBS_BPM: [u8; 16] = [
    0x0a, 0xec, 0xff, 0xe7, 0x52, 0x72, 0x4e, 0x2f, 0xa6, 0x2f, 0xd1, 0x9c, 0xd6, 0x1a, 0x93, 0xb5,
];
/// Tag of an RFC 3339 text in BPM.
const BPM_RFC3339: u64 = 1;
/// Event tags of BPM; the composition of the frame is nearest to its capture.
const BPM_COMPOSITION: u64 = 1;
/// payloadType of pic_timing, in H.264.
const PIC_TIMING: usize = 1;
/// payloadType of user_data_unregistered, in both standards.
pub(super) const USER_DATA: usize = 5;
/// A SEI NAL unit longer than this is not read: time fits into far less.
pub(super) const MAX_SEI: usize = 4096;

/// UTC found in SEI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeiTime {
    /// The sender's clock.
    pub utc: Utc,
    /// Who wrote it: `synoptic`, `misp`, `obs`.
    pub by: &'static str,
}

/// Times in a SEI NAL unit (without start code), of H.264 (`header` of 1 byte) or H.265 (2 bytes).
pub fn sei_times(nal: &[u8], header: usize) -> Vec<SeiTime> {
    let payload = nal.get(header..).unwrap_or_default();
    let rbsp = unescaped(&payload[..payload.len().min(MAX_SEI)]);
    let mut found = Vec::new();
    let mut rest = Bytes(&rbsp);
    // The last byte holds the stop bit.
    while rest.0.len() > 2 {
        let (Some(kind), Some(size)) = (ff_coded(&mut rest), ff_coded(&mut rest)) else {
            break;
        };
        let Some(body) = rest.take(size) else { break };
        if kind == USER_DATA {
            found.extend(user_data(body));
        }
    }
    found
}

/// The pic_timing payload in a H.264 SEI NAL unit (without start code), if there is one.
pub fn h264_pic_timing(nal: &[u8]) -> Option<Vec<u8>> {
    let payload = nal.get(1..)?;
    let rbsp = unescaped(&payload[..payload.len().min(MAX_SEI)]);
    let mut rest = Bytes(&rbsp);
    while rest.0.len() > 2 {
        let (kind, size) = (ff_coded(&mut rest)?, ff_coded(&mut rest)?);
        let body = rest.take(size)?;
        if kind == PIC_TIMING {
            return Some(body.to_vec());
        }
    }
    None
}

/// Our own SEI as a payload (type, size, UUID, time): to be put into a NAL unit and escaped by the caller.
pub fn synoptic_sei(utc: Utc) -> Vec<u8> {
    let mut payload = vec![USER_DATA as u8, 24];
    payload.extend(SYNOPTIC_UUID);
    payload.extend(utc.as_nanos().to_be_bytes());
    payload
}

/// `FF FF … n`: both type and size are coded so.
pub(super) fn ff_coded(bytes: &mut Bytes<'_>) -> Option<usize> {
    let mut value = 0;
    loop {
        let byte = bytes.uint(1)? as usize;
        value += byte;
        if byte != 255 {
            return Some(value);
        }
    }
}

fn user_data(body: &[u8]) -> Option<SeiTime> {
    let (uuid, mut rest) = body.split_first_chunk::<16>().map(|(u, r)| (*u, Bytes(r)))?;
    let (ns, by) = match uuid {
        SYNOPTIC_UUID => (rest.uint(8)? as i64, "synoptic"),
        MISP_MICRO => (misp(&mut rest)?.checked_mul(1_000)?, "misp"),
        MISP_NANO => (misp(&mut rest)?, "misp"),
        OBS_BPM => return bpm(&mut rest).map(|utc| SeiTime { utc, by: "obs" }),
        _ => return None,
    };
    (ns > 0).then(|| SeiTime {
        utc: Utc::from_nanos(ns),
        by,
    })
}

/// A status byte, then four pairs of bytes with 0xff between them against emulation (ST 0604).
fn misp(bytes: &mut Bytes<'_>) -> Option<i64> {
    bytes.uint(1)?;
    let mut value = 0_u64;
    for pair in 0..4 {
        value = (value << 16) | bytes.uint(2)?;
        if pair < 3 && bytes.uint(1)? != 0xff {
            return None;
        }
    }
    i64::try_from(value).ok()
}

/// Number of time stamps − 1, then each: type, event, text ended by zero. The first event is the best.
fn bpm(bytes: &mut Bytes<'_>) -> Option<Utc> {
    let count = (bytes.uint(1)? & 0x0f) + 1;
    let mut first = None;
    for _ in 0..count {
        let kind = bytes.uint(1)?;
        let event = bytes.uint(1)?;
        if kind != BPM_RFC3339 {
            return first;
        }
        let end = bytes.0.iter().position(|b| *b == 0)?;
        let text = std::str::from_utf8(bytes.take(end)?).ok()?;
        bytes.take(1)?;
        let Some(utc) = Utc::from_rfc3339(text) else {
            continue;
        };
        if event == BPM_COMPOSITION {
            return Some(utc);
        }
        first.get_or_insert(utc);
    }
    first
}

/// Takes emulation prevention out (`00 00 03` → `00 00`).
pub fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut zeros = 0;
    for &byte in bytes {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

/// UTC of a clock timestamp (pic_timing of H.264, time_code of H.265): a time of day, without a date. It becomes UTC
/// only beside a time `near` it, from a source that is right within half a day.
pub fn h264_pic_timing_clock(hours: u8, minutes: u8, seconds: u8, fraction: Span, near: Utc) -> Option<Utc> {
    const DAY: i64 = 86_400;
    if hours > 23 || minutes > 59 || seconds > 60 || !(0..1_000_000_000).contains(&fraction.as_nanos()) {
        return None;
    }
    let of_day = i64::from(hours) * 3600 + i64::from(minutes) * 60 + i64::from(seconds);
    let midnight = near.as_nanos().div_euclid(DAY * 1_000_000_000);
    (-1..=1)
        .map(|d| Utc::from_nanos(0) + Span::from_secs((midnight + d) * DAY + of_day) + fraction)
        .min_by_key(|utc| (*utc - near).abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nal(payloads: &[&[u8]]) -> Vec<u8> {
        let mut raw = Vec::new();
        for p in payloads {
            raw.extend_from_slice(p);
        }
        raw.push(0x80);
        let mut out = vec![6];
        let mut zeros = 0;
        for b in raw {
            if zeros == 2 && b <= 3 {
                out.push(3);
                zeros = 0;
            }
            zeros = if b == 0 { zeros + 1 } else { 0 };
            out.push(b);
        }
        out
    }

    fn message(body: &[u8]) -> Vec<u8> {
        let mut m = vec![5, body.len() as u8];
        m.extend_from_slice(body);
        m
    }

    fn read(payloads: &[&[u8]]) -> Vec<SeiTime> {
        let nal = nal(payloads);
        for n in 0..nal.len() {
            let _ = sei_times(&nal[..n], 1);
        }
        sei_times(&nal, 1)
    }

    #[test]
    fn reads_our_own_through_emulation_prevention() {
        let utc = Utc::from_nanos(0x1900_0000_0000_0001);
        let found = read(&[&[1, 2, 0, 0], &synoptic_sei(utc)]);
        assert_eq!(found, [SeiTime { utc, by: "synoptic" }]);
    }

    #[test]
    fn reads_misp_and_obs() {
        let us = 1_790_000_000_123_456_u64.to_be_bytes();
        let mut body = MISP_MICRO.to_vec();
        body.extend([
            0x1f, us[0], us[1], 0xff, us[2], us[3], 0xff, us[4], us[5], 0xff, us[6], us[7],
        ]);
        let found = read(&[&message(&body)]);
        assert_eq!(found[0].utc, Utc::from_nanos(1_790_000_000_123_456_000));
        body[19] = 0;
        assert_eq!(read(&[&message(&body)]), [], "no separator");

        let mut body = OBS_BPM.to_vec();
        body.extend([1, 1, 2]);
        body.extend(b"2026-11-21T10:00:00.250Z\0");
        body.extend([1, 1]);
        body.extend(b"2026-11-21T10:00:00.200Z\0");
        let found = read(&[&message(&body)]);
        assert_eq!(found[0].utc.to_rfc3339(), "2026-11-21T10:00:00.200000Z");
    }

    #[test]
    fn rubbish_gives_nothing() {
        for bad in [
            &[][..],
            &[6],
            &[6, 255, 255, 255],
            &[6, 5, 200, 1],
            &[6, 5, 16],
            &[0xff; 64],
            &[0; 64],
        ] {
            assert_eq!(sei_times(bad, 1), []);
        }
    }

    #[test]
    fn a_time_of_day_needs_a_date_nearby() {
        let near = Utc::from_rfc3339("2026-11-22T00:00:01Z").unwrap();
        let found = h264_pic_timing_clock(23, 59, 59, Span::from_millis(500), near).unwrap();
        assert_eq!(found.to_rfc3339(), "2026-11-21T23:59:59.500000Z");
        assert_eq!(h264_pic_timing_clock(24, 0, 0, Span::ZERO, near), None);
    }
}
