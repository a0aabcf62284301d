#!/usr/bin/env bash
# The page in headless Chromium, against the real daemon with simulated cameras: scripts/test-page.sh [SHOTS], where
# SHOTS is a folder for screenshots.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scripts/setup.sh build run broker test
CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser)} ||
    die "no Chromium was found: name one in CHROMIUM"
export CHROMIUM

mkdir -p "${1:-$target/page}"
shots=$(cd "${1:-$target/page}" && pwd)
work=$(mktemp -d)
started=()
cleanup() {
    # The demo ends the daemon and the broker, which it started.
    for process in "${started[@]}"; do
        kill "$process" 2>/dev/null || true
        wait "$process" || true
    done
    rm -rf "$work"
}
trap cleanup EXIT
# So that EXIT is reached.
trap 'exit 130' INT
trap 'exit 143' TERM

scripts/ui.sh build
build_all
"$target/debug/synoptic-sim" demo --synoptic "$target/debug/synoptic" --work-dir "$work/demo" \
    --listen 127.0.0.1:0 >"$work/demo.log" 2>&1 &
started+=($!)
# One camera more, which the test adds by the page's form.
"$target/debug/synoptic-sim" cameras --count 1 >"$work/extra.log" 2>&1 &
started+=($!)

# waits PROCESS LOG PATTERN: prints the first match of PATTERN once it is there, for two minutes at most.
waits() {
    local give_up=$((SECONDS + 120))
    until grep --only-matching --extended-regexp --max-count=1 "$3" "$2"; do
        ((SECONDS < give_up)) && kill -0 "$1" 2>/dev/null || return 1
        sleep 0.2
    done
}
logs() { tail -n 40 "$work"/*.log "$work"/demo/synoptic.log || true; }
url=$(waits "${started[0]}" "$work/demo.log" 'https?://[0-9.]+:[0-9]+/') || {
    logs
    die "the demo did not start"
}
add=$(waits "${started[1]}" "$work/extra.log" 'rtsp://[^ ]+') || {
    logs
    die "the extra camera did not start"
}

SYNOPTIC_URL=$url SYNOPTIC_SHOTS=$shots SYNOPTIC_ADD=$add scripts/ui.sh e2e || {
    logs
    die "the page's tests failed; screenshots: $shots"
}
