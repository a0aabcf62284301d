//! The line of one seam: found by dynamic programming, kept unless another is clearly better, moved smoothly.
//!
//! A line crosses each row of cells (or column) at one place; neighbouring places differ by at most [`MAX_SLOPE`].
//! Costs are those of [`super::cost`]; cells in boxes cost [`BOX`] more, so that a line crosses a box only where
//! there is no way around it.

use std::ops::Range;

/// Cells a line may go sideways from one line of cells to the next.
const MAX_SLOPE: usize = 2;
/// Cost of each cell sideways: straight lines are shorter and flicker less.
const SIDEWAYS: f32 = 2.0;
/// Cost of a cell in a box; more than any sum of differences along a line (some 135 cells of 255 at most).
pub(super) const BOX: f32 = 50_000.0;
/// Pull to the middle of the overlap, where lens and vignette are best, per cell off.
const CENTRE: f32 = 0.05;
/// Another line is better when it costs less than this part of the line now...
const BETTER: f32 = 0.8;
/// ... and this much less in each cell, in units of luma, ...
const BETTER_CELL: f32 = 1.0;
/// ... for this long, in seconds.
const BETTER_FOR_S: f64 = 0.4;
/// How fast a line moves when nothing stands in the way, in cells a second (8 pixels each).
const SPEED: f32 = 30.0;

/// The line of a seam.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Of each line of cells, the places where the seam may lie.
    region: Vec<Option<Range<usize>>>,
    /// Where the seam is wanted.
    wanted: Vec<f32>,
    /// Where it is shown.
    shown: Vec<f32>,
    /// For how long another line has been better, in seconds.
    better_s: f64,
    /// Cells of the shown line that lie in boxes.
    pub(super) cut: usize,
    /// How often another line was chosen.
    pub(super) moves: u64,
}

impl Line {
    /// A line in the middle of `region`.
    pub(super) fn new(region: Vec<Option<Range<usize>>>) -> Line {
        let middles: Vec<Option<f32>> = region
            .iter()
            .map(|r| r.as_ref().map(|r| (r.start + r.end) as f32 / 2.0))
            .collect();
        // Where the two do not overlap, the nearest place above, else below.
        let mut shown = Vec::with_capacity(middles.len());
        let mut last = middles.iter().flatten().next().copied().unwrap_or(0.0);
        for middle in middles {
            last = middle.unwrap_or(last);
            shown.push(last);
        }
        Line {
            region,
            wanted: shown.clone(),
            shown,
            better_s: 0.0,
            cut: 0,
            moves: 0,
        }
    }

    /// Goes on where `old` is, as far as that lies in this line's region.
    pub(super) fn adopt(&mut self, old: &Line) {
        let kept = |region: &Option<Range<usize>>, at: f32, own: f32| match region {
            Some(r) => at.clamp(r.start as f32, r.end.saturating_sub(1).max(r.start) as f32 + 0.5),
            None => own,
        };
        for (i, region) in self.region.iter().enumerate() {
            if let (Some(shown), Some(wanted)) = (old.shown.get(i), old.wanted.get(i)) {
                self.shown[i] = kept(region, *shown, self.shown[i]);
                self.wanted[i] = kept(region, *wanted, self.wanted[i]);
            }
        }
        self.better_s = old.better_s;
        self.moves = old.moves;
    }

    /// The places of line `line` where the seam may lie.
    pub(super) fn region(&self, line: usize) -> Option<&Range<usize>> {
        self.region[line].as_ref()
    }

    /// Where the seam crosses each line of cells, in cells.
    pub(super) fn shown(&self) -> &[f32] {
        &self.shown
    }

    /// Chooses and moves after `cost(line, place)`; `dt` seconds after the last time. Says whether the line moved.
    pub(super) fn step(&mut self, cost: impl Fn(usize, usize) -> f32, dt: f64) -> bool {
        let regions = self.region.clone();
        let cost = |line: usize, at: usize| {
            let pull = regions[line].as_ref().map_or(0.0, |r| {
                CENTRE * (at as f32 + 0.5 - (r.start + r.end) as f32 / 2.0).abs()
            });
            cost(line, at) + pull
        };
        let Some(best) = self.search(&cost) else {
            return false;
        };
        let now = self.total(&self.wanted, &cost);
        let then = self.total(&best, &cost);
        let cells = self.region.iter().flatten().count() as f32;
        let boxed = |total: f32| (total / BOX) as usize;
        let forced = boxed(then) < boxed(now);
        let better = then < now * BETTER && then < now - BETTER_CELL * cells;
        self.better_s = if better { self.better_s + dt } else { 0.0 };
        if forced || self.better_s >= BETTER_FOR_S {
            self.wanted = best;
            self.better_s = 0.0;
            self.moves += 1;
        }
        let moved = self.follow(&cost, dt);
        self.cut = self.boxed_cells(&self.shown, &cost);
        moved
    }

    fn boxed_cells(&self, path: &[f32], cost: &impl Fn(usize, usize) -> f32) -> usize {
        (0..path.len())
            .filter(|&i| self.place(i, path[i]).is_some_and(|at| cost(i, at) >= BOX))
            .count()
    }

