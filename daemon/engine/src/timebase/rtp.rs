//! Capture times for an RTP stream.
//!
//! The lower envelope of **frames** gives the shape of the media clock on the box's clock, sharp to a tenth of a
//! millisecond. Every rung of the ladder then claims a level, `captured = media + level`:
//!
//! * **sender reports** say which media time it is *now*, and travel with next to no delay;
//! * **stamps** on the frames (header extensions, SEI) say what the camera's own clock read;
//! * **arrivals** alone: the envelope less what lies between light and wire, a one-sided prior until it is learned.
//!
//! The NTP time in the reports places no frame: it is watched ([`WallClock`]), and ties stamps to the box.

use std::collections::VecDeque;

use synoptic_base::{
    Captured, ClockMap, ClockSample, Epoch, MediaTime, Mono, Restamp, Span, TimeSource, Utc,
};

use super::doctor::FrameRate;
use super::hull::Shape;
use super::jump::{JumpGuard, Place};
use super::ladder::Ladder;
use super::rate::RateWatch;
use super::raw::RawClock;
use super::reports::{ReportLevel, ReportPoint};
use super::stamps::{self, StampKind, Stamps};
use super::types::{LearnedDelay, RtpTimebaseConfig, SenderReport, TimeEvent, TimeHealth, Timed};
use super::waited::Waited;
use super::{MinDelayHull, RtpUnwrapper, WallClock, WallVerdict};

pub(super) const MATURE_AFTER: Span = Span::from_secs(10);
const SANE_DELAY: Span = Span::from_secs(3);
/// A report later than this against its own media time is of another clock.
const REPORT_LATE: Span = Span::from_secs(10);
/// The envelope sinks faster than this while a camera sends what it had stored: pre-roll, or a stalled connection.
const SETTLING: Span = Span::from_millis(100);
const SETTLED_AFTER: Span = Span::from_millis(500);
/// Stored frames are not older than this.
pub(super) const PRE_ROLL: Span = Span::from_secs(10);
/// A frame this much ahead of the envelope of a known clock has a wrong stamp, or the path became faster: the envelope
/// finds out, the frame is timed by its arrival.
const AHEAD: Span = Span::from_millis(100);
/// A camera's wall clock and stamps that differ by more than this are not the same clock.
pub(super) const SAME_CLOCK: Span = Span::from_millis(100);
/// A path does not become slower for good by more: the media clock was halted.
const MAX_PATH_CHANGE: Span = Span::from_secs(3);
/// Events kept until they are asked for; the oldest goes.
pub(super) const EVENTS: usize = 32;
/// Kinds of stamps followed at once.
pub(super) const STAMP_KINDS: usize = 3;

/// Times the frames of one RTP stream.
#[derive(Clone, Debug)]
pub struct RtpTimebase {
    pub(super) config: RtpTimebaseConfig,
    pub(super) raw: RawClock,
    pub(super) map: Option<ClockMap>,
    pub(super) learned: Option<LearnedDelay>,
    pub(super) ladder: Ladder,
    pub(super) counts: Counts,
    pub(super) fps: FrameRate,
    /// How fast the media clock runs against its declared rate, with the media time from which on this is so.
    pub(super) scale: (f64, Span, Span),
    pub(super) line: MediaLine,
    pub(super) wall: WallClock,
    pub(super) events: VecDeque<TimeEvent>,
    pub(super) last: Option<(Span, Captured)>,
    /// The first frame of those that were timed no better than now: media, x, what was said.
    pub(super) said: Option<(MediaTime, Span, Captured)>,
    /// The longest way from light to the box; `None`: that of a camera that sends to it directly.
    pub(super) longest_way: Option<Span>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) last_report: Option<Mono>,
    pub(super) reports: u32,
    pub(super) bad_reports: u32,
    pub(super) wrong_stamps: u32,
    pub(super) last_wrong: Option<Mono>,
}

