#!/usr/bin/env bash
# Every test: `make test`. Runs all stages and names at the end those that failed.
#
# A new tier is a function and a `stage` line below. What a tier needs is installed by scripts/setup.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scripts/setup.sh build run broker test onnxruntime
onnxruntime

page() { [[ -e daemon/ui/package.json ]]; }

# Unit and process tests, one test binary a crate. Documentation has no examples that run, so none are looked for.
rust() { cargo test --workspace --locked --no-fail-fast --lib --bins --examples --tests; }
# The same golden pictures by the other engine, which the default build does not have. Of the whole workspace only this
# test: what it depends on keeps its features and is not built anew.
other_engine() { cargo test --workspace --features synoptic-vision/ort --locked --test vision onnx; }
page_units() { scripts/ui.sh test; }

if page; then
    stage "page: build" scripts/ui.sh build
    stage "page: tests" page_units
fi
stage "rust" rust
stage "rust: onnxruntime" other_engine

# End-to-end tiers (the page in a real browser, the virtual box) are scripts of their own: scripts/test-NAME.sh. The page
# measures time and is left alone; of the others each has a core at most.
beside=()
for tier in scripts/test-*.sh; do
    [[ -x $tier ]] || continue
    name=${tier#scripts/test-}
    name=${name%.sh}
    if [[ $name == page ]]; then stage "$name" "$tier"; else beside+=("$name" "$tier"); fi
done
# One after the other: two package managers do not run at once. A tier that lacks something says so itself.
scripts/setup.sh flash python || true
scripts/setup.sh vivid || true
stages_beside "${beside[@]}"
finish
