//! Bilinear samples along rows of cells, in whole numbers; the portable version is what every other is held to.
//!
//! A sample is the interpolated byte less 128, times 128, in 16 bits. Along a row the two neighbours are weighed in
//! 1/128, then the two rows, each product rounded; every version does this same arithmetic, so that all agree in
//! every bit. The fast versions do not fetch single pixels: they load the stretch of each source row that a run of
//! samples touches, shuffle the neighbours out of it, and weigh each row by its distance to the sample.

use super::mesh::Run;

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx512;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)]
mod neon;
mod portable;

/// Rows of a window at most; steeper runs go sample by sample.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const MAX_ROWS: i32 = 40;

/// Which version of the pixel loops runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Simd {
    /// Without instructions of a kind; the reference.
    Portable,
    /// x86-64 with AVX2.
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL and VBMI.
    Avx512,
    /// 64-bit Arm.
    Neon,
}

impl Simd {
    /// The best that this machine has.
    pub fn detect() -> Simd {
        Simd::available().last().copied().unwrap_or(Simd::Portable)
    }

    /// Those that this machine has, best last.
    pub fn available() -> Vec<Simd> {
        let mut all = vec![Simd::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                all.push(Simd::Avx2);
            }
            if avx512::supported() {
                all.push(Simd::Avx512);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            all.push(Simd::Neon);
        }
        all
    }

    /// Name for logs: `avx512`.
    pub fn name(self) -> &'static str {
        match self {
            Simd::Portable => "portable",
            Simd::Avx2 => "avx2",
            Simd::Avx512 => "avx512",
            Simd::Neon => "neon",
        }
    }
}

/// A plane to sample: bytes, or pairs of bytes (interleaved chroma).
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    data: &'a [u8],
    stride: usize,
    /// Largest place that has a right and a lower neighbour, in 1/65536.
    last: [i32; 2],
    width: usize,
    height: usize,
    pairs: bool,
}

impl<'a> Source<'a> {
    /// A plane of `width` x `height` samples of one byte, or of two when `pairs`. `None` when it is smaller than
    /// 2 x 2, or when `data` ends before the plane does.
    pub(crate) fn new(
        data: &'a [u8],
        stride: usize,
        width: usize,
        height: usize,
        pairs: bool,
    ) -> Option<Source<'a>> {
        let row = width * if pairs { 2 } else { 1 };
        let enough = width >= 2 && height >= 2 && stride >= row && data.len() >= stride * (height - 1) + row;
        let last = |n: usize| ((n as i32 - 1) << 16) - 1;
        (enough && width <= 1 << 14 && height <= 1 << 14).then(|| Source {
            data,
            stride,
            last: [last(width), last(height)],
            width,
            height,
            pairs,
        })
    }

    /// Bytes from sample to sample.
    fn step(&self) -> usize {
        if self.pairs { 2 } else { 1 }
    }

    /// The byte of the sample nearest to a place, the first of a pair.
    pub(crate) fn nearest(&self, at: [i32; 2]) -> usize {
        let half = 1 << 15;
        let x = ((at[0] + half) >> 16).clamp(0, self.width as i32 - 1) as usize;
        let y = ((at[1] + half) >> 16).clamp(0, self.height as i32 - 1) as usize;
        y * self.stride + x * self.step()
    }

    /// All bytes, rows with what lies between them.
    pub(crate) fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Asks for the memory about byte `first`, which is not waited for.
    #[inline(always)]
    pub(crate) fn fetch(&self, first: usize) {
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code, unused_unsafe)] // Older compilers want it.
        // SAFETY: a prefetch is a hint; it faults nowhere.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(self.data.as_ptr().wrapping_add(first).cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = first;
    }

    /// Bytes from row to row.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// Keeps a place where it has neighbours.
    #[inline(always)]
    fn clamp(&self, at: [i32; 2]) -> [i32; 2] {
        [at[0].clamp(0, self.last[0]), at[1].clamp(0, self.last[1])]
    }

    /// The first and last whole place that samples of these runs touch, across and down; the neighbour is one more.
    #[inline(always)]
    fn bounds(&self, runs: &[Run], each: i32) -> ([i32; 2], [i32; 2]) {
        let (mut low, mut high) = ([i32::MAX; 2], [i32::MIN; 2]);
        for run in runs {
            for k in 0..2 {
                let end = run.at[k] + run.step[k] * (each - 1);
                low[k] = low[k].min(run.at[k]).min(end);
                high[k] = high[k].max(run.at[k]).max(end);
            }
        }
        let (low, high) = (self.clamp(low), self.clamp(high));
        (low.map(|v| v >> 16), high.map(|v| v >> 16))
    }
}

