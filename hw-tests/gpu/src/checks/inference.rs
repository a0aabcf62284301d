//! Real models: what rten finds on the CPU, decoded by the kernels.

use synoptic_vision::manifest::ModelManifest;
use synoptic_vision::onnx::reference::{self, RawOutput};

use super::decode::{difference, on_gpu, shipped};
use super::{Bench, stills};
use crate::report::Check;

/// Far below what detectors use: enough boxes on any still.
const THRESHOLD: f32 = 0.05;

pub(super) fn all(bench: &Bench<'_>) -> Vec<Check> {
    let manifests = shipped().unwrap_or_default();
    manifests.iter().map(|m| decoded(bench, m)).collect()
}

/// The file of a model in the folder of models.
pub(crate) fn file(bench: &Bench<'_>, manifest: &ModelManifest) -> Option<std::path::PathBuf> {
    let folder = bench.models?;
    synoptic_vision::fetch::locate_in_mirror(folder, manifest)
        .ok()
        .flatten()
}

fn decoded(bench: &Bench<'_>, manifest: &ModelManifest) -> Check {
    let name = format!("decode: {} on stills, outputs of rten", manifest.name);
    let Some(file) = file(bench, manifest) else {
        return Check::not_run(name, "no model here: give --models");
    };
    let stills = stills(bench);
    if stills.is_empty() {
        return Check::not_run(name, "no stills here: give --pictures");
    }
    let run = || -> anyhow::Result<Check> {
        let keep = vec![true; manifest.labels.len()];
        let (mut worst, mut compared) = (0.0_f64, 0);
        for (_, picture) in &stills {
            let tensor = reference::tensor(picture, &manifest.input)?;
            let outputs = reference::infer(&file, manifest, &tensor).map_err(anyhow::Error::msg)?;
            let want = reference::boxes(manifest, &outputs, THRESHOLD, &keep).map_err(anyhow::Error::msg)?;
            let outputs = in_order(manifest, outputs);
            let have = on_gpu(bench, manifest, &[outputs], THRESHOLD, &keep)?;
            compared += want.len();
            worst = worst.max(difference(&have[0], &want, THRESHOLD));
        }
        Ok(Check::compared(&name, worst, 1e-4, "relative", compared))
    };
    run().unwrap_or_else(|e| Check::broken(&name, format!("{e:#}")))
}

/// NanoDet's outputs as the kernels want them: classes of strides 8, 16, 32, then distances.
pub(super) fn in_order(manifest: &ModelManifest, mut outputs: Vec<RawOutput>) -> Vec<RawOutput> {
    if outputs.len() > 1 {
        let classes = manifest.labels.len();
        outputs.sort_by_key(|(shape, _)| {
            (
                shape.get(2) != Some(&classes),
                std::cmp::Reverse(shape.get(1).copied()),
            )
        });
    }
    outputs
}
