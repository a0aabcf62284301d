//! How fast: by the GPU's own clock, warmed up, over inputs that together do not fit its caches.

use synoptic_base::{PixelFormat, Size};
use synoptic_gpu::GpuError;
use synoptic_gpu::cuda::{Buffer, Event, Stream};
use synoptic_gpu::detect::Decoder;
use synoptic_gpu::panorama::{Blend, Composer};
use synoptic_gpu::picture::{Layout, PictureMemory};
use synoptic_gpu::preprocess::preprocess;
use synoptic_vision::panorama::{ComposeOptions, Compositor, least_bytes};

use crate::checks::Bench;
use crate::report::Number;
use crate::world::{Noise, noise_picture, on_gpu, plan, rig};

/// Input sets in turn: 2 x 1080p and their panorama are 11.5 MB, so these exceed any second-level cache.
const SETS: usize = 16;
/// Bytes of the copy that measures the memory's bandwidth.
const COPY: usize = 512 << 20;
/// Frames a second of a rig.
const FPS: f64 = 30.0;

/// All times.
pub(crate) fn all(bench: &Bench<'_>) -> anyhow::Result<Vec<Number>> {
    let mut numbers = Vec::new();
    let copy = copy_bandwidth(bench)?;
    numbers.push(Number {
        name: "copy on the device".to_owned(),
        value: copy,
        unit: "GB/s",
        note: "512 MiB, read and written, median of 20".to_owned(),
    });
    numbers.extend(panoramas(bench, copy, Blend::Feather)?);
    numbers.extend(panoramas(bench, copy, Blend::MultiBand(3))?);
    numbers.extend(images(bench)?);
    let (free, total) = bench.gpu.memory()?;
    numbers.push(Number {
        name: "memory in use at the end".to_owned(),
        value: (total - free) as f64 / 1e6,
        unit: "MB",
        note: "of the whole GPU, as the driver counts".to_owned(),
    });
    Ok(numbers)
}

