//! `detect.cu` against `vision::onnx::reference::boxes`: same boxes in the same order, values within 1e-4.

use std::path::Path;

use synoptic_gpu::cuda::Buffer;
use synoptic_gpu::detect::{Decoder, Decoding, DetectBox, Family};
use synoptic_vision::manifest::{DecoderKind, ModelManifest};
use synoptic_vision::onnx::reference::{self, RawBox, RawOutput};

use super::Bench;
use crate::report::Check;
use crate::world::Noise;

/// A score this near to the threshold, or to its neighbour's, may fall on either side.
const NEAR: f32 = 2e-5;

/// The manifests that the project ships; the text is part of this program.
pub(crate) fn shipped() -> anyhow::Result<Vec<ModelManifest>> {
    let texts = [
        (
            "fastestdet",
            include_str!("../../../../configs/models/fastestdet.toml"),
        ),
        (
            "yolox-nano",
            include_str!("../../../../configs/models/yolox-nano.toml"),
        ),
        (
            "nanodet-m",
            include_str!("../../../../configs/models/nanodet-m.toml"),
        ),
    ];
    let parse = |(name, text)| Ok(ModelManifest::parse(text, Path::new(name))?);
    texts.into_iter().map(parse).collect()
}

/// The kernel's way of saying a manifest's outputs.
pub(crate) fn decoding(manifest: &ModelManifest, threshold: f32, keep: &[bool]) -> Decoding {
    Decoding {
        family: match manifest.decoder {
            DecoderKind::FastestDet => Family::FastestDet,
            DecoderKind::Yolox => Family::Yolox,
            DecoderKind::NanoDet => Family::NanoDet,
        },
        width: manifest.input.width as u32,
        height: manifest.input.height as u32,
        keep: keep.to_vec(),
        threshold,
        nms_iou: manifest.nms_iou,
    }
}

/// Shapes of a model's outputs.
fn shapes(manifest: &ModelManifest) -> Vec<Vec<usize>> {
    let (w, h, classes) = (manifest.input.width, manifest.input.height, manifest.labels.len());
    let cells = [8, 16, 32].map(|s| (w / s) * (h / s));
    match manifest.decoder {
        DecoderKind::FastestDet => vec![vec![1, 5 + classes, h / 16, w / 16]],
        DecoderKind::Yolox => vec![vec![1, cells.iter().sum(), 5 + classes]],
        DecoderKind::NanoDet => {
            let scores = cells.iter().map(|n| vec![1, *n, classes]);
            scores.chain(cells.iter().map(|n| vec![1, *n, 32])).collect()
        }
    }
}

/// Outputs of which some hundred cells hold something, in clumps, so that there is much to suppress.
fn outputs(noise: &mut Noise, manifest: &ModelManifest, share: u64) -> Vec<RawOutput> {
    let classes = manifest.labels.len();
    shapes(manifest)
        .into_iter()
        .map(|shape| {
            let n: usize = shape.iter().product();
            let mut data: Vec<f32> = (0..n).map(|_| noise.unit() * 0.02).collect();
            match manifest.decoder {
                DecoderKind::FastestDet => {
                    let cells = shape[2] * shape[3];
                    for cell in 0..cells {
                        for channel in 1..5 {
                            data[channel * cells + cell] = noise.unit() * 2.0 - 1.0;
                        }
                        if noise.below(1000) < share {
                            data[cell] = noise.unit();
                            data[(5 + noise.below(classes.min(3) as u64) as usize) * cells + cell] =
                                noise.unit();
                        }
                    }
                }
                DecoderKind::Yolox => {
                    for row in data.chunks_exact_mut(5 + classes) {
                        for v in &mut row[..4] {
                            *v = noise.unit() * 3.0 - 0.5;
                        }
                        if noise.below(1000) < share {
                            row[4] = noise.unit();
                            row[5 + noise.below(classes.min(3) as u64) as usize] = noise.unit();
                        }
                    }
                }
                DecoderKind::NanoDet => {
                    let last = shape[2];
                    for row in data.chunks_exact_mut(last) {
                        if last == 32 {
                            row.fill_with(|| noise.unit() * 6.0 - 3.0);
                        } else if noise.below(1000) < share {
                            row[noise.below(classes.min(3) as u64) as usize] = noise.unit();
                        }
                    }
                }
            }
            (shape, data)
        })
        .collect()
}

