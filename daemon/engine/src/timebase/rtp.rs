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

use synoptic_base::{Captured, ClockMap, ClockSample, MediaTime, Mono, Span, TimeSource, Utc};

use super::doctor::FrameRate;
use super::jump::{JumpGuard, Place};
use super::ladder::{Ladder, RungChange, RungReason};
use super::rate::RateWatch;
use super::raw::RawClock;
use super::reports::ReportLevel;
use super::stamps::{self, StampKind, Stamps, WallTie};
use super::{MinDelayHull, RtpUnwrapper, WallClock, WallVerdict};

/// Least delay from light to wire of a network camera with encoder: between nothing and this. Published
/// glass-to-wire figures of IP cameras lie at 30 to 120 ms.
const MAX_LIGHT_TO_WIRE: Span = Span::from_millis(150);
/// What is left of arrival jitter after the envelope, before it has a long history.
const YOUNG_ENVELOPE: Span = Span::from_millis(10);
const MATURE_AFTER: Span = Span::from_secs(10);
/// A learned delay is kept this much wider than it was learned: cameras change exposure and bit rate.
const LEARNED_MARGIN: Span = Span::from_millis(2);
/// A report is believed while the frames it explains reached the box between these after their capture.
const SANE_DELAY: std::ops::RangeInclusive<Span> = Span::from_millis(-50)..=Span::from_secs(3);
/// A report later than this against its own media time is of another clock.
const REPORT_LATE: Span = Span::from_secs(10);
/// A report older than this no longer stands for the present.
const REPORT_LIFE: Span = Span::from_secs(60);
/// The envelope sinks faster than this while a camera sends what it had stored: pre-roll, or a stalled connection.
const SETTLING: Span = Span::from_millis(100);
const SETTLED_AFTER: Span = Span::from_millis(500);
/// Stored frames are not older than this.
const PRE_ROLL: Span = Span::from_secs(10);
/// A frame this much ahead of the envelope of a known clock has a wrong stamp, or the path became faster: the envelope
/// finds out, the frame is timed by its arrival.
const AHEAD: Span = Span::from_millis(100);
/// A camera's wall clock and stamps that differ by more than this are not the same clock.
const SAME_CLOCK: Span = Span::from_millis(100);
/// A path does not become slower for good by more: the media clock was halted.
const MAX_PATH_CHANGE: Span = Span::from_secs(3);
/// Events kept until they are asked for; the oldest goes.
const EVENTS: usize = 32;
/// Kinds of stamps followed at once.
const STAMP_KINDS: usize = 3;

/// How an RTP stream's times are to be read.
#[derive(Clone, Copy, Debug)]
pub struct RtpTimebaseConfig {
    /// Ticks of the RTP clock a second, from the SDP.
    pub clock_rate_hz: u32,
    /// How late the camera's reports are known to make its frames (positive: the scene was that much earlier).
    pub capture_bias: Span,
    /// How far the bias may be off, to either side.
    pub capture_bias_error: Span,
}

/// An RTCP sender report (RFC 3550 section 6.4.1) as it reached the box.
#[derive(Clone, Copy, Debug)]
pub struct SenderReport {
    /// Its NTP time; `None` when the sender has none (all zero).
    pub wall: Option<Utc>,
    /// Its RTP time.
    pub rtp: u32,
    /// When it arrived.
    pub arrival: Mono,
}

/// What the timebase makes of a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timed {
    /// Media time since the epoch began.
    pub media: MediaTime,
    /// Capture time.
    pub captured: Captured,
    /// The media clock jumped: this frame begins a new epoch, and media time restarts.
    pub new_epoch: bool,
    /// The part of `captured.rel_error` that is not the constant bias of the camera: what is left after calibration.
    pub scatter: Span,
    /// The frame's own stamp made no sense; it is timed by its arrival.
    pub outlier: bool,
}

