//! How far an estimator was off.

use synoptic_base::{Captured, ClockSample, Mono, Span, TimeSource, Utc};

use super::camera::Camera;
use super::clocks::BoxClock;
use super::feed::{Event, Feed, FrameSeen, ReportSeen};

/// What an estimator says of a frame, on the clock that it knows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Estimate {
    /// On the box's clock, with a bound.
    Box(Captured),
    /// On the camera's wall clock, without one.
    Wall(Utc),
}

/// From a feed to capture times.
pub trait Estimator {
    /// A new connection.
    fn reconnect(&mut self, now: Mono);
    /// A sender report.
    fn report(&mut self, report: &ReportSeen);
    /// The box's clocks read together; whoever has no use for them ignores them.
    fn sample(&mut self, _sample: ClockSample) {}
    /// A frame; `None`: it has no time yet.
    fn frame(&mut self, frame: &FrameSeen) -> Option<Estimate>;
}

/// One judged frame.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// Its capture, in true time.
    pub at: Span,
    /// Estimate minus truth, on the estimator's own clock.
    pub error: Span,
    /// The bound that came with it.
    pub bound: Option<Span>,
    /// The source that came with it.
    pub source: Option<TimeSource>,
}

/// All frames of a run.
#[derive(Clone, Debug, Default)]
pub struct Score {
    /// Frames with an estimate, in the order of arrival. The camera's outliers are not among them: they have no
    /// right answer.
    pub judged: Vec<Judged>,
    /// Frames without an estimate.
    pub untimed: u32,
}

/// The value that this share (0 to 1) of `values` does not exceed; zero of none. Sorts them.
pub fn percentile(values: &mut [Span], share: f64) -> Span {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    values
        .get((last as f64 * share).round() as usize)
        .copied()
        .unwrap_or(Span::ZERO)
}

impl Score {
    /// Takes an estimate.
    pub fn judge(&mut self, frame: &FrameSeen, estimate: Option<Estimate>) {
        if frame.outlier {
            return;
        }
        let (error, bound, source) = match estimate {
            None => {
                self.untimed += 1;
                return;
            }
            Some(Estimate::Box(c)) => (c.mono - frame.captured, Some(c.rel_error), Some(c.source)),
            Some(Estimate::Wall(wall)) => (wall - frame.wall, None, None),
        };
        self.judged.push(Judged {
            at: frame.at,
            error,
            bound,
            source,
        });
    }

    /// What was captured from `from` on.
    pub fn since(&self, from: Span) -> Score {
        self.between(from, Span::MAX)
    }

    /// What was captured from `from` until `to`.
    pub fn between(&self, from: Span, to: Span) -> Score {
        let judged = self.judged.iter().filter(|j| j.at >= from && j.at < to);
        Score {
            judged: judged.copied().collect(),
            untimed: self.untimed,
        }
    }

    /// Frames whose truth lies outside their bound.
    pub fn wrong(&self) -> usize {
        let outside = |j: &&Judged| j.bound.is_some_and(|bound| j.error.abs() > bound);
        self.judged.iter().filter(outside).count()
    }

    /// Share of frames whose truth lies within their bound.
    pub fn coverage(&self) -> f64 {
        1.0 - self.wrong() as f64 / self.judged.len().max(1) as f64
    }

    /// Frames that are further off than `limit` about the run's bias.
    pub fn beyond(&self, limit: Span) -> usize {
        let bias = self.bias();
        let far = |j: &&Judged| (j.error - bias).abs() > limit;
        self.judged.iter().filter(far).count()
    }

    /// The median error: what one calibration would take out.
    pub fn bias(&self) -> Span {
        let mut errors: Vec<Span> = self.judged.iter().map(|j| j.error).collect();
        percentile(&mut errors, 0.5)
    }

    /// This percentile (0 to 1) of the magnitude of the error.
    pub fn error(&self, share: f64) -> Span {
        self.error_about(Span::ZERO, share)
    }

    /// The same about the run's own bias.
    pub fn error_about_bias(&self, share: f64) -> Span {
        self.error_about(self.bias(), share)
    }

    /// The same about a given bias.
    pub fn error_about(&self, bias: Span, share: f64) -> Span {
        let mut errors: Vec<Span> = self.judged.iter().map(|j| (j.error - bias).abs()).collect();
        percentile(&mut errors, share)
    }

    /// This percentile (0 to 1) of the bounds.
    pub fn bound(&self, share: f64) -> Span {
        let mut bounds: Vec<Span> = self.judged.iter().filter_map(|j| j.bound).collect();
        percentile(&mut bounds, share)
    }

    /// Source of the last frame.
    pub fn last_source(&self) -> Option<TimeSource> {
        self.judged.last().and_then(|j| j.source)
    }
}

/// Runs an estimator over a camera's feed of this length.
pub fn run(
    estimator: &mut impl Estimator,
    camera: &Camera,
    clock: &BoxClock,
    length: Span,
    seed: u64,
) -> Score {
    let mut score = Score::default();
    for event in Feed::new(camera, clock, length, seed) {
        match event {
            Event::Reconnect(now) => estimator.reconnect(now),
            Event::Report(report) => estimator.report(&report),
            Event::Frame(frame) => {
                estimator.sample(clock.sample(frame.at));
                let estimate = estimator.frame(&frame);
                score.judge(&frame, estimate);
            }
        }
    }
    score
}
