//! JPEG stills out of video planes, and back. JFIF 1.02: full range BT.601, 8 bits.
//!
//! Encoding never makes RGB: luma and chroma are stretched from limited to full range, and for BT.709 video turned
//! into BT.601 by a 3 x 3 matrix, row by row as the encoder asks for them.

use jpeg_encoder::{ChromaSubsamplingMethod, Encoder, ImageBuffer, JpegColorType, SamplingFactor};
use synoptic_base::{Planes, Size, Surface, SurfaceError};

use crate::PictureBuf;
use crate::color::{Matrix, read};
use crate::picture::{Chroma, PictureError, check};

/// Decoded bytes a JPEG may have: enough for 100 megapixels, so that a small file cannot fill the memory.
const MAX_DECODED_BYTES: usize = 320 << 20;

/// Why a JPEG could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum JpegError {
    /// The pixels cannot be mapped.
    #[error(transparent)]
    Surface(#[from] SurfaceError),
    /// The planes are not what the size says.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// JPEG ends at 65535 pixels a side.
    #[error("{0}x{1} is too large for JPEG, which ends at 65535 pixels a side")]
    TooLarge(u32, u32),
    /// The encoder failed.
    #[error("cannot encode JPEG: {0}")]
    Encode(#[from] jpeg_encoder::EncodingError),
    /// The file is damaged or of a kind that is not read.
    #[error("cannot decode JPEG: {0}")]
    Decode(#[from] jpeg_decoder::Error),
    /// A kind of pixels that cameras do not make.
    #[error("cannot decode JPEG with pixels of kind {0}: give an 8-bit grey or colour picture")]
    Pixels(String),
}

/// Video planes as the encoder wants them: full range, one value a pixel.
struct FullRange<'a> {
    planes: Planes<'a>,
    chroma: Chroma<'a>,
    width: u16,
    height: u16,
    matrix: Matrix,
}

/// Full range luma, Cb and Cr out of limited range; offsets not included.
const LUMA_GAIN: f32 = 255.0 / 219.0;
const CHROMA_GAIN: f32 = 255.0 / 224.0;

/// BT.601 out of full range BT.709 Y'CbCr, chroma around 0: the product of BT.709's matrix to RGB with BT.601's
/// from RGB. Luma gains `y_cb * cb + y_cr * cr`; chroma is `[[cb_cb, cb_cr], [cr_cb, cr_cr]]`.
struct Rematrix {
    y_cb: f32,
    y_cr: f32,
    cb_cb: f32,
    cb_cr: f32,
    cr_cb: f32,
    cr_cr: f32,
}

impl Rematrix {
    fn to_bt601(from: Matrix) -> Rematrix {
        let mut m = Rematrix {
            y_cb: 0.0,
            y_cr: 0.0,
            cb_cb: 1.0,
            cb_cr: 0.0,
            cr_cb: 0.0,
            cr_cr: 1.0,
        };
        if from == Matrix::Bt709 {
            // RGB offsets that one unit of BT.709 Cb or Cr makes, seen by BT.601.
            let (kr, kg, kb) = (0.2126_f32, 0.7152_f32, 0.0722_f32);
            let seen = |r: f32, g: f32, b: f32| {
                let y = 0.299 * r + 0.587 * g + 0.114 * b;
                (y, (b - y) / 1.772, (r - y) / 1.402)
            };
            (m.y_cb, m.cb_cb, m.cr_cb) = seen(0.0, -2.0 * (1.0 - kb) * kb / kg, 2.0 * (1.0 - kb));
            (m.y_cr, m.cb_cr, m.cr_cr) = seen(2.0 * (1.0 - kr), -2.0 * (1.0 - kr) * kr / kg, 0.0);
        }
        m
    }
}

fn byte(v: f32) -> u8 {
    // Saturates; NaN cannot arise from bytes.
    (v + 0.5) as u8
}

impl ImageBuffer for FullRange<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }
    fn width(&self) -> u16 {
        self.width
    }
    fn height(&self) -> u16 {
        self.height
    }
    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let m = Rematrix::to_bt601(self.matrix);
        let w = usize::from(self.width);
        let luma = self.planes.luma();
        let row = &luma.data[usize::from(y) * luma.stride..][..w];
        let (cb_row, cr_row) = self.chroma.row(usize::from(y) / 2);
        for (c, pair) in row.chunks(2).enumerate() {
            let cb = (f32::from(cb_row[c * self.chroma.step]) - 128.0) * CHROMA_GAIN;
            let cr = (f32::from(cr_row[c * self.chroma.step]) - 128.0) * CHROMA_GAIN;
            let more = m.y_cb * cb + m.y_cr * cr;
            let (cb, cr) = (
                byte(128.0 + m.cb_cb * cb + m.cb_cr * cr),
                byte(128.0 + m.cr_cb * cb + m.cr_cr * cr),
            );
            for &l in pair {
                buffers[0].push(byte((f32::from(l) - 16.0) * LUMA_GAIN + more));
                buffers[1].push(cb);
                buffers[2].push(cr);
            }
        }
    }
}

