//! Time in RTP header extensions (RFC 3550 section 5.3.1, RFC 8285): RFC 6051, ONVIF replay, abs-capture-time.

use synoptic_base::{Span, Utc};

use super::Bytes;
use crate::timebase::StampKind;

/// What an `a=extmap` id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionKind {
    /// `urn:ietf:params:rtp-hdrext:ntp-64` (RFC 6051 section 3.3).
    Ntp64,
    /// `urn:ietf:params:rtp-hdrext:ntp-56` (the same section).
    Ntp56,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time`.
    AbsCaptureTime,
}

impl ExtensionKind {
    /// By the URI of an `a=extmap` line.
    pub fn from_uri(uri: &str) -> Option<ExtensionKind> {
        Some(match uri {
            "urn:ietf:params:rtp-hdrext:ntp-64" => ExtensionKind::Ntp64,
            "urn:ietf:params:rtp-hdrext:ntp-56" => ExtensionKind::Ntp56,
            "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time" => ExtensionKind::AbsCaptureTime,
            _ => return None,
        })
    }
}

/// UTC on a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketTime {
    /// How it came.
    pub kind: StampKind,
    /// The camera's clock.
    pub wall: Utc,
    /// abs-capture-time with 16 bytes: capture clock − sender clock, as the sender estimates it.
    pub clock_offset: Option<Span>,
}

/// Profile of the one-byte form (RFC 8285 section 4.2).
const ONE_BYTE: u64 = 0xbede;
/// Profile of the two-byte form, its low four bits free (section 4.3).
const TWO_BYTE: u64 = 0x100;
/// Profile of the ONVIF replay extension (ONVIF Streaming Specification, section 6.3: RTP header extension).
const ONVIF: u64 = 0xabac;

/// All times on an RTP packet. `ids` are the extmap ids of the session description; ONVIF needs none.
///
/// The 56-bit form of RFC 6051 leaves out the upper eight bits of the seconds; they are those that bring it nearest to
/// `near`, which may be off by 97 days.
pub fn packet_times(
    packet: &[u8],
    ids: &[(u8, ExtensionKind)],
    near: Utc,
) -> impl Iterator<Item = PacketTime> {
    let mut found = [None; 4];
    let mut n = 0;
    if let Some((profile, data)) = extension(packet) {
        let mut add = |time: Option<PacketTime>| {
            if let (Some(time), Some(slot)) = (time, found.get_mut(n)) {
                *slot = Some(time);
                n += 1;
            }
        };
        if profile == ONVIF {
            // NTP time, then flags and CSeq. Where another extension follows it, it does so behind these 12 bytes.
            let ntp = (data.len() >= 12).then(|| Bytes(data).uint(8)).flatten();
            add(ntp.and_then(|ntp| time(StampKind::OnvifReplay, ntp)));
        } else if profile == ONE_BYTE || profile >> 4 == TWO_BYTE {
            elements(data, profile == ONE_BYTE, |id, value| {
                if let Some((_, kind)) = ids.iter().find(|(known, _)| *known == id) {
                    add(read(*kind, value, near));
                }
            });
        }
    }
    found.into_iter().flatten()
}

fn time(kind: StampKind, ntp: u64) -> Option<PacketTime> {
    (ntp != 0).then(|| PacketTime {
        kind,
        wall: Utc::from_ntp(ntp),
        clock_offset: None,
    })
}

fn read(kind: ExtensionKind, value: &[u8], near: Utc) -> Option<PacketTime> {
    let mut bytes = Bytes(value);
    match (kind, value.len()) {
        (ExtensionKind::Ntp64, 8) => time(StampKind::Rfc6051, bytes.uint(8)?),
        (ExtensionKind::Ntp56, 7) => time(StampKind::Rfc6051, whole_ntp(bytes.uint(7)?, near)),
        (ExtensionKind::AbsCaptureTime, 8) => time(StampKind::AbsCaptureTime, bytes.uint(8)?),
        (ExtensionKind::AbsCaptureTime, 16) => {
            let wall = time(StampKind::AbsCaptureTime, bytes.uint(8)?)?;
            let offset = bytes.uint(8)? as i64;
            let ns = (i128::from(offset) * 1_000_000_000) >> 32;
            Some(PacketTime {
                clock_offset: i64::try_from(ns).ok().map(Span::from_nanos),
                ..wall
            })
        }
        _ => None,
    }
}

/// The NTP time nearest to `near` whose low 56 bits these are.
fn whole_ntp(low: u64, near: Utc) -> u64 {
    const HALF: u64 = 1 << 55;
    let near = near.to_ntp();
    let ahead = low.wrapping_sub(near) & ((1 << 56) - 1);
    if ahead < HALF {
        near.wrapping_add(ahead)
    } else {
        near.wrapping_add(ahead).wrapping_sub(1 << 56)
    }
}

/// Profile and data of a packet's header extension.
fn extension(packet: &[u8]) -> Option<(u64, &[u8])> {
    let first = *packet.first()?;
    if first >> 6 != 2 || first & 0x10 == 0 {
        return None;
    }
    let mut bytes = Bytes(packet.get(12 + 4 * usize::from(first & 0x0f)..)?);
    let profile = bytes.uint(2)?;
    let words = bytes.uint(2)? as usize;
    Some((profile, bytes.take(words * 4)?))
}

fn elements(mut data: &[u8], one_byte: bool, mut each: impl FnMut(u8, &[u8])) {
    while let [head, rest @ ..] = data {
        if *head == 0 {
            data = rest; // padding
            continue;
        }
        let (id, len, rest) = if one_byte {
            (head >> 4, usize::from(head & 0x0f) + 1, rest)
        } else {
            let [len, rest @ ..] = rest else { return };
            (*head, usize::from(*len), rest)
        };
        if one_byte && id == 15 {
            return; // reserved: stop (RFC 8285 section 4.2)
        }
        let Some((value, rest)) = rest.split_at_checked(len) else {
            return;
        };
        each(id, value);
        data = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NTP: u64 = 0xebcd_1234_8000_0000;

    fn packet(profile: u16, data: &[u8]) -> Vec<u8> {
        let mut p = vec![0x91, 96, 0, 1, 0, 0, 0, 9, 0, 0, 0, 7, 0, 0, 0, 1];
        p.extend(profile.to_be_bytes());
        let mut data = data.to_vec();
        data.resize(data.len().div_ceil(4) * 4, 0);
        p.extend((data.len() as u16 / 4).to_be_bytes());
        p.extend(data);
        p.extend([1, 2, 3]);
        p
    }

    fn one(ids: &[(u8, ExtensionKind)], profile: u16, data: &[u8]) -> Option<PacketTime> {
        let p = packet(profile, data);
        let near = Utc::from_ntp(NTP) + Span::from_secs(30 * 86_400);
        // No prefix may panic.
        for n in 0..p.len() {
            let _ = packet_times(&p[..n], ids, near).count();
        }
        packet_times(&p, ids, near).next()
    }

    #[test]
    fn reads_rfc6051_in_both_forms() {
        let ids = [(3, ExtensionKind::Ntp64), (4, ExtensionKind::Ntp56)];
        let mut data = vec![0, 0x37];
        data.extend(NTP.to_be_bytes());
        let found = one(&ids, 0xbede, &data).unwrap();
        assert_eq!((found.kind, found.wall), (StampKind::Rfc6051, Utc::from_ntp(NTP)));
        let mut data = vec![3, 8];
        data.extend(NTP.to_be_bytes());
        assert_eq!(one(&ids, 0x1000, &data).unwrap().wall, Utc::from_ntp(NTP));
        assert_eq!(one(&ids, 0x1005, &data).unwrap().wall, Utc::from_ntp(NTP));
        let mut data = vec![0x46];
        data.extend(&NTP.to_be_bytes()[1..]);
        assert_eq!(one(&ids, 0xbede, &data).unwrap().wall, Utc::from_ntp(NTP));
    }

    #[test]
    fn reads_abs_capture_time_of_both_lengths() {
        let ids = [(9, ExtensionKind::AbsCaptureTime)];
        let mut data = vec![0x97];
        data.extend(NTP.to_be_bytes());
        assert_eq!(one(&ids, 0xbede, &data).unwrap().clock_offset, None);
        data[0] = 0x9f;
        data.extend((-1_i64 << 31).to_be_bytes());
        let found = one(&ids, 0xbede, &data).unwrap();
        assert_eq!(found.clock_offset, Some(Span::from_millis(-500)));
        assert_eq!(
            (found.kind, found.wall),
            (StampKind::AbsCaptureTime, Utc::from_ntp(NTP))
        );
    }

    #[test]
    fn reads_onvif_and_refuses_rubbish() {
        let mut data = NTP.to_be_bytes().to_vec();
        data.extend([0x80, 1, 0, 0]);
        let found = one(&[], 0xabac, &data).unwrap();
        assert_eq!(
            (found.kind, found.wall),
            (StampKind::OnvifReplay, Utc::from_ntp(NTP))
        );
        assert_eq!(one(&[], 0xabac, &data[..8]), None, "too short");
        assert_eq!(one(&[], 0xabac, &[0; 12]), None, "no time");
        let ids = [(3, ExtensionKind::Ntp64)];
        for bad in [
            &[0x3f, 1, 2][..],
            &[0xf7, 0, 0, 0, 0, 0, 0, 0, 1],
            &[0x33, 1, 2, 3, 4],
            &[],
        ] {
            assert_eq!(one(&ids, 0xbede, bad), None);
        }
        assert_eq!(one(&ids, 0x1000, &[3]), None);
        assert_eq!(one(&ids, 0x4711, &data), None);
        assert_eq!(packet_times(&[0xff; 40], &ids, Utc::from_nanos(0)).count(), 0);
    }
}
