//! A picture in memory of its own, and the one check of planes that others hand in.

use synoptic_base::{PixelFormat, Plane, Planes, Size, Surface, SurfaceError};

use crate::color::{Matrix, ycbcr_from_rgb};

/// Pixels a picture may have at most: 16384 x 16384, above any camera, below what overflows an index.
const MAX_PIXELS: u64 = 1 << 28;

/// Why bytes are no picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// A side is zero or the whole is too large.
    #[error("a picture of {width}x{height} is not possible: give 1 to 2^28 pixels")]
    Size {
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// A plane ends before the picture does.
    #[error("the {plane} plane has {have} bytes where {need} are needed")]
    Short {
        /// `luma`, `chroma` or `pixel`.
        plane: &'static str,
        /// Bytes there.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// A row is longer than the distance between rows.
    #[error("the {plane} plane has a stride of {stride} bytes for rows of {row} bytes")]
    Stride {
        /// `luma` or `chroma`.
        plane: &'static str,
        /// Bytes from row to row.
        stride: usize,
        /// Bytes of one row.
        row: usize,
    },
}

/// Width and height of the chroma planes.
pub(crate) fn chroma_size(size: Size) -> (usize, usize) {
    (size.width.div_ceil(2) as usize, size.height.div_ceil(2) as usize)
}

fn check_size(size: Size) -> Result<(), PictureError> {
    let pixels = u64::from(size.width) * u64::from(size.height);
    if pixels == 0 || pixels > MAX_PIXELS {
        return Err(PictureError::Size {
            width: size.width,
            height: size.height,
        });
    }
    Ok(())
}

fn check_plane(plane: Plane<'_>, name: &'static str, row: usize, rows: usize) -> Result<(), PictureError> {
    if plane.stride < row {
        return Err(PictureError::Stride {
            plane: name,
            stride: plane.stride,
            row,
        });
    }
    let need = plane.stride.saturating_mul(rows - 1).saturating_add(row);
    if plane.data.len() < need {
        return Err(PictureError::Short {
            plane: name,
            have: plane.data.len(),
            need,
        });
    }
    Ok(())
}

/// Checks that `planes` hold a picture of `size`, so that what reads them cannot run over their end.
pub(crate) fn check(planes: &Planes<'_>, size: Size) -> Result<(), PictureError> {
    check_size(size)?;
    let (cw, ch) = chroma_size(size);
    check_plane(planes.luma(), "luma", size.width as usize, size.height as usize)?;
    match planes {
        Planes::Nv12 { uv, .. } => check_plane(*uv, "chroma", 2 * cw, ch),
        Planes::I420 { u, v, .. } => {
            check_plane(*u, "chroma", cw, ch)?;
            check_plane(*v, "chroma", cw, ch)
        }
    }
}

/// Chroma as both formats give it: where Cb and Cr of a row begin, and how far apart samples lie.
#[derive(Clone, Copy)]
pub(crate) struct Chroma<'a> {
    cb: &'a [u8],
    cr: &'a [u8],
    cb_stride: usize,
    cr_stride: usize,
    /// Bytes from one sample to the next: 2 in NV12, 1 in I420.
    pub(crate) step: usize,
}

impl<'a> Chroma<'a> {
    /// The chroma of planes that [`check`] accepted.
    pub(crate) fn of(planes: &Planes<'a>) -> Chroma<'a> {
        match *planes {
            Planes::Nv12 { uv, .. } => Chroma {
                cb: uv.data,
                cr: &uv.data[1..],
                cb_stride: uv.stride,
                cr_stride: uv.stride,
                step: 2,
            },
            Planes::I420 { u, v, .. } => Chroma {
                cb: u.data,
                cr: v.data,
                cb_stride: u.stride,
                cr_stride: v.stride,
                step: 1,
            },
        }
    }
    /// Cb and Cr from row `y` on; sample `x` is at index `x * step`.
    pub(crate) fn row(&self, y: usize) -> (&'a [u8], &'a [u8]) {
        (&self.cb[y * self.cb_stride..], &self.cr[y * self.cr_stride..])
    }
}

/// A picture that owns its pixels, 8 bits, 4:2:0, limited range, rows without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PictureBuf {
    size: Size,
    format: PixelFormat,
    data: Vec<u8>,
}

impl PictureBuf {
    /// Takes the planes of `format` one after the other, `width * height` bytes of luma, then the chroma.
    ///
    /// # Errors
    /// [`PictureError`] when the size is impossible or `data` is too short; bytes beyond the picture are cut.
    pub fn new(size: Size, format: PixelFormat, mut data: Vec<u8>) -> Result<PictureBuf, PictureError> {
        check_size(size)?;
        let need = PictureBuf::bytes(size);
        if data.len() < need {
            return Err(PictureError::Short {
                plane: "pixel",
                have: data.len(),
                need,
            });
        }
        data.truncate(need);
        Ok(PictureBuf { size, format, data })
    }

    /// Bytes of a picture of `size`.
    pub fn bytes(size: Size) -> usize {
        let (cw, ch) = chroma_size(size);
        size.width as usize * size.height as usize + 2 * cw * ch
    }

