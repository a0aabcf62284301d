#!/usr/bin/env bash
# The virtual box: built, flashed by flash.sh, booted in QEMU, updated, broken, cut off (hw-tests/virtual-box). As root.
# Not part of `make test`: `make test-box`.
#
#   scripts/test-box.sh [TEST...]  these only, as test_box.Life.test_1_first_start; each needs the box of those before it
#   BOX_PROFILE=release            an optimized daemon, as in an image
#   BOX_IMAGE=full                 compressed as an image is, for its size; `fast` without
#   BOX_BUILD=no                   takes the box that was built last
#   BOX_KEEP=yes                   goes on with the disk of the run before, to look into a test again
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
export BOX_OUT BOX_RUN=$BOX_OUT/test
[[ ${BOX_KEEP:-no} == yes ]] || rm -rf "$BOX_RUN"
mkdir -p "$BOX_RUN"
cd hw-tests/virtual-box
tests=("$@")
((${#tests[@]})) || tests=(test_box)
python3 -B -m unittest --verbose --failfast "${tests[@]}" || {
    tail -n 60 "$BOX_RUN"/console-*.log || true
    die "the virtual box failed; everything is in $BOX_RUN"
}
