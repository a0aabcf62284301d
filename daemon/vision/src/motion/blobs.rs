//! From a mask of cells to boxes: majority filter, closing, connected components, merging.

use super::background::OBJECT;

/// Of the 9 cells around one, this many must be set to keep it: takes away specks and fills pinholes.
const MAJORITY: u8 = 5;
/// Cells by which the mask is grown before parts are joined; a gap of up to twice this is bridged. The parts of
/// a person (hair, coat, legs) before a background of like colour lie that close.
const CLOSE: usize = 2;
/// Boxes nearer than this, as a fraction of the picture's width, are parts of one thing.
const MERGE_GAP: f32 = 0.025;
/// Smallest thing, as a fraction of the picture's area: 16 x 14 pixels of 640 x 360.
pub(super) const MIN_AREA: f32 = 0.001;
/// Boxes at most; the largest are kept.
const MAX_BLOBS: usize = 64;

/// A connected region of moving cells.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Blob {
    /// First column and row, and the ones after the last.
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) right: usize,
    pub(super) bottom: usize,
    /// Cells in it.
    pub(super) area: usize,
    /// Sum of the cells' contrast.
    pub(super) contrast: f32,
}

impl Blob {
    fn join(&mut self, other: &Blob) {
        self.left = self.left.min(other.left);
        self.top = self.top.min(other.top);
        self.right = self.right.max(other.right);
        self.bottom = self.bottom.max(other.bottom);
        self.area += other.area;
        self.contrast += other.contrast;
    }

    /// Whether less than `gap` cells lie between the boxes, in both directions.
    pub(super) fn near(&self, other: &Blob, gap: usize) -> bool {
        self.left < other.right + gap
            && other.left < self.right + gap
            && self.top < other.bottom + gap
            && other.top < self.bottom + gap
    }
}

/// Finds blobs; keeps its buffers from picture to picture.
#[derive(Default)]
pub(super) struct Finder {
    rows: Vec<u8>,
    /// Cells that survived the majority filter, 1 or 0.
    pub(super) solid: Vec<u8>,
    grown: Vec<u8>,
    parent: Vec<u32>,
    labels: Vec<u32>,
}

impl Finder {
    /// The blobs of a mask of `w` x `h` cells, largest first.
    pub(super) fn find(&mut self, mask: &[u8], contrast: &[f32], w: usize, h: usize) -> Vec<Blob> {
        self.majority(mask, w, h);
        self.grow(w, h);
        let mut blobs = self.components(contrast, w, h);
        merge(&mut blobs, (MERGE_GAP * w as f32) as usize);
        let least = (MIN_AREA * (w * h) as f32).max(1.0) as usize;
        blobs.retain(|b| b.area >= least);
        blobs.sort_by_key(|b| std::cmp::Reverse(b.area));
        blobs.truncate(MAX_BLOBS);
        blobs
    }

    fn majority(&mut self, mask: &[u8], w: usize, h: usize) {
        let n = w * h;
        self.rows.clear();
        self.rows.resize(n, 0);
        self.solid.clear();
        self.solid.resize(n, 0);
        for (row, out) in mask.chunks_exact(w).zip(self.rows.chunks_exact_mut(w)) {
            for (out, &m) in out.iter_mut().zip(row) {
                *out = u8::from(m == OBJECT);
            }
            for x in 1..w {
                out[x] += u8::from(row[x - 1] == OBJECT);
                out[x - 1] += u8::from(row[x] == OBJECT);
            }
        }
        for y in 0..h {
            // Beyond the edge a picture goes on as its last row.
            let at = |y: usize| &self.rows[y * w..(y + 1) * w];
            let (above, here, below) = (at(y.saturating_sub(1)), at(y), at((y + 1).min(h - 1)));
            let out = &mut self.solid[y * w..(y + 1) * w];
            for x in 0..w {
                out[x] = u8::from(above[x] + here[x] + below[x] >= MAJORITY);
            }
        }
    }

    fn grow(&mut self, w: usize, h: usize) {
        self.grown.clear();
        self.grown.resize(w * h, 0);
        for (row, out) in self.solid.chunks_exact(w).zip(self.rows.chunks_exact_mut(w)) {
            out.copy_from_slice(row);
            for d in 1..=CLOSE.min(w - 1) {
                for x in d..w {
                    out[x] |= row[x - d];
                    out[x - d] |= row[x];
                }
            }
        }
        for y in 0..h {
            let out = &mut self.grown[y * w..(y + 1) * w];
            for near in y.saturating_sub(CLOSE)..=(y + CLOSE).min(h - 1) {
                for (out, &v) in out.iter_mut().zip(&self.rows[near * w..(near + 1) * w]) {
                    *out |= v;
                }
            }
        }
    }

