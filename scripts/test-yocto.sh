#!/usr/bin/env bash
# The Yocto layer as far as it can be tested in seconds: hw-tests/yocto. `make yocto-check` does the rest.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
scripts/setup.sh flash
cd hw-tests/yocto
python3 -B -m unittest --buffer
