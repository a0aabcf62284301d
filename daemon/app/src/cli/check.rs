//! `synoptic check`

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::config;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Print a configuration with every key, commented, and end.
    #[arg(long, conflicts_with = "schema")]
    example: bool,
    /// Print the JSON Schema of the configuration and end.
    #[arg(long)]
    schema: bool,
}

pub(super) fn run(args: &Args, path: &Path) -> Result<ExitCode> {
    if args.example {
        print!("{}", config::example());
        return Ok(ExitCode::SUCCESS);
    }
    if args.schema {
        println!("{:#}", config::schema());
        return Ok(ExitCode::SUCCESS);
    }
    match config::load(path) {
        Ok(loaded) => {
            eprint!("{}", config::render(path, &loaded.warnings));
            let c = &loaded.config;
            println!(
                "{}: good: {} cameras, {} groups",
                path.display(),
                c.cameras.len(),
                c.groups.len()
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => {
            eprint!("{errors}");
            Ok(ExitCode::FAILURE)
        }
    }
}