    /// An I420 picture from rows of R, G, B bytes; chroma is the mean of each 2 x 2 block.
    ///
    /// # Errors
    /// As [`PictureBuf::new`].
    pub fn from_rgb8(size: Size, rgb: &[u8], matrix: Matrix) -> Result<PictureBuf, PictureError> {
        check_size(size)?;
        let (w, h) = (size.width as usize, size.height as usize);
        if rgb.len() < w * h * 3 {
            return Err(PictureError::Short {
                plane: "pixel",
                have: rgb.len(),
                need: w * h * 3,
            });
        }
        let (cw, ch) = chroma_size(size);
        let mut data = vec![0; PictureBuf::bytes(size)];
        let (luma, chroma) = data.split_at_mut(w * h);
        let (cb_plane, cr_plane) = chroma.split_at_mut(cw * ch);
        for cy in 0..ch {
            for cx in 0..cw {
                let (mut cb_sum, mut cr_sum, mut n) = (0.0, 0.0, 0.0);
                for y in 2 * cy..(2 * cy + 2).min(h) {
                    for x in 2 * cx..(2 * cx + 2).min(w) {
                        let p = &rgb[(y * w + x) * 3..][..3];
                        let (l, cb, cr) = ycbcr_from_rgb(matrix, [p[0], p[1], p[2]]);
                        luma[y * w + x] = (l + 0.5) as u8;
                        cb_sum += cb;
                        cr_sum += cr;
                        n += 1.0;
                    }
                }
                cb_plane[cy * cw + cx] = (cb_sum / n + 0.5) as u8;
                cr_plane[cy * cw + cx] = (cr_sum / n + 0.5) as u8;
            }
        }
        Ok(PictureBuf {
            size,
            format: PixelFormat::I420,
            data,
        })
    }

    /// The luma plane, `width * height` bytes.
    pub fn luma_mut(&mut self) -> &mut [u8] {
        let n = self.size.width as usize * self.size.height as usize;
        &mut self.data[..n]
    }

    /// A black NV12 picture.
    ///
    /// # Errors
    /// [`PictureError`] when the size is impossible.
    pub fn black(size: Size) -> Result<PictureBuf, PictureError> {
        check_size(size)?;
        let mut data = vec![128; PictureBuf::bytes(size)];
        data[..size.width as usize * size.height as usize].fill(16);
        PictureBuf::new(size, PixelFormat::Nv12, data)
    }

    /// The luma plane, and all chroma: interleaved in an NV12 picture.
    pub(crate) fn nv12_mut(&mut self) -> (&mut [u8], &mut [u8]) {
        let n = self.size.width as usize * self.size.height as usize;
        self.data.split_at_mut(n)
    }

    /// The planes.
    pub fn planes(&self) -> Planes<'_> {
        let (cw, ch) = chroma_size(self.size);
        let (y, chroma) = self
            .data
            .split_at(self.size.width as usize * self.size.height as usize);
        let y = Plane {
            data: y,
            stride: self.size.width as usize,
        };
        match self.format {
            PixelFormat::Nv12 => Planes::Nv12 {
                y,
                uv: Plane {
                    data: chroma,
                    stride: 2 * cw,
                },
            },
            PixelFormat::I420 => {
                let (u, v) = chroma.split_at(cw * ch);
                Planes::I420 {
                    y,
                    u: Plane { data: u, stride: cw },
                    v: Plane { data: v, stride: cw },
                }
            }
        }
    }

    /// The same picture with its chroma interleaved.
    pub fn to_nv12(&self) -> PictureBuf {
        let (cw, ch) = chroma_size(self.size);
        let n = self.size.width as usize * self.size.height as usize;
        let mut data = self.data.clone();
        if self.format == PixelFormat::I420 {
            for i in 0..cw * ch {
                data[n + 2 * i] = self.data[n + i];
                data[n + 2 * i + 1] = self.data[n + cw * ch + i];
            }
        }
        PictureBuf {
            size: self.size,
            format: PixelFormat::Nv12,
            data,
        }
    }
}

impl Surface for PictureBuf {
    fn size(&self) -> Size {
        self.size
    }
    fn format(&self) -> PixelFormat {
        self.format
    }
    fn with_planes(&self, read: &mut dyn FnMut(Planes<'_>)) -> Result<(), SurfaceError> {
        read(self.planes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_that_are_too_short_are_refused() {
        let size = Size::new(5, 3);
        assert_eq!(PictureBuf::bytes(size), 15 + 2 * 6);
        let whole = PictureBuf::new(size, PixelFormat::I420, vec![0; 27]).unwrap();
        assert_eq!(check(&whole.planes(), size), Ok(()));
        assert_eq!(check(&whole.to_nv12().planes(), size), Ok(()));
        assert!(matches!(
            PictureBuf::new(size, PixelFormat::Nv12, vec![0; 26]),
            Err(PictureError::Short {
                have: 26,
                need: 27,
                ..
            })
        ));
        assert!(matches!(
            check(&whole.planes(), Size::new(5, 5)),
            Err(PictureError::Short { plane: "luma", .. })
        ));
        assert!(matches!(
            check(&whole.planes(), Size::new(6, 2)),
            Err(PictureError::Stride { .. })
        ));
        assert!(check(&whole.planes(), Size::new(0, 3)).is_err());
        assert!(PictureBuf::new(Size::new(1 << 20, 1 << 20), PixelFormat::I420, vec![]).is_err());
    }
}
