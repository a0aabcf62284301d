//! `synoptic`: the daemon of a Jetson-class edge box, and its tools.

use std::process::ExitCode;

fn main() -> ExitCode {
    synoptic_app::cli::main()
}
