//! An I420 picture that can be painted on.

use synoptic_base::{Plane, Planes, Size};

/// A colour in limited-range Y'CbCr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Colour(pub u8, pub u8, pub u8);

/// Chroma of grey.
pub(crate) const NEUTRAL: u8 = 128;

/// A picture in host memory: planes Y, Cb, Cr one after the other without padding, 4:2:0, 8 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    size: Size,
    bytes: Vec<u8>,
}

impl Picture {
    /// A grey picture. `size` is even in both directions.
    pub(crate) fn new(size: Size) -> Picture {
        let luma = size.width as usize * size.height as usize;
        Picture {
            size,
            bytes: vec![NEUTRAL; luma + luma / 2],
        }
    }

    /// Its size.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The planes.
    pub fn planes(&self) -> Planes<'_> {
        let width = self.size.width as usize;
        let (y, chroma) = self.bytes.split_at(width * self.size.height as usize);
        let (u, v) = chroma.split_at(chroma.len() / 2);
        let plane = |data, stride| Plane { data, stride };
        Planes::I420 {
            y: plane(y, width),
            u: plane(u, width / 2),
            v: plane(v, width / 2),
        }
    }

    /// The bytes: `width * height * 3 / 2` of them.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn luma_mut(&mut self) -> &mut [u8] {
        let luma = self.size.width as usize * self.size.height as usize;
        &mut self.bytes[..luma]
    }

    pub(crate) fn set_pixel(&mut self, x: usize, y: usize, colour: Colour) {
        self.fill_row(y, x as f32, x as f32 + 1.0, colour);
    }

    /// Fills rows `top..bottom` (pixels), each from left to right as `span` says for the middle of the row.
    pub(crate) fn fill(
        &mut self,
        top: f32,
        bottom: f32,
        colour: Colour,
        span: impl Fn(f32) -> Option<(f32, f32)>,
    ) {
        let last = self.size.height as f32;
        for y in top.round().clamp(0.0, last) as usize..bottom.round().clamp(0.0, last) as usize {
            if let Some((left, right)) = span(y as f32 + 0.5) {
                self.fill_row(y, left, right, colour);
            }
        }
    }

    pub(crate) fn fill_rect(&mut self, left: f32, top: f32, right: f32, bottom: f32, colour: Colour) {
        self.fill(top, bottom, colour, |_| Some((left, right)));
    }

    pub(crate) fn fill_ellipse(&mut self, cx: f32, cy: f32, rx: f32, ry: f32, colour: Colour) {
        self.fill(cy - ry, cy + ry, colour, |y| {
            let up = (y - cy) / ry;
            let half = rx * (1.0 - up * up).max(0.0).sqrt();
            Some((cx - half, cx + half))
        });
    }

    fn fill_row(&mut self, y: usize, left: f32, right: f32, colour: Colour) {
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let clip = |x: f32| x.round().clamp(0.0, width as f32) as usize;
        let (left, right) = (clip(left), clip(right));
        if left >= right || y >= height {
            return;
        }
        self.bytes[y * width + left..y * width + right].fill(colour.0);
        if y.is_multiple_of(2) {
            let (half, plane) = (width / 2, width * height / 4);
            let start = width * height + y / 2 * half;
            for (plane_start, value) in [(start, colour.1), (start + plane, colour.2)] {
                self.bytes[plane_start + left / 2..plane_start + right.div_ceil(2)].fill(value);
            }
        }
    }

    /// The window of `size` pixels whose left edge is at `left` (even), from the top.
    pub(crate) fn window(&self, left: usize, size: Size) -> Picture {
        let (from_width, width) = (self.size.width as usize, size.width as usize);
        let rows = size.height.min(self.size.height) as usize;
        let mut bytes = Vec::with_capacity(width * rows * 3 / 2);
        let mut start = 0;
        for (scale, planes) in [(1, 1), (2, 2)] {
            for _ in 0..planes {
                for row in 0..rows / scale {
                    let at = start + row * from_width / scale + left / scale;
                    bytes.extend_from_slice(&self.bytes[at..at + width / scale]);
                }
                start += (from_width / scale) * (self.size.height as usize / scale);
            }
        }
        Picture { size, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_shows_the_same_pixels() {
        let mut wide = Picture::new(Size::new(64, 16));
        wide.fill_rect(20.0, 4.0, 30.0, 8.0, Colour(200, 10, 20));
        let window = wide.window(16, Size::new(32, 16));
        let Planes::I420 { y, u, v } = window.planes() else {
            unreachable!()
        };
        assert_eq!(
            (y.data[4 * 32 + 4], y.data[4 * 32 + 3], y.data[4 * 32 + 13]),
            (200, NEUTRAL, 200)
        );
        assert_eq!((u.data[2 * 16 + 2], v.data[3 * 16 + 6]), (10, 20));
        assert_eq!(window.into_bytes().len(), 32 * 16 * 3 / 2);
    }

    #[test]
    fn shapes_outside_are_clipped() {
        let mut picture = Picture::new(Size::new(16, 16));
        picture.fill_ellipse(-3.0, 20.0, 50.0, 50.0, Colour(1, 2, 3));
        picture.fill_rect(-9.0, -9.0, 90.0, 90.0, Colour(1, 2, 3));
        assert!(picture.luma_mut().iter().all(|&y| y == 1));
    }
}
