//! Which cameras take part: a camera that fails is faded out, one that is back is faded in.

use synoptic_base::{Mono, SlotView, Span};

/// What to show where a camera that fails was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingPolicy {
    /// Its neighbours where they see, else black.
    #[default]
    Fade,
    /// Its neighbours where they see, else its last picture for as long as it is offered.
    Hold,
}

/// How a camera takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// As any other.
    Full,
    /// Only where no other sees.
    Rest,
    /// Not at all.
    None,
}

/// Remembers since when each slot has been without a live picture.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    policy: MissingPolicy,
    patience: Span,
    missing_since: Vec<Option<Mono>>,
}

impl Slots {
    /// For `n` cameras; a slot may be held for `patience` before anything changes.
    pub(super) fn new(n: usize, policy: MissingPolicy, patience: Span) -> Slots {
        Slots {
            policy,
            patience,
            missing_since: vec![None; n],
        }
    }

    /// How each camera takes part now.
    pub(super) fn parts(&mut self, now: Mono, views: &[SlotView]) -> Vec<Part> {
        let parts = views.iter().zip(&mut self.missing_since).map(|(view, since)| {
            if *view == SlotView::Live {
                *since = None;
                return Part::Full;
            }
            let since = *since.get_or_insert(now);
            match (*view, self.policy) {
                (SlotView::Empty, _) => Part::None,
                _ if now - since < self.patience => Part::Full,
                (_, MissingPolicy::Fade) => Part::None,
                (_, MissingPolicy::Hold) => Part::Rest,
            }
        });
        parts.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_picture_changes_nothing_and_a_lost_camera_goes_by_policy() {
        let at = |ms: i64| Mono::from_nanos(0) + Span::from_millis(ms);
        for (policy, after) in [
            (MissingPolicy::Fade, Part::None),
            (MissingPolicy::Hold, Part::Rest),
        ] {
            let mut slots = Slots::new(2, policy, Span::from_millis(100));
            let views = [SlotView::Live, SlotView::Held];
            assert_eq!(slots.parts(at(0), &views), [Part::Full, Part::Full]);
            assert_eq!(slots.parts(at(99), &views), [Part::Full, Part::Full]);
            assert_eq!(slots.parts(at(100), &views), [Part::Full, after]);
            assert_eq!(
                slots.parts(at(110), &[SlotView::Live, SlotView::Empty]),
                [Part::Full, Part::None]
            );
            assert_eq!(
                slots.parts(at(120), &[SlotView::Live; 2]),
                [Part::Full, Part::Full]
            );
            assert_eq!(slots.parts(at(130), &views), [Part::Full, Part::Full]);
        }
    }
}
