//! AVX2: 16 values at a time out of two windows of 16 bytes.

use std::arch::x86_64::*;

use super::super::mesh::Run;
use super::{LUMA_RUN, MAX_ROWS, Source, portable};

/// See [`super::sample`].
pub(super) fn sample(source: &Source<'_>, runs: &[Run], out: &mut [i16]) {
    for (run, out) in runs.iter().zip(out.chunks_exact_mut(LUMA_RUN)) {
        // SAFETY: `super::Simd::available` offers this version only where AVX2 was detected.
        let done = unsafe {
            if source.pairs {
                one_run::<true>(source, run, out)
            } else {
                one_run::<false>(source, run, out)
            }
        };
        if !done {
            portable::one(source, run, out);
        }
    }
}

/// One run, 16 values; `false`, with nothing written, when it reaches beyond its windows.
#[target_feature(enable = "avx2")]
fn one_run<const PAIRS: bool>(source: &Source<'_>, run: &Run, out: &mut [i16]) -> bool {
    // Each half of the run has its own window.
    let half = if PAIRS { 4 } else { 8 };
    let second = Run {
        at: [0, 1].map(|k| run.at[k] + run.step[k] * half),
        step: run.step,
    };
    let halves = [*run, second];
    let (low, high) = source.bounds(&halves, half);
    let lefts = halves.map(|h| source.bounds(&[h], half));
    // The last neighbour lies at byte 15 of a window at most.
    let widest = if PAIRS { 6 } else { 14 };
    if lefts.iter().any(|(l, h)| h[0] - l[0] > widest) || high[1] - low[1] > MAX_ROWS || out.len() != 16 {
        return false;
    }
    let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let index = if PAIRS { _mm256_srli_epi32::<1>(lane) } else { lane };
    // Places in 1/128 from the corner of each window.
    let places = |k: usize, corners: [i32; 2]| {
        let one = |run: &Run, corner: i32| {
            let at = _mm256_add_epi32(
                _mm256_set1_epi32(run.at[k]),
                _mm256_mullo_epi32(_mm256_set1_epi32(run.step[k]), index),
            );
            let at = _mm256_max_epi32(
                _mm256_setzero_si256(),
                _mm256_min_epi32(at, _mm256_set1_epi32(source.last[k])),
            );
            _mm256_sub_epi32(_mm256_srai_epi32::<9>(at), _mm256_set1_epi32(corner << 7))
        };
        let packed = _mm256_packs_epi32(one(&halves[0], corners[0]), one(&halves[1], corners[1]));
        _mm256_permute4x64_epi64::<0b11_01_10_00>(packed)
    };
    let (x, y) = (places(0, lefts.map(|(l, _)| l[0])), places(1, [low[1]; 2]));
    let whole = _mm256_srli_epi16::<7>(x);
    let part = _mm256_and_si256(x, _mm256_set1_epi16(127));
    // Bytes of the two neighbours, and their weights.
    let shuffle = if PAIRS {
        let first = _mm256_add_epi16(_mm256_slli_epi16::<1>(whole), _mm256_set1_epi32(1 << 16));
        let second = _mm256_add_epi16(first, _mm256_set1_epi16(2));
        _mm256_or_si256(first, _mm256_slli_epi16::<8>(second))
    } else {
        let second = _mm256_add_epi16(whole, _mm256_set1_epi16(1));
        _mm256_or_si256(whole, _mm256_slli_epi16::<8>(second))
    };
    let weights = _mm256_or_si256(
        _mm256_sub_epi16(_mm256_set1_epi16(128), part),
        _mm256_slli_epi16::<8>(part),
    );
    let mut sum = _mm256_setzero_si256();
    let mut distance = y;
    for r in low[1]..=high[1] + 1 {
        let row = r as usize * source.stride;
        let window = |h: usize| {
            let first = row + lefts[h].0[0] as usize * source.step();
            let bytes: &[u8; 16] = source.data.get(first..first + 16)?.try_into().ok()?;
            // SAFETY: `bytes` has 16 bytes.
            Some(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
        };
        let (Some(left), Some(right)) = (window(0), window(1)) else {
            return false; // The last bytes of a plane.
        };
        let bytes = _mm256_set_m128i(right, left);
        let near = _mm256_xor_si256(_mm256_shuffle_epi8(bytes, shuffle), _mm256_set1_epi8(-128));
        let row = _mm256_slli_epi16::<1>(_mm256_maddubs_epi16(weights, near));
        let weight = _mm256_subs_epu16(_mm256_set1_epi16(128), _mm256_abs_epi16(distance));
        sum = _mm256_add_epi16(sum, _mm256_mulhrs_epi16(row, _mm256_slli_epi16::<7>(weight)));
        distance = _mm256_sub_epi16(distance, _mm256_set1_epi16(128));
    }
    // SAFETY: `out` has 16 values, as checked above.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), sum) };
    true
}
