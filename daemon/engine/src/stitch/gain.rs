//! Gain fields: what to add to the logarithms of each camera's R', G', B' so that neighbours agree.
//!
//! For each pair of cameras that share cells, the logarithm of the ratio of their colours is taken over trusted cells
//! (seen by both, not dark, not saturated, not moving, near the median of all), gathered at the nodes of a coarse
//! grid, drawn towards the pair's mean where cells are few, and averaged over time: slowly while it is steady, fast
//! after a step of exposure. Each camera of a pair takes half. Beyond the overlap a correction goes on from the
//! nearest nodes and decays, and it ends where the overlap with another camera begins.

use synoptic_base::{CellSeen, Cover, GAIN_PITCH, STITCH_CELL, StitchLayout};

/// Means of R', G', B' (above black) outside of these say little: noise below, saturation above.
const TRUSTED: std::ops::RangeInclusive<f32> = 12.0..=205.0;
/// A cell that moves more than this, in units of luma, is not trusted.
const STILL: f32 = 6.0;
/// Detail above this (edges) turns a misalignment into a false ratio.
const MAX_DETAIL: f32 = 40.0;
/// Log ratios further from the median than so many median deviations, but at least `GATE`, are not trusted.
const GATE_DEVIATIONS: f32 = 3.0;
/// See `GATE_DEVIATIONS`.
const GATE: f32 = 0.04;
/// Trusted cells a pair needs.
const ENOUGH: usize = 24;
/// Weight of the pair's mean at a node, in cells.
const PRIOR_CELLS: f32 = 24.0;
/// Spread of a node's correction, in nodes.
const SPREAD: f32 = 1.5;
/// What a node takes from another is left out below this part of what it takes from the nearest: most of them.
const LEAST_SPREAD: f32 = 1e-3;
/// Decay of a correction beyond the overlap, in nodes per e-fold, as a part of the camera's width on the canvas.
const DECAY: f32 = 0.35;
/// Time constant while steady, in seconds.
const SLOW_S: f64 = 2.0;
/// Time constant after a step: e^-4 is left after 0.4 s.
const FAST_S: f64 = 0.1;
/// A mean that differs this much from the smoothed one is a step.
const STEP: f32 = 0.02;

/// Numbers of nodes and how much is taken of each.
type Taken = Vec<(u32, f32)>;

struct Pair {
    a: usize,
    b: usize,
    /// Shared cells and the node nearest to each, as an index into `nodes`.
    cells: Vec<(usize, usize)>,
    /// Nodes near shared cells.
    nodes: Vec<usize>,
    /// Smoothed mean log ratio a / b.
    mean: [f32; 3],
    /// Smoothed log ratio a / b at each of `nodes`.
    at: Vec<[f32; 3]>,
    begun: bool,
    /// Of camera a and camera b: their nodes, and of which of `at` they take how much there.
    spread: [Vec<(usize, Taken)>; 2],
}

/// Estimates the gain fields of all cameras.
pub(super) struct Gains {
    pairs: Vec<Pair>,
    kr_kb: (f32, f32),
    fields: Vec<Vec<[f32; 3]>>,
}

/// R', G', B' above black of a cell.
pub(super) fn rgb(cell: &CellSeen, (kr, kb): (f32, f32)) -> [f32; 3] {
    let kg = 1.0 - kr - kb;
    let y = cell.luma - 16.0;
    let (cb, cr) = (
        (cell.cb - 128.0) * 219.0 / 224.0,
        (cell.cr - 128.0) * 219.0 / 224.0,
    );
    let (r, b) = (y + 2.0 * (1.0 - kr) * cr, y + 2.0 * (1.0 - kb) * cb);
    [r, (y - kr * r - kb * b) / kg, b]
}

fn median(values: &mut [f32]) -> f32 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

