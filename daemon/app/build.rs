//! Refuses a release build that would ship without the page.

use std::path::Path;

fn main() {
    let page = Path::new("../ui/dist/index.html");
    println!("cargo::rerun-if-changed=build.rs");
    // A path that does not exist would make cargo run this script at every build.
    if page.exists() {
        println!("cargo::rerun-if-changed=../ui/dist");
    } else if std::env::var("PROFILE").as_deref() == Ok("release") {
        println!("cargo::error=the page is missing: daemon/ui/dist has no index.html. Run `make ui` first.");
    } else if let Err(e) = std::fs::create_dir_all("../ui/dist") {
        // rust-embed resolves `..` in the folder's path only while the folder exists; without it a debug build
        // would not see a page that is built later.
        println!("cargo::warning=cannot make daemon/ui/dist ({e}): build again after `make ui`");
    }
}
