//! AVX-512: 32 values at a time out of windows of 64 bytes (VBMI's byte permutation).

use std::arch::x86_64::*;

use super::super::mesh::Run;
use super::{LUMA_RUN, MAX_ROWS, Source, portable};

/// Source rows that are fetched ahead.
const AHEAD: usize = 4;

/// Whether this machine can run [`sample`].
pub(super) fn supported() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vbmi")
}

/// See [`super::sample`].
pub(super) fn sample(source: &Source<'_>, runs: &[Run], out: &mut [i16]) {
    // SAFETY: `super::Simd::available` offers this version only where `supported` is true.
    unsafe {
        if source.pairs {
            all::<true>(source, runs, out);
        } else {
            all::<false>(source, runs, out);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
fn all<const PAIRS: bool>(source: &Source<'_>, runs: &[Run], out: &mut [i16]) {
    let (pairs, odd) = runs.as_chunks::<2>();
    let (outs, rest) = out.as_chunks_mut::<{ 2 * LUMA_RUN }>();
    for (two, out) in pairs.iter().zip(outs) {
        if !two_runs::<PAIRS>(source, two, out) {
            portable::sample(source, two, out);
        }
    }
    if let [last] = odd {
        let mut twice = [0; 2 * LUMA_RUN];
        if two_runs::<PAIRS>(source, &[*last; 2], &mut twice) {
            rest.copy_from_slice(&twice[..LUMA_RUN]);
        } else {
            portable::one(source, last, rest);
        }
    }
}

/// Two runs, 32 values; `false`, with nothing written, when they reach beyond a window.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
fn two_runs<const PAIRS: bool>(source: &Source<'_>, runs: &[Run; 2], out: &mut [i16; 32]) -> bool {
    // x, y and their steps, of both runs.
    // SAFETY: a `Run` is four i32 in a row.
    let both = unsafe { _mm256_loadu_si256(runs.as_ptr().cast()) };
    let last = _mm_setr_epi32(source.last[0], source.last[1], 0, 0);
    // The first and last place of each run; the upper two lanes are nothing.
    let ends = {
        let steps = _mm256_shuffle_epi32::<0b11_10_11_10>(both);
        let whole = if PAIRS {
            _mm256_slli_epi32::<3>(steps)
        } else {
            _mm256_slli_epi32::<4>(steps)
        };
        _mm256_add_epi32(both, _mm256_sub_epi32(whole, steps))
    };
    let low = _mm256_min_epi32(both, ends);
    let high = _mm256_max_epi32(both, ends);
    let low = _mm_min_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256::<1>(low));
    let high = _mm_max_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256::<1>(high));
    let beyond = _mm_or_si128(
        _mm_cmpgt_epi32(_mm_setzero_si128(), low),
        _mm_cmpgt_epi32(high, last),
    );
    let clamp = _mm_cvtsi128_si64(beyond) != 0;
    let keep = |v| _mm_max_epi32(_mm_setzero_si128(), _mm_min_epi32(v, last));
    let first = _mm_srai_epi32::<16>(keep(low));
    let span = _mm_cvtsi128_si64(_mm_sub_epi32(_mm_srai_epi32::<16>(keep(high)), first));
    let first = _mm_cvtsi128_si64(first);
    let (left, top) = (first as u32 as usize, (first >> 32) as usize);
    let (wide, tall) = (span as i32, (span >> 32) as i32);
    // The last neighbour lies at byte 63 of a window at most.
    let widest = if PAIRS { 30 } else { 62 };
    if wide > widest || tall > MAX_ROWS {
        return false;
    }
    let start = top * source.stride + left * source.step();
    let Some(windows) = source
        .data
        .get(start..start + (tall as usize + 1) * source.stride + 64)
    else {
        return false; // The last bytes of a plane.
    };
    let window = |row: usize| {
        let bytes: &[u8] = &windows[row * source.stride..][..64];
        // SAFETY: `bytes` has 64 bytes.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    };
    // The row that the next rows of the canvas will touch.
    let ahead = windows
        .as_ptr()
        .wrapping_add((tall as usize + AHEAD) * source.stride);
    #[allow(unused_unsafe)] // Older compilers want it.
    // SAFETY: a prefetch is a hint; it faults nowhere.
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
    }

    // Places in 1/128 from the corner of the window. Packing takes four values of one and four of the other in turn.
    let (index, other) = if PAIRS {
        (
            _mm512_setr_epi32(0, 0, 1, 1, 4, 4, 5, 5, 0, 0, 1, 1, 4, 4, 5, 5),
            1,
        )
    } else {
        (
            _mm512_setr_epi32(0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11),
            2,
        )
    };
    let lanes = _mm512_castsi256_si512(both);
    let second = _mm512_set_epi32(4, 4, 4, 4, 4, 4, 4, 4, 0, 0, 0, 0, 0, 0, 0, 0);
    let places = |k: i32, corner: usize| {
        let corner = (corner << 16) as i32;
        let of_run = |i: i32| _mm512_permutexvar_epi32(_mm512_add_epi32(second, _mm512_set1_epi32(i)), lanes);
        let step = of_run(k + 2);
        let at = _mm512_add_epi32(of_run(k), _mm512_mullo_epi32(step, index));
        let four = _mm512_sllv_epi32(step, _mm512_set1_epi32(other));
        let (mut one, mut two) = (at, _mm512_add_epi32(at, four));
        if clamp {
            let keep = |v| {
                let last = _mm512_set1_epi32(source.last[k as usize]);
                _mm512_max_epi32(_mm512_setzero_si512(), _mm512_min_epi32(v, last))
            };
            (one, two) = (keep(one), keep(two));
        }
        let from_corner = |v| _mm512_srai_epi32::<9>(_mm512_sub_epi32(v, _mm512_set1_epi32(corner)));
        _mm512_packs_epi32(from_corner(one), from_corner(two))
    };
    let (x, y) = (places(0, left), places(1, top));
    // The whole part of a place in 1/128 lies in the high byte of its double: here in both bytes.
    let twice = _mm512_set4_epi32(0x0f0f_0d0d, 0x0b0b_0909, 0x0707_0505, 0x0303_0101);
    // Bytes of the two neighbours, and their weights.
    let near = if PAIRS {
        let whole = _mm512_slli_epi16::<2>(_mm512_and_si512(x, _mm512_set1_epi16(!127)));
        _mm512_add_epi16(_mm512_shuffle_epi8(whole, twice), _mm512_set1_epi32(0x0301_0200))
    } else {
        let whole = _mm512_shuffle_epi8(_mm512_slli_epi16::<1>(x), twice);
        _mm512_add_epi16(whole, _mm512_set1_epi16(0x0100))
    };
    let part = _mm512_and_si512(x, _mm512_set1_epi16(127));
    let weights = _mm512_add_epi16(
        _mm512_mullo_epi16(part, _mm512_set1_epi16(255)),
        _mm512_set1_epi16(128),
    );
    // The neighbours above and below each place.
    let (above, below) = match tall {
        0 => {
            let of = |row| _mm512_permutexvar_epi8(near, window(row));
            (of(0), of(1))
        }
        1 => {
            // Bit 6 chooses between two rows.
            let row = _mm512_and_si512(y, _mm512_set1_epi16(128));
            let row = _mm512_or_si512(_mm512_srli_epi16::<1>(row), _mm512_slli_epi16::<7>(row));
            let near = _mm512_or_si512(near, row);
            let middle = window(1);
            let of = |a, b| _mm512_permutex2var_epi8(a, near, b);
            (of(window(0), middle), of(middle, window(2)))
        }
        _ => {
            let row_of = _mm512_shuffle_epi8(_mm512_slli_epi16::<1>(y), twice);
            let (mut above, mut below) = (_mm512_setzero_si512(), _mm512_setzero_si512());
            let mut here = 0;
            for row in 0..=tall as usize + 1 {
                let bytes = window(row);
                below = _mm512_mask_permutexvar_epi8(below, here, near, bytes);
                here = _mm512_cmpeq_epi8_mask(row_of, _mm512_set1_epi8(row as i8));
                above = _mm512_mask_permutexvar_epi8(above, here, near, bytes);
            }
            (above, below)
        }
    };
    let fine = _mm512_slli_epi16::<7>(_mm512_and_si512(y, _mm512_set1_epi16(127)));
    let along = |bytes, weight| {
        let signed = _mm512_xor_si512(bytes, _mm512_set1_epi8(-128));
        let row = _mm512_slli_epi16::<1>(_mm512_maddubs_epi16(weights, signed));
        _mm512_mulhrs_epi16(row, weight)
    };
    let sum = _mm512_add_epi16(
        along(above, _mm512_sub_epi16(_mm512_set1_epi16(1 << 14), fine)),
        along(below, fine),
    );
    // SAFETY: `out` has 32 values.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sum) };
    true
}
