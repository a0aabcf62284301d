#!/usr/bin/env bash
# flash.sh on files, loop devices and fakes, and the first boot's scripts in folders: hw-tests/flash.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [[ $(uname -s) != Linux ]]; then
    say "SKIPPED: flash.sh: its tests make images with Linux's tools"
    exit 0
fi
scripts/setup.sh flash

FLASH_TEST_DIR=$(mktemp -d "${TMPDIR:-/tmp}/synoptic-flash-test.XXXXXX")
export FLASH_TEST_DIR
clean_up() {
    local device file
    # Loop devices that a test left behind: those of its own folder, no others.
    while read -r device file; do
        [[ $file != "$FLASH_TEST_DIR"/* ]] || losetup --detach "$device" || true
    done < <(losetup --list --noheadings --output NAME,BACK-FILE 2>/dev/null || true)
    rm -rf "$FLASH_TEST_DIR"
}
trap clean_up EXIT
python3 -B -m unittest discover --start-directory hw-tests/flash --pattern "${1:-test_*.py}" --buffer