    fn root(&mut self, mut label: u32) -> u32 {
        while self.parent[label as usize] != label {
            let up = self.parent[self.parent[label as usize] as usize];
            self.parent[label as usize] = up;
            label = up;
        }
        label
    }

    /// Two-pass labelling with union-find (Rosenfeld and Pfaltz 1966), 4-connected on the grown mask, measured on
    /// the cells that were set before growing.
    fn components(&mut self, contrast: &[f32], w: usize, h: usize) -> Vec<Blob> {
        self.labels.clear();
        self.labels.resize(w * h, 0);
        self.parent.clear();
        self.parent.push(0);
        for y in 0..h {
            for x in 0..w {
                let i = y * w + x;
                if self.grown[i] == 0 {
                    continue;
                }
                let left = if x > 0 { self.labels[i - 1] } else { 0 };
                let up = if y > 0 { self.labels[i - w] } else { 0 };
                self.labels[i] = match (left, up) {
                    (0, 0) => {
                        let new = self.parent.len() as u32;
                        self.parent.push(new);
                        new
                    }
                    (0, one) | (one, 0) => one,
                    (left, up) => {
                        let (a, b) = (self.root(left), self.root(up));
                        let (low, high) = (a.min(b), a.max(b));
                        self.parent[high as usize] = low;
                        low
                    }
                };
            }
        }
        let mut slots = vec![usize::MAX; self.parent.len()];
        let mut blobs: Vec<Blob> = Vec::new();
        for y in 0..h {
            for x in 0..w {
                let i = y * w + x;
                if self.solid[i] == 0 {
                    continue;
                }
                let root = self.root(self.labels[i]) as usize;
                let cell = Blob {
                    left: x,
                    top: y,
                    right: x + 1,
                    bottom: y + 1,
                    area: 1,
                    contrast: contrast[i],
                };
                if slots[root] == usize::MAX {
                    slots[root] = blobs.len();
                    blobs.push(cell);
                } else {
                    blobs[slots[root]].join(&cell);
                }
            }
        }
        blobs
    }
}

/// Joins boxes that lie nearer than `gap` cells, until none do. Bounded: each round takes one away.
fn merge(blobs: &mut Vec<Blob>, gap: usize) {
    // A thousand specks are noise; the largest matter.
    blobs.sort_by_key(|b| std::cmp::Reverse(b.area));
    blobs.truncate(4 * MAX_BLOBS);
    let mut i = 0;
    while i < blobs.len() {
        let joined = (i + 1..blobs.len()).find(|&k| blobs[i].near(&blobs[k], gap));
        if let Some(k) = joined {
            let other = blobs.swap_remove(k);
            blobs[i].join(&other);
            // The grown box may touch one that was passed already.
            i = 0;
        } else {
            i += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(w: usize, h: usize, boxes: &[(usize, usize, usize, usize)]) -> Vec<u8> {
        let mut mask = vec![0; w * h];
        for &(left, top, right, bottom) in boxes {
            for y in top..bottom {
                mask[y * w + left..y * w + right].fill(OBJECT);
            }
        }
        mask
    }

    fn edges(mask: &[u8], w: usize, h: usize) -> Vec<(usize, usize, usize, usize)> {
        Finder::default()
            .find(mask, &vec![2.0; w * h], w, h)
            .iter()
            .map(|b| (b.left, b.top, b.right, b.bottom))
            .collect()
    }

    #[test]
    fn two_things_far_apart_are_two_and_near_parts_are_one() {
        let (w, h) = (160, 90);
        let far = mask(w, h, &[(10, 10, 20, 40), (60, 10, 75, 40)]);
        assert_eq!(edges(&far, w, h), [(60, 10, 75, 40), (10, 10, 20, 40)]);
        // Head over body, with three rows between.
        let near = mask(w, h, &[(12, 10, 18, 17), (10, 20, 20, 50)]);
        assert_eq!(edges(&near, w, h), [(10, 10, 20, 50)]);
    }

    #[test]
    fn a_spiral_is_one_component_and_specks_are_none() {
        let (w, h) = (60, 40);
        let u_turn = mask(w, h, &[(5, 5, 9, 35), (5, 31, 40, 35), (36, 5, 40, 35)]);
        assert_eq!(edges(&u_turn, w, h), [(5, 5, 40, 35)]);
        let specks = mask(w, h, &[(3, 3, 4, 4), (20, 20, 22, 21), (40, 30, 41, 33)]);
        assert!(edges(&specks, w, h).is_empty());
    }

    #[test]
    fn any_size_is_taken() {
        for (w, h) in [(1, 1), (2, 1), (1, 7), (3, 2)] {
            let all = vec![OBJECT; w * h];
            Finder::default().find(&all, &vec![2.0; w * h], w, h);
        }
    }
}
