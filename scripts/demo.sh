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
cargo build --profile demo --locked --package synoptic --package synoptic-sim
# The demo finds the daemon beside itself or in PATH.
PATH=$target/demo:$PATH

arguments=()
if [[ -n ${CAMERAS:-} ]]; then
    arguments+=(--cameras "$CAMERAS")
elif synoptic models fetch "$model" && clip=$(scripts/demo-clip.sh models/clips); then
    # A fourth camera: a real clip, looked at by a neural detector.
    arguments+=(--clip "$clip" --detector "$model" --models models)
else
    say "The clip or its detector could not be fetched, for the reason above: the demo runs without the fourth camera."
    say "Behind a closed network: SYNOPTIC_MIRROR=FOLDER make demo, with both files somewhere in FOLDER."
fi
[[ -z ${LISTEN:-} ]] || arguments+=(--listen "$LISTEN")
[[ -z $limit ]] || arguments+=(--seconds "$limit")
exec synoptic-sim demo "${arguments[@]}"
