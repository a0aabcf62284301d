//! The reference: sample by sample.

use super::super::mesh::Run;
use super::{CHROMA_RUN, LUMA_RUN, Source};

/// See [`super::sample`].
pub(super) fn sample(source: &Source<'_>, runs: &[Run], out: &mut [i16]) {
    for (run, out) in runs.iter().zip(out.chunks_exact_mut(LUMA_RUN)) {
        one(source, run, out);
    }
}

/// One run.
pub(super) fn one(source: &Source<'_>, run: &Run, out: &mut [i16]) {
    if source.pairs {
        for i in 0..CHROMA_RUN {
            let (first, fraction) = place(source, run, i);
            out[2 * i] = bilinear(source, first, fraction, 2);
            out[2 * i + 1] = bilinear(source, first + 1, fraction, 2);
        }
    } else {
        for (i, out) in out.iter_mut().enumerate() {
            let (first, fraction) = place(source, run, i);
            *out = bilinear(source, first, fraction, 1);
        }
    }
}

/// The byte of the upper left neighbour of sample `i`, and its distance from there in 1/128.
#[inline(always)]
fn place(source: &Source<'_>, run: &Run, i: usize) -> (usize, [i32; 2]) {
    let i = i as i32;
    let at = source.clamp([run.at[0] + run.step[0] * i, run.at[1] + run.step[1] * i]);
    let first = (at[1] >> 16) as usize * source.stride + (at[0] >> 16) as usize * source.step();
    (first, at.map(|v| (v >> 9) & 127))
}

#[inline(always)]
fn bilinear(source: &Source<'_>, first: usize, fraction: [i32; 2], step: usize) -> i16 {
    let [fx, fy] = fraction;
    let p = |at: usize| i32::from(source.data[at]) - 128;
    let row = |at: usize| p(at) * (128 - fx) + p(at + step) * fx;
    let weighed = |row: i32, weight: i32| (2 * row * (weight << 7) + (1 << 14)) >> 15;
    (weighed(row(first), 128 - fy) + weighed(row(first + source.stride), fy)) as i16
}
