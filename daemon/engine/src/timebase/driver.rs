//! Capture times from a driver's stamps: V4L2 buffers, and whatever else stamps in the kernel.
//!
//! A driver stamps either the start of the exposure or the end of the frame, and says which
//! (`V4L2_BUF_FLAG_TSTAMP_SRC_*`, Linux Documentation/userspace-api/media/v4l/buffer.rst). The instant that a frame
//! stands for is, as for every other source, the middle of its exposure. Exposure and readout together take at most
//! a frame interval T, so that middle lies in `[stamp, stamp + T]` in the first case and in `[stamp − T, stamp]` in
//! the second. Nothing is captured after it arrived, so that interval ends no later than the least delayed arrivals
//! do; the frame is claimed to lie in the middle of what is left. This also holds drivers that stamp ahead: vivid
//! gives the end of a frame that it simulates, nine tenths of an interval after it handed the frame out.
//!
//! Only stamps of CLOCK_MONOTONIC are taken for times. Those of another clock still say how far frames are apart:
//! the least delayed arrivals place that clock on the box's, with the wider bound of [`TimeSource::Arrival`].

use synoptic_base::{Captured, MediaTime, Mono, Span, TimeSource};

use super::{MinDelayHull, TimeHealth, Timed};

/// The earliest moment that a stamp allows may be this far ahead of the arrival: two reads of one clock, and the
/// stamp's microseconds.
const MAX_AHEAD: Span = Span::from_millis(1);
/// A stamp older than this at its arrival is on another clock, whatever its flags say: stamps of the Jetson's TSC
/// were seen 29 s off (NVIDIA forum 265011). A queue of buffers that nobody emptied never grows this old: the
/// camera is taken for stalled before.
const MAX_AGE: Span = Span::from_secs(10);
/// Stamps that move this much further than arrivals begin a new epoch.
const STAMP_JUMP: Span = Span::from_secs(10);
/// What lies between the event and the driver's reading of the clock: interrupt and scheduling latency.
const READ_ERROR: Span = Span::from_millis(1);
/// A frame interval up to twice this is covered by the declared error of the bias (one frame at 30 fps).
const COVERED: Span = Span::from_millis(33);
/// Least delay from light to the box of a local camera: between nothing and this. Published glass-to-host figures
/// of USB cameras lie at 30 to 120 ms.
const MAX_LIGHT_TO_BOX: Span = Span::from_millis(150);
/// What is left of arrival jitter after the envelope.
const ENVELOPE: Span = Span::from_millis(10);
/// So many frames with the stamp of the one before: the stamps stand still, and only the frames' numbers count.
const STILL: u32 = 1;
/// What the driver's rate may be off by, beside what the envelope of two minutes allows: the frames' number times the
/// interval is held to the arrivals by this much a frame.
const COUNTER_SLACK: Span = Span::from_millis(20);
/// A gap in the sequence numbers longer than this is a counter that began anew, not so many lost frames.
const MAX_GAP: u32 = 10_000;

/// How a driver's stamps are to be read.
#[derive(Clone, Copy, Debug)]
pub struct DriverTimebaseConfig {
    /// The frame interval that driver and box agreed on; `None` when the driver does not say.
    pub interval: Option<Span>,
    /// How late the stamps are known to be (positive: the scene was that much earlier).
    pub capture_bias: Span,
    /// How far the bias may be off, to either side.
    pub capture_bias_error: Span,
}

/// The clock of a stamp: `V4L2_BUF_FLAG_TIMESTAMP_MASK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StampClock {
    /// CLOCK_MONOTONIC.
    Monotonic,
    /// Another clock, or one that the driver does not name.
    Other,
}

/// What a stamp marks: `V4L2_BUF_FLAG_TSTAMP_SRC_MASK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StampPoint {
    /// The start of the exposure.
    StartOfExposure,
    /// The end of the frame: its last row has reached the box.
    EndOfFrame,
}

/// What a driver says of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriverStamp {
    /// Time on the stamp's clock.
    pub at: Span,
    /// That clock.
    pub clock: StampClock,
    /// What it marks.
    pub point: StampPoint,
    /// Number of the frame; frames that the driver had to drop are counted in it.
    pub sequence: u32,
}

/// Times the frames of one device.
#[derive(Clone, Debug)]
pub struct DriverTimebase {
    config: DriverTimebaseConfig,
    arrivals: MinDelayHull,
    /// Stamp and arrival of the frame before.
    last: Option<(DriverStamp, Mono)>,
    last_media: Option<MediaTime>,
    captured: Option<Captured>,
    /// Frames in a row whose stamps stood still.
    still: u32,
    /// Number of the frame before.
    numbered: Option<u32>,
    /// Frames counted since the first, and the least delayed arrival by frame number × interval.
    counted: Span,
    counter: MinDelayHull,
    /// Once a stamp was seen to be on another clock than it says, none of this connection is believed.
    disbelieved: bool,
    bad_stamps: u32,
    missed: u64,
}