/// What happened to a camera's time, besides frames.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TimeEvent {
    /// Frames are timed by another rung now.
    Rung(RungChange),
    /// The camera's wall clock seems to have stepped; the next report decides. No frame moves.
    WallSuspect(Span),
    /// The camera's wall clock stepped. No frame moves.
    WallStep(Span),
    /// Single frames carried wrong stamps; said once a second at most.
    WrongStamp,
    /// The media clock jumped for good: a new epoch.
    NewLine,
    /// The media clock runs at another rate than declared: the true one, ticks a second.
    Rate(f64),
    /// The path from the camera became slower (positive) or faster for good. No frame moves.
    Path(Span),
    /// Frames since `since` would be timed better today: `moved` later, within ± `error`. A `Restamp` for those who
    /// stored them; [`RtpTimebase::recaptured`] gives each anew.
    Better {
        /// Media time of the first frame concerned.
        since: MediaTime,
        /// New minus old capture time, at that frame.
        moved: Span,
        /// The bound it has now.
        error: Span,
    },
}

/// The delay from capture to least delayed arrival, learned while reports came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnedDelay {
    /// Arrival − capture, of the least delayed frames.
    pub delay: Span,
    /// Its bound.
    pub error: Span,
}

/// The state of a camera's time, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimeHealth {
    /// How the last frame was timed.
    pub source: Option<TimeSource>,
    /// Bound of the last frame's capture time.
    pub rel_error: Option<Span>,
    /// Camera's wall clock − box's monotonic clock.
    pub wall_minus_mono: Option<Span>,
    /// How much faster the camera's media clock runs than the box's.
    pub drift_ppm: Option<f64>,
    /// When the last usable report arrived.
    pub last_report: Option<Mono>,
    /// Reports seen.
    pub reports: u32,
    /// Reports that made no sense.
    pub bad_reports: u32,
    /// Steps of the camera's wall clock.
    pub wall_steps: u32,
    /// Why a better rung is not used.
    pub refused: Option<(TimeSource, RungReason)>,
    /// Nine of ten reports pair NTP and RTP time within this.
    pub report_spread: Option<Span>,
    /// Reports that were anchored late.
    pub late_reports: u32,
    /// Frames with wrong stamps.
    pub wrong_stamps: u32,
    /// Ticks a second of the media clock, where it is not what was declared.
    pub true_rate_hz: Option<f64>,
    /// Frames a second, as delivered.
    pub fps: Option<f64>,
    /// The last step of the camera's wall clock.
    pub last_step: Option<(Mono, Span)>,
    /// The learned delay from capture to arrival.
    pub learned: Option<LearnedDelay>,
}

/// Times the frames of one RTP stream.
#[derive(Clone, Debug)]
pub struct RtpTimebase {
    config: RtpTimebaseConfig,
    raw: RawClock,
    map: Option<ClockMap>,
    learned: Option<LearnedDelay>,
    ladder: Ladder,
    counts: Counts,
    fps: FrameRate,
    /// How fast the media clock runs against its declared rate, with the media time from which on this is so.
    scale: (f64, Span, Span),
    line: MediaLine,
    wall: WallClock,
    events: VecDeque<TimeEvent>,
    last: Option<(Span, Captured)>,
    /// The first frame of those that were timed no better than now: media, x, what was said.
    said: Option<(MediaTime, Span, Captured)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    last_report: Option<Mono>,
    reports: u32,
    bad_reports: u32,
    wrong_stamps: u32,
    last_wrong: Option<Mono>,
}

