#!/usr/bin/env bash
# The virtual box: built, flashed by flash.sh, booted in QEMU, updated, broken, cut off, reset: hw-tests/run --target virtual.
# As root. Not part of `make test`: `make test-box`.
#
#   scripts/test-box.sh [SCENARIO...]  these only (hw-tests/run --list); each needs the box of those before it
#   BOX_PROFILE=release                an optimized daemon, as in an image
#   BOX_IMAGE=full                     compressed as an image is, for its size; `fast` without
#   BOX_BUILD=no                       takes the box that was built last
#   BOX_KEEP=yes                       goes on with the disk of the run before, to look into a scenario again
#   BOX_LONG=yes                       with those that take ten minutes each: an unwell release, all ways to a factory reset,
#                                      power cuts replayed
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

skip() {
    say "SKIPPED: the virtual box: $*"
    exit 0
}
[[ $(uname -m) == x86_64 ]] || skip "it is an x86-64 machine"
((EUID == 0)) || skip "its files have many owners, which takes root"
scripts/setup.sh build box || skip "packages are missing and could not be installed (see above)"
fast=(--fast)
[[ ${BOX_IMAGE:-fast} == fast ]] || fast=()
[[ ${BOX_BUILD:-yes} == no ]] || hw-tests/virtual-box/build.sh "${fast[@]}" --profile "${BOX_PROFILE:-debug}"
BOX_OUT=$(cd "$target/box" && pwd)
export BOX_OUT
options=()
[[ ${BOX_KEEP:-no} == no ]] || options+=(--keep --without first-start)
if (($# == 0)) && [[ ${BOX_LONG:-no} == no ]]; then
    options+=(--without unwell-release --without factory-reset-by-page --without factory-reset-by-command --without replayed-cuts)
fi
hw-tests/run --target virtual "${options[@]}" "$@" || {
    tail -n 60 "$BOX_OUT"/test/console-*.log || true
    die "the virtual box failed; everything is in $BOX_OUT/test"
}
