//! The few bytes of RTP and RTCP that say when a picture was captured.

/// RTCP packet type of a sender report (RFC 3550 section 6.4.1).
const SENDER_REPORT: u8 = 200;
/// `defined by profile` of one-byte header extensions (RFC 8285 section 4.2).
const ONE_BYTE: u16 = 0xbede;
/// Ticks of RTP time a second, of every video payload (RFC 6184 section 8.2.1).
pub(crate) const VIDEO_HZ: u32 = 90_000;

/// The time stamp of an RTP packet (RFC 3550 section 5.1); `None` when it is none.
pub(crate) fn timestamp(packet: &[u8]) -> Option<u32> {
    let header = packet.first_chunk::<12>()?;
    let is_rtp = header[0] >> 6 == 2;
    is_rtp.then(|| u32::from_be_bytes([header[4], header[5], header[6], header[7]]))
}

/// `ticks` of `rate_hz` a second at `ns` nanoseconds later (or earlier).
pub(crate) fn after(ticks: u32, ns: i64, rate_hz: u32) -> u32 {
    let more = (i128::from(ns) * i128::from(rate_hz)).div_euclid(1_000_000_000);
    ticks.wrapping_add(more as u32)
}

/// Writes `ntp` into the RFC 6051 header extension with `id`, if the packet has it (RFC 6051 section 3.3: 8 bytes of NTP
/// time).
pub(super) fn set_ntp_extension(packet: &mut [u8], id: u8, ntp: u64) -> bool {
    let Some(header) = packet.first_chunk::<12>() else {
        return false;
    };
    if header[0] >> 6 != 2 || header[0] & 0x10 == 0 {
        return false;
    }
    let at = 12 + 4 * usize::from(header[0] & 0x0f);
    let Some([a, b, c, d]) = packet.get(at..).and_then(|p| p.first_chunk::<4>()).copied() else {
        return false;
    };
    let length = 4 * usize::from(u16::from_be_bytes([c, d]));
    if u16::from_be_bytes([a, b]) != ONE_BYTE {
        return false;
    }
    let Some(mut rest) = packet.get_mut(at + 4..at + 4 + length) else {
        return false;
    };
    while let Some((first, after)) = rest.split_first_mut() {
        if *first == 0 {
            rest = after; // padding
            continue;
        }
        let bytes = usize::from(*first & 0x0f) + 1;
        let is_ours = *first >> 4 == id && bytes == 8;
        let Some((data, after)) = after.split_at_mut_checked(bytes) else {
            return false;
        };
        if is_ours {
            data.copy_from_slice(&ntp.to_be_bytes());
            return true;
        }
        rest = after;
    }
    false
}

/// Filler data as a single NAL unit packet (ITU-T H.264 section 7.3.2.7, RFC 6184 section 5.6): decoders pass over it.
const FILLER: [u8; 3] = [0x0c, 0xff, 0x80];

/// Puts filler data in the place of an H.264 packet's payload; the packet's new length. What is too short stays as it is.
pub(super) fn fill(packet: &mut [u8]) -> Option<usize> {
    let header = packet.first_chunk::<12>()?;
    if header[0] >> 6 != 2 {
        return None;
    }
    let mut at = 12 + 4 * usize::from(header[0] & 0x0f);
    if header[0] & 0x10 != 0 {
        let [_, _, c, d] = *packet.get(at..)?.first_chunk::<4>()?;
        at += 4 + 4 * usize::from(u16::from_be_bytes([c, d]));
    }
    packet
        .get_mut(at..)?
        .first_chunk_mut::<3>()?
        .copy_from_slice(&FILLER);
    packet[0] &= !0x20; // without padding at the end
    Some(at + FILLER.len())
}

/// The packet with a one-byte header extension more (RFC 8285 section 4.2): `id` is 1 to 14. `None` when it is no RTP, or has
/// extensions of another form.
pub(crate) fn with_extension(packet: &[u8], id: u8, data: &[u8; 8]) -> Option<Vec<u8>> {
    let header = packet.first_chunk::<12>()?;
    if header[0] >> 6 != 2 || !(1..=14).contains(&id) {
        return None;
    }
    let at = 12 + 4 * usize::from(header[0] & 0x0f);
    let fixed = packet.get(..at)?;
    let rest = packet.get(at..)?;
    let (there, payload): (&[u8], &[u8]) = if header[0] & 0x10 == 0 {
        (&[], rest)
    } else {
        let [a, b, c, d] = *rest.first_chunk::<4>()?;
        let length = 4 * usize::from(u16::from_be_bytes([c, d]));
        if u16::from_be_bytes([a, b]) != ONE_BYTE {
            return None;
        }
        (rest.get(4..4 + length)?, rest.get(4 + length..)?)
    };
    let length = (there.len() + 1 + data.len()).next_multiple_of(4);
    let mut out = Vec::with_capacity(packet.len() + 16);
    out.extend_from_slice(fixed);
    out[0] |= 0x10;
    out.extend(ONE_BYTE.to_be_bytes());
    out.extend(u16::try_from(length / 4).ok()?.to_be_bytes());
    // Padding that was there stays between.
    out.extend_from_slice(there);
    out.push(id << 4 | 7);
    out.extend_from_slice(data);
    out.resize(at + 4 + length, 0);
    out.extend_from_slice(payload);
    Some(out)
}