/// Milliseconds of each of `rounds` calls of `work`, after some to warm up, sorted.
fn times(
    stream: &Stream,
    rounds: usize,
    mut work: impl FnMut(usize) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<f64>> {
    for i in 0..rounds.min(20) {
        work(i)?;
    }
    let marks = (0..=rounds)
        .map(|_| Event::new(stream.gpu()))
        .collect::<Result<Vec<_>, GpuError>>()?;
    marks[0].record(stream)?;
    for (i, mark) in marks[1..].iter().enumerate() {
        work(i)?;
        mark.record(stream)?;
    }
    stream.wait()?;
    let mut ms = Vec::new();
    for pair in marks.windows(2) {
        ms.push(f64::from(pair[1].ms_since(&pair[0])?));
    }
    ms.sort_by(f64::total_cmp);
    Ok(ms)
}

/// Milliseconds a call, over `rounds` calls that follow each other without a mark between.
fn mean_ms(
    stream: &Stream,
    rounds: usize,
    mut work: impl FnMut(usize) -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let mut best = Vec::new();
    for _ in 0..7 {
        let (from, to) = (Event::new(stream.gpu())?, Event::new(stream.gpu())?);
        from.record(stream)?;
        for i in 0..rounds {
            work(i)?;
        }
        to.record(stream)?;
        to.wait()?;
        best.push(f64::from(to.ms_since(&from)?) / rounds as f64);
    }
    best.sort_by(f64::total_cmp);
    Ok(best[best.len() / 2])
}

fn at(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

fn copy_bandwidth(bench: &Bench<'_>) -> anyhow::Result<f64> {
    let (from, to) = (Buffer::new(bench.gpu, COPY)?, Buffer::new(bench.gpu, COPY)?);
    // Not zeros, which some memories move faster.
    let mut noise = Noise(3);
    let part = noise.bytes(1 << 20);
    for i in 0..COPY >> 20 {
        bench
            .stream
            .upload(from.slice().part(i << 20..(i + 1) << 20)?, &part)?;
    }
    let ms = times(bench.stream, 20, |_| {
        Ok(bench.stream.copy(to.slice(), from.slice())?)
    })?;
    Ok(2.0 * COPY as f64 / at(&ms, 0.5) / 1e6)
}

fn panoramas(bench: &Bench<'_>, copy: f64, blend: Blend) -> anyhow::Result<Vec<Number>> {
    let (size, canvas) = (Size::new(1920, 1080), Size::new(3264, 1080));
    let rig = rig(2, size, canvas)?;
    let options = ComposeOptions {
        threads: 1,
        blend: synoptic_vision::panorama::Blend::Feather,
        simd: None,
    };
    let cpu = Compositor::new(&rig, options)?;
    let layout = cpu.layout().clone();
    let mut composer = Composer::new(bench.kernels, bench.stream, &cpu.tables(), &layout, blend)?;
    let mut noise = Noise(5);
    let plan = plan(&mut noise, &layout, 1);
    let picture = noise_picture(&mut noise, size, PixelFormat::Nv12)?;
    let mut sets = Vec::new();
    for _ in 0..SETS {
        let own = (
            on_gpu(bench.gpu, bench.stream, &picture)?,
            on_gpu(bench.gpu, bench.stream, &picture)?,
        );
        sets.push((own, PictureMemory::new(bench.gpu, canvas, Layout::Nv12)?));
    }
    let mut pictures = Vec::new();
    for ((a, b), _) in &sets {
        pictures.push([Some(a.picture()?), Some(b.picture()?)]);
    }
    let mut compose = |i: usize| {
        let i = i % SETS;
        composer.compose(bench.stream, &pictures[i], &plan, &sets[i].1)?;
        Ok(())
    };
    let single = times(bench.stream, 500, &mut compose)?;
    let ms = mean_ms(bench.stream, 500, &mut compose)?;
    let kind = match blend {
        Blend::Feather => "feathered".to_owned(),
        Blend::MultiBand(levels) => format!("{levels} bands"),
    };
    let number = |name: &str, value, unit, note: &str| Number {
        name: format!("{name}, {kind}"),
        value,
        unit,
        note: note.to_owned(),
    };
    let each = "2 x 1080p NV12 to 3264x1080 NV12, 16 sets in turn";
    let mut numbers = vec![
        number("panoramas", 1000.0 / ms, "1/s", each),
        number(
            "panorama p50",
            at(&single, 0.5),
            "ms",
            "one picture between two marks",
        ),
        number(
            "panorama p99",
            at(&single, 0.99),
            "ms",
            "one picture between two marks",
        ),
        number(
            "rigs at 30 fps",
            1000.0 / ms / FPS,
            "rigs",
            "composing alone, without decoding and encoding",
        ),
    ];
    if blend == Blend::Feather {
        // Each pixel shown read once, each written once.
        let traffic = least_bytes(&layout, &plan) as f64 / ms / 1e6;
        numbers.push(number(
            "panorama traffic",
            traffic,
            "GB/s",
            "each pixel shown read once, each written once",
        ));
        numbers.push(number(
            "panorama traffic of copy",
            100.0 * traffic / copy,
            "%",
            "of the measured copy; 70 % is the aim",
        ));
    }
    Ok(numbers)
}

fn images(bench: &Bench<'_>) -> anyhow::Result<Vec<Number>> {
    let mut numbers = Vec::new();
    let manifests = crate::checks::shipped()?;
    let Some(manifest) = manifests.iter().find(|m| m.name == "yolox-nano") else {
        return Ok(numbers);
    };
    let size = Size::new(1920, 1080);
    let mut noise = Noise(7);
    let picture = noise_picture(&mut noise, size, PixelFormat::Nv12)?;
    let input = crate::checks::device_input(&manifest.input);
    let fit = crate::checks::device_fit(&manifest.input, size);
    let keep = vec![true; manifest.labels.len()];
    for batch in [1, 4, 8, 16] {
        let memories = (0..batch)
            .map(|_| on_gpu(bench.gpu, bench.stream, &picture))
            .collect::<Result<Vec<_>, _>>()?;
        let mut pictures = Vec::new();
        for memory in &memories {
            pictures.push((memory.picture()?, fit));
        }
        let tensor = Buffer::new(bench.gpu, input.bytes(batch))?;
        let before = mean_ms(bench.stream, 200, |_| {
            Ok(preprocess(
                bench.kernels,
                bench.stream,
                &pictures,
                &input,
                tensor.slice(),
            )?)
        })?;
        let decoding = crate::checks::decoding(manifest, manifest.threshold, &keep);
        let floats = decoding.output_lens()[0] * batch;
        let values: Vec<u8> = (0..floats)
            .flat_map(|_| (noise.unit() * 0.7).to_ne_bytes())
            .collect();
        let outputs = Buffer::new(bench.gpu, values.len())?;
        bench.stream.upload(outputs.slice(), &values)?;
        let mut decoder = Decoder::new(bench.gpu, bench.stream, decoding, batch)?;
        let after = mean_ms(bench.stream, 200, |_| {
            Ok(decoder.queue(bench.kernels, bench.stream, &[outputs.slice()], batch)?)
        })?;
        let number = |what: &str, ms: f64, note: &str| Number {
            name: format!("{what}, batch {batch}"),
            value: batch as f64 * 1000.0 / ms,
            unit: "images/s",
            note: format!("{ms:.4} ms a batch; {note}"),
        };
        numbers.push(number("preprocessing", before, "1080p NV12 to 3x416x416"));
        numbers.push(number(
            "decoding and suppression",
            after,
            "YOLOX 416 of 80 classes, noise: the worst case",
        ));
    }
    Ok(numbers)
}