/// All that belongs to one uninterrupted run of the media clock.
#[derive(Clone, Debug, Default)]
struct MediaLine {
    unwrapper: RtpUnwrapper,
    first_ticks: Option<i64>,
    last_media: MediaTime,
    guard: JumpGuard,
    rate: RateWatch,
    frames: MinDelayHull,
    reports: ReportLevel,
    stamps: Vec<Stamps>,
    /// What the path became slower by since the beginning.
    path_extra: Span,
    /// When the envelope last sank, and by how much in that run.
    sank: Option<(Mono, Span)>,
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
        }
    }

    /// The same, knowing what an earlier connection to the same camera learned.
    pub fn with_learned_delay(mut self, learned: Option<LearnedDelay>) -> RtpTimebase {
        self.learned = learned;
        self
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
            && !(-*SANE_DELAY.end()..=REPORT_LATE).contains(&late)
        {
            self.counts.bad_reports += 1;
            return None;
        }
        let path_extra = self.line.path_extra;
        self.line.reports.take(x, report.rtp, ntp, arrival, path_extra);
        self.counts.last_report = Some(report.arrival);
        let verdict = self.wall.take(x, report.wall?, arrival);
        match verdict {
            WallVerdict::Suspect(by) => self.tell(TimeEvent::WallSuspect(by)),
            WallVerdict::Stepped(by) => self.tell(TimeEvent::WallStep(by)),
            WallVerdict::Reanchored(by) => {
                // The media clock moved against the wall: what looked like a slower path was that.
                if (self.line.path_extra - by).abs() <= SAME_CLOCK {
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
        match self.line.guard.judge(x, arrival) {
            Place::Fits => self.place(ticks, arrival, mono, false),
            Place::Outlier => self.outlier(arrival, mono),
            Place::NewLine => {
                self.begin_line();
                self.tell(TimeEvent::NewLine);
                let ticks = self.line.unwrapper.unwrap(rtp);
                self.line.guard.judge(self.x(ticks), arrival);
                self.place(ticks, arrival, mono, true)
            }
        }
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

    fn tell(&mut self, event: TimeEvent) {
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Another run of the media clock: the camera, its path and its wall clock stay.
    fn begin_line(&mut self) {
        self.line = MediaLine::default();
        self.scale = (self.scale.0, Span::ZERO, Span::ZERO);
        self.wall.begin_anew();
        self.said = None;
        self.last = None;
    }

    /// Unwraps a frame's RTP time by what the time that passed makes one expect; takes it only if it is near.
    fn expected(&mut self, rtp: u32, arrival: Mono) -> i64 {
        let Some((_, last_arrival)) = self.line.guard.last() else {
            return self.line.unwrapper.unwrap(rtp);
        };
        let passed = (arrival - last_arrival).as_secs_f64() / self.scale.0;
        if passed < 60.0 {
            return self.line.unwrapper.peek(rtp);
        }
        let ahead = (passed * f64::from(self.config.clock_rate_hz)) as i64;
        let newest = self.line.unwrapper.newest().unwrap_or_default();
        super::unwrap::near(rtp, newest + ahead)
    }

    /// Media time in seconds of the box's raw clock, as far as the rate is known.
    fn x(&self, ticks: i64) -> Span {
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

    fn path_changed(&mut self, shift: Span) {
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

    fn settling(&self, arrival: Mono) -> bool {
        self.line.frames.span() < PRE_ROLL * 3
            && self
                .line
                .sank
                .is_some_and(|(at, by)| by > SETTLING && arrival - at <= SETTLED_AFTER)
    }

    fn tie_stamps(&mut self, x: Span) {
        let (Some(offset), Some(wall)) = (self.wall.wall_minus_mono(), self.wall.utc_of(x)) else {
            return;
        };
        let wall_minus_x = Span::from_nanos(wall.as_nanos()) - x;
        for stamps in &mut self.line.stamps {
            if stamps
                .usual()
                .is_some_and(|u| (u - wall_minus_x).abs() <= SAME_CLOCK)
            {
                stamps.tie(WallTie {
                    offset,
                    error: Span::from_millis(1),
                });
            }
        }
    }

    /// Lets every rung claim the frame, and takes the best. Returns it on the monotonic clock, with its scatter.
    fn claim(&mut self, x: Span, arrival: Mono, mono: Mono) -> (Captured, Span) {
        let drift = self.line.frames.drift();
        let line = self.line.frames.arrival_of(x).unwrap_or(arrival) - self.line.path_extra;
        let shape = self.line.frames.error(x);
        let (by_arrivals, arrival_scatter) = self.by_arrivals(x, line, arrival, shape);
        let mut claims = [by_arrivals; 2 + STAMP_KINDS];
        let mut scatters = [arrival_scatter; 2 + STAMP_KINDS];
        let mut n = 1;
        let fresh = self.counts.last_report.is_some_and(|at| mono - at <= REPORT_LIFE);
        if fresh && let Some((level, error)) = self.line.reports.level(x, drift) {
            let at = Mono::from_nanos((x + level).as_nanos());
            let scatter = error + shape.min(error);
            if SANE_DELAY.contains(&(line - at)) && !self.settling(arrival) {
                claims[n] = self.biased(at, scatter, TimeSource::SenderReport, Span::MAX);
                scatters[n] = scatter;
                n += 1;
                if error <= Span::from_millis(3) {
                    self.learned = Some(LearnedDelay {
                        delay: line - claims[n - 1].mono,
                        error: claims[n - 1].rel_error,
                    });
                }
            } else if line - at < *SANE_DELAY.start() || line - at > *SANE_DELAY.end() {
                // Let the ladder see it, so that the refusal is told.
                claims[n] = Captured {
                    mono: at,
                    rel_error: Span::ZERO,
                    source: TimeSource::SenderReport,
                };
                n += 1;
            }
        }
        for stamps in &self.line.stamps {
            let Some((level, error)) = stamps.level(x, drift, arrival) else {
                continue;
            };
            let at = Mono::from_nanos((x + level).as_nanos());
            let claim = self.biased(at, error, stamps.kind.source(), stamps.kind.prior());
            if claims[1..n].iter().any(|c| c.source == claim.source) {
                continue;
            }
            claims[n] = narrowed(claim, by_arrivals);
            scatters[n] = error;
            n += 1;
        }
        let (mut chosen, change) = self
            .ladder
            .choose(&claims[..n], line, arrival)
            .unwrap_or((by_arrivals, None));
        let scatter = claims[..n]
            .iter()
            .position(|c| c.source == chosen.source)
            .map_or(arrival_scatter, |i| scatters[i]);
        if let Some(change) = change {
            self.tell(TimeEvent::Rung(change));
        }
        chosen.mono = self.raw.to_mono(chosen.mono);
        (chosen, scatter)
    }

    fn biased(&self, at: Mono, scatter: Span, source: TimeSource, prior: Span) -> Captured {
        Captured {
            mono: at - self.config.capture_bias,
            rel_error: self.config.capture_bias_error.min(prior) + scatter,
            source,
        }
    }

    fn light_to_wire(&self) -> (Span, Span) {
        match self.learned {
            Some(LearnedDelay { delay, error }) => {
                (delay - error - LEARNED_MARGIN, delay + error + LEARNED_MARGIN)
            }
            None => (Span::ZERO, MAX_LIGHT_TO_WIRE),
        }
    }

    fn by_arrivals(&self, x: Span, line: Mono, arrival: Mono, shape: Span) -> (Captured, Span) {
        let young = self.line.frames.span() < MATURE_AFTER;
        let scatter = if young { shape.max(YOUNG_ENVELOPE) } else { shape };
        if self.settling(arrival) {
            let captured = Captured {
                mono: line,
                rel_error: PRE_ROLL,
                source: TimeSource::Arrival,
            };
            return (captured, PRE_ROLL);
        }
        // While the rate of a media clock is not yet known, a slow one looks like growing delay: then the truth lies
        // anywhere up to this frame's own arrival.
        let late = self.line.frames.delay_of(x, arrival).unwrap_or(Span::ZERO);
        let slow = if young && late > Span::from_millis(50) {
            late
        } else {
            Span::ZERO
        };
        let (least, most) = self.light_to_wire();
        let (from, to) = (line - most - scatter, line - least + slow);
        let half = (to - from) / 2;
        let captured = Captured {
            mono: from + half,
            rel_error: half,
            source: TimeSource::Arrival,
        };
        (captured, scatter + slow)
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
    fn moved(&self, x: Span) -> Option<Captured> {
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

/// Both claims are true: so is what they share.
fn narrowed(claim: Captured, other: Captured) -> Captured {
    let from = (claim.mono - claim.rel_error).max(other.mono - other.rel_error);
    let to = (claim.mono + claim.rel_error).min(other.mono + other.rel_error);
    if to <= from || claim.rel_error <= other.rel_error {
        return claim;
    }
    Captured {
        mono: from + (to - from) / 2,
        rel_error: (to - from) / 2,
        source: claim.source,
    }
}

#[cfg(test)]
#[path = "rtp_tests.rs"]
mod tests;
