#!/usr/bin/env bash
# The helper for motion vectors: it links FFmpeg, and so has a workspace of its own. Where FFmpeg's development packages
# are not, this says so and passes: the daemon runs without it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if ! pkg-config --exists libavcodec libavformat libavutil; then
    say "libavcodec-dev, libavformat-dev and libavutil-dev are not installed: synoptic-mv is not built and not tested"
    exit 0
fi
scripts/setup.sh build python
cd helpers/mv
export CARGO_TARGET_DIR=$target/mv
cargo fmt --check
cargo clippy --quiet --locked --all-targets -- -D warnings
cargo test --quiet --locked
cargo build --quiet --locked

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ffmpeg -loglevel error -f lavfi -i testsrc2=size=640x360:rate=25:duration=4 -f lavfi -i mandelbrot=size=640x360:rate=25 \
    -filter_complex '[0][1]blend=all_mode=average:shortest=1' -c:v libx264 -pix_fmt yuv420p -bf 3 -g 50 "$work/clip.mp4"
"$tools/python/bin/python" check.py "$target/mv/debug/synoptic-mv" "$work/clip.mp4"
