//! The few bytes of RTP and RTCP that the simulated camera sets itself.

/// RTCP packet type of a sender report (RFC 3550, section 6.4.1).
const SENDER_REPORT: u8 = 200;

/// Sets the timestamp of an RTP packet (RFC 3550, section 5.1). `false` when it is none.
pub(crate) fn set_timestamp(packet: &mut [u8], timestamp: u32) -> bool {
    match packet.get_mut(..8) {
        Some(header) if header[0] >> 6 == 2 => {
            header[4..].copy_from_slice(&timestamp.to_be_bytes());
            true
        }
        _ => false,
    }
}

/// Sets the synchronisation source of an RTP packet (RFC 3550, section 5.1). `false` when it is none.
pub(crate) fn set_ssrc(packet: &mut [u8], ssrc: u32) -> bool {
    match packet.get_mut(..12) {
        Some(header) if header[0] >> 6 == 2 => {
            header[8..].copy_from_slice(&ssrc.to_be_bytes());
            true
        }
        _ => false,
    }
}

/// Sets NTP and RTP time of every sender report in a compound RTCP packet; how many there were.
pub(crate) fn set_reports(compound: &mut [u8], ntp: u64, rtp: u32) -> u32 {
    let mut reports = 0;
    let mut rest = compound;
    while rest.len() >= 4 && rest[0] >> 6 == 2 {
        let length = 4 * (usize::from(u16::from_be_bytes([rest[2], rest[3]])) + 1);
        let Some((packet, after)) = rest.split_at_mut_checked(length) else {
            break;
        };
        if packet[1] == SENDER_REPORT && packet.len() >= 28 {
            packet[8..16].copy_from_slice(&ntp.to_be_bytes());
            packet[16..20].copy_from_slice(&rtp.to_be_bytes());
            reports += 1;
        }
        rest = after;
    }
    reports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_set_wherever_they_stand_in_a_compound() {
        let mut packet = vec![0x80, 201, 0, 1, 1, 2, 3, 4];
        packet.extend([0x80, 200, 0, 6]);
        packet.extend([7; 24]);
        assert_eq!(set_reports(&mut packet, 0x0102_0304_0506_0708, 0x0a0b_0c0d), 1);
        assert_eq!(packet[16..28], [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13]);
        assert_eq!((packet[15], packet[28]), (7, 7));
    }

    #[test]
    fn cut_packets_are_left_alone() {
        let mut packet = vec![0x80, 200, 0, 6, 1, 2];
        assert_eq!(set_reports(&mut packet, 1, 1), 0);
        assert!(!set_timestamp(&mut packet, 1));
        let mut rtp = vec![0x80, 96, 0, 1, 0, 0, 0, 0, 5];
        assert!(set_timestamp(&mut rtp, 0x0102_0304));
        assert_eq!(rtp[4..], [1, 2, 3, 4, 5]);
        assert!(!set_ssrc(&mut rtp, 1));
        rtp.extend([0; 4]);
        assert!(set_ssrc(&mut rtp, 0x0506_0708));
        assert_eq!(rtp[4..], [1, 2, 3, 4, 5, 6, 7, 8, 0]);
    }
}
