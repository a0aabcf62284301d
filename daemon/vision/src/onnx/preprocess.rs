//! From video planes straight into the model's tensor: fit, resample, convert, normalise. No RGB picture between.
//!
//! Bilinear with pixel centres at halves and without antialiasing, as OpenCV's INTER_LINEAR, with which these
//! models' authors feed them. Chroma is taken as lying in the middle of its four pixels (H.264 video has it a
//! quarter of a chroma sample further left; no detector sees that).

use synoptic_base::{Planes, Size};

use crate::color::Matrix;
use crate::manifest::{Input, Order, Resize};
use crate::picture::{Chroma, chroma_size};

/// Where the picture lies in the input, in pixels of the input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fit {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl Fit {
    /// Fits a picture of `size` into `input`.
    pub(crate) fn new(input: &Input, size: Size) -> Fit {
        let (w, h) = (size.width.max(1) as f64, size.height.max(1) as f64);
        let ratio = (input.width as f64 / w).min(input.height as f64 / h);
        let (width, height) = match input.resize {
            Resize::Stretch => (input.width, input.height),
            // Rounded down, as the models' authors do.
            Resize::LetterboxTopleft | Resize::LetterboxCenter => {
                ((w * ratio + 1e-6) as usize, (h * ratio + 1e-6) as usize)
            }
        };
        let (width, height) = (width.max(1), height.max(1));
        let (left, top) = match input.resize {
            Resize::LetterboxCenter => ((input.width - width) / 2, (input.height - height) / 2),
            Resize::Stretch | Resize::LetterboxTopleft => (0, 0),
        };
        Fit {
            left,
            top,
            width,
            height,
        }
    }

    /// Left, top, width, height.
    pub(super) fn place(self) -> [usize; 4] {
        [self.left, self.top, self.width, self.height]
    }

    /// Edges (left, top, right, bottom) in pixels of the input as fractions of the picture.
    pub(super) fn to_picture(self, edges: [f32; 4]) -> [f32; 4] {
        let x = |v: f32| (v - self.left as f32) / self.width as f32;
        let y = |v: f32| (v - self.top as f32) / self.height as f32;
        [x(edges[0]), y(edges[1]), x(edges[2]), y(edges[3])]
    }
}

/// For each output sample: the first of two neighbours and the weight of the second.
fn taps(out: usize, source: usize, step: usize, taps: &mut Vec<(u32, u32, f32)>) {
    taps.clear();
    let scale = source as f32 / out as f32;
    for i in 0..out {
        let at = ((i as f32 + 0.5) * scale - 0.5).clamp(0.0, (source - 1) as f32);
        let first = at as usize;
        let second = (first + 1).min(source - 1);
        taps.push(((first * step) as u32, (second * step) as u32, at - first as f32));
    }
}

/// Two rows of bytes, mixed.
fn mix(out: &mut Vec<f32>, first: &[u8], second: &[u8], weight: f32, len: usize) {
    out.clear();
    let pairs = first[..len].iter().zip(&second[..len]);
    out.extend(pairs.map(|(&a, &b)| f32::from(a) + weight * (f32::from(b) - f32::from(a))));
}

/// A row, resampled by its taps.
fn spread(out: &mut Vec<f32>, row: &[f32], taps: &[(u32, u32, f32)]) {
    out.clear();
    out.extend(taps.iter().map(|&(first, second, weight)| {
        let (a, b) = (row[first as usize], row[second as usize]);
        a + weight * (b - a)
    }));
}

/// Fills tensors; keeps its buffers from picture to picture.
#[derive(Default)]
pub(crate) struct Sampler {
    luma_x: Vec<(u32, u32, f32)>,
    luma_y: Vec<(u32, u32, f32)>,
    chroma_x: Vec<(u32, u32, f32)>,
    chroma_y: Vec<(u32, u32, f32)>,
    /// A row of the source, mixed from two.
    line: Vec<f32>,
    luma: Vec<f32>,
    cb: Vec<f32>,
    cr: Vec<f32>,
}

