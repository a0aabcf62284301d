//! Builds the stand-in for libcuda, for tests. Included by path in the test binaries that want it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex};

/// What was compiled already, by source and options: several tests want the same.
static COMPILED: LazyLock<Mutex<HashMap<String, Option<Vec<u8>>>>> = LazyLock::new(Mutex::default);

/// Compiles `emulate/SOURCE` with the system's C++ compiler into a library of its own in `folder`. `None`, said aloud,
/// without a compiler.
pub(crate) fn build(source: &str, options: &[&str], folder: &Path) -> Option<PathBuf> {
    let out = folder.join(Path::new(source).with_extension("so"));
    let mut compiled = COMPILED.lock().unwrap();
    let bytes = compiled
        .entry(format!("{source} {options:?}"))
        .or_insert_with(|| compile(source, options, &out));
    std::fs::write(&out, bytes.as_ref()?).unwrap();
    Some(out)
}

fn compile(source: &str, options: &[&str], out: &Path) -> Option<Vec<u8>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [here.join("emulate"), here.join("../../daemon/gpu/emulate")];
    let source = folders
        .iter()
        .map(|d| d.join(source))
        .find(|p| p.exists())
        .unwrap();
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let done = Command::new(&compiler)
        .args(["-std=c++17", "-O2", "-ffp-contract=off", "-shared", "-fPIC", "-o"])
        .arg(out)
        .arg(&source)
        .args(options)
        .output();
    match done {
        Err(e) => {
            eprintln!(
                "SKIPPED: cannot run {compiler} ({e}): install a C++ compiler to test the kernels without a GPU"
            );
            None
        }
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stderr);
            assert!(
                done.status.success(),
                "{} does not compile: {said}",
                source.display()
            );
            Some(std::fs::read(out).unwrap())
        }
    }
}
