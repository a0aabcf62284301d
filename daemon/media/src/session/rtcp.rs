//! Sender reports, read raw: the same on every version of GStreamer (the metas came in 1.22).

/// The fields of a sender report that time needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RawReport {
    pub ssrc: u32,
    /// Q32.32 seconds since 1900; 0 when the sender has no wall clock (RFC 3550 section 6.4.1).
    pub ntp: u64,
    pub rtp: u32,
}

/// Packet type of a sender report.
const SR: u8 = 200;

/// Finds the first sender report of a compound RTCP packet (RFC 3550 section 6.1).
pub(super) fn sender_report(mut packet: &[u8]) -> Option<RawReport> {
    while let [first, kind, len_hi, len_lo, ..] = *packet {
        if first >> 6 != 2 {
            return None;
        }
        let bytes = (usize::from(u16::from_be_bytes([len_hi, len_lo])) + 1) * 4;
        if kind == SR {
            let word = |at: usize| {
                let bytes = packet.get(at..at + 4)?;
                Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            };
            let ntp = (u64::from(word(8)?) << 32) | u64::from(word(12)?);
            return Some(RawReport {
                ssrc: word(4)?,
                ntp,
                rtp: word(16)?,
            });
        }
        packet = packet.get(bytes..)?;
    }
    None
}

/// SSRC and timestamp of an RTP packet (RFC 3550 section 5.1).
pub(super) fn rtp_header(packet: &[u8]) -> Option<(u32, u32)> {
    let header: &[u8; 12] = packet.get(..12)?.try_into().ok()?;
    let [v, _, _, _, t0, t1, t2, t3, s0, s1, s2, s3] = *header;
    (v >> 6 == 2).then(|| {
        (
            u32::from_be_bytes([s0, s1, s2, s3]),
            u32::from_be_bytes([t0, t1, t2, t3]),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Vec<u8> {
        let mut packet = vec![0x80, SR, 0, 6];
        for word in [0xdead_beef_u32, 0xeabc_0000, 0x8000_0000, 90_000, 1, 2] {
            packet.extend(word.to_be_bytes());
        }
        packet
    }

    #[test]
    fn finds_a_report_behind_another_packet() {
        let expected = RawReport {
            ssrc: 0xdead_beef,
            ntp: 0xeabc_0000_8000_0000,
            rtp: 90_000,
        };
        assert_eq!(sender_report(&report()), Some(expected));
        let mut compound = vec![0x80, 201, 0, 1, 0, 0, 0, 1];
        compound.extend(report());
        assert_eq!(sender_report(&compound), Some(expected));
    }

    #[test]
    fn bad_packets_give_nothing() {
        for n in 0..20 {
            assert_eq!(sender_report(&report()[..n]), None, "{n} bytes");
        }
        assert_eq!(sender_report(&[0x00; 40]), None);
        assert_eq!(sender_report(&[0x80, 201, 0xff, 0xff, 0, 0]), None);
        assert_eq!(rtp_header(&[0x80; 11]), None);
    }
}
