//! What is known of each coded picture between the wire and the decoder's output, where only its stamp survives.

use std::collections::VecDeque;

use synoptic_base::{FrameKind, Mono};

/// Pictures remembered: 17 s at 30 fps, more than any decoder holds.
const CAPACITY: usize = 512;

/// A coded picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Coded {
    /// RTP timestamp, or PTS in nanoseconds.
    pub stamp: i64,
    /// Which sender it is of: another SSRC is another run, with other stamps.
    pub run: u32,
    /// When its first byte reached the box.
    pub arrival: Mono,
    pub kind: FrameKind,
}

/// Remembers coded pictures in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    coded: VecDeque<Coded>,
    /// The run of pictures that arrive now.
    run: u32,
    /// Pictures before the first decoded one were never decodable (the stream was joined between I pictures).
    began: bool,
}

impl Ledger {
    /// Another sender: stamps of what arrives from now on have nothing to do with those before.
    pub(super) fn new_run(&mut self) {
        self.run += 1;
    }

    /// How many senders there were before the present one.
    pub(super) fn run(&self) -> u32 {
        self.run
    }

    /// The first byte of a picture arrived; later packets of it change nothing.
    pub(super) fn arrived(&mut self, stamp: i64, arrival: Mono) {
        let run = self.run;
        let here = |c: &Coded| c.stamp == stamp && c.run == run;
        if self.coded.iter().rev().take(8).any(here) {
            return;
        }
        if self.coded.len() == CAPACITY {
            self.coded.pop_front();
        }
        self.coded.push_back(Coded {
            stamp,
            run,
            arrival,
            kind: FrameKind::Unknown,
        });
    }

    /// The parser knows the kind of a picture. Returns when its first byte reached the box.
    pub(super) fn parsed(&mut self, stamp: i64, kind: FrameKind) -> Option<Mono> {
        let coded = self.coded.iter_mut().rev().find(|c| c.stamp == stamp)?;
        coded.kind = kind;
        Some(coded.arrival)
    }

    /// A picture came out of the decoder. Returns it, and the pictures that will never come: decoders put out in
    /// the order of presentation, so what should have been shown before it and was not is lost.
    pub(super) fn decoded(
        &mut self,
        stamp: i64,
        before: impl Fn(i64, i64) -> bool,
    ) -> (Option<Coded>, Vec<Coded>) {
        let mut found = None;
        let mut lost = Vec::new();
        let began = self.began;
        // Pictures come out in the order of the runs: the oldest of this stamp is it.
        let run = self.coded.iter().find(|c| c.stamp == stamp).map(|c| c.run);
        self.coded.retain(|coded| {
            let order = run.map_or(std::cmp::Ordering::Equal, |run| coded.run.cmp(&run));
            if order.is_eq() && coded.stamp == stamp {
                found = Some(*coded);
                false
            } else if order.is_lt() || order.is_eq() && before(coded.stamp, stamp) {
                if began {
                    lost.push(*coded);
                }
                false
            } else {
                true
            }
        });
        self.began |= found.is_some();
        (found, lost)
    }
}

/// Whether RTP timestamp `a` is before `b`, across a wrap.
pub(super) fn rtp_before(a: i64, b: i64) -> bool {
    (a as u32).wrapping_sub(b as u32) as i32 <= -1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b_pictures_are_not_lost_and_missing_ones_are() {
        let mut ledger = Ledger::default();
        let at = Mono::from_nanos;
        for (i, stamp) in [0, 9000, 3000, 6000, 18_000, 12_000, 15_000]
            .into_iter()
            .enumerate()
        {
            ledger.arrived(stamp, at(i as i64));
            ledger.arrived(stamp, at(99));
        }
        ledger.parsed(3000, FrameKind::B);
        let mut lost = Vec::new();
        for shown in [0, 3000, 6000, 9000, 15_000] {
            let (found, missing) = ledger.decoded(shown, rtp_before);
            assert_eq!(found.unwrap().stamp, shown);
            assert_ne!(found.unwrap().arrival, at(99));
            assert_eq!(found.unwrap().kind == FrameKind::B, shown == 3000);
            lost.extend(missing.into_iter().map(|c| c.stamp));
        }
        assert_eq!(lost, [12_000]);
    }

    #[test]
    fn what_came_before_the_first_decodable_picture_is_not_lost() {
        let mut ledger = Ledger::default();
        for stamp in [0, 3000, 6000] {
            ledger.arrived(stamp, Mono::from_nanos(0));
        }
        let (found, lost) = ledger.decoded(6000, rtp_before);
        assert!(found.is_some() && lost.is_empty());
    }

    #[test]
    fn pictures_of_another_sender_are_neither_before_nor_after() {
        let mut ledger = Ledger::default();
        let at = Mono::from_nanos;
        for (i, stamp) in [9_000, 12_000, 15_000].into_iter().enumerate() {
            ledger.arrived(stamp, at(i as i64));
        }
        ledger.new_run();
        // Its numbers begin lower, and one of them is the same.
        for (i, stamp) in [3_000, 12_000].into_iter().enumerate() {
            ledger.arrived(stamp, at(10 + i as i64));
        }
        let (found, _) = ledger.decoded(9_000, rtp_before);
        assert_eq!(found.unwrap().run, 0);
        let (found, lost) = ledger.decoded(12_000, rtp_before);
        assert_eq!((found.unwrap().arrival, lost.len()), (at(1), 0));
        let (found, lost) = ledger.decoded(3_000, rtp_before);
        assert_eq!((found.unwrap().run, lost.len()), (1, 1), "15000 never came");
        let (found, _) = ledger.decoded(12_000, rtp_before);
        assert_eq!(found.unwrap().arrival, at(11));
    }

    #[test]
    fn rtp_order_wraps() {
        assert!(rtp_before(i64::from(u32::MAX), 5));
        assert!(!rtp_before(5, i64::from(u32::MAX)));
        assert!(!rtp_before(7, 7));
    }
}
