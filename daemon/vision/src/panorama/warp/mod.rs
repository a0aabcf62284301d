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

    /// The sample nearest to a place; the second value is the first again in a plane of single bytes.
    #[inline(always)]
    pub(crate) fn nearest(&self, at: [i32; 2]) -> [u8; 2] {
        let half = 1 << 15;
        let x = ((at[0] + half) >> 16).clamp(0, self.width as i32 - 1) as usize;
        let y = ((at[1] + half) >> 16).clamp(0, self.height as i32 - 1) as usize;
        let first = y * self.stride + x * self.step();
        [self.data[first], self.data[first + self.step() - 1]]
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
