//! What was stamped under an old clock map, seen through what is known now.

use crate::{Captured, ClockMap, Mono, Span, Stamp};

/// How fast CLOCK_MONOTONIC may run wrong while nothing disciplines it. The kernel's own bound: it lets `maxerror` grow
/// by 500 ppm (`MAXFREQ`, include/linux/timex.h), the most that a clock may be corrected by.
const FREE_RUN_PPM: i64 = 500;

/// A clock map and when it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownMap {
    /// The map.
    pub map: ClockMap,
    /// When it was found; `None` where an old program did not keep that.
    pub found: Option<Mono>,
}

impl KnownMap {
    /// The better stamp of what was captured in the map's boot and stamped `own` by map `own_version`; `None` where
    /// `own` is the best there is.
    ///
    /// A stamp of an unsynchronised box gives way to any synchronised map, with the error of that map and of the
    /// free run in between. A synchronised one gives way only to a newer synchronised map that contradicts it: the
    /// box's clock was stepped, so what it claimed before was wrong.
    pub fn restamp(&self, captured: Captured, own: &Stamp, own_version: u32) -> Option<Stamp> {
        let bound = self.map.error?;
        if self.map.version <= own_version && own.error.is_some() {
            return None;
        }
        let gap = self
            .found
            .map_or(Span::ZERO, |found| (found - captured.mono).abs());
        let free_run = Span::from_nanos(gap.as_nanos() / 1_000_000 * FREE_RUN_PPM);
        let better = Stamp {
            utc: self.map.utc(captured.mono),
            error: Some(bound + captured.rel_error + free_run),
            source: captured.source,
        };
        match (own.error, better.error) {
            (Some(before), Some(now)) if (better.utc - own.utc).abs() <= before + now => None,
            _ => Some(better),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BootId, TimeSource};

    fn map(version: u32, offset_s: i64, error_ms: Option<i64>) -> ClockMap {
        ClockMap {
            boot_id: BootId(uuid::Uuid::nil()),
            version,
            utc_minus_mono: Span::from_secs(offset_s),
            error: error_ms.map(Span::from_millis),
        }
    }

    fn captured() -> Captured {
        Captured {
            mono: Mono::from_nanos(0) + Span::from_secs(100),
            rel_error: Span::from_millis(3),
            source: TimeSource::SenderReport,
        }
    }

    fn again(own: ClockMap, known: ClockMap, found_s: i64) -> Option<Stamp> {
        let found = Some(Mono::from_nanos(0) + Span::from_secs(found_s));
        KnownMap { map: known, found }.restamp(captured(), &own.stamp(captured()), own.version)
    }

    #[test]
    fn a_box_that_learns_the_time_knows_it_of_before_with_the_error_of_the_free_run() {
        let better = again(map(1, 0, None), map(2, 1_795_000_000, Some(2)), 1_100).unwrap();
        assert_eq!(better.utc, map(2, 1_795_000_000, None).utc(captured().mono));
        // 2 ms of the map, 3 ms of the camera, 500 ppm of 1,000 s.
        assert_eq!(better.error, Some(Span::from_millis(505)));
    }

    #[test]
    fn a_good_stamp_stays_unless_it_is_contradicted() {
        let good = map(1, 1_795_000_000, Some(2));
        assert_eq!(again(good, map(2, 1_795_000_000, Some(1)), 101), None);
        let stepped = again(good, map(2, 1_795_000_003, Some(1)), 101).unwrap();
        assert_eq!(stepped.utc - good.utc(captured().mono), Span::from_secs(3));
    }

    #[test]
    fn nothing_is_better_than_a_map_that_knows_no_better() {
        assert_eq!(again(map(1, 0, None), map(2, 7, None), 101), None);
        let own = map(2, 1_795_000_000, Some(2));
        assert_eq!(again(own, map(1, 1_795_000_009, Some(2)), 101), None, "older");
    }
}
