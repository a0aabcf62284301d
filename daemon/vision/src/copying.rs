//! Copies of pictures that others own, whole or in part.

use synoptic_base::{BBox, PixelFormat, Planes, Size, Surface};

use crate::PictureBuf;
use crate::color::{ColorError, read};
use crate::picture::{check, chroma_size};

/// Smallest side of a part, in pixels: below, no detector finds anything.
const MIN_SIDE: u32 = 16;

/// A part of a picture in whole chroma samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    left: usize,
    top: usize,
    size: Size,
}

impl Part {
    /// The smallest that holds `region` (fractions of the picture) and has even edges.
    fn of(size: Size, region: &BBox) -> Part {
        let side = |from: f32, len: f32, all: u32| {
            let least = MIN_SIDE.min(all);
            let first = ((from.max(0.0) * all as f32) as u32).min(all - least) & !1;
            let end = ((from + len) * all as f32).ceil() as u32;
            let end = end
                .next_multiple_of(2)
                .clamp(first + least, all.max(first + least));
            (first, end.min(all) - first)
        };
        let (left, width) = side(region.x, region.w, size.width);
        let (top, height) = side(region.y, region.h, size.height);
        Part {
            left: left as usize,
            top: top as usize,
            size: Size::new(width, height),
        }
    }
}

impl PictureBuf {
    /// The whole of `from`.
    ///
    /// # Errors
    /// When its pixels cannot be read, in words.
    pub fn copy(from: &dyn Surface) -> Result<PictureBuf, String> {
        let size = from.size();
        let whole = Part {
            left: 0,
            top: 0,
            size,
        };
        copy(from, whole)
    }

    /// The part of `from` that holds `region`, in fractions of the picture, and where exactly it lies.
    ///
    /// # Errors
    /// As [`PictureBuf::copy`].
    pub fn part(from: &dyn Surface, region: &BBox) -> Result<(PictureBuf, BBox), String> {
        let size = from.size();
        let part = Part::of(size, region);
        let (w, h) = (size.width as f32, size.height as f32);
        let place = BBox::new(
            part.left as f32 / w,
            part.top as f32 / h,
            part.size.width as f32 / w,
            part.size.height as f32 / h,
        );
        Ok((copy(from, part)?, place))
    }
}

fn copy(from: &dyn Surface, part: Part) -> Result<PictureBuf, String> {
    let size = from.size();
    let mut data = Vec::with_capacity(PictureBuf::bytes(part.size));
    let format = from.format();
    let done = read(from, |planes| {
        check(&planes, size)?;
        let (w, h) = (part.size.width as usize, part.size.height as usize);
        let (cw, ch) = chroma_size(part.size);
        let mut take = |plane: synoptic_base::Plane<'_>, left: usize, top: usize, row: usize, rows: usize| {
            for y in top..top + rows {
                data.extend_from_slice(&plane.data[y * plane.stride + left..][..row]);
            }
        };
        let (left, top) = (part.left, part.top);
        match planes {
            Planes::Nv12 { y, uv } => {
                take(y, left, top, w, h);
                take(uv, left, top / 2, 2 * cw, ch);
            }
            Planes::I420 { y, u, v } => {
                take(y, left, top, w, h);
                take(u, left / 2, top / 2, cw, ch);
                take(v, left / 2, top / 2, cw, ch);
            }
        }
        Ok::<PixelFormat, ColorError>(match planes {
            Planes::Nv12 { .. } => PixelFormat::Nv12,
            Planes::I420 { .. } => PixelFormat::I420,
        })
    });
    let given = done
        .map_err(ColorError::from)
        .flatten()
        .map_err(|e| e.to_string())?;
    if given != format {
        return Err(format!(
            "a picture said to be {format:?} has the planes of {given:?}"
        ));
    }
    PictureBuf::new(part.size, format, data).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every sample says where it is.
    fn marked(size: Size, format: PixelFormat) -> PictureBuf {
        let (cw, ch) = chroma_size(size);
        let (w, h) = (size.width as usize, size.height as usize);
        let mut data: Vec<u8> = (0..w * h).map(|i| (10 * (i / w) + i % w) as u8).collect();
        data.extend((0..2 * cw * ch).map(|i| (60 + i) as u8));
        PictureBuf::new(size, format, data).unwrap()
    }

    #[test]
    fn the_whole_is_the_same_and_a_part_has_its_own_pixels() {
        let size = Size::new(20, 18);
        for format in [PixelFormat::Nv12, PixelFormat::I420] {
            let all = marked(size, format);
            assert_eq!(PictureBuf::copy(&all).unwrap(), all);
            let (part, place) = PictureBuf::part(&all, &BBox::new(0.2, 0.0, 0.8, 1.0)).unwrap();
            assert_eq!((part.size().width, part.size().height), (16, 18));
            assert_eq!((place.x, place.w), (0.2, 0.8));
            let luma = part.planes().luma();
            assert_eq!(luma.data[..2], [4, 5]);
            assert_eq!(luma.data[16], 14);
            let first = match part.planes() {
                Planes::Nv12 { uv, .. } => uv.data[..2].to_vec(),
                Planes::I420 { u, v, .. } => vec![u.data[0], v.data[0]],
            };
            let wanted = match format {
                PixelFormat::Nv12 => vec![64, 65],
                PixelFormat::I420 => vec![62, 62 + 90],
            };
            assert_eq!(first, wanted);
        }
    }

    #[test]
    fn every_region_gives_a_part_inside_the_picture() {
        for (w, h) in [(1, 1), (15, 7), (17, 31), (640, 360), (641, 361)] {
            let size = Size::new(w, h);
            for region in [
                BBox::new(0.0, 0.0, 1.0, 1.0),
                BBox::new(0.99, 0.99, 0.01, 0.01),
                BBox::new(0.333, 0.5, 0.1, 0.5),
                BBox::new(0.0, 0.0, 1e-6, 1e-6),
            ] {
                let part = Part::of(size, &region);
                let right = part.left as u32 + part.size.width;
                let bottom = part.top as u32 + part.size.height;
                assert!(right <= w && bottom <= h, "{size:?} {region:?} {part:?}");
                assert!(
                    part.size.width >= 16.min(w) && part.left.is_multiple_of(2),
                    "{size:?} {part:?}"
                );
                assert!(PictureBuf::part(&PictureBuf::black(size).unwrap(), &region).is_ok());
            }
        }
    }
}
