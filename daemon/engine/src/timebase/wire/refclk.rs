//! Media clocks tied to a reference clock in the session description (RFC 7273).

use synoptic_base::Utc;

use crate::timebase::unwrap;

/// TAI − UTC since 2017; the IEEE 1588 epoch counts TAI. No leap second has been announced since.
const TAI_MINUS_UTC_S: i64 = 37;

/// `a=ts-refclk`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefClock {
    /// `ntp=server` or `ntp=/traceable/`.
    Ntp(String),
    /// `ptp=IEEE1588-2008:…`; the rest names grandmaster and domain.
    Ptp(String),
    /// `gps`, `gal`, `glonass`: a satellite clock, as good as UTC.
    Satellite,
    /// `local`, `private`: nothing that a receiver knows.
    Unknown,
}

/// `a=mediaclk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaClock {
    /// `direct=offset`: the RTP time at the epoch of the reference clock.
    Direct(u32),
    /// `sender`, or absent: asynchronous.
    Sender,
}

/// Reads the values of `a=ts-refclk` and `a=mediaclk`; `None` when they are not of RFC 7273.
pub fn reference_clock(ts_refclk: &str, mediaclk: &str) -> Option<(RefClock, MediaClock)> {
    let clock = match ts_refclk.trim().split_once('=') {
        Some(("ntp", server)) if !server.is_empty() => RefClock::Ntp(server.to_owned()),
        Some(("ptp", which)) if which.starts_with("IEEE1588") => RefClock::Ptp(which.to_owned()),
        None if ["gps", "gal", "glonass"].contains(&ts_refclk.trim()) => RefClock::Satellite,
        None if ["local", "private"].contains(&ts_refclk.trim()) => RefClock::Unknown,
        Some(("localmac" | "private", _)) => RefClock::Unknown,
        _ => return None,
    };
    // An id may stand before: "id=… src:… direct=0". A rate may follow: "direct=0 rate=1000/1001".
    let direct = mediaclk
        .split_whitespace()
        .find_map(|word| word.strip_prefix("direct="));
    let media = match direct {
        Some(offset) => MediaClock::Direct(offset.parse().ok()?),
        None if mediaclk.trim().is_empty() || mediaclk.trim() == "sender" => MediaClock::Sender,
        None => return None,
    };
    if mediaclk.contains("rate=") {
        return None; // pull-down rates are for audio in film transfer
    }
    Some((clock, media))
}

impl RefClock {
    /// UTC of an RTP time whose media clock is `Direct(offset)` on this clock; `near` within half a wrap resolves the
    /// wraps. `None` where the clock is not one that a receiver shares.
    pub fn utc_of(&self, rtp: u32, offset: u32, clock_rate_hz: u32, near: Utc) -> Option<Utc> {
        // Seconds from the clock's epoch to 1970, in its own count.
        let epoch_to_unix_s = match self {
            RefClock::Ntp(_) => 2_208_988_800,
            RefClock::Ptp(_) => TAI_MINUS_UTC_S,
            // GPS began on 1980-01-06 with TAI − 19 s.
            RefClock::Satellite => TAI_MINUS_UTC_S - 19 - 315_964_800,
            RefClock::Unknown => return None,
        };
        let rate = i128::from(clock_rate_hz.max(1));
        let second = 1_000_000_000_i128;
        let near_ns = i128::from(near.as_nanos()) + i128::from(epoch_to_unix_s) * second;
        let expected = i64::try_from(near_ns * rate / second).ok()?;
        let ticks = unwrap::near(rtp.wrapping_sub(offset), expected);
        let ns = i128::from(ticks) * second / rate - i128::from(epoch_to_unix_s) * second;
        i64::try_from(ns).ok().map(Utc::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use synoptic_base::Span;

    use super::*;

    #[test]
    fn reads_what_cameras_and_aes67_say() {
        let ptp = "ptp=IEEE1588-2008:39-A7-94-FF-FE-07-CB-D0:37";
        let (clock, media) = reference_clock(ptp, "direct=963214424").unwrap();
        assert!(matches!(clock, RefClock::Ptp(_)));
        assert_eq!(media, MediaClock::Direct(963_214_424));
        let (clock, media) = reference_clock("ntp=/traceable/", "").unwrap();
        assert_eq!(
            (clock, media),
            (RefClock::Ntp("/traceable/".into()), MediaClock::Sender)
        );
        for (refclk, mediaclk) in [
            ("", "direct=0"),
            ("ptp=", "direct=0"),
            ("ntp=", ""),
            ("ntp=a", "direct=x"),
            ("ntp=a", "direct=4294967296"),
            ("ntp=a", "direct=0 rate=1000/1001"),
            ("sundial", "direct=0"),
        ] {
            assert_eq!(reference_clock(refclk, mediaclk), None, "{refclk} {mediaclk}");
        }
    }

    #[test]
    fn rtp_becomes_utc_across_wraps() {
        let truth = Utc::from_rfc3339("2026-11-21T10:00:00.5Z").unwrap();
        for (clock, count_s) in [
            (RefClock::Ntp("a".into()), 2_208_988_800_i128),
            (RefClock::Ptp("IEEE1588-2008:x".into()), 37),
            (RefClock::Satellite, 18 - 315_964_800),
        ] {
            let ticks = (i128::from(truth.as_nanos()) + count_s * 1_000_000_000) * 90_000 / 1_000_000_000;
            let rtp = (ticks as u32).wrapping_add(4711);
            let near = truth + Span::from_secs(3 * 3600);
            let utc = clock.utc_of(rtp, 4711, 90_000, near).unwrap();
            assert!(
                (utc - truth).abs() <= Span::from_micros(12),
                "{clock:?}: {}",
                utc - truth
            );
        }
        assert_eq!(RefClock::Unknown.utc_of(0, 0, 90_000, truth), None);
    }
}