/// All that belongs to one uninterrupted run of the media clock.
#[derive(Clone, Debug, Default)]
pub(super) struct MediaLine {
    pub(super) unwrapper: RtpUnwrapper,
    pub(super) first_ticks: Option<i64>,
    pub(super) last_media: MediaTime,
    pub(super) guard: JumpGuard,
    pub(super) rate: RateWatch,
    pub(super) frames: MinDelayHull,
    pub(super) reports: ReportLevel,
    pub(super) stamps: Vec<Stamps>,
    /// What the path became slower by since the beginning.
    pub(super) path_extra: Span,
    /// All changes of the path so far, those that made it faster than it was at the beginning as well.
    pub(super) path_moved: Span,
    /// How late the box read what had arrived.
    pub(super) waited: Waited,
    /// When the envelope last sank, and by how much in that run.
    pub(super) sank: Option<(Mono, Span)>,
}

impl RtpTimebase {
    /// A timebase for a new connection.
    pub fn new(config: RtpTimebaseConfig) -> RtpTimebase {
        RtpTimebase {
            config,
            raw: RawClock::default(),
            map: None,
            learned: None,
            ladder: Ladder::default(),
            counts: Counts::default(),
            fps: FrameRate::default(),
            scale: (1.0, Span::ZERO, Span::ZERO),
            line: MediaLine::default(),
            wall: WallClock::default(),
            events: VecDeque::new(),
            last: None,
            said: None,
            longest_way: None,
        }
    }

    /// The same, for a stream that comes by way of a server: from light to the box it may take `most`. Where nothing in
    /// the stream tells UTC, a configured bias stands for that whole way.
    pub fn with_longest_way(mut self, most: Span) -> RtpTimebase {
        self.longest_way = Some(most);
        self.ladder = std::mem::take(&mut self.ladder).with_max_delay(most);
        self
    }

    /// Where the numbering of this epoch begins: the time stamp of media time zero, and ticks a second. `None` before the
    /// first frame.
    pub fn numbering(&self) -> Option<(u32, u32)> {
        let first = self.line.first_ticks?;
        Some((first as u32, self.config.clock_rate_hz))
    }

    /// The same, knowing what an earlier connection to the same camera learned.
    pub fn with_learned_delay(mut self, learned: Option<LearnedDelay>) -> RtpTimebase {
        self.learned = learned;
        self
    }

    /// Takes what an earlier connection learned, unless this one has learned it itself.
    pub fn recall(&mut self, learned: LearnedDelay) {
        self.learned.get_or_insert(learned);
    }

    /// Takes a sample of the box's clocks, about every second, so that slewing of the box's clock is not taken for
    /// drift of the camera's. Without any, the monotonic clock is taken for steady.
    pub fn box_sample(&mut self, sample: ClockSample) {
        self.raw.sample(sample);
    }

    /// Takes what the box knows of UTC, with which stamps of synchronised cameras are placed.
    pub fn clock_map(&mut self, map: ClockMap) {
        self.map = Some(map);
    }

    /// What the shell read at `arrival`, a frame's first packet or a report, may have waited for as long as `by` until the
    /// box got to it. Give it before the frame or the report.
    pub fn waited(&mut self, arrival: Mono, by: Span) {
        self.line.waited.tell(arrival, by);
    }

    /// The sender began anew (another SSRC): its media clock has nothing to do with the one before.
    pub fn restart(&mut self) {
        if self.line.first_ticks.is_some() {
            self.begin_line();
        }
    }