impl DriverTimebase {
    /// A timebase for a newly opened device.
    pub fn new(config: DriverTimebaseConfig) -> DriverTimebase {
        DriverTimebase {
            config,
            arrivals: MinDelayHull::default(),
            last: None,
            last_media: None,
            captured: None,
            still: 0,
            numbered: None,
            counted: Span::ZERO,
            counter: MinDelayHull::default(),
            disbelieved: false,
            bad_stamps: 0,
            missed: 0,
        }
    }

    /// Times a frame: its stamp, and when the driver handed it out. Frames must come in the driver's order.
    pub fn frame(&mut self, stamp: DriverStamp, arrival: Mono) -> Timed {
        let mut new_epoch = false;
        if let Some((last, before)) = self.last {
            let moved = stamp.at - last.at;
            if (moved - (arrival - before)).abs() > STAMP_JUMP {
                new_epoch = true;
                self.arrivals.reset();
                self.last_media = None;
            } else {
                self.still = if moved == Span::ZERO { self.still + 1 } else { 0 };
                let gap = stamp.sequence.wrapping_sub(last.sequence).saturating_sub(1);
                self.missed += u64::from(if gap <= MAX_GAP { gap } else { 0 });
            }
        }
        self.last = Some((stamp, arrival));
        let monotonic = stamp.clock == StampClock::Monotonic;
        if monotonic && !self.disbelieved {
            let (earliest, _) = self.exposed(stamp);
            let age = arrival - Mono::from_nanos(stamp.at.as_nanos());
            if earliest - arrival > MAX_AHEAD || age > MAX_AGE {
                self.bad_stamps += 1;
                self.disbelieved = true;
            }
        }
        self.arrivals.observe(stamp.at, arrival);
        self.count(stamp, arrival);
        let captured = if self.still >= STILL {
            self.by_counter(arrival)
        } else if monotonic && !self.disbelieved {
            self.by_stamp(stamp)
        } else {
            self.by_arrivals(stamp, arrival)
        };
        self.captured = Some(captured);
        // A key is never given twice, not even for a driver whose stamps stand still.
        let media = MediaTime::from_micros(stamp.at.as_micros_floor().max(0));
        let media = match self.last_media {
            Some(last) if media.as_micros() <= last.as_micros() => {
                MediaTime::from_micros(last.as_micros() + 1)
            }
            _ => media,
        };
        self.last_media = Some(media);
        Timed {
            media,
            captured,
            new_epoch,
            scatter: captured.rel_error,
            outlier: false,
        }
    }

    /// Frames that the driver numbered and never handed out.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// What there is to say about the device's time.
    pub fn health(&self) -> TimeHealth {
        TimeHealth {
            source: self.captured.map(|c| c.source),
            rel_error: self.captured.map(|c| c.rel_error),
            bad_reports: self.bad_stamps,
            ..TimeHealth::default()
        }
    }

    /// Between what the middle of the exposure lies, by the stamp alone.
    fn exposed(&self, stamp: DriverStamp) -> (Mono, Mono) {
        let interval = self.config.interval.unwrap_or(Span::ZERO);
        let at = Mono::from_nanos(stamp.at.as_nanos());
        match stamp.point {
            StampPoint::StartOfExposure => (at, at + interval),
            StampPoint::EndOfFrame => (at - interval, at),
        }
    }

    fn by_stamp(&self, stamp: DriverStamp) -> Captured {
        let (from, to) = self.exposed(stamp);
        let arrived = self.arrivals.arrival_of(stamp.at).unwrap_or(to);
        let half = (to.min(arrived) - from).max(Span::ZERO) / 2;
        let uncovered = Span::ZERO.max(half - COVERED);
        Captured {
            mono: from + half - self.config.capture_bias,
            rel_error: self.config.capture_bias_error + uncovered + READ_ERROR,
            source: TimeSource::Hardware,
        }
    }

    /// Follows frame number × interval, for devices whose stamps stand still.
    fn count(&mut self, stamp: DriverStamp, arrival: Mono) {
        let Some(interval) = self.config.interval else {
            return;
        };
        let frames = match self.numbered.replace(stamp.sequence) {
            Some(before) => stamp.sequence.wrapping_sub(before).clamp(1, MAX_GAP),
            None => 1,
        };
        self.counted += interval * i64::from(frames);
        // A rate that is not what it says walks away from the arrivals: then the count begins anew at them.
        let off = self.counter.delay_of(self.counted, arrival);
        if off.is_some_and(|off| off.abs() > interval * 4) {
            self.counter.reset();
        }
        self.counter.observe(self.counted, arrival);
    }

