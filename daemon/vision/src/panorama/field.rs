//! Gain fields as the loops want them: along a row, per pixel.
//!
//! A camera's field gives the logarithm of a gain for each of R', G', B' (gamma coded, as they come: an exposure
//! multiplies light, and a power of light is multiplied by a power). In Y'CbCr this is a full matrix; of it are kept
//! the diagonal and what luma adds to chroma, which is all of it for greys. What is left out, chroma's share in luma
//! and of Cb in Cr, is below 0.4 of the difference of two channels' gains times the chroma.

use synoptic_base::GAIN_PITCH;

use super::rows::GAIN_BITS;
use super::warp::{LUMA_RUN, Simd};

/// Gains are kept within a factor of 2.5 (natural logarithm), well inside what 16 bits hold.
const MAX_LOG_GAIN: f32 = 0.916;
/// More fraction bits while stepping along a row.
pub(super) const EXTRA_BITS: u32 = 10;

/// Cells of 16 pixels from node to node.
pub(super) const CELLS_A_NODE: usize = GAIN_PITCH / LUMA_RUN;

/// [`Factors`] with `GAIN_BITS + EXTRA_BITS` fraction bits.
type Fixed = [i32; 5];

/// Of one node: gain of luma, Cb, Cr, and what luma adds to Cb and Cr.
pub(crate) type Factors = [f32; 5];

/// [`Factors`] with `GAIN_BITS + EXTRA_BITS` fraction bits at a node's column on some row; as long as a vector.
pub(super) type Column = [f32; 8];

/// The factors of a gain of R', G', B' given as natural logarithms.
pub(crate) fn factors(log_rgb: [f32; 3], (kr, kb): (f32, f32)) -> Factors {
    let kg = 1.0 - kr - kb;
    let [r, g, b] = log_rgb.map(|v| v.clamp(-MAX_LOG_GAIN, MAX_LOG_GAIN).exp());
    let y = kr * r + kg * g + kb * b;
    // Limited range: 219 steps of luma stand for 224 of chroma.
    let steps = 224.0 / 219.0;
    [
        y,
        (1.0 - kb) * b + kb * g,
        (1.0 - kr) * r + kr * g,
        (b - y) / (2.0 * (1.0 - kb)) * steps,
        (r - y) / (2.0 * (1.0 - kr)) * steps,
    ]
}

/// A camera's field over the canvas.
#[derive(Clone, Debug, Default)]
pub(crate) struct Field {
    across: usize,
    nodes: Vec<Column>,
}

impl Field {
    /// From `gains`, `across` nodes a row.
    pub(crate) fn new(gains: &[[f32; 3]], across: usize, kr_kb: (f32, f32)) -> Field {
        let column = |gain: &[f32; 3]| {
            let mut column = [0.0; 8];
            column[..5].copy_from_slice(&factors(*gain, kr_kb));
            column
        };
        Field {
            across,
            nodes: gains.iter().map(column).collect(),
        }
    }

    /// The columns of `nodes` on canvas row `y`; beyond the last node it goes on.
    fn columns(&self, nodes: std::ops::Range<usize>, y: usize, out: &mut Vec<Column>) {
        let down = self.nodes.len() / self.across;
        let upper = (y / GAIN_PITCH).min(down.saturating_sub(2));
        let lower = (upper + 1).min(down - 1);
        let part = y as f32 / GAIN_PITCH as f32 - upper as f32;
        let scale = f32::from(1_i16 << GAIN_BITS) * (1 << EXTRA_BITS) as f32;
        let (top, bottom) = (
            &self.nodes[upper * self.across..],
            &self.nodes[lower * self.across..],
        );
        out.clear();
        out.extend(nodes.map(|c| {
            let c = c.min(self.across - 1);
            let (top, bottom) = (&top[c], &bottom[c]);
            std::array::from_fn(|k| (top[k] + (bottom[k] - top[k]) * part) * scale)
        }));
    }
}

/// The gains along a stretch of two luma rows and their chroma row.
#[derive(Default)]
pub(crate) struct GainRows {
    /// Of each luma sample.
    pub(crate) luma: Vec<i16>,
    /// Of each chroma sample, Cb and Cr in turn.
    pub(crate) chroma: Vec<i16>,
    /// What luma adds to each chroma sample, Cb and Cr in turn.
    pub(crate) tint: Vec<i16>,
    columns: Vec<Column>,
}

impl GainRows {
    /// Fills the rows for `cells` cells of 16 pixels from cell `first` on, at canvas row `y`.
    pub(crate) fn fill(&mut self, simd: Simd, field: &Field, first: usize, cells: usize, y: usize) {
        for row in [&mut self.luma, &mut self.chroma, &mut self.tint] {
            row.resize(cells * LUMA_RUN, 0);
        }
        let node = first / CELLS_A_NODE;
        field.columns(node..(first + cells) / CELLS_A_NODE + 2, y, &mut self.columns);
        let first = first % CELLS_A_NODE;
        let rows: [&mut [i16]; 3] = [&mut self.luma, &mut self.chroma, &mut self.tint];
        match simd {
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            // SAFETY: the compositor takes only versions that `Simd::available` found on this machine.
            Simd::Avx2 | Simd::Avx512 => unsafe { super::field_x86::ramps(&self.columns, first, rows) },
            _ => ramps(&self.columns, first, rows),
        }
    }
}

