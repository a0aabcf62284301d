#![no_main]
//! Any text is a configuration or is refused; none ends the program.

use std::path::Path;

use synoptic_app::config::{self, ThisMachine};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = config::parse(text, Path::new("/etc/synoptic/synoptic.toml"), &ThisMachine);
});