impl Gains {
    /// For the cameras of a layout.
    pub(super) fn new(layout: &StitchLayout) -> Gains {
        let n = layout.cover.len();
        let (across, down) = layout.gain_nodes();
        let cells_a_node = GAIN_PITCH / STITCH_CELL;
        let node = |cell: usize| {
            let (c, r) = (cell % layout.columns, cell / layout.columns);
            let near = |v: usize, n: usize| ((v + cells_a_node / 2) / cells_a_node).min(n - 1);
            near(r, down) * across + near(c, across)
        };
        let shared = |a: usize, b: usize| -> Vec<usize> {
            (0..layout.columns * layout.rows)
                .filter(|&i| layout.cover[a][i] >= Cover::Whole && layout.cover[b][i] >= Cover::Whole)
                .collect()
        };
        let mut pairs = Vec::new();
        for a in 0..n {
            for b in a + 1..n {
                let cells = shared(a, b);
                if cells.len() < ENOUGH {
                    continue;
                }
                let mut nodes: Vec<usize> = cells.iter().map(|c| node(*c)).collect();
                nodes.sort_unstable();
                nodes.dedup();
                let cells = cells
                    .into_iter()
                    .filter_map(|c| Some((c, nodes.binary_search(&node(c)).ok()?)))
                    .collect();
                pairs.push(Pair {
                    a,
                    b,
                    cells,
                    at: vec![[0.0; 3]; nodes.len()],
                    nodes,
                    mean: [0.0; 3],
                    begun: false,
                    spread: [Vec::new(), Vec::new()],
                });
            }
        }
        let overlaps: Vec<(usize, usize, Vec<usize>)> =
            pairs.iter().map(|p| (p.a, p.b, p.nodes.clone())).collect();
        for (i, pair) in pairs.iter_mut().enumerate() {
            for (side, camera) in [pair.a, pair.b].into_iter().enumerate() {
                let others: Vec<usize> = overlaps
                    .iter()
                    .enumerate()
                    .filter(|(j, (a, b, _))| *j != i && (*a == camera || *b == camera))
                    .flat_map(|(_, (_, _, nodes))| nodes.iter().copied())
                    .filter(|n| pair.nodes.binary_search(n).is_err())
                    .collect();
                pair.spread[side] = spread(layout, camera, &pair.nodes, &others);
            }
        }
        Gains {
            pairs,
            kr_kb: layout.kr_kb,
            fields: vec![vec![[0.0; 3]; across * down]; n],
        }
    }

    /// Goes on from what `old` knows of the same cameras on the same canvas.
    pub(super) fn adopt(&mut self, old: &Gains) {
        for pair in &mut self.pairs {
            let Some(known) = old
                .pairs
                .iter()
                .find(|p| (p.a, p.b) == (pair.a, pair.b) && p.begun)
            else {
                continue;
            };
            pair.mean = known.mean;
            pair.begun = true;
            for (node, at) in pair.nodes.iter().zip(&mut pair.at) {
                *at = known
                    .nodes
                    .binary_search(node)
                    .map_or(known.mean, |i| known.at[i]);
            }
        }
        if self.fields.len() == old.fields.len() {
            self.fields.clone_from(&old.fields);
        }
    }

    /// The fields: of each camera, of each node.
    pub(super) fn fields(&self) -> &[Vec<[f32; 3]>] {
        &self.fields
    }

    /// Takes in what is seen, `dt` seconds after the last time. `cells[camera]` is empty for those not to be used;
    /// `motion[camera]` is in units of luma.
    pub(super) fn update(&mut self, cells: &[&[CellSeen]], motion: &[&[f32]], dt: f64) {
        let mut changed = false;
        for pair in &mut self.pairs {
            let (one, two) = (cells[pair.a], cells[pair.b]);
            if !one.is_empty() && !two.is_empty() {
                changed |= pair.update(one, two, motion[pair.a], motion[pair.b], self.kr_kb, dt);
            }
        }
        if !changed {
            return;
        }
        for field in &mut self.fields {
            field.fill([0.0; 3]);
        }
        for pair in &self.pairs {
            for (side, camera, half) in [(0, pair.a, -0.5), (1, pair.b, 0.5)] {
                for (node, weights) in &pair.spread[side] {
                    let mut sum = [0.0; 3];
                    for (from, w) in weights {
                        let at = &pair.at[*from as usize];
                        for k in 0..3 {
                            sum[k] += w * at[k];
                        }
                    }
                    let field = &mut self.fields[camera][*node];
                    for k in 0..3 {
                        field[k] += half * sum[k];
                    }
                }
            }
        }
    }
}

