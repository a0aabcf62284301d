//! A gain of R', G', B' as factors of Y'CbCr: what vision's `panorama/field.rs` derives, and is compared with in tests.

/// Gain of luma, Cb, Cr, and what luma adds to Cb and Cr.
pub(super) const FACTORS: usize = 5;
/// Gains are kept within a factor of 2.5 (natural logarithm), well inside what 16 bits hold.
const MAX_LOG_GAIN: f32 = 0.916;

/// The factors of a gain given as natural logarithms of R', G', B'.
pub(super) fn factors(log_rgb: [f32; 3], (kr, kb): (f32, f32)) -> [f32; FACTORS] {
    let kg = 1.0 - kr - kb;
    let [r, g, b] = log_rgb.map(|v| v.clamp(-MAX_LOG_GAIN, MAX_LOG_GAIN).exp());
    let y = kr * r + kg * g + kb * b;
    // Limited range: 219 steps of luma stand for 224 of chroma.
    let steps = 224.0 / 219.0;
    [
        y,
        (1.0 - kb) * b + kb * g,
        (1.0 - kr) * r + kr * g,
        (b - y) / (2.0 * (1.0 - kb)) * steps,
        (r - y) / (2.0 * (1.0 - kr)) * steps,
    ]
}