impl Sampler {
    /// Writes the picture into `tensor` (3 planes of `input.height` x `input.width`); `planes` were checked
    /// against `size`.
    pub(crate) fn fill(
        &mut self,
        planes: &Planes<'_>,
        size: Size,
        matrix: Matrix,
        input: &Input,
        fit: &Fit,
        tensor: &mut [f32],
    ) {
        let (w, h) = (size.width as usize, size.height as usize);
        let (cw, ch) = chroma_size(size);
        let (luma, chroma, to_rgb) = (planes.luma(), Chroma::of(planes), matrix.to_rgb());
        taps(fit.width, w, 1, &mut self.luma_x);
        taps(fit.height, h, 1, &mut self.luma_y);
        taps(fit.width, cw, chroma.step, &mut self.chroma_x);
        taps(fit.height, ch, 1, &mut self.chroma_y);

        let plane = input.width * input.height;
        // One factor and one offset a colour: value * gain + offset.
        let gain = input.std.map(|std| input.scale / std);
        let offset: [f32; 3] = std::array::from_fn(|i| -input.mean[i] / input.std[i]);
        if fit.width < input.width || fit.height < input.height {
            for (c, values) in tensor.chunks_exact_mut(plane).enumerate() {
                values.fill(f32::from(input.pad) * gain[c] + offset[c]);
            }
        }
        let (first, rest) = tensor.split_at_mut(plane);
        let (second, third) = rest.split_at_mut(plane);
        // Where red, green and blue go; `gain` and `offset` are by plane.
        let ((red, r), (blue, b)) = match input.order {
            Order::Bgr => ((third, 2), (first, 0)),
            Order::Rgb => ((first, 0), (third, 2)),
        };
        let chroma_len = (cw - 1) * chroma.step + 1;
        for row in 0..fit.height {
            let (above, below, weight) = self.luma_y[row];
            let line = |i: u32| &luma.data[i as usize * luma.stride..];
            mix(&mut self.line, line(above), line(below), weight, w);
            spread(&mut self.luma, &self.line, &self.luma_x);
            let (above, below, weight) = self.chroma_y[row];
            let ((cb_a, cr_a), (cb_b, cr_b)) = (chroma.row(above as usize), chroma.row(below as usize));
            mix(&mut self.line, cb_a, cb_b, weight, chroma_len);
            spread(&mut self.cb, &self.line, &self.chroma_x);
            mix(&mut self.line, cr_a, cr_b, weight, chroma_len);
            spread(&mut self.cr, &self.line, &self.chroma_x);

            // Apart from the gathering above, so that the compiler makes this loop wide.
            let start = (fit.top + row) * input.width + fit.left;
            let range = start..start + fit.width;
            let out = red[range.clone()]
                .iter_mut()
                .zip(&mut second[range.clone()])
                .zip(&mut blue[range]);
            let samples = self.luma.iter().zip(&self.cb).zip(&self.cr);
            for (((to_r, to_g), to_b), ((&y, &cb), &cr)) in out.zip(samples) {
                let rgb = to_rgb.rgb(y, cb, cr);
                *to_r = rgb[0] * gain[r] + offset[r];
                *to_g = rgb[1] * gain[1] + offset[1];
                *to_b = rgb[2] * gain[b] + offset[b];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PictureBuf;
    use crate::manifest::shipped;

    #[test]
    fn pictures_fit_as_the_models_want_them() {
        let size = Size::new(768, 432);
        let of = |name| Fit::new(&shipped(name).input, size);
        let fit = |left, top, width, height| Fit {
            left,
            top,
            width,
            height,
        };
        assert_eq!(of("fastestdet"), fit(0, 0, 352, 352));
        assert_eq!(of("yolox-nano"), fit(0, 0, 416, 234));
        assert_eq!(of("nanodet-m"), fit(0, 91, 416, 234));
        assert_eq!(
            of("nanodet-m").to_picture([0.0, 91.0, 416.0, 325.0]),
            [0.0, 0.0, 1.0, 1.0]
        );
        // A picture of one column is still a picture.
        assert_eq!(
            Fit::new(&shipped("yolox-nano").input, Size::new(1, 4000)),
            fit(0, 0, 1, 416)
        );
    }

    #[test]
    fn colours_padding_and_normalisation_come_out_right_in_both_formats() {
        let size = Size::new(64, 32);
        let rgb: Vec<u8> = [200, 100, 50].repeat(64 * 32);
        let i420 = PictureBuf::from_rgb8(size, &rgb, Matrix::Bt601).unwrap();
        let mut input = shipped("nanodet-m").input;
        (input.width, input.height) = (64, 64);
        for picture in [i420.to_nv12(), i420] {
            for (order, want) in [
                (Order::Bgr, [50.0, 100.0, 200.0]),
                (Order::Rgb, [200.0, 100.0, 50.0]),
            ] {
                input.order = order;
                let mut tensor = vec![f32::NAN; 3 * 64 * 64];
                let fit = Fit::new(&input, size);
                let planes = picture.planes();
                Sampler::default().fill(&planes, size, Matrix::Bt601, &input, &fit, &mut tensor);
                for c in 0..3 {
                    let norm = |v: f32| (v - input.mean[c]) / input.std[c];
                    let plane = &tensor[c * 64 * 64..][..64 * 64];
                    assert!((plane[0] - norm(0.0)).abs() < 1e-5, "padding above");
                    assert!((plane[63 * 64] - norm(0.0)).abs() < 1e-5, "padding below");
                    let inside = plane[32 * 64 + 10];
                    assert!((inside - norm(want[c])).abs() < 0.05, "{inside}");
                }
            }
        }
    }

    #[test]
    fn resampling_is_linear() {
        // A ramp of 4 levels a pixel, halved: each sample is the mean of two neighbours.
        let size = Size::new(64, 64);
        let mut picture = PictureBuf::new(
            size,
            synoptic_base::PixelFormat::I420,
            vec![128; PictureBuf::bytes(size)],
        )
        .unwrap();
        for (i, level) in picture.luma_mut().iter_mut().enumerate() {
            *level = 16 + (i % 64) as u8 * 3;
        }
        let mut input = shipped("fastestdet").input;
        (input.width, input.height, input.scale) = (32, 32, 1.0);
        let mut tensor = vec![0.0; 3 * 32 * 32];
        let fit = Fit::new(&input, size);
        Sampler::default().fill(&picture.planes(), size, Matrix::Bt601, &input, &fit, &mut tensor);
        for x in 0..32 {
            let want = (2.0 * x as f32 + 0.5) * 3.0 * 255.0 / 219.0;
            assert!(
                (tensor[5 * 32 + x] - want).abs() < 1e-3,
                "{x}: {} for {want}",
                tensor[5 * 32 + x]
            );
        }
    }
}
