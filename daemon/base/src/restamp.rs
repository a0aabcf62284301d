//! What was stamped under an old clock map, seen through what is known now.

use serde::{Deserialize, Serialize};

use crate::{Captured, ClockMap, Epoch, FrameKey, MediaTime, Mono, Span, Stamp, StreamId, TimeSource};

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

/// Frames of one stream and epoch that would be timed better today: a straight line from the first to the last of them.
///
/// Media clocks run evenly over the minutes that it spans, so the capture time of a frame between lies between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restamp {
    /// The epoch: media times compare only within it.
    pub epoch: Epoch,
    /// Media time of the first frame.
    pub since_us: MediaTime,
    /// Media time of the last frame.
    pub until_us: MediaTime,
    /// When the first frame was captured.
    pub from: Mono,
    /// When the last frame was captured.
    pub to: Mono,
    /// How much later than believed before the first frame was captured.
    pub moved: Span,
    /// Bound of all of them, relative to the box's clock.
    pub rel_error: Span,
    /// How it is known.
    pub source: TimeSource,
}

impl Restamp {
    /// A frame's capture time as it is known now; `None` where `was` is as good, or the frame is none of these.
    pub fn recaptured(&self, key: FrameKey, was: Captured) -> Option<Captured> {
        let (since, until) = (self.since_us.as_micros(), self.until_us.as_micros());
        let at = key.media_us.as_micros();
        if key.epoch != self.epoch || !(since..=until).contains(&at) {
            return None;
        }
        let along = if until > since {
            i128::from((self.to - self.from).as_nanos()) * i128::from(at - since) / i128::from(until - since)
        } else {
            0
        };
        let now = Captured {
            mono: self.from + Span::from_nanos(along as i64),
            rel_error: self.rel_error,
            source: self.source,
        };
        let contradicts = (now.mono - was.mono).abs() > was.rel_error;
        (contradicts || now.rel_error < was.rel_error).then_some(now)
    }
}

/// What was stamped `own`, had it been known to be captured at `now` instead of `was`.
pub fn moved_stamp(own: &Stamp, was: Captured, now: Captured) -> Stamp {
    Stamp {
        utc: own.utc + (now.mono - was.mono),
        error: own.error.map(|e| e - was.rel_error + now.rel_error),
        source: now.source,
    }
}

/// A [`Restamp`] and the stream that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamRestamp {
    /// The stream.
    pub stream: StreamId,
    /// What moved.
    pub restamp: Restamp,
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

    #[test]
    fn frames_of_the_range_lie_on_the_line_and_others_stay() {
        let secs = |s: i64| Mono::from_nanos(0) + Span::from_secs(s);
        let restamp = Restamp {
            epoch: Epoch(3),
            since_us: MediaTime::from_micros(1_000_000),
            until_us: MediaTime::from_micros(11_000_000),
            from: secs(100),
            to: secs(110) + Span::from_millis(1),
            moved: Span::from_millis(-40),
            rel_error: Span::from_millis(2),
            source: TimeSource::SenderReport,
        };
        let key = |epoch, us| FrameKey {
            stream: StreamId::new("a").unwrap(),
            epoch: Epoch(epoch),
            media_us: MediaTime::from_micros(us),
        };
        let was = Captured {
            mono: secs(105) + Span::from_millis(40),
            rel_error: Span::from_millis(75),
            source: TimeSource::Arrival,
        };
        let now = restamp.recaptured(key(3, 6_000_000), was).unwrap();
        assert_eq!(now.mono, secs(105) + Span::from_micros(500));
        assert_eq!((now.rel_error, now.source), (restamp.rel_error, restamp.source));
        assert_eq!(restamp.recaptured(key(4, 6_000_000), was), None, "another epoch");
        assert_eq!(restamp.recaptured(key(3, 11_000_001), was), None, "after");
        let good = Captured {
            rel_error: Span::from_millis(1),
            ..now
        };
        assert_eq!(
            restamp.recaptured(key(3, 6_000_000), good),
            None,
            "as good already"
        );
        let stamp = Stamp {
            utc: map(1, 50, None).utc(was.mono),
            error: Some(Span::from_millis(80)),
            source: was.source,
        };
        let better = moved_stamp(&stamp, was, now);
        assert_eq!(better.utc, map(1, 50, None).utc(now.mono));
        assert_eq!(better.error, Some(Span::from_millis(7)));
        let json = serde_json::to_string(&restamp).unwrap();
        assert_eq!(serde_json::from_str::<Restamp>(&json).unwrap(), restamp);
    }
}
