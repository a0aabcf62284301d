//! Real models by TensorRT against rten, and how long they take, with what goes before and after them.

use synoptic_gpu::cuda::{Buffer, Event, Slice};
use synoptic_gpu::detect::Decoder;
use synoptic_gpu::preprocess::preprocess;
use synoptic_gpu::trt::{BuildOptions, DataType, Engine, TensorRt};
use synoptic_vision::manifest::ModelManifest;
use synoptic_vision::onnx::reference::{self, RawOutput};

use super::decode::{decoding, shipped};
use super::inference::{file, in_order};
use super::preprocess::{device_fit, device_input};
use super::{Bench, stills};
use crate::report::{Check, Number};
use crate::world::on_gpu;

/// Of the largest value of an output: TensorRT's 32-bit convolutions round to TF32, ten bits of mantissa, by default.
const TOLERANCE: f64 = 2e-2;
/// Inferences between two marks.
const ROUNDS: usize = 200;

/// Every shipped model.
pub(crate) fn all(bench: &Bench<'_>, trt: &TensorRt) -> (Vec<Check>, Vec<Number>) {
    let (mut checks, mut numbers) = (Vec::new(), Vec::new());
    for manifest in shipped().unwrap_or_default() {
        let name = format!("inference: {} by {}", manifest.name, trt.version());
        match model(bench, trt, &manifest, &name) {
            Ok((check, found)) => {
                checks.push(check);
                numbers.extend(found);
            }
            Err(e) => checks.push(Check::broken(name, format!("{e:#}"))),
        }
    }
    (checks, numbers)
}

fn model(
    bench: &Bench<'_>,
    trt: &TensorRt,
    manifest: &ModelManifest,
    name: &str,
) -> anyhow::Result<(Check, Vec<Number>)> {
    let (Some(file), Some((_, picture))) = (file(bench, manifest), stills(bench).into_iter().next()) else {
        return Ok((
            Check::not_run(name, "no model or no still here: give --models and --pictures"),
            Vec::new(),
        ));
    };
    let onnx = std::fs::read(&file)?;
    let plan = trt.build(Some(bench.gpu), &onnx, &BuildOptions::default())?;
    let engine = trt.runtime(bench.gpu)?.engine(&plan.bytes)?;
    let wanted = [1, 3, manifest.input.height as i64, manifest.input.width as i64];
    let mut memory = Vec::new();
    for tensor in engine.tensors() {
        anyhow::ensure!(
            tensor.data_type == DataType::Float && tensor.shape.iter().all(|s| *s > 0),
            "tensor {} is {:?} {:?}: the suite runs models of fixed 32-bit tensors",
            tensor.name,
            tensor.data_type,
            tensor.shape
        );
        let bytes = 4 * tensor.shape.iter().product::<i64>() as usize;
        memory.push(Buffer::new(bench.gpu, bytes)?);
    }
    let input = engine.tensors().iter().position(|t| t.input && t.shape == wanted);
    let input = input.ok_or_else(|| anyhow::anyhow!("no input of {wanted:?} in {:?}", engine.tensors()))?;
    let bound: Vec<_> = engine
        .tensors()
        .iter()
        .zip(&memory)
        .map(|(t, m)| (t.name.as_str(), m.slice()))
        .collect();
    let mut context = engine.context()?;

    // The whole chain on the GPU, from NV12 on.
    let source = on_gpu(bench.gpu, bench.stream, &picture)?;
    let size = synoptic_base::Surface::size(&picture);
    let pictures = [(source.picture()?, device_fit(&manifest.input, size))];
    let device = device_input(&manifest.input);
    preprocess(bench.kernels, bench.stream, &pictures, &device, bound[input].1)?;
    context.run(bench.stream, &bound)?;
    let have = outputs(bench, &engine, &memory)?;
    let tensor = reference::tensor(&picture, &manifest.input)?;
    let want = in_order(
        manifest,
        reference::infer(&file, manifest, &tensor).map_err(anyhow::Error::msg)?,
    );
    let have = in_order(manifest, have);
    let (mut worst, mut compared) = (0.0_f64, 0);
    for ((have_shape, have), (want_shape, want)) in have.iter().zip(&want) {
        anyhow::ensure!(
            have_shape == want_shape,
            "an output of {have_shape:?} where rten gives {want_shape:?}"
        );
        let largest = want.iter().fold(1e-6_f32, |m, v| m.max(v.abs()));
        worst = worst.max(super::worst(have, want) / f64::from(largest));
        compared += want.len();
    }
    let check = Check::compared(name, worst, TOLERANCE, "of the largest value", compared);

    let keep = vec![true; manifest.labels.len()];
    let mut decoder = Decoder::new(
        bench.gpu,
        bench.stream,
        decoding(manifest, manifest.threshold, &keep),
        1,
    )?;
    let slices = slices(manifest, &engine, &memory);
    let bare = ms(bench, || Ok(context.run(bench.stream, &bound)?))?;
    let whole = ms(bench, || {
        preprocess(bench.kernels, bench.stream, &pictures, &device, bound[input].1)?;
        context.run(bench.stream, &bound)?;
        Ok(decoder.queue(bench.kernels, bench.stream, &slices, 1)?)
    })?;
    let number = |what: &str, value, unit, note: String| Number {
        name: format!("{}: {what}", manifest.name),
        value,
        unit,
        note,
    };
    let numbers = vec![
        number(
            "bare enqueue",
            1000.0 / bare,
            "images/s",
            format!("{bare:.4} ms, batch 1, {} layers", plan.layers),
        ),
        number(
            "with pre- and postprocessing",
            1000.0 / whole,
            "images/s",
            format!("{whole:.4} ms, batch 1"),
        ),
        number(
            "on top of bare enqueue",
            100.0 * (whole / bare - 1.0),
            "%",
            "10 % is the aim".to_owned(),
        ),
        number(
            "plan",
            plan.bytes.len() as f64 / 1e6,
            "MB",
            trt.version().to_string(),
        ),
    ];
    Ok((check, numbers))
}

