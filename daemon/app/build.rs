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
    }
}
