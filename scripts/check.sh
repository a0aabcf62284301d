#!/usr/bin/env bash
# Everything that is not a test: `make check`. Runs all stages and names at the end those that failed.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scripts/setup.sh build check

page() { [[ -e daemon/ui/package.json ]]; }

format() { cargo fmt --all --check; }
lints() {
    cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
    # The whole workspace again, so that what it depends on keeps its features and is not built anew.
    cargo clippy --workspace --all-targets --features synoptic/ort --locked --quiet -- -D warnings
}
# As it is shipped: what it is made of has fewer features there than with the tests beside it.
shipped() { cargo check --workspace --bins --locked --quiet; }
documentation() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet; }
dependencies() {
    cargo deny --locked --log-level error check --hide-inclusion-graph licenses bans sources
}
linked_libraries() {
    build_all
    scripts/linked-libs.sh "$target/debug/synoptic" "$target/debug/synoptic-sim"
}
shell() { shellcheck flash.sh scripts/*.sh scripts/flash/*.sh systemd/box/lib/* systemd/box/install.sh hw-tests/*/*.sh hw-tests/vivid/init .ci/run; }
tidy() { python3 scripts/tidy.py; }

# The daemon embeds the page; a debug build reads it from disk, but it is there for every build all the same.
if page; then
    stage "page: types and style" scripts/ui.sh check
    stage "page: build" scripts/ui.sh build
fi
stage "tidy" tidy
stage "shellcheck" shell
stage "format" format
stage "clippy" lints
stage "documentation" documentation
stage "as shipped" shipped
stage "licences, bans, sources" dependencies
stage "linked libraries" linked_libraries
finish
