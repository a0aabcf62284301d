//! Time as Synoptic uses it: two time lines kept apart by type, and capture times that carry their error.
//!
//! * [`Mono`]: CLOCK_MONOTONIC of this boot. Frames are ordered, grouped and given deadlines on it alone.
//! * [`Utc`]: what people and other machines read. Reached only through a [`ClockMap`], so that a step of the
//!   box's UTC never moves a frame.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub, SubAssign};

use serde::{Deserialize, Serialize};

/// A signed length of time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(i64);

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);
    /// The longest span: about 292 years.
    pub const MAX: Span = Span(i64::MAX);

    /// A span of `ns` nanoseconds.
    pub const fn from_nanos(ns: i64) -> Span {
        Span(ns)
    }
    /// A span of `us` microseconds.
    pub const fn from_micros(us: i64) -> Span {
        Span(us.saturating_mul(1_000))
    }
    /// A span of `ms` milliseconds.
    pub const fn from_millis(ms: i64) -> Span {
        Span(ms.saturating_mul(1_000_000))
    }
    /// A span of `s` seconds.
    pub const fn from_secs(s: i64) -> Span {
        Span(s.saturating_mul(1_000_000_000))
    }
    /// A span of `s` seconds; saturates, NaN is zero.
    pub fn from_secs_f64(s: f64) -> Span {
        Span((s * 1e9).round() as i64)
    }
    /// Nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }
    /// Whole microseconds, rounded towards negative infinity.
    pub const fn as_micros_floor(self) -> i64 {
        self.0.div_euclid(1_000)
    }
    /// Milliseconds with their fraction, for display and for documents.
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }
    /// Seconds with their fraction.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }
    /// The magnitude.
    pub const fn abs(self) -> Span {
        Span(self.0.saturating_abs())
    }
    /// A `std` duration for waiting; a negative span waits for no time.
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(if self.0 < 0 { 0 } else { self.0 as u64 })
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, rhs: Span) -> Span {
        Span(self.0.saturating_add(rhs.0))
    }
}
impl AddAssign for Span {
    fn add_assign(&mut self, rhs: Span) {
        *self = *self + rhs;
    }
}
impl Sub for Span {
    type Output = Span;
    fn sub(self, rhs: Span) -> Span {
        Span(self.0.saturating_sub(rhs.0))
    }
}
impl Neg for Span {
    type Output = Span;
    fn neg(self) -> Span {
        Span(self.0.saturating_neg())
    }
}
impl Mul<i64> for Span {
    type Output = Span;
    fn mul(self, rhs: i64) -> Span {
        Span(self.0.saturating_mul(rhs))
    }
}
impl Div<i64> for Span {
    type Output = Span;
    fn div(self, rhs: i64) -> Span {
        Span(self.0 / rhs)
    }
}
impl Sum for Span {
    fn sum<I: Iterator<Item = Span>>(iter: I) -> Span {
        iter.fold(Span::ZERO, Add::add)
    }
}
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0.unsigned_abs();
        if ns < 10_000_000_000 {
            write!(f, "{:.1} ms", self.as_millis_f64())
        } else {
            write!(f, "{:.1} s", self.as_secs_f64())
        }
    }
}

macro_rules! time_line {
    ($name:ident) => {
        impl $name {
            /// The instant `ns` nanoseconds after this time line's origin.
            pub const fn from_nanos(ns: i64) -> $name {
                $name(ns)
            }
            /// Nanoseconds since this time line's origin.
            pub const fn as_nanos(self) -> i64 {
                self.0
            }
        }
        impl Add<Span> for $name {
            type Output = $name;
            fn add(self, rhs: Span) -> $name {
                $name(self.0.saturating_add(rhs.0))
            }
        }
        impl AddAssign<Span> for $name {
            fn add_assign(&mut self, rhs: Span) {
                *self = *self + rhs;
            }
        }
        impl Sub<Span> for $name {
            type Output = $name;
            fn sub(self, rhs: Span) -> $name {
                $name(self.0.saturating_sub(rhs.0))
            }
        }
        impl SubAssign<Span> for $name {
            fn sub_assign(&mut self, rhs: Span) {
                *self = *self - rhs;
            }
        }
        impl Sub for $name {
            type Output = Span;
            fn sub(self, rhs: $name) -> Span {
                Span(self.0.saturating_sub(rhs.0))
            }
        }
    };
}

/// An instant of CLOCK_MONOTONIC of this boot, in nanoseconds: what GStreamer and V4L2 stamp with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mono(i64);
time_line!(Mono);

/// An instant of UTC in nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted (POSIX).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Utc(i64);
time_line!(Utc);

/// Seconds between the NTP era 0 epoch (1900) and the UNIX epoch (1970), RFC 5905 section 6.
const NTP_TO_UNIX_S: i64 = 2_208_988_800;

impl Utc {
    /// From a 64-bit NTP timestamp (Q32.32 seconds since 1900, RFC 3550 section 4). Values with the top bit
    /// clear are read as era 1 (after 2036-02-07), as RFC 4330 section 3 advises.
    pub fn from_ntp(ntp: u64) -> Utc {
        let era = if ntp >> 63 == 1 { 0 } else { 1_i64 << 32 };
        let secs = (ntp >> 32) as i64 + era - NTP_TO_UNIX_S;
        let nanos = ((ntp & 0xffff_ffff) * 1_000_000_000) >> 32;
        Utc(secs.saturating_mul(1_000_000_000).saturating_add(nanos as i64))
    }

    /// As a 64-bit NTP timestamp (Q32.32); the era is dropped.
    pub fn to_ntp(self) -> u64 {
        let secs = self.0.div_euclid(1_000_000_000) + NTP_TO_UNIX_S;
        let nanos = self.0.rem_euclid(1_000_000_000) as u64;
        ((secs as u64) << 32) | ((nanos << 32) / 1_000_000_000)
    }

