//! Builds the stand-in for libcuda, for tests. Included by path in the test binaries that want it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles `emulate/SOURCE` with the system's C++ compiler into a library of its own in `folder`. `None`, said aloud,
/// without a compiler.
pub(crate) fn build(source: &str, options: &[&str], folder: &Path) -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = [here.join("emulate"), here.join("../../daemon/gpu/emulate")];
    let source = sources
        .iter()
        .map(|d| d.join(source))
        .find(|p| p.exists())
        .unwrap();
    let out = folder.join(source.with_extension("so").file_name().unwrap());
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let done = Command::new(&compiler)
        .args(["-std=c++17", "-O2", "-ffp-contract=off", "-shared", "-fPIC", "-o"])
        .arg(&out)
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
            assert!(
                done.status.success(),
                "{} does not compile: {}",
                source.display(),
                String::from_utf8_lossy(&done.stderr)
            );
            Some(out)
        }
    }
}
