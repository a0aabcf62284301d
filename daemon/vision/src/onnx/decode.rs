//! From a model's outputs to boxes, family by family. Shapes are checked each time: a wrong model gives words.

use crate::manifest::{DecoderKind, ModelManifest};

/// Strides of the grids of YOLOX and NanoDet, pixels of the input a cell.
const STRIDES: [usize; 3] = [8, 16, 32];
/// Bins of NanoDet's distribution of each distance (Li et al., "Generalized Focal Loss", 2020; reg_max 7).
const BINS: usize = 8;
/// Largest exponent of a box's side: e^10 pixels is beyond any picture, and keeps infinities out.
const MAX_EXP: f32 = 10.0;

/// A box before suppression.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    /// Index of its class.
    pub(super) class: usize,
    /// 0 to 1.
    pub(super) score: f32,
    /// Left, top, right, bottom in pixels of the input.
    pub(super) edges: [f32; 4],
}

/// One output of the model.
pub(crate) struct Output<'a> {
    /// Its shape.
    pub(crate) shape: &'a [usize],
    /// Its values, row-major.
    pub(crate) data: &'a [f32],
}

/// Adds the boxes of at least `threshold` whose class is in `keep`.
pub(super) fn decode(
    manifest: &ModelManifest,
    outputs: &[Output<'_>],
    threshold: f32,
    keep: &[bool],
    found: &mut Vec<Candidate>,
) -> Result<(), String> {
    let to = Sink {
        threshold,
        keep,
        width: manifest.input.width,
        height: manifest.input.height,
    };
    match manifest.decoder {
        DecoderKind::FastestDet => fastestdet(&to, outputs, found),
        DecoderKind::Yolox => yolox(&to, outputs, found),
        DecoderKind::NanoDet => nanodet(&to, outputs, found),
    }
}

/// What is kept, and the size of the input.
struct Sink<'a> {
    threshold: f32,
    keep: &'a [bool],
    width: usize,
    height: usize,
}

impl Sink<'_> {
    fn classes(&self) -> usize {
        self.keep.len()
    }
    fn takes(&self, class: usize, score: f32) -> bool {
        score >= self.threshold && self.keep[class]
    }
    fn grid(&self, stride: usize) -> (usize, usize) {
        (self.width / stride, self.height / stride)
    }
}

fn best(scores: impl Iterator<Item = f32>) -> (usize, f32) {
    scores.enumerate().fold(
        (0, f32::NEG_INFINITY),
        |best, (i, s)| {
            if s > best.1 { (i, s) } else { best }
        },
    )
}

fn sigmoid(v: f32) -> f32 {
    1.0 / (1.0 + (-v).exp())
}

fn mismatch(decoder: &str, want: &[usize], outputs: &[Output<'_>]) -> String {
    let have: Vec<_> = outputs.iter().map(|o| o.shape).collect();
    format!(
        "decoder {decoder} wants an output of shape {want:?}, the model gives {have:?}: \
         check `decoder`, `labels` and `input` of the manifest"
    )
}

fn only<'a>(decoder: &str, want: &[usize], outputs: &'a [Output<'a>]) -> Result<&'a Output<'a>, String> {
    match outputs {
        [one] if one.shape == want => Ok(one),
        _ => Err(mismatch(decoder, want, outputs)),
    }
}

/// FastestDet (dog-qiuqiu, 2022): one grid of stride 16; channels are objectness, tanh offsets of the centre in
/// cells, logits of width and height as fractions of the input, then class probabilities.
fn fastestdet(to: &Sink<'_>, outputs: &[Output<'_>], found: &mut Vec<Candidate>) -> Result<(), String> {
    let (gw, gh) = to.grid(16);
    let out = only("fastestdet", &[1, 5 + to.classes(), gh, gw], outputs)?;
    let cells = gw * gh;
    for cell in 0..cells {
        let at = |channel: usize| out.data[channel * cells + cell];
        // Most cells are empty, and probabilities are 1 at most: no need to look for their class.
        let objectness = at(0).max(0.0).powf(0.6);
        if objectness < to.threshold {
            continue;
        }
        let (class, probability) = best((5..5 + to.classes()).map(at));
        let score = objectness * probability.clamp(0.0, 1.0).powf(0.4);
        if !to.takes(class, score) {
            continue;
        }
        let (w, h) = (to.width as f32, to.height as f32);
        let cx = ((cell % gw) as f32 + at(1).tanh()) / gw as f32 * w;
        let cy = ((cell / gw) as f32 + at(2).tanh()) / gh as f32 * h;
        let (half_w, half_h) = (sigmoid(at(3)) * w / 2.0, sigmoid(at(4)) * h / 2.0);
        found.push(Candidate {
            class,
            score,
            edges: [cx - half_w, cy - half_h, cx + half_w, cy + half_h],
        });
    }
    Ok(())
}

