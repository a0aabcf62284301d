//! All decisions about one panorama, in the order in which they depend on each other.

use std::ops::Range;

use synoptic_base::{
    BBox, CellSeen, Cover, GAIN_PITCH, InPanorama, Mono, PanoramaSeen, STITCH_CELL, SeamLine, SlotView, Span,
    StitchDirector, StitchLayout, StitchPlan,
};

use super::cost::Costs;
use super::gain::{Gains, rgb};
use super::joins::{Join, joins};
use super::line::Line;
use super::motion::Motion;
use super::slots::{MissingPolicy, Part, Slots};
use super::weights::{contested, weigh};

/// Pictures further apart than this, in seconds, count as this far apart.
const MAX_DT_S: f64 = 0.5;

/// How a panorama is decided.
#[derive(Clone, Debug)]
pub struct StitchConfig {
    /// What becomes of a camera that fails.
    pub missing: MissingPolicy,
    /// How long a last picture stands in before that.
    pub patience: Span,
    /// How long a fade takes.
    pub fade: Span,
    /// Width of the ramp between two cameras, in cells of 8 pixels.
    pub feather_cells: f32,
    /// Whether colours are matched.
    pub match_colours: bool,
    /// Whether seams may move.
    pub move_seams: bool,
}

impl Default for StitchConfig {
    fn default() -> StitchConfig {
        StitchConfig {
            missing: MissingPolicy::Fade,
            patience: Span::from_millis(200),
            fade: Span::from_millis(200),
            feather_cells: 2.0,
            match_colours: true,
            move_seams: true,
        }
    }
}

/// Why there can be no director.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StitchError {
    /// The layout has no cameras, or does not fit its own grid.
    #[error(
        "the layout is of {cameras} cameras with {cells} cells where {want} are wanted: make it from a rig"
    )]
    Layout {
        /// Cameras.
        cameras: usize,
        /// Cells of the first that does not fit.
        cells: usize,
        /// Cells of the grid.
        want: usize,
    },
    /// A value is out of its range.
    #[error("feather_cells is {0}: give 0.5 to 32")]
    Feather(String),
}

struct Seam {
    join: Join,
    line: Line,
    costs: Costs,
}

struct Fade {
    from: Vec<Vec<u8>>,
    since: Mono,
}

/// Decides how one panorama is composed.
pub struct Director {
    layout: StitchLayout,
    config: StitchConfig,
    seams: Vec<Seam>,
    gains: Gains,
    slots: Slots,
    parts: Vec<Part>,
    motion: Vec<Motion>,
    /// Cells with gain.
    gained: Vec<Vec<CellSeen>>,
    contested: Vec<usize>,
    target: Vec<Vec<u8>>,
    fade: Option<Fade>,
    last: Option<Mono>,
    plan: StitchPlan,
}

impl Director {
    /// For the cameras of `layout`.
    ///
    /// # Errors
    /// [`StitchError`] when the layout does not fit itself or a value is out of range.
    pub fn new(layout: StitchLayout, config: StitchConfig) -> Result<Director, StitchError> {
        let (n, cells) = (layout.cover.len(), layout.columns * layout.rows);
        if let Some(bad) = layout.cover.iter().find(|c| c.len() != cells) {
            return Err(StitchError::Layout {
                cameras: n,
                cells: bad.len(),
                want: cells,
            });
        }
        if n == 0 || cells == 0 {
            return Err(StitchError::Layout {
                cameras: n,
                cells,
                want: cells.max(1),
            });
        }
        if !(0.5..=32.0).contains(&config.feather_cells) {
            return Err(StitchError::Feather(config.feather_cells.to_string()));
        }
        let seams: Vec<Seam> = joins(&layout)
            .into_iter()
            .map(|join| {
                let region = region(&layout, &join, config.feather_cells);
                Seam {
                    line: Line::new(region.clone()),
                    costs: Costs::new(region),
                    join,
                }
            })
            .collect();
        let mut director = Director {
            gains: Gains::new(&layout),
            slots: Slots::new(n, config.missing, config.patience),
            parts: vec![Part::Full; n],
            motion: (0..n)
                .map(|k| Motion::new(looked_at(&layout, k), cells))
                .collect(),
            gained: vec![vec![CellSeen::UNSEEN; cells]; n],
            contested: contested(&layout),
            target: vec![vec![0; cells]; n],
            fade: None,
            last: None,
            plan: StitchPlan {
                revision: 0,
                weights: Vec::new(),
                gains: Vec::new(),
                seams: Vec::new(),
            },
            seams,
            layout,
            config,
        };
        director.plan.gains = director.gains.fields().to_vec();
        director.weigh(true);
        director.plan.weights.clone_from(&director.target);
        director.describe();
        Ok(director)
    }

