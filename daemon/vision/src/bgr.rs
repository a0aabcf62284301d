//! Pictures for other programs: BGR or NV12, written straight to where they are wanted.
//!
//! Fixed point with 13 fractional bits; within one step of 255 of the exact values ([`crate::color`]), a test says so.

use synoptic_base::{Planes, Size};

use crate::color::Matrix;
use crate::picture::{Chroma, PictureError, check};

/// Fractional bits: the largest factor is 2.1, times 255 it stays far inside 32 bits.
const BITS: u32 = 13;
const HALF: i32 = 1 << (BITS - 1);

/// Factors of limited range Y'CbCr to RGB, times 2^13.
struct Factors {
    y: i32,
    r_cr: i32,
    g_cb: i32,
    g_cr: i32,
    b_cb: i32,
}

impl Factors {
    fn of(matrix: Matrix) -> Factors {
        let (kr, kb) = matrix.kr_kb();
        let kg = 1.0 - kr - kb;
        let chroma = 255.0 / 224.0;
        let fixed = |f: f32| (f * (1 << BITS) as f32).round() as i32;
        Factors {
            y: fixed(255.0 / 219.0),
            r_cr: fixed(2.0 * (1.0 - kr) * chroma),
            g_cb: fixed(-2.0 * (1.0 - kb) * kb / kg * chroma),
            g_cr: fixed(-2.0 * (1.0 - kr) * kr / kg * chroma),
            b_cb: fixed(2.0 * (1.0 - kb) * chroma),
        }
    }
}

/// Why a picture was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Its planes are not what its size says.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// The place for it has another size.
    #[error("the picture needs {needed} bytes, its place has {there}")]
    Room {
        /// Bytes of the picture.
        needed: usize,
        /// Bytes of the place.
        there: usize,
    },
}

fn room(needed: usize, out: &[u8]) -> Result<(), WriteError> {
    let there = out.len();
    if there == needed {
        Ok(())
    } else {
        Err(WriteError::Room { needed, there })
    }
}

/// Writes `height` rows of B, G, R bytes; every chroma sample serves its four pixels.
///
/// # Errors
/// [`WriteError`] when the planes do not hold such a picture, or `out` is not of `3 * width * height` bytes.
pub fn write_bgr8(planes: &Planes<'_>, size: Size, matrix: Matrix, out: &mut [u8]) -> Result<(), WriteError> {
    check(planes, size)?;
    let (w, h) = (size.width as usize, size.height as usize);
    room(3 * w * h, out)?;
    let (luma, chroma, f) = (planes.luma(), Chroma::of(planes), Factors::of(matrix));
    // One row of what chroma adds to B, G, R; two rows of luma share it.
    let mut added = vec![[0_i32; 3]; w.div_ceil(2)];
    for (y, row) in out.chunks_exact_mut(3 * w).enumerate() {
        if y % 2 == 0 {
            let (cb, cr) = chroma.row(y / 2);
            let samples = cb.iter().step_by(chroma.step).zip(cr.iter().step_by(chroma.step));
            for (add, (cb, cr)) in added.iter_mut().zip(samples) {
                let (cb, cr) = (i32::from(*cb) - 128, i32::from(*cr) - 128);
                *add = [
                    f.b_cb * cb + HALF,
                    f.g_cb * cb + f.g_cr * cr + HALF,
                    f.r_cr * cr + HALF,
                ];
            }
        }
        let luma = &luma.data[y * luma.stride..][..w];
        let pairs = luma.chunks(2).zip(row.chunks_mut(6)).zip(&added);
        for ((luma, bgr), add) in pairs {
            for (l, bgr) in luma.iter().zip(bgr.chunks_exact_mut(3)) {
                let l = f.y * (i32::from(*l) - 16);
                bgr[0] = ((l + add[0]) >> BITS).clamp(0, 255) as u8;
                bgr[1] = ((l + add[1]) >> BITS).clamp(0, 255) as u8;
                bgr[2] = ((l + add[2]) >> BITS).clamp(0, 255) as u8;
            }
        }
    }
    Ok(())
}

