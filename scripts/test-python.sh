#!/usr/bin/env bash
# The Python package: types, units, and three simulated cameras through the real daemon. Arguments go to pytest.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scripts/setup.sh build run test python
build_all
# Motion vectors, where their helper can be built: scripts/test-mv.sh.
if pkg-config --exists libavcodec libavformat libavutil; then
    CARGO_TARGET_DIR=$target/mv cargo build --quiet --locked --manifest-path helpers/mv/Cargo.toml
    export SYNOPTIC_MV_BIN=$target/mv/debug/synoptic-mv
else
    say "libavcodec-dev, libavformat-dev and libavutil-dev are not installed: nothing is tested with motion vectors"
fi
export SYNOPTIC_BIN=$target/debug/synoptic SYNOPTIC_SIM_BIN=$target/debug/synoptic-sim
export PYTHONPATH=$root/python/src PYTHONDONTWRITEBYTECODE=1
python=$tools/python/bin/python

cd python
"$python" -m mypy --cache-dir "$tools/python/mypy"
"$python" -m pytest -p no:cacheprovider -rs "$@"

# The example without a window.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ffmpeg -loglevel error -f lavfi -i testsrc=size=320x240:rate=10:duration=3 -pix_fmt yuv420p "$work/clip.mp4"
"$python" examples/window.py --png "$work/out" --count 3 "$work/clip.mp4" "$work/clip.mp4"
ls "$work/out/packet-00002.png" >/dev/null
