//! Proves the GPU's part on a machine that has one: every kernel against its CPU reference, and times.
//!
//! One binary without GStreamer; `run.sh` beside it starts it on any NVIDIA machine. Without a GPU the same checks run in
//! this crate's tests, on an emulation.
mod checks;
mod report;
#[cfg(test)]
mod tests;
mod timing;
mod world;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use synoptic_gpu::Kernels;
use synoptic_gpu::cuda::{Cuda, Gpu, Stream};
use synoptic_gpu::nvrtc::Nvrtc;
use synoptic_gpu::trt::TensorRt;

use report::{Machine, Report};

/// Checks and times Synoptic's GPU code on this machine.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Which GPU.
    #[arg(long, default_value_t = 0)]
    gpu: usize,
    /// Folder of compiled kernels, one folder a target (`sm_87/preprocess.cubin`); else NVRTC compiles them.
    #[arg(long)]
    cubins: Option<PathBuf>,
    /// Folder of models: NAME/FILE.onnx.
    #[arg(long)]
    models: Option<PathBuf>,
    /// Folder of stills (*.jpg).
    #[arg(long)]
    pictures: Option<PathBuf>,
    /// Folder for gpu.json and gpu.md.
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// Small sizes only, no times: for an emulated GPU.
    #[arg(long)]
    quick: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let report = run(&arguments)?;
    std::fs::create_dir_all(&arguments.out)?;
    let json = arguments.out.join("gpu.json");
    std::fs::write(&json, serde_json::to_string_pretty(&report)?)
        .with_context(|| format!("cannot write {}", json.display()))?;
    let text = report.markdown();
    std::fs::write(arguments.out.join("gpu.md"), &text)?;
    println!("{text}");
    match report.failures() {
        0 => Ok(()),
        n => anyhow::bail!("{n} of {} checks failed", report.checks.len()),
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let cuda = Cuda::load()?;
    let gpu = cuda.open(arguments.gpu)?;
    let (kernels, compiler) = kernels(&gpu, arguments.cubins.as_deref())?;
    let stream = Stream::new(&gpu)?;
    let info = gpu.info();
    let (major, minor) = cuda.version()?;
    let bench = checks::Bench {
        gpu: &gpu,
        kernels: &kernels,
        stream: &stream,
        models: arguments.models.as_deref(),
        pictures: arguments.pictures.as_deref(),
        quick: arguments.quick,
    };
    let mut checks = checks::all(&bench);
    let mut numbers = if arguments.quick {
        Vec::new()
    } else {
        timing::all(&bench)?
    };
    let tensorrt = match TensorRt::load() {
        Ok(trt) => {
            let (found, times) = checks::tensorrt::all(&bench, &trt);
            checks.extend(found);
            numbers.extend(times);
            format!("{} ({})", trt.version(), trt.library().display())
        }
        Err(why) => {
            checks.push(report::Check::not_run("inference by TensorRT", &why));
            format!("none: {why}")
        }
    };
    Ok(Report {
        machine: Machine {
            gpu: info.name.clone(),
            target: info.target(),
            driver_cuda: format!("{major}.{minor}"),
            compiler,
            tensorrt,
            memory_mb: info.memory >> 20,
            multiprocessors: info.multiprocessors,
        },
        checks,
        numbers,
    })
}

/// Kernels compiled before where there are such for this GPU, else by NVRTC.
fn kernels(gpu: &Gpu, cubins: Option<&Path>) -> anyhow::Result<(Kernels, String)> {
    let target = gpu.info().target();
    let folder = cubins.map(|f| f.join(&target)).filter(|f| f.is_dir());
    let Some(folder) = folder else {
        let nvrtc = Nvrtc::load()?;
        let (major, minor) = nvrtc.version();
        let kernels = Kernels::compile(gpu, None)?;
        return Ok((kernels, format!("NVRTC {major}.{minor}")));
    };
    let kernels = Kernels::from_images(gpu, |source| {
        let file = folder.join(Path::new(source.file).with_extension("cubin"));
        std::fs::read(&file)
            .map_err(|e| synoptic_gpu::GpuError::Argument(format!("cannot read {}: {e}", file.display())))
    })?;
    Ok((kernels, format!("cubins of {}", folder.display())))
}
