//! The loops over rows of samples: gain, weight, back to bytes.
//!
//! The plain loops are what every other is held to; those of [`super::rows_x86`] do whole blocks of them. Loops elsewhere
//! are compiled once for every set of instructions ([`versions!`]). Samples come in 1/128 about 128 ([`super::warp`]); with gain applied they are in 1/32
//! about black (luma) or grey (chroma), which leaves room for a gain of 4.

use super::warp::Simd;

/// From a luma sample to one about black (16).
pub(super) const BLACK: i16 = (128 - 16) * 128;
/// A luma sample that is black.
pub(crate) const BLACK_SAMPLE: i16 = -BLACK;
/// Fraction bits of values with gain.
pub(crate) const VALUE_BITS: u32 = 5;
/// Fraction bits of a gain.
pub(crate) const GAIN_BITS: u32 = 13;
/// What to add to a value of luma before its fraction is dropped, with rounding.
pub(super) const LUMA_BASE: i32 = (16 << VALUE_BITS) + (1 << (VALUE_BITS - 1));
/// As `LUMA_BASE`, of chroma.
pub(super) const CHROMA_BASE: i32 = (128 << VALUE_BITS) + (1 << (VALUE_BITS - 1));

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

/// Runs the loop `$name` of [`super::rows_x86`] where there is one and says how many values it did.
macro_rules! blocks {
    ($simd:ident, $name:ident($($arg:expr),*)) => {
        match $simd {
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            // SAFETY: the compositor takes only versions that `Simd::available` found on this machine.
            Simd::Avx2 => unsafe { super::rows_x86::avx2::$name($($arg),*) },
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            // SAFETY: as above.
            Simd::Avx512 => unsafe { super::rows_x86::avx512::$name($($arg),*) },
            _ => 0,
        }
    };
}

/// Luma samples with gain, to values.
pub(crate) fn luma_values(simd: Simd, samples: &[i16], gain: &[i16], out: &mut [i16]) {
    let done = blocks!(simd, luma_values(samples, gain, out));
    for ((s, g), o) in samples[done..].iter().zip(&gain[done..]).zip(&mut out[done..]) {
        *o = scaled(s + BLACK, *g);
    }
}

/// Luma samples with gain, to bytes.
pub(crate) fn luma_bytes(simd: Simd, samples: &[i16], gain: &[i16], out: &mut [u8]) {
    let done = blocks!(simd, luma_bytes(samples, gain, out));
    for ((s, g), o) in samples[done..].iter().zip(&gain[done..]).zip(&mut out[done..]) {
        *o = byte(scaled(s + BLACK, *g), LUMA_BASE);
    }
}

/// Samples to bytes, as they are.
pub(crate) fn plain_bytes(simd: Simd, samples: &[i16], out: &mut [u8]) {
    let done = blocks!(simd, plain_bytes(samples, out));
    for (s, o) in samples[done..].iter().zip(&mut out[done..]) {
        *o = (((i32::from(*s) + 64) >> 7) + 128).clamp(0, 255) as u8;
    }
}

/// Of each chroma sample's four luma samples the mean about black, twice (for Cb and for Cr).
pub(crate) fn luma_of_chroma(simd: Simd, upper: &[i16], lower: &[i16], out: &mut [i16]) {
    let done = blocks!(simd, luma_of_chroma(upper, lower, out));
    let pairs = upper[done..].chunks_exact(2).zip(lower[done..].chunks_exact(2));
    for ((u, l), o) in pairs.zip(out[done..].chunks_exact_mut(2)) {
        let sum = i32::from(u[0]) + i32::from(u[1]) + i32::from(l[0]) + i32::from(l[1]);
        let mean = (sum >> 2) as i16 + BLACK;
        o[0] = mean;
        o[1] = mean;
    }
}

