//! What moves before a camera, in the cells it shares: change from picture to picture, exposure apart.

use synoptic_base::CellSeen;

/// How much of a cell's motion is left in the next picture.
const DECAY: f32 = 0.85;
/// Every so manieth cell says how exposure changed.
const EXPOSURE_STEP: usize = 7;
/// Cells darker than this say nothing of exposure.
const DARK: f32 = 24.0;
/// Luma of black.
const BLACK: f32 = 16.0;

/// Motion of one camera.
#[derive(Clone, Debug)]
pub(super) struct Motion {
    /// Shared cells that the camera sees.
    cells: Vec<u32>,
    /// Their luma in the last picture; empty when there was none.
    before: Vec<f32>,
    /// Of each cell of the canvas, in units of luma.
    motion: Vec<f32>,
}

impl Motion {
    /// For a camera that sees `cells` of `n`.
    pub(super) fn new(cells: Vec<u32>, n: usize) -> Motion {
        Motion {
            cells,
            before: Vec::new(),
            motion: vec![0.0; n],
        }
    }

    /// The shared cells that the camera sees.
    pub(super) fn cells(&self) -> &[u32] {
        &self.cells
    }

    /// Of each cell of the canvas, in units of luma.
    pub(super) fn of_cells(&self) -> &[f32] {
        &self.motion
    }

    /// Takes in a picture's cells; none begin anew.
    pub(super) fn update(&mut self, seen: &[CellSeen]) {
        if seen.is_empty() {
            self.before.clear();
            return;
        }
        let luma = self.cells.iter().map(|i| seen[*i as usize].luma);
        if self.before.len() == self.cells.len() {
            // The median ratio of all cells is a change of exposure, not motion.
            let mut ratios: Vec<f32> = luma
                .clone()
                .zip(&self.before)
                .step_by(EXPOSURE_STEP)
                .filter(|(_, b)| **b > DARK)
                .map(|(now, b)| (now - BLACK) / (b - BLACK))
                .collect();
            let exposure = if ratios.is_empty() {
                1.0
            } else {
                let middle = ratios.len() / 2;
                *ratios.select_nth_unstable_by(middle, f32::total_cmp).1
            };
            for ((cell, now), before) in self.cells.iter().zip(luma.clone()).zip(&self.before) {
                let change = (now - BLACK - (before - BLACK) * exposure).abs();
                let motion = &mut self.motion[*cell as usize];
                *motion = change.max(*motion * DECAY);
            }
        }
        self.before.clear();
        self.before.extend(luma);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(luma: impl Fn(usize) -> f32) -> Vec<CellSeen> {
        (0..40)
            .map(|i| CellSeen {
                luma: luma(i),
                cb: 128.0,
                cr: 128.0,
                detail: 1.0,
            })
            .collect()
    }

    #[test]
    fn a_mover_is_motion_and_exposure_is_not() {
        let mut motion = Motion::new((0..40).collect(), 40);
        motion.update(&cells(|i| 60.0 + i as f32));
        motion.update(&cells(|i| {
            if i == 20 {
                200.0
            } else {
                BLACK + 1.3 * (44.0 + i as f32)
            }
        }));
        assert!(motion.of_cells()[20] > 90.0);
        assert!(
            motion
                .of_cells()
                .iter()
                .enumerate()
                .all(|(i, m)| i == 20 || *m < 0.1)
        );
        // It fades, and a camera that comes back begins anew.
        motion.update(&[]);
        motion.update(&cells(|_| 100.0));
        assert!(motion.of_cells()[20] > 90.0);
        motion.update(&cells(|_| 100.0));
        assert!((70.0..90.0).contains(&motion.of_cells()[20]));
    }
}