pub(super) fn all(bench: &Bench<'_>) -> Vec<Check> {
    let manifests = match shipped() {
        Ok(manifests) => manifests,
        Err(e) => return vec![Check::broken("decode: manifests", e)],
    };
    let mut checks = Vec::new();
    for manifest in &manifests {
        // Some cells; nearly all of them, which overflows the shared memory of the sort and the thousand of the reference.
        for (share, threshold) in [(40, 0.35), (950, 0.01)] {
            let name = format!(
                "decode: {}, {share} of 1000 cells, threshold {threshold}",
                manifest.name
            );
            let check = synthetic(bench, manifest, share, threshold, &name);
            checks.push(check.unwrap_or_else(|e| Check::broken(name, format!("{e:#}"))));
        }
    }
    checks
}

fn synthetic(
    bench: &Bench<'_>,
    manifest: &ModelManifest,
    share: u64,
    threshold: f32,
    name: &str,
) -> anyhow::Result<Check> {
    let mut noise = Noise(share + 5);
    let batch: Vec<_> = (0..3).map(|_| outputs(&mut noise, manifest, share)).collect();
    // Class 1 is not wanted.
    let keep: Vec<bool> = (0..manifest.labels.len()).map(|c| c != 1).collect();
    let have = on_gpu(bench, manifest, &batch, threshold, &keep)?;
    let mut compared = 0;
    let mut worst = 0.0_f64;
    for (have, outputs) in have.iter().zip(&batch) {
        let want = reference::boxes(manifest, outputs, threshold, &keep).map_err(anyhow::Error::msg)?;
        compared += want.len();
        worst = worst.max(difference(have, &want, threshold));
    }
    Ok(Check::compared(name, worst, 1e-4, "relative", compared))
}

/// The boxes of a batch of outputs, by the kernels.
pub(crate) fn on_gpu(
    bench: &Bench<'_>,
    manifest: &ModelManifest,
    batch: &[Vec<RawOutput>],
    threshold: f32,
    keep: &[bool],
) -> anyhow::Result<Vec<Vec<DetectBox>>> {
    let mut buffers = Vec::new();
    for output in 0..batch[0].len() {
        let bytes: Vec<u8> = batch
            .iter()
            .flat_map(|picture| picture[output].1.iter().flat_map(|v| v.to_ne_bytes()))
            .collect();
        let buffer = Buffer::new(bench.gpu, bytes.len())?;
        bench.stream.upload(buffer.slice(), &bytes)?;
        buffers.push(buffer);
    }
    let slices: Vec<_> = buffers.iter().map(Buffer::slice).collect();
    let mut decoder = Decoder::new(
        bench.gpu,
        bench.stream,
        decoding(manifest, threshold, keep),
        batch.len(),
    )?;
    decoder.queue(bench.kernels, bench.stream, &slices, batch.len())?;
    Ok(decoder.take(bench.stream, batch.len())?)
}

/// The largest relative difference between two lists of boxes of which those near the threshold may lack; infinite
/// where one list has a box that the other has not.
pub(crate) fn difference(have: &[DetectBox], want: &[RawBox], threshold: f32) -> f64 {
    let mut worst = 0.0_f64;
    let near = |h: &DetectBox, w: &RawBox| {
        let size = w.edges.iter().fold(1.0_f32, |m, e| m.max(e.abs()));
        let edges = h.edges.iter().zip(&w.edges).map(|(a, b)| (a - b).abs() / size);
        edges.fold((h.score - w.score).abs() / w.score.max(1e-6), f32::max)
    };
    for w in want {
        let best = have
            .iter()
            .filter(|h| h.class as usize == w.class)
            .map(|h| near(h, w))
            .fold(f32::INFINITY, f32::min);
        if best.is_infinite() && (w.score - threshold).abs() < NEAR {
            continue;
        }
        worst = worst.max(f64::from(best));
    }
    let extra = have
        .iter()
        .filter(|h| (h.score - threshold).abs() >= NEAR)
        .count();
    if extra > want.len() || have.windows(2).any(|p| p[0].score < p[1].score) {
        return f64::INFINITY;
    }
    worst
}
