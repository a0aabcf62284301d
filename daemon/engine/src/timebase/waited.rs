//! How late the box itself read what had arrived.
//!
//! An arrival is when a thread of ours got to look at a packet. On a box that is overloaded, as at its start, that thread may
//! have waited for a processor first, for hundreds of milliseconds; the shell measures for how long at most. The first
//! frames' bound rests on the least delayed arrival, so it must allow for that until one is known to have been read in time.

use std::collections::VecDeque;

use synoptic_base::{Mono, Span};

/// Waits remembered until their frame leaves the decoder.
const TOLD: usize = 256;
/// A frame this much behind the least delayed one still says where that lies: jitter, and the size of an I picture.
const NEAR: Span = Span::from_millis(50);

/// What is known of the box's own delay in one run of a media clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Waited {
    /// When something was read, and how long it may have waited until then.
    told: VecDeque<(Mono, Span)>,
    /// The earliest that the least delayed frame can truly have arrived, as arrival minus media time.
    earliest: Option<Span>,
    /// A frame near the least delayed one was read in time.
    sure: bool,
}

impl Waited {
    /// What was read at `arrival` may have waited for as long as `by`.
    pub(super) fn tell(&mut self, arrival: Mono, by: Span) {
        if self.told.len() == TOLD {
            self.told.pop_front();
        }
        self.told.push_back((arrival, by));
    }

    /// How long what was read at `arrival` may have waited.
    pub(super) fn of(&self, arrival: Mono) -> Span {
        let told = self.told.iter().find(|(at, _)| *at == arrival);
        told.map_or(Span::ZERO, |(_, by)| *by)
    }

    /// A frame that was read at `arrival`, `level` after its media time, while the least delayed ones lie at `least`.
    pub(super) fn frame(&mut self, arrival: Mono, level: Span, least: Span) {
        if self.sure || level - least > NEAR {
            return;
        }
        let by = self.of(arrival);
        self.sure = by == Span::ZERO;
        self.earliest = Some(self.earliest.map_or(level - by, |e| e.max(level - by)));
    }

    /// How much earlier than at `least` the least delayed frame may have arrived.
    pub(super) fn extra(&self, least: Span) -> Span {
        if self.sure {
            return Span::ZERO;
        }
        self.earliest.map_or(Span::ZERO, |e| (least - e).max(Span::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: i64) -> Span {
        Span::from_millis(ms)
    }
    fn at(n: i64) -> Mono {
        Mono::from_nanos(n)
    }

    #[test]
    fn until_one_was_read_in_time_the_least_wait_counts() {
        let mut waited = Waited::default();
        assert_eq!(waited.extra(ms(500)), Span::ZERO, "nothing was told");
        waited.tell(at(1), ms(400));
        waited.tell(at(2), ms(30));
        waited.frame(at(1), ms(500), ms(500));
        assert_eq!(waited.extra(ms(500)), ms(400));
        // The next one came 350 ms sooner, and waited as well.
        waited.frame(at(2), ms(150), ms(150));
        assert_eq!(waited.extra(ms(150)), ms(30));
        // One far behind says nothing, although it was read in time; one near does.
        waited.frame(at(3), ms(250), ms(150));
        assert_eq!(waited.extra(ms(150)), ms(30));
        waited.frame(at(4), ms(160), ms(150));
        assert_eq!(waited.extra(ms(150)), Span::ZERO);
        assert_eq!(waited.of(at(2)), ms(30));
        assert_eq!(waited.of(at(9)), Span::ZERO);
    }

    #[test]
    fn what_is_told_has_an_end() {
        let mut waited = Waited::default();
        (0..1_000).for_each(|n| waited.tell(at(n), ms(1)));
        assert_eq!((waited.told.len(), waited.of(at(0))), (TOLD, Span::ZERO));
    }
}
