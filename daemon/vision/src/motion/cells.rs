//! The picture as the motion detector sees it: a grid of cells, each the mean of a block of pixels.

use synoptic_base::{Planes, Size};

use crate::picture::{Chroma, chroma_size};

/// Cells across at most. A person of 2 % of the picture's width is still 6 cells wide, and the mean of a block
/// takes most of the sensor's and the coder's noise away.
const MAX_ACROSS: u32 = 320;

/// Mean Y', Cb and Cr of each cell, row by row, in levels of 8 bits (black 16, white 235, grey chroma 128).
#[derive(Clone, Debug, Default)]
pub(super) struct Cells {
    /// Cells across.
    pub(super) w: usize,
    /// Cells down.
    pub(super) h: usize,
    /// Pixels of a cell's side.
    pub(super) side: usize,
    pub(super) y: Vec<f32>,
    pub(super) cb: Vec<f32>,
    pub(super) cr: Vec<f32>,
    luma_sums: Vec<u32>,
    chroma_sums: Vec<[u32; 2]>,
}

/// Pixels of a cell's side: 1, or an even number so that a cell covers whole chroma samples.
fn side(size: Size) -> usize {
    match size.width.div_ceil(MAX_ACROSS) {
        0 | 1 => 1,
        n => n.next_multiple_of(2) as usize,
    }
}

impl Cells {
    /// Takes a picture; `planes` were checked against `size`. Columns and rows that fill no cell are left out.
    pub(super) fn fill(&mut self, planes: &Planes<'_>, size: Size) {
        self.side = side(size);
        let side = self.side;
        self.w = (size.width as usize / side).max(1);
        self.h = (size.height as usize / side).max(1);
        let n = self.w * self.h;
        for plane in [&mut self.y, &mut self.cb, &mut self.cr] {
            plane.resize(n, 0.0);
        }
        self.fill_luma(planes, size.height as usize);
        self.fill_chroma(planes, size);
    }

    fn fill_luma(&mut self, planes: &Planes<'_>, rows: usize) {
        let (luma, side) = (planes.luma(), self.side);
        let scale = 1.0 / (side * side) as f32;
        // A picture narrower than a cell cannot be: cells of more than one pixel begin at 320 pixels across.
        let width = self.w * side;
        for (cy, out) in self.y.chunks_exact_mut(self.w).enumerate() {
            self.luma_sums.clear();
            self.luma_sums.resize(width, 0);
            // A very flat picture has less rows than a cell's side: its last row stands for the rest.
            for dy in 0..side {
                let y = (cy * side + dy).min(rows - 1);
                let row = &luma.data[y * luma.stride..][..width];
                for (sum, &v) in self.luma_sums.iter_mut().zip(row) {
                    *sum += u32::from(v);
                }
            }
            for (out, block) in out.iter_mut().zip(self.luma_sums.chunks_exact(side)) {
                *out = block.iter().sum::<u32>() as f32 * scale;
            }
        }
    }

    fn fill_chroma(&mut self, planes: &Planes<'_>, size: Size) {
        let chroma = Chroma::of(planes);
        let (_, rows) = chroma_size(size);
        // Chroma samples of a cell's side; a cell of one pixel shares its sample with its neighbours.
        let half = (self.side / 2).max(1);
        let scale = 1.0 / (half * half) as f32;
        let samples = if self.side == 1 {
            self.w.div_ceil(2)
        } else {
            self.w * half
        };
        for cy in 0..self.h {
            self.chroma_sums.clear();
            self.chroma_sums.resize(samples, [0; 2]);
            for dy in 0..half {
                let y = if self.side == 1 { cy / 2 } else { cy * half + dy };
                let (cb, cr) = chroma.row(y.min(rows - 1));
                let pairs = cb.iter().step_by(chroma.step).zip(cr.iter().step_by(chroma.step));
                for (sum, (&cb, &cr)) in self.chroma_sums.iter_mut().zip(pairs) {
                    sum[0] += u32::from(cb);
                    sum[1] += u32::from(cr);
                }
            }
            let at = cy * self.w;
            for cx in 0..self.w {
                let block = if self.side == 1 {
                    &self.chroma_sums[cx / 2..=cx / 2]
                } else {
                    &self.chroma_sums[cx * half..(cx + 1) * half]
                };
                let (mut cb, mut cr) = (0, 0);
                for sum in block {
                    cb += sum[0];
                    cr += sum[1];
                }
                self.cb[at + cx] = cb as f32 * scale;
                self.cr[at + cx] = cr as f32 * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PictureBuf;
    use crate::color::Matrix;

    #[test]
    fn cells_are_means_of_their_blocks_in_both_formats() {
        assert_eq!(
            [160, 320, 321, 640, 768, 1280, 1920].map(|w| side(Size::new(w, 9))),
            [1, 1, 2, 2, 4, 4, 6]
        );
        // Left half black, right half red.
        let size = Size::new(640, 90);
        let rgb: Vec<u8> = (0..640 * 90)
            .flat_map(|i| if i % 640 < 320 { [0; 3] } else { [255, 0, 0] })
            .collect();
        let picture = PictureBuf::from_rgb8(size, &rgb, Matrix::Bt601).unwrap();
        for picture in [picture.to_nv12(), picture] {
            let mut cells = Cells::default();
            cells.fill(&picture.planes(), size);
            assert_eq!((cells.w, cells.h), (320, 45));
            assert_eq!((cells.y[0], cells.cb[0], cells.cr[0]), (16.0, 128.0, 128.0));
            assert_eq!((cells.y[319], cells.cb[319], cells.cr[319]), (81.0, 90.0, 240.0));
        }
    }

    #[test]
    fn any_size_is_taken() {
        for (w, h) in [(1, 1), (2, 1), (3, 5), (319, 7), (321, 1), (2000, 1), (641, 361)] {
            let size = Size::new(w, h);
            let bytes = vec![77; PictureBuf::bytes(size)];
            for format in [synoptic_base::PixelFormat::I420, synoptic_base::PixelFormat::Nv12] {
                let picture = PictureBuf::new(size, format, bytes.clone()).unwrap();
                let mut cells = Cells::default();
                cells.fill(&picture.planes(), size);
                assert!(
                    cells
                        .y
                        .iter()
                        .chain(&cells.cb)
                        .chain(&cells.cr)
                        .all(|&v| v == 77.0)
                );
            }
        }
    }
}
