//! The self-test: a generated picture, and how near an engine's answer must be to the CPU's.

use synoptic_base::{PixelFormat, Size};
use synoptic_gpu::trt::Precision;
use synoptic_vision::PictureBuf;
use synoptic_vision::manifest::ModelManifest;
use synoptic_vision::onnx::reference::RawOutput;

/// Size of the picture: neither side a multiple of a model's input, so that the scaling is tested too.
const SIZE: Size = Size {
    width: 500,
    height: 300,
};

/// Largest distance of an output from the CPU's, as length of the difference over length of the CPU's. TensorRT
/// computes 32-bit models in TF32 (ten bits of mantissa) by default, hw-tests/gpu allows 2 %; 16-bit floats have the
/// same mantissa and less range. Eight bits are only held to be no nonsense: what they cost is measured on a data set.
fn limit(precision: Precision) -> f64 {
    match precision {
        Precision::Model => 0.02,
        Precision::Half => 0.05,
        Precision::Int8 => 0.5,
    }
}

/// The picture: shapes of several sizes with edges, colours and a little noise, the same everywhere. NV12.
pub fn picture() -> PictureBuf {
    let (w, h) = (SIZE.width as usize, SIZE.height as usize);
    let mut data = vec![128_u8; PictureBuf::bytes(SIZE)];
    // Knuth's MMIX.
    let mut noise = 7_u64;
    let mut next = || {
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (noise >> 60) as u8
    };
    for y in 0..h {
        for x in 0..w {
            let head = (x as i32 - 150).pow(2) + (y as i32 - 80).pow(2) < 30 * 30;
            let body = (110..190).contains(&x) && (110..260).contains(&y);
            let block = (300..440).contains(&x) && (150..230).contains(&y);
            let base = match (head || body, block) {
                (true, _) => 170,
                (_, true) => 60,
                _ => 90 + 60 * y / h,
            };
            data[y * w + x] = base as u8 + next();
        }
    }
    for (i, chroma) in data[w * h..].iter_mut().enumerate() {
        *chroma = (112 + (i / w) % 32) as u8;
    }
    // The size is possible and the bytes are as many as it takes.
    PictureBuf::new(SIZE, PixelFormat::Nv12, data).unwrap_or_else(|e| unreachable!("{e}"))
}

/// A model's outputs in the order that decoding wants: NanoDet's classes of strides 8, 16, 32, then its distances.
pub fn in_order<T>(
    manifest: &ModelManifest,
    mut outputs: Vec<T>,
    shape: impl Fn(&T) -> Vec<usize>,
) -> Vec<T> {
    if outputs.len() > 1 {
        let classes = manifest.labels.len();
        outputs.sort_by_key(|o| {
            let shape = shape(o);
            (
                shape.get(2) != Some(&classes),
                std::cmp::Reverse(shape.get(1).copied()),
            )
        });
    }
    outputs
}

/// Compares outputs in the same order. The largest distance, as a part of the CPU's.
///
/// # Errors
/// What differs by how much, and what to do.
pub fn compare(have: &[RawOutput], want: &[RawOutput], precision: Precision) -> Result<f64, String> {
    if have.len() != want.len() {
        return Err(format!(
            "{} outputs where the CPU gives {}",
            have.len(),
            want.len()
        ));
    }
    let mut worst = 0.0_f64;
    for (i, ((shape, have), (wanted, want))) in have.iter().zip(want).enumerate() {
        if shape != wanted || have.len() != want.len() {
            return Err(format!("output {i} is {shape:?} where the CPU gives {wanted:?}"));
        }
        if have.iter().any(|v| !v.is_finite()) {
            return Err(format!(
                "output {i} holds numbers that are none (NaN or infinite)"
            ));
        }
        let square = |v: f32| f64::from(v) * f64::from(v);
        let length: f64 = want.iter().map(|v| square(*v)).sum();
        let apart: f64 = have.iter().zip(want).map(|(a, b)| square(a - b)).sum();
        worst = worst.max((apart / length.max(1e-12)).sqrt());
    }
    let most = limit(precision);
    if worst > most {
        return Err(format!(
            "its outputs are {:.1} % away from the CPU's, {:.0} % are allowed: try precision = \"fp32\", or another version of TensorRT",
            worst * 100.0,
            most * 100.0
        ));
    }
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_is_good_far_odd_and_missing_are_not() {
        let want = vec![(vec![1, 4], vec![1.0, -2.0, 0.5, 4.0])];
        let scaled = |by: f32| vec![(vec![1, 4], want[0].1.iter().map(|v| v * by).collect::<Vec<f32>>())];
        assert!(compare(&scaled(1.01), &want, Precision::Model).unwrap() < 0.011);
        assert!(compare(&scaled(1.03), &want, Precision::Model).is_err());
        assert!(compare(&scaled(1.03), &want, Precision::Half).is_ok());
        let error = compare(&scaled(0.0), &want, Precision::Int8).unwrap_err();
        assert!(error.contains("100.0 %") && error.contains("fp32"), "{error}");
        assert!(compare(&scaled(f32::NAN), &want, Precision::Int8).is_err());
        assert!(compare(&[], &want, Precision::Model).is_err());
        let turned = vec![(vec![4, 1], want[0].1.clone())];
        assert!(compare(&turned, &want, Precision::Model).is_err());
    }
}
