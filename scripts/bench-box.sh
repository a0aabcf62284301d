#!/usr/bin/env bash
# The box in figures: sizes, starts, an update, a rollback, power cuts. An image as it is shipped in its virtual form, emulated
# without KVM (hw-tests/virtual-box): compare its times with its own only. As root.
#
#   BOX_RUN_DONE=FILE   renders the box.json of a run of `make test-box` instead of making one
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
done=${BOX_RUN_DONE:-}
if [[ -z $done ]]; then
    ((EUID == 0)) || die "the virtual box takes root: sudo make bench NAME=box"
    BOX_PROFILE=${BOX_PROFILE:-release} BOX_IMAGE=${BOX_IMAGE:-full} scripts/test-box.sh
    done=$target/box/test/box.json
fi
[[ -s $done ]] || die "$done is missing: the virtual box was not run here (see above)"
cp "$done" "$BENCH_OUT"
