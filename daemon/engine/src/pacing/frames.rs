//! The frame timer: when each picture is shown. ffplay's rules, with corrections below one frame.
//!
//! A picture is due one delay (its PTS minus that of the one before) after the one before. Where a master says
//! otherwise, the rhythm is pulled towards it by a part of the difference, so small that no eye sees it. Only a
//! difference above one frame is mended at once: by showing without delay (and dropping), or by holding the picture
//! that is there.

use synoptic_base::{Mono, Span};

/// A delay of none or of this much is no delay: the last good one counts (ffplay: the same).
const MAX_DELAY: Span = Span::from_secs(1);
/// Assumed until two pictures have come: 25 frames a second, as ffplay.
const FIRST_DELAY: Span = Span::from_millis(40);
/// A master this far away is another time line (ffplay: AV_NOSYNC_THRESHOLD).
pub(super) const NO_SYNC: Span = Span::from_secs(10);
/// Later than this against its own rhythm, the rhythm begins anew (ffplay: AV_SYNC_THRESHOLD_MAX).
const RESYNC: Span = Span::from_millis(100);
/// Part of the difference that each picture takes back. Four pictures: the noise of the audio clock, about 1 ms, becomes
/// 0.4 ms of judder.
const GAIN_DIVISOR: i64 = 4;
/// Largest correction, as a part of the delay: 10 ms at 25 frames a second.
const MAX_CORRECTION_DIVISOR: i64 = 4;

/// What was shown last.
#[derive(Clone, Copy, Debug)]
struct Shown {
    pts: Span,
    at: Mono,
    /// Half delays that it stays besides.
    repeat: u32,
    /// When the master wanted it.
    target: Option<Mono>,
}

/// Pictures over which the pace of the master is averaged.
const PACE_PICTURES: f64 = 8.0;
/// A master is no faster or slower than this: sound is stretched by a tenth at most.
const MAX_PACE: f64 = 0.12;

/// The rhythm of the pictures.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameTimer {
    last: Option<Shown>,
    good_delay: Span,
    /// Time that the master takes for a media second, less one. Without it, pictures would trail a sound that is being
    /// stretched by four pictures' worth of it: 12 ms at 8 %.
    pace: f64,
}

impl Default for FrameTimer {
    fn default() -> FrameTimer {
        FrameTimer {
            last: None,
            good_delay: FIRST_DELAY,
            pace: 0.0,
        }
    }
}

impl FrameTimer {
    /// When a picture is shown, by its rhythm and by the master's `target` for it.
    pub(super) fn plan(&self, pts: Span, target: Option<Mono>, now: Mono) -> Mono {
        let target = target.filter(|t| (*t - now).abs() < NO_SYNC);
        let Some(last) = self.last else {
            return target.unwrap_or(now);
        };
        let delay = self.delay(pts);
        let due = last.at + delay + delay * i64::from(last.repeat) / 2;
        let Some(target) = target else {
            return if now - due > RESYNC { now } else { due };
        };
        let due = due + Span::from_nanos((delay.as_nanos() as f64 * self.pace) as i64);
        let late = due - target;
        if late.abs() > delay {
            // More than a frame: at once. `late > 0`: behind, no delay; otherwise ahead, held until it is due.
            return target.max(last.at);
        }
        let limit = delay / MAX_CORRECTION_DIVISOR;
        due - (late / GAIN_DIVISOR).clamp(-limit, limit)
    }

    /// A picture was given out, to be shown at `at`; the master wanted it at `target`.
    pub(super) fn shown(&mut self, pts: Span, at: Mono, repeat: u32, target: Option<Mono>) {
        let delay = self.delay(pts);
        let before = self.last.and_then(|last| Some((last.pts, last.target?)));
        self.pace = match (before, target) {
            (Some((last_pts, last_target)), Some(target)) if pts - last_pts == delay => {
                let seen = (target - last_target).as_nanos() as f64 / delay.as_nanos() as f64 - 1.0;
                self.pace + (seen.clamp(-MAX_PACE, MAX_PACE) - self.pace) / PACE_PICTURES
            }
            _ => 0.0,
        };
        self.good_delay = delay;
        self.last = Some(Shown {
            pts,
            at,
            repeat,
            target,
        });
    }

