//! Sound, fitted to its device: where each piece begins in device time, and by how many samples it is stretched.
//!
//! The audio clock is what ffplay's is: the PTS of what was given last, plus its length, minus what the device has not
//! played yet. Where sound leads nothing is touched. Where it follows, the difference to what it should be is taken
//! back over a second: 1 ms is 0.1 % of pitch, which no ear hears; ffplay waits for a whole buffer of difference (20 ms and
//! more) and then takes up to 10 %.

use std::collections::VecDeque;

use synoptic_base::{Mono, Span};

use super::device::DeviceClock;
use super::frames::NO_SYNC;
use super::types::{Sound, samples_to_span};

/// A run begins this far ahead of what is heard: what the device needs to take it over.
pub const SOUND_LEAD: Span = Span::from_millis(60);
/// Sound is given to the device this far ahead, for a thread that is late.
pub const SOUND_AHEAD: Span = Span::from_millis(160);
/// With less ahead of what is heard, the device has run dry: a new run begins.
const DRY: Span = Span::from_millis(5);
/// A hole in media time of this much is silence, not a correction. ffplay: AV_SYNC_THRESHOLD_MIN.
const HOLE: Span = Span::from_millis(40);
/// A longer one is another time line.
const MAX_HOLE: Span = Span::from_secs(1);
/// A difference is taken back over this time.
const CORRECT_OVER_S: f64 = 1.0;
/// The most that a piece is stretched or squeezed (ffplay: SAMPLE_CORRECTION_PERCENT_MAX, 10 %).
const MAX_CORRECTION: f64 = 0.1;
/// A difference above this is not stretched away: silence, or pieces left out.
const JUMP: Span = Span::from_millis(500);
/// Pieces over which the difference is smoothed (ffplay: AUDIO_DIFF_AVG_NB, 20).
const SMOOTHING: i64 = 8;
/// Live sound that leads may be this much off its latency before it is corrected: the quartz of camera and device differ.
pub(super) const LIVE_DEAD_BAND: Span = Span::from_millis(20);
/// Pieces remembered, for what is heard now.
const PLACED: usize = 256;
/// The audio clock is believed for so long after the last piece.
const STALE: Span = Span::from_secs(1);

/// When something should be heard or seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    At(Mono),
    /// By its own rhythm.
    Free,
    /// Not known yet; ask again at that time, or at the next input.
    Wait(Option<Mono>),
}

/// What is to be done with the piece that waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    Play { at: Span, skip: u32, samples: u32 },
    Skip,
    Wait(Option<Mono>),
}

/// An uninterrupted run of samples: counted, for sums of rounded spans drift.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: Span,
    rate_hz: u32,
    samples: u64,
}

impl Run {
    fn end(&self) -> Span {
        self.start + samples_to_span(self.samples, self.rate_hz)
    }
}

/// A piece on the device: device time and media time of its begin and its end.
#[derive(Clone, Copy, Debug)]
struct Placed {
    out: Span,
    out_end: Span,
    pts: Span,
    pts_end: Span,
}

/// The sound that was given to the device.
#[derive(Clone, Debug, Default)]
pub(super) struct SoundLine {
    run: Option<Run>,
    placed: VecDeque<Placed>,
    /// Smoothed difference, late is positive; `None` at the begin of a run.
    error: Option<Span>,
    /// Fraction of a sample that a correction left.
    rest: f64,
    pub(super) runs: u64,
    pub(super) corrected: i64,
}

impl SoundLine {
    /// What to do with `sound`, which should be heard at `target`. `dead_band`: a difference that is let be.
    pub(super) fn step<A>(
        &mut self,
        now: Mono,
        sound: &Sound<A>,
        device: &DeviceClock,
        target: Target,
        dead_band: Span,
    ) -> Step {
        let Some(heard) = device.position(now) else {
            return Step::Wait(None);
        };
        let fitting = self
            .run
            .filter(|r| r.rate_hz == sound.rate_hz && r.end() - heard >= DRY);
        let hole = self.placed.back().map_or(Span::ZERO, |p| sound.pts - p.pts_end);
        let hole = if (HOLE..MAX_HOLE).contains(&hole) {
            hole
        } else {
            Span::ZERO
        };
        if let Some(run) = fitting.filter(|_| hole == Span::ZERO) {
            let ahead = run.end() - heard;
            if ahead > SOUND_AHEAD {
                return Step::Wait(Some(now + (ahead - SOUND_AHEAD)));
            }
            match target {
                Target::At(target) => {
                    let late = device.when(run.end()).map_or(Span::ZERO, |at| at - target);
                    if late.abs() >= NO_SYNC || (late > -JUMP && late < JUMP) {
                        let late = if late.abs() < NO_SYNC { late } else { Span::ZERO };
                        return self.follow(sound, late, dead_band);
                    }
                    if late > Span::ZERO {
                        return Step::Skip;
                    }
                }
                Target::Free | Target::Wait(_) => return self.follow(sound, Span::ZERO, dead_band),
            }
        }
        self.begin(now, sound, heard, device, target, hole)
    }