    /// Goes on with another `layout` of the same canvas and cameras, as after a change of the warp: seams stay where both
    /// cameras still see, colours and fades go on.
    ///
    /// # Errors
    /// [`StitchError`] when the layout is not of as many cameras and cells; nothing is changed then.
    pub fn relayout(&mut self, layout: StitchLayout) -> Result<(), StitchError> {
        let (have, want) = (
            layout.columns * layout.rows,
            self.layout.columns * self.layout.rows,
        );
        if have != want || layout.cover.len() != self.layout.cover.len() {
            return Err(StitchError::Layout {
                cameras: layout.cover.len(),
                cells: have,
                want,
            });
        }
        let mut fresh = Director::new(layout, self.config.clone())?;
        for seam in &mut fresh.seams {
            if let Some(old) = self.seams.iter().find(|old| old.join == seam.join) {
                seam.line.adopt(&old.line);
            }
        }
        fresh.gains.adopt(&self.gains);
        fresh.plan.gains.clone_from_slice(fresh.gains.fields());
        fresh.slots = self.slots.clone();
        fresh.parts.clone_from(&self.parts);
        fresh.fade = self.fade.take();
        fresh.last = self.last;
        fresh.weigh(true);
        fresh.plan.weights.clone_from(&fresh.target);
        fresh.plan.revision = self.plan.revision + 1;
        fresh.describe();
        *self = fresh;
        Ok(())
    }

    /// The plan now.
    pub fn plan(&self) -> &StitchPlan {
        &self.plan
    }

    /// How often a seam was given another line, of all seams.
    pub fn seam_moves(&self) -> u64 {
        self.seams.iter().map(|s| s.line.moves).sum()
    }

    /// Turns the shared cells of the live cameras as their fields do.
    fn apply_gains(&mut self, cells: &[&[CellSeen]]) {
        let (across, down) = self.layout.gain_nodes();
        let a_node = GAIN_PITCH / STITCH_CELL;
        let (kr, kb) = self.layout.kr_kb;
        let near = |v: usize, n: usize| ((v + a_node / 2) / a_node).min(n - 1);
        for (k, cells) in cells.iter().enumerate() {
            let gained = &mut self.gained[k];
            // exp of 3 x 1000 nodes rather than of 3 x 10,000 cells.
            let factors: Vec<[f32; 3]> = self.gains.fields()[k].iter().map(|n| n.map(f32::exp)).collect();
            for i in self.motion[k].cells().iter().map(|i| *i as usize) {
                let Some(cell) = cells.get(i).filter(|c| c.detail >= 0.0) else {
                    gained[i] = CellSeen::UNSEEN;
                    continue;
                };
                let (c, r) = (i % self.layout.columns, i / self.layout.columns);
                let factor = factors[near(r, down) * across + near(c, across)];
                let rgb = rgb(cell, self.layout.kr_kb);
                let [r, g, b] = [0, 1, 2].map(|k| rgb[k] * factor[k]);
                let y = kr * r + (1.0 - kr - kb) * g + kb * b;
                gained[i] = CellSeen {
                    luma: y + 16.0,
                    cb: 128.0 + (b - y) / (2.0 * (1.0 - kb)) * (224.0 / 219.0),
                    cr: 128.0 + (r - y) / (2.0 * (1.0 - kr)) * (224.0 / 219.0),
                    detail: cell.detail,
                };
            }
        }
    }

    fn move_seams(&mut self, cells: &[&[CellSeen]], boxes: &[BBox<InPanorama>], dt: f64) -> bool {
        self.apply_gains(cells);
        let (gained, motion) = (&self.gained, &self.motion);
        let mut moved = false;
        for seam in &mut self.seams {
            let cell = |k: usize, i: usize| Some(gained[k][i]).filter(|c| c.detail >= 0.0);
            let moving = |k: usize, i: usize| motion[k].of_cells()[i];
            seam.costs.update(&self.layout, &seam.join, cell, moving, boxes);
            let costs = &seam.costs;
            moved |= seam.line.step(|line, at| costs.at(line, at), dt);
        }
        moved
    }

    /// Computes the weights that are wanted, of all cells or of those that can change hands.
    fn weigh(&mut self, all: bool) {
        let seams: Vec<_> = self.seams.iter().map(|s| (&s.join, &s.line)).collect();
        let feather = self.config.feather_cells;
        let (layout, parts, target) = (&self.layout, &self.parts, &mut self.target);
        if all {
            weigh(
                layout,
                parts,
                &seams,
                feather,
                0..layout.columns * layout.rows,
                target,
            );
        } else {
            weigh(
                layout,
                parts,
                &seams,
                feather,
                self.contested.iter().copied(),
                target,
            );
        }
    }

