#!/usr/bin/env bash
# The demo: scripts/demo.sh [SECONDS]. Builds what is missing, then `synoptic-sim demo` starts everything and ends
# all that it started. CAMERAS and LISTEN come from the environment (see the Makefile).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

model=yolox-nano
limit=${1:-}

scripts/setup.sh build run broker ui
say "building the page"
scripts/ui.sh build
say "building the daemon and the simulated cameras (some minutes the first time)"
cargo build --release --locked --package synoptic --package synoptic-sim
# The demo finds the daemon beside itself or in PATH.
PATH=$target/release:$PATH

# A model is wanted for the real clip only: without it the demo is whole but for the fourth camera.
if ! synoptic models fetch "$model"; then
    say "The model $model could not be fetched, for the reason above. The demo goes on without neural detection."
    say "Behind a closed network: SYNOPTIC_MIRROR=FOLDER make demo, with the model's file in FOLDER."
fi

arguments=()
read -r -a cameras <<<"${CAMERAS:-}"
for camera in "${cameras[@]}"; do arguments+=(--camera "$camera"); done
[[ -z ${LISTEN:-} ]] || arguments+=(--listen "$LISTEN")
[[ -z $limit ]] || arguments+=(--seconds "$limit")
exec synoptic-sim demo "${arguments[@]}"
