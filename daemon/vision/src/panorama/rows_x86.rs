//! The loops of [`super::rows`] in instructions of x86: compilers make much more of their rounding than there is.
//!
//! Each function does as many whole blocks as there are and says how many values that were; the plain loops do the rest,
//! in the same arithmetic.

use std::arch::x86_64::*;

use super::rows::{BLACK, CHROMA_BASE, LUMA_BASE, VALUE_BITS};

// The type of a shift is another in each set of instructions, so that it has to be a literal.
const _: () = assert!(VALUE_BITS == 5);

/// A module of loops over blocks of `$lanes` values for one set of instructions.
macro_rules! loops {
    (
        $name:ident, $features:literal, $lanes:literal, $vector:ident,
        $load:ident, $store:ident, $set:ident, $set32:ident, $add:ident, $adds:ident, $scale:ident, $shift:ident,
        $madd:ident, $add32:ident, $shift32:ident, $left32:ident, $and:ident, $or:ident, $bytes:ident
    ) => {
        pub(super) mod $name {
            use super::*;

            /// Values of a block.
            const LANES: usize = $lanes;

            #[inline]
            #[target_feature(enable = $features)]
            fn load(from: &[i16; LANES]) -> $vector {
                // SAFETY: a block is as long as a vector.
                unsafe { $load(from.as_ptr().cast()) }
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn store(v: $vector, to: &mut [i16; LANES]) {
                // SAFETY: a block is as long as a vector.
                unsafe { $store(to.as_mut_ptr().cast(), v) }
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn to_bytes(value: $vector, base: i32, to: &mut [u8; LANES]) {
                let whole = $shift::<5>($adds(value, $set(base as i16)));
                super::$bytes(whole, to);
            }

            /// As [`super::super::rows::luma_values`].
            #[target_feature(enable = $features)]
            pub(crate) fn luma_values(samples: &[i16], gain: &[i16], out: &mut [i16]) -> usize {
                let blocks = samples.as_chunks().0.iter().zip(gain.as_chunks().0);
                let mut done = 0;
                for ((s, g), o) in blocks.zip(out.as_chunks_mut().0) {
                    store($scale($add(load(s), $set(BLACK)), load(g)), o);
                    done += LANES;
                }
                done
            }

            /// As [`super::super::rows::luma_bytes`].
            #[target_feature(enable = $features)]
            pub(crate) fn luma_bytes(samples: &[i16], gain: &[i16], out: &mut [u8]) -> usize {
                let blocks = samples.as_chunks().0.iter().zip(gain.as_chunks().0);
                let mut done = 0;
                for ((s, g), o) in blocks.zip(out.as_chunks_mut().0) {
                    to_bytes($scale($add(load(s), $set(BLACK)), load(g)), LUMA_BASE, o);
                    done += LANES;
                }
                done
            }

            /// As [`super::super::rows::plain_bytes`].
            #[target_feature(enable = $features)]
            pub(crate) fn plain_bytes(samples: &[i16], out: &mut [u8]) -> usize {
                let mut done = 0;
                for (s, o) in samples.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
                    let whole = $shift::<7>($add(load(s), $set(64)));
                    super::$bytes($add(whole, $set(128)), o);
                    done += LANES;
                }
                done
            }

            /// As [`super::super::rows::luma_of_chroma`].
            #[target_feature(enable = $features)]
            pub(crate) fn luma_of_chroma(upper: &[i16], lower: &[i16], out: &mut [i16]) -> usize {
                let blocks = upper.as_chunks().0.iter().zip(lower.as_chunks().0);
                let mut done = 0;
                for ((u, l), o) in blocks.zip(out.as_chunks_mut().0) {
                    let pairs = |v| $madd(load(v), $set(1));
                    let mean = $shift32::<2>($add32(pairs(u), pairs(l)));
                    let mean = $add32(mean, $set32(BLACK as i32));
                    // Once for Cb and once for Cr.
                    let low = $and(mean, $set32(0xffff));
                    store($or(low, $left32::<16>(mean)), o);
                    done += LANES;
                }
                done
            }

            /// As [`super::super::rows::chroma_values`].
            #[target_feature(enable = $features)]
            pub(crate) fn chroma_values(
                samples: &[i16],
                luma: &[i16],
                gain: &[i16],
                tint: &[i16],
                out: &mut [i16],
            ) -> usize {
                let blocks = samples.as_chunks().0.iter().zip(luma.as_chunks().0);
                let blocks = blocks.zip(gain.as_chunks().0).zip(tint.as_chunks().0);
                let mut done = 0;
                for ((((s, l), g), t), o) in blocks.zip(out.as_chunks_mut().0) {
                    store($adds($scale(load(s), load(g)), $scale(load(l), load(t))), o);
                    done += LANES;
                }
                done
            }

            /// As [`super::super::rows::chroma_bytes`].
            #[target_feature(enable = $features)]
            pub(crate) fn chroma_bytes(
                samples: &[i16],
                luma: &[i16],
                gain: &[i16],
                tint: &[i16],
                out: &mut [u8],
            ) -> usize {
                let blocks = samples.as_chunks().0.iter().zip(luma.as_chunks().0);
                let blocks = blocks.zip(gain.as_chunks().0).zip(tint.as_chunks().0);
                let mut done = 0;
                for ((((s, l), g), t), o) in blocks.zip(out.as_chunks_mut().0) {
                    let value = $adds($scale(load(s), load(g)), $scale(load(l), load(t)));
                    to_bytes(value, CHROMA_BASE, o);
                    done += LANES;
                }
                done
            }

            /// As [`super::super::rows::add_weighed`].
            #[target_feature(enable = $features)]
            pub(crate) fn add_weighed(values: &[i16], weights: &[i16], sum: &mut [i16]) -> usize {
                let blocks = values.as_chunks().0.iter().zip(weights.as_chunks().0);
                let mut done = 0;
                for ((v, w), s) in blocks.zip(sum.as_chunks_mut().0) {
                    store($adds(load(s), $scale(load(v), load(w))), s);
                    done += LANES;
                }
                done
            }

            /// As [`super::super::rows::luma_out`] and [`super::super::rows::chroma_out`], with their base.
            #[target_feature(enable = $features)]
            pub(crate) fn out(values: &[i16], base: i32, out: &mut [u8]) -> usize {
                let mut done = 0;
                for (v, o) in values.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
                    to_bytes(load(v), base, o);
                    done += LANES;
                }
                done
            }
        }
    };
}

