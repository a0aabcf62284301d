//! Y'CbCr and RGB: coefficients of ITU-R BT.601-7 and BT.709-6, 8 bits, limited range.

use synoptic_base::{Planes, Size, Surface, SurfaceError};

use crate::picture::{Chroma, PictureError, check};

/// Lines from which video is taken as BT.709, as players do when a stream says nothing.
const HD_LINES: u32 = 720;

/// Which standard's coefficients a picture was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Matrix {
    /// SD video, and every JPEG.
    Bt601,
    /// HD video.
    Bt709,
}

impl Matrix {
    /// The usual choice for video of `size`: BT.601 below 720 lines, else BT.709.
    pub const fn guess(size: Size) -> Matrix {
        if size.height < HD_LINES {
            Matrix::Bt601
        } else {
            Matrix::Bt709
        }
    }

    /// Weights of red and blue in luma.
    pub(crate) const fn kr_kb(self) -> (f32, f32) {
        match self {
            Matrix::Bt601 => (0.299, 0.114),
            Matrix::Bt709 => (0.2126, 0.0722),
        }
    }

    /// Factors from limited range Y'CbCr to RGB of 0 to 255.
    pub(crate) fn to_rgb(self) -> ToRgb {
        let (kr, kb) = self.kr_kb();
        let kg = 1.0 - kr - kb;
        let chroma = 255.0 / 224.0;
        ToRgb {
            y: 255.0 / 219.0,
            r_cr: 2.0 * (1.0 - kr) * chroma,
            g_cb: -2.0 * (1.0 - kb) * kb / kg * chroma,
            g_cr: -2.0 * (1.0 - kr) * kr / kg * chroma,
            b_cb: 2.0 * (1.0 - kb) * chroma,
        }
    }
}

/// Factors from limited range Y'CbCr to RGB of 0 to 255.
#[derive(Clone, Copy)]
pub(crate) struct ToRgb {
    y: f32,
    r_cr: f32,
    g_cb: f32,
    g_cr: f32,
    b_cb: f32,
}

impl ToRgb {
    /// R, G, B in 0 to 255 of one pixel, not rounded.
    #[inline]
    pub(crate) fn rgb(&self, y: f32, cb: f32, cr: f32) -> [f32; 3] {
        let (y, cb, cr) = (self.y * (y - 16.0), cb - 128.0, cr - 128.0);
        [
            (y + self.r_cr * cr).clamp(0.0, 255.0),
            (y + self.g_cb * cb + self.g_cr * cr).clamp(0.0, 255.0),
            (y + self.b_cb * cb).clamp(0.0, 255.0),
        ]
    }
}

/// Limited range Y', Cb, Cr of an RGB pixel, not rounded.
pub fn ycbcr_from_rgb(matrix: Matrix, rgb: [u8; 3]) -> (f32, f32, f32) {
    let (kr, kb) = matrix.kr_kb();
    let [r, g, b] = rgb.map(f32::from);
    let y = kr * r + (1.0 - kr - kb) * g + kb * b;
    (
        16.0 + y * (219.0 / 255.0),
        128.0 + (b - y) / (2.0 * (1.0 - kb)) * (224.0 / 255.0),
        128.0 + (r - y) / (2.0 * (1.0 - kr)) * (224.0 / 255.0),
    )
}

/// Why a picture could not be turned into RGB.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColorError {
    /// Its pixels cannot be mapped.
    #[error(transparent)]
    Surface(#[from] SurfaceError),
    /// Its planes are not what its size says.
    #[error(transparent)]
    Picture(#[from] PictureError),
}

/// Rows of R, G, B bytes of planes that hold a picture of `size`; every chroma sample serves its four pixels.
///
/// # Errors
/// [`PictureError`] when the planes do not hold such a picture.
pub fn rgb8_from_planes(planes: &Planes<'_>, size: Size, matrix: Matrix) -> Result<Vec<u8>, PictureError> {
    check(planes, size)?;
    let (w, h) = (size.width as usize, size.height as usize);
    let (luma, chroma, to_rgb) = (planes.luma(), Chroma::of(planes), matrix.to_rgb());
    let mut rgb = Vec::with_capacity(w * h * 3);
    for y in 0..h {
        let (cb, cr) = chroma.row(y / 2);
        let row = &luma.data[y * luma.stride..][..w];
        for (x, &l) in row.iter().enumerate() {
            let c = x / 2 * chroma.step;
            let pixel = to_rgb.rgb(f32::from(l), f32::from(cb[c]), f32::from(cr[c]));
            rgb.extend(pixel.map(|v| (v + 0.5) as u8));
        }
    }
    Ok(rgb)
}

/// [`rgb8_from_planes`] of a surface; `matrix` is guessed by its size when `None`.
///
/// # Errors
/// [`ColorError`] when the pixels cannot be mapped or are not what the size says.
pub fn rgb8(surface: &dyn Surface, matrix: Option<Matrix>) -> Result<Vec<u8>, ColorError> {
    let size = surface.size();
    let matrix = matrix.unwrap_or(Matrix::guess(size));
    Ok(read(surface, |planes| rgb8_from_planes(&planes, size, matrix))??)
}

/// Calls `f` once with the planes of `surface` and returns its result.
pub(crate) fn read<T>(surface: &dyn Surface, mut f: impl FnMut(Planes<'_>) -> T) -> Result<T, SurfaceError> {
    let mut result = None;
    surface.with_planes(&mut |planes| result = Some(f(planes)))?;
    result.ok_or_else(|| SurfaceError("the surface gave no planes".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PictureBuf;

    #[test]
    fn primaries_have_the_values_of_the_standards() {
        let rounded = |m, rgb| {
            let (y, cb, cr) = ycbcr_from_rgb(m, rgb);
            [y, cb, cr].map(|v| v.round() as i32)
        };
        // 75 % colour bars would be the usual check; full red and blue say the same with fewer digits.
        assert_eq!(rounded(Matrix::Bt601, [255, 0, 0]), [81, 90, 240]);
        assert_eq!(rounded(Matrix::Bt709, [255, 0, 0]), [63, 102, 240]);
        assert_eq!(rounded(Matrix::Bt601, [0, 0, 255]), [41, 240, 110]);
        assert_eq!(rounded(Matrix::Bt709, [255, 255, 255]), [235, 128, 128]);
    }

    #[test]
    fn rgb_survives_the_way_through_planes_in_both_formats() {
        let size = Size::new(6, 4);
        for matrix in [Matrix::Bt601, Matrix::Bt709] {
            for colour in [[200, 30, 90], [0, 255, 0], [17, 17, 230]] {
                let rgb: Vec<u8> = colour.repeat(24);
                let picture = PictureBuf::from_rgb8(size, &rgb, matrix).unwrap();
                for picture in [picture.to_nv12(), picture] {
                    let back = rgb8(&picture, Some(matrix)).unwrap();
                    for (a, b) in back.iter().zip(&rgb) {
                        assert!(a.abs_diff(*b) <= 3, "{matrix:?} {colour:?}: {a} for {b}");
                    }
                }
            }
        }
    }
}