/// `defined by profile` of the ONVIF replay extension (ONVIF Streaming Specification, section 6.3).
const ONVIF: u16 = 0xabac;

/// What the ONVIF replay extension says of an access unit besides its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OnvifFlags {
    /// C: decoding can begin here.
    pub(super) clean_point: bool,
    /// D: something is missing before it.
    pub(super) discontinuity: bool,
}

/// The packet with the ONVIF replay extension: NTP time, flags, CSeq of the PLAY that it answers (0: there is none, the pipeline
/// is shared). `None` when it is no RTP, or has an extension already: RTP has room for one block.
pub(super) fn with_onvif(packet: &[u8], ntp: u64, flags: OnvifFlags) -> Option<Vec<u8>> {
    let header = packet.first_chunk::<12>()?;
    if header[0] >> 6 != 2 || header[0] & 0x10 != 0 {
        return None;
    }
    let at = 12 + 4 * usize::from(header[0] & 0x0f);
    let (fixed, payload) = packet.split_at_checked(at)?;
    let mut out = Vec::with_capacity(packet.len() + 16);
    out.extend_from_slice(fixed);
    out[0] |= 0x10;
    out.extend(ONVIF.to_be_bytes());
    out.extend(3_u16.to_be_bytes());
    out.extend(ntp.to_be_bytes());
    out.push(u8::from(flags.clean_point) << 7 | u8::from(flags.discontinuity) << 5);
    out.extend([0, 0, 0]);
    out.extend_from_slice(payload);
    Some(out)
}

/// Whether a compound RTCP packet has a sender report.
pub(crate) fn has_report(compound: &[u8]) -> bool {
    let mut rest = compound;
    while let Some([first, kind, a, b]) = rest.first_chunk::<4>().copied() {
        if first >> 6 != 2 {
            return false;
        }
        if kind == SENDER_REPORT {
            return true;
        }
        let length = 4 * (usize::from(u16::from_be_bytes([a, b])) + 1);
        rest = rest.get(length..).unwrap_or_default();
    }
    false
}

/// Sets NTP and RTP time of every sender report in a compound RTCP packet.
pub(crate) fn set_reports(compound: &mut [u8], ntp: u64, rtp: u32) {
    set_reports_of(compound, |_| Some((ntp, rtp)));
}