    /// Weights between those before a fade and those wanted.
    fn show(&mut self, now: Mono) {
        let Some(fade) = &self.fade else {
            self.plan.weights.clone_from(&self.target);
            return;
        };
        let part =
            ((now - fade.since).as_secs_f64() / self.config.fade.as_secs_f64().max(1e-6)).clamp(0.0, 1.0);
        let part = (part * 256.0) as i32;
        let n = self.target.len();
        for cell in 0..self.target[0].len() {
            let (mut exact, mut sum, mut most) = (0, 0, 0);
            for k in 0..n {
                let (from, to) = (i32::from(fade.from[k][cell]), i32::from(self.target[k][cell]));
                let share = from * 256 + (to - from) * part;
                self.plan.weights[k][cell] = (share >> 8) as u8;
                exact += share;
                sum += share >> 8;
                if self.plan.weights[k][cell] > self.plan.weights[most][cell] {
                    most = k;
                }
            }
            // What rounding took goes to the largest.
            self.plan.weights[most][cell] += ((exact >> 8) - sum) as u8;
        }
        if part >= 256 {
            self.fade = None;
        }
    }

    fn describe(&mut self) {
        let seams = self.seams.iter().map(|seam| {
            let shown = seam.line.shown().iter().enumerate();
            SeamLine {
                before: seam.join.before.clone(),
                after: seam.join.after.clone(),
                runs_down: seam.join.runs_down,
                at: shown
                    .map(|(i, at)| seam.line.region(i).map(|_| at * STITCH_CELL as f32))
                    .collect(),
                cut_cells: seam.line.cut,
            }
        });
        self.plan.seams = seams.collect();
    }
}

impl StitchDirector for Director {
    fn decide(&mut self, now: Mono, seen: &PanoramaSeen, boxes: &[BBox<InPanorama>]) -> &StitchPlan {
        let dt = self
            .last
            .map_or(0.0, |l| (now - l).as_secs_f64().clamp(0.0, MAX_DT_S));
        let first = self.last.is_none();
        self.last = Some(now);
        let mut views = seen.slots.clone();
        views.resize(self.parts.len(), SlotView::Empty);
        let parts = self.slots.parts(now, &views);
        let parted = parts != self.parts;
        if parted && !first {
            self.fade = Some(Fade {
                from: self.plan.weights.clone(),
                since: now,
            });
        }
        self.parts = parts;
        let cells: Vec<&[CellSeen]> = (0..self.parts.len())
            .map(|k| match (views[k], seen.cells.get(k)) {
                (SlotView::Live, Some(cells)) if cells.len() == self.target[k].len() => &cells[..],
                _ => &[],
            })
            .collect();
        for (motion, cells) in self.motion.iter_mut().zip(&cells) {
            motion.update(cells);
        }
        if self.config.match_colours {
            let motion: Vec<&[f32]> = self.motion.iter().map(Motion::of_cells).collect();
            self.gains.update(&cells, &motion, dt);
            self.plan.gains.clone_from_slice(self.gains.fields());
        }
        let moved = self.config.move_seams && self.move_seams(&cells, boxes, dt);
        if moved || parted {
            self.weigh(parted);
        }
        if moved || parted || self.fade.is_some() {
            self.show(now);
            self.plan.revision += 1;
        }
        self.describe();
        &self.plan
    }
}

/// Cells that camera `k` shares with another and sees whole.
fn looked_at(layout: &StitchLayout, k: usize) -> Vec<u32> {
    (0..layout.columns * layout.rows)
        .filter(|&i| layout.cover[k][i] >= Cover::Whole && layout.shared(i))
        .map(|i| i as u32)
        .collect()
}

/// Of each line of a join, the longest stretch of cells that both groups see well, less half of the ramp.
fn region(layout: &StitchLayout, join: &Join, feather: f32) -> Vec<Option<Range<usize>>> {
    let margin = (feather / 2.0).ceil() as usize;
    let (lines, places) = join.lines(layout);
    let seen = |group: &[usize], cell: usize| group.iter().any(|k| layout.cover[*k][cell] == Cover::Inner);
    let of = |line: usize| {
        let mut best: Option<Range<usize>> = None;
        let mut start = None;
        for at in 0..=places {
            let both = at < places && {
                let cell = join.cell(layout, line, at);
                seen(&join.before, cell) && seen(&join.after, cell)
            };
            match (both, start) {
                (true, None) => start = Some(at),
                (false, Some(from)) => {
                    if best.as_ref().is_none_or(|b| b.len() < at - from) {
                        best = Some(from..at);
                    }
                    start = None;
                }
                _ => {}
            }
        }
        let best = best?;
        let inner = best.start + margin..best.end.saturating_sub(margin).max(best.start + margin);
        Some(if inner.is_empty() {
            let middle = best.start + best.len() / 2;
            middle..middle + 1
        } else {
            inner
        })
    };
    (0..lines).map(of).collect()
}

#[cfg(test)]
#[path = "director_tests.rs"]
mod tests;