impl Pair {
    fn update(
        &mut self,
        one: &[CellSeen],
        two: &[CellSeen],
        motion_one: &[f32],
        motion_two: &[f32],
        kr_kb: (f32, f32),
        dt: f64,
    ) -> bool {
        let mut ratios: Vec<(usize, [f32; 3])> = Vec::with_capacity(self.cells.len());
        for &(cell, node) in &self.cells {
            let (x, y) = (&one[cell], &two[cell]);
            let seen = |c: &CellSeen| (0.0..MAX_DETAIL).contains(&c.detail);
            if !seen(x) || !seen(y) || motion_one[cell].max(motion_two[cell]) > STILL {
                continue;
            }
            let (x, y) = (rgb(x, kr_kb), rgb(y, kr_kb));
            if x.iter().chain(&y).all(|v| TRUSTED.contains(v)) {
                ratios.push((node, [0, 1, 2].map(|k| (x[k] / y[k]).ln())));
            }
        }
        if ratios.len() < ENOUGH {
            return false;
        }
        let mut values: Vec<f32> = Vec::with_capacity(ratios.len());
        let mut of = |get: &dyn Fn(&[f32; 3]) -> f32| {
            values.clear();
            values.extend(ratios.iter().map(|(_, r)| get(r)));
            median(&mut values)
        };
        let centre = [0, 1, 2].map(|k| of(&|r| r[k]));
        let gate = [0, 1, 2].map(|k| (of(&|r| (r[k] - centre[k]).abs()) * GATE_DEVIATIONS).max(GATE));
        let mut sums = vec![([0.0_f32; 3], 0.0_f32); self.nodes.len()];
        let (mut total, mut n) = ([0.0; 3], 0.0);
        for (node, ratio) in &ratios {
            if (0..3).all(|k| (ratio[k] - centre[k]).abs() <= gate[k]) {
                let (sum, count) = &mut sums[*node];
                for k in 0..3 {
                    sum[k] += ratio[k];
                    total[k] += ratio[k];
                }
                *count += 1.0;
                n += 1.0;
            }
        }
        if n < ENOUGH as f32 {
            return false;
        }
        let mean = total.map(|t| t / n);
        let step = (0..3).any(|k| (mean[k] - self.mean[k]).abs() > STEP);
        let fresh = match (self.begun, step) {
            (false, _) => 1.0,
            (true, true) => (1.0 - (-dt / FAST_S).exp()) as f32,
            (true, false) => (1.0 - (-dt / SLOW_S).exp()) as f32,
        };
        self.begun = true;
        self.mean = [0, 1, 2].map(|k| self.mean[k] + (mean[k] - self.mean[k]) * fresh);
        for (at, (sum, count)) in self.at.iter_mut().zip(&sums) {
            for k in 0..3 {
                let now = (sum[k] + PRIOR_CELLS * mean[k]) / (count + PRIOR_CELLS);
                at[k] += (now - at[k]) * fresh;
            }
        }
        true
    }
}

