//! Which camera shows a pixel, and how much: a plan's weights, cell by cell and along rows.

use std::ops::Range;

use synoptic_base::STITCH_CELL;

use super::warp::LUMA_RUN;

/// A weight of 255 in the 1/32768 of the loops.
const UNIT: f32 = 32767.0 / 255.0;

/// What a camera does in a cell of 16 x 8 pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// Nothing.
    Off,
    /// It is mixed with others.
    Mixed,
    /// It alone is shown.
    Full,
}

/// The shares of all cameras.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shares {
    /// Cells of 16 pixels across.
    columns: usize,
    /// Small cells across and down.
    small: (usize, usize),
    cells: Vec<Vec<Share>>,
    mixed: Vec<bool>,
}

impl Shares {
    /// From weights on a grid of `small` cells, for a canvas `columns` cells of 16 pixels wide.
    pub(crate) fn new(weights: &[Vec<u8>], small: (usize, usize), columns: usize) -> Shares {
        let (across, down) = small;
        // Least and greatest of three small rows first, then of four small columns.
        let mut cells = Vec::new();
        let mut mixed = vec![false; columns * down];
        let (mut low, mut high) = (vec![0_u8; across], vec![0_u8; across]);
        for weights in weights {
            let mut shares = vec![Share::Off; columns * down];
            for r in 0..down {
                let row = |r: usize| &weights[r * across..][..across];
                let (above, here, below) = (row(r.saturating_sub(1)), row(r), row((r + 1).min(down - 1)));
                for i in 0..across {
                    low[i] = above[i].min(here[i]).min(below[i]);
                    high[i] = above[i].max(here[i]).max(below[i]);
                }
                for c in 0..columns {
                    let from = (2 * c).saturating_sub(1);
                    let to = (2 * c + 3).min(across);
                    let least = low[from..to].iter().min().copied().unwrap_or(0);
                    let most = high[from..to].iter().max().copied().unwrap_or(0);
                    shares[r * columns + c] = match (least, most) {
                        (_, 0) => Share::Off,
                        (255, _) => Share::Full,
                        _ => {
                            mixed[r * columns + c] = true;
                            Share::Mixed
                        }
                    };
                }
            }
            cells.push(shares);
        }
        Shares {
            columns,
            small,
            cells,
            mixed,
        }
    }

    /// The stretches of cells on small row `r` where camera `k` is shown.
    pub(crate) fn shown(&self, k: usize, r: usize) -> impl Iterator<Item = Range<usize>> + '_ {
        stretches(&self.cells[k][r * self.columns..][..self.columns], |s| {
            *s != Share::Off
        })
    }

    /// The stretches of cells within `within` on small row `r` where camera `k` has the share `share`.
    pub(crate) fn having(
        &self,
        k: usize,
        r: usize,
        within: &Range<usize>,
        share: Share,
    ) -> impl Iterator<Item = Range<usize>> + '_ {
        let from = within.start;
        stretches(&self.cells[k][r * self.columns..][within.clone()], move |s| {
            *s == share
        })
        .map(move |s| s.start + from..s.end + from)
    }

    /// The stretches of cells on small row `r` where cameras are mixed.
    pub(crate) fn mixed(&self, r: usize) -> impl Iterator<Item = Range<usize>> + '_ {
        stretches(&self.mixed[r * self.columns..][..self.columns], |m| *m)
    }

    /// The stretches of cells on small row `r` that none of `cameras` shows.
    pub(crate) fn dark(&self, r: usize, cameras: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
        let mut dark = vec![true; self.columns];
        for k in cameras {
            for (dark, share) in dark.iter_mut().zip(&self.cells[k][r * self.columns..]) {
                *dark &= *share == Share::Off;
            }
        }
        stretches(&dark, |d| *d).collect()
    }

    /// Weights of the pixels of `cells` on canvas row `y`, in 1/32768, into `out`.
    pub(crate) fn row(&self, weights: &[u8], cells: &Range<usize>, y: usize, out: &mut Vec<i16>) {
        let (across, down) = self.small;
        let half = STITCH_CELL as f32 / 2.0;
        let place = ((y as f32 + 0.5 - half) / STITCH_CELL as f32).max(0.0);
        let upper = (place as usize).min(down - 1);
        let lower = (upper + 1).min(down - 1);
        let part = place - upper as f32;
        let column = |c: isize| {
            let c = c.clamp(0, across as isize - 1) as usize;
            let (a, b) = (
                f32::from(weights[upper * across + c]),
                f32::from(weights[lower * across + c]),
            );
            (a + (b - a) * part) * UNIT
        };
        out.clear();
        for c in cells.clone() {
            let first = 2 * c as isize - 1;
            let near: [f32; 4] = std::array::from_fn(|i| column(first + i as isize));
            if near.iter().all(|v| *v == near[0]) {
                out.extend([(near[0] + 0.5) as i16; LUMA_RUN]);
                continue;
            }
            // Middles of small cells lie at 3.5 and 11.5; the one before at -4.5.
            const LEFT: [usize; LUMA_RUN] = [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2];
            out.extend::<[i16; LUMA_RUN]>(std::array::from_fn(|i| {
                let (left, at) = (LEFT[i], (i as f32 + 4.5) / STITCH_CELL as f32);
                (near[left] + (near[left + 1] - near[left]) * (at - left as f32) + 0.5) as i16
            }));
        }
    }
}

/// The stretches of `row` where `holds`.
fn stretches<'a, T>(
    row: &'a [T],
    holds: impl Fn(&T) -> bool + 'a,
) -> impl Iterator<Item = Range<usize>> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + row[from..].iter().position(&holds)?;
        let end = row[start..]
            .iter()
            .position(|v| !holds(v))
            .map_or(row.len(), |n| start + n);
        from = end;
        Some(start..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::single_range_in_vec_init)] // Lists of one range are meant.
    fn a_step_of_weights_is_a_ramp_between_two_full_stretches() {
        // Eight small cells: four of one camera, four of the other, on two rows.
        let one: Vec<u8> = [255, 255, 255, 255, 0, 0, 0, 0].repeat(2);
        let other: Vec<u8> = one.iter().map(|w| 255 - w).collect();
        let weights = [one, other];
        let shares = Shares::new(&weights, (8, 2), 4);
        assert_eq!(shares.shown(0, 0).collect::<Vec<_>>(), [0..3]);
        assert_eq!(shares.shown(1, 1).collect::<Vec<_>>(), [1..4]);
        assert_eq!(
            shares.having(0, 0, &(0..3), Share::Full).collect::<Vec<_>>(),
            [0..1]
        );
        assert_eq!(shares.mixed(0).collect::<Vec<_>>(), [1..3]);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        shares.row(&weights[0], &(0..4), 3, &mut a);
        shares.row(&weights[1], &(0..4), 3, &mut b);
        assert_eq!((a[0], a[27], a[36], a[63]), (32767, 32767, 0, 0));
        assert!(a.windows(2).all(|w| w[1] <= w[0]));
        assert!(
            a.iter()
                .zip(&b)
                .all(|(a, b)| (32766..=32768).contains(&(i32::from(*a) + i32::from(*b))))
        );
    }
}
