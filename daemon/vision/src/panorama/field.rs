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

    /// At a canvas pixel.
    pub(crate) fn at(&self, x: f32, y: f32) -> Factors {
        let down = self.nodes.len() / self.across;
        let place = |v: f32, n: usize| {
            let v = (v / GAIN_PITCH as f32).clamp(0.0, (n - 1) as f32);
            let first = (v as usize).min(n.saturating_sub(2));
            (first, v - first as f32)
        };
        let ((c, u), (r, v)) = (place(x, self.across), place(y, down));
        let n = |c: usize, r: usize| &self.nodes[r.min(down - 1) * self.across + c.min(self.across - 1)];
        let (a, b, d, e) = (n(c, r), n(c + 1, r), n(c, r + 1), n(c + 1, r + 1));
        std::array::from_fn(|k| {
            let (top, bottom) = (a[k] + (b[k] - a[k]) * u, d[k] + (e[k] - d[k]) * u);
            top + (bottom - top) * v
        })
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
}

impl GainRows {
    /// Fills the rows for `cells` cells of 16 pixels from cell `first` on, at canvas row `y`.
    pub(crate) fn fill(&mut self, simd: Simd, field: &Field, first: usize, cells: usize, y: usize) {
        for row in [&mut self.luma, &mut self.chroma, &mut self.tint] {
            row.resize(cells * LUMA_RUN, 0);
        }
        let scale = f32::from(1_i16 << GAIN_BITS) * (1 << EXTRA_BITS) as f32;
        let fixed = |c: usize| {
            field
                .at((c * LUMA_RUN) as f32, y as f32)
                .map(|v| (v * scale) as i32)
        };
        let mut left = fixed(first);
        for i in 0..cells {
            let right = fixed(first + i + 1);
            let at = i * LUMA_RUN;
            let rows = [&mut self.luma, &mut self.chroma, &mut self.tint].map(|r| &mut r[at..at + LUMA_RUN]);
            ramps(simd, &left, &right, rows);
            left = right;
        }
    }
}

versions! {
    /// From `left` to `right` in a cell's 16 luma and 8 chroma samples.
    pub(crate) fn ramps(left: &[i32; 5], right: &[i32; 5], rows: [&mut [i16]; 3]) {
        let [luma, chroma, tint] = rows;
        let step = (right[0] - left[0]) >> 4;
        for (i, o) in luma.iter_mut().enumerate() {
            *o = ((left[0] + step * i as i32) >> EXTRA_BITS) as i16;
        }
        for (row, k) in [(chroma, 1), (tint, 3)] {
            let steps = [(right[k] - left[k]) >> 4, (right[k + 1] - left[k + 1]) >> 4];
            for (i, o) in row.iter_mut().enumerate() {
                // Both samples of a pair at the pixel of their first luma sample.
                let (which, at) = (i & 1, (i & !1) as i32);
                *o = ((left[k + which] + steps[which] * at) >> EXTRA_BITS) as i16;
            }
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
