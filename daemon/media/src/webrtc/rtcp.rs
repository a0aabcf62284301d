//! What a viewer says of his line in RTCP.

use synoptic_base::Span;
use synoptic_engine::pacing::ViewerReport;

/// Packet types (RFC 3550 section 12.1, RFC 4585 section 6.1).
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const PAYLOAD_FEEDBACK: u8 = 206;
/// FMT of application layer feedback, which REMB is (draft-alvestrand-rmcat-remb section 2.2).
const APPLICATION: u8 = 15;
const REMB: [u8; 4] = *b"REMB";
/// Bytes of a report block (RFC 3550 section 6.4.1).
const BLOCK: usize = 24;
/// A longer round trip is a clock that was set.
const SENSELESS: Span = Span::from_secs(60);

/// What a compound packet says of the source `ssrc`; `ntp` is now, as NTP writes it. What cannot be read says nothing.
pub(super) fn report(compound: &[u8], ssrc: u32, ntp: u64) -> ViewerReport {
    let mut report = ViewerReport::default();
    let mut rest = compound;
    while let Some([first, kind, a, b]) = rest.first_chunk::<4>().copied() {
        let length = 4 * (usize::from(u16::from_be_bytes([a, b])) + 1);
        let Some((packet, after)) = rest.split_at_checked(length) else {
            return report;
        };
        if first >> 6 != 2 {
            return report;
        }
        let count = first & 0x1f;
        match (kind, count) {
            (SENDER_REPORT, _) => blocks(packet.get(28..), count, ssrc, ntp, &mut report),
            (RECEIVER_REPORT, _) => blocks(packet.get(8..), count, ssrc, ntp, &mut report),
            (PAYLOAD_FEEDBACK, APPLICATION) => report.estimate_bps = estimate(packet).or(report.estimate_bps),
            _ => {}
        }
        rest = after;
    }
    report
}

fn blocks(bytes: Option<&[u8]>, count: u8, ssrc: u32, ntp: u64, report: &mut ViewerReport) {
    let blocks = bytes
        .unwrap_or_default()
        .chunks_exact(BLOCK)
        .take(usize::from(count));
    let word = |block: &[u8], at: usize| {
        let bytes = block.get(at..at + 4).and_then(|b| b.first_chunk::<4>());
        bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
    };
    for block in blocks.filter(|block| word(block, 0) == ssrc) {
        report.lost = Some(f64::from(block[4]) / 256.0);
        let (last, delay) = (word(block, 16), word(block, 20));
        // The middle 32 bits of NTP time: units of 1/65536 s. 0: no sender report has come there yet.
        let now = (ntp >> 16) as u32;
        let ticks = now.wrapping_sub(last).wrapping_sub(delay);
        let trip = Span::from_nanos(i64::from(ticks) * 1_000_000_000 / 65_536);
        if last != 0 && trip < SENSELESS {
            report.round_trip = Some(trip);
        }
    }
}

/// Bits a second of a REMB packet: six bits of exponent, eighteen of mantissa.
fn estimate(packet: &[u8]) -> Option<f64> {
    if packet.get(12..16)? != REMB {
        return None;
    }
    let [_, a, b, c] = *packet.get(16..)?.first_chunk::<4>()?;
    let (exponent, mantissa) = (a >> 2, u32::from_be_bytes([0, a & 3, b, c]));
    Some(f64::from(mantissa) * f64::from(exponent).exp2())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NTP: u64 = 0xed00_0010_8000_0000;

    fn receiver_report(ssrc: u32, lost: u8, last: u32, delay: u32) -> Vec<u8> {
        let mut packet = vec![0x82, 201, 0, 13, 9, 9, 9, 9];
        // Of another source first.
        for (of, lost) in [(ssrc ^ 1, 255), (ssrc, lost)] {
            packet.extend(of.to_be_bytes());
            packet.extend([lost, 0, 0, 7, 0, 0, 1, 1, 0, 0, 0, 5]);
            packet.extend(last.to_be_bytes());
            packet.extend(delay.to_be_bytes());
        }
        packet
    }

    fn remb(exponent: u8, mantissa: u32) -> Vec<u8> {
        let mut packet = vec![0x8f, 206, 0, 5, 9, 9, 9, 9, 0, 0, 0, 0];
        packet.extend(REMB);
        let [_, high, b, c] = mantissa.to_be_bytes();
        packet.extend([1, exponent << 2 | high, b, c, 0, 0, 0, 7]);
        packet
    }

    #[test]
    fn losses_round_trip_and_estimate_are_read_from_a_compound() {
        // Sent 0.75 s ago by our clock, held there for 0.25 s.
        let last = ((NTP >> 16) as u32).wrapping_sub(0xc000);
        let mut compound = receiver_report(7, 64, last, 0x4000);
        compound.extend(remb(3, 200_000));
        let found = report(&compound, 7, NTP);
        assert_eq!(found.lost, Some(0.25));
        assert_eq!(found.round_trip, Some(Span::from_millis(500)));
        assert_eq!(found.estimate_bps, Some(1_600_000.0));
        for cut in 0..compound.len() {
            report(&compound[..cut], 7, NTP);
        }
    }

    #[test]
    fn what_is_not_of_us_or_makes_no_sense_says_nothing() {
        assert_eq!(
            report(&receiver_report(6, 9, 0, 0), 8, NTP),
            ViewerReport::default()
        );
        // No sender report has come there; the loss counts.
        let found = report(&receiver_report(7, 0, 0, 0), 7, NTP);
        assert_eq!((found.lost, found.round_trip), (Some(0.0), None));
        // From the future: the clock was set.
        let ahead = ((NTP >> 16) as u32).wrapping_add(0x1_0000);
        assert_eq!(report(&receiver_report(7, 0, ahead, 0), 7, NTP).round_trip, None);
        for rubbish in [&[][..], &[0x80], &[0xff; 64], &[0x80, 201, 0xff, 0xff, 1]] {
            assert_eq!(report(rubbish, 7, NTP), ViewerReport::default());
        }
    }
}