    /// Takes a sender report. Returns the size of a step of the camera's wall clock that it confirms.
    pub fn report(&mut self, report: SenderReport) -> Option<Span> {
        self.counts.reports += 1;
        let ntp = report.wall.map(Utc::as_nanos);
        if self.line.reports.seen(report.rtp, ntp) {
            return None; // sent twice
        }
        let arrival = self.raw.to_raw(report.arrival);
        // Before the first frame a report has nothing to be compared with; its RTP time anchors the numbering.
        let ticks = if self.line.first_ticks.is_some() {
            self.line.unwrapper.peek(report.rtp)
        } else {
            self.line.unwrapper.unwrap(report.rtp)
        };
        let x = self.x(ticks);
        if let Some(late) = self.line.frames.delay_of(x, arrival)
            && !(-self.sane_delay()..=REPORT_LATE).contains(&late)
        {
            self.counts.bad_reports += 1;
            return None;
        }
        let path = (self.line.path_extra, self.shape());
        let verdict = report.wall.map(|wall| self.wall.take(x, wall, arrival));
        let point = ReportPoint {
            media: x,
            rtp: report.rtp,
            ntp,
            arrival,
            waited: self.line.waited.of(report.arrival),
            verdict,
        };
        self.line.reports.take(point, path);
        self.counts.last_report = Some(report.arrival);
        let verdict = verdict?;
        match verdict {
            WallVerdict::Suspect(by) => self.tell(TimeEvent::WallSuspect(by)),
            WallVerdict::Stepped(by) => self.tell(TimeEvent::WallStep(by)),
            WallVerdict::Reanchored(by) => {
                // The media clock moved against the wall: what looked like a slower path was that.
                let grew = self.line.path_extra > Span::ZERO;
                if grew && (self.line.path_extra - by).abs() <= SAME_CLOCK {
                    self.line.path_extra = Span::ZERO;
                    self.line.reports.clear();
                }
            }
            WallVerdict::Agrees | WallVerdict::Late(_) => {}
        }
        if matches!(verdict, WallVerdict::Agrees | WallVerdict::Stepped(_)) {
            self.tie_stamps(x);
        }
        match verdict {
            WallVerdict::Stepped(by) => Some(by),
            _ => None,
        }
    }

    /// Takes the camera's UTC of the frame with RTP time `rtp`, read from the frame itself. Give it before the frame,
    /// or after; it counts from the next frame on.
    pub fn stamp(&mut self, kind: StampKind, rtp: u32, wall: Utc, arrival: Mono) {
        if self.line.first_ticks.is_none() {
            return; // the first frame begins the numbering
        }
        let x = self.x(self.line.unwrapper.peek(rtp));
        let arrival = self.raw.to_raw(arrival);
        if self
            .line
            .frames
            .delay_of(x, arrival)
            .is_none_or(|d| d.abs() > REPORT_LATE)
        {
            return; // of a frame with a wrong stamp
        }
        let stamps = &mut self.line.stamps;
        let at = stamps.iter().position(|s| s.kind == kind).unwrap_or_else(|| {
            if stamps.len() == STAMP_KINDS {
                stamps.remove(0);
            }
            stamps.push(Stamps::new(kind, arrival));
            stamps.len() - 1
        });
        let step = stamps[at].take(x, wall, arrival);
        let untied = stamps[at].level(x, 0.0, arrival).is_none();
        if let Some(step) = step {
            self.tell(TimeEvent::WallSuspect(step));
        }
        if !untied {
            return;
        }
        self.tie_stamps(x);
        if self.wall.wall_minus_mono().is_none()
            && let Some(map) = self.map
            && let Some(error) = map.error
        {
            let raw_minus_mono = arrival - self.raw.to_mono(arrival);
            self.line.stamps[at].tie(stamps::by_utc(map.utc_minus_mono - raw_minus_mono, error, kind));
        }
    }

    /// Times a frame: its RTP time, and when its first packet arrived.
    pub fn frame(&mut self, rtp: u32, arrival: Mono) -> Timed {
        let mono = arrival;
        let arrival = self.raw.to_raw(arrival);
        let ticks = self.expected(rtp, arrival);
        let x = self.x(ticks);
        let mut timed = match self.line.guard.judge(x, arrival) {
            Place::Fits => self.place(ticks, arrival, mono, false),
            Place::Outlier => self.outlier(arrival, mono),
            Place::NewLine => {
                self.begin_line();
                self.tell(TimeEvent::NewLine);
                let ticks = self.line.unwrapper.unwrap(rtp);
                self.line.guard.judge(self.x(ticks), arrival);
                self.place(ticks, arrival, mono, true)
            }
        };
        // What a stamp rounds away: 11 us at 90 kHz, a millisecond in FLV.
        timed.captured.rel_error +=
            Span::from_nanos(1_000_000_000 / i64::from(self.config.clock_rate_hz.max(1)));
        timed
    }

