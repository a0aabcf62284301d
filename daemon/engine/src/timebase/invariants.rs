//! What holds of a timebase whatever it was fed: the oracle of its fuzz targets.

use synoptic_base::Span;

use super::RtpTimebase;
use super::rtp::{EVENTS, STAMP_KINDS};

impl RtpTimebase {
    /// What must hold after every input.
    ///
    /// # Errors
    /// Says what does not.
    pub fn check_invariants(&self) -> Result<(), String> {
        let hold = [
            (self.events.len() <= EVENTS, "more events wait than are kept"),
            (
                self.line.stamps.len() <= STAMP_KINDS,
                "more kinds of stamps than are followed",
            ),
            (
                self.scale.0.is_finite() && self.scale.0 > 0.0,
                "the rate of the media clock is no rate",
            ),
            (
                self.last.is_none_or(|(_, c)| c.rel_error > Span::ZERO),
                "a bound of nothing",
            ),
            (
                self.line.path_extra >= Span::ZERO,
                "a path shorter than the shortest",
            ),
            (
                self.learned.is_none_or(|l| l.error >= Span::ZERO),
                "a learned delay with a negative error",
            ),
            (
                self.line.frames.drift().abs() <= 0.001,
                "a drift beyond what oscillators have",
            ),
        ];
        match hold.iter().find(|(holds, _)| !holds) {
            Some((_, what)) => Err((*what).to_owned()),
            None => Ok(()),
        }
    }
}
