//! Which rung of the ladder times a frame, and why.
//!
//! Every rung claims an interval. The best rung whose claim can be true is taken: a frame was captured before it
//! arrived, and not long before. A better rung that disagrees with the others beyond both bounds lies, and is demoted
//! until it has told the truth for a while. Every change is told.

use synoptic_base::{Captured, Mono, Span, TimeSource};

/// A rung that was found lying must have made sense for this long before it is taken again.
const PROBATION: Span = Span::from_secs(10);
/// A frame may be captured this much after it arrived, by its claim: nothing is exact.
const AFTER_ARRIVAL: Span = Span::from_millis(50);
/// Nothing on the way from light to the box takes longer, as far as the least delayed frames go. Cameras take below
/// 0.2 s; a service that relays RTMP or HLS takes seconds.
const MAX_DELAY: Span = Span::from_secs(10);
/// Rungs.
const RUNGS: usize = 8;

/// Why a rung is not used, or was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RungReason {
    /// The first frame.
    First,
    /// A better one became known.
    Better,
    /// It gave nothing for too long.
    Stale,
    /// It says that frames were captured after they arrived, or far too long before.
    Impossible,
    /// It contradicts another rung beyond both bounds.
    Contradicted(TimeSource),
}

impl RungReason {
    /// In words, for logs and documents.
    pub fn text(self) -> &'static str {
        match self {
            RungReason::First => "the first frame",
            RungReason::Better => "a better source became known",
            RungReason::Stale => "the better source fell silent",
            RungReason::Impossible => "the better source gives impossible times: check the camera's clock",
            RungReason::Contradicted(_) => {
                "the better source contradicts the others: check the camera's clock"
            }
        }
    }
}

/// A change of rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RungChange {
    /// The rung before; `None` at the first frame.
    pub from: Option<TimeSource>,
    /// The rung now.
    pub to: TimeSource,
    /// Why.
    pub reason: RungReason,
}

/// Chooses among claims.
#[derive(Clone, Debug, Default)]
pub struct Ladder {
    current: Option<TimeSource>,
    /// Until when a rung that lied is not believed, and why.
    demoted: [Option<(Mono, RungReason)>; RUNGS],
    /// What the way from light to the box may take beyond [`MAX_DELAY`].
    max_delay: Span,
}

impl Ladder {
    /// A ladder for a stream that may be `most` late: HLS is, by its segments.
    pub fn with_max_delay(mut self, most: Span) -> Ladder {
        self.max_delay = most;
        self
    }

    /// Chooses among `claims` (any order, at most one a rung, at least one) for a frame that arrived at `arrival`,
    /// and would have at `least_delayed`. The claim of [`TimeSource::Arrival`] or below is never refused.
    pub fn choose(
        &mut self,
        claims: &[Captured],
        least_delayed: Mono,
        arrival: Mono,
    ) -> Option<(Captured, Option<RungChange>)> {
        for claim in claims {
            if claim.source >= TimeSource::Arrival {
                continue;
            }
            let early = least_delayed - claim.mono;
            let possible =
                early >= -(AFTER_ARRIVAL + claim.rel_error) && early <= MAX_DELAY.max(self.max_delay);
            if !possible {
                self.demote(claim.source, arrival, RungReason::Impossible);
            }
        }
        let believed = |l: &Ladder, c: &&Captured| l.demoted(c.source, arrival).is_none();
        // The best two that are believed and do not come from arrivals check each other; arrivals decide.
        let mut good: Vec<Captured> = claims.iter().filter(|c| believed(self, c)).copied().collect();
        good.sort_by_key(|c| c.source);
        if let [a, b, ..] = good[..]
            && b.source < TimeSource::Arrival
            && (a.mono - b.mono).abs() > a.rel_error + b.rel_error
        {
            let prior = claims.iter().find(|c| c.source >= TimeSource::Arrival);
            let off = |c: &Captured| prior.map_or(Span::ZERO, |p| (c.mono - p.mono).abs());
            let (liar, other) = if off(&a) > off(&b) { (a, b) } else { (b, a) };
            self.demote(liar.source, arrival, RungReason::Contradicted(other.source));
            good.retain(|c| c.source != liar.source);
        }
        let best = *good.first()?;
        let from = self.current;
        if from == Some(best.source) {
            return Some((best, None));
        }
        self.current = Some(best.source);
        let reason = match from {
            None => RungReason::First,
            Some(was) if best.source < was => RungReason::Better,
            Some(was) => self.demoted(was, arrival).unwrap_or(RungReason::Stale),
        };
        let change = RungChange {
            from,
            to: best.source,
            reason,
        };
        Some((best, Some(change)))
    }