loops!(
    avx2,
    "avx2",
    16,
    __m256i,
    _mm256_loadu_si256,
    _mm256_storeu_si256,
    _mm256_set1_epi16,
    _mm256_set1_epi32,
    _mm256_add_epi16,
    _mm256_adds_epi16,
    _mm256_mulhrs_epi16,
    _mm256_srai_epi16,
    _mm256_madd_epi16,
    _mm256_add_epi32,
    _mm256_srai_epi32,
    _mm256_slli_epi32,
    _mm256_and_si256,
    _mm256_or_si256,
    bytes_of_16
);
loops!(
    avx512,
    "avx512f,avx512bw,avx512vl,avx512dq",
    32,
    __m512i,
    _mm512_loadu_si512,
    _mm512_storeu_si512,
    _mm512_set1_epi16,
    _mm512_set1_epi32,
    _mm512_add_epi16,
    _mm512_adds_epi16,
    _mm512_mulhrs_epi16,
    _mm512_srai_epi16,
    _mm512_madd_epi16,
    _mm512_add_epi32,
    _mm512_srai_epi32,
    _mm512_slli_epi32,
    _mm512_and_si512,
    _mm512_or_si512,
    bytes_of_32
);

/// 16 values, each to the nearest byte.
#[inline]
#[target_feature(enable = "avx2")]
fn bytes_of_16(values: __m256i, to: &mut [u8; 16]) {
    let (low, high) = (
        _mm256_castsi256_si128(values),
        _mm256_extracti128_si256::<1>(values),
    );
    // SAFETY: `to` has 16 bytes.
    unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), _mm_packus_epi16(low, high)) }
}

/// 32 values, each to the nearest byte.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn bytes_of_32(values: __m512i, to: &mut [u8; 32]) {
    let bytes = _mm512_cvtusepi16_epi8(_mm512_max_epi16(values, _mm512_setzero_si512()));
    // SAFETY: `to` has 32 bytes.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), bytes) }
}