/// Writes `height` rows of luma and `ceil(height / 2)` rows of interleaved Cb Cr, each of `stride` bytes.
///
/// # Errors
/// [`WriteError`] when the planes do not hold such a picture, or `out` is not of `stride` times so many bytes.
pub fn write_nv12(planes: &Planes<'_>, size: Size, stride: usize, out: &mut [u8]) -> Result<(), WriteError> {
    check(planes, size)?;
    let (w, h) = (size.width as usize, size.height as usize);
    let wide = w.div_ceil(2);
    if stride < 2 * wide {
        return room(2 * wide * (h + h.div_ceil(2)), out);
    }
    room(stride * (h + h.div_ceil(2)), out)?;
    let (luma, chroma) = (planes.luma(), Chroma::of(planes));
    let (upper, lower) = out.split_at_mut(stride * h);
    for (y, row) in upper.chunks_exact_mut(stride).enumerate() {
        row[..w].copy_from_slice(&luma.data[y * luma.stride..][..w]);
    }
    for (y, row) in lower.chunks_exact_mut(stride).enumerate() {
        let (cb, cr) = chroma.row(y);
        let samples = cb.iter().step_by(chroma.step).zip(cr.iter().step_by(chroma.step));
        for (out, (cb, cr)) in row[..2 * wide].chunks_exact_mut(2).zip(samples) {
            out[0] = *cb;
            out[1] = *cr;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PictureBuf;
    use crate::color::rgb8_from_planes;

    /// A picture of odd size in which every value of luma and chroma comes up.
    fn picture() -> PictureBuf {
        let size = Size::new(131, 77);
        let rgb: Vec<u8> = (0..size.width * size.height * 3)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        PictureBuf::from_rgb8(size, &rgb, Matrix::Bt709).unwrap()
    }

    #[test]
    fn bgr_is_the_exact_picture_within_one_step() {
        let buf = picture();
        let size = Size::new(131, 77);
        for matrix in [Matrix::Bt601, Matrix::Bt709] {
            for buf in [&buf, &buf.to_nv12()] {
                let planes = buf.planes();
                let mut out = vec![0; 131 * 77 * 3];
                write_bgr8(&planes, size, matrix, &mut out).unwrap();
                let exact = rgb8_from_planes(&planes, size, matrix).unwrap();
                for (bgr, rgb) in out.chunks_exact(3).zip(exact.chunks_exact(3)) {
                    for i in 0..3 {
                        assert!(bgr[i].abs_diff(rgb[2 - i]) <= 1, "{bgr:?} {rgb:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn nv12_is_the_picture_itself() {
        let buf = picture();
        let size = Size::new(131, 77);
        let mut out = vec![0; 132 * (77 + 39)];
        write_nv12(&buf.planes(), size, 132, &mut out).unwrap();
        let again = write_nv12(&buf.to_nv12().planes(), size, 132, &mut out.clone());
        assert_eq!(again, Ok(()));
        let nv12 = buf.to_nv12();
        let Planes::Nv12 { y, uv } = nv12.planes() else {
            panic!("to_nv12 gives NV12");
        };
        for row in 0..77 {
            assert_eq!(out[132 * row..][..131], y.data[y.stride * row..][..131]);
        }
        for row in 0..39 {
            assert_eq!(out[132 * (77 + row)..][..132], uv.data[uv.stride * row..][..132]);
        }
    }

    #[test]
    fn a_wrong_place_is_refused() {
        let error = write_bgr8(
            &picture().planes(),
            Size::new(131, 77),
            Matrix::Bt601,
            &mut [0; 9],
        );
        assert!(
            matches!(error, Err(WriteError::Room { there: 9, .. })),
            "{error:?}"
        );
    }
}
