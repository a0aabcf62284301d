#!/usr/bin/env bash
# What runs the tests on whole boxes, without a box: the runner's choice and reports (hw-tests/box), the replay of power cuts
# (hw-tests/cuts). Seconds.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [[ $(uname -s) != Linux ]]; then
    say "SKIPPED: the runner of hw-tests: its disks are made with Linux's tools"
    exit 0
fi
scripts/setup.sh flash
for folder in box cuts; do
    (cd "hw-tests/$folder" && python3 -B -m unittest --buffer)
done