    /// What happened since the last call; drain it to `None`.
    pub fn poll(&mut self) -> Option<TimeEvent> {
        self.events.pop_front()
    }

    /// An earlier frame of this epoch, timed by what is known now.
    pub fn recaptured(&self, media: MediaTime) -> Option<Captured> {
        let ticks = i128::from(media.as_micros()) * i128::from(self.config.clock_rate_hz) / 1_000_000;
        let x = self.x(self.line.first_ticks? + ticks as i64);
        self.moved(x)
    }

    /// What a [`TimeEvent::Better`] means for the frames of this line since media time `since`, which then began to be
    /// better known; `moved` as it says.
    pub fn restamp(&self, epoch: Epoch, since: MediaTime, moved: Span) -> Option<Restamp> {
        let until = self.line.last_media;
        let from = self.recaptured(since)?;
        Some(Restamp {
            epoch,
            since_us: since,
            until_us: until,
            from: from.mono,
            to: self.recaptured(until)?.mono,
            moved,
            rel_error: from.rel_error,
            source: from.source,
        })
    }

    /// The camera's own wall clock at RTP time `rtp`, as its reports have it: a robust fit, not the last report.
    pub fn camera_utc(&self, rtp: u32) -> Option<Utc> {
        self.wall.utc_of(self.x(self.line.unwrapper.peek(rtp)))
    }

    /// The camera's wall clock.
    pub fn wall(&self) -> &WallClock {
        &self.wall
    }

    /// What was learned of the delay from capture to arrival; `None` before five reports.
    pub fn learned_delay(&self) -> Option<LearnedDelay> {
        self.learned
    }

    /// What there is to say about the camera's time.
    pub fn health(&self) -> TimeHealth {
        let raw_minus_mono = |at: Mono| self.raw.to_raw(at) - at;
        let newest = self.last.map(|(_, c)| c.mono).unwrap_or_default();
        TimeHealth {
            source: self.last.map(|(_, c)| c.source),
            rel_error: self.last.map(|(_, c)| c.rel_error),
            wall_minus_mono: self.wall.wall_minus_mono().map(|w| w + raw_minus_mono(newest)),
            drift_ppm: self.line.frames.remote_ppm(),
            last_report: self.counts.last_report,
            reports: self.counts.reports,
            bad_reports: self.counts.bad_reports,
            wall_steps: self.wall.steps(),
            refused: self.ladder.liar(self.raw.to_raw(newest)),
            report_spread: self.wall.spread(),
            late_reports: self.wall.late_count(),
            wrong_stamps: self.counts.wrong_stamps,
            declared_rate_hz: Some(self.config.clock_rate_hz),
            true_rate_hz: (self.scale.0 != 1.0).then(|| f64::from(self.config.clock_rate_hz) / self.scale.0),
            fps: self.fps.get(),
            last_step: self
                .wall
                .step_log()
                .last()
                .map(|(at, by)| (self.raw.to_mono(at), by)),
            learned: self.learned,
        }
    }

