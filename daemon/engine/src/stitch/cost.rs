//! What a seam costs in each cell of a join, smoothed over time.

use std::ops::Range;

use synoptic_base::{BBox, CellSeen, InPanorama, StitchLayout};

use super::joins::Join;
use super::line::BOX;

/// Weight of the difference of Cb and Cr, each beside luma's 1.
const COLOUR: f32 = 0.7;
/// Weight of the difference of detail: an edge that only one camera has here.
const GRADIENT: f32 = 0.7;
/// Weight of detail itself: a seam hides best in flat areas.
const DETAIL: f32 = 0.15;
/// Weight of motion.
const MOTION: f32 = 1.5;
/// Cost of a cell that one of the two does not show now.
const UNSEEN: f32 = 20.0;
/// Part of the new cost in the smoothed cost, each picture.
const FRESH: f32 = 0.25;
/// Cells around a box that are closed with it: the blend is two cells wide.
const MARGIN: f32 = 1.5;
/// Cells around a box that a seam would rather leave before it must.
const NEAR_MARGIN: f32 = 4.0;
/// Cost of those.
const NEAR: f32 = 500.0;

/// The costs of one join, of the cells of its region.
#[derive(Clone, Debug)]
pub(super) struct Costs {
    regions: Vec<Option<Range<usize>>>,
    starts: Vec<usize>,
    smoothed: Vec<f32>,
    /// What boxes add.
    boxed: Vec<f32>,
    begun: bool,
}

impl Costs {
    /// For the region of a join.
    pub(super) fn new(regions: Vec<Option<Range<usize>>>) -> Costs {
        let mut starts = Vec::with_capacity(regions.len());
        let mut n = 0;
        for region in &regions {
            starts.push(n);
            n += region.as_ref().map_or(0, ExactSizeIterator::len);
        }
        Costs {
            regions,
            starts,
            smoothed: vec![0.0; n],
            boxed: vec![0.0; n],
            begun: false,
        }
    }

    /// The cost at place `at` of line `line`.
    pub(super) fn at(&self, line: usize, at: usize) -> f32 {
        let Some(region) = &self.regions[line] else {
            return 0.0;
        };
        let i = self.starts[line] + at - region.start;
        self.smoothed[i] + self.boxed[i]
    }

    /// Takes in what is seen. `cells(camera, cell)` is a cell with gain, `None` when not looked at; `motion(camera,
    /// cell)` how much it moves, in units of luma.
    pub(super) fn update(
        &mut self,
        layout: &StitchLayout,
        join: &Join,
        cells: impl Fn(usize, usize) -> Option<CellSeen>,
        motion: impl Fn(usize, usize) -> f32,
        boxes: &[BBox<InPanorama>],
    ) {
        let fresh = if self.begun { FRESH } else { 1.0 };
        self.begun = true;
        self.boxed.fill(0.0);
        for (line, region) in self.regions.iter().enumerate() {
            let Some(region) = region else { continue };
            for at in region.clone() {
                let cell = join.cell(layout, line, at);
                let mut worst = None;
                for &a in &join.before {
                    let Some(one) = cells(a, cell) else { continue };
                    for &b in &join.after {
                        let Some(two) = cells(b, cell) else { continue };
                        let cost = difference(&one, &two) + MOTION * motion(a, cell).max(motion(b, cell));
                        worst = Some(f32::max(worst.unwrap_or(0.0), cost));
                    }
                }
                let i = self.starts[line] + at - region.start;
                self.smoothed[i] += (worst.unwrap_or(UNSEEN) - self.smoothed[i]) * fresh;
            }
        }
        for bbox in boxes {
            self.close(layout, join, bbox, NEAR_MARGIN, NEAR);
            self.close(layout, join, bbox, MARGIN, BOX);
        }
    }

    /// Makes the cells of a box and `margin` around it cost at least `cost` more.
    fn close(&mut self, layout: &StitchLayout, join: &Join, bbox: &BBox<InPanorama>, margin: f32, cost: f32) {
        let (w, h) = (layout.columns as f32, layout.rows as f32);
        let x = (bbox.x * w - margin, bbox.right() * w + margin);
        let y = (bbox.y * h - margin, bbox.bottom() * h + margin);
        let (along, across) = if join.runs_down { (y, x) } else { (x, y) };
        let lines = along.0.max(0.0) as usize..(along.1.max(0.0).ceil() as usize).min(self.regions.len());
        for line in lines {
            let Some(region) = &self.regions[line] else {
                continue;
            };
            let from = (across.0.max(0.0) as usize).max(region.start);
            let to = (across.1.max(0.0).ceil() as usize).min(region.end);
            for at in from..to {
                let boxed = &mut self.boxed[self.starts[line] + at - region.start];
                *boxed = boxed.max(cost);
            }
        }
    }
}

fn difference(one: &CellSeen, two: &CellSeen) -> f32 {
    (one.luma - two.luma).abs()
        + COLOUR * ((one.cb - two.cb).abs() + (one.cr - two.cr).abs())
        + GRADIENT * (one.detail - two.detail).abs()
        + DETAIL * (one.detail + two.detail)
}
