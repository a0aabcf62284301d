//! Is a frame's time stamp of this stream's time line, a single wrong one, or the first of a new time line?
//!
//! A DVR was seen to stamp single frames 9,800 s into the past and 37,600 s into the future every few seconds
//! (mediamtx#6255); cameras restart their media clock (go2rtc#1943); packets get lost for minutes (mediamtx#5984).

use synoptic_base::{Mono, Span};

/// A stamp this far from where the stream's time line has it is wrong or new. A connection that stalls, and then
/// delivers what it held, stays on the line: it is the stamp that must jump, not the arrival.
const JUMP: Span = Span::from_secs(10);
/// Further back than this is no reordering: three B pictures at two frames a second, in coded order, are 1.5 s.
const BACK: Span = Span::from_secs(3);
/// So many stamps in a row that agree on a new time line are one.
const AGREE: usize = 3;
/// ... within this.
const AGREE_WITHIN: Span = Span::from_secs(1);

/// 1 ms a second: faster than clocks drift.
const FADE: i64 = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On the time line.
    Fits,
    /// Off it; nobody agrees with it yet.
    Outlier,
    /// The third that agrees on a new one.
    NewLine,
}

#[derive(Clone, Debug, Default)]
pub(super) struct JumpGuard {
    last: Option<(Span, Mono)>,
    /// Media time − arrival, of the frame that was least late; it fades, since clocks drift.
    lead: Span,
    strangers: Vec<(Span, Mono)>,
}

impl JumpGuard {
    /// The last frame that fitted.
    pub(super) fn last(&self) -> Option<(Span, Mono)> {
        self.last
    }

    /// Whether a frame would surely fit: well within the limits, so that it still does once the frames before it, which
    /// are in the decoder, have been judged. `false` also before the first frame.
    pub(super) fn would_fit(&self, media: Span, arrival: Mono) -> bool {
        self.strangers.is_empty()
            && self.last.is_some_and(|(last, last_arrival)| {
                let lead = media - Span::from_nanos(arrival.as_nanos());
                let faded = self.lead - ((arrival - last_arrival) / FADE).min(JUMP / 2);
                media - last >= -(BACK / 2) && lead - faded <= JUMP / 2
            })
    }

    /// Judges the stamp `media` of a frame that arrived at `arrival`.
    pub(super) fn judge(&mut self, media: Span, arrival: Mono) -> Place {
        let lead = media - Span::from_nanos(arrival.as_nanos());
        let Some((last, last_arrival)) = self.last else {
            self.last = Some((media, arrival));
            self.lead = lead;
            return Place::Fits;
        };
        let forward = media - last;
        let faded = self.lead - ((arrival - last_arrival) / FADE).min(JUMP / 2);
        let ahead = lead - faded;
        if forward >= -BACK && ahead <= JUMP {
            self.strangers.clear();
            self.last = Some((media.max(last), arrival));
            self.lead = faded.max(lead);
            return Place::Fits;
        }
        let agrees = |(m, a): &(Span, Mono)| ((media - *m) - (arrival - *a)).abs() <= AGREE_WITHIN;
        if !self.strangers.last().is_some_and(agrees) {
            self.strangers.clear();
        }
        self.strangers.push((media, arrival));
        if self.strangers.len() < AGREE {
            return Place::Outlier;
        }
        self.strangers.clear();
        self.last = Some((media, arrival));
        self.lead = lead;
        Place::NewLine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(guard: &mut JumpGuard, media_s: f64, arrival_s: f64) -> Place {
        guard.judge(
            Span::from_secs_f64(media_s),
            Mono::from_nanos(0) + Span::from_secs_f64(arrival_s),
        )
    }

    #[test]
    fn single_wrong_stamps_are_outliers_and_three_are_a_new_line() {
        let mut g = JumpGuard::default();
        for i in 0..10 {
            assert_eq!(
                judge(&mut g, f64::from(i) / 15.0, f64::from(i) / 15.0),
                Place::Fits
            );
        }
        assert_eq!(judge(&mut g, -9_800.0, 0.7), Place::Outlier);
        assert_eq!(judge(&mut g, 0.75, 0.75), Place::Fits);
        assert_eq!(judge(&mut g, 37_600.0, 0.8), Place::Outlier);
        assert_eq!(judge(&mut g, 5_000.0, 0.85), Place::Outlier, "does not agree");
        assert_eq!(judge(&mut g, 5_000.05, 0.9), Place::Outlier);
        assert_eq!(judge(&mut g, 5_000.1, 0.95), Place::NewLine);
        assert_eq!(judge(&mut g, 5_000.15, 1.0), Place::Fits);
    }

    #[test]
    fn stalls_losses_and_silences_fit() {
        let mut g = JumpGuard::default();
        assert_eq!(judge(&mut g, 0.0, 0.0), Place::Fits);
        assert_eq!(judge(&mut g, 0.1, 15.0), Place::Fits, "a stall");
        assert_eq!(judge(&mut g, 15.0, 15.1), Place::Fits, "caught up, much was lost");
        assert_eq!(judge(&mut g, 40_000.0, 40_000.0), Place::Fits, "a silence");
        assert_eq!(judge(&mut g, 39_999.9, 40_000.0), Place::Fits, "a B picture");
    }
}
