//! `synoptic models`

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use synoptic_vision::fetch;
use synoptic_vision::learned::model as stitch;
use synoptic_vision::onnx::{OnnxDetector, OnnxOptions};

use crate::models;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// List the models there are, and which are on this box.
    List,
    /// Fetch a model's file from its upstream, or from the folder in SYNOPTIC_MIRROR, and verify it.
    Fetch {
        /// Name of the model.
        name: String,
        /// Folder to put it into; by default the configuration's first model folder, else ./models.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Take in a model that was made elsewhere: its files are verified, tried once, and kept with their hashes.
    Import {
        /// What kind of model.
        kind: Kind,
        /// Folder with its files; of stitching: spatial.onnx, temporal.onnx, smooth.onnx, as tools/stitchnet exports them.
        from: PathBuf,
        /// Folder of models to put it into; by default the configuration's first, else ./models.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Verify the files of all models on this box, and try each once: hash, shapes, decoder.
    Verify,
}

/// A kind of model that is taken in from files.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(super) enum Kind {
    /// The networks of `method = "learned"` of a panorama.
    Stitch,
}

pub(super) fn run(command: &Command, config: &Path) -> Result<ExitCode> {
    // Models can be fetched before there is a configuration; one that is there must be right.
    let dirs = if config.exists() {
        super::load(config)?.device.model_dirs
    } else {
        vec![PathBuf::from("models")]
    };
    match command {
        Command::List => list(&dirs),
        Command::Fetch { name, dir } => {
            let mut dirs = dirs;
            if let Some(dir) = dir {
                dirs.insert(0, dir.clone());
            }
            get(name, &dirs)
        }
        Command::Import { kind, from, dir } => {
            let mut dirs = dirs;
            if let Some(dir) = dir {
                dirs.insert(0, dir.clone());
            }
            match kind {
                Kind::Stitch => import_stitch(from, &dirs),
            }
        }
        Command::Verify => verify(&dirs),
    }
}

fn list(dirs: &[PathBuf]) -> Result<ExitCode> {
    for name in models::names(dirs) {
        let model = models::find(dirs, &name)?;
        let place = fetch::locate(dirs, &model);
        let state = place.map_or_else(|| "not on this box".to_owned(), |p| p.display().to_string());
        println!("{name:<14} {:<12} {}", model.licence, model.description);
        println!("{:<14} {state}", "");
    }
    let state =
        stitch::locate(dirs).map_or_else(|_| "not on this box".to_owned(), |p| p.display().to_string());
    println!(
        "{:<14} {:<12} the networks of a panorama's learned method; `models import stitch DIR`",
        stitch::FOLDER,
        ""
    );
    println!("{:<14} {state}", "");
    Ok(ExitCode::SUCCESS)
}

fn get(name: &str, dirs: &[PathBuf]) -> Result<ExitCode> {
    let model = models::find(dirs, name)?;
    let terminal = std::io::stderr().is_terminal();
    let mut last = 0;
    let path = models::fetch(&model, dirs, &mut |bytes, total| {
        let percent = bytes * 100 / total.max(1);
        if terminal && percent != last {
            last = percent;
            // Progress is for the eye only.
            write!(std::io::stderr(), "\r{name}: {percent} %").ok();
        }
    })?;
    if terminal && last > 0 {
        eprintln!();
    }
    println!("{name}: {} (sha256 {})", path.display(), model.sha256);
    Ok(ExitCode::SUCCESS)
}

fn import_stitch(from: &Path, dirs: &[PathBuf]) -> Result<ExitCode> {
    let (folder, model) = models::import_stitch(from, dirs)?;
    println!(
        "stitch: pictures of {}x{}, {} features; in {}",
        model.width,
        model.height,
        model.channels,
        folder.display()
    );
    for file in &model.file {
        println!(
            "  {:<14} {:>10} bytes  sha256 {}",
            file.name, file.bytes, file.sha256
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(dirs: &[PathBuf]) -> Result<ExitCode> {
    let mut good = true;
    for name in models::names(dirs) {
        let model = models::find(dirs, &name)?;
        let Some(path) = fetch::locate(dirs, &model) else {
            continue;
        };
        // Loading verifies the hash, and runs the model once against its manifest.
        match OnnxDetector::load(&path, model, &OnnxOptions::default()) {
            Ok(detector) => println!("{name}: good: {}, runs on {}", path.display(), detector.engine()),
            Err(error) => {
                good = false;
                println!("{name}: {error}");
            }
        }
    }
    if let Ok(folder) = stitch::locate(dirs) {
        match stitch::verify(&folder, models::STITCH_TRIAL) {
            Ok(engine) => println!("stitch: good: {}, runs on {engine}", folder.display()),
            Err(error) => {
                good = false;
                println!("stitch: {error}");
            }
        }
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
