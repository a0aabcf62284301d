//! When a drift is corrected: only on strong evidence that agrees with itself over time.

use std::collections::VecDeque;

/// Looks that must agree; one a second.
const LOOKS: usize = 20;
/// A turn that explains less than this, in canvas pixels, is not worth a correction: below it nobody sees an edge doubled.
const WORTH_PX: f64 = 0.4;
/// What is left after the turn, in parts of what was there before.
const EXPLAINED: f64 = 0.35;
/// Part of the patches that must agree, and how many there must be.
const AGREE: f64 = 0.7;
const PATCHES: usize = 12;
/// Turns of the looks lie around their mean within this part of its length.
const SCATTER: f64 = 0.25;
/// More than this, in radians (3 degrees), over all corrections of a calibration is no drift: somebody moved the camera.
const MOST: f64 = 0.052;

/// What one look says of a camera's drift.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    /// Axis times angle, radians.
    pub turn: [f64; 3],
    /// Root mean square miss before the turn, canvas pixels.
    pub before_px: f64,
    /// After.
    pub after_px: f64,
    /// Part of the patches that agree.
    pub agree: f64,
    /// Patches.
    pub patches: usize,
}

impl Evidence {
    fn is_strong(&self) -> bool {
        self.before_px >= WORTH_PX
            && self.after_px <= EXPLAINED * self.before_px
            && self.agree >= AGREE
            && self.patches >= PATCHES
    }
}

fn length(v: [f64; 3]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Watches one camera against its neighbour.
#[derive(Clone, Debug, Default)]
pub struct DriftGate {
    turns: VecDeque<[f64; 3]>,
    corrected: f64,
}

impl DriftGate {
    /// Takes in one look; `None` where nothing was determined. Returns the turn to correct by, once it is sure.
    pub fn look(&mut self, evidence: Option<Evidence>) -> Option<[f64; 3]> {
        let Some(evidence) = evidence.filter(Evidence::is_strong) else {
            self.turns.clear();
            return None;
        };
        self.turns.push_back(evidence.turn);
        if self.turns.len() < LOOKS {
            return None;
        }
        let n = self.turns.len() as f64;
        let mean = [0, 1, 2].map(|k| self.turns.iter().map(|t| t[k]).sum::<f64>() / n);
        let far = |t: &[f64; 3]| length([0, 1, 2].map(|k| t[k] - mean[k])) > SCATTER * length(mean);
        if self.turns.iter().any(far) {
            self.turns.pop_front();
            return None;
        }
        self.turns.clear();
        if self.corrected + length(mean) > MOST {
            return None;
        }
        self.corrected += length(mean);
        Some(mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(turn: [f64; 3]) -> Option<Evidence> {
        Some(Evidence {
            turn,
            before_px: 900.0 * length(turn),
            after_px: 0.05,
            agree: 0.9,
            patches: 40,
        })
    }

    /// The looks until a correction, of `looks`.
    fn until(
        gate: &mut DriftGate,
        looks: impl Iterator<Item = Option<Evidence>>,
    ) -> Option<(usize, [f64; 3])> {
        looks
            .enumerate()
            .find_map(|(i, look)| Some((i, gate.look(look)?)))
    }

    #[test]
    fn a_steady_turn_is_corrected_after_twenty_looks() {
        let mut gate = DriftGate::default();
        let tremble = |i: usize| evidence([0.001 + 1e-5 * (i % 3) as f64, 0.0, 0.0005]);
        let (at, turn) = until(&mut gate, (0..60).map(tremble)).unwrap();
        assert_eq!(at, LOOKS - 1);
        assert!(
            (turn[0] - 0.00101).abs() < 1e-5 && (turn[2] - 0.0005).abs() < 1e-12,
            "{turn:?}"
        );
    }

    #[test]
    fn what_is_weak_small_or_restless_is_left_alone() {
        let mut gate = DriftGate::default();
        let small = evidence([0.0003, 0.0, 0.0]);
        assert_eq!(until(&mut gate, (0..60).map(|_| small)), None);
        let restless = |i: usize| evidence([if i.is_multiple_of(2) { 0.002 } else { -0.001 }, 0.001, 0.0]);
        assert_eq!(until(&mut gate, (0..60).map(restless)), None);
        // A gap begins anew.
        let gaps = |i: usize| (i % 15 != 14).then(|| evidence([0.001, 0.0, 0.0])).flatten();
        assert_eq!(until(&mut gate, (0..90).map(gaps)), None);
        let unexplained = Evidence {
            after_px: 0.6,
            ..evidence([0.001, 0.0, 0.0]).unwrap()
        };
        assert_eq!(until(&mut gate, (0..60).map(|_| Some(unexplained))), None);
    }

    #[test]
    fn somebody_who_turns_the_camera_away_is_not_followed() {
        let mut gate = DriftGate::default();
        let mut corrections = 0;
        for _ in 0..500 {
            corrections += usize::from(gate.look(evidence([0.0041, 0.0, 0.0])).is_some());
        }
        assert_eq!(corrections, 12);
    }
}
