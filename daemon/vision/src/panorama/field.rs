//! Gain fields as the loops want them: along a row, per pixel.
//!
//! A camera's field gives the logarithm of a gain for each of R', G', B' (gamma coded, as they come: an exposure
//! multiplies light, and a power of light is multiplied by a power). In Y'CbCr this is a full matrix; of it are kept
//! the diagonal and what luma adds to chroma, which is all of it for greys. What is left out, chroma's share in luma
//! and of Cb in Cr, is below 0.4 of the difference of two channels' gains times the chroma.

use synoptic_base::GAIN_PITCH;

use super::rows::GAIN_BITS;
use super::rows::versions;
use super::warp::{LUMA_RUN, Simd};

/// Gains are kept within a factor of 2.5 (natural logarithm), well inside what 16 bits hold.
const MAX_LOG_GAIN: f32 = 0.916;
/// More fraction bits while stepping along a row.
const EXTRA_BITS: u32 = 10;

/// Cells of 16 pixels from node to node.
const CELLS_A_NODE: usize = GAIN_PITCH / LUMA_RUN;

/// [`Factors`] with `GAIN_BITS + EXTRA_BITS` fraction bits.
type Fixed = [i32; 5];

/// Of one node: gain of luma, Cb, Cr, and what luma adds to Cb and Cr.
pub(crate) type Factors = [f32; 5];

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
    nodes: Vec<Factors>,
}

impl Field {
    /// From `gains`, `across` nodes a row.
    pub(crate) fn new(gains: &[[f32; 3]], across: usize, kr_kb: (f32, f32)) -> Field {
        Field {
            across,
            nodes: gains.iter().map(|g| factors(*g, kr_kb)).collect(),
        }
    }

    /// Fixed point factors at the edges of `cells` cells of 16 pixels from cell `first` on, at canvas row `y`.
    fn edges(&self, first: usize, cells: usize, y: usize, out: &mut Vec<Fixed>) {
        let down = self.nodes.len() / self.across;
        let upper = (y / GAIN_PITCH).min(down.saturating_sub(2));
        let lower = (upper + 1).min(down - 1);
        let part = y as f32 / GAIN_PITCH as f32 - upper as f32;
        let scale = f32::from(1_i16 << GAIN_BITS) * (1 << EXTRA_BITS) as f32;
        let column = |c: usize| -> Factors {
            let c = c.min(self.across - 1);
            let (top, bottom) = (
                &self.nodes[upper * self.across + c],
                &self.nodes[lower * self.across + c],
            );
            std::array::from_fn(|k| (top[k] + (bottom[k] - top[k]) * part) * scale)
        };
        out.clear();
        let mut node = first / CELLS_A_NODE;
        let (mut left, mut right) = (column(node), column(node + 1));
        for cell in first..=first + cells {
            if cell / CELLS_A_NODE != node {
                node += 1;
                (left, right) = (right, column(node + 1));
            }
            let part = (cell % CELLS_A_NODE) as f32 / CELLS_A_NODE as f32;
            out.push(std::array::from_fn(|k| {
                (left[k] + (right[k] - left[k]) * part) as i32
            }));
        }
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
    edges: Vec<Fixed>,
}

impl GainRows {
    /// Fills the rows for `cells` cells of 16 pixels from cell `first` on, at canvas row `y`.
    pub(crate) fn fill(&mut self, simd: Simd, field: &Field, first: usize, cells: usize, y: usize) {
        for row in [&mut self.luma, &mut self.chroma, &mut self.tint] {
            row.resize(cells * LUMA_RUN, 0);
        }
        field.edges(first, cells, y, &mut self.edges);
        ramps(
            simd,
            &self.edges,
            [&mut self.luma, &mut self.chroma, &mut self.tint],
        );
    }
}

versions! {
    /// From edge to edge in each cell's 16 luma and 8 chroma samples.
    pub(crate) fn ramps(edges: &[[i32; 5]], rows: [&mut [i16]; 3]) {
        const LUMA: [i32; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        // Both samples of a pair at the pixel of their first luma sample.
        const PAIRS: [i32; 16] = [0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14];
        let [luma, chroma, tint] = rows.map(|r| r.as_chunks_mut::<16>().0);
        for (((edge, luma), chroma), tint) in edges.windows(2).zip(luma).zip(chroma).zip(tint) {
            let (left, right) = (&edge[0], &edge[1]);
            let steps: [i32; 5] = std::array::from_fn(|k| (right[k] - left[k]) >> 4);
            *luma = std::array::from_fn(|i| ((left[0] + steps[0] * LUMA[i]) >> EXTRA_BITS) as i16);
            *chroma = std::array::from_fn(|i| ((left[1 + (i & 1)] + steps[1 + (i & 1)] * PAIRS[i]) >> EXTRA_BITS) as i16);
            *tint = std::array::from_fn(|i| ((left[3 + (i & 1)] + steps[3 + (i & 1)] * PAIRS[i]) >> EXTRA_BITS) as i16);
        }
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
}
