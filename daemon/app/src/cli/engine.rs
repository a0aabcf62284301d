//! `synoptic engine`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use serde::Serialize;
use synoptic_base::{
    Captured, Clock, Epoch, FrameKey, FrameKind, FrameMeta, MediaTime, Picture, Seq, StreamId, Surface,
    TimeSource,
};
use synoptic_base::{Detector, Span};
use synoptic_gpu::cuda::Cuda;
use synoptic_gpu::plans::PlanStore;
use synoptic_gpu::trt::{Precision, TensorRt};
use synoptic_media::clocks::SystemClock;
use synoptic_vision::fetch;
use synoptic_vision::onnx::{self, OnnxDetector, OnnxOptions};

use crate::inference::build::{self, Step};
use crate::inference::model::GpuModel;
use crate::inference::{EngineRoom, FOLDER, Fault, ModelSpec, golden, trial};
use crate::models;

/// Pictures that warm an engine up before it is timed.
const WARM: usize = 10;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Show driver, GPU and TensorRT of this box, and the plans built on it.
    List {
        #[command(flatten)]
        place: Place,
        /// One JSON object instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Build a model's plan in this process, keep it and test it against the CPU.
    Build {
        #[command(flatten)]
        plan: PlanArgs,
        /// One JSON object a step on standard output, as the daemon reads them; this process is nice and ends with its
        /// parent.
        #[arg(long)]
        steps: bool,
        /// One JSON object at the end instead of lines.
        #[arg(long, conflicts_with = "steps")]
        json: bool,
    },
    /// Load a model's plan and hold its answer to the CPU's; a plan that the daemon gave up is taken into use again if
    /// that goes well.
    Verify {
        #[command(flatten)]
        plan: PlanArgs,
        /// One JSON object instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Time a model, picture in to boxes out, on the CPU and on the GPU where it has a plan.
    Bench {
        #[command(flatten)]
        plan: PlanArgs,
        /// Pictures.
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        count: u32,
        /// One JSON object instead of lines.
        #[arg(long)]
        json: bool,
    },
}

#[derive(clap::Args)]
pub(super) struct Place {
    /// Folder of the plans; by default `engines` in the configuration's data folder, else ./engines.
    #[arg(long)]
    plans: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(super) struct PlanArgs {
    /// Name of the model; `synoptic models list` shows them.
    model: String,
    /// Precision of the plan.
    #[arg(long, value_enum, default_value = "fp32")]
    precision: PrecisionArg,
    /// Number of the GPU.
    #[arg(long, default_value_t = 0)]
    device: usize,
    #[command(flatten)]
    place: Place,
    /// A folder of models, may be given again; by default the configuration's, else ./models.
    #[arg(long)]
    models: Vec<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum PrecisionArg {
    /// What the model says.
    Fp32,
    /// 16-bit floats.
    Fp16,
    /// 8-bit integers, of models with Q/DQ nodes.
    Int8,
}

impl From<PrecisionArg> for Precision {
    fn from(arg: PrecisionArg) -> Precision {
        match arg {
            PrecisionArg::Fp32 => Precision::Model,
            PrecisionArg::Fp16 => Precision::Half,
            PrecisionArg::Int8 => Precision::Int8,
        }
    }
}

pub(super) fn run(command: &Command, config: &Path) -> Result<ExitCode> {
    match command {
        Command::List { place, json } => list(&place.room(config)?, *json),
        Command::Build { plan, steps, json } => {
            if *steps {
                build::humble();
            }
            let room = plan.place.room(config)?;
            match plan.spec(config) {
                Ok(spec) => build_here(&room, &spec, *steps, *json),
                // The daemon reads why.
                Err(error) if *steps => told(&Err(Fault::Model(format!("{error:#}")))),
                Err(error) => Err(error),
            }
        }
        Command::Verify { plan, json } => verify(&plan.place.room(config)?, &plan.spec(config)?, *json),
        Command::Bench { plan, count, json } => bench(
            &plan.place.room(config)?,
            &plan.spec(config)?,
            *count as usize,
            *json,
        ),
    }
}

impl Place {
    fn room(&self, config: &Path) -> Result<EngineRoom> {
        let folder = match &self.plans {
            Some(folder) => folder.clone(),
            None if config.exists() => super::load(config)?.device.data_dir.join(FOLDER),
            None => PathBuf::from(FOLDER),
        };
        let program = std::env::current_exe().context("finding this program")?;
        Ok(EngineRoom::new(folder, program))
    }
}

impl PlanArgs {
    fn spec(&self, config: &Path) -> Result<ModelSpec> {
        let dirs = match &self.models[..] {
            [] if config.exists() => super::load(config)?.device.model_dirs,
            [] => vec![PathBuf::from("models")],
            given => given.to_vec(),
        };
        let manifest = models::find(&dirs, &self.model)?;
        let onnx = fetch::locate(&dirs, &manifest).with_context(|| {
            format!(
                "the file of model {0} is not on this box: run `synoptic models fetch {0}`",
                self.model
            )
        })?;
        Ok(ModelSpec {
            keep: onnx::keep(&manifest, &[])?,
            threshold: manifest.threshold,
            manifest,
            onnx,
            dirs,
            precision: self.precision.into(),
            device: self.device,
        })
    }
}

#[derive(Serialize)]
struct Listed {
    driver: Result<String, String>,
    gpus: Vec<String>,
    tensorrt: Result<String, String>,
    folder: PathBuf,
    plans: Vec<ListedPlan>,
}

#[derive(Serialize)]
struct ListedPlan {
    plan: String,
    bytes: u64,
    /// Processes that ended while they loaded it.
    ended: u32,
}

fn list(room: &EngineRoom, json: bool) -> Result<ExitCode> {
    let mut gpus = Vec::new();
    let driver = Cuda::load().and_then(|cuda| {
        for ordinal in 0..cuda.count()? {
            let gpu = cuda.open(ordinal)?;
            let info = gpu.info();
            gpus.push(format!(
                "{} ({}, {} MB)",
                info.name,
                info.target(),
                info.memory >> 20
            ));
        }
        let (major, minor) = cuda.version()?;
        Ok(format!("CUDA {major}.{minor} in {}", cuda.library().display()))
    });
    let tensorrt = TensorRt::load().map(|t| format!("{} in {}", t.version(), t.library().display()));
    let plans = PlanStore::new(&room.folder).list()?;
    let listed = Listed {
        driver: driver.map_err(|e| e.to_string()),
        gpus,
        tensorrt: tensorrt.map_err(|e| e.to_string()),
        folder: room.folder.clone(),
        plans: plans
            .into_iter()
            .map(|p| ListedPlan {
                ended: trial::ends(&room.folder, &p.name),
                plan: p.name,
                bytes: p.bytes,
            })
            .collect(),
    };
    if json {
        println!("{}", serde_json::to_string(&listed)?);
        return Ok(ExitCode::SUCCESS);
    }
    let said = |result: &Result<String, String>| result.clone().unwrap_or_else(|why| format!("none: {why}"));
    println!("driver    {}", said(&listed.driver));
    for (n, gpu) in listed.gpus.iter().enumerate() {
        println!("gpu {n}     {gpu}");
    }
    println!("tensorrt  {}", said(&listed.tensorrt));
    println!("plans     {}", listed.folder.display());
    for plan in &listed.plans {
        let suspect = match plan.ended {
            0 => String::new(),
            n => format!("  ({n} processes ended while they loaded it: `synoptic engine verify`)"),
        };
        println!("  {}  {:.1} MB{suspect}", plan.plan, plan.bytes as f64 / 1e6);
    }
    Ok(ExitCode::SUCCESS)
}

fn build_here(room: &EngineRoom, spec: &ModelSpec, steps: bool, json: bool) -> Result<ExitCode> {
    let began = SystemClock.now();
    let mut plan = None;
    let built = build::here(room, spec, &mut |step| {
        if let Step::Built {
            plan: built, bytes, ..
        } = &step
        {
            plan = Some((built.clone(), *bytes));
        }
        if steps {
            say(&step);
        } else if !json {
            println!("{step}");
        }
    });
    if steps {
        return told(&built);
    }
    let seconds = (SystemClock.now() - began).as_secs_f64();
    if json {
        let (plan, bytes) = plan.unzip();
        let error = built.as_ref().err().map(ToString::to_string);
        println!(
            "{}",
            serde_json::json!({ "plan": plan, "bytes": bytes, "seconds": seconds, "error": error })
        );
        return Ok(code(built.is_ok()));
    }
    built.map_err(|e| anyhow!(e))?;
    println!("done in {seconds:.1} s");
    Ok(ExitCode::SUCCESS)
}

/// Tells the daemon how a build ended.
fn told(built: &Result<(), Fault>) -> Result<ExitCode> {
    if let Err(fault) = built {
        say(&Step::Failed {
            why: fault.to_string(),
            may_pass: fault.may_pass(),
        });
    }
    Ok(code(built.is_ok()))
}

/// One step on standard output. Without a reader there is nobody to tell, and the build goes on.
fn say(step: &Step) {
    let mut out = std::io::stdout().lock();
    if let Ok(line) = serde_json::to_string(step)
        && let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush())
    {
        log::debug!("nobody hears the steps: {error}");
    }
}

fn code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn verify(room: &EngineRoom, spec: &ModelSpec, json: bool) -> Result<ExitCode> {
    let loaded = GpuModel::load(room, spec, true);
    let by = loaded.as_ref().map(|m| m.description().to_owned()).ok();
    let why = loaded.as_ref().err().map(|fault| match fault {
        Fault::NoPlan(why) => format!("{why}: `synoptic engine build {}` builds one", spec.manifest.name),
        other => other.to_string(),
    });
    if json {
        println!(
            "{}",
            serde_json::json!({ "model": spec.manifest.name, "good": why.is_none(), "by": by, "error": why })
        );
    } else {
        match (&by, &why) {
            (Some(by), _) => println!("{}: good: {by}", spec.manifest.name),
            (None, why) => println!("{}: {}", spec.manifest.name, why.as_deref().unwrap_or("not good")),
        }
    }
    Ok(code(why.is_none()))
}

/// How long an engine took for a picture.
#[derive(Serialize)]
struct Timed {
    engine: String,
    pictures: usize,
    median_ms: f64,
    p99_ms: f64,
}

fn bench(room: &EngineRoom, spec: &ModelSpec, count: usize, json: bool) -> Result<ExitCode> {
    let picture = golden::picture();
    let mut rows = Vec::new();
    let mut cpu = OnnxDetector::load(&spec.onnx, spec.manifest.clone(), &OnnxOptions::default())?;
    let meta = meta(picture.size())?;
    let look = Picture {
        meta: &meta,
        surface: &picture,
    };
    let name = cpu.engine().to_string();
    rows.push(time(name, count, || {
        cpu.detect(&[look])
            .into_iter()
            .try_for_each(|found| found.map(drop).map_err(|e| anyhow!(e)))
    })?);
    let gpu = match GpuModel::load(room, spec, true) {
        Ok(mut model) => {
            let name = model.description().to_owned();
            rows.push(time(name, count, || {
                model.look(&picture).map(drop).map_err(|e| anyhow!(e))
            })?);
            None
        }
        Err(fault) => Some(fault.to_string()),
    };
    if json {
        println!(
            "{}",
            serde_json::json!({ "model": spec.manifest.name, "engines": rows, "not_timed": gpu })
        );
        return Ok(ExitCode::SUCCESS);
    }
    for row in &rows {
        println!(
            "{:<40} median {:>8.2} ms   p99 {:>8.2} ms",
            row.engine, row.median_ms, row.p99_ms
        );
    }
    if let Some(why) = gpu {
        println!("TensorRT is not timed: {why}");
    }
    Ok(ExitCode::SUCCESS)
}

fn time(engine: String, count: usize, mut work: impl FnMut() -> Result<()>) -> Result<Timed> {
    let mut took = Vec::with_capacity(count);
    for n in 0..WARM + count {
        let began = SystemClock.now();
        work()?;
        if n >= WARM {
            took.push((SystemClock.now() - began).as_millis_f64());
        }
    }
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[((took.len() - 1) as f64 * share).round() as usize];
    Ok(Timed {
        engine,
        pictures: count,
        median_ms: at(0.5),
        p99_ms: at(0.99),
    })
}

fn meta(size: synoptic_base::Size) -> Result<FrameMeta> {
    let now = SystemClock.now();
    Ok(FrameMeta {
        key: FrameKey {
            stream: StreamId::new("bench")?,
            epoch: Epoch(0),
            media_us: MediaTime::from_micros(0),
        },
        seq: Seq(0),
        arrival: now,
        captured: Captured {
            mono: now,
            rel_error: Span::ZERO,
            source: TimeSource::Host,
        },
        size,
        kind: FrameKind::Unknown,
    })
}