    /// Why a rung is not believed at present.
    pub fn demoted(&self, source: TimeSource, now: Mono) -> Option<RungReason> {
        let (until, reason) = (*self.demoted.get(source as usize)?)?;
        (now < until).then_some(reason)
    }

    /// The best rung that is not believed at present, and why.
    pub fn liar(&self, now: Mono) -> Option<(TimeSource, RungReason)> {
        const ALL: [TimeSource; 5] = [
            TimeSource::Ptp,
            TimeSource::PacketNtp,
            TimeSource::Hardware,
            TimeSource::SenderReport,
            TimeSource::InBand,
        ];
        ALL.into_iter().find_map(|s| Some((s, self.demoted(s, now)?)))
    }

    fn demote(&mut self, source: TimeSource, now: Mono, reason: RungReason) {
        if let Some(slot) = self.demoted.get_mut(source as usize) {
            *slot = Some((now + PROBATION, reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(source: TimeSource, ms: i64, error_ms: i64) -> Captured {
        Captured {
            mono: Mono::from_nanos(ms * 1_000_000),
            rel_error: Span::from_millis(error_ms),
            source,
        }
    }
    fn at(ms: i64) -> Mono {
        Mono::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn the_best_rung_is_taken_and_every_change_told() {
        let mut ladder = Ladder::default();
        let arrival = claim(TimeSource::Arrival, 925, 75);
        let (c, change) = ladder.choose(&[arrival], at(1000), at(1000)).unwrap();
        assert_eq!(c, arrival);
        assert_eq!(change.unwrap().reason, RungReason::First);
        let report = claim(TimeSource::SenderReport, 955, 40);
        let (c, change) = ladder.choose(&[arrival, report], at(1000), at(1000)).unwrap();
        assert_eq!(c, report);
        assert_eq!(change.unwrap().reason, RungReason::Better);
        assert_eq!(
            ladder.choose(&[arrival, report], at(1000), at(1066)).unwrap().1,
            None
        );
        let (_, change) = ladder.choose(&[arrival], at(1000), at(1100)).unwrap();
        assert_eq!(change.unwrap().reason, RungReason::Stale);
    }

    #[test]
    fn a_lying_better_rung_is_demoted_and_comes_back_after_probation() {
        let mut ladder = Ladder::default();
        let arrival = claim(TimeSource::Arrival, 925, 75);
        let report = claim(TimeSource::SenderReport, 955, 10);
        let packet = claim(TimeSource::PacketNtp, 955, 10);
        ladder
            .choose(&[arrival, report, packet], at(1000), at(1000))
            .unwrap();
        // Two seconds after arrival: impossible.
        let wrong = claim(TimeSource::PacketNtp, 3_000, 10);
        let (c, change) = ladder
            .choose(&[arrival, report, wrong], at(1000), at(1000))
            .unwrap();
        assert_eq!(c, report);
        assert_eq!(change.unwrap().reason, RungReason::Impossible);
        assert_eq!(
            ladder.liar(at(1000)),
            Some((TimeSource::PacketNtp, RungReason::Impossible))
        );
        // Possible, but against the reports.
        let other = claim(TimeSource::PacketNtp, 500, 10);
        ladder
            .choose(&[arrival, report, other], at(1000), at(12_000))
            .unwrap();
        assert_eq!(
            ladder.demoted(TimeSource::PacketNtp, at(12_000)),
            Some(RungReason::Contradicted(TimeSource::SenderReport))
        );
        assert_eq!(
            ladder
                .choose(&[arrival, report, packet], at(1000), at(13_000))
                .unwrap()
                .0,
            report
        );
        assert_eq!(
            ladder
                .choose(&[arrival, report, packet], at(1000), at(23_000))
                .unwrap()
                .0,
            packet
        );
    }

    #[test]
    fn nothing_to_choose_from() {
        assert!(Ladder::default().choose(&[], at(0), at(0)).is_none());
    }
}