/// Samples of one cell's row, luma: as many as a cell is wide.
pub(crate) const LUMA_RUN: usize = super::mesh::PITCH;
/// Samples of one cell's row, chroma.
pub(crate) const CHROMA_RUN: usize = super::mesh::PITCH / 2;

/// Samples `runs` into `out`, 16 values each: 16 luma samples, or 8 pairs of Cb and Cr.
///
/// # Panics
/// When `out` is not 16 values a run, or this machine lacks `simd`.
pub(crate) fn sample(simd: Simd, source: &Source<'_>, runs: &[Run], out: &mut [i16]) {
    assert_eq!(out.len(), runs.len() * LUMA_RUN, "16 values a run");
    match simd {
        Simd::Portable => portable::sample(source, runs, out),
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => avx2::sample(source, runs, out),
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 => avx512::sample(source, runs, out),
        #[cfg(target_arch = "aarch64")]
        Simd::Neon => neon::sample(source, runs, out),
        #[allow(unreachable_patterns)] // Those of other machines.
        _ => panic!("this machine has no {}", simd.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator, the same on every machine.
    struct Noise(u64);

    impl Noise {
        fn next(&mut self, below: i64) -> i64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((self.0 >> 33) % below as u64) as i64
        }
    }

    #[test]
    fn every_version_samples_the_same_bits_as_the_portable_one() {
        let mut noise = Noise(7);
        let (width, height) = (97, 61);
        for pairs in [false, true] {
            let row = width * if pairs { 2 } else { 1 };
            let stride = row + 5;
            let data: Vec<u8> = (0..stride * (height - 1) + row)
                .map(|_| noise.next(256) as u8)
                .collect();
            let source = Source::new(&data, stride, width, height, pairs).unwrap();
            for round in 0..4000 {
                // Runs of any slope and scale, some beyond the picture, some mirrored or upright.
                let wild = if round % 3 == 0 { 4 << 16 } else { 80_000 };
                let runs: Vec<Run> = (0..5)
                    .map(|_| Run {
                        at: [
                            noise.next(130 << 16) as i32 - (15 << 16),
                            noise.next(90 << 16) as i32 - (15 << 16),
                        ],
                        step: [
                            noise.next(2 * wild) as i32 - wild as i32,
                            noise.next(60_000) as i32 - 30_000,
                        ],
                    })
                    .collect();
                // Neighbours follow each other as on a mesh in two rounds of three.
                let mut runs = runs;
                if round % 3 > 0 {
                    for i in 1..5 {
                        let each = if pairs { 8 } else { 16 };
                        let last = runs[i - 1];
                        runs[i].at = [0, 1].map(|k| last.at[k] + last.step[k] * each);
                        runs[i].step = last.step.map(|s| s + noise.next(200) as i32 - 100);
                    }
                }
                let mut want = vec![0; 80];
                portable::sample(&source, &runs, &mut want);
                for simd in Simd::available() {
                    let mut got = vec![0; 80];
                    sample(simd, &source, &runs, &mut got);
                    assert_eq!(got, want, "{simd:?} {runs:?}");
                }
            }
        }
    }

    #[test]
    fn a_sample_between_four_is_their_weighed_mean() {
        let data = [10, 20, 0, 30, 60, 0, 0, 0, 0];
        let source = Source::new(&data, 3, 3, 3, false).unwrap();
        let run = Run {
            at: [1 << 14, 1 << 15],
            step: [0, 0],
        };
        let mut out = [0; 16];
        sample(Simd::Portable, &source, &[run], &mut out);
        // 12.5 above, 37.5 below.
        assert_eq!(out[0], (25 - 128) * 128);
        assert!(Source::new(&data[..8], 3, 3, 3, false).is_none());
    }
}