    /// When the video clock shows `pts`.
    pub(super) fn when(&self, pts: Span) -> Option<Mono> {
        self.last.map(|last| last.at + (pts - last.pts))
    }

    /// When the last picture was shown, and for how long it stays.
    pub(super) fn last(&self) -> Option<(Mono, Span)> {
        let delay = self.good_delay;
        self.last
            .map(|last| (last.at, delay + delay * i64::from(last.repeat) / 2))
    }

    /// The rhythm stood still for `by`.
    pub(super) fn shift(&mut self, by: Span) {
        if let Some(last) = &mut self.last {
            last.at += by;
        }
    }

    /// The stream was sought: the next picture is shown when the master says so, or at once.
    pub(super) fn forget(&mut self) {
        self.last = None;
        self.pace = 0.0;
    }

    /// The last good delay.
    pub(super) fn good_delay(&self) -> Span {
        self.good_delay
    }

    fn delay(&self, pts: Span) -> Span {
        match self.last.map(|last| pts - last.pts) {
            Some(delay) if delay > Span::ZERO && delay < MAX_DELAY => delay,
            _ => self.good_delay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Mono {
        Mono::from_nanos(ms * 1_000_000)
    }
    fn ms(ms: i64) -> Span {
        Span::from_millis(ms)
    }

    #[test]
    fn the_delay_is_the_difference_of_pts_and_a_senseless_one_is_the_last_good() {
        let mut timer = FrameTimer::default();
        timer.shown(ms(0), at(1_000), 0, None);
        assert_eq!(timer.plan(ms(33), None, at(1_000)), at(1_033));
        timer.shown(ms(33), at(1_033), 0, None);
        for senseless in [33, 0, -500, 1_033, 50_000] {
            assert_eq!(
                timer.plan(ms(senseless), None, at(1_040)),
                at(1_066),
                "{senseless}"
            );
        }
        timer.shown(ms(66), at(1_066), 1, None);
        assert_eq!(
            timer.plan(ms(99), None, at(1_066)),
            at(1_115) + Span::from_micros(500)
        );
    }

    #[test]
    fn below_a_frame_the_rhythm_is_pulled_by_a_part() {
        let mut timer = FrameTimer::default();
        timer.shown(ms(0), at(0), 0, None);
        for (target, planned) in [(40, 40), (44, 41), (36, 39), (70, 47), (12, 33)] {
            let want = if planned == 47 {
                at(40) + Span::from_micros(7_500)
            } else {
                at(planned)
            };
            assert_eq!(timer.plan(ms(40), Some(at(target)), at(0)), want, "{target}");
        }
    }

    #[test]
    fn above_a_frame_it_is_mended_at_once_and_beyond_ten_seconds_never() {
        let mut timer = FrameTimer::default();
        timer.shown(ms(0), at(20_000), 0, None);
        let plan = |target| timer.plan(ms(40), Some(at(target)), at(20_010));
        assert_eq!(plan(20_100), at(20_100), "held");
        assert_eq!(plan(19_900), at(20_000), "at once, but not before the one before");
        assert_eq!(plan(40_000), at(20_040), "another time line");
    }

    #[test]
    fn a_rhythm_that_was_lost_begins_anew() {
        let mut timer = FrameTimer::default();
        timer.shown(ms(0), at(0), 0, None);
        assert_eq!(timer.plan(ms(40), None, at(120)), at(40));
        assert_eq!(timer.plan(ms(40), None, at(500)), at(500));
    }

    #[test]
    fn a_master_that_runs_faster_is_followed_without_trailing() {
        let mut timer = FrameTimer::default();
        let mut off = ms(0);
        for i in 0..100_i64 {
            // 8 % fast: a media second takes 0.92 s.
            let target = at(0) + Span::from_micros(36_800) * i;
            let planned = timer.plan(ms(40) * i, Some(target), target);
            off = planned - target;
            timer.shown(ms(40) * i, planned, 0, Some(target));
        }
        assert!(off.abs() < ms(1), "{off}");
    }
}