/// Milliseconds of one `work`, many in a row, the median of seven rows.
fn ms(bench: &Bench<'_>, mut work: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let mut rows = Vec::new();
    for _ in 0..8 {
        let (from, to) = (Event::new(bench.gpu)?, Event::new(bench.gpu)?);
        from.record(bench.stream)?;
        for _ in 0..ROUNDS {
            work()?;
        }
        to.record(bench.stream)?;
        to.wait()?;
        rows.push(f64::from(to.ms_since(&from)?) / ROUNDS as f64);
    }
    // The first row warms up.
    rows.remove(0);
    rows.sort_by(f64::total_cmp);
    Ok(rows[rows.len() / 2])
}

fn outputs(bench: &Bench<'_>, engine: &Engine, memory: &[Buffer]) -> anyhow::Result<Vec<RawOutput>> {
    let mut found = Vec::new();
    for (tensor, memory) in engine.tensors().iter().zip(memory).filter(|(t, _)| !t.input) {
        let shape = tensor.shape.iter().map(|s| *s as usize).collect();
        found.push((shape, super::preprocess::floats(bench, memory)?));
    }
    Ok(found)
}

/// The outputs in the order that the decoder wants.
fn slices<'a>(manifest: &ModelManifest, engine: &Engine, memory: &'a [Buffer]) -> Vec<Slice<'a>> {
    let classes = manifest.labels.len() as i64;
    let mut outputs: Vec<_> = engine
        .tensors()
        .iter()
        .zip(memory)
        .filter(|(t, _)| !t.input)
        .collect();
    if outputs.len() > 1 {
        outputs.sort_by_key(|(t, _)| {
            (
                t.shape.get(2) != Some(&classes),
                std::cmp::Reverse(t.shape.get(1).copied()),
            )
        });
    }
    outputs.into_iter().map(|(_, m)| m.slice()).collect()
}