/// YOLOX (Ge et al., 2021): anchor-free, rows of three grids one after the other; centre in cells from the cell's
/// corner, log of the sides in cells, objectness and class probabilities.
fn yolox(to: &Sink<'_>, outputs: &[Output<'_>], found: &mut Vec<Candidate>) -> Result<(), String> {
    let grids = STRIDES.map(|s| (s, to.grid(s)));
    let rows: usize = grids.iter().map(|(_, (w, h))| w * h).sum();
    let len = 5 + to.classes();
    let out = only("yolox", &[1, rows, len], outputs)?;
    let mut values = out.data.chunks_exact(len);
    for (stride, (gw, gh)) in grids {
        for (cell, v) in values.by_ref().take(gw * gh).enumerate() {
            let (class, probability) = best(v[5..].iter().copied());
            let score = v[4] * probability;
            if !to.takes(class, score) {
                continue;
            }
            let s = stride as f32;
            let cx = ((cell % gw) as f32 + v[0]) * s;
            let cy = ((cell / gw) as f32 + v[1]) * s;
            let half = |v: f32| v.min(MAX_EXP).exp() * s / 2.0;
            let (half_w, half_h) = (half(v[2]), half(v[3]));
            found.push(Candidate {
                class,
                score,
                edges: [cx - half_w, cy - half_h, cx + half_w, cy + half_h],
            });
        }
    }
    Ok(())
}

/// NanoDet (RangiLyu, 2020): for each grid class probabilities and four distributions of the distances from the
/// cell's centre to the edges; the distance is the distribution's mean, in cells.
fn nanodet(to: &Sink<'_>, outputs: &[Output<'_>], found: &mut Vec<Candidate>) -> Result<(), String> {
    for stride in STRIDES {
        let (gw, gh) = to.grid(stride);
        let pick = |last: usize, skip: usize| {
            let want = [1, gw * gh, last];
            let mut fitting = outputs.iter().filter(|o| o.shape == want);
            fitting
                .nth(skip)
                .ok_or_else(|| mismatch("nanodet", &want, outputs))
        };
        let scores = pick(to.classes(), 0)?;
        // Should both have the same shape, classes come first.
        let distances = pick(4 * BINS, usize::from(to.classes() == 4 * BINS))?;
        let cells = scores
            .data
            .chunks_exact(to.classes())
            .zip(distances.data.chunks_exact(4 * BINS));
        for (cell, (scores, distances)) in cells.enumerate() {
            let (class, score) = best(scores.iter().copied());
            if !to.takes(class, score) {
                continue;
            }
            let s = stride as f32;
            // Centre between the first and the last pixel of the cell.
            let cx = (cell % gw) as f32 * s + 0.5 * (s - 1.0);
            let cy = (cell / gw) as f32 * s + 0.5 * (s - 1.0);
            let mut d = [0.0; 4];
            for (d, bins) in d.iter_mut().zip(distances.chunks_exact(BINS)) {
                *d = mean(bins) * s;
            }
            let (w, h) = (to.width as f32, to.height as f32);
            found.push(Candidate {
                class,
                score,
                edges: [
                    (cx - d[0]).clamp(0.0, w),
                    (cy - d[1]).clamp(0.0, h),
                    (cx + d[2]).clamp(0.0, w),
                    (cy + d[3]).clamp(0.0, h),
                ],
            });
        }
    }
    Ok(())
}