    /// Goes on behind the last piece.
    fn follow<A>(&mut self, sound: &Sound<A>, late: Span, dead_band: Span) -> Step {
        let late = late - late.clamp(-dead_band, dead_band);
        let smoothed = self.error.map_or(late, |e| e + (late - e) / SMOOTHING);
        self.error = Some(smoothed);
        let part = (smoothed.as_secs_f64() / CORRECT_OVER_S).clamp(-MAX_CORRECTION, MAX_CORRECTION);
        let wanted = f64::from(sound.samples) * (1.0 - part) + self.rest;
        let samples = wanted.round().max(1.0);
        self.rest = wanted - samples;
        let samples = samples as u32;
        self.corrected += i64::from(samples) - i64::from(sound.samples);
        let at = self.run.map_or(Span::ZERO, |r| r.end());
        self.place(sound, at, 0, samples);
        Step::Play { at, skip: 0, samples }
    }

    /// Begins a run.
    fn begin<A>(
        &mut self,
        now: Mono,
        sound: &Sound<A>,
        heard: Span,
        device: &DeviceClock,
        target: Target,
        hole: Span,
    ) -> Step {
        let after = self.run.map_or(heard, |r| r.end());
        let earliest = (heard + SOUND_LEAD).max(after);
        let start = match target {
            Target::Wait(until) => return Step::Wait(until),
            Target::Free => earliest.max(after + hole),
            Target::At(target) => match device.when(earliest).map(|at| at - target) {
                Some(late) if late.abs() < NO_SYNC => earliest - late,
                _ => earliest,
            },
        };
        if start - heard > SOUND_AHEAD {
            return Step::Wait(Some(now + (start - heard - SOUND_AHEAD)));
        }
        let late = (earliest - start).max(Span::ZERO);
        if late >= sound.length() {
            return Step::Skip;
        }
        let skip = (late.as_nanos() as i128 * i128::from(sound.rate_hz) / 1_000_000_000) as u32;
        let skip = skip.min(sound.samples.saturating_sub(1));
        let at = start.max(earliest);
        self.run = Some(Run {
            start: at,
            rate_hz: sound.rate_hz,
            samples: 0,
        });
        self.runs += 1;
        self.error = None;
        self.rest = 0.0;
        let samples = sound.samples - skip;
        self.place(sound, at, skip, samples);
        Step::Play { at, skip, samples }
    }

    fn place<A>(&mut self, sound: &Sound<A>, at: Span, skip: u32, samples: u32) {
        if let Some(run) = &mut self.run {
            run.samples += u64::from(samples);
        }
        if self.placed.len() == PLACED {
            self.placed.pop_front();
        }
        self.placed.push_back(Placed {
            out: at,
            out_end: at + samples_to_span(u64::from(samples), sound.rate_hz),
            pts: sound.pts + samples_to_span(u64::from(skip), sound.rate_hz),
            pts_end: sound.pts + sound.length(),
        });
    }

    /// Media time that is heard at `at`: the audio clock. `None` where no sound was given for long.
    pub(super) fn heard(&self, at: Mono, device: &DeviceClock) -> Option<Span> {
        let position = device.position(at)?;
        let last = self.placed.back()?;
        if position - last.out_end > STALE {
            return None;
        }
        let piece = self.placed.iter().rev().find(|p| p.out <= position);
        let piece = piece.or(self.placed.front())?;
        Some(
            scale(
                position - piece.out,
                piece.out_end - piece.out,
                piece.pts_end - piece.pts,
            ) + piece.pts,
        )
    }

    /// When a media time is heard. `None` where no sound was given for long.
    pub(super) fn when(&self, pts: Span, now: Mono, device: &DeviceClock) -> Option<Mono> {
        let position = device.position(now)?;
        let last = self.placed.back()?;
        if position - last.out_end > STALE {
            return None;
        }
        let piece = self.placed.iter().rev().find(|p| p.pts <= pts);
        let piece = piece.or(self.placed.front())?;
        device.when(
            scale(
                pts - piece.pts,
                piece.pts_end - piece.pts,
                piece.out_end - piece.out,
            ) + piece.out,
        )
    }

    /// Whether anything was given to the device lately.
    pub(super) fn runs_at(&self, now: Mono, device: &DeviceClock) -> bool {
        self.heard(now, device).is_some()
    }

    /// Device time at which everything that was given is over.
    pub(super) fn end(&self) -> Option<Span> {
        self.run.map(|r| r.end())
    }

    /// The stream was sought: the next piece begins a run. The device plays what it has.
    pub(super) fn forget(&mut self) {
        self.placed.clear();
        if let Some(run) = &mut self.run {
            // Its end stays: nothing is put over what the device has.
            *run = Run {
                start: run.end(),
                rate_hz: 0,
                samples: 0,
            };
        }
    }
}