/// Sets NTP and RTP time of the sender reports in a compound RTCP packet, by their SSRC; those that `times` knows nothing of
/// stay as they are.
pub(crate) fn set_reports_of(compound: &mut [u8], times: impl Fn(u32) -> Option<(u64, u32)>) {
    let mut rest = compound;
    while let Some([first, kind, a, b]) = rest.first_chunk::<4>().copied() {
        let length = 4 * (usize::from(u16::from_be_bytes([a, b])) + 1);
        let Some((packet, after)) = rest.split_at_mut_checked(length) else {
            return;
        };
        if first >> 6 != 2 {
            return;
        }
        if kind == SENDER_REPORT
            && packet.len() >= 28
            && let Some((ntp, rtp)) = times(u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]))
        {
            packet[8..16].copy_from_slice(&ntp.to_be_bytes());
            packet[16..20].copy_from_slice(&rtp.to_be_bytes());
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_set_wherever_they_stand_in_a_compound() {
        let mut packet = vec![0x80, 201, 0, 1, 1, 2, 3, 4];
        assert!(!has_report(&packet));
        packet.extend([0x80, 200, 0, 6]);
        packet.extend([7; 24]);
        assert!(has_report(&packet));
        set_reports(&mut packet, 0x0102_0304_0506_0708, 0x0a0b_0c0d);
        assert_eq!(packet[16..28], [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13]);
        assert_eq!((packet[15], packet[28]), (7, 7));
        for cut in 0..packet.len() {
            // Nothing of this panics.
            set_reports(&mut packet[..cut].to_vec(), 1, 1);
            has_report(&packet[..cut]);
        }
    }

    #[test]
    fn the_extension_is_found_among_others_and_nowhere_else() {
        // X bit, one CSRC; then padding, another extension of two bytes, ours with id 3.
        let mut packet = vec![0x91, 96, 0, 1, 0, 0, 0, 9, 5, 5, 5, 5, 6, 6, 6, 6];
        packet.extend([0xbe, 0xde, 0, 4, 0, 0x11, 1, 2, 0x37]);
        packet.extend([0; 8]);
        packet.extend([0; 3]);
        packet.extend([0xaa, 0xbb]);
        assert_eq!(timestamp(&packet), Some(9));
        assert!(!set_ntp_extension(&mut packet.clone(), 4, 1));
        assert!(set_ntp_extension(&mut packet, 3, 0x0102_0304_0506_0708));
        assert_eq!(packet[25..33], [1, 2, 3, 4, 5, 6, 7, 8]);
        for cut in 0..packet.len() {
            set_ntp_extension(&mut packet[..cut].to_vec(), 3, 1);
            timestamp(&packet[..cut]);
        }
        packet[0] = 0x81;
        assert!(!set_ntp_extension(&mut packet, 3, 1));
    }

    #[test]
    fn filler_takes_the_place_of_the_payload_behind_csrc_and_extensions() {
        let mut packet = vec![0xb1, 96, 0, 1, 0, 0, 0, 9, 5, 5, 5, 5, 6, 6, 6, 6];
        packet.extend([0xbe, 0xde, 0, 1, 0x30, 7, 0, 0]);
        packet.extend([0x7c, 0x85, 1, 2, 3, 4]);
        for cut in 0..packet.len() - 3 {
            assert_eq!(fill(&mut packet[..cut].to_vec()), None, "{cut}");
        }
        assert_eq!(fill(&mut packet), Some(27));
        assert_eq!(packet[24..27], FILLER);
        assert_eq!((packet[0], timestamp(&packet)), (0x91, Some(9)));
    }

    #[test]
    fn an_extension_is_added_to_none_and_to_others() {
        let mut plain = vec![0x81, 96, 0, 1, 0, 0, 0, 9, 5, 5, 5, 5, 6, 6, 6, 6];
        plain.extend([0xaa, 0xbb, 0xcc]);
        let once = with_extension(&plain, 3, &[1; 8]).unwrap();
        assert_eq!(once[..16], [&[0x91], &plain[1..16]].concat());
        assert_eq!(once[16..20], [0xbe, 0xde, 0, 3]);
        assert_eq!(once[20..29], [0x37, 1, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(once[29..], [0, 0, 0, 0xaa, 0xbb, 0xcc]);
        let twice = with_extension(&once, 4, &[2; 8]).unwrap();
        assert_eq!(twice[16..20], [0xbe, 0xde, 0, 6]);
        assert!(twice.ends_with(&[0xaa, 0xbb, 0xcc]));
        assert!(set_ntp_extension(&mut twice.clone(), 3, 7) && set_ntp_extension(&mut twice.clone(), 4, 7));
        assert_eq!(with_extension(&plain, 15, &[0; 8]), None);
        for cut in 0..twice.len() {
            with_extension(&twice[..cut], 3, &[0; 8]);
        }
    }

    #[test]
    fn our_own_reader_reads_the_onvif_extension() {
        use synoptic_base::Utc;
        use synoptic_engine::timebase::StampKind;
        use synoptic_engine::timebase::wire::packet_times;
        let mut plain = vec![0x81, 96, 0, 1, 0, 0, 0, 9, 5, 5, 5, 5, 6, 6, 6, 6];
        plain.extend([0x65, 0xbb]);
        let ntp = 0xed00_0000_4000_0000;
        let flags = OnvifFlags {
            clean_point: true,
            discontinuity: true,
        };
        let with = with_onvif(&plain, ntp, flags).unwrap();
        assert_eq!(with[16..20], [0xab, 0xac, 0, 3]);
        assert_eq!(with[28..], [0xa0, 0, 0, 0, 0x65, 0xbb]);
        let times: Vec<_> = packet_times(&with, &[], Utc::from_nanos(0)).collect();
        assert_eq!(times.len(), 1);
        assert_eq!(
            (times[0].kind, times[0].wall),
            (StampKind::OnvifReplay, Utc::from_ntp(ntp))
        );
        assert_eq!(with_onvif(&with, ntp, flags), None, "there is room for one");
        for cut in 0..plain.len() {
            with_onvif(&plain[..cut], ntp, flags);
        }
    }

    #[test]
    fn ticks_wrap() {
        assert_eq!(after(0xffff_ffff, 1_000_000_000, VIDEO_HZ), 89_999);
        assert_eq!(after(5, -1_000_000_000, VIDEO_HZ), 5_u32.wrapping_sub(90_000));
    }
}
