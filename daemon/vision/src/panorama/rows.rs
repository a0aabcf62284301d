//! The loops over rows of samples: gain, weight, back to bytes.
//!
//! Plain loops, each compiled once for every set of instructions ([`versions!`]), so that all versions do the same
//! arithmetic by construction. Samples come in 1/128 about 128 ([`super::warp`]); with gain applied they are in 1/32
//! about black (luma) or grey (chroma), which leaves room for a gain of 4.

use super::warp::Simd;

/// From a luma sample to one about black (16).
const BLACK: i16 = (128 - 16) * 128;
/// A luma sample that is black.
pub(crate) const BLACK_SAMPLE: i16 = -BLACK;
/// Fraction bits of values with gain.
pub(crate) const VALUE_BITS: u32 = 5;
/// Fraction bits of a gain.
pub(crate) const GAIN_BITS: u32 = 13;
/// What to add to a value of luma before its fraction is dropped, with rounding.
const LUMA_BASE: i32 = (16 << VALUE_BITS) + (1 << (VALUE_BITS - 1));
/// As `LUMA_BASE`, of chroma.
const CHROMA_BASE: i32 = (128 << VALUE_BITS) + (1 << (VALUE_BITS - 1));

/// The high half of a product, rounded: what pmulhrsw and sqrdmulh compute.
#[inline(always)]
fn scaled(a: i16, b: i16) -> i16 {
    ((i32::from(a) * i32::from(b) + (1 << 14)) >> 15) as i16
}

#[inline(always)]
fn byte(value: i16, base: i32) -> u8 {
    ((i32::from(value) + base) >> VALUE_BITS).clamp(0, 255) as u8
}

/// Compiles the body of a function for each set of instructions and chooses at run time.
macro_rules! versions {
    ($(#[$doc:meta])* pub(crate) fn $name:ident($($arg:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$doc])*
        #[allow(unsafe_code)]
        pub(crate) fn $name(simd: Simd, $($arg: $type),*) {
            #[inline(always)]
            fn body($($arg: $type),*) $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($arg: $type),*) { body($($arg),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
            fn avx512($($arg: $type),*) { body($($arg),*) }
            match simd {
                // SAFETY: the compositor takes only versions that `Simd::available` found on this machine.
                #[cfg(target_arch = "x86_64")]
                Simd::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Simd::Avx512 => unsafe { avx512($($arg),*) },
                _ => body($($arg),*),
            }
        }
    };
}
pub(crate) use versions;

versions! {
    /// Luma samples with gain, to values.
    pub(crate) fn luma_values(samples: &[i16], gain: &[i16], out: &mut [i16]) {
        for ((s, g), o) in samples.iter().zip(gain).zip(out) {
            *o = scaled(s + BLACK, *g);
        }
    }
}

versions! {
    /// Luma samples with gain, to bytes.
    pub(crate) fn luma_bytes(samples: &[i16], gain: &[i16], out: &mut [u8]) {
        for ((s, g), o) in samples.iter().zip(gain).zip(out) {
            *o = byte(scaled(s + BLACK, *g), LUMA_BASE);
        }
    }
}

versions! {
    /// Samples to bytes, as they are.
    pub(crate) fn plain_bytes(samples: &[i16], out: &mut [u8]) {
        for (s, o) in samples.iter().zip(out) {
            *o = (((i32::from(*s) + 64) >> 7) + 128).clamp(0, 255) as u8;
        }
    }
}

versions! {
    /// Of each chroma sample's four luma samples the mean about black, twice (for Cb and for Cr).
    pub(crate) fn luma_of_chroma(upper: &[i16], lower: &[i16], out: &mut [i16]) {
        let pairs = upper.chunks_exact(2).zip(lower.chunks_exact(2));
        for ((u, l), o) in pairs.zip(out.chunks_exact_mut(2)) {
            let sum = i32::from(u[0]) + i32::from(u[1]) + i32::from(l[0]) + i32::from(l[1]);
            let mean = (sum >> 2) as i16 + BLACK;
            o[0] = mean;
            o[1] = mean;
        }
    }
}

versions! {
    /// Chroma samples with their gain and their share of luma, to values.
    pub(crate) fn chroma_values(samples: &[i16], luma: &[i16], gain: &[i16], tint: &[i16], out: &mut [i16]) {
        for ((((s, l), g), t), o) in samples.iter().zip(luma).zip(gain).zip(tint).zip(out) {
            *o = scaled(*s, *g).saturating_add(scaled(*l, *t));
        }
    }
}

versions! {
    /// Chroma samples with their gain and their share of luma, to bytes.
    pub(crate) fn chroma_bytes(samples: &[i16], luma: &[i16], gain: &[i16], tint: &[i16], out: &mut [u8]) {
        for ((((s, l), g), t), o) in samples.iter().zip(luma).zip(gain).zip(tint).zip(out) {
            *o = byte(scaled(*s, *g).saturating_add(scaled(*l, *t)), CHROMA_BASE);
        }
    }
}

versions! {
    /// Adds `values` times `weights` (in 1/32768) to `sum`.
    pub(crate) fn add_weighed(values: &[i16], weights: &[i16], sum: &mut [i16]) {
        for ((v, w), s) in values.iter().zip(weights).zip(sum) {
            *s = s.saturating_add(scaled(*v, *w));
        }
    }
}

versions! {
    /// Luma values to bytes.
    pub(crate) fn luma_out(values: &[i16], out: &mut [u8]) {
        for (v, o) in values.iter().zip(out) {
            *o = byte(*v, LUMA_BASE);
        }
    }
}

versions! {
    /// Chroma values to bytes.
    pub(crate) fn chroma_out(values: &[i16], out: &mut [u8]) {
        for (v, o) in values.iter().zip(out) {
            *o = byte(*v, CHROMA_BASE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_a_gain_of_one_and_scale_about_black() {
        let samples: Vec<i16> = (0..=255).map(|v: i16| (v - 128) * 128).collect();
        for simd in Simd::available() {
            let mut out = vec![0; 256];
            luma_bytes(simd, &samples, &[1 << GAIN_BITS; 256], &mut out);
            assert!(
                out.iter().enumerate().all(|(i, v)| usize::from(*v) == i),
                "{simd:?}"
            );
            luma_bytes(simd, &samples, &[3 << (GAIN_BITS - 1); 256], &mut out);
            assert_eq!([out[16], out[116], out[216]], [16, 166, 255], "{simd:?}");
            chroma_bytes(
                simd,
                &samples,
                &[0; 256],
                &[1 << GAIN_BITS; 256],
                &[0; 256],
                &mut out,
            );
            assert!(
                out.iter().enumerate().all(|(i, v)| usize::from(*v) == i),
                "{simd:?}"
            );
        }
    }
}
