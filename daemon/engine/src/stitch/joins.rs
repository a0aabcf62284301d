//! A tree of joins: which groups of cameras meet, and which way their seam runs.

use synoptic_base::{Cover, StitchLayout};

/// Two groups of cameras that meet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Join {
    /// Cameras left of or above the seam.
    pub(super) before: Vec<usize>,
    /// Cameras right of or below it.
    pub(super) after: Vec<usize>,
    /// Whether the seam runs down the canvas, one place a row of cells; else across it, one place a column.
    pub(super) runs_down: bool,
}

impl Join {
    /// Lines of cells that the seam crosses, and cells of each, on a canvas of these columns and rows.
    pub(super) fn lines(&self, layout: &StitchLayout) -> (usize, usize) {
        if self.runs_down {
            (layout.rows, layout.columns)
        } else {
            (layout.columns, layout.rows)
        }
    }

    /// The cell at place `at` of line `line`.
    pub(super) fn cell(&self, layout: &StitchLayout, line: usize, at: usize) -> usize {
        if self.runs_down {
            line * layout.columns + at
        } else {
            at * layout.columns + line
        }
    }
}

struct Group {
    cameras: Vec<usize>,
    covered: Vec<bool>,
}

impl Group {
    /// The middle of what is covered, in cells.
    fn middle(&self, columns: usize) -> (f64, f64) {
        let (mut x, mut y, mut n) = (0.0, 0.0, 0.0);
        for i in (0..self.covered.len()).filter(|&i| self.covered[i]) {
            x += (i % columns) as f64;
            y += (i / columns) as f64;
            n += 1.0;
        }
        (x / f64::max(n, 1.0), y / f64::max(n, 1.0))
    }
}

/// Joins of all cameras, leaves first: small groups before large ones, and of those the pair that shares most. So a
/// row of cameras becomes a chain, and two rows are joined within themselves before they are joined to each other.
pub(super) fn joins(layout: &StitchLayout) -> Vec<Join> {
    let mut groups: Vec<Group> = layout
        .cover
        .iter()
        .enumerate()
        .map(|(k, cover)| Group {
            cameras: vec![k],
            covered: cover.iter().map(|c| *c >= Cover::Whole).collect(),
        })
        .collect();
    let mut joins = Vec::new();
    while groups.len() > 1 {
        let mut best: Option<((bool, usize, usize), usize, usize)> = None;
        for a in 0..groups.len() {
            for b in a + 1..groups.len() {
                let (one, two) = (&groups[a], &groups[b]);
                let shared = one
                    .covered
                    .iter()
                    .zip(&two.covered)
                    .filter(|(x, y)| **x && **y)
                    .count();
                let members = one.cameras.len() + two.cameras.len();
                let key = (shared == 0, members, usize::MAX - shared);
                if best.is_none_or(|(k, _, _)| key < k) {
                    best = Some((key, a, b));
                }
            }
        }
        let Some((_, a, b)) = best else { break };
        let two = groups.remove(b);
        let one = groups.remove(a);
        let (m, n) = (one.middle(layout.columns), two.middle(layout.columns));
        let (dx, dy) = (n.0 - m.0, n.1 - m.1);
        let runs_down = dx.abs() >= dy.abs();
        let forward = if runs_down { dx >= 0.0 } else { dy >= 0.0 };
        let (before, after) = if forward { (&one, &two) } else { (&two, &one) };
        joins.push(Join {
            before: before.cameras.clone(),
            after: after.cameras.clone(),
            runs_down,
        });
        groups.push(Group {
            cameras: before.cameras.iter().chain(&after.cameras).copied().collect(),
            covered: one
                .covered
                .iter()
                .zip(&two.covered)
                .map(|(x, y)| *x || *y)
                .collect(),
        });
    }
    joins
}

#[cfg(test)]
pub(super) mod tests {
    use synoptic_base::Size;

    use super::*;

    /// A layout of cameras that cover rectangles of cells: left, top, right, bottom.
    pub(in crate::stitch) fn layout(columns: usize, rows: usize, cameras: &[[usize; 4]]) -> StitchLayout {
        let cover = cameras.iter().map(|[left, top, right, bottom]| {
            (0..columns * rows)
                .map(|i| {
                    let (c, r) = (i % columns, i / columns);
                    let inside = |margin: usize| {
                        // The canvas's own edge is no edge of a picture.
                        let low = |edge: usize| if edge == 0 { 0 } else { edge + margin };
                        let high = |edge: usize, n: usize| if edge == n { n } else { edge - margin };
                        (low(*left)..high(*right, columns)).contains(&c)
                            && (low(*top)..high(*bottom, rows)).contains(&r)
                    };
                    match (inside(1), inside(0)) {
                        (true, _) => Cover::Inner,
                        (_, true) => Cover::Whole,
                        _ => Cover::None,
                    }
                })
                .collect()
        });
        StitchLayout {
            size: Size::new(columns as u32 * 8, rows as u32 * 8),
            columns,
            rows,
            cover: cover.collect(),
            kr_kb: (0.2126, 0.0722),
        }
    }

    #[test]
    fn a_row_becomes_a_chain_whatever_the_order_of_its_cameras() {
        let layout = layout(100, 20, &[[60, 0, 100, 20], [0, 0, 40, 20], [30, 0, 70, 20]]);
        let joins = joins(&layout);
        assert_eq!((&joins[0].before[..], &joins[0].after[..]), (&[2][..], &[0][..]));
        assert_eq!(
            (&joins[1].before[..], &joins[1].after[..]),
            (&[1][..], &[2, 0][..])
        );
        assert!(joins.iter().all(|j| j.runs_down));
    }

    #[test]
    fn two_rows_are_joined_within_before_between() {
        let corners = [[0, 0, 40, 30], [30, 0, 70, 30], [0, 24, 40, 50], [30, 24, 70, 50]];
        let joins = joins(&layout(70, 50, &corners));
        assert_eq!(joins.len(), 3);
        assert!(joins[0].runs_down == joins[1].runs_down && joins[2].runs_down != joins[0].runs_down);
        assert_eq!(joins[2].before.len() + joins[2].after.len(), 4);
    }
}