    /// RFC 3339 with microseconds and `Z`.
    pub fn to_rfc3339(self) -> String {
        let t = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0))
            .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
            t.year(),
            u8::from(t.month()),
            t.day(),
            t.hour(),
            t.minute(),
            t.second(),
            t.microsecond()
        )
    }

    /// Reads RFC 3339 (`2026-11-21T10:00:00Z`, any offset, any fraction). `None` when it is not.
    pub fn from_rfc3339(text: &str) -> Option<Utc> {
        let t = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
        i64::try_from(t.unix_timestamp_nanos()).ok().map(Utc)
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

/// How a capture time is known, best first: the ladder of docs/design/time.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeSource {
    /// PTP or a media clock signalled by RFC 7273.
    Ptp,
    /// NTP time on each packet: RFC 6051, ONVIF 0xABAC, abs-capture-time.
    PacketNtp,
    /// A stamp of the driver or the sensor: V4L2, Argus.
    Hardware,
    /// RTCP sender reports.
    SenderReport,
    /// UTC carried in SEI, onFI or onMetaData.
    InBand,
    /// The minimum delay of arrivals.
    Arrival,
    /// Frame counter x known frame rate.
    FrameCounter,
    /// The box's clock when the frame was read: files, and sources that say nothing.
    Host,
}

impl TimeSource {
    /// The name used in documents, in metrics and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            TimeSource::Ptp => "ptp",
            TimeSource::PacketNtp => "packet_ntp",
            TimeSource::Hardware => "hardware",
            TimeSource::SenderReport => "sender_report",
            TimeSource::InBand => "in_band",
            TimeSource::Arrival => "arrival",
            TimeSource::FrameCounter => "frame_counter",
            TimeSource::Host => "host",
        }
    }

    /// The inverse of [`TimeSource::name`].
    pub fn from_name(name: &str) -> Option<TimeSource> {
        [
            TimeSource::Ptp,
            TimeSource::PacketNtp,
            TimeSource::Hardware,
            TimeSource::SenderReport,
            TimeSource::InBand,
            TimeSource::Arrival,
            TimeSource::FrameCounter,
            TimeSource::Host,
        ]
        .into_iter()
        .find(|s| s.name() == name)
    }
}

/// When a frame was captured, on the box's own clock. The truth lies in `mono ± rel_error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// The middle of the interval.
    pub mono: Mono,
    /// Half the width of the interval, relative to the box's own clock.
    pub rel_error: Span,
    /// How it is known.
    pub source: TimeSource,
}

/// Identifies one boot of the box (`/proc/sys/kernel/random/boot_id`): monotonic times compare only within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub uuid::Uuid);

/// What the box knows of UTC now. A better map is a new version; frames are never edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockMap {
    /// The boot whose monotonic clock is mapped.
    pub boot_id: BootId,
    /// + 1 with every change of the map.
    pub version: u32,
    /// UTC − monotonic.
    pub utc_minus_mono: Span,
    /// Half the width of the interval of UTC; `None` when the box's clock is not synchronised.
    pub error: Option<Span>,
}

impl ClockMap {
    /// UTC of a monotonic instant, by this map.
    pub fn utc(&self, mono: Mono) -> Utc {
        Utc(mono.0) + self.utc_minus_mono
    }

    /// A capture time seen through this map.
    pub fn stamp(&self, captured: Captured) -> Stamp {
        Stamp {
            utc: self.utc(captured.mono),
            error: self.error.map(|e| e + captured.rel_error),
            source: captured.source,
        }
    }
}

/// A capture time in UTC. The truth lies in `utc ± error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The middle of the interval.
    pub utc: Utc,
    /// Half its width; `None` when the box's own clock is not synchronised to UTC.
    pub error: Option<Span>,
    /// How it is known.
    pub source: TimeSource,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_round_trip_and_eras() {
        let utc = Utc::from_nanos(1_795_000_000_123_456_789);
        assert!((Utc::from_ntp(utc.to_ntp()) - utc).abs() <= Span::from_nanos(1));
        // 2036-02-07T06:28:16Z is second 0 of era 1.
        assert_eq!(Utc::from_ntp(0).to_rfc3339(), "2036-02-07T06:28:16.000000Z");
        assert_eq!(
            Utc::from_ntp(NTP_TO_UNIX_S as u64 * (1 << 32)),
            Utc::from_nanos(0)
        );
    }

    #[test]
    fn rfc3339_round_trip() {
        let text = "2026-11-21T10:00:00.250001Z";
        assert_eq!(
            Utc::from_rfc3339(text).map(Utc::to_rfc3339).as_deref(),
            Some(text)
        );
        assert_eq!(
            Utc::from_rfc3339("2026-11-21T11:00:00+01:00"),
            Utc::from_rfc3339("2026-11-21T10:00:00Z")
        );
        assert_eq!(Utc::from_rfc3339("yesterday"), None);
    }

    #[test]
    fn a_stamp_adds_the_boxes_error_and_is_unknown_without_one() {
        let map = |error| ClockMap {
            boot_id: BootId(uuid::Uuid::nil()),
            version: 1,
            utc_minus_mono: Span::from_secs(100),
            error,
        };
        let captured = Captured {
            mono: Mono::from_nanos(5),
            rel_error: Span::from_millis(3),
            source: TimeSource::SenderReport,
        };
        let stamp = map(Some(Span::from_millis(2))).stamp(captured);
        assert_eq!(stamp.utc, Utc::from_nanos(100_000_000_005));
        assert_eq!(stamp.error, Some(Span::from_millis(5)));
        assert_eq!(map(None).stamp(captured).error, None);
    }
}