/// Mean of a distribution over 0, 1, 2, ... given by logits.
fn mean(logits: &[f32]) -> f32 {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut sum, mut weighted) = (0.0, 0.0);
    for (i, v) in logits.iter().enumerate() {
        let e = (v - top).exp();
        sum += e;
        weighted += e * i as f32;
    }
    weighted / sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::shipped;

    fn run(name: &str, outputs: &[Output<'_>]) -> Result<Vec<Candidate>, String> {
        let mut found = Vec::new();
        decode(&shipped(name), outputs, 0.5, &[true; 80], &mut found)?;
        Ok(found)
    }

    #[test]
    fn fastestdet_reads_a_cell() {
        let cells = 22 * 22;
        let mut data = vec![0.0; 85 * cells];
        let cell = 3 * 22 + 7;
        let values = [(0, 1.0), (5 + 2, 0.8)];
        for (channel, v) in values {
            data[channel * cells + cell] = v;
        }
        let found = run(
            "fastestdet",
            &[Output {
                shape: &[1, 85, 22, 22],
                data: &data,
            }],
        );
        let found = found.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].class, 2);
        assert!((found[0].score - 0.8_f32.powf(0.4)).abs() < 1e-6);
        // Offset 0: the cell's corner; logit 0: half the input.
        assert_eq!(
            found[0].edges,
            [112.0 - 88.0, 48.0 - 88.0, 112.0 + 88.0, 48.0 + 88.0]
        );
    }

    #[test]
    fn yolox_reads_rows_of_three_grids() {
        let mut data = vec![0.0; 3549 * 85];
        // Second grid (26 x 26), cell (4, 2).
        let row = 52 * 52 + 2 * 26 + 4;
        data[row * 85..][..5].copy_from_slice(&[0.5, 0.25, 0.0, 2.0_f32.ln(), 0.9]);
        data[row * 85 + 5] = 0.9;
        let found = run(
            "yolox-nano",
            &[Output {
                shape: &[1, 3549, 85],
                data: &data,
            }],
        );
        let found = found.unwrap();
        assert_eq!(found.len(), 1);
        assert!((found[0].score - 0.81).abs() < 1e-6);
        let [l, t, r, b] = found[0].edges;
        assert!((l - 64.0).abs() < 1e-4 && (r - 80.0).abs() < 1e-4);
        assert!((t - 20.0).abs() < 1e-4 && (b - 52.0).abs() < 1e-4);
    }

    #[test]
    fn nanodet_takes_the_mean_of_each_distribution() {
        let sizes = [52 * 52, 26 * 26, 13 * 13];
        let mut scores: Vec<_> = sizes.iter().map(|n| vec![0.0_f32; n * 80]).collect();
        let mut distances: Vec<_> = sizes.iter().map(|n| vec![0.0_f32; n * 32]).collect();
        let cell = 5 * 13 + 6;
        scores[2][cell * 80 + 79] = 0.7;
        // Certain of 3 cells to the left; even over 0 to 7 elsewhere, which is 3.5.
        distances[2][cell * 32 + 3] = 50.0;
        let shapes: Vec<_> = sizes.iter().map(|&n| ([1, n, 80], [1, n, 32])).collect();
        let mut outputs = Vec::new();
        for i in 0..3 {
            outputs.push(Output {
                shape: &shapes[i].0,
                data: &scores[i],
            });
        }
        for i in 0..3 {
            outputs.push(Output {
                shape: &shapes[i].1,
                data: &distances[i],
            });
        }
        let found = run("nanodet-m", &outputs).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].class, found[0].score), (79, 0.7));
        let want = [207.5 - 96.0, 175.5 - 112.0, 207.5 + 112.0, 175.5 + 112.0];
        for (have, want) in found[0].edges.iter().zip(want) {
            assert!((have - want).abs() < 1e-3, "{have} for {want}");
        }
    }

    #[test]
    fn a_wrong_shape_is_said() {
        let data = vec![0.0; 85 * 22 * 22];
        let output = [Output {
            shape: &[1, 85, 22, 22],
            data: &data,
        }];
        for name in ["yolox-nano", "nanodet-m"] {
            let error = run(name, &output).unwrap_err();
            assert!(
                error.contains("[1, 85, 22, 22]") && error.contains("check `decoder`"),
                "{error}"
            );
        }
        assert!(run("fastestdet", &[]).is_err());
    }
}
