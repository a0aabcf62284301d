//! A grey picture of floats: what features, refinement and masks work on.

use synoptic_base::{Plane, Size};

/// Luma as floats, 0 to 255, rows without gaps.
#[derive(Clone, Debug, PartialEq)]
pub struct Gray {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// `width * height` values, rows first.
    pub data: Vec<f32>,
}

impl Gray {
    /// A picture of one value.
    pub fn flat(width: usize, height: usize, value: f32) -> Gray {
        Gray {
            width,
            height,
            data: vec![value; width * height],
        }
    }

    /// The luma of a picture; `None` when the plane is smaller than `size` says.
    pub fn from_luma(plane: Plane<'_>, size: Size) -> Option<Gray> {
        let (width, height) = (size.width as usize, size.height as usize);
        let mut data = Vec::with_capacity(width * height);
        for y in 0..height {
            let row = plane.data.get(y * plane.stride..y * plane.stride + width)?;
            data.extend(row.iter().map(|v| f32::from(*v)));
        }
        Some(Gray { width, height, data })
    }

    /// Its size in pixels.
    pub fn size(&self) -> Size {
        Size::new(self.width as u32, self.height as u32)
    }

    /// The value of a pixel, edges repeated outwards.
    pub fn at(&self, x: isize, y: isize) -> f32 {
        let x = x.clamp(0, self.width as isize - 1) as usize;
        let y = y.clamp(0, self.height as isize - 1) as usize;
        self.data[y * self.width + x]
    }

    /// The value between pixels by the cubic of Keys (1981), a = -1/2: third order, as sub-pixel matches suffer
    /// from linear interpolation.
    pub fn cubic(&self, x: f64, y: f64) -> f32 {
        let (bx, by) = (x.floor(), y.floor());
        let wx = cubic_weights((x - bx) as f32);
        let wy = cubic_weights((y - by) as f32);
        let (bx, by) = (bx as isize - 1, by as isize - 1);
        let inside = bx >= 0 && by >= 0 && bx + 3 < self.width as isize && by + 3 < self.height as isize;
        let mut sum = 0.0;
        if inside {
            for (j, wy) in wy.iter().enumerate() {
                let start = (by as usize + j) * self.width + bx as usize;
                let row = &self.data[start..start + 4];
                sum += wy * (row[0] * wx[0] + row[1] * wx[1] + row[2] * wx[2] + row[3] * wx[3]);
            }
        } else {
            for (j, wy) in wy.iter().enumerate() {
                for (i, wx) in wx.iter().enumerate() {
                    sum += wy * wx * self.at(bx + i as isize, by + j as isize);
                }
            }
        }
        sum
    }

    /// Blurred by a Gaussian of `sigma` pixels.
    pub fn blurred(&self, sigma: f32) -> Gray {
        let radius = (3.0 * sigma).ceil().max(1.0) as isize;
        let mut kernel: Vec<f32> = (-radius..=radius)
            .map(|i| (-((i * i) as f32) / (2.0 * sigma * sigma)).exp())
            .collect();
        let sum: f32 = kernel.iter().sum();
        kernel.iter_mut().for_each(|k| *k /= sum);
        let (w, h) = (self.width, self.height);
        let mut across = vec![0.0; w * h];
        for (row_in, row_out) in self.data.chunks_exact(w).zip(across.chunks_exact_mut(w)) {
            for (x, out) in row_out.iter_mut().enumerate() {
                let x = x as isize;
                let mut sum = 0.0;
                for (k, i) in kernel.iter().zip(x - radius..) {
                    sum += k * row_in[i.clamp(0, w as isize - 1) as usize];
                }
                *out = sum;
            }
        }
        let mut data = vec![0.0; w * h];
        for (y, row_out) in data.chunks_exact_mut(w).enumerate() {
            for (k, i) in kernel.iter().zip(y as isize - radius..) {
                let from = i.clamp(0, h as isize - 1) as usize * w;
                for (out, v) in row_out.iter_mut().zip(&across[from..from + w]) {
                    *out += k * v;
                }
            }
        }
        Gray {
            width: w,
            height: h,
            data,
        }
    }

    /// Half as large both ways; pixel (x, y) of the result lies at (2x + 0.5, 2y + 0.5) of this.
    pub fn halved(&self) -> Gray {
        let (width, height) = (self.width / 2, self.height / 2);
        let mut data = Vec::with_capacity(width * height);
        for y in 0..height {
            let upper = &self.data[2 * y * self.width..];
            let lower = &self.data[(2 * y + 1) * self.width..];
            for x in 0..width {
                data.push((upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1]) / 4.0);
            }
        }
        Gray { width, height, data }
    }
}

fn cubic_weights(t: f32) -> [f32; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [
        -0.5 * t3 + t2 - 0.5 * t,
        1.5 * t3 - 2.5 * t2 + 1.0,
        -1.5 * t3 + 2.0 * t2 + 0.5 * t,
        0.5 * t3 - 0.5 * t2,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_pixels_a_parabola_is_met_exactly() {
        let f = |x: f64, y: f64| (0.3 * x * x - 0.1 * y * y + 0.2 * x * y + 5.0) as f32;
        let data = (0..400).map(|i| f((i % 20) as f64, (i / 20) as f64)).collect();
        let gray = Gray {
            width: 20,
            height: 20,
            data,
        };
        for (x, y) in [(7.25, 9.5), (3.9, 15.1), (10.0, 4.0)] {
            assert!((gray.cubic(x, y) - f(x, y)).abs() < 1e-3, "at {x}, {y}");
        }
    }

    #[test]
    fn blur_and_halving_keep_the_mean() {
        let data = (0..64 * 64).map(|i| ((i * 37) % 101) as f32).collect();
        let gray = Gray {
            width: 64,
            height: 64,
            data,
        };
        let mean = |g: &Gray| g.data.iter().sum::<f32>() / g.data.len() as f32;
        assert!((mean(&gray.blurred(1.5)) - mean(&gray)).abs() < 0.5);
        assert!((mean(&gray.halved()) - mean(&gray)).abs() < 1e-2);
    }
}
