#!/usr/bin/env bash
# The page in headless Chromium, against the real daemon with simulated cameras: scripts/test-page.sh [SHOTS], where
# SHOTS is a folder for screenshots.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

shots=${1:-$target/page}
work=$(mktemp -d)
log=$work/demo.log
cleanup() {
    if [[ -n ${demo:-} ]] && kill -0 "$demo" 2>/dev/null; then
        kill "$demo"
        wait "$demo" || true
    fi
    rm -rf "$work"
}
trap cleanup EXIT

cargo build --quiet --locked --package synoptic --package synoptic-sim
# One camera more, which the test adds by the page's form.
"$target/debug/synoptic-sim" cameras --count 1 >"$work/extra.log" 2>&1 &
extra=$!
"$target/debug/synoptic-sim" demo --synoptic "$target/debug/synoptic" --work-dir "$work/demo" \
    --listen 127.0.0.1:0 >"$log" 2>&1 &
demo=$!
trap 'kill "$extra" 2>/dev/null || true; cleanup' EXIT

# waits FILE PATTERN: prints the first match of PATTERN in FILE once it is there, for two minutes at most.
waits() {
    local give_up=$((SECONDS + 120))
    until grep --only-matching --extended-regexp --max-count=1 "$2" "$1"; do
        ((SECONDS < give_up)) && kill -0 "$demo" || return 1
        sleep 0.2
    done
}
url=$(waits "$log" 'https?://[0-9.]+:[0-9]+/') || { cat "$log"; die "the demo did not start"; }
add=$(waits "$work/extra.log" 'rtsp://[^ ]+') || { cat "$work/extra.log"; die "the extra camera did not start"; }

mkdir -p "$shots"
status=0
(cd daemon/ui && SYNOPTIC_URL=$url SYNOPTIC_SHOTS=$shots SYNOPTIC_ADD=$add npm run --silent e2e) || status=$?
((status == 0)) || { cat "$log"; tail -n 40 "$work"/demo/synoptic.log; die "the page's tests failed"; }