    /// Moves what is shown towards what is wanted: step by step, or at once where a box lies between, as a seam that
    /// glides through somebody cuts them.
    fn follow(&mut self, cost: &impl Fn(usize, usize) -> f32, dt: f64) -> bool {
        if self.shown == self.wanted {
            return false;
        }
        let blocked = (0..self.shown.len()).any(|i| {
            let Some(region) = &self.region[i] else {
                return false;
            };
            let (from, to) = (
                self.shown[i].min(self.wanted[i]),
                self.shown[i].max(self.wanted[i]),
            );
            let between = (from as usize).max(region.start)..(to.ceil() as usize).min(region.end);
            from < to && between.into_iter().any(|at| cost(i, at) >= BOX)
        });
        let most = if blocked {
            f32::INFINITY
        } else {
            (f64::from(SPEED) * dt) as f32
        };
        for (shown, wanted) in self.shown.iter_mut().zip(&self.wanted) {
            *shown += (wanted - *shown).clamp(-most, most);
        }
        true
    }

    /// The cell that holds a place of line `line`.
    fn place(&self, line: usize, at: f32) -> Option<usize> {
        let region = self.region[line].as_ref()?;
        Some((at.max(0.0) as usize).clamp(region.start, region.end - 1))
    }

    /// What a line costs as a whole.
    fn total(&self, path: &[f32], cost: &impl Fn(usize, usize) -> f32) -> f32 {
        let mut total = 0.0;
        let mut last = None;
        for (i, at) in path.iter().enumerate() {
            let Some(at) = self.place(i, *at) else { continue };
            total += cost(i, at) + last.map_or(0.0, |l: usize| SIDEWAYS * l.abs_diff(at) as f32);
            last = Some(at);
        }
        total
    }

    /// The cheapest line; `None` when the two overlap nowhere.
    fn search(&self, cost: &impl Fn(usize, usize) -> f32) -> Option<Vec<f32>> {
        let rows: Vec<(usize, Range<usize>)> = self
            .region
            .iter()
            .enumerate()
            .filter_map(|(i, r)| Some((i, r.clone()?)))
            .collect();
        let (first, range) = rows.first()?.clone();
        let mut totals: Vec<f32> = range.clone().map(|at| cost(first, at)).collect();
        let mut before = range;
        let mut came: Vec<Vec<usize>> = Vec::with_capacity(rows.len());
        for (line, range) in &rows[1..] {
            let mut next = Vec::with_capacity(range.len());
            let mut from = Vec::with_capacity(range.len());
            for at in range.clone() {
                // The nearest place of the last line, when the overlap itself jumps further than the slope.
                let near = at.clamp(before.start, before.end - 1);
                let reach =
                    near.saturating_sub(MAX_SLOPE).max(before.start)..(near + MAX_SLOPE + 1).min(before.end);
                let mut least = (f32::INFINITY, near);
                for p in reach {
                    let total = totals[p - before.start] + SIDEWAYS * p.abs_diff(at) as f32;
                    if total < least.0 {
                        least = (total, p);
                    }
                }
                next.push(least.0 + cost(*line, at));
                from.push(least.1);
            }
            totals = next;
            before = range.clone();
            came.push(from);
        }
        let (mut at, _) = totals
            .iter()
            .enumerate()
            .map(|(i, t)| (i + before.start, *t))
            .min_by(|a, b| a.1.total_cmp(&b.1))?;
        // Back up the way it came; lines without overlap keep what they have.
        let mut path = self.wanted.clone();
        for i in (0..rows.len()).rev() {
            let (line, range) = &rows[i];
            path[*line] = at as f32 + 0.5;
            if i > 0 {
                at = came[i - 1][at - range.start];
            }
        }
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DT: f64 = 0.04;

    fn line() -> Line {
        Line::new(vec![Some(10..50); 40])
    }

    fn boxed(from: usize, to: usize) -> impl Fn(usize, usize) -> f32 {
        move |line, at| {
            if (10..30).contains(&line) && (from..to).contains(&at) {
                BOX
            } else {
                5.0
            }
        }
    }

    #[test]
    fn it_does_not_move_without_reason() {
        let mut line = line();
        for i in 0..250 {
            // Noise of a tenth of the cost, another each time.
            let noise =
                move |l: usize, at: usize| 5.0 + 0.5 * ((l * 7 + at * 13 + i * 29) % 11) as f32 / 11.0;
            line.step(noise, DT);
        }
        assert_eq!(line.moves, 0);
        assert_eq!(line.shown()[5], 30.0);
    }

    #[test]
    fn it_leaves_a_costly_place_after_a_while_and_smoothly() {
        let mut line = line();
        let mut largest = 0.0_f32;
        let mut first = None;
        for i in 0..50 {
            let before = line.shown()[20];
            line.step(|_, at| if (25..35).contains(&at) { 40.0 } else { 5.0 }, DT);
            let step = (line.shown()[20] - before).abs();
            largest = largest.max(step);
            if step > 0.0 && first.is_none() {
                first = Some(i);
            }
        }
        assert!(!(25.0..35.0).contains(&line.shown()[20]));
        assert!(
            largest <= SPEED * DT as f32 + 1e-3,
            "it moved {largest} cells in a picture"
        );
        assert!(
            (9..=11).contains(&first.unwrap()),
            "it moved after {first:?} pictures"
        );
        assert_eq!(line.moves, 1);
    }

    #[test]
    fn it_goes_around_a_mover_that_crosses_it_and_never_cuts_it() {
        let mut line = line();
        // A mover of 12 cells comes in from the left and walks through all of the overlap, a cell a picture.
        for i in 0..60 {
            line.step(boxed(i, i + 12), DT);
            assert_eq!(line.cut, 0, "cut in picture {i}");
        }
        assert!(line.moves <= 40, "{} moves", line.moves);
    }

    #[test]
    fn it_cuts_what_fills_the_whole_overlap_and_says_so() {
        let mut line = line();
        line.step(boxed(0, 60), DT);
        assert_eq!(line.cut, 20);
    }
}