    pub(super) fn tell(&mut self, event: TimeEvent) {
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Another run of the media clock: the camera, its path and its wall clock stay.
    fn begin_line(&mut self) {
        self.line = MediaLine::default();
        // Frames of the line before cannot be timed anew.
        self.events.retain(|e| !matches!(e, TimeEvent::Better { .. }));
        self.scale = (self.scale.0, Span::ZERO, Span::ZERO);
        self.wall.begin_anew();
        self.said = None;
        self.last = None;
    }

    /// Unwraps a frame's RTP time by what the time that passed makes one expect; takes it only if it is near.
    fn expected(&mut self, rtp: u32, arrival: Mono) -> i64 {
        match self.near_expected(rtp, arrival) {
            Some(ticks) => ticks,
            None => self.line.unwrapper.unwrap(rtp),
        }
    }

    /// As [`RtpTimebase::expected`], without a trace; `None` before the first frame of a line.
    pub(super) fn near_expected(&self, rtp: u32, arrival: Mono) -> Option<i64> {
        let (_, last_arrival) = self.line.guard.last()?;
        let passed = (arrival - last_arrival).as_secs_f64() / self.scale.0;
        if passed < 60.0 {
            return Some(self.line.unwrapper.peek(rtp));
        }
        let ahead = (passed * f64::from(self.config.clock_rate_hz)) as i64;
        let newest = self.line.unwrapper.newest().unwrap_or_default();
        Some(super::unwrap::near(rtp, newest + ahead))
    }

    /// Media time in seconds of the box's raw clock, as far as the rate is known.
    pub(super) fn x(&self, ticks: i64) -> Span {
        let ns = i128::from(ticks) * 1_000_000_000 / i128::from(self.config.clock_rate_hz.max(1));
        let media = Span::from_nanos(ns as i64);
        let (scale, media0, x0) = self.scale;
        if scale == 1.0 && media0 == x0 {
            return media;
        }
        x0 + Span::from_nanos(((media - media0).as_nanos() as f64 * scale) as i64)
    }

    fn place(&mut self, ticks: i64, arrival: Mono, mono: Mono, new_epoch: bool) -> Timed {
        self.line.unwrapper.accept(ticks);
        let restarted = self.line.first_ticks.is_none() && self.counts_began();
        let first = *self.line.first_ticks.get_or_insert(ticks);
        let media = MediaTime::from_ticks(ticks - first, self.config.clock_rate_hz);
        self.line.last_media = self.line.last_media.max(media);
        self.fps.frame(arrival);
        let mut x = self.x(ticks);
        if let Some(ratio) = self.line.rate.observe(x, arrival) {
            self.rescale(ratio, ticks);
            x = self.x(ticks);
        }
        let excess = self.line.frames.delay_of(x, arrival);
        self.note_sinking(excess, arrival);
        let ahead = excess.is_some_and(|e| e < -AHEAD) && self.line.frames.span() >= MATURE_AFTER;
        if let Some(shift) = self.line.frames.observe(x, arrival) {
            self.path_changed(shift);
        }
        if ahead && self.line.frames.delay_of(x, arrival).is_some_and(|e| e < -AHEAD) {
            return self.by_arrival_alone(media, arrival, mono, new_epoch);
        }
        if let Some(least) = self.line.frames.arrival_of(x) {
            let level = |at: Mono| Span::from_nanos(at.as_nanos()) - x;
            self.line.waited.frame(mono, level(arrival), level(least));
        }
        let (captured, scatter) = self.claim(x, arrival, mono);
        self.remember(media, x, captured);
        Timed {
            media,
            captured,
            new_epoch: new_epoch || restarted,
            scatter,
            outlier: false,
        }
    }

    /// Whether frames were timed before this line began.
    fn counts_began(&self) -> bool {
        self.fps.began()
    }

    fn outlier(&mut self, arrival: Mono, mono: Mono) -> Timed {
        // Its own stamp is no key; a microsecond after the last one is, and is nobody else's.
        let media = MediaTime::from_micros(self.line.last_media.as_micros() + 1);
        self.line.last_media = media;
        self.by_arrival_alone(media, arrival, mono, false)
    }

    fn by_arrival_alone(&mut self, media: MediaTime, arrival: Mono, mono: Mono, new_epoch: bool) -> Timed {
        self.counts.wrong_stamps += 1;
        if self
            .counts
            .last_wrong
            .is_none_or(|at| arrival - at >= Span::from_secs(1))
        {
            self.counts.last_wrong = Some(arrival);
            self.tell(TimeEvent::WrongStamp);
        }
        let (least, most) = self.light_to_wire();
        // Nothing says how long this frame was delayed above the least: a quarter of a second is rare.
        let most = most + Span::from_millis(250);
        Timed {
            media,
            captured: Captured {
                mono: mono - (least + most) / 2,
                rel_error: (most - least) / 2,
                source: TimeSource::Host,
            },
            new_epoch,
            scatter: (most - least) / 2,
            outlier: true,
        }
    }

    fn rescale(&mut self, ratio: f64, ticks: i64) {
        let x = self.x(ticks);
        let ns = i128::from(ticks) * 1_000_000_000 / i128::from(self.config.clock_rate_hz.max(1));
        let scale = self.scale.0 * ratio;
        self.scale = (scale, Span::from_nanos(ns as i64), x);
        self.line.frames.reset();
        self.line.reports.clear();
        self.line.stamps.clear();
        self.line.rate = RateWatch::default();
        self.line.path_extra = Span::ZERO;
        self.wall.begin_anew();
        self.tell(TimeEvent::Rate(f64::from(self.config.clock_rate_hz) / scale));
    }

    /// The envelope of the frames, as if their path had never changed.
    pub(super) fn shape(&self) -> Shape {
        self.line.frames.shape().later(-self.line.path_moved)
    }

    fn path_changed(&mut self, shift: Span) {
        self.line.path_moved += shift;
        if shift > MAX_PATH_CHANGE {
            self.line.reports.clear();
            return;
        }
        self.line.path_extra = (self.line.path_extra + shift).max(Span::ZERO);
        self.tell(TimeEvent::Path(shift));
    }

    fn note_sinking(&mut self, excess: Option<Span>, arrival: Mono) {
        let Some(excess) = excess.filter(|e| *e < Span::ZERO) else {
            return;
        };
        let before = self.line.sank.filter(|(at, _)| arrival - *at <= SETTLED_AFTER);
        self.line.sank = Some((arrival, before.map_or(Span::ZERO, |(_, by)| by) - excess));
    }

    /// A camera that sends what it had stored is far behind at first.
    pub(super) fn sane_delay(&self) -> Span {
        if self.line.frames.span() < PRE_ROLL * 3 {
            PRE_ROLL
        } else {
            SANE_DELAY
        }
    }

    pub(super) fn settling(&self, arrival: Mono) -> bool {
        self.line.frames.span() < PRE_ROLL * 3
            && self
                .line
                .sank
                .is_some_and(|(at, by)| by > SETTLING && arrival - at <= SETTLED_AFTER)
    }

    /// Keeps what the worst timed frames were told, and says when they would be timed better.
    fn remember(&mut self, media: MediaTime, x: Span, captured: Captured) {
        self.last = Some((x, captured));
        let Some((since, x_said, said)) = self.said else {
            self.said = Some((media, x, captured));
            return;
        };
        let Some(now) = self.moved(x_said) else { return };
        let moved = now.mono - said.mono;
        if captured.rel_error * 2 <= said.rel_error || moved.abs() > said.rel_error {
            self.said = Some((media, x, captured));
            self.tell(TimeEvent::Better {
                since,
                moved,
                error: captured.rel_error,
            });
        }
    }

    /// A frame at `x`, by the level that the last frame got.
    pub(super) fn moved(&self, x: Span) -> Option<Captured> {
        let (x_last, last) = self.last?;
        let apart = x - x_last;
        let along = (apart.as_nanos() as f64 * self.line.frames.drift()) as i64;
        let raw = self.raw.to_raw(last.mono) + apart + Span::from_nanos(along);
        Some(Captured {
            mono: self.raw.to_mono(raw),
            ..last
        })
    }
}

#[cfg(test)]
#[path = "rtp_tests.rs"]
mod tests;