/// How much of the correction at each of `nodes` camera `camera` takes at each of its own nodes: a Gaussian mean of
/// the nearest, times a decay that is 1 in the overlap and 0 at `others`.
fn spread(layout: &StitchLayout, camera: usize, nodes: &[usize], others: &[usize]) -> Vec<(usize, Taken)> {
    let (across, down) = layout.gain_nodes();
    let cells_a_node = GAIN_PITCH / STITCH_CELL;
    let covered = |node: usize| {
        // Whether the camera sees any cell that takes from this node.
        let (i, j) = (node % across, node / across);
        let around = |v: usize, n: usize| {
            (v * cells_a_node).saturating_sub(cells_a_node)..((v + 1) * cells_a_node).min(n)
        };
        around(j, layout.rows).any(|r| {
            around(i, layout.columns).any(|c| layout.cover[camera][r * layout.columns + c] > Cover::None)
        })
    };
    let own: Vec<usize> = (0..across * down).filter(|n| covered(*n)).collect();
    let columns = own.iter().map(|n| n % across);
    let width = columns.clone().max().unwrap_or(0) - columns.min().unwrap_or(0) + 1;
    let decay = (width as f32 * DECAY).max(1.0);
    let far = |a: usize, b: usize| {
        let (x, y) = (
            (a % across).abs_diff(b % across) as f32,
            (a / across).abs_diff(b / across) as f32,
        );
        x.hypot(y)
    };
    let nearest =
        |node: usize, among: &[usize]| among.iter().map(|n| far(node, *n)).fold(f32::INFINITY, f32::min);
    own.into_iter()
        .map(|node| {
            let (to_own, to_other) = (nearest(node, nodes), nearest(node, others));
            let share = if to_own == 0.0 {
                1.0
            } else {
                let ends = if to_other.is_finite() {
                    to_other / (to_own + to_other)
                } else {
                    1.0
                };
                ends * (-to_own / decay).exp()
            };
            // Measured from the nearest node, so that far nodes have a mean as well.
            let weigh = |n: usize| {
                let d = far(node, n);
                (-(d * d - to_own * to_own) / (2.0 * SPREAD * SPREAD)).exp()
            };
            let weights = nodes.iter().enumerate().map(|(i, n)| (i as u32, weigh(*n)));
            let weights: Taken = weights.filter(|(_, w)| *w >= LEAST_SPREAD).collect();
            let sum: f32 = weights.iter().map(|(_, w)| w).sum();
            (
                node,
                weights.into_iter().map(|(i, w)| (i, w / sum * share)).collect(),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::joins::tests::layout;
    use super::*;

    /// A grey wall with a slope of light, under a gain of R', G', B'.
    fn wall(columns: usize, rows: usize, gain: [f32; 3]) -> Vec<CellSeen> {
        (0..columns * rows)
            .map(|i| {
                let light = 60.0 + (i % columns) as f32 * 0.5;
                let [r, g, b] = gain.map(|g| g * light);
                let y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
                CellSeen {
                    luma: 16.0 + y,
                    cb: 128.0 + (b - y) / 1.8556 * 224.0 / 219.0,
                    cr: 128.0 + (r - y) / 1.5748 * 224.0 / 219.0,
                    detail: 2.0,
                }
            })
            .collect()
    }

    #[test]
    fn a_difference_is_halved_between_two_and_decays() {
        let layout = layout(120, 40, &[[0, 0, 72, 40], [48, 0, 120, 40]]);
        let mut gains = Gains::new(&layout);
        let (one, two) = (wall(120, 40, [1.0; 3]), wall(120, 40, [0.8, 0.9, 1.1]));
        let none = vec![0.0; 120 * 40];
        let still = [&none[..]; 2];
        gains.update(&[&one, &two], &still, 0.04);
        let (across, _) = layout.gain_nodes();
        let node = |c: usize| 2 * across + c;
        let fields = gains.fields();
        for (k, gain) in [0.8_f32, 0.9, 1.1].into_iter().enumerate() {
            for c in [6, 7, 8, 9] {
                assert!(
                    (fields[0][node(c)][k] - 0.5 * gain.ln()).abs() < 0.003,
                    "{c} {:?}",
                    fields[0][node(c)]
                );
                assert!((fields[1][node(c)][k] + 0.5 * gain.ln()).abs() < 0.003);
            }
            assert!(fields[0][node(0)][k].abs() < 0.25 * gain.ln().abs());
        }
    }

    #[test]
    fn a_step_is_absorbed_within_half_a_second_and_noise_is_not_followed() {
        let layout = layout(120, 40, &[[0, 0, 72, 40], [48, 0, 120, 40]]);
        let mut gains = Gains::new(&layout);
        let none = vec![0.0; 120 * 40];
        let still = [&none[..]; 2];
        let one = wall(120, 40, [1.0; 3]);
        let node = 2 * layout.gain_nodes().0 + 7;
        gains.update(&[&one, &one], &still, 0.04);
        // One picture off by 1.5 %: below a step.
        gains.update(&[&one, &wall(120, 40, [1.015; 3])], &still, 0.04);
        assert!(gains.fields()[0][node][1].abs() < 0.0005);
        let brighter = wall(120, 40, [1.3; 3]);
        for _ in 0..12 {
            gains.update(&[&one, &brighter], &still, 0.04);
        }
        let left = 1.3_f32.ln() - 2.0 * gains.fields()[0][node][1];
        assert!(left.abs() < 0.03, "{left} of the logarithm is left after 0.48 s");
    }

    #[test]
    fn what_moves_or_is_saturated_is_not_trusted() {
        let layout = layout(120, 40, &[[0, 0, 72, 40], [48, 0, 120, 40]]);
        let mut gains = Gains::new(&layout);
        let one = wall(120, 40, [1.0; 3]);
        let mut two = one.clone();
        let mut motion = vec![vec![0.0; 120 * 40]; 2];
        for (i, cell) in two.iter_mut().enumerate() {
            if i % 120 < 58 {
                cell.luma = 250.0;
            } else if i % 120 < 64 {
                cell.luma += 60.0;
                motion[1][i] = 30.0;
            }
        }
        gains.update(&[&one, &two], &[&motion[0], &motion[1]], 0.04);
        assert!(gains.fields().iter().flatten().flatten().all(|v| v.abs() < 1e-4));
    }

    #[test]
    fn in_a_chain_the_correction_of_one_overlap_ends_at_the_next() {
        let layout = layout(180, 40, &[[0, 0, 72, 40], [48, 0, 132, 40], [108, 0, 180, 40]]);
        let mut gains = Gains::new(&layout);
        let none = vec![0.0; 180 * 40];
        let still = [&none[..]; 3];
        let walls = [1.0, 0.9, 0.9].map(|g| wall(180, 40, [g; 3]));
        gains.update(&[&walls[0], &walls[1], &walls[2]], &still, 0.04);
        let row = 2 * layout.gain_nodes().0;
        let fields = gains.fields();
        assert!((fields[1][row + 7][1] + 0.5 * 0.9_f32.ln()).abs() < 0.003);
        assert!(fields[1][row + 15][1].abs() < 1e-4 && fields[2][row + 15][1].abs() < 1e-4);
    }
}
