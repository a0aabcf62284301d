//! AVX-512: 32 values at a time out of windows of 64 bytes (VBMI's byte permutation).

use std::arch::x86_64::*;

use super::super::mesh::Run;
use super::{LUMA_RUN, Source, portable};

/// Rows of a window at most; steeper runs go sample by sample.
const MAX_ROWS: i32 = 40;

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
    let mut outs = out.chunks_exact_mut(2 * LUMA_RUN);
    for (pair, out) in runs.chunks_exact(2).zip(&mut outs) {
        let two = [pair[0], pair[1]];
        // SAFETY: `super::Simd::available` offers this version only where `supported` is true.
        let done = unsafe {
            if source.pairs {
                two_runs::<true>(source, &two, out)
            } else {
                two_runs::<false>(source, &two, out)
            }
        };
        if !done {
            portable::sample(source, &two, out);
        }
    }
    if let [.., last] = runs
        && runs.len() % 2 == 1
    {
        portable::one(source, last, outs.into_remainder());
    }
}

/// Two runs, 32 values; `false`, with nothing written, when they reach beyond a window.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
fn two_runs<const PAIRS: bool>(source: &Source<'_>, runs: &[Run; 2], out: &mut [i16]) -> bool {
    let each = if PAIRS { 8 } else { 16 };
    let (low, high) = source.bounds(runs, each);
    // The last neighbour lies at byte 63 of a window at most.
    let widest = if PAIRS { 30 } else { 62 };
    if high[0] - low[0] > widest || high[1] - low[1] > MAX_ROWS || out.len() != 32 {
        return false;
    }
    let lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let index = if PAIRS { _mm512_srli_epi32::<1>(lane) } else { lane };
    // Places in 1/128 from the corner of the window.
    let places = |k: usize| {
        let one = |run: &Run| {
            let at = _mm512_add_epi32(
                _mm512_set1_epi32(run.at[k]),
                _mm512_mullo_epi32(_mm512_set1_epi32(run.step[k]), index),
            );
            let at = _mm512_max_epi32(
                _mm512_setzero_si512(),
                _mm512_min_epi32(at, _mm512_set1_epi32(source.last[k])),
            );
            let at = _mm512_sub_epi32(_mm512_srai_epi32::<9>(at), _mm512_set1_epi32(low[k] << 7));
            _mm512_cvtepi32_epi16(at)
        };
        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(one(&runs[0])), one(&runs[1]))
    };
    let (x, y) = (places(0), places(1));
    let whole = _mm512_srli_epi16::<7>(x);
    let part = _mm512_and_si512(x, _mm512_set1_epi16(127));
    // Bytes of the two neighbours, and their weights.
    let shuffle = if PAIRS {
        let first = _mm512_add_epi16(_mm512_slli_epi16::<1>(whole), _mm512_set1_epi32(1 << 16));
        let second = _mm512_add_epi16(first, _mm512_set1_epi16(2));
        _mm512_or_si512(first, _mm512_slli_epi16::<8>(second))
    } else {
        let second = _mm512_add_epi16(whole, _mm512_set1_epi16(1));
        _mm512_or_si512(whole, _mm512_slli_epi16::<8>(second))
    };
    let weights = _mm512_or_si512(
        _mm512_sub_epi16(_mm512_set1_epi16(128), part),
        _mm512_slli_epi16::<8>(part),
    );
    let mut sum = _mm512_setzero_si512();
    let mut distance = y;
    let mut first = low[1] as usize * source.stride + low[0] as usize * source.step();
    for _ in 0..=high[1] - low[1] + 1 {
        let Some(window) = source.data.get(first..) else {
            return false;
        };
        let mask = if window.len() >= 64 {
            u64::MAX
        } else {
            (1 << window.len()) - 1
        };
        // The rows that the next rows of the canvas will touch: a sixth of the processor time of a frame.
        let ahead = window.as_ptr().wrapping_add(AHEAD * source.stride);
        #[allow(unused_unsafe)] // Older compilers want it.
        // SAFETY: a prefetch is a hint; it faults nowhere.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
        }
        // SAFETY: only bytes of the mask are read, and `window` has as many.
        let bytes = unsafe { _mm512_maskz_loadu_epi8(mask, window.as_ptr().cast()) };
        let near = _mm512_xor_si512(_mm512_permutexvar_epi8(shuffle, bytes), _mm512_set1_epi8(-128));
        let row = _mm512_slli_epi16::<1>(_mm512_maddubs_epi16(weights, near));
        let weight = _mm512_subs_epu16(_mm512_set1_epi16(128), _mm512_abs_epi16(distance));
        sum = _mm512_add_epi16(sum, _mm512_mulhrs_epi16(row, _mm512_slli_epi16::<7>(weight)));
        distance = _mm512_sub_epi16(distance, _mm512_set1_epi16(128));
        first += source.stride;
    }
    // SAFETY: `out` has 32 values, as checked above.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sum) };
    true
}
