//! Which parts of the canvas multi-band blending takes apart: as vision's `panorama/shares.rs` and `multiband.rs`.

use std::ops::Range;

/// Rows of a band.
const BAND: usize = 128;
/// Canvas pixels of a large cell, and of a small one.
const PITCH: usize = 16;
const SMALL: usize = 8;

/// A patch, as the kernels read it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Patch {
    /// Where its pyramids begin, in 16-bit values.
    pub(super) luma: u64,
    pub(super) chroma: u64,
    /// Where its flags begin, in bytes.
    pub(super) reached: u64,
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) first_row: u32,
    pub(super) end_row: u32,
    /// A bit for each camera that is shown in it.
    pub(super) cameras: u32,
    pub(super) reserved: u32,
}

const _: () = assert!(size_of::<Patch>() == 56);

impl Patch {
    /// As bytes for the GPU.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(56);
        for v in [self.luma, self.chroma, self.reached] {
            bytes.extend(v.to_ne_bytes());
        }
        for v in [
            self.left,
            self.top,
            self.width,
            self.height,
            self.first_row,
            self.end_row,
            self.cameras,
            self.reserved,
        ] {
            bytes.extend(v.to_ne_bytes());
        }
        bytes
    }
}

/// All patches, and how much memory they take.
#[derive(Clone, Debug, Default)]
pub(super) struct Patches {
    pub(super) all: Vec<Patch>,
    /// 16-bit values of one pyramid of each.
    pub(super) values: usize,
    /// Flags.
    pub(super) flags: usize,
    /// Widest and highest.
    pub(super) most: (u32, u32),
}

/// Which cells of 16 x 8 pixels a camera is shown in, and which of them it shares.
struct Shown {
    columns: usize,
    shown: Vec<Vec<bool>>,
    mixed: Vec<bool>,
}

impl Shown {
    fn new(weights: &[Vec<u8>], (across, down): (usize, usize), columns: usize) -> Shown {
        let mut mixed = vec![false; columns * down];
        let shown = weights.iter().map(|weights| {
            let mut shown = vec![false; columns * down];
            for r in 0..down {
                for c in 0..columns {
                    let (mut least, mut most) = (255, 0);
                    for row in r.saturating_sub(1)..(r + 2).min(down) {
                        let near =
                            &weights[row * across..][(2 * c).saturating_sub(1)..(2 * c + 3).min(across)];
                        for w in near {
                            least = least.min(*w);
                            most = most.max(*w);
                        }
                    }
                    shown[r * columns + c] = most > 0;
                    mixed[r * columns + c] |= most > 0 && least < 255;
                }
            }
            shown
        });
        let shown = shown.collect();
        Shown {
            columns,
            shown,
            mixed,
        }
    }
}

/// Stretches of `row` that are true.
fn stretches(row: &[bool]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (i, _) in row.iter().enumerate().filter(|(_, on)| **on) {
        match found.last_mut() {
            Some(last) if last.end == i => last.end = i + 1,
            _ => found.push(i..i + 1),
        }
    }
    found
}

impl Patches {
    /// For a canvas of `size` pixels, of the cameras `present`.
    pub(super) fn new(
        weights: &[Vec<u8>],
        small: (usize, usize),
        size: (usize, usize),
        present: &[bool],
        levels: u32,
    ) -> Patches {
        let columns = size.0.div_ceil(PITCH);
        let shown = Shown::new(weights, small, columns);
        // What the kernel of the coarsest level sees, on each side.
        let apron = 4 << levels;
        let mut patches = Patches::default();
        for first in (0..size.1).step_by(BAND) {
            let end = (first + BAND).min(size.1);
            let rows = first.saturating_sub(apron)..(end + apron).min(size.1);
            let lines = rows.start / SMALL..rows.end.div_ceil(SMALL);
            for cells in around(&shown, &lines, apron.div_ceil(PITCH)) {
                let seen = |k: usize| {
                    lines
                        .clone()
                        .any(|r| shown.shown[k][r * columns..][cells.clone()].iter().any(|on| *on))
                };
                let cameras = (0..present.len())
                    .filter(|k| present[*k] && seen(*k))
                    .fold(0, |bits, k| bits | 1 << k);
                patches.add(&cells, &rows, first..end, cameras, levels);
            }
        }
        patches
    }

    fn add(
        &mut self,
        cells: &Range<usize>,
        rows: &Range<usize>,
        written: Range<usize>,
        cameras: u32,
        levels: u32,
    ) {
        let (width, height) = (cells.len() * PITCH, rows.len());
        let luma = self.values as u64;
        self.values += pyramid(width, height, 1, levels);
        let chroma = self.values as u64;
        self.values += pyramid(width / 2, height / 2, 2, levels - 1);
        let reached = self.flags as u64;
        self.flags += width * height;
        self.most = (self.most.0.max(width as u32), self.most.1.max(height as u32));
        self.all.push(Patch {
            luma,
            chroma,
            reached,
            left: (cells.start * PITCH) as u32,
            top: rows.start as u32,
            width: width as u32,
            height: height as u32,
            first_row: written.start as u32,
            end_row: written.end as u32,
            cameras,
            reserved: 0,
        });
    }
}

/// Stretches of cells about those where cameras are mixed on `lines`, `beyond` cells further on each side.
fn around(shown: &Shown, lines: &Range<usize>, beyond: usize) -> Vec<Range<usize>> {
    let n = shown.columns;
    let mut patches: Vec<_> = lines
        .clone()
        .flat_map(|r| stretches(&shown.mixed[r * n..][..n]))
        .map(|p| p.start.saturating_sub(beyond)..(p.end + beyond).min(n))
        .collect();
    patches.sort_unstable_by_key(|p| p.start);
    patches.dedup_by(|next, last| {
        let meet = next.start <= last.end;
        if meet {
            last.end = last.end.max(next.end);
        }
        meet
    });
    patches
}

/// Values of a pyramid of `levels` levels above the first.
fn pyramid(mut width: usize, mut height: usize, channels: usize, levels: u32) -> usize {
    let mut values = 0;
    for _ in 0..=levels {
        values += width * height * channels;
        (width, height) = (width.div_ceil(2), height.div_ceil(2));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seam_gives_a_patch_a_band_and_none_without_one() {
        // Two cameras, a step in the middle of 40 small columns.
        let one: Vec<u8> = (0..40 * 40).map(|i| if i % 40 < 20 { 255 } else { 0 }).collect();
        let other: Vec<u8> = one.iter().map(|w| 255 - w).collect();
        let make =
            |weights: &[Vec<u8>], present: &[bool]| Patches::new(weights, (40, 40), (320, 320), present, 3);
        let patches = make(&[one.clone(), other.clone()], &[true, true]);
        // Mixed cells 9 and 10 of 16 pixels, two more on each side; bands of 128 rows and their aprons of 32.
        let places: Vec<_> = patches
            .all
            .iter()
            .map(|p| (p.left, p.width, p.top, p.height, p.first_row, p.end_row))
            .collect();
        assert_eq!(
            places,
            [
                (112, 96, 0, 160, 0, 128),
                (112, 96, 96, 192, 128, 256),
                (112, 96, 224, 96, 256, 320)
            ]
        );
        assert!(patches.all.iter().all(|p| p.cameras == 3));
        assert!(
            make(&[one, other], &[true, false])
                .all
                .iter()
                .all(|p| p.cameras == 1)
        );
        assert!(
            make(&[vec![255; 1600], vec![0; 1600]], &[true, true])
                .all
                .is_empty()
        );
        assert_eq!(pyramid(5, 4, 2, 2), 2 * (20 + 6 + 2));
    }
}