/// A JPEG of `surface`, 4:2:0, baseline. `quality` 1 (worst) to 100; values outside are brought inside.
///
/// The matrix of the video is guessed by its size ([`Matrix::guess`]).
///
/// # Errors
/// [`JpegError`] when the pixels cannot be mapped, are not what the size says, or are too many for JPEG.
pub fn encode(surface: &dyn Surface, quality: u8) -> Result<Vec<u8>, JpegError> {
    let size = surface.size();
    let (Ok(width), Ok(height)) = (u16::try_from(size.width), u16::try_from(size.height)) else {
        return Err(JpegError::TooLarge(size.width, size.height));
    };
    read(surface, |planes| {
        check(&planes, size)?;
        let image = FullRange {
            planes,
            chroma: Chroma::of(&planes),
            width,
            height,
            matrix: Matrix::guess(size),
        };
        let mut file = Vec::with_capacity(size.width as usize * size.height as usize / 8);
        let mut encoder = Encoder::new(&mut file, quality.clamp(1, 100));
        encoder.set_sampling_factor(SamplingFactor::F_2_2);
        // The four values of a block are equal: the first is their mean.
        encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Nearest);
        encoder.encode_image(image)?;
        Ok(file)
    })?
}

/// An I420 picture out of a JPEG file, in the range and with the matrix that video of its size has.
///
/// # Errors
/// [`JpegError`] when the file is damaged, not 8-bit grey or colour, or larger than 100 megapixels.
pub fn decode(file: &[u8]) -> Result<PictureBuf, JpegError> {
    let mut decoder = jpeg_decoder::Decoder::new(file);
    decoder.set_max_decoding_buffer_size(MAX_DECODED_BYTES);
    let pixels = decoder.decode()?;
    let info = decoder
        .info()
        .ok_or_else(|| JpegError::Pixels("unknown".to_owned()))?;
    let size = Size::new(u32::from(info.width), u32::from(info.height));
    let rgb = match info.pixel_format {
        jpeg_decoder::PixelFormat::RGB24 => pixels,
        jpeg_decoder::PixelFormat::L8 => pixels.iter().flat_map(|&l| [l; 3]).collect(),
        other => return Err(JpegError::Pixels(format!("{other:?}"))),
    };
    Ok(PictureBuf::from_rgb8(size, &rgb, Matrix::guess(size))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::rgb8;

    /// Smooth colours, so that the quantiser takes little away.
    fn gradient(size: Size) -> Vec<u8> {
        let mut rgb = Vec::new();
        for y in 0..size.height {
            for x in 0..size.width {
                rgb.extend([
                    (x * 255 / size.width) as u8,
                    (y * 255 / size.height) as u8,
                    (255 - x * 200 / size.width) as u8,
                ]);
            }
        }
        rgb
    }

    #[test]
    fn colours_survive_for_sd_and_hd_in_both_formats_and_odd_sizes() {
        for size in [Size::new(321, 179), Size::new(1280, 720)] {
            let rgb = gradient(size);
            let i420 = PictureBuf::from_rgb8(size, &rgb, Matrix::guess(size)).unwrap();
            for picture in [i420.to_nv12(), i420] {
                let file = encode(&picture, 95).unwrap();
                let back = decode(&file).unwrap();
                assert_eq!(back.size(), size);
                let back = rgb8(&back, None).unwrap();
                let error: u64 = back
                    .iter()
                    .zip(&rgb)
                    .map(|(a, b)| u64::from(a.abs_diff(*b)))
                    .sum();
                let mean = error as f64 / rgb.len() as f64;
                assert!(mean < 2.5, "{size:?}: mean error {mean}");
                // What another reader sees, without our way back: the matrix and range are the file's own.
                let seen = jpeg_decoder::Decoder::new(file.as_slice()).decode().unwrap();
                let error: u64 = seen
                    .iter()
                    .zip(&rgb)
                    .map(|(a, b)| u64::from(a.abs_diff(*b)))
                    .sum();
                assert!((error as f64 / rgb.len() as f64) < 2.5);
            }
        }
    }

    #[test]
    fn nonsense_is_refused_with_words() {
        assert!(decode(b"").is_err());
        assert!(decode(b"\xff\xd8\xff\xe0 no picture").is_err());
        let picture = PictureBuf::from_rgb8(Size::new(16, 16), &[9; 768], Matrix::Bt601).unwrap();
        let mut file = encode(&picture, 0).unwrap();
        file.truncate(file.len() / 3);
        assert!(decode(&file).is_err());
        let wide = PictureBuf::new(
            Size::new(70_000, 1),
            synoptic_base::PixelFormat::I420,
            vec![0; 140_000],
        );
        assert!(matches!(
            encode(&wide.unwrap(), 80),
            Err(JpegError::TooLarge(70_000, 1))
        ));
    }
}