/// Fixed point factors at the left edge of a cell, counted from the first of `columns`.
fn edge(columns: &[Column], cell: usize) -> Fixed {
    let (node, part) = (
        cell / CELLS_A_NODE,
        (cell % CELLS_A_NODE) as f32 / CELLS_A_NODE as f32,
    );
    let (left, right) = (&columns[node], &columns[node + 1]);
    std::array::from_fn(|k| (left[k] + (right[k] - left[k]) * part) as i32)
}

/// From edge to edge in each cell's 16 luma and 8 chroma samples, from cell `first` of `columns` on.
fn ramps(columns: &[Column], first: usize, rows: [&mut [i16]; 3]) {
    const LUMA: [i32; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    // Both samples of a pair at the pixel of their first luma sample.
    const PAIRS: [i32; 16] = [0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14];
    let [luma, chroma, tint] = rows.map(|r| r.as_chunks_mut::<16>().0);
    let mut left = edge(columns, first);
    for (i, ((luma, chroma), tint)) in luma.iter_mut().zip(chroma).zip(tint).enumerate() {
        let right = edge(columns, first + i + 1);
        let steps: [i32; 5] = std::array::from_fn(|k| (right[k] - left[k]) >> 4);
        let at = |k: usize, i: i32| ((left[k] + steps[k] * i) >> EXTRA_BITS) as i16;
        *luma = std::array::from_fn(|i| at(0, LUMA[i]));
        *chroma = std::array::from_fn(|i| at(1 + (i & 1), PAIRS[i]));
        *tint = std::array::from_fn(|i| at(3 + (i & 1), PAIRS[i]));
        left = right;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gain_of_white_balance_turns_greys_exactly() {
        let kr_kb = (0.2126, 0.0722);
        let [y, _, _, cb, cr] = factors([0.8_f32.ln(), 0.9_f32.ln(), 1.1_f32.ln()], kr_kb);
        // A grey of luma 100 above black becomes R', G', B' of 80, 90, 110 of the same scale.
        let luma = 0.2126 * 80.0 + 0.7152 * 90.0 + 0.0722 * 110.0;
        assert!((y * 100.0 - luma).abs() < 1e-3);
        assert!((cb * 100.0 - (110.0 - luma) / 1.8556 * 224.0 / 219.0).abs() < 1e-3);
        assert!((cr * 100.0 - (80.0 - luma) / 1.5748 * 224.0 / 219.0).abs() < 1e-3);
        assert_eq!(factors([0.0; 3], kr_kb)[0], 1.0);
    }

    #[test]
    fn rows_follow_the_field_between_nodes() {
        // 3 x 2 nodes; luma gain rises across.
        let log = |v: f32| [v.ln(); 3];
        let nodes = [log(1.0), log(1.5), log(1.5), log(1.0), log(1.5), log(1.5)];
        let field = Field::new(&nodes, 3, (0.299, 0.114));
        for simd in Simd::available() {
            let mut rows = GainRows::default();
            rows.fill(simd, &field, 0, 8, 20);
            for x in 0..128 {
                let want = 1.0 + 0.5 * (x as f32 / 64.0).min(1.0);
                assert!(
                    (f32::from(rows.luma[x]) / 8192.0 - want).abs() < 5e-4,
                    "{simd:?} {x}"
                );
                assert!(
                    (f32::from(rows.chroma[x]) / 8192.0 - want).abs() < 9e-3,
                    "{simd:?} {x}"
                );
                assert!(rows.tint[x].abs() <= 1);
            }
        }
    }

    #[test]
    fn every_version_makes_the_same_rows() {
        // Gains from end to end of what is allowed, from node to node, 5 x 3 of them.
        let nodes: Vec<[f32; 3]> = (0..15)
            .map(|i| [0, 1, 2].map(|k| ((i * 37 + k * 11) % 19) as f32 / 9.0 - 1.0))
            .collect();
        let field = Field::new(&nodes, 5, (0.2126, 0.0722));
        for (first, cells, y) in [
            (0, 16, 0),
            (1, 6, 63),
            (3, 5, 64),
            (7, 9, 100),
            (15, 1, 126),
            (2, 14, 127),
        ] {
            let rows = |simd| {
                let mut rows = GainRows::default();
                rows.fill(simd, &field, first, cells, y);
                (rows.luma, rows.chroma, rows.tint)
            };
            let want = rows(Simd::Portable);
            for simd in Simd::available() {
                assert_eq!(rows(simd), want, "{simd:?} {first} {cells} {y}");
            }
        }
    }
}
