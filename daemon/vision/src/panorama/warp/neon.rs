//! 64-bit Arm: 8 values at a time out of windows of 16 bytes.

use std::arch::aarch64::*;

use super::super::mesh::Run;
use super::{LUMA_RUN, MAX_ROWS, Source, portable};

/// See [`super::sample`].
pub(super) fn sample(source: &Source<'_>, runs: &[Run], out: &mut [i16]) {
    let half = if source.pairs { 4 } else { 8 };
    for (run, out) in runs.iter().zip(out.chunks_exact_mut(LUMA_RUN)) {
        let second = Run {
            at: [0, 1].map(|k| run.at[k] + run.step[k] * half),
            step: run.step,
        };
        let (left, right) = out.split_at_mut(8);
        // SAFETY: `super::Simd::available` offers this version only where NEON was detected.
        let done = unsafe { half_run(source, run, left) && half_run(source, &second, right) };
        if !done {
            portable::one(source, run, out);
        }
    }
}

/// Half a run, 8 values; `false` when it reaches beyond its window.
#[target_feature(enable = "neon")]
fn half_run(source: &Source<'_>, run: &Run, out: &mut [i16]) -> bool {
    let pairs = source.pairs;
    let (low, high) = source.bounds(&[*run], if pairs { 4 } else { 8 });
    // The last neighbour lies at byte 15 of a window at most.
    let widest = if pairs { 6 } else { 14 };
    if high[0] - low[0] > widest || high[1] - low[1] > MAX_ROWS || out.len() != 8 {
        return false;
    }
    let lanes: [[i32; 4]; 2] = if pairs {
        [[0, 0, 1, 1], [2, 2, 3, 3]]
    } else {
        [[0, 1, 2, 3], [4, 5, 6, 7]]
    };
    // Places in 1/128 from the corner of the window.
    let places = |k: usize| {
        let four = |index: &[i32; 4]| {
            // SAFETY: `index` has 4 values.
            let index = unsafe { vld1q_s32(index.as_ptr()) };
            let at = vmlaq_s32(vdupq_n_s32(run.at[k]), vdupq_n_s32(run.step[k]), index);
            let at = vmaxq_s32(vdupq_n_s32(0), vminq_s32(at, vdupq_n_s32(source.last[k])));
            vmovn_s32(vsubq_s32(vshrq_n_s32::<9>(at), vdupq_n_s32(low[k] << 7)))
        };
        vcombine_s16(four(&lanes[0]), four(&lanes[1]))
    };
    let (x, y) = (places(0), places(1));
    let whole = vshrq_n_s16::<7>(x);
    let part = vandq_s16(x, vdupq_n_s16(127));
    let step = if pairs { 2 } else { 1 };
    let odd: [i16; 8] = if pairs { [0, 1, 0, 1, 0, 1, 0, 1] } else { [0; 8] };
    // SAFETY: `odd` has 8 values.
    let first = vmlaq_n_s16(unsafe { vld1q_s16(odd.as_ptr()) }, whole, step);
    let second = vaddq_s16(first, vdupq_n_s16(step));
    let (first, second) = (vmovn_s16(first), vmovn_s16(second));
    let mut sum = vdupq_n_s16(0);
    let mut distance = y;
    let mut at = low[1] as usize * source.stride + low[0] as usize * source.step();
    for _ in low[1]..=high[1] + 1 {
        let Some(window) = source.data.get(at..at + 16) else {
            return false; // The last bytes of a plane.
        };
        // SAFETY: `window` has 16 bytes.
        let bytes = unsafe { vld1q_s8(window.as_ptr().cast()) };
        let bytes = veorq_s8(bytes, vdupq_n_s8(-128));
        let near = |index: int8x8_t| vmovl_s8(vqtbl1_s8(bytes, vreinterpret_u8_s8(index)));
        let row = vmlaq_s16(
            vmulq_s16(near(first), vsubq_s16(vdupq_n_s16(128), part)),
            near(second),
            part,
        );
        let weight = vmaxq_s16(vdupq_n_s16(0), vsubq_s16(vdupq_n_s16(128), vabsq_s16(distance)));
        sum = vaddq_s16(
            sum,
            vqrdmulhq_s16(vshlq_n_s16::<1>(row), vshlq_n_s16::<7>(weight)),
        );
        distance = vsubq_s16(distance, vdupq_n_s16(128));
        at += source.stride;
    }
    // SAFETY: `out` has 8 values, as checked above.
    unsafe { vst1q_s16(out.as_mut_ptr(), sum) };
    true
}
