//! Gaussian and Laplacian pyramids of 16-bit planes (Burt and Adelson, 1983: the kernel 1 4 6 4 1).

use super::rows::versions;
use super::warp::Simd;

/// A plane of interleaved channels.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plane {
    /// Samples across, of each channel.
    pub(crate) width: usize,
    /// Rows.
    pub(crate) height: usize,
    /// Channels, side by side.
    pub(crate) channels: usize,
    /// Row by row.
    pub(crate) data: Vec<i16>,
}

impl Plane {
    /// Makes room for such a plane; what it holds is undefined.
    pub(crate) fn resize(&mut self, width: usize, height: usize, channels: usize) {
        (self.width, self.height, self.channels) = (width, height, channels);
        self.data.resize(width * height * channels, 0);
    }

    /// Row `y`.
    pub(crate) fn row(&self, y: usize) -> &[i16] {
        let n = self.width * self.channels;
        &self.data[y * n..][..n]
    }

    /// Row `y`.
    pub(crate) fn row_mut(&mut self, y: usize) -> &mut [i16] {
        let n = self.width * self.channels;
        &mut self.data[y * n..][..n]
    }

    /// Half of `self` each way, into `half`. `wide` is scratch.
    pub(crate) fn reduce(&self, simd: Simd, half: &mut Plane, wide: &mut Vec<i16>) {
        let c = self.channels;
        half.resize(self.width.div_ceil(2), self.height.div_ceil(2), c);
        // Two samples of each edge go on, so that the horizontal pass has no edge.
        let edge = 2 * c;
        wide.resize(self.width * c + 2 * edge + c, 0);
        for y in 0..half.height {
            let row = |d: isize| self.row((2 * y as isize + d).clamp(0, self.height as isize - 1) as usize);
            let n = self.width * c;
            weigh_rows(
                simd,
                [row(-2), row(-1), row(0), row(1), row(2)],
                &mut wide[edge..edge + n],
            );
            for i in 0..edge {
                wide[i] = wide[edge + i % c];
            }
            for i in 0..edge + c {
                wide[edge + n + i] = wide[edge + n - c + i % c];
            }
            match c {
                1 => halve::<1>(simd, wide, half.row_mut(y)),
                _ => halve::<2>(simd, wide, half.row_mut(y)),
            }
        }
    }

    /// Adds `sign` times the doubled `half` to `self`. `wide` and `row` are scratch.
    pub(crate) fn add_expanded(
        &mut self,
        simd: Simd,
        half: &Plane,
        sign: i16,
        wide: &mut Vec<i16>,
        row: &mut Vec<i16>,
    ) {
        let c = self.channels;
        let n = half.width * c;
        wide.resize(n + 2 * c, 0);
        row.resize(4 * n.div_ceil(2), 0);
        for y in 0..self.height {
            let at = |d: isize| half.row(((y / 2) as isize + d).clamp(0, half.height as isize - 1) as usize);
            if y % 2 == 0 {
                between_three(simd, [at(-1), at(0), at(1)], &mut wide[c..c + n]);
            } else {
                between_two(simd, [at(0), at(1)], &mut wide[c..c + n]);
            }
            for i in 0..c {
                wide[i] = wide[c + i];
                wide[c + n + i] = wide[n + i];
            }
            match c {
                1 => double::<1>(simd, wide, row),
                _ => double::<2>(simd, wide, row),
            }
            add(simd, row, sign, self.row_mut(y));
        }
    }
}

versions! {
    /// (1 4 6 4 1) / 16 of five rows.
    pub(crate) fn weigh_rows(rows: [&[i16]; 5], out: &mut [i16]) {
        let [a, b, c, d, e] = rows.map(|r| &r[..out.len()]);
        for i in 0..out.len() {
            let [a, b, c, d, e] = [a[i], b[i], c[i], d[i], e[i]].map(i32::from);
            out[i] = ((a + e + 4 * (b + d) + 6 * c + 8) >> 4) as i16;
        }
    }
}

versions! {
    /// (1 6 1) / 8 of three rows.
    pub(crate) fn between_three(rows: [&[i16]; 3], out: &mut [i16]) {
        let [a, b, c] = rows.map(|r| &r[..out.len()]);
        for i in 0..out.len() {
            let [a, b, c] = [a[i], b[i], c[i]].map(i32::from);
            out[i] = ((a + c + 6 * b + 4) >> 3) as i16;
        }
    }
}

