//! What every rung says of a frame, and the choice among them.

use synoptic_base::{Captured, Mono, Span, TimeSource};

use super::rtp::{MATURE_AFTER, PRE_ROLL, RtpTimebase, SAME_CLOCK, STAMP_KINDS};
use super::stamps::WallTie;
use super::types::{LearnedDelay, TimeEvent};

/// Least delay from light to wire of a network camera with encoder: between nothing and this. Published
/// glass-to-wire figures of IP cameras lie at 30 to 120 ms.
const MAX_LIGHT_TO_WIRE: Span = Span::from_millis(150);
/// What is left of arrival jitter after the envelope, before it has a long history.
const YOUNG_ENVELOPE: Span = Span::from_millis(10);
/// A learned delay is kept this much wider than it was learned: cameras change exposure and bit rate.
const LEARNED_MARGIN: Span = Span::from_millis(2);
/// A report is believed while the frames it explains reached the box between these after their capture.
const EARLIEST: Span = Span::from_millis(-50);
/// A report older than this no longer stands for the present.
const REPORT_LIFE: Span = Span::from_secs(60);

impl RtpTimebase {
    pub(super) fn tie_stamps(&mut self, x: Span) {
        if self.line.stamps.is_empty() {
            return;
        }
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
    pub(super) fn claim(&mut self, x: Span, arrival: Mono, mono: Mono) -> (Captured, Span) {
        let lines = self.shape();
        let line = self.line.frames.arrival_of(x).unwrap_or(arrival) - self.line.path_extra;
        let shape = self.line.frames.error(x);
        let (by_arrivals, arrival_scatter) = self.by_arrivals(x, line, arrival, shape);
        let mut claims = [by_arrivals; 2 + STAMP_KINDS];
        let mut scatters = [arrival_scatter; 2 + STAMP_KINDS];
        let mut n = 1;
        let fresh = self.counts.last_report.is_some_and(|at| mono - at <= REPORT_LIFE);
        if fresh && let Some((level, error)) = self.line.reports.level(x, lines) {
            let at = Mono::from_nanos((x + level).as_nanos());
            // Once the drift is known, what it may be off by is in the error of the reports.
            let scatter = if self.line.frames.drift_measured() {
                error
            } else {
                error + shape.min(error)
            };
            let early = line - at;
            if (EARLIEST..=self.sane_delay()).contains(&early) {
                let claim = self.biased(at, scatter, TimeSource::SenderReport, Span::MAX);
                claims[n] = narrowed(claim, by_arrivals);
                scatters[n] = scatter;
                if error <= Span::from_millis(3) && !self.settling(arrival) {
                    self.learned = Some(LearnedDelay {
                        delay: line - claims[n].mono,
                        error: claims[n].rel_error,
                    });
                }
                n += 1;
            } else if early < EARLIEST || early > self.longest_way.unwrap_or(PRE_ROLL).max(PRE_ROLL) {
                // The ladder refuses it, and says so.
                claims[n] = Captured {
                    mono: at,
                    rel_error: Span::ZERO,
                    source: TimeSource::SenderReport,
                };
                n += 1;
            }
        }
        for stamps in &self.line.stamps {
            let Some((level, error)) = stamps.level(x, lines.drift, arrival) else {
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

    pub(super) fn light_to_wire(&self) -> (Span, Span) {
        match self.learned {
            Some(LearnedDelay { delay, error }) => {
                (delay - error - LEARNED_MARGIN, delay + error + LEARNED_MARGIN)
            }
            None => self.unlearned_way(),
        }
    }

    /// From light to wire while nothing has measured it: by the kind of stream, or by what somebody measured.
    fn unlearned_way(&self) -> (Span, Span) {
        let Some(most) = self.longest_way else {
            return (Span::ZERO, MAX_LIGHT_TO_WIRE);
        };
        let (bias, error) = (self.config.capture_bias, self.config.capture_bias_error);
        // With UTC in the stream the bias is that of the UTC.
        if bias <= Span::ZERO || !self.line.stamps.is_empty() {
            return (Span::ZERO, most);
        }
        ((bias - error).max(Span::ZERO), bias + error)
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
        // anywhere up to this frame's own arrival. Stalls and B pictures look alike and are more common: the middle stays.
        let late = self.line.frames.delay_of(x, arrival).unwrap_or(Span::ZERO);
        let slow = if young && late > Span::from_millis(50) {
            late
        } else {
            Span::ZERO
        };
        let (least, most) = self.light_to_wire();
        let level = Span::from_nanos(self.line.frames.arrival_of(x).unwrap_or(arrival).as_nanos()) - x;
        let unread = self.line.waited.extra(level);
        let (from, to) = (line - most - scatter - unread, line - least);
        let half = (to - from) / 2;
        let captured = Captured {
            mono: from + half,
            rel_error: half + slow,
            source: TimeSource::Arrival,
        };
        (captured, scatter + slow)
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