/// Chroma samples with their gain and their share of luma, to values.
pub(crate) fn chroma_values(
    simd: Simd,
    samples: &[i16],
    luma: &[i16],
    gain: &[i16],
    tint: &[i16],
    out: &mut [i16],
) {
    let done = blocks!(simd, chroma_values(samples, luma, gain, tint, out));
    let rest = samples[done..]
        .iter()
        .zip(&luma[done..])
        .zip(&gain[done..])
        .zip(&tint[done..]);
    for ((((s, l), g), t), o) in rest.zip(&mut out[done..]) {
        *o = scaled(*s, *g).saturating_add(scaled(*l, *t));
    }
}

/// Chroma samples with their gain and their share of luma, to bytes.
pub(crate) fn chroma_bytes(
    simd: Simd,
    samples: &[i16],
    luma: &[i16],
    gain: &[i16],
    tint: &[i16],
    out: &mut [u8],
) {
    let done = blocks!(simd, chroma_bytes(samples, luma, gain, tint, out));
    let rest = samples[done..]
        .iter()
        .zip(&luma[done..])
        .zip(&gain[done..])
        .zip(&tint[done..]);
    for ((((s, l), g), t), o) in rest.zip(&mut out[done..]) {
        *o = byte(scaled(*s, *g).saturating_add(scaled(*l, *t)), CHROMA_BASE);
    }
}

/// Adds `values` times `weights` (in 1/32768) to `sum`.
pub(crate) fn add_weighed(simd: Simd, values: &[i16], weights: &[i16], sum: &mut [i16]) {
    let done = blocks!(simd, add_weighed(values, weights, sum));
    for ((v, w), s) in values[done..].iter().zip(&weights[done..]).zip(&mut sum[done..]) {
        *s = s.saturating_add(scaled(*v, *w));
    }
}

/// Luma values to bytes.
pub(crate) fn luma_out(simd: Simd, values: &[i16], out: &mut [u8]) {
    to_bytes(simd, values, LUMA_BASE, out);
}

/// Chroma values to bytes.
pub(crate) fn chroma_out(simd: Simd, values: &[i16], out: &mut [u8]) {
    to_bytes(simd, values, CHROMA_BASE, out);
}

fn to_bytes(simd: Simd, values: &[i16], base: i32, out: &mut [u8]) {
    let done = blocks!(simd, out(values, base, out));
    for (v, o) in values[done..].iter().zip(&mut out[done..]) {
        *o = byte(*v, base);
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

    #[test]
    fn every_version_makes_the_same_values_and_bytes_as_the_plain_loops() {
        // Of all sizes up to two blocks and some, over all that a row can hold.
        let mut noise = 7_u32;
        let mut next = |least: i32, most: i32| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (least + ((noise >> 8) as i32) % (most - least)) as i16
        };
        let mut row =
            |n: usize, least: i32, most: i32| -> Vec<i16> { (0..n).map(|_| next(least, most)).collect() };
        for n in (2..=100).step_by(2) {
            let (samples, other) = (row(n, -16384, 16257), row(n, -16384, 16257));
            let (luma, gain, tint) = (row(n, -2048, 30593), row(n, 3000, 20481), row(n, -12000, 12000));
            let (weights, sums) = (row(n, 0, 32767), row(n, -32768, 32767));
            let all = |simd| {
                let mut rows: [Vec<i16>; 3] = std::array::from_fn(|_| vec![0; n]);
                luma_values(simd, &samples, &gain, &mut rows[0]);
                luma_of_chroma(simd, &samples, &other, &mut rows[1]);
                chroma_values(simd, &samples, &luma, &gain, &tint, &mut rows[2]);
                let mut sum = sums.clone();
                add_weighed(simd, &samples, &weights, &mut sum);
                let mut bytes: [Vec<u8>; 5] = std::array::from_fn(|_| vec![0; n]);
                luma_bytes(simd, &samples, &gain, &mut bytes[0]);
                chroma_bytes(simd, &samples, &luma, &gain, &tint, &mut bytes[1]);
                plain_bytes(simd, &samples, &mut bytes[2]);
                luma_out(simd, &sums, &mut bytes[3]);
                chroma_out(simd, &sums, &mut bytes[4]);
                (rows, sum, bytes)
            };
            let want = all(Simd::Portable);
            for simd in Simd::available() {
                assert_eq!(all(simd), want, "{simd:?} {n}");
            }
        }
    }
}