versions! {
    /// The mean of two rows.
    pub(crate) fn between_two(rows: [&[i16]; 2], out: &mut [i16]) {
        let [a, b] = rows.map(|r| &r[..out.len()]);
        for i in 0..out.len() {
            out[i] = ((i32::from(a[i]) + i32::from(b[i]) + 1) >> 1) as i16;
        }
    }
}

versions! {
    /// Adds `sign` times `row` to `out`.
    pub(crate) fn add(row: &[i16], sign: i16, out: &mut [i16]) {
        for (r, o) in row.iter().zip(out) {
            *o = o.saturating_add(*r * sign);
        }
    }
}

/// Every other sample of `wide` (which begins two samples early), weighed by (1 4 6 4 1) / 16.
fn halve<const C: usize>(simd: Simd, wide: &[i16], out: &mut [i16]) {
    match C {
        1 => halve_one(simd, wide, out),
        _ => halve_two(simd, wide, out),
    }
}

versions! {
    /// One channel.
    pub(crate) fn halve_one(wide: &[i16], out: &mut [i16]) {
        for (o, w) in out.iter_mut().zip(wide.windows(5).step_by(2)) {
            let [a, b, c, d, e] = [w[0], w[1], w[2], w[3], w[4]].map(i32::from);
            *o = ((a + e + 4 * (b + d) + 6 * c + 8) >> 4) as i16;
        }
    }
}

versions! {
    /// Two channels.
    pub(crate) fn halve_two(wide: &[i16], out: &mut [i16]) {
        for (o, w) in out.chunks_exact_mut(2).zip(wide.windows(10).step_by(4)) {
            for k in 0..2 {
                let [a, b, c, d, e] = [w[k], w[k + 2], w[k + 4], w[k + 6], w[k + 8]].map(i32::from);
                o[k] = ((a + e + 4 * (b + d) + 6 * c + 8) >> 4) as i16;
            }
        }
    }
}

/// Twice as many samples as `wide` has between its two edges.
fn double<const C: usize>(simd: Simd, wide: &[i16], out: &mut [i16]) {
    match C {
        1 => double_one(simd, wide, out),
        _ => double_two(simd, wide, out),
    }
}

versions! {
    /// One channel.
    pub(crate) fn double_one(wide: &[i16], out: &mut [i16]) {
        for (o, w) in out.chunks_exact_mut(2).zip(wide.windows(3)) {
            let [a, b, c] = [w[0], w[1], w[2]].map(i32::from);
            o[0] = ((a + c + 6 * b + 4) >> 3) as i16;
            o[1] = ((b + c + 1) >> 1) as i16;
        }
    }
}

versions! {
    /// Two channels.
    pub(crate) fn double_two(wide: &[i16], out: &mut [i16]) {
        for (o, w) in out.chunks_exact_mut(4).zip(wide.windows(6).step_by(2)) {
            for k in 0..2 {
                let [a, b, c] = [w[k], w[k + 2], w[k + 4]].map(i32::from);
                o[k] = ((a + c + 6 * b + 4) >> 3) as i16;
                o[k + 2] = ((b + c + 1) >> 1) as i16;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_apart_and_put_together_a_plane_is_itself() {
        for simd in Simd::available() {
            for channels in [1, 2] {
                let mut plane = Plane::default();
                plane.resize(37, 21, channels);
                for (i, v) in plane.data.iter_mut().enumerate() {
                    *v = (i * 7919 % 8000) as i16 - 200;
                }
                let (mut half, mut wide, mut row) = (Plane::default(), Vec::new(), Vec::new());
                let whole = plane.clone();
                plane.reduce(simd, &mut half, &mut wide);
                assert_eq!((half.width, half.height), (19, 11));
                plane.add_expanded(simd, &half, -1, &mut wide, &mut row);
                assert!(plane != whole);
                plane.add_expanded(simd, &half, 1, &mut wide, &mut row);
                assert!(plane == whole, "{simd:?} {channels}");
            }
        }
    }

    #[test]
    fn a_flat_plane_stays_flat() {
        let mut plane = Plane::default();
        plane.resize(16, 16, 2);
        plane
            .data
            .chunks_exact_mut(2)
            .for_each(|p| p.copy_from_slice(&[3000, -500]));
        let (mut half, mut wide, mut row) = (Plane::default(), Vec::new(), Vec::new());
        plane.reduce(Simd::Portable, &mut half, &mut wide);
        assert!(half.data.chunks_exact(2).all(|p| p == [3000, -500]));
        plane.add_expanded(Simd::Portable, &half, -1, &mut wide, &mut row);
        assert!(plane.data.iter().all(|v| *v == 0));
    }
}