    fn by_counter(&self, arrival: Mono) -> Captured {
        let Some(least_delayed) = self.counter.arrival_of(self.counted).filter(|at| *at <= arrival) else {
            // No rate is known, or the count runs ahead: the frame's own arrival is all there is.
            let half = (MAX_LIGHT_TO_BOX + ENVELOPE) / 2;
            return Captured {
                mono: arrival - half,
                rel_error: half,
                source: TimeSource::Host,
            };
        };
        let half = (MAX_LIGHT_TO_BOX + ENVELOPE) / 2;
        Captured {
            mono: least_delayed - half,
            rel_error: half + COUNTER_SLACK,
            source: TimeSource::FrameCounter,
        }
    }

    fn by_arrivals(&self, stamp: DriverStamp, arrival: Mono) -> Captured {
        let least_delayed = self.arrivals.arrival_of(stamp.at).unwrap_or(arrival);
        // A stamp that stands still says nothing: then the arrival is all there is, and no later than the truth.
        let least_delayed = if least_delayed > arrival || arrival - least_delayed > MAX_AGE {
            arrival
        } else {
            least_delayed
        };
        let half = (MAX_LIGHT_TO_BOX + ENVELOPE) / 2;
        Captured {
            mono: least_delayed - half,
            rel_error: half,
            source: TimeSource::Arrival,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Span = Span::from_nanos(33_333_333);

    fn timebase() -> DriverTimebase {
        DriverTimebase::new(DriverTimebaseConfig {
            interval: Some(INTERVAL),
            capture_bias: Span::from_millis(5),
            capture_bias_error: Span::from_millis(33),
        })
    }

    /// Frame `i` of a camera that exposes for 10 ms from `i` intervals after 100 s on, reads out for 20 ms and needs
    /// 3 to 8 ms from there to the box.
    struct Scene {
        started: Mono,
        middle: Mono,
        ended: Mono,
        arrival: Mono,
    }
    fn scene(i: i64) -> Scene {
        let started = Mono::from_nanos(100_000_000_000) + INTERVAL * i;
        let ended = started + Span::from_millis(30);
        Scene {
            started,
            // Middle of the exposure of the middle row.
            middle: started + Span::from_millis(15),
            ended,
            arrival: ended + Span::from_millis(3 + i % 6),
        }
    }
    fn stamp(at: Mono, clock: StampClock, point: StampPoint, sequence: u32) -> DriverStamp {
        let at = Span::from_nanos(at.as_nanos());
        DriverStamp {
            at,
            clock,
            point,
            sequence,
        }
    }
    fn holds(captured: Captured, truth: Mono) -> bool {
        (captured.mono - truth).abs() <= captured.rel_error
    }

    #[test]
    fn both_kinds_of_stamps_mean_the_same_instant_within_their_bound() {
        for point in [StampPoint::StartOfExposure, StampPoint::EndOfFrame] {
            let mut t = timebase();
            for i in 0..100 {
                let s = scene(i);
                let at = if point == StampPoint::StartOfExposure {
                    s.started
                } else {
                    s.ended
                };
                let timed = t.frame(stamp(at, StampClock::Monotonic, point, i as u32), s.arrival);
                assert_eq!(timed.captured.source, TimeSource::Hardware);
                assert_eq!(timed.captured.rel_error, Span::from_millis(34));
                // The declared bias of 5 ms is taken off.
                assert!(
                    holds(timed.captured, s.middle - Span::from_millis(5)),
                    "{point:?} {i}"
                );
                let centre = (timed.captured.mono + Span::from_millis(5) - s.middle).abs();
                assert!(centre < INTERVAL / 2, "{point:?} {i}: {centre}");
                assert!(!timed.new_epoch);
                assert_eq!(timed.media.as_micros(), at.as_nanos() / 1000);
            }
            assert_eq!((t.missed(), t.health().bad_reports), (0, 0));
        }
    }

    #[test]
    fn a_slow_camera_may_expose_for_longer_than_the_declared_error_covers() {
        let mut t = DriverTimebase::new(DriverTimebaseConfig {
            interval: Some(Span::from_millis(200)),
            capture_bias: Span::ZERO,
            capture_bias_error: Span::from_millis(33),
        });
        let end = Mono::from_nanos(7_000_000_000);
        let timed = t.frame(stamp(end, StampClock::Monotonic, StampPoint::EndOfFrame, 0), end);
        assert!(holds(timed.captured, end) && holds(timed.captured, end - Span::from_millis(200)));
    }

    #[test]
    fn a_stamp_ahead_of_its_frame_is_cut_at_the_arrival() {
        // As vivid does: handed out when it is made, stamped nine tenths of an interval later.
        let mut t = timebase();
        for i in 0..100 {
            let made = scene(i).started;
            let arrival = made + Span::from_micros(100 + i % 5 * 700);
            let at = made + INTERVAL * 9 / 10;
            let timed = t.frame(
                stamp(at, StampClock::Monotonic, StampPoint::EndOfFrame, i as u32),
                arrival,
            );
            assert_eq!(timed.captured.source, TimeSource::Hardware);
            let claimed = timed.captured.mono + Span::from_millis(5);
            assert!(
                claimed <= arrival && made - claimed < Span::from_millis(3),
                "frame {i}: {}",
                made - claimed
            );
        }
    }

    #[test]
    fn stamps_of_another_clock_fall_back_to_arrivals() {
        for (clock, off) in [
            (StampClock::Other, Span::from_secs(-29)),
            (StampClock::Other, Span::ZERO),
            // It says MONOTONIC and is the TSC, or the wall clock.
            (StampClock::Monotonic, Span::from_secs(-29)),
            (StampClock::Monotonic, Span::from_secs(1_700_000_000)),
        ] {
            let mut t = timebase();
            for i in 0..200 {
                let s = scene(i);
                let timed = t.frame(
                    stamp(s.ended + off, clock, StampPoint::EndOfFrame, i as u32),
                    s.arrival,
                );
                assert_eq!(timed.captured.source, TimeSource::Arrival, "{clock:?} {off}");
                assert!(holds(timed.captured, s.middle), "{clock:?} {off} frame {i}");
                assert!(!timed.new_epoch);
            }
            assert_eq!(t.health().bad_reports, u32::from(clock == StampClock::Monotonic));
        }
    }

    #[test]
    fn a_stamp_that_stands_still_never_gives_a_key_twice_nor_an_old_time() {
        let mut t = timebase();
        let mut keys = std::collections::HashSet::new();
        for i in 0..200 {
            let s = scene(i);
            let timed = t.frame(
                stamp(Mono::from_nanos(0), StampClock::Other, StampPoint::EndOfFrame, 0),
                s.arrival,
            );
            assert!(
                timed.new_epoch || keys.insert(timed.media.as_micros()),
                "frame {i}"
            );
        }
        assert_eq!(t.missed(), 0);
    }

    #[test]
    fn frames_whose_stamps_stand_still_are_timed_by_their_number() {
        let mut t = timebase();
        let mut sources = Vec::new();
        for i in (0..900).filter(|i| i % 97 != 5) {
            let s = scene(i);
            let still = stamp(
                Mono::from_nanos(0),
                StampClock::Other,
                StampPoint::EndOfFrame,
                i as u32,
            );
            // One in ten is held up on its way.
            let late = Span::from_millis(if i % 10 == 3 { 25 } else { 0 });
            let captured = t.frame(still, s.arrival + late).captured;
            sources.push(captured.source);
            assert!(
                (captured.mono - s.middle).abs() <= captured.rel_error,
                "frame {i}: {captured:?}, truth {:?}",
                s.middle
            );
        }
        assert_eq!(sources.last(), Some(&TimeSource::FrameCounter));
        let counted = sources.iter().filter(|s| **s == TimeSource::FrameCounter).count();
        assert!(counted > 850, "{counted} of {}", sources.len());
    }

    #[test]
    fn gaps_in_the_sequence_are_frames_the_driver_dropped() {
        let mut t = timebase();
        let mut give = |i: i64, sequence: u32| {
            let s = scene(i);
            t.frame(
                stamp(
                    s.started,
                    StampClock::Monotonic,
                    StampPoint::StartOfExposure,
                    sequence,
                ),
                s.arrival,
            );
            t.missed()
        };
        // Wraps after 2^32; a repeated number and one that began anew say nothing.
        assert_eq!(give(0, u32::MAX - 1), 0);
        assert_eq!(give(1, u32::MAX), 0);
        assert_eq!(give(3, 1), 1);
        assert_eq!(give(4, 1), 1);
        assert_eq!(give(5, 0), 1);
        assert_eq!(give(9, 4), 4);
    }

    #[test]
    fn stamps_that_jump_begin_an_epoch() {
        let mut t = timebase();
        let give = |t: &mut DriverTimebase, i: i64, off: Span| {
            let s = scene(i);
            t.frame(
                stamp(s.ended + off, StampClock::Other, StampPoint::EndOfFrame, i as u32),
                s.arrival,
            )
        };
        assert!(!give(&mut t, 0, Span::ZERO).new_epoch);
        assert!(!give(&mut t, 1, Span::ZERO).new_epoch);
        let timed = give(&mut t, 2, Span::from_secs(-60));
        assert!(timed.new_epoch);
        assert!(holds(timed.captured, scene(2).middle));
        assert!(!give(&mut t, 3, Span::from_secs(-60)).new_epoch);
    }
}