/// `span` of a piece, in the other time line; beyond the piece both run alike.
fn scale(span: Span, from: Span, to: Span) -> Span {
    if span < Span::ZERO || span > from || from <= Span::ZERO {
        let over = if span > from { to - from } else { Span::ZERO };
        return span + over;
    }
    let ns = i128::from(span.as_nanos()) * i128::from(to.as_nanos()) / i128::from(from.as_nanos());
    Span::from_nanos(ns as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 48_000;

    fn piece(i: i64) -> Sound<()> {
        Sound {
            pts: Span::from_millis(20 * i),
            samples: 960,
            rate_hz: RATE,
            payload: (),
        }
    }
    fn at(ms: i64) -> Mono {
        Mono::from_nanos(ms * 1_000_000)
    }
    fn device() -> DeviceClock {
        let mut device = DeviceClock::default();
        device.report(at(0), Span::ZERO);
        device
    }

    #[test]
    fn the_audio_clock_is_the_last_pts_and_its_length_less_what_is_unplayed() {
        let (mut line, device) = (SoundLine::default(), device());
        for i in 0..3 {
            let step = line.step(at(0), &piece(i), &device, Target::Free, Span::ZERO);
            let expected = SOUND_LEAD + Span::from_millis(20 * i);
            assert_eq!(
                step,
                Step::Play {
                    at: expected,
                    skip: 0,
                    samples: 960
                }
            );
        }
        // 120 ms given to the device, 70 heard: 60 of media time less 50 unplayed.
        assert_eq!(line.heard(at(70), &device), Some(Span::from_millis(10)));
        assert_eq!(line.when(Span::from_millis(10), at(0), &device), Some(at(70)));
        assert_eq!(
            line.heard(at(130), &device),
            Some(Span::from_millis(70)),
            "runs on"
        );
        assert_eq!(line.heard(at(1_200), &device), None, "not for ever");
    }

    #[test]
    fn no_more_is_given_than_the_device_needs() {
        let (mut line, device) = (SoundLine::default(), device());
        let mut given = 0;
        let until = loop {
            match line.step(at(0), &piece(given), &device, Target::Free, Span::ZERO) {
                Step::Play { .. } => given += 1,
                Step::Wait(until) => break until,
                Step::Skip => panic!("nothing is late"),
            }
        };
        assert_eq!((given, until), (6, Some(at(20))));
    }

    #[test]
    fn sound_begins_when_it_is_due_and_what_is_too_late_is_left_out() {
        let (mut line, device) = (SoundLine::default(), device());
        let due = Target::At(at(500));
        assert_eq!(
            line.step(at(0), &piece(0), &device, due, Span::ZERO),
            Step::Wait(Some(at(340)))
        );
        let step = line.step(at(400), &piece(0), &device, due, Span::ZERO);
        assert_eq!(
            step,
            Step::Play {
                at: Span::from_millis(500),
                skip: 0,
                samples: 960
            }
        );
        let mut late = SoundLine::default();
        assert_eq!(
            late.step(at(500), &piece(0), &device, due, Span::ZERO),
            Step::Skip
        );
        // 5 ms of the next one can no longer be heard.
        let step = late.step(at(465), &piece(1), &device, Target::At(at(520)), Span::ZERO);
        assert_eq!(
            step,
            Step::Play {
                at: Span::from_millis(525),
                skip: 240,
                samples: 720
            }
        );
        assert_eq!(late.heard(at(525), &device), Some(Span::from_millis(25)));
    }

    #[test]
    fn a_difference_is_taken_back_over_a_second_and_never_by_more_than_a_tenth() {
        let (mut line, device) = (SoundLine::default(), device());
        line.step(at(0), &piece(0), &device, Target::At(at(60)), Span::ZERO);
        // From now on everything is due 10 ms earlier than it would be heard.
        let mut given = 960;
        for i in 1..400 {
            let now = at(20 * i);
            let Step::Play { samples, .. } =
                line.step(now, &piece(i), &device, Target::At(at(50 + 20 * i)), Span::ZERO)
            else {
                panic!("piece {i} was not played")
            };
            assert!(samples.abs_diff(960) <= 10, "{samples}: 10 ms is 1 %");
            given += samples;
        }
        let gone = i64::from(given) - 400 * 960;
        assert!((gone + 480).abs() < 10, "10 ms are 480 samples: {gone}");
        assert_eq!(line.corrected, gone);
        let dead = line.clone().step(
            at(8_000),
            &piece(400),
            &device,
            Target::At(at(8_040)),
            LIVE_DEAD_BAND,
        );
        assert!(
            matches!(
                dead,
                Step::Play {
                    samples: 959..=961,
                    ..
                }
            ),
            "{dead:?}"
        );
    }

    #[test]
    fn holes_are_silence_and_leaps_another_time_line() {
        let (mut line, device) = (SoundLine::default(), device());
        line.step(at(0), &piece(0), &device, Target::Free, Span::ZERO);
        let step = line.step(at(20), &piece(3), &device, Target::Free, Span::ZERO);
        assert_eq!(
            step,
            Step::Play {
                at: Span::from_millis(120),
                skip: 0,
                samples: 960
            }
        );
        let step = line.step(at(60), &piece(5_000), &device, Target::Free, Span::ZERO);
        assert_eq!(
            step,
            Step::Play {
                at: Span::from_millis(140),
                skip: 0,
                samples: 960
            }
        );
        assert_eq!(line.runs, 2);
    }
}
