//! `synoptic models`

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use synoptic_vision::fetch;
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
    /// Verify the files of all models on this box, and try each once: hash, shapes, decoder.
    Verify,
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
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
