#!/usr/bin/env bash
# Boxes on the very frame, measured in headless Chromium (daemon/ui/e2e/player/bench.mjs). LONG=1 reads 100,000 canvases
# back and takes about an hour; without, a share of them in less than ten minutes.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser)} ||
    die "no Chromium was found: name one in CHROMIUM"
export CHROMIUM
have ffmpeg || die "ffmpeg is missing: it makes the clip"
scripts/ui.sh build
node daemon/ui/e2e/player/bench.mjs
