//! Gains along a row in AVX2, the same bits as [`super::field`]'s plain loops.

use std::arch::x86_64::*;

use super::field::{CELLS_A_NODE, Column, EXTRA_BITS};

/// See [`super::field::GainRows::fill`]: `columns` begins at the node that cell `first` lies right of, counted from
/// there. All rows have 16 values a cell.
#[target_feature(enable = "avx2")]
pub(super) fn ramps(columns: &[Column], first: usize, [luma, chroma, tint]: [&mut [i16]; 3]) {
    let edge = |cell: usize| {
        let (node, part) = (
            cell / CELLS_A_NODE,
            (cell % CELLS_A_NODE) as f32 / CELLS_A_NODE as f32,
        );
        let of = |column: &Column| {
            // SAFETY: a column has eight values.
            unsafe { _mm256_loadu_ps(column.as_ptr()) }
        };
        let (left, right) = (of(&columns[node]), of(&columns[node + 1]));
        let way = _mm256_mul_ps(_mm256_sub_ps(right, left), _mm256_set1_ps(part));
        _mm256_cvttps_epi32(_mm256_add_ps(left, way))
    };
    // Packing takes four values of one and four of the other in turn; a pair's gains are those of its first pixel.
    let single = _mm256_setr_epi32(0, 1, 2, 3, 8, 9, 10, 11);
    let pairs = _mm256_setr_epi32(0, 0, 2, 2, 8, 8, 10, 10);
    let rows = luma.as_chunks_mut::<16>().0.iter_mut();
    let rows = rows
        .zip(chroma.as_chunks_mut::<16>().0)
        .zip(tint.as_chunks_mut::<16>().0);
    let mut left = edge(first);
    for (i, ((luma, chroma), tint)) in rows.enumerate() {
        let right = edge(first + i + 1);
        let steps = _mm256_srai_epi32::<4>(_mm256_sub_epi32(right, left));
        let ramp = |which: __m256i, index: __m256i, out: &mut [i16; 16]| {
            let step = _mm256_permutevar8x32_epi32(steps, which);
            let from = _mm256_permutevar8x32_epi32(left, which);
            let one = _mm256_add_epi32(from, _mm256_mullo_epi32(step, index));
            let two = _mm256_add_epi32(one, _mm256_slli_epi32::<2>(step));
            let whole = |v| _mm256_srai_epi32::<{ EXTRA_BITS as i32 }>(v);
            let packed = _mm256_packs_epi32(whole(one), whole(two));
            // SAFETY: `out` has 16 values.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), packed) }
        };
        ramp(_mm256_setzero_si256(), single, luma);
        ramp(_mm256_setr_epi32(1, 2, 1, 2, 1, 2, 1, 2), pairs, chroma);
        ramp(_mm256_setr_epi32(3, 4, 3, 4, 3, 4, 3, 4), pairs, tint);
        left = right;
    }
}
